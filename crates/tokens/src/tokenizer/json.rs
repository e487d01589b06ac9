//! Hugging Face `tokenizer.json`.
//!
//! Format: that of the `tokenizers` crate. Only what turns text into ids is taken over: truncation and padding would
//! lose data, and the post-processor adds special tokens.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::parts::{Parts, TokenKind, Vocabulary, looks_special};
use super::table::Spelling;
use crate::{Error, Result};

/// The largest files known have some 30 MiB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Reads a `tokenizer.json` and, if it is there, the `tokenizer_config.json` beside it.
pub(super) fn read(path: &Path) -> Result<Parts> {
    let definition = read_json(path)?;
    let config_path = path.with_file_name("tokenizer_config.json");
    let config = if config_path.exists() { read_json(&config_path)? } else { Value::Null };
    parse(&definition, &config)
}

fn read_json(path: &Path) -> Result<Value> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let n_bytes = std::fs::metadata(path).map_err(io_error)?.len();
    if n_bytes > MAX_FILE_BYTES {
        return Err(Error::Vocabulary(format!("{} has {n_bytes} bytes, limit {MAX_FILE_BYTES}", path.display())));
    }
    let text = std::fs::read(path).map_err(io_error)?;
    serde_json::from_slice(&text).map_err(|error| Error::Vocabulary(format!("{}: {error}", path.display())))
}

fn parse(definition: &Value, config: &Value) -> Result<Parts> {
    let model = &definition["model"];
    // Old files lack the type.
    let model_type = model["type"].as_str().unwrap_or("BPE");
    if model_type != "BPE" {
        return Err(unsupported(format!("a {model_type} tokenizer")));
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[affix].as_str().is_some_and(|affix| !affix.is_empty()) {
            return Err(unsupported(format!("a tokenizer with {affix}")));
        }
    }
    let spelling = spelling(&definition["decoder"], model)?;

    let mut tokens = BTreeMap::new();
    let vocab = model["vocab"].as_object().ok_or_else(|| invalid("model.vocab is not an object"))?;
    for (token, id) in vocab {
        if let Some((other, _)) = tokens.insert(as_id(id)?, (token.clone(), TokenKind::Ordinary)) {
            return Err(Error::Vocabulary(format!("tokens {other:?} and {token:?} have the same id {id}")));
        }
    }
    let unk_token = model["unk_token"].as_str().and_then(|token| vocab.get(token)).map(as_id).transpose()?;
    let mut added_tokens = BTreeMap::new();
    for token in definition["added_tokens"].as_array().into_iter().flatten() {
        let id = as_id(&token["id"])?;
        let content = token["content"].as_str().ok_or_else(|| invalid("an added token has no content"))?;
        let kind =
            if token["special"] == true || looks_special(content) { TokenKind::Special } else { TokenKind::Added };
        if let Some((other, _)) = tokens.insert(id, (content.to_owned(), kind))
            && other != content
        {
            return Err(Error::Vocabulary(format!("tokens {other:?} and {content:?} have the same id {id}")));
        }
        if kind == TokenKind::Added {
            added_tokens.insert(id, token.clone());
        }
    }
    if let Some((_, kind)) = unk_token.and_then(|id| tokens.get_mut(&id)) {
        *kind = TokenKind::Special;
    }

    let start_token = match start_token_name(config) {
        Some(name) => Some(
            tokens
                .iter()
                .find(|(_, (token, _))| token == name)
                .map(|(&id, _)| id)
                .ok_or_else(|| Error::Vocabulary(format!("bos_token {name:?} is not in the vocabulary")))?,
        ),
        None => template_start_token(&definition["post_processor"])?,
    };
    Vocabulary {
        tokens,
        merges: merges(&model["merges"])?,
        unk_token,
        start_token,
        spelling,
        fuse_unk: model["fuse_unk"] == true,
        ignore_merges: model["ignore_merges"] == true,
        normalizer: definition["normalizer"].clone(),
        pre_tokenizer: definition["pre_tokenizer"].clone(),
        added_tokens,
    }
    .into_parts()
}

/// How the decoder says that tokens are spelled.
fn spelling(decoder: &Value, model: &Value) -> Result<Spelling> {
    let steps = match decoder["decoders"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(decoder),
    };
    let is_metaspace = |step: &Value| {
        step["type"] == "Metaspace" && matches!(step["replacement"].as_str(), None | Some("▁"))
            || step["type"] == "Replace" && step["pattern"]["String"] == "▁" && step["content"] == " "
    };
    if steps.iter().any(|step| step["type"] == "ByteLevel") {
        Ok(Spelling::ByteLevel)
    } else if steps.iter().any(is_metaspace) {
        Ok(Spelling::SentencePiece { byte_fallback: model["byte_fallback"] == true })
    } else {
        Err(unsupported(format!("a tokenizer with decoder {}", decoder["type"])))
    }
}

