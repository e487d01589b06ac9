//! Puts a model together layer by layer: checks, hashes and packs each, and drops the canonical form.

use std::io::{self, Write};

use lmgc_kernels::{AttentionShape, PackedLinear, QuantMatrix};

use crate::model::{Layer, Model};
use crate::{Error, FeedForward, LayerWeights, LinearWeights, ModelConfig, NormKind, NormWeights, Positions};

/// Builds a [`Model`] from weights that arrive one layer at a time, so that the canonical and the packed form of the
/// whole model are never in memory together.
pub struct ModelBuilder<'w> {
    config: ModelConfig,
    embedding: QuantMatrix,
    positions: Option<Vec<f32>>,
    layers: Vec<Layer>,
    canonical: CanonicalWriter<'w>,
}

impl<'w> ModelBuilder<'w> {
    /// Starts with the token embedding, `[vocab_size, d_model]`, and, where positions are learned, their vectors,
    /// row-major `[max_positions, d_model]`.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration out of range, [`Error::Tensor`] for weights that do not fit it.
    pub fn new(config: ModelConfig, embedding: QuantMatrix, positions: Option<Vec<f32>>) -> Result<Self, Error> {
        Self::copying(config, embedding, positions, None)
    }

    /// As [`ModelBuilder::new`]; the canonical bytes that are hashed also go to `copy`.
    pub(crate) fn copying(
        config: ModelConfig,
        embedding: QuantMatrix,
        positions: Option<Vec<f32>>,
        copy: Option<&'w mut dyn Write>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let mut canonical = CanonicalWriter { hasher: blake3::Hasher::new(), copy, failure: None };
        canonical.matrix("embedding", &embedding, [config.vocab_size, config.d_model])?;
        let n_positions = match config.positions {
            Positions::Learned => Some(config.max_positions * config.d_model),
            Positions::Rope { .. } => None,
        };
        canonical.optional("position embedding", positions.as_deref(), n_positions)?;
        Ok(Self { config, embedding, positions, layers: Vec::new(), canonical })
    }

    /// Adds the next layer.
    ///
    /// # Errors
    /// [`Error::Tensor`] for weights that do not fit the configuration.
    pub fn push_layer(&mut self, layer: LayerWeights) -> Result<(), Error> {
        let config = &self.config;
        let AttentionShape { head_dim, .. } = config.attention;
        let (d, d_ffn) = (config.d_model, config.d_ffn);
        let (q_len, kv_len) = (config.attention.q_len(), config.attention.kv_len());
        let i = self.layers.len();
        let name = |part| format!("layer {i} {part}");
        if i == config.n_layers {
            return Err(wrong("layers", format!("are more than the {i} of the configuration")));
        }
        let out = &mut self.canonical;
        out.norm(&name("attention norm"), &layer.attention_norm, config.norm.kind, d)?;
        out.linear(&name("q"), &layer.q, [q_len, d])?;
        out.linear(&name("k"), &layer.k, [kv_len, d])?;
        out.linear(&name("v"), &layer.v, [kv_len, d])?;
        let head_norm = |norm: &Option<_>| norm.is_some().then_some(head_dim);
        out.optional(&name("q norm"), layer.q_norm.as_deref(), head_norm(&layer.q_norm))?;
        out.optional(&name("k norm"), layer.k_norm.as_deref(), head_norm(&layer.k_norm))?;
        out.linear(&name("attention output"), &layer.attention_out, [d, q_len])?;
        out.norm(&name("feed-forward norm"), &layer.ffn_norm, config.norm.kind, d)?;
        out.present(layer.gate.is_some());
        if layer.gate.is_some() != (config.feed_forward == FeedForward::SwiGlu) {
            return Err(wrong(&name("gate"), "belongs to SwiGLU, and to it alone".to_owned()));
        }
        if let Some(gate) = &layer.gate {
            out.linear(&name("gate"), gate, [d_ffn, d])?;
        }
        out.linear(&name("up"), &layer.up, [d_ffn, d])?;
        out.linear(&name("down"), &layer.down, [d, d_ffn])?;
        self.layers.push(Layer {
            qkv: stacked(&name("q, k and v"), vec![layer.q, layer.k, layer.v])?,
            q_norm: layer.q_norm,
            k_norm: layer.k_norm,
            attention_out: stacked(&name("attention output"), vec![layer.attention_out])?,
            ffn_up: interleaved(&name("gate and up"), layer.gate.into_iter().chain([layer.up]).collect())?,
            down: stacked(&name("down"), vec![layer.down])?,
            attention_norm: layer.attention_norm,
            ffn_norm: layer.ffn_norm,
        });
        Ok(())
    }

    /// Ends with the norm before the output layer, and the output layer, `[vocab_size, d_model]`, where it is not the
    /// embedding.
    ///
    /// # Errors
    /// [`Error::Tensor`] for weights that do not fit the configuration, or missing layers.
    pub fn finish(self, final_norm: NormWeights, output: Option<QuantMatrix>) -> Result<Model, Error> {
        Ok(self.finish_copying(final_norm, output)?.0)
    }

