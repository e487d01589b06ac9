//! Codecs measured side by side: sizes, speeds and memory on the same bytes, every round trip compared.
//!
//! [`Sample`] holds the bytes of a file's tensors. [`measure`] runs one [`BlockCodec`](crate::BlockCodec) over them, cut as a
//! [`Scope`] says; [`measure_file`] runs the whole way from a file to a `.lmgc` file and back.
//!
//! **What counts as compressed.** The payloads, and where there are several pieces, the length of each payload as LEB128, as a
//! file would need to find them. The number, types and shapes of the tensors stand in the file's header, which is skeleton
//! and counts neither as raw nor as compressed; [`Scope::File`] counts everything.

mod contestant;
mod floor;
mod measure;
pub mod memory;
mod sample;

pub use contestant::Contestant;
pub use floor::Floor;
pub use measure::{Failure, Limits, Measurement, measure, measure_file};
pub use sample::{Run, Sample, Tensor};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CodecId, CodecName, Error};

/// Bytes of a chunk, unless told otherwise: LM-GC's.
pub const CHUNK_BYTES: usize = lmgc_serialize::CHUNK_BYTES;

/// What a codec gets to see at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// All tensors of an element type, one after the other, as one array: what a tool gets that knows no tensors.
    Whole,
    /// Each tensor by itself, with its shape.
    Tensor,
    /// As [`Whole`](Self::Whole), but every so many bytes by themselves: LM-GC's "chunked".
    Chunks,
    /// The file, as `lmgc compress` does it: the size is that of the `.lmgc` file, headers and skeleton included.
    File,
}

impl Scope {
    /// Every scope, in declaration order.
    pub const ALL: [Self; 4] = [Self::Whole, Self::Tensor, Self::Chunks, Self::File];

    /// Whether a codec is measured in this scope when none is named: one of its own in [`File`](Self::File) alone if it picks
    /// others or needs a model; in [`Tensor`](Self::Tensor) only where the tensors' borders or shapes change what it
    /// does to values (general-purpose codecs would merely start afresh); otherwise yes.
    pub fn suits(self, codec: CodecName) -> bool {
        match codec {
            CodecName::One(CodecId::Structural) => matches!(self, Self::Tensor | Self::File),
            CodecName::One(CodecId::Fast) => self != Self::Chunks,
            CodecName::One(id) if !id.needs_model() => match self {
                Self::Whole | Self::Chunks => true,
                Self::Tensor => matches!(id, CodecId::Pco | CodecId::Fpzip | CodecId::Fields0),
                Self::File => false,
            },
            _ => self == Self::File,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Tensor => "tensor",
            Self::Chunks => "chunks",
            Self::File => "file",
        })
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|scope| scope.to_string() == name).ok_or_else(|| Error::UnknownName {
            what: "scope",
            name: name.to_owned(),
            known: Self::ALL.map(|scope| scope.to_string()).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_names_come_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        let error = "file ".parse::<Scope>().unwrap_err().to_string();
        assert!(error.contains("whole, tensor, chunks, file"), "{error}");
    }

    #[test]
    fn every_codec_has_a_scope() {
        for codec in CodecName::all() {
            assert!(Scope::ALL.into_iter().any(|scope| scope.suits(codec)), "{codec}");
        }
        assert!(!Scope::Whole.suits(CodecName::Auto) && !Scope::Whole.suits(CodecName::One(CodecId::Lm)));
    }
}
