//! Matrices without their scales, and the covariances of their coordinates.

use lmgc_kernels::{Kernel, Kernels, LANES, Simd};
use rayon::prelude::*;

/// A matrix of coordinates x samples, by groups of 16 samples: coordinate i of group g is vector `g * n_padded + i`. Padded with zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Grouped {
    pub(super) n_coordinates: usize,
    pub(super) n_padded: usize,
    pub(super) data: Vec<[f32; LANES]>,
}

/// Coordinates are padded to a multiple of this.
const TILE: usize = 4;

impl Grouped {
    /// All zeros, in the memory of `data`.
    pub(super) fn zeros(n_coordinates: usize, n_groups: usize, mut data: Vec<[f32; LANES]>) -> Self {
        let n_padded = n_coordinates.next_multiple_of(TILE);
        data.clear();
        data.resize(n_groups * n_padded, [0.0; LANES]);
        Self { n_coordinates, n_padded, data }
    }

    /// Some groups by samples: each one's coordinates in vectors of 16.
    fn samples(&self, groups: &[[f32; LANES]]) -> Vec<[f32; LANES]> {
        let n_vectors = self.n_coordinates.div_ceil(LANES);
        let n_groups = groups.len() / self.n_padded.max(1);
        let mut samples = vec![[0.0; LANES]; n_groups * LANES * n_vectors];
        let groups = groups.chunks_exact(self.n_padded.max(1));
        for (group, samples) in groups.zip(samples.chunks_exact_mut((LANES * n_vectors).max(1))) {
            for (i, vector) in group[..self.n_coordinates].iter().enumerate() {
                for (t, &x) in vector.iter().enumerate() {
                    samples[t * n_vectors + i / LANES][i % LANES] = x;
                }
            }
        }
        samples
    }

    /// The vectors of a group's coordinates.
    pub(super) fn group(&self, group: usize) -> &[[f32; LANES]] {
        &self.data[group * self.n_padded..(group + 1) * self.n_padded]
    }
}

/// Rows that a task computes.
const ROWS_A_TASK: usize = 16;

/// How sums of products of f32 are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// Fused, in f32 over 64 samples, and those in f64.
    Single,
    /// In f64, where the products are exact.
    Double,
}

/// The products of all pairs of coordinates, by rows, over the samples in ascending order.
pub(super) fn covariance(kernels: Kernels, x: &Grouped, precision: Precision) -> Vec<f64> {
    let c = x.n_coordinates;
    let n_vectors = c.div_ceil(LANES);
    let mut padded = vec![0.0; c * n_vectors * LANES];
    for groups in x.data.chunks((GROUPS_AT_ONCE * x.n_padded).max(1)) {
        let samples = x.samples(groups);
        padded.par_chunks_mut((ROWS_A_TASK * n_vectors * LANES).max(1)).enumerate().for_each(|(task, out)| {
            let first = task * ROWS_A_TASK;
            match precision {
                Precision::Single => kernels.run(Covariance { samples: &samples, n_vectors, first, out }),
                Precision::Double => kernels.run(PreciseCovariance { samples: &samples, n_vectors, first, out }),
            }
        });
    }
    let mut all = vec![0.0; c * c];
    for (row, padded) in all.chunks_exact_mut(c.max(1)).zip(padded.chunks_exact((n_vectors * LANES).max(1))) {
        row.copy_from_slice(&padded[..c]);
    }
    for i in 0..c {
        for j in 0..i {
            all[i * c + j] = all[j * c + i];
        }
    }
    all
}

/// Samples that are added up before others are looked at.
const SAMPLES_AT_ONCE: usize = 64;
/// Groups whose samples are laid out anew at a time, a multiple of those: few coordinates would take many times their memory.
const GROUPS_AT_ONCE: usize = 64 * SAMPLES_AT_ONCE / LANES;

/// Rows of a covariance, from the vector with their diagonal on.
struct Covariance<'a> {
    /// Each sample's coordinates, in `n_vectors`.
    samples: &'a [[f32; LANES]],
    n_vectors: usize,
    first: usize,
    out: &'a mut [f64],
}

