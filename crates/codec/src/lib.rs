//! Codecs for gradient files and the pipeline from a file to a `.lmgc` file and back.
//!
//! A file is cut into tensor bytes and skeleton (crate `lmgc-tensors`), each stream into blocks, and each block is coded by
//! a [`BlockCodec`]: the language-model prior ([`lm`]), general-purpose libraries ([`baselines`]), or the smallest of
//! several ([`CodecName::Auto`]). [`compress`] and [`decompress`] work on open streams; [`files`] adds temporary files, renaming
//! and verification; [`mod@array`] is for tensors in memory.
//!
//! ```
//! use std::io::Cursor;
//! use lmgc_codec::{CompressOptions, NoModels, NoProgress, compress, decompress};
//!
//! let original: Vec<u8> = (0..4000u32).flat_map(|i| (i as f32 * 1e-4).to_le_bytes()).collect();
//! let mut packed = Cursor::new(Vec::new());
//! let report = compress(&mut Cursor::new(&original), &mut packed, &CompressOptions::default(), &NoProgress)?;
//! assert!(report.compressed_bytes < report.raw_bytes);
//!
//! let mut restored = Cursor::new(Vec::new());
//! decompress(packed.get_ref().as_slice(), &mut restored, &NoModels, &NoProgress)?;
//! assert_eq!(restored.into_inner(), original);
//! # Ok::<(), lmgc_codec::Error>(())
//! ```

pub mod array;
pub mod baselines;
pub mod bench;
mod bits;
mod block;
mod block_output;
mod compress;
mod decompress;
mod error;
pub mod fast;
pub mod files;
mod float_layout;
pub mod floor;
mod hashes;
mod inspect;
mod journal;
pub mod lm;
mod logistic;
mod progress;
mod reference;
mod salvage;
mod streams;
pub mod structural;

pub use block::{BlockCodec, BlockInput, CodecId, CodecName, Encoded, EncodedBlock, Piece, Place};
pub use compress::{CompressOptions, CompressReport, Level, compress};
pub use decompress::{DecompressReport, ModelSource, NoModels, decompress, verify_against};
pub use error::Error;
pub use inspect::{BlockSummary, CodecSummary, Inspection, ModelSummary, TensorSummary, inspect};
pub use lmgc_container::ModelRecord;
pub use progress::{EarlierRun, NoProgress, Progress, Stage};
pub use reference::Reference;
pub use salvage::{DamagedTensor, LostRange, SalvageReport, salvage};
pub use structural::Ensemble;
