//! What can go wrong.

use crate::FileFormat;

/// Why a tensor file could not be read or written.
///
/// [`find_spans`](crate::find_spans) returns only [`Error::Io`]; the others come from the strict readers and writers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("reading or writing a tensor file failed: {0}")]
    Io(#[from] std::io::Error),
    /// The file ends before something it announces.
    #[error(
        "{format} file is truncated: {what} needs {needed} bytes at offset {offset}, {available} are there; \
         fetch or copy the file again"
    )]
    Truncated {
        /// The format the file claims to have.
        format: FileFormat,
        /// What was to be read.
        what: String,
        /// Where it begins in the file, in bytes.
        offset: u64,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// The file contradicts its format.
    #[error("{format} file is corrupt at offset {offset}: {what}; fetch or write the file again")]
    Corrupt {
        /// The format the file claims to have.
        format: FileFormat,
        /// What is wrong.
        what: String,
        /// Where, in bytes from the start of the file.
        offset: u64,
    },
    /// The file is of a kind that is not read here.
    #[error("{format} file is of an unsupported kind: {what}")]
    Unsupported {
        /// The format the file has.
        format: FileFormat,
        /// What is not supported, and what to do.
        what: String,
    },
    /// A number in the file is larger than is believed of an honest file.
    #[error("{format} file: {what} is {value}, more than the {limit} accepted")]
    LimitExceeded {
        /// The format the file claims to have.
        format: FileFormat,
        /// What is too large, with its unit.
        what: &'static str,
        /// What the file says.
        value: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A tensor to be written does not fit the format.
    #[error("tensor \"{name}\" cannot be written: {reason}")]
    InvalidTensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file without tensors was to be converted.
    #[error("it holds no tensors: there is nothing to convert")]
    NoTensors,
    /// No element type has this name.
    #[error("unknown element type \"{0}\"; names are those of safetensors, such as F32 or BF16")]
    UnknownDtype(String),
    /// No file format has this name.
    #[error("unknown tensor file format \"{0}\"; known are safetensors, npy, npz, torch, gguf and raw")]
    UnknownFormat(String),
    /// No format to write has this name.
    #[error("tensors cannot be written as \"{0}\"; known are safetensors, npz and pt")]
    UnknownOutputFormat(String),
}

impl Error {
    /// Whether a file is to blame that breaks the rules of its own format, rather than its kind or the machine.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Corrupt { .. } | Self::LimitExceeded { .. })
    }
}
