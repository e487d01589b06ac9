//! Any bytes in, the same bytes out, by every codec.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{OneModel, lm_options, pack, takes_any_bytes, unpack};
use lmgc_codec::lm::{LanguageModel, LmFormat, LmSettings, Mask};
use lmgc_codec::{
    BlockCodec as _, BlockInput, CodecId, CodecName, CompressOptions, EncodedBlock, Error, Level, ModelRecord,
    ModelSource, NoModels, NoProgress, Piece, Place, baselines,
};
use lmgc_model::Engine;
use lmgc_serialize::{BytesPerGroup, Format};
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{Random, TinyModel, gradient_like, odd_floats};
use proptest::prelude::*;

fn plain_codecs() -> impl Iterator<Item = CodecName> {
    CodecName::all().filter(|&codec| !codec.needs_model() && takes_any_bytes(codec))
}

/// Inputs that codecs get wrong.
fn awkward_inputs() -> Vec<Vec<u8>> {
    let floats: Vec<u8> = odd_floats().iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut inputs = vec![vec![], vec![0], vec![0xff], vec![1, 2, 3], (0..=255).collect(), floats];
    inputs.push(vec![0; 5000]);
    inputs.push(Random::new(3).bytes(3001));
    inputs.extend([511, 512, 513, 1023, 1025].map(|n| gradient_like(n as u64, n)));
    inputs.push(b"<|im_start|>3f80 <|endoftext|>".repeat(30));
    inputs
}

