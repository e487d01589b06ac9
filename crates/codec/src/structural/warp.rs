//! What a language model adds to the distribution of a value.
//!
//! The distribution that `shape` has learned is cut into 16 classes of equal probability. If it is right, each value's class is as
//! good as a throw of dice, and nothing can foresee it. The model reads the classes of the values before in the same sample, and says how
//! likely each is; its opinions stretch some classes and shrink others, as far as they have proved right. It begins with no say at all.

use super::mixer::{Channel, Interval, Mixer, Question, Reading, Whole, Writing};
use super::shape::TOTAL;
use super::value::node;
use crate::logistic::{Logistic, share};

const CLASS_BITS: u32 = 4;
const N_CLASSES: usize = 1 << CLASS_BITS;
/// The class of values that were known before their distribution was asked: zeros, or the reference's.
const KNOWN_CLASS: u8 = N_CLASSES as u8;
/// Classes that a model tells apart.
pub(super) const N_SYMBOLS: usize = N_CLASSES + 1;
/// Width of a class before it is stretched.
const CLASS_SHIFT: u32 = lmgc_coder::INTERVAL_PRECISION_BITS - CLASS_BITS;
/// The stretched distribution is of 2^24: classes keep at least as many points as they had.
const WARPED_BITS: u32 = 24;
/// Each decision on the way moves the model's weight.
const RATE: f32 = 0.002;

/// A model's weights of the classes.
pub(super) type Weights = [u32; N_SYMBOLS];

/// How far a model is believed, for each of the decisions that lead to a class: 1 is the first, 2n and 2n + 1 follow n.
pub(super) struct Trust {
    logistic: &'static Logistic,
    nodes: [Node; N_CLASSES],
    /// The same for whether a value is known beforehand.
    known: Node,
}

/// What an opinion is worth, and what is added to it: a model that always leans to one side is set upright.
#[derive(Clone, Copy, Default)]
struct Node {
    weight: f32,
    bias: f32,
}

impl Node {
    fn odds(&self, opinion: f32) -> f32 {
        self.weight * opinion + self.bias
    }

    /// Learns from a decision that had this probability, in 1 / 65536.
    fn learn(&mut self, opinion: f32, probability: u32, bit: bool) {
        let error = if bit { 1.0 } else { 0.0 } - probability as f32 * (1.0 / 65_536.0);
        self.weight += RATE * error * opinion;
        self.bias += RATE * error;
    }
}

impl Trust {
    pub(super) fn new() -> Self {
        Self { logistic: Logistic::shared(), nodes: [Node::default(); N_CLASSES], known: Node::default() }
    }

    /// What a model says of a value being known, as log2 of odds.
    fn known_opinion(&self, weights: &Weights) -> f32 {
        let known = u64::from(weights[N_CLASSES]);
        let all = weights.iter().map(|&weight| u64::from(weight)).sum();
        self.logistic.stretch_of(share(known, all))
    }

    /// A probability that a value is known, its odds multiplied by what an opinion is worth.
    fn adjust(&self, probability: u32, opinion: f32) -> u32 {
        let factor = u64::from(self.logistic.squash(self.known.odds(opinion)));
        let one = u64::from(probability) * factor;
        let zero = (65_536 - u64::from(probability)) * (65_536 - factor);
        (((one << 16) / (one + zero)) as u32).clamp(1, 65_535)
    }

    /// The distribution stretched by a model's weights.
    fn warp(&self, weights: &Weights) -> Warp {
        // Sums of the weights below each decision, from the last ones up.
        let mut sums = [0u64; 2 * N_CLASSES];
        for (sum, &weight) in sums[N_CLASSES..].iter_mut().zip(weights) {
            *sum = u64::from(weight);
        }
        let (mut opinions, mut probabilities) = ([0.0; N_CLASSES], [0; N_CLASSES]);
        for node in (1..N_CLASSES).rev() {
            let one = sums[2 * node + 1];
            sums[node] = sums[2 * node] + one;
            opinions[node] = self.logistic.stretch_of(share(one, sums[node]));
            probabilities[node] = self.logistic.squash(self.nodes[node].odds(opinions[node]));
        }
        let mut bounds = [0u32; N_CLASSES + 1];
        let spare = u128::from((1u32 << WARPED_BITS) - TOTAL);
        for class in 0..N_CLASSES {
            let mut probability = 1u128;
            for level in 0..CLASS_BITS {
                let node = (N_CLASSES + class) >> (level + 1);
                let one = u128::from(probabilities[node]);
                let is_one = class >> level & 1 == 1;
                probability *= if is_one { one } else { (1 << 16) - one };
            }
            let width = (1 << CLASS_SHIFT) + ((probability * spare) >> (16 * CLASS_BITS)) as u32;
            bounds[class + 1] = bounds[class] + width;
        }
        bounds[N_CLASSES] = 1 << WARPED_BITS;
        Warp { bounds, opinions, probabilities }
    }

