//! Vocabularies of GGUF files.
//!
//! Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. GGUF names its pre-tokenizers only; what they do
//! is written down here as the models' own `tokenizer.json` files define it.

use std::collections::{BTreeMap, HashMap};

use lmgc_tensors::gguf::Value;
use serde_json::{Value as Json, json};

use super::parts::{Parts, TokenKind, Vocabulary};
use super::table::{MAX_VOCAB_SIZE, Spelling};
use crate::{Error, Result};

type Metadata = BTreeMap<String, Value>;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// The values of [`TOKEN_TYPE`].
mod token_type {
    pub(super) const NORMAL: i64 = 1;
    pub(super) const UNKNOWN: i64 = 2;
    pub(super) const CONTROL: i64 = 3;
    pub(super) const USER_DEFINED: i64 = 4;
    pub(super) const UNUSED: i64 = 5;
    pub(super) const BYTE: i64 = 6;
}

pub(super) fn read(metadata: &Metadata) -> Result<Parts> {
    match string(metadata, MODEL)? {
        "gpt2" => byte_level(metadata)?,
        "llama" => sentence_piece(metadata)?,
        other => {
            return Err(Error::Unsupported {
                what: format!("GGUF tokenizer model {other:?}"),
                supported: "\"gpt2\" and \"llama\" are".to_owned(),
            });
        }
    }
    .into_parts()
}

/// `gpt2`: byte-level byte-pair encoding.
fn byte_level(metadata: &Metadata) -> Result<Vocabulary> {
    let pre = PreTokenizer::find(metadata.get(PRE).and_then(Value::as_str))?;
    let merges = strings(metadata, MERGES)?
        .into_iter()
        .map(|merge| merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Vocabulary(format!("an entry of {MERGES} is not a pair")))?;
    Ok(Vocabulary {
        tokens: tokens(metadata)?,
        merges,
        unk_token: None,
        start_token: optional_id(metadata, BOS)?,
        spelling: Spelling::ByteLevel,
        fuse_unk: false,
        ignore_merges: pre.ignore_merges,
        normalizer: if pre.normalizes_nfc { json!({"type": "NFC"}) } else { Json::Null },
        pre_tokenizer: pre.definition(),
        added_tokens: BTreeMap::new(),
    })
}

/// `llama`: SentencePiece's byte-pair encoding, whose merges follow from the scores.
fn sentence_piece(metadata: &Metadata) -> Result<Vocabulary> {
    let tokens = tokens(metadata)?;
    let scores = array(metadata, SCORES)?
        .iter()
        .map(Value::as_f64)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::Vocabulary(format!("{SCORES} holds something else than numbers")))?;
    if scores.len() != tokens.len() {
        return Err(Error::Vocabulary(format!("{} {TOKENS}, but {} {SCORES}", tokens.len(), scores.len())));
    }
    let adds_space_prefix = match metadata.get(ADD_SPACE_PREFIX) {
        None => true,
        Some(value) => {
            value.as_bool().ok_or_else(|| Error::Vocabulary(format!("{ADD_SPACE_PREFIX} is not a boolean")))?
        }
    };
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    if adds_space_prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
    }
    let unk_token = match optional_id(metadata, UNKNOWN)? {
        None => {
            let types = types(metadata, tokens.len())?;
            types.iter().position(|&kind| kind == token_type::UNKNOWN).map(|id| id as u32)
        }
        given => given,
    };
    Ok(Vocabulary {
        merges: merges_from_scores(&tokens, &scores),
        unk_token,
        start_token: optional_id(metadata, BOS)?,
        spelling: Spelling::SentencePiece { byte_fallback: true },
        fuse_unk: true,
        ignore_merges: false,
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Json::Null,
        added_tokens: BTreeMap::new(),
        tokens,
    })
}

