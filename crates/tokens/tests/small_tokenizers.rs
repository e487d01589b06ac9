//! Ids, tables and alphabets of the small tokenizers, from `tokenizer.json` and from GGUF metadata.

mod common;

use std::collections::BTreeMap;

use common::{all_serializers, byte_level, changed, definition, read_json, sentence_piece, serializer, testdata};
use lmgc_serialize::Format;
use lmgc_tensors::gguf::{GgufFile, Value};
use lmgc_tokens::{Error, Tokenizer};
use serde_json::json;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn expected(name: &str) -> Vec<(String, Vec<u32>)> {
    serde_json::from_value(read_json(&testdata().join(name).join("expected.json"))).unwrap()
}

#[test]
fn byte_level_ids_equal_those_of_transformers() {
    let tokenizer = byte_level();
    for (text, ids) in expected("byte_level") {
        assert_eq!(tokenizer.encode_chunk(&text).unwrap(), ids, "{text:?}");
    }
}

#[test]
fn sentence_piece_ids_equal_those_of_transformers_less_the_dummy_prefix() {
    let tokenizer = sentence_piece();
    let mut n_dropped = 0;
    for (text, mut ids) in expected("sentence_piece") {
        // Here a lone ▁ in front is always the dummy prefix.
        if ids.first().is_some_and(|&id| tokenizer.id_bytes(id) == b" ") {
            ids.remove(0);
            n_dropped += 1;
        }
        assert_eq!(tokenizer.encode_chunk(&text).unwrap(), ids, "{text:?}");
    }
    assert!(n_dropped > 0);
}

#[test]
fn only_a_dummy_prefix_is_dropped() {
    // This tokenizer puts no dummy where a text begins with a space itself.
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    let tokenizer = changed(
        "sentence_piece",
        &[
            ("/normalizer", json!(null)),
            ("/pre_tokenizer", metaspace),
            (
                "/decoder",
                json!(
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}),
            ),
        ],
    );
    let pieces = |text: &str| -> Vec<Vec<u8>> {
        tokenizer.encode_chunk(text).unwrap().iter().map(|&id| tokenizer.id_bytes(id).to_vec()).collect()
    };
    assert!(tokenizer.dummy_prefix());
    assert_eq!(pieces("x"), [b"x"]);
    assert_eq!(pieces(" x"), [&b" "[..], b"x"]);
    assert_eq!(pieces("  x"), [&b"  "[..], b"x"]);
    let prepending = sentence_piece();
    let ids = prepending.encode_chunk(" x").unwrap();
    assert_eq!(ids.iter().map(|&id| prepending.id_bytes(id)).collect::<Vec<_>>(), [&b"  "[..], b"x"]);
}

#[test]
fn special_tokens_are_never_made_and_have_no_bytes() {
    for tokenizer in [byte_level(), sentence_piece()] {
        let special: Vec<u32> =
            (0..tokenizer.vocab_size() as u32).filter(|&id| tokenizer.id_bytes(id).is_empty()).collect();
        assert!((3..=4).contains(&special.len()));
        for text in ["<|im_start|>", "<s>", "</s>", "<unk>", "<|endoftext|> <s>"] {
            let ids = tokenizer.encode_chunk(text).unwrap();
            assert!(ids.iter().all(|id| !special.contains(id)), "{text}");
            let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.id_bytes(id)).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap().trim_start(), text);
        }
    }
}

#[test]
fn tables() {
    let tokenizer = byte_level();
    assert_eq!(tokenizer.start_token(), Some(1));
    assert!(!tokenizer.dummy_prefix());
    assert_eq!(tokenizer.id_bytes(1), b"");
    assert_eq!(tokenizer.id_bytes(46), b"0");
    assert_eq!(tokenizer.id_bytes(257), b" a");
    assert_eq!(tokenizer.id_bytes(266), "é".as_bytes());
    assert_eq!(tokenizer.id_bytes(270), b"\t\t");
    assert_eq!(tokenizer.id_bytes(u32::MAX), b"");
    let tokenizer = sentence_piece();
    assert_eq!(tokenizer.start_token(), Some(1));
    assert!(tokenizer.dummy_prefix());
    assert_eq!(tokenizer.id_bytes(3), b"\0");
    assert_eq!(tokenizer.id_bytes(258), b"\xff");
    assert_eq!(tokenizer.id_bytes(259), b"  ");
    let n_entries = tokenizer.vocab_size() + 7;
    let table: Vec<&[u8]> = tokenizer.fingerprint_table(n_entries).collect();
    assert_eq!(table.len(), n_entries);
    assert_eq!(table[259], b"  ");
    assert_eq!(table[n_entries - 7..], [b""; 7]);
}

