//! Coding the values of a lane: a run of groups of 16 samples. Encoder and decoder run the same code; they differ in the channel.

use lmgc_kernels::{Kernel, LANES, Simd};

use super::factor::Filter;
use super::fit::{correct, predict};
use super::mixer::{Channel, Mixer};
use super::number::Format;
use super::scales::ScaleModel;
use super::shape::STEPS_PER_DEVIATION;
use super::value::{Neighbours, ValueCoder};
use super::view::View;

/// A matrix, ready to be coded.
pub(super) struct Matrix<'a> {
    pub(super) view: View,
    pub(super) format: Format,
    pub(super) filter: &'a Filter,
    /// Whether it has zeros; with all of a reference, whether it has values that are the reference's.
    pub(super) has_zeros: bool,
    /// Octave of the lowest bit that is set anywhere, where values lie on grids.
    pub(super) lowest_octave: Option<i32>,
    /// How much of the reference is in the values.
    pub(super) reference_weight: Option<f32>,
}

/// Some groups of a matrix; the values lie in coding order, samples fastest.
pub(super) struct Part<'a> {
    pub(super) matrix: &'a Matrix<'a>,
    pub(super) groups: std::ops::Range<usize>,
}

impl Part<'_> {
    /// Calls `f` with each element in coding order.
    pub(super) fn for_each_element(&self, mut f: impl FnMut(usize)) {
        let view = &self.matrix.view;
        for group in self.groups.clone() {
            let first = group * LANES;
            for i in 0..view.n_coordinates {
                for j in first..(first + LANES).min(view.n_samples) {
                    f(view.at(i, j));
                }
            }
        }
    }

    /// Number of values.
    pub(super) fn n_values(&self) -> usize {
        let view = &self.matrix.view;
        let first = (self.groups.start * LANES).min(view.n_samples);
        ((self.groups.end * LANES).min(view.n_samples) - first) * view.n_coordinates
    }
}

/// Codes a part. `values` are the elements' bits in coding order: read by an encoder's channel, written by a decoder's.
pub(super) struct CodePart<'a, 'm, C> {
    pub(super) part: &'a Part<'a>,
    pub(super) values: &'a mut [u64],
    /// The reference's numbers, in the same order; empty if there is none.
    pub(super) references: &'a [u64],
    pub(super) mixer: &'a mut Mixer<'m>,
    pub(super) channel: &'a mut C,
}

impl<C: Channel> Kernel for CodePart<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { part, values, references, mixer, channel } = self;
        let matrix = part.matrix;
        let (view, filter) = (matrix.view, matrix.filter);
        let n = view.n_coordinates;
        let mut scale_model = ScaleModel::new(n);
        // Values without their scales, of this group as far as it is coded, and else of the one before.
        let mut memory = vec![[0.0; LANES]; n];
        let mut estimates = vec![[0.0; LANES]; filter.rank];
        // The taps' distance, if a neighbour in it is still remembered.
        let far = if view.n_taps > 1 && view.n_taps <= LANES { view.n_taps } else { 2 };
        let (mut rest, mut rest_references) = (values, references);
        let mut grid = 0;
        for group in part.groups.clone() {
            if channel.is_overrun() {
                return;
            }
            let first = group * LANES;
            let n_in_group = LANES.min(view.n_samples - first);
            let (now, later) = rest.split_at_mut(n * n_in_group);
            rest = later;
            estimates.fill([0.0; LANES]);
            scale_model.next_group();
            let mut column_scales = [1.0; LANES];
            if let Some(scales) = filter.column_scales.get(first..first + n_in_group) {
                column_scales[..n_in_group].copy_from_slice(scales);
            }
            for (i, values) in now.chunks_exact_mut(n_in_group).enumerate() {
                let prediction = predict(simd, filter, i, &estimates);
                let mut means = [0.0; LANES];
                simd.store(prediction, &mut means);
                let (row_scale, spread) = (filter.row_scales[i], filter.deviations[i]);
                let mut units = [1.0f32; LANES];
                for t in 0..LANES {
                    // Scales are normal numbers, and so are their reciprocals.
                    units[t] = (row_scale * column_scales[t]).clamp(1e-37, 1e37);
                }
                let (mut bases, mut commonest) = ([0.0f32; LANES], [0u64; LANES]);
                let scales = match matrix.reference_weight {
                    Some(weight) if rest_references.len() >= n_in_group => {
                        let (now, later) = rest_references.split_at(n_in_group);
                        rest_references = later;
                        let mut magnitudes = [0.0; LANES];
                        for t in 0..n_in_group {
                            let number = matrix.format.number(now[t]);
                            bases[t] = weight * number;
                            magnitudes[t] = (number / units[t]).abs().min(1e9);
                            if weight == 1.0 {
                                commonest[t] = now[t];
                            }
                        }
                        scale_model.predict(simd, i, Some(&magnitudes))
                    }
                    _ => scale_model.predict(simd, i, None),
                };
                let (mut centres, mut deviations, mut steps) = ([0.0f32; LANES], [1.0f32; LANES], [1.0f32; LANES]);
                for t in 0..LANES {
                    centres[t] = (means[t] * units[t] + bases[t]).clamp(-1e37, 1e37);
                    // Reciprocals stay finite.
                    deviations[t] = (units[t] * spread * scales.deviations[t]).clamp(1e-36, 1e37);
                    steps[t] = STEPS_PER_DEVIATION as f32 / deviations[t];
                }
                let values_before = memory[i];
                let above = if i > 0 { memory[i - 1] } else { [0.0; LANES] };
                let mut plain = [0.0f32; LANES];
                let (row_zero_odds, zero_odds) =
                    if matrix.has_zeros { scale_model.zero_odds(simd, i) } else { (0.0, [0.0; LANES]) };
                channel.begin_row(n_in_group);
                for t in 0..n_in_group {
                    let coder = ValueCoder {
                        matrix,
                        mean: centres[t],
                        deviation: deviations[t],
                        steps: steps[t],
                        commonest: commonest[t],
                        zero_odds: [row_zero_odds, zero_odds[t]],
                        grid,
                        neighbours: Neighbours {
                            left: if t > 0 { plain[t - 1] } else { values_before[LANES - 1] },
                            far: if t >= far { plain[t - far] } else { values_before[LANES + t - far] },
                            above: above[t],
                        },
                    };
                    let bits = coder.code(values[t], mixer, channel);
                    channel.end_value();
                    values[t] = bits;
                    // What is not finite counts as what was predicted.
                    plain[t] = if matrix.format.is_finite(bits) {
                        ((matrix.format.number(bits) - bases[t]) / units[t]).clamp(-1e9, 1e9)
                    } else {
                        means[t]
                    };
                    if matrix.lowest_octave.is_some() {
                        grid = matrix.format.lowest_octave(bits).unwrap_or(grid);
                    }
                }
                let innovation = simd.sub(simd.load(&plain), prediction);
                correct(simd, filter, i, innovation, &mut estimates);
                let mut innovations = [0.0; LANES];
                simd.store(simd.div(innovation, simd.splat(spread)), &mut innovations);
                scale_model.learn(simd, i, n_in_group, &innovations, &plain, &scales);
                memory[i] = plain;
            }
        }
    }
}
