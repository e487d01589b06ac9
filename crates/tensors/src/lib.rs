//! Tensor files as spans and skeleton: where each tensor's bytes lie.
