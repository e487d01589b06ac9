//! Errors.

use std::path::PathBuf;

/// What can go wrong with tokenizers, token streams and token datasets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file became shorter while it was read.
    #[error("{} changed while it was read: try again once nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A directory without files.
    #[error("{} holds no files: give gradient files, or a directory of them", directory.display())]
    NoSources {
        /// The directory.
        directory: PathBuf,
    },
    /// A vocabulary or tokenizer file contradicts itself or lacks something.
    #[error("the tokenizer is not usable: {0}")]
    Vocabulary(String),
    /// A kind of tokenizer that this crate cannot turn into an id -> bytes table.
    #[error("{what} is not supported; {supported}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What would do.
        supported: String,
    },
    /// `tokenizer.ggml.pre` names no known pre-tokenizer.
    #[error("unknown GGUF pre-tokenizer {found:?}; known are {known}: use the model's tokenizer.json instead")]
    UnknownPreTokenizer {
        /// The name in the file; `None` if it has none.
        found: Option<String>,
        /// The names that would do.
        known: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {0}")]
    Tokenize(String),
    /// Ids and side information just made do not give the data back. Nothing may be stored then.
    #[error("chunk {chunk} would not come back from its tokens: this is a bug, please report it")]
    NotInvertible {
        /// Index of the chunk.
        chunk: u64,
    },
    /// Ids that cannot have come from the stated number of bytes.
    #[error("token stream corrupt at chunk {chunk}: {what}")]
    CorruptTokens {
        /// Index of the chunk.
        chunk: u64,
        /// What is wrong.
        what: String,
    },
    /// Side information that cannot have been written by this crate.
    #[error("side information of the token stream corrupt: {0}")]
    CorruptSide(String),
    /// A format or a text.
    #[error(transparent)]
    Serialize(#[from] lmgc_serialize::Error),
    /// A tensor file.
    #[error(transparent)]
    Tensors(#[from] lmgc_tensors::Error),
    /// A token dataset that is not consistent.
    #[error("not a usable token dataset: {0}")]
    Dataset(String),
    /// A token dataset was made with another tokenizer.
    #[error(
        "the dataset was made with tokenizer {expected_name} (table {expected}), this one's table is {found}: \
        give the model it was made with"
    )]
    TokenizerMismatch {
        /// Name of the model whose tokenizer was used.
        expected_name: String,
        /// BLAKE3 of that tokenizer's id -> bytes table, hexadecimal.
        expected: String,
        /// BLAKE3 of the given tokenizer's table.
        found: String,
    },
    /// A request for more sources than there are.
    #[error("cannot draw {requested} of {available} sources")]
    TooFewSources {
        /// How many were asked for.
        requested: usize,
        /// How many there are.
        available: usize,
    },
    /// A `--preprocess` value that is not understood.
    #[error("unknown preprocessing \"{found}\": {expected}")]
    UnknownPreprocess {
        /// The step.
        found: String,
        /// What would do.
        expected: String,
    },
    /// Data that preprocessing cannot be applied to.
    #[error("source \"{source_name}\" cannot be preprocessed: {what}")]
    Preprocess {
        /// The source's name.
        source_name: String,
        /// What is wrong.
        what: String,
    },
}
