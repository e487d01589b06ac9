//! Linear layers: y = W x with int8 blocks.
//!
//! For output o and a row of activations: acc = 0; for each block b in ascending order
//! acc = fma(dot_b, scale_w(o, b) * scale_x(b), acc), where dot_b is the exact integer dot product of the block (below
//! 2^24 in magnitude, so its f32 is exact) and the product of the scales is rounded to f32. Outputs are independent, so
//! tiles and threads split them freely; the sum over blocks is never split.

use crate::quant::{BLOCK, QuantMatrix, QuantRows};
use crate::simd::{Kernel, LANES, Simd};

/// Outputs that one tile of packed weights computes.
pub const TILE_OUTPUTS: usize = LANES;

/// Bytes of weights in one block of one tile.
const BLOCK_BYTES: usize = TILE_OUTPUTS * BLOCK;

/// Rows that share one load of the weights.
const ROWS_AT_ONCE: usize = 8;

/// A weight matrix laid out for the kernels: tiles of 16 outputs, the last one padded with zeros.
#[derive(Clone, Debug)]
pub struct PackedLinear {
    n_outputs: usize,
    n_inputs: usize,
    /// `[tile][block][input / 4][output][input % 4]` of weight + 128.
    weights: Vec<[u8; BLOCK_BYTES]>,
    /// `[tile][block][output]`.
    scales: Vec<[f32; TILE_OUTPUTS]>,
}

impl PackedLinear {
    /// Packs a canonical matrix `[outputs, inputs]`.
    pub fn pack(matrix: &QuantMatrix) -> Self {
        let n_blocks = matrix.blocks_per_row();
        let n_tiles = matrix.rows().div_ceil(TILE_OUTPUTS);
        let mut weights = vec![[128; BLOCK_BYTES]; n_tiles * n_blocks];
        let mut scales = vec![[0.0; TILE_OUTPUTS]; n_tiles * n_blocks];
        for row in 0..matrix.rows() {
            let (tile, output) = (row / TILE_OUTPUTS, row % TILE_OUTPUTS);
            for block in 0..n_blocks {
                let at = tile * n_blocks + block;
                let source = row * n_blocks + block;
                scales[at][output] = matrix.scales()[source];
                for (input, &q) in matrix.values()[source * BLOCK..][..BLOCK].iter().enumerate() {
                    weights[at][(input / 4 * TILE_OUTPUTS + output) * 4 + input % 4] = (i16::from(q) + 128) as u8;
                }
            }
        }
        Self { n_outputs: matrix.rows(), n_inputs: matrix.cols(), weights, scales }
    }

    /// Number of outputs.
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Number of inputs.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// Number of tiles of [`TILE_OUTPUTS`] outputs.
    pub fn n_tiles(&self) -> usize {
        self.n_outputs.div_ceil(TILE_OUTPUTS)
    }

    /// Bytes that the packed weights and scales occupy.
    pub fn n_bytes(&self) -> usize {
        self.weights.len() * BLOCK_BYTES + self.scales.len() * TILE_OUTPUTS * size_of::<f32>()
    }
}

/// The outputs of tiles `first_tile..` for all rows of `x`. `out` has the layout `[tile][row][16]`.
pub(crate) struct LinearTiles<'a> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) x: &'a QuantRows,
    pub(crate) first_tile: usize,
    pub(crate) out: &'a mut [[f32; TILE_OUTPUTS]],
}

impl Kernel for LinearTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let n_rows = self.x.n_rows();
        if n_rows == 0 {
            return;
        }
        for (i, out) in self.out.chunks_exact_mut(n_rows).enumerate() {
            let tile = self.first_tile + i;
            let mut row = 0;
            while row < n_rows {
                row += match n_rows - row {
                    ROWS_AT_ONCE.. => rows_of_tile::<S, ROWS_AT_ONCE>(simd, self.linear, tile, self.x, row, out),
                    4.. => rows_of_tile::<S, 4>(simd, self.linear, tile, self.x, row, out),
                    2.. => rows_of_tile::<S, 2>(simd, self.linear, tile, self.x, row, out),
                    _ => rows_of_tile::<S, 1>(simd, self.linear, tile, self.x, row, out),
                };
            }
        }
    }
}

/// `R` rows from `row` on; returns `R`.
#[inline(always)]
fn rows_of_tile<S: Simd, const R: usize>(
    simd: S,
    linear: &PackedLinear,
    tile: usize,
    x: &QuantRows,
    row: usize,
    out: &mut [[f32; TILE_OUTPUTS]],
) -> usize {
    let n_blocks = x.blocks_per_row();
    let weights = &linear.weights[tile * n_blocks..][..n_blocks];
    let scales = &linear.scales[tile * n_blocks..][..n_blocks];
    let q: [&[[i8; BLOCK]]; R] = core::array::from_fn(|r| &x.q[(row + r) * n_blocks..][..n_blocks]);
    let x_scales: [&[f32]; R] = core::array::from_fn(|r| &x.scales[(row + r) * n_blocks..][..n_blocks]);
    let bias: [&[i32]; R] = core::array::from_fn(|r| &x.bias[(row + r) * n_blocks..][..n_blocks]);
    let mut acc = [simd.zero(); R];
    for b in 0..n_blocks {
        let dots =
            simd.block_dots::<R>(&weights[b], core::array::from_fn(|r| &q[r][b]), core::array::from_fn(|r| bias[r][b]));
        let w_scale = simd.load(&scales[b]);
        for r in 0..R {
            let scale = simd.mul(w_scale, simd.splat(x_scales[r][b]));
            acc[r] = simd.fma(dots[r], scale, acc[r]);
        }
    }
    for (acc, out) in acc.into_iter().zip(&mut out[row..row + R]) {
        simd.store(acc, out);
    }
    R
}
