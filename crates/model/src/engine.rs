//! Runs a model on a batch of rows. A row is one token of one sequence; its result depends on its own sequence alone.

use lmgc_kernels::{AttentionScratch, Kernels, KvCache, QuantRows, RopeTable, Scratch};
use rayon::prelude::*;

use crate::model::Linear;
use crate::{Error, FeedForward, Model, Norm, NormKind, NormWeights, OutputLayer, Positions};

/// Consecutive tokens to append to one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Index of the sequence.
    pub sequence: usize,
    /// The tokens, at least one.
    pub tokens: &'a [u32],
}

/// A model at work on some sequences, with their keys and values.
///
/// Feeding a window at once or token by token, alone or among others, gives the same logits bit for bit.
pub struct Engine<'m> {
    model: &'m Model,
    output: &'m OutputLayer,
    kernels: Kernels,
    /// Absent where positions are learned.
    rope: Option<RopeTable>,
    capacity_tokens: usize,
    sequences: Vec<Vec<KvCache>>,
    buffers: Buffers,
}

/// Reusable memory, a row-major matrix each.
#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    projected: Vec<f32>,
    attended: Vec<f32>,
    activated: Vec<f32>,
    residual: Vec<f32>,
    logits: Vec<f32>,
    scratch: Scratch,
}

/// Which sequence and position a row belongs to.
#[derive(Clone, Copy)]
struct Row {
    sequence: usize,
    position: usize,
    token: u32,
}

impl<'m> Engine<'m> {
    /// An engine for `n_sequences` sequences of up to `capacity_tokens` tokens each (fewer where the model's learned
    /// positions are fewer).
    pub fn new(
        model: &'m Model,
        output: &'m OutputLayer,
        kernels: Kernels,
        n_sequences: usize,
        capacity_tokens: usize,
    ) -> Self {
        let config = model.config();
        let caches = vec![KvCache::new(config.attention); config.n_layers];
        let (rope, capacity_tokens) = match &config.positions {
            Positions::Rope { theta, scaling } => {
                let head_dim = config.attention.head_dim;
                (Some(RopeTable::scaled(capacity_tokens, head_dim, f64::from(*theta), scaling)), capacity_tokens)
            }
            Positions::Learned => (None, capacity_tokens.min(config.max_positions)),
        };
        Self {
            rope,
            sequences: vec![caches; n_sequences],
            model,
            output,
            kernels,
            capacity_tokens,
            buffers: Buffers::default(),
        }
    }

