//! The bytes that today's code writes, pinned. They may change only together with the format version (container and plain codecs)
//! or the numerics revision (codec lm).

mod common;

use common::{OneModel, lm_options, pack};
use lmgc_codec::lm::{LmSettings, Mask};
use lmgc_codec::{CodecName, CompressOptions};
use lmgc_serialize::Format;
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
        let codec = models.codec(LmSettings { format, mask, window_tokens: 256, ..Default::default() });
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
