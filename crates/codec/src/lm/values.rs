//! Values cut in two: leading bits for the language model, and the rest, which has models of its own.
//!
//! The rest is coded bit by bit, from above: what is left of sign and exponent, and three bits of the mantissa, by counters that
//! know all bits above; then whether all bits below are zero, by the sign and exponent; if not, the zeros at the end, by how many the
//! value before had; and the bits between as they are.

use lmgc_coder::{BinaryDecoder, BinaryEncoder};
use lmgc_container::fields::{Fields, put_varint};
use lmgc_tensors::Dtype;

use crate::Error;
use crate::bits::{BitPacker, BitUnpacker};
use crate::float_layout::{FloatLayout, bits_of};
use crate::logistic::{Counter, Logistic};

/// Bits after sign and exponent that are counted.
const N_MANTISSA: u32 = 3;
/// Leading bits of numbers that are no floats.
const LEADING_BYTE: u32 = 8;
/// Plain bits are packed so many at a time.
const PLAIN_STEP: u32 = 32;

/// What a value's bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueLayout {
    /// Bits of a value, whole bytes.
    pub(super) n_bits: u32,
    /// Sign and exponent; of other numbers the upper 8 bits.
    pub(super) leading_bits: u32,
    pub(super) has_sign: bool,
}

impl ValueLayout {
    pub(super) fn of(dtype: Dtype) -> Self {
        match FloatLayout::of(dtype) {
            Some(layout) => {
                let leading_bits = 1 + layout.exponent_bits;
                Self { n_bits: leading_bits + layout.mantissa_bits, leading_bits, has_sign: true }
            }
            None => {
                Self { n_bits: 8 * dtype.size_bytes().clamp(1, 8) as u32, leading_bits: LEADING_BYTE, has_sign: false }
            }
        }
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.n_bits as usize / 8
    }
}

/// Where values are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) layout: ValueLayout,
    /// Bits above the cut.
    pub(super) head_bits: u32,
}

impl Cut {
    pub(super) fn n_values(&self, n_bytes: usize) -> usize {
        n_bytes / self.layout.n_bytes()
    }

    fn rest_bits(&self) -> u32 {
        self.layout.n_bits - self.head_bits
    }

    /// The heads of all whole values.
    pub(super) fn heads(&self, bytes: &[u8]) -> Vec<u64> {
        bytes.chunks_exact(self.layout.n_bytes()).map(|value| bits_of(value) >> self.rest_bits()).collect()
    }

    /// All that the heads don't say.
    pub(super) fn encode_rest(&self, bytes: &[u8]) -> Vec<u8> {
        let values = bytes.chunks_exact(self.layout.n_bytes());
        let tail = values.remainder();
        let mut out = Vec::new();
        if self.rest_bits() > 0 {
            let mut models = Models::new(self);
            let mut writing = Writing { coder: BinaryEncoder::new(), plain: BitPacker::default() };
            for value in values {
                models.code(bits_of(value), &mut writing);
            }
            let coded = writing.coder.finish();
            put_varint(&mut out, coded.len() as u64);
            out.extend(coded);
            out.extend(writing.plain.finish());
        }
        out.extend(tail);
        out
    }

    /// The bytes of heads, with all that they don't say.
    pub(super) fn decode_rest(&self, heads: &[u64], rest: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
        let corrupt = |what: &str| Error::corrupt_block(format!("lm rest of values: {what}"));
        let n_bytes = self.layout.n_bytes();
        if self.n_values(raw_len) != heads.len() {
            return Err(corrupt("the number of values does not fit"));
        }
        let (rest, tail) =
            rest.split_at_checked(rest.len().wrapping_sub(raw_len % n_bytes)).ok_or_else(|| corrupt("too short"))?;
        let mut bytes = Vec::with_capacity(raw_len);
        if self.rest_bits() == 0 {
            if !rest.is_empty() {
                return Err(corrupt("bytes are left over"));
            }
            heads.iter().for_each(|head| bytes.extend_from_slice(&head.to_le_bytes()[..n_bytes]));
        } else {
            let mut fields = Fields::new(rest, 0);
            let len = fields.varint("length")?;
            let coded = fields.bytes(len, "decisions")?;
            let mut models = Models::new(self);
            let mut reading = Reading { coder: BinaryDecoder::new(coded), plain: BitUnpacker::new(fields.rest()) };
            for head in heads {
                let value = models.code(head << self.rest_bits(), &mut reading);
                bytes.extend_from_slice(&value.to_le_bytes()[..n_bytes]);
            }
            reading.coder.finish()?;
            if !reading.plain.is_exhausted() {
                return Err(corrupt("plain bits are left over"));
            }
            if reading.plain.is_overrun() {
                return Err(corrupt("there are too few plain bits"));
            }
        }
        bytes.extend_from_slice(tail);
        Ok(bytes)
    }
}

/// Where decisions go to, or come from.
trait Channel {
    fn bit(&mut self, bit: bool, probability: u32) -> bool;
    fn plain(&mut self, value: u64, n_bits: u32) -> u64;
}

struct Writing {
    coder: BinaryEncoder,
    plain: BitPacker,
}

impl Channel for Writing {
    fn bit(&mut self, bit: bool, probability: u32) -> bool {
        self.coder.encode(bit, probability);
        bit
    }

    fn plain(&mut self, value: u64, n_bits: u32) -> u64 {
        self.plain.push(value, n_bits);
        value
    }
}

