//! Codec structural.

use lmgc_codec::{CodecId, CodecName, CompressOptions, Level, Reference, inspect};
use lmgc_tensors::Dtype;
use lmgc_testkit::second_decoder::{Outside, Reference as Other};
use lmgc_testkit::{Random, odd_floats};

use super::fast::{file_of, rounded, scaled_noise};
use super::{assert_same, options, tensors_of};

pub(crate) const FLOATS: [Dtype; 4] = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];

type Tensors<'a> = [(Dtype, &'a [u64], Vec<u8>)];

fn at_level(level: u8) -> CompressOptions<'static> {
    CompressOptions { level: Level::new(level).unwrap(), ..options(CodecId::Structural) }
}

/// Asserts that all but the skeleton is in blocks of codec structural, and returns the largest number of lanes.
fn assert_structural(packed: &[u8]) -> u16 {
    let blocks = inspect(std::io::Cursor::new(packed)).unwrap().blocks;
    let mut data = blocks.iter().filter(|block| block.stream == "data");
    assert!(data.all(|block| block.codec == "structural"), "{blocks:?}");
    blocks.iter().map(|block| block.n_lanes).max().unwrap_or(0)
}

/// The second decoder makes the same of a file at some levels.
fn assert_levels(tensors: &Tensors<'_>, levels: &[u8]) {
    let file = file_of(tensors);
    for &level in levels {
        assert_structural(&assert_same(&file, &at_level(level), &Outside::default()));
    }
}

/// The same against an earlier file of the same tensors.
fn assert_against(earlier: &[u8], tensors: &Tensors<'_>) -> Vec<u8> {
    let reference = Reference::new(std::io::Cursor::new(earlier.to_vec())).unwrap();
    let outside =
        Outside { reference: Some(Other { bytes: earlier, tensors: &tensors_of(earlier) }), ..Default::default() };
    let options = CompressOptions { reference: Some(&reference), ..at_level(5) };
    let packed = assert_same(&file_of(tensors), &options, &outside);
    assert_structural(&packed);
    packed
}

/// Noise around a matrix of low rank, with scales of rows and columns.
fn low_rank(seed: u64, n_rows: usize, n_columns: usize, rank: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut normal = |n: usize| -> Vec<f64> { (0..n).map(|_| f64::from(random.next_normal())).collect() };
    let (left, right) = (normal(n_rows * rank), normal(n_columns * rank));
    let noise = scaled_noise(seed, n_rows, n_columns, 0.0);
    let scales = scaled_noise(seed + 1, n_rows, 1, 1.0);
    let value = |i: usize| {
        let (row, column) = (i / n_columns, i % n_columns);
        let product: f64 = (0..rank).map(|q| left[row * rank + q] * right[column * rank + q]).sum();
        (product * 1e-2 + noise[i]) * scales[row].abs() * 1e3
    };
    (0..n_rows * n_columns).map(value).collect()
}

#[test]
fn types_and_shapes() {
    for dtype in FLOATS {
        let shapes = [
            &[][..],
            &[1],
            &[17],
            &[3000],
            &[1, 50],
            &[50, 1],
            &[2, 2],
            &[15, 40],
            &[40, 15],
            &[16, 16],
            &[33, 65],
            &[8, 4, 3, 3],
            &[64, 2, 1, 5],
            &[30, 20, 7],
            &[5, 3, 17],
        ];
        for shape in shapes {
            let n_rows = shape.first().map_or(1, |&n| n as usize);
            let n_columns = shape.iter().skip(1).product::<u64>() as usize;
            for spread in [0.0, 1.5] {
                let values = scaled_noise(7, n_rows, n_columns, spread);
                let tensors = [(dtype, shape, rounded(dtype, &values))];
                if values.len() < 100 {
                    // It may be that they are stored.
                    assert_same(&file_of(&tensors), &at_level(5), &Outside::default());
                } else {
                    assert_levels(&tensors, &[5]);
                }
            }
        }
    }
}

#[test]
fn factors() {
    for dtype in FLOATS {
        for (shape, rank) in [([40, 300], 3), ([300, 33], 9), ([70, 90], 17), ([128, 129], 1)] {
            let values = low_rank(5, shape[0], shape[1], rank);
            let shape = shape.map(|length| length as u64);
            assert_levels(&[(dtype, &shape, rounded(dtype, &values))], &[3, 5, 9]);
        }
    }
    let values = low_rank(6, 48, 180, 4);
    assert_levels(&[(Dtype::F32, &[48, 20, 3, 3], rounded(Dtype::F32, &values))], &[3, 9]);
}

#[test]
fn folded_shapes() {
    for shape in [[1030, 1040], [1040, 1030], [1026, 1025], [1025, 1027]] {
        let values = low_rank(8, shape[0], shape[1], 2);
        let shape = shape.map(|length| length as u64);
        assert_levels(&[(Dtype::BF16, &shape, rounded(Dtype::BF16, &values))], &[3]);
    }
}

