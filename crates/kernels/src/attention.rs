//! Causal attention over a cache of keys and values, in f32.
//!
//! For one query head at position p, over key positions 0..=p:
//! - score_j = (sum over d ascending of fma(q_d, k_jd, acc)) * scale;
//! - m = the largest score; w_j = exp(score_j - m);
//! - total: virtual lane l adds w_j for j = l mod 16, ascending, then the tree of [`Simd::sum_lanes`];
//! - out_d = (sum over j ascending of fma(w_j, v_jd, acc)) / total.
//!
//! A row reads only positions up to its own, so a step with a cache and a whole window give the same bits.

use crate::math::exp;
use crate::simd::{Kernel, LANES, Simd};

/// Tiles of 16 positions whose scores are summed side by side.
const TILES_AT_ONCE: usize = 4;

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

    /// Vectors of 16 values that hold a head.
    fn head_vectors(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }
}

/// Keys and values of one layer of one sequence, growing by position.
#[derive(Clone, Debug)]
pub struct KvCache {
    shape: AttentionShape,
    n_positions: usize,
    /// One a key head: `[position / 16][d][position % 16]`.
    keys: Vec<Vec<[f32; LANES]>>,
    /// One a value head: `[position][d / 16][d % 16]`, padded with zeros.
    values: Vec<Vec<[f32; LANES]>>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(shape: AttentionShape) -> Self {
        let heads = vec![Vec::new(); shape.n_kv_heads];
        Self { shape, n_positions: 0, keys: heads.clone(), values: heads }
    }

    /// The sizes that it was made for.
    pub fn shape(&self) -> AttentionShape {
        self.shape
    }

    /// Positions held.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Forgets all positions but keeps the memory.
    pub fn clear(&mut self) {
        self.n_positions = 0;
        for head in self.keys.iter_mut().chain(&mut self.values) {
            head.clear();
        }
    }

    /// Appends one position: `keys` (already rotated) and `values`, each `[n_kv_heads][head_dim]`.
    ///
    /// # Panics
    /// If a length is not `shape.kv_len()`.
    pub fn push(&mut self, keys: &[f32], values: &[f32]) {
        let AttentionShape { head_dim, .. } = self.shape;
        assert_eq!((keys.len(), values.len()), (self.shape.kv_len(), self.shape.kv_len()), "one position");
        let lane = self.n_positions % LANES;
        let tile = self.n_positions / LANES * head_dim;
        for (stored, key) in self.keys.iter_mut().zip(keys.chunks_exact(head_dim)) {
            if lane == 0 {
                stored.resize(tile + head_dim, [0.0; LANES]);
            }
            for (slot, &k) in stored[tile..].iter_mut().zip(key) {
                slot[lane] = k;
            }
        }
        for (stored, value) in self.values.iter_mut().zip(values.chunks_exact(head_dim)) {
            for v in value.chunks(LANES) {
                let mut padded = [0.0; LANES];
                padded[..v.len()].copy_from_slice(v);
                stored.push(padded);
            }
        }
        self.n_positions += 1;
    }

    /// Bytes of keys and values for one position of this shape.
    pub fn bytes_per_position(shape: AttentionShape) -> usize {
        shape.n_kv_heads * (shape.head_dim + shape.head_vectors() * LANES) * size_of::<f32>()
    }
}

/// Attention of all query heads of one row at `position`, which the cache must already hold.
pub(crate) struct Attend<'a> {
    pub(crate) cache: &'a KvCache,
    pub(crate) position: usize,
    /// `[n_heads][head_dim]`, already rotated.
    pub(crate) q: &'a [f32],
    /// Same layout as `q`.
    pub(crate) out: &'a mut [f32],
    /// Reusable memory.
    pub(crate) scores: &'a mut Vec<[f32; LANES]>,
    pub(crate) scale: f32,
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = self.cache.shape;
        let group = n_heads / n_kv_heads;
        let n_keys = self.position + 1;
        self.scores.resize(n_keys.div_ceil(LANES) * group.min(4), [0.0; LANES]);
        let q_groups = self.q.chunks_exact(group * head_dim);
        let out_groups = self.out.chunks_exact_mut(group * head_dim);
        for ((keys, values), (q, out)) in self.cache.keys.iter().zip(&self.cache.values).zip(q_groups.zip(out_groups)) {
            let heads = Heads { keys, values, head_dim, n_keys, scale: self.scale };
            // Query heads of one group read the same keys and values: up to four share each load.
            for (q, out) in q.chunks(4 * head_dim).zip(out.chunks_mut(4 * head_dim)) {
                match q.len() / head_dim {
                    4 => heads.attend::<S, 4>(simd, q, out, self.scores),
                    3 => heads.attend::<S, 3>(simd, q, out, self.scores),
                    2 => heads.attend::<S, 2>(simd, q, out, self.scores),
                    _ => heads.attend::<S, 1>(simd, q, out, self.scores),
                }
            }
        }
    }
}

/// The keys and values that some query heads read.
#[derive(Clone, Copy)]
struct Heads<'a> {
    keys: &'a [[f32; LANES]],
    values: &'a [[f32; LANES]],
    head_dim: usize,
    n_keys: usize,
    scale: f32,
}

