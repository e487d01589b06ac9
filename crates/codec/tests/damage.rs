//! Damaged files, wrong models, and what is left behind.

mod common;

use std::path::Path;

use common::{OneModel, lm_options, pack, takes_any_bytes, unpack};
use lmgc_codec::files::{FileOptions, Place, compress_file, decompress_file, verify_file};
use lmgc_codec::lm::{LmCodec, LmFormat, LmSettings};
use lmgc_codec::{
    BlockCodec, BlockInput, CodecId, CodecName, CompressOptions, EncodedBlock, Error, ModelSource, NoModels,
    NoProgress, Piece, Place as BlockPlace, baselines,
};
use lmgc_tensors::Dtype;
use lmgc_testkit::{Random, TinyModel, gradient_like};

const SETTINGS: fn() -> LmSettings = || LmSettings { window_tokens: 256, ..Default::default() };

fn tiny() -> OneModel {
    OneModel::tiny(&TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() })
}

fn files(models: &dyn ModelSource, force: bool) -> FileOptions<'_> {
    FileOptions { force, models, progress: &NoProgress }
}

fn plain_ids() -> impl Iterator<Item = CodecId> {
    CodecId::ALL.into_iter().filter(|&id| {
        ![CodecId::Structural, CodecId::Fast].contains(&id)
            && !id.needs_model()
            && id.is_built()
            && takes_any_bytes(CodecName::One(id))
    })
}

/// The range coder of fields0 reads zeros beyond its end; that a payload was cut, the container's checksums notice.
fn ids_that_know_their_end() -> impl Iterator<Item = CodecId> {
    plain_ids().filter(|&id| id != CodecId::Fields0)
}

fn at_reference_level(id: CodecId) -> Box<dyn BlockCodec> {
    baselines::codec(id, baselines::reference_level(id)).unwrap()
}

#[test]
fn every_truncation_and_every_flipped_bit_is_bad_input() {
    let models = tiny();
    let original = gradient_like(1, 300);
    let lm = models.codec(SETTINGS());
    let mut packed: Vec<Vec<u8>> = CodecName::all()
        .filter(|&codec| !codec.needs_model() && takes_any_bytes(codec))
        .map(|codec| pack(&original, &CompressOptions { codec, ..Default::default() }).0)
        .collect();
    packed.push(pack(&original, &lm_options(&lm)).0);
    for packed in packed {
        for len in 0..packed.len() {
            let error = unpack(&packed[..len], &models).unwrap_err();
            assert!(error.is_bad_input(), "{len} of {} bytes: {error}", packed.len());
        }
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = unpack(&damaged, &models).unwrap_err();
            assert!(error.is_bad_input(), "bit {bit}: {error}");
        }
    }
}

/// Payloads whose checksums are right, but which no encoder wrote.
#[test]
fn block_decoders_survive_any_payload() {
    let models = tiny();
    let original = gradient_like(2, 300);
    let shape = [75];
    let pieces = [Piece { shape: &shape, start: 0, len: 300, reference: None }];
    let place = BlockPlace { dtype: Dtype::F32, pieces: &pieces };
    let input = BlockInput { bytes: &original, place, is_token_ids: false };
    let mut codecs: Vec<(CodecId, Box<dyn BlockCodec>)> = plain_ids().map(|id| (id, at_reference_level(id))).collect();
    let mixed = LmSettings { mix: true, overlap_tokens: 20, ..SETTINGS() };
    for settings in [
        SETTINGS(),
        LmSettings { lm_bits: Some(16), ..SETTINGS() },
        LmSettings { format: LmFormat::Nibbles, lm_bits: Some(12), ..SETTINGS() },
        LmSettings { format: LmFormat::Bytes, lm_bits: Some(16), ..mixed },
        LmSettings { format: LmFormat::Exponents, ..mixed },
    ] {
        codecs.push((CodecId::Lm, Box::new(models.codec(settings))));
    }
    for (id, codec) in codecs {
        let mut n_refused = 0;
        let encoded = codec.encode(input, &NoProgress).unwrap();
        let mut try_decode = |payload: &[u8], raw_len: usize, n_lanes: u16| match codec
            .decode(EncodedBlock { payload, raw_len, n_lanes, place }, &NoProgress)
        {
            Ok(bytes) => assert_eq!(bytes.len(), raw_len),
            Err(error) => {
                n_refused += 1;
                assert!(error.is_bad_input(), "{id}: {error}");
            }
        };
        for len in 0..encoded.payload.len() {
            try_decode(&encoded.payload[..len], original.len(), encoded.n_lanes);
        }
        let step = if id == CodecId::Lm { 11 } else { 1 };
        for bit in (0..encoded.payload.len() * 8).step_by(step) {
            let mut damaged = encoded.payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            try_decode(&damaged, original.len(), encoded.n_lanes);
        }
        for n_lanes in [0, 1, 2, 3, 16, 17, u16::MAX] {
            try_decode(&encoded.payload, original.len(), n_lanes);
        }
        for raw_len in [0, 1, 299, 301, 4 << 20] {
            try_decode(&encoded.payload, raw_len, encoded.n_lanes);
        }
        assert!(n_refused > 100, "{id}: {n_refused}");
    }
}

