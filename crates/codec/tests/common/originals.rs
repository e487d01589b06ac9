//! Files for tests to compress: those under `testdata`, and some made by formula.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{Random, gradient_like, odd_floats};
use lmgc_tokens::Tokenizer;
use lmgc_tokens::dataset::{Options, Source, TokenDataset};

type Tensor = (&'static str, Dtype, Vec<u64>, Vec<u8>);

/// A path below `testdata`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../testdata", path].iter().collect()
}

fn file(tensors: &[Tensor]) -> Vec<u8> {
    let entries: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| ((*name).to_owned(), *dtype, shape.clone(), &**bytes))
        .collect();
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &entries, &BTreeMap::new()).unwrap();
    file
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The upper halves.
fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect()
}

/// Normal numbers as f16: the exponent's bias is another, and the mantissa shorter.
fn f16_bytes(values: &[f32]) -> Vec<u8> {
    let half = |value: &f32| {
        let bits = value.to_bits();
        let exponent = (bits >> 23 & 0xff).saturating_sub(112).min(30);
        (bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff) as u16
    };
    values.iter().flat_map(|value| half(value).to_le_bytes()).collect()
}

fn f64_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| (f64::from(value) * 1.000_000_1).to_le_bytes()).collect()
}

fn normal(seed: u64, n: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| random.next_normal()).collect()
}

/// A sum of outer products of vectors, and some noise: what the gradient of a layer looks like.
fn low_rank(seed: u64, n_rows: usize, n_columns: usize, rank: usize, noise: f32) -> Vec<f32> {
    let left = normal(seed, n_rows * rank);
    let right = normal(seed + 1, n_columns * rank);
    let rest = normal(seed + 2, n_rows * n_columns);
    let entry = |row: usize, column: usize| -> f32 {
        (0..rank).map(|factor| left[row * rank + factor] * right[column * rank + factor]).sum()
    };
    (0..n_rows * n_columns).map(|at| 1e-3 * (entry(at / n_columns, at % n_columns) + noise * rest[at])).collect()
}

/// Numbers whose sign says whether the number before is 1 or 3: a language model foresees that, scales and correlations do not.
fn foreseen(seed: u64, n_rows: usize, n_columns: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut before = 0.0f32;
    let mut next = |column: usize| {
        let magnitude = if random.next_u64().is_multiple_of(2) { 1.0 } else { 3.0 };
        let is_after_three = column > 0 && before.abs() > 2.0;
        before = if is_after_three { magnitude } else { -magnitude };
        before
    };
    (0..n_rows * n_columns).map(|at| next(at % n_columns)).collect()
}

/// Rows and columns of very different scales.
fn scaled(seed: u64, n_rows: usize, n_columns: usize) -> Vec<f32> {
    let scale = |at: usize| [1.0, 8.0, 0.01, 100.0, 0.5][at % 5];
    let values = normal(seed, n_rows * n_columns);
    values.iter().zip(0..).map(|(value, at)| value * scale(at / n_columns) * scale(at % n_columns * 3)).collect()
}

/// Multiples of a step.
fn levels(seed: u64, n: usize) -> Vec<f32> {
    normal(seed, n).iter().map(|value| (value * 4.0).round() * 0.037).collect()
}

fn floats() -> Vec<u8> {
    file(&[
        ("f64", Dtype::F64, vec![16, 5], f64_bytes(&low_rank(1, 16, 5, 1, 0.1))),
        ("f32", Dtype::F32, vec![16, 12], f32_bytes(&low_rank(2, 16, 12, 1, 0.1))),
        ("f16", Dtype::F16, vec![4, 3, 3, 3], f16_bytes(&normal(3, 108))),
        ("bf16", Dtype::BF16, vec![110], bf16_bytes(&normal(4, 110))),
        ("none", Dtype::F32, vec![0, 12], Vec::new()),
        ("odd", Dtype::F32, vec![odd_floats().len() as u64], f32_bytes(&odd_floats())),
    ])
}

fn integers() -> Vec<u8> {
    let wide = |n: usize, step: u64| -> Vec<u64> { (0..n as u64).map(|i| (i * i * step) ^ (i % 3)).collect() };
    let bytes = |values: &[u64], width: usize| -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect()
    };
    let all = |name, dtype, width, step| -> Tensor { (name, dtype, vec![6, 4], bytes(&wide(24, step), width)) };
    file(&[
        all("i64", Dtype::I64, 8, 1 << 33),
        all("u64", Dtype::U64, 8, 77),
        all("i32", Dtype::I32, 4, 1 << 18),
        all("u32", Dtype::U32, 4, 5),
        all("i16", Dtype::I16, 2, 99),
        all("u16", Dtype::U16, 2, 1),
        all("i8", Dtype::I8, 1, 1),
        all("u8", Dtype::U8, 1, 3),
        all("f8_e4m3", Dtype::F8E4M3, 1, 7),
        all("f8_e5m2", Dtype::F8E5M2, 1, 5),
        ("bool", Dtype::Bool, vec![24], wide(24, 1).iter().map(|value| (value % 2) as u8).collect()),
        ("c64", Dtype::C64, vec![12], f32_bytes(&normal(5, 24))),
        ("none", Dtype::I32, vec![3, 0], Vec::new()),
    ])
}

