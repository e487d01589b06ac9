//! Transformer families with bit-exact inference, canonical weights and the model store.
//!
//! A [`Model`] is loaded from a GGUF file, converted once to canonical int8 weights ([`lmgc_kernels::QuantMatrix`]), and
//! identified by a [`Fingerprint`] over its configuration, its canonical weights and its token table. An [`Engine`]
//! runs it: whole windows, single tokens, or many sequences in lockstep, always with the same bits.

mod config;
mod dequantise;
mod describe;
mod engine;
mod error;
mod gguf;
pub mod hub;
mod import;
mod model;
mod progress;
pub mod registry;
pub mod store;

pub use config::LlamaConfig;
pub use describe::{Kind, ModelFile, ModelInfo, Origin, describe};
pub use engine::{Engine, Segment};
pub use error::Error;
pub use import::{default_name, import};
pub use lmgc_kernels::{Isa, Kernels, NUMERICS_REVISION};
pub use model::{Fingerprint, LayerWeights, Model, OutputLayer, Weights};
pub use progress::Progress;
