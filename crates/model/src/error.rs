use std::path::PathBuf;

/// What can go wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model of this name is in the store.
    #[error(
        "model '{name}' is not in the model store ({}): run `cargo xtask fetch-model` for smollm2-135m, \
         or give the path of a GGUF file or a model folder with --model", looked.display()
    )]
    NotFound {
        /// The name asked for.
        name: String,
        /// The file that was looked for.
        looked: PathBuf,
    },
    /// Neither `LMGC_HOME` nor a home directory is set.
    #[error(
        "there is no model store: set LMGC_HOME to a directory, or give the path of a GGUF file or a model folder with --model"
    )]
    NoStore,
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A path that holds no model of a known kind.
    #[error("{} {problem}", path.display())]
    NoModel {
        /// The path.
        path: PathBuf,
        /// What it holds, and what to give instead.
        problem: String,
    },
    /// The file's structure is damaged or unknown.
    #[error("{} is not a readable model: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        source: lmgc_tensors::Error,
    },
    /// A configuration value is missing, of the wrong type or out of range.
    #[error("model configuration: {field} {problem}")]
    Config {
        /// The key, as the source names it.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A tensor is missing or has another shape or type than the configuration asks for.
    #[error("model tensor '{name}': {problem}")]
    Tensor {
        /// The tensor's name in the source.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A token id beyond the vocabulary.
    #[error("token id {id} is beyond the model's vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Number of ids.
        vocab_size: usize,
    },
    /// More positions than the engine was made for.
    #[error("position {position} is beyond the window of {capacity_tokens} tokens")]
    WindowFull {
        /// The position asked for.
        position: usize,
        /// Positions available.
        capacity_tokens: usize,
    },
}
