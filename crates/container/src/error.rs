//! What can go wrong with a `.lmgc` file.

use crate::Stream;

/// What can go wrong with reading or writing a `.lmgc` file. Offsets count from the first byte of that file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file starts with other bytes than a `.lmgc` file does.
    #[error("not an lmgc file: it does not start with the lmgc magic bytes; give a file that `lmgc compress` wrote")]
    NotLmgc,
    /// A later version of the format.
    #[error(
        "lmgc format version {found} is not supported (this program reads up to version {supported}): use a newer \
         lmgc"
    )]
    UnsupportedVersion {
        /// Version in the file.
        found: u16,
        /// Highest version that this crate reads.
        supported: u16,
    },
    /// An optional part of the format, unknown to this crate, without which the file cannot be understood.
    #[error("unsupported {what} {value} at byte {offset}: the file was written by a newer lmgc; use that")]
    UnsupportedFeature {
        /// What kind of part.
        what: &'static str,
        /// Its number, or the bits.
        value: u64,
        /// Where it is.
        offset: u64,
    },
    /// The file ends too early.
    #[error("truncated file: the {what} needs {needed} bytes, but only {got} are there; fetch or copy the file again")]
    Truncated {
        /// What ends too early.
        what: &'static str,
        /// Its length in bytes.
        needed: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// Bytes differ from what was written.
    #[error("corrupt file: the {what} at byte {offset} is damaged; fetch or restore the file again")]
    Corrupt {
        /// What is damaged.
        what: &'static str,
        /// Where it starts.
        offset: u64,
    },
    /// Bytes follow the end of the file proper.
    #[error("corrupt file: bytes follow its end at byte {offset}; cut it there or fetch it again")]
    TrailingBytes {
        /// Where the file should have ended.
        offset: u64,
    },
    /// The file demands more than the limits allow; or the file to be written would.
    #[error("the {what} is {value}, but at most {limit} are allowed: the file is damaged, hostile, or out of scope")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The header given to the writer contradicts itself.
    #[error("invalid header: {what}")]
    InvalidHeader {
        /// What contradicts what.
        what: String,
    },
    /// A block given to the writer does not come next.
    #[error("the {stream} block at {stream_offset} of {raw_len} bytes cannot be written here: {why}")]
    MisplacedBlock {
        /// The block's stream.
        stream: Stream,
        /// Where in the stream it would start.
        stream_offset: u64,
        /// Original bytes in it.
        raw_len: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The writer was finished before a stream was complete.
    #[error("the {stream} stream has {expected} bytes, but blocks for only {written} were written")]
    StreamIncomplete {
        /// The stream.
        stream: Stream,
        /// Bytes that blocks cover.
        written: u64,
        /// Bytes that the header implies.
        expected: u64,
    },
    /// Methods were called in an order that makes no sense.
    #[error("misuse of the lmgc container: {what}")]
    Misuse {
        /// Which call, and what it needs.
        what: &'static str,
    },
}

impl Error {
    /// Whether the fault is in the bytes that were read: not an lmgc file, too new, truncated, damaged, or beyond the
    /// limits.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::NotLmgc
            | Self::UnsupportedVersion { .. }
            | Self::UnsupportedFeature { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::TrailingBytes { .. }
            | Self::LimitExceeded { .. } => true,
            Self::Io(_)
            | Self::InvalidHeader { .. }
            | Self::MisplacedBlock { .. }
            | Self::StreamIncomplete { .. }
            | Self::Misuse { .. } => false,
        }
    }
}
