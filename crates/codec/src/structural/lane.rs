//! Coding the values of a lane: a run of groups of 16 samples. Encoder and decoder run the same code; they differ in the channel.
//!
//! A value is asked for by halving intervals: is it zero; has it the leading bits that all likely values share; if not, its
//! sign, its exponent counted from the likeliest one, and the mantissa's bits until the densities are flat. The rest goes plain.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_kernels::{Kernel, LANES, Simd};

use super::density::{Densities, Kind, Kinds, LOGISTIC, NORMAL, Point};
use super::factor::Filter;
use super::fit::{correct, predict};
use super::mixer::{Channel, Mixer, Question, cell, value_hash};
use super::number::Format;
use super::scales::ScaleModel;
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

/// Nodes of the decision tree: see [`super::mixer::N_NODES`].
pub(super) mod node {
    pub(in super::super) const ZERO: usize = 0;
    pub(in super::super) const SIGN: usize = 1;
    pub(in super::super) const REACHES: usize = 2;
    pub(in super::super) const PREFIX: usize = 3;
    pub(in super::super) const UP: usize = 4;
    pub(in super::super) const DOWN: usize = 17;
    pub(in super::super) const GRID: usize = 31;
    pub(in super::super) const MANTISSA: usize = 32;
    pub(in super::super) const LEADING: usize = 64;
}

/// Cells of the first context, after those of the nodes.
mod cells {
    pub(super) const ZERO: usize = 4096;
    pub(super) const TREE: usize = 4096 + 256;
    pub(super) const GRID: usize = TREE + 2048;
}

/// In which lanes the odds by coordinate and by sample answer.
const ZERO_LANES: [[f32; LANES]; 2] = {
    let mut lanes = [[0.0; LANES]; 2];
    lanes[0][0] = 1.0;
    lanes[1][1] = 1.0;
    lanes
};
/// Steps from the likeliest exponent; beyond, its bits are asked for.
const MAX_STEPS: i32 = 12;
/// Deviations within which a value is likely.
const LIKELY_DEVIATIONS: f32 = 4.0;
/// Least intervals have at least this part of a standard deviation, in octaves.
const FLAT_OCTAVES: i32 = 1;

/// The exponent of a positive normal number.
#[inline(always)]
fn octave(x: f32) -> i32 {
    (x.to_bits() >> 23) as i32 - 127
}

#[inline(always)]
fn sign_class(x: f32) -> u32 {
    if x > 0.0 {
        1
    } else if x < 0.0 {
        2
    } else {
        0
    }
}

impl<C: Channel> Kernel for CodePart<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { part, values, references, mixer, channel } = self;
        let matrix = part.matrix;
        let (view, filter) = (matrix.view, matrix.filter);
        let n = view.n_coordinates;
        let kinds = kinds();
        let mut scale_model = ScaleModel::new(n);
        // Values without their scales, of this group as far as it is coded, and else of the one before.
        let mut memory = vec![[0.0; LANES]; n];
        let mut estimates = vec![[0.0; LANES]; filter.rank];
        // The taps' distance, if a neighbour in it is still remembered.
        let far = if view.n_taps > 1 && view.n_taps <= LANES { view.n_taps } else { 2 };
        let (mut rest, mut rest_references) = (values, references);
        let mut grid = 0;
        for group in part.groups.clone() {
            let first = group * LANES;
            let n_in_group = LANES.min(view.n_samples - first);
            let (now, later) = rest.split_at_mut(n * n_in_group);
            rest = later;
            estimates.fill([0.0; LANES]);
            scale_model.next_group();
            for (i, values) in now.chunks_exact_mut(n_in_group).enumerate() {
                let prediction = predict(simd, filter, i, &estimates);
                let mut means = [0.0; LANES];
                simd.store(prediction, &mut means);
                let (row_scale, spread) = (filter.row_scales[i], filter.deviations[i]);
                let mut units = [1.0f32; LANES];
                for t in 0..n_in_group {
                    // Scales are normal numbers, and so are their reciprocals.
                    units[t] = (row_scale * filter.column_scales[first + t]).clamp(1e-37, 1e37);
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
                let values_before = memory[i];
                let above = if i > 0 { memory[i - 1] } else { [0.0; LANES] };
                let mut plain = [0.0f32; LANES];
                let (row_zero_odds, zero_odds) =
                    if matrix.has_zeros { scale_model.zero_odds(simd, i) } else { (0.0, [0.0; LANES]) };
                for t in 0..n_in_group {
                    let (unit, base) = (units[t], bases[t]);
                    let coder = ValueCoder {
                        simd,
                        matrix,
                        kinds: &kinds,
                        mean: means[t] * unit + base,
                        base,
                        commonest: commonest[t],
                        grid,
                        deviation: (unit * spread * scales.deviations[t]).clamp(1e-37, 1e37),
                        row: (unit * spread * scales.row).clamp(1e-37, 1e37),
                        column: (unit * spread * scales.columns[t]).clamp(1e-37, 1e37),
                        magnitude: (unit * scales.magnitudes[t]).clamp(1e-37, 1e37),
                        zero_odds: [row_zero_odds, zero_odds[t]],
                        neighbours: Neighbours {
                            left: if t > 0 { plain[t - 1] } else { values_before[LANES - 1] },
                            far: if t >= far { plain[t - far] } else { values_before[LANES + t - far] },
                            above: above[t],
                        },
                    };
                    let bits = coder.code(values[t], mixer, channel);
                    values[t] = bits;
                    // What is not finite counts as what was predicted.
                    plain[t] = if matrix.format.is_finite(bits) {
                        ((matrix.format.number(bits) - base) / unit).clamp(-1e9, 1e9)
                    } else {
                        means[t]
                    };
                    if matrix.lowest_octave.is_some() {
                        grid = matrix.format.lowest_octave(bits).unwrap_or(grid);
                    }
                }
                channel.settle(simd, mixer);
                let innovation = simd.sub(simd.load(&plain), prediction);
                correct(simd, filter, i, innovation, &mut estimates);
                let mut deviations = [0.0; LANES];
                simd.store(simd.div(innovation, simd.splat(spread)), &mut deviations);
                scale_model.learn(simd, i, n_in_group, &deviations, &plain, &scales);
                memory[i] = plain;
            }
        }
    }
}

