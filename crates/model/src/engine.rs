//! Runs a model on a batch of rows. A row is one token of one sequence; its result depends on its own sequence alone.
//!
//! A wide batch is cut into panels of rows that the threads of the current rayon pool take through a layer; they meet
//! twice a layer, before and after the keys and values are stored. In a narrow batch, such as one token of each of some
//! sequences, the threads share the outputs of every linear layer instead, so that the weights are read once.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use lmgc_kernels::{Activation, AttentionScratch, Kernels, KvCache, QuantRows, QueryRows, RopeTable, Store, TILE_ROWS};
use rayon::prelude::*;

use crate::model::Layer;
use crate::{Error, FeedForward, Model, ModelConfig, Norm, NormKind, NormWeights, OutputLayer, Positions};

/// Rows of a panel at most: their activations stay in a core's second-level cache.
const PANEL_ROWS: usize = 64;
/// A batch of this many rows or fewer is narrow.
const NARROW_ROWS: usize = 2 * TILE_ROWS;

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
    /// `[sequence][layer]`.
    sequences: Vec<Vec<KvCache>>,
    /// One a thread of the pool.
    threads: Vec<Mutex<PanelScratch>>,
    buffers: Buffers,
}

/// Reusable memory for a whole batch.
#[derive(Default)]
struct Buffers {
    /// Residual stream, `[rows, d_model]`.
    x: Vec<f32>,
    /// `[rows, queries, keys and values]`.
    qkv: Vec<f32>,
    /// `[rows, n_symbols]`; where logits are returned.
    logits: Vec<f32>,
    /// All rows of a narrow batch.
    narrow: PanelScratch,
}

/// Reusable memory of one thread: a row-major matrix each, for the rows of a panel.
#[derive(Default)]
struct PanelScratch {
    normed: Vec<f32>,
    q: QuantRows,
    attended: Vec<f32>,
    activated: QuantRows,
    logits: Vec<f32>,
    attention: AttentionScratch,
}

/// Rows that follow each other in the batch and in their sequence.
#[derive(Clone, Debug)]
struct Run {
    sequence: usize,
    /// In the batch.
    rows: Range<usize>,
    /// Position of the first row in its sequence.
    first: usize,
}

