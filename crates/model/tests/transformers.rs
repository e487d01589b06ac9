//! Every family against transformers in f32, on the tiny models of `testdata/models`.

use std::fs;
use std::path::{Path, PathBuf};

use lmgc_model::{Engine, Fingerprint, Kernels, LoadOptions, Model, OutputLayer, Segment};
use serde_json::Value;

/// The largest difference in mean code length, as a part of transformers'.
const MAX_CODE_LENGTH_DIFFERENCE: f64 = 0.01;
/// The largest root mean square of logits' differences, in standard deviations of a row's logits. Int8 alone, in
/// linear layers and in attention, causes up to 0.15; the least that a missing feature causes, as `expected.json` records,
/// is 0.6.
const MAX_LOGITS_DIFFERENCE: f64 = 0.2;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models")
}

struct Expected {
    ids: Vec<u32>,
    /// Which rows' logits are known.
    rows: Vec<usize>,
    cases: Value,
}

impl Expected {
    fn read() -> Self {
        let folder = testdata().join("expected");
        let json: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let ids = fs::read(folder.join("ids.bin")).unwrap();
        let ids = ids.as_chunks().0.iter().map(|&id| u32::from(u16::from_le_bytes(id))).collect();
        let rows = json["logits_rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap() as usize).collect();
        Self { ids, rows, cases: json["cases"].clone() }
    }

    /// The known rows of a case, one after the other.
    fn logits(name: &str) -> Vec<f32> {
        let bytes = fs::read(testdata().join("expected").join(format!("{name}.bin"))).unwrap();
        bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
    }
}

fn load(name: &str) -> Model {
    Model::load(&testdata().join(name), &LoadOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// -log2 of the probability that softmax over the logits gives an id.
fn code_length_bits(logits: &[f32], id: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    (total.ln() - f64::from(logits[id as usize] - max)) / std::f64::consts::LN_2
}

fn compare(expected: &Expected, name: &str) {
    let model = load(name);
    let output = OutputLayer::full(&model);
    let case = &expected.cases[name];
    let n_symbols = output.n_symbols();
    assert_eq!(n_symbols as u64, case["vocab_size"].as_u64().unwrap(), "{name}");

    let ids = &expected.ids;
    let mut engine = Engine::new(&model, &output, Kernels::detect(), 1, ids.len());
    let logits = engine.forward(&[Segment { sequence: 0, tokens: ids }]).unwrap();
    let rows: Vec<&[f32]> = logits.chunks_exact(n_symbols).collect();

    let total: f64 = rows.iter().zip(&ids[1..]).map(|(row, &id)| code_length_bits(row, id)).sum();
    let bits = total / (ids.len() - 1) as f64;
    let expected_bits = case["mean_bits_per_token"].as_f64().unwrap();

    let expected_logits = Expected::logits(name);
    assert_eq!(expected_logits.len(), expected.rows.len() * n_symbols, "{name}");
    let found_logits = expected.rows.iter().flat_map(|&row| rows[row]);
    let differences: Vec<f64> =
        found_logits.zip(&expected_logits).map(|(&found, &expected)| f64::from(found) - f64::from(expected)).collect();
    let largest = differences.iter().fold(0.0, |largest: f64, difference| largest.max(difference.abs()));
    let root_mean_square = (differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64).sqrt();
    let deviation = case["logits_standard_deviation"].as_f64().unwrap();

    let code_length_difference = bits / expected_bits - 1.0;
    eprintln!(
        "{name}: {bits:.4} bits a token, {:+.3} % of transformers'; logits differ by {largest:.3} at most, {root_mean_square:.3} \
         root mean square, of a standard deviation of {deviation:.2}",
        100.0 * code_length_difference
    );
    assert!(code_length_difference.abs() <= MAX_CODE_LENGTH_DIFFERENCE, "{name}: {bits} bits, not {expected_bits}");
    assert!(root_mean_square <= MAX_LOGITS_DIFFERENCE * deviation, "{name}: logits differ by {root_mean_square}");
}

#[test]
fn code_lengths_and_logits() {
    let expected = Expected::read();
    let cases = expected.cases.as_object().unwrap();
    assert_eq!(cases.len(), 10);
    for name in cases.keys() {
        compare(&expected, name);
    }
}

#[test]
fn shards_and_element_types_do_not_change_a_model() {
    let fingerprint = |name| load(name).fingerprint(std::iter::empty::<&[u8]>());
    let llama: Fingerprint = fingerprint("llama");
    assert_eq!(fingerprint("llama-sharded"), llama);
    assert_eq!(fingerprint("llama-f16"), llama);
    assert_ne!(fingerprint("mistral"), llama);
}
