//! Codec fast.

use lmgc_codec::{CodecId, inspect};
use lmgc_tensors::Dtype;
use lmgc_tensors::safetensors::{self, TensorEntry};
use lmgc_testkit::second_decoder::Outside;
use lmgc_testkit::{Random, odd_floats};

use super::{assert_same, options};

/// A safetensors file of one tensor after the other.
pub(crate) fn file_of(tensors: &[(Dtype, &[u64], Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<TensorEntry<'_>> = tensors
        .iter()
        .enumerate()
        .map(|(i, (dtype, shape, data))| (format!("t{i:02}"), *dtype, shape.to_vec(), &data[..]))
        .collect();
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &entries, &Default::default()).unwrap();
    file
}

/// Values of some type, rounded from f64.
pub(crate) fn rounded(dtype: Dtype, values: &[f64]) -> Vec<u8> {
    let values = values.iter().copied();
    match dtype {
        Dtype::F64 => values.flat_map(f64::to_le_bytes).collect(),
        Dtype::F32 => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        Dtype::F16 => values.flat_map(|value| half::f16::from_f64(value).to_le_bytes()).collect(),
        Dtype::BF16 => values.flat_map(|value| half::bf16::from_f64(value).to_le_bytes()).collect(),
        other => panic!("{other:?}"),
    }
}

/// A matrix of noise whose rows and columns have scales of their own, as values without much below a double's precision.
pub(crate) fn scaled_noise(seed: u64, n_rows: usize, n_columns: usize, spread: f64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut scale = |n| -> Vec<f64> { (0..n).map(|_| (spread * f64::from(random.next_normal())).exp2()).collect() };
    let (rows, columns) = (scale(n_rows), scale(n_columns));
    let mut noise = || f64::from(random.next_normal()) * (1.0 + f64::from(random.next_normal()) * 1e-8);
    (0..n_rows * n_columns).map(|i| noise() * rows[i / n_columns] * columns[i % n_columns] * 1e-3).collect()
}

const FLOATS: [Dtype; 4] = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];

/// The second decoder makes the same of a file, and all but the skeleton is in blocks of codec fast.
fn assert_fast(tensors: &[(Dtype, &[u64], Vec<u8>)]) {
    let packed = assert_same(&file_of(tensors), &options(CodecId::Fast), &Outside::default());
    let blocks = inspect(std::io::Cursor::new(&packed)).unwrap().blocks;
    let mut others = blocks.iter().filter(|block| block.stream == "data" && block.codec != "fast");
    assert!(others.next().is_none(), "{blocks:?}");
}

#[test]
fn types_and_shapes() {
    for dtype in FLOATS {
        for shape in [&[100, 90][..], &[64, 3, 3, 5], &[40, 800], &[33, 33], &[300, 30], &[9001], &[16, 700], &[32, 32]]
        {
            let n_rows = shape[0] as usize;
            let n_columns = shape[1..].iter().product::<u64>() as usize;
            for spread in [0.0, 1.5] {
                let values = scaled_noise(7, n_rows, n_columns, spread);
                assert_fast(&[(dtype, shape, rounded(dtype, &values))]);
            }
        }
    }
}

#[test]
fn several_pieces_in_a_block() {
    for dtype in FLOATS {
        let vector = |seed, n: usize| (dtype, rounded(dtype, &scaled_noise(seed, 1, n, 1.0)));
        let matrix = rounded(dtype, &scaled_noise(1, 60, 50, 2.0));
        let equal = rounded(dtype, &[-0.37; 700]);
        assert_fast(&[
            (dtype, &[60, 50], matrix),
            (dtype, &[700], equal.clone()),
            (dtype, &[1], vector(2, 1).1),
            (dtype, &[0], Vec::new()),
            (dtype, &[513], vector(3, 513).1),
            (dtype, &[40, 100], rounded(dtype, &scaled_noise(4, 40, 100, 2.0))),
            (dtype, &[2049], vector(5, 2049).1),
            (dtype, &[], vector(6, 1).1),
            (dtype, &[20, 35], equal),
        ]);
    }
}

