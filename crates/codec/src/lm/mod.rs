//! The language-model prior of LM-GC (NeurIPS 2024), as a codec that decodes.
//!
//! Bytes become text (crate `lmgc-serialize`) and tokens (crate `lmgc-tokens`). The tokens are cut into disjoint windows of
//! `window - 1`, each with the start token in front, and every token is range-coded with the model's probability given the
//! tokens before it in its window. Windows are dealt to lanes, contiguous runs each; a lane is one range-coder stream.

mod blend;
mod code_length;
mod codec;
mod format;
mod grammar;
mod lane;
mod language_model;
mod payload;
mod run;
mod settings;
mod symbols;
mod values;
mod windows;

pub use code_length::{CodeLength, Meter};
pub use codec::{DEFAULT_MEMORY_BYTES, Estimate, LmCodec};
pub use format::LmFormat;
pub use language_model::LanguageModel;
pub(crate) use language_model::check_revision;
pub use settings::{LmSettings, MIN_WINDOW_TOKENS, Mask};
pub(crate) use symbols::class_tokens;