/// All ways to make an ordinary token of two others, the token with the highest score first, as transformers derives
/// them: within a token, and among equal scores, longer left parts first.
fn merges_from_scores(tokens: &BTreeMap<u32, (String, TokenKind)>, scores: &[f64]) -> Vec<(String, String)> {
    let ids: HashMap<&str, u32> = tokens
        .iter()
        .filter(|(_, (_, kind))| *kind == TokenKind::Ordinary)
        .map(|(&id, (token, _))| (token.as_str(), id))
        .collect();
    let mut merges: Vec<(f64, u32, &str, &str)> = Vec::new();
    for ((token, &id), score) in ids.iter().filter_map(|(token, id)| Some(((token, id), *scores.get(*id as usize)?))) {
        let splits = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let possible = splits.filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right));
        merges.extend(possible.map(|(left, right)| (score, id, left, right)));
    }
    let n_chars = |token: &str| token.chars().count();
    merges.sort_by(|(score_a, id_a, left_a, right_a), (score_b, id_b, left_b, right_b)| {
        score_b
            .total_cmp(score_a)
            .then_with(|| n_chars(left_b).cmp(&n_chars(left_a)))
            .then_with(|| n_chars(right_b).cmp(&n_chars(right_a)))
            .then_with(|| id_a.cmp(id_b))
    });
    merges.into_iter().map(|(_, _, left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// A pre-tokenizer by llama.cpp's name for it.
struct PreTokenizer {
    name: &'static str,
    /// Every digit stands alone.
    splits_digits: bool,
    /// What words are; GPT-2's own rule if `None`.
    words: Option<&'static str>,
    normalizes_nfc: bool,
    ignore_merges: bool,
}

const LLAMA_3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl PreTokenizer {
    const GPT_2: Self =
        Self { name: "gpt-2", splits_digits: false, words: None, normalizes_nfc: false, ignore_merges: false };

    const KNOWN: [Self; 5] = [
        Self::GPT_2,
        Self { name: "llama-bpe", words: Some(LLAMA_3_WORDS), ignore_merges: true, ..Self::GPT_2 },
        Self { name: "qwen2", words: Some(QWEN_2_WORDS), normalizes_nfc: true, ..Self::GPT_2 },
        Self { name: "smollm", splits_digits: true, ..Self::GPT_2 },
        Self { name: "starcoder", splits_digits: true, ..Self::GPT_2 },
    ];

    fn find(name: Option<&str>) -> Result<Self> {
        Self::KNOWN.into_iter().find(|known| Some(known.name) == name).ok_or_else(|| Error::UnknownPreTokenizer {
            found: name.map(str::to_owned),
            known: Self::KNOWN.map(|known| known.name).join(", "),
        })
    }

    /// As in a `tokenizer.json`.
    fn definition(&self) -> Json {
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": self.words.is_none(),
        });
        let first = if self.splits_digits {
            json!({"type": "Digits", "individual_digits": true})
        } else if let Some(words) = self.words {
            json!({"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": false})
        } else {
            return byte_level;
        };
        json!({"type": "Sequence", "pretokenizers": [first, byte_level]})
    }
}

fn tokens(metadata: &Metadata) -> Result<BTreeMap<u32, (String, TokenKind)>> {
    let tokens = strings(metadata, TOKENS)?;
    if tokens.len() > MAX_VOCAB_SIZE {
        return Err(Error::Vocabulary(format!("{} {TOKENS} are above the limit of {MAX_VOCAB_SIZE}", tokens.len())));
    }
    let types = types(metadata, tokens.len())?;
    tokens
        .into_iter()
        .zip(types)
        .zip(0..)
        .map(|((token, kind), id)| {
            let kind = match kind {
                token_type::NORMAL | token_type::BYTE => TokenKind::Ordinary,
                token_type::USER_DEFINED => TokenKind::Added,
                token_type::UNKNOWN | token_type::CONTROL | token_type::UNUSED => TokenKind::Special,
                other => return Err(Error::Vocabulary(format!("token {id} has the unknown {TOKEN_TYPE} {other}"))),
            };
            Ok((id, (token.to_owned(), kind)))
        })
        .collect()
}

fn types(metadata: &Metadata, n_tokens: usize) -> Result<Vec<i64>> {
    if !metadata.contains_key(TOKEN_TYPE) {
        return Ok(vec![token_type::NORMAL; n_tokens]);
    }
    let types = array(metadata, TOKEN_TYPE)?
        .iter()
        .map(Value::as_i64)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::Vocabulary(format!("{TOKEN_TYPE} holds something else than integers")))?;
    if types.len() != n_tokens {
        return Err(Error::Vocabulary(format!("{n_tokens} {TOKENS}, but {} {TOKEN_TYPE}", types.len())));
    }
    Ok(types)
}

fn missing(key: &str, kind: &str) -> Error {
    Error::Vocabulary(format!("the GGUF file has no {key} ({kind})"))
}

fn string<'a>(metadata: &'a Metadata, key: &str) -> Result<&'a str> {
    metadata.get(key).and_then(Value::as_str).ok_or_else(|| missing(key, "a string"))
}

fn array<'a>(metadata: &'a Metadata, key: &str) -> Result<&'a [Value]> {
    metadata.get(key).and_then(Value::as_array).ok_or_else(|| missing(key, "an array"))
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> Result<Vec<&'a str>> {
    array(metadata, key)?
        .iter()
        .map(Value::as_str)
        .collect::<Option<_>>()
        .ok_or_else(|| missing(key, "an array of strings"))
}

fn optional_id(metadata: &Metadata, key: &str) -> Result<Option<u32>> {
    let as_id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| Error::Vocabulary(format!("{key} is not a token id")))
    };
    metadata.get(key).map(as_id).transpose()
}