fn a_safetensors_file() -> Vec<u8> {
    let (a, b) = (gradient_like(1, 4 * 300), gradient_like(2, 4 * 7));
    let half: Vec<u8> = Random::new(5).bytes(2 * 11);
    let tensors = [
        ("conv.weight".to_owned(), Dtype::F32, vec![10, 30], a.as_slice()),
        ("conv.bias".to_owned(), Dtype::F32, vec![7], b.as_slice()),
        ("half".to_owned(), Dtype::F16, vec![11], half.as_slice()),
        ("empty".to_owned(), Dtype::F32, vec![0, 4], &[]),
        ("scalar".to_owned(), Dtype::F64, vec![], &[1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    safetensors::write(&path, &tensors, &BTreeMap::from([("step".to_owned(), "7".to_owned())])).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn plain_codecs_on_awkward_inputs() {
    for codec in plain_codecs() {
        for level in [1, 5, 9] {
            let options = CompressOptions { codec, level: Level::new(level).unwrap(), ..Default::default() };
            for original in awkward_inputs().iter().chain([&a_safetensors_file()]) {
                let (packed, _) = pack(original, &options);
                assert!(unpack(&packed, &NoModels).unwrap() == *original, "{codec} -{level}, {} bytes", original.len());
            }
        }
    }
}

/// One block by a baseline and back, at its lowest, reference and highest level; `Err` holds the reason of a refusal.
fn block_round_trip(id: CodecId, bytes: &[u8], place: Place<'_>) -> Result<(), String> {
    let reference = baselines::reference_level(id);
    let levels = baselines::levels(id).map_or(vec![reference], |range| vec![*range.start(), reference, *range.end()]);
    for level in levels {
        let codec = baselines::codec(id, level).unwrap();
        let encoded = match codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress) {
            Err(Error::CodecRefuses { codec, reason }) if codec == id => return Err(reason),
            other => other.unwrap(),
        };
        assert_eq!(encoded.codec, id);
        let block = EncodedBlock { payload: &encoded.payload, raw_len: bytes.len(), n_lanes: encoded.n_lanes, place };
        let decoded = codec.decode(block, &NoProgress).unwrap();
        assert!(decoded == bytes, "{id} {level}, {} bytes of {}", bytes.len(), place.dtype);
    }
    Ok(())
}

fn baseline_ids() -> impl Iterator<Item = CodecId> {
    // The structural and the fast codec store what they cannot shorten under another name: see `structural.rs` and `fast.rs`.
    CodecId::ALL
        .into_iter()
        .filter(|id| ![CodecId::Structural, CodecId::Fast].contains(id) && !id.needs_model() && id.is_built())
        .filter(|&id| takes_any_bytes(CodecName::One(id)))
}

#[test]
fn baselines_on_blocks_of_every_type() {
    for id in baseline_ids() {
        for dtype in Dtype::ALL {
            let element_bytes = dtype.size_bytes() as usize;
            for shape in [vec![], vec![1], vec![35], vec![5, 7], vec![2, 3, 3, 3]] {
                let n_bytes = shape.iter().product::<u64>() as usize * element_bytes;
                let pieces = [Piece { shape: &shape, start: 0, len: n_bytes, reference: None }];
                for bytes in [gradient_like(12, n_bytes), Random::new(13).bytes(n_bytes), vec![0; n_bytes]] {
                    block_round_trip(id, &bytes, Place { dtype, pieces: &pieces }).unwrap();
                }
            }
        }
    }
}

#[test]
fn baselines_on_blocks_of_any_length() {
    for id in baseline_ids() {
        let takes_nothing = matches!(id, CodecId::Png | CodecId::Flac);
        assert_eq!(block_round_trip(id, &[], Place::UNKNOWN).is_err(), takes_nothing, "{id}");
        for n in (1..70).chain([4095, 4096, 4097, 8209]) {
            block_round_trip(id, &gradient_like(n as u64, n), Place::UNKNOWN).unwrap();
        }
        block_round_trip(id, &vec![0; 1 << 20], Place::UNKNOWN).unwrap();
        block_round_trip(id, &Random::new(14).bytes(100_003), Place::UNKNOWN).unwrap();
    }
}

#[test]
fn language_model_on_awkward_inputs() {
    let models = OneModel::tiny(&TinyModel::default());
    for format in Format::ALL {
        for mask in Mask::ALL {
            let codec =
                models.codec(LmSettings { format: format.into(), mask, window_tokens: 300, ..Default::default() });
            for original in awkward_inputs().iter().chain([&a_safetensors_file()]) {
                let (packed, report) = pack(original, &lm_options(&codec));
                assert_eq!(report.n_tokens == 0, original.is_empty());
                let restored = unpack(&packed, &models).unwrap();
                assert!(restored == *original, "{format} {mask}, {} bytes", original.len());
            }
        }
    }
}

#[test]
fn the_grammar_saves_bits_where_there_are_separators() {
    let models = OneModel::tiny(&TinyModel::default());
    let original = gradient_like(8, 6000);
    for format in [Format::HexSpace, Format::HexComma, Format::HexCommaSpace, Format::HexSemicolon, Format::Hex0x] {
        let [alphabet, grammar] = [Mask::Alphabet, Mask::Grammar].map(|mask| {
            let settings = LmSettings { format: format.into(), mask, window_tokens: 200, ..Default::default() };
            let input = BlockInput { bytes: &original, place: Place::UNKNOWN, is_token_ids: false };
            models.codec(settings).encode(input, &NoProgress).unwrap().payload.len()
        });
        assert!(grammar < alphabet, "{format}: {grammar} {alphabet}");
    }
}

/// One of each kind that goes beyond the paper's.
fn settings_beyond_text() -> Vec<LmSettings> {
    let of = |format| LmSettings { format, window_tokens: 256, ..Default::default() };
    vec![
        of(LmFormat::Nibbles),
        LmSettings { lm_bits: Some(12), overlap_tokens: 30, ..of(LmFormat::Nibbles) },
        LmSettings { lm_bits: Some(16), ..of(LmFormat::Bytes) },
        LmSettings { mix: true, ..of(LmFormat::Bytes) },
        LmSettings { mix: true, lm_bits: Some(12), ..of(LmFormat::Nibbles) },
        of(LmFormat::Exponents),
        LmSettings { mix: true, overlap_tokens: 60, ..of(LmFormat::Exponents) },
        LmSettings { lm_bits: Some(16), mask: Mask::Grammar, overlap_tokens: 100, ..of(Format::HexSpace.into()) },
        LmSettings { lm_bits: Some(8), ..of(Format::Iso.into()) },
    ]
}

#[test]
fn beyond_text_on_awkward_inputs() {
    let models = OneModel::tiny(&TinyModel::default());
    for settings in settings_beyond_text() {
        let codec = models.codec(settings);
        for original in awkward_inputs().iter().chain([&a_safetensors_file()]) {
            let (packed, _) = pack(original, &lm_options(&codec));
            assert!(unpack(&packed, &models).unwrap() == *original, "{settings:?}, {} bytes", original.len());
        }
    }
}

#[test]
fn beyond_text_on_all_types() {
    let models = OneModel::tiny(&TinyModel { n_layers: 1, ..Default::default() });
    for settings in settings_beyond_text() {
        let codec = models.codec(settings);
        for dtype in Dtype::ALL {
            for (seed, shape) in [&[30, 5][..], &[4, 3, 3, 3], &[131], &[1], &[]].into_iter().enumerate() {
                let len = shape.iter().product::<u64>() as usize * dtype.size_bytes() as usize;
                // Some bytes too many: a block need not hold whole elements.
                let bytes = gradient_like(seed as u64, len + seed);
                let pieces = [Piece { shape, start: 0, len: bytes.len(), reference: None }];
                let place = Place { dtype, pieces: &pieces };
                let input = BlockInput { bytes: &bytes, place, is_token_ids: false };
                let lmgc_codec::Encoded { codec: id, payload, n_lanes, .. } = codec.encode(input, &NoProgress).unwrap();
                if id == CodecId::Raw {
                    assert_eq!(payload, bytes, "more exponents than the model has tokens");
                    continue;
                }
                let block = EncodedBlock { payload: &payload, raw_len: bytes.len(), n_lanes, place };
                assert!(codec.decode(block, &NoProgress).unwrap() == bytes, "{settings:?} {dtype} {shape:?}");
            }
        }
    }
}

#[test]
fn a_mixture_is_no_worse_than_the_model_and_learns_what_it_does_not_know() {
    let models = OneModel::tiny(&TinyModel::default());
    let original = gradient_like(21, 40_000);
    for format in LmFormat::SYMBOLS {
        let [alone, mixed] = [false, true].map(|mix| {
            let settings = LmSettings { format, mix, window_tokens: 512, ..Default::default() };
            let place = Place { dtype: Dtype::F32, pieces: &[] };
            let input = BlockInput { bytes: &original, place, is_token_ids: false };
            models.codec(settings).encode(input, &NoProgress).unwrap().payload.len()
        });
        assert!(mixed < alone, "{format}: {mixed} {alone}");
    }
}

#[test]
fn group_sizes_and_windows() {
    let models = OneModel::tiny(&TinyModel::default());
    let original = gradient_like(8, 1500);
    for bytes_per_group in BytesPerGroup::ALL {
        for window_tokens in [2, 3, 17, 256, 2048] {
            let settings = LmSettings { bytes_per_group, window_tokens, ..Default::default() };
            let (packed, _) = pack(&original, &lm_options(&models.codec(settings)));
            assert!(unpack(&packed, &models).unwrap() == original, "{bytes_per_group:?}, window {window_tokens}");
        }
    }
}

#[test]
fn several_blocks_and_many_lanes() {
    // Beyond one language-model block of 256 KiB, with short windows so that all lanes are used.
    let models = OneModel::tiny(&TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() });
    let original = gradient_like(9, (256 << 10) + 999);
    let codec = models.codec(LmSettings { window_tokens: 64, ..Default::default() });
    let (packed, report) = pack(&original, &lm_options(&codec));
    assert_eq!(report.n_blocks, 2);
    assert!(unpack(&packed, &models).unwrap() == original);
    let lanes: Vec<u16> =
        lmgc_codec::inspect(std::io::Cursor::new(&packed)).unwrap().blocks.iter().map(|b| b.n_lanes).collect();
    assert_eq!(lanes.first(), Some(&32));
}

#[test]
fn memory_changes_no_byte() {
    /// Memory for some windows alone.
    struct Frugal<'a>(&'a OneModel, u64);
    impl ModelSource for Frugal<'_> {
        fn model(&self, record: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
            self.0.model(record)
        }

        fn memory_bytes(&self) -> u64 {
            self.1
        }
    }

    let models = OneModel::tiny(&TinyModel::default());
    // Some eight lanes of several windows each.
    let original = gradient_like(11, 6000);
    let text = LmSettings { window_tokens: 256, ..Default::default() };
    let mixed = LmSettings { format: LmFormat::Bytes, mix: true, overlap_tokens: 50, ..text };
    for settings in [text, LmSettings { overlap_tokens: 100, ..text }, mixed] {
        let codec = models.codec(settings);
        let (packed, _) = pack(&original, &lm_options(&codec));
        let window_bytes = Engine::sequence_bytes(models.0.model(), 255) as u64;
        for memory_bytes in [0, window_bytes, 3 * window_bytes, u64::MAX] {
            let codec = models.codec(settings).with_memory(memory_bytes);
            assert!(pack(&original, &lm_options(&codec)).0 == packed, "{memory_bytes} bytes");
            assert!(unpack(&packed, &Frugal(&models, memory_bytes)).unwrap() == original, "{memory_bytes} bytes");
        }
    }
}

