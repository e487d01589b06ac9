//! AVX-512 with AMX's int8 tiles (Linux): the products of batches of 9 rows or more go through tile registers, all else
//! is AVX-512.
//!
//! A tile product is exact in i32, as the block's dot products are by definition, so no bit differs. The intrinsics are
//! not stable in Rust, hence the assembly; it is confined to the configuration of the tiles, `begin` and `store_and_begin`.

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::avx512::Avx512;
use crate::product::{Product, TILE_ROWS, WeightBlock};
use crate::quant::{BLOCK, BLOCK_VECTORS, RowBlock};
use crate::rans::{DecodeRounds, EncodeRounds};
use crate::simd::{Kernel, LANES, Simd};

/// Batches of fewer rows than this are faster row by row.
const MIN_ROWS: usize = 9;

/// Proof that AVX-512 (see [`Avx512`]) and AMX-INT8 are there and that this process may use the tile registers; made
/// only by [`Amx::detect`].
#[derive(Clone, Copy, Debug)]
pub struct Amx(Avx512);

impl Amx {
    /// The token, if this machine has the instructions and its operating system lets this process use them.
    pub fn detect() -> Option<Self> {
        let vectors = Avx512::detect()?;
        const AMX_TILE: u32 = 1 << 24;
        const AMX_INT8: u32 = 1 << 25;
        let leaf = __cpuid_count(7, 0);
        (leaf.edx & AMX_TILE != 0 && leaf.edx & AMX_INT8 != 0 && may_use_tiles()).then_some(Self(vectors))
    }
}

/// Asks the kernel for the tile registers: they are off until a process asks (Linux 5.16 and later).
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two integers, changes nothing but this permission, and older kernels return an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Shapes of the tile registers (palette 1): 0 and 1 hold sums (16 rows of 16 i32), 2 and 3 rows of activations (16 rows of
/// 64 int8), 4 and 5 weights (16 rows of 16 times 4 int8).
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

impl TileConfig {
    const VALUE: Self = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut register = 0;
        while register < 6 {
            // Bytes a row, little-endian u16 from byte 16 on; rows from byte 48 on.
            (bytes[16 + 2 * register], bytes[48 + register]) = (64, 16);
            register += 1;
        }
        Self(bytes)
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn run_with_features<K: Kernel>(simd: Amx, kernel: K) -> K::Output {
    // SAFETY: an `Amx` exists only where the instruction may be used; it reads the 64 bytes of a valid configuration.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &TileConfig::VALUE, options(nostack, readonly)) };
    let output = kernel.run(simd);
    // SAFETY: as above. Without it every later context switch of this thread would save the tiles.
    unsafe { asm!("tilerelease", options(nomem, nostack)) };
    output
}

/// Sums of one block for 16 rows and 16 outputs: `[row][output]`.
#[repr(C, align(64))]
struct Sums([[i32; LANES]; TILE_ROWS]);

/// Starts on the exact dot products of one block, in register 0.
///
/// # Safety
/// Tiles must be configured by [`TileConfig::VALUE`].
#[inline(always)]
unsafe fn begin(rows: &[RowBlock; TILE_ROWS], weights: &WeightBlock) {
    // SAFETY: reads 16 rows of 64 bytes of both.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm2, [{rows} + {line}]",
            "tileloadd tmm4, [{weights} + {line}]",
            "tdpbssd tmm0, tmm2, tmm4",
            rows = in(reg) rows,
            weights = in(reg) weights,
            line = in(reg) 64usize,
            options(nostack, readonly),
        );
    }
}

