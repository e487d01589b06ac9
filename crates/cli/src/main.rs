//! The `lmgc` command line.
fn main() {}
