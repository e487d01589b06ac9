//! Logistic mixing (Mattern, 2013; Mahoney's PAQ) for binary questions: opinions, as log2 of odds, are added with weights that
//! are learned as the data is coded. Most of them come from counts in contexts.

use lmgc_coder::{BINARY_PRECISION_BITS, BinaryDecoder, BinaryEncoder};

use super::shape::{Prior, Shape};
use crate::bits::{BitPacker, BitUnpacker};
use crate::logistic::{Counter, Logistic, boxed};

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
/// A mixer's steps stop getting smaller here.
const N_LEARNING_RATES: usize = 4096;

/// Functions that are looked up.
pub(super) struct Tables {
    logistic: Logistic,
    /// By how often a mixer has learned: its next step.
    learning_rates: Box<[f32; N_LEARNING_RATES]>,
    pub(super) prior: Prior,
}

impl Tables {
    pub(super) fn new() -> Self {
        // Slower than a single question would want, because there are many.
        let learning_rates = boxed(|n| 0.0007 * (1.0 + 20.0 / (1.0 + n as f32 / 50.0)));
        Self { logistic: Logistic::new(), learning_rates, prior: Prior::new() }
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
    /// The values of another part begin.
    fn begin_part(&mut self) {}
    /// So many values of a coordinate begin, one a sample.
    #[inline(always)]
    fn begin_row(&mut self, _n_values: usize) {}
    /// A value is done.
    #[inline(always)]
    fn end_value(&mut self) {}
    /// A decision with the probability of a one in 1 / 65536: it is `bit`, or what the stream says.
    fn decide(&mut self, bit: bool, probability: u32) -> bool;
    /// Asks a question: its answer is `bit`, or what the stream says.
    #[inline(always)]
    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, bit: bool) -> bool {
        mixer.ask(question, |probability| self.decide(bit, probability))
    }
    /// Asks what only the first context's counter knows something of.
    #[inline(always)]
    fn ask_counter(&mut self, mixer: &mut Mixer<'_>, _: Field, cell: usize, bit: bool) -> bool {
        mixer.ask_counter(cell, |probability| self.decide(bit, probability))
    }
    /// Asks for an interval: it is `actual`, or that around the point that the stream says.
    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
        whole: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T;
    /// Plain bits: `value`'s low ones, or what the stream says.
    fn plain(&mut self, value: u64, n_bits: u32) -> u64;
    /// Whether a stream had fewer plain bits than were asked for: it is damaged, and what follows means nothing.
    fn is_overrun(&self) -> bool {
        false
    }
}

/// Writes.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) coder: BinaryEncoder,
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
    fn decide(&mut self, bit: bool, probability: u32) -> bool {
        self.coder.encode(bit, probability);
        bit
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
    fn decide(&mut self, _: bool, probability: u32) -> bool {
        self.coder.decode(probability)
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

    fn is_overrun(&self) -> bool {
        self.plain.is_overrun()
    }
}

/// What a lane has learned.
pub(super) struct MixerState {
    weights: [[f32; N_OPINIONS]; N_NODES],
    n_learned: [u16; N_NODES],
    cells: [Box<[Counter; N_CELLS]>; N_CONTEXTS],
    shape: Shape,
}

impl Default for MixerState {
    fn default() -> Self {
        let cells = core::array::from_fn(|_| boxed(|_| Counter::NEW));
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
        state.cells.iter_mut().for_each(|cells| cells.fill(Counter::NEW));
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
            *opinion = tables.logistic.stretch(cells[cell % N_CELLS]);
        }
        let weights = &mut state.weights[node];
        let sum: f32 = weights.iter().zip(&opinions).map(|(w, opinion)| w * opinion).sum();
        let probability = tables.logistic.squash(sum);

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
            cells[cell % N_CELLS].count(&tables.logistic, bit);
        }
        bit
    }

    #[inline(always)]
    pub(super) fn ask_counter(&mut self, cell: usize, decide: impl FnOnce(u32) -> bool) -> bool {
        let cell = &mut self.state.cells[0][cell % N_CELLS];
        let bit = decide(cell.probability());
        cell.count(&self.tables.logistic, bit);
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
