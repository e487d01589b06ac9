//! Files coded against an earlier version of themselves, and values on the grid of others' last bits.

mod common;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use common::{pack, unpack};
use lmgc_codec::lm::LanguageModel;
use lmgc_codec::structural::Structural;
use lmgc_codec::{
    BlockCodec, BlockInput, CodecId, CodecName, CompressOptions, Encoded, EncodedBlock, Error, Level, ModelRecord,
    ModelSource, NoModels, NoProgress, Piece, Place, Reference, baselines,
};
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::Random;
use proptest::prelude::*;

struct OneReference(Reference);

impl ModelSource for OneReference {
    fn model(&self, _: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        Err(Error::ModelRequired)
    }

    fn reference(&self) -> Option<&Reference> {
        Some(&self.0)
    }
}

fn reference(file: &[u8]) -> OneReference {
    OneReference(Reference::new(Cursor::new(file.to_vec())).unwrap())
}

fn options(reference: &OneReference) -> CompressOptions<'_> {
    CompressOptions { reference: Some(&reference.0), ..Default::default() }
}

/// Uniform in ±1.
fn uniform(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| (random.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The same after a step of about a thousandth.
fn stepped(weights: &[f32], seed: u64) -> Vec<f32> {
    weights.iter().zip(uniform(weights.len(), seed)).map(|(w, d)| w + 1e-3 * d).collect()
}

fn file(tensors: &[(&str, &[f32], [u64; 2])]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, values, _)| bytes_of(values)).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, _, shape), bytes)| (name.to_string(), Dtype::F32, shape.to_vec(), bytes.as_slice()))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    safetensors::write(&path, &tensors, &BTreeMap::new()).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn a_checkpoint_costs_its_difference_to_the_one_before() {
    let (w, b) = (uniform(64 * 200, 1), uniform(64 * 64, 2));
    let before = file(&[("w", &w, [64, 200]), ("frozen", &b, [64, 64])]);
    let (stepped_w, added) = (stepped(&w, 3), uniform(32 * 32, 4));
    let after = file(&[("w", &stepped_w, [64, 200]), ("added", &added, [32, 32]), ("frozen", &b, [64, 64])]);
    let against = reference(&before);
    let (alone, _) = pack(&after, &CompressOptions::default());
    let (packed, report) = pack(&after, &options(&against));
    assert_eq!(report.n_referenced_tensors, 2);
    // Ten of w's 25 bits are the reference's, and all of the frozen tensor's.
    let saved = 64 * 200 * 9 / 8 + 64 * 64 * 23 / 8;
    assert!(packed.len() + saved < alone.len(), "{} against {}", packed.len(), alone.len());
    assert!(unpack(&packed, &against).unwrap() == after);

    let refused = unpack(&packed, &NoModels).unwrap_err();
    assert!(matches!(&refused, Error::ReferenceRequired { .. }), "{refused}");
    let refused = unpack(&packed, &reference(&after)).unwrap_err();
    assert!(matches!(&refused, Error::ReferenceMismatch { .. }) && refused.is_bad_input(), "{refused}");
    // A file that was coded alone needs none, and is not disturbed by one.
    assert!(unpack(&alone, &against).unwrap() == after);

    let (same, _) = pack(&before, &options(&against));
    assert!(same.len() < 600, "{}", same.len());
    assert!(unpack(&same, &against).unwrap() == before);
}

#[test]
fn a_reference_without_a_namesake_is_refused() {
    let w = uniform(400, 1);
    let after = file(&[("w", &w, [20, 20])]);
    for other in [file(&[("v", &w, [20, 20])]), file(&[("w", &w, [40, 10])]), file(&[]), vec![1, 2, 3], vec![]] {
        let against = reference(&other);
        let result = lmgc_codec::compress(&mut Cursor::new(&after), &mut Vec::new(), &options(&against), &NoProgress);
        assert!(matches!(result, Err(Error::ReferenceUnrelated)));
    }
}

#[test]
fn codecs_that_take_no_reference_do_without() {
    let w = uniform(400, 1);
    let after = file(&[("w", &w, [20, 20])]);
    let against = reference(&after);
    let options = CompressOptions { codec: CodecName::One(CodecId::Zstd), ..options(&against) };
    let (packed, _) = pack(&after, &options);
    assert!(unpack(&packed, &against).unwrap() == after);
}

