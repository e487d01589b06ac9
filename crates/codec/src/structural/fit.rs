//! The encoder's search for a matrix's factors. Its arithmetic has one result everywhere, so that files have, too.

use lmgc_kernels::{Kernel, Kernels, LANES, Simd, ln_f64, log2 as log2_of_lanes};
use rayon::prelude::*;

use super::factor::{FactorCode, Factors, Filter, MAX_RANK, add_steps, entry_step, entry_steps, scale, scale_steps};
use super::linear_algebra::{Strided, Tall, gram, orthonormalise, product, symmetric_eigen};
use super::view::View;

/// How hard to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    /// Most factors.
    pub(super) max_rank: usize,
    /// Rounds of fitting factors and scales in turn.
    pub(super) n_rounds: usize,
}

/// Fewer coordinates get no scales of their samples.
const MIN_COORDINATES_FOR_SCALES: usize = 8;
/// Factors that are looked for at first.
const FIRST_RANK: usize = 48;
/// Groups of samples that one task filters.
const GROUPS_A_TASK: usize = 16;
/// Larger deviations than this many are outliers, which must not move an estimate further.
pub(super) const MAX_DEVIATIONS: f32 = 6.0;
/// Degrees of freedom of the t distribution by which a fit is judged: outliers are dear, but not without bounds.
const FREEDOM: f32 = 4.0;

fn log2(x: f64) -> f64 {
    ln_f64(x) / core::f64::consts::LN_2
}

