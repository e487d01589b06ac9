//! The one rule that turns f32 values into int8 blocks, for weights and activations alike.
//!
//! A row is cut into blocks of 64 along the input dimension, the last one padded with zeros. For a block with the
//! largest magnitude m:
//! - if m is not finite or below 2^-100, the block is all zero with scale 0;
//! - otherwise scale = m / 127 and q = round(x * (127 / m)), ties to even. Each operation is rounded to f32.
//!
//! |q| <= 127 follows, since x * (127 / m) never exceeds 127.5.

use crate::arch::scalar::Scalar;
use crate::product::TILE_ROWS;
use crate::simd::{LANES, Simd};

/// Values that share a scale.
pub const BLOCK: usize = 64;
/// Vectors that hold a block.
pub(crate) const BLOCK_VECTORS: usize = BLOCK / LANES;

/// Magnitudes below this quantise to zero, so that 127 / m stays finite.
const MIN_MAGNITUDE: f32 = f32::from_bits((127 - 100) << 23);

/// A weight matrix in canonical form: int8 blocks with one f32 scale each.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantMatrix {
    rows: usize,
    cols: usize,
    q: Vec<i8>,
    scales: Vec<f32>,
}

impl QuantMatrix {
    /// Quantises `values` (row-major `[rows, cols]`, cols = input dimension).
    ///
    /// # Panics
    /// If `values.len() != rows * cols`.
    pub fn quantise(rows: usize, cols: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), rows * cols, "matrix of {rows} x {cols}");
        let mut matrix = Self::empty(cols);
        for row in values.chunks_exact(cols.max(1)).take(rows) {
            matrix.push_row(row);
        }
        matrix
    }

    /// A matrix without rows yet, to be filled with [`QuantMatrix::push_row`].
    pub fn empty(cols: usize) -> Self {
        Self { rows: 0, cols, q: Vec::new(), scales: Vec::new() }
    }

    /// A matrix from its int8 values (`[rows, blocks_per_row * 64]`) and scales (`[rows, blocks_per_row]`), or `None`
    /// where the lengths do not fit or a value is -128, which the rule never gives.
    pub fn from_parts(rows: usize, cols: usize, q: Vec<i8>, scales: Vec<f32>) -> Option<Self> {
        let n_blocks = rows.checked_mul(cols.div_ceil(BLOCK))?;
        let fits = scales.len() == n_blocks && Some(q.len()) == n_blocks.checked_mul(BLOCK);
        (fits && !q.contains(&i8::MIN)).then_some(Self { rows, cols, q, scales })
    }

    /// Quantises one more row.
    ///
    /// # Panics
    /// If `row.len()` is not the number of columns.
    pub fn push_row(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.cols, "row length");
        for block in row.chunks(BLOCK) {
            let mut q = [0; BLOCK];
            self.scales.push(quantise_block(Scalar, load_block(Scalar, block), &mut q));
            self.q.extend_from_slice(&q);
        }
        self.rows += 1;
    }

    /// Number of rows (output features).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (input features).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Blocks in a row.
    pub fn blocks_per_row(&self) -> usize {
        self.cols.div_ceil(BLOCK)
    }

    /// Bytes that values and scales occupy.
    pub fn n_bytes(&self) -> usize {
        size_of_val(self.q.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// The int8 values, `[rows, blocks_per_row * 64]`, zero where a row was padded.
    pub fn values(&self) -> &[i8] {
        &self.q
    }

    /// The scales, `[rows, blocks_per_row]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Row `row` as f32: each value times its block's scale, rounded once.
    ///
    /// # Panics
    /// If `row` is out of range or `out.len()` is not the number of columns.
    pub fn dequantise_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "row length");
        let n_blocks = self.blocks_per_row();
        let q = &self.q[row * n_blocks * BLOCK..][..n_blocks * BLOCK];
        let scales = &self.scales[row * n_blocks..][..n_blocks];
        for ((out, q), &scale) in out.chunks_mut(BLOCK).zip(q.chunks_exact(BLOCK)).zip(scales) {
            for (out, &q) in out.iter_mut().zip(q) {
                *out = f32::from(q) * scale;
            }
        }
    }

    /// The matrix of the given rows, in the given order.
    ///
    /// # Panics
    /// If a row is out of range.
    pub fn select_rows(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let n_blocks = self.blocks_per_row();
        let mut picked = Self::empty(self.cols);
        for row in rows {
            picked.q.extend_from_slice(&self.q[row * n_blocks * BLOCK..][..n_blocks * BLOCK]);
            picked.scales.extend_from_slice(&self.scales[row * n_blocks..][..n_blocks]);
            picked.rows += 1;
        }
        picked
    }
}

