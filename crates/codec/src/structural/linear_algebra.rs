//! The dense linear algebra that the encoder's search needs, with one result on every machine: sums of products in a fixed order,
//! in f64 by + - x / and square roots.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_kernels::{Kernel, Kernels, LANES, Simd};
use rayon::prelude::*;

use super::eigen::SymmetricEigen;

/// Rows that a task computes.
const ROWS_A_TASK: usize = 16;
/// Rows of a tile.
const TILE: usize = 4;

/// A view of a matrix in memory: element (i, p) is `data[i * row + p * col]`.
#[derive(Clone, Copy, Debug)]
struct Strided<'a> {
    data: &'a [f64],
    row: usize,
    col: usize,
}

/// Columns of a tile. Matrices that tall ones are multiplied by have a multiple of it.
const WIDTH: usize = LANES;

/// What of a product is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// The product is symmetric: its upper triangle is computed, and mirrored.
    Symmetric,
    /// The second matrix is upper triangular: the inner index ends at its diagonal.
    Triangular,
}

/// `a` times `b`, of `n_rows` rows; `b` has `n_cols` columns, by rows. Products are added in ascending order of the inner
/// index.
fn product(kernels: Kernels, a: Strided<'_>, n_rows: usize, b: &[f64], n_cols: usize, part: Part) -> Vec<f64> {
    let mut all = vec![0.0; n_rows * n_cols];
    all.par_chunks_mut((ROWS_A_TASK * n_cols).max(1)).enumerate().for_each(|(task, out)| {
        kernels.run(Rows { a, first: task * ROWS_A_TASK, b, n_cols, part, out });
    });
    if part == Part::Symmetric {
        for i in 0..n_rows {
            for j in 0..i {
                all[i * n_cols + j] = all[j * n_cols + i];
            }
        }
    }
    all
}

struct Rows<'a> {
    a: Strided<'a>,
    first: usize,
    b: &'a [f64],
    n_cols: usize,
    part: Part,
    out: &'a mut [f64],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { a, first, b, n_cols, part, out } = self;
        let n_rows = out.len() / n_cols.max(1);
        for i in (0..n_rows).step_by(TILE) {
            // The last rows come again where there are fewer.
            let mut starts = [0; TILE];
            for r in 0..TILE {
                starts[r] = (first + (i + r).min(n_rows - 1)) * a.row;
            }
            let begin = if part == Part::Symmetric { (first + i) / WIDTH * WIDTH } else { 0 };
            for t in (begin..n_cols).step_by(WIDTH) {
                let b = if part == Part::Triangular { &b[..(t + WIDTH) * n_cols] } else { b };
                let mut sums = [[0.0f64; WIDTH]; TILE];
                for (p, row) in b.chunks_exact(n_cols).enumerate() {
                    let row = &row[t..t + WIDTH];
                    for r in 0..TILE {
                        let x = a.data[starts[r] + p * a.col];
                        for s in 0..WIDTH {
                            sums[r][s] += x * row[s];
                        }
                    }
                }
                for r in 0..TILE.min(n_rows - i) {
                    out[(i + r) * n_cols + t..][..WIDTH].copy_from_slice(&sums[r]);
                }
            }
        }
    }
}

/// The same of symmetric `a` in f32, by fused multiply-adds; rounded, but several times as fast.
fn rounded_product(kernels: Kernels, a: &[f32], c: usize, b: &[f64], n_cols: usize) -> Vec<f64> {
    let vectors: Vec<[f32; WIDTH]> = b
        .as_chunks::<WIDTH>()
        .0
        .iter()
        .map(|vector| {
            let mut rounded = [0.0; WIDTH];
            rounded.iter_mut().zip(vector).for_each(|(to, &x)| *to = x as f32);
            rounded
        })
        .collect();
    let mut all = vec![0.0; c * n_cols];
    all.par_chunks_mut((ROWS_A_TASK * n_cols).max(1)).enumerate().for_each(|(task, out)| {
        kernels.run(RoundedRows { a, c, first: task * ROWS_A_TASK, b: &vectors, n_cols, out });
    });
    all
}

struct RoundedRows<'a> {
    a: &'a [f32],
    c: usize,
    first: usize,
    b: &'a [[f32; WIDTH]],
    n_cols: usize,
    out: &'a mut [f64],
}

