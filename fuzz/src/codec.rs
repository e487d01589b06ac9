//! Blocks: a target for each codec.
//!
//! An input begins with [`Choices`]. What follows is a payload to decode, which gives as many bytes as it should or is corrupt;
//! or, if bit 0 of the first byte is set, it is bytes to encode, which come back.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use lmgc_codec::baselines::{self, levels, reference_level};
use lmgc_codec::lm::{LanguageModel, LmCodec, LmFormat, LmSettings, Mask};
use lmgc_codec::{BlockCodec, BlockInput, CodecId, EncodedBlock, Ensemble, Error, Level, NoProgress, Piece, Place};
use lmgc_model::{Kernels, Model};
use lmgc_serialize::BytesPerGroup;
use lmgc_tensors::Dtype;
use lmgc_testkit::TinyModel;
use lmgc_tokens::Tokenizer;

/// Bytes of a block that a language model takes part in: each of its tokens costs as much as a kilobyte elsewhere.
const MAX_LM_BYTES: usize = 256;
/// Likewise, where the model reads only a token for each value.
const MAX_ENSEMBLE_BYTES: usize = 600;
/// Windows of the language model; those that are too short are refused.
const WINDOWS: [usize; 6] = [2, 17, 33, 64, 100, 256];

macro_rules! plain {
    ($($target:ident $codec:ident)*) => {
        $(#[doc = concat!("Blocks of codec ", stringify!($codec), ".")]
        pub fn $target(data: &[u8]) {
            baseline(CodecId::$codec, data);
        })*
    };
}

plain! {
    block_raw Raw
    block_zstd Zstd
    block_split_zstd SplitZstd
    block_gzip Gzip
    block_lzma Lzma
    block_bzip2 Bzip2
    block_brotli Brotli
    block_split_xz SplitXz
    block_bitshuffle_zstd BitshuffleZstd
    block_png Png
    block_flac Flac
    block_fpzip Fpzip
    block_pco Pco
    block_fields0 Fields0
    block_zfp Zfp
    block_structural Structural
    block_fast Fast
}

/// Blocks of codec lm, in a text format or in symbols.
pub fn block_lm(data: &[u8]) {
    let Some((choices, rest)) = Choices::of(data) else { return };
    let Ok(codec) = LmCodec::new(tiny_model(), choices.lm_settings(), Kernels::detect()) else { return };
    check(&codec, CodecId::Lm, choices, MAX_LM_BYTES, rest);
}

/// Blocks of codec ensemble.
pub fn block_ensemble(data: &[u8]) {
    let Some((choices, rest)) = Choices::of(data) else { return };
    let settings = LmSettings { window_tokens: choices.window(), ..Default::default() };
    let Ok(lm) = LmCodec::new(tiny_model(), settings, Kernels::detect()) else { return };
    let level = Level::new(1 + choices.0[4] % 9).expect("a level");
    let codec = Ensemble::new(level, &lm).expect("a model with tokens for its symbols");
    check(&codec, CodecId::Ensemble, choices, MAX_ENSEMBLE_BYTES, rest);
}

fn baseline(id: CodecId, data: &[u8]) {
    let Some((choices, rest)) = Choices::of(data) else { return };
    let codec = baselines::codec(id, choices.level(id)).expect("a codec that is built");
    check(&*codec, id, choices, usize::MAX, rest);
}

/// All that a decoder is told beside the payload. By byte: 0 direction (bit 0), token ids (1), reference (2), number of pieces
/// (3 and 4), whether shapes have the pieces' lengths (5), whether they are parts (6); 1 data type; 2 and 3 raw length; 4 and
/// 5 number of lanes, or level; 6 number of dimensions; 7 to 10 dimensions; 11 where pieces are cut, and where a part starts;
/// 12 to 15 settings of the language model.
#[derive(Clone, Copy)]
struct Choices([u8; 16]);

impl Choices {
    fn of(data: &[u8]) -> Option<(Self, &[u8])> {
        data.split_first_chunk().map(|(choices, rest)| (Self(*choices), rest))
    }

    fn has(self, bit: u8) -> bool {
        self.0[0] >> bit & 1 == 1
    }

    fn dtype(self) -> Dtype {
        Dtype::ALL[usize::from(self.0[1]) % Dtype::ALL.len()]
    }

    fn level(self, id: CodecId) -> i32 {
        let Some(range) = levels(id) else { return reference_level(id) };
        let level = range.start() + i32::from(self.0[4]) % (range.end() - range.start() + 1);
        // The encoder of higher levels takes hundreds of megabytes.
        if matches!(id, CodecId::Lzma | CodecId::SplitXz) { level.min(3) } else { level }
    }

    /// Lengths of the pieces of so many bytes.
    fn piece_lens(self, len: usize) -> Vec<usize> {
        let cut = len * usize::from(self.0[11]) / 256;
        match self.0[0] >> 3 & 3 {
            0 => vec![],
            1 => vec![len],
            2 => vec![cut, len - cut],
            _ => vec![cut / 2, cut - cut / 2, len - cut],
        }
    }

