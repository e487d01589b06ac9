//! Reproducible random draws.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator whose sequence is fixed: ChaCha20 with the little-endian seed, then zeros, as key, and `stream` as nonce.
pub(crate) fn generator(seed: u64, stream: u64) -> ChaCha20Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut generator = ChaCha20Rng::from_seed(key);
    generator.set_stream(stream);
    generator
}

/// A number below `n`, from 64 random bits; uniform but for a bias below n/2^64.
pub(crate) fn below(generator: &mut impl Rng, n: usize) -> usize {
    ((u128::from(generator.next_u64()) * n as u128) >> 64) as usize
}