#[test]
fn threads_and_instruction_sets_give_the_same_file_and_read_each_others() {
    let tiny = TinyModel::default();
    let text = LmSettings { window_tokens: 256, ..Default::default() };
    let mixed = LmSettings { mix: true, overlap_tokens: 20, ..text };
    for settings in [
        text,
        LmSettings { mask: Mask::Grammar, lm_bits: Some(16), ..text },
        LmSettings { format: LmFormat::Nibbles, ..mixed },
        LmSettings { format: LmFormat::Exponents, ..mixed },
    ] {
        // Two lanes of text; the scalar path is slow.
        let (original, threads) = if settings == text {
            (gradient_like(10, 2000), &[1, 2, 3, 8][..])
        } else {
            (gradient_like(10, 700), &[1, 3][..])
        };
        let mut files = Vec::new();
        for isa in lmgc_model::Kernels::available() {
            for &n_threads in threads {
                let models = OneModel(OneModel::tiny(&tiny).0, isa);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                let packed = pool.install(|| pack(&original, &lm_options(&models.codec(settings))).0);
                files.push((models, pool, packed));
            }
        }
        for (_, _, packed) in &files {
            assert!(*packed == files[0].2, "the same file");
        }
        for (models, pool, _) in &files {
            assert!(pool.install(|| unpack(&files[0].2, models)).unwrap() == original, "{}", models.1.isa());
        }
    }
}

