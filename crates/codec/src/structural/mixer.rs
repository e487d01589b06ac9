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
/// The constant opinion, in the lane after the counters'.
const BIAS: f32 = 0.3;
/// Kinds of questions, each with its own weights; a power of two.
pub(super) const N_NODES: usize = 256;
/// Counters of each context.
const CELL_BITS: u32 = 13;
const N_CELLS: usize = 1 << CELL_BITS;
/// Resolution of [`Tables::stretch`] and [`Tables::squash`].
const STRETCH_BITS: u32 = 12;
const SQUASH_STEPS: f32 = 64.0;
const MAX_SUM: f32 = 16.0;
const N_SQUASH: usize = (2.0 * MAX_SUM * SQUASH_STEPS) as usize + 1;
/// f32 has no fractions from here on: adding it rounds to a whole number, which is in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// A counter stops growing more certain here, and a mixer's steps stop getting smaller.
const MAX_COUNT: u32 = 1000;
const COUNT_BITS: u32 = 10;
const N_LEARNING_RATES: usize = 4096;

/// Functions that are looked up. Their lengths let indices go unchecked.
pub(super) struct Tables {
    /// log2 of the odds of a probability's upper 12 bits.
    stretch: Box<[f32; 1 << STRETCH_BITS]>,
    /// The probability of log2 of odds, from -16 in steps of 1/64, in 1 / 65536.
    squash: Box<[u16; N_SQUASH]>,
    /// By how often a counter has counted: the weight of what comes next, in 1 / 65536.
    rates: Box<[u32; 1 << COUNT_BITS]>,
    /// By how often a mixer has learned: its next step.
    learning_rates: Box<[f32; N_LEARNING_RATES]>,
}

fn boxed<T: Copy + Default, const N: usize>(f: impl FnMut(usize) -> T) -> Box<[T; N]> {
    let mut table: Box<[T; N]> = vec![T::default(); N].try_into().unwrap_or_else(|_| Box::new([T::default(); N]));
    table.iter_mut().zip((0..N).map(f)).for_each(|(to, value)| *to = value);
    table
}

struct BuildTables;

impl Kernel for BuildTables {
    type Output = (Box<[f32; 1 << STRETCH_BITS]>, Box<[u16; N_SQUASH]>);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let one = |x| {
            let mut lanes = [0.0; LANES];
            simd.store(log2(simd, simd.splat(x)), &mut lanes);
            lanes[0]
        };
        let stretch = boxed(|i| {
            let p = (i as f32 + 0.5) / (1u32 << STRETCH_BITS) as f32;
            one(p / (1.0 - p))
        });
        let squash = boxed(|i| {
            let mut lanes = [0.0; LANES];
            let x = i as f32 / SQUASH_STEPS - MAX_SUM;
            simd.store(super::density::exp2(simd, simd.splat(-x)), &mut lanes);
            (65536.0 / (1.0 + lanes[0])).clamp(1.0, 65535.0) as u16
        });
        (stretch, squash)
    }
}

impl Tables {
    pub(super) fn new() -> Self {
        let (stretch, squash) = lmgc_kernels::arch::scalar::Scalar.run(BuildTables);
        let rates = boxed(|n| (65536.0 / (n as f32 + 1.6)) as u32);
        // Slower than a single question would want, because there are many.
        let learning_rates = boxed(|n| 0.0007 * (1.0 + 20.0 / (1.0 + n as f32 / 50.0)));
        Self { stretch, squash, rates, learning_rates }
    }
}

/// The counter of a context, by a hash of what is known of the value and the kind of question.
#[inline(always)]
pub(super) fn cell(value_hash: u32, node: usize) -> usize {
    let mixed = value_hash ^ (node as u32).wrapping_mul(0x9e37_79b1);
    ((mixed ^ mixed >> 15).wrapping_mul(0xc2b2_ae35) >> (32 - CELL_BITS)) as usize
}

/// What [`cell`] wants to know of a value.
#[inline(always)]
pub(super) fn value_hash(context: u32) -> u32 {
    context.wrapping_mul(0x85eb_ca6b)
}

