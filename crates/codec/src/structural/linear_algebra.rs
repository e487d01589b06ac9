//! The dense linear algebra that the encoder's search needs, with one result on every machine: sums of products in a fixed order,
//! everything small in f64 by + - x / and square roots.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

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

    /// The same by samples: each one's coordinates in vectors of 16.
    fn samples(&self) -> Vec<[f32; LANES]> {
        let n_vectors = self.n_coordinates.div_ceil(LANES);
        let n_groups = self.data.len() / self.n_padded.max(1);
        let mut samples = vec![[0.0; LANES]; n_groups * LANES * n_vectors];
        for (group, samples) in samples.chunks_exact_mut((LANES * n_vectors).max(1)).enumerate() {
            for (i, vector) in self.group(group)[..self.n_coordinates].iter().enumerate() {
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

/// Rows of a matrix in f64 that a task computes.
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
    let samples = x.samples();
    let n_vectors = c.div_ceil(LANES);
    let mut padded = vec![0.0; c * n_vectors * LANES];
    padded.par_chunks_mut((ROWS_A_TASK * n_vectors * LANES).max(1)).enumerate().for_each(|(task, out)| {
        let first = task * ROWS_A_TASK;
        match precision {
            Precision::Single => kernels.run(Covariance { samples: &samples, n_vectors, first, out }),
            Precision::Double => kernels.run(PreciseCovariance { samples: &samples, n_vectors, first, out }),
        }
    });
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

/// Eigenvalues, descending, and eigenvectors, as columns, of a symmetric matrix `a` by rows: Householder's reduction to three
/// diagonals and implicit QL steps (Bowdler, Martin, Reinsch and Wilkinson, 1968).
struct SymmetricEigen<'a> {
    a: &'a [f64],
    k: usize,
}

impl Kernel for SymmetricEigen<'_> {
    type Output = (Vec<f64>, Vec<f64>);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        symmetric_eigen(self.a, self.k)
    }
}

#[inline(always)]
fn symmetric_eigen(a: &[f64], k: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = a.to_vec();
    let (mut d, mut e) = (vec![0.0f64; k], vec![0.0f64; k]);
    tridiagonalise(&mut v, &mut d, &mut e, k);
    implicit_ql(&mut v, &mut d, &mut e, k);
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|&x, &y| d[y].total_cmp(&d[x]).then(x.cmp(&y)));
    let values = order.iter().map(|&i| d[i]).collect();
    let mut vectors = vec![0.0; k * k];
    for (to, &from) in order.iter().enumerate() {
        for row in 0..k {
            // `v` holds the vectors as rows.
            vectors[row * k + to] = v[from * k + row];
        }
    }
    (values, vectors)
}

/// Reduces the symmetric `v` to diagonals `d` and `e` (below it, from index 1); `v` becomes the transposed transformation.
#[inline(always)]
fn tridiagonalise(v: &mut [f64], d: &mut [f64], e: &mut [f64], k: usize) {
    // Reflections H_i = I - u u^T / h act on the leading i rows, from the last row up.
    let mut reflections: Vec<(Vec<f64>, f64)> = vec![(Vec::new(), 0.0); k];
    for i in (1..k).rev() {
        let scale: f64 = v[i * k..i * k + i].iter().map(|x| x.abs()).sum();
        if i == 1 || scale <= 1e-300 {
            e[i] = v[i * k + i - 1];
            continue;
        }
        let mut u: Vec<f64> = v[i * k..i * k + i].iter().map(|x| x / scale).collect();
        let norm2 = dot(&u, &u);
        let last = u[i - 1];
        let g = if last > 0.0 { -norm2.sqrt() } else { norm2.sqrt() };
        e[i] = scale * g;
        let h = norm2 - last * g;
        u[i - 1] = last - g;
        // p = A u / h, A the leading i x i block.
        let mut p = vec![0.0f64; i];
        for (row, p) in p.iter_mut().enumerate() {
            *p = dot(&v[row * k..row * k + i], &u) / h;
        }
        let half = dot(&p, &u) / (h + h);
        for (p, u) in p.iter_mut().zip(&u) {
            *p -= half * u;
        }
        for row in 0..i {
            let (u_row, p_row) = (u[row], p[row]);
            let v = &mut v[row * k..row * k + i];
            for col in 0..i {
                v[col] -= u_row * p[col] + p_row * u[col];
            }
        }
        reflections[i] = (u, h);
    }
    for i in 0..k {
        d[i] = v[i * k + i];
    }
    // The transposed transformation is H_1 H_2 ..., of which so far only the leading rows and columns are not those of 1.
    v.fill(0.0);
    for i in 0..k {
        v[i * k + i] = 1.0;
    }
    for (i, (u, h)) in reflections.iter().enumerate().filter(|(_, (u, _))| !u.is_empty()) {
        for row in v.chunks_exact_mut(k).take(i) {
            let row = &mut row[..i];
            let factor = dot(row, u) / h;
            for col in 0..i {
                row[col] -= factor * u[col];
            }
        }
    }
}

