//! Bytes to token ids and back, exactly.
//!
//! Data is cut into chunks of [`CHUNK_BYTES`], the last perhaps shorter; each is serialised and tokenised by itself,
//! and the ids follow one another without marks. The way back needs the number of bytes and these rules:
//!
//! 1. A text of known length in characters is expected of each chunk. Ids are consumed until their pieces hold that
//!    many characters.
//! 2. A space that begins a chunk's pieces is a dummy prefix and dropped. In hexadecimal formats, where no text begins
//!    with a space, that holds always; in `iso` formats if the side information says so, as for tokenizers that put one.
//! 3. What is still different from the text, because the tokenizer loses or changes characters, is an edit script in
//!    the side information. Rule 1 counts with what it deletes and inserts.
//! 4. A chunk whose ids are not those that rule 1 takes has their number in the side information.
//!
//! The side information is empty when rules 1 and 2 suffice. The id -> bytes table is all of the tokenizer that the way
//! back uses.

mod bits;
mod edits;
pub(crate) mod elements;
mod side;

use lmgc_serialize::{CHUNK_BYTES, Format, Serializer};
use rayon::prelude::*;

use crate::{Error, Result, Tokenizer};
use edits::Edit;
use elements::Elements;
use side::{SideReader, SideWriter};

/// A token stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenStream {
    /// Token ids, all chunks' one after the other.
    pub ids: Vec<u32>,
    /// What the way back needs beside the ids, coded compactly. Empty when it needs nothing, as usual for hexadecimal
    /// formats.
    pub side: Vec<u8>,
}

/// Tokenises `bytes`, and makes sure that [`detokenize_bytes`] gives them back. Uses the threads of the current rayon
/// pool; their number does not change the result.
///
/// # Errors
/// [`Error::Tokenize`] when the tokenizer fails; [`Error::NotInvertible`] when the result does not give `bytes` back,
/// which never happens as far as is known.
pub fn tokenize_bytes(tok: &Tokenizer, ser: &Serializer, bytes: &[u8]) -> Result<TokenStream> {
    let drops_prefix = if ser.format().is_hex() { default_drops_prefix(ser.format()) } else { tok.dummy_prefix() };
    let chunks = bytes
        .par_chunks(CHUNK_BYTES)
        .map(|chunk| TokenizedChunk::new(tok, ser, drops_prefix, chunk))
        .collect::<Result<Vec<_>>>()?;
    let mut side = SideWriter::new(default_drops_prefix(ser.format()), drops_prefix, chunk_places(ser));
    let mut ids = Vec::with_capacity(chunks.iter().map(|chunk| chunk.ids.len()).sum());
    for chunk in chunks {
        side.push_chunk(chunk.n_tokens, &chunk.script);
        ids.extend(chunk.ids);
    }
    let stream = TokenStream { ids, side: side.finish() };
    match detokenize_bytes(tok, ser, &stream.ids, &stream.side, bytes.len() as u64) {
        Ok(back) if back == bytes => Ok(stream),
        Ok(back) => {
            let n_equal = back.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            Err(Error::NotInvertible { chunk: (n_equal / CHUNK_BYTES) as u64 })
        }
        Err(Error::CorruptTokens { chunk, .. }) => Err(Error::NotInvertible { chunk }),
        Err(_) => Err(Error::NotInvertible { chunk: 0 }),
    }
}

/// A chunk's ids and what belongs to it in the side information.
struct TokenizedChunk {
    ids: Vec<u32>,
    /// The number of ids, if rule 1 takes another number.
    n_tokens: Option<u64>,
    script: Vec<Edit>,
}

impl TokenizedChunk {
    fn new(tok: &Tokenizer, ser: &Serializer, drops_prefix: bool, chunk: &[u8]) -> Result<Self> {
        let text = ser.serialize(chunk);
        let ids = tok.encode_chunk(&text)?;
        let mut decoded = Elements::new(drops_prefix);
        for &id in &ids {
            decoded.extend(tok.id_bytes(id));
        }
        let script = edits::script(decoded.as_slice(), &latin1(&text));
        let n_implied = n_elements(ser.n_chars(chunk.len()), &script)
            .and_then(|n_expected| n_tokens_for(tok, ids.iter().copied(), drops_prefix, n_expected));
        let n_tokens = (n_implied != Some(ids.len())).then_some(ids.len() as u64);
        Ok(Self { ids, n_tokens, script })
    }
}

