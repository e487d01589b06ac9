//! "Mixture".

use std::collections::HashMap;

use super::super::streams::{Counter, Decisions};
use super::super::structural::{squash, stretch};
use super::super::{Piece, Refusal};
use super::symbols::Symbols;
use super::values::Values;

const N_CONTEXTS: usize = 6;
const N_OPINIONS: usize = N_CONTEXTS + 3;
const FIRST_WEIGHTS: [f32; N_OPINIONS] = [0.1, 0.2, 0.1, 0.3, 0.2, 0.15, 0.1, 0.0, 0.0];

/// What a lane has seen and learned.
pub(super) struct Mixture<'a> {
    values: &'a Values,
    decisions: Decisions<'a>,
    /// By ascending paths.
    leaves: Vec<Leaf>,
    /// For each context; those that have not counted yet are left out.
    counters: [HashMap<u32, Counter>; N_CONTEXTS],
    /// For each place of a symbol in its value and of a decision in its path.
    weights: HashMap<(usize, u32), Weights>,
    history: History,
    /// The symbols of the value before, and those so far of this one.
    before: Vec<u64>,
    symbols: Vec<u64>,
}

/// A symbol at the end of its path.
struct Leaf {
    path: u64,
    /// Its place in the order of ids.
    index: usize,
    /// 2^(class / 4) in 1 / 2^16, where there is a table.
    share: Option<u128>,
}

struct Weights {
    w: [f32; N_OPINIONS],
    /// How often they have grown.
    n: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { w: FIRST_WEIGHTS, n: 0 }
    }
}

impl<'a> Mixture<'a> {
    pub(super) fn new(bytes: &'a [u8], values: &'a Values, symbols: &Symbols, pieces: &[Piece<'_>]) -> Self {
        let n_bits = values.symbol_bits();
        let path = |symbol: u64| {
            if values.has_table() && values.is_float() {
                // The sign comes last.
                symbol << 1 & ((1 << n_bits) - 1) | symbol >> (n_bits - 1)
            } else {
                symbol
            }
        };
        let share = |class: u32| [65536, 77936, 92682, 110218][class as usize % 4] << (class / 4);
        let mut leaves: Vec<Leaf> = symbols
            .classes()
            .enumerate()
            .map(|(index, (symbol, class))| Leaf { path: path(symbol), index, share: class.map(share) })
            .collect();
        leaves.sort_by_key(|leaf| leaf.path);
        Self {
            values,
            decisions: Decisions::new(bytes),
            leaves,
            counters: Default::default(),
            weights: HashMap::new(),
            history: History::new(far(pieces)),
            before: vec![0; values.symbols_per_value()],
            symbols: Vec::new(),
        }
    }

    /// The next symbol, at a place in its value, whose bits so far are given: its index in the order of ids, as have the
    /// model's weights.
    pub(super) fn symbol(&mut self, place: usize, value: u64, weights: &[u32]) -> Result<usize, Refusal> {
        let n_bits = self.values.symbol_bits();
        let hashes = self.contexts(place, value).map(|h| hash(h, place as u32));
        let mut possible = 0..self.leaves.len();
        for depth in 0..n_bits {
            let leaves = &self.leaves[possible.clone()];
            let bit = |leaf: &Leaf| leaf.path >> (n_bits - 1 - depth) & 1;
            let n_zeros = leaves.partition_point(|leaf| bit(leaf) == 0);
            let is_one = if n_zeros == 0 || n_zeros == leaves.len() {
                n_zeros == 0
            } else {
                let path = leaves[0].path >> (n_bits - depth);
                let nodes = hashes.map(|h| hash(h, 1 << depth | path as u32) >> 16);
                let sum = |of: &dyn Fn(&Leaf) -> u128| -> (u128, u128) {
                    (leaves[n_zeros..].iter().map(of).sum(), leaves.iter().map(of).sum())
                };
                let by_model = sum(&|leaf| u128::from(weights[leaf.index]));
                let has_table = leaves.iter().all(|leaf| leaf.share.is_some());
                let by_table = has_table.then(|| sum(&|leaf| leaf.share.unwrap_or(0)));
                self.decision((place, depth), by_model, by_table, nodes)
            };
            let middle = possible.start + n_zeros;
            possible = if is_one { middle..possible.end } else { possible.start..middle };
        }
        self.leaves.get(possible.start).map(|leaf| leaf.index).ok_or_else(|| Refusal::corrupt("no symbol"))
    }

    /// A decision, by the shares of ones in all that the model and the table of heads know, and counters.
    fn decision(
        &mut self,
        place: (usize, u32),
        by_model: (u128, u128),
        by_table: Option<(u128, u128)>,
        nodes: [u32; N_CONTEXTS],
    ) -> bool {
        let share = |(ones, all): (u128, u128)| (((ones + 1) << 16) / (all + 2)) as u32;
        let mut opinions = [0.0; N_OPINIONS];
        opinions[0] = opinion(share(by_model));
        opinions[1] = by_table.map_or(0.0, |by_table| opinion(share(by_table)));
        let mut counters = [Counter::NEW; N_CONTEXTS];
        for (i, node) in nodes.iter().enumerate() {
            counters[i] = self.counters[i].get(node).copied().unwrap_or(Counter::NEW);
            opinions[2 + i] = counters[i].opinion();
        }
        opinions[N_OPINIONS - 1] = 0.3;

        let weights = self.weights.entry(place).or_default();
        let sum = opinions.iter().zip(&weights.w).fold(0.0, |sum, (opinion, w)| sum + opinion * w);
        let p = squash(sum);
        let is_one = self.decisions.decision(p);

        let error = f32::from(u8::from(is_one)) - p as f32 / 65536.0;
        let rate = 0.002 * (1.0 + 10.0 / (1.0 + weights.n as f32 / 60.0));
        for (w, opinion) in weights.w.iter_mut().zip(opinions) {
            *w += rate * error * opinion;
        }
        weights.n = (weights.n + 1).min(1 << 16);
        for (i, (node, mut counter)) in nodes.into_iter().zip(counters).enumerate() {
            counter.count(is_one);
            self.counters[i].insert(node, counter);
        }
        is_one
    }

    /// What there is to hash of each context, before the place.
    fn contexts(&mut self, place: usize, value: u64) -> [u32; N_CONTEXTS] {
        let n_known = place as u32 * self.values.symbol_bits();
        self.symbols.truncate(place);
        if place > 0 {
            self.symbols.push(value & ((1 << self.values.symbol_bits()) - 1));
        }
        if n_known < self.values.leading() {
            return self.history.contexts().map(|c| hash(c, value as u32));
        }
        let leading = self.values.leading_of(value, n_known) as u32;
        let b = self.symbols.last().map_or(0, |&symbol| symbol as u32);
        let a = self.before[place] as u32;
        [0, leading, b, hash(b, leading), a, hash(a, b)]
    }

    /// A value is complete.
    pub(super) fn end_value(&mut self, head: u64) {
        let (n_places, n_bits) = (self.values.symbols_per_value() as u32, self.values.symbol_bits());
        self.before = (1..=n_places).map(|i| head >> ((n_places - i) * n_bits) & ((1 << n_bits) - 1)).collect();
        let (sign, exponent) = self.values.sign_and_exponent(head);
        self.history.push(sign as u32, exponent as u32);
    }

    pub(super) fn finish(&self) -> Result<(), Refusal> {
        self.decisions.check_end()
    }
}

/// The values before.
struct History {
    far: u64,
    /// Signs and exponents.
    values: Vec<(u32, u32)>,
    /// Which of the last 16 exponents were zero, the last one in the lowest bit.
    zeros: u16,
    /// Averages of 256 e, once there is a value whose exponent is not zero.
    averages: Option<(i64, i64)>,
}

impl History {
    fn new(far: u64) -> Self {
        Self { far, values: Vec::new(), zeros: 0, averages: None }
    }

