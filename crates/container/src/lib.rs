//! The `.lmgc` file: header, blocks, index, checksums and limits.
//!
//! A file is seen as *spans* (the bytes of tensors) and *skeleton* (all other bytes). The spans, concatenated in file order,
//! are the [data stream](Stream::Data), the rest is the [skeleton stream](Stream::Skeleton), and each stream is
//! cut into blocks. What a block's payload means is the business of the codec whose number it carries; this crate
//! frames, indexes and checks.
//!
//! - [`Writer`] writes to anything that is [`Write`](std::io::Write), without seeking.
//! - [`Reader`] reads from anything that is [`Read`](std::io::Read), block by block, and checks everything.
//! - [`SeekReader`] reads single blocks with the help of the index.
//! - [`Salvage`] finds what is left of a damaged file.
//! - [`StreamLayout`] says where a stream's bytes lie in the original.
//!
//! The format is specified to the byte in `docs/format.md`.

mod block;
mod error;
mod footer;
mod hashes;
mod header;
mod limits;
mod reader;
mod salvage;
mod seek_reader;
mod source;
mod stream;
mod wire;
mod writer;

/// Primitive fields, which the payloads of codecs share with the container.
pub mod fields {
    pub use crate::wire::{Fields, put_varint};
}

pub use block::BlockInfo;
pub use error::Error;
pub use hashes::Hashes;
pub use header::{Header, ModelRecord, TensorEntry};
pub use limits::Limits;
pub use reader::{Reader, Trailer};
pub use salvage::Salvage;
pub use seek_reader::SeekReader;
pub use stream::{Stream, StreamLayout};
pub use writer::Writer;

/// First bytes of every `.lmgc` file: not ASCII, then the name, then what line-end conversion or a text-mode
/// transfer would change.
pub const MAGIC: [u8; 8] = *b"\x8cLMGC\r\n\x1a";

/// Version of the format that is written, and the highest that is read.
pub const FORMAT_VERSION: u16 = 1;
