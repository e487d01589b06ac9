//! The encoder's search for a matrix's factors. Its arithmetic has one result everywhere, so that files have, too.

use lmgc_kernels::{Kernel, Kernels, LANES, Simd, ln_f64, log2 as log2_of_lanes};
use rayon::prelude::*;

use super::covariance::{Grouped, Precision, covariance};
use super::factor::{
    Factors, Filter, MAX_RANK, add_steps, entry_step, entry_steps, estimated_bits, scale, scale_steps,
};
use super::linear_algebra::{Leading, leading_eigen};
use super::scales::{ScaleModel, abs};
use super::view::View;

/// How hard to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    /// Most factors.
    pub(super) max_rank: usize,
    /// Rounds of fitting factors, and the samples' scales to what they leave.
    pub(super) n_rounds: usize,
}

/// Fewer coordinates get no scales of their samples.
const MIN_COORDINATES_FOR_SCALES: usize = 8;
/// Factors that are looked for at first.
const FIRST_RANK: usize = 48;
/// Rounds of orthogonal iteration, from nothing and from what was found before.
const N_ITERATIONS: usize = 4;
const N_MORE_ITERATIONS: usize = 2;
/// Least noise of a coordinate, as a part of all coordinates' noise.
const MIN_NOISE: f64 = 0.25;
/// Groups of samples that one task filters.
const GROUPS_A_TASK: usize = 16;
/// About as many values of a matrix are enough to judge factors by.
const JUDGED_VALUES: usize = 1 << 18;
/// Larger deviations than this many are outliers, which must not move an estimate further.
pub(super) const MAX_DEVIATIONS: f32 = 6.0;
/// Degrees of freedom of the t distribution that says how much a deviation tells of a sample's scale: outliers less.
const FREEDOM: f32 = 4.0;
/// A fit is judged by the entropy of deviations within ± this, in bins; beyond, a doubling costs a bit.
const MAX_JUDGED: f32 = 8.0;
const BINS_PER_DEVIATION: f32 = 8.0;
const N_JUDGED_BINS: usize = (2.0 * MAX_JUDGED * BINS_PER_DEVIATION) as usize;
/// Noise of a smaller standard deviation than this, in units of the whole's, is too small for sums in f32.
const MIN_SINGLE_NOISE: f64 = 0.001;
/// White values are within ± this.
const MAX_WHITE: f32 = 1e9;

fn log2(x: f64) -> f64 {
    ln_f64(x) / core::f64::consts::LN_2
}

/// The factors of `x`, a finite number for each element, and about what coding with them costs, in bits, but for a constant.
///
/// Where few factors make up a matrix, the samples' scales are the factors' own, and dividing by them hides the factors.
/// So both are tried: samples without scales, and with those of their values; and then, on the better one, scales of what
/// the factors leave.
pub(super) fn fit(kernels: Kernels, x: &[f32], view: View, effort: Effort) -> (Factors, f64) {
    let mut n_present = (vec![0u32; view.n_coordinates], vec![0u32; view.n_samples]);
    for_each(view, |i, j, at| {
        n_present.0[i] += u32::from(x[at] != 0.0);
        n_present.1[j] += u32::from(x[at] != 0.0);
    });
    let mut search = Search {
        kernels,
        x,
        view,
        effort,
        n_present,
        white: Grouped::default(),
        precision: Precision::Single,
        leading: Leading::default(),
    };
    let plain = Factors { row_scales: roots(x, view, Side::Coordinates, &[]), ..Default::default() };
    if view.n_coordinates < MIN_COORDINATES_FOR_SCALES {
        let best = search.best_of([plain]);
        return (best.factors, best.cost_bits);
    }
    let column_scales = roots(x, view, Side::Samples, &plain.row_scales);
    let row_scales = roots(x, view, Side::Coordinates, &column_scales);
    let mut best = search.best_of([plain, Factors { row_scales, column_scales, ..Default::default() }]);
    for _ in 0..effort.n_rounds {
        if best.factors.rank == 0 {
            break;
        }
        let scales = search.rescaled(&best.factors);
        match search.fit(&scales, effort.max_rank, 2) {
            Some(next) if next.cost_bits < best.cost_bits => best = next,
            _ => break,
        }
    }
    (best.factors, best.cost_bits)
}

