//! Transformer families with bit-exact inference, canonical weights and the model store.
//!
//! A [`Model`] is loaded from a GGUF file or a Hugging Face folder, converted once to canonical int8 weights
//! ([`lmgc_kernels::QuantMatrix`]), and identified by a [`Fingerprint`] over its configuration, its canonical weights and its
//! token table. An [`Engine`] runs it: whole windows, single tokens, or many sequences in lockstep, always with the same
//! bits.

mod builder;
mod cache;
mod config;
mod dequantise;
mod describe;
mod engine;
mod error;
mod families;
mod folder;
mod gguf;
pub mod hub;
mod hugging_face;
mod import;
mod mapping;
mod model;
mod named_tensors;
mod progress;
pub mod registry;
pub mod selftest;
mod source;
pub mod store;
mod weights;

pub use builder::ModelBuilder;
pub use config::{FeedForward, ModelConfig, Norm, NormKind, Positions};
pub use describe::{Kind, ModelFile, ModelInfo, Origin, describe};
pub use engine::{Engine, Segment};
pub use error::Error;
pub use import::{default_name, import};
pub use lmgc_kernels::{AttentionShape, Isa, Kernels, NUMERICS_REVISION, RopeScaling};
pub use model::{Fingerprint, Model, OutputLayer};
pub use progress::Progress;
pub use source::{LoadOptions, ModelSource, Vocabulary};
pub use weights::{LayerWeights, LinearWeights, NormWeights};