/// The densities: their scales are those of [`ValueCoder`], in the order deviation, row, column, magnitude.
fn kinds() -> Kinds {
    let around_prediction = |shape, scale, part| Kind { shape, is_centred: true, scale, part };
    let around_zero = |shape, part| Kind { shape, is_centred: false, scale: 3, part };
    Kinds::new([
        around_prediction(NORMAL, 0, 1.0),
        around_prediction(LOGISTIC, 0, 1.0),
        around_prediction(NORMAL, 0, 0.5),
        around_prediction(LOGISTIC, 0, 2.5),
        around_prediction(NORMAL, 1, 1.0),
        around_zero(NORMAL, 1.0),
        around_zero(LOGISTIC, 2.0),
        around_prediction(NORMAL, 2, 1.25),
    ])
}

/// Values around one, without their scales.
#[derive(Clone, Copy)]
struct Neighbours {
    /// The sample before.
    left: f32,
    /// The same tap of the kernel before, or two samples before.
    far: f32,
    /// The coordinate before.
    above: f32,
}

/// Codes one value.
struct ValueCoder<'a, S: Simd> {
    simd: S,
    matrix: &'a Matrix<'a>,
    kinds: &'a Kinds,
    mean: f32,
    /// What would be expected without a prediction: zero, or the reference.
    base: f32,
    /// The value that has a question of its own.
    commonest: u64,
    /// The octave of the lowest bit of the value before.
    grid: i32,
    /// Standard deviations: by all that is known, by the coordinate's history, by the sample's.
    deviation: f32,
    row: f32,
    column: f32,
    /// Typical magnitude, whatever the prediction.
    magnitude: f32,
    /// log2 of the odds that the value is the commonest one, by the coordinate and by the sample.
    zero_odds: [f32; 2],
    neighbours: Neighbours,
}

/// An interval of magnitudes, [low, high).
struct Interval<S: Simd> {
    low: Point<S>,
    high: Point<S>,
}

/// The contexts of a value that do not change from question to question, hashed.
struct Contexts {
    neighbourhood: u32,
    exponent: u32,
}

