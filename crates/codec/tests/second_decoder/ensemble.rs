//! Codec ensemble.

use lmgc_codec::lm::LmSettings;
use lmgc_codec::{CodecId, CompressOptions, Level, Reference, inspect};
use lmgc_tensors::Dtype;
use lmgc_testkit::second_decoder::{Class, Outside, Reference as Other, decode};
use lmgc_testkit::{Random, TinyModel, odd_floats};

use crate::common::OneModel;
use crate::fast::{file_of, rounded, scaled_noise};
use crate::made::{Made, varint};
use crate::model::Parts;
use crate::side_writer::{made, ordinary, settings};
use crate::structural_made::{is_decoded, is_decoded_fitted, random_file};
use crate::{assert_same, options, tensors_of};

/// A tensor of numbers whose sign says whether the coordinate before is far from zero, which who reads their classes can see; one
/// in `zeros` is 0.
fn foreseen(seed: u64, shape: &[u64], zeros: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let n_columns = shape.iter().skip(1).product::<u64>() as usize;
    let n_rows = shape[0] as usize;
    // A vector's samples are read in 16 sequences.
    let (n, stride) = match (shape, n_rows <= n_columns) {
        ([_], _) => (n_rows, 16),
        (_, true) => (n_rows * n_columns, n_columns),
        (_, false) => (n_rows * n_columns, 1),
    };
    let mut values = vec![0.0f64; n];
    for i in 0..n {
        let magnitude =
            if random.next_u64().is_multiple_of(2) { 1.0 } else { 3.0 } + 0.1 * f64::from(random.next_normal());
        let before = i.checked_sub(stride).map_or(0.0, |before| values[before]);
        values[i] = if before.abs() > 2.0 { magnitude } else { -magnitude };
        if random.next_u64().is_multiple_of(zeros) {
            values[i] = 0.0;
        }
    }
    values
}

/// A model of few weights: what it says depends much on the last token.
fn tiny() -> OneModel {
    OneModel::tiny(&TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() })
}

/// The second decoder makes the same of a file, in which there are at least `n` blocks of codec ensemble.
fn assert_ensemble(tensors: &[(Dtype, &[u64], Vec<u8>)], window: usize, level: u8, earlier: Option<&[u8]>, n: usize) {
    let one = tiny();
    let parts = Parts::new(&one.0);
    let prior = parts.prior(window);
    let codec = one.codec(LmSettings { window_tokens: window, ..Default::default() });
    let reference = earlier.map(|earlier| Reference::new(std::io::Cursor::new(earlier.to_vec())).unwrap());
    let options = CompressOptions {
        lm: Some(&codec),
        level: Level::new(level).unwrap(),
        reference: reference.as_ref(),
        ..options(CodecId::Ensemble)
    };
    let tables = earlier.map(tensors_of).unwrap_or_default();
    let outside = Outside { model: Some(&prior), reference: earlier.map(|bytes| Other { bytes, tensors: &tables }) };
    let packed = assert_same(&file_of(tensors), &options, &outside);
    let blocks = inspect(std::io::Cursor::new(&packed)).unwrap().blocks;
    assert!(blocks.iter().filter(|block| block.codec == "ensemble").count() >= n, "{blocks:?}");
    if n > 0 {
        let without = Outside { model: None, ..outside };
        assert_eq!(decode(&packed, &without).unwrap_err().class, Class::Model);
    }
}

#[test]
fn types_shapes_and_windows() {
    let cases = [
        (Dtype::F64, &[500, 64][..], 100),
        (Dtype::F32, &[50, 40, 5, 3], 60),
        (Dtype::F16, &[30_007], 512),
        (Dtype::BF16, &[330, 99], 256),
    ];
    for (dtype, shape, window) in cases {
        let values = rounded(dtype, &foreseen(3, shape, 1 << 40));
        assert_ensemble(&[(dtype, shape, values.clone())], window, 5, None, 1);
        // One token in a window foresees nothing, but may count how often classes come.
        assert_ensemble(&[(dtype, shape, values)], 2, 5, None, 0);
    }
}

