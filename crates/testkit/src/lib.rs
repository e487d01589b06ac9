//! Shared test inputs: bit patterns, tiny models, and what fuzz targets are run on. Everything is made by formula from a seed.

mod bits;
mod fuzz;
mod gguf;
mod hub;
mod lmgc_file;
mod model;
mod mutation;
mod repair;
mod safetensors;
pub mod second_decoder;

pub use bits::{Random, gradient_like, odd_floats};
pub use fuzz::{fuzz_seeds, require_fuzz_seed, run_fuzz_target};
pub use gguf::{GgufValue, GgufWriter};
pub use hub::{Behaviour, COMMIT, HubServer, Seen, tiny_folder};
pub use lmgc_file::{LmgcBlock, LmgcFile, LmgcHeader, LmgcModel, LmgcTensor, lmgc_string, push_section, push_varint};
pub use model::{TinyFamily, TinyModel, TinyTensor};
pub use mutation::{mutate_bytes, mutate_structure};
pub use repair::repair_checksums;
pub use safetensors::alternating_tensors;
