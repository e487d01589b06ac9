//! Codecs that look at numbers: each element type and shape comes back bit for bit or is refused, and no payload harms.

use lmgc_codec::baselines::{self, reference_level};
use lmgc_codec::{BlockCodec, BlockInput, CodecId, EncodedBlock, Error, NoProgress, Piece, Place};
use lmgc_tensors::Dtype;
use lmgc_testkit::{Random, gradient_like, odd_floats};
use proptest::prelude::*;

const IDS: [CodecId; 4] = [CodecId::Pco, CodecId::Fpzip, CodecId::Fields0, CodecId::Zfp];

fn built() -> impl Iterator<Item = (CodecId, Box<dyn BlockCodec>)> {
    IDS.into_iter().filter_map(|id| Some((id, baselines::codec(id, reference_level(id)).ok()?)))
}

/// Whether a codec must code the type; what it need not code it must refuse.
fn codes(id: CodecId, dtype: Dtype) -> bool {
    match id {
        CodecId::Fpzip => matches!(dtype, Dtype::F32 | Dtype::F64),
        CodecId::Zfp => matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::I32 | Dtype::I64),
        _ => true,
    }
}

/// Codes and decodes; `None` if the codec refused as it should.
fn round_trip(id: CodecId, codec: &dyn BlockCodec, bytes: &[u8], place: Place<'_>) -> Option<Vec<u8>> {
    let payload = match codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress) {
        Ok(encoded) => encoded.payload,
        Err(Error::CodecRefuses { codec, .. }) => {
            assert!(codec == id && !codes(id, place.dtype), "{codec} refuses {}", place.dtype);
            return None;
        }
        Err(error) => panic!("{id} on {}: {error}", place.dtype),
    };
    assert!(codes(id, place.dtype), "{id} on {}", place.dtype);
    let block = EncodedBlock { payload: &payload, raw_len: bytes.len(), n_lanes: 0, place };
    let restored = codec.decode(block, &NoProgress).unwrap();
    assert!(restored == bytes, "{id} on {} bytes of {}, {:?}", bytes.len(), place.dtype, place.pieces);
    Some(payload)
}

