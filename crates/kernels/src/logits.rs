//! From logits to integer weights: the one place where floating point ends.

use crate::math::exp;
use crate::simd::{Kernel, LANES, Simd};

/// weight_i = floor(exp(logit_i - max) * 2^30), so that the likeliest symbol weighs exactly 2^30. NaN weighs 0.
///
/// The integer frequencies follow from these weights by integer arithmetic alone (crate `lmgc-coder`).
pub(crate) struct LogitWeights<'a> {
    pub(crate) logits: &'a [f32],
    pub(crate) weights: &'a mut [u32],
}

impl Kernel for LogitWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut max = simd.splat(f32::NEG_INFINITY);
        for logits in self.logits.chunks(LANES) {
            // (logit, max): a NaN logit leaves the maximum as it is.
            max = simd.max(simd.load_partial(logits, f32::NEG_INFINITY), max);
        }
        let max = simd.splat(simd.max_lanes(max));
        let scale = simd.splat((1u32 << 30) as f32);
        for (logits, weights) in self.logits.chunks(LANES).zip(self.weights.chunks_mut(LANES)) {
            let shifted = simd.sub(simd.load_partial(logits, f32::NEG_INFINITY), max);
            let mut lanes = [0; LANES];
            simd.to_u32(simd.mul(exp(simd, shifted), scale), &mut lanes);
            weights.copy_from_slice(&lanes[..weights.len()]);
        }
    }
}
