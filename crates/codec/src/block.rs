//! What a codec is: it turns one block's bytes into a payload and back.

use std::fmt;
use std::str::FromStr;

use lmgc_tensors::Dtype;

use crate::{Error, Progress, baselines};

/// Blocks are worked on side by side until they come to this: small ones are many, and a large one of a codec with lanes is
/// several threads' work already.
pub(crate) const MIN_BATCH_BYTES: u64 = 16 << 20;

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
    /// One xz stream.
    Lzma = 4,
    /// One bzip2 stream.
    Bzip2 = 5,
    /// One brotli stream.
    Brotli = 6,
    /// Byte planes, then one xz stream.
    SplitXz = 7,
    /// Bit planes, then one zstd frame.
    BitshuffleZstd = 8,
    /// An 8-bit grey PNG.
    Png = 9,
    /// An 8-bit mono FLAC.
    Flac = 10,
    /// fpzip, lossless.
    Fpzip = 11,
    /// pcodec.
    Pco = 12,
    /// Order-0 sign, exponent and leading mantissa bits of floats.
    Fields0 = 13,
    /// zfp, reversible.
    Zfp = 14,
    /// The language-model prior.
    Lm = 16,
    /// The structural prior.
    Structural = 17,
    /// Scales and order-0 symbols of floats, fast.
    Fast = 18,
    /// The structural prior with a language model as one more expert.
    Ensemble = 19,
}

impl CodecId {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Raw,
        Self::Zstd,
        Self::SplitZstd,
        Self::Gzip,
        Self::Lzma,
        Self::Bzip2,
        Self::Brotli,
        Self::SplitXz,
        Self::BitshuffleZstd,
        Self::Png,
        Self::Flac,
        Self::Fpzip,
        Self::Pco,
        Self::Fields0,
        Self::Zfp,
        Self::Lm,
        Self::Structural,
        Self::Fast,
        Self::Ensemble,
    ];

    /// Whether it codes with a language model.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::Lm | Self::Ensemble)
    }

    /// Whether its payloads are in lanes; those of the others have none.
    pub fn has_lanes(self) -> bool {
        matches!(self, Self::Lm | Self::Structural | Self::Ensemble)
    }

    /// Whether this program was built with it.
    pub fn is_built(self) -> bool {
        self.needs_model() || baselines::codec(self, baselines::reference_level(self)).is_ok()
    }

    /// The codec of a number.
    ///
    /// # Errors
    /// [`Error::UnknownCodec`] for a number that this version does not know.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|&id| id as u8 == number).ok_or(Error::UnknownCodec { number })
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
            Self::SplitZstd => "split-zstd",
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Bzip2 => "bzip2",
            Self::Brotli => "brotli",
            Self::SplitXz => "split-xz",
            Self::BitshuffleZstd => "bitshuffle-zstd",
            Self::Png => "png",
            Self::Flac => "flac",
            Self::Fpzip => "fpzip",
            Self::Pco => "pco",
            Self::Fields0 => "fields0",
            Self::Zfp => "zfp",
            Self::Lm => "lm",
            Self::Structural => "structural",
            Self::Fast => "fast",
            Self::Ensemble => "ensemble",
        })
    }
}

/// What `--codec` may name: one codec, or the smallest of several for each block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecName {
    /// The smallest of several for each block: see [`baselines::Auto`].
    #[default]
    Auto,
    /// One codec for all tensor bytes.
    One(CodecId),
}

impl CodecName {
    /// Whether it codes with a language model.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::One(id) if id.needs_model())
    }

    /// All that this program was built with.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Auto].into_iter().chain(CodecId::ALL.into_iter().filter(|id| id.is_built()).map(Self::One))
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
        if let Some(codec) = CodecId::ALL.into_iter().find(|id| !id.is_built() && id.to_string() == name) {
            return Err(Error::CodecNotBuilt { codec });
        }
        Self::all().find(|codec| codec.to_string() == name).ok_or_else(|| Error::UnknownName {
            what: "codec",
            name: name.to_owned(),
            known: Self::all().map(|codec| codec.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// A tensor's part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The whole tensor's shape, slowest dimension first.
    pub shape: &'a [u64],
    /// Where the part starts in the tensor, in bytes.
    pub start: u64,
    /// Bytes of the part.
    pub len: usize,
    /// The same part of an earlier version of the tensor, as many bytes, if both sides have one.
    pub reference: Option<&'a [u8]>,
}

/// What a block's bytes are. Encoder and decoder see the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Element type of all pieces; [`Dtype::U8`] for bytes of no known type.
    pub dtype: Dtype,
    /// The tensors whose bytes make up the block, in order; empty for bytes of no tensor. Where there are pieces, their
    /// lengths add up to the block's.
    pub pieces: &'a [Piece<'a>],
}

impl Place<'static> {
    /// Bytes of which nothing is known.
    pub const UNKNOWN: Self = Self { dtype: Dtype::U8, pieces: &[] };
}

impl Place<'_> {
    /// Bytes of one element, 1 where that is unknown.
    pub fn element_bytes(&self) -> usize {
        self.dtype.size_bytes() as usize
    }

    /// Lengths of the block's pieces; all of it is one where it belongs to no tensor. `None` if they do not add up to it.
    pub(crate) fn piece_lens(&self, raw_len: usize) -> Option<Vec<usize>> {
        if self.pieces.is_empty() {
            return Some(vec![raw_len]);
        }
        let sum = self.pieces.iter().try_fold(0usize, |sum, piece| sum.checked_add(piece.len));
        (sum == Some(raw_len)).then(|| self.pieces.iter().map(|piece| piece.len).collect())
    }
}

/// One block on its way into a codec.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// What they are.
    pub place: Place<'a>,
    /// Whether the bytes are little-endian u32 token ids of a token data set.
    pub is_token_ids: bool,
}

/// One block on its way back. Nothing in it can be trusted.
#[derive(Clone, Copy, Debug)]
pub struct EncodedBlock<'a> {
    /// The coded bytes.
    pub payload: &'a [u8],
    /// Bytes that must come out.
    pub raw_len: usize,
    /// Independently decodable lanes in the payload; 0 if the codec has none.
    pub n_lanes: u16,
    /// What the block's bytes are, by the file's header.
    pub place: Place<'a>,
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
    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error>;

    /// Bytes that a block of this codec should have at most.
    fn block_bytes(&self) -> usize;

    /// Whether one block keeps all threads busy, so that blocks should be coded one by one.
    fn is_parallel_inside(&self) -> bool {
        false
    }

    /// Whether a tensor should be in one block if it can, and else be cut between rows.
    fn wants_whole_tensors(&self) -> bool {
        false
    }
}
