//! "Cut values".

use std::collections::HashMap;

use super::super::streams::{Counter, Decisions, PlainBits};
use super::super::{Block, Refusal};
use super::payload::Reader;
use super::settings::{Format, Settings, SymbolFormat};

/// How many bits below the leading ones have counters.
const COUNTED_BITS: u32 = 3;

/// What the values of a block are, and how they are cut.
pub(super) struct Values {
    /// Number of whole values.
    pub(super) n: usize,
    /// Bits of a value.
    width: u32,
    /// Bits of its sign and of its exponent, or of what stands for it.
    sign: u32,
    exponent: u32,
    is_float: bool,
    /// Bits of a value's head.
    head: u32,
    /// Bits of a symbol; with text those of a byte.
    symbol: u32,
    has_table: bool,
    /// Bytes after the last whole value.
    n_tail: usize,
}

impl Values {
    pub(super) fn new(block: &Block<'_>, settings: &Settings) -> Self {
        let (width, sign, exponent, is_float) = match block.dtype {
            "F64" | "C128" => (64, 1, 11, true),
            "F32" | "C64" => (32, 1, 8, true),
            "F16" => (16, 1, 5, true),
            "BF16" => (16, 1, 8, true),
            "I64" | "U64" => (64, 0, 8, false),
            "I32" | "U32" => (32, 0, 8, false),
            "I16" | "U16" => (16, 0, 8, false),
            // Floats of 8 bits, too: none of them counts as a float.
            _ => (8, 0, 8, false),
        };
        let head = match settings.format {
            Format::Symbols(SymbolFormat::Exponent) => sign + exponent,
            _ => settings.lm_bits.unwrap_or(width).min(width),
        };
        let symbol = match settings.format {
            Format::Symbols(SymbolFormat::Nibble) => 4,
            Format::Symbols(SymbolFormat::Exponent) => head,
            Format::Symbols(SymbolFormat::Byte) | Format::Text(_) => 8,
        };
        let has_table = settings.format == Format::Symbols(SymbolFormat::Exponent);
        let n_value_bytes = width as usize / 8;
        let (n, n_tail) = (block.raw_len / n_value_bytes, block.raw_len % n_value_bytes);
        Self { n, width, sign, exponent, is_float, head, symbol, has_table, n_tail }
    }

    /// Bytes of all heads, where these are whole bytes.
    pub(super) fn n_head_bytes(&self) -> usize {
        self.n * self.head as usize / 8
    }

    /// Bits of a symbol.
    pub(super) fn symbol_bits(&self) -> u32 {
        self.symbol
    }

    /// Symbols that make up a head.
    pub(super) fn symbols_per_value(&self) -> usize {
        (self.head / self.symbol) as usize
    }

    /// Whether symbols are heads, of which a table says which ones occur.
    pub(super) fn has_table(&self) -> bool {
        self.has_table
    }

    /// Whether the leading bits are those of a float.
    pub(super) fn is_float(&self) -> bool {
        self.is_float
    }

    /// Number of leading bits.
    pub(super) fn leading(&self) -> u32 {
        self.sign + self.exponent
    }

    /// The leading bits of a value whose `n_known` upper bits are given, zeros for those that are not.
    pub(super) fn leading_of(&self, upper: u64, n_known: u32) -> u64 {
        if n_known < self.leading() { upper << (self.leading() - n_known) } else { upper >> (n_known - self.leading()) }
    }

    /// Sign and exponent of a value, as far as its head has them.
    pub(super) fn sign_and_exponent(&self, head: u64) -> (u64, u64) {
        let leading = self.leading_of(head, self.head);
        (leading >> self.exponent, leading & ((1 << self.exponent) - 1))
    }

