//! Codec lm.

use std::sync::Arc;

use lmgc_codec::CodecId;
use lmgc_codec::lm::{LanguageModel, LmFormat, LmSettings, Mask};
use lmgc_model::{Kernels, Model};
use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use lmgc_tensors::Dtype;
use lmgc_tensors::safetensors;
use lmgc_testkit::second_decoder::{self, Outside};
use lmgc_testkit::{Random, TinyModel};
use lmgc_tokens::Tokenizer;
use lmgc_tokens::dataset::{Options, Source, TokenDataset};

use crate::common::{OneModel, lm_options};
use crate::made::{Made, only_payload, varint};
use crate::model::Parts;
use crate::side_writer::settings as header_settings;
use crate::structural_made::is_decoded;
use crate::{assert_same, safetensors_file, values};

/// Compresses, asserts that the second decoder makes the original of it, and returns the file.
fn assert_lm(one: &OneModel, original: &[u8], settings: LmSettings) -> Vec<u8> {
    let parts = Parts::new(&one.0);
    let prior = parts.prior(settings.window_tokens);
    let codec = one.codec(settings);
    let packed = assert_same(original, &lm_options(&codec), &Outside { model: Some(&prior), reference: None });
    let file = second_decoder::read(&packed).unwrap();
    assert!(file.blocks.iter().any(|block| block.codec == CodecId::Lm as u8), "{settings:?} takes another codec");
    packed
}

/// A tiny model whose logits are not far from each other, so that no block takes so many bits that it is stored.
fn calm_file() -> Vec<u8> {
    let tiny = TinyModel { n_layers: 1, n_heads: 2, n_kv_heads: 1, d_ffn: 32, tied: false, ..TinyModel::default() };
    let mut file = tiny.to_gguf();
    // The output layer comes last.
    let n_bytes = 4 * (tiny.d_model() * tiny.vocab_size()) as usize;
    let start = file.len() - n_bytes;
    for weight in file[start..].as_chunks_mut().0 {
        *weight = (f32::from_le_bytes(*weight) / 8.0).to_le_bytes();
    }
    file
}

fn calm() -> OneModel {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calm.gguf");
    std::fs::write(&path, calm_file()).unwrap();
    OneModel(Arc::new(LanguageModel::load("calm", &path).unwrap()), Kernels::detect())
}

/// The same with a tokenizer in Llama's way: it puts a space in front of texts and knows half of the characters as bytes, others
/// not at all.
fn with_dummy_prefix() -> OneModel {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0x80..=0xff).map(|byte: u8| format!("<0x{byte:02X}>")));
    tokens.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    let merges = [
        ("\u{2581}", "\u{2581}"),
        ("\u{2581}", "a"),
        ("a", "b"),
        ("f", "f"),
        ("\u{2581}", "ff"),
        ("0", "0"),
        (",", "\u{2581}"),
    ];
    tokens.push("\u{2581}".to_owned());
    tokens.extend(merges.map(|(a, b)| format!("{a}{b}")));
    let vocabulary: serde_json::Map<_, _> = tokens.into_iter().zip(0..).map(|(token, id)| (token, id.into())).collect();
    let special = |id: u32, content: &str| {
        serde_json::json!({
            "id": id, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "\u{2581}" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" },
        ] },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] },
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocabulary, "merges": merges.map(|(a, b)| format!("{a} {b}")),
        },
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    std::fs::write(directory.path().join("tokenizer_config.json"), r#"{"bos_token": "<s>"}"#).unwrap();
    let tokenizer = Tokenizer::from_tokenizer_json(&path).unwrap();
    assert!(tokenizer.dummy_prefix());
    let model = Model::from_gguf_bytes(&calm_file()).unwrap();
    OneModel(Arc::new(LanguageModel::new("prefixed", model, tokenizer).unwrap()), Kernels::detect())
}

/// Settings with short windows.
fn settings(format: impl Into<LmFormat>) -> LmSettings {
    let format = format.into();
    let mask = if format.is_text() { Mask::Grammar } else { Mask::Alphabet };
    LmSettings { format, mask, window_tokens: 200, ..LmSettings::default() }
}

/// Bytes whose texts have few tokens: some are merged in hexadecimal, or most are ASCII.
fn text_bytes(seed: u64, n: usize, is_hex: bool) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut byte = || match (random.next_u64() % 64, is_hex) {
        (any @ 0..8, _) => (37 * any + random.next_u64() % 32) as u8,
        (any, true) => [0xab, 0xff, 0xbe, 0xee][any as usize % 4],
        (any, false) => any as u8 + 40,
    };
    (0..n).map(|_| byte()).collect()
}

