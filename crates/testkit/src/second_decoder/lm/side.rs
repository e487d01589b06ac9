//! "Side information": how tokens turn back into texts.

use super::super::Refusal;
use super::payload::Reader;
use super::text::{CHUNK_BYTES, TextFormat};

/// The bytes that texts of `n_bytes` in all stand for.
pub(super) fn bytes_of_tokens(
    format: TextFormat,
    n_bytes: usize,
    tokens: &[u32],
    token_bytes: &[Vec<u8>],
    side: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let n_chunks = n_bytes.div_ceil(CHUNK_BYTES);
    let side = Side::read(side, format, n_chunks, format.n_characters(CHUNK_BYTES))?;
    let mut tokens = tokens.iter().map(|&id| token_bytes.get(id as usize).map_or(&[][..], Vec::as_slice));
    let mut lengths = side.n_tokens.iter().peekable();
    let mut edits = side.edits.iter().peekable();
    let mut bytes = Vec::new();
    for chunk in 0..n_chunks {
        let n_characters = format.n_characters((n_bytes - chunk * CHUNK_BYTES).min(CHUNK_BYTES));
        let mut chunk_edits = Vec::new();
        while let Some(edit) = edits.next_if(|edit| edit.chunk == chunk) {
            chunk_edits.push(edit);
        }
        let n_tokens = lengths.next_if(|&&(given, _)| given == chunk).map(|&(_, n)| n);
        let text = text_of_chunk(n_characters, &chunk_edits, n_tokens, side.drops_spaces, &mut tokens)?;
        bytes.extend(format.bytes_of_text(&text)?);
    }
    if tokens.next().is_some() {
        return Err(Refusal::corrupt("tokens are left after the last chunk"));
    }
    Ok(bytes)
}

/// Takes a chunk's tokens and makes its text of them.
fn text_of_chunk<'t>(
    n_characters: usize,
    edits: &[&Edit],
    n_tokens: Option<usize>,
    drops_spaces: bool,
    tokens: &mut impl Iterator<Item = &'t [u8]>,
) -> Result<Vec<u8>, Refusal> {
    let wrong = || Refusal::corrupt("tokens and side information contradict each other");
    // 1.
    let n_inserted: usize = edits.iter().map(|edit| edit.inserted.len()).sum();
    let n_deleted = edits.iter().try_fold(0usize, |sum, edit| sum.checked_add(edit.n_deleted)).ok_or_else(wrong)?;
    let n_kept = n_characters.checked_sub(n_inserted).ok_or_else(wrong)?;
    let n_elements = n_kept.checked_add(n_deleted).ok_or_else(wrong)?;
    // 2.
    let mut bytes: Vec<u8> = Vec::new();
    let mut n_ends = 0;
    let n_spaces = |bytes: &[u8]| usize::from(drops_spaces && bytes.first() == Some(&b' '));
    let mut n_taken = 0;
    while n_tokens.map_or_else(|| n_ends < n_elements + n_spaces(&bytes) && n_elements > 0, |n| n_taken < n) {
        let token = tokens.next().ok_or_else(wrong)?;
        n_ends += token.iter().filter(|&&byte| ends_element(byte)).count();
        bytes.extend(token);
        n_taken += 1;
    }
    // 3.
    let bytes = &bytes[n_spaces(&bytes)..];
    // 4.
    let mut elements = bytes.split_inclusive(|&byte| ends_element(byte)).filter(|element| {
        // What is left after the last end is no element.
        element.last().is_some_and(|&byte| ends_element(byte))
    });
    let mut text = Vec::new();
    for edit in edits {
        while text.len() < edit.place {
            text.push(elements.next().and_then(character).ok_or_else(wrong)?);
        }
        if text.len() > edit.place {
            return Err(wrong());
        }
        for _ in 0..edit.n_deleted {
            elements.next().ok_or_else(wrong)?;
        }
        text.extend(&edit.inserted);
    }
    for element in elements {
        text.push(character(element).ok_or_else(wrong)?);
    }
    if text.len() == n_characters { Ok(text) } else { Err(wrong()) }
}

fn ends_element(byte: u8) -> bool {
    byte < 0xc0
}

/// The number of a Latin-1 character; `None` if the element is foreign.
fn character(element: &[u8]) -> Option<u8> {
    match *element {
        [byte] if byte < 0x80 => Some(byte),
        [0xc2, byte] => Some(byte),
        [0xc3, byte] => Some(byte + 0x40),
        _ => None,
    }
}

struct Side {
    drops_spaces: bool,
    /// Chunks whose numbers of tokens are given, and these.
    n_tokens: Vec<(usize, usize)>,
    edits: Vec<Edit>,
}