    /// Heads of whole bytes in memory order.
    pub(super) fn heads_of_bytes(&self, bytes: &[u8]) -> Vec<u64> {
        let heads = bytes.chunks_exact(self.head as usize / 8);
        heads.map(|head| head.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))).collect()
    }

    /// The block's bytes, of the heads and the rest.
    pub(super) fn restore(&self, heads: &[u64], rest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let wrong = || Refusal::corrupt("a rest of another length than the values have");
        let n_body = rest.len().checked_sub(self.n_tail).ok_or_else(wrong)?;
        let (body, tail) = rest.split_at(n_body);
        let mut bytes = Vec::new();
        let mut append = |value: u64| bytes.extend(&value.to_le_bytes()[..self.width as usize / 8]);
        if self.head == self.width {
            if !body.is_empty() {
                return Err(wrong());
            }
            heads.iter().copied().for_each(append);
        } else {
            let mut lower = LowerBits::new(self, body)?;
            for &head in heads {
                append(lower.complete(head)?);
            }
            lower.finish()?;
        }
        bytes.extend(tail);
        Ok(bytes)
    }
}

/// The bits below the heads.
struct LowerBits<'a> {
    values: &'a Values,
    decisions: Decisions<'a>,
    plain: PlainBits<'a>,
    /// For a one and all bits above.
    upper: HashMap<u64, Counter>,
    /// Whether no bit that is left is set: for the leading bits, and whether that was so in the value before.
    zero: HashMap<(u64, bool), Counter>,
    was_zero: bool,
    /// Whether the bit at a place, from the lowest on, is set: for the place, and for whether the lowest bit of the last value that
    /// was asked was further up.
    lowest: [[Counter; 2]; 64],
    last_lowest: u32,
}

impl<'a> LowerBits<'a> {
    fn new(values: &'a Values, body: &'a [u8]) -> Result<Self, Refusal> {
        let mut body = Reader(body);
        let decisions = body.prefixed()?;
        Ok(Self {
            values,
            decisions: Decisions::new(decisions),
            plain: PlainBits::new(body.0),
            upper: HashMap::new(),
            zero: HashMap::new(),
            was_zero: false,
            lowest: [[Counter::NEW; 2]; 64],
            last_lowest: 0,
        })
    }

    /// A value, of its head.
    fn complete(&mut self, head: u64) -> Result<u64, Refusal> {
        let Values { width, head: mut n_known, .. } = *self.values;
        let n_counted = (self.values.leading() + COUNTED_BITS).min(width);
        let mut value = head;
        while n_known < n_counted {
            let counter = self.upper.entry(1 << n_known | value).or_insert(Counter::NEW);
            value = value << 1 | u64::from(counter.answer(&mut self.decisions));
            n_known += 1;
        }
        let n_left = width - n_known;
        if n_left == 0 {
            return Ok(value);
        }
        let leading = self.values.leading_of(value, n_known);
        let zero = self.zero.entry((leading, self.was_zero)).or_insert(Counter::NEW);
        self.was_zero = zero.answer(&mut self.decisions);
        if self.was_zero {
            return Ok(value << n_left);
        }
        let lowest = self.lowest_bit(n_left);
        let n_plain = n_left - 1 - lowest;
        let mut n_steps = n_plain;
        while n_steps > 0 {
            let step = n_steps.min(32);
            value = value << step | self.plain.take(step);
            n_steps -= step;
        }
        Ok((value << 1 | 1) << lowest)
    }

    /// The lowest of so many bits that is set.
    fn lowest_bit(&mut self, n_bits: u32) -> u32 {
        for place in 0..n_bits - 1 {
            let was_further_up = self.last_lowest > place;
            let counter = &mut self.lowest[place as usize][usize::from(was_further_up)];
            let is_set = counter.answer(&mut self.decisions);
            if is_set {
                self.last_lowest = place;
                return place;
            }
        }
        self.last_lowest = n_bits - 1;
        n_bits - 1
    }

    fn finish(&self) -> Result<(), Refusal> {
        self.decisions.check_end()?;
        self.plain.check_end("the values' rest")
    }
}
