//! Picks the instruction set once and offers the kernels on batches of rows.

use core::fmt;
use core::str::FromStr;

use rayon::prelude::*;

use crate::arch::scalar::Scalar;
use crate::attention::{Attend, AttentionScratch, QueryRows};
use crate::kv_cache::{Append, KvCache};
use crate::linear::{ActivatedColumns, Activation, LinearColumns, PackedLinear, Store, TILE_OUTPUTS};
use crate::logits::LogitWeights;
use crate::norm::RmsNorm;
use crate::product::TILE_ROWS;
use crate::quant::{BLOCK, BlockColumn, QuantRows};
use crate::rope::{RopeTable, Rotate};
use crate::simd::{Kernel, Simd};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::arch::amx::Amx;
#[cfg(target_arch = "x86_64")]
use crate::arch::{avx2::Avx2, avx512::Avx512};

/// Tiles of outputs that one task of a narrow batch computes at least.
const MIN_TILES_A_TASK: usize = 2;

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
    /// The same with AMX's int8 tiles (x86-64, Linux).
    Amx,
}

impl Isa {
    /// All names, slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx];
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        })
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.to_string() == s)
            .ok_or_else(|| format!("unknown instruction set '{s}': use scalar, avx2, avx512 or amx"))
    }
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(Amx),
}

