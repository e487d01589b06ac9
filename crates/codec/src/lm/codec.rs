//! The language-model codec.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lmgc_model::{Engine, Kernels, OutputLayer, Segment};
use lmgc_serialize::CHUNK_BYTES;
use lmgc_tokens::dataset;
use lmgc_tokens::stream::{detokenize_bytes, tokenize_bytes};

use super::grammar::Grammar;
use super::payload::{Payload, Source};
use super::settings::MIN_WINDOW_TOKENS;
use super::windows::{Coder, Legal, Windows};
use super::{LanguageModel, LmSettings, Mask};
use crate::progress::Share;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Bytes of a block: some 270 windows of 2048 tokens, enough to fill the lanes.
const BLOCK_BYTES: usize = 256 << 10;
/// Most tokens that a byte can need: two digits, or two characters of UTF-8, and a separator of two characters.
const MAX_TOKENS_A_BYTE: usize = 4;
/// Tokens beyond that which a chunk may need (dummy prefixes).
const MAX_TOKENS_A_CHUNK: usize = 4;

/// Memory for the keys and values of windows that are worked on side by side, unless said otherwise: 2 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;

/// How long a job will take, roughly: the beginning of a window is a little faster than its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Seconds to compress.
    pub encode_seconds: f64,
    /// Seconds to decompress, or to verify.
    pub decode_seconds: f64,
}

/// A language model and the settings to code with.
pub struct LmCodec {
    language_model: Arc<LanguageModel>,
    settings: LmSettings,
    kernels: Kernels,
    /// Ids that can occur in the format's text, ascending.
    legal_ids: Vec<u32>,
    /// With mask `grammar`, of hexadecimal formats.
    grammar: Option<Grammar>,
    full_output: OnceLock<OutputLayer>,
    memory_bytes: u64,
}

impl LmCodec {
    /// Checks the settings against the model. `kernels` changes the speed and nothing else.
    ///
    /// # Errors
    /// [`Error::WindowTooLong`] or [`Error::WindowTooShort`].
    pub fn new(language_model: Arc<LanguageModel>, settings: LmSettings, kernels: Kernels) -> Result<Self, Error> {
        let (window, limit) = (settings.window_tokens, language_model.model().config().max_positions);
        if window > limit {
            return Err(Error::WindowTooLong { window, limit, model: language_model.name().to_owned() });
        }
        if window < MIN_WINDOW_TOKENS {
            return Err(Error::WindowTooShort { window, min: MIN_WINDOW_TOKENS });
        }
        let legal_ids = match settings.mask {
            Mask::None => Vec::new(),
            Mask::Alphabet | Mask::Grammar => language_model.tokenizer().legal_alphabet(&settings.serializer()),
        };
        let grammar = match settings.mask {
            Mask::Grammar => Grammar::new(language_model.tokenizer(), settings.serializer(), &legal_ids),
            Mask::None | Mask::Alphabet => None,
        };
        let memory_bytes = DEFAULT_MEMORY_BYTES;
        Ok(Self { language_model, settings, kernels, legal_ids, grammar, full_output: OnceLock::new(), memory_bytes })
    }