#[test]
fn token_data_sets_go_through_the_model_as_they_are() {
    let models = OneModel::tiny(&TinyModel::default());
    let ids: Vec<u8> = (0..2000u32).flat_map(|i| (3 + i * 7 % 250).to_le_bytes()).collect();
    let side = [1u8, 2, 3, 4, 5];
    let tensors = [
        ("ids".to_owned(), Dtype::U32, vec![2000], ids.as_slice()),
        ("side".to_owned(), Dtype::U8, vec![5], side.as_slice()),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tokens");
    safetensors::write(&path, &tensors, &BTreeMap::from([("lmgc.tokens".to_owned(), "1".to_owned())])).unwrap();
    let original = std::fs::read(path).unwrap();
    for settings in settings_beyond_text().into_iter().chain([LmSettings { window_tokens: 256, ..Default::default() }])
    {
        let codec = models.codec(settings);
        let (packed, report) = pack(&original, &lm_options(&codec));
        assert_eq!(report.n_tokens, 2000, "one token a token, and none for the rest");
        assert!(unpack(&packed, &models).unwrap() == original);
    }
}

/// Found by fuzzing: such a file was refused.
#[test]
fn token_data_sets_with_ids_that_the_model_lacks_are_bytes() {
    let models = OneModel::tiny(&TinyModel::default());
    for ids in [vec![1, u32::MAX, 2], vec![4_219_640_830; 300]] {
        let ids: Vec<u8> = ids.into_iter().flat_map(u32::to_le_bytes).collect();
        let tensors = [("ids".to_owned(), Dtype::U32, vec![ids.len() as u64 / 4], ids.as_slice())];
        let mut original = Vec::new();
        let metadata = BTreeMap::from([("lmgc.tokens".to_owned(), "1".to_owned())]);
        safetensors::write_to(&mut original, &tensors, &metadata).unwrap();
        let text = LmSettings { window_tokens: 256, ..Default::default() };
        for settings in settings_beyond_text().into_iter().chain([text]) {
            let codec = models.codec(settings);
            let (packed, _) = pack(&original, &lm_options(&codec));
            assert!(unpack(&packed, &models).unwrap() == original);
        }
    }
}

#[test]
fn single_tensors_are_restored() {
    let original = a_safetensors_file();
    let layout = lmgc_tensors::find_spans(&mut std::io::Cursor::new(&original)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("x.lmgc");
    std::fs::write(&input, pack(&original, &CompressOptions::default()).0).unwrap();
    let output = directory.path().join("out");
    let files = lmgc_codec::files::FileOptions { force: true, models: &NoModels, progress: &lmgc_codec::NoProgress };
    let place = lmgc_codec::files::Place::new;
    for span in &layout.spans {
        lmgc_codec::files::decompress_tensor(&place(&input), &span.name, &place(&output), &files).unwrap();
        let expected = &original[span.offset as usize..][..span.len as usize];
        assert_eq!(std::fs::read(&output).unwrap(), expected, "{}", span.name);
    }
    let missing = lmgc_codec::files::decompress_tensor(&place(&input), "nothing", &place(&output), &files);
    assert!(missing.unwrap_err().to_string().contains("nothing"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_bytes(original in proptest::collection::vec(any::<u8>(), 0..3000)) {
        for codec in plain_codecs() {
            let (packed, _) = pack(&original, &CompressOptions { codec, ..Default::default() });
            prop_assert_eq!(&unpack(&packed, &NoModels).unwrap(), &original);
        }
    }

    #[test]
    fn any_floats(bits in proptest::collection::vec(any::<u32>(), 0..600)) {
        let original: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
        for codec in plain_codecs() {
            let (packed, _) = pack(&original, &CompressOptions { codec, ..Default::default() });
            prop_assert_eq!(&unpack(&packed, &NoModels).unwrap(), &original);
        }
    }
}
