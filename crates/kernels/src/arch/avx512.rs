//! AVX-512 with VNNI: one 512-bit register holds the 16 lanes.

use core::arch::x86_64::*;

use super::{avx512_rans, four};
use crate::product::{Product, WeightBlock, by_rows};
use crate::quant::{BLOCK, BLOCK_VECTORS, RowBlock};
use crate::rans::{DecodeRounds, EncodeRounds};
use crate::simd::{Kernel, LANES, Simd};

/// Proof that AVX-512 F, BW, DQ, VL and VNNI, AVX2 and FMA are there; made only by [`Avx512::detect`].
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The token, if this machine and its operating system support the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn run_with_features<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Compiled once and called, since inlining it wherever a product is wanted takes long to compile and gains nothing.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[inline(never)]
fn product_by_rows(simd: Avx512, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
    by_rows(simd, product, out, out_stride);
}

/// Wraps intrinsics without memory operands.
macro_rules! lanes {
    ($e:expr) => {
        // SAFETY: an `Avx512` exists only where these instructions do, and nothing here touches memory.
        unsafe { $e }
    };
}

impl Simd for Avx512 {
    type F = __m512;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: an `Avx512` exists only where `detect` found every feature that the function enables.
        unsafe { run_with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        lanes!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        // SAFETY: the instruction is there (see `Avx512`), and `x` is 16 readable f32; the load may be unaligned.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        // SAFETY: the instruction is there (see `Avx512`), and `out` is 16 writable f32; the store may be unaligned.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        lanes!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, x: Self::F) -> Self::F {
        lanes!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x))
    }

    #[inline(always)]
    fn exp2_integral(self, n: Self::F) -> Self::F {
        lanes!({
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        })
    }

    #[inline(always)]
    fn split_exponent(self, x: Self::F) -> (Self::F, Self::F) {
        lanes!({
            let bits = _mm512_castps_si512(x);
            let exponent = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
            let mantissa = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let mantissa = _mm512_or_si512(mantissa, _mm512_set1_epi32(0x3f80_0000));
            (_mm512_cvtepi32_ps(exponent), _mm512_castsi512_ps(mantissa))
        })
    }

    #[inline(always)]
    fn lanes_8_to_11(self, x: [f32; 4]) -> Self::F {
        lanes!({
            let quarter = _mm_setr_ps(x[0], x[1], x[2], x[3]);
            _mm512_insertf32x4::<2>(_mm512_setzero_ps(), quarter)
        })
    }

    #[inline(always)]
    fn sum_lanes(self, x: Self::F) -> f32 {
        lanes!({
            let eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        lanes!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes))
    }

    #[inline(always)]
    fn max_abs_bits(self, x: [Self::F; BLOCK_VECTORS]) -> u32 {
        lanes!({
            let magnitude = _mm512_set1_epi32(0x7fff_ffff);
            let mut max = _mm512_setzero_si512();
            for x in x {
                max = _mm512_max_epi32(max, _mm512_and_epi32(_mm512_castps_si512(x), magnitude));
            }
            _mm512_reduce_max_epi32(max) as u32
        })
    }

    #[inline(always)]
    fn to_i8(self, x: [Self::F; BLOCK_VECTORS], out: &mut [i8; BLOCK]) {
        // SAFETY: the instructions are there (see `Avx512`), and `out` is 64 writable bytes.
        unsafe {
            let [a, b, c, d] = x;
            let low = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
            let high = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
            // The packs work within quarters of a register: groups of four bytes 0 4 8 12, 1 5 9 13, ... come out.
            let bytes = _mm512_packs_epi16(low, high);
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_permutexvar_epi32(order, bytes));
        }
    }

    #[inline(always)]
    fn to_u32(self, x: Self::F, out: &mut [u32; LANES]) {
        // SAFETY: the instructions are there (see `Avx512`), and `out` is 64 writable bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_cvttps_epi32(x)) }
    }

    #[inline(always)]
    fn prefetch(self, weights: &[WeightBlock], at: usize) {
        super::prefetch(weights, at);
    }

    #[inline(always)]
    fn wants_bias(self, _n_rows: usize) -> bool {
        true
    }

    #[inline(always)]
    fn product(self, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
        // SAFETY: an `Avx512` exists only where `detect` found every feature that the function enables.
        unsafe { product_by_rows(self, product, out, out_stride) }
    }

    #[inline(always)]
    fn decode_rounds(self, rounds: DecodeRounds<'_>) -> (usize, usize) {
        // SAFETY: an `Avx512` exists only where `detect` found every feature that the function enables.
        unsafe { avx512_rans::decode(rounds) }
    }

    #[inline(always)]
    fn encode_rounds(self, rounds: EncodeRounds<'_>) -> Option<usize> {
        // SAFETY: as above.
        unsafe { avx512_rans::encode(rounds) }
    }

    #[inline(always)]
    fn block_sum(self, x: &RowBlock) -> i32 {
        // SAFETY: the instructions are there (see `Avx512`), and a block is 64 bytes, aligned.
        unsafe {
            let x = _mm512_load_si512(x.0.as_ptr().cast());
            let sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), x);
            let sums = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
            let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
            let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b10_11_00_01>(sums));
            _mm_cvtsi128_si32(sums)
        }
    }

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "a closure may be compiled apart, without these instructions")]
    fn block_dots<const T: usize, const R: usize>(
        self,
        w: [&WeightBlock; T],
        x: [&RowBlock; R],
        bias: [i32; R],
    ) -> [[Self::F; R]; T] {
        lanes!({
            let offset = _mm512_set1_epi8(-128);
            let mut dots = [[_mm512_setzero_si512(); R]; T];
            for t in 0..T {
                for r in 0..R {
                    dots[t][r] = _mm512_set1_epi32(bias[r]);
                }
            }
            for group in 0..BLOCK / 4 {
                let mut x4 = [_mm512_setzero_si512(); R];
                for r in 0..R {
                    x4[r] = _mm512_set1_epi32(four(x[r], group));
                }
                for t in 0..T {
                    // SAFETY: `w` holds BLOCK / 4 groups of 64 bytes. vpdpbusd wants one unsigned factor: weight + 128.
                    let w = _mm512_xor_si512(_mm512_load_si512(w[t].0.as_ptr().add(group * 64).cast()), offset);
                    for r in 0..R {
                        // vpdpbusd does not saturate between its four products: exact.
                        dots[t][r] = _mm512_dpbusd_epi32(dots[t][r], w, x4[r]);
                    }
                }
            }
            let mut results = [[_mm512_setzero_ps(); R]; T];
            for t in 0..T {
                for r in 0..R {
                    results[t][r] = _mm512_cvtepi32_ps(dots[t][r]);
                }
            }
            results
        })
    }
}