/// Pairs, or in older files strings with a space between.
fn merges(value: &Value) -> Result<Vec<(String, String)>> {
    let merges = value.as_array().ok_or_else(|| invalid("model.merges is not an array"))?;
    merges
        .iter()
        .map(|merge| match merge {
            Value::String(merge) => merge.split_once(' '),
            Value::Array(merge) => match merge.as_slice() {
                [left, right] => left.as_str().zip(right.as_str()),
                _ => None,
            },
            _ => None,
        })
        .map(|pair| pair.map(|(left, right)| (left.to_owned(), right.to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("an entry of model.merges is not a pair"))
}

/// `bos_token` is a name or an object with one.
fn start_token_name(config: &Value) -> Option<&str> {
    let token = &config["bos_token"];
    token.as_str().or_else(|| token["content"].as_str())
}

/// The special token that the template for one text begins with.
fn template_start_token(post_processor: &Value) -> Result<Option<u32>> {
    let steps = match post_processor["processors"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(post_processor),
    };
    for step in steps.iter().filter(|step| step["type"] == "TemplateProcessing") {
        if let Some(name) = step["single"][0]["SpecialToken"]["id"].as_str() {
            return as_id(&step["special_tokens"][name]["ids"][0]).map(Some);
        }
    }
    Ok(None)
}

fn as_id(value: &Value) -> Result<u32> {
    value
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| Error::Vocabulary(format!("{value} is not a token id")))
}

fn invalid(what: &str) -> Error {
    Error::Vocabulary(what.to_owned())
}

fn unsupported(what: String) -> Error {
    Error::Unsupported {
        what,
        supported: "tokenizers are byte-pair encoding, byte-level or with ▁ for spaces".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn small() -> Value {
        json!({
            "added_tokens": [
                {"id": 3, "content": "<s>", "special": true},
                {"id": 4, "content": "xy", "special": false},
                {"id": 5, "content": "<|user|>", "special": false},
            ],
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {"a": 0, "Ġ": 1, "Ġa": 2}, "merges": ["Ġ a"]},
        })
    }

    #[test]
    fn small_file() {
        let parts = parse(&small(), &Value::Null).unwrap();
        let pieces: Vec<_> = parts.table.iter().collect();
        assert_eq!(pieces, [&b"a"[..], b" ", b" a", b"", b"xy", b""]);
        assert_eq!(parts.start_token, None);
        let added = parts.definition["added_tokens"].as_array().unwrap();
        assert_eq!(added.len(), 1, "special tokens, and what looks so, are left out");
    }

    #[test]
    fn start_token_from_config_or_template() {
        let start_token = |definition: &Value, config: Value| parse(definition, &config).map(|parts| parts.start_token);
        assert_eq!(start_token(&small(), json!({"bos_token": "<s>"})).unwrap(), Some(3));
        assert_eq!(start_token(&small(), json!({"bos_token": {"content": "<s>"}})).unwrap(), Some(3));
        assert_eq!(start_token(&small(), json!({"bos_token": null})).unwrap(), None);
        assert!(start_token(&small(), json!({"bos_token": "<bos>"})).is_err());
        let mut definition = small();
        definition["post_processor"] = json!({"type": "Sequence", "processors": [{
            "type": "TemplateProcessing", "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}},
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        }]});
        assert_eq!(start_token(&definition, Value::Null).unwrap(), Some(3));
    }

    #[test]
    fn what_is_not_usable() {
        let error_with = |pointer: &str, value: Value| {
            let mut definition = small();
            *definition.pointer_mut(pointer).unwrap() = value;
            parse(&definition, &Value::Null).unwrap_err().to_string()
        };
        assert!(error_with("/model/type", json!("WordPiece")).contains("WordPiece"));
        assert!(error_with("/decoder/type", json!("BPEDecoder")).contains("BPEDecoder"));
        assert!(error_with("/model/vocab", json!(["a"])).contains("vocab"));
        assert!(error_with("/model/vocab/a", json!(-1)).contains("-1"));
        assert!(error_with("/model/vocab/a", json!(u32::MAX)).contains("limit"));
        assert!(error_with("/model/vocab/a", json!(1)).contains("same id"));
        assert!(error_with("/model/merges", json!(["Ġa"])).contains("merges"));
        assert!(error_with("/added_tokens/0/id", json!(0)).contains("same id"));
        assert!(error_with("/added_tokens/0/content", json!(1)).contains("content"));
    }
}
