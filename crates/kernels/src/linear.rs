//! Linear layers: y = W x + b with int8 blocks (module `product`), outputs in tiles of 16.
//!
//! Outputs and rows are independent, so tiles and threads split them freely; the sum over blocks is never split. The
//! bias, where there is one, is one addition after the sum; so is a residual that the result is added to.

use core::ops::Range;

use crate::product::{Product, TILE_ROWS, Tile, WeightBlock};
use crate::quant::{BLOCK, QuantMatrix, QuantRows};
use crate::simd::{Kernel, LANES, Simd};

/// Outputs that one tile of packed weights computes.
pub const TILE_OUTPUTS: usize = LANES;

/// Bytes of a row of activations up to which 32 rows or more stay near while weights pass by.
const NEAR_BYTES: usize = 1152;
/// Tiles of weights that all rows pass by before the next tiles follow.
const TILES_AT_ONCE: usize = 8;

/// A weight matrix laid out for the kernels: tiles of 16 outputs, the last one padded with zeros.
#[derive(Clone, Debug)]
pub struct PackedLinear {
    n_outputs: usize,
    n_inputs: usize,
    /// `[tile][block]`.
    weights: Vec<WeightBlock>,
    /// `[tile][block][output]`.
    scales: Vec<[f32; TILE_OUTPUTS]>,
    /// `[tile][output]`.
    bias: Option<Vec<[f32; TILE_OUTPUTS]>>,
}

impl PackedLinear {
    /// Packs a canonical matrix `[outputs, inputs]`, without bias.
    pub fn pack(matrix: &QuantMatrix) -> Self {
        Self::stack(&[matrix])
    }

    /// Packs several canonical matrices that read the same input, one below the other.
    ///
    /// # Panics
    /// If the numbers of columns differ.
    pub fn stack(matrices: &[&QuantMatrix]) -> Self {
        let n_inputs = matrices.first().map_or(0, |matrix| matrix.cols());
        let n_blocks = n_inputs.div_ceil(BLOCK);
        let n_outputs = matrices.iter().map(|matrix| matrix.rows()).sum::<usize>();
        let n_tiles = n_outputs.div_ceil(TILE_OUTPUTS);
        let mut weights = vec![WeightBlock::ZERO; n_tiles * n_blocks];
        let mut scales = vec![[0.0; TILE_OUTPUTS]; n_tiles * n_blocks];
        let mut row = 0;
        for matrix in matrices {
            assert_eq!(matrix.cols(), n_inputs, "stacked matrices read the same input");
            for source_row in 0..matrix.rows() {
                let (tile, output) = (row / TILE_OUTPUTS, row % TILE_OUTPUTS);
                for block in 0..n_blocks {
                    let at = tile * n_blocks + block;
                    let source = source_row * n_blocks + block;
                    scales[at][output] = matrix.scales()[source];
                    let values = &matrix.values()[source * BLOCK..][..BLOCK];
                    for (input, four) in values.chunks_exact(4).enumerate() {
                        weights[at].0[WeightBlock::index(4 * input, output)..][..4].copy_from_slice(four);
                    }
                }
                row += 1;
            }
        }
        Self { n_outputs, n_inputs, weights, scales, bias: None }
    }

    /// The same layer with a bias, one value an output.
    ///
    /// # Panics
    /// If `bias` has another length.
    #[must_use]
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        assert_eq!(bias.len(), self.n_outputs, "bias of a linear layer");
        let tiles = bias.chunks(TILE_OUTPUTS).map(|chunk| {
            let mut tile = [0.0; TILE_OUTPUTS];
            tile[..chunk.len()].copy_from_slice(chunk);
            tile
        });
        self.bias = Some(tiles.collect());
        self
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
        size_of_val(self.weights.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// Some rows (at most 16) for the outputs of one tile, bias included. `prefetch`: fetch the next tile's weights.
    #[inline(always)]
    fn tile<S: Simd>(&self, simd: S, x: &QuantRows, rows: Range<usize>, tile: usize, prefetch: bool, out: &mut Tile) {
        let n_blocks = x.blocks_per_row();
        let at = tile * n_blocks..(tile + 1) * n_blocks;
        let product = Product {
            n_tiles: 1,
            weights: &self.weights[at.clone()],
            block_stride: 1,
            weight_scales: Some(&self.scales[at]),
            prefetch_blocks: if prefetch { n_blocks } else { 0 },
            ..Product::of_rows(x, rows.start, rows.len())
        };
        simd.product(&product, &mut out.0, 1);
        if let Some(bias) = &self.bias {
            let bias = simd.load(&bias[tile]);
            for row in &mut out.0[..rows.len()] {
                simd.store(simd.add(simd.load(row), bias), row);
            }
        }
    }
}

/// What a linear layer's results do to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replace it.
    Replace,
    /// Are added to it.
    Add,
}

