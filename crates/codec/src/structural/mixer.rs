//! Logistic mixing (Mattern, 2013; Mahoney's PAQ): opinions on a binary question, as log2 of odds, are added with weights that
//! are learned as the data is coded. Half of them come from densities, half from counts in contexts.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_coder::{BINARY_PRECISION_BITS, BinaryDecoder, BinaryEncoder};
use lmgc_kernels::{Kernel, LANES, Simd, log2};

use super::density::N_DENSITIES;
use crate::bits::{BitPacker, BitUnpacker};

/// Contexts that are counted.
pub(super) const N_CONTEXTS: usize = 3;
/// The lane of the constant opinion.
const BIAS_LANE: usize = N_DENSITIES + N_CONTEXTS;
const BIAS: f32 = 0.3;
/// Kinds of questions, each with its own weights.
pub(super) const N_NODES: usize = 192;
/// Counters of each context.
const CELL_BITS: u32 = 13;
/// Resolution of [`Tables::stretch`] and [`Tables::squash`].
const STRETCH_BITS: u32 = 12;
const SQUASH_STEPS: f32 = 64.0;
const MAX_SUM: f32 = 16.0;

/// Functions that are looked up.
pub(super) struct Tables {
    /// log2 of the odds of a probability's upper 12 bits.
    stretch: Vec<f32>,
    /// The probability of log2 of odds, from -16 in steps of 1/64, in 1 / 65536.
    squash: Vec<u16>,
    /// By how often a counter has counted: the weight of what comes next, in 1 / 65536.
    rates: Vec<u32>,
    /// By how often a mixer has learned: its next step.
    learning_rates: Vec<f32>,
}

struct BuildTables;

impl Kernel for BuildTables {
    type Output = (Vec<f32>, Vec<u16>);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let one = |x| {
            let mut lanes = [0.0; LANES];
            simd.store(log2(simd, simd.splat(x)), &mut lanes);
            lanes[0]
        };
        let n = 1 << STRETCH_BITS;
        let stretch = (0..n)
            .map(|i| {
                let p = (i as f32 + 0.5) / n as f32;
                one(p / (1.0 - p))
            })
            .collect();
        let n = (2.0 * MAX_SUM * SQUASH_STEPS) as usize + 1;
        let squash = (0..n)
            .map(|i| {
                let mut lanes = [0.0; LANES];
                let x = i as f32 / SQUASH_STEPS - MAX_SUM;
                simd.store(super::density::exp2(simd, simd.splat(-x)), &mut lanes);
                (65536.0 / (1.0 + lanes[0])).clamp(1.0, 65535.0) as u16
            })
            .collect();
        (stretch, squash)
    }
}

/// A counter stops growing more certain here.
const COUNT_LIMIT: usize = 1000;
const LEARNING_LIMIT: usize = 4096;

impl Tables {
    pub(super) fn new() -> Self {
        let (stretch, squash) = lmgc_kernels::arch::scalar::Scalar.run(BuildTables);
        let rates = (0..=COUNT_LIMIT).map(|n| (65536.0 / (n as f32 + 1.6)) as u32).collect();
        // Slower than a single question would want, because there are many.
        let learning_rate = |n: usize| 0.0007 * (1.0 + 20.0 / (1.0 + n as f32 / 50.0));
        Self { stretch, squash, rates, learning_rates: (0..=LEARNING_LIMIT).map(learning_rate).collect() }
    }
}

/// A binary question with all that bears on it.
pub(super) struct Question<F> {
    /// Kind, below [`N_NODES`].
    pub(super) node: usize,
    /// The densities' answers.
    pub(super) densities: F,
    /// Counters, by hashes.
    pub(super) contexts: [u32; N_CONTEXTS],
}

/// Where decisions go to, or come from.
pub(super) trait Channel {
    /// A decision: `bit`, or what the stream says. `probability` of a one in 1 / 65536.
    fn decide(&mut self, bit: bool, probability: u32) -> bool;
    /// Plain bits: `value`'s low ones, or what the stream says.
    fn plain(&mut self, value: u64, n_bits: u32) -> u64;
}

/// Writes.
pub(super) struct Writing {
    pub(super) coder: BinaryEncoder,
    pub(super) plain: BitPacker,
}

impl Channel for Writing {
    #[inline(always)]
    fn decide(&mut self, bit: bool, probability: u32) -> bool {
        self.coder.encode(bit, probability);
        bit
    }

    #[inline(always)]
    fn plain(&mut self, value: u64, n_bits: u32) -> u64 {
        self.plain.push(value, n_bits);
        value
    }
}

/// Reads.
pub(super) struct Reading<'a> {
    pub(super) coder: BinaryDecoder<'a>,
    pub(super) plain: BitUnpacker<'a>,
}

impl Channel for Reading<'_> {
    #[inline(always)]
    fn decide(&mut self, _: bool, probability: u32) -> bool {
        self.coder.decode(probability)
    }

    #[inline(always)]
    fn plain(&mut self, _: u64, n_bits: u32) -> u64 {
        self.plain.take(n_bits)
    }
}

