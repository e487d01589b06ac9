//! What the integration tests share.

/// A cheap generator of varied f32: mostly ordinary, some huge, tiny, zero, infinite or NaN when `wild`.
pub(crate) fn values(seed: u64, n: usize, wild: bool) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bits = (state >> 32) as u32;
            if wild && state.is_multiple_of(7) {
                return f32::from_bits(bits);
            }
            (bits as f32 / u32::MAX as f32 - 0.5) * 4.0
        })
        .collect()
}

/// Bits to compare.
pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    // A NaN's payload and sign are not defined by IEEE 754 arithmetic and decide nothing: all NaNs are equal here.
    x.iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }).collect()
}
