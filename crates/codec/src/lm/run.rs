//! Running the model over windows.

use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};
use rayon::prelude::*;

use super::lane::{LaneDecoder, LaneEncoder, Legal, Row, symbol_of};
use super::windows::Windows;
use crate::Error;
use crate::progress::Share;

/// Tokens that go through the model at once when encoding; bounds the memory for activations.
const ROWS_AT_ONCE: usize = 1024;
/// Logits that one task turns into weights at least.
const MIN_LOGITS_A_TASK: usize = 1 << 12;

/// A model restricted to the tokens that may occur, and where windows start.
pub(super) struct Coder<'a> {
    pub(super) model: &'a Model,
    pub(super) output: &'a OutputLayer,
    pub(super) kernels: Kernels,
    pub(super) start_token: u32,
    /// Budget for keys and values.
    pub(super) memory_bytes: u64,
}

impl<'a> Coder<'a> {
    /// Windows whose keys and values fit into the budget at the same time, at least one.
    pub(super) fn n_windows_at_once(&self, windows: Windows) -> usize {
        let bytes = Engine::sequence_bytes(self.model, windows.shape.n_rows()).max(1) as u64;
        usize::try_from(self.memory_bytes / bytes).unwrap_or(usize::MAX).max(1)
    }

    fn engine(&self, windows: Windows, n_sequences: usize) -> Engine<'a> {
        Engine::new(self.model, self.output, self.kernels, n_sequences, windows.shape.n_rows())
    }

    /// The start token and the context of a window that begins after some tokens of its lane.
    fn opening(&self, before: &[u32], overlap: usize) -> Vec<u32> {
        let context = &before[before.len().saturating_sub(overlap)..];
        [self.start_token].into_iter().chain(context.iter().copied()).collect()
    }

    /// Codes tokens, all of which the output layer has; one stream a lane, and what each token costs by its probability, in bits.
    ///
    /// The lanes are dealt to the threads, contiguous runs each: threads then meet once a block instead of in every layer.
    pub(super) fn encode(
        &self,
        tokens: &[u32],
        windows: Windows,
        legal: &Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<(Vec<Vec<u8>>, Vec<f32>), Error> {
        let n_lanes = windows.n_lanes();
        let n_groups = rayon::current_num_threads().min(n_lanes).min(self.n_windows_at_once(windows));
        let groups = (0..n_groups).into_par_iter().with_max_len(1).map(|group| {
            let first = |group: usize| n_lanes * group / n_groups;
            let mut engine = self.engine(windows, 1);
            (first(group)..first(group + 1))
                .map(|lane| {
                    let range = windows.lane(lane);
                    let legal = legal.within(range.clone());
                    self.encode_lane(&mut engine, &tokens[range], windows, &legal, progress)
                })
                .collect()
        });
        let lanes: Vec<(Vec<u8>, Vec<f32>)> =
            groups.collect::<Result<Vec<Vec<_>>, Error>>()?.into_iter().flatten().collect();
        let (streams, costs): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        Ok((streams, costs.concat()))
    }

    fn encode_lane(
        &self,
        engine: &mut Engine<'_>,
        tokens: &[u32],
        windows: Windows,
        legal: &Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<(Vec<u8>, Vec<f32>), Error> {
        let mut encoder = LaneEncoder::new(legal);
        let mut costs = Vec::with_capacity(tokens.len());
        let vocab_size = self.model.config().vocab_size;
        for start in (0..tokens.len()).step_by(windows.shape.coded) {
            let window = &tokens[start..(start + windows.shape.coded).min(tokens.len())];
            engine.reset(0);
            // The last input's row is the first whose logits count.
            let mut inputs = self.opening(&tokens[..start], windows.shape.overlap);
            let last = inputs.split_off(inputs.len() - 1);
            for context in inputs.chunks(ROWS_AT_ONCE) {
                engine.feed(&[Segment { sequence: 0, tokens: context }])?;
            }
            let inputs: Vec<u32> = last.into_iter().chain(window.iter().copied()).collect();
            for (at, (inputs, targets)) in inputs.chunks(ROWS_AT_ONCE).zip(window.chunks(ROWS_AT_ONCE)).enumerate() {
                let tokens = &inputs[..targets.len()];
                let rows = engine.forward_each(&[Segment { sequence: 0, tokens }], |row, logits| {
                    let symbol = symbol_of(self.output, targets[row], vocab_size)?;
                    Row::new(self.kernels, logits, symbol, legal, start + at * ROWS_AT_ONCE + row)
                })?;
                for row in rows {
                    costs.push(encoder.push(row?) as f32);
                }
                progress.advance(targets.len());
            }
        }
        Ok((encoder.finish(), costs))
    }

    /// Gives back the tokens. As many lanes as the memory allows go step by step together, so that each step runs the
    /// model on many rows; a lane that ends makes room for the next.
    pub(super) fn decode(
        &self,
        streams: &[&[u8]],
        windows: Windows,
        legal: &Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<Vec<u32>, Error> {
        let n_symbols = self.output.n_symbols();
        let n_at_once = self.n_windows_at_once(windows).min(windows.n_lanes());
        let mut engine = self.engine(windows, n_at_once);
        let mut waiting = streams.iter().take(windows.n_lanes()).enumerate();
        let mut free: Vec<usize> = (0..n_at_once).rev().collect();
        let mut active: Vec<Lane<'_>> = Vec::new();
        let mut decoded = vec![Vec::new(); windows.n_lanes()];
        loop {
            while let Some(sequence) = free.pop() {
                let Some((lane, stream)) = waiting.next() else { break };
                let decoder = LaneDecoder::new(stream, legal, lane);
                let n_tokens = windows.lane(lane).len();
                active.push(Lane { index: lane, sequence, n_tokens, tokens: Vec::new(), input: [0], decoder });
            }
            if active.is_empty() {
                break;
            }
            let mut contexts = Vec::new();
            for lane in &mut active {
                if lane.tokens.len().is_multiple_of(windows.shape.coded) {
                    engine.reset(lane.sequence);
                    let mut inputs = self.opening(&lane.tokens, windows.shape.overlap);
                    lane.input = [inputs.pop().unwrap_or(self.start_token)];
                    contexts.push((lane.sequence, inputs));
                }
            }
            for (sequence, context) in contexts {
                for tokens in context.chunks(ROWS_AT_ONCE) {
                    engine.feed(&[Segment { sequence, tokens }])?;
                }
            }
            let batch: Vec<Segment<'_>> =
                active.iter().map(|lane| Segment { sequence: lane.sequence, tokens: &lane.input }).collect();
            let logits = engine.forward(&batch)?;
            active
                .par_iter_mut()
                .zip(logits.par_chunks_exact(n_symbols))
                .with_min_len(MIN_LOGITS_A_TASK.div_ceil(n_symbols))
                .try_for_each(|(lane, logits)| lane.step(self, logits, legal))?;
            progress.advance(active.len());
            for at in (0..active.len()).rev() {
                if active[at].tokens.len() == active[at].n_tokens {
                    let lane = active.swap_remove(at);
                    lane.decoder.finish()?;
                    free.push(lane.sequence);
                    decoded[lane.index] = lane.tokens;
                }
            }
        }
        Ok(decoded.concat())
    }
}

/// A lane that is being decoded.
struct Lane<'a> {
    /// In the block.
    index: usize,
    /// In the engine.
    sequence: usize,
    n_tokens: usize,
    tokens: Vec<u32>,
    /// What the model sees next.
    input: [u32; 1],
    decoder: LaneDecoder<'a>,
}

impl Lane<'_> {
    fn step(&mut self, coder: &Coder<'_>, logits: &[f32], legal: &Legal<'_>) -> Result<(), Error> {
        let symbol = self.decoder.next(coder.kernels, logits, legal)?;
        let id = coder.output.id_of(symbol).ok_or_else(|| Error::corrupt_block("a symbol without a token"))?;
        self.tokens.push(id);
        self.input = [id];
        Ok(())
    }
}
