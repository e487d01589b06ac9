//! AVX-512 with AMX's int8 tiles (Linux): the products of batches of 9 rows or more go through tile registers, all else
//! is AVX-512.
//!
//! A tile product is exact in i32, as the block's dot products are by definition, so no bit differs. The intrinsics are
//! not stable in Rust, hence the assembly; it is confined to [`TileConfig`] and [`dot_tile`].

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::avx512::Avx512;
use crate::product::{TILE_ROWS, Tile, TileProduct, WeightBlock, by_rows};
use crate::quant::{BLOCK, RowBlock};
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

/// Shapes of the tile registers (palette 1): 0 holds sums (16 rows of 16 i32), 1 rows of activations (16 rows of 32
/// int8), 2 weights (8 rows of 16 times 4 int8).
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

impl TileConfig {
    const VALUE: Self = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        // Bytes a row, little-endian u16 from byte 16 on; rows from byte 48 on.
        (bytes[16], bytes[48]) = (64, TILE_ROWS as u8);
        (bytes[18], bytes[49]) = (BLOCK as u8, TILE_ROWS as u8);
        (bytes[20], bytes[50]) = (64, BLOCK as u8 / 4);
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

/// Writes the exact dot products of one block.
///
/// # Safety
/// Tiles must be configured by [`TileConfig::VALUE`]; `rows` must be the first of 16 blocks, each `row_bytes` after the
/// one before, that lie in one allocation.
#[inline(always)]
unsafe fn dot_tile(rows: *const RowBlock, row_bytes: usize, weights: &WeightBlock, sums: &mut MaybeUninit<Sums>) {
    // SAFETY: reads 16 rows of 32 bytes at `rows` (the caller's promise) and 8 rows of 64 bytes of `weights`; writes 16
    // rows of 64 bytes, all of `sums`.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm1, [{rows} + {row_bytes}]",
            "tileloadd tmm2, [{weights} + {line}]",
            "tdpbssd tmm0, tmm1, tmm2",
            "tilestored [{sums} + {line}], tmm0",
            rows = in(reg) rows,
            row_bytes = in(reg) row_bytes,
            weights = in(reg) weights,
            line = in(reg) 64usize,
            sums = in(reg) sums.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            options(nostack),
        );
    }
}

/// The product through tiles, for up to 16 rows; 16 must be there.
#[inline(always)]
fn by_tiles(simd: Amx, product: &TileProduct<'_>, out: &mut Tile) {
    let TileProduct { n_blocks, row_stride, weight_stride, .. } = *product;
    let n_rows = product.n_rows.min(TILE_ROWS);
    // What the loads below stay within.
    assert!(n_blocks >= 1 && n_blocks <= row_stride && product.rows.len() >= (TILE_ROWS - 1) * row_stride + n_blocks);
    assert!(product.row_scales.len() >= (n_rows - 1) * row_stride + n_blocks);
    // Two buffers, so that the tiles of the next block are computed while this block's sums are scaled.
    let mut even = MaybeUninit::uninit();
    let mut odd = MaybeUninit::uninit();
    let first = product.rows.as_ptr();
    let row_bytes = row_stride * size_of::<RowBlock>();
    // SAFETY: `Amx::run` has configured the tiles, AVX-512 is there (see `Amx`), and the rows and their scales were
    // checked above; each buffer is written before it is read.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); TILE_ROWS];
        dot_tile(first, row_bytes, &product.weights[0], &mut even);
        let mut b = 0;
        while b + 1 < n_blocks {
            dot_tile(first.add(b + 1), row_bytes, &product.weights[(b + 1) * weight_stride], &mut odd);
            if product.prefetch_blocks > 0 {
                simd.prefetch(product.weights, b * weight_stride + product.prefetch_blocks);
            }
            add_scaled(product, b, n_rows, &even, &mut acc);
            if b + 2 < n_blocks {
                dot_tile(first.add(b + 2), row_bytes, &product.weights[(b + 2) * weight_stride], &mut even);
            }
            if product.prefetch_blocks > 0 {
                simd.prefetch(product.weights, (b + 1) * weight_stride + product.prefetch_blocks);
            }
            add_scaled(product, b + 1, n_rows, &odd, &mut acc);
            b += 2;
        }
        if b < n_blocks {
            if product.prefetch_blocks > 0 {
                simd.prefetch(product.weights, b * weight_stride + product.prefetch_blocks);
            }
            add_scaled(product, b, n_rows, &even, &mut acc);
        }
        for (acc, out) in acc.iter().zip(&mut out.0) {
            _mm512_store_ps(out.as_mut_ptr(), *acc);
        }
    }
}

/// acc = fma(dot, scale, acc) for each row, with the sums of block `b`. Rows beyond `n_rows` take the last one's scales.
///
/// # Safety
/// AVX-512 must be there, `sums` written, and `product.row_scales` hold block `b` of `n_rows` rows.
#[inline(always)]
unsafe fn add_scaled(
    product: &TileProduct<'_>,
    b: usize,
    n_rows: usize,
    sums: &MaybeUninit<Sums>,
    acc: &mut [__m512; TILE_ROWS],
) {
    // SAFETY: the caller's promises; the loads stay within the 16 rows of `sums`.
    unsafe {
        let sums: *const i32 = sums.as_ptr().cast();
        let x_scales = product.row_scales.as_ptr().add(b);
        let w_scale = product.weight_scales.map(|scales| scales[b * product.weight_stride].as_ptr());
        match w_scale {
            Some(w_scale) => {
                let w_scale = _mm512_loadu_ps(w_scale);
                for r in 0..TILE_ROWS {
                    let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(r * LANES).cast()));
                    let x_scale = _mm512_set1_ps(*x_scales.add(r.min(n_rows - 1) * product.row_stride));
                    acc[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(w_scale, x_scale), acc[r]);
                }
            }
            None => {
                for r in 0..TILE_ROWS {
                    let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(r * LANES).cast()));
                    let x_scale = _mm512_set1_ps(*x_scales.add(r.min(n_rows - 1) * product.row_stride));
                    acc[r] = _mm512_fmadd_ps(dot, x_scale, acc[r]);
                }
            }
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
        select_lt(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512;
        max_abs_bits(a: __m512, b: __m512) -> u32;
        to_i8(x: __m512, out: &mut [i8; LANES]);
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
    fn block_sum(self, x: &RowBlock) -> i32 {
        self.0.block_sum(x)
    }

    #[inline(always)]
    fn block_dots<const R: usize>(self, w: &WeightBlock, x: [&RowBlock; R], bias: [i32; R]) -> [__m512; R] {
        self.0.block_dots(w, x, bias)
    }

    #[inline(always)]
    fn product(self, product: &TileProduct<'_>, out: &mut Tile) {
        // Without the blocks' sums there is no way row by row; whole tiles of rows are there then.
        if product.row_bias.is_none() && product.n_blocks > 0 {
            by_tiles(self, product, out);
        } else {
            by_rows(self, product, out);
        }
    }
}