#[test]
fn no_truncated_payload_passes() {
    for original in [gradient_like(6, 700), vec![0; 3000]] {
        for id in ids_that_know_their_end() {
            let (codec, place) = (at_reference_level(id), BlockPlace::UNKNOWN);
            let input = BlockInput { bytes: &original, place, is_token_ids: false };
            let payload = codec.encode(input, &NoProgress).unwrap().payload;
            for len in 0..payload.len() {
                let block = EncodedBlock { payload: &payload[..len], raw_len: original.len(), n_lanes: 0, place };
                // What follows the image in a PNG is not read.
                let may_pass = id == CodecId::Png && len + 20 >= payload.len();
                match codec.decode(block, &NoProgress) {
                    Ok(bytes) => assert!(may_pass && bytes == original, "{id}: {len} of {} bytes", payload.len()),
                    Err(error) => assert!(error.is_bad_input(), "{id}: {error}"),
                }
            }
        }
    }
}

/// Payloads of a few kilobytes that would unpack to megabytes, and random ones that begin as they should.
#[test]
fn block_decoders_stop_at_the_length_of_the_block() {
    let original = vec![0; 16 << 20];
    let mut random = Random::new(7);
    for id in ids_that_know_their_end() {
        let (codec, place) = (at_reference_level(id), BlockPlace::UNKNOWN);
        let input = BlockInput { bytes: &original, place, is_token_ids: false };
        let mut payload = codec.encode(input, &NoProgress).unwrap().payload;
        for raw_len in [0, 1, 1000] {
            let block = EncodedBlock { payload: &payload, raw_len, n_lanes: 0, place };
            assert!(codec.decode(block, &NoProgress).unwrap_err().is_bad_input(), "{id}");
        }
        payload.truncate(2000);
        for _ in 0..200 {
            let start = random.next_u64() as usize % payload.len();
            let mut damaged = payload.clone();
            damaged[start..].copy_from_slice(&random.bytes(payload.len() - start));
            let block = EncodedBlock { payload: &damaged, raw_len: 4000, n_lanes: 0, place };
            if let Err(error) = codec.decode(block, &NoProgress) {
                assert!(error.is_bad_input(), "{id}: {error}");
            }
        }
    }
}

#[test]
fn another_model_is_refused() {
    let (models, other) = (tiny(), OneModel::tiny(&TinyModel { seed: 99, ..Default::default() }));
    let (packed, _) = pack(&gradient_like(3, 100), &lm_options(&models.codec(SETTINGS())));
    let error = unpack(&packed, &other).unwrap_err();
    assert!(matches!(error, Error::ModelMismatch { .. }) && error.is_bad_input());
    assert!(error.to_string().contains("--model"), "{error}");
    assert!(matches!(unpack(&packed, &NoModels), Err(Error::ModelRequired)));
}

#[test]
fn windows_beyond_the_model_are_refused() {
    let models = tiny();
    let settings = |window_tokens| LmSettings { window_tokens, ..Default::default() };
    let too_long = LmCodec::new(models.0.clone(), settings(2049), models.1).err().unwrap();
    assert!(matches!(too_long, Error::WindowTooLong { window: 2049, limit: 2048, .. }), "{too_long}");
    assert!(matches!(LmCodec::new(models.0.clone(), settings(1), models.1), Err(Error::WindowTooShort { .. })));
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn failures_leave_old_outputs_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| Place::File(directory.path().join(name));
    std::fs::write(directory.path().join("in"), gradient_like(4, 5000)).unwrap();
    let options = CompressOptions::default();
    compress_file(&path("in"), &path("in.lmgc"), &options, true, &files(&NoModels, false)).unwrap();
    verify_file(&path("in.lmgc"), &files(&NoModels, false)).unwrap();

    let exists = compress_file(&path("in"), &path("in.lmgc"), &options, true, &files(&NoModels, false));
    assert!(matches!(exists, Err(Error::OutputExists { .. })));
    let exists = decompress_file(&path("in.lmgc"), &path("in"), &files(&NoModels, false));
    assert!(matches!(exists, Err(Error::OutputExists { .. })));

    let mut damaged = std::fs::read(directory.path().join("in.lmgc")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(directory.path().join("bad.lmgc"), &damaged).unwrap();
    std::fs::write(directory.path().join("old"), b"old").unwrap();
    let before = names_in(directory.path());
    assert!(decompress_file(&path("bad.lmgc"), &path("old"), &files(&NoModels, true)).is_err());
    assert!(decompress_file(&path("bad.lmgc"), &path("new"), &files(&NoModels, true)).is_err());
    assert!(verify_file(&path("bad.lmgc"), &files(&NoModels, true)).unwrap_err().is_bad_input());
    assert!(compress_file(&path("missing"), &path("new"), &options, true, &files(&NoModels, true)).is_err());
    assert_eq!(names_in(directory.path()), before);
    assert_eq!(std::fs::read(directory.path().join("old")).unwrap(), b"old");

    decompress_file(&path("in.lmgc"), &path("old"), &files(&NoModels, true)).unwrap();
    assert_eq!(std::fs::read(directory.path().join("old")).unwrap(), gradient_like(4, 5000));
}

#[test]
fn verification_compares_with_the_input() {
    let original = gradient_like(5, 4000);
    let mut other = original.clone();
    other[1234] ^= 4;
    let (packed, _) = pack(&original, &CompressOptions::default());
    let verify = |bytes: &[u8]| {
        lmgc_codec::verify_against(packed.as_slice(), &mut std::io::Cursor::new(bytes), &NoModels, &NoProgress)
    };
    assert!(verify(&original).is_ok());
    assert!(matches!(verify(&other), Err(Error::VerificationFailed { offset: 1234 })));
    assert!(matches!(verify(&original[..3999]), Err(Error::InputChanged)));
}
