//! Windows and lanes, and running the model over them.

use std::ops::Range;

use lmgc_coder::{Decoder, Encoder, FrequencyTable, Interval, interval_from_weights};
use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};
use rayon::prelude::*;

use super::grammar::Texts;
use crate::Error;
use crate::progress::Share;

/// Most lanes of a block. A decoder steps as many of them side by side as its memory allows.
pub(crate) const MAX_LANES: usize = 32;
/// Tokens that a lane should have at least, so that its stream's end (some 5 bytes) costs little.
const MIN_TOKENS_A_LANE: usize = 2000;
/// Tokens that go through the model at once when encoding; bounds the memory for activations.
const ROWS_AT_ONCE: usize = 1024;
/// Logits that one task turns into weights at least.
const MIN_LOGITS_A_TASK: usize = 1 << 12;

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

    /// The first token of each lane.
    pub(crate) fn lane_starts(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.n_lanes).map(|lane| self.lane(lane).start)
    }

    /// Token range of a lane: windows `lane * n / n_lanes .. (lane + 1) * n / n_lanes`.
    fn lane(&self, lane: usize) -> Range<usize> {
        let start = |lane: usize| (self.n_windows() * lane / self.n_lanes * self.tokens_a_window).min(self.n_tokens);
        start(lane)..start(lane + 1)
    }
}

/// Which symbols can come.
#[derive(Clone, Copy)]
pub(crate) enum Legal<'a> {
    /// All of the output layer's.
    All,
    /// Those that the texts can have there; with the place before each token, or before each lane.
    At(Texts<'a>, &'a [u64]),
}

/// A model restricted to the tokens that may occur, and where windows start.
pub(crate) struct Coder<'a> {
    pub(crate) model: &'a Model,
    pub(crate) output: &'a OutputLayer,
    pub(crate) kernels: Kernels,
    pub(crate) start_token: u32,
    /// Budget for keys and values.
    pub(crate) memory_bytes: u64,
}

