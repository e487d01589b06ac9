//! The structural prior with a language model as one more expert: see `warp`.
//!
//! 16 samples are coded side by side, so the model reads 16 sequences, one a sample, and takes a step for each coordinate. It
//! begins anew with each part of a lane, and whenever a window is full. An encoder knows all classes beforehand: they depend on the values
//! alone.

use lmgc_kernels::{Kernels, LANES};
use lmgc_model::{Engine, OutputLayer, Segment};

use super::Structural;
use super::warp::{Adviser, N_SYMBOLS, Recording, Weights};
use crate::lm::{LanguageModel, LmCodec, LmFormat, class_tokens};
use crate::progress::Share;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Level, NoProgress, Progress};

/// Bytes of a block: the model's weights of all values are kept while it is encoded.
const BLOCK_BYTES: usize = 1 << 20;
/// What naming a model takes in a file's header, about: a block that saves less had better not need one.
const MODEL_RECORD_BYTES: usize = 64;
/// Tokens that go through the model at once when encoding.
const ROWS_AT_ONCE: usize = 1024;

/// A language model that tells classes apart.
pub(super) struct Model<'a> {
    language_model: &'a LanguageModel,
    kernels: Kernels,
    output: OutputLayer,
    tokens: Vec<u32>,
    /// Of the classes, in the order of the output layer.
    order: [usize; N_SYMBOLS],
    window_tokens: usize,
}

impl<'a> Model<'a> {
    fn new(lm: &'a LmCodec) -> Result<Self, Error> {
        let language_model = lm.language_model();
        let tokens = class_tokens(language_model.tokenizer()).ok_or_else(|| Error::VocabularyTooSmall {
            model: language_model.name().to_owned(),
            format: LmFormat::Nibbles,
        })?;
        let mut sorted: Vec<(u32, usize)> = tokens.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let mut order = [0; N_SYMBOLS];
        order.iter_mut().zip(&sorted).for_each(|(to, &(_, class))| *to = class);
        let ids: Vec<u32> = sorted.iter().map(|&(id, _)| id).collect();
        let output = OutputLayer::restricted(language_model.model(), &ids)?;
        let (kernels, window_tokens) = (lm.kernels(), lm.settings().window_tokens);
        Ok(Self { language_model, kernels, output, tokens, order, window_tokens })
    }

    /// Rows of a window: as many tokens as it codes.
    fn window_rows(&self) -> usize {
        self.window_tokens - 1
    }

    fn engine(&self, n_sequences: usize) -> Engine<'_> {
        Engine::new(self.language_model.model(), &self.output, self.kernels, n_sequences, self.window_rows())
    }

    fn token(&self, class: u8) -> u32 {
        self.tokens.get(usize::from(class)).copied().unwrap_or_default()
    }

    fn weights(&self, logits: &[f32]) -> Weights {
        let mut by_output = [0; N_SYMBOLS];
        self.kernels.logit_weights(logits, &mut by_output);
        let mut weights = [0; N_SYMBOLS];
        for (weight, &class) in by_output.iter().zip(&self.order) {
            weights[class] = *weight;
        }
        weights
    }

    /// What the model says of every value of a lane, row by row.
    pub(super) fn foresee(&self, recording: &Recording, share: &Share<'_>) -> Result<Foreseen, Error> {
        let mut engine = self.engine(1);
        let mut rows = Vec::new();
        for part in &recording.parts {
            for window in part.chunks(self.window_rows()) {
                let first = rows.len();
                rows.extend(window.iter().map(|row| vec![[1; N_SYMBOLS]; row.len()]));
                for t in 0..LANES {
                    let tokens: Vec<u32> = window.iter().map_while(|row| row.get(t)).map(|&c| self.token(c)).collect();
                    engine.reset(0);
                    let inputs: Vec<u32> =
                        [self.language_model.start_token()].into_iter().chain(tokens.iter().copied()).collect();
                    let mut places = rows[first..].iter_mut().filter_map(|row| row.get_mut(t));
                    for inputs in inputs[..tokens.len()].chunks(ROWS_AT_ONCE) {
                        let segment = Segment { sequence: 0, tokens: inputs };
                        let weights = engine.forward_each(&[segment], |_, logits| self.weights(logits))?;
                        weights.into_iter().zip(places.by_ref()).for_each(|(weights, place)| *place = weights);
                        share.advance(inputs.len());
                    }
                }
            }
        }
        Ok(Foreseen { rows: rows.into_iter() })
    }

    pub(super) fn steps<'s>(&'s self, share: &'s Share<'s>) -> Steps<'s> {
        Steps { model: self, engine: self.engine(LANES), share, position: 0, inputs: [0; LANES], error: None }
    }
}

