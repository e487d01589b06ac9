//! A model's weights in canonical form, as sources give them.

use lmgc_kernels::QuantMatrix;

/// A linear layer: y = W x (+ bias).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWeights {
    /// `[outputs, inputs]`.
    pub matrix: QuantMatrix,
    /// `[outputs]`.
    pub bias: Option<Vec<f32>>,
}

/// A norm.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights {
    /// `[width]`.
    pub weight: Vec<f32>,
    /// `[width]`; layer norms have one, RMS norms none.
    pub bias: Option<Vec<f32>>,
}

/// The weights of one layer; matrices are `[outputs, inputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// Norm before attention, of width `d_model`.
    pub attention_norm: NormWeights,
    /// Query projection, `[n_heads * head_dim, d_model]`.
    pub q: LinearWeights,
    /// Key projection, `[n_kv_heads * head_dim, d_model]`. q, k and v all have a bias or none has.
    pub k: LinearWeights,
    /// Value projection, `[n_kv_heads * head_dim, d_model]`.
    pub v: LinearWeights,
    /// RMS norm of each query head before rotation, `[head_dim]` (Qwen 3).
    pub q_norm: Option<Vec<f32>>,
    /// RMS norm of each key head before rotation, `[head_dim]`.
    pub k_norm: Option<Vec<f32>>,
    /// Attention's output projection, `[d_model, n_heads * head_dim]`.
    pub attention_out: LinearWeights,
    /// Norm before the feed-forward layer, of width `d_model`.
    pub ffn_norm: NormWeights,
    /// Gate projection, `[d_ffn, d_model]`; with SwiGLU only.
    pub gate: Option<LinearWeights>,
    /// Up projection, `[d_ffn, d_model]`. Gate and up both have a bias or none has.
    pub up: LinearWeights,
    /// Down projection, `[d_model, d_ffn]`.
    pub down: LinearWeights,
}
