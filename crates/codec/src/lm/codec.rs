//! The language-model codec.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lmgc_model::{Engine, Kernels, OutputLayer, Segment};
use lmgc_serialize::{CHUNK_BYTES, Serializer};
use lmgc_tensors::Dtype;
use lmgc_tokens::dataset;
use lmgc_tokens::stream::{detokenize_bytes, tokenize_bytes};

use super::blend::BlendPlan;
use super::code_length::{CodeLength, Meter, TextFields, cut_names};
use super::grammar::Grammar;
use super::lane::Legal;
use super::payload::{Payload, Source};
use super::run::Coder;
use super::symbols::{Ranks, SymbolTable, byte_tokens, nibble_tokens, rank_tokens};
use super::values::{Cut, ValueLayout};
use super::windows::{WindowShape, Windows};
use super::{LanguageModel, LmFormat, LmSettings, Mask};
use crate::float_layout::bits_of;
use crate::progress::Share;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Place, Progress};

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
    /// Ids that can occur in the format's text, ascending; of a format without text the symbols' tokens.
    legal_ids: Vec<u32>,
    /// With mask `grammar`, of hexadecimal formats.
    grammar: Option<Grammar>,
    full_output: OnceLock<OutputLayer>,
    memory_bytes: u64,
    meter: Option<Meter>,
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
        settings.check()?;
        let tokenizer = language_model.tokenizer();
        let legal_ids = match (settings.format, settings.serializer()) {
            (LmFormat::Nibbles, _) => nibble_tokens(tokenizer),
            (LmFormat::Bytes, _) => byte_tokens(tokenizer),
            (_, Some(serializer)) if settings.mask != Mask::None => Some(tokenizer.legal_alphabet(&serializer)),
            _ => Some(Vec::new()),
        };
        let legal_ids = legal_ids.ok_or_else(|| Error::VocabularyTooSmall {
            model: language_model.name().to_owned(),
            format: settings.format,
        })?;
        let grammar = match (settings.mask, settings.serializer()) {
            (Mask::Grammar, Some(serializer)) => Grammar::new(tokenizer, serializer, &legal_ids),
            _ => None,
        };
        let memory_bytes = DEFAULT_MEMORY_BYTES;
        Ok(Self {
            language_model,
            settings,
            kernels,
            legal_ids,
            grammar,
            full_output: OnceLock::new(),
            memory_bytes,
            meter: None,
        })
    }

    /// The same codec with another budget for keys and values, which decides how many windows are worked on side by side
    /// and changes no byte. One window is always worked on, whatever it takes.
    #[must_use]
    pub fn with_memory(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// The same codec, and a meter of what it encodes from now on.
    #[must_use]
    pub fn metered(self) -> (Self, Meter) {
        let meter = Meter::default();
        (Self { meter: Some(meter.clone()), ..self }, meter)
    }

    /// The model.
    pub fn language_model(&self) -> &LanguageModel {
        &self.language_model
    }

    /// The kernels that it runs on.
    pub fn kernels(&self) -> Kernels {
        self.kernels
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
        let settings = self.settings.with_text(made_with.format, made_with.bytes_per_group);
        let codec = Self::new(self.language_model.clone(), settings, self.kernels)?;
        Ok(Some(Self { meter: self.meter.clone(), ..codec.with_memory(self.memory_bytes) }))
    }

    /// Roughly how long `n_bytes` like those of `sample` will take, measured on the spot.
    ///
    /// # Errors
    /// Where the sample cannot be tokenised or the model cannot run.
    pub fn estimate(&self, sample: &[u8], n_bytes: u64) -> Result<Estimate, Error> {
        let sample = &sample[..sample.len().min(CHUNK_BYTES)];
        let ids = self.sample_tokens(sample)?;
        if ids.is_empty() {
            return Ok(Estimate::default());
        }
        let tokens_a_byte = ids.len() as f64 / sample.len() as f64;
        let (output, _) = self.output_for(&ids)?;
        // Encoding: a piece of a window. Once to warm up.
        let piece = &ids[..ids.len().min(128).min(self.settings.window_tokens - 1)];
        self.seconds_a_step(&output, &[piece])?;
        let encode_seconds_a_token = self.seconds_a_step(&output, &[piece])? / piece.len() as f64;
        // Decoding: a token of each lane that fits into memory.
        let n_block_tokens = n_bytes.min(BLOCK_BYTES as u64) as f64 * tokens_a_byte;
        let windows = Windows::plan(n_block_tokens as usize, self.window_shape(1));
        let n_at_once = self.coder(&output).n_windows_at_once(windows).min(windows.n_lanes()).max(1);
        let tokens = vec![&piece[..1]; n_at_once];
        let decode_seconds_a_step = self.seconds_a_step(&output, &tokens)?;
        let n_tokens = n_bytes as f64 * tokens_a_byte;
        Ok(Estimate {
            encode_seconds: n_tokens * encode_seconds_a_token,
            decode_seconds: n_tokens / n_at_once as f64 * decode_seconds_a_step,
        })
    }

    /// About as many tokens as a file's bytes like these give; where that depends on their type, as if they were f32.
    fn sample_tokens(&self, sample: &[u8]) -> Result<Vec<u32>, Error> {
        let tokenizer = self.language_model.tokenizer();
        let Some(serializer) = self.settings.serializer() else {
            let table = self.symbol_table(Dtype::F32, sample);
            return Ok(table.map(|(cut, table, _)| table.tokens_of(&cut.heads(sample))).unwrap_or_default());
        };
        let bytes = match self.text_cut(Dtype::F32) {
            Some(cut) => head_bytes(cut, &cut.heads(sample)),
            None => sample.to_vec(),
        };
        Ok(tokenize_bytes(tokenizer, &serializer, &bytes)?.ids)
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

    /// What windows hold of values of so many tokens.
    fn window_shape(&self, value_tokens: usize) -> WindowShape {
        WindowShape::new(self.settings.window_tokens, self.settings.overlap_tokens, value_tokens)
    }

    /// Where values become text in part.
    fn text_cut(&self, dtype: Dtype) -> Option<Cut> {
        let layout = ValueLayout::of(dtype);
        self.settings.lm_bits.map(|bits| Cut { layout, head_bits: bits.min(layout.n_bits) })
    }

    /// The cut, the symbols of a block and, for exponents, which there are; `None` if that is more than the model has tokens.
    fn symbol_table(&self, dtype: Dtype, bytes: &[u8]) -> Option<(Cut, SymbolTable, Option<Ranks>)> {
        let cut = self.symbol_cut(dtype);
        if let Some(bits) = self.settings.format.symbol_bits() {
            return Some((cut, SymbolTable::all(cut, bits, &self.legal_ids), None));
        }
        let ranks = Ranks::of(&cut.heads(bytes));
        let table = self.ranked_table(cut, &ranks)?;
        Some((cut, table, Some(ranks)))
    }

    fn symbol_cut(&self, dtype: Dtype) -> Cut {
        let layout = ValueLayout::of(dtype);
        let head_bits = match self.settings.format {
            LmFormat::Exponents => layout.leading_bits,
            _ => self.settings.lm_bits.unwrap_or(u32::MAX).min(layout.n_bits),
        };
        Cut { layout, head_bits }
    }

    fn ranked_table(&self, cut: Cut, ranks: &Ranks) -> Option<SymbolTable> {
        let tokens = rank_tokens(self.language_model.tokenizer(), ranks.heads().len())?;
        Some(SymbolTable::of_ranks(cut, ranks, &tokens))
    }

    fn symbols_output(&self, table: &SymbolTable) -> Result<OutputLayer, Error> {
        Ok(OutputLayer::restricted(self.language_model.model(), &table.tokens())?)
    }

    /// What says how likely symbols are.
    fn symbols_legal(&self, table: &SymbolTable, place: Place<'_>) -> Legal<'static> {
        if !self.settings.mix {
            return Legal::All;
        }
        let sign_last = self.settings.format == LmFormat::Exponents && table.cut.layout.has_sign;
        Legal::Blended(Arc::new(BlendPlan::new(
            table.cut.layout,
            (table.cut.head_bits, table.symbol_bits),
            &table.bits(),
            table.frequencies(),
            sign_last,
            far_values(place),
        )))
    }

    /// What a block costs by the model's probabilities, and which part of the values takes how much: as [`BlockCodec::encode`], but
    /// nothing is written that could be decoded.
    ///
    /// # Errors
    /// Those of encoding.
    pub fn code_length(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<CodeLength, Error> {
        Ok(self.encode_measured(input, progress)?.1)
    }

    fn encode_symbols(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<(Encoded, CodeLength), Error> {
        let BlockInput { bytes, place, .. } = input;
        let mut length = CodeLength::default();
        let Some((cut, table, ranks)) = self.symbol_table(place.dtype, bytes) else {
            progress.advance(bytes.len() as u64);
            length.add_bytes("other bits", bytes.len());
            return Ok((Encoded::plain(CodecId::Raw, bytes.to_vec()), length));
        };
        let (rest, side) = (cut.encode_rest(bytes), ranks.map(|ranks| ranks.to_bytes()).unwrap_or_default());
        let ids = table.tokens_of(&cut.heads(bytes));
        let output = Output::Own(self.symbols_output(&table)?);
        let windows = Windows::plan(ids.len(), self.window_shape(table.value_tokens()));
        let share = Share::new(progress, bytes.len(), ids.len());
        let (lanes, costs) = self.coder(&output).encode(&ids, windows, &self.symbols_legal(&table, place), &share)?;
        let (heads_name, rest_name) = cut_names(cut);
        length.n_tokens = ids.len() as u64;
        length.add_bytes("side information", side.len());
        length.add(heads_name, costs.iter().copied().map(f64::from).sum());
        length.add_bytes(rest_name, rest.len());
        let payload = Payload {
            source: Source::Symbols,
            rest: Some(&rest),
            n_tokens: ids.len(),
            n_legal: table.len(),
            side: &side,
            extra_ids: Vec::new(),
            places: Vec::new(),
            lanes: lanes.iter().map(Vec::as_slice).collect(),
        };
        Ok((encoded(&payload, windows), length))
    }

    /// The token ids that these bytes are, if the model has all of them: what calls itself a token data set may hold anything.
    fn token_ids(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        let (ids, []) = bytes.as_chunks() else { return None };
        let vocab_size = self.language_model.model().config().vocab_size;
        ids.iter().map(|&id| Some(u32::from_le_bytes(id)).filter(|&id| (id as usize) < vocab_size)).collect()
    }

    fn encode_measured(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<(Encoded, CodeLength), Error> {
        let token_ids = if input.is_token_ids { self.token_ids(input.bytes) } else { None };
        let as_ids = token_ids.is_some();
        let serializer = match self.settings.serializer() {
            Some(serializer) => serializer,
            // Token ids need no serialiser.
            None if as_ids => Serializer::new(lmgc_serialize::Format::HexNone, self.settings.bytes_per_group),
            None => return self.encode_symbols(input, progress),
        };
        let mut text_bytes = Cow::Borrowed(input.bytes);
        let (mut rest, mut side) = (None, Vec::new());
        let (source, ids) = if let Some(ids) = token_ids {
            (Source::TokenIds, ids)
        } else {
            if let Some(cut) = self.text_cut(input.place.dtype) {
                text_bytes = Cow::Owned(head_bytes(cut, &cut.heads(input.bytes)));
                rest = Some(cut.encode_rest(input.bytes));
            }
            let stream = tokenize_bytes(self.language_model.tokenizer(), &serializer, &text_bytes)?;
            side = stream.side;
            (Source::Bytes, stream.ids)
        };
        let (output, extra_ids) = self.output_for(&ids)?;
        let windows = Windows::plan(ids.len(), self.window_shape(1));
        let share = Share::new(progress, input.bytes.len(), ids.len());
        let texts = self.grammar.as_ref().map(|grammar| grammar.of_bytes(text_bytes.len()));
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
        let (lanes, costs) = self.coder(&output).encode(&ids, windows, &legal, &share)?;
        let mut length = CodeLength { n_tokens: ids.len() as u64, ..CodeLength::default() };
        length.add_bytes("side information", side.len());
        if as_ids {
            length.add("text", costs.iter().copied().map(f64::from).sum());
        } else {
            self.text_fields(input.place.dtype, serializer, text_bytes.len()).add_to(&mut length, &ids, &costs);
        }
        length.add_bytes("other bits", rest.as_ref().map_or(0, Vec::len));
        let places = places.iter().flat_map(|places| windows.lane_starts().map(|start| places[start])).collect();
        let payload = Payload {
            source,
            rest: rest.as_deref(),
            n_tokens: ids.len(),
            n_legal: self.legal_ids.len(),
            side: &side,
            extra_ids,
            places,
            lanes: lanes.iter().map(Vec::as_slice).collect(),
        };
        Ok((encoded(&payload, windows), length))
    }

    /// Which characters of a block's text stand for which bytes of its values.
    fn text_fields(&self, dtype: Dtype, serializer: Serializer, n_bytes: usize) -> TextFields<'_> {
        let n_value_bytes = dtype.size_bytes() as usize;
        let value_bytes = self.text_cut(dtype).map_or(n_value_bytes, |cut| cut.head_bits as usize / 8);
        let first_byte = n_value_bytes.saturating_sub(value_bytes);
        TextFields { tokenizer: self.language_model.tokenizer(), serializer, n_bytes, value_bytes, first_byte }
    }

    fn decode_symbols(
        &self,
        payload: &Payload<'_>,
        block: EncodedBlock<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Error> {
        let EncodedBlock { raw_len, n_lanes, place, .. } = block;
        let cut = self.symbol_cut(place.dtype);
        let table = match self.settings.format {
            LmFormat::Text(_) => return Err(Error::corrupt_block("symbols where the settings say text")),
            format => match format.symbol_bits() {
                Some(_) if !payload.side.is_empty() => {
                    return Err(Error::corrupt_block("a table for symbols that need none"));
                }
                Some(bits) => SymbolTable::all(cut, bits, &self.legal_ids),
                None => {
                    let ranks = Ranks::parse(payload.side, cut.head_bits)?;
                    let table = self.ranked_table(cut, &ranks);
                    table.ok_or_else(|| Error::corrupt_block("more exponents than the model has tokens"))?
                }
            },
        };
        if payload.n_legal != table.len() || !payload.extra_ids.is_empty() {
            return Err(Error::corrupt_block("the symbols are not those of the settings"));
        }
        if payload.n_tokens != cut.n_values(raw_len) * table.value_tokens()
            || (table.len() == 0 && payload.n_tokens > 0)
        {
            let what = format!("{} symbols cannot stand for {raw_len} bytes", payload.n_tokens);
            return Err(Error::corrupt_block(what));
        }
        let output = Output::Own(self.symbols_output(&table)?);
        let shape = self.window_shape(table.value_tokens());
        let windows = Windows::with_lanes(payload.n_tokens, shape, usize::from(n_lanes))?;
        let share = Share::new(progress, raw_len, payload.n_tokens);
        let legal = self.symbols_legal(&table, place);
        let ids = self.coder(&output).decode(&payload.lanes, windows, &legal, &share)?;
        cut.decode_rest(&table.heads_of(&ids)?, payload.rest.unwrap_or_default(), raw_len)
    }

    /// The token ids of a block: as many as there are of ids, or those of text that stands for some bytes.
    fn decode_tokens(
        &self,
        payload: &Payload<'_>,
        n_expected: Option<usize>,
        block: EncodedBlock<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<u32>, Error> {
        let EncodedBlock { raw_len, n_lanes, .. } = block;
        let plausible = n_expected.is_some_and(|n| match payload.source {
            Source::TokenIds => payload.n_tokens == n,
            _ => payload.n_tokens <= n * MAX_TOKENS_A_BYTE + n.div_ceil(CHUNK_BYTES) * MAX_TOKENS_A_CHUNK,
        });
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
        let output = match self.settings.mask {
            Mask::None => self.full_output(),
            Mask::Alphabet | Mask::Grammar => self
                .restricted_output(&payload.extra_ids)
                .map_err(|_| Error::corrupt_block("an extra token is beyond the vocabulary"))?,
        };
        if output.get().n_symbols() == 0 && payload.n_tokens > 0 {
            return Err(Error::corrupt_block("there are tokens but no alphabet"));
        }
        let windows = Windows::with_lanes(payload.n_tokens, self.window_shape(1), usize::from(n_lanes))?;
        let share = Share::new(progress, raw_len, payload.n_tokens);
        let texts = self.grammar.as_ref().map(|grammar| grammar.of_bytes(n_expected.unwrap_or(0)));
        let legal = match (payload.source, &texts) {
            (Source::BytesByGrammar, Some(texts)) if payload.extra_ids.is_empty() => Legal::At(*texts, &payload.places),
            (Source::BytesByGrammar, _) => {
                return Err(Error::corrupt_block("tokens by a grammar that the settings do not have"));
            }
            _ => Legal::All,
        };
        self.coder(&output).decode(&payload.lanes, windows, &legal, &share)
    }
}

/// So many values before one, another is likely to be alike: the same tap of the kernel before, or the same column of the row
/// before.
fn far_values(place: Place<'_>) -> usize {
    let largest = place.pieces.iter().max_by_key(|piece| piece.len);
    let inner: u64 = match largest.map(|piece| piece.shape) {
        Some([_, _, taps @ ..]) if !taps.is_empty() => taps.iter().copied().reduce(u64::saturating_mul).unwrap_or(1),
        Some([_, columns]) => *columns,
        _ => 0,
    };
    let distance = usize::try_from(inner).unwrap_or(0);
    if distance < 3 { 3 } else { distance }
}

/// The upper bytes of values, each in memory order.
fn head_bytes(cut: Cut, heads: &[u64]) -> Vec<u8> {
    heads.iter().flat_map(|head| head.to_le_bytes().into_iter().take(cut.head_bits as usize / 8)).collect()
}

fn encoded(payload: &Payload<'_>, windows: Windows) -> Encoded {
    Encoded {
        codec: CodecId::Lm,
        payload: payload.to_bytes(),
        n_lanes: windows.n_lanes() as u16,
        n_tokens: payload.n_tokens as u64,
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
        let (encoded, length) = self.encode_measured(input, progress)?;
        if let Some(meter) = &self.meter {
            meter.add(&length);
        }
        Ok(encoded)
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, n_lanes, place } = block;
        let is_cut = self.settings.lm_bits.is_some() || !self.settings.format.is_text();
        let payload = Payload::parse(payload, n_lanes, is_cut)?;
        let bytes = match (payload.source, self.settings.serializer()) {
            (Source::Symbols, _) => self.decode_symbols(&payload, block, progress)?,
            (Source::TokenIds, _) => {
                let ids =
                    self.decode_tokens(&payload, raw_len.is_multiple_of(4).then_some(raw_len / 4), block, progress)?;
                if !payload.side.is_empty() {
                    return Err(Error::corrupt_block("token exceptions for tokens that are not made from bytes"));
                }
                ids.iter().flat_map(|id| id.to_le_bytes()).collect()
            }
            (Source::Bytes | Source::BytesByGrammar, None) => {
                return Err(Error::corrupt_block("text where the settings say symbols"));
            }
            (Source::Bytes | Source::BytesByGrammar, Some(serializer)) => {
                let cut = self.text_cut(place.dtype);
                let text_len = cut.map_or(raw_len, |cut| cut.n_values(raw_len) * cut.head_bits as usize / 8);
                let ids = self.decode_tokens(&payload, Some(text_len), block, progress)?;
                let tokenizer = self.language_model.tokenizer();
                let bytes = detokenize_bytes(tokenizer, &serializer, &ids, payload.side, text_len as u64)
                    .map_err(|e| Error::corrupt_block(e.to_string()))?;
                match cut {
                    Some(cut) => {
                        let heads: Vec<u64> = bytes.chunks_exact(cut.head_bits as usize / 8).map(bits_of).collect();
                        cut.decode_rest(&heads, payload.rest.unwrap_or_default(), raw_len)?
                    }
                    None => bytes,
                }
            }
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
