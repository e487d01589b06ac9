//! What a block costs by the model's probabilities, and which part of the values takes how much of it.

use std::sync::{Arc, Mutex, PoisonError};

use lmgc_serialize::{CHUNK_BYTES, Serializer, Slot};
use lmgc_tokens::Tokenizer;

use super::values::Cut;

/// An ideal code length: what the probabilities say, before a range coder rounds it up and files add headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeLength {
    /// Tokens that pass through the model.
    pub n_tokens: u64,
    /// Bits by field, in the order in which they are written. Text has `separators` and the value's bytes from `byte 0`, the lowest,
    /// on; `text` where tokens and characters don't match. Formats without text have `sign and exponent` and `mantissa`, or
    /// `leading bits` and `other bits`. `side information` is everything else: exceptions, tables.
    pub fields: Vec<(String, f64)>,
}

impl CodeLength {
    /// All fields together, in bits.
    pub fn bits(&self) -> f64 {
        self.fields.iter().map(|(_, bits)| bits).sum()
    }

    /// Adds another's tokens and fields.
    pub fn add_all(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        for (field, bits) in &other.fields {
            self.add(field.clone(), *bits);
        }
    }

    /// Adds bits to a field, which comes last if it is new.
    pub fn add(&mut self, field: impl Into<String>, bits: f64) {
        let field = field.into();
        match self.fields.iter_mut().find(|(name, _)| *name == field) {
            Some((_, sum)) => *sum += bits,
            None => self.fields.push((field, bits)),
        }
    }

    pub(super) fn add_bytes(&mut self, field: impl Into<String>, n_bytes: usize) {
        if n_bytes > 0 {
            self.add(field, 8.0 * n_bytes as f64);
        }
    }
}

/// Adds up the code lengths of all blocks that a codec encodes ([`LmCodec::metered`](super::LmCodec::metered)).
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<CodeLength>>);

impl Meter {
    /// The sum so far, which begins anew.
    pub fn take(&self) -> CodeLength {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, length: &CodeLength) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add_all(length);
    }
}

/// Names of what lies above and below a cut.
pub(super) fn cut_names(cut: Cut) -> (&'static str, &'static str) {
    let at_mantissa = cut.layout.has_sign && cut.head_bits == cut.layout.leading_bits;
    if at_mantissa { ("sign and exponent", "mantissa") } else { ("leading bits", "other bits") }
}

/// Shares out the tokens' costs among what their characters stand for.
pub(super) struct TextFields<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) serializer: Serializer,
    /// Bytes that became text.
    pub(super) n_bytes: usize,
    /// Bytes of a value, of those that became text.
    pub(super) value_bytes: usize,
    /// The number of the first of them in the value: those below did not become text.
    pub(super) first_byte: usize,
}

impl TextFields<'_> {
    /// Adds the costs of the tokens of all bytes, in bits.
    pub(super) fn add_to(&self, length: &mut CodeLength, ids: &[u32], costs: &[f32]) {
        let Some(by_field) = self.shares(ids, costs) else {
            length.add("text", costs.iter().copied().map(f64::from).sum());
            return;
        };
        let (bytes, separators) = by_field.split_at(self.value_bytes);
        length.add("separators", separators.iter().sum());
        for (at, &bits) in bytes.iter().enumerate() {
            length.add(format!("byte {}", self.first_byte + at), bits);
        }
    }

    /// Bits of each byte of a value, then of separators; `None` if the tokens' characters are not those of a hexadecimal text.
    fn shares(&self, ids: &[u32], costs: &[f32]) -> Option<Vec<f64>> {
        if !self.serializer.format().is_hex() || self.value_bytes == 0 {
            return None;
        }
        let slots = self.serializer.slots();
        let mut by_field = vec![0.0; self.value_bytes + 1];
        // Of the chunk: bytes before it, its characters, and how many of them are behind us.
        let (mut before, mut n_chars, mut at) = (0, self.chunk_chars(0), 0);
        // Of the chunk, too.
        let mut n_whole_bytes = 0;
        for (&id, &cost) in ids.iter().zip(costs) {
            let piece = self.tokenizer.id_bytes(id);
            if at == n_chars {
                before += CHUNK_BYTES;
                (n_chars, at, n_whole_bytes) = (self.chunk_chars(before), 0, 0);
            }
            let share = f64::from(cost) / piece.len().max(1) as f64;
            for (nth, &character) in piece.iter().enumerate() {
                let slot = *slots.get(at % slots.len())?;
                let fits = match slot {
                    Slot::HighDigit | Slot::LowDigit => character.is_ascii_hexdigit(),
                    Slot::Separator(expected) => character == expected,
                    Slot::Latin1 => false,
                };
                // Llama's tokenizers put a space before each chunk.
                let is_prefix = at == 0 && nth == 0 && character == b' ';
                if !(fits && at < n_chars || is_prefix) {
                    return None;
                }
                let field = match slot {
                    Slot::Separator(_) => self.value_bytes,
                    _ => (before + n_whole_bytes) % self.value_bytes,
                };
                *by_field.get_mut(field)? += share;
                if fits {
                    at += 1;
                    n_whole_bytes += usize::from(slot == Slot::LowDigit);
                }
            }
        }
        (at == n_chars && before + CHUNK_BYTES >= self.n_bytes).then_some(by_field)
    }

    /// Characters of the chunk that begins after so many bytes.
    fn chunk_chars(&self, before: usize) -> usize {
        self.serializer.n_chars(self.n_bytes.saturating_sub(before).min(CHUNK_BYTES))
    }
}