impl Kernel for RoundedRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { a, c, first, b, n_cols, out } = self;
        let n_rows = out.len() / n_cols.max(1);
        let n_vectors = n_cols / WIDTH;
        for i in (0..n_rows).step_by(TILE) {
            let mut rows = [a; TILE];
            for r in 0..TILE {
                let row = first + (i + r).min(n_rows - 1);
                rows[r] = &a[row * c..(row + 1) * c];
            }
            let mut v = 0;
            while v < n_vectors {
                let width = if v + 2 <= n_vectors { 2 } else { 1 };
                let mut sums = [[simd.zero(); 2]; TILE];
                for p in 0..c {
                    let x = simd.load(&b[p * n_vectors + v]);
                    let y = simd.load(&b[p * n_vectors + v + width - 1]);
                    for r in 0..TILE {
                        let factor = simd.splat(rows[r][p]);
                        sums[r][0] = simd.fma(factor, x, sums[r][0]);
                        sums[r][1] = simd.fma(factor, y, sums[r][1]);
                    }
                }
                for r in 0..TILE.min(n_rows - i) {
                    for s in 0..width {
                        let mut stored = [0.0; LANES];
                        simd.store(sums[r][s], &mut stored);
                        let out = &mut out[(i + r) * n_cols + (v + s) * WIDTH..][..WIDTH];
                        for t in 0..WIDTH {
                            out[t] = f64::from(stored[t]);
                        }
                    }
                }
                v += width;
            }
        }
    }
}

/// Makes the `k` columns of `m` orthonormal, by the Cholesky factor of their Gram matrix. A column that depends on those before it
/// becomes zero.
fn orthonormalise(kernels: Kernels, m: &[f64], n_rows: usize, k: usize) -> Vec<f64> {
    let gram = product(kernels, Strided { data: m, row: 1, col: k }, k, m, k, Part::Symmetric);
    let inverse = kernels.run(InverseFactor { gram: &gram, k });
    product(kernels, Strided { data: m, row: k, col: 1 }, n_rows, &inverse, k, Part::Triangular)
}

/// The inverse of a Gram matrix's upper Cholesky factor, by rows.
struct InverseFactor<'a> {
    gram: &'a [f64],
    k: usize,
}

impl Kernel for InverseFactor<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Vec<f64> {
        let Self { gram, k } = self;
        // Row p of `upper` is finished when the rows before it have been taken away; of the inverse, W = upper^-1, row by row of
        // W^T, which solves W^T upper^T = 1.
        let mut upper = gram.to_vec();
        let mut inverse = vec![0.0f64; k * k];
        let mut alive = vec![true; k];
        for p in 0..k {
            let pivot = upper[p * k + p];
            alive[p] = pivot > 1e-13 * gram[p * k + p] && pivot > 1e-200;
            let (done, later) = upper.split_at_mut((p + 1) * k);
            let row = &mut done[p * k..];
            if !alive[p] {
                row.fill(0.0);
                continue;
            }
            let root = pivot.sqrt();
            for x in &mut row[p..] {
                *x /= root;
            }
            for (i, other) in later.chunks_exact_mut(k).enumerate() {
                let factor = row[p + 1 + i];
                for q in p + 1 + i..k {
                    other[q] -= factor * row[q];
                }
            }
        }
        // Back substitution, columns of the inverse side by side: row i from those below it.
        for i in (0..k).rev() {
            let (above, below) = inverse.split_at_mut((i + 1) * k);
            let row = &mut above[i * k..];
            if !alive[i] {
                continue;
            }
            row[i] = 1.0;
            for p in i + 1..k {
                let factor = upper[i * k + p];
                let other = &below[(p - i - 1) * k..(p - i) * k];
                for q in p..k {
                    row[q] -= factor * other[q];
                }
            }
            let diagonal = upper[i * k + i];
            for x in &mut row[i..] {
                *x /= diagonal;
            }
        }
        inverse
    }
}

/// The greatest eigenvalues of a symmetric matrix, descending, and their eigenvectors as columns.
#[derive(Default)]
pub(super) struct Leading {
    pub(super) values: Vec<f64>,
    /// By rows of `values.len()` entries.
    pub(super) vectors: Vec<f64>,
}

/// Eigenvalues that are smaller than this part of the greatest are beyond f32.
const MIN_ROUNDED: f64 = 1e-5;

/// `k` or more eigenvalues of the symmetric `a` of `c` rows, as many as the matrix has at most: by orthogonal iteration from
/// `start`, or from pseudo-random vectors (Halko, Martinsson and Tropp, 2011) where that has too few.
pub(super) fn leading_eigen(
    kernels: Kernels,
    a: &[f64],
    c: usize,
    k: usize,
    n_rounds: usize,
    start: &Leading,
) -> Leading {
    let k = k.next_multiple_of(WIDTH);
    if k >= c {
        let (values, vectors) = kernels.run(SymmetricEigen { a, k: c });
        return Leading { values, vectors };
    }
    // Knuth's MMIX generator; uniform in [-1, 1).
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let n_start = start.values.len();
    let mut basis = vec![0.0; c * k];
    for (i, row) in basis.chunks_exact_mut(k).enumerate() {
        for (q, x) in row.iter_mut().enumerate() {
            *x = if q < n_start { start.vectors[i * n_start + q] } else { random() };
        }
    }
    let by_rows = Strided { data: a, row: c, col: 1 };
    let mut rounded: Option<Vec<f32>> = None;
    if n_start == k && start.values[k - 1] > MIN_ROUNDED * start.values[0] {
        rounded = Some(a.iter().map(|&x| x as f32).collect());
    }
    for round in 0..n_rounds {
        let images = match &rounded {
            Some(rounded) => rounded_product(kernels, rounded, c, &basis, k),
            None => product(kernels, by_rows, c, &basis, k, Part::All),
        };
        basis = orthonormalise(kernels, &images, c, k);
        let lost: Vec<usize> = (0..k).filter(|&q| (0..c).all(|i| basis[i * k + q] == 0.0)).collect();
        if round == 0 && n_start < k || !lost.is_empty() {
            // Once the vectors are in order, those of small eigenvalues are not drowned by those of great ones, and what was
            // lost, which comes last, can begin anew without them.
            let Leading { values, vectors } = ritz(kernels, by_rows, c, &basis, k);
            basis = vectors;
            if !lost.is_empty() {
                for i in 0..c {
                    basis[i * k + k - lost.len()..(i + 1) * k].iter_mut().for_each(|x| *x = random());
                }
                basis = orthonormalise(kernels, &basis, c, k);
            }
            let is_graded = values[k - lost.len().min(k - 1) - 1] <= MIN_ROUNDED * values[0];
            rounded = if is_graded { None } else { Some(a.iter().map(|&x| x as f32).collect()) };
        }
    }
    ritz(kernels, by_rows, c, &basis, k)
}

