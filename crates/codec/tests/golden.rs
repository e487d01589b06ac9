//! The bytes that today's code writes, pinned. They may change only together with the format version (container and plain codecs)
//! or the numerics revision (codec lm).

mod common;

use common::{OneModel, lm_options, pack, takes_any_bytes};
use lmgc_codec::lm::{LmSettings, Mask};
use lmgc_codec::{CodecId, CodecName, CompressOptions};
use lmgc_serialize::Format;
use lmgc_testkit::{TinyModel, gradient_like};

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

#[test]
fn plain_codecs_write_what_they_wrote() {
    let original = gradient_like(1, 3001);
    let found: Vec<(String, String)> = CodecName::all()
        // gzip's library may find other bytes in a later version; what it wrote stays readable.
        .filter(|&codec| ![CodecName::One(CodecId::Lm), CodecName::One(CodecId::Gzip)].contains(&codec))
        .filter(|&codec| takes_any_bytes(codec))
        .map(|codec| (codec.to_string(), hash(&pack(&original, &CompressOptions { codec, ..Default::default() }).0)))
        .collect();
    let expected = [
        ("auto", "17d77c0afd1b456e"),
        ("raw", "32a6697c333f9e0b"),
        ("zstd", "adba422db03145e0"),
        ("split-zstd", "887f8157b7649f70"),
        ("pco", "f350db69862fcb4b"),
        ("fields0", "1b84e349d70d919a"),
    ];
    assert_eq!(found, expected.map(|(codec, hash)| (codec.to_owned(), hash.to_owned())));
}

#[test]
fn the_language_model_writes_what_it_wrote() {
    let models = OneModel::tiny(&TinyModel::default());
    assert_eq!(models.0.fingerprint().to_string(), "85bec8e0e4a7d6eaba38938550d0fab5acc889c60c265ad6a750ed5882a3c99e");
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
        ],
        ["135ab631efa4da6f", "4b223bc3f1f61cad", "308b5746ee5cd4ab"]
    );
}
