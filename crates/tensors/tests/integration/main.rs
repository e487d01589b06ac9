//! Integration tests, in one binary.

mod any_bytes;
mod common;
mod conversions;
mod fixtures;
mod gguf_files;
mod safetensors_files;
