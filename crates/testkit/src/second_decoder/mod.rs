//! A second decoder of `.lmgc` files, written from `docs/format.md`, `docs/fast.md` and `docs/structural-format.md` alone: it shares no code
//! with the crates `container` and `codec`, so that what both understand is what the documents say. It is made to be read,
//! not to be fast, and holds the whole file in memory.

mod block;
mod bytes;
mod container;
mod ensemble;
mod fast;
mod fields0;
mod layout;
mod lm;
mod numbers;
mod planes;
mod streams;
mod structural;

pub use container::{BlockHead, File, ModelRecord, Tensor, decode, read, tensor};

/// What a decoder needs beside the file.
#[derive(Clone, Copy, Default)]
pub struct Outside<'a> {
    /// The language model, if the file needs one.
    pub model: Option<&'a dyn LanguageModel>,
    /// The file that was coded against, if there is one, and its tensors.
    pub reference: Option<Reference<'a>>,
}

/// An earlier file, with the places of its tensors.
#[derive(Clone, Copy)]
pub struct Reference<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its tensors, by any order of offsets; of those with one name the first counts.
    pub tensors: &'a [Tensor],
}

/// A language model, as far as the format needs to know one.
pub trait LanguageModel {
    /// BLAKE3 hash of its configuration, weights and vocabulary.
    fn fingerprint(&self) -> [u8; 32];

    /// For each id the bytes of UTF-8 that it stands for; none for special and unused ids.
    fn token_bytes(&self) -> &[Vec<u8>];

    /// Whether the tokenizer puts a space in front of texts.
    fn has_dummy_prefix(&self) -> bool;

    /// Integer weights (`docs/determinism.md`, section 8) of `ids`, which ascend, for the token that follows `context`; the
    /// context begins with the start token.
    fn weights(&self, context: &[u32], ids: &[u32]) -> Vec<u32>;
}

/// The classes of errors that the format tells apart (section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The first bytes are not those of the magic.
    NotLmgc,
    /// A later version, or a part of the format that is not known here.
    Unsupported,
    /// The file ends inside a part.
    Truncated,
    /// A checksum differs, or something contradicts the format.
    Corrupt,
    /// A number exceeds its limit.
    Limit,
    /// The language model is missing, or another one.
    Model,
    /// The file that was coded against is missing, or another one.
    Reference,
    /// The decoded bytes do not have their hash.
    Hash,
    /// The decoder's surroundings lack something that the format lets a decoder lack, such as a codec.
    Lacking,
}

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its class.
    pub class: Class,
    /// What is wrong.
    pub what: String,
}

impl Refusal {
    fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into() }
    }

    fn corrupt(what: impl Into<String>) -> Self {
        Self { class: Class::Corrupt, what: what.into() }
    }
}

/// The file's language model and settings, for the codecs that need them.
#[derive(Clone, Copy)]
struct Prior<'a> {
    model: &'a dyn LanguageModel,
    settings: &'a std::collections::BTreeMap<String, String>,
    /// Number of tokens in the vocabulary, by the header.
    n_vocabulary: u32,
    start_token: u32,
}

/// A block, as codecs see it.
#[derive(Clone, Copy)]
struct Block<'a> {
    payload: &'a [u8],
    /// Bytes that must come out.
    raw_len: usize,
    n_lanes: usize,
    /// Type of the pieces' elements, `U8` where there are none or they differ.
    dtype: &'a str,
    /// The parts of tensors that make up the block, in order; empty for bytes of no tensor.
    pieces: &'a [Piece<'a>],
}

/// A tensor's part in a block.
#[derive(Clone, Copy)]
struct Piece<'a> {
    /// The tensor's shape.
    shape: &'a [u64],
    /// Where the part starts in the tensor, in bytes.
    start: u64,
    len: usize,
    /// The tensor's length in bytes.
    tensor_len: u64,
    /// The same part of the reference's tensor, if there is one.
    reference: Option<&'a [u8]>,
}
