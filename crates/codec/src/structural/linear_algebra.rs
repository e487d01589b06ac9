//! The dense linear algebra that the encoder's search needs, with one result on every machine: products on the lanes of
//! `lmgc-kernels`, everything small in f64 by + - x / and square roots in a fixed order.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_kernels::{Kernel, Kernels, LANES, Simd};
use rayon::prelude::*;

/// A matrix by rows whose number of columns is a multiple of 16.
#[derive(Clone, Debug, Default)]
pub(super) struct Tall {
    pub(super) n_rows: usize,
    /// Vectors of 16 columns in a row.
    pub(super) n_vectors: usize,
    pub(super) data: Vec<[f32; LANES]>,
}

impl Tall {
    pub(super) fn zeros(n_rows: usize, n_vectors: usize) -> Self {
        Self { n_rows, n_vectors, data: vec![[0.0; LANES]; n_rows * n_vectors] }
    }

    pub(super) fn n_cols(&self) -> usize {
        self.n_vectors * LANES
    }

    fn flat(&self) -> &[f32] {
        self.data.as_flattened()
    }

    /// Row `i`, all columns.
    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.flat()[i * self.n_cols()..(i + 1) * self.n_cols()]
    }
}

/// A view of a matrix in memory: element (i, p) is `data[i * row + p * col]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) col: usize,
}

/// Rows of `out` that one task computes.
const ROWS_A_TASK: usize = 32;

/// `a` times `b`, of `n_rows` rows. Each element is a chain of fused multiply-adds in ascending order of the inner index.
pub(super) fn product(kernels: Kernels, a: Strided<'_>, n_rows: usize, b: &Tall) -> Tall {
    let mut out = Tall::zeros(n_rows, b.n_vectors);
    let n_vectors = b.n_vectors;
    out.data.par_chunks_mut((ROWS_A_TASK * n_vectors).max(1)).enumerate().for_each(|(task, out)| {
        kernels.run(Rows { a, first: task * ROWS_A_TASK, b, out });
    });
    out
}

struct Rows<'a> {
    a: Strided<'a>,
    first: usize,
    b: &'a Tall,
    out: &'a mut [[f32; LANES]],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let n_vectors = self.b.n_vectors;
        let n_rows = self.out.len() / n_vectors.max(1);
        let mut i = 0;
        while i < n_rows {
            let many = i + 4 <= n_rows;
            let mut t = 0;
            while t < n_vectors {
                let wide = t + 4 <= n_vectors;
                match (many, wide) {
                    (true, true) => tile::<S, 4, 4>(simd, self.a, self.first, self.b, self.out, i, t),
                    (true, false) => tile::<S, 4, 1>(simd, self.a, self.first, self.b, self.out, i, t),
                    (false, true) => tile::<S, 1, 4>(simd, self.a, self.first, self.b, self.out, i, t),
                    (false, false) => tile::<S, 1, 1>(simd, self.a, self.first, self.b, self.out, i, t),
                }
                t += if wide { 4 } else { 1 };
            }
            i += if many { 4 } else { 1 };
        }
    }
}

#[inline(always)]
fn tile<S: Simd, const R: usize, const T: usize>(
    simd: S,
    a: Strided<'_>,
    first: usize,
    b: &Tall,
    out: &mut [[f32; LANES]],
    i: usize,
    t: usize,
) {
    let n_vectors = b.n_vectors;
    let mut sums = [[simd.zero(); T]; R];
    for p in 0..b.n_rows {
        let row = &b.data[p * n_vectors + t..p * n_vectors + t + T];
        let mut w = [simd.zero(); T];
        for c in 0..T {
            w[c] = simd.load(&row[c]);
        }
        for r in 0..R {
            let x = simd.splat(a.data[(first + i + r) * a.row + p * a.col]);
            for c in 0..T {
                sums[r][c] = simd.fma(x, w[c], sums[r][c]);
            }
        }
    }
    for r in 0..R {
        for c in 0..T {
            simd.store(sums[r][c], &mut out[(i + r) * n_vectors + t + c]);
        }
    }
}

/// Rows of a Gram matrix that one task computes.
const GRAM_ROWS: usize = 8;

