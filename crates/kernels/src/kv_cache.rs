//! Keys and values of one layer of one sequence, as int8.

use crate::product::WeightBlock;
use crate::quant::{BLOCK, BLOCK_VECTORS, load_block, quantise_block, quantise_whole, times};
use crate::simd::{Kernel, LANES, Simd};

/// Sizes of the attention layers of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads` (grouped-query attention, Ainslie et al., 2023).
    pub n_kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
}

impl AttentionShape {
    /// Values of all query heads.
    pub fn q_len(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Values of all key (or value) heads.
    pub fn kv_len(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Query heads that share a key head.
    pub(crate) fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Blocks of 64 values that hold a head.
    pub(crate) fn head_blocks(&self) -> usize {
        self.head_dim.div_ceil(BLOCK)
    }

    /// Tiles of 16 values that hold a head.
    pub(crate) fn head_tiles(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }
}

/// Keys and values of one layer of one sequence, growing by position.
///
/// A key is quantised like a row of activations. A value gets one scale a head: m / 127 for the largest magnitude m, by
/// the same rule. Both are laid out as weights: scores are a product with the keys' positions as outputs, and outputs
/// of attention are a product with the values' positions as inputs.
#[derive(Clone, Debug)]
pub struct KvCache {
    shape: AttentionShape,
    n_positions: usize,
    heads: Vec<KvHead>,
}

/// One key-value head.
#[derive(Clone, Debug, Default)]
pub(crate) struct KvHead {
    /// `[position / 16][block of the head]`, the position being the output.
    pub(crate) keys: Vec<WeightBlock>,
    /// Laid out as `keys`.
    pub(crate) key_scales: Vec<[f32; LANES]>,
    /// `[position / 64][tile of the head]`, the position being the input.
    pub(crate) values: Vec<WeightBlock>,
    /// `[position / 64][position % 64]`, zero beyond the last position.
    pub(crate) value_scales: Vec<[f32; BLOCK]>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(shape: AttentionShape) -> Self {
        Self { shape, n_positions: 0, heads: vec![KvHead::default(); shape.n_kv_heads] }
    }

    /// The sizes that it was made for.
    pub fn shape(&self) -> AttentionShape {
        self.shape
    }

    /// Positions held.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Forgets all positions from `n_positions` on, but keeps the memory.
    pub fn truncate(&mut self, n_positions: usize) {
        self.n_positions = self.n_positions.min(n_positions);
        let (tiles, blocks) = (self.n_positions.div_ceil(LANES), self.n_positions.div_ceil(BLOCK));
        let (head_blocks, head_tiles) = (self.shape.head_blocks(), self.shape.head_tiles());
        // What stays of a forgotten position in the last tile and block is not visible until it is written again.
        for head in &mut self.heads {
            head.keys.truncate(tiles * head_blocks);
            head.key_scales.truncate(tiles * head_blocks);
            head.values.truncate(blocks * head_tiles);
            head.value_scales.truncate(blocks);
        }
    }

    /// Makes room for `n_positions` in all, so that growing does not take more than that.
    pub fn reserve(&mut self, n_positions: usize) {
        let (key_blocks, value_blocks) =
            (n_positions.div_ceil(LANES) * self.shape.head_blocks(), n_positions.div_ceil(BLOCK));
        for head in &mut self.heads {
            head.keys.reserve_exact(key_blocks.saturating_sub(head.keys.len()));
            head.key_scales.reserve_exact(key_blocks.saturating_sub(head.key_scales.len()));
            let value_tiles = value_blocks * self.shape.head_tiles();
            head.values.reserve_exact(value_tiles.saturating_sub(head.values.len()));
            head.value_scales.reserve_exact(value_blocks.saturating_sub(head.value_scales.len()));
        }
    }

    pub(crate) fn head(&self, head: usize) -> &KvHead {
        &self.heads[head]
    }

    /// Bytes of keys and values for `n_positions` of this shape.
    pub fn n_bytes(shape: AttentionShape, n_positions: usize) -> usize {
        let (tiles, blocks) = (n_positions.div_ceil(LANES), n_positions.div_ceil(BLOCK));
        let keys = tiles * shape.head_blocks() * (size_of::<WeightBlock>() + size_of::<[f32; LANES]>());
        let values = blocks * (shape.head_tiles() * size_of::<WeightBlock>() + size_of::<[f32; BLOCK]>());
        shape.n_kv_heads * (keys + values)
    }
}

/// Appends positions to a cache. Each row of `keys` (already rotated) and `values` is `[n_kv_heads][head_dim]`.
pub(crate) struct Append<'a> {
    pub(crate) cache: &'a mut KvCache,
    pub(crate) n_rows: usize,
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    /// Values from one row of keys, or of values, to the next.
    pub(crate) stride: usize,
}

impl Kernel for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let shape = self.cache.shape;
        let (n_blocks, n_tiles) = (shape.head_blocks(), shape.head_tiles());
        let first = self.cache.n_positions;
        let end = first + self.n_rows;
        for (h, head) in self.cache.heads.iter_mut().enumerate() {
            head.keys.resize(end.div_ceil(LANES) * n_blocks, WeightBlock::ZERO);
            head.key_scales.resize(end.div_ceil(LANES) * n_blocks, [0.0; LANES]);
            head.values.resize(end.div_ceil(BLOCK) * n_tiles, WeightBlock::ZERO);
            head.value_scales.resize(end.div_ceil(BLOCK), [0.0; BLOCK]);
            for row in 0..self.n_rows {
                let at = row * self.stride + h * shape.head_dim;
                head.push(simd, shape, first + row, &self.keys[at..][..shape.head_dim], &self.values[at..]);
            }
        }
        self.cache.n_positions = end;
    }
}

impl KvHead {
    /// Writes one position, for which there is room. `value` may be longer than the head.
    #[inline(always)]
    fn push<S: Simd>(&mut self, simd: S, shape: AttentionShape, position: usize, key: &[f32], value: &[f32]) {
        let (n_blocks, n_tiles) = (shape.head_blocks(), shape.head_tiles());
        let (tile, lane) = (position / LANES, position % LANES);
        let mut block = [0; BLOCK];
        for (b, part) in key.chunks(BLOCK).enumerate() {
            let at = tile * n_blocks + b;
            self.key_scales[at][lane] = quantise_block(simd, load_block(simd, part), &mut block);
            for (input, four) in block.chunks_exact(4).enumerate() {
                self.keys[at].0[WeightBlock::index(4 * input, lane)..][..4].copy_from_slice(four);
            }
        }
        let (block, input) = (position / BLOCK, position % BLOCK);
        let value = &value[..shape.head_dim];
        let (scale, inverse) = quantise_whole(simd, value);
        self.value_scales[block][input] = scale;
        let mut q = [0; BLOCK];
        for (part, stored) in value.chunks(BLOCK).zip(self.values[block * n_tiles..].chunks_mut(BLOCK_VECTORS)) {
            // Where the head as a whole quantises to zero, a product with inverse 0 may still be NaN.
            if scale != 0.0 {
                simd.to_i8(times(simd, load_block(simd, part), simd.splat(inverse)), &mut q);
            }
            for (tile, q) in stored.iter_mut().zip(q.as_chunks::<LANES>().0) {
                for (output, &q) in q.iter().enumerate() {
                    tile.0[WeightBlock::index(input, output)] = q;
                }
            }
        }
    }
}
