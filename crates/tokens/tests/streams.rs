//! Bytes to tokens and back with the small tokenizers; streams that were not written by this crate.

mod common;

use common::{Random, all_serializers, byte_level, changed, sentence_piece, serializer};
use lmgc_serialize::{CHUNK_BYTES, Format, Serializer};
use lmgc_tokens::stream::{TokenStream, detokenize_bytes, tokenize_bytes};
use lmgc_tokens::{Error, Tokenizer};
use proptest::prelude::*;
use serde_json::json;

fn round_trip(tokenizer: &Tokenizer, serializer: &Serializer, bytes: &[u8]) -> TokenStream {
    let stream = tokenize_bytes(tokenizer, serializer, bytes).unwrap();
    let back = detokenize_bytes(tokenizer, serializer, &stream.ids, &stream.side, bytes.len() as u64).unwrap();
    assert!(back == bytes, "{}", serializer.format());
    stream
}

/// Changes characters in every way: drops, replaces, puts in, and puts in at the end.
fn lossy() -> Tokenizer {
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    changed(
        "byte_level",
        &[(
            "/normalizer",
            json!({"type": "Sequence", "normalizers": [
                {"type": "Lowercase"}, {"type": "NFKC"}, replace("y", "yyy"), replace("q", ""), replace("0", "łł"), replace("7", ""),
            ]}),
        )],
    )
}

/// Like Mistral's later tokenizers: no dummy where the text begins with a space.
fn metaspace() -> Tokenizer {
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    changed("sentence_piece", &[("/normalizer", json!(null)), ("/pre_tokenizer", metaspace)])
}

/// Without byte fallback what is not in the vocabulary becomes `<unk>`.
fn unknowing() -> Tokenizer {
    changed("sentence_piece", &[("/model/byte_fallback", json!(false))])
}

fn tokenizers() -> Vec<(&'static str, Tokenizer)> {
    vec![
        ("byte_level", byte_level()),
        ("sentence_piece", sentence_piece()),
        ("lossy", lossy()),
        ("metaspace", metaspace()),
        ("unknowing", unknowing()),
    ]
}

