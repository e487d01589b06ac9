//! Section 6: side information.

use super::super::Refusal;
use super::super::streams::{AdaptiveInteger, RangeDecoder};
use super::number::Float;

/// What is said of a piece.
pub(super) struct Said {
    /// What values are multiples of.
    pub(super) step: Option<f32>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// All elements are this one.
    Equal(u64),
    /// All elements are the reference's.
    Reference,
    Coded(Coded),
}

pub(super) struct Coded {
    pub(super) float: Float,
    pub(super) may_be_common: bool,
    /// The octave of the lowest bit that is set in any value, if the lowest-bit question is asked.
    pub(super) lowest: Option<i32>,
    /// The part of the reference that is in the values, if the reference is used.
    pub(super) reference_part: Option<f32>,
    /// In quarter octaves.
    pub(super) row_scales: Vec<i32>,
    pub(super) sample_scales: Option<Vec<i32>>,
    pub(super) rank: usize,
    /// For each factor its entries.
    pub(super) entries: Vec<Vec<i64>>,
}

/// The models of the whole stream.
pub(super) struct Side<'a> {
    stream: RangeDecoder<'a>,
    low: AdaptiveInteger,
    rank: AdaptiveInteger,
    class: AdaptiveInteger,
    scale: Vec<AdaptiveInteger>,
    entry: Vec<AdaptiveInteger>,
}

impl<'a> Side<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            stream: RangeDecoder::new(bytes),
            low: AdaptiveInteger::NEW,
            rank: AdaptiveInteger::NEW,
            class: AdaptiveInteger::NEW,
            scale: vec![AdaptiveInteger::NEW; 6],
            entry: vec![AdaptiveInteger::NEW; 32],
        }
    }

    /// What is said of the next piece, of values of `size` bytes.
    pub(super) fn piece(
        &mut self,
        float: Float,
        size: usize,
        has_reference: bool,
        n_coordinates: usize,
        n_samples: usize,
    ) -> Result<Said, Refusal> {
        let is_single = float.mantissa_bits == 23;
        let mut step = None;
        if is_single && self.stream.flag()? {
            let value = f32::from_bits(self.stream.plain(32)? as u32);
            if !(value.is_normal() && value > 0.0) {
                return Err(Refusal::corrupt("a step is not positive and normal"));
            }
            step = Some(value);
        }
        let kind = match self.stream.plain(2)? {
            0 => Kind::Coded(self.coded(float, has_reference, n_coordinates, n_samples)?),
            1 => Kind::Equal(self.stream.plain(8 * size as u32)?),
            2 if has_reference => Kind::Reference,
            2 => return Err(Refusal::corrupt("a piece is the reference's, and there is none")),
            _ => return Err(Refusal::corrupt("no such kind of piece")),
        };
        Ok(Said { step, kind })
    }

    fn coded(
        &mut self,
        mut float: Float,
        has_reference: bool,
        n_coordinates: usize,
        n_samples: usize,
    ) -> Result<Coded, Refusal> {
        let low_bits = self.stream.integer(&mut self.low)?;
        if low_bits > u64::from(float.mantissa_bits) {
            return Err(Refusal::corrupt("too many low bits"));
        }
        float.low_bits = low_bits as u32;
        if float.mantissa_bits == 52 {
            float.bias = self.stream.plain(11)? as i32;
        }
        let may_be_common = self.stream.flag()?;
        let mut lowest = None;
        if self.stream.flag()? {
            lowest = Some(self.stream.plain(13)? as i32 - 4096);
        }
        let mut reference_part = None;
        if self.stream.flag()? {
            if !has_reference {
                return Err(Refusal::corrupt("the reference is used, and there is none"));
            }
            reference_part = Some((self.stream.plain(8)? as f32 - 128.0) / 64.0);
        }
        let row_scales = self.scales(n_coordinates)?;
        let sample_scales = if self.stream.flag()? { Some(self.scales(n_samples)?) } else { None };
        let rank = self.stream.integer(&mut self.rank)?;
        if rank > 512 || rank > n_coordinates as u64 {
            return Err(Refusal::corrupt("too many factors"));
        }
        let mut entries = Vec::new();
        for _ in 0..rank {
            let class = self.stream.integer(&mut self.class)?.min(31);
            let column = (0..n_coordinates).map(|_| self.entry(class as usize)).collect::<Result<_, _>>()?;
            entries.push(column);
        }
        let rank = entries.len();
        Ok(Coded { float, may_be_common, lowest, reference_part, row_scales, sample_scales, rank, entries })
    }

    fn entry(&mut self, class: usize) -> Result<i64, Refusal> {
        let model = self.entry.get_mut(class).ok_or_else(|| Refusal::corrupt("no such class"))?;
        let magnitude = self.stream.integer(model)?;
        if magnitude > 1 << 28 {
            return Err(Refusal::corrupt("a factor's entry is too large"));
        }
        let is_negative = magnitude != 0 && self.stream.flag()?;
        Ok(if is_negative { -(magnitude as i64) } else { magnitude as i64 })
    }

    fn scales(&mut self, n: usize) -> Result<Vec<i32>, Refusal> {
        let (mut steps, mut context) = (0, 0);
        let mut scales = Vec::new();
        for _ in 0..n {
            let model = self.scale.get_mut(context).ok_or_else(|| Refusal::corrupt("no such context"))?;
            let zigzag = self.stream.integer(model)?;
            if zigzag >= 1 << 32 {
                return Err(Refusal::corrupt("a scale's difference is too large"));
            }
            steps += (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            if !(-560..=560).contains(&steps) {
                return Err(Refusal::corrupt("a scale is out of range"));
            }
            context = (64 - zigzag.leading_zeros()).min(5) as usize;
            scales.push(steps as i32);
        }
        Ok(scales)
    }

    pub(super) fn check_end(&self) -> Result<(), Refusal> {
        self.stream.check_end()
    }
}
