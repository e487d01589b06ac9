//! A small adaptive binary arithmetic coder for side information. Integers only.
//!
//! A carry-less interval `[low, high]` of 32 bits is split at each bit in proportion to the bit's probability; leading
//! bytes that both ends share are put out. Probabilities start at 1/2, adapt with a falling rate, and stay within
//! 1/256 of 0 and 1, so that a decoder spends at most some 1400 bits' work on each byte of input.

use crate::{Error, Result};

/// An adaptive bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    /// Of a 1, in 1/65536.
    probability: u16,
    n_seen: u8,
}

impl Bit {
    pub(super) const NEW: Self = Self { probability: 1 << 15, n_seen: 0 };
    const MIN_PROBABILITY: u16 = 1 << 8;
    const MAX_PROBABILITY: u16 = u16::MAX - (1 << 8);
    /// Bounds the rate of adaptation from below.
    const MAX_SEEN: u8 = 250;

    fn update(&mut self, bit: bool) {
        let divisor = u16::from(self.n_seen) + 2;
        if bit {
            self.probability += (Self::MAX_PROBABILITY - self.probability) / divisor;
        } else {
            self.probability -= (self.probability - Self::MIN_PROBABILITY) / divisor;
        }
        self.n_seen = (self.n_seen + 1).min(Self::MAX_SEEN);
    }
}

/// The interval that both sides keep.
#[derive(Debug)]
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    const WHOLE: Self = Self { low: 0, high: u32::MAX };

    /// The last value of the part that stands for a 1, which is the lower one.
    fn split(&self, bit: &Bit) -> u32 {
        self.low + ((u64::from(self.high - self.low) * u64::from(bit.probability)) >> 16) as u32
    }

    fn narrow(&mut self, split: u32, bit: bool) {
        if bit {
            self.high = split;
        } else {
            self.low = split + 1;
        }
    }

    /// The leading byte, shifted out, if both ends share it.
    fn shift(&mut self) -> Option<u8> {
        let byte = (self.low >> 24) as u8;
        if byte != (self.high >> 24) as u8 {
            return None;
        }
        self.low <<= 8;
        self.high = self.high << 8 | 0xff;
        Some(byte)
    }
}

/// Anything that codes bits: an encoder is told them, a decoder tells them.
pub(super) trait BitCoder {
    /// Codes one bit. The encoder returns `bit`, the decoder ignores it and returns what it read.
    fn code(&mut self, model: &mut Bit, bit: bool) -> Result<bool>;
}

#[derive(Debug)]
pub(super) struct BitEncoder {
    interval: Interval,
    bytes: Vec<u8>,
}

impl BitEncoder {
    /// Will append to `bytes`.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { interval: Interval::WHOLE, bytes }
    }

    /// All bytes, with the last one needed: missing ones are read as zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.interval.low > 0 {
            // The ends differ in their leading byte, so this lies between them.
            self.bytes.push((self.interval.low >> 24) as u8 + 1);
        }
        self.bytes
    }
}

impl BitCoder for BitEncoder {
    fn code(&mut self, model: &mut Bit, bit: bool) -> Result<bool> {
        let split = self.interval.split(model);
        self.interval.narrow(split, bit);
        model.update(bit);
        while let Some(byte) = self.interval.shift() {
            self.bytes.push(byte);
        }
        Ok(bit)
    }
}

#[derive(Debug)]
pub(super) struct BitDecoder<'a> {
    interval: Interval,
    /// The four bytes of input that lie in the interval.
    value: u32,
    bytes: &'a [u8],
    /// Bytes of `bytes` that the encoder had put out by now.
    n_shifted: usize,
}

impl<'a> BitDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { interval: Interval::WHOLE, value: 0, bytes, n_shifted: 0 };
        for index in 0..4 {
            decoder.value = decoder.value << 8 | decoder.byte(index);
        }
        decoder
    }

    fn byte(&self, index: usize) -> u32 {
        self.bytes.get(index).copied().unwrap_or(0).into()
    }

    /// Checks that nothing is left over.
    pub(super) fn finish(self) -> Result<()> {
        let n_expected = self.n_shifted + usize::from(self.interval.low > 0);
        if self.bytes.len() == n_expected {
            Ok(())
        } else {
            Err(Error::CorruptSide(format!("{} bytes where {n_expected} are coded", self.bytes.len())))
        }
    }
}

impl BitCoder for BitDecoder<'_> {
    fn code(&mut self, model: &mut Bit, _: bool) -> Result<bool> {
        let split = self.interval.split(model);
        let bit = self.value <= split;
        self.interval.narrow(split, bit);
        model.update(bit);
        while self.interval.shift().is_some() {
            self.value = self.value << 8 | self.byte(self.n_shifted + 4);
            self.n_shifted += 1;
        }
        if self.n_shifted > self.bytes.len() {
            return Err(Error::CorruptSide(format!("it ends after {} bytes, too early", self.bytes.len())));
        }
        Ok(bit)
    }
}

/// An adaptive symbol of `BITS` bits, coded from the highest bit down, each in the context of those before.
#[derive(Debug, Clone)]
pub(super) struct Symbol<const BITS: u32> {
    nodes: Vec<Bit>,
}

impl<const BITS: u32> Symbol<BITS> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Bit::NEW; 1 << BITS] }
    }

    /// As [`BitCoder::code`]; only the lowest `BITS` bits are coded.
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, symbol: u64) -> Result<u64> {
        let mut node = 1;
        for index in (0..BITS).rev() {
            let bit = coder.code(&mut self.nodes[node], symbol >> index & 1 != 0)?;
            node = node << 1 | usize::from(bit);
        }
        Ok((node - (1 << BITS)) as u64)
    }
}

/// An adaptive unsigned integer: the number of its bits, then up to three bits below the leading one in the context of
/// that number, then the others plain.
#[derive(Debug, Clone)]
pub(super) struct Number {
    n_bits: Symbol<6>,
    upper: Vec<Symbol<3>>,
}

impl Number {
    /// The greatest number that can be coded.
    pub(super) const MAX: u64 = u64::MAX >> 1;

    pub(super) fn new() -> Self {
        Self { n_bits: Symbol::new(), upper: vec![Symbol::new(); 64] }
    }

    /// As [`BitCoder::code`]. At most [`Number::MAX`].
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, number: u64) -> Result<u64> {
        // 1 and above have a leading bit.
        let number = number.min(Self::MAX) + 1;
        let n_below = self.n_bits.code(coder, number.ilog2().into())?;
        let n_plain = n_below.saturating_sub(3);
        // Fewer than three bits are coded as three, with zeros in front that cost next to nothing.
        let below = number & ((1 << n_below) - 1);
        let upper = self.upper[n_below as usize].code(coder, below >> n_plain)?;
        let mut read = 1_u64 << n_below | upper << n_plain;
        if upper << n_plain >= 1 << n_below {
            return Err(Error::CorruptSide("a number does not fit its length".to_owned()));
        }
        for index in (0..n_plain).rev() {
            let bit = coder.code(&mut { Bit::NEW }, number >> index & 1 != 0)?;
            read |= u64::from(bit) << index;
        }
        if read - 1 > Self::MAX {
            return Err(Error::CorruptSide("a number is above the limit".to_owned()));
        }
        Ok(read - 1)
    }
}
