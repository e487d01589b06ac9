//! The language model as one expert among others: what it says of the next symbol is mixed with counts in contexts, bit by bit.
//!
//! A symbol is a path of binary decisions. The model's weights give each decision a probability, sums of whole numbers;
//! counters in contexts of what was coded before give others. All are added as log2 of odds ([`Logistic`]), with weights that
//! are learned from every decision (Mattern, 2013). The model's weight is what is called a temperature elsewhere: its logarithms of
//! probabilities are multiplied by it. A model that knows nothing loses its weight.
//!
//! All arithmetic is of whole numbers, and of f32 in a fixed order. A lane learns by itself.

use std::sync::Arc;

use super::values::ValueLayout;
use crate::logistic::{Counter, Logistic, share};

/// Counters of contexts.
const N_CONTEXTS: usize = 6;
/// Those, the model, the block's frequencies and a constant.
const N_OPINIONS: usize = N_CONTEXTS + 3;
const BIAS: f32 = 0.3;
const FIRST_WEIGHTS: [f32; N_OPINIONS] = [0.1, 0.2, 0.1, 0.3, 0.2, 0.15, 0.1, 0.0, 0.0];
/// Counters of each context.
const CELL_BITS: u32 = 16;
/// The step of a mixer's weights, and how much larger it is at first, for so many decisions.
const RATE: f32 = 0.002;
const FIRST_RATES: f32 = 10.0;
const N_FIRST: f32 = 60.0;

/// What a blend needs to know of a block.
pub(super) struct BlendPlan {
    logistic: &'static Logistic,
    layout: ValueLayout,
    /// Bits of a value above the cut.
    head_bits: u32,
    /// Bits of a symbol.
    symbol_bits: u32,
    /// The path of each of the output layer's symbols, and these in the order of their paths.
    paths: Vec<u64>,
    order: Vec<u32>,
    /// Sums of the block's frequencies of the symbols before each in that order, if they are known.
    frequencies: Option<Vec<u64>>,
    sign_last: bool,
    /// So many values before, a value is likely to be alike.
    far: usize,
}

impl BlendPlan {
    /// A plan for symbols that stand for some bits each; `sign_last` where a symbol's first bit is a sign, which is then decided last.
    pub(super) fn new(
        layout: ValueLayout,
        (head_bits, symbol_bits): (u32, u32),
        symbols: &[u64],
        frequencies: Option<&[u64]>,
        sign_last: bool,
        far: usize,
    ) -> Self {
        let path = |&bits: &u64| {
            let below = symbol_bits - 1;
            if sign_last { (bits & ((1 << below) - 1)) << 1 | bits >> below } else { bits }
        };
        let paths: Vec<u64> = symbols.iter().map(path).collect();
        let mut order: Vec<u32> = (0..symbols.len() as u32).collect();
        order.sort_by_key(|&symbol| paths[symbol as usize]);
        let frequencies = frequencies.map(|frequencies| sums(order.iter().map(|&symbol| frequencies[symbol as usize])));
        Self { logistic: Logistic::shared(), layout, head_bits, symbol_bits, paths, order, frequencies, sign_last, far }
    }

    fn n_places(&self) -> usize {
        (self.head_bits / self.symbol_bits) as usize
    }
}

/// The sums before each of some numbers, and of all.
fn sums(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut sums = vec![0];
    let mut sum = 0;
    sums.extend(numbers.map(|number| {
        sum += number;
        sum
    }));
    sums
}

/// What was coded before a value.
#[derive(Default)]
struct History {
    /// Exponents and signs.
    exponents: Vec<u16>,
    negative: Vec<bool>,
    /// Averages of the exponents that are not zero, in 1 / 256: of about 4 and of about 16.
    fast: i32,
    slow: i32,
    /// Which of the last 16 were zero, the last one lowest.
    zeros: u16,
}

