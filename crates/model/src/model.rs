//! A model's weights, as given and as the kernels want them.

use std::fmt;

use lmgc_kernels::{PackedLinear, QuantMatrix};

use crate::{Error, ModelConfig};

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

/// The weights of one layer in canonical form; matrices are `[outputs, inputs]`.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// RMSNorm before attention, `[d_model]`.
    pub attention_norm: Vec<f32>,
    /// Query projection, `[n_heads * head_dim, d_model]`.
    pub q: QuantMatrix,
    /// Key projection, `[n_kv_heads * head_dim, d_model]`.
    pub k: QuantMatrix,
    /// Value projection, `[n_kv_heads * head_dim, d_model]`.
    pub v: QuantMatrix,
    /// Attention's output projection, `[d_model, n_heads * head_dim]`.
    pub attention_out: QuantMatrix,
    /// RMSNorm before the feed-forward layer, `[d_model]`.
    pub ffn_norm: Vec<f32>,
    /// Gate projection, `[d_ffn, d_model]`.
    pub gate: QuantMatrix,
    /// Up projection, `[d_ffn, d_model]`.
    pub up: QuantMatrix,
    /// Down projection, `[d_model, d_ffn]`.
    pub down: QuantMatrix,
}

/// All weights of a model in canonical form.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Token embedding, `[vocab_size, d_model]`.
    pub embedding: QuantMatrix,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights>,
    /// RMSNorm before the output layer, `[d_model]`.
    pub final_norm: Vec<f32>,
    /// Output layer, `[vocab_size, d_model]`; `None` where it is the embedding.
    pub output: Option<QuantMatrix>,
}

/// One layer, packed. Projections that read the same input are stacked.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) qkv: PackedLinear,
    pub(crate) attention_out: PackedLinear,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) gate_up: PackedLinear,
    pub(crate) down: PackedLinear,
}

/// A Llama-like model, ready to run.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) embedding: QuantMatrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Vec<f32>,
    pub(crate) output: Option<QuantMatrix>,
    weights_hash: blake3::Hash,
}

impl Model {
    /// Checks the weights against the configuration and packs them.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tensor`] for what does not fit.
    pub fn new(config: ModelConfig, weights: Weights) -> Result<Self, Error> {
        config.validate()?;
        let (d, d_ffn, vocab) = (config.d_model, config.d_ffn, config.vocab_size);
        let (q_len, kv_len) = (config.attention.q_len(), config.attention.kv_len());
        let mut hasher = WeightsHasher { hasher: blake3::Hasher::new() };
        hasher.matrix("embedding", &weights.embedding, [vocab, d])?;
        if weights.layers.len() != config.n_layers {
            let problem = format!("{} layers; the configuration says {}", weights.layers.len(), config.n_layers);
            return Err(Error::Tensor { name: "layers".to_owned(), problem });
        }
        for (i, layer) in weights.layers.iter().enumerate() {
            let name = |part| format!("layer {i} {part}");
            hasher.vector(&name("attention norm"), &layer.attention_norm, d)?;
            hasher.matrix(&name("q"), &layer.q, [q_len, d])?;
            hasher.matrix(&name("k"), &layer.k, [kv_len, d])?;
            hasher.matrix(&name("v"), &layer.v, [kv_len, d])?;
            hasher.matrix(&name("attention output"), &layer.attention_out, [d, q_len])?;
            hasher.vector(&name("feed-forward norm"), &layer.ffn_norm, d)?;
            hasher.matrix(&name("gate"), &layer.gate, [d_ffn, d])?;
            hasher.matrix(&name("up"), &layer.up, [d_ffn, d])?;
            hasher.matrix(&name("down"), &layer.down, [d, d_ffn])?;
        }
        hasher.vector("final norm", &weights.final_norm, d)?;
        if let Some(output) = &weights.output {
            hasher.matrix("output", output, [vocab, d])?;
        }
        let layers = weights
            .layers
            .into_iter()
            .map(|layer| Layer {
                qkv: PackedLinear::stack(&[&layer.q, &layer.k, &layer.v]),
                attention_out: PackedLinear::pack(&layer.attention_out),
                gate_up: PackedLinear::stack(&[&layer.gate, &layer.up]),
                down: PackedLinear::pack(&layer.down),
                attention_norm: layer.attention_norm,
                ffn_norm: layer.ffn_norm,
            })
            .collect();
        Ok(Self {
            embedding: weights.embedding,
            layers,
            final_norm: weights.final_norm,
            output: weights.output,
            weights_hash: hasher.hasher.finalize(),
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The fingerprint of this model with the given bytes for each token id, in id order.
    pub fn fingerprint<'a>(&self, id_bytes: impl Iterator<Item = &'a [u8]>) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"lmgc model fingerprint 1");
        hasher.update(&self.config.canonical_bytes());
        hasher.update(self.weights_hash.as_bytes());
        for bytes in id_bytes {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Fingerprint(hasher.finalize().into())
    }
}

/// Hashes weights in canonical order, checking shapes on the way.
struct WeightsHasher {
    hasher: blake3::Hasher,
}

impl WeightsHasher {
    fn matrix(&mut self, name: &str, matrix: &QuantMatrix, expected: [usize; 2]) -> Result<(), Error> {
        let found = [matrix.rows(), matrix.cols()];
        if found != expected {
            let problem = format!("has shape {found:?}; the configuration asks for {expected:?}");
            return Err(Error::Tensor { name: name.to_owned(), problem });
        }
        let q: Vec<u8> = matrix.values().iter().map(|&q| q as u8).collect();
        self.hasher.update(&q);
        self.floats(matrix.scales());
        Ok(())
    }

    fn vector(&mut self, name: &str, vector: &[f32], expected: usize) -> Result<(), Error> {
        if vector.len() != expected {
            let problem = format!("has {} values; the configuration asks for {expected}", vector.len());
            return Err(Error::Tensor { name: name.to_owned(), problem });
        }
        self.floats(vector);
        Ok(())
    }

    fn floats(&mut self, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.hasher.update(&bytes);
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
