//! Which tokens stand for the symbols of the formats without text, and which values the symbols stand for.

use std::collections::BTreeMap;

use lmgc_coder::{AdaptiveUint, Decoder, Encoder};
use lmgc_tokens::Tokenizer;

use super::values::Cut;
use crate::Error;
use crate::bits::{unzigzag, zigzag};

/// The tokens of `n` symbols: the one with the lowest id whose bytes are `bytes_of(symbol)`. Symbols without one take the shortest
/// tokens that are left, of equally long ones those with the lowest ids. `None` if the vocabulary has too few.
fn tokens_of(tokenizer: &Tokenizer, n: usize, bytes_of: impl Fn(usize) -> Option<u8>) -> Option<Vec<u32>> {
    let n_ids = tokenizer.vocab_size() as u32;
    let wanted: Vec<Option<u8>> = (0..n).map(bytes_of).collect();
    let mut exact = BTreeMap::new();
    for id in 0..n_ids {
        if let [byte] = tokenizer.id_bytes(id) {
            exact.entry(*byte).or_insert(id);
        }
    }
    let exact_of = |byte: &Option<u8>| byte.and_then(|byte| exact.get(&byte).copied());
    let taken: Vec<u32> = wanted.iter().filter_map(exact_of).collect();
    let mut others: Vec<u32> =
        (0..n_ids).filter(|id| !tokenizer.id_bytes(*id).is_empty() && !taken.contains(id)).collect();
    others.sort_by_key(|&id| (tokenizer.id_bytes(id).len(), id));
    let mut others = others.into_iter();
    wanted.iter().map(|byte| exact_of(byte).or_else(|| others.next())).collect()
}

/// The tokens of `ids-nibble`: hexadecimal digits.
pub(super) fn nibble_tokens(tokenizer: &Tokenizer) -> Option<Vec<u32>> {
    tokens_of(tokenizer, 16, |symbol| b"0123456789abcdef".get(symbol).copied())
}

/// The tokens of `ids-byte`: bytes.
pub(super) fn byte_tokens(tokenizer: &Tokenizer) -> Option<Vec<u32>> {
    tokens_of(tokenizer, 256, |symbol| u8::try_from(symbol).ok())
}

/// Tokens of 17 classes of the ensemble: hexadecimal digits, and one more.
pub(crate) fn class_tokens(tokenizer: &Tokenizer) -> Option<Vec<u32>> {
    tokens_of(tokenizer, 17, |class| b"0123456789abcdefz".get(class).copied())
}

/// The tokens of `n` ranks: the shortest ones.
pub(super) fn rank_tokens(tokenizer: &Tokenizer, n: usize) -> Option<Vec<u32>> {
    tokens_of(tokenizer, n, |_| None)
}

/// The symbols of a block.
pub(super) struct SymbolTable {
    pub(super) cut: Cut,
    /// Bits of a symbol.
    pub(super) symbol_bits: u32,
    /// Token and bits of each symbol, by token.
    symbols: Vec<(u32, u64)>,
    /// The same by bits.
    by_bits: Vec<(u64, u32)>,
    /// About how often each occurs, by token, if that is known.
    frequencies: Option<Vec<u64>>,
}

impl SymbolTable {
    /// All symbols of some bits, with the token of each.
    pub(super) fn all(cut: Cut, symbol_bits: u32, tokens: &[u32]) -> Self {
        Self::new(cut, symbol_bits, tokens.iter().copied().zip(0..).map(|symbol| (symbol, 0)), false)
    }

    /// Whole heads, with the token of each rank.
    pub(super) fn of_ranks(cut: Cut, ranks: &Ranks, tokens: &[u32]) -> Self {
        let symbols = tokens.iter().copied().zip(ranks.heads.iter().copied());
        Self::new(cut, cut.head_bits, symbols.zip(ranks.frequencies()), true)
    }

    fn new(
        cut: Cut,
        symbol_bits: u32,
        symbols: impl Iterator<Item = ((u32, u64), u64)>,
        has_frequencies: bool,
    ) -> Self {
        let mut symbols: Vec<((u32, u64), u64)> = symbols.collect();
        symbols.sort_unstable();
        let (symbols, frequencies): (Vec<(u32, u64)>, Vec<u64>) = symbols.into_iter().unzip();
        let mut by_bits: Vec<(u64, u32)> = symbols.iter().map(|&(token, bits)| (bits, token)).collect();
        by_bits.sort_unstable();
        Self { cut, symbol_bits, symbols, by_bits, frequencies: has_frequencies.then_some(frequencies) }
    }

    pub(super) fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Ascending.
    pub(super) fn tokens(&self) -> Vec<u32> {
        self.symbols.iter().map(|&(token, _)| token).collect()
    }

    /// The bits of each symbol, in the order of tokens.
    pub(super) fn bits(&self) -> Vec<u64> {
        self.symbols.iter().map(|&(_, bits)| bits).collect()
    }

    pub(super) fn frequencies(&self) -> Option<&[u64]> {
        self.frequencies.as_deref()
    }

    /// Tokens of a value.
    pub(super) fn value_tokens(&self) -> usize {
        (self.cut.head_bits / self.symbol_bits) as usize
    }

    /// The tokens of heads, all of which have some.
    pub(super) fn tokens_of(&self, heads: &[u64]) -> Vec<u32> {
        let mask = u64::MAX >> (64 - self.symbol_bits);
        let shifts = (0..self.value_tokens() as u32).rev().map(|place| place * self.symbol_bits);
        let tokens = heads.iter().flat_map(|head| shifts.clone().map(move |shift| head >> shift & mask));
        tokens
            .map(|bits| match self.by_bits.binary_search_by_key(&bits, |&(bits, _)| bits) {
                Ok(at) => self.by_bits[at].1,
                Err(_) => unreachable!("a table has all symbols of its block"),
            })
            .collect()
    }