/// QL steps with implicit shifts; rotates pairs of rows of `v` along.
#[inline(always)]
fn implicit_ql(v: &mut [f64], d: &mut [f64], e: &mut [f64], k: usize) {
    for i in 1..k {
        e[i - 1] = e[i];
    }
    if k > 0 {
        e[k - 1] = 0.0;
    }
    for l in 0..k {
        for _ in 0..60 {
            let m = (l..k - 1).find(|&m| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs())).unwrap_or(k - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut r = (g * g + 1.0).sqrt();
            g = d[m] - d[l] + e[l] / (g + if g >= 0.0 { r } else { -r });
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut broke = false;
            for i in (l..m).rev() {
                let f = s * e[i];
                let b = c * e[i];
                r = (f * f + g * g).sqrt();
                e[i + 1] = r;
                if r <= 1e-300 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    broke = true;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                let (upper, lower) = v.split_at_mut((i + 1) * k);
                for (x, y) in upper[i * k..].iter_mut().zip(&mut lower[..k]) {
                    let old = *y;
                    *y = s * *x + c * old;
                    *x = c * *x - s * old;
                }
            }
            if broke {
                continue;
            }
            d[l] -= p;
            e[l] = g;
            e[m] = 0.0;
        }
    }
}

/// A sum of products: eight of every eighth, added as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), and then the last few.
#[inline(always)]
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    let whole = x.len() / 8 * 8;
    for at in (0..whole).step_by(8) {
        for lane in 0..8 {
            sums[lane] += x[at + lane] * y[at + lane];
        }
    }
    let halves = [sums[0] + sums[4], sums[1] + sums[5], sums[2] + sums[6], sums[3] + sums[7]];
    let mut sum = (halves[0] + halves[2]) + (halves[1] + halves[3]);
    for at in whole..x.len() {
        sum += x[at] * y[at];
    }
    sum
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
            let found = leading_eigen(Kernels::detect(), &a, c, k, 4, &Leading::default());
            assert!(found.values.len() >= k);
            for q in 0..10 {
                assert!((found.values[q] - value(q)).abs() < 1e-6, "{k} {q} {}", found.values[q]);
                let n = found.values.len();
                let along: f64 = (0..c).map(|i| found.vectors[i * n + q] * reflect(i, q)).sum();
                assert!((along.abs() - 1.0).abs() < 1e-6, "{k} {q} {along}");
            }
        }
    }

    #[test]
    fn eigenvectors_diagonalise() {
        for k in [1, 2, 3, 16, 40] {
            let m = noise(k * k, k as u64);
            let a: Vec<f64> = (0..k * k).map(|at| f64::from(m[at]) + f64::from(m[at % k * k + at / k])).collect();
            let (values, vectors) = symmetric_eigen(&a, k);
            assert!(values.is_sorted_by(|x, y| x >= y));
            for c in 0..k {
                let norm: f64 = (0..k).map(|row| vectors[row * k + c] * vectors[row * k + c]).sum();
                assert!((norm - 1.0).abs() < 1e-9);
                for row in 0..k {
                    let product: f64 = (0..k).map(|p| a[row * k + p] * vectors[p * k + c]).sum();
                    assert!((product - values[c] * vectors[row * k + c]).abs() < 1e-8, "{k}: {row} {c}");
                }
            }
        }
        let (values, _) = symmetric_eigen(&[0.0; 9], 3);
        assert_eq!(values, [0.0; 3]);
    }
}