/// `m` transposed times `m`, in f64, by rows: products of f32 are exact, and are added in ascending order.
pub(super) fn gram(kernels: Kernels, m: &Tall) -> Vec<f64> {
    let k = m.n_cols();
    let mut gram = vec![0.0; k * k];
    gram.par_chunks_mut((GRAM_ROWS * k).max(1)).enumerate().for_each(|(task, out)| {
        kernels.run(GramRows { m, first: task * GRAM_ROWS, out });
    });
    for p in 0..k {
        for q in 0..p {
            gram[p * k + q] = gram[q * k + p];
        }
    }
    gram
}

/// Rows of a Gram matrix from the first one's diagonal on. There are whole tasks of them, since there are multiples of 16.
struct GramRows<'a> {
    m: &'a Tall,
    first: usize,
    out: &'a mut [f64],
}

impl Kernel for GramRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { m, first, out } = self;
        let n_vectors = m.n_vectors.max(1);
        let (vector, offset) = (first / LANES, first % LANES);
        for v in vector..m.n_vectors {
            // What fits into registers, over all of `m`'s rows.
            let mut sums = [[0.0f64; LANES]; GRAM_ROWS];
            for row in m.data.chunks_exact(n_vectors) {
                let mut wide = [0.0f64; LANES];
                for t in 0..LANES {
                    wide[t] = f64::from(row[v][t]);
                }
                for r in 0..GRAM_ROWS {
                    let x = f64::from(row[vector][offset + r]);
                    for t in 0..LANES {
                        sums[r][t] += x * wide[t];
                    }
                }
            }
            for r in 0..GRAM_ROWS {
                out[r * m.n_cols() + v * LANES..][..LANES].copy_from_slice(&sums[r]);
            }
        }
    }
}

/// Makes the columns orthonormal, by Cholesky factors of their Gram matrix, twice. A column that depends on those before it
/// becomes zero.
pub(super) fn orthonormalise(kernels: Kernels, m: Tall) -> Tall {
    let once = triangular_step(kernels, m);
    triangular_step(kernels, once)
}

fn triangular_step(kernels: Kernels, m: Tall) -> Tall {
    let k = m.n_cols();
    let gram = gram(kernels, &m);
    // The inverse of the upper factor, column by column; columns of no length are left out.
    let mut lower = vec![0.0f64; k * k];
    let mut alive = vec![true; k];
    for i in 0..k {
        for j in 0..=i {
            let mut sum = gram[i * k + j];
            for p in 0..j {
                sum -= lower[i * k + p] * lower[j * k + p];
            }
            if i == j {
                alive[i] = sum > 1e-12 * gram[i * k + i] && sum > 1e-60;
                lower[i * k + i] = if alive[i] { sum.sqrt() } else { 0.0 };
            } else {
                lower[i * k + j] = if alive[j] { sum / lower[j * k + j] } else { 0.0 };
            }
        }
    }
    let mut inverse = Tall::zeros(k, m.n_vectors);
    let mut column = vec![0.0f64; k];
    for c in (0..k).filter(|&c| alive[c]) {
        // Solve lower^T x = e_c from the last row up.
        for i in (0..=c).rev() {
            let mut sum = if i == c { 1.0 } else { 0.0 };
            for p in i + 1..=c {
                sum -= lower[p * k + i] * column[p];
            }
            column[i] = if alive[i] { sum / lower[i * k + i] } else { 0.0 };
        }
        for i in 0..=c {
            inverse.data.as_flattened_mut()[i * k + c] = column[i] as f32;
        }
    }
    product(kernels, Strided { data: m.flat(), row: k, col: 1 }, m.n_rows, &inverse)
}

