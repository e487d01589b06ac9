//! The language-model prior of LM-GC (NeurIPS 2024), as a codec that decodes.
//!
//! Bytes become text (crate `lmgc-serialize`) and tokens (crate `lmgc-tokens`). The tokens are cut into disjoint windows of
//! `window - 1`, each with the start token in front, and every token is range-coded with the model's probability given the
//! tokens before it in its window. Windows are dealt to lanes, contiguous runs each; a lane is one range-coder stream.

mod codec;
mod grammar;
mod language_model;
mod payload;
mod settings;
mod windows;

pub use codec::{DEFAULT_MEMORY_BYTES, Estimate, LmCodec};
pub use language_model::LanguageModel;
pub(crate) use language_model::check_revision;
pub use settings::{LmSettings, MIN_WINDOW_TOKENS, Mask};
