//! Deterministic numeric kernels for int8 language-model inference.