/// Bytes of which many are special for some tokenizer.
fn interesting_bytes(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    let snippet = prop_oneof![
        8 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => Just(b"<|im_start|>".to_vec()),
        1 => Just(b"<s>".to_vec()),
        1 => Just(b"\t\t".to_vec()),
        1 => (0..6_usize).prop_map(|n| vec![b' '; n]),
        1 => (0..6_usize).prop_map(|n| vec![4; n]),
        1 => Just(b"yqYQ".to_vec()),
        1 => Just(b"\xff\xd3\x93\xa0\xbd".to_vec()),
    ];
    prop::collection::vec(snippet, 0..max_len).prop_map(|snippets| snippets.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_bytes_come_back(bytes in interesting_bytes(700)) {
        for (name, tokenizer) in tokenizers() {
            for serializer in all_serializers() {
                let stream = round_trip(&tokenizer, &serializer, &bytes);
                // Hexadecimal digits are lost by none of the ordinary tokenizers.
                if serializer.format().is_hex() && matches!(name, "byte_level" | "sentence_piece" | "metaspace") {
                    prop_assert!(stream.side.is_empty());
                }
            }
        }
    }

    #[test]
    fn foreign_streams_are_refused_or_decoded(
        ids in prop::collection::vec(0..320_u32, 0..300),
        side in prop::collection::vec(any::<u8>(), 0..40),
        n_bytes in prop_oneof![0..600_u64, any::<u64>()],
        format in prop::sample::select(&Format::ALL[..]),
    ) {
        let tokenizer = sentence_piece();
        for side in [&side[..], &[]] {
            match detokenize_bytes(&tokenizer, &serializer(format, 4), &ids, side, n_bytes) {
                Ok(bytes) => prop_assert_eq!(bytes.len() as u64, n_bytes),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn small_inputs() {
    for (_, tokenizer) in tokenizers() {
        for serializer in all_serializers() {
            assert!(round_trip(&tokenizer, &serializer, &[]).ids.is_empty());
            if serializer.bytes_per_group().get() == 1 {
                for byte in 0..=255 {
                    round_trip(&tokenizer, &serializer, &[byte]);
                }
            }
            for len in [2, 3, CHUNK_BYTES - 1, CHUNK_BYTES + 1] {
                for byte in [0, 4, b' ', b'0', b'q', 0xd3, 0xff] {
                    round_trip(&tokenizer, &serializer, &vec![byte; len]);
                }
            }
        }
    }
}

#[test]
fn chunks_are_tokenised_by_themselves() {
    let (tokenizer, serializer) = (sentence_piece(), serializer(Format::HexSpace, 4));
    let bytes = [0x3f; CHUNK_BYTES + 9];
    let stream = round_trip(&tokenizer, &serializer, &bytes);
    let first = tokenizer.encode_chunk(&serializer.serialize(&bytes[..CHUNK_BYTES])).unwrap();
    let second = tokenizer.encode_chunk(&serializer.serialize(&bytes[CHUNK_BYTES..])).unwrap();
    assert_eq!(stream.ids, [first, second].concat());
}

#[test]
fn a_dummy_prefix_costs_one_byte_of_side_information() {
    let bytes: Vec<u8> = (0..=255).cycle().skip(1).take(16 * CHUNK_BYTES).collect();
    assert_eq!(round_trip(&sentence_piece(), &serializer(Format::Iso, 4), &bytes).side.len(), 1);
    assert_eq!(round_trip(&byte_level(), &serializer(Format::Iso, 4), b"no loss").side.len(), 0);
}

#[test]
fn lost_characters_are_coded_compactly() {
    let serializer = serializer(Format::Iso, 4);
    let n_bytes = 64 * CHUNK_BYTES;
    // Noise without the characters that are torn apart.
    let mut random = Random(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| (random.next() >> 40) as u8)
        .filter(|byte| ![0x93, 0xd3].contains(byte))
        .take(n_bytes)
        .collect();
    let n_lost = noise.iter().filter(|byte| [4, 6, 0x13, 0x14, 0x16, 0x1d].contains(*byte)).count();
    let stream = round_trip(&byte_level(), &serializer, &noise);
    // Which one of six and where: log2(6) bits and a geometric distribution's 6.8; and what learning that costs.
    let bits_per_loss = stream.side.len() as f64 * 8.0 / n_lost as f64;
    assert!((9.0..10.5).contains(&bits_per_loss), "{bits_per_loss} bits for each of {n_lost} lost characters");
    // All is lost.
    let stream = round_trip(&byte_level(), &serializer, &vec![4; n_bytes]);
    assert!(stream.ids.is_empty());
    assert!(stream.side.len() < n_bytes / 32, "{}", stream.side.len());
}

#[test]
fn wrong_streams() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::HexSpace, 4));
    let bytes = [0x3f; 700];
    let stream = tokenize_bytes(&tokenizer, &serializer, &bytes).unwrap();
    let detokenize = |ids: &[u32], side: &[u8], n_bytes| detokenize_bytes(&tokenizer, &serializer, ids, side, n_bytes);
    for end in 0..stream.ids.len() {
        assert!(matches!(detokenize(&stream.ids[..end], &[], 700), Err(Error::CorruptTokens { .. })));
    }
    for n_bytes in [0, 699, 701, 512, u64::MAX] {
        assert!(matches!(detokenize(&stream.ids, &[], n_bytes), Err(Error::CorruptTokens { .. })), "{n_bytes}");
    }
    for id in [0, 30, 253, 5000, u32::MAX] {
        let mut ids = stream.ids.clone();
        ids[3] = id;
        assert!(matches!(detokenize(&ids, &[], 700), Err(Error::CorruptTokens { .. })), "{id}");
    }
    for side in [&[4][..], &[1, 0], &[0xff], &[2], &[3]] {
        assert!(detokenize(&stream.ids, side, 700).is_err(), "{side:?}");
    }
    let other = sentence_piece();
    assert!(detokenize_bytes(&other, &serializer, &stream.ids, &[], 700).is_err());
}

#[test]
fn damaged_side_information() {
    let serializer = serializer(Format::IsoSpace, 2);
    let bytes: Vec<u8> = (0..=255).cycle().take(CHUNK_BYTES + 100).collect();
    for (name, tokenizer) in tokenizers() {
        let stream = round_trip(&tokenizer, &serializer, &bytes);
        assert!(!stream.side.is_empty(), "{name}");
        // It may decode to something else, which only a checksum can tell, but not to another length.
        let is_refused = |side: &[u8]| {
            let back = detokenize_bytes(&tokenizer, &serializer, &stream.ids, side, bytes.len() as u64);
            back.map(|back| assert_eq!(back.len(), bytes.len())).is_err()
        };
        let n_refused = (0..stream.side.len()).filter(|&end| is_refused(&stream.side[..end])).count();
        assert!(n_refused + 1 + stream.side.len() / 10 >= stream.side.len(), "{name}: {n_refused}");
        assert!(is_refused(&[&stream.side[..], &[0]].concat()), "{name}");
        for index in 0..stream.side.len() {
            let mut damaged = stream.side.clone();
            damaged[index] ^= 1 << (index % 8);
            is_refused(&damaged);
        }
    }
}
