//! Ideal code lengths against what the coder writes.

mod common;

use common::OneModel;
use lmgc_codec::lm::{CodeLength, LmFormat, LmSettings, Mask};
use lmgc_codec::{BlockCodec, BlockInput, NoProgress, Place};
use lmgc_serialize::{BytesPerGroup, Format};
use lmgc_tensors::Dtype;
use lmgc_testkit::{TinyModel, gradient_like};

/// Most bytes that a stream takes beyond its code length.
const STREAM_END_BYTES: f64 = 8.0;
/// Most bytes of a payload's own fields here.
const FIELDS_BYTES: f64 = 24.0;

fn input(bytes: &[u8], dtype: Dtype) -> BlockInput<'_> {
    BlockInput { bytes, place: Place { dtype, pieces: &[] }, is_token_ids: false }
}

fn names(length: &CodeLength) -> Vec<&str> {
    length.fields.iter().map(|(name, _)| name.as_str()).collect()
}

fn field(length: &CodeLength, name: &str) -> f64 {
    length.fields.iter().find(|(field, _)| field == name).unwrap().1
}

#[test]
fn payloads_are_as_long_as_said() {
    let models = OneModel::tiny(&TinyModel::default());
    let bytes = gradient_like(5, 1600);
    let usual = LmSettings { window_tokens: 64, ..Default::default() };
    for settings in [
        usual,
        LmSettings { mask: Mask::None, ..usual },
        LmSettings { mask: Mask::Grammar, ..usual },
        LmSettings { lm_bits: Some(16), ..usual },
        LmSettings { format: Format::Iso.into(), ..usual },
        LmSettings { format: LmFormat::Nibbles, ..usual },
        LmSettings { format: LmFormat::Exponents, mix: true, ..usual },
        LmSettings { overlap_tokens: 20, ..usual },
    ] {
        let codec = models.codec(settings);
        let length = codec.code_length(input(&bytes, Dtype::F32), &NoProgress).unwrap();
        let (codec, meter) = codec.metered();
        let encoded = codec.encode(input(&bytes, Dtype::F32), &NoProgress).unwrap();
        assert_eq!(meter.take(), length, "{settings:?}");
        assert_eq!(length.n_tokens, encoded.n_tokens);
        let (said, written) = (length.bits() / 8.0, encoded.payload.len() as f64);
        // The coder's own arithmetic loses less than a thousandth.
        let most = said * 1.001 + STREAM_END_BYTES * f64::from(encoded.n_lanes) + FIELDS_BYTES;
        assert!(said - 1.0 <= written && written <= most, "{settings:?}: {said} bytes said, {written} written");
    }
}

#[test]
fn costs_go_to_the_bytes_that_cause_them() {
    let models = OneModel::tiny(&TinyModel::default());
    let bytes = gradient_like(6, 1000);
    let length = |settings: LmSettings, bytes: &[u8], dtype| {
        models.codec(settings).code_length(input(bytes, dtype), &NoProgress).unwrap()
    };
    let usual = LmSettings { window_tokens: 64, ..Default::default() };
    let whole = length(usual, &bytes, Dtype::F32);
    assert_eq!(names(&whole), ["separators", "byte 0", "byte 1", "byte 2", "byte 3"]);
    let grammar = length(LmSettings { mask: Mask::Grammar, ..usual }, &bytes, Dtype::F32);
    assert!(
        field(&grammar, "separators") < 0.7 * field(&whole, "separators"),
        "few tokens can come there: {grammar:?}"
    );
    // 250 values; a tiny model knows nothing of their digits.
    assert!((8.0 * 250.0..16.0 * 250.0).contains(&field(&grammar, "byte 0")), "{grammar:?}");
    // Groups of three bytes cross the values' borders.
    let three = LmSettings { bytes_per_group: BytesPerGroup::new(3).unwrap(), mask: Mask::Grammar, ..usual };
    let fields = length(three, &bytes, Dtype::F32);
    assert_eq!(names(&fields), names(&whole));
    assert!(field(&fields, "byte 1") > 8.0 * 250.0, "{fields:?}");
    let upper = length(LmSettings { lm_bits: Some(16), ..usual }, &bytes, Dtype::F32);
    assert_eq!(names(&upper), ["separators", "byte 2", "byte 3", "other bits"]);
    let exponents = length(LmSettings { format: LmFormat::Exponents, ..usual }, &bytes, Dtype::F32);
    assert_eq!(names(&exponents), ["side information", "sign and exponent", "mantissa"]);
    let iso = length(LmSettings { format: Format::Iso.into(), ..usual }, &bytes, Dtype::F32);
    assert!(names(&iso).contains(&"text"), "{iso:?}");
    assert_eq!(length(usual, &[], Dtype::F32).bits(), 0.0);
    let odd = length(usual, &bytes[..13], Dtype::F32);
    assert!(odd.bits() > 0.0 && names(&odd).contains(&"byte 3"));
}
