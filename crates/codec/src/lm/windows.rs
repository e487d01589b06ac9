//! Windows and lanes, and running the model over them.

use std::ops::Range;

use lmgc_coder::{Decoder, Encoder, FrequencyTable, Interval, interval_from_weights};
use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};
use rayon::prelude::*;

use crate::Error;
use crate::progress::Share;

/// Most lanes of a block: bounds the memory that decoding takes.
pub(crate) const MAX_LANES: usize = 16;
/// Tokens that a lane should have at least, so that its stream's end (some 5 bytes) costs little.
const MIN_TOKENS_A_LANE: usize = 2000;
/// Tokens that go through the model at once when encoding; bounds the memory for logits.
const ROWS_AT_ONCE: usize = 128;

/// How a block's tokens lie in windows and lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    n_tokens: usize,
    /// Tokens in a window, without the start token.
    tokens_a_window: usize,
    n_lanes: usize,
}

impl Windows {
    /// The encoder's choice of lanes.
    pub(crate) fn plan(n_tokens: usize, window_tokens: usize) -> Self {
        let plan = Self { n_tokens, tokens_a_window: window_tokens - 1, n_lanes: 0 };
        let n_lanes = (n_tokens / MIN_TOKENS_A_LANE).clamp(1, MAX_LANES).min(plan.n_windows());
        Self { n_lanes, ..plan }
    }

    /// The lanes of a file.
    pub(crate) fn with_lanes(n_tokens: usize, window_tokens: usize, n_lanes: usize) -> Result<Self, Error> {
        let windows = Self { n_tokens, tokens_a_window: window_tokens - 1, n_lanes };
        if n_lanes > MAX_LANES.min(windows.n_windows()) || (n_lanes == 0) != (n_tokens == 0) {
            let what = format!("{n_lanes} lanes for {} windows (at most {MAX_LANES} lanes)", windows.n_windows());
            return Err(Error::corrupt_block(what));
        }
        Ok(windows)
    }

    pub(crate) fn n_lanes(&self) -> usize {
        self.n_lanes
    }

    fn n_windows(&self) -> usize {
        self.n_tokens.div_ceil(self.tokens_a_window)
    }

    /// Token range of a lane: windows `lane * n / n_lanes .. (lane + 1) * n / n_lanes`.
    fn lane(&self, lane: usize) -> Range<usize> {
        let start = |lane: usize| (self.n_windows() * lane / self.n_lanes * self.tokens_a_window).min(self.n_tokens);
        start(lane)..start(lane + 1)
    }
}

/// A model restricted to the tokens that may occur, and where windows start.
pub(crate) struct Coder<'a> {
    pub(crate) model: &'a Model,
    pub(crate) output: &'a OutputLayer,
    pub(crate) kernels: Kernels,
    pub(crate) start_token: u32,
}

