//! Causal attention over a cache of keys and values, in int8 blocks.
//!
//! For one query head at position p, over the visible key positions j (0..=p, or the last `window` of these):
//! - the query is quantised like a row of activations, and each block's scale multiplied by log2(e) / sqrt(head_dim); score_j
//!   is then the product of query and key j, as in module `product`;
//! - m: virtual lane l takes the larger of its own and score_j for j = l mod 16, ascending, from minus infinity; then
//!   the largest lane;
//! - w_j = 2^(score_j - m);
//! - total: lane l adds w_j for j = l mod 16, ascending, then the tree of [`Simd::sum_lanes`];
//! - u_j = w_j * (scale of value j), quantised in blocks of 64 positions (j / 64) like a row of activations, 0 for
//!   positions that are not visible;
//! - out_d = (product of u and the values' integers, block after block) / total.
//!
//! Positions that are not visible add exact zeros wherever they are computed along with visible ones. So a row's result
//! depends on its visible positions alone, and a step with a cache and a whole window give the same bits.

use crate::kv_cache::{AttentionShape, KvCache, KvHead};
use crate::math::exp2_negative;
use crate::product::{Product, TILE_ROWS};
use crate::quant::{BLOCK, BLOCK_VECTORS, QuantRows, load_whole_block};
use crate::simd::{Kernel, LANES, Simd};

/// How far ahead keys and values are fetched, in weight blocks of 1024 bytes. Where few rows read them, they come from
/// memory, faster than the hardware foresees.
const PREFETCH_BLOCKS: usize = 16;
/// Tiles of 16 key positions whose scores are computed at a time.
const TILES_AT_ONCE: usize = 16;

/// Reusable memory of [`crate::Kernels::attend`], one a thread.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    queries: QuantRows,
    weights: QuantRows,
    /// `[row of the tile][key tile]`.
    scores: Vec<[f32; LANES]>,
    /// `[row of the tile][tile of the head]`.
    sums: Vec<[f32; LANES]>,
}

/// Consecutive positions of one sequence, which the cache must already hold.
#[derive(Clone, Copy, Debug)]
pub struct QueryRows {
    /// Position of the first row.
    pub first: usize,
    /// Rows.
    pub n_rows: usize,
    /// Key positions that a row sees, its own included (Mistral's sliding window); `None` for all up to its own.
    pub window: Option<usize>,
}

impl QueryRows {
    /// Key positions that row `row` sees.
    fn visible(&self, row: usize) -> core::ops::Range<usize> {
        let end = self.first + row + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

/// Attention of all query heads of some rows.
pub(crate) struct Attend<'a> {
    pub(crate) cache: &'a KvCache,
    pub(crate) rows: QueryRows,
    pub(crate) scale: f32,
    /// Row r starts at `r * stride`: `[n_heads][head_dim]`, already rotated.
    pub(crate) q: &'a [f32],
    pub(crate) stride: usize,
    /// `[rows][n_heads * head_dim]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut AttentionScratch,
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let shape = self.cache.shape();
        for first in (0..self.rows.n_rows).step_by(TILE_ROWS) {
            let n_rows = TILE_ROWS.min(self.rows.n_rows - first);
            let rows = QueryRows { first: self.rows.first + first, n_rows, ..self.rows };
            let q = &self.q[first * self.stride..];
            let out = &mut self.out[first * shape.q_len()..][..n_rows * shape.q_len()];
            for kv_head in 0..shape.n_kv_heads {
                let lanes = shape.group() * n_rows;
                for first_lane in (0..lanes).step_by(TILE_ROWS) {
                    let tile = HeadTile {
                        shape,
                        head: self.cache.head(kv_head),
                        kv_head,
                        rows,
                        first_lane,
                        n_lanes: TILE_ROWS.min(lanes - first_lane),
                        scale: self.scale,
                    };
                    tile.attend(simd, q, self.stride, out, self.scratch);
                }
            }
        }
    }
}

/// Up to 16 pairs of a query head and a row that read the same key-value head. Pair i of the group is head i / rows and
/// row i mod rows.
#[derive(Clone, Copy)]
struct HeadTile<'a> {
    shape: AttentionShape,
    head: &'a KvHead,
    kv_head: usize,
    rows: QueryRows,
    first_lane: usize,
    n_lanes: usize,
    scale: f32,
}

