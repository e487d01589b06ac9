//! The one matrix product that linear layers and attention are made of: int8 blocks of 32 with f32 scales.
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

/// Results of up to 16 rows for 16 outputs.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Tile(pub [[f32; LANES]; TILE_ROWS]);

impl Tile {
    /// All zero.
    pub const ZERO: Self = Self([[0.0; LANES]; TILE_ROWS]);
}

/// Up to 16 rows times the weights of some tiles of 16 outputs each.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Block b of row r is `rows[r * row_stride + b]`. There may be more rows than `n_rows`.
    pub(crate) rows: &'a [RowBlock],
    /// Laid out as `rows`.
    pub(crate) row_scales: &'a [f32],
    /// Sum of each block times -128, laid out as `rows`; `None` where the instruction set does not want it, and then
    /// `rows` holds 16 rows.
    pub(crate) row_bias: Option<&'a [i32]>,
    /// Blocks from one row to the next.
    pub(crate) row_stride: usize,
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
    /// Rows `first_row..first_row + n_rows` of `x`, all blocks; weights still to be said.
    pub(crate) fn of_rows(x: &'a QuantRows, first_row: usize, n_rows: usize) -> Self {
        let n_blocks = x.blocks_per_row();
        let from = first_row * n_blocks;
        Self {
            rows: &x.q[from..],
            row_scales: &x.scales[from..],
            row_bias: (!x.bias.is_empty()).then(|| &x.bias[from..]),
            row_stride: n_blocks,
            n_rows,
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
    for tile in 0..product.n_tiles {
        let mut row = 0;
        while row < product.n_rows {
            let out = &mut out[row * out_stride + tile..];
            row += match product.n_rows - row {
                ROWS_AT_ONCE.. => some_rows::<S, ROWS_AT_ONCE>(simd, product, tile, row, out, out_stride),
                4.. => some_rows::<S, 4>(simd, product, tile, row, out, out_stride),
                3 => some_rows::<S, 3>(simd, product, tile, row, out, out_stride),
                2 => some_rows::<S, 2>(simd, product, tile, row, out, out_stride),
                _ => some_rows::<S, 1>(simd, product, tile, row, out, out_stride),
            };
        }
    }
}

/// `R` rows from `row` on, for one tile; returns `R`.
#[inline(always)]
fn some_rows<S: Simd, const R: usize>(
    simd: S,
    product: &Product<'_>,
    tile: usize,
    row: usize,
    out: &mut [[f32; LANES]],
    out_stride: usize,
) -> usize {
    let Product { n_blocks, row_stride, block_stride, .. } = *product;
    let q: [&[RowBlock]; R] = core::array::from_fn(|r| &product.rows[(row + r) * row_stride..][..n_blocks]);
    let x_scales: [&[f32]; R] = core::array::from_fn(|r| &product.row_scales[(row + r) * row_stride..][..n_blocks]);
    let bias: Option<[&[i32]; R]> =
        product.row_bias.map(|bias| core::array::from_fn(|r| &bias[(row + r) * row_stride..][..n_blocks]));
    let weights = &product.weights[tile * product.tile_stride..];
    let weight_scales = product.weight_scales.map(|scales| &scales[tile * product.tile_stride..]);
    let mut acc = [simd.zero(); R];
    // Once is enough for all rows.
    let prefetch_blocks = if row == 0 { product.prefetch_blocks } else { 0 };
    for b in 0..n_blocks {
        if prefetch_blocks > 0 {
            simd.prefetch(weights, b * block_stride + prefetch_blocks);
        }
        let dots = simd.block_dots::<R>(
            &weights[b * block_stride],
            core::array::from_fn(|r| &q[r][b]),
            bias.map_or([0; R], |bias| core::array::from_fn(|r| bias[r][b])),
        );
        match weight_scales {
            Some(scales) => {
                let w_scale = simd.load(&scales[b * block_stride]);
                for r in 0..R {
                    let scale = simd.mul(w_scale, simd.splat(x_scales[r][b]));
                    acc[r] = simd.fma(dots[r], scale, acc[r]);
                }
            }
            None => {
                for r in 0..R {
                    acc[r] = simd.fma(dots[r], simd.splat(x_scales[r][b]), acc[r]);
                }
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        simd.store(acc, &mut out[r * out_stride]);
    }
    R
}
