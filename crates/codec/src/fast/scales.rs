//! Scales of rows and columns: mean magnitudes, in quarter octaves.
//!
//! The scale of a value is the sum of its row's and its column's. An encoder may choose any scales; these are the mean magnitudes
//! of a row, of a column once its values are divided by their rows' scales, and again of a row with its values divided by the columns'.
//! All sums are f32 in a fixed order.

use lmgc_kernels::{Kernel, LANES, Simd};

use super::CHUNK;
use super::view::View;
use super::word::{Format, Word};

/// Steps of a scale in an octave.
pub(super) const STEPS: i32 = 4;
/// Mantissas of 2^(1/8), 2^(3/8), 2^(5/8) and 2^(7/8) as f32: from there on the next quarter octave is nearer.
const THRESHOLDS: [u32; 4] = [0x000b_95c2, 0x0025_fed7, 0x0045_672a, 0x006a_c0c7];
/// 2^(0 / 4) to 2^(3 / 4).
const ROOTS: [f32; 4] = [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_9];
const F32_BIAS: i32 = 127;

/// Scales of a piece, in quarter octaves above that of exponent field 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scales {
    pub(super) rows: Vec<i16>,
    /// Empty if the columns have none.
    pub(super) columns: Vec<i16>,
}

impl Scales {
    /// The scales of the values from `start` on.
    #[inline(always)]
    pub(super) fn fill(&self, view: View, start: usize, scales: &mut [i16]) {
        let (mut row, mut column, mut done) = (start / view.n_columns, start % view.n_columns, 0);
        while done < scales.len() {
            let n = (view.n_columns - column).min(scales.len() - done);
            let scale = self.rows[row];
            let part = &mut scales[done..done + n];
            if self.columns.is_empty() {
                part.fill(scale);
            } else {
                for (to, &of_column) in part.iter_mut().zip(&self.columns[column..column + n]) {
                    *to = scale.wrapping_add(of_column);
                }
            }
            done += n;
            (row, column) = (row + 1, 0);
        }
    }
}

/// What a look at a piece finds.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    /// The first element, if all are the same.
    pub(super) constant: Option<u64>,
    /// Lowest bits that are 0 in all values.
    pub(super) low_bits: u32,
    /// Values that are +0.0.
    pub(super) n_zeros: usize,
    pub(super) view: View,
    /// Those of the rows only if the columns have none.
    pub(super) scales: Scales,
    /// For each column that has a scale, its inverse.
    pub(super) weights: Vec<f32>,
}

/// The nearest quarter octave to a positive number.
#[inline(always)]
fn quarter_octaves(x: f32) -> i32 {
    let bits = x.to_bits();
    let mantissa = bits & 0x007f_ffff;
    let mut steps = STEPS * ((bits >> 23) as i32 - F32_BIAS);
    for threshold in THRESHOLDS {
        steps += i32::from(mantissa >= threshold);
    }
    steps
}

/// About 2^(-steps / 4).
#[inline(always)]
fn inverse(steps: i32) -> f32 {
    let steps = (-steps).clamp(-STEPS * 126, STEPS * 126);
    let root = ROOTS[steps.rem_euclid(STEPS) as usize];
    f32::from_bits(((steps.div_euclid(STEPS) + F32_BIAS) as u32) << 23) * root
}

/// What is added to a magnitude's quarter octaves for a scale.
fn bias(format: Format) -> i32 {
    STEPS * (F32_BIAS - format.magnitude_bias())
}

/// Looks at all values of a piece.
pub(super) struct Look<'a, W> {
    pub(super) format: Format,
    /// Whole elements.
    pub(super) bytes: &'a [u8],
    /// The view to take if scales of columns pay.
    pub(super) matrix: Option<View>,
    /// At least [`CHUNK`] words.
    pub(super) words: &'a mut [W],
}

/// Sums over a run of magnitudes.
#[derive(Clone, Copy)]
struct Sums<W> {
    magnitudes: [f32; LANES],
    n_nonzero: [u32; LANES],
    /// All bits that occur, and all in which values differ from the first.
    any: [W; LANES],
    differing: [W; LANES],
}

impl<W: Word> Sums<W> {
    #[inline(always)]
    fn new() -> Self {
        let (any, differing) = ([W::default(); LANES], [W::default(); LANES]);
        Self { magnitudes: [0.0; LANES], n_nonzero: [0; LANES], any, differing }
    }

