//! The fast codec: every bit comes back, the bytes are the same everywhere, and noise costs what it must.

use lmgc_codec::fast::Fast;
use lmgc_codec::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, NoProgress, Piece, Place, baselines};
use lmgc_model::Kernels;
use lmgc_tensors::Dtype;
use lmgc_testkit::{Random, gradient_like, odd_floats};
use proptest::prelude::*;

const FLOATS: [Dtype; 4] = [Dtype::F32, Dtype::F64, Dtype::BF16, Dtype::F16];

fn encode(codec: &Fast, bytes: &[u8], place: Place<'_>) -> Encoded {
    codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress).unwrap()
}

/// Codes and decodes, whichever codec the fast one has fallen back to; nothing grows.
fn round_trip(bytes: &[u8], place: Place<'_>) -> Encoded {
    let encoded = encode(&Fast::new(), bytes, place);
    assert!(encoded.payload.len() <= bytes.len(), "{} bytes for {}", encoded.payload.len(), bytes.len());
    let decoder = baselines::codec(encoded.codec, 1).unwrap();
    let block = EncodedBlock { payload: &encoded.payload, raw_len: bytes.len(), n_lanes: encoded.n_lanes, place };
    let restored = decoder.decode(block, &NoProgress).unwrap();
    assert!(restored == bytes, "{} bytes of {}, {:?}", bytes.len(), place.dtype, place.pieces);
    encoded
}

fn tensor_round_trip(bytes: &[u8], dtype: Dtype, shape: &[u64]) -> Encoded {
    round_trip(bytes, Place { dtype, pieces: &[Piece { shape, start: 0, len: bytes.len(), reference: None }] })
}

fn f32_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Elements of a type that are about these values.
fn bytes_of(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let half = |value: f32| {
        // Truncated; out of range becomes some other value.
        let bits = value.to_bits();
        let exponent = ((bits >> 23 & 0xff) as i32 - 112).clamp(0, 30) as u32;
        (bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff) as u16
    };
    match dtype {
        Dtype::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| half(v).to_le_bytes()).collect(),
        _ => f32_bytes(values.iter().copied()),
    }
}

/// Independent standard normal numbers (Box and Muller, 1958).
fn gaussian(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut uniform = move || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (0..n)
        .map(|_| ((-2.0 * (1.0 - uniform()).ln()).sqrt() * (2.0 * std::f64::consts::PI * uniform()).cos()) as f32)
        .collect()
}

/// Noise by rows and columns of different scales.
fn scaled(n_rows: usize, n_cols: usize, seed: u64) -> Vec<f32> {
    let (u, v, e) = (gaussian(n_rows, seed), gaussian(n_cols, seed + 1), gaussian(n_rows * n_cols, seed + 2));
    e.iter().enumerate().map(|(at, e)| e * (u[at / n_cols] + 2.0 * v[at % n_cols]).exp2() * 0.01).collect()
}

fn percent(encoded: &Encoded, bytes: &[u8]) -> f64 {
    100.0 * encoded.payload.len() as f64 / bytes.len() as f64
}

#[test]
fn every_type_length_and_shape() {
    let floats: Vec<u8> = odd_floats().iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut inputs = vec![vec![], vec![0], vec![0xff, 3], (0..=255).collect(), floats, vec![0; 4000], vec![0xff; 999]];
    inputs.extend([7, 8, 9, 1023, 1025, 4100, 40_003].map(|n| gradient_like(n as u64, n)));
    inputs.extend([5, 64, 3001].map(|n| Random::new(n).bytes(n as usize)));
    for dtype in Dtype::ALL {
        for bytes in &inputs {
            round_trip(bytes, Place { dtype, pieces: &[] });
            let n = bytes.len() as u64 / dtype.size_bytes();
            for shape in
                [&[n][..], &[1, n], &[n, 1], &[n / 32, 32], &[40, n / 40], &[4, n / 8, 2], &[n / 36, 4, 3, 3], &[0, 7]]
            {
                tensor_round_trip(bytes, dtype, shape);
            }
        }
    }
}

