//! Streams that several codecs have (`docs/structural-format.md`, section 4; `docs/format.md`, "Range coder" and "Decisions").

use super::Refusal;
use super::structural::stretch;

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

/// The range coder of codec 16, in which side information is coded, too.
pub(super) struct RangeDecoder<'a> {
    words: Words<'a>,
    lower: u64,
    range: u64,
    point: u64,
}

/// Bits of precision: frequencies add up to 2^28.
pub(super) const PRECISION: u32 = 28;

impl<'a> RangeDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut words = Words { bytes, n_taken: 0 };
        let point = words.next() << 32 | words.next();
        Self { words, lower: 0, range: u64::MAX, point }
    }

    pub(super) fn quantile(&self) -> Result<u64, Refusal> {
        let quantile = self.point.wrapping_sub(self.lower) / (self.range >> PRECISION);
        if quantile >= 1 << PRECISION {
            return Err(Refusal::corrupt("a quantile of 2^28 or more"));
        }
        Ok(quantile)
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

    pub(super) fn take(&mut self, cumulative: u64, frequency: u64) {
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

/// Plain bits, the first ones lowest in each byte; zeros past the end.
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

    /// Fails unless `owner` has just the bits that were taken.
    pub(super) fn check_end(&self, owner: &str) -> Result<(), Refusal> {
        let n_bytes = self.n_taken.div_ceil(8);
        if self.bytes.len() as u64 != n_bytes {
            let what = format!("{owner} takes {n_bytes} bytes of plain bits and has {}", self.bytes.len());
            return Err(Refusal::corrupt(what));
        }
        Ok(())
    }

    /// Fails unless the bits of the last byte that were not taken are zeros.
    pub(super) fn check_rest_is_zero(&mut self) -> Result<(), Refusal> {
        let n_left = 8 * self.bytes.len() as u64 - self.n_taken;
        if self.take(n_left as u32) == 0 { Ok(()) } else { Err(Refusal::corrupt("bits follow the plain bits")) }
    }
}

/// A counter of answers.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    /// The probability of a one, of 22 bits.
    pub(super) p: u32,
    pub(super) n: u32,
}

impl Counter {
    pub(super) const NEW: Self = Self { p: 1 << 21, n: 0 };

    /// In 1 / 2^16.
    pub(super) fn probability(self) -> u32 {
        (self.p >> 6).clamp(1, 65535)
    }

    pub(super) fn opinion(self) -> f32 {
        stretch(self.p >> 10)
    }

    pub(super) fn count(&mut self, answer: bool) {
        let rate = (65536.0 / (self.n as f32 + 1.6)) as i64;
        let target = if answer { (1 << 22) - 1 } else { 0 };
        let p = i64::from(self.p);
        self.p = (p + (((target - p) * rate) >> 16)) as u32;
        self.n = (self.n + 1).min(1000);
    }

    /// The next answer, by this counter alone, which counts it.
    pub(super) fn answer(&mut self, decisions: &mut Decisions<'_>) -> bool {
        let answer = decisions.decision(self.probability());
        self.count(answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/structural-format.md`, section 16.
    #[test]
    fn counters_move_by_rates() {
        let rates = [0, 1, 10, 100, 1000].map(|n| {
            let mut counter = Counter { p: 0, n };
            // From 0 on, a step is 2^22 - 1 of the rate, all but 64 times it.
            counter.count(true);
            counter.p.div_ceil(64)
        });
        assert_eq!(rates, [40960, 25206, 5649, 645, 65]);
    }
}
