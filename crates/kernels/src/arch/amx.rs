//! AVX-512 with AMX's int8 tiles (Linux): the products of batches of 9 rows or more go through tile registers, all else
//! is AVX-512.
//!
//! A tile product is exact in i32, as the block's dot products are by definition, so no bit differs. The intrinsics are
//! not stable in Rust, hence the assembly; it is confined to the configuration of the tiles and `dot_tile`.

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::avx512::Avx512;
use crate::product::{Product, TILE_ROWS, WeightBlock, by_rows};
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
/// one before, that lie in one allocation; `weights` must be readable and `sums` writable.
#[inline(always)]
unsafe fn dot_tile(rows: *const RowBlock, row_bytes: usize, weights: *const WeightBlock, sums: *mut Sums) {
    // SAFETY: reads 16 rows of 32 bytes at `rows` and 8 rows of 64 bytes of `weights`; writes 16 rows of 64 bytes, all of
    // `sums`: the caller's promises.
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
            sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            options(nostack),
        );
    }
}

/// The product through tiles, for up to 16 rows; 16 must be there.
#[inline(always)]
fn by_tiles(simd: Amx, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
    let Product { n_rows, n_blocks, n_tiles, row_stride, tile_stride, block_stride, .. } = *product;
    if n_tiles == 0 || n_rows == 0 {
        return;
    }
    // What the loads and stores below stay within.
    let whole = (TILE_ROWS - 1) * row_stride + n_blocks;
    assert!(n_blocks >= 1 && n_blocks <= row_stride && n_rows <= TILE_ROWS);
    assert!(product.rows.len() >= whole && product.row_scales.len() >= whole);
    assert!(out.len() > (n_rows - 1) * out_stride + (n_tiles - 1));
    let last = (n_tiles - 1) * tile_stride + (n_blocks - 1) * block_stride;
    assert!(product.weights.len() > last && product.weight_scales.is_none_or(|scales| scales.len() > last));
    // Two buffers, so that the tiles of the next block are computed while this block's sums are scaled.
    let mut sums = MaybeUninit::<[Sums; 2]>::uninit();
    let sums: *mut Sums = sums.as_mut_ptr().cast();
    let row_bytes = row_stride * size_of::<RowBlock>();
    // SAFETY: `Amx::run` has configured the tiles, AVX-512 is there (see `Amx`), and all that is read and written was
    // checked above; each buffer is written before it is read.
    unsafe {
        let (rows, weights) = (product.rows.as_ptr(), product.weights.as_ptr());
        dot_tile(rows, row_bytes, weights, sums);
        let mut parity = 0;
        for tile in 0..n_tiles {
            let mut acc = [_mm512_setzero_ps(); TILE_ROWS];
            for b in 0..n_blocks {
                let at = tile * tile_stride + b * block_stride;
                let (next_b, next_at) = if b + 1 < n_blocks {
                    (b + 1, at + block_stride)
                } else {
                    // The first block of the next tile; of the last tile again, where there is none.
                    (0, (tile + 1).min(n_tiles - 1) * tile_stride)
                };
                dot_tile(rows.add(next_b), row_bytes, weights.add(next_at), sums.add(parity ^ 1));
                if product.prefetch_blocks > 0 {
                    simd.prefetch(product.weights, at + product.prefetch_blocks);
                }
                add_scaled(product, b, at, sums.add(parity), &mut acc);
                parity ^= 1;
            }
            let out = out.as_mut_ptr().add(tile).cast::<f32>();
            if n_rows == TILE_ROWS {
                for (r, acc) in acc.iter().enumerate() {
                    _mm512_storeu_ps(out.add(r * out_stride * LANES), *acc);
                }
            } else {
                for (r, acc) in acc.iter().enumerate().take(n_rows) {
                    _mm512_storeu_ps(out.add(r * out_stride * LANES), *acc);
                }
            }
        }
    }
}

/// acc = fma(dot, scale, acc) for each row, with the sums of block `b` and the weight block at `at`.
///
/// # Safety
/// AVX-512 must be there, `sums` written, `product.row_scales` hold block `b` of 16 rows and the weights' scales `at`.
#[inline(always)]
unsafe fn add_scaled(product: &Product<'_>, b: usize, at: usize, sums: *const Sums, acc: &mut [__m512; TILE_ROWS]) {
    // SAFETY: the caller's promises; the loads stay within the 16 rows of `sums`.
    unsafe {
        let sums: *const i32 = sums.cast();
        let x_scales = product.row_scales.as_ptr().add(b);
        match product.weight_scales {
            Some(w_scales) => {
                let w_scale = _mm512_loadu_ps(w_scales.as_ptr().add(at).cast());
                for (r, acc) in acc.iter_mut().enumerate() {
                    let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(r * LANES).cast()));
                    let x_scale = _mm512_set1_ps(*x_scales.add(r * product.row_stride));
                    *acc = _mm512_fmadd_ps(dot, _mm512_mul_ps(w_scale, x_scale), *acc);
                }
            }
            None => {
                for (r, acc) in acc.iter_mut().enumerate() {
                    let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(r * LANES).cast()));
                    let x_scale = _mm512_set1_ps(*x_scales.add(r * product.row_stride));
                    *acc = _mm512_fmadd_ps(dot, x_scale, *acc);
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
    fn product(self, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
        // Without the blocks' sums there is no way row by row; whole tiles of rows are there then.
        if product.row_bias.is_none() && product.n_blocks > 0 {
            by_tiles(self, product, out, out_stride);
        } else {
            by_rows(self, product, out, out_stride);
        }
    }
}
