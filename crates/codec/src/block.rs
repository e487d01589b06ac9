//! What a codec is: it turns one block's bytes into a payload and back.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Progress};

/// The number of a codec in the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum CodecId {
    /// Bytes as they are.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
    /// Byte planes, then one zstd frame.
    SplitZstd = 2,
    /// One gzip member.
    Gzip = 3,
    /// The language-model prior.
    Lm = 16,
}

impl CodecId {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Zstd, Self::SplitZstd, Self::Gzip, Self::Lm];

    /// The codec of a number.
    ///
    /// # Errors
    /// [`Error::CorruptBlock`] for a number that this version does not know.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|&id| id as u8 == number)
            .ok_or_else(|| Error::corrupt_block(format!("codec number {number} is not known to this version")))
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
            Self::SplitZstd => "split-zstd",
            Self::Gzip => "gzip",
            Self::Lm => "lm",
        })
    }
}

/// What `--codec` may name: one codec, or the smallest of several for each block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecName {
    /// The smallest of raw, zstd and split-zstd for each block.
    #[default]
    Auto,
    /// One codec for all tensor bytes.
    One(CodecId),
}

impl CodecName {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Auto].into_iter().chain(CodecId::ALL.into_iter().map(Self::One))
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::One(id) => id.fmt(f),
        }
    }
}

impl FromStr for CodecName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::all().find(|codec| codec.to_string() == name).ok_or_else(|| Error::UnknownName {
            what: "codec",
            name: name.to_owned(),
            known: Self::all().map(|codec| codec.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// One block on its way into a codec.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Bytes of one element, 1 where that is unknown or mixed.
    pub element_bytes: usize,
    /// Whether the bytes are little-endian u32 token ids of a token data set.
    pub is_token_ids: bool,
}

/// One block as a codec has coded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Which codec did.
    pub codec: CodecId,
    /// The coded bytes.
    pub payload: Vec<u8>,
    /// Independently decodable lanes in the payload; 0 if the codec has none.
    pub n_lanes: u16,
    /// Tokens that went through a language model.
    pub n_tokens: u64,
}

impl Encoded {
    /// A payload without lanes or tokens.
    pub fn plain(codec: CodecId, payload: Vec<u8>) -> Self {
        Self { codec, payload, n_lanes: 0, n_tokens: 0 }
    }
}

/// Turns blocks into payloads and back.
pub trait BlockCodec: Sync {
    /// Codes a block. Reports the block's bytes to `progress` as it goes, all of them in the end.
    ///
    /// # Errors
    /// Where this codec cannot code the block.
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error>;

    /// Gives back exactly `raw_len` bytes.
    ///
    /// # Errors
    /// [`Error::CorruptBlock`] for a payload that no encoder writes.
    fn decode(&self, payload: &[u8], raw_len: usize, n_lanes: u16, progress: &dyn Progress) -> Result<Vec<u8>, Error>;

    /// Bytes that a block of this codec should have at most.
    fn block_bytes(&self) -> usize;

    /// Whether one block keeps all threads busy, so that blocks should be coded one by one.
    fn is_parallel_inside(&self) -> bool {
        false
    }
}
