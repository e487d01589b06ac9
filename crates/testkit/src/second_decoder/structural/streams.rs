//! Section 4: streams.

use super::super::Refusal;

/// 32-bit words, the most significant byte first; zeros past the end.
struct Words<'a> {
    bytes: &'a [u8],
    n_taken: u64,
}

impl Words<'_> {
    fn next(&mut self) -> u64 {
        let start = usize::try_from(self.n_taken * 4).unwrap_or(usize::MAX);
        self.n_taken += 1;
        let byte = |i| self.bytes.get(start.saturating_add(i)).copied().unwrap_or(0);
        u64::from(u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)]))
    }

    fn check_end(&self) -> Result<(), Refusal> {
        if self.n_taken * 4 < self.bytes.len() as u64 {
            return Err(Refusal::corrupt("a stream is longer than what it says"));
        }
        Ok(())
    }
}

/// The side information, by the range coder of codec 16.
pub(super) struct SideStream<'a> {
    words: Words<'a>,
    lower: u64,
    range: u64,
    point: u64,
}

const PRECISION: u32 = 28;

impl<'a> SideStream<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut words = Words { bytes, n_taken: 0 };
        let point = words.next() << 32 | words.next();
        Self { words, lower: 0, range: u64::MAX, point }
    }

    fn quantile(&self) -> Result<u64, Refusal> {
        let quantile = self.point.wrapping_sub(self.lower) / (self.range >> PRECISION);
        if quantile >= 1 << PRECISION {
            return Err(Refusal::corrupt("a quantile of the side information is out of range"));
        }
        Ok(quantile)
    }

    fn take(&mut self, cumulative: u64, frequency: u64) {
        let scale = self.range >> PRECISION;
        self.lower = self.lower.wrapping_add(scale * cumulative);
        self.range = scale * frequency;
        if self.range < 1 << 32 {
            self.lower <<= 32;
            self.range <<= 32;
            self.point = self.point << 32 | self.words.next();
        }
    }

    pub(super) fn plain(&mut self, n_bits: u32) -> Result<u64, Refusal> {
        let (mut value, mut n_left) = (0, n_bits);
        while n_left > 0 {
            let n_step = n_left.min(16);
            let unit = PRECISION - n_step;
            let step = self.quantile()? >> unit;
            self.take(step << unit, 1 << unit);
            value = value << n_step | step;
            n_left -= n_step;
        }
        Ok(value)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Refusal> {
        Ok(self.plain(1)? == 1)
    }

    fn bit(&mut self, model: &mut AdaptiveBit) -> Result<bool, Refusal> {
        let AdaptiveBit { zeros, ones } = model;
        let split = *zeros * ((1 << PRECISION) / (*zeros + *ones));
        let bit = self.quantile()? >= split;
        if bit {
            self.take(split, (1 << PRECISION) - split);
            *ones += 2;
        } else {
            self.take(0, split);
            *zeros += 2;
        }
        if *zeros + *ones > 1024 {
            *zeros = zeros.div_ceil(2);
            *ones = ones.div_ceil(2);
        }
        Ok(bit)
    }

    pub(super) fn integer(&mut self, model: &mut AdaptiveInteger) -> Result<u64, Refusal> {
        let mut n: u32 = 0;
        for longer in &mut model.longer {
            if !self.bit(longer)? {
                break;
            }
            n += 1;
        }
        let Some(below) = n.checked_sub(1) else { return Ok(0) };
        let lead = below.min(3);
        let mut node = 1;
        for _ in 0..lead {
            let tree = model.tree.get_mut(below as usize).and_then(|tree| tree.get_mut(node as usize));
            let bit = self.bit(tree.ok_or_else(|| Refusal::corrupt("no such node"))?)?;
            node = 2 * node + u64::from(bit);
        }
        Ok(node << (below - lead) | self.plain(below - lead)?)
    }

    pub(super) fn check_end(&self) -> Result<(), Refusal> {
        self.words.check_end()
    }
}

#[derive(Clone, Copy)]
struct AdaptiveBit {
    zeros: u64,
    ones: u64,
}

const FRESH: AdaptiveBit = AdaptiveBit { zeros: 1, ones: 1 };

/// A model of integers below 2^64.
#[derive(Clone)]
pub(super) struct AdaptiveInteger {
    longer: [AdaptiveBit; 64],
    tree: [[AdaptiveBit; 8]; 64],
}

impl AdaptiveInteger {
    pub(super) const NEW: Self = Self { longer: [FRESH; 64], tree: [[FRESH; 8]; 64] };
}

/// A lane's decisions.
pub(super) struct Decisions<'a> {
    words: Words<'a>,
    range: u64,
    offset: u64,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut words = Words { bytes, n_taken: 0 };
        let offset = words.next() << 32 | words.next();
        Self { words, range: u64::MAX, offset }
    }

    /// An answer that is yes with probability `p` / 2^16.
    pub(super) fn decision(&mut self, p: u32) -> bool {
        let split = (self.range >> 16) * u64::from(p);
        let answer = self.offset < split;
        if answer {
            self.range = split;
        } else {
            self.offset = self.offset.wrapping_sub(split);
            self.range -= split;
        }
        self.renormalise();
        answer
    }

    /// Where in 2^`n_bits` the next interval has a point.
    pub(super) fn point(&self, n_bits: u32) -> u64 {
        (self.offset / (self.range >> n_bits)).min((1 << n_bits) - 1)
    }

    /// Takes the interval from `start` to `end` of 2^`n_bits`.
    pub(super) fn take(&mut self, n_bits: u32, start: u64, end: u64) -> Result<(), Refusal> {
        if start >= end || end > 1 << n_bits {
            return Err(Refusal::corrupt("an empty interval"));
        }
        let unit = self.range >> n_bits;
        self.offset = self.offset.wrapping_sub(unit * start);
        self.range = unit * (end - start);
        self.renormalise();
        Ok(())
    }

    fn renormalise(&mut self) {
        if self.range < 1 << 32 {
            self.offset = self.offset << 32 | self.words.next();
            self.range <<= 32;
        }
    }

    pub(super) fn check_end(&self) -> Result<(), Refusal> {
        self.words.check_end()
    }
}

/// A lane's plain bits.
pub(super) struct PlainBits<'a> {
    bytes: &'a [u8],
    n_taken: u64,
}

impl<'a> PlainBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, n_taken: 0 }
    }

    pub(super) fn take(&mut self, n_bits: u32) -> u64 {
        let mut bits = 0;
        for i in 0..n_bits {
            let byte = self.bytes.get((self.n_taken / 8) as usize).copied().unwrap_or(0);
            bits |= u64::from(byte >> (self.n_taken % 8) & 1) << i;
            self.n_taken += 1;
        }
        bits
    }

    /// Fails unless lane number `lane` has just the bits that were taken.
    pub(super) fn check_end(&self, lane: usize) -> Result<(), Refusal> {
        let n_bytes = self.n_taken.div_ceil(8);
        if self.bytes.len() as u64 != n_bytes {
            let what = format!("lane {lane} takes {n_bytes} bytes of plain bits and has {}", self.bytes.len());
            return Err(Refusal::corrupt(what));
        }
        if self.n_taken.div_ceil(8) > self.bytes.len() as u64 {
            return Err(Refusal::corrupt("fewer plain bits than values have"));
        }
        Ok(())
    }
}
