//! Tokenizers, legal alphabets and token datasets, with an exact inverse.
//!
//! A [`Tokenizer`] comes from a `tokenizer.json` or from a GGUF file's vocabulary and gives, for a chunk of text, the
//! ids that `transformers` would give, and for each id the bytes it stands for. [`stream`] turns bytes into ids, chunk
//! by chunk, together with the *side information* that makes the inverse exact although tokenizers lose and change
//! characters; [`dataset`] keeps such ids in a safetensors file with everything needed to rebuild the original bytes.
//! [`preprocess`] thins out or quantises gradients before that, which is lossy.
//!
//! Terms: a *piece* is the bytes that an id stands for; a *chunk* is up to [`CHUNK_BYTES`](lmgc_serialize::CHUNK_BYTES)
//! bytes of data, serialised and tokenised by itself.

mod as_text;
pub mod dataset;
mod error;
pub mod preprocess;
mod random;
mod source;
pub mod stream;
mod tokenizer;

pub use error::Error;
pub use tokenizer::Tokenizer;

/// This crate's results.
pub type Result<T> = std::result::Result<T, Error>;