struct Edit {
    chunk: usize,
    /// Characters of the chunk's text before it.
    place: usize,
    n_deleted: usize,
    inserted: Vec<u8>,
}

impl Side {
    /// Reads side information for so many chunks, of which full ones have texts of so many characters.
    fn read(side: &[u8], format: TextFormat, n_chunks: usize, n_characters: usize) -> Result<Self, Refusal> {
        let mut side = Reader(side);
        if side.0.is_empty() {
            return Ok(Self { drops_spaces: format.is_hex, n_tokens: Vec::new(), edits: Vec::new() });
        }
        let flags = side.u8()?;
        let drops_spaces = flags & 1 != 0;
        if flags > 3 || flags & 2 == 0 && !side.0.is_empty() {
            return Err(Refusal::corrupt("invalid side information"));
        }
        if flags & 2 == 0 {
            return Ok(Self { drops_spaces, n_tokens: Vec::new(), edits: Vec::new() });
        }
        let wrong = || Refusal::corrupt("side information about what is not there");
        let mut coder = BitDecoder::new(side.0);
        let mut models = Models::default();

        let mut n_tokens = Vec::new();
        let mut next_chunk = 0u64;
        for _ in 0..models.count.number(&mut coder)? {
            let chunk = next_chunk.checked_add(models.chunk_gap.number(&mut coder)?).ok_or_else(wrong)?;
            if chunk >= n_chunks as u64 {
                return Err(wrong());
            }
            n_tokens.push((chunk as usize, models.n_tokens.number(&mut coder)? as usize));
            next_chunk = chunk + 1;
        }

        let mut edits = Vec::new();
        let places_per_chunk = n_characters as u64 + 1;
        let mut place = 0u64;
        for _ in 0..models.count.number(&mut coder)? {
            place = place.checked_add(models.edit_gap.number(&mut coder)?).ok_or_else(wrong)?;
            let chunk = place / places_per_chunk;
            let (mut n_deleted, mut n_inserted) = (0, 1);
            if models.is_general.bit(&mut coder)? {
                n_deleted = models.n_deleted.number(&mut coder)?;
                n_inserted = models.n_inserted.number(&mut coder)?;
            }
            if chunk >= n_chunks as u64 || n_inserted > places_per_chunk {
                return Err(wrong());
            }
            let inserted = (0..n_inserted).map(|_| Ok(models.character.symbol(&mut coder)? as u8));
            edits.push(Edit {
                chunk: chunk as usize,
                place: (place % places_per_chunk) as usize,
                n_deleted: usize::try_from(n_deleted).map_err(|_| wrong())?,
                inserted: inserted.collect::<Result<_, Refusal>>()?,
            });
            place += n_inserted;
        }
        coder.finish()?;
        Ok(Self { drops_spaces, n_tokens, edits })
    }
}

/// One model for each name in the list.
#[derive(Default)]
struct Models {
    count: NumberModel,
    chunk_gap: NumberModel,
    n_tokens: NumberModel,
    edit_gap: NumberModel,
    is_general: BitModel,
    n_deleted: NumberModel,
    n_inserted: NumberModel,
    character: SymbolModel<8>,
}

/// A **bit**.
#[derive(Clone, Copy)]
struct BitModel {
    probability: u32,
    n_seen: u32,
}

impl Default for BitModel {
    fn default() -> Self {
        Self { probability: 1 << 15, n_seen: 0 }
    }
}

impl BitModel {
    fn bit(&mut self, coder: &mut BitDecoder<'_>) -> Result<bool, Refusal> {
        let bit = coder.bit(self.probability)?;
        let d = self.n_seen + 2;
        if bit {
            self.probability += (65279 - self.probability) / d;
        } else {
            self.probability -= (self.probability - 256) / d;
        }
        self.n_seen = (self.n_seen + 1).min(250);
        Ok(bit)
    }
}

/// A **symbol of n bits**.
struct SymbolModel<const BITS: u32> {
    nodes: Vec<BitModel>,
}

impl<const BITS: u32> Default for SymbolModel<BITS> {
    fn default() -> Self {
        Self { nodes: vec![BitModel::default(); 1 << BITS] }
    }
}

impl<const BITS: u32> SymbolModel<BITS> {
    fn symbol(&mut self, coder: &mut BitDecoder<'_>) -> Result<u64, Refusal> {
        let mut node = 1;
        for _ in 0..BITS {
            node = 2 * node + usize::from(self.nodes[node].bit(coder)?);
        }
        Ok(node as u64 - (1 << BITS))
    }
}

