//! Rotary position embedding (Su et al., 2021), pairs (i, i + head_dim / 2) as in Hugging Face's Llama.

use crate::math::{exp_f64, ln_f64, sin_cos};
use crate::simd::{Kernel, LANES, Simd};

/// How the frequencies of the pairs are changed for longer contexts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by one factor (position interpolation, Chen et al., 2023).
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3.1's: long wavelengths divided by the factor, short ones kept, a ramp between.
    Llama3 {
        /// The divisor of long wavelengths.
        factor: f32,
        /// Wavelengths above `original_max_positions / low_freq_factor` are long.
        low_freq_factor: f32,
        /// Wavelengths below `original_max_positions / high_freq_factor` are short.
        high_freq_factor: f32,
        /// Positions of the model before it was extended.
        original_max_positions: usize,
    },
    /// Each pair's frequency divided by a factor of its own, `[head_dim / 2]`.
    Factors(
        /// The divisors.
        Vec<f32>,
    ),
}

impl RopeScaling {
    /// What the frequency of pair `i`, unscaled `frequency`, is divided by.
    ///
    /// Llama 3: with r = original_max_positions * frequency / 2 pi (positions over wavelength), 1 if r > high, the factor
    /// if r < low, else 1 / ((1 - s) / factor + s) with s = (r - low) / (high - low). All in f64.
    pub fn divisor(&self, i: usize, frequency: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Linear { factor } => f64::from(*factor),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let (factor, low, high) =
                    (f64::from(*factor), f64::from(*low_freq_factor), f64::from(*high_freq_factor));
                let turns = *original_max_positions as f64 * frequency / (2.0 * core::f64::consts::PI);
                if turns > high {
                    1.0
                } else if turns < low {
                    factor
                } else {
                    let smooth = (turns - low) / (high - low);
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            }
            Self::Factors(factors) => factors.get(i).map_or(1.0, |&factor| f64::from(factor)),
        }
    }
}

/// theta^(-2i / head_dim) for each pair i, computed as exp(-(2i / head_dim) * ln(theta)) in f64 by + - x / alone.
pub fn rope_frequencies(head_dim: usize, theta: f64) -> impl Iterator<Item = f64> {
    let ln_theta = ln_f64(theta);
    (0..head_dim / 2).map(move |i| exp_f64(-(2.0 * i as f64 / head_dim as f64) * ln_theta))
}

/// cos and sin for every position and pair, computed once in f64 by + - x / alone and rounded to f32.
///
/// Pair i of position p turns by p * (f / d), f from [`rope_frequencies`] and d from [`RopeScaling::divisor`].
#[derive(Clone, Debug)]
pub struct RopeTable {
    half_dim: usize,
    /// `[position][cos of each pair, then sin of each pair]`.
    cos_sin: Vec<f32>,
}

impl RopeTable {
    /// The table for positions `0..n_positions`, heads of `head_dim` (even) values and base frequency `theta`.
    pub fn new(n_positions: usize, head_dim: usize, theta: f64) -> Self {
        Self::scaled(n_positions, head_dim, theta, &RopeScaling::None)
    }

    /// As [`RopeTable::new`], with scaled frequencies.
    pub fn scaled(n_positions: usize, head_dim: usize, theta: f64, scaling: &RopeScaling) -> Self {
        let half_dim = head_dim / 2;
        let frequencies: Vec<f64> = rope_frequencies(head_dim, theta)
            .enumerate()
            .map(|(i, frequency)| frequency / scaling.divisor(i, frequency))
            .collect();
        let mut cos_sin = Vec::with_capacity(n_positions * 2 * half_dim);
        for position in 0..n_positions {
            let angles = frequencies.iter().map(|f| sin_cos(position as f64 * f));
            cos_sin.extend(angles.clone().map(|(_, cos)| cos as f32));
            cos_sin.extend(angles.map(|(sin, _)| sin as f32));
        }
        Self { half_dim, cos_sin }
    }

    /// Number of positions.
    pub fn n_positions(&self) -> usize {
        self.cos_sin.len().checked_div(2 * self.half_dim).unwrap_or(0)
    }

    /// cos and sin of each pair at a position.
    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        self.cos_sin[position * 2 * self.half_dim..][..2 * self.half_dim].split_at(self.half_dim)
    }
}

/// Turns every head of `heads` (`[n_heads][head_dim]`) in place:
/// a' = fma(a, cos, -(b * sin)), b' = fma(b, cos, a * sin).
pub(crate) struct Rotate<'a> {
    pub(crate) table: &'a RopeTable,
    pub(crate) position: usize,
    pub(crate) heads: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let half = self.table.half_dim;
        let (cos, sin) = self.table.at(self.position);
        for head in self.heads.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            for (((a, b), cos), sin) in
                a.chunks_mut(LANES).zip(b.chunks_mut(LANES)).zip(cos.chunks(LANES)).zip(sin.chunks(LANES))
            {
                let (va, vb) = (simd.load_partial(a, 0.0), simd.load_partial(b, 0.0));
                let (cos, sin) = (simd.load_partial(cos, 0.0), simd.load_partial(sin, 0.0));
                let negated = simd.sub(simd.zero(), simd.mul(vb, sin));
                simd.store_partial(simd.fma(va, cos, negated), a);
                simd.store_partial(simd.fma(vb, cos, simd.mul(va, sin)), b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA3: RopeScaling =
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_positions: 8192 };

    #[test]
    fn linear_scaling_is_interpolation() {
        let plain = RopeTable::new(5, 8, 10_000.0);
        let scaled = RopeTable::scaled(17, 8, 10_000.0, &RopeScaling::Linear { factor: 4.0 });
        assert_eq!(scaled.n_positions(), 17);
        for p in 0..5 {
            assert_eq!(plain.at(p), scaled.at(4 * p));
        }
    }

    #[test]
    fn llama3_scaling_keeps_short_waves_and_stretches_long_ones() {
        let divisors: Vec<f64> = rope_frequencies(128, 500_000.0).map(|f| LLAMA3.divisor(0, f)).collect();
        assert!(divisors.is_sorted() && divisors[..29].iter().all(|&d| d == 1.0), "{divisors:?}");
        assert!(divisors[35..].iter().all(|&d| d == 8.0));
        // The ramp, as transformers computes it: pair 32 has wavelength 2 pi 500000^(1/2).
        let wavelength = 2.0 * core::f64::consts::PI * 500_000f64.sqrt();
        let smooth = (8192.0 / wavelength - 1.0) / 3.0;
        assert!((divisors[32] - 1.0 / ((1.0 - smooth) / 8.0 + smooth)).abs() < 1e-9);
    }

    #[test]
    fn factors_divide_pair_by_pair() {
        let doubled = RopeTable::scaled(9, 4, 100.0, &RopeScaling::Factors(vec![1.0, 2.0]));
        let plain = RopeTable::new(9, 4, 100.0);
        let (cos, sin) = doubled.at(8);
        assert_eq!((cos[0], sin[0]), (plain.at(8).0[0], plain.at(8).1[0]));
        assert_eq!((cos[1], sin[1]), (plain.at(4).0[1], plain.at(4).1[1]));
    }
}