/// What a lane has learned.
pub(super) struct Mixer<'a> {
    tables: &'a Tables,
    weights: Vec<[f32; LANES]>,
    n_learned: Vec<u16>,
    /// Probability in the upper 22 bits, count in the lower 10.
    cells: Vec<[u32; 1 << CELL_BITS]>,
}

impl<'a> Mixer<'a> {
    pub(super) fn new(tables: &'a Tables) -> Self {
        // The first densities are the likeliest to be right.
        let mut weights = [0.0; LANES];
        weights[..4].copy_from_slice(&[0.4, 0.2, 0.1, 0.1]);
        weights[N_DENSITIES..N_DENSITIES + 2].copy_from_slice(&[0.1, 0.1]);
        Self {
            tables,
            weights: vec![weights; N_NODES],
            n_learned: vec![0; N_NODES],
            cells: vec![[1 << 31; 1 << CELL_BITS]; N_CONTEXTS],
        }
    }

    /// Asks, and learns from the answer.
    #[inline(always)]
    pub(super) fn ask<S: Simd>(
        &mut self,
        simd: S,
        question: &Question<S::F>,
        bit: bool,
        channel: &mut impl Channel,
    ) -> bool {
        let mut counted = [0.0; LANES];
        let mut at = [0usize; N_CONTEXTS];
        for c in 0..N_CONTEXTS {
            at[c] = (question.contexts[c] >> (32 - CELL_BITS)) as usize;
            counted[N_DENSITIES + c] = self.tables.stretch[(self.cells[c][at[c]] >> (32 - STRETCH_BITS)) as usize];
        }
        counted[BIAS_LANE] = BIAS;
        let opinions = simd.add(question.densities, simd.load(&counted));
        let weights = &mut self.weights[question.node];
        let w = simd.load(weights);
        let sum = simd.sum_lanes(simd.mul(w, opinions)).clamp(-MAX_SUM, MAX_SUM);
        let index = ((sum + MAX_SUM) * SQUASH_STEPS + 0.5) as usize;
        let probability = u32::from(self.tables.squash[index]);

        let bit = channel.decide(bit, probability);

        let wanted = if bit { 1.0 } else { 0.0 };
        let error = wanted - probability as f32 * (1.0 / (1u32 << BINARY_PRECISION_BITS) as f32);
        let n_learned = &mut self.n_learned[question.node];
        let rate = self.tables.learning_rates[usize::from(*n_learned)];
        *n_learned = (*n_learned + 1).min(LEARNING_LIMIT as u16);
        simd.store(simd.fma(simd.splat(rate * error), opinions, w), weights);
        for c in 0..N_CONTEXTS {
            let cell = &mut self.cells[c][at[c]];
            let (p, count) = (*cell >> 10, *cell & 1023);
            let rate = self.tables.rates[count as usize];
            let target = if bit { (1u32 << 22) - 1 } else { 0 };
            let step = ((i64::from(target) - i64::from(p)) * i64::from(rate)) >> 16;
            let p = (i64::from(p) + step) as u32;
            *cell = p << 10 | (count + 1).min(COUNT_LIMIT as u32);
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use lmgc_kernels::arch::scalar::Scalar;

    use super::*;

    #[test]
    fn tables_are_inverse() {
        let tables = Tables::new();
        assert!(tables.squash.is_sorted() && tables.stretch.is_sorted());
        for (i, &odds) in tables.stretch.iter().enumerate() {
            let index = ((odds + MAX_SUM) * SQUASH_STEPS + 0.5) as usize;
            let p = f64::from(tables.squash[index]) / 65536.0;
            assert!((p - (i as f64 + 0.5) / 4096.0).abs() < 0.002, "{i} {p}");
        }
    }

    #[test]
    fn a_skewed_bit_costs_little_once_learned() {
        let tables = Tables::new();
        let mut writing = Writing { coder: BinaryEncoder::new(), plain: BitPacker::default() };
        let mut mixer = Mixer::new(&tables);
        let bits: Vec<bool> = (0..20_000).map(|i| i % 50 == 0).collect();
        let question = |_| Question { node: 3, densities: [0.0; LANES], contexts: [7 << 28; N_CONTEXTS] };
        for &bit in &bits {
            mixer.ask(Scalar, &question(()), bit, &mut writing);
        }
        let bytes = writing.coder.finish();
        // The entropy is 0.1414 bits a decision.
        assert!((bytes.len() as f64) < 0.1414 * 20_000.0 / 8.0 * 1.03 + 10.0, "{}", bytes.len());
        let mut reading = Reading { coder: BinaryDecoder::new(&bytes), plain: BitUnpacker::new(&[]) };
        let mut mixer = Mixer::new(&tables);
        for &bit in &bits {
            assert_eq!(mixer.ask(Scalar, &question(()), false, &mut reading), bit);
        }
    }
}