    /// c of each context, as long as not all leading bits are known.
    fn contexts(&self) -> [u32; N_CONTEXTS] {
        let before = |n: u64| {
            let place = (self.values.len() as u64).checked_sub(n);
            place.and_then(|place| self.values.get(place as usize)).copied().unwrap_or((0, 0))
        };
        let ((g1, e1), (g2, e2), (gf, ef)) = (before(1), before(2), before(self.far));
        let (f, s) = self.averages.unwrap_or((0, 0));
        let (f, s) = (f as u32, s as u32);
        let z2 = u32::from(self.zeros & 3);
        let z16 = self.zeros.count_ones();
        [
            0,
            4 * (f / 64) + z2,
            8 * (s / 64) + z16.div_ceil(2).min(7),
            (e1 << 12) + ef,
            4 * ((e1 << 12) + e2) + 2 * g1 + g2,
            32 * (s / 256) + 16 * g1 + 8 * g2 + 4 * gf + z2,
        ]
    }

    fn push(&mut self, sign: u32, exponent: u32) {
        self.values.push((sign, exponent));
        self.zeros = self.zeros << 1 | u16::from(exponent == 0);
        if exponent != 0 {
            let e = 256 * i64::from(exponent);
            let (f, s) = self.averages.get_or_insert((e, e));
            *f += (e - *f).div_euclid(4);
            *s += (e - *s).div_euclid(16);
        }
    }
}

/// How far before a value its neighbour in the row before is.
fn far(pieces: &[Piece<'_>]) -> u64 {
    let largest = pieces.iter().max_by_key(|piece| piece.len);
    let far = largest.and_then(|piece| match piece.shape {
        [_, n_columns] => Some(*n_columns),
        [_, _, kernel @ ..] if !kernel.is_empty() => Some(kernel.iter().fold(1, |n: u64, &d| n.saturating_mul(d))),
        _ => None,
    });
    far.filter(|&far| far >= 3).unwrap_or(3)
}

fn hash(a: u32, b: u32) -> u32 {
    let x = a.wrapping_add(0x9e37_79b9).wrapping_mul(0x85eb_ca6b) ^ b.wrapping_mul(0xc2b2_ae35);
    (x ^ x >> 15).wrapping_mul(0x2c1b_3c6d)
}

/// *stretch* of a probability in 1 / 2^16 ("Decisions"); certainty counts as what is next to it.
fn opinion(p: u32) -> f32 {
    stretch((p / 16).min(4095))
}
