//! How far values are from their predictions, as their neighbours say: a log-linear model that learns as it goes, for 16 samples
//! of a coordinate at a time.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_kernels::{LANES, Simd, log2};

/// Scales of 16 values, in units of those that were sent.
pub(super) struct Scales {
    /// Of the deviations from the predictions, by all that is known.
    pub(super) deviations: [f32; LANES],
    /// Inputs of the model.
    inputs: [[f32; LANES]; N_INPUTS],
}

/// Inputs of the model: log2 of the coordinate's average deviation, the sample's, that of the coordinate before, and the
/// reference's magnitude.
const N_INPUTS: usize = 4;
/// Averages move by these parts for each value; the samples' first by equal parts of all.
const ROW_RATE: f32 = 0.03;
const COLUMN_RATE: f32 = 0.02;
/// Samples' averages begin as if there had been so many values.
const COLUMN_COUNT: f32 = 8.0;
const ZERO_RATE: f32 = 0.06;
/// Zeros are not taken to be rarer, or other values.
const MIN_RATE: f32 = 0.002;
/// Least average, so that logarithms stay finite.
const FLOOR: f32 = 1e-6;
/// An absolute deviation of 1 standard deviation is 0.8 on average.
const MEAN_TO_DEVIATION: f32 = 1.25;
const MEAN_DEVIATION: f32 = 0.8;
/// Each value moves the model by these.
const LEARNING_RATE: f32 = 0.002;
const WEIGHT_RATE: f32 = 0.0006;
const MAX_OCTAVES: f32 = 20.0;
/// What [`exp2`] can take.
const MAX_EXPONENT: f32 = 50.0;

/// The model of a part of a matrix.
pub(super) struct ScaleModel {
    weights: [f32; N_INPUTS],
    bias: f32,
    /// Averages by coordinate, over the samples before.
    row_deviations: Vec<f32>,
    row_zeros: Vec<f32>,
    /// Averages by sample, over the coordinates before.
    column_deviations: [f32; LANES],
    column_zeros: [f32; LANES],
    /// Absolute deviations of the coordinate before.
    above: [f32; LANES],
}

impl ScaleModel {
    pub(super) fn new(n_coordinates: usize) -> Self {
        Self {
            weights: [0.3, 0.3, 0.2, 0.0],
            bias: 0.3,
            row_deviations: vec![MEAN_DEVIATION; n_coordinates],
            row_zeros: vec![0.5; n_coordinates],
            column_deviations: [MEAN_DEVIATION; LANES],
            column_zeros: [0.5; LANES],
            above: [MEAN_DEVIATION; LANES],
        }
    }

    /// Other samples begin.
    pub(super) fn next_group(&mut self) {
        self.column_deviations = [MEAN_DEVIATION; LANES];
        self.column_zeros = [0.5; LANES];
        self.above = [MEAN_DEVIATION; LANES];
    }

    /// log2 of the odds of a zero: by the coordinate, and by each sample.
    #[inline(always)]
    pub(super) fn zero_odds<S: Simd>(&self, simd: S, i: usize) -> (f32, [f32; LANES]) {
        let odds = |rates: S::F| {
            let rates = simd.min(simd.max(rates, simd.splat(MIN_RATE)), simd.splat(1.0 - MIN_RATE));
            log2(simd, simd.div(rates, simd.sub(simd.splat(1.0), rates)))
        };
        let (mut row, mut columns) = ([0.0; LANES], [0.0; LANES]);
        simd.store(odds(simd.splat(self.row_zeros[i])), &mut row);
        simd.store(odds(simd.load(&self.column_zeros)), &mut columns);
        (row[0], columns)
    }

    /// Scales of coordinate `i`, for samples with these magnitudes in the reference.
    #[inline(always)]
    pub(super) fn predict<S: Simd>(&self, simd: S, i: usize, references: Option<&[f32; LANES]>) -> Scales {
        let floor = simd.splat(FLOOR);
        let row = self.row_deviations[i].max(FLOOR);
        let columns = simd.max(simd.load(&self.column_deviations), floor);
        let above = simd.add(simd.load(&self.above), simd.splat(0.05 * row));
        let reference = match references {
            Some(references) => relative_octaves(simd, simd.load(references)),
            None => simd.zero(),
        };
        let logarithms = [log2(simd, simd.splat(row)), log2(simd, columns), log2(simd, above), reference];
        let mut sum = simd.splat(self.bias);
        for k in 0..N_INPUTS {
            sum = simd.fma(logarithms[k], simd.splat(self.weights[k]), sum);
        }
        let octaves = simd.min(simd.max(sum, simd.splat(-MAX_OCTAVES)), simd.splat(MAX_OCTAVES));
        let mut scales = Scales { deviations: [0.0; LANES], inputs: [[0.0; LANES]; N_INPUTS] };
        simd.store(exp2(simd, octaves), &mut scales.deviations);
        for k in 0..N_INPUTS {
            simd.store(logarithms[k], &mut scales.inputs[k]);
        }
        scales
    }

