//! Errors.

use crate::{BytesPerGroup, Format, Serializer};

/// What can go wrong with a format or a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no format's.
    #[error("unknown format \"{0}\"; known are {known}", known = Format::ALL.map(Format::as_str).join(", "))]
    UnknownFormat(String),
    /// A group size that is not offered.
    #[error("{0} bytes per group are not supported; take one of {known}",
        known = BytesPerGroup::ALL.map(|group| group.to_string()).join(", "))]
    BytesPerGroup(String),
    /// No chunk has a text of this many characters.
    #[error("a text of {n_chars} characters cannot be {}, {} bytes per group: it is cut off or of another format",
        .serializer.format(), .serializer.bytes_per_group())]
    Length {
        /// Characters found.
        n_chars: usize,
        /// Format and group size.
        serializer: Serializer,
    },
    /// Not a lower-case hexadecimal digit where one must stand.
    #[error("character {position} is {found:?}, expected a lower-case hexadecimal digit")]
    Digit {
        /// In characters, from 0.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// Something else where a separator must stand.
    #[error("character {position} is {found:?}, expected the separator's {expected:?}")]
    Separator {
        /// In characters, from 0.
        position: usize,
        /// What stands there.
        found: char,
        /// The separator's character.
        expected: char,
    },
    /// A character above U+00FF, which stands for no byte.
    #[error("character {position} is {found:?}, which is not in Latin-1")]
    NotLatin1 {
        /// In characters, from 0.
        position: usize,
        /// What stands there.
        found: char,
    },
}
