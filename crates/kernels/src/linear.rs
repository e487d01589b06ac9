//! Linear layers: y = W x + b with int8 blocks (module `product`), outputs in tiles of 16.
//!
//! Outputs and rows are independent, so tiles and threads split them freely; the sum over blocks is never split. The
//! bias, where there is one, is one addition after the sum; so is a residual that the result is added to.

use core::ops::Range;

use crate::math::{gelu_tanh, silu};
use crate::product::{Product, TILE_ROWS, WeightBlock};
use crate::quant::{BLOCK, BLOCK_VECTORS, BlockColumn, QuantMatrix, QuantRows};
use crate::simd::{Kernel, LANES, Simd};

/// Outputs that one tile of packed weights computes.
pub const TILE_OUTPUTS: usize = LANES;

/// Tiles of weights that all rows pass by before the next tiles follow: as many as a block of gates and its block of
/// values to be gated have.
const TILES_AT_ONCE: usize = 2 * BLOCK_VECTORS;

/// Results of up to 16 rows for some tiles: row r's for tile t are at `r * TILES_AT_ONCE + t`.
type Results = [[f32; LANES]; TILE_ROWS * TILES_AT_ONCE];

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
        let rows = matrices.iter().flat_map(|&matrix| (0..matrix.rows()).map(move |row| Some((matrix, row))));
        Self::of_rows(matrices, rows.collect())
    }

    /// Packs canonical matrices of the same shape for [`crate::Kernels::linear_activated`]: 64 outputs of each in turn,
    /// the last ones followed by zeros.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn interleave(matrices: &[&QuantMatrix]) -> Self {
        let n_rows = matrices.first().map_or(0, |matrix| matrix.rows());
        assert!(matrices.iter().all(|matrix| matrix.rows() == n_rows), "interleaved matrices have the same shape");
        let rows = interleaved(n_rows, matrices.len()).map(|at| at.map(|(matrix, row)| (matrices[matrix], row)));
        Self::of_rows(matrices, rows.collect())
    }

    /// Packs rows of matrices; `None` is a row of zeros.
    fn of_rows(matrices: &[&QuantMatrix], rows: Vec<Option<(&QuantMatrix, usize)>>) -> Self {
        let n_inputs = matrices.first().map_or(0, |matrix| matrix.cols());
        assert!(matrices.iter().all(|matrix| matrix.cols() == n_inputs), "packed matrices read the same input");
        let n_blocks = n_inputs.div_ceil(BLOCK);
        let n_tiles = rows.len().div_ceil(TILE_OUTPUTS);
        let mut weights = vec![WeightBlock::ZERO; n_tiles * n_blocks];
        let mut scales = vec![[0.0; TILE_OUTPUTS]; n_tiles * n_blocks];
        for (row, source) in rows.iter().enumerate() {
            let Some((matrix, source_row)) = source else { continue };
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
        }
        Self { n_outputs: rows.len(), n_inputs, weights, scales, bias: None }
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

    /// The same layer, made by [`PackedLinear::interleave`], with the biases of its matrices.
    ///
    /// # Panics
    /// If a bias has another length.
    #[must_use]
    pub fn with_interleaved_bias(self, biases: &[&[f32]]) -> Self {
        let n_rows = biases.first().map_or(0, |bias| bias.len());
        assert!(biases.iter().all(|bias| bias.len() == n_rows), "biases of interleaved matrices");
        let bias = interleaved(n_rows, biases.len()).map(|at| at.map_or(0.0, |(matrix, row)| biases[matrix][row]));
        self.with_bias(&bias.collect::<Vec<_>>())
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

    /// One group of rows (at most 16) for the outputs of some tiles (at most 8), bias included. `prefetch`: fetch the weights
    /// one tile ahead.
    #[inline(always)]
    fn tiles<S: Simd>(
        &self,
        simd: S,
        x: &QuantRows,
        group: usize,
        tiles: Range<usize>,
        prefetch: bool,
        out: &mut Results,
    ) {
        let n_blocks = x.blocks_per_row();
        let at = tiles.start * n_blocks..tiles.end * n_blocks;
        let product = Product {
            n_tiles: tiles.len(),
            weights: &self.weights[at.clone()],
            tile_stride: n_blocks,
            block_stride: 1,
            weight_scales: Some(&self.scales[at]),
            prefetch_blocks: if prefetch { n_blocks } else { 0 },
            ..Product::of_rows(x, group)
        };
        simd.product(&product, out, TILES_AT_ONCE);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(TILES_AT_ONCE).take(product.n_rows) {
                for (result, bias) in row.iter_mut().zip(&bias[tiles.clone()]) {
                    simd.store(simd.add(simd.load(result), simd.load(bias)), result);
                }
            }
        }
    }
}

/// Which row of which matrix is an output of interleaved matrices of `n_rows` rows each; `None` for padding.
fn interleaved(n_rows: usize, n_matrices: usize) -> impl Iterator<Item = Option<(usize, usize)>> {
    (0..n_rows).step_by(BLOCK).flat_map(move |first| {
        (0..n_matrices)
            .flat_map(move |matrix| (first..first + BLOCK).map(move |row| (row < n_rows).then_some((matrix, row))))
    })
}

/// What a linear layer's results do to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replace it.
    Replace,
    /// Are added to it.
    Add,
}

/// The outputs of consecutive tiles for all rows.
pub(crate) struct LinearColumns<'a, 'out> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) x: &'a QuantRows,
    pub(crate) store: Store,
    pub(crate) first_tile: usize,
    /// Each row's part of the outputs.
    pub(crate) out: &'a mut [&'out mut [f32]],
}