#[test]
fn equal_values_and_zeros() {
    for dtype in FLOATS {
        for value in [0.0, -0.0, f64::INFINITY, f64::NAN, 1e-3] {
            assert_fast(&[(dtype, &[999], rounded(dtype, &[value; 999]))]);
        }
        // From a few zeros, which keep their plain bits, to many.
        for one_in in [2, 10, 30, 1000] {
            let mut random = Random::new(one_in);
            let mut values = scaled_noise(one_in, 50, 120, 1.0);
            for value in &mut values {
                let draw = random.next_u64();
                *value *= if draw.is_multiple_of(one_in) { if draw >> 40 & 7 == 0 { -0.0 } else { 0.0 } } else { 1.0 };
            }
            assert_fast(&[(dtype, &[50, 120], rounded(dtype, &values))]);
        }
    }
}

#[test]
fn low_bits_that_are_zero() {
    for low_bits in 0..=23 {
        let values = scaled_noise(low_bits, 50, 70, 1.0);
        let cut: Vec<u8> =
            values.iter().flat_map(|&value| ((value as f32).to_bits() >> low_bits << low_bits).to_le_bytes()).collect();
        assert_fast(&[(Dtype::F32, &[50, 70], cut)]);
    }
    for low_bits in (0..=52).step_by(3) {
        let cut = scaled_noise(low_bits, 50, 70, 1.0);
        let cut = cut.iter().flat_map(|&value| (value.to_bits() >> low_bits << low_bits).to_le_bytes()).collect();
        assert_fast(&[(Dtype::F64, &[50, 70], cut)]);
    }
    for low_bits in 0..=10 {
        let cut = rounded(Dtype::F16, &scaled_noise(low_bits, 50, 70, 1.0));
        let cut =
            cut.as_chunks().0.iter().flat_map(|&bits| (u16::from_le_bytes(bits) >> low_bits << low_bits).to_le_bytes());
        let cut: Vec<u8> = cut.collect();
        assert_fast(&[(Dtype::F16, &[50, 70], cut.clone())]);
        assert_fast(&[(Dtype::BF16, &[50, 70], cut)]);
    }
}

#[test]
fn infinities_and_what_is_no_number() {
    let odd = odd_floats();
    for dtype in FLOATS {
        for one_in in [12, 200] {
            let mut values = scaled_noise(one_in, 80, 60, 1.0);
            for (value, &odd) in values.iter_mut().step_by(one_in as usize).zip(odd.iter().cycle()) {
                *value = f64::from(odd);
            }
            assert_fast(&[(dtype, &[80, 60], rounded(dtype, &values))]);
        }
    }
    // Exponents of all small numbers, of which most are escapes.
    let mut random = Random::new(3);
    let wild = (0..5000).flat_map(|i| {
        let bits = random.next_u64() as u32;
        (if i % 9 == 0 { bits & 0xbfff_ffff } else { bits & 0x807f_ffff | 0x3f80_0000 }).to_le_bytes()
    });
    assert_fast(&[(Dtype::F32, &[5000], wild.collect())]);
    let subnormal: Vec<u8> =
        scaled_noise(8, 64, 64, 2.0).iter().flat_map(|&x| (x as f32 * 1e-37).to_le_bytes()).collect();
    assert_fast(&[(Dtype::F32, &[64, 64], subnormal)]);
    // Scales that are far apart, so that their differences are escapes, too.
    let steps: Vec<f64> =
        (0..40 * 600).map(|i| f64::from(random.next_normal()) * if i / 600 % 7 < 3 { 1e-36 } else { 1e30 }).collect();
    for dtype in [Dtype::F64, Dtype::F32, Dtype::BF16] {
        assert_fast(&[(dtype, &[40, 600], rounded(dtype, &steps))]);
    }
}

#[test]
fn large_blocks_have_four_contexts() {
    for dtype in FLOATS {
        let values = scaled_noise(11, 250, 301, 1.5);
        assert_fast(&[(dtype, &[250, 301], rounded(dtype, &values))]);
    }
    let values = scaled_noise(12, 1, 70_001, 1.5);
    let others = scaled_noise(13, 100, 99, 1.5);
    let rounded = |values| rounded(Dtype::F32, values);
    assert_fast(&[(Dtype::F32, &[70_001], rounded(&values)), (Dtype::F32, &[99, 100], rounded(&others))]);
}
