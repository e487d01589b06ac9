//! "Decisions".

use super::super::Refusal;
use super::range_coder::Words;

/// Decodes answers that have probabilities of a one in 1 / 2^16.
pub(super) struct Decisions<'a> {
    words: Words<'a>,
    low: u64,
    range: u64,
    point: u64,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut words = Words::new(bytes);
        let point = words.next() << 32 | words.next();
        Self { words, low: 0, range: u64::MAX, point }
    }

    /// The next answer; `p` is from 1 to 65535.
    pub(super) fn answer(&mut self, p: u32) -> bool {
        let ones = (self.range >> 16) * u64::from(p);
        let is_one = self.point.wrapping_sub(self.low) < ones;
        if is_one {
            self.range = ones;
        } else {
            self.low = self.low.wrapping_add(ones);
            self.range -= ones;
        }
        if self.range < 1 << 32 {
            self.low <<= 32;
            self.range <<= 32;
            self.point = self.point << 32 | self.words.next();
        }
        is_one
    }

    /// Refuses bytes that have not been read.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        self.words.finish()
    }
}

/// A probability that moves to the answers that it gave one for.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    /// Of 22 bits.
    probability: i64,
    n: u16,
}

impl Default for Counter {
    fn default() -> Self {
        Self { probability: 1 << 21, n: 0 }
    }
}

impl Counter {
    /// The probability of a one in 1 / 2^16.
    pub(super) fn p(self) -> u32 {
        ((self.probability >> 6) as u32).max(1)
    }

    pub(super) fn count(&mut self, is_one: bool) {
        let target = if is_one { (1 << 22) - 1 } else { 0 };
        let rate = (65536.0 / (f32::from(self.n) + 1.6)) as i64;
        self.probability += ((target - self.probability) * rate) >> 16;
        self.n = (self.n + 1).min(1000);
    }

    /// The next answer, by this counter alone, which counts it.
    pub(super) fn answer(&mut self, decisions: &mut Decisions<'_>) -> bool {
        let is_one = decisions.answer(self.p());
        self.count(is_one);
        is_one
    }
}
