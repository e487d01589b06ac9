//! The small tokenizers of testdata/tokens, and the formats.

#![allow(dead_code, reason = "not every test uses everything")]

use std::path::{Path, PathBuf};

use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use lmgc_tokens::Tokenizer;
use serde_json::Value;

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokens")
}

pub(crate) fn byte_level() -> Tokenizer {
    Tokenizer::from_tokenizer_json(testdata().join("byte_level/tokenizer.json")).unwrap()
}

pub(crate) fn sentence_piece() -> Tokenizer {
    Tokenizer::from_tokenizer_json(testdata().join("sentence_piece/tokenizer.json")).unwrap()
}

/// A small tokenizer with parts of its definition replaced, given by JSON pointers.
pub(crate) fn changed(name: &str, changes: &[(&str, Value)]) -> Tokenizer {
    let mut definition = definition(name);
    for (pointer, value) in changes {
        *definition.pointer_mut(pointer).unwrap() = value.clone();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, definition.to_string()).unwrap();
    Tokenizer::from_tokenizer_json(&path).unwrap()
}

pub(crate) fn definition(name: &str) -> Value {
    read_json(&testdata().join(name).join("tokenizer.json"))
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn serializer(format: Format, bytes_per_group: usize) -> Serializer {
    Serializer::new(format, BytesPerGroup::new(bytes_per_group).unwrap())
}

pub(crate) fn all_serializers() -> impl Iterator<Item = Serializer> {
    Format::ALL
        .into_iter()
        .flat_map(|format| BytesPerGroup::ALL.into_iter().map(move |group| Serializer::new(format, group)))
}

/// Splitmix64 (Steele, Lea and Flood 2014); the field is its state.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
