//! Coding one value, when it is known where it is likely to be.
//!
//! The line is cut into cells of an eighth to a quarter of a standard deviation; their width is a power of two, so that a
//! value's leading bits say which one it is in. The cell costs what the distribution of deviations says, and the bits
//! below it go plain. What is too far out for a cell, infinite or no number, is an escape.

use super::lane::Matrix;
use super::mixer::{Channel, Field, Interval, Mixer, Question, Whole, cell};
use super::number::{Format, power_of_two};
use super::shape::{N_STEPS, STEPS_PER_DEVIATION, Shape, TOTAL, step};

/// Kinds of mixed questions.
pub(super) mod node {
    pub(in super::super) const ZERO: usize = 0;
    pub(in super::super) const GRID: usize = 1;
}

/// Cells of the first context.
mod cells {
    pub(super) const ZERO: usize = 0;
    pub(super) const BELOW: usize = 256;
    pub(super) const SIGN: usize = 320;
    pub(super) const GRID: usize = 512;
    pub(super) const FAR: usize = 2048;
    pub(super) const ESCAPE: usize = 4096;
}

/// Octaves that a cell is below a standard deviation's.
const CELL_OCTAVES: i32 = 2;
/// Cells have numbers within ± this.
const MAX_CELL: i32 = 1 << 25;
/// Octaves below the cells around zero; beyond, an exponent's bits are asked for.
const MAX_BELOW: i32 = 24;
/// Precision of predictions.
const MEAN_BITS: u32 = 23;

/// The exponent of a positive normal number.
#[inline(always)]
fn octave(x: f32) -> i32 {
    (x.to_bits() >> 23) as i32 - 127
}

/// Values around one, without their scales.
#[derive(Clone, Copy)]
pub(super) struct Neighbours {
    /// The sample before.
    pub(super) left: f32,
    /// The same tap of the kernel before, or two samples before.
    pub(super) far: f32,
    /// The coordinate before.
    pub(super) above: f32,
}

/// Codes one value.
pub(super) struct ValueCoder<'a> {
    pub(super) matrix: &'a Matrix<'a>,
    /// Where the value is likely to be, within ± 1e37.
    pub(super) mean: f32,
    /// Its standard deviation, from 1e-36 to 1e37, and a reciprocal: steps of the distribution in a unit.
    pub(super) deviation: f32,
    pub(super) steps: f32,
    /// The value that has a question of its own.
    pub(super) commonest: u64,
    /// log2 of the odds that the value is that one, by the coordinate and by the sample.
    pub(super) zero_odds: [f32; 2],
    /// The octave of the lowest bit of the value before.
    pub(super) grid: i32,
    pub(super) neighbours: Neighbours,
}

/// The cells of a value. Cell q is `[q, q + 1) * width`, but for the bounds of negative ones, which belong to the cell nearer to zero.
#[derive(Clone, Copy)]
struct Cells {
    /// log2 of the width.
    octave: i32,
    width: f32,
    mean: f32,
    steps: f32,
}

impl Cells {
    #[inline(always)]
    fn step(&self, q: i32) -> i32 {
        step((q as f32 * self.width - self.mean) * self.steps)
    }

    #[inline(always)]
    fn interval(&self, shape: &Shape, q: i32) -> Interval<i32> {
        Interval { start: shape.below(self.step(q)), end: shape.below(self.step(q + 1)), of: q }
    }

    /// The cell of a finite number, if it has a number and a probability.
    #[inline(always)]
    fn of(&self, format: &Format, shape: &Shape, bits: u64) -> Option<Interval<i32>> {
        let significand = format.significand(bits) >> format.low_bits;
        let shift = self.octave - format.octave(format.exponent(bits)) + format.coded_mantissa_bits() as i32;
        let magnitude = match shift {
            64.. => 0,
            0.. => significand >> shift,
            _ if significand.leading_zeros() as i32 > -shift => significand << -shift,
            _ => return None,
        };
        if magnitude >= MAX_CELL as u64 {
            return None;
        }
        let magnitude = magnitude as i32;
        let q = if format.is_negative(bits) { -1 - magnitude } else { magnitude };
        Some(self.interval(shape, q)).filter(|interval| interval.start < interval.end)
    }