impl HeadTile<'_> {
    /// Query head and row of a pair.
    fn pair(&self, lane: usize) -> (usize, usize) {
        let i = self.first_lane + lane;
        (self.kv_head * self.shape.group() + i / self.rows.n_rows, i % self.rows.n_rows)
    }

    /// With many rows the first ones bring keys and values near.
    fn prefetch_blocks(&self) -> usize {
        if self.rows.n_rows < TILE_ROWS { PREFETCH_BLOCKS } else { 0 }
    }

    #[inline(always)]
    fn attend<S: Simd>(self, simd: S, q: &[f32], stride: usize, out: &mut [f32], scratch: &mut AttentionScratch) {
        let AttentionScratch { queries, weights, scores, sums } = scratch;
        let head_dim = self.shape.head_dim;
        queries.resize(simd, self.n_lanes, head_dim);
        for lane in 0..self.n_lanes {
            let (head, row) = self.pair(lane);
            queries.set_row(simd, lane, &q[row * stride + head * head_dim..][..head_dim]);
        }
        queries.scales.as_flattened_mut().iter_mut().for_each(|scale| *scale *= self.scale);
        // Whole blocks of 64 key positions that some row sees.
        let first_block = self.rows.visible(0).start / BLOCK;
        let end_block = self.rows.visible(self.rows.n_rows - 1).end.div_ceil(BLOCK);
        let maxima = self.scores(simd, queries, first_block, end_block, scores);
        weights.resize(simd, self.n_lanes, (end_block - first_block) * BLOCK);
        let mut totals = [0.0; TILE_ROWS];
        for lane in 0..self.n_lanes {
            let n_tiles = BLOCK_VECTORS * (end_block - first_block);
            let row_scores = &scores[lane * n_tiles..][..n_tiles];
            totals[lane] = self.weights(simd, row_scores, maxima[lane], first_block, weights, lane);
        }
        let n_tiles = self.shape.head_tiles();
        sums.resize(self.n_lanes * n_tiles, [0.0; LANES]);
        let product = Product {
            n_tiles,
            weights: &self.head.values[first_block * n_tiles..],
            tile_stride: 1,
            block_stride: n_tiles,
            prefetch_blocks: self.prefetch_blocks(),
            ..Product::of_rows(weights, 0)
        };
        simd.product(&product, sums, n_tiles);
        for (lane, sums) in sums.chunks_exact(n_tiles).enumerate() {
            let (head, row) = self.pair(lane);
            let out = &mut out[row * self.shape.q_len() + head * head_dim..][..head_dim];
            for (sum, out) in sums.iter().zip(out.chunks_mut(LANES)) {
                simd.store_partial(simd.div(simd.load(sum), simd.splat(totals[lane])), out);
            }
        }
    }

    /// Scores of all pairs over whole blocks of key positions, minus infinity where a position is not visible; returns
    /// each pair's largest.
    #[inline(always)]
    fn scores<S: Simd>(
        self,
        simd: S,
        queries: &QuantRows,
        first_block: usize,
        end_block: usize,
        scores: &mut Vec<[f32; LANES]>,
    ) -> [f32; TILE_ROWS] {
        let n_tiles = BLOCK_VECTORS * (end_block - first_block);
        let n_blocks = queries.blocks_per_row();
        // The last block may have tiles beyond the cache's end.
        let n_stored = (self.head.keys.len() / n_blocks).saturating_sub(BLOCK_VECTORS * first_block).min(n_tiles);
        scores.resize(self.n_lanes * n_tiles, [0.0; LANES]);
        let mut maxima = [simd.splat(f32::NEG_INFINITY); TILE_ROWS];
        let (first_row, last_row) = (self.rows.visible(0), self.rows.visible(self.rows.n_rows - 1));
        // Some tiles at a time, so that their scores are still near when the largest is looked for.
        for first_tile in (0..n_tiles).step_by(TILES_AT_ONCE) {
            let end_tile = n_tiles.min(first_tile + TILES_AT_ONCE);
            let at = (BLOCK_VECTORS * first_block + first_tile) * n_blocks;
            let product = Product {
                n_tiles: n_stored.min(end_tile).saturating_sub(first_tile),
                weights: self.head.keys.get(at..).unwrap_or_default(),
                tile_stride: n_blocks,
                block_stride: 1,
                weight_scales: Some(self.head.key_scales.get(at..).unwrap_or_default()),
                prefetch_blocks: self.prefetch_blocks(),
                ..Product::of_rows(queries, 0)
            };
            simd.product(&product, &mut scores[first_tile..], n_tiles);
            let first_key = (BLOCK_VECTORS * first_block + first_tile) * LANES;
            let all_visible = last_row.start <= first_key
                && first_key + (end_tile - first_tile) * LANES <= first_row.end
                && end_tile <= n_stored;
            for lane in 0..self.n_lanes {
                let scores = &mut scores[lane * n_tiles + first_tile..][..end_tile - first_tile];
                if !all_visible {
                    let visible = self.rows.visible(self.pair(lane).1);
                    for (j, score) in (first_key..).zip(scores.as_flattened_mut()) {
                        if !visible.contains(&j) {
                            *score = f32::NEG_INFINITY;
                        }
                    }
                }
                for score in scores.iter() {
                    maxima[lane] = simd.max(simd.load(score), maxima[lane]);
                }
            }
        }
        core::array::from_fn(|lane| simd.max_lanes(maxima[lane]))
    }

    /// Turns one pair's scores into quantised weights and returns the softmax's sum.
    #[inline(always)]
    fn weights<S: Simd>(
        self,
        simd: S,
        scores: &[[f32; LANES]],
        max: f32,
        first_block: usize,
        weights: &mut QuantRows,
        lane: usize,
    ) -> f32 {
        let max = simd.splat(max);
        let mut total = simd.zero();
        let value_scales = &self.head.value_scales[first_block..];
        for (b, (scores, scales)) in scores.as_chunks::<BLOCK_VECTORS>().0.iter().zip(value_scales).enumerate() {
            let scales = load_whole_block(simd, scales);
            let mut w = [simd.zero(); BLOCK_VECTORS];
            for i in 0..BLOCK_VECTORS {
                w[i] = exp2_negative(simd, simd.sub(simd.load(&scores[i]), max));
            }
            for i in 0..BLOCK_VECTORS {
                total = simd.add(total, w[i]);
                w[i] = simd.mul(w[i], scales[i]);
            }
            weights.set_block(simd, lane, b, w);
        }
        simd.sum_lanes(total)
    }
}
