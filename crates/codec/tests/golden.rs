//! The bytes that today's code writes, pinned. They may change only together with the format version (container and plain codecs)
//! or the numerics revision (codec lm).

mod common;

use std::collections::BTreeMap;

use common::{OneModel, lm_options, pack};
use lmgc_codec::lm::{LmFormat, LmSettings, Mask};
use lmgc_codec::{CodecName, CompressOptions};
use lmgc_serialize::Format;
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{TinyModel, gradient_like};

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

#[test]
fn plain_codecs_write_what_they_wrote() {
    let original = gradient_like(1, 3001);
    // brotli and flac weigh their choices with the system's logarithms and cosines, so they have no golden files.
    let expected = [
        ("auto", "17d77c0afd1b456e"),
        ("raw", "32a6697c333f9e0b"),
        ("zstd", "adba422db03145e0"),
        ("split-zstd", "887f8157b7649f70"),
        ("gzip", "b319151e0c3ff5de"),
        ("lzma", "8dc4d23d42c472cc"),
        ("bzip2", "8b057cefd0a77aba"),
        ("split-xz", "ac6db72bf6919735"),
        ("bitshuffle-zstd", "73a166b23e9de40f"),
        ("png", "35364aac4f334d73"),
        ("pco", "f350db69862fcb4b"),
        ("fields0", "1b84e349d70d919a"),
    ];
    let built: Vec<String> = CodecName::all().map(|codec| codec.to_string()).collect();
    let expected: Vec<_> = expected.into_iter().filter(|(name, _)| built.iter().any(|built| built == name)).collect();
    let found: Vec<String> = expected
        .iter()
        .map(|(name, _)| CompressOptions { codec: name.parse().unwrap(), ..Default::default() })
        .map(|options| hash(&pack(&original, &options).0))
        .collect();
    let found: Vec<(&str, &str)> = expected.iter().zip(&found).map(|((name, _), hash)| (*name, &**hash)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_language_model_writes_what_it_wrote() {
    let models = OneModel::tiny(&TinyModel::default());
    assert_eq!(models.0.fingerprint().to_string(), "d8170578244cae08e80d204d4902c7d9fe357c461e168b211006bffb4c34d745");
    let original = gradient_like(2, 3001);
    let hash_of = |format, mask| {
        let codec =
            models.codec(LmSettings { format: Format::into(format), mask, window_tokens: 256, ..Default::default() });
        hash(&pack(&original, &lm_options(&codec)).0)
    };
    assert_eq!(
        [
            hash_of(Format::HexSpace, Mask::Alphabet),
            hash_of(Format::HexNone, Mask::None),
            hash_of(Format::Iso, Mask::Alphabet),
            hash_of(Format::HexSpace, Mask::Grammar),
        ],
        ["3f6cddee65a4f9e3", "0d781f0c33c0cb34", "afe8c305763938a5", "afd5683dcdd8f549"]
    );
}

#[test]
fn what_goes_beyond_text_is_written_as_it_was() {
    let models = OneModel::tiny(&TinyModel::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    let values = gradient_like(2, 4000);
    let tensors = [("a".to_owned(), Dtype::F32, vec![40, 25], &values[..])];
    safetensors::write(&path, &tensors, &BTreeMap::new()).unwrap();
    let original = std::fs::read(path).unwrap();
    let text = LmSettings { window_tokens: 256, ..Default::default() };
    let mixed = LmSettings { mix: true, ..text };
    let found = [
        LmSettings { overlap_tokens: 100, ..text },
        LmSettings { lm_bits: Some(16), ..text },
        LmSettings { format: LmFormat::Nibbles, ..text },
        LmSettings { format: LmFormat::Bytes, lm_bits: Some(16), ..text },
        LmSettings { format: LmFormat::Exponents, ..text },
        LmSettings { format: LmFormat::Nibbles, ..mixed },
        LmSettings { format: LmFormat::Bytes, lm_bits: Some(16), overlap_tokens: 50, ..mixed },
        LmSettings { format: LmFormat::Exponents, ..mixed },
    ]
    .map(|settings| hash(&pack(&original, &lm_options(&models.codec(settings))).0));
    assert_eq!(
        found,
        [
            "d7d1e6a65af31bc7",
            "14b8b8f2687f1ff3",
            "1ff541b7dabfe619",
            "c084e2f2fbb5ace8",
            "470e29f2967e8812",
            "915c8ce8f768a3d0",
            "640bc56ee2924bfc",
            "dc48829d6aed9564",
        ]
    );
}
