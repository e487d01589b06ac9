//! Picks the instruction set once and offers the kernels on batches of rows.

use core::fmt;
use core::str::FromStr;

use rayon::prelude::*;

use crate::arch::scalar::Scalar;
use crate::attention::{Attend, KvCache};
use crate::linear::{LinearTiles, PackedLinear, TILE_OUTPUTS};
use crate::logits::LogitWeights;
use crate::math::silu;
use crate::norm::RmsNorm;
use crate::quant::{BLOCK, QuantRows, quantise_block};
use crate::rope::{RopeTable, Rotate};
use crate::simd::{Kernel, LANES, Simd};

#[cfg(target_arch = "x86_64")]
use crate::arch::{avx2::Avx2, avx512::Avx512};

/// Tiles of outputs that one task computes.
const TILES_A_TASK: usize = 4;

/// An instruction set by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// AVX2 and FMA (x86-64).
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI (x86-64).
    Avx512,
}

impl Isa {
    /// All names, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.to_string() == s)
            .ok_or_else(|| format!("unknown instruction set '{s}': use scalar, avx2 or avx512"))
    }
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// The kernels of one instruction set. Work is split over the current rayon pool; neither the instruction set nor the
/// number of threads changes a bit of any result.
#[derive(Clone, Copy, Debug)]
pub struct Kernels(Token);

impl Kernels {
    /// The fastest instruction set of this machine.
    pub fn detect() -> Self {
        Isa::ALL.into_iter().rev().find_map(Self::with_isa).unwrap_or(Self(Token::Scalar(Scalar)))
    }

    /// A given instruction set, or `None` where this machine lacks it.
    pub fn with_isa(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Scalar => Some(Self(Token::Scalar(Scalar))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::detect().map(|t| Self(Token::Avx2(t))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::detect().map(|t| Self(Token::Avx512(t))),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }

    /// Every instruction set of this machine.
    pub fn available() -> Vec<Self> {
        Isa::ALL.into_iter().filter_map(Self::with_isa).collect()
    }

    /// Which one this is.
    pub fn isa(&self) -> Isa {
        match self.0 {
            Token::Scalar(_) => Isa::Scalar,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => Isa::Avx512,
        }
    }

    /// Runs a kernel of one's own.
    pub fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.0 {
            Token::Scalar(t) => t.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(t) => t.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(t) => t.run(kernel),
        }
    }

    /// Quantises `x` (row-major `[rows, out.n_cols()]`) by the canonical rule.
    ///
    /// # Panics
    /// If `x.len()` is no multiple of the row length.
    pub fn quantise_rows(&self, x: &[f32], out: &mut QuantRows) {
        let n_cols = out.n_cols();
        assert!(n_cols > 0 && x.len().is_multiple_of(n_cols), "{} values in rows of {n_cols}", x.len());
        out.resize(x.len() / n_cols);
        let n_blocks = out.blocks_per_row();
        x.par_chunks_exact(n_cols)
            .zip(out.q.par_chunks_exact_mut(n_blocks))
            .zip(out.scales.par_chunks_exact_mut(n_blocks).zip(out.bias.par_chunks_exact_mut(n_blocks)))
            .with_min_len(16)
            .for_each(|((row, q), (scales, bias))| self.run(QuantiseRow { row, q, scales, bias }));
    }

    /// `out` = W x for every row of `x`: row-major `[rows, n_outputs]`. `scratch` is reusable memory.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn linear(&self, linear: &PackedLinear, x: &QuantRows, scratch: &mut Scratch, out: &mut [f32]) {
        let (n_rows, n_outputs) = (x.n_rows(), linear.n_outputs());
        assert_eq!(x.n_cols(), linear.n_inputs(), "inputs of a linear layer");
        assert_eq!(out.len(), n_rows * n_outputs, "outputs of a linear layer");
        if out.is_empty() {
            return;
        }
        let tiles = &mut scratch.tiles;
        tiles.resize(linear.n_tiles() * n_rows, [0.0; TILE_OUTPUTS]);
        tiles.par_chunks_mut(TILES_A_TASK * n_rows).enumerate().for_each(|(task, out)| {
            self.run(LinearTiles { linear, x, first_tile: task * TILES_A_TASK, out });
        });
        let tiles = &*tiles;
        out.par_chunks_exact_mut(n_outputs).enumerate().with_min_len(16).for_each(|(row, out)| {
            for (tile, out) in out.chunks_mut(TILE_OUTPUTS).enumerate() {
                out.copy_from_slice(&tiles[tile * n_rows + row][..out.len()]);
            }
        });
    }

