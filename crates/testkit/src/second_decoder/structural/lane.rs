//! Sections 9 and 10: lanes, groups and rows.

use std::ops::Range;

use super::super::Refusal;
use super::super::ensemble::Advisor;
use super::super::streams::{Decisions, PlainBits};
use super::distribution::{Distribution, WHOLE_BITS};
use super::math::{octave, power_of_two};
use super::matrix::{Coordinate, Layout};
use super::number::Float;
use super::questions::{Mixed, Questions, hash};
use super::scales::ScaleModel;

/// Samples in a group.
pub(super) const GROUP: usize = 16;

/// A coded matrix.
pub(super) struct Matrix<'a> {
    pub(super) layout: Layout,
    pub(super) float: Float,
    /// Bytes in an element.
    pub(super) size: usize,
    pub(super) may_be_common: bool,
    pub(super) lowest: Option<i32>,
    /// The reference and the part of it that is in the values, if it is used.
    pub(super) reference: Option<(&'a [u8], f32)>,
    pub(super) coordinates: Vec<Coordinate>,
    pub(super) sample_scales: Option<Vec<f32>>,
}

impl Matrix<'_> {
    fn reference_value(&self, element: usize) -> u64 {
        let bytes = self.reference.and_then(|(bytes, _)| bytes.chunks_exact(self.size).nth(element));
        bytes.map_or(0, |bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

/// What a lane remembers, and its streams.
pub(super) struct Lane<'a> {
    decisions: Decisions<'a>,
    plain: PlainBits<'a>,
    distribution: Distribution,
    questions: Questions,
    /// Of codec ensemble.
    advisor: Option<Advisor<'a>>,
}

/// What a part remembers.
struct Part<'a> {
    matrix: &'a Matrix<'a>,
    scales: ScaleModel,
    /// X.
    rows: Vec<[f32; GROUP]>,
    grid: i32,
}

/// What is known of a value before it is decoded.
struct Expected {
    mean: f32,
    deviation: f32,
    steps: f32,
    /// The commonest value.
    common: u64,
    /// Given opinions of the zero question.
    odds: [f32; 2],
    /// Whether the neighbours are zeros: left, far, above.
    zeros: [bool; 3],
}

impl<'a> Lane<'a> {
    pub(super) fn new(decisions: &'a [u8], plain: &'a [u8], advisor: Option<Advisor<'a>>) -> Self {
        Self {
            decisions: Decisions::new(decisions),
            plain: PlainBits::new(plain),
            distribution: Distribution::new(),
            questions: Questions::new(),
            advisor,
        }
    }

    /// Decodes groups of a matrix into its bytes.
    pub(super) fn part(&mut self, matrix: &Matrix<'_>, groups: Range<usize>, out: &mut [u8]) -> Result<(), Refusal> {
        let n_coordinates = matrix.layout.n_coordinates;
        let mut part =
            Part { matrix, scales: ScaleModel::new(n_coordinates), rows: vec![[0.0; GROUP]; n_coordinates], grid: 0 };
        if let Some(advisor) = &mut self.advisor {
            advisor.begin_part();
        }
        for group in groups {
            let first = group * GROUP;
            let n = matrix.layout.n_samples.saturating_sub(first).min(GROUP);
            part.scales.begin_group();
            let mut estimates = vec![[0.0; GROUP]; matrix.coordinates.first().map_or(0, |c| c.factors.len())];
            for i in 0..n_coordinates {
                let values = self.row(&mut part, &mut estimates, i, first, n)?;
                for (t, value) in values.into_iter().take(n).enumerate() {
                    let element = matrix.layout.element(i, first + t);
                    let bytes = out.chunks_exact_mut(matrix.size).nth(element);
                    for (to, from) in bytes.into_iter().flatten().zip(value.to_le_bytes()) {
                        *to = from;
                    }
                }
            }
        }
        Ok(())
    }