/// GGUF metadata with the content of a `tokenizer.json`, as llama.cpp's converter writes it.
fn gguf(name: &str) -> GgufFile {
    let definition = definition(name);
    let model = &definition["model"];
    let mut tokens: BTreeMap<u64, (String, i32)> = model["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| {
            (id.as_u64().unwrap(), (token.clone(), if token.starts_with("<0x") { BYTE } else { NORMAL }))
        })
        .collect();
    for added in definition["added_tokens"].as_array().unwrap() {
        let content = added["content"].as_str().unwrap().to_owned();
        let kind = match (added["special"] == true, &*content) {
            (_, "<unk>") => UNKNOWN,
            (true, _) => CONTROL,
            (false, _) => USER_DEFINED,
        };
        tokens.insert(added["id"].as_u64().unwrap(), (content, kind));
    }
    let strings = |strings: Vec<String>| Value::Array(strings.into_iter().map(Value::String).collect());
    let mut metadata = BTreeMap::from([
        ("tokenizer.ggml.token_type", Value::Array(tokens.values().map(|(_, kind)| Value::I32(*kind)).collect())),
        ("tokenizer.ggml.bos_token_id", Value::U32(1)),
    ]);
    if name == "byte_level" {
        let merges = model["merges"].as_array().unwrap().iter();
        let merges = merges.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        metadata.insert("tokenizer.ggml.merges", strings(merges.collect()));
        metadata.insert("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
        metadata.insert("tokenizer.ggml.pre", Value::String("smollm".to_owned()));
    } else {
        metadata.insert("tokenizer.ggml.model", Value::String("llama".to_owned()));
        metadata.insert(
            "tokenizer.ggml.scores",
            Value::Array((0..tokens.len()).map(|id| Value::F32(-(id as f32))).collect()),
        );
    }
    metadata.insert("tokenizer.ggml.tokens", strings(tokens.into_values().map(|(token, _)| token).collect()));
    GgufFile {
        version: 3,
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        tensors: Vec::new(),
        alignment: 32,
    }
}

#[test]
fn gguf_and_tokenizer_json_agree() {
    for (name, from_json) in [("byte_level", byte_level()), ("sentence_piece", sentence_piece())] {
        let from_gguf = Tokenizer::from_gguf(&gguf(name)).unwrap();
        assert_eq!(from_gguf.vocab_size(), from_json.vocab_size());
        assert!(from_gguf.fingerprint_table(400).eq(from_json.fingerprint_table(400)));
        assert_eq!(from_gguf.table_hash(), from_json.table_hash());
        assert_eq!(from_gguf.start_token(), from_json.start_token());
        assert_eq!(from_gguf.dummy_prefix(), from_json.dummy_prefix());
        let bytes: Vec<u8> = (0..=255).chain(*b"  \t\t<s><0x0A>face").collect();
        for serializer in all_serializers() {
            let text = serializer.serialize(&bytes);
            assert_eq!(from_gguf.encode_chunk(&text).unwrap(), from_json.encode_chunk(&text).unwrap());
            assert_eq!(from_gguf.legal_alphabet(&serializer), from_json.legal_alphabet(&serializer));
        }
    }
}