    /// RMS norm of every row of `x` (row-major `[rows, weight.len()]`).
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "rows of a norm");
        assert!(x.len().is_multiple_of(weight.len()), "row length of a norm");
        x.par_chunks_exact(weight.len())
            .zip(out.par_chunks_exact_mut(weight.len()))
            .with_min_len(16)
            .for_each(|(x, out)| self.run(RmsNorm { x, weight, eps, out }));
    }

    /// Turns the heads of one row (`[n_heads][head_dim]`) to `position`.
    ///
    /// # Panics
    /// If the table holds no such position.
    pub fn rotate(&self, table: &RopeTable, position: usize, heads: &mut [f32]) {
        self.run(Rotate { table, position, heads });
    }

    /// Causal attention of one row's query heads (`[n_heads][head_dim]`) over positions `0..=position` of `cache`, with
    /// scores times `scale`.
    ///
    /// # Panics
    /// If the cache does not hold that position, or a length is not `q_len()` of its shape.
    pub fn attend(
        &self,
        cache: &KvCache,
        position: usize,
        scale: f32,
        q: &[f32],
        scratch: &mut AttentionScratch,
        out: &mut [f32],
    ) {
        let q_len = cache.shape().q_len();
        assert_eq!((q.len(), out.len()), (q_len, q_len), "query heads");
        assert!(position < cache.n_positions(), "position {position} of {}", cache.n_positions());
        self.run(Attend { cache, position, q, out, scores: &mut scratch.scores, scale });
    }

    /// out = silu(gate) * up for every row. `gate_up`: row-major `[rows, 2 * n_cols]`, each row the gate and then the up
    /// projection; `out`: row-major `[rows, n_cols]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn silu_mul(&self, gate_up: &[f32], n_cols: usize, out: &mut [f32]) {
        assert_eq!(gate_up.len(), 2 * out.len(), "gate and up projections");
        gate_up.par_chunks_exact(2 * n_cols).zip(out.par_chunks_exact_mut(n_cols)).with_min_len(4).for_each(
            |(gate_up, out)| {
                let (gate, up) = gate_up.split_at(n_cols);
                self.run(SiluMul { gate, up, out });
            },
        );
    }

    /// x += y, element by element.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_assign(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len(), "residual");
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// Integer weights of logits: weight_i = floor(exp(logit_i - max) * 2^30); NaN weighs 0.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn logit_weights(&self, logits: &[f32], weights: &mut [u32]) {
        assert_eq!(logits.len(), weights.len(), "logits");
        self.run(LogitWeights { logits, weights });
    }
}

/// Reusable memory of [`Kernels::linear`].
#[derive(Debug, Default)]
pub struct Scratch {
    tiles: Vec<[f32; TILE_OUTPUTS]>,
}

/// Reusable memory of [`Kernels::attend`], one a thread.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    scores: Vec<[f32; LANES]>,
}

struct QuantiseRow<'a> {
    row: &'a [f32],
    q: &'a mut [[i8; BLOCK]],
    scales: &'a mut [f32],
    bias: &'a mut [i32],
}

impl Kernel for QuantiseRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (((x, q), scale), bias) in self.row.chunks(BLOCK).zip(self.q).zip(self.scales).zip(self.bias) {
            *scale = match x.first_chunk::<BLOCK>() {
                Some(whole) => quantise_block(simd, whole, q),
                None => {
                    let mut padded = [0.0; BLOCK];
                    padded[..x.len()].copy_from_slice(x);
                    quantise_block(simd, &padded, q)
                }
            };
            *bias = -128 * q.iter().map(|&q| i32::from(q)).sum::<i32>();
        }
    }
}

struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for ((gate, up), out) in self.gate.chunks(LANES).zip(self.up.chunks(LANES)).zip(self.out.chunks_mut(LANES)) {
            let activated = silu(simd, simd.load_partial(gate, 0.0));
            simd.store_partial(simd.mul(activated, simd.load_partial(up, 0.0)), out);
        }
    }
}
