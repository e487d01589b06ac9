//! A model as the kernels want it.

use std::fmt;

use lmgc_kernels::{PackedLinear, QuantMatrix};

use crate::{Error, ModelConfig, NormWeights};

/// BLAKE3 hash over a model's configuration, canonical weights and token table. Two models with the same fingerprint
/// give the same probabilities, whatever file they came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One layer, packed. Projections that read the same input are stacked.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: NormWeights,
    pub(crate) qkv: PackedLinear,
    pub(crate) q_norm: Option<Vec<f32>>,
    pub(crate) k_norm: Option<Vec<f32>>,
    pub(crate) attention_out: PackedLinear,
    pub(crate) ffn_norm: NormWeights,
    /// Gate and up with SwiGLU, else up.
    pub(crate) ffn_up: PackedLinear,
    pub(crate) down: PackedLinear,
}

/// A model, ready to run. Made by [`Model::load`](crate::Model::load) or a [`ModelBuilder`](crate::ModelBuilder).
#[derive(Debug)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) embedding: QuantMatrix,
    /// Learned positions, `[max_positions, d_model]`.
    pub(crate) positions: Option<Vec<f32>>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: NormWeights,
    pub(crate) output: Option<QuantMatrix>,
    pub(crate) weights_hash: blake3::Hash,
}

impl Model {
    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes that the weights occupy in memory.
    pub fn n_bytes(&self) -> usize {
        let matrices = [Some(&self.embedding), self.output.as_ref()];
        let matrices = matrices.into_iter().flatten().map(QuantMatrix::n_bytes).sum::<usize>();
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.attention_out, &l.ffn_up, &l.down]);
        matrices + layers.map(PackedLinear::n_bytes).sum::<usize>() + self.positions.as_deref().map_or(0, size_of_val)
    }

    /// The fingerprint of this model with the given bytes for each token id, in id order.
    pub fn fingerprint<'a>(&self, id_bytes: impl Iterator<Item = &'a [u8]>) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"lmgc model fingerprint 2");
        hasher.update(&self.config.canonical_bytes());
        hasher.update(self.weights_hash.as_bytes());
        for bytes in id_bytes {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Fingerprint(hasher.finalize().into())
    }
}

/// The output layer for all tokens or for some: which token ids the logits stand for.
#[derive(Debug)]
pub struct OutputLayer {
    pub(crate) linear: PackedLinear,
    ids: Option<Vec<u32>>,
}

impl OutputLayer {
    /// Logits for every token id, in id order.
    pub fn full(model: &Model) -> Self {
        Self { linear: PackedLinear::pack(model.output.as_ref().unwrap_or(&model.embedding)), ids: None }
    }

    /// Logits for the given token ids alone, in the given order (strictly ascending).
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] for an id beyond the vocabulary.
    ///
    /// # Panics
    /// If the ids are not strictly ascending.
    pub fn restricted(model: &Model, ids: &[u32]) -> Result<Self, Error> {
        assert!(ids.is_sorted_by(|a, b| a < b), "ids of an output layer ascend");
        let vocab_size = model.config.vocab_size;
        if let Some(&id) = ids.last().filter(|&&id| id as usize >= vocab_size) {
            return Err(Error::TokenOutOfRange { id, vocab_size });
        }
        let matrix = model.output.as_ref().unwrap_or(&model.embedding);
        let picked = matrix.select_rows(ids.iter().map(|&id| id as usize));
        Ok(Self { linear: PackedLinear::pack(&picked), ids: Some(ids.to_vec()) })
    }

    /// Number of logits.
    pub fn n_symbols(&self) -> usize {
        self.linear.n_outputs()
    }

    /// The logit's index for a token id, if the layer has it.
    pub fn symbol_of(&self, id: u32) -> Option<usize> {
        match &self.ids {
            None => Some(id as usize).filter(|&symbol| symbol < self.n_symbols()),
            Some(ids) => ids.binary_search(&id).ok(),
        }
    }

    /// The token id of a logit's index.
    pub fn id_of(&self, symbol: usize) -> Option<u32> {
        match &self.ids {
            None => (symbol < self.n_symbols()).then_some(symbol as u32),
            Some(ids) => ids.get(symbol).copied(),
        }
    }
}