    fn learn(&mut self, warp: &Warp, class: u8) {
        for level in 0..CLASS_BITS {
            let node = (N_CLASSES + usize::from(class)) >> (level + 1);
            self.nodes[node].learn(warp.opinions[node], warp.probabilities[node], class >> level & 1 == 1);
        }
    }
}

/// A stretched distribution.
struct Warp {
    /// Where classes begin.
    bounds: [u32; N_CLASSES + 1],
    opinions: [f32; N_CLASSES],
    probabilities: [u32; N_CLASSES],
}

impl Warp {
    /// Where a point of the distribution goes; larger ones go further.
    fn at(&self, point: u32) -> u32 {
        let class = (point >> CLASS_SHIFT) as usize;
        let Some(&[start, end]) = self.bounds.get(class..class + 2) else { return 1 << WARPED_BITS };
        let inside = point & ((1 << CLASS_SHIFT) - 1);
        start + ((u64::from(inside) * u64::from(end - start)) >> CLASS_SHIFT) as u32
    }

    /// The last point that goes no further than this, which is below 2^24.
    fn back(&self, warped: u32) -> u32 {
        let class = self.bounds[1..N_CLASSES].partition_point(|&bound| bound <= warped);
        let (start, end) = (self.bounds[class], self.bounds[class + 1]);
        let inside = ((u64::from(warped - start) << CLASS_SHIFT) / u64::from(end - start)) as u32;
        let guess = (class as u32) << CLASS_SHIFT | inside;
        // The way there rounds down.
        if guess + 1 < (class as u32 + 1) << CLASS_SHIFT && self.at(guess + 1) <= warped { guess + 1 } else { guess }
    }
}

/// The class of an interval.
fn class_of<T>(interval: &Interval<T>) -> u8 {
    (((interval.start + interval.end) / 2) >> CLASS_SHIFT).min(N_CLASSES as u32 - 1) as u8
}

/// Notes the classes and writes nothing.
#[derive(Default)]
pub(super) struct Recording {
    /// The rows of each part: the classes of their values.
    pub(super) parts: Vec<Vec<Vec<u8>>>,
    class: u8,
}

impl Channel for Recording {
    fn begin_part(&mut self) {
        self.parts.push(Vec::new());
        self.class = KNOWN_CLASS;
    }

    fn begin_row(&mut self, n_values: usize) {
        if let Some(rows) = self.parts.last_mut() {
            rows.push(Vec::with_capacity(n_values));
        }
    }

    fn end_value(&mut self) {
        if let Some(row) = self.parts.last_mut().and_then(|rows| rows.last_mut()) {
            row.push(self.class);
        }
        self.class = KNOWN_CLASS;
    }

    fn decide(&mut self, bit: bool, _: u32) -> bool {
        bit
    }

    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        _: impl FnOnce(u32) -> Interval<T>,
        _: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T {
        let interval = actual();
        self.class = class_of(&interval);
        interval.of
    }

    fn plain(&mut self, value: u64, _: u32) -> u64 {
        value
    }
}

/// A model that is asked row by row.
pub(super) trait Adviser {
    fn begin_part(&mut self);
    /// The weights of each value of a row.
    fn begin_row(&mut self, n_values: usize) -> Vec<Weights>;
    /// The class that a value of the row turned out to have.
    fn tell(&mut self, at: usize, class: u8);
}

/// A channel with an adviser.
pub(super) struct Advised<C, A> {
    pub(super) channel: C,
    pub(super) adviser: A,
    trust: Trust,
    row: Vec<Weights>,
    at: usize,
    class: u8,
}

impl<C, A: Adviser> Advised<C, A> {
    pub(super) fn new(channel: C, adviser: A) -> Self {
        Self { channel, adviser, trust: Trust::new(), row: Vec::new(), at: 0, class: KNOWN_CLASS }
    }

    fn warp(&self) -> Warp {
        self.trust.warp(self.row.get(self.at).unwrap_or(&[1; N_SYMBOLS]))
    }
}

/// A channel that codes stretched intervals.
pub(super) trait Intervals: Channel {
    /// Codes `actual`, or what is found at the stream's point.
    fn warped<T>(
        &mut self,
        warp: impl Fn(u32) -> u32,
        back: impl FnOnce(u32) -> u32,
        actual: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
    ) -> Interval<T>;
}

impl Intervals for Writing {
    fn warped<T>(
        &mut self,
        warp: impl Fn(u32) -> u32,
        _: impl FnOnce(u32) -> u32,
        actual: impl FnOnce() -> Interval<T>,
        _: impl FnOnce(u32) -> Interval<T>,
    ) -> Interval<T> {
        let interval = actual();
        self.coder.encode_interval_of(WARPED_BITS, warp(interval.start), warp(interval.end));
        interval
    }
}