    /// Forgets a sequence's tokens.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn reset(&mut self, sequence: usize) {
        for cache in &mut self.sequences[sequence] {
            cache.clear();
        }
    }

    /// Number of tokens that a sequence holds.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn n_tokens(&self, sequence: usize) -> usize {
        self.sequences[sequence].first().map_or(0, KvCache::n_positions)
    }

    /// Appends the batch's tokens and returns the logits after each of them: row-major `[rows, n_symbols]`, rows in the
    /// batch's order. A sequence may occur once in a batch.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`] and [`Error::WindowFull`]; nothing is appended then.
    ///
    /// # Panics
    /// If a sequence does not exist or occurs twice.
    pub fn forward(&mut self, batch: &[Segment<'_>]) -> Result<&[f32], Error> {
        let rows = self.rows(batch)?;
        let Self { model, output, kernels, rope, sequences, buffers, .. } = self;
        let (config, rope) = (model.config(), rope.as_ref());
        let (d, shape) = (config.d_model, config.attention);
        let n = rows.len();
        buffers.x.resize(n * d, 0.0);
        buffers.normed.resize(n * d, 0.0);
        buffers.residual.resize(n * d, 0.0);
        buffers.attended.resize(n * shape.q_len(), 0.0);
        buffers.activated.resize(n * config.d_ffn, 0.0);
        let Buffers { x, normed, projected, attended, activated, residual, logits, scratch } = buffers;
        let mut q_model = QuantRows::new(d);
        let mut q_heads = QuantRows::new(shape.q_len());
        let mut q_ffn = QuantRows::new(config.d_ffn);

        for (row, x) in rows.iter().zip(x.chunks_exact_mut(d)) {
            model.embedding.dequantise_row(row.token as usize, x);
            if let Some(positions) = &model.positions {
                kernels.add_assign(x, &positions[row.position * d..][..d]);
            }
        }
        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        let qkv_len = shape.q_len() + 2 * shape.kv_len();
        for (i, layer) in model.layers.iter().enumerate() {
            apply_norm(*kernels, config.norm, &layer.attention_norm, x, normed);
            kernels.quantise_rows(normed, &mut q_model);
            projected.resize(n * qkv_len, 0.0);
            apply_linear(*kernels, &layer.qkv, &q_model, scratch, projected);
            projected.par_chunks_exact_mut(qkv_len).zip(&rows).with_min_len(16).for_each(|(qkv, row)| {
                let (q, kv) = qkv.split_at_mut(shape.q_len());
                for (heads, norm) in [(q, &layer.q_norm), (&mut kv[..shape.kv_len()], &layer.k_norm)] {
                    if let Some(weight) = norm {
                        kernels.rms_norm_heads(heads, weight, config.norm.eps);
                    }
                }
                if let Some(rope) = rope {
                    kernels.rotate(rope, row.position, &mut qkv[..shape.q_len() + shape.kv_len()]);
                }
            });
            for (row, qkv) in rows.iter().zip(projected.chunks_exact(qkv_len)) {
                let (k, v) = qkv[shape.q_len()..].split_at(shape.kv_len());
                sequences[row.sequence][i].push(k, v);
            }
            let sequences = &*sequences;
            projected
                .par_chunks_exact(qkv_len)
                .zip(&rows)
                .zip(attended.par_chunks_exact_mut(shape.q_len()))
                .for_each_init(AttentionScratch::default, |scratch, ((qkv, row), out)| {
                    let q = &qkv[..shape.q_len()];
                    kernels.attend(&sequences[row.sequence][i], row.position, scale, q, scratch, out);
                });
            kernels.quantise_rows(attended, &mut q_heads);
            apply_linear(*kernels, &layer.attention_out, &q_heads, scratch, residual);
            kernels.add_assign(x, residual);

            apply_norm(*kernels, config.norm, &layer.ffn_norm, x, normed);
            kernels.quantise_rows(normed, &mut q_model);
            projected.resize(n * layer.ffn_up.packed.n_outputs(), 0.0);
            apply_linear(*kernels, &layer.ffn_up, &q_model, scratch, projected);
            match config.feed_forward {
                FeedForward::SwiGlu => kernels.silu_mul(projected, config.d_ffn, activated),
                FeedForward::Gelu => kernels.gelu_tanh(projected, activated),
            }
            kernels.quantise_rows(activated, &mut q_ffn);
            apply_linear(*kernels, &layer.down, &q_ffn, scratch, residual);
            kernels.add_assign(x, residual);
        }
        apply_norm(*kernels, config.norm, &model.final_norm, x, normed);
        kernels.quantise_rows(normed, &mut q_model);
        logits.resize(n * output.n_symbols(), 0.0);
        kernels.linear(&output.linear, &q_model, scratch, logits);
        Ok(logits)
    }

    /// Lays out the batch's rows and checks them before anything changes.
    fn rows(&self, batch: &[Segment<'_>]) -> Result<Vec<Row>, Error> {
        let vocab_size = self.model.config().vocab_size;
        let mut rows = Vec::new();
        for (i, segment) in batch.iter().enumerate() {
            assert!(batch[..i].iter().all(|other| other.sequence != segment.sequence), "a sequence once a batch");
            let first = self.n_tokens(segment.sequence);
            for (position, &token) in (first..).zip(segment.tokens) {
                if position >= self.capacity_tokens {
                    return Err(Error::WindowFull { position, capacity_tokens: self.capacity_tokens });
                }
                if token as usize >= vocab_size {
                    return Err(Error::TokenOutOfRange { id: token, vocab_size });
                }
                rows.push(Row { sequence: segment.sequence, position, token });
            }
        }
        Ok(rows)
    }
}

fn apply_norm(kernels: Kernels, norm: Norm, weights: &NormWeights, x: &[f32], out: &mut [f32]) {
    match (norm.kind, &weights.bias) {
        (NormKind::Layer, Some(bias)) => kernels.layer_norm(x, &weights.weight, bias, norm.eps, out),
        // The builder has checked that layer norms have a bias.
        _ => kernels.rms_norm(x, &weights.weight, norm.eps, out),
    }
}

fn apply_linear(kernels: Kernels, linear: &Linear, x: &QuantRows, scratch: &mut Scratch, out: &mut [f32]) {
    kernels.linear(&linear.packed, x, scratch, out);
    if let Some(bias) = &linear.bias {
        kernels.add_bias(out, bias);
    }
}