/// What a model says, all of it known.
pub(super) struct Foreseen {
    rows: std::vec::IntoIter<Vec<Weights>>,
}

impl Adviser for Foreseen {
    fn begin_part(&mut self) {}

    fn begin_row(&mut self, _: usize) -> Vec<Weights> {
        self.rows.next().unwrap_or_default()
    }

    fn tell(&mut self, _: usize, _: u8) {}
}

/// A model that goes step by step, as values are decoded.
pub(super) struct Steps<'a> {
    model: &'a Model<'a>,
    engine: Engine<'a>,
    share: &'a Share<'a>,
    position: usize,
    inputs: [u32; LANES],
    /// What went wrong; the values that followed mean nothing.
    pub(super) error: Option<Error>,
}

impl Adviser for Steps<'_> {
    fn begin_part(&mut self) {
        self.position = 0;
    }

    fn begin_row(&mut self, n_values: usize) -> Vec<Weights> {
        if self.error.is_some() {
            return Vec::new();
        }
        if self.position.is_multiple_of(self.model.window_rows()) {
            (0..LANES).for_each(|sequence| self.engine.reset(sequence));
            self.inputs = [self.model.language_model.start_token(); LANES];
        }
        self.position += 1;
        let segments: Vec<Segment<'_>> = self.inputs[..n_values.min(LANES)]
            .chunks(1)
            .enumerate()
            .map(|(sequence, tokens)| Segment { sequence, tokens })
            .collect();
        self.share.advance(segments.len());
        match self.engine.forward(&segments) {
            Ok(logits) => logits.chunks_exact(N_SYMBOLS).map(|logits| self.model.weights(logits)).collect(),
            Err(error) => {
                self.error = Some(error.into());
                Vec::new()
            }
        }
    }

    fn tell(&mut self, at: usize, class: u8) {
        if let Some(input) = self.inputs.get_mut(at) {
            *input = self.model.token(class);
        }
    }
}

/// The structural codec with a language model.
pub struct Ensemble<'a> {
    structural: Structural,
    model: Model<'a>,
}

impl<'a> Ensemble<'a> {
    /// With the model, window and kernels of a language-model codec.
    ///
    /// # Errors
    /// [`Error::VocabularyTooSmall`], or where the model cannot be restricted to the classes.
    pub fn new(level: Level, lm: &'a LmCodec) -> Result<Self, Error> {
        Ok(Self { structural: Structural::with_kernels(level, lm.kernels()), model: Model::new(lm)? })
    }
}

impl BlockCodec for Ensemble<'_> {
    /// Where the model does not pay for being named, the block is that of codec structural.
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let alone = self.structural.encode(input, &NoProgress)?;
        let best = if alone.codec == CodecId::Structural {
            let n_values = bytes.len() / place.element_bytes().max(1);
            let share = Share::new(progress, bytes.len(), n_values);
            let coded = self.structural.encode_floats(bytes, place, Some((&self.model, &share)))?;
            share.finish();
            match coded {
                Some(coded) if coded.payload.len() + MODEL_RECORD_BYTES < alone.payload.len() => {
                    Encoded { codec: CodecId::Ensemble, n_tokens: n_values as u64, ..coded }
                }
                _ => alone,
            }
        } else {
            progress.advance(bytes.len() as u64);
            alone
        };
        Ok(best)
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let share = Share::new(progress, block.raw_len, block.raw_len / block.place.element_bytes().max(1));
        let bytes = self.structural.decode_floats(block, Some((&self.model, &share)))?;
        share.finish();
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }

    fn is_parallel_inside(&self) -> bool {
        true
    }

    fn wants_whole_tensors(&self) -> bool {
        true
    }
}