/// All outputs of all rows, row-major: one thread's share of a wide batch.
pub(crate) struct LinearRows<'a> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) x: &'a QuantRows,
    pub(crate) store: Store,
    /// `[rows, n_outputs]`.
    pub(crate) out: &'a mut [f32],
}

impl Kernel for LinearRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (n_rows, n_outputs, n_tiles) = (self.x.n_rows(), self.linear.n_outputs, self.linear.n_tiles());
        let mut results = Tile::ZERO;
        // The activations of a group stay in the first-level cache while some tiles of weights pass by, and those in the
        // second-level cache until all rows have had them.
        let row_bytes = self.x.blocks_per_row() * BLOCK;
        let group_rows = (NEAR_BYTES / row_bytes.max(1)).clamp(1, 4) * TILE_ROWS;
        for first_tile in (0..n_tiles).step_by(TILES_AT_ONCE) {
            for first_of_group in (0..n_rows).step_by(group_rows) {
                for tile in first_tile..n_tiles.min(first_tile + TILES_AT_ONCE) {
                    let column = tile * TILE_OUTPUTS;
                    let width = TILE_OUTPUTS.min(n_outputs - column);
                    for first_row in (first_of_group..n_rows.min(first_of_group + group_rows)).step_by(TILE_ROWS) {
                        let rows = first_row..n_rows.min(first_row + TILE_ROWS);
                        self.linear.tile(simd, self.x, rows.clone(), tile, first_row == first_of_group, &mut results);
                        for (row, result) in rows.zip(&results.0) {
                            put(simd, self.store, result, &mut self.out[row * n_outputs + column..][..width]);
                        }
                    }
                }
            }
        }
    }
}

/// The outputs of some tiles for all rows: one thread's share of a narrow batch.
pub(crate) struct LinearTiles<'a> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) x: &'a QuantRows,
    pub(crate) first_tile: usize,
    /// `[tile][row / 16]`, the rows rounded up.
    pub(crate) out: &'a mut [Tile],
}

impl Kernel for LinearTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let n_rows = self.x.n_rows();
        for (i, out) in self.out.chunks_exact_mut(n_rows.div_ceil(TILE_ROWS)).enumerate() {
            for (group, out) in out.iter_mut().enumerate() {
                let rows = group * TILE_ROWS..n_rows.min((group + 1) * TILE_ROWS);
                self.linear.tile(simd, self.x, rows, self.first_tile + i, group == 0, out);
            }
        }
    }
}

/// Brings the results of [`LinearTiles`] into rows.
pub(crate) struct Gather<'a> {
    pub(crate) tiles: &'a [Tile],
    pub(crate) n_outputs: usize,
    pub(crate) store: Store,
    /// `[rows, n_outputs]`.
    pub(crate) out: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let n_groups = (self.out.len() / self.n_outputs).div_ceil(TILE_ROWS);
        for (row, out) in self.out.chunks_exact_mut(self.n_outputs).enumerate() {
            for (tile, out) in out.chunks_mut(TILE_OUTPUTS).enumerate() {
                put(simd, self.store, &self.tiles[tile * n_groups + row / TILE_ROWS].0[row % TILE_ROWS], out);
            }
        }
    }
}

#[inline(always)]
fn put<S: Simd>(simd: S, store: Store, result: &[f32; LANES], out: &mut [f32]) {
    let result = simd.load(result);
    let result = match store {
        Store::Replace => result,
        Store::Add => simd.add(simd.load_partial(out, 0.0), result),
    };
    simd.store_partial(result, out);
}