impl Intervals for Reading<'_> {
    fn warped<T>(
        &mut self,
        warp: impl Fn(u32) -> u32,
        back: impl FnOnce(u32) -> u32,
        _: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
    ) -> Interval<T> {
        self.coder.decode_interval_of(WARPED_BITS, |point| {
            let interval = find(back(point));
            (warp(interval.start), warp(interval.end), interval)
        })
    }
}

impl<C: Intervals, A: Adviser> Channel for Advised<C, A> {
    fn begin_part(&mut self) {
        self.adviser.begin_part();
    }

    fn begin_row(&mut self, n_values: usize) {
        self.row = self.adviser.begin_row(n_values);
        (self.at, self.class) = (0, KNOWN_CLASS);
    }

    fn end_value(&mut self) {
        self.adviser.tell(self.at, self.class);
        self.at += 1;
        self.class = KNOWN_CLASS;
    }

    fn decide(&mut self, bit: bool, probability: u32) -> bool {
        self.channel.decide(bit, probability)
    }

    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, bit: bool) -> bool {
        if question.node != node::ZERO {
            return self.channel.ask(mixer, question, bit);
        }
        let Self { channel, trust, row, at, .. } = self;
        let opinion = row.get(*at).map_or(0.0, |weights| trust.known_opinion(weights));
        mixer.ask(question, |probability| {
            let adjusted = trust.adjust(probability, opinion);
            let bit = channel.decide(bit, adjusted);
            trust.known.learn(opinion, adjusted, bit);
            bit
        })
    }

    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        find: impl FnOnce(u32) -> Interval<T>,
        _: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T {
        let warp = self.warp();
        let interval = self.channel.warped(|point| warp.at(point), |point| warp.back(point), actual, find);
        self.class = class_of(&interval);
        self.trust.learn(&warp, self.class);
        interval.of
    }

    fn plain(&mut self, value: u64, n_bits: u32) -> u64 {
        self.channel.plain(value, n_bits)
    }

    fn is_overrun(&self) -> bool {
        self.channel.is_overrun()
    }
}

#[cfg(test)]
mod tests {
    use lmgc_testkit::Random;

    use super::*;

    #[test]
    fn without_trust_nothing_changes() {
        let warp = Trust::new().warp(&[7, 0, 0, 0, 1 << 30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        for point in (0..=TOTAL).step_by(97) {
            assert_eq!(warp.at(point), point << (WARPED_BITS - lmgc_coder::INTERVAL_PRECISION_BITS));
        }
    }

    #[test]
    fn points_keep_their_order_and_come_back() {
        let mut random = Random::new(3);
        for round in 0..20 {
            let mut trust = Trust::new();
            trust.nodes = core::array::from_fn(|_| Node {
                weight: random.next_normal() * round as f32,
                bias: random.next_normal(),
            });
            let warp = trust.warp(&core::array::from_fn(|_| random.next_u64() as u32 >> 2));
            for _ in 0..2000 {
                let point = random.next_u64() as u32 % TOTAL;
                assert!(warp.at(point) < warp.at(point + 1));
                let warped = random.next_u64() as u32 % (1 << WARPED_BITS);
                let back = warp.back(warped);
                assert!(warp.at(back) <= warped && warped < warp.at(back + 1), "{warped} {back}");
            }
            assert_eq!((warp.at(0), warp.at(TOTAL)), (0, 1 << WARPED_BITS));
        }
    }

    #[test]
    fn odds_are_multiplied() {
        let mut trust = Trust::new();
        for probability in [1, 300, 32_768, 65_535] {
            assert_eq!(trust.adjust(probability, 5.0), probability);
        }
        trust.known.weight = 1.0;
        assert_eq!(trust.adjust(32_768, 1.0) / 100, 65_536 * 2 / 3 / 100);
        assert_eq!((trust.adjust(1, -16.0), trust.adjust(65_535, 16.0)), (1, 65_535));
    }

    #[test]
    fn a_model_that_knows_is_believed_and_one_that_does_not_is_not() {
        let mut random = Random::new(4);
        let (mut trust, mut distrust) = (Trust::new(), Trust::new());
        let (mut known, mut unknown) = (0.0, 0.0);
        let bits = |warp: &Warp, class: u8| {
            let class = usize::from(class);
            24.0 - f64::from(warp.bounds[class + 1] - warp.bounds[class]).log2()
        };
        for _ in 0..20_000 {
            let class = (random.next_u64() % 16) as u8;
            let mut weights = [1 << 20; N_SYMBOLS];
            weights[usize::from(class) ^ 1] = 1 << 23;
            weights[usize::from(class)] = 1 << 23;
            let warp = trust.warp(&weights);
            known += bits(&warp, class);
            trust.learn(&warp, class);
            let other = random.next_u64() % 16;
            weights = [1 << 20; N_SYMBOLS];
            weights[other as usize] = 1 << 23;
            let warp = distrust.warp(&weights);
            unknown += bits(&warp, class);
            distrust.learn(&warp, class);
        }
        assert!(known / 20_000.0 < 2.5 && unknown / 20_000.0 < 4.005, "{known} {unknown}");
    }
}
