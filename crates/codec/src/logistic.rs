//! Binary probabilities: counters that learn them, and the logistic domain that opinions are added in.

use std::sync::OnceLock;

use lmgc_kernels::arch::scalar::Scalar;
use lmgc_kernels::{LANES, Simd, log2};

use crate::structural::exp2;

/// Resolution of [`Logistic::stretch`] and [`Logistic::squash`].
const STRETCH_BITS: u32 = 12;
const SQUASH_STEPS: f32 = 64.0;
const MAX_SUM: f32 = 16.0;
const N_SQUASH: usize = (2.0 * MAX_SUM * SQUASH_STEPS) as usize + 1;
/// A counter stops growing more certain here.
const MAX_COUNT: u32 = 1000;
const COUNT_BITS: u32 = 10;

/// Functions that are looked up. Their lengths let indices go unchecked.
pub(crate) struct Logistic {
    /// log2 of the odds of a probability's upper 12 bits.
    stretch: Box<[f32; 1 << STRETCH_BITS]>,
    /// The probability of log2 of odds, from -16 in steps of 1/64, in 1 / 65536.
    squash: Box<[u16; N_SQUASH]>,
    /// By how often a counter has counted: the weight of what comes next, in 1 / 65536.
    rates: Box<[u32; 1 << COUNT_BITS]>,
}

/// A table on the heap.
pub(crate) fn boxed<T: Copy, const N: usize>(mut f: impl FnMut(usize) -> T) -> Box<[T; N]> {
    let table: Box<[T]> = (0..N).map(&mut f).collect();
    table.try_into().unwrap_or_else(|_| Box::new([f(0); N]))
}

/// The first of what all lanes are.
fn first(lanes: <Scalar as Simd>::F) -> f32 {
    let mut stored = [0.0; LANES];
    Scalar.store(lanes, &mut stored);
    stored[0]
}

impl Logistic {
    /// The functions, computed once.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Logistic> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    pub(crate) fn new() -> Self {
        let stretch = boxed(|i| {
            let p = (i as f32 + 0.5) / (1u32 << STRETCH_BITS) as f32;
            first(log2(Scalar, Scalar.splat(p / (1.0 - p))))
        });
        let squash = boxed(|i| {
            let x = i as f32 / SQUASH_STEPS - MAX_SUM;
            (65536.0 / (1.0 + first(exp2(Scalar, Scalar.splat(-x))))).clamp(1.0, 65535.0) as u16
        });
        let rates = boxed(|n| (65536.0 / (n as f32 + 1.6)) as u32);
        Self { stretch, squash, rates }
    }

    /// log2 of the odds that a counter gives.
    #[inline(always)]
    pub(crate) fn stretch(&self, counter: Counter) -> f32 {
        self.stretch[(counter.0 >> (32 - STRETCH_BITS)) as usize]
    }

    /// log2 of the odds of a probability in 1 / 65536.
    #[inline(always)]
    pub(crate) fn stretch_of(&self, probability: u32) -> f32 {
        self.stretch[(probability >> (16 - STRETCH_BITS)) as usize % (1 << STRETCH_BITS)]
    }

    /// The probability of log2 of odds, in 1 / 65536.
    #[inline(always)]
    pub(crate) fn squash(&self, odds: f32) -> u32 {
        let index = (odds * SQUASH_STEPS + MAX_SUM * SQUASH_STEPS).round_ties_even() as i32;
        u32::from(self.squash[index.clamp(0, N_SQUASH as i32 - 1) as usize])
    }
}

/// The probability that one part of a sum has, in 1 / 65536.
pub(crate) fn share(part: u64, whole: u64) -> u32 {
    // Both have 56 bits at most.
    let (part, whole) = (u128::from(part) + 1, u128::from(whole) + 2);
    ((part << 16) / whole) as u32
}

/// The probability of a one, learned: it in the upper 22 bits, how much has been counted in the lower 10.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter(u32);

impl Counter {
    /// Both answers are equally likely.
    pub(crate) const NEW: Self = Self(1 << 31);

    /// The probability, in 1 / 65536.
    #[inline(always)]
    pub(crate) fn probability(self) -> u32 {
        (self.0 >> 16).clamp(1, 65_535)
    }

    #[inline(always)]
    pub(crate) fn count(&mut self, logistic: &Logistic, bit: bool) {
        let (p, n) = (self.0 >> COUNT_BITS, self.0 % (1 << COUNT_BITS));
        let rate = logistic.rates[n as usize];
        let target = if bit { (1u32 << 22) - 1 } else { 0 };
        let step = ((i64::from(target) - i64::from(p)) * i64::from(rate)) >> 16;
        let p = (i64::from(p) + step) as u32;
        self.0 = p << COUNT_BITS | (n + 1).min(MAX_COUNT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_inverse() {
        let logistic = Logistic::new();
        assert!(logistic.squash.is_sorted() && logistic.stretch.is_sorted());
        for (i, &odds) in logistic.stretch.iter().enumerate() {
            let p = f64::from(logistic.squash(odds)) / 65536.0;
            assert!((p - (i as f64 + 0.5) / 4096.0).abs() < 0.002, "{i} {p}");
        }
    }

    #[test]
    fn a_counter_learns() {
        let logistic = Logistic::new();
        let mut counter = Counter::NEW;
        assert_eq!(counter.probability(), 1 << 15);
        for i in 0..5000 {
            counter.count(&logistic, i % 4 == 0);
        }
        assert!((counter.probability() as f32 / 65536.0 - 0.25).abs() < 0.01);
    }
}
