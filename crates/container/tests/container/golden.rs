//! The bytes that are written today are those that were specified.

use crate::files::{Block, small_lm_header, write};
use lmgc_container::{Header, Stream};

/// The worked example of `docs/format.md`.
#[test]
fn the_example_of_the_specification() {
    let header = Header {
        settings: [("format", "hex-space"), ("x", "1")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        file_format: "npy".to_owned(),
        original_len: 140,
        tensors: vec![lmgc_container::TensorEntry {
            name: String::new(),
            dtype: "F32".to_owned(),
            shape: vec![3],
            offset: 128,
            len: 12,
        }],
        model: None,
    };
    let blocks = [
        Block { stream: Stream::Skeleton, codec: 1, raw_len: 128, n_lanes: 0, payload: vec![0xaa, 0xbb] },
        Block { stream: Stream::Data, codec: 0, raw_len: 12, n_lanes: 0, payload: (1..=12).collect() },
    ];
    let bytes = write(&header, &blocks, [0xee; 32]);

    let specification = include_str!("../../../../docs/format.md");
    let (_, example) = specification.split_once("<!-- example -->").unwrap();
    let (_, example) = example.split_once("```text\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let expected: Vec<u8> = example
        .lines()
        .flat_map(|line| line.split_once('|').unwrap().0.split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, expected, "{}", hex.join(" "));
}

/// What a 4 KiB raw file costs besides its payload, with settings, a model record and one block of eight lanes.
#[test]
fn the_overhead_of_a_small_file() {
    let header = small_lm_header();
    let payload = vec![0x55; 3900];
    let block = Block { stream: Stream::Data, codec: 1, raw_len: 4096, n_lanes: 8, payload };
    let bytes = write(&header, std::slice::from_ref(&block), [0; 32]);
    assert_eq!(bytes.len() - block.payload.len(), 175);

    let empty = crate::files::header(0, &[]);
    assert_eq!(write(&empty, &[], [0; 32]).len(), 12 + 11 + 39 + 8);
}