/// Lengths around those of chunks, rows and rounds, in all types.
#[test]
fn every_length() {
    let values = gaussian(4200, 5);
    for dtype in FLOATS {
        let bytes = bytes_of(dtype, &values);
        let e = dtype.size_bytes() as usize;
        for n in (0..140).chain(505..520).chain(2040..2085).chain(4090..4110) {
            round_trip(&bytes[..n * e], Place { dtype, pieces: &[] });
            round_trip(&bytes[..n * e + 1], Place { dtype, pieces: &[] });
        }
    }
}

#[test]
fn several_tensors_and_parts_of_them() {
    for dtype in FLOATS {
        let e = dtype.size_bytes() as usize;
        let bytes = bytes_of(dtype, &scaled(64, 300, 7));
        let (n, rest) = (bytes.len(), bytes.len() - 40 * 300 * e - 105 * e);
        let shapes: [&[u64]; 4] = [&[40, 10, 30], &[100], &[5], &[3, 5, 7]];
        // The second piece makes no whole element at its end, the third none at all.
        let lens = [40 * 300 * e, 100 * e + 1, e - 1, 105 * e + rest - 100 * e - e];
        assert_eq!(lens.iter().sum::<usize>(), n);
        let pieces: Vec<Piece> =
            shapes.iter().zip(lens).map(|(&shape, len)| Piece { shape, start: 0, len, reference: None }).collect();
        let encoded = round_trip(&bytes, Place { dtype, pieces: &pieces });
        assert_eq!(encoded.codec, CodecId::Fast);
        let part = [Piece { shape: &[300, 300], start: 300 * e as u64, len: n, reference: None }];
        round_trip(&bytes, Place { dtype, pieces: &part });
    }
}

#[test]
fn adversarial_tensors_come_back_and_do_not_grow() {
    let n = 64 * 96;
    let normal = gaussian(n, 1);
    let noise = |at: usize| normal[at % n];
    let makers: Vec<Box<dyn Fn(usize) -> f32>> = vec![
        Box::new(|at| if at % 7 == 0 { f32::NAN } else { noise(at) }),
        Box::new(|at| f32::from_bits(0x7f80_0001 + at as u32)),
        Box::new(|at| if at % 96 == 5 { f32::INFINITY } else { -noise(at) }),
        Box::new(|at| f32::from_bits(at as u32 * 17)),
        Box::new(|at| noise(at) * if at % 2 == 0 { 1e30 } else { 1e-30 }),
        Box::new(|at| noise(at) * 2f32.powi((at * 37 % 250) as i32 - 125)),
        Box::new(|at| if at / 96 % 3 == 0 { 0.0 } else { noise(at) * 1e-38 }),
        Box::new(|at| if at % 5 == 0 { noise(at) } else { 0.0 }),
        Box::new(|at| if at % 50 == 0 { 0.0 } else { noise(at) }),
        Box::new(|at| if at < n / 2 { -0.0 } else { noise(at) }),
        Box::new(|at| (at / 96) as f32 * (at % 96) as f32),
        Box::new(|at| if at % 1000 == 999 { f32::MAX } else { noise(at) }),
        Box::new(|at| -0.0 * noise(at)),
        Box::new(|at| if at < n / 2 { noise(at) } else { noise(n - 1 - at) * 1e20 }),
    ];
    for make in makers {
        let values: Vec<f32> = (0..n).map(&make).collect();
        for dtype in FLOATS {
            let bytes = bytes_of(dtype, &values);
            for shape in [&[64, 96][..], &[96, 64], &[6144], &[64, 32, 3, 1], &[16, 24, 4, 4]] {
                tensor_round_trip(&bytes, dtype, shape);
            }
        }
        let doubles: Vec<u8> = values.iter().flat_map(|&v| (f64::from(v) * 1e-200).to_le_bytes()).collect();
        tensor_round_trip(&doubles, Dtype::F64, &[64, 96]);
    }
    let constant = f32_bytes(vec![1.5; n]);
    assert!(tensor_round_trip(&constant, Dtype::F32, &[64, 96]).payload.len() < 40);
}