impl Kernel for LinearColumns<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut results: Results = [[0.0; LANES]; TILE_ROWS * TILES_AT_ONCE];
        let n_tiles = self.out.first().map_or(0, |row| row.len()).div_ceil(TILE_OUTPUTS);
        for first in (0..n_tiles).step_by(TILES_AT_ONCE) {
            let end = n_tiles.min(first + TILES_AT_ONCE);
            let tiles = self.first_tile + first..self.first_tile + end;
            for (group, rows) in self.out.chunks_mut(TILE_ROWS).enumerate() {
                self.linear.tiles(simd, self.x, group, tiles.clone(), group == 0, &mut results);
                for (row, results) in rows.iter_mut().zip(results.chunks_exact(TILES_AT_ONCE)) {
                    let columns = first * TILE_OUTPUTS..row.len().min(end * TILE_OUTPUTS);
                    for (out, result) in row[columns].chunks_mut(TILE_OUTPUTS).zip(results) {
                        put(simd, self.store, result, out);
                    }
                }
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

/// What follows the first linear layer of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// silu(gate) * up (SwiGLU; Shazeer, 2020), of a gate and an up projection.
    SiluMul,
    /// GELU in the tanh form of GPT-2, of one projection.
    GeluTanh,
}

impl Activation {
    /// Projections that it takes.
    pub fn n_inputs(self) -> usize {
        match self {
            Self::SiluMul => 2,
            Self::GeluTanh => 1,
        }
    }
}

/// Some blocks of an activated linear layer's outputs, quantised.
pub(crate) struct ActivatedColumns<'a, 'out> {
    pub(crate) linear: &'a PackedLinear,
    pub(crate) x: &'a QuantRows,
    pub(crate) activation: Activation,
    /// All groups of a block follow each other.
    pub(crate) out: &'a mut [BlockColumn<'out>],
}

impl Kernel for ActivatedColumns<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut results: Results = [[0.0; LANES]; TILE_ROWS * TILES_AT_ONCE];
        let n_tiles = self.activation.n_inputs() * BLOCK_VECTORS;
        for column in self.out {
            let first_tile = column.block * n_tiles;
            let prefetch = column.group == 0;
            self.linear.tiles(simd, self.x, column.group, first_tile..first_tile + n_tiles, prefetch, &mut results);
            for (row, results) in results.chunks_exact(TILES_AT_ONCE).enumerate().take(column.n_rows) {
                let mut activated = [simd.zero(); BLOCK_VECTORS];
                for i in 0..BLOCK_VECTORS {
                    let x = simd.load(&results[i]);
                    activated[i] = match self.activation {
                        Activation::SiluMul => simd.mul(silu(simd, x), simd.load(&results[BLOCK_VECTORS + i])),
                        Activation::GeluTanh => gelu_tanh(simd, x),
                    };
                }
                column.set(simd, row, activated);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::scalar::Scalar;
    use crate::quant::load_block;

    /// Values between -2 and 2 that are no pattern.
    fn values(seed: u32, n: usize) -> Vec<f32> {
        (0..n as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
    }

    fn linear(matrix: &QuantMatrix, x: &QuantRows) -> Vec<f32> {
        let packed = PackedLinear::pack(matrix);
        let mut out = vec![0.0; x.n_rows() * matrix.rows()];
        let mut rows: Vec<_> = out.chunks_exact_mut(matrix.rows()).collect();
        LinearColumns { linear: &packed, x, store: Store::Replace, first_tile: 0, out: &mut rows }.run(Scalar);
        out
    }

    #[test]
    fn activated_layers_are_what_they_are_made_of() {
        let (n_rows, n_inputs, n_cols) = (18, 70, 100);
        let gate = QuantMatrix::quantise(n_cols, n_inputs, &values(1, n_cols * n_inputs));
        let up = QuantMatrix::quantise(n_cols, n_inputs, &values(2, n_cols * n_inputs));
        let mut x = QuantRows::default();
        x.resize(Scalar, n_rows, n_inputs);
        for (row, values) in values(3, n_rows * n_inputs).chunks_exact(n_inputs).enumerate() {
            x.set_row(Scalar, row, values);
        }
        let (gates, ups) = (linear(&gate, &x), linear(&up, &x));
        for (activation, parts) in [(Activation::SiluMul, vec![&gate, &up]), (Activation::GeluTanh, vec![&up])] {
            let mut out = QuantRows::default();
            out.resize(Scalar, n_rows, n_cols);
            let packed = PackedLinear::interleave(&parts);
            ActivatedColumns { linear: &packed, x: &x, activation, out: &mut out.columns_mut() }.run(Scalar);
            let activated = gates.iter().zip(&ups).map(|(&gate, &up)| match activation {
                Activation::SiluMul => silu(Scalar, Scalar.splat(gate))[0] * up,
                Activation::GeluTanh => gelu_tanh(Scalar, Scalar.splat(up))[0],
            });
            let mut expected = QuantRows::default();
            expected.resize(Scalar, n_rows, n_cols);
            for (row, values) in activated.collect::<Vec<_>>().chunks_exact(n_cols).enumerate() {
                for (block, values) in values.chunks(BLOCK).enumerate() {
                    expected.set_block(Scalar, row, block, load_block(Scalar, values));
                }
            }
            for row in 0..n_rows {
                for block in 0..n_cols.div_ceil(BLOCK) {
                    let (at, lane) = (row / TILE_ROWS * n_cols.div_ceil(BLOCK) + block, row % TILE_ROWS);
                    assert_eq!(out.q[at][lane].0, expected.q[at][lane].0, "{activation:?}, row {row}");
                    assert_eq!(out.scales[at][lane], expected.scales[at][lane], "{activation:?}, row {row}");
                }
            }
        }
    }
}