/// A file of one tensor with these bytes.
fn file_with(dtype: Dtype, bytes: &[u8]) -> Vec<u8> {
    let shape = vec![bytes.len() as u64 / dtype.size_bytes()];
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &[("w".to_owned(), dtype, shape, bytes)], &Default::default()).unwrap();
    file
}

/// First byte of the payload of the only block of tensors.
fn source_of(packed: &[u8]) -> u8 {
    only_payload(packed, CodecId::Lm)[0]
}

#[test]
fn text_formats_and_masks() {
    let one = calm();
    for format in Format::ALL {
        let file = file_with(Dtype::F32, &text_bytes(1, 620, format.is_hex()));
        for mask in Mask::ALL {
            let packed = assert_lm(&one, &file, LmSettings { mask, ..settings(format) });
            let has_grammar = mask == Mask::Grammar && format.is_hex();
            assert_eq!(source_of(&packed), if has_grammar { 2 } else { 0 }, "{format:?} {mask:?}");
        }
    }
}

#[test]
fn groups_and_odd_lengths() {
    let one = calm();
    for bytes_per_group in BytesPerGroup::ALL {
        for (n, format) in [(21, Format::HexSpace), (515, Format::Hex0x), (513, Format::IsoCommaSpace)] {
            for mask in [Mask::Alphabet, Mask::Grammar] {
                let settings = LmSettings { mask, bytes_per_group, ..settings(format) };
                if !format.is_hex() && bytes_per_group.get() < 3 {
                    continue; // It takes too many tokens, and is stored.
                }
                assert_lm(&one, &text_bytes(n, n as usize, format.is_hex()), settings);
            }
        }
    }
}

/// A file of one tensor of this type.
fn file_of(dtype: Dtype, shape: &[u64]) -> Vec<u8> {
    let (name, part) = match dtype {
        Dtype::C64 => ("c8", Dtype::F32),
        Dtype::C128 => ("c16", Dtype::F64),
        _ => return safetensors_file(&[("w", dtype, shape)]),
    };
    let shape_text: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': '<{name}', 'fortran_order': False, 'shape': ({shape_text}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(values(3, part, 2 * shape.iter().product::<u64>()));
    file
}

#[test]
fn leading_bits_as_text() {
    let one = calm();
    for dtype in Dtype::ALL {
        let file = file_of(dtype, &[3, 41]);
        for lm_bits in [8, 16, 40, 64] {
            let settings = LmSettings { lm_bits: Some(lm_bits), ..settings(Format::HexSpace) };
            assert_lm(&one, &file, settings);
        }
    }
    let settings = LmSettings { lm_bits: Some(16), mask: Mask::None, ..settings(Format::IsoSpace) };
    assert_lm(&one, &file_of(Dtype::F32, &[301]), settings);
}

#[test]
fn symbols() {
    let one = calm();
    for dtype in Dtype::ALL {
        let file = file_of(dtype, &[6, 4, 3, 3]);
        for mix in [false, true] {
            for lm_bits in [None, Some(4), Some(12), Some(20), Some(64)] {
                assert_lm(&one, &file, LmSettings { lm_bits, mix, ..settings(LmFormat::Nibbles) });
            }
            for lm_bits in [None, Some(8), Some(16), Some(40)] {
                assert_lm(&one, &file, LmSettings { lm_bits, mix, ..settings(LmFormat::Bytes) });
            }
            assert_lm(&one, &file, LmSettings { mix, ..settings(LmFormat::Exponents) });
        }
    }
}

#[test]
fn shortest_windows() {
    let one = calm();
    let file = file_of(Dtype::F32, &[50]);
    for overlap_tokens in [0, 3] {
        let text = LmSettings { window_tokens: overlap_tokens + 2, overlap_tokens, ..settings(Format::HexSpace) };
        assert_lm(&one, &text_bytes(1, 50, true), text);
        for format in LmFormat::SYMBOLS {
            for mix in [false, true] {
                let settings =
                    LmSettings { window_tokens: overlap_tokens + 17, overlap_tokens, mix, ..settings(format) };
                assert_lm(&one, &file, settings);
            }
        }
    }
}