impl Kernel for Covariance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const WIDE: usize = 4;
        let Self { samples, n_vectors, first, out } = self;
        let stride = n_vectors * LANES;
        let n_rows = out.len() / stride.max(1);
        for samples in samples.chunks(SAMPLES_AT_ONCE * n_vectors.max(1)) {
            for i in (0..n_rows).step_by(TILE) {
                let (vector, lane) = ((first + i) / LANES, (first + i) % LANES);
                for v in (vector..n_vectors).step_by(WIDE) {
                    let width = WIDE.min(n_vectors - v);
                    let mut sums = [[simd.zero(); WIDE]; TILE];
                    for sample in samples.chunks_exact(n_vectors) {
                        let mut w = [simd.zero(); WIDE];
                        for s in 0..WIDE {
                            // The last vector again where there are fewer.
                            w[s] = simd.load(&sample[v + s.min(width - 1)]);
                        }
                        for r in 0..TILE {
                            let x = simd.splat(sample[vector][lane + r]);
                            for s in 0..WIDE {
                                sums[r][s] = simd.fma(x, w[s], sums[r][s]);
                            }
                        }
                    }
                    for r in 0..TILE.min(n_rows - i) {
                        for s in 0..width {
                            let mut stored = [0.0; LANES];
                            simd.store(sums[r][s], &mut stored);
                            let out = &mut out[(i + r) * stride + (v + s) * LANES..][..LANES];
                            for t in 0..LANES {
                                out[t] += f64::from(stored[t]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The same in f64.
struct PreciseCovariance<'a> {
    samples: &'a [[f32; LANES]],
    n_vectors: usize,
    first: usize,
    out: &'a mut [f64],
}

impl Kernel for PreciseCovariance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        const ROWS: usize = 2 * TILE;
        let Self { samples, n_vectors, first, out } = self;
        let stride = n_vectors * LANES;
        let n_rows = out.len() / stride.max(1);
        for samples in samples.chunks(SAMPLES_AT_ONCE * n_vectors.max(1)) {
            for i in (0..n_rows).step_by(ROWS) {
                let (vector, lane) = ((first + i) / LANES, (first + i) % LANES);
                for v in vector..n_vectors {
                    let mut sums = [[0.0f64; LANES]; ROWS];
                    for sample in samples.chunks_exact(n_vectors) {
                        let mut wide = [0.0f64; LANES];
                        for t in 0..LANES {
                            wide[t] = f64::from(sample[v][t]);
                        }
                        for r in 0..ROWS {
                            let x = f64::from(sample[vector][lane + r]);
                            for t in 0..LANES {
                                sums[r][t] += x * wide[t];
                            }
                        }
                    }
                    for r in 0..ROWS.min(n_rows - i) {
                        let out = &mut out[(i + r) * stride + v * LANES..][..LANES];
                        for t in 0..LANES {
                            out[t] += sums[r][t];
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    #[test]
    fn covariances_are_right_and_equal_on_every_instruction_set() {
        for c in [1, 3, 4, 37] {
            let mut x = Grouped::zeros(c, 150, Vec::new());
            let n_padded = x.n_padded;
            for (at, vector) in x.data.iter_mut().enumerate().filter(|(at, _)| at % n_padded < c) {
                vector.copy_from_slice(&noise(LANES, at as u64));
            }
            let precise = covariance(Kernels::detect(), &x, Precision::Double);
            let all = covariance(Kernels::detect(), &x, Precision::Single);
            for (i, j) in [(0, 0), (c - 1, c / 2), (c / 3, c - 1)] {
                let exact: f64 = (0..150)
                    .flat_map(|g| x.group(g)[i].iter().zip(&x.group(g)[j]))
                    .map(|(x, y)| f64::from(*x) * f64::from(*y))
                    .sum();
                assert!((all[i * c + j] - exact).abs() < 1e-3, "{c} {i} {j}");
                assert!((precise[i * c + j] - exact).abs() < 1e-12 * 2400.0, "{c} {i} {j}");
            }
            for kernels in Kernels::available() {
                assert_eq!(covariance(kernels, &x, Precision::Single), all, "{:?}", kernels.isa());
                assert_eq!(covariance(kernels, &x, Precision::Double), precise, "{:?}", kernels.isa());
            }
        }
    }
}