impl Coder<'_> {
    /// Windows whose keys and values fit into the budget at the same time, at least one.
    pub(crate) fn n_windows_at_once(&self, windows: Windows) -> usize {
        let bytes = Engine::sequence_bytes(self.model, windows.tokens_a_window).max(1) as u64;
        usize::try_from(self.memory_bytes / bytes).unwrap_or(usize::MAX).max(1)
    }

    /// Codes tokens, all of which the output layer has; one stream a lane.
    ///
    /// The lanes are dealt to the threads, contiguous runs each: threads then meet once a block instead of in every layer.
    pub(crate) fn encode(
        &self,
        tokens: &[u32],
        windows: Windows,
        legal: Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let n_lanes = windows.n_lanes;
        let n_groups = rayon::current_num_threads().min(n_lanes).min(self.n_windows_at_once(windows));
        let groups = (0..n_groups).into_par_iter().with_max_len(1).map(|group| {
            let first = |group: usize| n_lanes * group / n_groups;
            let mut engine = Engine::new(self.model, self.output, self.kernels, 1, windows.tokens_a_window);
            (first(group)..first(group + 1))
                .map(|lane| {
                    let range = windows.lane(lane);
                    let legal = match legal {
                        Legal::All => Legal::All,
                        Legal::At(texts, places) => Legal::At(texts, &places[range.clone()]),
                    };
                    self.encode_lane(&mut engine, &tokens[range], windows, legal, progress)
                })
                .collect()
        });
        Ok(groups.collect::<Result<Vec<Vec<_>>, Error>>()?.into_iter().flatten().collect())
    }

    fn encode_lane(
        &self,
        engine: &mut Engine<'_>,
        tokens: &[u32],
        windows: Windows,
        legal: Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<Vec<u8>, Error> {
        let mut encoder = Encoder::new();
        for (at, window) in tokens.chunks(windows.tokens_a_window).enumerate() {
            engine.reset(0);
            let first = at * windows.tokens_a_window;
            let legal = match legal {
                Legal::All => Legal::All,
                Legal::At(texts, places) => Legal::At(texts, &places[first..first + window.len()]),
            };
            self.encode_window(engine, window, legal, &mut encoder, progress)?;
        }
        Ok(encoder.finish())
    }

    fn encode_window(
        &self,
        engine: &mut Engine<'_>,
        window: &[u32],
        legal: Legal<'_>,
        encoder: &mut Encoder,
        progress: &Share<'_>,
    ) -> Result<(), Error> {
        // Row i of the model's input is the token before token i of the window.
        let inputs: Vec<u32> = [self.start_token].into_iter().chain(window.iter().copied()).collect();
        let chunks = inputs.chunks(ROWS_AT_ONCE).zip(window.chunks(ROWS_AT_ONCE));
        for (at, (inputs, targets)) in chunks.enumerate() {
            let tokens = &inputs[..targets.len()];
            let intervals = engine.forward_each(&[Segment { sequence: 0, tokens }], |row, logits| {
                let symbols = match legal {
                    Legal::All => None,
                    Legal::At(texts, places) => Some(texts.symbols_at(places[at * ROWS_AT_ONCE + row])),
                };
                self.interval(logits, targets[row], symbols.as_deref())
            })?;
            for interval in intervals {
                encoder.encode(interval?);
            }
            progress.advance(targets.len());
        }
        Ok(())
    }

    /// The interval of a target under its row of logits, among some symbols or all.
    fn interval(&self, logits: &[f32], target: u32, symbols: Option<&[u32]>) -> Result<Interval, Error> {
        let symbol = self
            .output
            .symbol_of(target)
            .ok_or(lmgc_model::Error::TokenOutOfRange { id: target, vocab_size: self.model.config().vocab_size })?;
        let Some(symbols) = symbols else {
            let mut weights = vec![0; logits.len()];
            self.kernels.logit_weights(logits, &mut weights);
            return Ok(interval_from_weights(&weights, symbol));
        };
        let among = symbols.binary_search(&(symbol as u32));
        let among = among.map_err(|_| Error::corrupt_block("a token that the grammar does not have here"))?;
        let logits: Vec<f32> = symbols.iter().map(|&symbol| logits[symbol as usize]).collect();
        let mut weights = vec![0; logits.len()];
        self.kernels.logit_weights(&logits, &mut weights);
        Ok(interval_from_weights(&weights, among))
    }

    /// Gives back the tokens. As many lanes as the memory allows go step by step together, so that each step runs the
    /// model on many rows; a lane that ends makes room for the next.
    pub(crate) fn decode(
        &self,
        streams: &[&[u8]],
        windows: Windows,
        legal: Legal<'_>,
        progress: &Share<'_>,
    ) -> Result<Vec<u32>, Error> {
        let n_symbols = self.output.n_symbols();
        let n_at_once = self.n_windows_at_once(windows).min(windows.n_lanes);
        let mut engine = Engine::new(self.model, self.output, self.kernels, n_at_once, windows.tokens_a_window);
        let mut waiting = streams.iter().take(windows.n_lanes).enumerate();
        let mut free: Vec<usize> = (0..n_at_once).rev().collect();
        let mut active: Vec<Lane<'_>> = Vec::new();
        let mut decoded = vec![Vec::new(); windows.n_lanes];
        loop {
            while let Some(sequence) = free.pop() {
                let Some((lane, stream)) = waiting.next() else { break };
                let place = match legal {
                    Legal::All => 0,
                    Legal::At(_, places) => places.get(lane).copied().unwrap_or(0),
                };
                active.push(Lane::new(lane, sequence, windows.lane(lane).len(), stream, n_symbols, place));
            }
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
            active
                .par_iter_mut()
                .zip(logits.par_chunks_exact(n_symbols))
                .with_min_len(MIN_LOGITS_A_TASK.div_ceil(n_symbols))
                .try_for_each(|(lane, logits)| lane.step(self, logits, legal))?;
            progress.advance(active.len());
            for at in (0..active.len()).rev() {
                if active[at].tokens.len() == active[at].n_tokens {
                    let lane = active.swap_remove(at);
                    lane.decoder.finish().map_err(|e| Error::corrupt_block(e.to_string()))?;
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
    decoder: Decoder<'a>,
    weights: Vec<u32>,
    table: FrequencyTable,
    /// Characters of text so far.
    place: u64,
}

impl<'a> Lane<'a> {
    fn new(index: usize, sequence: usize, n_tokens: usize, stream: &'a [u8], n_symbols: usize, place: u64) -> Self {
        Self {
            index,
            sequence,
            n_tokens,
            tokens: Vec::new(),
            input: [0],
            decoder: Decoder::new(stream),
            weights: vec![0; n_symbols],
            table: FrequencyTable::new(),
            place,
        }
    }

    fn step(&mut self, coder: &Coder<'_>, logits: &[f32], legal: Legal<'_>) -> Result<(), Error> {
        let symbol = match legal {
            Legal::All => self.symbol(coder, logits)?,
            Legal::At(texts, _) => {
                let symbols = texts.symbols_at(self.place);
                if symbols.is_empty() {
                    return Err(Error::corrupt_block("tokens go on after all texts"));
                }
                let logits: Vec<f32> = symbols.iter().map(|&symbol| logits[symbol as usize]).collect();
                let symbol = symbols[self.symbol(coder, &logits)?];
                self.place = texts.after(self.place, symbol).unwrap_or(self.place);
                symbol as usize
            }
        };
        let id = coder.output.id_of(symbol).ok_or_else(|| Error::corrupt_block("a symbol without a token"))?;
        self.tokens.push(id);
        self.input = [id];
        Ok(())
    }
}

impl Lane<'_> {
    /// The next symbol, one of those with these logits.
    fn symbol(&mut self, coder: &Coder<'_>, logits: &[f32]) -> Result<usize, Error> {
        self.weights.resize(logits.len(), 0);
        coder.kernels.logit_weights(logits, &mut self.weights);
        self.table.set_from_weights(&self.weights);
        self.decoder.decode(&self.table).map_err(|e| Error::corrupt_block(e.to_string()))
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