    fn shape(self, len: usize) -> Vec<u64> {
        let n_dims = usize::from(self.0[6]) % 5;
        let mut shape: Vec<u64> = self.0[7..7 + n_dims]
            .iter()
            .map(|&dim| match dim {
                255 => u64::MAX,
                254 => 1 << 32,
                dim => dim.into(),
            })
            .collect();
        if self.has(5)
            && let Some((first, others)) = shape.split_first_mut()
        {
            let row = others.iter().fold(1, |n: u64, &dim| n.saturating_mul(dim));
            *first = (len as u64 / self.dtype().size_bytes()).checked_div(row).unwrap_or(0);
        }
        shape
    }

    fn window(self) -> usize {
        WINDOWS[usize::from(self.0[13]) % WINDOWS.len()]
    }

    fn lm_settings(self) -> LmSettings {
        let [.., format, window, options, group] = self.0;
        LmSettings {
            format: LmFormat::all().nth(usize::from(format) % LmFormat::all().count()).expect("a format"),
            bytes_per_group: BytesPerGroup::ALL[usize::from(group) % BytesPerGroup::ALL.len()],
            window_tokens: WINDOWS[usize::from(window) % WINDOWS.len()],
            mask: Mask::ALL[usize::from(options & 3) % Mask::ALL.len()],
            lm_bits: [None, Some(4), Some(8), Some(12), Some(16), Some(24), Some(32), Some(64)]
                [usize::from(options >> 2 & 7)],
            mix: options >> 5 & 1 == 1,
            overlap_tokens: [0, 1, 20, 47][usize::from(options >> 6)],
        }
    }
}

fn check(codec: &dyn BlockCodec, id: CodecId, choices: Choices, max_bytes: usize, rest: &[u8]) {
    let raw_len = if choices.has(0) {
        rest.len().min(max_bytes)
    } else {
        usize::from(u16::from_le_bytes([choices.0[2], choices.0[3]])).min(max_bytes)
    };
    // An earlier version of the tensors: their bytes with some changed, or the payload's.
    let earlier: Vec<u8> = rest.iter().cycle().take(raw_len).zip(0..).map(|(&b, i)| b ^ u8::from(i % 9 == 0)).collect();
    let has_reference = choices.has(2) && earlier.len() == raw_len;
    let lens = choices.piece_lens(raw_len);
    let shapes: Vec<Vec<u64>> = lens.iter().map(|&len| choices.shape(len)).collect();
    let mut at = 0;
    let pieces: Vec<Piece> = lens
        .iter()
        .zip(&shapes)
        .map(|(&len, shape)| {
            let reference = has_reference.then(|| &earlier[at..at + len]);
            at += len;
            let start = if choices.has(6) { u64::from(choices.0[11]) * choices.dtype().size_bytes() } else { 0 };
            Piece { shape, start, len, reference }
        })
        .collect();
    let place = Place { dtype: choices.dtype(), pieces: &pieces };
    if choices.has(0) {
        round_trip(codec, id, BlockInput { bytes: &rest[..raw_len], place, is_token_ids: choices.has(1) });
        return;
    }
    let n_lanes = u16::from_le_bytes([choices.0[4], choices.0[5]]);
    match codec.decode(EncodedBlock { payload: rest, raw_len, n_lanes, place }, &NoProgress) {
        Ok(bytes) => assert_eq!(bytes.len(), raw_len),
        Err(error) => assert!(error.is_bad_input(), "{id}: {error}"),
    }
}

fn round_trip(codec: &dyn BlockCodec, id: CodecId, input: BlockInput<'_>) {
    let encoded = match codec.encode(input, &NoProgress) {
        Ok(encoded) => encoded,
        Err(Error::CodecRefuses { codec, .. }) if codec == id => return,
        Err(error) => panic!("{id}: {error}"),
    };
    let block = EncodedBlock {
        payload: &encoded.payload,
        raw_len: input.bytes.len(),
        n_lanes: encoded.n_lanes,
        place: input.place,
    };
    // Some leave what they gain nothing on to others.
    let decoded = if encoded.codec == id {
        codec.decode(block, &NoProgress)
    } else {
        baselines::codec(encoded.codec, reference_level(encoded.codec))
            .and_then(|other| other.decode(block, &NoProgress))
    };
    match decoded {
        Ok(bytes) => assert!(bytes == input.bytes, "{id}: other bytes come back"),
        Err(error) => panic!("{id}: what was encoded is refused: {error}"),
    }
}

/// A language model of few weights.
pub fn tiny_model() -> Arc<LanguageModel> {
    static MODEL: OnceLock<Arc<LanguageModel>> = OnceLock::new();
    let load = || {
        let tiny = TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() };
        let bytes = tiny.to_gguf();
        let file = lmgc_tensors::gguf::GgufFile::parse(&mut Cursor::new(&bytes)).expect("a model of the testkit");
        let model = Model::from_gguf_bytes(&bytes).expect("a model of the testkit");
        let tokenizer = Tokenizer::from_gguf(&file).expect("a model of the testkit");
        Arc::new(LanguageModel::new("tiny", model, tokenizer).expect("a model of the testkit"))
    };
    MODEL.get_or_init(load).clone()
}