/// Calls `f` with coordinate, sample and element, in memory order.
fn for_each(view: View, mut f: impl FnMut(usize, usize, usize)) {
    if view.sample_stride == 1 {
        for i in 0..view.n_coordinates {
            for j in 0..view.n_samples {
                f(i, j, view.at(i, j));
            }
        }
    } else {
        for j in 0..view.n_samples {
            for i in 0..view.n_coordinates {
                f(i, j, view.at(i, j));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Coordinates,
    Samples,
}

/// Reciprocals of scales; ones if there are none.
fn reciprocals(steps: &[i32], n: usize) -> Vec<f32> {
    if steps.is_empty() { vec![1.0; n] } else { steps.iter().map(|&steps| 1.0 / scale(steps)).collect() }
}

/// Scales of one side: root mean squares of the values that are not zero, without the `others`' scales.
fn roots(x: &[f32], view: View, side: Side, others: &[i32]) -> Vec<i32> {
    let n = if side == Side::Coordinates { view.n_coordinates } else { view.n_samples };
    let inverse = reciprocals(others, view.n_elements() / n.max(1));
    let mut sums = vec![(0.0f64, 0u32); n];
    for_each(view, |i, j, at| {
        let (to, other) = if side == Side::Coordinates { (i, j) } else { (j, i) };
        let value = f64::from(x[at]) * f64::from(inverse[other]);
        sums[to].0 += value * value;
        sums[to].1 += u32::from(x[at] != 0.0);
    });
    let root = |&(sum, n): &(f64, u32)| if n == 0 { 1.0 } else { (sum / f64::from(n)).sqrt().max(1e-60) };
    sums.iter().map(|sums| scale_steps(root(sums))).collect()
}

/// A fit and about what coding with it comes to.
struct Fit {
    factors: Factors,
    cost_bits: f64,
}

/// Factors of a white matrix.
struct Found {
    factors: Factors,
    /// Standard deviation of what they leave, where the whole has 1.
    noise: f64,
}

/// What all fits of a matrix share.
struct Search<'a> {
    kernels: Kernels,
    x: &'a [f32],
    view: View,
    effort: Effort,
    /// How many values of a coordinate, and of a sample, are not zero.
    n_present: (Vec<u32>, Vec<u32>),
    /// The matrix without its scales.
    white: Grouped,
    precision: Precision,
    /// The directions that were found last: those of other scales are not far.
    leading: Leading,
}

impl Search<'_> {
    /// The best of fits with some scales, with and without factors.
    fn best_of<const N: usize>(&mut self, scales: [Factors; N]) -> Fit {
        let mut best: Option<Fit> = None;
        for scales in scales {
            // Half of the factors say which scales are better, in less than half of the time.
            let with_factors = self.fit(&scales, self.effort.max_rank.div_ceil(2), 1);
            let without = self.judge(scales.clone(), &scales.row_scales);
            for fit in [Some(without), with_factors].into_iter().flatten() {
                if best.as_ref().is_none_or(|best| fit.cost_bits < best.cost_bits) {
                    best = Some(fit);
                }
            }
        }
        best.unwrap_or(Fit { factors: Factors::default(), cost_bits: f64::INFINITY })
    }

    /// The best factors for these scales, if any pay; the coordinates' scales become those of what the factors leave.
    fn fit(&mut self, scales: &Factors, max_rank: usize, n_rounds: usize) -> Option<Fit> {
        self.whiten(scales);
        if self.view.n_coordinates < 2 {
            return None;
        }
        let mut sums = covariance(self.kernels, &self.white, self.precision);
        let mut noise_steps = vec![0; self.view.n_coordinates];
        let mut round = 0;
        loop {
            let Found { factors, noise } = self.factorise(scales, &sums, max_rank, &mut noise_steps)?;
            if self.precision == Precision::Single && noise < MIN_SINGLE_NOISE {
                self.precision = Precision::Double;
                sums = covariance(self.kernels, &self.white, self.precision);
                noise_steps.fill(0);
                round = 0;
                continue;
            }
            round += 1;
            if round == n_rounds {
                return Some(self.judge(factors, &scales.row_scales));
            }
        }
    }

    /// Takes away scales.
    fn whiten(&mut self, scales: &Factors) {
        let view = self.view;
        let rows = reciprocals(&scales.row_scales, view.n_coordinates);
        let columns = reciprocals(&scales.column_scales, view.n_samples);
        let memory = core::mem::take(&mut self.white.data);
        let mut white = Grouped::zeros(view.n_coordinates, view.n_samples.div_ceil(LANES), memory);
        let n_padded = white.n_padded;
        for (group, vectors) in white.data.chunks_exact_mut(n_padded.max(1)).enumerate() {
            let first = group * LANES;
            let columns = &columns[first..(first + LANES).min(view.n_samples)];
            for (i, (vector, &row)) in vectors.iter_mut().zip(&rows).enumerate() {
                for (t, (white, &column)) in vector.iter_mut().zip(columns).enumerate() {
                    *white = (self.x[view.at(i, first + t)] * row * column).clamp(-MAX_WHITE, MAX_WHITE);
                }
            }
        }
        self.white = white;
    }

    /// Factors of the white matrix, as many as pay; `None` if none does. `noise_steps`, the scales of the coordinates' noise that
    /// they are found with, become those of what they leave.
    ///
    /// Coordinates whose noise is great count less: factors and the noise's scales are found in turn, as in factor analysis
    /// (Lawley, 1940), all from the covariance of the coordinates.
    fn factorise(
        &mut self,
        scales: &Factors,
        covariance: &[f64],
        max_rank: usize,
        noise_steps: &mut [i32],
    ) -> Option<Found> {
        let (c, n_samples) = (self.view.n_coordinates, self.view.n_samples as f64);
        let cap = max_rank.min(MAX_RANK).min(c - 1);
        let inverse: Vec<f64> = noise_steps.iter().map(|&steps| 1.0 / f64::from(scale(steps))).collect();
        let mut scaled = covariance.to_vec();
        for (row, a) in scaled.chunks_exact_mut(c).zip(&inverse) {
            row.iter_mut().zip(&inverse).for_each(|(x, b)| *x *= a * b);
        }
        let energy: f64 = (0..c).map(|i| scaled[i * c + i]).sum();
        if energy <= 0.0 {
            return None;
        }
        let mut n_sought = self.leading.values.len().max(FIRST_RANK).min(cap);
        let (deviations, rank, noise) = loop {
            let is_new = self.leading.values.len() < n_sought;
            let n_iterations = if is_new { N_ITERATIONS } else { N_MORE_ITERATIONS };
            self.leading = leading_eigen(self.kernels, &scaled, c, n_sought, n_iterations, &self.leading);
            let deviations: Vec<f64> = self.leading.values.iter().map(|value| value.max(0.0).sqrt()).collect();
            let (rank, noise) = best_rank(&deviations[..n_sought], energy, self.view);
            if rank * 5 <= n_sought * 4 || n_sought == cap {
                break (deviations, rank, noise);
            }
            n_sought = (4 * n_sought).min(cap);
        };
        let leading = &self.leading;
        if rank == 0 {
            return None;
        }
        let all_steps = scale_steps(noise);
        let step = entry_step(self.view.n_samples);
        let unit = f64::from(scale(all_steps)) * n_samples.sqrt();
        let n_found = leading.values.len();
        let mut entries = Vec::with_capacity(c * rank);
        for i in 0..c {
            let row = leading.vectors[i * n_found..i * n_found + rank].iter().zip(&deviations);
            entries.extend(row.map(|(&u, s)| entry_steps(u * s / unit, step)));
        }
        let row_scales = scales.row_scales.iter().zip(noise_steps.iter());
        let row_scales = row_scales.map(|(&steps, &noise)| add_steps(steps, add_steps(noise, all_steps))).collect();
        let factors = Factors { row_scales, column_scales: scales.column_scales.clone(), rank, entries };

        // Half of the way, and never to nothing: what factors leave of a coordinate is found too small where they fit it best.
        let floor = MIN_NOISE * noise;
        for (i, steps) in noise_steps.iter_mut().enumerate() {
            let row = &leading.vectors[i * n_found..i * n_found + rank];
            let common: f64 = row.iter().zip(&leading.values).map(|(u, value)| u * u * value).sum();
            if scaled[i * c + i] > 0.0 {
                let left = ((scaled[i * c + i] - common) / n_samples).max(floor * floor).sqrt();
                *steps = add_steps(*steps, scale_steps((left * noise).sqrt()));
            }
        }
        Some(Found { factors, noise })
    }

    /// What coding with factors comes to, by a part of a large matrix; it is white but for `row_scales`.
    fn judge(&self, factors: Factors, row_scales: &[i32]) -> Fit {
        let view = self.view;
        let filter = Filter::new(self.kernels, &factors, view.n_coordinates, view.n_samples);
        let n_tasks = view.n_samples.div_ceil(LANES * GROUPS_A_TASK);
        let step = (view.n_elements() / JUDGED_VALUES).clamp(1, n_tasks.max(1));
        let sums = self.run(&filter, &factors, row_scales, step);
        let n_judged: usize = sums.iter().map(|sums| sums.columns.len()).sum();
        let mut counts = [0u32; N_JUDGED_BINS];
        for sums in &sums {
            counts.iter_mut().zip(&sums.deviations_in).for_each(|(to, n)| *to += n);
        }
        let bits = sums.iter().map(|sums| sums.bits).sum::<f64>() + entropy_bits(&counts);
        let mut cost_bits = estimated_bits(&factors) + bits * view.n_samples as f64 / n_judged.max(1) as f64;
        for ((&steps, &deviation), &n) in factors.row_scales.iter().zip(&filter.deviations).zip(&self.n_present.0) {
            cost_bits += (f64::from(steps) / 4.0 + log2(f64::from(deviation))) * f64::from(n);
        }
        let pairs = factors.column_scales.iter().zip(&self.n_present.1);
        cost_bits += pairs.map(|(&steps, &n)| f64::from(steps) / 4.0 * f64::from(n)).sum::<f64>();
        Fit { factors, cost_bits }
    }

    /// Scales where the samples' deviations from what factors say are 1, without the factors.
    fn rescaled(&mut self, factors: &Factors) -> Factors {
        self.whiten(factors);
        let filter = Filter::new(self.kernels, factors, self.view.n_coordinates, self.view.n_samples);
        let mut column_scales = factors.column_scales.clone();
        column_scales.resize(self.view.n_samples, 0);
        let sums = self.run(&filter, factors, &factors.row_scales, 1);
        for (steps, &(sum, n)) in column_scales.iter_mut().zip(sums.iter().flat_map(|sums| &sums.columns)) {
            let mean = (sum + 1.0) / (f64::from(n) + 1.0);
            *steps = add_steps(*steps, if n == 0 { 0 } else { scale_steps(mean.sqrt().max(1e-3)) });
        }
        Factors { row_scales: factors.row_scales.clone(), column_scales, ..Default::default() }
    }

    /// Filters every `step`th run of groups.
    fn run(&self, filter: &Filter, factors: &Factors, row_scales: &[i32], step: usize) -> Vec<Sums> {
        let pairs = row_scales.iter().zip(&factors.row_scales);
        let units: Vec<f32> = pairs.map(|(&before, &now)| scale(add_steps(before, -now))).collect();
        let n_groups = self.view.n_samples.div_ceil(LANES);
        (0..n_groups.div_ceil(GROUPS_A_TASK * step))
            .into_par_iter()
            .map(|task| {
                let first = task * step * GROUPS_A_TASK;
                let groups = first..(first + GROUPS_A_TASK).min(n_groups);
                self.kernels.run(FilterGroups { white: &self.white, units: &units, view: self.view, filter, groups })
            })
            .collect()
    }
}

/// The entropy of so many values in bins.
fn entropy_bits(counts: &[u32]) -> f64 {
    let n: u32 = counts.iter().sum();
    let bits = |&count: &u32| if count == 0 { 0.0 } else { f64::from(count) * log2(f64::from(n) / f64::from(count)) };
    counts.iter().map(bits).sum()
}

/// What some groups come to.
struct Sums {
    /// The scales' part of the cost.
    bits: f64,
    /// Values that are not zero by their deviations.
    deviations_in: [u32; N_JUDGED_BINS],
    /// Sums of the samples' influences, which are 1 on average where the scales are right, and their number.
    columns: Vec<(f64, u32)>,
}

/// How many factors pay, and the standard deviation of what they leave.
///
/// The data's cost is that of Tipping and Bishop's evidence (1999) for factors with these singular values; each entry of `u`
/// costs its entropy at the best step, and what its rounding adds.
fn best_rank(singular_values: &[f64], energy: f64, view: View) -> (usize, f64) {
    const ROUNDING_BITS: f64 = 0.72;
    let (rows, columns) = (view.n_coordinates as f64, view.n_samples as f64);
    let noise_of = |left: f64, rank: f64| left.max(1e-9 * energy) / (columns * (rows - rank));
    let noise = noise_of(energy, 0.0);
    let mut best = (rows * columns / 2.0 * log2(noise), 0, noise);
    let (mut left, mut sum_log2, mut sum_log2_entries) = (energy, 0.0, 0.0);
    for (at, &s) in singular_values.iter().enumerate() {
        let rank = at as f64 + 1.0;
        if s * s <= 1e-12 * energy || rank > rows - 1.0 {
            break;
        }
        left -= s * s;
        let noise = noise_of(left, rank);
        sum_log2 += log2(s * s / columns);
        // Entropy of a normal entry of deviation s / sqrt(rows * columns) in steps of sqrt(12 noise / columns).
        sum_log2_entries += log2(4.13 * s / (12.0 * rows).sqrt());
        let side = rows * (sum_log2_entries - rank * 0.5 * log2(noise)).max(0.0) + ROUNDING_BITS * rows * rank;
        let cost = columns / 2.0 * (sum_log2 + (rows - rank) * log2(noise)) + side;
        if cost < best.0 {
            best = (cost, at + 1, noise);
        }
    }
    (best.1, best.2.sqrt())
}

struct FilterGroups<'a> {
    white: &'a Grouped,
    /// What the white rows count for in units of the filter's.
    units: &'a [f32],
    view: View,
    filter: &'a Filter,
    groups: std::ops::Range<usize>,
}

