//! The model of a matrix: scales of its coordinates and samples, and a few factors that the coordinates share.
//!
//! Coordinate i of sample j is `row_scale_i * column_scale_j * (u_i . v_j + noise)`, with independent standard normal noise and
//! `v_j`. Only the scales and `u` are sent. A decoder estimates `v_j` as it goes down a sample: the best estimate from the
//! coordinates before (Kalman, 1960) is linear, with gains that are the same for all samples. Compared with sending both factors
//! of a low-rank matrix this saves the longer one, and about a bit for each of its entries that rounding would cost.

use lmgc_coder::{AdaptiveUint, Decoder, Encoder};
use lmgc_kernels::{Kernel, Kernels, Simd};

use super::eigen::{DOT_SUMS, dot};
use crate::Error;
use crate::bits::{unzigzag, zigzag};

/// Scales are powers of 2^(1 / `SCALE_STEPS`).
const SCALE_STEPS: i32 = 4;
/// Exponents of scales are within 2^±this.
const MAX_SCALE_LOG2: i32 = 140;
/// Most factors: they bound the decoder's work.
pub(super) const MAX_RANK: usize = 512;
/// Entries of `u` are within ± this, in steps.
const MAX_ENTRY: i32 = 1 << 28;

/// What is sent of a matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Factors {
    /// log2 of the scale of each coordinate, in steps.
    pub(super) row_scales: Vec<i32>,
    /// The same for each sample; empty if they are all 1.
    pub(super) column_scales: Vec<i32>,
    pub(super) rank: usize,
    /// `u` by rows, in steps of sqrt(12 / samples): at that step the rounding costs as much as it saves.
    pub(super) entries: Vec<i32>,
}

/// A scale's number of steps.
pub(super) fn scale_steps(scale: f64) -> i32 {
    let steps = lmgc_kernels::ln_f64(scale.clamp(1e-300, 1e300)) / core::f64::consts::LN_2 * f64::from(SCALE_STEPS);
    (steps.round_ties_even() as i32).clamp(-MAX_SCALE_LOG2 * SCALE_STEPS, MAX_SCALE_LOG2 * SCALE_STEPS)
}

/// Steps of the product of two scales, as far as it can be sent.
pub(super) fn add_steps(a: i32, b: i32) -> i32 {
    (a + b).clamp(-MAX_SCALE_LOG2 * SCALE_STEPS, MAX_SCALE_LOG2 * SCALE_STEPS)
}

/// 2^(steps / 4), rounded to f32; within 2^±120, so that neither it nor its reciprocal is subnormal.
pub(super) fn scale(steps: i32) -> f32 {
    const FRACTIONS: [f32; 4] = [1.0, 1.189_207_1, core::f32::consts::SQRT_2, 1.681_792_8];
    let exponent = steps.div_euclid(SCALE_STEPS).clamp(-120, 120);
    FRACTIONS[steps.rem_euclid(SCALE_STEPS) as usize] * f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The step of `u`'s entries.
pub(super) fn entry_step(n_samples: usize) -> f32 {
    (12.0 / n_samples.max(1) as f32).sqrt()
}

/// A matrix's model as the coding uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) rank: usize,
    pub(super) row_scales: Vec<f32>,
    /// One for each sample; empty where all are 1.
    pub(super) column_scales: Vec<f32>,
    /// `u` by rows.
    pub(super) u: Vec<f32>,
    /// The gains by rows.
    pub(super) gains: Vec<f32>,
    /// Standard deviation of each coordinate, given those before it.
    pub(super) deviations: Vec<f32>,
}

impl Filter {
    /// The filter of `n_coordinates` x `n_samples`.
    pub(super) fn new(kernels: Kernels, factors: &Factors, n_coordinates: usize, n_samples: usize) -> Self {
        let rank = factors.rank;
        let step = entry_step(n_samples);
        let u: Vec<f32> = factors.entries.iter().map(|&entry| entry as f32 * step).collect();
        let mut gains = vec![0.0f32; u.len()];
        let mut deviations = vec![1.0f32; n_coordinates];
        kernels.run(Gains { rank, u: &u, gains: &mut gains, deviations: &mut deviations });
        let scales = |steps: &[i32]| steps.iter().map(|&steps| scale(steps)).collect();
        let row_scales = match &*factors.row_scales {
            [] => vec![1.0; n_coordinates],
            steps => scales(steps),
        };
        Self { rank, row_scales, column_scales: scales(&factors.column_scales), u, gains, deviations }
    }
}

/// Computes the gains and deviations of a filter.
struct Gains<'a> {
    rank: usize,
    u: &'a [f32],
    gains: &'a mut [f32],
    deviations: &'a mut [f32],
}

