//! Which tokens can come next in a hexadecimal text, by how much of it there is.

use lmgc_serialize::{CHUNK_BYTES, Serializer};
use lmgc_tokens::Tokenizer;

/// A symbol, and the characters that its token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    symbol: u32,
    n_chars: u32,
}

/// What may stand where in the texts of a hexadecimal format: at each place of the cycle of a group and its separator, and at a text's
/// beginning, where the tokens' first space is dropped. Symbols are indices into the format's alphabet.
#[derive(Clone, Debug)]
pub(crate) struct Grammar {
    /// By place in the cycle, ascending by symbol.
    by_slot: Vec<Vec<Step>>,
    at_beginning: Vec<Step>,
    /// Most characters of a token.
    max_chars: u32,
    serializer: Serializer,
}

impl Grammar {
    /// The grammar of a format's alphabet, ascending ids; `None` for formats whose characters are not bytes of the text.
    pub(crate) fn new(tokenizer: &Tokenizer, serializer: Serializer, alphabet: &[u32]) -> Option<Self> {
        if !serializer.format().is_hex() {
            return None;
        }
        let steps = |slot: usize, strips: bool| -> Vec<Step> {
            let fitting = alphabet.iter().zip(0..).filter_map(|(&id, symbol)| {
                let piece = tokenizer.id_bytes(id);
                let piece = if strips { piece.strip_prefix(b" ").unwrap_or(piece) } else { piece };
                let fits = !piece.is_empty() && serializer.fits_at(slot, piece);
                fits.then_some(Step { symbol, n_chars: piece.len() as u32 })
            });
            fitting.collect()
        };
        let by_slot: Vec<Vec<Step>> = (0..serializer.slots().len()).map(|slot| steps(slot, false)).collect();
        let at_beginning = steps(0, true);
        let max_chars = by_slot.iter().flatten().chain(&at_beginning).map(|step| step.n_chars).max().unwrap_or(0);
        Some(Self { by_slot, at_beginning, max_chars, serializer })
    }

    /// The grammar of so many bytes, whole chunks and what is left.
    pub(crate) fn of_bytes(&self, n_bytes: usize) -> Texts<'_> {
        let chars_a_chunk = self.serializer.n_chars(CHUNK_BYTES) as u64;
        let n_whole = (n_bytes / CHUNK_BYTES) as u64;
        let n_chars = n_whole * chars_a_chunk + self.serializer.n_chars(n_bytes % CHUNK_BYTES) as u64;
        Texts { grammar: self, chars_a_chunk, n_chars }
    }
}

/// The texts of a block, one after the other. A place in them is a number of characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts<'a> {
    grammar: &'a Grammar,
    chars_a_chunk: u64,
    n_chars: u64,
}

impl Texts<'_> {
    /// The symbols that can come at a place, ascending, and the characters of each; none at the end.
    fn steps_at(&self, place: u64) -> impl Iterator<Item = Step> + '_ {
        let in_chunk = place % self.chars_a_chunk;
        let grammar = self.grammar;
        let steps = if in_chunk == 0 {
            &grammar.at_beginning
        } else {
            &grammar.by_slot[(in_chunk % grammar.by_slot.len() as u64) as usize]
        };
        let left = (self.chars_a_chunk - in_chunk).min(self.n_chars.saturating_sub(place));
        let all_fit = left >= u64::from(grammar.max_chars);
        steps.iter().copied().filter(move |step| all_fit || u64::from(step.n_chars) <= left)
    }

    /// The symbols that can come at a place, ascending.
    pub(crate) fn symbols_at(&self, place: u64) -> Vec<u32> {
        self.steps_at(place).map(|step| step.symbol).collect()
    }

    /// The place after a symbol, if it can come at this one.
    pub(crate) fn after(&self, place: u64, symbol: u32) -> Option<u64> {
        self.steps_at(place).find(|step| step.symbol == symbol).map(|step| place + u64::from(step.n_chars))
    }

    /// The place before each of some symbols, if they are a way through all texts.
    pub(crate) fn places(&self, symbols: impl Iterator<Item = u32>) -> Option<Vec<u64>> {
        let (mut place, mut places) = (0, Vec::new());
        for symbol in symbols {
            places.push(place);
            place = self.after(place, symbol)?;
        }
        (place == self.n_chars).then_some(places)
    }
}

#[cfg(test)]
mod tests {
    use lmgc_serialize::{BytesPerGroup, Format};

    use super::*;

    fn texts_of(pieces: &[&str], n_bytes: usize, check: impl Fn(&Texts<'_>)) {
        let serializer = Serializer::new(Format::HexSpace, BytesPerGroup::new(1).unwrap());
        let slots = serializer.slots().len();
        let steps = |slot: usize, strips: bool| -> Vec<Step> {
            pieces
                .iter()
                .zip(0..)
                .map(|(piece, symbol)| (if strips { piece.strip_prefix(' ').unwrap_or(piece) } else { piece }, symbol))
                .filter(|(piece, _)| !piece.is_empty() && serializer.fits_at(slot, piece.as_bytes()))
                .map(|(piece, symbol)| Step { symbol, n_chars: piece.len() as u32 })
                .collect()
        };
        let by_slot = (0..slots).map(|slot| steps(slot, false)).collect();
        let grammar = Grammar { by_slot, at_beginning: steps(0, true), max_chars: 4, serializer };
        check(&grammar.of_bytes(n_bytes));
    }

    #[test]
    fn only_what_fits_can_come() {
        let pieces = ["0", "a", "0a", " ", " 0", "a 0a", " 0a "];
        // "xx xx xx"
        texts_of(&pieces, 3, |texts| {
            assert_eq!(texts.symbols_at(0), [0, 1, 2, 4, 6]);
            assert_eq!(texts.symbols_at(1), [0, 1, 5]);
            assert_eq!(texts.symbols_at(2), [3, 4, 6]);
            assert_eq!(texts.symbols_at(6), [0, 1, 2]);
            assert_eq!(texts.symbols_at(7), [0, 1], "no token reaches beyond the end");
            assert!(texts.symbols_at(8).is_empty() && texts.symbols_at(u64::MAX).is_empty());
            assert_eq!(texts.after(0, 4), Some(1), "a first space is dropped");
            assert_eq!(texts.places([2, 6, 2].into_iter()), Some(vec![0, 2, 6]));
            assert_eq!(texts.places([0, 5, 4, 1].into_iter()), Some(vec![0, 1, 5, 7]));
            assert_eq!(texts.places([0, 5].into_iter()), None, "the texts go on");
            assert_eq!(texts.places([0, u32::MAX].into_iter()), None);
        });
        // Each chunk of 512 bytes, 1535 characters, is a text of its own.
        texts_of(&pieces, 600, |texts| {
            assert_eq!(texts.symbols_at(1533), [0, 1, 2]);
            assert_eq!(texts.symbols_at(1535), texts.symbols_at(0));
        });
        texts_of(&pieces, 0, |texts| assert_eq!(texts.places([].into_iter()), Some(vec![])));
    }
}