/// One block of a row of activations.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct RowBlock(pub [i8; BLOCK]);

/// Quantised activations: a batch of rows, each in blocks of 64.
///
/// Sixteen rows form a group, and a block of all of them lies together, as tile instructions read it: `[row / 16][block]
/// [row % 16]`. What lies beyond the last row is stale.
#[derive(Clone, Debug, Default)]
pub struct QuantRows {
    n_cols: usize,
    n_rows: usize,
    pub(crate) q: Vec<[RowBlock; TILE_ROWS]>,
    pub(crate) scales: Vec<[f32; TILE_ROWS]>,
    /// -128 times the sum of each block, where the instruction set asks for it ([`Simd::wants_bias`]); else empty.
    pub(crate) bias: Vec<[i32; TILE_ROWS]>,
}

impl QuantRows {
    /// Values in a row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Blocks in a row.
    pub fn blocks_per_row(&self) -> usize {
        self.n_cols.div_ceil(BLOCK)
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Makes room for `n_rows` rows of `n_cols` values; their contents are stale until written.
    pub(crate) fn resize<S: Simd>(&mut self, simd: S, n_rows: usize, n_cols: usize) {
        (self.n_rows, self.n_cols) = (n_rows, n_cols);
        let n_blocks = n_rows.div_ceil(TILE_ROWS) * self.blocks_per_row();
        self.q.resize(n_blocks, [RowBlock([0; BLOCK]); TILE_ROWS]);
        self.scales.resize(n_blocks, [0.0; TILE_ROWS]);
        self.bias.resize(if simd.wants_bias(n_rows) { n_blocks } else { 0 }, [0; TILE_ROWS]);
    }

    /// Every group's part of every block, to be written apart from each other: all groups of a block, then the next block's.
    pub(crate) fn columns_mut(&mut self) -> Vec<BlockColumn<'_>> {
        let (n_blocks, n_rows) = (self.blocks_per_row(), self.n_rows);
        let mut bias = self.bias.iter_mut();
        let parts = self.q.iter_mut().zip(&mut self.scales).enumerate();
        let mut columns: Vec<_> = parts
            .map(|(at, (q, scales))| {
                let (group, block) = (at / n_blocks, at % n_blocks);
                let n_rows = (n_rows - group * TILE_ROWS).min(TILE_ROWS);
                BlockColumn { group, block, n_rows, q, scales, bias: bias.next() }
            })
            .collect();
        columns.sort_unstable_by_key(|column| (column.block, column.group));
        columns
    }

    /// Quantises `x` into row `row`.
    #[inline(always)]
    pub(crate) fn set_row<S: Simd>(&mut self, simd: S, row: usize, x: &[f32]) {
        for (b, x) in x.chunks(BLOCK).enumerate() {
            self.set_block(simd, row, b, load_block(simd, x));
        }
    }

    /// Quantises `x` into block `block` of row `row`.
    #[inline(always)]
    pub(crate) fn set_block<S: Simd>(&mut self, simd: S, row: usize, block: usize, x: [S::F; BLOCK_VECTORS]) {
        let at = row / TILE_ROWS * self.blocks_per_row() + block;
        let (group, n_rows) = (row / TILE_ROWS, TILE_ROWS);
        let (q, scales, bias) = (&mut self.q[at], &mut self.scales[at], self.bias.get_mut(at));
        BlockColumn { group, block, n_rows, q, scales, bias }.set(simd, row % TILE_ROWS, x);
    }
}

/// One block of up to 16 rows of [`QuantRows`].
#[derive(Debug)]
pub(crate) struct BlockColumn<'a> {
    /// First row / 16.
    pub(crate) group: usize,
    /// Which block of each row.
    pub(crate) block: usize,
    /// Rows of the group.
    pub(crate) n_rows: usize,
    q: &'a mut [RowBlock; TILE_ROWS],
    scales: &'a mut [f32; TILE_ROWS],
    bias: Option<&'a mut [i32; TILE_ROWS]>,
}

