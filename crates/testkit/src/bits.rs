//! Byte and float patterns.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seedable, the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal, variance 1: a sum of four uniforms, so that no platform's library is involved.
    pub fn next_normal(&mut self) -> f32 {
        let bits = self.next_u64();
        let sum: f32 = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32 / 65536.0 - 0.5).sum();
        sum * 1.732
    }

    /// `n` random bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next_u64() as u8).collect()
    }
}

/// `n_bytes` bytes of f32 that look like a gradient: normal values of scales from 1e-6 to 1e-2, some exact zeros.
pub fn gradient_like(seed: u64, n_bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(n_bytes + 4);
    while bytes.len() < n_bytes {
        let scale = [1e-2, 1e-3, 1e-4, 1e-6, 0.0][bytes.len() / 256 % 5];
        bytes.extend((random.next_normal() * scale).to_le_bytes());
    }
    bytes.truncate(n_bytes);
    bytes
}

/// f32 of every kind: zeros of both signs, subnormals, infinities, NaNs with payloads, extremes.
pub fn odd_floats() -> Vec<f32> {
    let mut bits = vec![0, 1 << 31, 1, 0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0x7f80_0000, 0x3f80_0000];
    bits.extend((0..23).map(|i| 0x7f80_0000 | 1 << i));
    bits.extend([0x7fc0_0000, 0x7fff_ffff, 0x7fa5_a5a5]);
    bits.iter().flat_map(|&b: &u32| [f32::from_bits(b), f32::from_bits(b | 1 << 31)]).collect()
}
