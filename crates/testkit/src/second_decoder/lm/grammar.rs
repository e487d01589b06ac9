//! "Alphabet", and what can come next ("Symbols").

use super::super::Prior;
use super::text::{CHUNK_BYTES, Slot, TextFormat};

/// The ids of a format's alphabet, ascending.
pub(super) fn alphabet(format: TextFormat, prior: &Prior<'_>) -> Vec<u32> {
    let slots = format.slots();
    let has_dummy_prefix = prior.model.has_dummy_prefix();
    let belongs = |bytes: &[u8]| {
        let behind_prefix = bytes.strip_prefix(b" ").filter(|rest| has_dummy_prefix && !rest.is_empty());
        !bytes.is_empty() && occurs(&slots, bytes) || behind_prefix.is_some_and(|rest| fits(&slots, 0, false, rest))
    };
    let tokens = (0..prior.n_vocabulary).zip(prior.model.token_bytes());
    tokens.filter(|(_, bytes)| belongs(bytes)).map(|(id, _)| id).collect()
}

/// Whether bytes occur in some text.
fn occurs(slots: &[Slot], bytes: &[u8]) -> bool {
    (0..slots.len()).any(|place| {
        fits(slots, place, false, bytes) || slots[place] == Slot::Character && fits(slots, place, true, bytes)
    })
}

/// Whether bytes fit from a place in the cycle on, or from the second byte of the character there.
fn fits(slots: &[Slot], mut place: usize, mut is_second: bool, bytes: &[u8]) -> bool {
    for &byte in bytes {
        let slot = slots[place % slots.len()];
        if is_second {
            if !(0x80..0xc0).contains(&byte) {
                return false;
            }
            is_second = false;
            place += 1;
        } else if slot == Slot::Character && matches!(byte, 0xc2 | 0xc3) {
            is_second = true;
        } else if slot.has(byte) {
            place += 1;
        } else {
            return false;
        }
    }
    true
}

/// Which ids can come at each place in the texts of a block, with source 2.
pub(super) struct Next {
    /// Characters of a full chunk's text, and of all texts.
    full: usize,
    n_characters: usize,
    /// At the beginning of a text: ids, ascending, with their numbers of characters, a space in front not counted.
    first: Vec<(u32, usize)>,
    /// The same from each place in the cycle on.
    later: Vec<Vec<(u32, usize)>>,
}

impl Next {
    pub(super) fn new(format: TextFormat, n_bytes: usize, alphabet: &[u32], token_bytes: &[Vec<u8>]) -> Self {
        let slots = format.slots();
        let bytes_of = |id: u32| token_bytes.get(id as usize).map_or(&[][..], Vec::as_slice);
        let first = alphabet.iter().filter_map(|&id| {
            let bytes = bytes_of(id);
            let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            (!bytes.is_empty() && fits(&slots, 0, false, bytes)).then_some((id, bytes.len()))
        });
        let later = (0..slots.len()).map(|place| {
            let ids = alphabet.iter().filter(|&&id| fits(&slots, place, false, bytes_of(id)));
            ids.map(|&id| (id, bytes_of(id).len())).collect()
        });
        let full = format.n_characters(CHUNK_BYTES);
        Self {
            full,
            n_characters: n_bytes / CHUNK_BYTES * full + format.n_characters(n_bytes % CHUNK_BYTES),
            first: first.collect(),
            later: later.collect(),
        }
    }

    /// Characters of all texts.
    pub(super) fn n_characters(&self) -> usize {
        self.n_characters
    }

    /// The ids that can come at a place, ascending, with their numbers of characters.
    pub(super) fn at(&self, place: usize) -> impl Iterator<Item = (u32, usize)> {
        let in_chunk = place % self.full;
        let left = (self.full - in_chunk).min(self.n_characters.saturating_sub(place));
        let ids = if in_chunk == 0 { &self.first } else { &self.later[in_chunk % self.later.len()] };
        ids.iter().copied().filter(move |&(_, n)| n <= left)
    }
}