impl History {
    fn push(&mut self, exponent: u16, is_negative: bool) {
        let new = i32::from(exponent) * 256;
        let is_zero = exponent == 0;
        if !is_zero {
            if self.slow == 0 {
                (self.fast, self.slow) = (new, new);
            }
            self.fast += (new - self.fast) >> 2;
            self.slow += (new - self.slow) >> 4;
        }
        self.zeros = self.zeros << 1 | u16::from(is_zero);
        self.exponents.push(exponent);
        self.negative.push(is_negative);
    }

    /// The exponent and sign so many values before, if there were as many.
    fn back(&self, distance: usize) -> (u32, u32) {
        match self.exponents.len().checked_sub(distance) {
            Some(at) if distance > 0 => (u32::from(self.exponents[at]), u32::from(self.negative[at])),
            _ => (0, 0),
        }
    }

    /// Numbers that say what is known; the first one is always the same.
    fn contexts(&self, far: usize) -> [u32; N_CONTEXTS] {
        let ((last, sign), (before, sign_before), (far, far_sign)) = (self.back(1), self.back(2), self.back(far));
        let n_zeros = self.zeros.count_ones();
        let (fast, slow) = (self.fast as u32, self.slow as u32);
        [
            0,
            (fast >> 6) << 2 | u32::from(self.zeros & 3),
            (slow >> 6) << 3 | n_zeros.div_ceil(2).min(7),
            last << 12 | far,
            (last << 12 | before) << 2 | sign << 1 | sign_before,
            (slow >> 8) << 5 | sign << 4 | sign_before << 3 | far_sign << 2 | u32::from(self.zeros & 3),
        ]
    }
}

/// Codes the symbols of a lane.
pub(super) struct Blend {
    plan: Arc<BlendPlan>,
    /// By the symbol's place in its value and the decision's in the symbol.
    weights: Vec<[f32; N_OPINIONS]>,
    n_learned: Vec<u32>,
    cells: Vec<[Counter; N_CONTEXTS]>,
    history: History,
    contexts: [u32; N_CONTEXTS],
    /// The value so far, and how many symbols of it there are.
    value: u64,
    place: usize,
    before: u64,
}

impl Blend {
    pub(super) fn new(plan: Arc<BlendPlan>) -> Self {
        let n_nodes = plan.n_places() * plan.symbol_bits as usize;
        let history = History::default();
        Self {
            weights: vec![FIRST_WEIGHTS; n_nodes],
            n_learned: vec![0; n_nodes],
            cells: vec![[Counter::NEW; N_CONTEXTS]; 1 << CELL_BITS],
            contexts: history.contexts(plan.far),
            history,
            value: 0,
            place: 0,
            before: 0,
            plan,
        }
    }

    /// Codes a symbol, given the model's weights of all. `decide` is told what the actual symbol's decision is and the probability of
    /// a one in 1 / 65536, and returns the decision.
    pub(super) fn code(&mut self, weights: &[u32], actual: usize, mut decide: impl FnMut(bool, u32) -> bool) -> usize {
        let plan = self.plan.clone();
        let weights_before = sums(plan.order.iter().map(|&symbol| u64::from(weights[symbol as usize])));
        let seeds = self.seeds(&plan);
        let wanted = plan.paths.get(actual).copied().unwrap_or(0);
        let (mut first, mut end) = (0, plan.order.len());
        let mut path = 0u64;
        for depth in 0..plan.symbol_bits {
            let below = plan.symbol_bits - 1 - depth;
            let bound = (path << 1 | 1) << below;
            let middle = first + plan.order[first..end].partition_point(|&symbol| plan.paths[symbol as usize] < bound);
            let bit = if middle == first {
                true
            } else if middle == end {
                false
            } else {
                let node = self.place * plan.symbol_bits as usize + depth as usize;
                let part = |sums: &[u64]| share(sums[end] - sums[middle], sums[end] - sums[first]);
                let model = plan.logistic.stretch_of(part(&weights_before));
                let known = plan.frequencies.as_deref().map_or(0.0, |sums| plan.logistic.stretch_of(part(sums)));
                self.decide(node, &seeds, path | 1 << depth, [model, known], |p| decide(wanted >> below & 1 == 1, p))
            };
            path = path << 1 | u64::from(bit);
            if bit { first = middle } else { end = middle }
        }
        let symbol = plan.order[first] as usize;
        self.advance(&plan, path);
        symbol
    }