impl Heads<'_> {
    /// `G` query heads: `q` and `out` are `[G][head_dim]`, `scores` has room for `[G][tile]`.
    #[inline(always)]
    fn attend<S: Simd, const G: usize>(self, simd: S, q: &[f32], out: &mut [f32], scores: &mut [[f32; LANES]]) {
        let n_tiles = self.n_keys.div_ceil(LANES);
        let scores = &mut scores[..G * n_tiles];
        let mut tile = 0;
        while tile < n_tiles {
            tile += if n_tiles - tile >= TILES_AT_ONCE {
                self.scores::<S, G, TILES_AT_ONCE>(simd, q, tile, scores)
            } else {
                self.scores::<S, G, 1>(simd, q, tile, scores)
            };
        }
        let mut totals = [0.0; G];
        for (total, scores) in totals.iter_mut().zip(scores.chunks_exact_mut(n_tiles)) {
            *total = softmax_weights(simd, self.n_keys, scores);
        }
        let n_vectors = self.head_dim.div_ceil(LANES);
        for first in (0..n_vectors).step_by(4) {
            match n_vectors - first {
                4.. => self.weighted_values::<S, G, 4>(simd, scores, totals, first, out),
                3 => self.weighted_values::<S, G, 3>(simd, scores, totals, first, out),
                2 => self.weighted_values::<S, G, 2>(simd, scores, totals, first, out),
                _ => self.weighted_values::<S, G, 1>(simd, scores, totals, first, out),
            }
        }
    }

    /// Scores of `T` tiles from `tile` on; lanes beyond the last key get whatever the cache holds there. Returns `T`.
    #[inline(always)]
    fn scores<S: Simd, const G: usize, const T: usize>(
        self,
        simd: S,
        q: &[f32],
        tile: usize,
        scores: &mut [[f32; LANES]],
    ) -> usize {
        let head_dim = self.head_dim;
        let queries: [&[f32]; G] = core::array::from_fn(|g| &q[g * head_dim..][..head_dim]);
        let tiles: [&[[f32; LANES]]; T] = core::array::from_fn(|t| &self.keys[(tile + t) * head_dim..][..head_dim]);
        let mut acc = [[simd.zero(); T]; G];
        for d in 0..head_dim {
            let keys: [S::F; T] = core::array::from_fn(|t| simd.load(&tiles[t][d]));
            for g in 0..G {
                let q = simd.splat(queries[g][d]);
                for t in 0..T {
                    acc[g][t] = simd.fma(q, keys[t], acc[g][t]);
                }
            }
        }
        let scale = simd.splat(self.scale);
        let n_tiles = scores.len() / G;
        for (acc, scores) in acc.iter().zip(scores.chunks_exact_mut(n_tiles)) {
            for (&acc, out) in acc.iter().zip(&mut scores[tile..]) {
                simd.store(simd.mul(acc, scale), out);
            }
        }
        T
    }

    /// `V` vectors of 16 output values of each head, from vector `first` on.
    #[inline(always)]
    fn weighted_values<S: Simd, const G: usize, const V: usize>(
        self,
        simd: S,
        weights: &[[f32; LANES]],
        totals: [f32; G],
        first: usize,
        out: &mut [f32],
    ) {
        let n_tiles = weights.len() / G;
        let n_vectors = self.head_dim.div_ceil(LANES);
        let weights: [&[f32]; G] =
            core::array::from_fn(|g| &weights[g * n_tiles..][..n_tiles].as_flattened()[..self.n_keys]);
        let mut acc = [[simd.zero(); V]; G];
        for (j, value) in self.values.chunks_exact(n_vectors).take(self.n_keys).enumerate() {
            let Some(value) = value[first..].first_chunk::<V>() else { break };
            let value: [S::F; V] = core::array::from_fn(|v| simd.load(&value[v]));
            for g in 0..G {
                let w = simd.splat(weights[g][j]);
                for v in 0..V {
                    acc[g][v] = simd.fma(w, value[v], acc[g][v]);
                }
            }
        }
        for ((acc, total), out) in acc.into_iter().zip(totals).zip(out.chunks_exact_mut(self.head_dim)) {
            let total = simd.splat(total);
            for (acc, out) in acc.into_iter().zip(out[first * LANES..].chunks_mut(LANES)) {
                simd.store_partial(simd.div(acc, total), out);
            }
        }
    }
}

/// Turns scores into weights, zero beyond the last key, and returns their sum.
#[inline(always)]
fn softmax_weights<S: Simd>(simd: S, n_keys: usize, scores: &mut [[f32; LANES]]) -> f32 {
    if let Some(last) = scores.last_mut() {
        let used = (n_keys - 1) % LANES + 1;
        last[used..].fill(f32::NEG_INFINITY);
    }
    let mut max = simd.splat(f32::NEG_INFINITY);
    for tile in scores.iter() {
        max = simd.max(simd.load(tile), max);
    }
    let max = simd.splat(simd.max_lanes(max));
    let mut total = simd.zero();
    for tile in scores.iter_mut() {
        let w = exp(simd, simd.sub(simd.load(tile), max));
        total = simd.add(total, w);
        simd.store(w, tile);
    }
    simd.sum_lanes(total)
}