    /// The cell around a point of the distribution below its escapes.
    #[inline(always)]
    fn find(&self, shape: &Shape, deviation: f32, point: u32) -> Interval<i32> {
        let steps = (shape.guess(point) - N_STEPS / 2) as f32;
        let x = self.mean + steps * (deviation * (1.0 / STEPS_PER_DEVIATION as f32));
        let q = (x * power_of_two(-self.octave)).floor().clamp(-MAX_CELL as f32, MAX_CELL as f32 - 3.0) as i32;
        // The guess is seldom more than two cells below; without branches for those.
        let bounds = [0, 1, 2, 3].map(|at| shape.below(self.step(q + at)));
        let n_above = usize::from(point >= bounds[1]) + usize::from(point >= bounds[2]);
        let (start, end) = (bounds[n_above], bounds[n_above + 1]);
        if start <= point && point < end {
            return Interval { start, end, of: q + n_above as i32 };
        }
        self.search(shape, point)
    }

    /// The same wherever it is: all points are below the last cell's end.
    #[cold]
    fn search(&self, shape: &Shape, point: u32) -> Interval<i32> {
        let (mut q, mut end) = (-MAX_CELL, MAX_CELL);
        while end - q > 1 {
            let middle = (q + end) / 2;
            if shape.below(self.step(middle)) <= point { q = middle } else { end = middle }
        }
        self.interval(shape, q)
    }
}