/// A binary question with all that bears on it.
pub(super) struct Question<F> {
    /// Kind, below [`N_NODES`].
    pub(super) node: usize,
    /// The densities' answers.
    pub(super) densities: F,
    /// A counter of each context.
    pub(super) cells: [usize; N_CONTEXTS],
}

/// Where answers go to, or come from.
pub(super) trait Channel {
    /// Asks a question: its answer is `bit`, or what the stream says.
    fn ask<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>, question: &Question<S::F>, bit: bool) -> bool;
    /// Asks what only the first context's counter knows something of.
    fn ask_counter<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>, cell: usize, bit: bool) -> bool;
    /// Sees to all that was asked.
    fn settle<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>);
    /// Plain bits: `value`'s low ones, or what the stream says.
    fn plain(&mut self, value: u64, n_bits: u32) -> u64;
}

/// Writes. Questions wait until they are settled: their densities do not depend on each other's mixing, and a processor works
/// on several when it can see several.
#[derive(Default)]
pub(super) struct Writing {
    coder: BinaryEncoder,
    plain: BitPacker,
    waiting: Vec<(Question<[f32; LANES]>, bool)>,
}

impl Writing {
    /// The decisions, and the plain bits.
    pub(super) fn finish(self) -> [Vec<u8>; 2] {
        [self.coder.finish(), self.plain.finish()]
    }
}

impl Channel for Writing {
    #[inline(always)]
    fn ask<S: Simd>(&mut self, simd: S, _: &mut Mixer<'_>, question: &Question<S::F>, bit: bool) -> bool {
        let mut densities = [0.0; LANES];
        simd.store(question.densities, &mut densities);
        self.waiting.push((Question { node: question.node, densities, cells: question.cells }, bit));
        bit
    }

    fn ask_counter<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>, cell: usize, bit: bool) -> bool {
        self.settle(simd, mixer);
        mixer.ask_counter(cell, |probability| {
            self.coder.encode(bit, probability);
            bit
        })
    }

    #[inline(always)]
    fn settle<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>) {
        for (question, bit) in &self.waiting {
            let densities = simd.load(&question.densities);
            let question = Question { node: question.node, densities, cells: question.cells };
            mixer.ask(simd, &question, |probability| {
                self.coder.encode(*bit, probability);
                *bit
            });
        }
        self.waiting.clear();
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
    fn ask<S: Simd>(&mut self, simd: S, mixer: &mut Mixer<'_>, question: &Question<S::F>, _: bool) -> bool {
        mixer.ask(simd, question, |probability| self.coder.decode(probability))
    }

    fn ask_counter<S: Simd>(&mut self, _: S, mixer: &mut Mixer<'_>, cell: usize, _: bool) -> bool {
        mixer.ask_counter(cell, |probability| self.coder.decode(probability))
    }

    #[inline(always)]
    fn settle<S: Simd>(&mut self, _: S, _: &mut Mixer<'_>) {}

    #[inline(always)]
    fn plain(&mut self, _: u64, n_bits: u32) -> u64 {
        self.plain.take(n_bits)
    }
}

/// What a lane has learned.
pub(super) struct MixerState {
    weights: Box<[[f32; LANES]; N_NODES]>,
    n_learned: Box<[u16; N_NODES]>,
    /// Probability in the upper 22 bits, count in the lower 10.
    cells: [Box<[u32; N_CELLS]>; N_CONTEXTS],
}

impl Default for MixerState {
    fn default() -> Self {
        let cells = core::array::from_fn(|_| boxed(|_| 0));
        let mut state = Self { weights: boxed(|_| [0.0; LANES]), n_learned: boxed(|_| 0), cells };
        state.reset();
        state
    }
}

impl MixerState {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        // The first densities are the likeliest to be right.
        let mut weights = [0.0; LANES];
        weights[..4].copy_from_slice(&[0.4, 0.2, 0.1, 0.1]);
        weights[N_DENSITIES..N_DENSITIES + 2].copy_from_slice(&[0.1, 0.1]);
        self.weights.fill(weights);
        self.n_learned.fill(0);
        self.cells.iter_mut().for_each(|cells| cells.fill(1 << 31));
    }
}

/// Asks, with what a lane has learned.
pub(super) struct Mixer<'a> {
    tables: &'a Tables,
    state: &'a mut MixerState,
}