/// The bytes that [`tokenize_bytes`] made `ids` and `side` of.
///
/// Memory is bounded by what `ids` and `side` can stand for, whatever `n_bytes` says.
///
/// # Errors
/// [`Error::CorruptTokens`] and [`Error::CorruptSide`] when they are not what [`tokenize_bytes`] makes of `n_bytes`
/// bytes.
pub fn detokenize_bytes(tok: &Tokenizer, ser: &Serializer, ids: &[u32], side: &[u8], n_bytes: u64) -> Result<Vec<u8>> {
    let mut side = SideReader::new(default_drops_prefix(ser.format()), chunk_places(ser), side)?;
    let drops_prefix = side.drops_prefix();
    let n_chunks = n_bytes.div_ceil(CHUNK_BYTES as u64);
    let mut bytes = Vec::new();
    let mut ids = ids.iter().copied();
    for chunk in 0..n_chunks {
        let corrupt = |what: &str| Error::CorruptTokens { chunk, what: what.to_owned() };
        let n_chunk_bytes = (n_bytes - chunk * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64) as usize;
        let n_chars = ser.n_chars(n_chunk_bytes);
        let (n_tokens, script) = side.next_chunk()?;
        let n_expected =
            n_elements(n_chars, &script).ok_or_else(|| corrupt("more characters inserted than the text has"))?;
        let n_tokens = match n_tokens {
            Some(n_tokens) => usize::try_from(n_tokens).ok(),
            None => n_tokens_for(tok, ids.clone(), drops_prefix, n_expected),
        };
        let n_tokens = n_tokens.filter(|&n_tokens| n_tokens <= ids.len()).ok_or_else(|| {
            corrupt("the ids end within the chunk; there are too few, or they are of another tokenizer or format")
        })?;
        let mut decoded = Elements::new(drops_prefix);
        for id in ids.by_ref().take(n_tokens) {
            decoded.extend(tok.id_bytes(id));
        }
        let text = edits::apply(decoded.as_slice(), &script)
            .filter(|text| text.len() == n_chars)
            .ok_or_else(|| corrupt("the ids give no text of the right length"))?;
        let text: String = text.into_iter().map(char::from).collect();
        bytes.extend(ser.deserialize(&text).map_err(|error| corrupt(&error.to_string()))?);
    }
    if ids.len() > 0 {
        return Err(Error::CorruptTokens {
            chunk: n_chunks,
            what: format!("{} ids are left over after {n_bytes} bytes", ids.len()),
        });
    }
    side.finish()?;
    Ok(bytes)
}

/// Whether a leading space is dropped if there is no side information.
fn default_drops_prefix(format: Format) -> bool {
    format.is_hex()
}

/// How many places an edit can have in a full chunk: before each character and at the end.
fn chunk_places(ser: &Serializer) -> u64 {
    ser.n_chars(CHUNK_BYTES) as u64 + 1
}

/// The number of elements that `script` turns into `n_chars` characters.
fn n_elements(n_chars: usize, script: &[Edit]) -> Option<usize> {
    let n_inserted = script.iter().map(|edit| edit.inserted.len()).sum();
    let n_kept = n_chars.checked_sub(n_inserted)?;
    script.iter().try_fold(n_kept, |n, edit| n.checked_add(usize::try_from(edit.n_deleted).ok()?))
}

/// The least number of ids whose pieces give `n_elements` elements. `None` if there are too few ids, or if the last one
/// gives too many.
fn n_tokens_for(
    tok: &Tokenizer,
    ids: impl Iterator<Item = u32>,
    drops_prefix: bool,
    n_elements: usize,
) -> Option<usize> {
    let mut decoded = Elements::new(drops_prefix);
    if n_elements == 0 {
        return Some(0);
    }
    for (index, id) in ids.enumerate() {
        decoded.extend(tok.id_bytes(id));
        if decoded.as_slice().len() >= n_elements {
            return (decoded.as_slice().len() == n_elements).then_some(index + 1);
        }
    }
    None
}

/// A text of Latin-1 characters, one byte each.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("every format's text is Latin-1")).collect()
}
