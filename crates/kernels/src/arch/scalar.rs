//! Plain Rust, for every machine: the definition that the other instruction sets are tested against.

use crate::product::WeightBlock;
use crate::quant::{BLOCK, BLOCK_VECTORS, RowBlock};
use crate::simd::{Kernel, LANES, Simd};

/// The portable implementation; always available.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

#[inline(always)]
fn map(a: [f32; LANES], f: impl Fn(f32) -> f32) -> [f32; LANES] {
    core::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    core::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type F = [f32; LANES];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        *out = x;
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        core::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn round(self, x: Self::F) -> Self::F {
        map(x, f32::round_ties_even)
    }

    #[inline(always)]
    fn exp2_integral(self, n: Self::F) -> Self::F {
        map(n, |n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn split_exponent(self, x: Self::F) -> (Self::F, Self::F) {
        let exponent = map(x, |x| ((x.to_bits() >> 23) as i32 - 127) as f32);
        (exponent, map(x, |x| f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f80_0000)))
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        core::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn max_abs_bits(self, x: [Self::F; BLOCK_VECTORS]) -> u32 {
        x.as_flattened().iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0)
    }

    #[inline(always)]
    fn to_i8(self, x: [Self::F; BLOCK_VECTORS], out: &mut [i8; BLOCK]) {
        for (out, x) in out.iter_mut().zip(x.as_flattened()) {
            *out = x.round_ties_even() as i8;
        }
    }

    #[inline(always)]
    fn to_u32(self, x: Self::F, out: &mut [u32; LANES]) {
        *out = core::array::from_fn(|i| x[i] as u32);
    }

    #[inline(always)]
    fn wants_bias(self, _n_rows: usize) -> bool {
        false
    }

    #[inline(always)]
    fn block_dots<const T: usize, const R: usize>(
        self,
        w: [&WeightBlock; T],
        x: [&RowBlock; R],
        _bias: [i32; R],
    ) -> [[Self::F; R]; T] {
        w.map(|w| {
            x.map(|x| {
                let mut dots = [0i32; LANES];
                for (group, x4) in w.0.chunks_exact(4 * LANES).zip(x.0.chunks_exact(4)) {
                    for (dot, w4) in dots.iter_mut().zip(group.chunks_exact(4)) {
                        for (&w, &x) in w4.iter().zip(x4) {
                            *dot += i32::from(w) * i32::from(x);
                        }
                    }
                }
                dots.map(|dot| dot as f32)
            })
        })
    }
}