    /// The same codec with another budget for keys and values, which decides how many windows are worked on side by side
    /// and changes no byte. One window is always worked on, whatever it takes.
    #[must_use]
    pub fn with_memory(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// The model.
    pub fn language_model(&self) -> &LanguageModel {
        &self.language_model
    }

    /// The settings.
    pub fn settings(&self) -> &LmSettings {
        &self.settings
    }

    /// The same codec with the text format of a token data set, if the metadata are those of one.
    ///
    /// # Errors
    /// [`Error::VocabularyMismatch`] for a data set of another tokenizer.
    pub(crate) fn for_token_dataset(&self, metadata: &BTreeMap<String, String>) -> Result<Option<Self>, Error> {
        if !metadata.contains_key(dataset::MARKER_KEY) {
            return Ok(None);
        }
        // Without settings it is a file that only looks like one, and its tokens are coded all the same.
        let Ok(made_with) = dataset::Settings::from_metadata(metadata) else { return Ok(None) };
        if !made_with.is_from(self.language_model.tokenizer()) {
            return Err(Error::VocabularyMismatch { model: self.language_model.name().to_owned() });
        }
        let (format, bytes_per_group) = (made_with.format, made_with.bytes_per_group);
        let settings = LmSettings { format, bytes_per_group, ..self.settings };
        let codec = Self::new(self.language_model.clone(), settings, self.kernels)?;
        Ok(Some(codec.with_memory(self.memory_bytes)))
    }

    /// Roughly how long `n_bytes` like those of `sample` will take, measured on the spot.
    ///
    /// # Errors
    /// Where the sample cannot be tokenised or the model cannot run.
    pub fn estimate(&self, sample: &[u8], n_bytes: u64) -> Result<Estimate, Error> {
        let sample = &sample[..sample.len().min(CHUNK_BYTES)];
        let stream = tokenize_bytes(self.language_model.tokenizer(), &self.settings.serializer(), sample)?;
        if stream.ids.is_empty() {
            return Ok(Estimate::default());
        }
        let tokens_a_byte = stream.ids.len() as f64 / sample.len() as f64;
        let (output, _) = self.output_for(&stream.ids)?;
        // Encoding: a piece of a window. Once to warm up.
        let piece = &stream.ids[..stream.ids.len().min(128).min(self.settings.window_tokens - 1)];
        self.seconds_a_step(&output, &[piece])?;
        let encode_seconds_a_token = self.seconds_a_step(&output, &[piece])? / piece.len() as f64;
        // Decoding: a token of each lane that fits into memory.
        let n_block_tokens = n_bytes.min(BLOCK_BYTES as u64) as f64 * tokens_a_byte;
        let windows = Windows::plan(n_block_tokens as usize, self.settings.window_tokens);
        let n_at_once = self.coder(&output).n_windows_at_once(windows).min(windows.n_lanes()).max(1);
        let tokens = vec![&piece[..1]; n_at_once];
        let decode_seconds_a_step = self.seconds_a_step(&output, &tokens)?;
        let n_tokens = n_bytes as f64 * tokens_a_byte;
        Ok(Estimate {
            encode_seconds: n_tokens * encode_seconds_a_token,
            decode_seconds: n_tokens / n_at_once as f64 * decode_seconds_a_step,
        })
    }

    /// Seconds that the model takes for one batch: some tokens of each of several sequences.
    fn seconds_a_step(&self, output: &Output<'_>, sequences: &[&[u32]]) -> Result<f64, Error> {
        let capacity_tokens = self.settings.window_tokens - 1;
        let model = self.language_model.model();
        let mut engine = Engine::new(model, output.get(), self.kernels, sequences.len(), capacity_tokens);
        let batch: Vec<Segment<'_>> =
            sequences.iter().enumerate().map(|(sequence, tokens)| Segment { sequence, tokens }).collect();
        let start = Instant::now();
        engine.forward(&batch)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The output layer for these tokens, and the ids in it that the format does not explain.
    fn output_for(&self, ids: &[u32]) -> Result<(Output<'_>, Vec<u32>), Error> {
        if self.settings.mask == Mask::None {
            return Ok((self.full_output(), Vec::new()));
        }
        let extra: BTreeSet<u32> = ids.iter().copied().filter(|id| self.legal_ids.binary_search(id).is_err()).collect();
        let extra: Vec<u32> = extra.into_iter().collect();
        Ok((self.restricted_output(&extra)?, extra))
    }

    fn full_output(&self) -> Output<'_> {
        Output::Shared(self.full_output.get_or_init(|| OutputLayer::full(self.language_model.model())))
    }

    fn restricted_output(&self, extra_ids: &[u32]) -> Result<Output<'_>, Error> {
        let ids: BTreeSet<u32> = self.legal_ids.iter().chain(extra_ids).copied().collect();
        let ids: Vec<u32> = ids.into_iter().collect();
        Ok(Output::Own(OutputLayer::restricted(self.language_model.model(), &ids)?))
    }

    fn coder<'a>(&'a self, output: &'a Output<'a>) -> Coder<'a> {
        Coder {
            model: self.language_model.model(),
            output: output.get(),
            kernels: self.kernels,
            start_token: self.language_model.start_token(),
            memory_bytes: self.memory_bytes,
        }
    }
}

/// An output layer that lives as long as the codec or as long as the block.
enum Output<'a> {
    Shared(&'a OutputLayer),
    Own(OutputLayer),
}

impl Output<'_> {
    fn get(&self) -> &OutputLayer {
        match self {
            Self::Shared(layer) => layer,
            Self::Own(layer) => layer,
        }
    }
}