#[test]
fn several_pieces_in_a_block() {
    for dtype in FLOATS {
        let noise = |n_rows, n_columns| rounded(dtype, &scaled_noise(3, n_rows, n_columns, 1.0));
        let tensors: &Tensors<'_> = &[
            (dtype, &[30, 50], rounded(dtype, &low_rank(1, 30, 50, 2))),
            (dtype, &[70], rounded(dtype, &[0.25; 70])),
            (dtype, &[0], Vec::new()),
            (dtype, &[513], noise(1, 513)),
            (dtype, &[1], noise(1, 1)),
            (dtype, &[5, 7], rounded(dtype, &[0.0; 35])),
            (dtype, &[40, 20], noise(40, 20)),
            (dtype, &[6, 2, 5, 5], noise(6, 50)),
        ];
        assert_levels(tensors, &[3, 5, 9]);
        let equal = rounded(dtype, &[1e-3; 40]);
        assert_levels(&[(dtype, &[40], equal.clone()), (dtype, &[4, 10], equal)], &[5]);
    }
}

#[test]
fn zeros_and_equal_values() {
    for dtype in FLOATS {
        for value in [0.0, -0.0, 1.5, f64::INFINITY, f64::NAN] {
            assert_levels(&[(dtype, &[20, 30], rounded(dtype, &[value; 600]))], &[5]);
        }
        for one_in in [2, 10, 300] {
            let mut random = Random::new(one_in);
            let mut values = low_rank(one_in, 50, 120, 2);
            for (i, value) in values.iter_mut().enumerate() {
                let draw = random.next_u64();
                let is_zero = draw.is_multiple_of(one_in) || i % 120 < 9 || i / 120 == 4;
                *value *= if !is_zero {
                    1.0
                } else if draw >> 40 & 15 == 0 {
                    -0.0
                } else {
                    0.0
                };
            }
            assert_levels(&[(dtype, &[50, 120], rounded(dtype, &values))], &[3, 5]);
        }
    }
}

#[test]
fn multiples_of_a_step() {
    let mut random = Random::new(4);
    let int8: Vec<f32> = (0..60 * 70).map(|_| (random.next_normal() * 20.0).round()).collect();
    for step in [0.1f32, 1.0, 3.7e-9] {
        let values = int8.iter().flat_map(|&value| (value * step).to_le_bytes()).collect();
        assert_levels(&[(Dtype::F32, &[60, 70], values)], &[3, 5, 9]);
    }
    let fixed = |dtype| {
        let values: Vec<f64> = int8.iter().map(|&value| f64::from(value) / 1024.0).collect();
        (dtype, rounded(dtype, &values))
    };
    for (dtype, values) in FLOATS.map(fixed) {
        assert_levels(&[(dtype, &[60, 70], values)], &[5]);
    }
}

#[test]
fn differences_on_a_grid() {
    let (before, step) = (scaled_noise(1, 80, 120, 1.0), scaled_noise(2, 80, 120, 0.3));
    let differences = before.iter().zip(&step).map(|(before, step)| {
        let before = *before as f32;
        f64::from((before + *step as f32 * 0.01) - before)
    });
    let differences: Vec<f64> = differences.collect();
    for dtype in FLOATS {
        assert_levels(&[(dtype, &[80, 120], rounded(dtype, &differences))], &[3, 5]);
    }
    let doubles = before.iter().zip(&step).flat_map(|(before, step)| ((before + step * 0.01) - before).to_le_bytes());
    assert_levels(&[(Dtype::F64, &[80, 120], doubles.collect())], &[5]);
    // Low bits that are zeros in all values, and in most.
    for (low_bits, one_in) in [(16, 1), (12, 1), (14, 2), (10, 50)] {
        let cut = before.iter().enumerate().flat_map(|(i, &value)| {
            let bits = (value as f32).to_bits();
            (if i % one_in == 0 { bits >> low_bits << low_bits } else { bits >> 4 << 4 }).to_le_bytes()
        });
        assert_levels(&[(Dtype::F32, &[80, 120], cut.collect())], &[5]);
    }
}

#[test]
fn infinities_and_what_is_no_number() {
    let odd = odd_floats();
    for dtype in FLOATS {
        for one_in in [2, 40] {
            let mut values = low_rank(one_in, 60, 70, 2);
            for (value, &odd) in values.iter_mut().step_by(one_in as usize).zip(odd.iter().cycle()) {
                *value = f64::from(odd);
            }
            assert_levels(&[(dtype, &[60, 70], rounded(dtype, &values))], &[5]);
        }
    }
    let subnormal = |factor: f64| -> Vec<f64> { scaled_noise(8, 64, 64, 2.0).iter().map(|x| x * factor).collect() };
    assert_levels(&[(Dtype::F32, &[64, 64], rounded(Dtype::F32, &subnormal(1e-37)))], &[5]);
    assert_levels(&[(Dtype::F32, &[64, 64], rounded(Dtype::F32, &subnormal(1e-40)))], &[5]);
    assert_levels(&[(Dtype::F16, &[64, 64], rounded(Dtype::F16, &subnormal(1e-3)))], &[5]);
    for factor in [1e-305, 1e-318, 1e-120, 1e200, 1e304] {
        assert_levels(&[(Dtype::F64, &[64, 64], rounded(Dtype::F64, &subnormal(factor)))], &[5]);
    }
    // Exponents all over the range, in one value of five.
    let mut random = Random::new(3);
    for (dtype, n_bytes) in FLOATS.into_iter().zip([8, 4, 2, 2]) {
        let mut values = rounded(dtype, &scaled_noise(5, 40, 90, 0.5));
        for value in values.chunks_exact_mut(n_bytes).step_by(5) {
            value.copy_from_slice(&random.bytes(n_bytes));
        }
        assert_levels(&[(dtype, &[40, 90], values)], &[5]);
    }
}

