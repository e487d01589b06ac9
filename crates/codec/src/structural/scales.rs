//! How far values are from their predictions, as their neighbours say: a log-linear model that learns as it goes.

use lmgc_kernels::{LANES, Simd, log2};

use super::lane::exp2_of;

/// Three neighbours of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// The sample before.
    pub(super) left: f32,
    /// The same tap of the kernel before, or two samples before.
    pub(super) far: f32,
    /// The coordinate before.
    pub(super) above: f32,
}

/// Scales of a value's deviation and of the value itself, in units of those that were sent.
pub(super) struct Scales {
    pub(super) deviation: f32,
    /// log2 of it.
    pub(super) octaves: f32,
    pub(super) row: f32,
    pub(super) column: f32,
    pub(super) magnitude: f32,
    inputs: [f32; LANES],
}

/// Inputs of the model: logarithms of averages.
const N_INPUTS: usize = 6;
/// Averages move by these parts.
const ROW_RATE: f32 = 0.03;
const COLUMN_RATE: f32 = 0.1;
const ZERO_RATE: f32 = 0.06;
/// Least average, so that logarithms stay finite.
const FLOOR: f32 = 1e-6;
/// An absolute deviation of 1 standard deviation is 0.8 on average.
const MEAN_TO_DEVIATION: f32 = 1.25;
const LEARNING_RATE: f32 = 0.002;
const WEIGHT_RATE: f32 = 0.3;

/// The model of a part of a matrix.
pub(super) struct ScaleModel {
    weights: [f32; LANES],
    bias: f32,
    /// Averages by coordinate, over the samples before.
    row_deviations: Vec<f32>,
    row_magnitudes: Vec<f32>,
    row_zeros: Vec<f32>,
    /// Averages by sample, over the coordinates before.
    column_deviations: [f32; LANES],
    column_magnitudes: [f32; LANES],
    column_zeros: [f32; LANES],
}

impl ScaleModel {
    pub(super) fn new(n_coordinates: usize) -> Self {
        let mut weights = [0.0; LANES];
        weights[..N_INPUTS].copy_from_slice(&[0.2, 0.2, 0.2, 0.1, 0.1, 0.0]);
        Self {
            weights,
            bias: 0.3,
            row_deviations: vec![0.8; n_coordinates],
            row_magnitudes: vec![0.8; n_coordinates],
            row_zeros: vec![0.5; n_coordinates],
            column_deviations: [0.8; LANES],
            column_magnitudes: [0.8; LANES],
            column_zeros: [0.5; LANES],
        }
    }

    /// Other samples begin.
    pub(super) fn next_group(&mut self) {
        self.column_deviations = [0.8; LANES];
        self.column_magnitudes = [0.8; LANES];
        self.column_zeros = [0.5; LANES];
    }

    /// How often the row and the column have been zero, in sixteenths.
    #[inline(always)]
    pub(super) fn zero_rates(&self, i: usize, t: usize) -> [u32; 2] {
        [self.row_zeros[i], self.column_zeros[t]].map(|rate| (rate * 15.99) as u32)
    }

    /// Scales of coordinate `i` of sample `t` of the group, whose neighbours have deviated by `neighbours`.
    #[inline(always)]
    pub(super) fn predict<S: Simd>(&self, simd: S, i: usize, t: usize, neighbours: &Features) -> Scales {
        let row = self.row_deviations[i].max(FLOOR);
        let column = self.column_deviations[t].max(FLOOR);
        let floor = 0.05 * row;
        let Features { left, far, above } = *neighbours;
        let (left, far, above) = (left.abs(), far.abs(), above.abs());
        let mut averages = [1.0; LANES];
        averages[..N_INPUTS].copy_from_slice(&[
            row,
            column,
            (left + far + above) * (1.0 / 3.0) + floor,
            above + floor,
            left + floor,
            far + floor,
        ]);
        let magnitudes = self.row_magnitudes[i].max(FLOOR) * self.column_magnitudes[t].max(FLOOR);
        averages[N_INPUTS] = magnitudes;
        let logarithms = log2(simd, simd.load(&averages));
        let mut inputs = [0.0; LANES];
        simd.store(logarithms, &mut inputs);
        let sum = simd.sum_lanes(simd.mul(logarithms, simd.load(&self.weights)));
        let octaves = (sum + self.bias).clamp(-20.0, 20.0);
        Scales {
            deviation: exp2_of(simd, octaves),
            octaves,
            row: row * MEAN_TO_DEVIATION,
            column: column * MEAN_TO_DEVIATION,
            magnitude: exp2_of(simd, 0.5 * inputs[N_INPUTS] + 0.3),
            inputs,
        }
    }

    /// Takes in a value: its deviation and itself, unscaled.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "all that is known of a value")]
    pub(super) fn learn<S: Simd>(
        &mut self,
        simd: S,
        i: usize,
        t: usize,
        deviation: f32,
        value: f32,
        is_zero: bool,
        scales: &Scales,
    ) {
        let zero = if is_zero { 1.0 } else { 0.0 };
        self.row_zeros[i] += (zero - self.row_zeros[i]) * ZERO_RATE;
        self.column_zeros[t] += (zero - self.column_zeros[t]) * ZERO_RATE;
        if is_zero {
            return;
        }
        let (deviation, magnitude) = (deviation.abs(), value.abs());
        self.row_deviations[i] += (deviation - self.row_deviations[i]) * ROW_RATE;
        self.row_magnitudes[i] += (magnitude - self.row_magnitudes[i]) * ROW_RATE;
        self.column_deviations[t] += (deviation - self.column_deviations[t]) * COLUMN_RATE;
        self.column_magnitudes[t] += (magnitude - self.column_magnitudes[t]) * COLUMN_RATE;
        // The gradient of a Laplace density's likelihood in log2 of its scale; outliers count as six deviations.
        let gradient = ((deviation * MEAN_TO_DEVIATION / scales.deviation).min(6.0) - 1.0) * LEARNING_RATE;
        let mut inputs = scales.inputs;
        inputs[N_INPUTS] = 0.0;
        let weights = simd.fma(simd.splat(gradient * WEIGHT_RATE), simd.load(&inputs), simd.load(&self.weights));
        simd.store(weights, &mut self.weights);
        self.bias += gradient;
    }
}