impl<'a> Mixer<'a> {
    pub(super) fn new(tables: &'a Tables, state: &'a mut MixerState) -> Self {
        Self { tables, state }
    }

    /// Tells `decide` the probability of a one, in 1 / 65536, and learns from its answer.
    #[inline(always)]
    pub(super) fn ask<S: Simd>(
        &mut self,
        simd: S,
        question: &Question<S::F>,
        decide: impl FnOnce(u32) -> bool,
    ) -> bool {
        let tables = self.tables;
        let node = question.node % N_NODES;
        let mut counted = [0.0, 0.0, 0.0, BIAS];
        for c in 0..N_CONTEXTS {
            let cell = self.state.cells[c][question.cells[c] % N_CELLS];
            counted[c] = tables.stretch[(cell >> (32 - STRETCH_BITS)) as usize];
        }
        let opinions = simd.add(question.densities, simd.lanes_8_to_11(counted));
        let w = simd.load(&self.state.weights[node]);
        let sum = simd.sum_lanes(simd.mul(w, opinions));
        // As bits, so that there is no conversion to wait for; what is out of range stays so.
        let rounded = (sum * SQUASH_STEPS + (ROUNDER + MAX_SUM * SQUASH_STEPS)).to_bits() as i32;
        let index = rounded.saturating_sub(ROUNDER.to_bits() as i32).clamp(0, N_SQUASH as i32 - 1);
        let probability = u32::from(tables.squash[index as usize]);

        let bit = decide(probability);

        let wanted = if bit { 1.0 } else { 0.0 };
        let error = wanted - probability as f32 * (1.0 / (1u32 << BINARY_PRECISION_BITS) as f32);
        let n_learned = usize::from(self.state.n_learned[node]) % N_LEARNING_RATES;
        let rate = tables.learning_rates[n_learned];
        self.state.n_learned[node] = (n_learned + 1).min(N_LEARNING_RATES - 1) as u16;
        simd.store(simd.fma(simd.splat(rate * error), opinions, w), &mut self.state.weights[node]);
        for c in 0..N_CONTEXTS {
            count(tables, &mut self.state.cells[c][question.cells[c] % N_CELLS], bit);
        }
        bit
    }

    pub(super) fn ask_counter(&mut self, cell: usize, decide: impl FnOnce(u32) -> bool) -> bool {
        let cell = &mut self.state.cells[0][cell % N_CELLS];
        let bit = decide((*cell >> 16).clamp(1, 65_535));
        count(self.tables, cell, bit);
        bit
    }
}

#[inline(always)]
fn count(tables: &Tables, cell: &mut u32, bit: bool) {
    let (p, n) = (*cell >> COUNT_BITS, *cell % (1 << COUNT_BITS));
    let rate = tables.rates[n as usize];
    let target = if bit { (1u32 << 22) - 1 } else { 0 };
    let step = ((i64::from(target) - i64::from(p)) * i64::from(rate)) >> 16;
    let p = (i64::from(p) + step) as u32;
    *cell = p << COUNT_BITS | (n + 1).min(MAX_COUNT);
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
        let mut writing = Writing::default();
        let mut state = MixerState::default();
        let mut mixer = Mixer::new(&tables, &mut state);
        let bits: Vec<bool> = (0..20_000).map(|i| i % 50 == 0).collect();
        let question = |_| Question { node: 3, densities: [0.0; LANES], cells: [7; N_CONTEXTS] };
        for &bit in &bits {
            writing.ask(Scalar, &mut mixer, &question(()), bit);
        }
        writing.settle(Scalar, &mut mixer);
        let [bytes, _] = writing.finish();
        // The entropy is 0.1414 bits a decision.
        assert!((bytes.len() as f64) < 0.1414 * 20_000.0 / 8.0 * 1.03 + 10.0, "{}", bytes.len());
        let mut reading = Reading { coder: BinaryDecoder::new(&bytes), plain: BitUnpacker::new(&[]) };
        state.reset();
        let mut mixer = Mixer::new(&tables, &mut state);
        for &bit in &bits {
            assert_eq!(reading.ask(Scalar, &mut mixer, &question(()), false), bit);
        }
    }
}