impl Kernel for FilterGroups<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Sums {
        let Self { white, units, view, filter, groups } = self;
        let mut columns = Vec::new();
        let mut estimates = vec![[0.0; LANES]; filter.rank];
        let mut scale_model = ScaleModel::new(view.n_coordinates);
        let mut cost_bits = 0.0;
        let mut deviations_in = [0; N_JUDGED_BINS];
        let floor = simd.splat(1e-30);
        for group in groups {
            let n = LANES.min(view.n_samples - group * LANES);
            estimates.fill([0.0; LANES]);
            scale_model.next_group();
            // By sample, over its coordinates: influences, counts and costs.
            let mut sums = [simd.zero(); 3];
            for (i, vector) in white.group(group)[..view.n_coordinates].iter().enumerate() {
                let x = simd.mul(simd.load(vector), simd.splat(units[i]));
                let mean = predict(simd, filter, i, &estimates);
                let innovation = simd.sub(x, mean);
                correct(simd, filter, i, innovation, &mut estimates);
                let deviations = simd.mul(innovation, simd.splat(1.0 / filter.deviations[i]));
                let scales = scale_model.predict(simd, i, None);
                let mut stored = [0.0; LANES];
                simd.store(deviations, &mut stored);
                scale_model.learn(simd, i, n, &stored, vector, &scales);
                let mut present = [0.0; LANES];
                for t in 0..n {
                    present[t] = if vector[t] == 0.0 { 0.0 } else { 1.0 };
                }
                let present = simd.load(&present);
                let squares = simd.mul(deviations, deviations);
                let weight = simd.div(simd.splat(FREEDOM + 1.0), simd.add(squares, simd.splat(FREEDOM)));
                let influence = simd.mul(simd.mul(squares, weight), present);
                let modelled = simd.load(&scales.deviations);
                let relative = simd.div(deviations, modelled);
                let far = simd.mul(abs(simd, relative), simd.splat(1.0 / MAX_JUDGED));
                let cost = simd.add(
                    log2_of_lanes(simd, simd.max(far, simd.splat(1.0))),
                    log2_of_lanes(simd, simd.max(modelled, floor)),
                );
                for (sum, more) in sums.iter_mut().zip([influence, present, simd.mul(cost, present)]) {
                    *sum = simd.add(*sum, more);
                }
                simd.store(relative, &mut stored);
                for t in 0..n {
                    let bin = (stored[t] + MAX_JUDGED) * BINS_PER_DEVIATION;
                    deviations_in[bin.clamp(0.0, N_JUDGED_BINS as f32 - 1.0) as usize] += u32::from(vector[t] != 0.0);
                }
            }
            cost_bits += f64::from(simd.sum_lanes(sums[2]));
            let (mut influences, mut counts) = ([0.0; LANES], [0.0; LANES]);
            simd.store(sums[0], &mut influences);
            simd.store(sums[1], &mut counts);
            for t in 0..n {
                columns.push((f64::from(influences[t]), counts[t] as u32));
            }
        }
        Sums { bits: cost_bits, columns, deviations_in }
    }
}