/// A **number**.
struct NumberModel {
    log2: SymbolModel<6>,
    /// For each logarithm.
    upper: Vec<SymbolModel<3>>,
}

impl Default for NumberModel {
    fn default() -> Self {
        Self { log2: SymbolModel::default(), upper: (0..64).map(|_| SymbolModel::default()).collect() }
    }
}

impl NumberModel {
    fn number(&mut self, coder: &mut BitDecoder<'_>) -> Result<u64, Refusal> {
        let k = self.log2.symbol(coder)?;
        let n_lowest = k.saturating_sub(3);
        let mut below = self.upper[k as usize].symbol(coder)?;
        for _ in 0..n_lowest {
            below = below << 1 | u64::from(BitModel::default().bit(coder)?);
        }
        // With few bits below the leading one, the symbol could say more than there is.
        if below >> k != 0 || k == 63 && below != 0 {
            return Err(Refusal::corrupt("a number beyond its range"));
        }
        Ok((1 << k | below) - 1)
    }
}

/// The interval that bits are coded in.
struct BitDecoder<'a> {
    bytes: &'a [u8],
    /// Bytes that both bounds have shared.
    n_taken: usize,
    low: u32,
    high: u32,
}

impl<'a> BitDecoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, n_taken: 0, low: 0, high: u32::MAX }
    }

    fn bit(&mut self, probability: u32) -> Result<bool, Refusal> {
        let byte = |i: usize| u32::from(self.bytes.get(self.n_taken + i).copied().unwrap_or(0));
        let code = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
        let split = self.low + ((u64::from(self.high - self.low) * u64::from(probability)) >> 16) as u32;
        let bit = code <= split;
        if bit {
            self.high = split;
        } else {
            self.low = split + 1;
        }
        while self.low >> 24 == self.high >> 24 {
            self.low <<= 8;
            self.high = self.high << 8 | 255;
            self.n_taken += 1;
        }
        // Bits past the end would not end.
        if self.n_taken > self.bytes.len() { Err(Self::wrong_length()) } else { Ok(bit) }
    }

    fn finish(&self) -> Result<(), Refusal> {
        let len = self.n_taken + usize::from(self.low != 0);
        if len == self.bytes.len() { Ok(()) } else { Err(Self::wrong_length()) }
    }

    fn wrong_length() -> Refusal {
        Refusal::corrupt("side information of another length than its bits account for")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: TextFormat = TextFormat { is_hex: true, separator: " ", bytes_per_group: 1 };
    const ISO: TextFormat = TextFormat { is_hex: false, separator: "", bytes_per_group: 1 };

    /// The bytes that tokens with these texts stand for.
    fn bytes(format: TextFormat, n_bytes: usize, texts: &[&[u8]], side: &[u8]) -> Option<Vec<u8>> {
        let token_bytes: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
        let tokens: Vec<u32> = (0..texts.len() as u32).collect();
        bytes_of_tokens(format, n_bytes, &tokens, &token_bytes, side).ok()
    }

    #[test]
    fn texts_and_spaces_in_front() {
        assert_eq!(bytes(HEX, 2, &[b"0a ", b"ff"], &[]), Some(vec![0x0a, 0xff]));
        assert_eq!(bytes(HEX, 2, &[b" 0a", b" ff"], &[]), Some(vec![0x0a, 0xff]));
        assert_eq!(bytes(HEX, 2, &[b" 0a", b" ff"], &[0]), None);
        assert_eq!(bytes(HEX, 2, &[b"0A ", b"ff"], &[]), None);
        assert_eq!(bytes(HEX, 2, &[b"0a,", b"ff"], &[]), None);
        assert_eq!(bytes(HEX, 1, &[b"0", b"a", b"f"], &[]), None);
        assert_eq!(bytes(ISO, 2, &[b" ", b"a"], &[]), Some(b" a".to_vec()));
        assert_eq!(bytes(ISO, 1, &[b" ", b"a"], &[1]), Some(b"a".to_vec()));
    }

    #[test]
    fn characters_and_what_is_foreign() {
        assert_eq!(bytes(ISO, 3, &[b"\xc3", b"\xa9\xc2", b"\xb5z"], &[]), Some(vec![0xe9, 0xb5, b'z']));
        assert_eq!(bytes(ISO, 1, &[b"\xe2\x82\xac"], &[]), None);
        assert_eq!(bytes(ISO, 1, &[b"\xa9"], &[]), None);
        // Half a character at the end is no element.
        assert_eq!(bytes(ISO, 1, &[b"a\xc3"], &[]), Some(b"a".to_vec()));
    }
}
