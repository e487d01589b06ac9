//! The fuzz targets of this crate (`fuzz/`) in small.

mod common;

use std::io::Cursor;

use common::{all_serializers, byte_level, sentence_piece, serializer, testdata};
use lmgc_serialize::Format;
use lmgc_tensors::gguf::GgufFile;
use lmgc_testkit::{GgufValue, GgufWriter, fuzz_seeds, gradient_like, require_fuzz_seed, run_fuzz_target};
use lmgc_tokens::Tokenizer;
use lmgc_tokens::dataset::{Options, Source, TokenDataset};
use lmgc_tokens::stream::tokenize_bytes;
use serde_json::{Value, json};

#[path = "../../../fuzz/src/tokens.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod targets;

/// Digits, a space, and a merge: all that a hexadecimal text needs.
fn small_byte_level() -> Value {
    let mut vocab: serde_json::Map<String, Value> =
        "0123456789abcdef,;xĠ".chars().zip(0..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    vocab.insert("Ġf".to_owned(), json!(20));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [
            {"id": 21, "content": "<|b|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 22, "content": "0x", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false},
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|b|>", "type_id": 0}}],
            "pair": [], "special_tokens": {"<|b|>": {"id": "<|b|>", "ids": [21], "tokens": ["<|b|>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": true, "vocab": vocab, "merges": [["Ġ", "f"], "f f"]},
    })
}

fn small_sentence_piece() -> Value {
    let mut vocab: serde_json::Map<String, Value> =
        "0123456789abcdef,;x▁".chars().zip(3..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    for (token, id) in [("<unk>", 0), ("<s>", 1), ("<0x0A>", 2), ("▁f", 23)] {
        vocab.insert(token.to_owned(), json!(id));
    }
    json!({
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": ["▁ f"]},
    })
}

fn gguf_vocabulary(is_sentence_piece: bool) -> Vec<u8> {
    let space = if is_sentence_piece { "▁" } else { "Ġ" };
    let mut tokens: Vec<String> = ["<s>", "<unk>", space].map(str::to_owned).into();
    tokens.extend("0123456789abcdef,x".chars().map(String::from));
    tokens.push(format!("{space}f"));
    let n_tokens = tokens.len();
    let mut types = vec![1; n_tokens];
    (types[0], types[1]) = (3, 2);
    let mut file = GgufWriter::default();
    file.value("tokenizer.ggml.tokens", GgufValue::Texts(tokens))
        .value("tokenizer.ggml.token_type", GgufValue::I32s(types))
        .value("tokenizer.ggml.bos_token_id", GgufValue::U32(0));
    if is_sentence_piece {
        file.value("tokenizer.ggml.model", GgufValue::Text("llama".to_owned()))
            .value("tokenizer.ggml.scores", GgufValue::F32s((0..n_tokens).map(|i| -(i as f32)).collect()))
            .value("tokenizer.ggml.unknown_token_id", GgufValue::U32(1));
    } else {
        file.value("tokenizer.ggml.model", GgufValue::Text("gpt2".to_owned()))
            .value("tokenizer.ggml.pre", GgufValue::Text("smollm".to_owned()))
            .value("tokenizer.ggml.merges", GgufValue::Texts(vec!["Ġ f".to_owned()]));
    }
    file.to_bytes()
}

/// A stream to decode, and bytes to encode, for each tokenizer and some serialisers.
fn write_streams() {
    let tokenizers = [byte_level(), sentence_piece()];
    let bytes = gradient_like(3, 40);
    let control: Vec<u8> = (0..40).collect();
    for (index, serializer) in all_serializers().enumerate().step_by(4) {
        for (tokenizer, choice) in tokenizers.iter().zip(0..) {
            let format = Format::ALL.iter().position(|&format| format == serializer.format()).unwrap() as u8;
            // all_serializers goes through the groups format by format.
            let group = (index % 5) as u8;
            let bytes = if index % 8 == 0 { &bytes } else { &control };
            let stream = tokenize_bytes(tokenizer, &serializer, bytes).unwrap();
            let mut seed = vec![choice | format << 1, group];
            seed.extend((bytes.len() as u16).to_le_bytes());
            seed.extend((stream.ids.len() as u16).to_le_bytes());
            stream.ids.iter().for_each(|&id| seed.extend((id as u16).to_le_bytes()));
            seed.extend(&stream.side);
            require_fuzz_seed("token_stream", &format!("decode_{choice}_{index}"), &seed);
            if index % 12 == 0 {
                let seed = [&[0x80 | choice | format << 1, group], &bytes[..]].concat();
                require_fuzz_seed("token_stream", &format!("encode_{choice}_{index}"), &seed);
            }
        }
    }
}

fn data_set(tokenizer: &Tokenizer, format: Format) -> Vec<u8> {
    let source = |name: &str, bytes: Vec<u8>| Source { name: name.to_owned(), bytes, tensors: Vec::new() };
    let sources = vec![source("a", gradient_like(1, 20)), source("b", (0..30).collect())];
    let options = Options { model: "m".to_owned(), ..Default::default() };
    let data_set = TokenDataset::build(sources, tokenizer, &serializer(format, 4), &options).unwrap();
    data_set.to_safetensors_bytes().unwrap()
}

fn write_seeds() {
    let config = br#"{"bos_token": {"content": "<|b|>"}}"#;
    require_fuzz_seed("tokenizer_json", "byte_level", small_byte_level().to_string().as_bytes());
    let with_config = [small_byte_level().to_string().as_bytes(), b"\0", config].concat();
    require_fuzz_seed("tokenizer_json", "byte_level_config", &with_config);
    require_fuzz_seed("tokenizer_json", "sentence_piece", small_sentence_piece().to_string().as_bytes());
    require_fuzz_seed("gguf_vocabulary", "gpt2", &gguf_vocabulary(false));
    require_fuzz_seed("gguf_vocabulary", "llama", &gguf_vocabulary(true));
    write_streams();
    for (name, tokenizer, format) in [
        ("hex", byte_level(), Format::HexSpace),
        ("iso", byte_level(), Format::Iso),
        ("sentence_piece", sentence_piece(), Format::IsoSpace),
    ] {
        require_fuzz_seed("token_dataset", name, &data_set(&tokenizer, format));
    }
}

#[test]
fn mutated_seeds_hold_together_or_are_errors() {
    write_seeds();
    let definitions = ["byte_level", "sentence_piece"]
        .map(|name| (name.to_owned(), std::fs::read(testdata().join(name).join("tokenizer.json")).unwrap()));
    run_fuzz_target("tokenizer_json", targets::tokenizer_json, &definitions, 150);
    run_fuzz_target("gguf_vocabulary", targets::gguf_vocabulary, &[], 500);
    run_fuzz_target("token_stream", targets::token_stream, &[], 500);
    run_fuzz_target("token_dataset", targets::token_dataset, &[], 1000);
}

#[test]
fn seeds_are_what_they_should_be() {
    for (name, seed) in fuzz_seeds("gguf_vocabulary") {
        let file = GgufFile::parse(&mut Cursor::new(seed)).unwrap();
        assert!(Tokenizer::from_gguf(&file).is_ok_and(|tokenizer| tokenizer.vocab_size() == 22), "{name}");
    }
    for (name, seed) in fuzz_seeds("token_dataset") {
        let data_set = TokenDataset::from_safetensors_bytes(&seed).unwrap();
        let tokenizers = [byte_level(), sentence_piece()];
        assert!(tokenizers.iter().any(|tokenizer| data_set.detokenize(tokenizer).is_ok()), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, seed) in fuzz_seeds("tokenizer_json") {
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, seed.split(|&byte| byte == 0).next().unwrap()).unwrap();
        let tokenizer = Tokenizer::from_tokenizer_json(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tokenizer.encode_chunk("0f f").map(|ids| ids.len()).ok(), Some(3), "{name}");
    }
}
