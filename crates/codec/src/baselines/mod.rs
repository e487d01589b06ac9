//! General-purpose codecs, by the libraries that define them, and plain yardsticks.
//!
//! Each is a cargo feature, on by default, but for those that `auto` and the file format itself need. A payload says all
//! that its decoder needs, so that a level is a matter of the encoder alone.

mod auto;
#[cfg(feature = "bitshuffle-zstd")]
mod bitshuffle_zstd;
#[cfg(feature = "brotli")]
mod brotli;
#[cfg(feature = "bzip2")]
mod bzip2;
#[cfg(feature = "fields0")]
mod fields0;
#[cfg(feature = "flac")]
mod flac;
#[cfg(feature = "flac")]
mod flac_frames;
#[cfg(feature = "fpzip")]
mod fpzip;
#[cfg(feature = "fpzip")]
mod fpzip_stream;
#[cfg(feature = "fpzip")]
mod grid;
mod gzip;
#[cfg(feature = "lzma")]
mod lzma;
#[cfg(any(feature = "pco", feature = "zfp"))]
mod numbers;
#[cfg(feature = "pco")]
mod pco;
mod planes;
#[cfg(feature = "png")]
mod png;
mod raw;
#[cfg(feature = "split-xz")]
mod split_xz;
mod split_zstd;
#[cfg(any(feature = "lzma", feature = "split-xz"))]
mod xz;
#[cfg(feature = "zfp")]
mod zfp;
mod zstd;

pub use auto::Auto;
#[cfg(feature = "bitshuffle-zstd")]
pub use bitshuffle_zstd::BitshuffleZstd;
#[cfg(feature = "brotli")]
pub use brotli::Brotli;
#[cfg(feature = "bzip2")]
pub use bzip2::Bzip2;
#[cfg(feature = "fields0")]
pub use fields0::Fields0;
#[cfg(feature = "flac")]
pub use flac::Flac;
#[cfg(feature = "fpzip")]
pub use fpzip::Fpzip;
pub use gzip::Gzip;
#[cfg(feature = "lzma")]
pub use lzma::Lzma;
#[cfg(feature = "pco")]
pub use pco::Pco;
#[cfg(feature = "png")]
pub use png::Png;
pub use raw::Raw;
#[cfg(feature = "split-xz")]
pub use split_xz::SplitXz;
pub use split_zstd::SplitZstd;
#[cfg(feature = "zfp")]
pub use zfp::Zfp;
pub use zstd::Zstd;

use std::io::Read;
use std::ops::RangeInclusive;

use crate::fast::Fast;
use crate::structural::Structural;
use crate::{BlockCodec, CodecId, Error, Level};

/// Bytes of a block: large enough for the libraries' windows, small enough for several to be in memory.
pub(crate) const BLOCK_BYTES: usize = 8 << 20;

/// Reads a block to its end and no more than a byte beyond it, whatever a payload announces.
fn read_block(codec: &str, decoder: impl Read, raw_len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    decoder
        .take(raw_len as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::corrupt_block(format!("{codec}: {e}")))?;
    if bytes.len() != raw_len {
        return Err(Error::corrupt_block(format!("{codec} gives another length than {raw_len} bytes")));
    }
    Ok(bytes)
}

/// Refuses a payload of which a decoder has left so many bytes: it is one stream and nothing else.
fn expect_end(codec: &str, n_left: usize) -> Result<(), Error> {
    if n_left > 0 {
        return Err(Error::corrupt_block(format!("{n_left} bytes follow the {codec} stream of a payload")));
    }
    Ok(())
}

