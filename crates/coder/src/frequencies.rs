//! From integer weights to integer frequencies: the one rule, as a table and as a single interval.
//!
//! **The rule** (part of the numerics revision). For `n` weights `w`, all of them taken as 1 if all are 0:
//!
//! ```text
//! S   = sum of w
//! m   = floor((2^28 - n) * 2^32 / S)
//! f_i = 1 + floor(w_i * m / 2^32)
//! ```
//!
//! and what is missing from 2^28 is added to the frequency of the largest weight, of the first one if several are
//! equally large. All of it fits in 64 bits for any 32-bit weights: `w_i * m <= S * m <= 2^60`. Every frequency is at
//! least 1, the sum is exact, and since less than `n` is missing, no symbol is off by more than that.

use crate::range::{Interval, TOTAL};

/// The largest number of symbols in a table.
pub const MAX_SYMBOLS: usize = 1 << 20;

/// Symbols for which one running sum is kept. A table serves one or two look-ups, so that a running sum a symbol
/// would cost more than it saves.
const BLOCK: usize = 64;

/// What the rule says about a set of weights as a whole.
struct Scale {
    multiplier: u64,
    /// Where the largest weight is.
    largest: usize,
    /// All weights are zero and count as ones.
    uniform: bool,
}

impl Scale {
    fn new(weights: &[u32]) -> Self {
        let n = weights.len();
        assert!((1..=MAX_SYMBOLS).contains(&n), "{n} symbols: a frequency table holds 1 to {MAX_SYMBOLS}");
        let (mut sum, mut max, mut max_block) = (0u64, 0, 0);
        for (index, block) in weights.chunks(BLOCK).enumerate() {
            let mut block_max = 0;
            for &weight in block {
                sum += u64::from(weight);
                block_max = block_max.max(weight);
            }
            if block_max > max {
                (max, max_block) = (block_max, index);
            }
        }
        let uniform = sum == 0;
        if uniform {
            sum = n as u64;
        }
        let first = max_block * BLOCK;
        let in_block = weights[first..].iter().position(|&weight| weight == max);
        Self {
            multiplier: ((u64::from(TOTAL) - n as u64) << 32) / sum,
            largest: first + in_block.unwrap_or(0),
            uniform,
        }
    }

    /// Calls `visit` with a function from weight to frequency, before the remainder is handed out. The usual multipliers
    /// fit 32 bits, which vectorises far better.
    fn visit<V: Visit>(&self, visit: V) -> V::Output {
        let wide = self.multiplier;
        match u32::try_from(wide) {
            _ if self.uniform => visit.run(|_| 1 + (wide >> 32) as u32),
            Ok(narrow) => visit.run(|weight| 1 + ((u64::from(weight) * u64::from(narrow)) >> 32) as u32),
            Err(_) => visit.run(|weight| 1 + ((u64::from(weight) * wide) >> 32) as u32),
        }
    }
}

/// A loop over weights that is compiled once for each form of the multiplication.
trait Visit {
    type Output;
    fn run(self, frequency: impl Fn(u32) -> u32) -> Self::Output;
}

struct Fill<'a> {
    weights: &'a [u32],
    frequencies: &'a mut Vec<u32>,
}

impl Visit for Fill<'_> {
    type Output = ();
    fn run(self, frequency: impl Fn(u32) -> u32) {
        self.frequencies.clear();
        self.frequencies.extend(self.weights.iter().map(|&weight| frequency(weight)));
    }
}

struct Sum<'a>(&'a [u32]);

impl Visit for Sum<'_> {
    type Output = u32;
    fn run(self, frequency: impl Fn(u32) -> u32) -> u32 {
        self.0.iter().map(|&weight| frequency(weight)).sum()
    }
}

/// The frequencies of all symbols, for decoding. Reuse it: its buffers are kept.
#[derive(Debug, Clone)]
pub struct FrequencyTable {
    /// One per symbol, each at least 1, together [`TOTAL`].
    frequencies: Vec<u32>,
    /// Sum of the frequencies before each block of [`BLOCK`] symbols.
    block_starts: Vec<u32>,
}