fn round_trip(bytes: &[u8], against: &[u8], dtype: Dtype, shape: &[u64]) -> Encoded {
    let codec = Structural::new(Level::default());
    let pieces = [Piece { shape, start: 0, len: bytes.len(), reference: Some(against) }];
    let place = Place { dtype, pieces: &pieces };
    let encoded = codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress).unwrap();
    assert!(encoded.payload.len() <= bytes.len());
    let decoder = baselines::codec(encoded.codec, 5).unwrap();
    let decode = |payload: &[u8], place| {
        let block = EncodedBlock { payload, raw_len: bytes.len(), n_lanes: encoded.n_lanes, place };
        decoder.decode(block, &NoProgress)
    };
    assert!(decode(&encoded.payload, place).unwrap() == bytes, "{dtype} {shape:?}");
    if encoded.codec == CodecId::Structural {
        // Without the reference, or with half of it, there is an error or there are wrong bytes; nothing worse.
        let without = [Piece { reference: None, ..pieces[0] }];
        let _ = decode(&encoded.payload, Place { dtype, pieces: &without });
        let half = [Piece { reference: against.get(..against.len() / 2), ..pieces[0] }];
        let _ = decode(&encoded.payload, Place { dtype, pieces: &half });
    }
    encoded
}

#[test]
fn differences_and_halves_in_every_type() {
    let (w, noise) = (uniform(48 * 80, 5), uniform(48 * 80, 6));
    let near = stepped(&w, 7);
    let half: Vec<f32> = w.iter().zip(&noise).map(|(w, e)| 0.5 * w + 1e-4 * e).collect();
    let narrow = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()
    };
    let wide = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|&v| (f64::from(v) * 1.000_000_1).to_le_bytes()).collect()
    };
    type Bytes<'a> = &'a dyn Fn(&[f32]) -> Vec<u8>;
    let types: [(Dtype, Bytes<'_>, usize); 3] =
        [(Dtype::F32, &|v| bytes_of(v), 7), (Dtype::F64, &wide, 7), (Dtype::BF16, &narrow, 2)];
    for (dtype, bytes, n_bits) in types {
        for values in [&near, &half] {
            let (bytes, against) = (bytes(values), bytes(&w));
            for shape in [&[48, 80][..], &[80, 48], &[3840]] {
                let coded = round_trip(&bytes, &against, dtype, shape).payload.len();
                let alone = round_trip(&bytes, &[], dtype, shape).payload.len();
                assert!(coded + 3840 * n_bits / 8 < alone, "{dtype} {shape:?}: {coded} against {alone}");
            }
        }
    }
}

#[test]
fn differences_of_weights_lie_on_a_grid() {
    let w: Vec<f32> = uniform(64 * 100, 8).iter().map(|x| 0.25 * x).collect();
    let differences: Vec<f32> = stepped(&w, 9).iter().zip(&w).map(|(after, before)| after - before).collect();
    let plain: Vec<f32> = uniform(64 * 100, 9).iter().map(|d| 1e-3 * d * 0.731).collect();
    let size = |values: &[f32]| round_trip(&bytes_of(values), &[], Dtype::F32, &[64, 100]).payload.len();
    // The last bits of weights of about 2^-3 are at 2^-26 or 2^-27, those of the differences could be at 2^-33.
    assert!(size(&differences) + 64 * 100 * 5 / 8 < size(&plain), "{} {}", size(&differences), size(&plain));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_bits_against_any_bits(
        pairs in proptest::collection::vec((any::<u32>(), any::<u32>(), 0u8..4), 0..300),
        n_rows in 1usize..20,
        dtype in 0usize..4,
    ) {
        let dtype = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64][dtype];
        let against: Vec<u8> = pairs.iter().flat_map(|(a, ..)| a.to_le_bytes()).collect();
        // A quarter each: the same, near, with zero bits at the end, anything.
        let near = |&(a, b, kind): &(u32, u32, u8)| match kind { 0 => a, 1 => a ^ b & 7, 2 => b << (b % 24), _ => b };
        let bytes: Vec<u8> = pairs.iter().flat_map(|pair| near(pair).to_le_bytes()).collect();
        let n = bytes.len() / dtype.size_bytes() as usize;
        round_trip(&bytes, &against, dtype, &[n_rows as u64, (n / n_rows) as u64]);
    }
}