    /// Adds values, the i-th of a group of [`LANES`] to lane i.
    #[inline(always)]
    fn add(&mut self, format: Format, words: &[W], first: W) {
        let (groups, rest) = words.as_chunks::<LANES>();
        for group in groups {
            self.add_group(format, group, first);
        }
        if !rest.is_empty() {
            // Zeros count nowhere but in `differing`.
            let mut group = [W::default(); LANES];
            group[..rest.len()].copy_from_slice(rest);
            let differing = self.differing;
            self.add_group(format, &group, first);
            self.differing = differing;
            for (differing, &word) in self.differing.iter_mut().zip(rest) {
                *differing = *differing | word ^ first;
            }
        }
    }

    #[inline(always)]
    fn add_group(&mut self, format: Format, group: &[W; LANES], first: W) {
        for (lane, &word) in group.iter().enumerate() {
            let magnitude = word.magnitude(format);
            self.magnitudes[lane] += magnitude;
            self.n_nonzero[lane] += u32::from(magnitude != 0.0);
            self.any[lane] = self.any[lane] | word;
            self.differing[lane] = self.differing[lane] | word ^ first;
        }
    }

    #[inline(always)]
    fn n_nonzero(&self) -> u32 {
        self.n_nonzero.iter().sum()
    }

    /// The mean of those that are not zero.
    #[inline(always)]
    fn mean(&self) -> Option<f32> {
        let n_nonzero = self.n_nonzero();
        (n_nonzero > 0).then(|| sum_lanes(self.magnitudes) / n_nonzero as f32)
    }
}

#[inline(always)]
fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

#[inline(always)]
fn or<W: Word>(lanes: [W; LANES]) -> W {
    let mut all = W::default();
    for lane in lanes {
        all = all | lane;
    }
    all
}

impl<W: Word + Into<u64>> Kernel for Look<'_, W> {
    type Output = Findings;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Findings {
        let Self { format, bytes, matrix, words } = self;
        let n_values = bytes.len() / format.n_bytes;
        let view = matrix.unwrap_or(View::flat(n_values));
        W::load(bytes, &mut words[..1]);
        let first = words[0];
        let n_columns = view.n_column_scales();
        let mut columns = Columns { sums: vec![0.0; n_columns], n_nonzero: vec![0; n_columns] };
        let mut n_full_rows = 0;
        let (mut any, mut differing, mut n_zeros) = (W::default(), W::default(), 0);
        let mut steps = Vec::with_capacity(view.n_rows());
        let mut last = 0;
        for row in bytes.chunks(view.n_columns * format.n_bytes) {
            let mut sums = Sums::new();
            for part in row.chunks(CHUNK * format.n_bytes) {
                let words = &mut words[..part.len() / format.n_bytes];
                W::load(part, words);
                sums.add(format, words, first);
            }
            let n_in_row = row.len() / format.n_bytes;
            let is_full = sums.n_nonzero() as usize == n_in_row;
            if !is_full {
                n_zeros += count_zeros(format, row, words);
            }
            any = any | or(sums.any);
            differing = differing | or(sums.differing);
            last = sums.mean().map_or(last, quarter_octaves);
            steps.push(last);
            if n_columns > 0 {
                n_full_rows += u32::from(is_full);
                columns.add(format, row, inverse(last), is_full, words);
            }
        }
        let low_bits = any.into().trailing_zeros().min(format.mantissa_bits);
        let constant = (differing == W::default()).then(|| first.into());
        let (scales, weights) = (Scales::default(), Vec::new());
        let mut findings = Findings { constant, low_bits, n_zeros, view, scales, weights };
        let bias = bias(format);
        if n_columns > 0 && constant.is_none() {
            let means = columns.sums.iter().zip(&columns.n_nonzero).map(|(&sum, &n)| (sum, n + n_full_rows));
            let columns: Vec<i32> =
                means.map(|(sum, n)| if n > 0 { quarter_octaves(sum / n as f32) } else { 0 }).collect();
            if pays(&steps, &columns) {
                findings.weights = columns.iter().map(|&steps| inverse(steps)).collect();
                findings.scales.columns = columns.iter().map(|&steps| steps as i16).collect();
                return findings;
            }
            // The same values once more, in rows of another length.
            return Look { format, bytes, matrix: None, words }.run_flat(findings, bias);
        }
        findings.scales.rows = steps.iter().map(|&steps| (steps + bias) as i16).collect();
        findings
    }
}