/// Coordinate `i` of 16 samples as the estimates of their `v` have it, unscaled: four chains of fused multiply-adds over the
/// factors, added as (0 + 1) + (2 + 3).
#[inline(always)]
pub(super) fn predict<S: Simd>(simd: S, filter: &Filter, i: usize, estimates: &[[f32; LANES]]) -> S::F {
    let u = &filter.u[i * filter.rank..(i + 1) * filter.rank];
    let mut sums = [simd.zero(); 4];
    let mut blocks = u.chunks_exact(4).zip(estimates.chunks_exact(4));
    for (u, v) in &mut blocks {
        for c in 0..4 {
            sums[c] = simd.fma(simd.splat(u[c]), simd.load(&v[c]), sums[c]);
        }
    }
    let whole = u.len() / 4 * 4;
    for (&u, v) in u[whole..].iter().zip(&estimates[whole..]) {
        sums[0] = simd.fma(simd.splat(u), simd.load(v), sums[0]);
    }
    simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]))
}

/// Corrects the estimates by what coordinate `i` turned out to be, less [`predict`]; outliers count less.
#[inline(always)]
pub(super) fn correct<S: Simd>(simd: S, filter: &Filter, i: usize, innovation: S::F, estimates: &mut [[f32; LANES]]) {
    let most = MAX_DEVIATIONS * filter.deviations[i];
    let innovation = simd.min(simd.max(innovation, simd.splat(-most)), simd.splat(most));
    for (&gain, v) in filter.gains[i * filter.rank..(i + 1) * filter.rank].iter().zip(estimates) {
        simd.store(simd.fma(simd.splat(gain), innovation, simd.load(v)), v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rank` factors and noise of deviation 2^-6.
    fn matrix(view: View, rank: usize) -> Vec<f32> {
        let mut state = 5u64;
        let mut normal = || {
            let mut sum = 0.0;
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 40) as f32 / (1 << 24) as f32;
            }
            sum - 6.0
        };
        let u: Vec<f32> = (0..view.n_coordinates * rank).map(|_| normal()).collect();
        let v: Vec<f32> = (0..view.n_samples * rank).map(|_| normal()).collect();
        let mut x = vec![0.0; view.n_elements()];
        for i in 0..view.n_coordinates {
            for j in 0..view.n_samples {
                let mean: f32 = (0..rank).map(|q| u[i * rank + q] * v[j * rank + q]).sum();
                x[view.at(i, j)] = mean + normal() / 64.0;
            }
        }
        x
    }

    const EFFORT: Effort = Effort { max_rank: 96, n_rounds: 1 };

    #[test]
    fn factors_are_found_whichever_way_the_matrix_lies() {
        let wide = View { n_coordinates: 40, n_samples: 100, coordinate_stride: 100, sample_stride: 1, n_taps: 1 };
        let tall = View { coordinate_stride: 1, sample_stride: 40, ..wide };
        for view in [wide, tall] {
            let x = matrix(view, 3);
            let factors = fit(Kernels::detect(), &x, view, EFFORT).0;
            assert!((3..12).contains(&factors.rank), "{}", factors.rank);
            for kernels in Kernels::available() {
                assert_eq!(fit(kernels, &x, view, EFFORT).0, factors, "{:?}", kernels.isa());
            }
        }
    }

    #[test]
    fn noise_has_no_factors_and_nothing_breaks_the_search() {
        let view = View { n_coordinates: 20, n_samples: 50, coordinate_stride: 50, sample_stride: 1, n_taps: 1 };
        assert_eq!(fit(Kernels::detect(), &matrix(view, 0), view, EFFORT).0.rank, 0);
        for value in [0.0, 1.0, -1e30, 1e-40, f32::MAX] {
            fit(Kernels::detect(), &vec![value; 1000], view, EFFORT);
            let mut x = matrix(view, 2);
            x[123] = value;
            fit(Kernels::detect(), &x, view, EFFORT);
        }
    }
}
