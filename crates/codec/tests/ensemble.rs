//! The structural prior with a language model.

mod common;

use std::collections::BTreeMap;

use common::{OneModel, pack, unpack};
use lmgc_codec::lm::{LmCodec, LmSettings};
use lmgc_codec::{
    BlockCodec, BlockInput, CodecId, CodecName, CompressOptions, EncodedBlock, Ensemble, Error, Level, NoProgress,
    Piece, Place,
};
use lmgc_model::Kernels;
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{Random, TinyModel, gradient_like};

/// Numbers whose sign says whether the number before it in its row is far from zero: no correlation shows that, but who reads
/// the classes can see it.
fn numbers_that_a_reader_foresees(seed: u64, n_rows: usize, n_columns: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut values = Vec::new();
    for _ in 0..n_rows {
        let mut before = 0.0f32;
        for _ in 0..n_columns {
            let magnitude = if random.next_u64().is_multiple_of(2) { 1.0 } else { 3.0 } + 0.1 * random.next_normal();
            before = if before.abs() > 2.0 { magnitude } else { -magnitude };
            values.push(before);
        }
    }
    values
}

/// Of few weights: what it says depends much on the last token.
fn tiny() -> TinyModel {
    TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() }
}

fn a_file(seed: u64) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let foreseen = bytes(&numbers_that_a_reader_foresees(seed, 700, 64));
    let noise = gradient_like(seed, 4000);
    let (mut sparse, ids) = (numbers_that_a_reader_foresees(seed + 1, 77, 19), [7u8; 300]);
    sparse.iter_mut().step_by(3).for_each(|value| *value = 0.0);
    let sparse = bytes(&sparse);
    let tensors = [
        ("a".to_owned(), Dtype::F32, vec![700, 64], &foreseen[..]),
        ("b".to_owned(), Dtype::F32, vec![10, 100], &noise[..]),
        ("c".to_owned(), Dtype::F32, vec![77, 19], &sparse[..]),
        ("d".to_owned(), Dtype::U8, vec![300], &ids[..]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    safetensors::write(&path, &tensors, &BTreeMap::new()).unwrap();
    std::fs::read(path).unwrap()
}

fn settings() -> LmSettings {
    LmSettings { window_tokens: 100, ..Default::default() }
}

fn options(lm: &LmCodec) -> CompressOptions<'_> {
    CompressOptions { codec: CodecName::One(CodecId::Ensemble), lm: Some(lm), ..Default::default() }
}

fn codecs(packed: &[u8]) -> Vec<String> {
    let report = lmgc_codec::inspect(std::io::Cursor::new(packed)).unwrap();
    report.blocks.iter().map(|block| block.codec.to_string()).collect()
}

#[test]
fn a_model_that_foresees_something_makes_files_smaller() {
    let models = OneModel::tiny(&tiny());
    let original = a_file(1);
    let (packed, report) = pack(&original, &options(&models.codec(settings())));
    let alone = CompressOptions { codec: CodecName::One(CodecId::Structural), ..Default::default() };
    let (structural, _) = pack(&original, &alone);
    assert!(packed.len() < structural.len(), "{} {}", packed.len(), structural.len());
    assert!(codecs(&packed).contains(&"ensemble".to_owned()) && report.n_tokens > 10_000);
    assert!(unpack(&packed, &models).unwrap() == original);
}

#[test]
fn a_model_that_foresees_nothing_leaves_the_file_to_codec_structural() {
    let models = OneModel::tiny(&tiny());
    for original in [gradient_like(3, 20_000), Vec::new(), vec![1, 2, 3]] {
        let (packed, report) = pack(&original, &options(&models.codec(settings())));
        let alone = CompressOptions { codec: CodecName::One(CodecId::Structural), ..Default::default() };
        assert!(packed == pack(&original, &alone).0);
        assert!(report.note.unwrap().contains("structural"));
        assert!(unpack(&packed, &lmgc_codec::NoModels).unwrap() == original, "and needs no model");
    }
}

#[test]
fn threads_instruction_sets_and_memory_change_no_byte() {
    let original = a_file(2);
    let mut first = None;
    for isa in Kernels::available() {
        for n_threads in [1, 3] {
            let models = OneModel(OneModel::tiny(&tiny()).0, isa);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let lm = models.codec(settings()).with_memory(n_threads as u64);
            let (packed, _) = pool.install(|| pack(&original, &options(&lm)));
            let first = first.get_or_insert_with(|| packed.clone());
            assert!(packed == *first, "{} with {n_threads} threads", isa.isa());
            assert!(pool.install(|| unpack(&packed, &models)).unwrap() == original);
        }
    }
}

#[test]
fn several_lanes_and_blocks() {
    let models = OneModel::tiny(&tiny());
    let lm = models.codec(LmSettings { window_tokens: 1500, ..Default::default() });
    let ensemble = Ensemble::new(Level::default(), &lm).unwrap();
    // BF16: the upper halves.
    let values = numbers_that_a_reader_foresees(5, 2200, 130);
    let bytes: Vec<u8> = values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect();
    let pieces = [Piece { shape: &[2200, 130], start: 0, len: bytes.len(), reference: None }];
    let place = Place { dtype: Dtype::BF16, pieces: &pieces };
    let coded = ensemble.encode(BlockInput { bytes: &bytes, place, is_token_ids: false }, &NoProgress).unwrap();
    assert_eq!((coded.codec, coded.n_lanes), (CodecId::Ensemble, 2));
    let block = EncodedBlock { payload: &coded.payload, raw_len: bytes.len(), n_lanes: 2, place };
    assert!(ensemble.decode(block, &NoProgress).unwrap() == bytes);
}

#[test]
fn the_ensemble_writes_what_it_wrote() {
    let models = OneModel::tiny(&tiny());
    let (packed, _) = pack(&a_file(1), &options(&models.codec(settings())));
    assert_eq!(&blake3::hash(&packed).to_hex()[..16], "a7c00caac063d7d6");
}

#[test]
fn damage_is_found_and_models_are_asked_for() {
    let models = OneModel::tiny(&tiny());
    let lm = models.codec(settings());
    let original = a_file(1);
    let (packed, _) = pack(&original, &options(&lm));
    for len in (0..packed.len()).step_by(997) {
        assert!(unpack(&packed[..len], &models).unwrap_err().is_bad_input(), "{len} bytes");
    }
    assert!(matches!(unpack(&packed, &lmgc_codec::NoModels), Err(Error::ModelRequired)));
    // Payloads that no encoder wrote.
    let ensemble = Ensemble::new(Level::default(), &lm).unwrap();
    let values = numbers_that_a_reader_foresees(1, 700, 64);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let pieces = [Piece { shape: &[700, 64], start: 0, len: bytes.len(), reference: None }];
    let place = Place { dtype: Dtype::F32, pieces: &pieces };
    let coded = ensemble.encode(BlockInput { bytes: &bytes, place, is_token_ids: false }, &NoProgress).unwrap();
    assert_eq!(coded.codec, CodecId::Ensemble);
    let decode = |payload: &[u8]| {
        let block = EncodedBlock { payload, raw_len: bytes.len(), n_lanes: coded.n_lanes, place };
        match ensemble.decode(block, &NoProgress) {
            Ok(decoded) => assert_eq!(decoded.len(), bytes.len()),
            Err(error) => assert!(error.is_bad_input(), "{error}"),
        }
    };
    for at in (0..coded.payload.len()).step_by(coded.payload.len() / 12) {
        decode(&coded.payload[..at]);
        let mut damaged = coded.payload.clone();
        damaged[at] ^= 0x10;
        decode(&damaged);
    }
}