    /// As [`ModelBuilder::finish`], with what went wrong in copying the canonical bytes.
    pub(crate) fn finish_copying(
        mut self,
        final_norm: NormWeights,
        output: Option<QuantMatrix>,
    ) -> Result<(Model, Option<io::Error>), Error> {
        let config = self.config;
        if self.layers.len() != config.n_layers {
            let problem = format!("are {}; the configuration says {}", self.layers.len(), config.n_layers);
            return Err(wrong("layers", problem));
        }
        self.canonical.norm("final norm", &final_norm, config.norm.kind, config.d_model)?;
        self.canonical.present(output.is_some());
        if let Some(output) = &output {
            self.canonical.matrix("output", output, [config.vocab_size, config.d_model])?;
        }
        let model = Model {
            embedding: self.embedding,
            positions: self.positions,
            layers: self.layers,
            final_norm,
            output,
            weights_hash: self.canonical.hasher.finalize(),
            config,
        };
        Ok((model, self.canonical.failure))
    }
}

/// Packs projections that read the same input as one.
fn stacked(name: &str, parts: Vec<LinearWeights>) -> Result<PackedLinear, Error> {
    let biases = biases(name, &parts)?;
    let packed = PackedLinear::stack(&parts.iter().map(|part| &part.matrix).collect::<Vec<_>>());
    Ok(if biases.is_empty() { packed } else { packed.with_bias(&biases.concat()) })
}

/// Packs the projections that an activation takes.
fn interleaved(name: &str, parts: Vec<LinearWeights>) -> Result<PackedLinear, Error> {
    let biases = biases(name, &parts)?;
    let packed = PackedLinear::interleave(&parts.iter().map(|part| &part.matrix).collect::<Vec<_>>());
    Ok(if biases.is_empty() { packed } else { packed.with_interleaved_bias(&biases) })
}

/// The biases of all parts, or none.
fn biases<'a>(name: &str, parts: &'a [LinearWeights]) -> Result<Vec<&'a [f32]>, Error> {
    let biases: Vec<_> = parts.iter().filter_map(|part| part.bias.as_deref()).collect();
    if !biases.is_empty() && biases.len() != parts.len() {
        return Err(wrong(name, "have a bias in part; all must have one or none".to_owned()));
    }
    Ok(biases)
}

fn wrong(name: &str, problem: String) -> Error {
    Error::Tensor { name: name.to_owned(), problem }
}

/// Hashes weights in canonical order, checking shapes on the way, and copies what it hashes.
///
/// A matrix is all its int8 values, row by row with the padding, then its scales; a vector is its f32 values,
/// little-endian. Before a part that may be missing stands a byte, 1 or 0.
struct CanonicalWriter<'w> {
    hasher: blake3::Hasher,
    copy: Option<&'w mut dyn Write>,
    /// Why copying stopped. It is no reason to stop the rest.
    failure: Option<io::Error>,
}

impl CanonicalWriter<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if let Some(copy) = &mut self.copy
            && let Err(error) = copy.write_all(bytes)
        {
            self.failure = Some(error);
            self.copy = None;
        }
    }

    fn floats(&mut self, values: &[f32]) {
        let mut bytes = Vec::new();
        for values in values.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            self.bytes(&bytes);
        }
    }

    fn present(&mut self, is_present: bool) {
        self.bytes(&[u8::from(is_present)]);
    }

    fn matrix(&mut self, name: &str, matrix: &QuantMatrix, expected: [usize; 2]) -> Result<(), Error> {
        let found = [matrix.rows(), matrix.cols()];
        if found != expected {
            return Err(wrong(name, format!("has shape {found:?}; the configuration asks for {expected:?}")));
        }
        let mut bytes = Vec::new();
        for values in matrix.values().chunks(1 << 16) {
            bytes.clear();
            bytes.extend(values.iter().map(|&q| q as u8));
            self.bytes(&bytes);
        }
        self.floats(matrix.scales());
        Ok(())
    }

    fn vector(&mut self, name: &str, vector: &[f32], expected: usize) -> Result<(), Error> {
        if vector.len() != expected {
            let problem = format!("has {} values; the configuration asks for {expected}", vector.len());
            return Err(wrong(name, problem));
        }
        self.floats(vector);
        Ok(())
    }

    /// A vector that must be there if and only if a length is expected.
    fn optional(&mut self, name: &str, vector: Option<&[f32]>, expected: Option<usize>) -> Result<(), Error> {
        self.present(vector.is_some());
        match (vector, expected) {
            (None, None) => Ok(()),
            (Some(vector), Some(expected)) => self.vector(name, vector, expected),
            (None, Some(_)) => Err(wrong(name, "is missing".to_owned())),
            (Some(_), None) => Err(wrong(name, "is there, and the configuration asks for none".to_owned())),
        }
    }

    fn linear(&mut self, name: &str, linear: &LinearWeights, shape: [usize; 2]) -> Result<(), Error> {
        self.matrix(name, &linear.matrix, shape)?;
        self.optional(&format!("{name} bias"), linear.bias.as_deref(), linear.bias.is_some().then_some(shape[0]))
    }

    fn norm(&mut self, name: &str, norm: &NormWeights, kind: NormKind, width: usize) -> Result<(), Error> {
        self.vector(name, &norm.weight, width)?;
        self.optional(&format!("{name} bias"), norm.bias.as_deref(), (kind == NormKind::Layer).then_some(width))
    }
}