    /// Section 10.
    fn row(
        &mut self,
        part: &mut Part<'_>,
        estimates: &mut [[f32; GROUP]],
        i: usize,
        first: usize,
        n: usize,
    ) -> Result<[u64; GROUP], Refusal> {
        let matrix = part.matrix;
        let Some(coordinate) = matrix.coordinates.get(i) else {
            return Err(Refusal::corrupt("no such coordinate"));
        };

        // 1. Prediction.
        let mut sums = [[0.0f32; GROUP]; 4];
        let whole = estimates.len() / 4 * 4;
        for (q, (u, v)) in coordinate.factors.iter().zip(&*estimates).enumerate() {
            let sum = &mut sums[if q < whole { q % 4 } else { 0 }];
            for (sum, v) in sum.iter_mut().zip(v) {
                *sum = u.mul_add(*v, *sum);
            }
        }
        let [s0, s1, s2, s3] = sums;
        let prediction: [f32; GROUP] = std::array::from_fn(|t| (s0[t] + s1[t]) + (s2[t] + s3[t]));

        // 2. Scales and centres.
        let sample_scale = |t| match &matrix.sample_scales {
            Some(scales) => scales.get(first + t).copied().unwrap_or(1.0),
            None => 1.0,
        };
        let unit: [f32; GROUP] = std::array::from_fn(|t| (coordinate.scale * sample_scale(t)).clamp(1e-37, 1e37));
        let (mut base, mut magnitudes, mut common) = ([0.0; GROUP], [0.0; GROUP], [0; GROUP]);
        if let Some((_, share)) = matrix.reference {
            for t in 0..n {
                let value = matrix.reference_value(matrix.layout.element(i, first + t));
                let y = matrix.float.number(value);
                base[t] = share * y;
                magnitudes[t] = (y / unit[t]).abs().min(1e9);
                common[t] = if share == 1.0 { value } else { 0 };
            }
        }
        let said = part.scales.say(i, matrix.reference.map(|_| &magnitudes), matrix.may_be_common);
        if let Some(advisor) = &mut self.advisor {
            advisor.begin_row(n)?;
        }

        // 3. The values.
        let before = part.rows.get(i).copied().unwrap_or_default();
        let above = i.checked_sub(1).and_then(|i| part.rows.get(i)).copied().unwrap_or_default();
        let far = if (2..=16).contains(&matrix.layout.taps) { matrix.layout.taps } else { 2 };
        let mut values = [0; GROUP];
        let mut x = [0.0; GROUP];
        for t in 0..n {
            let back = |by: usize| if t < by { before[GROUP + t - by] } else { x[t - by] };
            let deviation = (unit[t] * coordinate.deviation * said.scales[t]).clamp(1e-36, 1e37);
            let expected = Expected {
                mean: (prediction[t] * unit[t] + base[t]).clamp(-1e37, 1e37),
                deviation,
                steps: 64.0 / deviation,
                common: common[t],
                odds: [said.row_odds, said.sample_odds[t]],
                zeros: [back(1) == 0.0, back(far) == 0.0, above[t] == 0.0],
            };
            values[t] = self.value(matrix, &expected, t, part.grid)?;
            x[t] = if matrix.float.is_finite(values[t]) {
                ((matrix.float.number(values[t]) - base[t]) / unit[t]).clamp(-1e9, 1e9)
            } else {
                prediction[t]
            };
            if let (Some(_), Some(lowest)) = (matrix.lowest, matrix.float.lowest(values[t])) {
                part.grid = lowest;
            }
        }

        // 4. What the row teaches.
        let d = coordinate.deviation;
        let surprise: [f32; GROUP] = std::array::from_fn(|t| if t < n { x[t] - prediction[t] } else { 0.0 });
        let limited = surprise.map(|surprise| surprise.max(-(6.0 * d)).min(6.0 * d));
        for (v, gain) in estimates.iter_mut().zip(&coordinate.gains) {
            for (v, surprise) in v.iter_mut().zip(limited) {
                *v = gain.mul_add(surprise, *v);
            }
        }
        part.scales.learn(i, n, &said, surprise.map(|surprise| (surprise / d).abs()), &x);
        if let Some(row) = part.rows.get_mut(i) {
            *row = x;
        }
        Ok(values)
    }

    /// Section 10, "A value".
    fn value(&mut self, matrix: &Matrix<'_>, expected: &Expected, t: usize, grid: i32) -> Result<u64, Refusal> {
        if matrix.may_be_common && self.is_common(expected, t) {
            return Ok(expected.common);
        }
        let &Expected { mean, deviation, steps, .. } = expected;
        let float = matrix.float;
        let coded_bits = float.coded_bits() as i32;
        let o = i32::max(octave(deviation) - 2, octave(mean) - coded_bits.min(23));
        let width = power_of_two(o);
        let step = |place: f32| ((place - mean) * steps + 512.0).clamp(0.0, 1024.0).round_ties_even() as usize;

        let point = match &self.advisor {
            Some(advisor) => advisor.point(self.decisions.point(Advisor::WHOLE_BITS), t),
            None => self.decisions.point(WHOLE_BITS) as u32,
        };
        let inside = self.distribution.inside();
        let (cell, start, end) = if point >= inside {
            (None, inside, 1 << WHOLE_BITS)
        } else {
            let below = |q: i32| self.distribution.below(step(q as f32 * width));
            // The largest cell that begins at the point or before.
            let (mut q, mut beyond) = (-(1 << 25), 1 << 25);
            while beyond - q > 1 {
                let middle = (q + beyond) >> 1;
                if below(middle) <= point {
                    q = middle;
                } else {
                    beyond = middle;
                }
            }
            (Some(q), below(q), below(q + 1))
        };
        if let Some(advisor) = &mut self.advisor {
            let (start, end) = advisor.interval(start, end, t);
            self.decisions.take(Advisor::WHOLE_BITS, start, end)?;
        } else {
            self.decisions.take(WHOLE_BITS, start.into(), end.into())?;
        }

        let Some(q) = cell else {
            let is_negative = self.counter(320);
            let exponent = (self.bits(4096, float) + octave(deviation) + float.bias) & float.top();
            let coded = self.rest(matrix, coded_bits, exponent, grid);
            self.distribution.count(None);
            return Ok(float.compose(is_negative, exponent, coded));
        };
        let value = match q {
            0 | -1 => {
                let (exponent, coded) = self.next_to_zero(matrix, o, grid);
                float.compose(q < 0, exponent, coded)
            }
            _ => {
                let magnitude = if q < 0 { -1 - q } else { q } as u64;
                let b = o + magnitude.ilog2() as i32;
                let exponent = exponent_of(b, float);
                let h = o - float.octave(exponent) + coded_bits;
                let coded = if h > 0 {
                    let n = h.min(coded_bits);
                    (magnitude << n).wrapping_add(self.rest(matrix, n, exponent, grid))
                } else {
                    magnitude >> (-h).min(63)
                };
                float.compose(q < 0, exponent, coded)
            }
        };
        self.distribution.count(Some(step(float.number(value))));
        Ok(value)
    }