impl Kernel for Gains<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { rank, u, gains, deviations } = self;
        // The covariance of v given the coordinates so far; each row is filled up with zeros.
        let stride = rank.next_multiple_of(DOT_SUMS);
        let mut covariance = vec![0.0f64; rank * stride];
        for q in 0..rank {
            covariance[q * stride + q] = 1.0;
        }
        let (mut wide, mut direction) = (vec![0.0f64; stride], vec![0.0f64; stride]);
        for (i, deviation) in deviations.iter_mut().enumerate() {
            for q in 0..rank {
                wide[q] = f64::from(u[i * rank + q]);
            }
            let mut variance = 1.0f64;
            for q in 0..rank {
                direction[q] = dot(&covariance[q * stride..(q + 1) * stride], &wide);
                variance += direction[q] * wide[q];
            }
            let variance = variance.max(1.0);
            *deviation = variance.sqrt() as f32;
            for q in 0..rank {
                gains[i * rank + q] = (direction[q] / variance) as f32;
            }
            for q in 0..rank {
                let d = direction[q] / variance;
                let row = &mut covariance[q * stride..(q + 1) * stride];
                for p in 0..stride {
                    row[p] -= d * direction[p];
                }
            }
        }
    }
}

/// Adaptive code for factors: the blocks' side information.
pub(super) struct FactorCode {
    rank: AdaptiveUint,
    scale_steps: Vec<AdaptiveUint>,
    deviation: AdaptiveUint,
    /// By the bits of the factor's largest entry, and by the entries before.
    entries: Vec<AdaptiveUint>,
}

/// Contexts of an entry: bits of a typical entry of its factor, so many and no more.
const N_ENTRY_CONTEXTS: usize = 32;

/// The context of the next step of scale, after a step of `last`.
fn step_context(last: u64) -> usize {
    (u64::BITS - last.leading_zeros()).min(5) as usize
}

/// Half-octaves of a factor's mean magnitude.
fn magnitude_class(entries: impl Iterator<Item = i32>) -> u64 {
    let (mut sum, mut n) = (0u64, 0u64);
    for entry in entries {
        sum += u64::from(entry.unsigned_abs());
        n += 1;
    }
    let mean = 4 * sum / n.max(1) + 1;
    let bits = u64::from(u64::BITS - mean.leading_zeros());
    // The bit below the leading one halves the octave.
    2 * bits + (mean << (64 - bits) << 1 >> 63)
}

fn corrupt(what: &str) -> Error {
    Error::corrupt_block(format!("structural: {what}"))
}

impl FactorCode {
    pub(super) fn new() -> Self {
        let many = |n| (0..n).map(|_| AdaptiveUint::new()).collect();
        Self {
            rank: AdaptiveUint::new(),
            scale_steps: many(6),
            deviation: AdaptiveUint::new(),
            entries: many(N_ENTRY_CONTEXTS),
        }
    }

    fn encode_scales(&mut self, encoder: &mut Encoder, scales: &[i32]) {
        let (mut before, mut context) = (0, 0);
        for &steps in scales {
            let step = zigzag(steps - before);
            self.scale_steps[context].encode_uint(encoder, step);
            (before, context) = (steps, step_context(step));
        }
    }