/// The factors of `x`, a finite number for each element, and about what coding with them costs, in bits, but for a constant.
pub(super) fn fit(kernels: Kernels, x: &[f32], view: View, effort: Effort) -> (Factors, f64) {
    let (row_scales, column_scales) = scales(x, view);
    let mut factors = Factors { row_scales, column_scales, ..Default::default() };
    let mut white = Vec::new();
    let mut best = None;
    let n_rounds = if view.n_coordinates == 1 { 0 } else { effort.n_rounds };
    for round in 0..=n_rounds {
        whiten(x, view, &factors, &mut white);
        if round > 0 {
            let Some(found) = factorise(kernels, &white, view, &factors, effort.max_rank) else { break };
            factors = found;
            // The rows' scales have taken on the noise's.
            whiten(x, view, &factors, &mut white);
        }
        let fitness = filter_all(kernels, &white, view, &factors);
        let cost = fitness.cost_bits + FactorCode::cost_bits(&factors);
        let is_better = best.as_ref().is_none_or(|(best_cost, _)| cost < *best_cost);
        if is_better {
            best = Some((cost, factors.clone()));
        } else if round > 1 {
            break;
        }
        if round > 0 {
            fitness.rescale(&mut factors);
        }
    }
    best.map_or((factors, f64::INFINITY), |(cost, factors)| (factors, cost))
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

/// Root mean squares of the rows' and columns' values that are not zero, each without the other's influence.
fn scales(x: &[f32], view: View) -> (Vec<i32>, Vec<i32>) {
    let has_columns = view.n_coordinates >= MIN_COORDINATES_FOR_SCALES;
    let mut rows = vec![1.0f64; view.n_coordinates];
    let mut columns = vec![1.0f64; view.n_samples];
    let root = |sums: &[(f64, u32)]| -> Vec<f64> {
        sums.iter().map(|&(sum, n)| if n == 0 { 1.0 } else { (sum / f64::from(n)).sqrt().max(1e-60) }).collect()
    };
    for _ in 0..if has_columns { 2 } else { 1 } {
        let inverse: Vec<f64> = columns.iter().map(|column| 1.0 / column).collect();
        let mut sums = vec![(0.0, 0u32); view.n_coordinates];
        for_each(view, |i, j, at| {
            if x[at] != 0.0 {
                let value = f64::from(x[at]) * inverse[j];
                sums[i].0 += value * value;
                sums[i].1 += 1;
            }
        });
        rows = root(&sums);
        if has_columns {
            let inverse: Vec<f64> = rows.iter().map(|row| 1.0 / row).collect();
            let mut sums = vec![(0.0, 0u32); view.n_samples];
            for_each(view, |i, j, at| {
                if x[at] != 0.0 {
                    let value = f64::from(x[at]) * inverse[i];
                    sums[j].0 += value * value;
                    sums[j].1 += 1;
                }
            });
            columns = root(&sums);
        }
    }
    let steps = |scales: &[f64]| scales.iter().map(|&scale| scale_steps(scale)).collect();
    (steps(&rows), if has_columns { steps(&columns) } else { Vec::new() })
}

/// `x` without its scales.
fn whiten(x: &[f32], view: View, factors: &Factors, white: &mut Vec<f32>) {
    const MAX: f32 = 1e9;
    let inverse = |steps: &[i32], n| -> Vec<f32> {
        if steps.is_empty() { vec![1.0; n] } else { steps.iter().map(|&steps| 1.0 / scale(steps)).collect() }
    };
    let rows = inverse(&factors.row_scales, view.n_coordinates);
    let columns = inverse(&factors.column_scales, view.n_samples);
    white.resize(x.len(), 0.0);
    for_each(view, |i, j, at| white[at] = (x[at] * rows[i] * columns[j]).clamp(-MAX, MAX));
}

/// Factors of the whitened matrix by orthogonal iteration from a fixed start (Halko, Martinsson and Tropp, 2011), as many as
/// pay; `None` if none does.
fn factorise(kernels: Kernels, white: &[f32], view: View, scaled: &Factors, max_rank: usize) -> Option<Factors> {
    let cap = max_rank.min(MAX_RANK).min(view.n_coordinates - 1);
    let energy: f64 = white.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if cap == 0 || energy <= 0.0 {
        return None;
    }
    let mut n_sought = FIRST_RANK.min(cap);
    loop {
        let (directions, deviations) = principal_directions(kernels, white, view, n_sought);
        let (rank, noise) = best_rank(&deviations[..n_sought], energy, view);
        if rank == 0 {
            return None;
        }
        if rank * 5 > n_sought * 4 && n_sought < cap {
            n_sought = (2 * n_sought).min(cap);
            continue;
        }
        let noise_steps = scale_steps(noise);
        let step = entry_step(view.n_samples);
        let unit = f64::from(scale(noise_steps)) * (view.n_samples as f64).sqrt();
        let mut entries = Vec::with_capacity(view.n_coordinates * rank);
        for i in 0..view.n_coordinates {
            let row = directions.row(i)[..rank].iter().zip(&deviations);
            entries.extend(row.map(|(&u, s)| entry_steps(f64::from(u) * s / unit, step)));
        }
        let row_scales = scaled.row_scales.iter().map(|&steps| add_steps(steps, noise_steps)).collect();
        return Some(Factors { row_scales, column_scales: scaled.column_scales.clone(), rank, entries });
    }
}

/// Left singular vectors, as columns, and singular values, descending.
fn principal_directions(kernels: Kernels, white: &[f32], view: View, n: usize) -> (Tall, Vec<f64>) {
    const N_ITERATIONS: usize = 2;
    let forward = Strided { data: white, row: view.coordinate_stride, col: view.sample_stride };
    let back = Strided { data: white, row: view.sample_stride, col: view.coordinate_stride };
    let mut start = Tall::zeros(view.n_samples, n.div_ceil(LANES));
    // Knuth's MMIX generator; uniform in [-1, 1).
    let mut state = 1u64;
    for value in start.data.as_flattened_mut() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *value = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
    }
    let mut basis = orthonormalise(kernels, product(kernels, forward, view.n_coordinates, &start));
    for _ in 1..N_ITERATIONS {
        let images = orthonormalise(kernels, product(kernels, back, view.n_samples, &basis));
        basis = orthonormalise(kernels, product(kernels, forward, view.n_coordinates, &images));
    }
    let images = product(kernels, back, view.n_samples, &basis);
    let k = basis.n_cols();
    let (values, vectors) = symmetric_eigen(gram(kernels, &images), k);
    let mut rotation = Tall::zeros(k, basis.n_vectors);
    for (to, &from) in rotation.data.as_flattened_mut().iter_mut().zip(&vectors) {
        *to = from as f32;
    }
    let flat = Strided { data: basis.data.as_flattened(), row: k, col: 1 };
    let directions = product(kernels, flat, view.n_coordinates, &rotation);
    (directions, values.iter().map(|value| value.max(0.0).sqrt()).collect())
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

/// What coding with some factors would come to.
struct Fitness {
    cost_bits: f64,
    /// Sums of the deviations' influences, which are 1 on average where the scales are right, and their number, by coordinate and
    /// by sample.
    rows: Vec<(f64, u32)>,
    columns: Vec<(f64, u32)>,
}

impl Fitness {
    /// Moves the scales to where the deviations are 1.
    fn rescale(&self, factors: &mut Factors) {
        let correction = |&(sum, n): &(f64, u32)| {
            let mean = (sum + 1.0) / (f64::from(n) + 1.0);
            if n == 0 { 0 } else { scale_steps(mean.sqrt().max(1e-3)) }
        };
        for (steps, sums) in factors.row_scales.iter_mut().zip(&self.rows) {
            *steps = add_steps(*steps, correction(sums));
        }
        for (steps, sums) in factors.column_scales.iter_mut().zip(&self.columns) {
            *steps = add_steps(*steps, correction(sums));
        }
    }
}

fn filter_all(kernels: Kernels, white: &[f32], view: View, factors: &Factors) -> Fitness {
    let filter = Filter::new(kernels, factors, view.n_coordinates, view.n_samples);
    let n_groups = view.n_samples.div_ceil(LANES);
    let tasks: Vec<Fitness> = (0..n_groups.div_ceil(GROUPS_A_TASK))
        .into_par_iter()
        .map(|task| {
            let groups = task * GROUPS_A_TASK..((task + 1) * GROUPS_A_TASK).min(n_groups);
            kernels.run(FilterGroups { white, view, filter: &filter, groups })
        })
        .collect();
    let mut all = Fitness { cost_bits: 0.0, rows: vec![(0.0, 0); view.n_coordinates], columns: Vec::new() };
    for task in tasks {
        all.cost_bits += task.cost_bits;
        for (sums, more) in all.rows.iter_mut().zip(task.rows) {
            *sums = (sums.0 + more.0, sums.1 + more.1);
        }
        all.columns.extend(task.columns);
    }
    let bits_of = |steps: &[i32], sums: &[(f64, u32)]| -> f64 {
        steps.iter().zip(sums).map(|(&steps, &(_, n))| f64::from(steps) / 4.0 * f64::from(n)).sum()
    };
    all.cost_bits += bits_of(&factors.row_scales, &all.rows) + bits_of(&factors.column_scales, &all.columns);
    for (deviation, &(_, n)) in filter.deviations.iter().zip(&all.rows) {
        all.cost_bits += log2(f64::from(*deviation)) * f64::from(n);
    }
    all
}

struct FilterGroups<'a> {
    white: &'a [f32],
    view: View,
    filter: &'a Filter,
    groups: std::ops::Range<usize>,
}

