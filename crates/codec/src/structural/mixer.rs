//! Logistic mixing (Mattern, 2013; Mahoney's PAQ) for binary questions: opinions, as log2 of odds, are added with weights that
//! are learned as the data is coded. Most of them come from counts in contexts.

use lmgc_coder::{BINARY_PRECISION_BITS, BinaryDecoder, BinaryEncoder};
use lmgc_kernels::arch::scalar::Scalar;
use lmgc_kernels::{LANES, Simd, log2};

use super::scales::exp2;
use super::shape::{Prior, Shape};
use crate::bits::{BitPacker, BitUnpacker};

/// Contexts that are counted.
pub(super) const N_CONTEXTS: usize = 3;
/// Opinions that a question comes with.
pub(super) const N_GIVEN: usize = 2;
/// Those, the contexts' and a constant one.
const N_OPINIONS: usize = N_GIVEN + N_CONTEXTS + 1;
const BIAS: f32 = 0.3;
const FIRST_WEIGHTS: [f32; N_OPINIONS] = [0.4, 0.2, 0.1, 0.1, 0.0, 0.0];
/// Kinds of questions, each with its own weights; a power of two.
pub(super) const N_NODES: usize = 2;
/// Counters of each context.
const CELL_BITS: u32 = 13;
const N_CELLS: usize = 1 << CELL_BITS;
/// Resolution of [`Tables::stretch`] and [`Tables::squash`].
const STRETCH_BITS: u32 = 12;
const SQUASH_STEPS: f32 = 64.0;
const MAX_SUM: f32 = 16.0;
const N_SQUASH: usize = (2.0 * MAX_SUM * SQUASH_STEPS) as usize + 1;
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
    pub(super) prior: Prior,
}

fn boxed<T: Copy + Default, const N: usize>(f: impl FnMut(usize) -> T) -> Box<[T; N]> {
    let mut table: Box<[T; N]> = vec![T::default(); N].try_into().unwrap_or_else(|_| Box::new([T::default(); N]));
    table.iter_mut().zip((0..N).map(f)).for_each(|(to, value)| *to = value);
    table
}

/// The first of what all lanes are.
fn first(lanes: <Scalar as Simd>::F) -> f32 {
    let mut stored = [0.0; LANES];
    Scalar.store(lanes, &mut stored);
    stored[0]
}

impl Tables {
    pub(super) fn new() -> Self {
        let stretch = boxed(|i| {
            let p = (i as f32 + 0.5) / (1u32 << STRETCH_BITS) as f32;
            first(log2(Scalar, Scalar.splat(p / (1.0 - p))))
        });
        let squash = boxed(|i| {
            let x = i as f32 / SQUASH_STEPS - MAX_SUM;
            (65536.0 / (1.0 + first(exp2(Scalar, Scalar.splat(-x))))).clamp(1.0, 65535.0) as u16
        });
        let rates = boxed(|n| (65536.0 / (n as f32 + 1.6)) as u32);
        // Slower than a single question would want, because there are many.
        let learning_rates = boxed(|n| 0.0007 * (1.0 + 20.0 / (1.0 + n as f32 / 50.0)));
        Self { stretch, squash, rates, learning_rates, prior: Prior::new() }
    }
}

/// The counter of a context, by a hash of what is known of the value and the kind of question.
#[inline(always)]
pub(super) fn cell(context: u32, node: usize) -> usize {
    let mixed = context.wrapping_mul(0x85eb_ca6b) ^ (node as u32).wrapping_mul(0x9e37_79b1);
    ((mixed ^ mixed >> 15).wrapping_mul(0xc2b2_ae35) >> (32 - CELL_BITS)) as usize
}

/// A binary question with all that bears on it.
pub(super) struct Question {
    /// Kind, below [`N_NODES`].
    pub(super) node: usize,
    pub(super) opinions: [f32; N_GIVEN],
    /// A counter of each context.
    pub(super) cells: [usize; N_CONTEXTS],
}

/// An interval of deviations, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval<T> {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) of: T,
}

/// What an interval is part of, largest first, as probabilities in 1 / 2^18: what it costs by field.
pub(super) struct Whole {
    /// All that is no escape.
    pub(super) inside: u32,
    pub(super) sign: u32,
    pub(super) exponent: u32,
}

/// What is asked of one counter alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Sign,
    Exponent,
}

/// Where answers go to, or come from.
pub(super) trait Channel {
    /// Asks a question: its answer is `bit`, or what the stream says.
    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, bit: bool) -> bool;
    /// Asks what only the first context's counter knows something of.
    fn ask_counter(&mut self, mixer: &mut Mixer<'_>, field: Field, cell: usize, bit: bool) -> bool;
    /// Asks for an interval: it is `actual`, or that around the point that the stream says.
    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
        whole: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T;
    /// Plain bits: `value`'s low ones, or what the stream says.
    fn plain(&mut self, value: u64, n_bits: u32) -> u64;
}

/// Writes.
#[derive(Default)]
pub(super) struct Writing {
    coder: BinaryEncoder,
    plain: BitPacker,
}

impl Writing {
    /// The decisions, and the plain bits.
    pub(super) fn finish(self) -> [Vec<u8>; 2] {
        [self.coder.finish(), self.plain.finish()]
    }
}

