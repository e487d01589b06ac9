//! General-purpose codecs, by the libraries that define them.

mod auto;
mod gzip;
mod raw;
mod split_zstd;
mod zstd;

pub use auto::Auto;
pub use gzip::Gzip;
pub use raw::Raw;
pub use split_zstd::SplitZstd;
pub use zstd::Zstd;

/// Bytes of a block: large enough for the libraries' windows, small enough for several to be in memory.
pub(crate) const BLOCK_BYTES: usize = 8 << 20;