fn everywhere(bytes: &[u8], place: Place<'_>) {
    for (id, codec) in built() {
        round_trip(id, &*codec, bytes, place);
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let floats: Vec<u8> = odd_floats().iter().flat_map(|v| v.to_le_bytes()).collect();
    let doubles =
        [f64::NAN.to_bits(), 0x7ff0_0000_0000_0001, 0xfff8_0000_dead_beef, 1, 1 << 63, f64::INFINITY.to_bits()];
    let mut inputs = vec![vec![], vec![0], vec![0xff, 3], (0..=255).collect(), floats, vec![0; 4000], vec![0xff; 999]];
    inputs.push(doubles.iter().flat_map(|v| v.to_le_bytes()).collect());
    inputs.extend([7, 8, 9, 1023, 1025, 4100].map(|n| gradient_like(n as u64, n)));
    inputs.extend([5, 64, 3001].map(|n| Random::new(n).bytes(n as usize)));
    inputs
}

#[test]
fn every_type_and_length() {
    for dtype in Dtype::ALL {
        for bytes in inputs() {
            everywhere(&bytes, Place { dtype, pieces: &[] });
            let shape = [bytes.len() as u64 / dtype.size_bytes()];
            everywhere(
                &bytes,
                Place { dtype, pieces: &[Piece { shape: &shape, start: 0, len: bytes.len(), reference: None }] },
            );
        }
    }
}

#[test]
fn a_mebibyte_of_zeros_is_small() {
    let zeros = vec![0; 1 << 20];
    for dtype in [Dtype::F32, Dtype::F64] {
        let shape = [64, (1 << 14) / dtype.size_bytes()];
        for pieces in [&[][..], &[Piece { shape: &shape, start: 0, len: 1 << 20, reference: None }]] {
            for (id, codec) in built() {
                let payload = round_trip(id, &*codec, &zeros, Place { dtype, pieces }).unwrap();
                // fields0 keeps 19 of 32 or 48 of 64 bits as they are; zfp needs a bit for each 4 values at best.
                let percent = match id {
                    CodecId::Fields0 => 76,
                    CodecId::Zfp => 2,
                    _ => 1,
                };
                assert!(payload.len() * 100 < zeros.len() * percent, "{id} on {dtype}: {} bytes", payload.len());
            }
        }
    }
}

#[test]
fn several_tensors_and_parts_of_them() {
    for dtype in Dtype::ALL {
        let e = dtype.size_bytes() as usize;
        let bytes = gradient_like(7, 300 * e + 5);
        let shapes: [&[u64]; 3] = [&[10, 10], &[100], &[3, 5, 7]];
        // The second piece makes no whole element at its end.
        let lens = [100 * e, 100 * e + 5, 100 * e];
        let pieces: Vec<Piece> =
            shapes.iter().zip(lens).map(|(&shape, len)| Piece { shape, start: 0, len, reference: None }).collect();
        everywhere(&bytes, Place { dtype, pieces: &pieces });
        let part = [Piece { shape: &[30, 10], start: 100 * e as u64, len: bytes.len(), reference: None }];
        everywhere(&bytes, Place { dtype, pieces: &part });
    }
}

#[test]
fn shapes_come_back_and_are_used() {
    // Rows alike, columns not: shape helps.
    let row = gradient_like(3, 4 * 120);
    let alike: Vec<u8> = row.repeat(40);
    for (id, codec) in built().filter(|&(id, _)| id == CodecId::Fpzip) {
        let code = |shape: &[u64]| {
            let pieces = [Piece { shape, start: 0, len: alike.len(), reference: None }];
            round_trip(id, &*codec, &alike, Place { dtype: Dtype::F32, pieces: &pieces }).unwrap()
        };
        let line = code(&[4800]);
        assert!(code(&[40, 120]).len() < line.len(), "{id}");
        for shape in
            [&[1, 4800][..], &[4800, 1], &[40, 10, 12], &[40, 2, 5, 12], &[4, 10, 2, 5, 12], &[1, 1, 1, 1, 4800]]
        {
            assert_eq!(code(shape)[0], shape.len().min(4) as u8, "{id} on {shape:?}");
        }
        assert_eq!(line[0], 1);
    }
}

#[test]
fn long_runs_have_several_chunks() {
    // Beyond 2^18 numbers, pco starts another chunk.
    let bytes = gradient_like(11, 4 * ((1 << 18) + 3) + 1);
    everywhere(&bytes, Place { dtype: Dtype::F32, pieces: &[] });
}

#[test]
fn every_level_of_pco() {
    for level in baselines::levels(CodecId::Pco).unwrap() {
        let Ok(codec) = baselines::codec(CodecId::Pco, level) else { continue };
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16, Dtype::I32, Dtype::U8] {
            round_trip(CodecId::Pco, &*codec, &gradient_like(4, 5000), Place { dtype, pieces: &[] });
        }
    }
}