impl Channel for Writing {
    #[inline(always)]
    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, bit: bool) -> bool {
        mixer.ask(question, |probability| {
            self.coder.encode(bit, probability);
            bit
        })
    }

    #[inline(always)]
    fn ask_counter(&mut self, mixer: &mut Mixer<'_>, _: Field, cell: usize, bit: bool) -> bool {
        mixer.ask_counter(cell, |probability| {
            self.coder.encode(bit, probability);
            bit
        })
    }

    #[inline(always)]
    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        _: impl FnOnce(u32) -> Interval<T>,
        _: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T {
        let Interval { start, end, of } = actual();
        self.coder.encode_interval(start, end);
        of
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
    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, _: bool) -> bool {
        mixer.ask(question, |probability| self.coder.decode(probability))
    }

    #[inline(always)]
    fn ask_counter(&mut self, mixer: &mut Mixer<'_>, _: Field, cell: usize, _: bool) -> bool {
        mixer.ask_counter(cell, |probability| self.coder.decode(probability))
    }

    #[inline(always)]
    fn interval<T>(
        &mut self,
        _: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
        _: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T {
        self.coder.decode_interval(|point| {
            let Interval { start, end, of } = find(point);
            (start, end, of)
        })
    }

    #[inline(always)]
    fn plain(&mut self, _: u64, n_bits: u32) -> u64 {
        self.plain.take(n_bits)
    }
}

/// What a lane has learned.
pub(super) struct MixerState {
    weights: [[f32; N_OPINIONS]; N_NODES],
    n_learned: [u16; N_NODES],
    /// Probability in the upper 22 bits, count in the lower 10.
    cells: [Box<[u32; N_CELLS]>; N_CONTEXTS],
    shape: Shape,
}

impl Default for MixerState {
    fn default() -> Self {
        let cells = core::array::from_fn(|_| boxed(|_| 0));
        Self { weights: [FIRST_WEIGHTS; N_NODES], n_learned: [0; N_NODES], cells, shape: Shape::default() }
    }
}

/// Asks, with what a lane has learned.
pub(super) struct Mixer<'a> {
    tables: &'a Tables,
    state: &'a mut MixerState,
}

impl<'a> Mixer<'a> {
    /// A mixer that has learned nothing yet.
    pub(super) fn new(tables: &'a Tables, state: &'a mut MixerState) -> Self {
        state.weights = [FIRST_WEIGHTS; N_NODES];
        state.n_learned = [0; N_NODES];
        state.cells.iter_mut().for_each(|cells| cells.fill(1 << 31));
        state.shape.reset(&tables.prior);
        Self { tables, state }
    }

    /// The distribution of deviations.
    #[inline(always)]
    pub(super) fn shape(&self) -> &Shape {
        &self.state.shape
    }

    /// Counts a value by the step that it is in, or an escape.
    #[inline(always)]
    pub(super) fn count_deviation(&mut self, step: Option<i32>) {
        self.state.shape.count(&self.tables.prior, step);
    }

    /// Tells `decide` the probability of a one, in 1 / 65536, and learns from its answer.
    #[inline(always)]
    pub(super) fn ask(&mut self, question: &Question, decide: impl FnOnce(u32) -> bool) -> bool {
        let (tables, state) = (self.tables, &mut *self.state);
        let node = question.node % N_NODES;
        let mut opinions = [BIAS; N_OPINIONS];
        opinions[..N_GIVEN].copy_from_slice(&question.opinions);
        for ((opinion, cells), &cell) in opinions[N_GIVEN..].iter_mut().zip(&state.cells).zip(&question.cells) {
            *opinion = tables.stretch[(cells[cell % N_CELLS] >> (32 - STRETCH_BITS)) as usize];
        }
        let weights = &mut state.weights[node];
        let sum: f32 = weights.iter().zip(&opinions).map(|(w, opinion)| w * opinion).sum();
        let index = (sum * SQUASH_STEPS + MAX_SUM * SQUASH_STEPS).round_ties_even() as i32;
        let probability = u32::from(tables.squash[index.clamp(0, N_SQUASH as i32 - 1) as usize]);

        let bit = decide(probability);

        let wanted = if bit { 1.0 } else { 0.0 };
        let error = wanted - probability as f32 * (1.0 / (1u32 << BINARY_PRECISION_BITS) as f32);
        let n_learned = usize::from(state.n_learned[node]) % N_LEARNING_RATES;
        let step = tables.learning_rates[n_learned] * error;
        state.n_learned[node] = (n_learned + 1).min(N_LEARNING_RATES - 1) as u16;
        for (w, opinion) in weights.iter_mut().zip(&opinions) {
            *w += step * opinion;
        }
        for (cells, &cell) in state.cells.iter_mut().zip(&question.cells) {
            count(tables, &mut cells[cell % N_CELLS], bit);
        }
        bit
    }

    #[inline(always)]
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
        let question = Question { node: 1, opinions: [0.0; N_GIVEN], cells: [7; N_CONTEXTS] };
        for &bit in &bits {
            writing.ask(&mut mixer, &question, bit);
        }
        let [bytes, _] = writing.finish();
        // The entropy is 0.1414 bits a decision.
        assert!((bytes.len() as f64) < 0.1414 * 20_000.0 / 8.0 * 1.03 + 10.0, "{}", bytes.len());
        let mut reading = Reading { coder: BinaryDecoder::new(&bytes), plain: BitUnpacker::new(&[]) };
        let mut mixer = Mixer::new(&tables, &mut state);
        for &bit in &bits {
            assert_eq!(reading.ask(&mut mixer, &question, false), bit);
        }
    }
}