/// Writes the dot products in one register, and starts on the next block's in the other.
///
/// The compiler never touches tile registers, so they keep their contents from one call to the next.
///
/// # Safety
/// As [`begin`]; the block before must have been begun with `ODD` the other way round, the first one counting as odd.
#[inline(always)]
unsafe fn store_and_begin<const ODD: bool>(
    sums: &mut MaybeUninit<Sums>,
    rows: &[RowBlock; TILE_ROWS],
    weights: &WeightBlock,
) {
    // SAFETY: writes 16 rows of 64 bytes, all of `sums`, and reads as `begin`.
    unsafe {
        if ODD {
            asm!(
                "tilestored [{sums} + {line}], tmm1",
                "tilezero tmm0",
                "tileloadd tmm2, [{rows} + {line}]",
                "tileloadd tmm4, [{weights} + {line}]",
                "tdpbssd tmm0, tmm2, tmm4",
                sums = in(reg) sums.as_mut_ptr(),
                rows = in(reg) rows,
                weights = in(reg) weights,
                line = in(reg) 64usize,
                options(nostack),
            );
        } else {
            asm!(
                "tilestored [{sums} + {line}], tmm0",
                "tilezero tmm1",
                "tileloadd tmm3, [{rows} + {line}]",
                "tileloadd tmm5, [{weights} + {line}]",
                "tdpbssd tmm1, tmm3, tmm5",
                sums = in(reg) sums.as_mut_ptr(),
                rows = in(reg) rows,
                weights = in(reg) weights,
                line = in(reg) 64usize,
                options(nostack),
            );
        }
    }
}

/// Which block of which tile of a product: all blocks of a tile, then the next tile's.
#[derive(Clone, Copy)]
struct Place {
    tile: usize,
    block: usize,
}

impl Place {
    /// The one after it; the last one again where there is none.
    #[inline(always)]
    fn next(self, product: &Product<'_>) -> Self {
        let Self { tile, block } = self;
        if block + 1 < product.n_blocks {
            Self { tile, block: block + 1 }
        } else if tile + 1 < product.n_tiles {
            Self { tile: tile + 1, block: 0 }
        } else {
            self
        }
    }

    #[inline(always)]
    fn weights(self, product: &Product<'_>) -> usize {
        self.tile * product.tile_stride + self.block * product.block_stride
    }
}

/// The product through tiles, for up to 16 rows.
///
/// Three blocks are at work: one is multiplied while the sums of the one before are stored and those of the one before
/// that are scaled.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
#[inline(never)]
fn by_tiles(simd: Amx, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
    let Product { rows, row_scales, n_rows, n_tiles, weights, .. } = *product;
    if n_tiles == 0 || n_rows == 0 {
        return;
    }
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
    let [even, odd] = &mut sums;
    // SAFETY: `Amx::run` has configured the tiles.
    unsafe { begin(&rows[0], &weights[0]) };
    let mut ahead = Place { tile: 0, block: 0 }.next(product);
    // SAFETY: as above, and the first block counts as even.
    unsafe { store_and_begin::<false>(even, &rows[ahead.block], &weights[ahead.weights(product)]) };
    let mut is_odd = false;
    for tile in 0..n_tiles {
        let mut acc = [simd.zero(); TILE_ROWS];
        for (b, x_scales) in row_scales.iter().enumerate() {
            ahead = ahead.next(product);
            let (next_rows, next_weights) = (&rows[ahead.block], &weights[ahead.weights(product)]);
            let at = Place { tile, block: b }.weights(product);
            if product.prefetch_blocks > 0 {
                simd.prefetch(weights, at + product.prefetch_blocks);
            }
            let w_scales = product.weight_scales.map(|scales| &scales[at]);
            // SAFETY: the tiles are configured, blocks alternate, and a buffer is scaled after it has been written.
            unsafe {
                if is_odd {
                    store_and_begin::<false>(even, next_rows, next_weights);
                    add_scaled(odd.assume_init_ref(), x_scales, w_scales, &mut acc);
                } else {
                    store_and_begin::<true>(odd, next_rows, next_weights);
                    add_scaled(even.assume_init_ref(), x_scales, w_scales, &mut acc);
                }
            }
            is_odd = !is_odd;
        }
        if n_rows == TILE_ROWS {
            for (r, acc) in acc.into_iter().enumerate() {
                simd.store(acc, &mut out[r * out_stride + tile]);
            }
        } else {
            for (r, acc) in acc.into_iter().enumerate().take(n_rows) {
                simd.store(acc, &mut out[r * out_stride + tile]);
            }
        }
    }
}

