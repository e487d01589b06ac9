//! Sizes and constants of a Llama-like model, checked before anything is allocated.

use lmgc_kernels::AttentionShape;

use crate::Error;

/// Configuration of a Llama-like decoder: RMSNorm, RoPE, grouped-query attention, SwiGLU (Touvron et al., 2023).
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Number of layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Heads.
    pub attention: AttentionShape,
    /// Width of the feed-forward layer.
    pub d_ffn: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Positions that the model was trained for.
    pub max_positions: usize,
    /// RoPE's base frequency.
    pub rope_theta: f32,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
}

impl ModelConfig {
    /// Checks every size against what the kernels and sane files allow.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let in_range = |field: &str, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::Config { field: field.to_owned(), problem: format!("is {value}; it must be in 1..={max}") })
        };
        let AttentionShape { n_heads, n_kv_heads, head_dim } = self.attention;
        in_range("number of layers", self.n_layers, 1 << 10)?;
        in_range("model width", self.d_model, 1 << 16)?;
        in_range("number of heads", n_heads, 1 << 10)?;
        in_range("number of key-value heads", n_kv_heads, n_heads)?;
        in_range("head dimension", head_dim, 1 << 10)?;
        in_range("feed-forward width", self.d_ffn, 1 << 18)?;
        in_range("vocabulary size", self.vocab_size, 1 << 20)?;
        in_range("context length", self.max_positions, 1 << 22)?;
        let fail = |field: &str, problem: String| Err(Error::Config { field: field.to_owned(), problem });
        if !n_heads.is_multiple_of(n_kv_heads) {
            return fail("number of heads", format!("is {n_heads}, no multiple of {n_kv_heads} key-value heads"));
        }
        if !head_dim.is_multiple_of(2) {
            return fail("head dimension", format!("is {head_dim}; rotary embedding needs an even one"));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return fail("RoPE base frequency", format!("is {}; it must be at least 1", self.rope_theta));
        }
        if !(self.rms_eps.is_finite() && self.rms_eps > 0.0) {
            return fail("RMSNorm epsilon", format!("is {}; it must be positive", self.rms_eps));
        }
        Ok(())
    }

    /// The fields as bytes for the fingerprint: integers as u64, floats as f32 bits, little-endian, in field order.
    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = self.attention;
        let sizes = [self.n_layers, self.d_model, n_heads, n_kv_heads, head_dim, self.d_ffn, self.vocab_size];
        let mut bytes = b"llama".to_vec();
        for size in sizes.into_iter().chain([self.max_positions]) {
            bytes.extend((size as u64).to_le_bytes());
        }
        bytes.extend(self.rope_theta.to_le_bytes());
        bytes.extend(self.rms_eps.to_le_bytes());
        bytes
    }
}