impl BlockCodec for LmCodec {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let as_ids = input.is_token_ids && input.bytes.len().is_multiple_of(4);
        let (source, ids, side) = if as_ids {
            let ids = input.bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            (Source::TokenIds, ids, Vec::new())
        } else {
            let stream = tokenize_bytes(self.language_model.tokenizer(), &self.settings.serializer(), input.bytes)?;
            (Source::Bytes, stream.ids, stream.side)
        };
        let (output, extra_ids) = self.output_for(&ids)?;
        let windows = Windows::plan(ids.len(), self.settings.window_tokens);
        let share = Share::new(progress, input.bytes.len(), ids.len());
        let texts = self.grammar.as_ref().map(|grammar| grammar.of_bytes(input.bytes.len()));
        let places = match &texts {
            Some(texts) if source == Source::Bytes && extra_ids.is_empty() && side.is_empty() => {
                let symbols = ids.iter().map(|id| self.legal_ids.binary_search(id).map_or(u32::MAX, |at| at as u32));
                texts.places(symbols)
            }
            _ => None,
        };
        let (source, legal) = match (&texts, &places) {
            (Some(texts), Some(places)) => (Source::BytesByGrammar, Legal::At(*texts, places)),
            _ => (source, Legal::All),
        };
        let lanes = self.coder(&output).encode(&ids, windows, legal, &share)?;
        let places = places.iter().flat_map(|places| windows.lane_starts().map(|start| places[start])).collect();
        let payload = Payload {
            source,
            n_tokens: ids.len(),
            n_legal: self.legal_ids.len(),
            side: &side,
            extra_ids,
            places,
            lanes: lanes.iter().map(Vec::as_slice).collect(),
        };
        Ok(Encoded {
            codec: CodecId::Lm,
            payload: payload.to_bytes(),
            n_lanes: windows.n_lanes() as u16,
            n_tokens: ids.len() as u64,
        })
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, n_lanes, .. } = block;
        let payload = Payload::parse(payload, n_lanes)?;
        let plausible = match payload.source {
            Source::TokenIds => raw_len.is_multiple_of(4) && payload.n_tokens == raw_len / 4,
            Source::Bytes | Source::BytesByGrammar => {
                let n_chunks = raw_len.div_ceil(CHUNK_BYTES);
                payload.n_tokens <= raw_len * MAX_TOKENS_A_BYTE + n_chunks * MAX_TOKENS_A_CHUNK
            }
        };
        if !plausible {
            let what = format!("{} tokens cannot stand for {raw_len} bytes", payload.n_tokens);
            return Err(Error::corrupt_block(what));
        }
        if payload.n_legal != self.legal_ids.len() {
            let what = format!(
                "its alphabet has {} tokens, that of model '{}' has {}",
                payload.n_legal,
                self.language_model.name(),
                self.legal_ids.len()
            );
            return Err(Error::corrupt_block(what));
        }
        if self.settings.mask == Mask::None && !payload.extra_ids.is_empty() {
            return Err(Error::corrupt_block("extra tokens where every token is allowed"));
        }
        if payload.source == Source::TokenIds && !payload.side.is_empty() {
            return Err(Error::corrupt_block("token exceptions for tokens that are not made from bytes"));
        }
        let output = match self.settings.mask {
            Mask::None => self.full_output(),
            Mask::Alphabet | Mask::Grammar => self
                .restricted_output(&payload.extra_ids)
                .map_err(|_| Error::corrupt_block("an extra token is beyond the vocabulary"))?,
        };
        if output.get().n_symbols() == 0 && payload.n_tokens > 0 {
            return Err(Error::corrupt_block("there are tokens but no alphabet"));
        }
        let windows = Windows::with_lanes(payload.n_tokens, self.settings.window_tokens, usize::from(n_lanes))?;
        let share = Share::new(progress, raw_len, payload.n_tokens);
        let texts = self.grammar.as_ref().map(|grammar| grammar.of_bytes(raw_len));
        let legal = match (payload.source, &texts) {
            (Source::BytesByGrammar, Some(texts)) if payload.extra_ids.is_empty() => Legal::At(*texts, &payload.places),
            (Source::BytesByGrammar, _) => {
                return Err(Error::corrupt_block("tokens by a grammar that the settings do not have"));
            }
            _ => Legal::All,
        };
        let ids = self.coder(&output).decode(&payload.lanes, windows, legal, &share)?;
        let bytes = match payload.source {
            Source::TokenIds => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            Source::Bytes | Source::BytesByGrammar => detokenize_bytes(
                self.language_model.tokenizer(),
                &self.settings.serializer(),
                &ids,
                payload.side,
                raw_len as u64,
            )
            .map_err(|e| Error::corrupt_block(e.to_string()))?,
        };
        if bytes.len() != raw_len {
            return Err(Error::corrupt_block(format!("{} bytes decoded for a block of {raw_len}", bytes.len())));
        }
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }

    fn is_parallel_inside(&self) -> bool {
        true
    }
}