impl Run {
    /// The part of it that lies in some rows of the batch.
    fn within(&self, rows: &Range<usize>) -> Option<Self> {
        let start = self.rows.start.max(rows.start);
        let end = self.rows.end.min(rows.end);
        let first = self.first + (start.saturating_sub(self.rows.start));
        (start < end).then_some(Self { sequence: self.sequence, rows: start..end, first })
    }
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
            threads: Vec::new(),
            buffers: Buffers::default(),
        }
    }

    /// Bytes of the keys and values of one sequence of `n_tokens`.
    pub fn sequence_bytes(model: &Model, n_tokens: usize) -> usize {
        let config = model.config();
        config.n_layers * KvCache::n_bytes(config.attention, n_tokens)
    }

    /// Forgets a sequence's tokens.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn reset(&mut self, sequence: usize) {
        self.truncate(sequence, 0);
    }

    /// Forgets a sequence's tokens from the one at position `n_tokens` on.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn truncate(&mut self, sequence: usize, n_tokens: usize) {
        for cache in &mut self.sequences[sequence] {
            cache.truncate(n_tokens);
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
        let runs = self.append(batch)?;
        let n_rows = runs.last().map_or(0, |run| run.rows.end);
        let n_symbols = self.output.n_symbols();
        let mut logits = std::mem::take(&mut self.buffers.logits);
        logits.resize(n_rows * n_symbols, 0.0);
        if n_rows <= NARROW_ROWS {
            let Self { model, output, kernels, buffers: Buffers { x, narrow, .. }, .. } = self;
            let PanelScratch { normed, q, .. } = narrow;
            final_norm(*kernels, model, x, normed, q);
            kernels.linear_split(&output.linear, q, Store::Replace, &mut logits);
        } else {
            let rows = logits.par_chunks_exact_mut(n_symbols.max(1)).map(Mutex::new).collect::<Vec<_>>();
            self.logits_of_rows(|row, logits| lock(&rows[row]).copy_from_slice(logits));
        }
        self.buffers.logits = logits;
        Ok(&self.buffers.logits)
    }

    /// Appends the batch's tokens, and leaves out what comes after the layers: for tokens whose logits nobody needs.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    ///
    /// # Panics
    /// As [`Engine::forward`].
    pub fn feed(&mut self, batch: &[Segment<'_>]) -> Result<(), Error> {
        self.append(batch).map(drop)
    }

    /// As [`Engine::forward`], but hands each row's logits to `each` as they come, so that no more than a few rows'
    /// logits exist at a time. Returns what it returns, in the batch's order.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    ///
    /// # Panics
    /// As [`Engine::forward`].
    pub fn forward_each<T: Send>(
        &mut self,
        batch: &[Segment<'_>],
        each: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        self.append(batch)?;
        Ok(self.logits_of_rows(each))
    }

    /// The output layer for every row of the residual stream, some rows at a time.
    fn logits_of_rows<T: Send>(&self, each: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let Self { model, output, kernels, threads, buffers, .. } = self;
        let n_symbols = output.n_symbols();
        buffers
            .x
            .par_chunks(TILE_ROWS * model.config().d_model)
            .enumerate()
            .flat_map_iter(|(panel, x)| {
                let mut scratch = lock(this_thread(threads));
                let PanelScratch { normed, q, logits, .. } = &mut *scratch;
                final_norm(*kernels, model, x, normed, q);
                logits.resize(q.n_rows() * n_symbols, 0.0);
                kernels.linear(&output.linear, q, Store::Replace, logits);
                (0..q.n_rows())
                    .map(|row| each(panel * TILE_ROWS + row, &logits[row * n_symbols..][..n_symbols]))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Runs all layers and leaves the residual stream in `buffers.x`.
    fn append(&mut self, batch: &[Segment<'_>]) -> Result<Vec<Run>, Error> {
        let runs = self.runs(batch)?;
        let Self { model, kernels, rope, sequences, threads, buffers, capacity_tokens, .. } = self;
        let n_threads = rayon::current_num_threads().max(1);
        threads.resize_with(n_threads, Mutex::default);
        let config = model.config();
        let n = runs.last().map_or(0, |run| run.rows.end);
        let (kernels, capacity_tokens) = (*kernels, *capacity_tokens);
        let pass = Pass { config, kernels, rope: rope.as_ref(), runs: &runs, threads, capacity_tokens };
        buffers.x.resize(n * config.d_model, 0.0);
        buffers.qkv.resize(n * pass.qkv_len(), 0.0);
        let tokens = batch.iter().zip(&runs).flat_map(|(segment, run)| segment.tokens.iter().zip(run.first..));
        for ((&token, position), x) in tokens.zip(buffers.x.chunks_exact_mut(config.d_model)) {
            model.embedding.dequantise_row(token as usize, x);
            if let Some(positions) = &model.positions {
                kernels.add_assign(x, &positions[position * config.d_model..][..config.d_model]);
            }
        }
        for (i, layer) in model.layers.iter().enumerate() {
            if n <= NARROW_ROWS {
                pass.narrow_layer(layer, i, sequences, buffers);
            } else {
                let panel_rows = n.div_ceil(2 * n_threads).next_multiple_of(TILE_ROWS).min(PANEL_ROWS);
                pass.wide_layer(layer, i, sequences, buffers, panel_rows);
            }
        }
        Ok(runs)
    }

    /// Lays out the batch's rows and checks them before anything changes.
    fn runs(&self, batch: &[Segment<'_>]) -> Result<Vec<Run>, Error> {
        let vocab_size = self.model.config().vocab_size;
        let mut runs = Vec::new();
        let mut n_rows = 0;
        for (i, segment) in batch.iter().enumerate() {
            assert!(batch[..i].iter().all(|other| other.sequence != segment.sequence), "a sequence once a batch");
            let first = self.n_tokens(segment.sequence);
            if first + segment.tokens.len() > self.capacity_tokens {
                let position = first.max(self.capacity_tokens);
                return Err(Error::WindowFull { position, capacity_tokens: self.capacity_tokens });
            }
            if let Some(&id) = segment.tokens.iter().find(|&&id| id as usize >= vocab_size) {
                return Err(Error::TokenOutOfRange { id, vocab_size });
            }
            let rows = n_rows..n_rows + segment.tokens.len();
            n_rows = rows.end;
            runs.push(Run { sequence: segment.sequence, rows, first });
        }
        Ok(runs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The scratch memory of the pool's thread that asks.
fn this_thread(threads: &[Mutex<PanelScratch>]) -> &Mutex<PanelScratch> {
    &threads[rayon::current_thread_index().unwrap_or(0) % threads.len()]
}

fn final_norm(kernels: Kernels, model: &Model, x: &[f32], normed: &mut Vec<f32>, q: &mut QuantRows) {
    apply_norm(kernels, model.config().norm, &model.final_norm, x, normed);
    kernels.quantise_rows(normed, model.config().d_model, q);
}

fn apply_norm(kernels: Kernels, norm: Norm, weights: &NormWeights, x: &[f32], out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    match (norm.kind, &weights.bias) {
        (NormKind::Layer, Some(bias)) => kernels.layer_norm(x, &weights.weight, bias, norm.eps, out),
        // The builder has checked that layer norms have a bias.
        _ => kernels.rms_norm(x, &weights.weight, norm.eps, out),
    }
}

/// What stays the same from layer to layer.
struct Pass<'a> {
    config: &'a ModelConfig,
    kernels: Kernels,
    rope: Option<&'a RopeTable>,
    runs: &'a [Run],
    threads: &'a [Mutex<PanelScratch>],
    capacity_tokens: usize,
}

impl Pass<'_> {
    /// Lengths of a row's queries, of its keys, and of queries, keys and values.
    fn lens(&self) -> (usize, usize, usize) {
        let (q_len, kv_len) = (self.config.attention.q_len(), self.config.attention.kv_len());
        (q_len, kv_len, q_len + 2 * kv_len)
    }

    fn qkv_len(&self) -> usize {
        self.lens().2
    }

    /// The runs' parts in some rows of the batch.
    fn runs_within(&self, rows: Range<usize>) -> impl Iterator<Item = Run> {
        self.runs.iter().filter_map(move |run| run.within(&rows))
    }

    /// One layer of a batch of many rows.
    fn wide_layer(
        &self,
        layer: &Layer,
        index: usize,
        sequences: &mut [Vec<KvCache>],
        buffers: &mut Buffers,
        panel_rows: usize,
    ) {
        let (d, qkv_len) = (self.config.d_model, self.qkv_len());
        let Buffers { x, qkv, .. } = buffers;
        let panels = x.par_chunks(panel_rows * d).zip(qkv.par_chunks_mut(panel_rows * qkv_len));
        panels.with_max_len(1).enumerate().for_each(|(panel, (x, qkv))| {
            let PanelScratch { normed, q, .. } = &mut *lock(this_thread(self.threads));
            self.attention_input(layer, x, normed, q);
            self.kernels.linear(&layer.qkv, q, Store::Replace, qkv);
            self.prepare_heads(layer, panel * panel_rows, qkv);
        });
        self.store(index, sequences, qkv);
        let sequences = &*sequences;
        let panels = x.par_chunks_mut(panel_rows * d).zip(qkv.par_chunks(panel_rows * qkv_len));
        panels.with_max_len(1).enumerate().for_each(|(panel, (x, qkv))| {
            let n_rows = x.len() / d;
            let scratch = &mut *lock(this_thread(self.threads));
            let PanelScratch { normed, q, attended, activated, attention, .. } = scratch;
            let q_len = self.config.attention.q_len();
            attended.resize(n_rows * q_len, 0.0);
            let first_row = panel * panel_rows;
            for run in self.runs_within(first_row..first_row + n_rows) {
                let at = run.rows.start - first_row;
                let out = &mut attended[at * q_len..][..run.rows.len() * q_len];
                self.attend(&sequences[run.sequence][index], &run, &qkv[at * qkv_len..], attention, out);
            }
            self.kernels.quantise_rows(attended, q_len, q);
            self.kernels.linear(&layer.attention_out, q, Store::Add, x);
            self.feed_forward_input(layer, x, normed, q);
            self.kernels.linear_activated(&layer.ffn_up, self.activation(), q, self.config.d_ffn, activated);
            self.kernels.linear(&layer.down, activated, Store::Add, x);
        });
    }

    /// One layer of a batch of few rows.
    fn narrow_layer(&self, layer: &Layer, index: usize, sequences: &mut [Vec<KvCache>], buffers: &mut Buffers) {
        let Buffers { x, qkv, narrow: PanelScratch { normed, q, attended, activated, .. }, .. } = buffers;
        let (q_len, qkv_len) = (self.config.attention.q_len(), self.qkv_len());
        let n_rows = x.len() / self.config.d_model;
        self.attention_input(layer, x, normed, q);
        self.kernels.linear_split(&layer.qkv, q, Store::Replace, qkv);
        self.prepare_heads(layer, 0, qkv);
        self.store(index, sequences, qkv);
        let sequences = &*sequences;
        attended.resize(n_rows * q_len, 0.0);
        let mut rest = attended.as_mut_slice();
        let mut parts = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            let (out, after) = rest.split_at_mut(run.rows.len() * q_len);
            rest = after;
            parts.push((run, out));
        }
        parts.into_par_iter().for_each(|(run, out)| {
            let attention = &mut lock(this_thread(self.threads)).attention;
            self.attend(&sequences[run.sequence][index], run, &qkv[run.rows.start * qkv_len..], attention, out);
        });
        self.kernels.quantise_rows(attended, q_len, q);
        self.kernels.linear_split(&layer.attention_out, q, Store::Add, x);
        self.feed_forward_input(layer, x, normed, q);
        self.kernels.linear_activated_split(&layer.ffn_up, self.activation(), q, self.config.d_ffn, activated);
        self.kernels.linear_split(&layer.down, activated, Store::Add, x);
    }

    /// The quantised input of the query, key and value projections.
    fn attention_input(&self, layer: &Layer, x: &[f32], normed: &mut Vec<f32>, q: &mut QuantRows) {
        apply_norm(self.kernels, self.config.norm, &layer.attention_norm, x, normed);
        self.kernels.quantise_rows(normed, self.config.d_model, q);
    }

    /// The quantised input of the feed-forward layer.
    fn feed_forward_input(&self, layer: &Layer, x: &[f32], normed: &mut Vec<f32>, q: &mut QuantRows) {
        apply_norm(self.kernels, self.config.norm, &layer.ffn_norm, x, normed);
        self.kernels.quantise_rows(normed, self.config.d_model, q);
    }

    fn activation(&self) -> Activation {
        match self.config.feed_forward {
            FeedForward::SwiGlu => Activation::SiluMul,
            FeedForward::Gelu => Activation::GeluTanh,
        }
    }

    /// Brings the queries and keys of rows that start at `first_row` of the batch into the form that attention takes:
    /// each head normed, where the model does that, and turned to its position.
    fn prepare_heads(&self, layer: &Layer, first_row: usize, qkv: &mut [f32]) {
        let (q_len, kv_len, qkv_len) = self.lens();
        for run in self.runs_within(first_row..first_row + qkv.len() / qkv_len) {
            let rows = qkv[(run.rows.start - first_row) * qkv_len..].chunks_exact_mut(qkv_len);
            for (row, position) in rows.zip(run.first..run.first + run.rows.len()) {
                let (q, kv) = row.split_at_mut(q_len);
                for (heads, norm) in [(q, &layer.q_norm), (&mut kv[..kv_len], &layer.k_norm)] {
                    if let Some(weight) = norm {
                        self.kernels.rms_norm_heads(heads, weight, self.config.norm.eps);
                    }
                }
                if let Some(rope) = self.rope {
                    self.kernels.rotate(rope, position, &mut row[..q_len + kv_len]);
                }
            }
        }
    }

    /// Appends all rows' keys and values to their sequences.
    fn store(&self, index: usize, sequences: &mut [Vec<KvCache>], qkv: &[f32]) {
        let (q_len, kv_len, qkv_len) = self.lens();
        for run in self.runs {
            let rows = &qkv[run.rows.start * qkv_len..run.rows.end * qkv_len];
            let (keys, values) = (&rows[q_len.min(rows.len())..], &rows[(q_len + kv_len).min(rows.len())..]);
            let cache = &mut sequences[run.sequence][index];
            if run.first == 0 {
                // Growing by doubling could take twice the memory that was planned.
                cache.reserve(self.capacity_tokens);
            }
            self.kernels.append(cache, run.rows.len(), keys, values, qkv_len);
        }
    }

    /// Attention of a run's rows; `qkv` begins with its first row.
    fn attend(&self, cache: &KvCache, run: &Run, qkv: &[f32], scratch: &mut AttentionScratch, out: &mut [f32]) {
        let scale = core::f32::consts::LOG2_E / (self.config.attention.head_dim as f32).sqrt();
        let rows = QueryRows { first: run.first, n_rows: run.rows.len(), window: self.config.sliding_window };
        self.kernels.attend(cache, rows, scale, qkv, self.qkv_len(), scratch, out);
    }
}