#[test]
fn references() {
    for dtype in FLOATS {
        let mut random = Random::new(9);
        let before = scaled_noise(1, 60, 90, 1.0);
        let moved = |amount: f64, share: f64, random: &mut Random| -> Vec<f64> {
            let next = |x: &f64| x * share + amount * f64::from(random.next_normal());
            before.iter().map(next).collect()
        };
        let kept: Vec<f64> =
            before.iter().map(|&x| if random.next_u64().is_multiple_of(3) { x * 1.01 } else { x }).collect();
        let scales: Vec<f64> = before.iter().map(|x| x.abs() * f64::from(random.next_normal())).collect();
        let mut odd = moved(1e-5, 1.0, &mut random);
        for (odd, value) in odd.iter_mut().step_by(31).zip(odd_floats()) {
            *odd = f64::from(value);
        }
        let versions =
            [before.clone(), moved(1e-5, 1.0, &mut random), moved(1e-4, 0.5, &mut random), kept, scales, odd.clone()];
        let bytes = rounded(dtype, &before);
        for version in &versions {
            assert_against(
                &file_of(&[(dtype, &[60, 90], bytes.clone())]),
                &[(dtype, &[60, 90], rounded(dtype, version))],
            );
        }
        // The reference has what is no number, and is flat.
        let odd = file_of(&[(dtype, &[5400], rounded(dtype, &odd))]);
        assert_against(&odd, &[(dtype, &[5400], bytes.clone())]);

        // Tensors of one block with and without a part in the earlier file.
        let tensors: Vec<(Dtype, &[u64], Vec<u8>)> =
            versions.iter().map(|version| (dtype, &[60, 90][..], rounded(dtype, version))).collect();
        let mut earlier = vec![(dtype, &[60, 90][..], bytes.clone()); 4];
        earlier[1].1 = &[90, 60];
        let earlier = file_of(&earlier);
        let packed = assert_against(&earlier, &tensors);
        let outside = Outside::default();
        let error = lmgc_testkit::second_decoder::decode(&packed, &outside).unwrap_err();
        assert_eq!(error.class, lmgc_testkit::second_decoder::Class::Reference);
    }
    // Multiples of a step, and their steps.
    let mut random = Random::new(2);
    let mut levels =
        || -> Vec<u8> { (0..4000).flat_map(|_| ((random.next_normal() * 9.0).round() * 0.3).to_le_bytes()).collect() };
    let earlier = levels();
    for later in [levels(), earlier.clone()] {
        assert_against(&file_of(&[(Dtype::F32, &[40, 100], earlier.clone())]), &[(Dtype::F32, &[40, 100], later)]);
    }
}

#[test]
fn several_lanes() {
    let cases = [(Dtype::F32, vec![600u64, 900]), (Dtype::BF16, vec![150, 9, 300]), (Dtype::F16, vec![300_001])];
    for (dtype, shape) in cases {
        let (n_rows, n_columns) = (shape[0] as usize, shape[1..].iter().product::<u64>() as usize);
        let mut values = low_rank(4, n_rows, n_columns, 3);
        values.iter_mut().step_by(5).for_each(|value| *value = 0.0);
        let file = file_of(&[(dtype, &shape, rounded(dtype, &values))]);
        let n_lanes = assert_structural(&assert_same(&file, &at_level(3), &Outside::default()));
        assert!(n_lanes >= 2);
    }
    // A block of several pieces, some of which are in no lane.
    let tensors: Vec<(Dtype, &[u64], Vec<u8>)> = (0..30)
        .map(|i| {
            let values = if i % 4 == 1 { vec![0.5; 12_000] } else { low_rank(i, 100, 120, 2) };
            (Dtype::F16, &[100, 120][..], rounded(Dtype::F16, &values))
        })
        .collect();
    assert_levels(&tensors, &[3]);
}

#[test]
fn auto_takes_it() {
    let tensors: Vec<(Dtype, &[u64], Vec<u8>)> =
        FLOATS.into_iter().map(|dtype| (dtype, &[100, 120][..], rounded(dtype, &low_rank(2, 100, 120, 4)))).collect();
    let options = CompressOptions { codec: CodecName::Auto, ..Default::default() };
    assert_structural(&assert_same(&file_of(&tensors), &options, &Outside::default()));
}
