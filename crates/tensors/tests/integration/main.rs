//! Integration tests, in one binary.

mod any_bytes;
mod common;
mod conversions;
mod fixtures;
mod fuzz_seeds;
mod gguf_files;
mod safetensors_files;
