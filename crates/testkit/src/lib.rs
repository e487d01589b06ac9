//! Shared test inputs: bit patterns and tiny models. Everything is made by formula from a seed.

mod bits;
mod gguf;
mod hub;
mod model;
mod safetensors;
pub mod second_decoder;

pub use bits::{Random, gradient_like, odd_floats};
pub use gguf::{GgufValue, GgufWriter};
pub use hub::{Behaviour, COMMIT, HubServer, Seen, tiny_folder};
pub use model::{TinyFamily, TinyModel, TinyTensor};
pub use safetensors::alternating_tensors;