/// Eigenvalues, descending, and eigenvectors, as columns, of a symmetric matrix `a` by rows: Householder's reduction to three
/// diagonals and implicit QL steps (Bowdler, Martin, Reinsch and Wilkinson, 1968).
pub(super) fn symmetric_eigen(a: Vec<f64>, k: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = a;
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
fn tridiagonalise(v: &mut [f64], d: &mut [f64], e: &mut [f64], k: usize) {
    // Reflections H = I - u u^T / h act on the leading rows, from the last row up; q gathers them.
    let mut q = vec![0.0f64; k * k];
    for i in 0..k {
        q[i * k + i] = 1.0;
    }
    for i in (1..k).rev() {
        let scale: f64 = v[i * k..i * k + i].iter().map(|x| x.abs()).sum();
        if i == 1 || scale <= 1e-300 {
            e[i] = v[i * k + i - 1];
            continue;
        }
        let mut u: Vec<f64> = v[i * k..i * k + i].iter().map(|x| x / scale).collect();
        let norm2: f64 = u.iter().map(|x| x * x).sum();
        let last = u[i - 1];
        let g = if last > 0.0 { -norm2.sqrt() } else { norm2.sqrt() };
        e[i] = scale * g;
        let h = norm2 - last * g;
        u[i - 1] = last - g;
        // p = A u / h, A the leading i x i block.
        let mut p = vec![0.0f64; i];
        for (row, p) in p.iter_mut().enumerate() {
            *p = v[row * k..row * k + i].iter().zip(&u).map(|(a, u)| a * u).sum::<f64>() / h;
        }
        let half = p.iter().zip(&u).map(|(p, u)| p * u).sum::<f64>() / (h + h);
        for (p, u) in p.iter_mut().zip(&u) {
            *p -= half * u;
        }
        for row in 0..i {
            for col in 0..i {
                v[row * k + col] -= u[row] * p[col] + p[row] * u[col];
            }
        }
        // Rows of q are the transposed transformation: q <- H q on the leading rows.
        let mut w = vec![0.0f64; k];
        for (row, &u) in u.iter().enumerate() {
            for (w, &q) in w.iter_mut().zip(&q[row * k..(row + 1) * k]) {
                *w += u * q;
            }
        }
        for (row, &u) in u.iter().enumerate() {
            for (q, &w) in q[row * k..(row + 1) * k].iter_mut().zip(&w) {
                *q -= u * w / h;
            }
        }
    }
    for i in 0..k {
        d[i] = v[i * k + i];
    }
    v.copy_from_slice(&q);
}

/// QL steps with implicit shifts; rotates pairs of rows of `v` along.
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

    fn tall(n_rows: usize, n_vectors: usize, seed: u64) -> Tall {
        let flat = noise(n_rows * n_vectors * LANES, seed);
        Tall { n_rows, n_vectors, data: flat.chunks_exact(LANES).map(|c| c.try_into().unwrap()).collect() }
    }

    #[test]
    fn products_are_right_and_equal_on_every_instruction_set() {
        let (n_rows, n_inner) = (39, 21);
        let a = noise(n_rows * n_inner, 1);
        for n_vectors in [1, 3, 6] {
            let b = tall(n_inner, n_vectors, 2);
            let by_rows = Strided { data: &a, row: n_inner, col: 1 };
            let expected = product(Kernels::detect(), by_rows, n_rows, &b);
            let exact: f64 = (0..n_inner).map(|p| f64::from(a[5 * n_inner + p]) * f64::from(b.row(p)[9])).sum();
            assert!((f64::from(expected.row(5)[9]) - exact).abs() < 1e-5);
            let transposed: Vec<f32> = (0..n_inner * n_rows).map(|at| a[at % n_rows * n_inner + at / n_rows]).collect();
            for kernels in Kernels::available() {
                let by_columns = Strided { data: &transposed, row: 1, col: n_rows };
                for a in [by_rows, by_columns] {
                    assert_eq!(product(kernels, a, n_rows, &b).data, expected.data, "{:?}", kernels.isa());
                }
            }
        }
    }

    #[test]
    fn columns_become_orthonormal_or_zero() {
        let mut m = tall(100, 2, 3);
        for row in 0..100 {
            // Column 20 depends on two others.
            let (x, y) = (m.row(row)[1], m.row(row)[17]);
            m.data.as_flattened_mut()[row * 32 + 20] = x - 2.0 * y;
        }
        let q = orthonormalise(Kernels::detect(), m);
        let gram = gram(Kernels::detect(), &q);
        for i in 0..32 {
            for j in 0..32 {
                let expected = if i == j && i != 20 { 1.0 } else { 0.0 };
                assert!((gram[i * 32 + j] - expected).abs() < 1e-5, "{i} {j} {}", gram[i * 32 + j]);
            }
        }
    }

    #[test]
    fn eigenvectors_diagonalise() {
        for k in [1, 2, 3, 16, 40] {
            let m = noise(k * k, k as u64);
            let a: Vec<f64> = (0..k * k).map(|at| f64::from(m[at]) + f64::from(m[at % k * k + at / k])).collect();
            let (values, vectors) = symmetric_eigen(a.clone(), k);
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
        let (values, _) = symmetric_eigen(vec![0.0; 9], 3);
        assert_eq!(values, [0.0; 3]);
    }
}
