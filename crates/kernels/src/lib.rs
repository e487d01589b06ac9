//! Deterministic numeric kernels for int8 language-model inference.
//!
//! Every function here gives the same bits on every instruction set, for every thread count and however rows are
//! batched: a row's result depends on that row alone. The order and rounding of every sum is written down beside it
//! and in `docs/determinism.md`.
//!
//! The algorithms are written once over the [`Simd`] trait (16 virtual f32 lanes); the modules under [`arch`] only say
//! how one instruction set carries out those lane operations. [`Kernels::detect`] picks the fastest one available.
//!
//! ```
//! use lmgc_kernels::{Kernels, PackedLinear, QuantMatrix, QuantRows, Store};
//!
//! let weights = QuantMatrix::quantise(2, 3, &[1.0, 2.0, 3.0, -1.0, 0.0, 1.0]);
//! let packed = PackedLinear::pack(&weights);
//! let kernels = Kernels::detect();
//! let mut x = QuantRows::default();
//! kernels.quantise_rows(&[1.0, 1.0, 1.0], 3, &mut x);
//! let mut y = [0.0; 2];
//! kernels.linear(&packed, &x, Store::Replace, &mut y);
//! assert!((y[0] - 6.0).abs() < 0.1 && y[1].abs() < 0.1);
//! ```

pub mod arch;
mod attention;
mod dispatch;
mod kv_cache;
mod linear;
mod logits;
mod math;
mod norm;
mod product;
mod quant;
mod rans;
mod rope;
mod simd;

pub use attention::{AttentionScratch, QueryRows};
pub use dispatch::{Isa, Kernels};
pub use kv_cache::{AttentionShape, KvCache};
pub use linear::{Activation, PackedLinear, Store, TILE_OUTPUTS};
pub use math::{exp2_negative, ln_f64, log2};
pub use product::{Product, TILE_ROWS, WeightBlock};
pub use quant::{BLOCK, QuantMatrix, QuantRows, RowBlock};
pub use rans::{DecodeRounds, EncodeRounds, RANS_STATES};
pub use rope::{RopeScaling, RopeTable, rope_frequencies};
pub use simd::{Kernel, LANES, Simd};

/// Revision of everything that decides a probability: these kernels, the model's arithmetic, and the rule that turns
/// logits into integer frequencies. A file carries the revision it was written with; others refuse it.
pub const NUMERICS_REVISION: u32 = 3;