/// What quantisation leaves, zeros, constants, and values cut short.
fn shaped() -> Vec<u8> {
    let short: Vec<f32> = normal(12, 200).iter().map(|value| f32::from_bits(value.to_bits() & 0xffff_8000)).collect();
    let mut sparse = normal(13, 200);
    sparse.iter_mut().enumerate().filter(|(at, _)| at % 4 != 0).for_each(|(_, value)| *value = 0.0);
    file(&[
        ("constant", Dtype::F32, vec![10, 20], f32_bytes(&[1.5; 200])),
        ("levels", Dtype::F32, vec![10, 20], f32_bytes(&levels(11, 200))),
        ("short", Dtype::F32, vec![20, 10], f32_bytes(&short)),
        ("sparse", Dtype::F32, vec![200], f32_bytes(&sparse)),
        ("zeros", Dtype::F64, vec![5, 5], vec![0; 200]),
    ])
}

/// A token data set of one tensor, with the tokens of `tokenizer`.
fn tokens(tokenizer: &Tokenizer) -> Vec<u8> {
    let source = Source { name: "x.bin".to_owned(), bytes: gradient_like(6, 200), tensors: Vec::new() };
    let serializer = Serializer::new(Format::HexSpace, BytesPerGroup::default());
    let options = Options { model: "tiny".to_owned(), ..Options::default() };
    TokenDataset::build(vec![source], tokenizer, &serializer, &options).unwrap().to_safetensors_bytes().unwrap()
}

/// An original: a file below `testdata`, or one that is made by formula under this name.
pub(crate) fn original(name: &str, tokenizer: &Tokenizer) -> Vec<u8> {
    std::fs::read(testdata(name)).ok().or_else(|| made(name, tokenizer)).unwrap_or_else(|| panic!("no original {name}"))
}

/// An original that is made by formula. Those of golden files are committed once they have been made, so that changes here have no effect
/// on them.
pub(crate) fn made(name: &str, tokenizer: &Tokenizer) -> Option<Vec<u8>> {
    let one = |shape: &[u64], bytes: Vec<u8>| file(&[("x", Dtype::F32, shape.to_vec(), bytes)]);
    Some(match name.rsplit('/').next()? {
        "empty.bin" => Vec::new(),
        "text.txt" => "Lossless: the same bytes come out. ".repeat(9).into_bytes(),
        "lanes.bin" => gradient_like(7, 1800),
        "few.safetensors" => one(&[8, 5], f32_bytes(&normal(8, 40))),
        "gradient.safetensors" => one(&[25, 3], gradient_like(9, 300)),
        "factors.safetensors" => one(&[32, 24], f32_bytes(&low_rank(10, 32, 24, 1, 0.001))),
        "scaled.safetensors" => one(&[32, 33], f32_bytes(&scaled(14, 32, 33))),
        "floats.safetensors" => floats(),
        "integers.safetensors" => integers(),
        "shaped.safetensors" => shaped(),
        "step1.safetensors" => one(&[16, 12], f32_bytes(&normal(15, 192))),
        "step2.safetensors" => {
            let values: Vec<f32> = normal(15, 192).iter().zip(normal(16, 192)).map(|(w, d)| w + 1e-4 * d).collect();
            one(&[16, 12], f32_bytes(&values))
        }
        "foreseen.safetensors" => file(&[("x", Dtype::BF16, vec![150, 32], bf16_bytes(&foreseen(17, 150, 32)))]),
        // Enough values for two lanes and for several contexts, most of them zeros.
        "sparse.safetensors" => {
            let rare = |(at, value)| if at % 97 == 0 { value } else { 0.0 };
            let values: Vec<f32> = (0..).zip(normal(18, 512 * 520)).map(rare).collect();
            file(&[("x", Dtype::BF16, vec![512, 520], bf16_bytes(&values))])
        }
        "low-rank.safetensors" => one(&[256, 200], f32_bytes(&low_rank(20, 256, 200, 4, 0.02))),
        "scales.safetensors" => one(&[150, 250], f32_bytes(&scaled(30, 150, 250))),
        "steps.safetensors" => one(&[40_000], f32_bytes(&levels(40, 40_000))),
        "upper-halves.safetensors" => {
            file(&[("x", Dtype::BF16, vec![64, 32, 3, 3], bf16_bytes(&low_rank(50, 64, 288, 2, 0.5)))])
        }
        "doubles.safetensors" => file(&[("x", Dtype::F64, vec![100, 120], f64_bytes(&low_rank(60, 100, 120, 2, 0.1)))]),
        "zeros.safetensors" => one(&[250, 250], vec![0; 250_000]),
        "noise.bin" => Random::new(70).bytes(100_000),
        "tokens.safetensors" => tokens(tokenizer),
        _ => return None,
    })
}