/// The eigenvectors of a matrix within the span of `k` orthonormal columns.
fn ritz(kernels: Kernels, a: Strided<'_>, c: usize, basis: &[f64], k: usize) -> Leading {
    let images = product(kernels, a, c, basis, k, Part::All);
    let inner = product(kernels, Strided { data: basis, row: 1, col: k }, k, &images, k, Part::Symmetric);
    let (values, rotation) = kernels.run(SymmetricEigen { a: &inner, k });
    let vectors = product(kernels, Strided { data: basis, row: k, col: 1 }, c, &rotation, k, Part::All);
    Leading { values, vectors }
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

    fn wide_noise(n: usize, seed: u64) -> Vec<f64> {
        noise(n, seed).into_iter().map(f64::from).collect()
    }

    #[test]
    fn products_are_right_and_equal_on_every_instruction_set() {
        let (n_rows, n_inner, n_cols) = (39, 21, 32);
        let (a, b) = (wide_noise(n_rows * n_inner, 1), wide_noise(n_inner * n_cols, 2));
        let transposed: Vec<f64> = (0..n_inner * n_rows).map(|at| a[at % n_rows * n_inner + at / n_rows]).collect();
        let by_rows = Strided { data: &a, row: n_inner, col: 1 };
        let expected = product(Kernels::detect(), by_rows, n_rows, &b, n_cols, Part::All);
        let exact: f64 = (0..n_inner).map(|p| a[5 * n_inner + p] * b[p * n_cols + 9]).sum();
        assert!((expected[5 * n_cols + 9] - exact).abs() < 1e-12);
        for kernels in Kernels::available() {
            let by_columns = Strided { data: &transposed, row: 1, col: n_rows };
            for a in [by_rows, by_columns] {
                assert_eq!(product(kernels, a, n_rows, &b, n_cols, Part::All), expected, "{:?}", kernels.isa());
            }
        }
    }

    #[test]
    fn columns_become_orthonormal_or_zero() {
        let mut m = wide_noise(100 * 32, 3);
        for row in m.chunks_exact_mut(32) {
            // Column 20 depends on two others.
            row[20] = row[1] - 2.0 * row[17];
        }
        let q = orthonormalise(Kernels::detect(), &m, 100, 32);
        for i in 0..32 {
            for j in 0..32 {
                let expected = if i == j && i != 20 { 1.0 } else { 0.0 };
                let sum: f64 = q.chunks_exact(32).map(|row| row[i] * row[j]).sum();
                assert!((sum - expected).abs() < 1e-9, "{i} {j} {sum}");
            }
        }
    }

    #[test]
    fn leading_eigenvectors_are_found() {
        // A diagonal matrix, turned by a reflection.
        let c = 80;
        let u: Vec<f64> = (0..c).map(|i| ((i * 7 % 5) as f64 - 1.5) / 10.0).collect();
        let norm: f64 = u.iter().map(|u| u * u).sum();
        let reflect = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / norm;
        let value = |p: usize| 1000.0 / (1 << p.min(12)) as f64 + 0.1;
        let mut a = vec![0.0; c * c];
        for i in 0..c {
            for j in 0..c {
                a[i * c + j] = (0..c).map(|p| reflect(i, p) * value(p) * reflect(j, p)).sum();
            }
        }
        for k in [16, 48, 80] {
            let found = leading_eigen(Kernels::detect(), &a, c, k, 12, &Leading::default());
            assert!(found.values.len() >= k);
            for q in 0..10 {
                assert!((found.values[q] - value(q)).abs() < 1e-6, "{k} {q} {}", found.values[q]);
                let n = found.values.len();
                let along: f64 = (0..c).map(|i| found.vectors[i * n + q] * reflect(i, q)).sum();
                assert!((along.abs() - 1.0).abs() < 1e-6, "{k} {q} {along}");
            }
        }
    }
}
