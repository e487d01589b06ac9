//! SmolLM2's tokenizer against ids that transformers gave; see testdata/tokens/README.md.

mod common;

use std::env;
use std::fs::File;
use std::path::PathBuf;

use common::{Random, all_serializers, serializer, testdata};
use lmgc_serialize::{CHUNK_BYTES, Format};
use lmgc_tensors::gguf::GgufFile;
use lmgc_tokens::Tokenizer;
use lmgc_tokens::stream::{detokenize_bytes, tokenize_bytes};
use serde::Deserialize;

/// What SmolLM2's tokenizer loses.
const LOST: [u8; 6] = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d];

/// The model's place in the model store, which belongs to a crate that cannot be used here.
fn smollm2() -> Tokenizer {
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = |folder: &str| path("HOME").map(|home| home.join(folder).join("lmgc"));
    let cache = if cfg!(windows) {
        path("LOCALAPPDATA").map(|cache| cache.join("lmgc"))
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        path("XDG_CACHE_HOME").map(|cache| cache.join("lmgc")).or_else(|| home(".cache"))
    };
    let store = path("LMGC_HOME").or(cache).expect("LMGC_HOME or a home directory is set");
    let file = store.join("models/smollm2-135m/model.gguf");
    let mut file = File::open(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Tokenizer::from_gguf(&GgufFile::parse(&mut file).unwrap()).unwrap()
}

/// A line of `smollm2_ids.jsonl`.
#[derive(Deserialize)]
struct Expected {
    format: String,
    bytes_per_group: usize,
    chunks_blake3: String,
    n_ids_and_blake3: Vec<(usize, String)>,
}

/// Chunk `index` of setting number `setting`; the same as in `make_smollm2_ids.py`.
fn chunk_bytes(setting: u64, index: u64) -> Vec<u8> {
    const SNIPPETS: [&[u8]; 12] = [
        b"<|im_start|>",
        b"<|endoftext|>",
        b"<repo_name>",
        b"  ",
        b"\n\n\t",
        b"don't we'll",
        b" 1234.5e-6",
        b"\xe9t\xe9 \xa0",
        b"\x04\x06\x13\x14\x16\x1d",
        b"the gradient of",
        b"\xff\xfe\x00",
        b", , 0x0x",
    ];
    let mut random = Random(setting << 32 | index);
    let len = if index % 3 == 2 { 1 + (random.next() % CHUNK_BYTES as u64) as usize } else { CHUNK_BYTES };
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let number = random.next();
        match index % 4 {
            0 => bytes.extend(number.to_le_bytes()),
            1 => {
                let exponent = 105 + (number >> 32 & 0xfff).count_ones();
                let bits = ((number >> 63) as u32) << 31 | exponent << 23 | (number & 0x7f_ffff) as u32;
                bytes.extend(bits.to_le_bytes());
            }
            2 => bytes.push(if number.is_multiple_of(8) { (number >> 8) as u8 } else { 0 }),
            _ => bytes.extend(SNIPPETS[(number % SNIPPETS.len() as u64) as usize]),
        }
    }
    bytes.truncate(len);
    bytes
}

fn short_hash(hash: blake3::Hash) -> String {
    hash.to_hex()[..16].to_owned()
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn ids_equal_those_of_transformers() {
    let tokenizer = smollm2();
    let fixture = std::fs::read_to_string(testdata().join("smollm2_ids.jsonl")).unwrap();
    let mut n_chunks = 0;
    for (setting, line) in (0..).zip(fixture.lines()) {
        let expected: Expected = serde_json::from_str(line).unwrap();
        let serializer = serializer(expected.format.parse().unwrap(), expected.bytes_per_group);
        let chunks: Vec<Vec<u8>> =
            (0..).map(|index| chunk_bytes(setting, index)).take(expected.n_ids_and_blake3.len()).collect();
        assert_eq!(short_hash(blake3::hash(&chunks.concat())), expected.chunks_blake3, "the formula for chunks");
        for (index, (chunk, expected_ids)) in chunks.iter().zip(&expected.n_ids_and_blake3).enumerate() {
            let ids = tokenizer.encode_chunk(&serializer.serialize(chunk)).unwrap();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            let found = (ids.len(), short_hash(blake3::hash(&bytes)));
            assert_eq!(found, *expected_ids, "{} {}, chunk {index}", expected.format, expected.bytes_per_group);
            n_chunks += 1;
        }
    }
    assert!(n_chunks >= 1000, "{n_chunks} chunks");
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn all_bytes_come_back() {
    let tokenizer = smollm2();
    assert_eq!(tokenizer.vocab_size(), 49152);
    assert_eq!(tokenizer.start_token(), Some(1));
    assert!(!tokenizer.dummy_prefix());
    for (setting, serializer) in (100..).zip(all_serializers()) {
        let bytes: Vec<u8> = (0..12).flat_map(|index| chunk_bytes(setting, index)).collect();
        let stream = tokenize_bytes(&tokenizer, &serializer, &bytes).unwrap();
        let back = detokenize_bytes(&tokenizer, &serializer, &stream.ids, &stream.side, bytes.len() as u64).unwrap();
        assert!(back == bytes, "{}", serializer.format());
        assert_eq!(stream.side.is_empty(), serializer.format().is_hex());
    }
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn six_control_characters_are_lost_and_cost_little() {
    let tokenizer = smollm2();
    let serializer = serializer(Format::Iso, 4);
    for byte in 0..=255 {
        let stream = tokenize_bytes(&tokenizer, &serializer, &[byte]).unwrap();
        assert_eq!(stream.side.is_empty(), !LOST.contains(&byte), "{byte:#04x}");
    }
    let mut random = Random(1);
    let bytes: Vec<u8> = (0..1 << 15).flat_map(|_| random.next().to_le_bytes()).collect();
    let n_lost = bytes.iter().filter(|byte| LOST.contains(byte)).count();
    let stream = tokenize_bytes(&tokenizer, &serializer, &bytes).unwrap();
    // Which one of six and where: log2(6) bits and a geometric distribution's 6.8.
    let bits_per_loss = stream.side.len() as f64 * 8.0 / n_lost as f64;
    assert!((9.0..9.8).contains(&bits_per_loss), "{bits_per_loss} bits for each of {n_lost} lost characters");
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn legal_alphabets_hold_what_occurs() {
    let tokenizer = smollm2();
    for (setting, serializer) in (200..).zip(all_serializers()) {
        let alphabet = tokenizer.legal_alphabet(&serializer);
        println!("{} {}: {} tokens", serializer.format(), serializer.bytes_per_group(), alphabet.len());
        for index in 0..8 {
            let ids = tokenizer.encode_chunk(&serializer.serialize(&chunk_bytes(setting, index))).unwrap();
            assert!(ids.iter().all(|id| alphabet.binary_search(id).is_ok()), "{}", serializer.format());
        }
    }
}
