//! Root mean square normalisation (Zhang and Sennrich, 2019).

use crate::simd::{Kernel, LANES, Simd};

/// y = (x * (1 / sqrt(mean(x^2) + eps))) * weight, for one row.
///
/// The sum of squares: virtual lane j adds x[i]^2 for i = j mod 16, ascending, one fma each; the lanes are then added
/// by the tree of [`Simd::sum_lanes`]. Every other operation is rounded to f32 on its own.
pub(crate) struct RmsNorm<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut squares = simd.zero();
        for x in self.x.chunks(LANES) {
            let x = simd.load_partial(x, 0.0);
            squares = simd.fma(x, x, squares);
        }
        let mean = simd.sum_lanes(squares) / self.x.len() as f32;
        let inverse = simd.splat(1.0 / (mean + self.eps).sqrt());
        for ((x, weight), out) in self.x.chunks(LANES).zip(self.weight.chunks(LANES)).zip(self.out.chunks_mut(LANES)) {
            let scaled = simd.mul(simd.load_partial(x, 0.0), inverse);
            simd.store_partial(simd.mul(scaled, simd.load_partial(weight, 0.0)), out);
        }
    }
}
