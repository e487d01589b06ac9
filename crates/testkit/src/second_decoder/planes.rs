//! Planes of bytes and of bits.
