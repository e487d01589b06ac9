use std::path::PathBuf;

use crate::hub::HubError;
use crate::registry;

/// What can go wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model of this name is in the store.
    #[error("model '{name}' is not in the model store ({}): {}", models.display(), advice(name))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The directory that was looked through.
        models: PathBuf,
    },
    /// A model of this name is in the store already.
    #[error("{} exists already: give -f to replace it, or another --name", path.display())]
    Exists {
        /// The model's place.
        path: PathBuf,
    },
    /// A name that cannot stand in the store.
    #[error(
        "'{name}' cannot be a model's name: use ASCII letters, digits, '-', '_' and '.', with no dot in front, at most \
             96 of them, and not the ending .partial; --name gives another one"
    )]
    BadName {
        /// The name, escaped.
        name: String,
    },
    /// A file or folder is not a model that can be used.
    #[error("{} is not a usable model: {problem}", path.display())]
    NotAModel {
        /// The file or folder.
        path: PathBuf,
        /// What is missing or wrong, and what to do.
        problem: String,
    },
    /// Downloading failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Neither `LMGC_HOME` nor a home directory is set.
    #[error(
        "there is no model store: set LMGC_HOME to a directory, or give the path of a GGUF file or a Hugging Face folder with --model"
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
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
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

/// How to get a model that is not there.
fn advice(name: &str) -> String {
    let by_path = "--model also takes the path of a GGUF file or of a Hugging Face folder";
    if let Some(model) = registry::find(name) {
        let gated = if model.gated { " (it is gated: accept its licence on the hub, and set HF_TOKEN)" } else { "" };
        let note = model.note.map_or_else(String::new, |note| format!(". Note: {note}"));
        return format!("fetch it with `lmgc model pull {name}`{gated}; {by_path}{note}");
    }
    let near = registry::did_you_mean(name);
    format!(
        "{near}`lmgc model list` shows the known ones, `lmgc model pull OWNER/REPO` fetches others, `lmgc model import \
         PATH` takes in files that are here; {by_path}"
    )
}