impl ValueCoder<'_> {
    #[inline(always)]
    pub(super) fn code(&self, actual: u64, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> u64 {
        let format = &self.matrix.format;
        if self.matrix.has_zeros && channel.ask(mixer, &self.zero_question(), actual == self.commonest) {
            return self.commonest;
        }
        // Cells are no finer than the numbers around the prediction.
        let lattice = octave(self.mean.abs()) - format.coded_mantissa_bits().min(MEAN_BITS) as i32;
        let octave = (octave(self.deviation) - CELL_OCTAVES).max(lattice);
        let cells = Cells { octave, width: power_of_two(octave), mean: self.mean, steps: self.steps };
        let shape = mixer.shape();
        let escape = shape.escape();
        let found = channel.interval(
            || {
                let inside = if format.is_finite(actual) { cells.of(format, shape, actual) } else { None };
                inside.map_or(Interval { start: escape, end: TOTAL, of: None }, |i| Interval {
                    start: i.start,
                    end: i.end,
                    of: Some(i.of),
                })
            },
            |point| {
                if point >= escape {
                    return Interval { start: escape, end: TOTAL, of: None };
                }
                let Interval { start, end, of } = cells.find(shape, self.deviation, point);
                Interval { start, end, of: Some(of) }
            },
            |interval| whole(&cells, shape, interval),
        );
        let bits = match found {
            Some(-1 | 0) => self.below(found == Some(-1), octave, actual, mixer, channel),
            Some(q) => self.rest_of_cell(q, octave, actual, mixer, channel),
            None => self.escaped(actual, mixer, channel),
        };
        let step = step((format.number(bits) - self.mean) * self.steps);
        mixer.count_deviation(found.map(|_| step));
        bits
    }

    /// A value in a cell away from zero: the cell has its leading bits.
    #[inline(always)]
    fn rest_of_cell(
        &self,
        q: i32,
        cell_octave: i32,
        actual: u64,
        mixer: &mut Mixer<'_>,
        channel: &mut impl Channel,
    ) -> u64 {
        let format = &self.matrix.format;
        let is_negative = q < 0;
        let magnitude = if is_negative { -1 - q } else { q } as u64;
        let octave = cell_octave + magnitude.ilog2() as i32;
        let exponent =
            if octave < format.octave(1) { 0 } else { format.exponent_of_octave(octave).min(format.max_exponent - 1) };
        let n_mantissa = format.coded_mantissa_bits();
        let shift = cell_octave - format.octave(exponent) + n_mantissa as i32;
        let significand = if shift > 0 {
            let n_rest = (shift as u32).min(n_mantissa);
            magnitude << n_rest | self.rest(actual, n_rest, exponent, mixer, channel)
        } else {
            magnitude >> (-shift).min(63)
        };
        format.assemble(is_negative, exponent, (significand & ((1 << n_mantissa) - 1)) << format.low_bits)
    }

    /// A value in a cell next to zero: its octave is asked for from above.
    #[inline(always)]
    fn below(
        &self,
        is_negative: bool,
        cell_octave: i32,
        actual: u64,
        mixer: &mut Mixer<'_>,
        channel: &mut impl Channel,
    ) -> u64 {
        let format = &self.matrix.format;
        let n_mantissa = format.coded_mantissa_bits();
        let mut n_below = 0;
        let (exponent, n_rest) = loop {
            let octave = cell_octave - 1 - n_below;
            if octave < format.octave(1) {
                // Subnormal numbers.
                let n_rest = octave + 1 - format.octave(1) + n_mantissa as i32;
                break (0, n_rest.clamp(0, n_mantissa as i32) as u32);
            }
            let exponent = format.exponent_of_octave(octave).min(format.max_exponent - 1);
            let is_here = format.exponent(actual) == exponent;
            if channel.ask_counter(mixer, Field::Exponent, cells::BELOW + n_below as usize, is_here) {
                break (exponent, n_mantissa);
            }
            n_below += 1;
            if n_below > MAX_BELOW {
                break (self.exponent_bits(cells::FAR, format.exponent(actual), mixer, channel), n_mantissa);
            }
        };
        let mantissa = self.rest(actual, n_rest, exponent, mixer, channel);
        format.assemble(is_negative, exponent, mantissa << format.low_bits)
    }

    /// A value in no cell.
    #[cold]
    fn escaped(&self, actual: u64, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> u64 {
        let format = &self.matrix.format;
        let is_negative = channel.ask_counter(mixer, Field::Sign, cells::SIGN, format.is_negative(actual));
        // Exponents relative to the deviation's; the sum wraps around.
        let all = format.max_exponent;
        let likely = format.exponent_of_octave(octave(self.deviation));
        let wanted = (format.exponent(actual) - likely) & all;
        let exponent = (self.exponent_bits(cells::ESCAPE, wanted, mixer, channel) + likely) & all;
        let mantissa = self.rest(actual, format.coded_mantissa_bits(), exponent, mixer, channel);
        format.assemble(is_negative, exponent, mantissa << format.low_bits)
    }

    /// An exponent bit by bit.
    fn exponent_bits(&self, cells: usize, wanted: i32, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> i32 {
        let n_bits = self.matrix.format.exponent_bits;
        let mut tree = 1usize;
        for at in (0..n_bits).rev() {
            let bit = channel.ask_counter(mixer, Field::Exponent, cells + tree, wanted >> at & 1 == 1);
            tree = 2 * tree + usize::from(bit);
        }
        tree as i32 - (1 << n_bits)
    }

    /// The mantissa's last `n_bits`.
    #[inline(always)]
    fn rest(&self, actual: u64, n_bits: u32, exponent: i32, mixer: &mut Mixer<'_>, channel: &mut impl Channel) -> u64 {
        let format = &self.matrix.format;
        let mantissa = format.mantissa(actual) >> format.low_bits;
        match self.matrix.lowest_octave {
            Some(lowest) => self.bits_on_grid(mantissa, n_bits, exponent, lowest, mixer, channel),
            None => channel.plain(mantissa, n_bits) & ((1 << n_bits) - 1),
        }
    }

    /// The same where many mantissas end in zeros from some octave on: the lowest bit that is set is asked for.
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
                opinions: [0.0; 2],
                cells: [
                    cells::GRID + octave as usize,
                    cell(octave * 64 + grid, node::GRID),
                    cell(octave * 64 + n_bits - at, node::GRID),
                ],
            };
            if channel.ask(mixer, &question, actual >> at & 1 == 1) {
                let n_plain = n_bits - at - 1;
                let plain = channel.plain(actual >> (at + 1), n_plain) & ((1 << n_plain) - 1);
                return (plain << 1 | 1) << at;
            }
        }
        0
    }

    #[inline(always)]
    fn zero_question(&self) -> Question {
        let Neighbours { left, far, above } = self.neighbours;
        let zeros = u32::from(left == 0.0) * 4 + u32::from(far == 0.0) * 2 + u32::from(above == 0.0);
        let [row, column] = self.zero_odds;
        let class = |odds: f32| (odds * 0.85 + 8.0) as u32;
        let cells = [
            cells::ZERO + (class(row) * 8 + zeros) as usize,
            cell((class(row) * 16 + class(column)) * 8 + zeros, node::ZERO),
            cell(class(column) * 8 + zeros, node::ZERO),
        ];
        Question { node: node::ZERO, opinions: self.zero_odds, cells }
    }
}

/// What an interval is part of.
fn whole(cells: &Cells, shape: &Shape, interval: &Interval<Option<i32>>) -> Whole {
    let inside = shape.escape();
    let Some(q) = interval.of else { return Whole { inside, sign: inside, exponent: inside } };
    let zero = shape.below(cells.step(0));
    let is_negative = q < 0;
    let magnitude = if is_negative { -1 - q } else { q };
    let bounds = match magnitude.checked_ilog2() {
        Some(octave) => (1 << octave, 2 << octave),
        None => (0, 1),
    };
    let (start, end) = if is_negative { (-bounds.1, -bounds.0) } else { bounds };
    Whole {
        inside,
        sign: if is_negative { zero } else { inside - zero },
        exponent: shape.below(cells.step(end)) - shape.below(cells.step(start)),
    }
}