#[test]
fn zeros_escapes_and_several_pieces() {
    for dtype in [Dtype::F32, Dtype::BF16] {
        let mut sparse = foreseen(5, &[300, 70], 3);
        for (value, odd) in sparse.iter_mut().step_by(61).zip(odd_floats().into_iter().cycle()) {
            *value = f64::from(odd);
        }
        let tensors: [(Dtype, &[u64], Vec<u8>); 4] = [
            (dtype, &[300, 70], rounded(dtype, &sparse)),
            (dtype, &[60, 50], rounded(dtype, &scaled_noise(4, 60, 50, 1.0))),
            (dtype, &[100], rounded(dtype, &[0.5; 100])),
            (dtype, &[200, 61], rounded(dtype, &foreseen(6, &[200, 61], 20))),
        ];
        assert_ensemble(&tensors, 100, 3, None, 1);
    }
    // On a grid, so that the lowest-bit question is asked.
    let grid = foreseen(8, &[300, 90], 9).into_iter().map(|x| f64::from((x as f32 + 100.0) - 100.0));
    let grid: Vec<f64> = grid.collect();
    assert_ensemble(&[(Dtype::F32, &[300, 90], rounded(Dtype::F32, &grid))], 60, 5, None, 1);
}

#[test]
fn references() {
    let earlier = scaled_noise(1, 400, 80, 0.0);
    let change = foreseen(7, &[400, 80], 4);
    let values: Vec<f64> = earlier.iter().zip(&change).map(|(x, change)| x + change * 1e-4).collect();
    let file = file_of(&[(Dtype::F32, &[400, 80], rounded(Dtype::F32, &earlier))]);
    assert_ensemble(&[(Dtype::F32, &[400, 80], rounded(Dtype::F32, &values))], 100, 5, Some(&file), 1);
}

#[test]
fn several_lanes() {
    let values = foreseen(9, &[2060, 128], 50);
    assert_ensemble(&[(Dtype::BF16, &[2060, 128], rounded(Dtype::BF16, &values))], 64, 3, None, 1);
}

/// Changes a file so that its block is of codec ensemble, with a window that the header says.
fn advise(made: &mut Made, one: &OneModel, earlier: Option<&[u8]>, window: &str) {
    made.blocks[0].codec = CodecId::Ensemble as u8;
    let hash = earlier.map(|earlier| blake3::hash(earlier).to_hex());
    let reference = hash.iter().map(|hash| ("reference", hash.as_str()));
    let all = [("codec", "ensemble")].into_iter().chain(reference).chain([("window", window)]);
    made.settings = settings(&all.collect::<Vec<_>>());
    let record = one.0.record();
    made.model = [&[1, 0][..], &record.fingerprint].concat();
    for number in [record.numerics_revision, record.vocab_size, record.start_token] {
        made.model.extend(varint(number.into()));
    }
}

/// Payloads that no writer writes.
#[test]
fn side_information_of_all_kinds() {
    let one = tiny();
    let parts = Parts::new(&one.0);
    let prior = parts.prior(30);
    let mut n_decoded = 0;
    for i in 0..100 {
        let (mut made, earlier) = random_file(i);
        advise(&mut made, &one, earlier.as_deref(), ["30", "2", "7"][i % 3]);
        n_decoded += usize::from(is_decoded_fitted(made, earlier.as_deref(), Some((&one, &prior))));
    }
    assert!(n_decoded > 20, "{n_decoded}");
}

#[test]
fn windows_that_are_wrong() {
    let one = tiny();
    let parts = Parts::new(&one.0);
    let prior = parts.prior(30);
    for (window, is_right) in [("30", true), ("2", true), ("1", false), ("0", false), ("", false), ("x", false)] {
        let mut made =
            made(Dtype::F16, [10, 40], &ordinary(Dtype::F16, 10).to_bytes(), &[[Vec::new(), Vec::new()]], None);
        advise(&mut made, &one, None, window);
        assert_eq!(is_decoded(made, None, Some((&one, &prior))), is_right, "{window}");
    }
}