    /// Takes in the first `n` values of coordinate `i`: their deviations and themselves, unscaled.
    #[inline(always)]
    pub(super) fn learn<S: Simd>(
        &mut self,
        simd: S,
        i: usize,
        n: usize,
        deviations: &[f32; LANES],
        values: &[f32; LANES],
        scales: &Scales,
    ) {
        // 1 for values that count, 0 for zeros and for lanes without a value.
        let (mut counts, mut zeros) = ([0.0; LANES], [0.0; LANES]);
        for t in 0..n {
            counts[t] = if values[t] == 0.0 { 0.0 } else { 1.0 };
            zeros[t] = 1.0 - counts[t];
        }
        let counted = simd.load(&counts);
        let deviations = abs(simd, simd.load(deviations));

        let n_counted = simd.sum_lanes(counted);
        let rate = (ROW_RATE * n_counted).min(0.4) / n_counted.max(1.0);
        let sum_deviations = simd.sum_lanes(simd.mul(deviations, counted));
        self.row_deviations[i] += (sum_deviations - self.row_deviations[i] * n_counted) * rate;
        let zero_rate = (ZERO_RATE * n as f32).min(0.4);
        self.row_zeros[i] += (1.0 - n_counted / n as f32 - self.row_zeros[i]) * zero_rate;

        let move_to = |average: &mut [f32; LANES], x: S::F, rate: S::F| {
            let before = simd.load(average);
            simd.store(simd.fma(simd.sub(x, before), rate, before), average);
        };
        let column_rate = simd.mul(counted, simd.splat((1.0 / (i as f32 + COLUMN_COUNT)).max(COLUMN_RATE)));
        move_to(&mut self.column_deviations, deviations, column_rate);
        move_to(&mut self.column_zeros, simd.load(&zeros), simd.splat(ZERO_RATE));
        simd.store(deviations, &mut self.above);

        // The gradient of a Laplace density's likelihood in log2 of its scale; outliers count as six deviations.
        let ratio = simd.div(simd.mul(deviations, simd.splat(MEAN_TO_DEVIATION)), simd.load(&scales.deviations));
        let gradient = simd.sub(simd.min(ratio, simd.splat(6.0)), simd.splat(1.0));
        let gradient = simd.mul(gradient, counted);
        for k in 0..N_INPUTS {
            let sum = simd.sum_lanes(simd.mul(gradient, simd.load(&scales.inputs[k])));
            self.weights[k] += WEIGHT_RATE * sum;
        }
        self.bias += LEARNING_RATE * simd.sum_lanes(gradient);
    }
}

#[inline(always)]
pub(super) fn abs<S: Simd>(simd: S, x: S::F) -> S::F {
    simd.max(x, simd.sub(simd.zero(), x))
}

/// log2 of magnitudes relative to their mean, those near 0 raised.
#[inline(always)]
fn relative_octaves<S: Simd>(simd: S, magnitudes: S::F) -> S::F {
    let mean = (simd.sum_lanes(magnitudes) * (1.0 / LANES as f32)).clamp(FLOOR, 1e30);
    let relative = simd.fma(magnitudes, simd.splat(1.0 / mean), simd.splat(0.05));
    log2(simd, simd.min(relative, simd.splat(16.0)))
}

/// 2^x, x within ±[`MAX_EXPONENT`] (beyond, the value there), with a relative error below 2e-7.
///
/// n = round(x), r = x - n, Horner with one fused multiply-add a term, times 2^n.
#[inline(always)]
#[expect(clippy::approx_constant, reason = "fitted with the others, it is not ln 2")]
pub(crate) fn exp2<S: Simd>(simd: S, x: S::F) -> S::F {
    const COEFFICIENTS: [f32; 5] = [0.001_326_472_7, 0.009_671_513, 0.055_507_336, 0.240_222_42, 0.693_147];
    let x = simd.min(simd.max(x, simd.splat(-MAX_EXPONENT)), simd.splat(MAX_EXPONENT));
    let n = simd.round(x);
    let r = simd.sub(x, n);
    let mut p = simd.splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = simd.fma(p, r, simd.splat(*c));
    }
    p = simd.fma(p, r, simd.splat(1.0));
    simd.mul(p, simd.exp2_integral(n))
}

#[cfg(test)]
mod tests {
    use lmgc_kernels::arch::scalar::Scalar;

    use super::*;

    #[test]
    fn scales_follow_the_deviations() {
        let mut model = ScaleModel::new(2);
        for group in 0..200 {
            model.next_group();
            for (i, scale) in [4.0f32, 0.25].into_iter().enumerate() {
                let scales = model.predict(Scalar, i, None);
                if group == 199 {
                    // Deviations are +-0.8 of the scale.
                    let ratio = scales.deviations[3] / scale;
                    assert!((0.7..1.4).contains(&ratio), "{i} {ratio}");
                }
                let deviations = core::array::from_fn(|t| if t % 2 == 0 { 0.8 * scale } else { -0.8 * scale });
                model.learn(Scalar, i, LANES, &deviations, &deviations, &scales);
            }
        }
        assert!(model.zero_odds(Scalar, 0).0 < -8.0);
        let scales = model.predict(Scalar, 0, None);
        for _ in 0..20 {
            model.learn(Scalar, 0, LANES, &[0.0; LANES], &[0.0; LANES], &scales);
        }
        assert!(model.zero_odds(Scalar, 0).0 > 3.0);
    }
}