/// A baseline at one of its own levels (see [`levels`]).
///
/// # Errors
/// [`Error::CodecNotBuilt`] for one that this program was built without, and for [`CodecId::Lm`], which is no baseline.
pub fn codec(id: CodecId, level: i32) -> Result<Box<dyn BlockCodec>, Error> {
    Ok(match id {
        CodecId::Raw => Box::new(Raw),
        CodecId::Structural => Box::new(Structural::new(Level::new(level.clamp(1, 9) as u8).unwrap_or_default())),
        CodecId::Fast => Box::new(Fast::new()),
        CodecId::Zstd => Box::new(Zstd { level }),
        CodecId::SplitZstd => Box::new(SplitZstd { level }),
        CodecId::Gzip => Box::new(Gzip { level: level.unsigned_abs() }),
        #[cfg(feature = "lzma")]
        CodecId::Lzma => Box::new(Lzma { level: level.unsigned_abs() }),
        #[cfg(feature = "bzip2")]
        CodecId::Bzip2 => Box::new(Bzip2 { level: level.unsigned_abs() }),
        #[cfg(feature = "brotli")]
        CodecId::Brotli => Box::new(Brotli { quality: level }),
        #[cfg(feature = "split-xz")]
        CodecId::SplitXz => Box::new(SplitXz { level: level.unsigned_abs() }),
        #[cfg(feature = "bitshuffle-zstd")]
        CodecId::BitshuffleZstd => Box::new(BitshuffleZstd { level }),
        #[cfg(feature = "png")]
        CodecId::Png => Box::new(Png),
        #[cfg(feature = "flac")]
        CodecId::Flac => Box::new(Flac),
        #[cfg(feature = "fpzip")]
        CodecId::Fpzip => Box::new(Fpzip),
        #[cfg(feature = "pco")]
        CodecId::Pco => Box::new(Pco { level: level.unsigned_abs() }),
        #[cfg(feature = "fields0")]
        CodecId::Fields0 => Box::new(Fields0),
        #[cfg(feature = "zfp")]
        CodecId::Zfp => Box::new(Zfp),
        other => return Err(Error::CodecNotBuilt { codec: other }),
    })
}

/// The levels that a codec itself knows; `None` where it has none.
pub fn levels(id: CodecId) -> Option<RangeInclusive<i32>> {
    match id {
        CodecId::Zstd | CodecId::SplitZstd | CodecId::BitshuffleZstd => Some(1..=22),
        CodecId::Gzip | CodecId::Bzip2 => Some(1..=9),
        CodecId::Lzma | CodecId::SplitXz => Some(0..=9),
        CodecId::Brotli => Some(0..=11),
        CodecId::Pco => Some(0..=12),
        CodecId::Structural => Some(1..=9),
        _ => None,
    }
}

/// The level at which a codec is compared: LM-GC's for LM-GC's baselines, the strongest usual one for the others.
pub fn reference_level(id: CodecId) -> i32 {
    match id {
        CodecId::Zstd | CodecId::SplitZstd | CodecId::BitshuffleZstd => 19,
        CodecId::Gzip | CodecId::Bzip2 => 9,
        CodecId::Lzma | CodecId::SplitXz => 6,
        CodecId::Brotli => 11,
        CodecId::Pco => 12,
        CodecId::Structural => 5,
        _ => 0,
    }
}

/// A codec's own level for one of ours.
pub fn native_level(id: CodecId, level: Level) -> i32 {
    let level_number = i32::from(level.get());
    match id {
        CodecId::Zstd | CodecId::SplitZstd | CodecId::BitshuffleZstd => level.zstd(),
        CodecId::Brotli => (level_number * 11 + 4) / 9,
        CodecId::Pco => [1, 3, 5, 7, 8, 9, 10, 11, 12][usize::from(level.get()) - 1],
        _ => level_number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_range() {
        for id in CodecId::ALL {
            let Some(range) = levels(id) else { continue };
            assert!(range.contains(&reference_level(id)), "{id}");
            let native: Vec<i32> = (1..=9).filter_map(Level::new).map(|level| native_level(id, level)).collect();
            assert!(native.iter().all(|level| range.contains(level)) && native.is_sorted(), "{id}: {native:?}");
        }
    }
}
