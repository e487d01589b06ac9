//! The one matrix product that linear layers and attention are made of: int8 blocks of 64 with f32 scales.
//!
//! For a row r and an output o: acc = 0; for each block b in ascending order
//! acc = fma(dot_b, scale_w(o, b) * scale_x(r, b), acc), where dot_b is the exact integer dot product of the block
//! (below 2^24 in magnitude, so its f32 is exact) and the product of the scales is rounded to f32. Without weight
//! scales, scale_x(r, b) stands for that product. A block that is zero, with scale 0, leaves acc as it is, bit for bit.

use crate::quant::{BLOCK, QuantRows, RowBlock};
use crate::simd::{LANES, Simd};

/// Rows that one tile computes at most.
pub const TILE_ROWS: usize = 16;

/// Rows that share one load of the weights where the instruction set has no tiles.
const ROWS_AT_ONCE: usize = 8;
/// Up to this many rows, four tiles share one load of the rows there; of more rows, two.
const FEW_ROWS: usize = 4;

/// One block of weights for 16 outputs: `[input / 4][output][input % 4]`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct WeightBlock(pub [i8; LANES * BLOCK]);

impl WeightBlock {
    /// All zero.
    pub const ZERO: Self = Self([0; LANES * BLOCK]);

    /// Where input `input` of output `output` lies.
    #[inline(always)]
    pub(crate) fn index(input: usize, output: usize) -> usize {
        (input / 4 * LANES + output) * 4 + input % 4
    }
}

/// Up to 16 rows times the weights of some tiles of 16 outputs each.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Block b of row r is `rows[b][r]`.
    pub(crate) rows: &'a [[RowBlock; TILE_ROWS]],
    /// Laid out as `rows`.
    pub(crate) row_scales: &'a [[f32; TILE_ROWS]],
    /// Sum of each block times -128, laid out as `rows`; `None` where the instruction set does not want it.
    pub(crate) row_bias: Option<&'a [[i32; TILE_ROWS]]>,
    /// Rows wanted, at most 16.
    pub(crate) n_rows: usize,
    /// Blocks to sum over.
    pub(crate) n_blocks: usize,
    /// Tiles of outputs.
    pub(crate) n_tiles: usize,
    /// Block b of tile t is `weights[t * tile_stride + b * block_stride]`.
    pub(crate) weights: &'a [WeightBlock],
    /// Weight blocks from one tile to the next.
    pub(crate) tile_stride: usize,
    /// Weight blocks from one block of inputs to the next.
    pub(crate) block_stride: usize,
    /// Laid out as `weights`; `None` where the weights are integers as they are.
    pub(crate) weight_scales: Option<&'a [[f32; LANES]]>,
    /// How many weight blocks ahead of the one in work to fetch from memory; 0 for none.
    pub(crate) prefetch_blocks: usize,
}

impl<'a> Product<'a> {
    /// The rows of `x` from 16 * `group` on, up to 16, all blocks; weights still to be said.
    pub(crate) fn of_rows(x: &'a QuantRows, group: usize) -> Self {
        let n_blocks = x.blocks_per_row();
        let at = group * n_blocks..(group + 1) * n_blocks;
        Self {
            rows: &x.q[at.clone()],
            row_scales: &x.scales[at.clone()],
            row_bias: (!x.bias.is_empty()).then(|| &x.bias[at]),
            n_rows: (x.n_rows() - group * TILE_ROWS).min(TILE_ROWS),
            n_blocks,
            n_tiles: 0,
            weights: &[],
            tile_stride: 0,
            block_stride: 0,
            weight_scales: None,
            prefetch_blocks: 0,
        }
    }
}

/// The product by the dot products of single rows: what every instruction set without tiles does. Row r of tile t goes to
/// `out[r * out_stride + t]`.
#[inline(always)]
pub(crate) fn by_rows<S: Simd>(simd: S, product: &Product<'_>, out: &mut [[f32; LANES]], out_stride: usize) {
    let mut tile = 0;
    while tile < product.n_tiles {
        tile += match product.n_tiles - tile {
            4.. if product.n_rows <= FEW_ROWS => some_tiles::<S, 4>(simd, product, tile, out, out_stride),
            2.. => some_tiles::<S, 2>(simd, product, tile, out, out_stride),
            _ => some_tiles::<S, 1>(simd, product, tile, out, out_stride),
        };
    }
}

/// All rows for `T` tiles from `tile` on; returns `T`.
#[inline(always)]
fn some_tiles<S: Simd, const T: usize>(
    simd: S,
    product: &Product<'_>,
    tile: usize,
    out: &mut [[f32; LANES]],
    out_stride: usize,
) -> usize {
    let mut row = 0;
    while row < product.n_rows {
        row += match product.n_rows - row {
            ROWS_AT_ONCE.. => some_rows::<S, T, ROWS_AT_ONCE>(simd, product, tile, row, out, out_stride),
            4.. => some_rows::<S, T, 4>(simd, product, tile, row, out, out_stride),
            3 => some_rows::<S, T, 3>(simd, product, tile, row, out, out_stride),
            2 => some_rows::<S, T, 2>(simd, product, tile, row, out, out_stride),
            _ => some_rows::<S, T, 1>(simd, product, tile, row, out, out_stride),
        };
    }
    T
}

/// `R` rows from `row` on, for `T` tiles from `tile` on; returns `R`.
#[inline(always)]
fn some_rows<S: Simd, const T: usize, const R: usize>(
    simd: S,
    product: &Product<'_>,
    tile: usize,
    row: usize,
    out: &mut [[f32; LANES]],
    out_stride: usize,
) -> usize {
    let Product { n_blocks, block_stride, tile_stride, .. } = *product;
    let weights = &product.weights[tile * tile_stride..];
    let weight_scales = product.weight_scales.map(|scales| &scales[tile * tile_stride..]);
    let mut acc = [[simd.zero(); R]; T];
    // Once is enough for all rows.
    let prefetch_blocks = if row == 0 { product.prefetch_blocks } else { 0 };
    for b in 0..n_blocks {
        let x: [&RowBlock; R] = core::array::from_fn(|r| &product.rows[b][row + r]);
        let x_scales: [f32; R] = core::array::from_fn(|r| product.row_scales[b][row + r]);
        let bias = product.row_bias.map_or([0; R], |bias| core::array::from_fn(|r| bias[b][row + r]));
        let at: [usize; T] = core::array::from_fn(|t| t * tile_stride + b * block_stride);
        if prefetch_blocks > 0 {
            for at in at {
                simd.prefetch(weights, at + prefetch_blocks);
            }
        }
        let w: [&WeightBlock; T] = core::array::from_fn(|t| &weights[at[t]]);
        let dots = simd.block_dots::<T, R>(w, x, bias);
        for t in 0..T {
            match weight_scales {
                Some(scales) => {
                    let w_scale = simd.load(&scales[at[t]]);
                    for r in 0..R {
                        let scale = simd.mul(w_scale, simd.splat(x_scales[r]));
                        acc[t][r] = simd.fma(dots[t][r], scale, acc[t][r]);
                    }
                }
                None => {
                    for r in 0..R {
                        acc[t][r] = simd.fma(dots[t][r], simd.splat(x_scales[r]), acc[t][r]);
                    }
                }
            }
        }
    }
    for (t, acc) in acc.into_iter().enumerate() {
        for (r, acc) in acc.into_iter().enumerate() {
            simd.store(acc, &mut out[(row + r) * out_stride + tile + t]);
        }
    }
    R
}