impl<W: Word> Look<'_, W> {
    #[inline(always)]
    fn run_flat(self, mut findings: Findings, bias: i32) -> Findings {
        let Self { format, bytes, words, .. } = self;
        findings.view = View::flat(bytes.len() / format.n_bytes);
        let mut last = 0;
        for row in bytes.chunks(findings.view.n_columns * format.n_bytes) {
            let words = &mut words[..row.len() / format.n_bytes];
            W::load(row, words);
            let mut sums = Sums::new();
            sums.add(format, words, W::default());
            last = sums.mean().map_or(last, quarter_octaves);
            findings.scales.rows.push((last + bias) as i16);
        }
        findings
    }
}

/// Sums over the rows of each column.
struct Columns {
    sums: Vec<f32>,
    /// Of the rows that have zeros.
    n_nonzero: Vec<u32>,
}

impl Columns {
    #[inline(always)]
    fn add<W: Word>(&mut self, format: Format, row: &[u8], weight: f32, is_full: bool, words: &mut [W]) {
        let parts = row.chunks(CHUNK * format.n_bytes);
        for ((part, sums), n) in parts.zip(self.sums.chunks_mut(CHUNK)).zip(self.n_nonzero.chunks_mut(CHUNK)) {
            let words = &mut words[..sums.len()];
            W::load(part, words);
            for (word, sum) in words.iter().zip(sums) {
                *sum += word.magnitude(format) * weight;
            }
            if !is_full {
                for (word, n) in words.iter().zip(n) {
                    *n += u32::from(word.magnitude(format) != 0.0);
                }
            }
        }
    }
}

/// Infinities and NaNs, of which no magnitude is known, are none.
#[inline(always)]
fn count_zeros<W: Word>(format: Format, row: &[u8], words: &mut [W]) -> usize {
    let mut n_zeros = 0;
    for part in row.chunks(CHUNK * format.n_bytes) {
        let words = &mut words[..part.len() / format.n_bytes];
        W::load(part, words);
        for &word in words.iter() {
            n_zeros += usize::from(word == W::default());
        }
    }
    n_zeros
}

/// The scale of a row: the mean magnitude of its values that are not zero, each times its column's weight.
#[inline(always)]
pub(super) fn weighted_scale<W: Word>(format: Format, row: &[u8], weights: &[f32], words: &mut [W]) -> Option<i16> {
    let mut sums = [0f32; LANES];
    let mut n_nonzero = [0u32; LANES];
    for (part, weights) in row.chunks(CHUNK * format.n_bytes).zip(weights.chunks(CHUNK)) {
        let words = &mut words[..weights.len()];
        W::load(part, words);
        let (groups, rest) = words.as_chunks::<LANES>();
        let (of_groups, of_rest) = weights.as_chunks::<LANES>();
        for (group, weights) in groups.iter().zip(of_groups) {
            for lane in 0..LANES {
                let magnitude = group[lane].magnitude(format);
                sums[lane] += magnitude * weights[lane];
                n_nonzero[lane] += u32::from(magnitude != 0.0);
            }
        }
        for (lane, (&word, &weight)) in rest.iter().zip(of_rest).enumerate() {
            let magnitude = word.magnitude(format);
            sums[lane] += magnitude * weight;
            n_nonzero[lane] += u32::from(magnitude != 0.0);
        }
    }
    let n_nonzero: u32 = n_nonzero.iter().sum();
    (n_nonzero > 0).then(|| (quarter_octaves(sum_lanes(sums) / n_nonzero as f32) + bias(format)) as i16)
}

/// Whether a matrix's scales are worth their bits. A scale that is off by d quarter octaves costs each of its values about
/// d^2 / 23 bits; a scale takes about three.
fn pays(rows: &[i32], columns: &[i32]) -> bool {
    let square = |x: i32| i64::from(x) * i64::from(x);
    let of_columns: i64 = columns.iter().map(|&steps| square(steps)).sum();
    // Half of the differences' variance: rows that merely drift have it from rows of another length as well.
    let of_rows: i64 = rows.windows(2).map(|pair| square(pair[1] - pair[0])).sum::<i64>() / 2;
    let gain = of_columns * rows.len() as i64 + of_rows * columns.len() as i64;
    gain > 64 * (rows.len() + columns.len()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_quarter_octave() {
        for steps in -400..400 {
            let exact = (f64::from(steps) / 4.0).exp2();
            assert_eq!(quarter_octaves(exact as f32), steps);
            assert_eq!(quarter_octaves((exact * (0.124f64).exp2()) as f32), steps);
            assert_eq!(quarter_octaves((exact * (0.126f64).exp2()) as f32), steps + 1);
            assert!((f64::from(inverse(steps)) * exact - 1.0).abs() < 1e-6);
        }
        assert!(inverse(i32::from(i16::MAX)) > 0.0 && inverse(-4 * 1074).is_finite());
    }
}
