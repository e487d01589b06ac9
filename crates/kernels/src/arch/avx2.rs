//! AVX2 with FMA: two 256-bit registers hold the 16 lanes.

use core::arch::x86_64::*;

use super::four;
use crate::product::{Product, WeightBlock, by_rows};
use crate::quant::{BLOCK, BLOCK_VECTORS, RowBlock};
use crate::simd::{Kernel, LANES, Simd};

/// Proof that AVX2 and FMA are there; made only by [`Avx2::detect`].
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The token, if this machine and its operating system support the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn run_with_features<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Compiled once and called, since inlining it wherever a product is wanted takes long to compile and gains nothing.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn product_by_rows(simd: Avx2, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
    by_rows(simd, product, out, out_stride);
}

/// Lanes 0-7 and 8-15.
#[derive(Clone, Copy)]
pub struct Pair(__m256, __m256);

/// Applies an intrinsic without memory operands to both halves.
macro_rules! halves {
    ($f:ident $(::<$n:tt>)? ($($x:expr),+)) => {{
        // SAFETY: an `Avx2` exists only where these instructions do, and nothing here touches memory.
        unsafe { Pair($f $(::<$n>)? ($($x.0),+), $f $(::<$n>)? ($($x.1),+)) }
    }};
}

impl Simd for Avx2 {
    type F = Pair;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: an `Avx2` exists only where `detect` found every feature that the function enables.
        unsafe { run_with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the instruction is there (see `Avx2`).
        unsafe { Pair(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        // SAFETY: the instruction is there (see `Avx2`), and `x` is 16 readable f32; the loads may be unaligned.
        unsafe { Pair(_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        // SAFETY: the instruction is there (see `Avx2`), and `out` is 16 writable f32; the stores may be unaligned.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), x.0);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        halves!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, x: Self::F) -> Self::F {
        halves!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x))
    }

    #[inline(always)]
    fn exp2_integral(self, n: Self::F) -> Self::F {
        // SAFETY: the instructions are there (see `Avx2`), and nothing touches memory.
        let half = |n| unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        };
        Pair(half(n.0), half(n.1))
    }

    #[inline(always)]
    fn split_exponent(self, x: Self::F) -> (Self::F, Self::F) {
        // SAFETY: the instructions are there (see `Avx2`), and nothing touches memory.
        let half = |x| unsafe {
            let bits = _mm256_castps_si256(x);
            let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            let mantissa = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let mantissa = _mm256_or_si256(mantissa, _mm256_set1_epi32(0x3f80_0000));
            (_mm256_cvtepi32_ps(exponent), _mm256_castsi256_ps(mantissa))
        };
        let (low, high) = (half(x.0), half(x.1));
        (Pair(low.0, high.0), Pair(low.1, high.1))
    }

    #[inline(always)]
    fn lanes_8_to_11(self, x: [f32; 4]) -> Self::F {
        // SAFETY: the instructions are there (see `Avx2`), and nothing touches memory.
        unsafe { Pair(_mm256_setzero_ps(), _mm256_zextps128_ps256(_mm_setr_ps(x[0], x[1], x[2], x[3]))) }
    }

    #[inline(always)]
    fn sum_lanes(self, x: Self::F) -> f32 {
        // SAFETY: the instructions are there (see `Avx2`), and nothing touches memory.
        unsafe {
            let eight = _mm256_add_ps(x.0, x.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        let mask = halves!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        halves!(_mm256_blendv_ps(no, yes, mask))
    }

    #[inline(always)]
    fn max_abs_bits(self, x: [Self::F; BLOCK_VECTORS]) -> u32 {
        // SAFETY: the instructions are there (see `Avx2`); the store goes to a local array of 32 bytes.
        unsafe {
            let magnitude = _mm256_set1_epi32(0x7fff_ffff);
            let bits = |x| _mm256_and_si256(_mm256_castps_si256(x), magnitude);
            let mut m = _mm256_setzero_si256();
            for x in x {
                m = _mm256_max_epi32(m, _mm256_max_epi32(bits(x.0), bits(x.1)));
            }
            let mut lanes = [0u32; 8];
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), m);
            lanes.into_iter().fold(0, u32::max)
        }
    }

    #[inline(always)]
    fn to_i8(self, x: [Self::F; BLOCK_VECTORS], out: &mut [i8; BLOCK]) {
        let [a, b, c, d] = x;
        // SAFETY: the instructions are there (see `Avx2`), and `out` is 64 writable bytes.
        unsafe {
            for (i, [p, q]) in [[a, b], [c, d]].into_iter().enumerate() {
                let pack = |x: Pair| _mm256_packs_epi32(_mm256_cvtps_epi32(x.0), _mm256_cvtps_epi32(x.1));
                // The packs work within halves of a register: groups of four bytes 0 2 4 6, 1 3 5 7 come out.
                let bytes = _mm256_packs_epi16(pack(p), pack(q));
                let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
                _mm256_storeu_si256(out.as_mut_ptr().add(32 * i).cast(), bytes);
            }
        }
    }

    #[inline(always)]
    fn to_u32(self, x: Self::F, out: &mut [u32; LANES]) {
        // SAFETY: the instructions are there (see `Avx2`), and `out` is 64 writable bytes.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_cvttps_epi32(x.0));
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), _mm256_cvttps_epi32(x.1));
        }
    }

    #[inline(always)]
    fn prefetch(self, weights: &[WeightBlock], at: usize) {
        super::prefetch(weights, at);
    }

    #[inline(always)]
    fn wants_bias(self, _n_rows: usize) -> bool {
        false
    }

    #[inline(always)]
    fn product(self, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
        // SAFETY: an `Avx2` exists only where `detect` found every feature that the function enables.
        unsafe { product_by_rows(self, product, out, out_stride) }
    }

    #[inline(always)]
    fn block_dots<const T: usize, const R: usize>(
        self,
        w: [&WeightBlock; T],
        x: [&RowBlock; R],
        _bias: [i32; R],
    ) -> [[Self::F; R]; T] {
        // maddubs takes one unsigned factor and saturates at 16 bits: |x| * (w with the sign of x) sums two products of
        // at most 127 * 127, which fits.
        // SAFETY: the instructions are there (see `Avx2`), and `w` holds BLOCK / 4 groups of 64 bytes.
        unsafe {
            let zero = _mm256_setzero_si256();
            let ones = _mm256_set1_epi16(1);
            let mut results = [[Pair(_mm256_setzero_ps(), _mm256_setzero_ps()); R]; T];
            for t in 0..T {
                let mut dots = [(zero, zero); R];
                for group in 0..BLOCK / 4 {
                    let at = w[t].0.as_ptr().add(group * 64);
                    let low = _mm256_loadu_si256(at.cast());
                    let high = _mm256_loadu_si256(at.add(32).cast());
                    for r in 0..R {
                        let x = _mm256_set1_epi32(four(x[r], group));
                        let magnitude = _mm256_abs_epi8(x);
                        let half = |w| _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x)), ones);
                        dots[r].0 = _mm256_add_epi32(dots[r].0, half(low));
                        dots[r].1 = _mm256_add_epi32(dots[r].1, half(high));
                    }
                }
                for r in 0..R {
                    results[t][r] = Pair(_mm256_cvtepi32_ps(dots[r].0), _mm256_cvtepi32_ps(dots[r].1));
                }
            }
            results
        }
    }
}