#[test]
fn noise_costs_its_entropy() {
    // 26.46 bits a value, 82.69 % (arXiv 2605.11546).
    let values = gaussian(1 << 20, 3);
    let bytes = f32_bytes(values.iter().copied());
    let rounded = f32_bytes(values.iter().map(|v| f32::from_bits(v.to_bits() & 0xffff_0000)));
    for shape in [&[1 << 20][..], &[1024, 1024]] {
        let exact = percent(&tensor_round_trip(&bytes, Dtype::F32, shape), &bytes);
        assert!((82.6..82.95).contains(&exact), "{exact} % in {shape:?}");
        let rounded = percent(&tensor_round_trip(&rounded, Dtype::F32, shape), &rounded);
        assert!(rounded < 33.2, "{rounded} %");
    }
    // Random bytes cannot be shortened.
    let random = Random::new(5).bytes(1 << 20);
    for dtype in FLOATS {
        assert!(tensor_round_trip(&random, dtype, &[1 << 10, (1 << 10) / dtype.size_bytes()]).payload.len() <= 1 << 20);
    }
}

#[test]
fn scales_are_found_in_any_type() {
    for dtype in FLOATS {
        let bytes = bytes_of(dtype, &scaled(256, 300, 9));
        let whole = tensor_round_trip(&bytes, dtype, &[256, 300]).payload.len();
        let flat = tensor_round_trip(&bytes, dtype, &[256 * 300]).payload.len();
        // Columns whose scales differ by some octaves: most of a bit a value.
        assert!(flat - whole > 256 * 300 / 10, "{dtype}: {whole} against {flat}");
    }
}

#[test]
fn zeros_cost_little() {
    let noise = gaussian(1 << 16, 4);
    for dtype in FLOATS {
        let values: Vec<f32> = noise.iter().map(|&v| if v.abs() < 1.64 { 0.0 } else { v }).collect();
        let bytes = bytes_of(dtype, &values);
        let percent = percent(&tensor_round_trip(&bytes, dtype, &[1 << 16]), &bytes);
        assert!(percent < 14.0, "{dtype}: {percent} %");
    }
}

#[test]
fn the_same_bytes_for_all_instruction_sets_and_threads() {
    let mut found = Vec::new();
    for dtype in FLOATS {
        let values: Vec<f32> = scaled(80, 1000, 9).into_iter().map(|v| if v.abs() < 2e-3 { 0.0 } else { v }).collect();
        let bytes = bytes_of(dtype, &values);
        let e = dtype.size_bytes() as usize;
        let pieces = [
            Piece { shape: &[60, 200, 5], start: 0, len: 60_000 * e, reference: None },
            Piece { shape: &[3001], start: 0, len: 3001 * e, reference: None },
            Piece { shape: &[16_999], start: 0, len: 16_999 * e, reference: None },
        ];
        let place = Place { dtype, pieces: &pieces };
        let expected = encode(&Fast::new(), &bytes, place);
        assert_eq!(expected.codec, CodecId::Fast);
        for kernels in Kernels::available() {
            for n_threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                let codec = Fast::with_kernels(kernels);
                let (encoded, restored) = pool.install(|| {
                    let block = EncodedBlock { payload: &expected.payload, raw_len: bytes.len(), n_lanes: 0, place };
                    (encode(&codec, &bytes, place), codec.decode(block, &NoProgress).unwrap())
                });
                assert!(encoded == expected && restored == bytes, "{:?}, {n_threads} threads, {dtype}", kernels.isa());
            }
        }
        found.push((dtype, blake3::hash(&expected.payload).to_hex()[..16].to_owned()));
    }
    // Pinned: the bytes are part of the format.
    let expected = [
        (Dtype::F32, "39f02a9756e3d134"),
        (Dtype::F64, "4b71b0422cb3a4b9"),
        (Dtype::BF16, "af3714186e9237e8"),
        (Dtype::F16, "691e17125a7e30bf"),
    ];
    assert_eq!(found, expected.map(|(dtype, hash)| (dtype, hash.to_owned())));
}

