//! Rotary position embedding (Su et al., 2021), pairs (i, i + head_dim / 2) as in Hugging Face's Llama.

use crate::math::{exp_f64, ln_f64, sin_cos};
use crate::simd::{Kernel, LANES, Simd};

/// cos and sin for every position and pair, computed once in f64 by + - x / alone and rounded to f32.
///
/// Pair i of position p turns by p * theta^(-2i / head_dim), the power computed as exp(-(2i / head_dim) * ln(theta)).
#[derive(Clone, Debug)]
pub struct RopeTable {
    half_dim: usize,
    /// `[position][cos of each pair, then sin of each pair]`.
    cos_sin: Vec<f32>,
}

impl RopeTable {
    /// The table for positions `0..n_positions`, heads of `head_dim` (even) values and base frequency `theta`.
    pub fn new(n_positions: usize, head_dim: usize, theta: f64) -> Self {
        let half_dim = head_dim / 2;
        let ln_theta = ln_f64(theta);
        let frequencies: Vec<f64> =
            (0..half_dim).map(|i| exp_f64(-(2.0 * i as f64 / head_dim as f64) * ln_theta)).collect();
        let mut cos_sin = Vec::with_capacity(n_positions * 2 * half_dim);
        for position in 0..n_positions {
            let angles = frequencies.iter().map(|f| sin_cos(position as f64 * f));
            cos_sin.extend(angles.clone().map(|(_, cos)| cos as f32));
            cos_sin.extend(angles.map(|(sin, _)| sin as f32));
        }
        Self { half_dim, cos_sin }
    }

    /// Number of positions.
    pub fn n_positions(&self) -> usize {
        self.cos_sin.len().checked_div(2 * self.half_dim).unwrap_or(0)
    }

    /// cos and sin of each pair at a position.
    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        self.cos_sin[position * 2 * self.half_dim..][..2 * self.half_dim].split_at(self.half_dim)
    }
}

/// Turns every head of `heads` (`[n_heads][head_dim]`) in place:
/// a' = fma(a, cos, -(b * sin)), b' = fma(b, cos, a * sin).
pub(crate) struct Rotate<'a> {
    pub(crate) table: &'a RopeTable,
    pub(crate) position: usize,
    pub(crate) heads: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let half = self.table.half_dim;
        let (cos, sin) = self.table.at(self.position);
        for head in self.heads.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            for (((a, b), cos), sin) in
                a.chunks_mut(LANES).zip(b.chunks_mut(LANES)).zip(cos.chunks(LANES)).zip(sin.chunks(LANES))
            {
                let (va, vb) = (simd.load_partial(a, 0.0), simd.load_partial(b, 0.0));
                let (cos, sin) = (simd.load_partial(cos, 0.0), simd.load_partial(sin, 0.0));
                let negated = simd.sub(simd.zero(), simd.mul(vb, sin));
                simd.store_partial(simd.fma(va, cos, negated), a);
                simd.store_partial(simd.fma(vb, cos, simd.mul(va, sin)), b);
            }
        }
    }
}