impl Kernel for FilterGroups<'_> {
    type Output = Fitness;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Fitness {
        let Self { white, view, filter, groups } = self;
        let mut rows = vec![(0.0f64, 0u32); view.n_coordinates];
        let mut columns = Vec::new();
        let mut estimates = vec![[0.0; LANES]; filter.rank];
        let mut cost_bits = 0.0;
        for group in groups {
            let first = group * LANES;
            let n = LANES.min(view.n_samples - first);
            estimates.fill([0.0; LANES]);
            // By sample, over its coordinates: influences, counts and costs.
            let mut sums = [simd.zero(); 3];
            for i in 0..view.n_coordinates {
                let (mut x, mut present) = ([0.0; LANES], [0.0; LANES]);
                for t in 0..n {
                    x[t] = white[view.at(i, first + t)];
                    present[t] = if x[t] == 0.0 { 0.0 } else { 1.0 };
                }
                let mean = predict(simd, filter, i, &estimates);
                let innovation = simd.sub(simd.load(&x), mean);
                correct(simd, filter, i, innovation, &mut estimates);
                let deviations = simd.mul(innovation, simd.splat(1.0 / filter.deviations[i]));
                let squares = simd.mul(deviations, deviations);
                let present = simd.load(&present);
                let weight = simd.div(simd.splat(FREEDOM + 1.0), simd.add(squares, simd.splat(FREEDOM)));
                let influence = simd.mul(simd.mul(squares, weight), present);
                let ratio = simd.fma(squares, simd.splat(1.0 / FREEDOM), simd.splat(1.0));
                let cost = log2_of_lanes(simd, ratio);
                for (sum, more) in sums.iter_mut().zip([influence, present, simd.mul(cost, present)]) {
                    *sum = simd.add(*sum, more);
                }
                rows[i].0 += f64::from(simd.sum_lanes(influence));
                rows[i].1 += simd.sum_lanes(present) as u32;
            }
            cost_bits += f64::from(simd.sum_lanes(sums[2])) * f64::from(0.5 * (FREEDOM + 1.0));
            let (mut influences, mut counts) = ([0.0; LANES], [0.0; LANES]);
            simd.store(sums[0], &mut influences);
            simd.store(sums[1], &mut counts);
            for t in 0..n {
                columns.push((f64::from(influences[t]), counts[t] as u32));
            }
        }
        Fitness { cost_bits, rows, columns }
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