/// Payloads whose checksums are right, but which no encoder wrote.
#[test]
fn decoders_survive_any_payload() {
    for dtype in FLOATS {
        let e = dtype.size_bytes() as usize;
        // With zeros, escapes of values and of scales.
        let values: Vec<f32> = scaled(33, 36, 13)
            .into_iter()
            .enumerate()
            .map(|(at, v)| {
                if at % 3 == 0 {
                    0.0
                } else if at % 100 == 7 {
                    f32::NAN
                } else {
                    v
                }
            })
            .collect();
        let bytes = bytes_of(dtype, &values);
        let pieces = [
            Piece { shape: &[33, 33], start: 0, len: 33 * 33 * e, reference: None },
            Piece { shape: &[99], start: 0, len: 99 * e, reference: None },
        ];
        let place = Place { dtype, pieces: &pieces };
        let codec = Fast::new();
        let encoded = encode(&codec, &bytes, place);
        assert_eq!(encoded.codec, CodecId::Fast, "{dtype}");
        let mut n_refused = 0;
        let mut try_decode = |payload: &[u8], raw_len: usize, n_lanes: u16| match codec
            .decode(EncodedBlock { payload, raw_len, n_lanes, place }, &NoProgress)
        {
            Ok(restored) => {
                assert_eq!(restored.len(), raw_len);
                restored == bytes
            }
            Err(error) => {
                n_refused += 1;
                assert!(error.is_bad_input(), "{error}");
                false
            }
        };
        for len in 0..encoded.payload.len() {
            assert!(!try_decode(&encoded.payload[..len], bytes.len(), 0), "{len} bytes");
        }
        for bit in 0..encoded.payload.len() * 8 {
            let mut damaged = encoded.payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            try_decode(&damaged, bytes.len(), 0);
        }
        assert!(!try_decode(&[&encoded.payload[..], &[0]].concat(), bytes.len(), 0));
        for n_lanes in [1, 2, u16::MAX] {
            assert!(!try_decode(&encoded.payload, bytes.len(), n_lanes));
        }
        for raw_len in [0, 1, bytes.len() - 1, bytes.len() + 1, 4 << 20] {
            assert!(!try_decode(&encoded.payload, raw_len, 0));
        }
        let mut random = Random::new(3);
        for _ in 0..3000 {
            let mut damaged = encoded.payload.clone();
            let start = random.next_u64() as usize % (damaged.len() - 40);
            let n = 1 + random.next_u64() as usize % 40;
            damaged[start..start + n].copy_from_slice(&random.bytes(n));
            try_decode(&damaged, bytes.len(), 0);
        }
        assert!(n_refused > 1000, "{n_refused}");
        // Under other shapes and types, as a damaged header would have them.
        for dtype in Dtype::ALL {
            for pieces in [
                &pieces[..1],
                &[Piece { shape: &[1, u64::MAX, u64::MAX], start: 7, len: bytes.len(), reference: None }],
                &[],
            ] {
                let block = EncodedBlock {
                    payload: &encoded.payload,
                    raw_len: bytes.len(),
                    n_lanes: 0,
                    place: Place { dtype, pieces },
                };
                if let Err(error) = codec.decode(block, &NoProgress) {
                    assert!(error.is_bad_input(), "{error}");
                }
            }
        }
    }
}

#[test]
fn pieces_that_do_not_add_up_are_refused() {
    let place = Place { dtype: Dtype::F32, pieces: &[Piece { shape: &[3], start: 0, len: 12, reference: None }] };
    let input = BlockInput { bytes: &[0; 16], place, is_token_ids: false };
    let error = Fast::new().encode(input, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("do not add up"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bits(words in proptest::collection::vec(any::<u32>(), 0..300), n_rows in 1usize..50, dtype in 0usize..4) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let n = bytes.len() / FLOATS[dtype].size_bytes() as usize;
        tensor_round_trip(&bytes, FLOATS[dtype], &[n_rows as u64, (n / n_rows) as u64]);
    }

    #[test]
    fn any_special_values(picks in proptest::collection::vec(0usize..10, 0..4000), n_rows in 1usize..60, dtype in 0usize..4) {
        let values = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1e-45, f32::MAX, 0.1];
        let n_cols = picks.len() / n_rows;
        let values: Vec<f32> = picks[..n_cols * n_rows].iter().map(|&pick| values[pick]).collect();
        tensor_round_trip(&bytes_of(FLOATS[dtype], &values), FLOATS[dtype], &[n_rows as u64, n_cols as u64]);
    }
}