    /// The heads of tokens.
    pub(super) fn heads_of(&self, tokens: &[u32]) -> Result<Vec<u64>, Error> {
        let bits_of = |token: u32| {
            let at = self.symbols.binary_search_by_key(&token, |&(token, _)| token);
            at.map(|at| self.symbols[at].1).map_err(|_| Error::corrupt_block("a token that is no symbol"))
        };
        let head_of = |tokens: &[u32]| {
            tokens.iter().try_fold(0u64, |head, &token| Ok(head << self.symbol_bits | bits_of(token)?))
        };
        tokens.chunks(self.value_tokens()).map(head_of).collect()
    }
}

/// 2^(i/4), in 1 / 65536.
const QUARTER_OCTAVES: [u64; 4] = [65_536, 77_936, 92_682, 110_218];
/// Classes of frequencies: quarters of octaves. Blocks have fewer than 2^40 values.
const MAX_CLASS: u8 = 160;

/// The quarter of an octave that a count, at least 1, is in.
fn class_of(count: u64) -> u8 {
    let octave = count.ilog2();
    let mantissa = (count << 16) >> octave;
    let quarter = QUARTER_OCTAVES.iter().filter(|&&bound| bound <= mantissa).count() - 1;
    4 * octave as u8 + quarter as u8
}

/// The heads that occur in a block, by how often they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranks {
    /// By rank.
    heads: Vec<u64>,
    classes: Vec<u8>,
}

impl Ranks {
    pub(super) fn of(heads: &[u64]) -> Self {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        heads.iter().for_each(|&head| *counts.entry(head).or_default() += 1);
        Self::sorted(counts.into_iter().map(|(head, count)| (head, class_of(count))).collect())
    }

    /// From heads in ascending order.
    fn sorted(mut found: Vec<(u64, u8)>) -> Self {
        found.sort_by_key(|&(_, class)| std::cmp::Reverse(class));
        let (heads, classes) = found.into_iter().unzip();
        Self { heads, classes }
    }

    pub(super) fn heads(&self) -> &[u64] {
        &self.heads
    }

    /// About how often each rank occurs, from 2^16.
    pub(super) fn frequencies(&self) -> Vec<u64> {
        self.classes.iter().map(|&class| QUARTER_OCTAVES[usize::from(class % 4)] << (class / 4).min(40)).collect()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut ascending: Vec<(u64, u8)> = self.heads.iter().copied().zip(self.classes.iter().copied()).collect();
        ascending.sort_unstable();
        let mut encoder = Encoder::new();
        let [mut numbers, mut gaps, mut steps] = core::array::from_fn(|_| AdaptiveUint::new());
        numbers.encode_uint(&mut encoder, ascending.len() as u64);
        let (mut next, mut before) = (0, 0);
        for (head, class) in ascending {
            gaps.encode_uint(&mut encoder, head - next);
            let class = i32::from(class);
            steps.encode_uint(&mut encoder, zigzag(class - before));
            (next, before) = (head + 1, class);
        }
        encoder.finish()
    }

    pub(super) fn parse(bytes: &[u8], head_bits: u32) -> Result<Self, Error> {
        let corrupt = || Error::corrupt_block("the table of an lm block's exponents");
        let mut decoder = Decoder::new(bytes);
        let [mut numbers, mut gaps, mut steps] = core::array::from_fn(|_| AdaptiveUint::new());
        let n = numbers.decode_uint(&mut decoder)?;
        if n > 1 << head_bits {
            return Err(corrupt());
        }
        let (mut next, mut before) = (0u64, 0i32);
        let mut ascending = Vec::new();
        for _ in 0..n {
            let head = next.checked_add(gaps.decode_uint(&mut decoder)?).filter(|head| head >> head_bits == 0);
            let head = head.ok_or_else(corrupt)?;
            let class = unzigzag(steps.decode_uint(&mut decoder)?).and_then(|step| before.checked_add(step));
            let class = class.and_then(|class| u8::try_from(class).ok());
            let class = class.filter(|&class| class < MAX_CLASS).ok_or_else(corrupt)?;
            ascending.push((head, class));
            (next, before) = (head + 1, i32::from(class));
        }
        decoder.finish()?;
        Ok(Self::sorted(ascending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_quarters_of_octaves() {
        assert_eq!([1, 2, 3, 4, 5, 7, 8, 1 << 39].map(class_of), [0, 4, 6, 8, 9, 11, 12, 156]);
        let ranks = Ranks { heads: vec![3, 1], classes: vec![8, 1] };
        assert_eq!(ranks.frequencies(), [65_536 << 2, 77_936]);
    }

    #[test]
    fn ranks_come_back() {
        let heads: Vec<u64> = (0..3000u64).map(|i| ((i * i * i) >> 21) % 500).collect();
        for heads in [&heads[..], &[7][..], &[511, 0, 511][..], &[][..]] {
            let ranks = Ranks::of(heads);
            let bytes = ranks.to_bytes();
            assert_eq!(Ranks::parse(&bytes, 9).unwrap(), ranks);
            for len in 0..bytes.len() {
                assert_ne!(Ranks::parse(&bytes[..len], 9).ok().as_ref(), Some(&ranks));
            }
        }
        assert_eq!(Ranks::of(&[511, 0, 511]).heads(), [511, 0]);
        assert!(Ranks::parse(&Ranks::of(&[511]).to_bytes(), 8).is_err(), "beyond 8 bits");
    }
}
