//! Tokenizers: text to ids, and ids to the bytes they stand for.

mod alphabet;
mod gguf;
mod json;
mod parts;
mod table;

use std::fmt;
use std::path::Path;

use lmgc_serialize::Serializer;
use lmgc_tensors::gguf::GgufFile;

use crate::stream::elements::n_leading_spaces;
use crate::{Error, Result};
use parts::Parts;
use table::Table;

/// A language model's tokenizer.
///
/// Only byte-pair encoding, in its two usual forms: byte-level (GPT-2, SmolLM2, Llama 3, Qwen) and SentencePiece-style
/// with `▁` for spaces and bytes as fallback (Llama 2, TinyLlama, Mistral). Ids equal those of `transformers` without
/// special tokens and with `split_special_tokens=True`, less the dummy prefix (see [`encode_chunk`](Self::encode_chunk)).
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    table: Table,
    start_token: Option<u32>,
    dummy_prefix: bool,
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`. If a `tokenizer_config.json` lies beside it, its `bos_token` is the
    /// start token; else the one that the post-processor's template puts in front, if any.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Vocabulary`] when the files are not as they should be, [`Error::Unsupported`] for
    /// another kind of tokenizer.
    pub fn from_tokenizer_json(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_parts(json::read(path.as_ref())?)
    }

    /// Takes the vocabulary of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] when keys are missing or contradict each other, [`Error::UnknownPreTokenizer`],
    /// [`Error::Unsupported`] for another kind of tokenizer.
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        Self::from_parts(gguf::read(&file.metadata)?)
    }

    fn from_parts(parts: Parts) -> Result<Self> {
        let inner: tokenizers::Tokenizer =
            parts.definition.to_string().parse().map_err(|error| Error::Vocabulary(format!("{error}")))?;
        let mut tokenizer = Self { inner, table: parts.table, start_token: parts.start_token, dummy_prefix: false };
        // Every format can begin with this digit, and no tokenizer loses it.
        let probe = tokenizer.encode("0")?;
        let has_prefix = tokenizer.pieces(&probe).next() == Some(b' ');
        tokenizer.dummy_prefix = has_prefix;
        Ok(tokenizer)
    }

    /// The ids of a chunk's text, tokenised by itself.
    ///
    /// No special tokens are added, and text that happens to spell one is plain text. If the tokenizer puts a dummy
    /// space in front and that stays a piece of its own (Llama's `▁`, id 29871), that one piece is left out.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn encode_chunk(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(text)?;
        if self.dummy_prefix
            && ids.first().is_some_and(|&first| self.id_bytes(first) == b" ")
            && n_leading_spaces(self.pieces(&ids)) > n_leading_spaces(text.bytes())
        {
            ids.remove(0);
        }
        Ok(ids)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| Error::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes that these ids stand for, one after the other.
    fn pieces<'a>(&'a self, ids: &'a [u32]) -> impl Iterator<Item = u8> + 'a {
        ids.iter().flat_map(|&id| self.id_bytes(id)).copied()
    }

    /// The bytes that an id stands for: of a text with this id, these bytes of UTF-8. Empty for special tokens and for
    /// ids that the vocabulary does not use.
    ///
    /// A dummy prefix (see [`dummy_prefix`](Self::dummy_prefix)) is part of the first piece.
    #[must_use]
    pub fn id_bytes(&self, id: u32) -> &[u8] {
        self.table.get(id)
    }

    /// One more than the greatest id. Models may have more rows than this, as padding.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The token that begins a text (BOS), if the vocabulary defines one.
    #[must_use]
    pub fn start_token(&self) -> Option<u32> {
        self.start_token
    }

    /// Whether the tokenizer puts a space in front of every text that has none, as Llama's does.
    #[must_use]
    pub fn dummy_prefix(&self) -> bool {
        self.dummy_prefix
    }

    /// The id -> bytes table for hashing into a model's fingerprint: one entry an id, then empty entries up to
    /// `n_entries` (the model's number of rows; nothing is cut off if that is smaller).
    ///
    /// A GGUF file and a `tokenizer.json` of the same model give the same entries.
    pub fn fingerprint_table(&self, n_entries: usize) -> impl Iterator<Item = &[u8]> {
        self.table.padded(n_entries)
    }

    /// BLAKE3 of the id -> bytes table, independent of padding: for every id up to the last that stands for anything, the
    /// number of its bytes as little-endian u32, then the bytes.
    #[must_use]
    pub fn table_hash(&self) -> [u8; 32] {
        self.table.hash()
    }

    /// The ids, ascending, of all tokens that can occur in texts of this format: whose bytes lie in some text
    /// wherever they begin, or at a text's beginning behind the dummy prefix.
    ///
    /// Depends on the id -> bytes table and [`dummy_prefix`](Self::dummy_prefix) only. A tokenizer that changes
    /// characters may give other ids nevertheless; whoever codes with this alphabet provides for that.
    #[must_use]
    pub fn legal_alphabet(&self, serializer: &Serializer) -> Vec<u32> {
        alphabet::legal_alphabet(&self.table, self.dummy_prefix, serializer)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("start_token", &self.start_token)
            .field("dummy_prefix", &self.dummy_prefix)
            .finish_non_exhaustive()
    }
}