    /// Hashes of what is known before a symbol.
    fn seeds(&self, plan: &BlendPlan) -> [u32; N_CONTEXTS] {
        let place = self.place as u32;
        let n_known = place * plan.symbol_bits;
        let contexts = if n_known < plan.layout.leading_bits {
            self.contexts.map(|context| hash(context, self.value as u32))
        } else {
            // The mantissa: what was before says nothing.
            let leading = (self.value >> (n_known - plan.layout.leading_bits)) as u32;
            let last = (self.value & ((1 << plan.symbol_bits) - 1)) as u32;
            let same_place = (self.before >> (plan.head_bits - n_known - plan.symbol_bits)) as u32;
            let same_place = same_place & ((1 << plan.symbol_bits) - 1);
            [0, leading, last, hash(last, leading), same_place, hash(same_place, last)]
        };
        contexts.map(|context| hash(context, place))
    }

    #[inline]
    fn decide(
        &mut self,
        node: usize,
        seeds: &[u32; N_CONTEXTS],
        path: u64,
        given: [f32; 2],
        decide: impl FnOnce(u32) -> bool,
    ) -> bool {
        let logistic = self.plan.logistic;
        let mut opinions = [BIAS; N_OPINIONS];
        opinions[..2].copy_from_slice(&given);
        let at = seeds.map(|seed| (hash(seed, path as u32) >> (32 - CELL_BITS)) as usize);
        for (i, &at) in at.iter().enumerate() {
            opinions[2 + i] = logistic.stretch(self.cells[at][i]);
        }
        let weights = &mut self.weights[node];
        let mut odds = 0.0;
        for (weight, opinion) in weights.iter().zip(&opinions) {
            odds += weight * opinion;
        }
        let probability = logistic.squash(odds);
        let bit = decide(probability);
        let error = if bit { 1.0 } else { 0.0 } - probability as f32 * (1.0 / 65_536.0);
        let n = &mut self.n_learned[node];
        let rate = RATE * (1.0 + FIRST_RATES / (1.0 + *n as f32 / N_FIRST)) * error;
        *n = (*n + 1).min(1 << 16);
        for (weight, opinion) in weights.iter_mut().zip(&opinions) {
            *weight += rate * opinion;
        }
        for (i, &at) in at.iter().enumerate() {
            self.cells[at][i].count(logistic, bit);
        }
        bit
    }

    /// After a symbol.
    fn advance(&mut self, plan: &BlendPlan, path: u64) {
        self.place += 1;
        let bits = if plan.sign_last { (path & 1) << (plan.symbol_bits - 1) | path >> 1 } else { path };
        self.value = self.value << plan.symbol_bits | bits;
        if self.place < plan.n_places() {
            return;
        }
        let ValueLayout { leading_bits, has_sign, .. } = plan.layout;
        let leading =
            self.value << (leading_bits.saturating_sub(plan.head_bits)) >> plan.head_bits.saturating_sub(leading_bits);
        let sign = has_sign && leading >> (leading_bits - 1) & 1 == 1;
        let exponent = if has_sign { leading & ((1 << (leading_bits - 1)) - 1) } else { leading };
        self.history.push(exponent as u16, sign);
        self.contexts = self.history.contexts(plan.far);
        (self.before, self.value, self.place) = (self.value, 0, 0);
    }
}

fn hash(a: u32, b: u32) -> u32 {
    let mixed = a.wrapping_add(0x9e37_79b9).wrapping_mul(0x85eb_ca6b) ^ b.wrapping_mul(0xc2b2_ae35);
    (mixed ^ mixed >> 15).wrapping_mul(0x2c1b_3c6d)
}