    fn decode_scales(&mut self, decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<i32>, Error> {
        let (mut before, mut context, mut scales) = (0i32, 0, Vec::new());
        for _ in 0..n {
            let step = self.scale_steps[context].decode_uint(decoder)?;
            before = unzigzag(step)
                .and_then(|step| before.checked_add(step))
                .filter(|steps| steps.abs() <= MAX_SCALE_LOG2 * SCALE_STEPS)
                .ok_or_else(|| corrupt("a scale is out of range"))?;
            context = step_context(step);
            scales.push(before);
        }
        Ok(scales)
    }

    /// Writes the factors of a matrix.
    pub(super) fn encode(&mut self, encoder: &mut Encoder, factors: &Factors) {
        self.encode_scales(encoder, &factors.row_scales);
        encoder.encode_bits(u64::from(!factors.column_scales.is_empty()), 1);
        self.encode_scales(encoder, &factors.column_scales);
        self.rank.encode_uint(encoder, factors.rank as u64);
        for q in 0..factors.rank {
            let column = || factors.entries.iter().skip(q).step_by(factors.rank).copied();
            let class = magnitude_class(column());
            self.deviation.encode_uint(encoder, class);
            let code = &mut self.entries[(class as usize).min(N_ENTRY_CONTEXTS - 1)];
            for entry in column() {
                code.encode_uint(encoder, u64::from(entry.unsigned_abs()));
                if entry != 0 {
                    encoder.encode_bits(u64::from(entry < 0), 1);
                }
            }
        }
    }

    /// Reads the factors of a matrix of `n_coordinates` x `n_samples`.
    pub(super) fn decode(
        &mut self,
        decoder: &mut Decoder<'_>,
        n_coordinates: usize,
        n_samples: usize,
    ) -> Result<Factors, Error> {
        let row_scales = self.decode_scales(decoder, n_coordinates)?;
        let has_column_scales = decoder.decode_bits(1)? == 1;
        let column_scales = self.decode_scales(decoder, if has_column_scales { n_samples } else { 0 })?;
        let rank = self.rank.decode_uint(decoder)? as usize;
        if rank > MAX_RANK.min(n_coordinates) {
            return Err(corrupt("there are more factors than coordinates"));
        }
        let mut entries = vec![0; rank * n_coordinates];
        for q in 0..rank {
            let class = self.deviation.decode_uint(decoder)?;
            let code = &mut self.entries[usize::try_from(class).unwrap_or(usize::MAX).min(N_ENTRY_CONTEXTS - 1)];
            for entry in entries.iter_mut().skip(q).step_by(rank) {
                let magnitude = code.decode_uint(decoder)?;
                if magnitude > MAX_ENTRY as u64 {
                    return Err(corrupt("a factor is out of range"));
                }
                let is_negative = magnitude != 0 && decoder.decode_bits(1)? == 1;
                *entry = if is_negative { -(magnitude as i32) } else { magnitude as i32 };
            }
        }
        Ok(Factors { row_scales, column_scales, rank, entries })
    }
}

/// Bits that factors take, about, for the encoder's choice: the entropy of their numbers' lengths, and the bits below the leading ones.
pub(super) fn estimated_bits(factors: &Factors) -> f64 {
    fn entropy(numbers: impl Iterator<Item = i32>) -> f64 {
        let mut counts = [0u32; 32];
        for x in numbers {
            counts[(u32::BITS - x.unsigned_abs().leading_zeros()) as usize % 32] += 1;
        }
        let log2 = |n: u32| lmgc_kernels::ln_f64(f64::from(n)) / core::f64::consts::LN_2;
        let n: u32 = counts.iter().sum();
        let of_len = |(len, &count): (usize, &u32)| f64::from(count) * (log2(n) - log2(count) + len as f64);
        counts.iter().enumerate().filter(|(_, count)| **count > 0).map(of_len).sum()
    }
    let steps = |scales: &[i32]| entropy(scales.windows(2).map(|pair| pair[1] - pair[0]));
    let entries = (0..factors.rank).map(|q| entropy(factors.entries.iter().skip(q).step_by(factors.rank).copied()));
    steps(&factors.row_scales) + steps(&factors.column_scales) + entries.sum::<f64>()
}

/// An entry of `u` in steps.
pub(super) fn entry_steps(value: f64, step: f32) -> i32 {
    let steps = (value / f64::from(step)).round_ties_even();
    steps.clamp(-f64::from(MAX_ENTRY), f64::from(MAX_ENTRY)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_quarter_octaves() {
        assert_eq!([scale_steps(1.0), scale_steps(2.0), scale_steps(0.25), scale_steps(1.18)], [0, 4, -8, 1]);
        assert_eq!([scale(0), scale(4), scale(-8)], [1.0, 2.0, 0.25]);
        for steps in -560..=560 {
            assert!(scale(steps).is_normal() && (1.0 / scale(steps)).is_normal(), "{steps}");
            if steps.abs() <= 400 {
                assert_eq!(scale_steps(f64::from(scale(steps))), steps);
            }
        }
        assert_eq!(scale_steps(0.0), -560);
    }

    #[test]
    fn factors_come_back() {
        let cases = [
            Factors { row_scales: vec![-30], ..Default::default() },
            Factors {
                row_scales: vec![-30, -28, -31, 17],
                column_scales: vec![0, 1, 1, -1, 560, -560, 3],
                rank: 3,
                entries: vec![0, 5, -3, 1, 1 << 28, 0, -(1 << 28), 2, 0, 9, 9, -9],
            },
        ];
        let mut encoder = Encoder::new();
        let mut code = FactorCode::new();
        cases.iter().for_each(|factors| code.encode(&mut encoder, factors));
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut code = FactorCode::new();
        assert_eq!(code.decode(&mut decoder, 1, 5).unwrap(), cases[0]);
        assert_eq!(code.decode(&mut decoder, 4, 7).unwrap(), cases[1]);
        decoder.finish().unwrap();
        for len in 0..bytes.len() {
            let mut decoder = Decoder::new(&bytes[..len]);
            let mut code = FactorCode::new();
            let _ = code.decode(&mut decoder, 1, 5).and_then(|_| code.decode(&mut decoder, 4, 7));
        }
    }

    #[test]
    fn deviations_are_those_of_the_joint_distribution() {
        // Two coordinates with covariance u u^T + 1: det = (1 + a^2)(1 + b^2) - a^2 b^2.
        let factors = Factors { row_scales: vec![0; 2], rank: 1, entries: vec![3, -2], ..Default::default() };
        let filter = Filter::new(Kernels::detect(), &factors, 2, 12);
        let (a, b) = (3.0f32, 2.0f32);
        let determinant = (1.0 + a * a) * (1.0 + b * b) - a * a * b * b;
        let product = filter.deviations[0] * filter.deviations[1];
        assert!((product * product - determinant).abs() < 1e-4, "{product}");
        assert!((filter.gains[0] - a / (1.0 + a * a)).abs() < 1e-6);
    }
}