    /// The zero question.
    fn is_common(&mut self, expected: &Expected, t: usize) -> bool {
        let zeros = expected.zeros.iter().fold(0, |zeros, &is_zero| 2 * zeros + u32::from(is_zero));
        let [row, sample] = expected.odds.map(|odds| (odds * 0.85 + 8.0) as u32);
        let counters = [
            (8 * row + zeros) as usize,
            hash(8 * (16 * row + sample) + zeros, Mixed::Zero),
            hash(8 * sample + zeros, Mixed::Zero),
        ];
        let (p, said) = self.questions.mixed(Mixed::Zero, expected.odds, counters);
        let answer = match &mut self.advisor {
            Some(advisor) => {
                let advised = advisor.zero(p, t);
                let answer = self.decisions.decision(advised);
                advisor.learn_zero(advised, answer, t);
                answer
            }
            None => self.decisions.decision(p),
        };
        self.questions.learn(Mixed::Zero, p, &said, answer);
        answer
    }

    /// The exponent and the coded bits of a value in the cells next to zero.
    fn next_to_zero(&mut self, matrix: &Matrix<'_>, o: i32, grid: i32) -> (i32, u64) {
        let float = matrix.float;
        let coded_bits = float.coded_bits() as i32;
        for n in 0..25 {
            let b = o - 1 - n;
            if b < 1 - float.bias {
                let n_bits = (b + float.bias + coded_bits).clamp(0, coded_bits);
                return (0, self.rest(matrix, n_bits, 0, grid));
            }
            if self.counter(256 + n as usize) {
                let exponent = exponent_of(b, float);
                return (exponent, self.rest(matrix, coded_bits, exponent, grid));
            }
        }
        let exponent = self.bits(2048, float);
        (exponent, self.rest(matrix, coded_bits, exponent, grid))
    }

    /// An exponent field, by counters from `counter` on.
    fn bits(&mut self, counter: usize, float: Float) -> i32 {
        let mut node = 1;
        for _ in 0..float.exponent_bits {
            node = 2 * node + usize::from(self.counter(counter + node));
        }
        node as i32 & float.top()
    }

    fn counter(&mut self, counter: usize) -> bool {
        let answer = self.decisions.decision(self.questions.plain(counter));
        self.questions.count_plain(counter, answer);
        answer
    }

    /// The lowest `n` bits of a mantissa's coded ones.
    fn rest(&mut self, matrix: &Matrix<'_>, n: i32, exponent: i32, grid: i32) -> u64 {
        let Some(lowest) = matrix.lowest else { return self.plain.take(n as u32) };
        let b = matrix.float.octave(exponent) - matrix.float.coded_bits() as i32;
        let g = (grid - lowest).clamp(0, 63) as u32;
        for at in (lowest - b).clamp(0, n)..n {
            let z = (b + at - lowest).clamp(0, 255) as u32;
            let counters = [
                512 + z as usize,
                hash(64 * z + g, Mixed::LowestBit),
                hash(64 * z + (n - at) as u32, Mixed::LowestBit),
            ];
            let (p, said) = self.questions.mixed(Mixed::LowestBit, [0.0; 2], counters);
            let answer = self.decisions.decision(p);
            self.questions.learn(Mixed::LowestBit, p, &said, answer);
            if answer {
                return (2 * self.plain.take((n - at - 1) as u32) + 1) << at;
            }
        }
        0
    }

    /// Fails if this lane, number `number` of the block, has bytes that were not needed, or too few plain bits.
    pub(super) fn check_end(&self, number: usize) -> Result<(), Refusal> {
        self.decisions.check_end()?;
        self.plain.check_end(&format!("lane {number}"))
    }
}

/// The exponent field of numbers in an octave.
fn exponent_of(octave: i32, float: Float) -> i32 {
    if octave < 1 - float.bias { 0 } else { (octave + float.bias).min(float.top() - 1) }
}