struct Reading<'a> {
    coder: BinaryDecoder<'a>,
    plain: BitUnpacker<'a>,
}

impl Channel for Reading<'_> {
    fn bit(&mut self, _: bool, probability: u32) -> bool {
        self.coder.decode(probability)
    }

    fn plain(&mut self, _: u64, n_bits: u32) -> u64 {
        self.plain.take(n_bits)
    }
}

struct Models {
    logistic: &'static Logistic,
    cut: Cut,
    /// Bits that are counted, from above.
    counted_bits: u32,
    /// By the bits above, with a one in front.
    tree: Vec<Counter>,
    /// Are all plain bits zero? By sign and exponent, and whether those of the value before were.
    empty: Vec<[Counter; 2]>,
    was_empty: bool,
    /// Is the lowest bit that is left set? By its place, and whether that bit and all below were zero in the value before.
    lowest: [[Counter; 2]; 64],
    n_zeros: u32,
}

impl Models {
    fn new(cut: &Cut) -> Self {
        let layout = cut.layout;
        let counted_bits = (layout.leading_bits + N_MANTISSA).min(layout.n_bits);
        Self {
            logistic: Logistic::shared(),
            cut: *cut,
            counted_bits,
            tree: vec![Counter::NEW; 1 << counted_bits],
            empty: vec![[Counter::NEW; 2]; 1 << layout.leading_bits],
            was_empty: false,
            lowest: [[Counter::NEW; 2]; 64],
            n_zeros: 0,
        }
    }

    /// Codes a value of which the head is known.
    fn code(&mut self, actual: u64, channel: &mut impl Channel) -> u64 {
        let Self { cut, counted_bits, .. } = *self;
        let n_bits = cut.layout.n_bits;
        let mut n_known = cut.head_bits;
        let mut value = actual >> (n_bits - n_known);
        while n_known < counted_bits {
            let counter = &mut self.tree[1 << n_known | value as usize];
            let bit = channel.bit(actual >> (n_bits - n_known - 1) & 1 == 1, counter.probability());
            counter.count(self.logistic, bit);
            value = value << 1 | u64::from(bit);
            n_known += 1;
        }
        let n_plain = n_bits - n_known;
        if n_plain == 0 {
            return value;
        }
        let leading = (value >> (n_known - cut.layout.leading_bits)) as usize;
        let counter = &mut self.empty[leading][usize::from(self.was_empty)];
        let rest = actual & ((1 << n_plain) - 1);
        let is_empty = channel.bit(rest == 0, counter.probability());
        counter.count(self.logistic, is_empty);
        self.was_empty = is_empty;
        if is_empty {
            return value << n_plain;
        }
        let mut n_zeros = 0;
        while n_zeros + 1 < n_plain {
            let counter = &mut self.lowest[n_zeros as usize][usize::from(self.n_zeros > n_zeros)];
            let is_set = channel.bit(rest >> n_zeros & 1 == 1, counter.probability());
            counter.count(self.logistic, is_set);
            if is_set {
                break;
            }
            n_zeros += 1;
        }
        self.n_zeros = n_zeros;
        let mut n_left = n_plain - n_zeros - 1;
        let mut above = 0;
        while n_left > 0 {
            let step = n_left.min(PLAIN_STEP);
            n_left -= step;
            above = above << step | (channel.plain(rest >> (n_zeros + 1 + n_left), step) & ((1 << step) - 1));
        }
        value << n_plain | (above << 1 | 1) << n_zeros
    }
}

#[cfg(test)]
mod tests {
    use lmgc_testkit::Random;

    use super::*;

    #[test]
    fn values_come_back_wherever_they_are_cut() {
        let mut random = Random::new(5);
        for dtype in Dtype::ALL {
            let layout = ValueLayout::of(dtype);
            assert!(layout.leading_bits <= layout.n_bits && layout.n_bits <= 64, "{dtype}");
            for head_bits in [1, 4, layout.leading_bits, layout.leading_bits + 1, 16, 24, 48, layout.n_bits] {
                if head_bits > layout.n_bits {
                    continue;
                }
                let cut = Cut { layout, head_bits };
                let mut bytes = random.bytes(8 * 40 + 5);
                bytes[64..160].fill(0);
                let (heads, rest) = (cut.heads(&bytes), cut.encode_rest(&bytes));
                assert_eq!(cut.decode_rest(&heads, &rest, bytes.len()).unwrap(), bytes, "{dtype} {head_bits}");
                for len in 0..rest.len() {
                    // It may go on as zeros would, but never panics or gives another length.
                    if let Ok(other) = cut.decode_rest(&heads, &rest[..len], bytes.len()) {
                        assert_eq!(other.len(), bytes.len());
                    }
                }
                assert!(cut.decode_rest(&heads[1..], &rest, bytes.len()).is_err());
            }
        }
    }

    #[test]
    fn zeros_cost_next_to_nothing() {
        let cut = Cut { layout: ValueLayout::of(Dtype::F32), head_bits: 9 };
        assert!(cut.encode_rest(&vec![0; 40_000]).len() < 60);
        let halves: Vec<u8> =
            (0..10_000u32).flat_map(|i| (i.wrapping_mul(0x9e37_79b9) & 0xffff_0000).to_le_bytes()).collect();
        assert!(
            cut.encode_rest(&halves).len() < 10_000 * 7 / 8 + 1200,
            "bf16 as f32: {}",
            cut.encode_rest(&halves).len()
        );
    }
}
