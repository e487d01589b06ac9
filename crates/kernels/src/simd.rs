//! The lane operations that an instruction set provides, and what is built from them alone.

use crate::product::{Product, WeightBlock, by_rows};
use crate::quant::{BLOCK, BLOCK_VECTORS, RowBlock};
use crate::rans::{DecodeRounds, EncodeRounds};

/// Number of virtual lanes: every vector operation works on 16 f32 values, whatever the hardware's width.
pub const LANES: usize = 16;

/// One instruction set's lane operations. A value of an implementing type is proof that the instruction set is there,
/// which is what makes the methods safe to call.
///
/// All operations are IEEE 754 binary32, round to nearest even, no flushing of subnormals, and [`Simd::fma`] rounds
/// once. NaNs follow the rules written at each operation; nothing depends on a NaN's payload.
pub trait Simd: Copy + Send + Sync + 'static {
    /// 16 f32 lanes.
    type F: Copy;

    /// Runs `kernel` compiled for this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// All lanes equal to `x`.
    fn splat(self, x: f32) -> Self::F;
    /// Lane i is `x[i]`.
    fn load(self, x: &[f32; LANES]) -> Self::F;
    /// `out[i]` is lane i.
    fn store(self, x: Self::F, out: &mut [f32; LANES]);
    /// a + b.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a - b.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`: b where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`: b where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Nearest integer, ties to even, as f32.
    fn round(self, x: Self::F) -> Self::F;
    /// 2^n for integral lanes n in -126..=127.
    fn exp2_integral(self, n: Self::F) -> Self::F;
    /// The exponent and the mantissa of positive normal lanes: n and m with x = m * 2^n and 1 <= m < 2. Any finite numbers for
    /// other lanes, the same ones on every instruction set.
    fn split_exponent(self, x: Self::F) -> (Self::F, Self::F);
    /// `yes` in the lanes where a < b, `no` elsewhere (also where either is NaN).
    fn select_lt(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F;
    /// The largest of the 64 bit patterns with the sign bit cleared.
    fn max_abs_bits(self, x: [Self::F; BLOCK_VECTORS]) -> u32;
    /// Lanes of magnitude at most 127.5, rounded to the nearest integer, ties to even; any integers for others.
    fn to_i8(self, x: [Self::F; BLOCK_VECTORS], out: &mut [i8; BLOCK]);
    /// Lanes in 0..2^31, truncated.
    fn to_u32(self, x: Self::F, out: &mut [u32; LANES]);
    /// Exact dot products of `T` weight blocks with `R` rows, for 16 outputs each, as f32 (|dot| <= 64 * 127 * 127 < 2^24, so the
    /// conversion is exact).
    ///
    /// `x[r]`: 64 activations. `bias[r]` = -128 * sum of `x[r]` where [`Simd::wants_bias`], for instructions that want
    /// unsigned weights.
    fn block_dots<const T: usize, const R: usize>(
        self,
        w: [&WeightBlock; T],
        x: [&RowBlock; R],
        bias: [i32; R],
    ) -> [[Self::F; R]; T];

    /// Whether products with this many rows need the blocks' sums. If not, `bias` is 0 in [`Simd::block_dots`].
    fn wants_bias(self, n_rows: usize) -> bool;

    /// Sum of a block's values.
    #[inline(always)]
    fn block_sum(self, x: &RowBlock) -> i32 {
        x.0.iter().map(|&x| i32::from(x)).sum()
    }

    /// Fetches block `at` of `weights` into the cache, if there is one.
    #[inline(always)]
    fn prefetch(self, weights: &[WeightBlock], at: usize) {
        let _ = (weights, at);
    }

    /// The product of some rows and tiles, as module `product` defines it. Row r of tile t goes to
    /// `out[r * out_stride + t]`.
    fn product(self, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
        by_rows(self, product, out, out_stride);
    }

    /// Lanes 8 to 11 are `x`, all others 0. Four numbers that were just computed get into lanes this way without a detour
    /// over memory, where a wide load would have to wait for narrow stores.
    #[inline(always)]
    fn lanes_8_to_11(self, x: [f32; 4]) -> Self::F {
        let mut lanes = [0.0; LANES];
        lanes[8..12].copy_from_slice(&x);
        self.load(&lanes)
    }

    /// Decodes as many whole rounds of symbols as it can do fast, from the first on. Returns how many symbols and how many words
    /// that were; the states are those after them. No symbol at all where this instruction set has nothing to offer.
    fn decode_rounds(self, rounds: DecodeRounds<'_>) -> (usize, usize) {
        let _ = rounds;
        (0, 0)
    }

    /// Encodes whole rounds of symbols. Returns the number of words that are still free, or `None`, with nothing changed, where this
    /// instruction set has nothing to offer.
    fn encode_rounds(self, rounds: EncodeRounds<'_>) -> Option<usize> {
        let _ = rounds;
        None
    }

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }

    /// The first `x.len()` (at most 16) lanes from `x`, the rest `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::F {
        match x.first_chunk::<LANES>() {
            Some(whole) => self.load(whole),
            None => {
                let mut padded = [fill; LANES];
                padded[..x.len()].copy_from_slice(x);
                self.load(&padded)
            }
        }
    }

    /// The first `out.len()` (at most 16) lanes to `out`.
    #[inline(always)]
    fn store_partial(self, x: Self::F, out: &mut [f32]) {
        match out.first_chunk_mut::<LANES>() {
            Some(whole) => self.store(x, whole),
            None => {
                let mut lanes = [0.0; LANES];
                self.store(x, &mut lanes);
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }

    /// Sum of the lanes by a fixed tree: lane i + lane i+8, then +4, +2, +1.
    #[inline(always)]
    fn sum_lanes(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }

    /// Largest lane that is not NaN; `-inf` if all are.
    #[inline(always)]
    fn max_lanes(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        lanes.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
    }
}

/// A computation that can be compiled for any instruction set. `run` should be `#[inline(always)]`, so that it takes on
/// the target features of [`Simd::run`].
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Carries it out with the lane operations of `simd`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
