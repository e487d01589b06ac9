//! What the fuzz targets do with their input: it gives an error or something that holds together, never a panic.
//!
//! The everyday suite runs the same functions over mutated seeds: the tests `fuzz_seeds` of the crates concerned include a
//! module each by its path. A module therefore uses no more than its crate and that crate's tests do.

pub mod codec;
pub mod container;
pub mod files;
pub mod model;
pub mod report;
pub mod sweep;
pub mod tensors;
pub mod tokens;