#[test]
fn bytes_of_no_type_and_short_blocks() {
    let one = calm();
    for n in [14, 31, 300] {
        for format in LmFormat::SYMBOLS {
            for mix in [false, true] {
                assert_lm(&one, &text_bytes(n, n as usize, true), LmSettings { mix, ..settings(format) });
            }
        }
        let lm_bits = LmSettings { lm_bits: Some(8), ..settings(Format::HexSpace) };
        assert_lm(&one, &text_bytes(n, n as usize, true), lm_bits);
    }
}

#[test]
fn lanes_and_overlap() {
    let one = calm();
    let file = file_of(Dtype::F32, &[37, 61]);
    for overlap_tokens in [0, 1, 40, 150] {
        let with_overlap = |settings: LmSettings| LmSettings { overlap_tokens, ..settings };
        for mask in [Mask::Alphabet, Mask::Grammar] {
            let bytes = text_bytes(5, 4001, true);
            assert_several_lanes(&assert_lm(
                &one,
                &bytes,
                with_overlap(LmSettings { mask, ..settings(Format::HexSpace) }),
            ));
        }
        for mix in [false, true] {
            for (format, lm_bits) in [(LmFormat::Nibbles, Some(12)), (LmFormat::Bytes, None)] {
                let settings = LmSettings { mix, lm_bits, ..settings(format) };
                assert_several_lanes(&assert_lm(&one, &file, with_overlap(settings)));
            }
        }
    }
}

fn assert_several_lanes(packed: &[u8]) {
    let blocks = second_decoder::read(packed).unwrap().blocks;
    assert!(blocks.iter().any(|block| block.n_lanes > 1), "one lane alone");
}

/// Which value is far before another depends on the shape.
#[test]
fn shapes() {
    let one = calm();
    let mixed = LmSettings { mix: true, ..settings(LmFormat::Exponents) };
    for shape in [&[600][..], &[1, 600], &[300, 2], &[15, 41], &[6, 20, 5], &[10, 12, 1, 5], &[20, 30, 1, 1]] {
        assert_lm(&one, &file_of(Dtype::F32, shape), mixed);
    }
    let tensors: [(&str, Dtype, &[u64]); 4] = [
        ("a", Dtype::F32, &[20, 5]),
        ("b", Dtype::F32, &[10, 30]),
        ("c", Dtype::F32, &[300]),
        ("d", Dtype::F32, &[5, 12, 5]),
    ];
    for n in 2..=4 {
        assert_lm(&one, &safetensors_file(&tensors[..n]), mixed);
    }
}

#[test]
fn several_types() {
    let one = calm();
    let tensors = Dtype::ALL.iter().filter(|&&dtype| ![Dtype::C64, Dtype::C128].contains(&dtype));
    let tensors: Vec<(&str, Dtype, &[u64])> = tensors.map(|&dtype| (dtype.as_str(), dtype, &[33][..])).collect();
    let file = safetensors_file(&tensors);
    for mix in [false, true] {
        assert_lm(&one, &file, LmSettings { mix, ..settings(LmFormat::Exponents) });
        assert_lm(&one, &file, LmSettings { mix, lm_bits: Some(12), ..settings(LmFormat::Nibbles) });
    }
    assert_lm(&one, &file, LmSettings { lm_bits: Some(16), ..settings(Format::HexNone) });
}

/// Characters that the tokenizer loses, and texts that begin with spaces.
#[test]
fn side_information() {
    for (one, is_byte_level) in [(calm(), true), (with_dummy_prefix(), false)] {
        for format in [Format::Iso, Format::IsoSpace, Format::IsoCommaSpace, Format::HexSpace, Format::HexNone] {
            for mask in Mask::ALL {
                let mut bytes = text_bytes(9, 1200, format.is_hex());
                bytes[..2].fill(b' ');
                bytes[509..512].fill(4);
                bytes[512..515].fill(b' ');
                bytes[700..720].fill(4);
                bytes[1024] = 4;
                let file = file_with(Dtype::U8, &bytes);
                let packed = assert_lm(&one, &file, LmSettings { mask, ..settings(format) });
                let (side_len, n_extra) = side_and_extra(&only_payload(&packed, CodecId::Lm));
                assert_eq!(side_len > 2, !format.is_hex(), "{format:?} {mask:?}");
                let has_extra = !is_byte_level && !format.is_hex() && mask != Mask::None;
                assert_eq!(n_extra > 0, has_extra, "{format:?} {mask:?}");
            }
        }
    }
}

