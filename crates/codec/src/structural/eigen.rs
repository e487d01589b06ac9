//! Eigenvalues and eigenvectors of small symmetric matrices, all of them.

use lmgc_kernels::{Kernel, Simd};

/// Eigenvalues, descending, and eigenvectors, as columns, of a symmetric matrix `a` by rows: Householder's reduction to three
/// diagonals and implicit QL steps (Bowdler, Martin, Reinsch and Wilkinson, 1968).
pub(super) struct SymmetricEigen<'a> {
    pub(super) a: &'a [f64],
    pub(super) k: usize,
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

/// Partial sums of [`dot`], so that the additions need not wait for each other.
pub(super) const DOT_SUMS: usize = 8;

/// A sum of products: eight of every eighth, added as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), and then the last few.
#[inline(always)]
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0f64; DOT_SUMS];
    let whole = x.len() / DOT_SUMS * DOT_SUMS;
    for at in (0..whole).step_by(DOT_SUMS) {
        for lane in 0..DOT_SUMS {
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
