//! Shared test inputs: bit patterns, tiny models and tensor files.
