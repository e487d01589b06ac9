//! The structural prior: every bit comes back, the bytes are the same everywhere, and structure is found.

use lmgc_codec::structural::Structural;
use lmgc_codec::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Level, NoProgress, Piece, Place, baselines};
use lmgc_model::Kernels;
use lmgc_tensors::Dtype;
use lmgc_testkit::{Random, gradient_like, odd_floats};
use proptest::prelude::*;

fn codec() -> Structural {
    Structural::new(Level::default())
}

fn encode(codec: &Structural, bytes: &[u8], place: Place<'_>) -> Encoded {
    codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress).unwrap()
}

/// Codes and decodes, whichever codec the structural one has fallen back to; nothing grows.
fn round_trip(bytes: &[u8], place: Place<'_>) -> Encoded {
    let encoded = encode(&codec(), bytes, place);
    assert!(encoded.payload.len() <= bytes.len(), "{} bytes for {}", encoded.payload.len(), bytes.len());
    let decoder = baselines::codec(encoded.codec, 5).unwrap();
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

/// Independent standard normal numbers (Box and Muller, 1958).
fn gaussian(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut uniform = move || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (0..n)
        .map(|_| ((-2.0 * (1.0 - uniform()).ln()).sqrt() * (2.0 * std::f64::consts::PI * uniform()).cos()) as f32)
        .collect()
}

/// `rank` factors and noise of the given deviation, by rows.
fn low_rank(n_rows: usize, n_cols: usize, rank: usize, noise: f32, seed: u64) -> Vec<f32> {
    let (u, v) = (gaussian(n_rows * rank, seed), gaussian(n_cols * rank, seed + 1));
    let e = gaussian(n_rows * n_cols, seed + 2);
    let mean = |i: usize, j: usize| (0..rank).map(|q| u[i * rank + q] * v[j * rank + q]).sum::<f32>();
    (0..n_rows * n_cols).map(|at| (mean(at / n_cols, at % n_cols) + noise * e[at]) * 1e-3).collect()
}

fn percent(encoded: &Encoded, bytes: &[u8]) -> f64 {
    100.0 * encoded.payload.len() as f64 / bytes.len() as f64
}

#[test]
fn every_type_length_and_shape() {
    let floats: Vec<u8> = odd_floats().iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut inputs = vec![vec![], vec![0], vec![0xff, 3], (0..=255).collect(), floats, vec![0; 4000], vec![0xff; 999]];
    inputs.extend([7, 8, 9, 1023, 1025, 4100].map(|n| gradient_like(n as u64, n)));
    inputs.extend([5, 64, 3001].map(|n| Random::new(n).bytes(n as usize)));
    for dtype in Dtype::ALL {
        for bytes in &inputs {
            round_trip(bytes, Place { dtype, pieces: &[] });
            let n = bytes.len() as u64 / dtype.size_bytes();
            for shape in
                [&[n][..], &[1, n], &[n, 1], &[n / 8, 8], &[8, n / 8], &[4, n / 8, 2], &[n / 18, 2, 3, 3], &[0, 7]]
            {
                tensor_round_trip(bytes, dtype, shape);
            }
        }
    }
}

#[test]
fn several_tensors_and_parts_of_them() {
    for dtype in [Dtype::F32, Dtype::F64, Dtype::BF16, Dtype::F16] {
        let e = dtype.size_bytes() as usize;
        let bytes = gradient_like(7, 300 * e + 5);
        let shapes: [&[u64]; 3] = [&[10, 10], &[100], &[3, 5, 7]];
        // The second piece makes no whole element at its end.
        let lens = [100 * e, 100 * e + 5, 100 * e];
        let pieces: Vec<Piece> =
            shapes.iter().zip(lens).map(|(&shape, len)| Piece { shape, start: 0, len, reference: None }).collect();
        round_trip(&bytes, Place { dtype, pieces: &pieces });
        let part = [Piece { shape: &[30, 10], start: 100 * e as u64, len: bytes.len(), reference: None }];
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
        Box::new(|at| (at / 96) as f32 * (at % 96) as f32),
        Box::new(|at| if at % 1000 == 999 { f32::MAX } else { noise(at) }),
        Box::new(|at| -0.0 * noise(at)),
        Box::new(|at| if at < n / 2 { noise(at) } else { noise(n - 1 - at) * 1e20 }),
    ];
    for make in makers {
        let bytes = f32_bytes((0..n).map(&make));
        for shape in [&[64, 96][..], &[96, 64], &[6144], &[64, 32, 3, 1], &[16, 24, 4, 4]] {
            tensor_round_trip(&bytes, Dtype::F32, shape);
        }
        let doubles: Vec<u8> = (0..n).flat_map(|at| (f64::from(make(at)) * 1e-200).to_le_bytes()).collect();
        tensor_round_trip(&doubles, Dtype::F64, &[64, 96]);
    }
    let constant = f32_bytes(vec![1.5; n]);
    assert!(tensor_round_trip(&constant, Dtype::F32, &[64, 96]).payload.len() < 40);
}

#[test]
fn gaussian_noise_costs_its_entropy() {
    // 26.46 bits a value, 82.69 % (arXiv 2605.11546).
    let values = gaussian(1 << 20, 3);
    let bytes = f32_bytes(values.iter().copied());
    for shape in [&[1 << 20][..], &[1024, 1024]] {
        let percent = percent(&tensor_round_trip(&bytes, Dtype::F32, shape), &bytes);
        assert!((82.6..82.8).contains(&percent), "{percent} % in {shape:?}");
    }
    let rounded = f32_bytes(values.iter().map(|v| f32::from_bits(v.to_bits() & 0xffff_0000)));
    let percent = percent(&tensor_round_trip(&rounded, Dtype::F32, &[1024, 1024]), &rounded);
    assert!(percent < 33.2, "{percent} %");
}

#[test]
fn factors_are_found_in_any_type_and_orientation() {
    let values = low_rank(96, 400, 6, 0.01, 5);
    let transposed: Vec<f32> = (0..values.len()).map(|at| values[at % 96 * 400 + at / 96]).collect();
    let bytes = f32_bytes(values.iter().copied());
    let zstd = baselines::codec(CodecId::SplitZstd, 19).unwrap();
    let input = BlockInput { bytes: &bytes, place: Place { dtype: Dtype::F32, pieces: &[] }, is_token_ids: false };
    let peer = zstd.encode(input, &NoProgress).unwrap().payload.len();
    let wide = tensor_round_trip(&bytes, Dtype::F32, &[96, 400]);
    let tall = tensor_round_trip(&f32_bytes(transposed), Dtype::F32, &[400, 96]);
    // Noise at 1 / 240 of the values takes 8 of their bits away.
    for encoded in [&wide, &tall] {
        assert_eq!(encoded.codec, CodecId::Structural);
        assert!(encoded.payload.len() * 100 < peer * 80, "{} against {peer}", encoded.payload.len());
    }
    let doubles: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    // Half of such a number's bits are zeros.
    assert!(tensor_round_trip(&doubles, Dtype::F64, &[96, 400]).payload.len() < wide.payload.len() * 102 / 100);
}

#[test]
fn quantised_values_cost_their_levels() {
    // Gradients as int8 and back, each value a multiple of a step that is no power of two.
    let (n_rows, n_cols) = (64, 1024);
    let values = low_rank(n_rows, n_cols, 2, 0.2, 5);
    let step = values.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let levels: Vec<f32> = values.iter().map(|x| (x / step).round_ties_even()).collect();
    let mut counts = std::collections::BTreeMap::new();
    levels.iter().for_each(|level| *counts.entry(*level as i32).or_insert(0u32) += 1);
    let n = levels.len() as f64;
    let entropy: f64 = counts.values().map(|&count| f64::from(count) / n * (n / f64::from(count)).log2()).sum();
    let bytes = f32_bytes(levels.iter().map(|level| level * step));
    let encoded = tensor_round_trip(&bytes, Dtype::F32, &[n_rows as u64, n_cols as u64]);
    assert_eq!(encoded.codec, CodecId::Structural);
    // What rows share is found among levels, too.
    let bits = 8.0 * encoded.payload.len() as f64 / n;
    assert!(bits < entropy - 1.0, "{bits} bits a value, whose levels have {entropy}");
    // One value that is none of the levels.
    let mut levels: Vec<f32> = levels.iter().map(|level| level * step).collect();
    levels[777] += step / 3.0;
    tensor_round_trip(&f32_bytes(levels), Dtype::F32, &[n_rows as u64, n_cols as u64]);
}

#[test]
fn the_same_bytes_for_all_instruction_sets_and_threads() {
    let values = low_rank(80, 300, 4, 0.1, 9);
    let bytes = f32_bytes(values.into_iter().map(|v| if v.abs() < 2e-5 { 0.0 } else { v }));
    let pieces = [Piece { shape: &[80, 100, 3], start: 0, len: bytes.len(), reference: None }];
    let place = Place { dtype: Dtype::F32, pieces: &pieces };
    let expected = encode(&codec(), &bytes, place);
    assert_eq!(expected.codec, CodecId::Structural);
    for kernels in Kernels::available() {
        for n_threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let codec = Structural::with_kernels(Level::default(), kernels);
            let (encoded, restored) = pool.install(|| {
                let block =
                    EncodedBlock { payload: &expected.payload, raw_len: bytes.len(), n_lanes: expected.n_lanes, place };
                (encode(&codec, &bytes, place), codec.decode(block, &NoProgress).unwrap())
            });
            assert!(encoded == expected && restored == bytes, "{:?}, {n_threads} threads", kernels.isa());
        }
    }
    // Pinned: the bytes are part of the format.
    assert_eq!(&blake3::hash(&expected.payload).to_hex()[..16], "a4dda9a571dd7183");
}