impl Coder<'_> {
    /// Codes tokens, all of which the output layer has; one stream a lane.
    pub(crate) fn encode(&self, tokens: &[u32], windows: Windows, progress: &Share<'_>) -> Result<Vec<Vec<u8>>, Error> {
        self.on_groups_of_lanes(windows, |lanes| {
            let mut engine = Engine::new(self.model, self.output, self.kernels, 1, windows.tokens_a_window);
            lanes.map(|lane| self.encode_lane(&mut engine, &tokens[windows.lane(lane)], windows, progress)).collect()
        })
    }

    /// Deals the lanes to the threads, contiguous runs each: threads then meet once a block instead of in every layer.
    /// What `work` returns for each lane comes back in the lanes' order.
    fn on_groups_of_lanes<T: Send>(
        &self,
        windows: Windows,
        work: impl Fn(Range<usize>) -> Result<Vec<T>, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let (n_lanes, n_groups) = (windows.n_lanes, rayon::current_num_threads().min(windows.n_lanes));
        let groups = (0..n_groups).into_par_iter().with_max_len(1).map(|group| {
            let first = |group: usize| n_lanes * group / n_groups;
            work(first(group)..first(group + 1))
        });
        Ok(groups.collect::<Result<Vec<Vec<T>>, Error>>()?.into_iter().flatten().collect())
    }

    fn encode_lane(
        &self,
        engine: &mut Engine<'_>,
        tokens: &[u32],
        windows: Windows,
        progress: &Share<'_>,
    ) -> Result<Vec<u8>, Error> {
        let mut encoder = Encoder::new();
        for window in tokens.chunks(windows.tokens_a_window) {
            engine.reset(0);
            self.encode_window(engine, window, &mut encoder, progress)?;
        }
        Ok(encoder.finish())
    }

    fn encode_window(
        &self,
        engine: &mut Engine<'_>,
        window: &[u32],
        encoder: &mut Encoder,
        progress: &Share<'_>,
    ) -> Result<(), Error> {
        // Row i of the model's input is the token before token i of the window.
        let inputs: Vec<u32> = [self.start_token].into_iter().chain(window.iter().copied()).collect();
        for (inputs, targets) in inputs.chunks(ROWS_AT_ONCE).zip(window.chunks(ROWS_AT_ONCE)) {
            let tokens = &inputs[..targets.len()];
            let logits = engine.forward(&[Segment { sequence: 0, tokens }])?;
            for interval in self.intervals(logits, targets)? {
                encoder.encode(interval);
            }
            progress.advance(targets.len());
        }
        Ok(())
    }

    /// The interval of each target under its row of logits.
    fn intervals(&self, logits: &[f32], targets: &[u32]) -> Result<Vec<Interval>, Error> {
        let n_symbols = self.output.n_symbols();
        logits
            .par_chunks_exact(n_symbols)
            .zip(targets)
            .map_init(
                || vec![0; n_symbols],
                |weights, (logits, &target)| {
                    let symbol = self.output.symbol_of(target).ok_or(lmgc_model::Error::TokenOutOfRange {
                        id: target,
                        vocab_size: self.model.config().vocab_size,
                    })?;
                    self.kernels.logit_weights(logits, weights);
                    Ok(interval_from_weights(weights, symbol))
                },
            )
            .collect()
    }

    /// Gives back the tokens. The lanes of a group go step by step together, so that each step runs the model on many rows.
    pub(crate) fn decode(&self, streams: &[&[u8]], windows: Windows, progress: &Share<'_>) -> Result<Vec<u32>, Error> {
        let lanes = self.on_groups_of_lanes(windows, |lanes| self.decode_lanes(streams, lanes, windows, progress))?;
        Ok(lanes.concat())
    }

    fn decode_lanes(
        &self,
        streams: &[&[u8]],
        lanes: Range<usize>,
        windows: Windows,
        progress: &Share<'_>,
    ) -> Result<Vec<Vec<u32>>, Error> {
        let n_symbols = self.output.n_symbols();
        let mut engine = Engine::new(self.model, self.output, self.kernels, lanes.len(), windows.tokens_a_window);
        let streams = streams.get(lanes.clone()).unwrap_or_default();
        let mut lanes: Vec<Lane<'_>> = lanes
            .zip(streams)
            .enumerate()
            .map(|(sequence, (lane, stream))| Lane {
                sequence,
                n_tokens: windows.lane(lane).len(),
                tokens: Vec::new(),
                input: [self.start_token],
                decoder: Decoder::new(stream),
                weights: vec![0; n_symbols],
                table: FrequencyTable::new(),
            })
            .collect();
        loop {
            let mut active: Vec<&mut Lane<'_>> =
                lanes.iter_mut().filter(|lane| lane.tokens.len() < lane.n_tokens).collect();
            if active.is_empty() {
                break;
            }
            for lane in &mut active {
                if lane.tokens.len().is_multiple_of(windows.tokens_a_window) {
                    engine.reset(lane.sequence);
                    lane.input = [self.start_token];
                }
            }
            let batch: Vec<Segment<'_>> =
                active.iter().map(|lane| Segment { sequence: lane.sequence, tokens: &lane.input }).collect();
            let logits = engine.forward(&batch)?;
            for (lane, logits) in active.iter_mut().zip(logits.chunks_exact(n_symbols)) {
                lane.step(self, logits)?;
            }
            progress.advance(active.len());
        }
        lanes
            .into_iter()
            .map(|lane| {
                lane.decoder.finish().map_err(|e| Error::corrupt_block(e.to_string()))?;
                Ok(lane.tokens)
            })
            .collect()
    }
}

/// A lane that is being decoded.
struct Lane<'a> {
    sequence: usize,
    n_tokens: usize,
    tokens: Vec<u32>,
    /// What the model sees next.
    input: [u32; 1],
    decoder: Decoder<'a>,
    weights: Vec<u32>,
    table: FrequencyTable,
}

impl Lane<'_> {
    fn step(&mut self, coder: &Coder<'_>, logits: &[f32]) -> Result<(), Error> {
        coder.kernels.logit_weights(logits, &mut self.weights);
        self.table.set_from_weights(&self.weights);
        let symbol = self.decoder.decode(&self.table).map_err(|e| Error::corrupt_block(e.to_string()))?;
        let id = coder.output.id_of(symbol).ok_or_else(|| Error::corrupt_block("a symbol without a token"))?;
        self.tokens.push(id);
        self.input = [id];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_tile_the_tokens_in_whole_windows() {
        for n_tokens in [0, 1, 7, 8, 9, 100, 1000, 5000] {
            let windows = Windows::plan(n_tokens, 9);
            let mut next = 0;
            for lane in 0..windows.n_lanes() {
                let range = windows.lane(lane);
                assert_eq!(range.start, next);
                assert!(range.start.is_multiple_of(8) && !range.is_empty());
                next = range.end;
            }
            assert_eq!(next, n_tokens);
            assert!(Windows::with_lanes(n_tokens, 9, windows.n_lanes()).is_ok());
            assert!(Windows::with_lanes(n_tokens, 9, MAX_LANES + 1).is_err());
        }
        assert_eq!([0, 1, 4001, 1 << 20].map(|n_tokens| Windows::plan(n_tokens, 9).n_lanes()), [0, 1, 2, MAX_LANES]);
        assert_eq!(Windows::plan(9000, 3001).n_lanes(), 3, "no more lanes than windows");
        assert!(Windows::with_lanes(0, 9, 1).is_err());
        assert!(Windows::with_lanes(1, 9, 0).is_err());
        assert!(Windows::with_lanes(8, 9, 2).is_err(), "more lanes than windows");
    }
}