/// Length of the side information and number of extra ids, of a payload of sources 0 to 2 without cut values.
fn side_and_extra(payload: &[u8]) -> (usize, usize) {
    let mut place = 1;
    let mut next = || {
        let (value, n_bytes) = read_varint(&payload[place..]);
        place += n_bytes;
        value
    };
    let (_n_tokens, _n_symbols, side_len) = (next(), next(), next());
    (side_len, read_varint(&payload[place + side_len..]).0)
}

#[test]
fn token_data_sets() {
    let one = calm();
    for format in [Format::HexSpace, Format::IsoSpace] {
        let serializer = Serializer::new(format, BytesPerGroup::default());
        let bytes = text_bytes(3, 1500, format.is_hex());
        let source = Source { name: "a".to_owned(), bytes, tensors: Vec::new() };
        let tokenizer = one.0.tokenizer();
        let data = TokenDataset::build(vec![source], tokenizer, &serializer, &Options::default()).unwrap();
        for mask in Mask::ALL {
            let packed =
                assert_lm(&one, &data.to_safetensors_bytes().unwrap(), LmSettings { mask, ..settings(format) });
            // With side information there are two blocks.
            assert!(!format.is_hex() || source_of(&packed) == 1, "no token ids");
        }
        // The file says the format, and what only suits values is left out.
        let of_values = LmSettings { mix: true, overlap_tokens: 50, ..settings(LmFormat::Exponents) };
        assert_lm(&one, &data.to_safetensors_bytes().unwrap(), of_values);
    }
}

/// Both decoders make the same of damaged payloads, or refuse them.
#[test]
fn damaged_payloads() {
    let one = calm();
    let parts = Parts::new(&one.0);
    let cases = [
        settings(Format::HexSpace),
        LmSettings { mask: Mask::None, ..settings(Format::HexNone) },
        LmSettings { mask: Mask::Alphabet, ..settings(Format::IsoSpace) },
        LmSettings { lm_bits: Some(8), ..settings(Format::Hex0x) },
        settings(LmFormat::Exponents),
        LmSettings { mix: true, ..settings(LmFormat::Exponents) },
        LmSettings { mix: true, lm_bits: Some(12), overlap_tokens: 5, ..settings(LmFormat::Nibbles) },
        LmSettings { mix: true, ..settings(LmFormat::Bytes) },
    ];
    let mut n_decoded = 0;
    for settings in cases {
        let settings = LmSettings { window_tokens: 30, ..settings };
        let is_iso = settings.format == LmFormat::Text(Format::IsoSpace);
        let mut bytes = text_bytes(2, 71, !is_iso);
        bytes[..3].copy_from_slice(&[b' ', 4, 4]);
        let packed = assert_lm(&one, &file_with(Dtype::BF16, &bytes[..70]), settings);
        let prior = parts.prior(settings.window_tokens);
        let made = |payload: &[u8], n_lanes: u64| {
            let mut made = Made::of_block("BF16", &[35], &[0; 70], CodecId::Lm, payload);
            let file = second_decoder::read(&packed).unwrap();
            let settings: Vec<_> = file.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            made.settings = header_settings(&settings);
            made.model = model_record(&one);
            made.blocks[0].n_lanes = n_lanes;
            made
        };
        let payload = only_payload(&packed, CodecId::Lm);
        let mut check = |payload: &[u8], n_lanes| {
            n_decoded += usize::from(is_decoded(made(payload, n_lanes), None, Some((&one, &prior))));
        };
        for place in 0..payload.len() {
            for bit in 0..8 {
                let mut damaged = payload.clone();
                damaged[place] ^= 1 << bit;
                check(&damaged, 1);
            }
            check(&payload[..place], 1);
            check(&[&payload[..place], &payload[place + 1..]].concat(), 1);
            check(&[&payload[..place], &[0], &payload[place..]].concat(), 1);
        }
        for n_lanes in [0, 2, 32] {
            check(&payload, n_lanes);
        }
    }
    assert!(n_decoded > 1000, "{n_decoded}");
}

/// What a header says of a model.
fn model_record(one: &OneModel) -> Vec<u8> {
    let record = one.0.record();
    let mut bytes = [&[1, 0][..], &record.fingerprint].concat();
    for number in [record.numerics_revision, record.vocab_size, record.start_token] {
        bytes.extend(varint(number.into()));
    }
    bytes
}

fn read_varint(bytes: &[u8]) -> (usize, usize) {
    let n_bytes = bytes.iter().position(|&byte| byte < 0x80).unwrap() + 1;
    (bytes[..n_bytes].iter().rev().fold(0, |value, &byte| value << 7 | usize::from(byte & 0x7f)), n_bytes)
}
