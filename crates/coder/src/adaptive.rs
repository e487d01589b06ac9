//! Models that learn as they go, for side information: lengths, flags, exception lists.
//!
//! Each starts with equal counts, codes a symbol, and then counts it. Both sides do the same, so nothing needs
//! to be transmitted. Counts become frequencies as `count * floor(2^28 / total)`; the last symbol gets the rest.

use crate::Error;
use crate::range::{Decoder, Encoder, Interval, TOTAL};

/// What a count grows by. With a start at 1, two steps give the Krichevsky-Trofimov estimate.
const STEP: u32 = 2;

/// A binary symbol with an adaptive probability.
#[derive(Debug, Clone)]
pub struct AdaptiveBit {
    counts: [u32; 2],
}

impl AdaptiveBit {
    const LIMIT: u32 = 1 << 10;

    /// Both values equally likely.
    pub const fn new() -> Self {
        Self { counts: [1, 1] }
    }

    fn interval(&self, bit: bool) -> Interval {
        let [zeros, ones] = self.counts;
        let split = zeros * (TOTAL / (zeros + ones));
        let interval = if bit { Interval::new(split, TOTAL - split) } else { Interval::new(0, split) };
        interval.expect("both counts are positive")
    }

    fn update(&mut self, bit: bool) {
        let [zeros, ones] = &mut self.counts;
        *(if bit { &mut *ones } else { &mut *zeros }) += STEP;
        if *zeros + *ones > Self::LIMIT {
            *zeros = zeros.div_ceil(2);
            *ones = ones.div_ceil(2);
        }
    }

    /// Writes a bit.
    pub fn encode(&mut self, encoder: &mut Encoder, bit: bool) {
        encoder.encode(self.interval(bit));
        self.update(bit);
    }

    /// Reads a bit.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Error> {
        let split = self.interval(true).cumulative();
        let symbol = decoder.decode_with(|quantile| {
            let bit = quantile >= split;
            (usize::from(bit), self.interval(bit))
        })?;
        let bit = symbol != 0;
        self.update(bit);
        Ok(bit)
    }
}

impl Default for AdaptiveBit {
    fn default() -> Self {
        Self::new()
    }
}

/// An adaptive order-0 model of up to 256 symbols.
#[derive(Debug, Clone)]
pub struct AdaptiveModel {
    counts: Vec<u32>,
    total: u32,
}

impl AdaptiveModel {
    const LIMIT: u32 = 1 << 14;

    /// All symbols below `n_symbols` equally likely.
    ///
    /// # Panics
    /// If `n_symbols` is 0 or above 256.
    pub fn new(n_symbols: usize) -> Self {
        assert!((1..=256).contains(&n_symbols), "{n_symbols} symbols: an adaptive model holds 1 to 256");
        Self { counts: vec![1; n_symbols], total: n_symbols as u32 }
    }

    /// Number of symbols.
    pub fn n_symbols(&self) -> usize {
        self.counts.len()
    }

    fn interval(&self, symbol: usize) -> Interval {
        let scale = TOTAL / self.total;
        let start = self.counts[..symbol].iter().sum::<u32>() * scale;
        let is_last = symbol + 1 == self.counts.len();
        let end = if is_last { TOTAL } else { start + self.counts[symbol] * scale };
        Interval::new(start, end - start).expect("counts are positive")
    }

    fn locate(&self, quantile: u32) -> (usize, Interval) {
        let mut left = quantile / (TOTAL / self.total);
        let mut symbol = 0;
        while symbol + 1 < self.counts.len() && left >= self.counts[symbol] {
            left -= self.counts[symbol];
            symbol += 1;
        }
        (symbol, self.interval(symbol))
    }

    fn update(&mut self, symbol: usize) {
        self.counts[symbol] += STEP;
        self.total += STEP;
        if self.total > Self::LIMIT {
            for count in &mut self.counts {
                *count = count.div_ceil(2);
            }
            self.total = self.counts.iter().sum();
        }
    }

    /// Writes a symbol.
    ///
    /// # Panics
    /// If `symbol` is not below [`n_symbols`](Self::n_symbols).
    pub fn encode(&mut self, encoder: &mut Encoder, symbol: usize) {
        encoder.encode(self.interval(symbol));
        self.update(symbol);
    }

    /// Reads a symbol, below [`n_symbols`](Self::n_symbols).
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode(&mut self, decoder: &mut Decoder<'_>) -> Result<usize, Error> {
        let symbol = decoder.decode_with(|quantile| self.locate(quantile))?;
        self.update(symbol);
        Ok(symbol)
    }
}

/// Adaptive code for unsigned integers of unknown size, after Elias's gamma code.
///
/// The number of significant bits is written in unary with adaptive bits, then the bits below the leading one: up to three
/// adaptive (in the context of the length and of those before), the rest plain. Values below 16 are thus
/// modelled exactly.
#[derive(Debug, Clone)]
pub struct AdaptiveUint {
    /// `[i]`: has the value more than `i` significant bits?
    is_longer: [AdaptiveBit; 64],
    /// `[n_significant - 1][tree node]`: the first bits below the leading one; nodes 1 to 7 are used.
    leading: Vec<[AdaptiveBit; 8]>,
}

/// Bits below the leading one that are adaptive.
const N_LEADING: u32 = 3;

impl AdaptiveUint {
    /// A model that has seen nothing.
    pub fn new() -> Self {
        Self { is_longer: [const { AdaptiveBit::new() }; 64], leading: vec![[const { AdaptiveBit::new() }; 8]; 64] }
    }

    /// Writes any value.
    pub fn encode_uint(&mut self, encoder: &mut Encoder, value: u64) {
        let n_significant = u64::BITS - value.leading_zeros();
        for (i, bit) in (0..).zip(&mut self.is_longer) {
            bit.encode(encoder, n_significant > i);
            if n_significant <= i {
                break;
            }
        }
        let Some(n_below) = n_significant.checked_sub(1) else {
            return;
        };
        let n_leading = n_below.min(N_LEADING);
        let n_plain = n_below - n_leading;
        let tree = &mut self.leading[n_below as usize];
        let mut node = 1;
        for i in (0..n_leading).rev() {
            let bit = value >> (n_plain + i) & 1;
            tree[node].encode(encoder, bit != 0);
            node = node << 1 | bit as usize;
        }
        encoder.encode_bits(value, n_plain);
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_uint(&mut self, decoder: &mut Decoder<'_>) -> Result<u64, Error> {
        let mut n_significant = 0u32;
        for bit in &mut self.is_longer {
            if !bit.decode(decoder)? {
                break;
            }
            n_significant += 1;
        }
        let Some(n_below) = n_significant.checked_sub(1) else {
            return Ok(0);
        };
        let n_leading = n_below.min(N_LEADING);
        let tree = &mut self.leading[n_below as usize];
        let mut node = 1;
        for _ in 0..n_leading {
            node = node << 1 | usize::from(tree[node].decode(decoder)?);
        }
        // The tree's root is the leading one itself.
        let n_plain = n_below - n_leading;
        Ok((node as u64) << n_plain | decoder.decode_bits(n_plain)?)
    }
}

impl Default for AdaptiveUint {
    fn default() -> Self {
        Self::new()
    }
}