#[test]
fn lanes_divide_large_blocks() {
    let values = low_rank(256, 1100, 2, 0.5, 11);
    let bytes = f32_bytes(values);
    let encoded = tensor_round_trip(&bytes, Dtype::F32, &[256, 1100]);
    assert_eq!(encoded.n_lanes, 2);
}

/// Payloads whose checksums are right, but which no encoder wrote.
#[test]
fn decoders_survive_any_payload() {
    let bytes = f32_bytes(low_rank(24, 40, 2, 0.02, 13).into_iter().map(|v| if v.abs() < 1e-4 { 0.0 } else { v }));
    let pieces = [
        Piece { shape: &[24, 30], start: 0, len: 24 * 30 * 4, reference: None },
        Piece { shape: &[240], start: 0, len: 240 * 4, reference: None },
    ];
    let place = Place { dtype: Dtype::F32, pieces: &pieces };
    let codec = codec();
    let encoded = encode(&codec, &bytes, place);
    assert_eq!(encoded.codec, CodecId::Structural);
    let mut n_refused = 0;
    let mut try_decode = |payload: &[u8], raw_len: usize, n_lanes: u16| match codec
        .decode(EncodedBlock { payload, raw_len, n_lanes, place }, &NoProgress)
    {
        Ok(bytes) => assert_eq!(bytes.len(), raw_len),
        Err(error) => {
            n_refused += 1;
            assert!(error.is_bad_input(), "{error}");
        }
    };
    for len in (0..encoded.payload.len()).step_by(2) {
        try_decode(&encoded.payload[..len], bytes.len(), encoded.n_lanes);
    }
    for bit in (0..encoded.payload.len() * 8).step_by(3) {
        let mut damaged = encoded.payload.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        try_decode(&damaged, bytes.len(), encoded.n_lanes);
    }
    for n_lanes in [0, 2, 3, 256, 257, u16::MAX] {
        try_decode(&encoded.payload, bytes.len(), n_lanes);
    }
    for raw_len in [0, 1, bytes.len() - 1, bytes.len() + 1, 4 << 20] {
        try_decode(&encoded.payload, raw_len, encoded.n_lanes);
    }
    let mut random = Random::new(3);
    for _ in 0..2000 {
        let mut damaged = encoded.payload.clone();
        let start = random.next_u64() as usize % 400;
        let n = 1 + random.next_u64() as usize % 40;
        damaged[start..start + n].copy_from_slice(&random.bytes(n));
        try_decode(&damaged, bytes.len(), encoded.n_lanes);
    }
    assert!(n_refused > 1000, "{n_refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bits(words in proptest::collection::vec(any::<u32>(), 0..300), n_rows in 1usize..20, dtype in 0usize..4) {
        let dtype = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64][dtype];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let n = bytes.len() / dtype.size_bytes() as usize;
        tensor_round_trip(&bytes, dtype, &[n_rows as u64, (n / n_rows) as u64]);
    }

    #[test]
    fn any_special_values(picks in proptest::collection::vec(0usize..10, 0..600), n_rows in 1usize..30) {
        let values = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1e-45, f32::MAX, 0.1];
        let bytes = f32_bytes(picks.iter().map(|&pick| values[pick]));
        let n_cols = picks.len() / n_rows;
        tensor_round_trip(&bytes[..n_cols * n_rows * 4], Dtype::F32, &[n_rows as u64, n_cols as u64]);
    }
}

/// A length that a few bytes cannot have coded is found out early, not after all of it.
#[test]
fn values_without_plain_bits_are_refused() {
    let bytes = f32_bytes(gaussian(1000, 9));
    let place = |raw_len, shape| Piece { shape, start: 0, len: raw_len, reference: None };
    let encoded = encode(&codec(), &bytes, Place { dtype: Dtype::F32, pieces: &[place(4000, &[1000])] });
    assert_eq!(encoded.codec, CodecId::Structural);
    for (raw_len, shape) in [(4004, &[1001][..]), (64 << 20, &[16 << 20])] {
        let pieces = [place(raw_len, shape)];
        let place = Place { dtype: Dtype::F32, pieces: &pieces };
        let block = EncodedBlock { payload: &encoded.payload, raw_len, n_lanes: encoded.n_lanes, place };
        let error = codec().decode(block, &NoProgress).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("too few plain bits"), "{error}");
    }
}
