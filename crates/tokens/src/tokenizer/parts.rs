//! What a tokenizer is made of, wherever it was read from.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::{Spelling, Table};
use crate::{Error, Result};

/// A tokenizer's parts.
#[derive(Debug)]
pub(super) struct Parts {
    /// As in a `tokenizer.json`, without special tokens: nothing in it can give their ids.
    pub(super) definition: Value,
    pub(super) table: Table,
    pub(super) start_token: Option<u32>,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Made by merges.
    Ordinary,
    /// Matched in the text before anything else is done to it.
    Added,
    /// Never made from text: BOS, unknown, padding.
    Special,
}

/// A vocabulary and how to apply it.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) tokens: BTreeMap<u32, (String, TokenKind)>,
    /// In order of precedence.
    pub(super) merges: Vec<(String, String)>,
    pub(super) unk_token: Option<u32>,
    pub(super) start_token: Option<u32>,
    pub(super) spelling: Spelling,
    pub(super) fuse_unk: bool,
    pub(super) ignore_merges: bool,
    /// As in a `tokenizer.json`.
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    /// Added tokens as in a `tokenizer.json`, if it was read from one.
    pub(super) added_tokens: BTreeMap<u32, Value>,
}

impl Vocabulary {
    pub(super) fn into_parts(self) -> Result<Parts> {
        let mut entries = Vec::with_capacity(self.tokens.len());
        let mut vocab = serde_json::Map::with_capacity(self.tokens.len());
        let mut added_tokens = Vec::new();
        let mut unk_token = Value::Null;
        for (&id, (token, kind)) in &self.tokens {
            let (name, bytes) = match kind {
                TokenKind::Ordinary => (token.clone(), self.spelling.bytes_of(token)),
                TokenKind::Added => (token.clone(), self.spelling.bytes_of_added(token)),
                TokenKind::Special => (hidden_name(id), Vec::new()),
            };
            if *kind == TokenKind::Added {
                added_tokens.push(self.added_tokens.get(&id).cloned().unwrap_or_else(|| added_token(id, token)));
            }
            if self.unk_token == Some(id) {
                unk_token = name.clone().into();
            }
            // Of tokens spelled alike the last counts, as when transformers builds its map.
            vocab.insert(name, id.into());
            entries.push((id, bytes));
        }
        let merges: Vec<_> = self
            .merges
            .iter()
            .filter(|(left, right)| {
                [left.as_str(), right, &format!("{left}{right}")].iter().all(|token| vocab.contains_key(*token))
            })
            .map(|(left, right)| json!([left, right]))
            .collect();
        let byte_fallback = self.spelling == Spelling::SentencePiece { byte_fallback: true };
        let definition = json!({
            "version": "1.0",
            "added_tokens": added_tokens,
            "normalizer": self.normalizer,
            "pre_tokenizer": self.pre_tokenizer,
            "model": {
                "type": "BPE",
                "unk_token": unk_token,
                "fuse_unk": self.fuse_unk,
                "byte_fallback": byte_fallback,
                "ignore_merges": self.ignore_merges,
                "vocab": vocab,
                "merges": merges,
            },
        });
        let table = Table::new(entries)?;
        if let Some(id) = self.start_token
            && !self.tokens.contains_key(&id)
        {
            return Err(Error::Vocabulary(format!(
                "start token {id} is not in the vocabulary of {} tokens",
                table.len()
            )));
        }
        Ok(Parts { definition, table, start_token: self.start_token })
    }
}

/// A name that no text of Latin-1 characters can spell, so that the token is never made, but keeps its place.
fn hidden_name(id: u32) -> String {
    format!("\u{f8ff}{id}")
}

fn added_token(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false,
    })
}

/// Whether an added token is one to steer models with, though it may not be flagged so: converters to GGUF go by this
/// look, and both sources must agree.
pub(super) fn looks_special(token: &str) -> bool {
    [("<|", "|>"), ("<｜", "｜>")]
        .iter()
        .any(|(start, end)| token.len() >= start.len() + end.len() && token.starts_with(start) && token.ends_with(end))
}