impl BlockColumn<'_> {
    /// Quantises `x` into the block of row `row` of the group.
    #[inline(always)]
    pub(crate) fn set<S: Simd>(&mut self, simd: S, row: usize, x: [S::F; BLOCK_VECTORS]) {
        let q = &mut self.q[row];
        self.scales[row] = quantise_block(simd, x, &mut q.0);
        if let Some(bias) = &mut self.bias {
            bias[row] = -128 * simd.block_sum(q);
        }
    }
}

/// A block of at most 64 values, padded with zeros.
#[inline(always)]
pub(crate) fn load_block<S: Simd>(simd: S, x: &[f32]) -> [S::F; BLOCK_VECTORS] {
    match x.first_chunk::<BLOCK>() {
        Some(whole) => load_whole_block(simd, whole),
        None => {
            let mut padded = [0.0; BLOCK];
            padded[..x.len()].copy_from_slice(x);
            load_whole_block(simd, &padded)
        }
    }
}

#[inline(always)]
pub(crate) fn load_whole_block<S: Simd>(simd: S, x: &[f32; BLOCK]) -> [S::F; BLOCK_VECTORS] {
    let (vectors, _) = x.as_chunks::<LANES>();
    let mut block = [simd.zero(); BLOCK_VECTORS];
    for (lanes, vector) in block.iter_mut().zip(vectors) {
        *lanes = simd.load(vector);
    }
    block
}

/// x * factor, element by element.
#[inline(always)]
pub(crate) fn times<S: Simd>(simd: S, x: [S::F; BLOCK_VECTORS], factor: S::F) -> [S::F; BLOCK_VECTORS] {
    let mut scaled = x;
    for x in &mut scaled {
        *x = simd.mul(*x, factor);
    }
    scaled
}

/// Quantises one block by the rule above and returns its scale.
#[inline(always)]
pub(crate) fn quantise_block<S: Simd>(simd: S, x: [S::F; BLOCK_VECTORS], q: &mut [i8; BLOCK]) -> f32 {
    let max = f32::from_bits(simd.max_abs_bits(x));
    if !max.is_finite() || max < MIN_MAGNITUDE {
        *q = [0; BLOCK];
        return 0.0;
    }
    let inverse = simd.splat(127.0 / max);
    simd.to_i8(times(simd, x, inverse), q);
    max / 127.0
}

/// Scale of a run of values taken as one block of any length, and what to multiply the values by.
#[inline(always)]
pub(crate) fn quantise_whole<S: Simd>(simd: S, x: &[f32]) -> (f32, f32) {
    let mut max = 0;
    for block in x.chunks(BLOCK) {
        max = max.max(simd.max_abs_bits(load_block(simd, block)));
    }
    let max = f32::from_bits(max);
    if max.is_finite() && max >= MIN_MAGNITUDE { (max / 127.0, 127.0 / max) } else { (0.0, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_checked_block() {
        let m = QuantMatrix::quantise(1, 4, &[1.0, -2.0, 0.5 / 127.0, 1.5 / 127.0]);
        // 127 / 2 = 63.5: 63.5 -> 64 (tie to even), -127, 0.25 -> 0, 0.75 -> 1.
        assert_eq!(&m.values()[..4], &[64, -127, 0, 1]);
        assert_eq!(m.values().len(), BLOCK);
        assert_eq!(m.scales(), &[2.0 / 127.0]);
    }

    #[test]
    fn degenerate_blocks_are_zero() {
        for bad in [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-38, f32::from_bits(1)] {
            let m = QuantMatrix::quantise(1, 2, &[bad, 0.0]);
            assert_eq!(m.values(), &[0; BLOCK], "{bad}");
            assert_eq!(m.scales(), &[0.0], "{bad}");
        }
    }

    #[test]
    fn select_keeps_rows() {
        let m = QuantMatrix::quantise(3, 65, &(0..195).map(|i| i as f32).collect::<Vec<_>>());
        let selected = m.select_rows([2, 0, 1]);
        let (mut a, mut b) = ([0.0; 65], [0.0; 65]);
        for (row, source) in [(0, 2), (1, 0), (2, 1)] {
            selected.dequantise_row(row, &mut a);
            m.dequantise_row(source, &mut b);
            assert_eq!(a, b);
        }
    }
}
