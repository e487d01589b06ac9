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
const TILES_AT_ONCE: usize = 8;

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
        let shape = self.cache.shape;
        let group = shape.n_heads / shape.n_kv_heads;
        let n_keys = self.position + 1;
        let n_tiles = n_keys.div_ceil(LANES);
        self.scores.resize(n_tiles, [0.0; LANES]);
        for (head, (q, out)) in
            self.q.chunks_exact(shape.head_dim).zip(self.out.chunks_exact_mut(shape.head_dim)).enumerate()
        {
            let keys = &self.cache.keys[head / group];
            let values = &self.cache.values[head / group];
            head_scores(simd, q, keys, self.scale, self.scores);
            let total = softmax_weights(simd, n_keys, self.scores);
            let weights = &self.scores.as_flattened()[..n_keys];
            let n_vectors = shape.head_vectors();
            let mut out = out.chunks_mut(LANES);
            for first in (0..n_vectors).step_by(4) {
                match n_vectors - first {
                    4.. => weighted_values::<S, 4>(simd, weights, values, n_vectors, first, total, &mut out),
                    3 => weighted_values::<S, 3>(simd, weights, values, n_vectors, first, total, &mut out),
                    2 => weighted_values::<S, 2>(simd, weights, values, n_vectors, first, total, &mut out),
                    _ => weighted_values::<S, 1>(simd, weights, values, n_vectors, first, total, &mut out),
                }
            }
        }
    }
}

/// Scores of all tiles; lanes beyond the last key hold whatever the cache holds there.
#[inline(always)]
fn head_scores<S: Simd>(simd: S, q: &[f32], keys: &[[f32; LANES]], scale: f32, scores: &mut [[f32; LANES]]) {
    let head_dim = q.len();
    let scale = simd.splat(scale);
    let mut tile = 0;
    while tile < scores.len() {
        tile += if scores.len() - tile >= TILES_AT_ONCE {
            tile_scores::<S, TILES_AT_ONCE>(simd, q, &keys[tile * head_dim..], scale, &mut scores[tile..])
        } else {
            tile_scores::<S, 1>(simd, q, &keys[tile * head_dim..], scale, &mut scores[tile..])
        };
    }
}

#[inline(always)]
fn tile_scores<S: Simd, const T: usize>(
    simd: S,
    q: &[f32],
    keys: &[[f32; LANES]],
    scale: S::F,
    scores: &mut [[f32; LANES]],
) -> usize {
    let tiles: [&[[f32; LANES]]; T] = core::array::from_fn(|t| &keys[t * q.len()..][..q.len()]);
    let mut acc = [simd.zero(); T];
    for (d, &q) in q.iter().enumerate() {
        let q = simd.splat(q);
        for t in 0..T {
            acc[t] = simd.fma(q, simd.load(&tiles[t][d]), acc[t]);
        }
    }
    for (acc, out) in acc.into_iter().zip(scores) {
        simd.store(simd.mul(acc, scale), out);
    }
    T
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

/// `V` vectors of 16 output values from vector `first` on.
#[inline(always)]
fn weighted_values<'a, S: Simd, const V: usize>(
    simd: S,
    weights: &[f32],
    values: &[[f32; LANES]],
    n_vectors: usize,
    first: usize,
    total: f32,
    out: &mut impl Iterator<Item = &'a mut [f32]>,
) {
    let mut acc = [simd.zero(); V];
    for (&w, value) in weights.iter().zip(values.chunks_exact(n_vectors)) {
        let w = simd.splat(w);
        for (acc, value) in acc.iter_mut().zip(&value[first..]) {
            *acc = simd.fma(w, simd.load(value), *acc);
        }
    }
    let total = simd.splat(total);
    for (acc, out) in acc.into_iter().zip(out) {
        simd.store_partial(simd.div(acc, total), out);
    }
}