/// The kernels of one instruction set. All of them work on the calling thread, but for [`Kernels::linear_split`]
/// and [`Kernels::linear_activated_split`].
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
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Isa::Amx => Amx::detect().map(|t| Self(Token::Amx(t))),
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
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
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Token::Amx(_) => Isa::Amx,
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
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Token::Amx(t) => t.run(kernel),
        }
    }

    /// Quantises `x` (row-major `[rows, n_cols]`) by the canonical rule.
    ///
    /// # Panics
    /// If `x.len()` is no multiple of the row length.
    pub fn quantise_rows(&self, x: &[f32], n_cols: usize, out: &mut QuantRows) {
        assert!(n_cols > 0 && x.len().is_multiple_of(n_cols), "{} values in rows of {n_cols}", x.len());
        self.run(QuantiseRows { x, n_cols, out });
    }

    /// `out` = W x + b for every row of `x`, or added to what is there: row-major `[rows, n_outputs]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn linear(&self, linear: &PackedLinear, x: &QuantRows, store: Store, out: &mut [f32]) {
        check_linear(linear, x, out);
        let mut rows: Vec<_> = out.chunks_exact_mut(linear.n_outputs().max(1)).collect();
        self.run(LinearColumns { linear, x, store, first_tile: 0, out: &mut rows });
    }

    /// As [`Kernels::linear`], for a batch of few rows: the threads of the current rayon pool share the outputs, which
    /// changes no bit.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn linear_split(&self, linear: &PackedLinear, x: &QuantRows, store: Store, out: &mut [f32]) {
        check_linear(linear, x, out);
        if out.is_empty() {
            return;
        }
        let tiles_a_task = linear.n_tiles().div_ceil(2 * rayon::current_num_threads()).max(MIN_TILES_A_TASK);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        tasks.resize_with(linear.n_tiles().div_ceil(tiles_a_task), || Vec::with_capacity(x.n_rows()));
        for row in out.chunks_exact_mut(linear.n_outputs()) {
            for (part, task) in row.chunks_mut(tiles_a_task * TILE_OUTPUTS).zip(&mut tasks) {
                task.push(part);
            }
        }
        tasks.par_iter_mut().with_max_len(1).enumerate().for_each(|(task, out)| {
            self.run(LinearColumns { linear, x, store, first_tile: task * tiles_a_task, out });
        });
    }

    /// A linear layer whose results go through `activation` and are quantised: row r of `out` is the quantised row of
    /// activation(W x + b). `linear` holds the activation's projections, interleaved ([`PackedLinear::interleave`]);
    /// `n_cols` are the values of a row of `out`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn linear_activated(
        &self,
        linear: &PackedLinear,
        activation: Activation,
        x: &QuantRows,
        n_cols: usize,
        out: &mut QuantRows,
    ) {
        let mut columns = self.activated_columns(linear, activation, x, n_cols, out);
        self.run(ActivatedColumns { linear, x, activation, out: &mut columns });
    }

    /// As [`Kernels::linear_activated`], for a batch of few rows: the threads of the current rayon pool share the
    /// outputs, which changes no bit.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn linear_activated_split(
        &self,
        linear: &PackedLinear,
        activation: Activation,
        x: &QuantRows,
        n_cols: usize,
        out: &mut QuantRows,
    ) {
        let n_groups = x.n_rows().div_ceil(TILE_ROWS);
        let mut columns = self.activated_columns(linear, activation, x, n_cols, out);
        let n_blocks = n_cols.div_ceil(BLOCK);
        let blocks_a_task = n_blocks.div_ceil(2 * rayon::current_num_threads()).max(1);
        columns.par_chunks_mut((blocks_a_task * n_groups).max(1)).with_max_len(1).for_each(|out| {
            self.run(ActivatedColumns { linear, x, activation, out });
        });
    }

    /// Makes room for an activated layer's results.
    fn activated_columns<'out>(
        &self,
        linear: &PackedLinear,
        activation: Activation,
        x: &QuantRows,
        n_cols: usize,
        out: &'out mut QuantRows,
    ) -> Vec<BlockColumn<'out>> {
        assert_eq!(x.n_cols(), linear.n_inputs(), "inputs of a linear layer");
        let n_outputs = activation.n_inputs() * n_cols.next_multiple_of(BLOCK);
        assert_eq!(linear.n_outputs(), n_outputs, "outputs of an activated linear layer");
        self.run(Resize { n_rows: x.n_rows(), n_cols, out });
        out.columns_mut()
    }

    /// RMS norm of every row of `x` (row-major `[rows, weight.len()]`).
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "rows of a norm");
        assert!(x.len().is_multiple_of(weight.len()), "row length of a norm");
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            self.run(RmsNorm { x, weight, eps, out });
        }
    }

    /// Turns the heads of one row (`[n_heads][head_dim]`) to `position`.
    ///
    /// # Panics
    /// If the table holds no such position.
    pub fn rotate(&self, table: &RopeTable, position: usize, heads: &mut [f32]) {
        self.run(Rotate { table, position, heads });
    }

    /// Appends `n_rows` positions to a cache. Row r of `keys` (already rotated) and of `values` is
    /// `[n_kv_heads][head_dim]` at `r * stride`.
    ///
    /// # Panics
    /// If the slices are too short.
    pub fn append(&self, cache: &mut KvCache, n_rows: usize, keys: &[f32], values: &[f32], stride: usize) {
        let wanted = if n_rows == 0 { 0 } else { (n_rows - 1) * stride + cache.shape().kv_len() };
        assert!(keys.len() >= wanted && values.len() >= wanted, "keys and values of {n_rows} rows");
        self.run(Append { cache, n_rows, keys, values, stride });
    }

    /// Causal attention of some rows' query heads over `cache`. Scores are products of query and key times `scale`, and
    /// weights powers of two of them: `scale` is log2(e) / sqrt(head_dim) for the softmax of the literature. Row r of `q`
    /// is `[n_heads][head_dim]` at `r * stride`; `out` is `[rows][n_heads * head_dim]`.
    ///
    /// # Panics
    /// If the cache does not hold the positions, or a length does not fit its shape.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing")]
    pub fn attend(
        &self,
        cache: &KvCache,
        rows: QueryRows,
        scale: f32,
        q: &[f32],
        stride: usize,
        scratch: &mut AttentionScratch,
        out: &mut [f32],
    ) {
        let (q_len, n_rows) = (cache.shape().q_len(), rows.n_rows);
        if n_rows == 0 {
            return;
        }
        assert_eq!(out.len(), n_rows * q_len, "outputs of attention");
        assert!(q.len() >= (n_rows - 1) * stride + q_len, "query heads");
        assert!(rows.first + n_rows <= cache.n_positions(), "{rows:?} of {}", cache.n_positions());
        assert!(rows.window != Some(0), "a row sees itself");
        self.run(Attend { cache, rows, scale, q, stride, out, scratch });
    }

    /// x += y, element by element.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_assign(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len(), "summands");
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

fn check_linear(linear: &PackedLinear, x: &QuantRows, out: &[f32]) {
    assert_eq!(x.n_cols(), linear.n_inputs(), "inputs of a linear layer");
    assert_eq!(out.len(), x.n_rows() * linear.n_outputs(), "outputs of a linear layer");
}

struct Resize<'a> {
    n_rows: usize,
    n_cols: usize,
    out: &'a mut QuantRows,
}

impl Kernel for Resize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.out.resize(simd, self.n_rows, self.n_cols);
    }
}

struct QuantiseRows<'a> {
    x: &'a [f32],
    n_cols: usize,
    out: &'a mut QuantRows,
}

impl Kernel for QuantiseRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.out.resize(simd, self.x.len() / self.n_cols, self.n_cols);
        for (row, x) in self.x.chunks_exact(self.n_cols).enumerate() {
            self.out.set_row(simd, row, x);
        }
    }
}