impl<S: Simd> ValueCoder<'_, S> {
    #[inline(always)]
    fn code(&self, actual: u64, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> u64 {
        let format = &self.matrix.format;
        if self.matrix.has_zeros {
            let is_commonest = channel.ask(self.simd, mixer, &self.zero_question(), actual == self.commonest);
            if is_commonest {
                return self.commonest;
            }
        }
        let Self { deviation, magnitude, .. } = *self;
        let mean = self.mean.clamp(-1e37, 1e37);
        let densities =
            Densities::new(self.simd, self.kinds, mean, self.base, [deviation, self.row, self.column, magnitude]);

        let likeliest = octave(mean.abs() + 0.67 * deviation);
        let likeliest = format.exponent_of_octave(likeliest).clamp(1, format.max_exponent - 1);
        let contexts = self.contexts(likeliest);
        let deviation_octave = octave(deviation);

        // The leading bits that all likely values share.
        let mut level = 0;
        let mut mantissa = 0u64;
        let mut start = None;
        let (likely_low, likely_high) =
            ((mean - LIKELY_DEVIATIONS * deviation).to_bits(), (mean + LIKELY_DEVIATIONS * deviation).to_bits());
        let shared_exponent = format.exponent_of_octave(((likely_low >> 23) & 0xff) as i32 - 127);
        if (likely_low ^ likely_high) >> 23 == 0 && (1..format.max_exponent).contains(&shared_exponent) {
            let n_shared = ((likely_low ^ likely_high) << 9 | 0xff).leading_zeros().min(23);
            level = n_shared.min(format.coded_mantissa_bits());
            let prefix = if level == 0 { 0 } else { u64::from((likely_low << 9) >> (32 - level)) };
            let is_negative = likely_low >> 31 == 1;
            let magnitudes = densities.mirrored_if(is_negative);
            let low = format.magnitude(shared_exponent, prefix << (format.mantissa_bits - level));
            let width = format.width(shared_exponent, level);
            let interval = Interval { low: magnitudes.at(low), high: magnitudes.at(low + width) };
            let odds = magnitudes.inside_odds(interval.low, interval.high);
            let is_shared = format.is_negative(actual) == is_negative
                && format.exponent(actual) == shared_exponent
                && format.mantissa(actual) >> (format.mantissa_bits - level) == prefix;
            let relative = (octave(width) - deviation_octave).clamp(0, 15) as usize;
            let question = contexts.question(node::PREFIX, odds, relative);
            if channel.ask(self.simd, mixer, &question, is_shared) {
                mantissa = prefix << (format.mantissa_bits - level);
                start = Some((is_negative, shared_exponent, interval));
            } else {
                level = 0;
            }
        }

        let (is_negative, exponent, mut interval) = match start {
            Some(start) => start,
            None => self.sign_and_exponent(densities, &contexts, likeliest, actual, mixer, channel),
        };
        let densities = densities.mirrored_if(is_negative);
        let mut low = format.magnitude(exponent, mantissa);

        // Leading bits that were not taken over from the prediction have nodes of their own.
        let has_prefix = level > 0;
        let flat = octave(deviation.min(magnitude)) - FLAT_OCTAVES;
        let n_levels = (format.octave(exponent) - flat).clamp(0, format.coded_mantissa_bits() as i32) as u32;
        let leading_node = node::LEADING + ((exponent - likeliest).clamp(-6, 6) + 6) as usize * 8;
        let mut leading = 1usize;
        let mut width = format.width(exponent, level);
        let mut width_octave = format.octave(exponent) - level as i32 - deviation_octave;
        while level < n_levels {
            width *= 0.5;
            width_octave -= 1;
            let middle = densities.at(low + width);
            let odds = densities.upper_odds(interval.low, middle, interval.high);
            let bit = format.mantissa(actual) >> (format.mantissa_bits - 1 - level) & 1 == 1;
            let node = if !has_prefix && level < 3 {
                leading_node + leading
            } else {
                node::MANTISSA + (width_octave.clamp(-6, 14) + 6) as usize
            };
            if channel.ask(self.simd, mixer, &contexts.question(node, odds, 0), bit) {
                interval.low = middle;
                low += width;
                mantissa |= 1 << (format.mantissa_bits - 1 - level);
                leading = 2 * leading + 1;
            } else {
                interval.high = middle;
                leading *= 2;
            }
            level += 1;
        }
        let n_plain = format.coded_mantissa_bits() - level;
        let rest = format.mantissa(actual) >> format.low_bits;
        let rest = match self.matrix.lowest_octave {
            Some(lowest) => self.bits_on_grid(rest, n_plain, exponent, lowest, mixer, channel),
            None => channel.plain(rest, n_plain) & ((1 << n_plain) - 1),
        };
        format.assemble(is_negative, exponent, mantissa | rest << format.low_bits)
    }

    /// The mantissa's last bits where many of them are zeros from some octave on: the lowest one that is set is asked for.
    #[inline(always)]
    fn bits_on_grid(
        &self,
        actual: u64,
        n_bits: u32,
        exponent: i32,
        lowest: i32,
        mixer: &mut Mixer<'_>,
        channel: &mut impl Channel,
    ) -> u64 {
        let format = &self.matrix.format;
        let octave = format.octave(exponent) - format.coded_mantissa_bits() as i32;
        let grid = (self.grid - lowest).clamp(0, 63) as u32;
        for at in (lowest - octave).clamp(0, n_bits as i32) as u32..n_bits {
            let octave = (octave + at as i32 - lowest).clamp(0, 255) as u32;
            let question = Question {
                node: node::GRID,
                densities: self.simd.zero(),
                cells: [
                    cells::GRID + octave as usize,
                    cell(value_hash(octave * 64 + grid), node::GRID),
                    cell(value_hash(octave * 64 + n_bits - at), node::GRID),
                ],
            };
            if channel.ask(self.simd, mixer, &question, actual >> at & 1 == 1) {
                let n_plain = n_bits - at - 1;
                let plain = channel.plain(actual >> (at + 1), n_plain) & ((1 << n_plain) - 1);
                return (plain << 1 | 1) << at;
            }
        }
        0
    }

    /// The sign and the exponent, and with them the interval of magnitudes.
    #[inline(always)]
    fn sign_and_exponent(
        &self,
        densities: Densities<S>,
        contexts: &Contexts,
        likeliest: i32,
        actual: u64,
        mixer: &mut Mixer<'_>,
        channel: &mut impl Channel,
    ) -> (bool, i32, Interval<S>) {
        let format = &self.matrix.format;
        let zero = densities.at(0.0);
        let odds = densities.upper_odds(densities.bottom, zero, densities.top);
        let question = contexts.question(node::SIGN, odds, 0);
        let is_negative = !channel.ask(self.simd, mixer, &question, !format.is_negative(actual));
        let densities = densities.mirrored_if(is_negative);
        let wanted = format.exponent(actual);
        // The first question decides the direction.
        let mut interval = Interval { low: densities.at(0.0), high: densities.top };
        let mut bound = likeliest;
        let mut n_steps = 0;
        let mut node = node::REACHES;
        let mut goes_up = false;
        let exponent = loop {
            let middle = densities.at(format.magnitude(bound, 0));
            let odds = densities.upper_odds(interval.low, middle, interval.high);
            let reaches = channel.ask(self.simd, mixer, &contexts.question(node, odds, 0), wanted >= bound);
            if reaches {
                interval.low = middle;
            } else {
                interval.high = middle;
            }
            if n_steps == 0 {
                goes_up = reaches;
            } else if reaches != goes_up {
                break if goes_up { bound - 1 } else { bound };
            }
            // Nothing is below the least exponent, or above the greatest.
            if goes_up && bound == format.max_exponent {
                break bound;
            } else if !goes_up && bound == 1 {
                break 0;
            }
            if n_steps == MAX_STEPS {
                let exponent = self.far_exponent(wanted, mixer, channel);
                let (low, high) = (format.magnitude(exponent, 0), format.magnitude(exponent + 1, 0));
                interval = Interval { low: densities.at(low), high: densities.at(high) };
                break exponent;
            }
            node = if goes_up { node::UP } else { node::DOWN } + n_steps as usize;
            bound += if goes_up { 1 } else { -1 };
            n_steps += 1;
        };
        (is_negative, exponent, interval)
    }

    /// An exponent bit by bit.
    fn far_exponent(&self, wanted: i32, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> i32 {
        let n_bits = self.matrix.format.exponent_bits;
        let mut tree = 1usize;
        for at in (0..n_bits).rev() {
            let bit = channel.ask_counter(self.simd, mixer, cells::TREE + tree, wanted >> at & 1 == 1);
            tree = 2 * tree + usize::from(bit);
        }
        tree as i32 - (1 << n_bits)
    }

    #[inline(always)]
    fn contexts(&self, exponent: i32) -> Contexts {
        let Neighbours { left, far, above } = self.neighbours;
        let signs = sign_class(left) * 9 + sign_class(far) * 3 + sign_class(above);
        let size = left.abs() + far.abs() + above.abs();
        let size = if size > 0.0 { (octave(size.max(1e-30)).clamp(-12, 12) + 13) as u32 } else { 0 };
        Contexts { neighbourhood: value_hash(signs * 32 + size), exponent: value_hash(exponent as u32) }
    }

    fn zero_question(&self) -> Question<S::F> {
        let Neighbours { left, far, above } = self.neighbours;
        let zeros = u32::from(left == 0.0) * 4 + u32::from(far == 0.0) * 2 + u32::from(above == 0.0);
        let [row, column] = self.zero_odds;
        let class = |odds: f32| (odds * 0.85 + 8.0) as u32;
        let cells = [
            cells::ZERO + (class(row) * 8 + zeros) as usize,
            cell(value_hash((class(row) * 16 + class(column)) * 8 + zeros), node::ZERO),
            cell(value_hash(class(column) * 8 + zeros), node::ZERO),
        ];
        let densities = self.simd.fma(
            self.simd.splat(row),
            self.simd.load(&ZERO_LANES[0]),
            self.simd.mul(self.simd.splat(column), self.simd.load(&ZERO_LANES[1])),
        );
        Question { node: node::ZERO, densities, cells }
    }
}

impl Contexts {
    /// A question; `extra`, below 16, is another context of the first counter.
    #[inline(always)]
    fn question<F>(&self, node: usize, odds: F, extra: usize) -> Question<F> {
        let cells = [node * 16 + extra, cell(self.neighbourhood, node), cell(self.exponent, node)];
        Question { node, densities: odds, cells }
    }
}