/// acc = fma(dot, scale, acc) for each row, with the sums of a block and its scales.
///
/// # Safety
/// AVX-512 must be there.
#[inline(always)]
unsafe fn add_scaled(
    sums: &Sums,
    x_scales: &[f32; TILE_ROWS],
    w_scales: Option<&[f32; LANES]>,
    acc: &mut [__m512; TILE_ROWS],
) {
    // SAFETY: the caller's promise; the loads are of 64 bytes that are there.
    unsafe {
        for ((acc, sums), &x_scale) in acc.iter_mut().zip(&sums.0).zip(x_scales) {
            let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums.as_ptr().cast()));
            let x_scale = _mm512_set1_ps(x_scale);
            let scale = match w_scales {
                Some(w_scales) => _mm512_mul_ps(_mm512_loadu_ps(w_scales.as_ptr()), x_scale),
                None => x_scale,
            };
            *acc = _mm512_fmadd_ps(dot, scale, *acc);
        }
    }
}

/// Operations that AVX-512 carries out.
macro_rules! as_avx512 {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $type),*) $(-> $result)? {
                self.0.$name($($arg),*)
            }
        )*
    };
}

impl Simd for Amx {
    type F = __m512;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: an `Amx` exists only where `detect` found every feature that the function enables.
        unsafe { run_with_features(self, kernel) }
    }

    as_avx512! {
        splat(x: f32) -> __m512;
        load(x: &[f32; LANES]) -> __m512;
        store(x: __m512, out: &mut [f32; LANES]);
        add(a: __m512, b: __m512) -> __m512;
        sub(a: __m512, b: __m512) -> __m512;
        mul(a: __m512, b: __m512) -> __m512;
        div(a: __m512, b: __m512) -> __m512;
        fma(a: __m512, b: __m512, c: __m512) -> __m512;
        max(a: __m512, b: __m512) -> __m512;
        min(a: __m512, b: __m512) -> __m512;
        round(x: __m512) -> __m512;
        exp2_integral(n: __m512) -> __m512;
        split_exponent(x: __m512) -> (__m512, __m512);
        lanes_8_to_11(x: [f32; 4]) -> __m512;
        sum_lanes(x: __m512) -> f32;
        select_lt(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512;
        max_abs_bits(x: [__m512; BLOCK_VECTORS]) -> u32;
        to_i8(x: [__m512; BLOCK_VECTORS], out: &mut [i8; BLOCK]);
        to_u32(x: __m512, out: &mut [u32; LANES]);
    }

    #[inline(always)]
    fn prefetch(self, weights: &[WeightBlock], at: usize) {
        self.0.prefetch(weights, at);
    }

    #[inline(always)]
    fn wants_bias(self, n_rows: usize) -> bool {
        n_rows < MIN_ROWS
    }

    #[inline(always)]
    fn decode_rounds(self, rounds: DecodeRounds<'_>) -> (usize, usize) {
        self.0.decode_rounds(rounds)
    }

    #[inline(always)]
    fn encode_rounds(self, rounds: EncodeRounds<'_>) -> Option<usize> {
        self.0.encode_rounds(rounds)
    }

    #[inline(always)]
    fn block_sum(self, x: &RowBlock) -> i32 {
        self.0.block_sum(x)
    }

    #[inline(always)]
    fn block_dots<const T: usize, const R: usize>(
        self,
        w: [&WeightBlock; T],
        x: [&RowBlock; R],
        bias: [i32; R],
    ) -> [[__m512; R]; T] {
        self.0.block_dots(w, x, bias)
    }

    #[inline(always)]
    fn product(self, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
        // Without the blocks' sums there is no way row by row.
        if product.row_bias.is_none() && product.n_blocks > 0 {
            // SAFETY: an `Amx` exists only where `detect` found every feature that the function enables.
            unsafe { by_tiles(self, product, out, out_stride) };
        } else {
            self.0.product(product, out, out_stride);
        }
    }
}