#[test]
fn unusable_gguf_vocabularies() {
    let error = |name: &str, key: &str, value: Option<Value>| {
        let mut file = gguf(name);
        let key = format!("tokenizer.ggml.{key}");
        match value {
            Some(value) => file.metadata.insert(key, value),
            None => file.metadata.remove(&key),
        };
        Tokenizer::from_gguf(&file).unwrap_err()
    };
    let text = |text: &str| Some(Value::String(text.to_owned()));
    for pre in [text("bloom"), None] {
        let error = error("byte_level", "pre", pre);
        assert!(matches!(error, Error::UnknownPreTokenizer { .. }));
        assert!(error.to_string().contains("gpt-2, llama-bpe, qwen2, smollm"), "{error}");
    }
    assert!(matches!(error("byte_level", "model", text("bert")), Error::Unsupported { .. }));
    for (name, key, value) in [
        ("byte_level", "model", None),
        ("byte_level", "tokens", None),
        ("byte_level", "tokens", Some(Value::Array(vec![Value::U32(1)]))),
        ("byte_level", "merges", None),
        ("byte_level", "merges", Some(Value::Array(vec![Value::String("ab".to_owned())]))),
        ("byte_level", "token_type", Some(Value::Array(vec![Value::I32(1)]))),
        ("byte_level", "bos_token_id", Some(Value::U32(5000))),
        ("byte_level", "bos_token_id", text("<s>")),
        ("sentence_piece", "scores", None),
        ("sentence_piece", "scores", Some(Value::Array(vec![Value::F32(1.0)]))),
        ("sentence_piece", "add_space_prefix", Some(Value::U32(1))),
    ] {
        let error = error(name, key, value);
        assert!(matches!(error, Error::Vocabulary(_)), "{name} {key}: {error}");
    }
}

#[test]
fn a_gguf_vocabulary_without_dummy_prefix() {
    let mut file = gguf("sentence_piece");
    file.metadata.insert("tokenizer.ggml.add_space_prefix".to_owned(), Value::Bool(false));
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    assert!(!tokenizer.dummy_prefix());
    let ids = tokenizer.encode_chunk(" x").unwrap();
    assert_eq!(ids.iter().map(|&id| tokenizer.id_bytes(id)).collect::<Vec<_>>(), [b" ", b"x"]);
}

#[test]
fn legal_alphabets() {
    let pieces = |tokenizer: &Tokenizer, format: Format, bytes_per_group: usize| -> Vec<String> {
        let ids = tokenizer.legal_alphabet(&serializer(format, bytes_per_group));
        assert!(ids.is_sorted_by(|a, b| a < b));
        ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.id_bytes(id)).into_owned()).collect()
    };
    let digits = "0 1 2 3 4 5 6 7 8 9 a b c d e f".split(' ').map(str::to_owned);
    let with = |more: &[&str]| -> Vec<String> { digits.clone().chain(more.iter().map(|&s| s.to_owned())).collect() };

    let tokenizer = byte_level();
    let letters = ["ab", "fa", "ce", "face"];
    assert_eq!(pieces(&tokenizer, Format::HexNone, 4), with(&[&letters[..], &["ff", "ed", "be"]].concat()));
    let mut expected = with(&[&letters[..], &[" a", "ff", " f", "ed", "be"]].concat());
    expected.push(" ".to_owned());
    let mut found = pieces(&tokenizer, Format::HexSpace, 4);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(!pieces(&tokenizer, Format::HexSpace, 1).contains(&"face".to_owned()));
    // In iso all pieces are legal but those that no Latin-1 text has.
    let n_pieces = |format| tokenizer.legal_alphabet(&serializer(format, 4)).len();
    assert_eq!(n_pieces(Format::Iso), tokenizer.vocab_size() - 4 - (0xc2 - 0xc0) - (0x100 - 0xc4));

    // Llama's pieces with a space occur at the beginning, whatever the separator; the lone one does not.
    let tokenizer = sentence_piece();
    let found = pieces(&tokenizer, Format::HexNone, 4);
    assert!(found.contains(&" 3f80".to_owned()));
    assert!(!found.contains(&" ".to_owned()));
    assert!(!found.contains(&",".to_owned()));
}

#[test]
fn alphabets_hold_what_occurs() {
    let data: Vec<u8> = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 15) as u8).collect();
    for tokenizer in [byte_level(), sentence_piece()] {
        for serializer in all_serializers() {
            let alphabet = tokenizer.legal_alphabet(&serializer);
            for chunk in data.chunks(512) {
                for id in tokenizer.encode_chunk(&serializer.serialize(chunk)).unwrap() {
                    assert!(alphabet.binary_search(&id).is_ok(), "{id} in {}", serializer.format());
                }
            }
        }
    }
}