impl Default for FrequencyTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FrequencyTable {
    /// A table of one symbol, which costs nothing.
    pub fn new() -> Self {
        Self { frequencies: vec![TOTAL], block_starts: vec![0] }
    }

    /// Makes this the table of `weights.len()` symbols with frequencies nearly proportional to their weights:
    ///
    /// `S = sum(w)`, `m = floor((2^28 - n) * 2^32 / S)`, `f_i = 1 + floor(w_i * m / 2^32)`, and the rest of 2^28 is
    /// added to the first of the largest weights. If all weights are zero, they count as ones.
    ///
    /// Any 32-bit weights are fine; the larger the largest, up to 2^30 or so, the finer the frequencies.
    ///
    /// # Panics
    /// If there is no symbol or there are more than [`MAX_SYMBOLS`].
    pub fn set_from_weights(&mut self, weights: &[u32]) {
        let scale = Scale::new(weights);
        scale.visit(Fill { weights, frequencies: &mut self.frequencies });
        self.block_starts.clear();
        let mut sum = 0;
        for block in self.frequencies.chunks(BLOCK) {
            self.block_starts.push(sum);
            sum += block.iter().sum::<u32>();
        }
        let rest = TOTAL - sum;
        self.frequencies[scale.largest] += rest;
        for start in &mut self.block_starts[scale.largest / BLOCK + 1..] {
            *start += rest;
        }
    }

    /// Number of symbols.
    pub fn n_symbols(&self) -> usize {
        self.frequencies.len()
    }

    /// The symbol's interval.
    ///
    /// # Panics
    /// If `symbol` is not below [`n_symbols`](Self::n_symbols).
    pub fn interval(&self, symbol: usize) -> Interval {
        let block = symbol / BLOCK;
        let before: u32 = self.frequencies[block * BLOCK..symbol].iter().sum();
        valid_interval(self.block_starts[block] + before, self.frequencies[symbol])
    }

    /// The symbol whose interval holds `quantile`; the last symbol if `quantile` is 2^28 or more.
    pub fn symbol_at(&self, quantile: u32) -> usize {
        self.locate(quantile).0
    }

    /// The symbol whose interval holds `quantile`, and that interval.
    pub(crate) fn locate(&self, quantile: u32) -> (usize, Interval) {
        let quantile = quantile.min(TOTAL - 1);
        // The first block starts at 0, so at least one start is not above the quantile.
        let n_starts = self.block_starts.partition_point(|&start| start <= quantile);
        let mut symbol = (n_starts - 1) * BLOCK;
        let mut cumulative = self.block_starts[n_starts - 1];
        while quantile - cumulative >= self.frequencies[symbol] {
            cumulative += self.frequencies[symbol];
            symbol += 1;
        }
        (symbol, valid_interval(cumulative, self.frequencies[symbol]))
    }
}

/// The interval that `symbol` has in the [`FrequencyTable`] of these weights, without making the table.
///
/// # Panics
/// If `symbol` is no index into `weights`, or there are more than [`MAX_SYMBOLS`] weights.
pub fn interval_from_weights(weights: &[u32], symbol: usize) -> Interval {
    let scale = Scale::new(weights);
    let (before, from) = weights.split_at(symbol);
    let (own, after) = from.split_at(1);
    let mut cumulative = scale.visit(Sum(before));
    let mut frequency = scale.visit(Sum(own));
    // Symbols after this one matter only through the remainder, and that only if it falls here or before.
    if scale.largest <= symbol {
        let rest = TOTAL - cumulative - frequency - scale.visit(Sum(after));
        if scale.largest < symbol {
            cumulative += rest;
        } else {
            frequency += rest;
        }
    }
    valid_interval(cumulative, frequency)
}

fn valid_interval(cumulative: u32, frequency: u32) -> Interval {
    Interval::new(cumulative, frequency).expect("frequencies are positive and sum to TOTAL")
}
