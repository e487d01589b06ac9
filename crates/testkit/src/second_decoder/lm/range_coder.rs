//! "Range coder", and the frequencies of `docs/determinism.md`, section 9.

use super::super::Refusal;

/// Bits of precision: frequencies add up to 2^28.
const PRECISION: u32 = 28;

/// Integer weights to frequencies.
pub(super) fn frequencies(weights: &[u32]) -> Result<Vec<u64>, Refusal> {
    let n = weights.len() as u64;
    let sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    if n == 0 || n > 1 << (PRECISION - 1) {
        return Err(Refusal::corrupt("no symbol, or too many"));
    }
    let weight = |i: usize| if sum == 0 { 1 } else { u64::from(weights[i]) };
    let m = (((1 << PRECISION) - n) << 32) / if sum == 0 { n } else { sum };
    // A weight is not above the sum, so that no product is above 2^60.
    let mut frequencies: Vec<u64> = (0..weights.len()).map(|i| 1 + ((weight(i) * m) >> 32)).collect();
    let missing = (1 << PRECISION) - frequencies.iter().sum::<u64>();
    let largest = (1..weights.len()).fold(0, |best, i| if weights[i] > weights[best] { i } else { best });
    frequencies[largest] += missing;
    Ok(frequencies)
}

/// Bytes as words of 32 bits, with zeros past their end.
pub(super) struct Words<'a> {
    bytes: &'a [u8],
    n_read: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, n_read: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        let byte = |i: usize| u64::from(self.bytes.get(self.n_read + i).copied().unwrap_or(0));
        let word = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
        self.n_read += 4;
        word
    }

    /// Refuses bytes that have not been read.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        if self.n_read < self.bytes.len() { Err(Refusal::corrupt("bytes of a lane are left")) } else { Ok(()) }
    }
}

pub(super) struct RangeDecoder<'a> {
    words: Words<'a>,
    lower: u64,
    range: u64,
    point: u64,
}

impl<'a> RangeDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut words = Words::new(bytes);
        let point = words.next() << 32 | words.next();
        Self { words, lower: 0, range: u64::MAX, point }
    }

    /// The next symbol, by the frequencies of all.
    pub(super) fn symbol(&mut self, frequencies: &[u64]) -> Result<usize, Refusal> {
        let quantile = self.quantile()?;
        let mut cumulative = 0;
        for (symbol, &frequency) in frequencies.iter().enumerate() {
            if quantile < cumulative + frequency {
                self.take(cumulative, frequency);
                return Ok(symbol);
            }
            cumulative += frequency;
        }
        Err(Refusal::corrupt("a quantile beyond all symbols"))
    }

    fn quantile(&self) -> Result<u64, Refusal> {
        let quantile = self.point.wrapping_sub(self.lower) / (self.range >> PRECISION);
        if quantile >> PRECISION == 0 { Ok(quantile) } else { Err(Refusal::corrupt("a quantile of 2^28 or more")) }
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

    /// Plain bits, `docs/structural-format.md`, section 4.
    fn plain(&mut self, n_bits: u32) -> Result<u64, Refusal> {
        let mut value = 0;
        let mut left = n_bits;
        while left > 0 {
            let step = left.min(16);
            let bits = self.quantile()? >> (PRECISION - step);
            self.take(bits << (PRECISION - step), 1 << (PRECISION - step));
            value = value << step | bits;
            left -= step;
        }
        Ok(value)
    }

    /// Refuses bytes that have not been read.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        self.words.finish()
    }
}

/// An adaptive bit: the counts of zeros and ones.
#[derive(Clone, Copy)]
struct AdaptiveBit {
    zeros: u64,
    ones: u64,
}

impl AdaptiveBit {
    fn bit(&mut self, decoder: &mut RangeDecoder<'_>) -> Result<bool, Refusal> {
        let split = self.zeros * ((1 << PRECISION) / (self.zeros + self.ones));
        let is_one = decoder.quantile()? >= split;
        if is_one {
            decoder.take(split, (1 << PRECISION) - split);
            self.ones += 2;
        } else {
            decoder.take(0, split);
            self.zeros += 2;
        }
        if self.zeros + self.ones > 1024 {
            self.zeros = self.zeros.div_ceil(2);
            self.ones = self.ones.div_ceil(2);
        }
        Ok(is_one)
    }
}

/// An adaptive integer.
pub(super) struct AdaptiveInteger {
    longer: [AdaptiveBit; 64],
    tree: [[AdaptiveBit; 8]; 64],
}

impl Default for AdaptiveInteger {
    fn default() -> Self {
        let bit = AdaptiveBit { zeros: 1, ones: 1 };
        Self { longer: [bit; 64], tree: [[bit; 8]; 64] }
    }
}

impl AdaptiveInteger {
    pub(super) fn integer(&mut self, decoder: &mut RangeDecoder<'_>) -> Result<u64, Refusal> {
        let mut n_bits = 0;
        while n_bits < 64 && self.longer[n_bits].bit(decoder)? {
            n_bits += 1;
        }
        let Some(below) = n_bits.checked_sub(1) else { return Ok(0) };
        let lead = below.min(3);
        let mut node = 1;
        for _ in 0..lead {
            node = 2 * node + usize::from(self.tree[below][node].bit(decoder)?);
        }
        let n_plain = below - lead;
        Ok((node as u64) << n_plain | decoder.plain(n_plain as u32)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_add_up() {
        for weights in [&[0, 0, 0][..], &[1 << 30], &[5, 1 << 30, 1 << 30, 0], &[u32::MAX; 300]] {
            let frequencies = frequencies(weights).unwrap();
            assert_eq!(frequencies.iter().sum::<u64>(), 1 << PRECISION);
            assert!(frequencies.iter().all(|&f| f > 0));
        }
    }
}
