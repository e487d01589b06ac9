//! Section 12: the distribution of deviations.

use std::sync::LazyLock;

use super::math::{exp2, ln};

/// Steps that a deviation can be in.
const STEPS: usize = 1024;
/// Bins of steps that are counted together.
const BINS: usize = 256;
/// The whole of the distribution, in bits.
pub(super) const WHOLE_BITS: u32 = 18;
const WHOLE: u32 = 1 << WHOLE_BITS;

pub(super) struct Distribution {
    /// T, of 1025 entries.
    table: Vec<u32>,
    counts: [u32; BINS],
    counts_at_last_building: [u32; BINS],
    escapes: u32,
    total: u32,
    next_building: u32,
    gain: f64,
    fine: Vec<f32>,
    coarse: Vec<f32>,
}

fn prior() -> &'static [f32] {
    static PRIOR: LazyLock<Vec<f32>> = LazyLock::new(|| {
        let f = |z: f32| exp2(-0.7213475 * z * z);
        let y = |k| {
            let z = (k as f32 + 0.5 - 512.0) / 64.0;
            (1.0 - 0.06) * f(z) + 0.06 * 0.5 * f(0.5 * z)
        };
        let y: Vec<f32> = (0..STEPS).map(y).collect();
        let sum = sum(&y);
        y.iter().map(|y| (y / sum).max(1e-6)).collect()
    });
    &PRIOR
}

/// One by one, from the first.
fn sum(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |sum, number| sum + number)
}

impl Distribution {
    pub(super) fn new() -> Self {
        let mut new = Self {
            table: Vec::new(),
            counts: [0; BINS],
            counts_at_last_building: [0; BINS],
            escapes: 0,
            total: 0,
            next_building: 64,
            gain: 0.0,
            fine: Vec::new(),
            coarse: Vec::new(),
        };
        new.build();
        new
    }

    /// T of a step, or of the end.
    pub(super) fn below(&self, step: usize) -> u32 {
        self.table.get(step).copied().unwrap_or(WHOLE)
    }

    /// The probability that a value is no escape.
    pub(super) fn inside(&self) -> u32 {
        self.below(STEPS)
    }

    /// Counts a deviation's step, or an escape.
    pub(super) fn count(&mut self, step: Option<usize>) {
        match step {
            None => self.escapes += 1,
            Some(step) => {
                let bin = (step / 4).min(BINS - 1);
                self.counts[bin] += 1;
            }
        }
        self.total += 1;
        if self.total < self.next_building {
            return;
        }
        let old = self.counts_at_last_building;
        for (((new, old), fine), coarse) in self.counts.iter().zip(old).zip(&self.fine).zip(&self.coarse) {
            if *new > old {
                self.gain += f64::from(new - old) * ln(f64::from(*fine) / f64::from(*coarse));
            }
        }
        if self.total >= 65536 {
            self.counts = self.counts.map(|count| count / 2);
            self.escapes /= 2;
            self.total = self.escapes + self.counts.iter().sum::<u32>();
        }
        self.next_building = self.total + self.total.min(4096);
        self.counts_at_last_building = self.counts;
        self.build();
    }

    fn build(&mut self) {
        let (fine, coarse) = (self.weights(4), self.weights(16));
        let (fine_sum, coarse_sum) = (sum(&fine), sum(&coarse));
        let bins = |weights: &[f32], all: f32| weights.chunks(4).map(|bin| sum(bin) / all).collect();
        self.fine = bins(&fine, fine_sum);
        self.coarse = bins(&coarse, coarse_sum);
        let (weights, all) = if self.gain > 0.0 { (fine, fine_sum) } else { (coarse, coarse_sum) };
        let escape = (self.escapes as f32 + 0.02) / (self.total as f32 + 1.0);
        let escape = (escape.clamp(0.0001, 0.5) * WHOLE as f32) as u32;
        let room = WHOLE - escape - 341;
        let factor = room as f32 / all;
        let mut below = 0.0;
        self.table.clear();
        for (k, weight) in (0..).zip(weights) {
            self.table.push(((below * factor) as u32).min(room) + k / 3);
            below += weight;
        }
        self.table.push(WHOLE - escape);
    }

    /// The steps' weights, by bins of `size` steps.
    fn weights(&self, size: usize) -> Vec<f32> {
        let prior = prior();
        let inside = (self.total - self.escapes) as f32;
        let bins = prior.chunks(size).zip(self.counts.chunks(size / 4));
        let ratios: Vec<f32> = bins
            .map(|(prior, counts)| {
                let n = counts.iter().sum::<u32>() as f32;
                let x = sum(prior);
                (n + 100.0 * x) / ((inside + 100.0) * x)
            })
            .collect();
        let ratio = |b: usize| ratios.get(b.min(ratios.len() - 1)).copied().unwrap_or(1.0);
        let weight = |(k, prior): (usize, &f32)| {
            let b = k / size;
            let y = ((k % size) as f32 + 0.5) / size as f32 - 0.5;
            let other = if y < 0.0 { ratio(b.saturating_sub(1)) } else { ratio(b + 1) };
            prior * (ratio(b) + (other - ratio(b)) * y.abs())
        };
        prior.iter().enumerate().map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 16.
    #[test]
    fn examples() {
        let priors = [0, 300, 511, 512, 1023].map(|k| prior()[k].to_bits());
        assert_eq!(priors, [0x3586_37bd, 0x3898_62df, 0x3bc6_2025, 0x3bc6_2025, 0x3586_37bd]);
        let first = Distribution::new();
        let table = [1, 256, 384, 448, 500, 512, 576, 640, 1024].map(|k| first.below(k));
        assert_eq!(table, [0, 458, 8071, 43171, 109939, 128451, 213732, 248831, 256902]);
    }

    #[test]
    fn tables_never_fall() {
        let mut distribution = Distribution::new();
        for i in 0..200_000 {
            distribution.count(if i % 1000 == 0 { None } else { Some((i * i) % 300 + 200) });
            if i % 5000 == 0 {
                assert!(distribution.table.is_sorted());
                assert_eq!(distribution.table.len(), STEPS + 1);
            }
        }
        assert!(distribution.total < 65536 + 4096);
    }
}