#[test]
fn payloads_that_no_encoder_writes() {
    let bytes = gradient_like(2, 402);
    let shape = [4, 5, 5];
    let smooth: Vec<u8> = (0..100).flat_map(|i| (i as f32 * 0.25).to_le_bytes()).collect();
    for (id, codec) in built() {
        let mut n_refused = 0;
        for (bytes, len) in [(&bytes, 402), (&bytes, 400), (&smooth, 400)] {
            for dtype in [Dtype::F32, Dtype::F64, Dtype::U8].into_iter().filter(|&dtype| codes(id, dtype)) {
                let pieces = [Piece { shape: &shape, start: 0, len, reference: None }];
                let place = Place { dtype, pieces: &pieces };
                let payload = round_trip(id, &*codec, &bytes[..len], place).unwrap();
                let mut try_decode = |payload: &[u8], raw_len: usize, place: Place<'_>| match codec
                    .decode(EncodedBlock { payload, raw_len, n_lanes: 0, place }, &NoProgress)
                {
                    Ok(bytes) => assert_eq!(bytes.len(), raw_len),
                    Err(error) => {
                        n_refused += 1;
                        assert!(error.is_bad_input(), "{id}: {error}");
                    }
                };
                for cut in 0..payload.len() {
                    try_decode(&payload[..cut], len, place);
                    try_decode(&payload[cut..], len, place);
                }
                for at in 0..payload.len() {
                    for value in (0..8).map(|bit| payload[at] ^ 1 << bit).chain([0, 0xff]) {
                        let mut damaged = payload.clone();
                        damaged[at] = value;
                        try_decode(&damaged, len, place);
                    }
                }
                try_decode(&[payload.as_slice(), &[0]].concat(), len, place);
                for raw_len in [0, 1, 3, 4, 8, len - 1, len + 1, len + 8, 1 << 20] {
                    try_decode(&payload, raw_len, Place { dtype, pieces: &[] });
                    try_decode(&payload, raw_len, place);
                }
                for other in Dtype::ALL {
                    try_decode(&payload, len, Place { dtype: other, pieces: &[] });
                }
                for seed in 0..200 {
                    let mut random = Random::new(seed);
                    try_decode(&random.bytes(seed as usize), len, place);
                    // Behind a right beginning.
                    let start = (random.next_u64() as usize % payload.len()).max(24.min(payload.len()));
                    try_decode(&[&payload[..start], &random.bytes(payload.len() - start)].concat(), len, place);
                }
            }
        }
        assert!(n_refused > 1000, "{id}: {n_refused}");
    }
}

#[test]
fn what_was_written_is_still_written() {
    let bytes = gradient_like(1, 3001);
    let shape = [5, 10, 15];
    let hashes = |id: CodecId| {
        let codec = baselines::codec(id, reference_level(id)).ok()?;
        let code = |pieces: &[Piece<'_>]| {
            let place = Place { dtype: Dtype::F32, pieces };
            let len = if pieces.is_empty() { 3001 } else { 3000 };
            blake3::hash(&round_trip(id, &*codec, &bytes[..len], place).unwrap()).to_hex()[..16].to_owned()
        };
        Some([code(&[]), code(&[Piece { shape: &shape, start: 0, len: 3000, reference: None }])])
    };
    let expected = [
        (CodecId::Pco, ["ea99f109fb5dfc0a", "79236fd2132836ed"]),
        (CodecId::Fpzip, ["2ceae94cfb9946c0", "ea75335902bb55bd"]),
        (CodecId::Fields0, ["d4902d103e1b1fb1", "b5f04851038d29c1"]),
        (CodecId::Zfp, ["41de6646a6dbafc6", "df824c6095e0c935"]),
    ];
    for (id, expected) in expected {
        if let Some(found) = hashes(id) {
            assert_eq!(found, expected, "{id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_bits(words in proptest::collection::vec(any::<u64>(), 0..300), n_rows in 1usize..9) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for dtype in Dtype::ALL {
            everywhere(&bytes, Place { dtype, pieces: &[] });
            let e = dtype.size_bytes() as usize;
            let n_columns = bytes.len() / e / n_rows;
            let (shape, len) = ([n_rows as u64, n_columns as u64], n_rows * n_columns * e);
            everywhere(&bytes[..len], Place { dtype, pieces: &[Piece { shape: &shape, start: 0, len, reference: None }] });
        }
    }

    #[test]
    fn any_special_values(picks in proptest::collection::vec(0usize..8, 0..600)) {
        // Infinities, zeros of both signs, quiet and signalling NaNs, subnormals.
        let values = [0u32, 1 << 31, 0x7f80_0000, 0xff80_0000, 0x7fc0_0001, 0xffa0_1234, 1, 0x3f80_0000];
        let bytes: Vec<u8> = picks.iter().flat_map(|&pick| values[pick].to_le_bytes()).collect();
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16] {
            everywhere(&bytes, Place { dtype, pieces: &[] });
        }
    }
}
