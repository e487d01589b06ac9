//! Normalisation: root mean square (Zhang and Sennrich, 2019) and layer normalisation (Ba, Kiros and Hinton, 2016).

use crate::Kernels;
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
        let inverse = simd.splat(inverse_rms(simd, self.x, self.eps));
        for ((x, weight), out) in self.x.chunks(LANES).zip(self.weight.chunks(LANES)).zip(self.out.chunks_mut(LANES)) {
            let scaled = simd.mul(simd.load_partial(x, 0.0), inverse);
            simd.store_partial(simd.mul(scaled, simd.load_partial(weight, 0.0)), out);
        }
    }
}

#[inline(always)]
fn inverse_rms<S: Simd>(simd: S, x: &[f32], eps: f32) -> f32 {
    let mut squares = simd.zero();
    for x in x.chunks(LANES) {
        let x = simd.load_partial(x, 0.0);
        squares = simd.fma(x, x, squares);
    }
    let mean = simd.sum_lanes(squares) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

/// [`RmsNorm`] of every head of one row (`[n_heads][weight.len()]`), in place.
struct RmsNormHeads<'a> {
    heads: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for RmsNormHeads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for head in self.heads.chunks_exact_mut(self.weight.len()) {
            let inverse = simd.splat(inverse_rms(simd, head, self.eps));
            for (x, weight) in head.chunks_mut(LANES).zip(self.weight.chunks(LANES)) {
                let scaled = simd.mul(simd.load_partial(x, 0.0), inverse);
                simd.store_partial(simd.mul(scaled, simd.load_partial(weight, 0.0)), x);
            }
        }
    }
}

/// y = fma((x - mean) * (1 / sqrt(variance + eps)), weight, bias), for one row.
///
/// mean = sum / d: virtual lane j adds x[i] for i = j mod 16, ascending, then [`Simd::sum_lanes`]. variance = squares / d:
/// the same with (x[i] - mean)^2, one fma each; missing lanes hold the mean and add nothing.
struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let n = self.x.len() as f32;
        let mut sum = simd.zero();
        for x in self.x.chunks(LANES) {
            sum = simd.add(sum, simd.load_partial(x, 0.0));
        }
        let mean = simd.sum_lanes(sum) / n;
        let means = simd.splat(mean);
        let mut squares = simd.zero();
        for x in self.x.chunks(LANES) {
            let centred = simd.sub(simd.load_partial(x, mean), means);
            squares = simd.fma(centred, centred, squares);
        }
        let variance = simd.sum_lanes(squares) / n;
        let inverse = simd.splat(1.0 / (variance + self.eps).sqrt());
        let affine = self.weight.chunks(LANES).zip(self.bias.chunks(LANES));
        for ((x, (weight, bias)), out) in self.x.chunks(LANES).zip(affine).zip(self.out.chunks_mut(LANES)) {
            let scaled = simd.mul(simd.sub(simd.load_partial(x, 0.0), means), inverse);
            let y = simd.fma(scaled, simd.load_partial(weight, 0.0), simd.load_partial(bias, 0.0));
            simd.store_partial(y, out);
        }
    }
}

impl Kernels {
    /// RMS norm of every head of one row (`[n_heads][weight.len()]`), in place, by the rule of
    /// [`rms_norm`](Self::rms_norm).
    ///
    /// # Panics
    /// If the heads are not of the weight's length.
    pub fn rms_norm_heads(&self, heads: &mut [f32], weight: &[f32], eps: f32) {
        assert!(heads.len().is_multiple_of(weight.len()), "heads of a norm");
        self.run(RmsNormHeads { heads, weight, eps });
    }

    /// Layer norm of every row of `x` (row-major `[rows, weight.len()]`).
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn layer_norm(&self, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        assert_eq!((x.len(), weight.len()), (out.len(), bias.len()), "rows of a norm");
        assert!(x.len().is_multiple_of(weight.len()), "row length of a norm");
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            self.run(LayerNorm { x, weight, bias, eps, out });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Isa, Kernels};

    fn scalar() -> Kernels {
        Kernels::with_isa(Isa::Scalar).unwrap()
    }

    #[test]
    fn hand_checked_layer_norm() {
        // Mean 3, deviations -2, 0, 2, variance 8 / 3.
        let mut out = [0.0; 3];
        scalar().layer_norm(&[1.0, 3.0, 5.0], &[1.0, 2.0, 1.0], &[0.0, 0.5, 1.0], 0.0, &mut out);
        let unit = (3.0f32 / 2.0).sqrt();
        assert!((out[0] + unit).abs() < 1e-6 && out[1] == 0.5 && (out[2] - 1.0 - unit).abs() < 1e-6, "{out:?}");
    }

    #[test]
    fn a_constant_row_gives_the_bias() {
        let mut out = [1.0; 33];
        scalar().layer_norm(&[7.25; 33], &[3.0; 33], &[0.125; 33], 1e-5, &mut out);
        assert_eq!(out, [0.125; 33]);
    }

    #[test]
    fn heads_are_normed_one_by_one() {
        let x: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32 - 5.0).collect();
        let weight: Vec<f32> = (0..20).map(|i| 1.0 + i as f32 / 8.0).collect();
        let mut rows = vec![0.0; 60];
        scalar().rms_norm(&x, &weight, 1e-6, &mut rows);
        let mut heads = x;
        scalar().rms_norm_heads(&mut heads, &weight, 1e-6);
        assert_eq!(heads, rows);
    }
}
