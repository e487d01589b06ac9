//! Files written by NumPy, PyTorch, safetensors and gguf are laid out as those libraries read them.

use std::collections::BTreeMap;
use std::io::Cursor;

use lmgc_tensors::find_spans;
use serde::Deserialize;

use crate::common::{assert_tiles, fixture};

#[derive(Deserialize)]
struct Expected {
    format: String,
    tensors: Vec<ExpectedTensor>,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct ExpectedTensor {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    /// In hexadecimal.
    bytes: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_fixture_is_laid_out_as_its_writer_meant() {
    let read = |name| -> BTreeMap<String, Expected> { serde_json::from_slice(&fixture(name)).unwrap() };
    let expected: BTreeMap<_, _> = read("expected.json").into_iter().chain(read("expected_odd.json")).collect();
    assert!(expected.len() > 55);
    for (file_name, expected) in expected {
        let bytes = fixture(&file_name);
        let layout = find_spans(&mut Cursor::new(&bytes)).unwrap();
        assert_tiles(&layout, bytes.len() as u64);
        assert_eq!(layout.format.as_str(), expected.format, "{file_name}: {:?}", layout.note);
        let found: Vec<ExpectedTensor> = layout
            .parameter_order()
            .into_iter()
            .map(|index| &layout.spans[index])
            .map(|span| ExpectedTensor {
                name: span.name.clone(),
                dtype: span.dtype.to_string(),
                shape: span.shape.clone(),
                bytes: hex(&bytes[span.offset as usize..(span.offset + span.len) as usize]),
            })
            .collect();
        assert_eq!(found, expected.tensors, "{file_name}");
        match (&layout.note, &expected.note) {
            (None, None) => {}
            (Some(note), Some(words)) if note.contains(words.as_str()) => {}
            (note, words) => panic!("{file_name}: note {note:?} where {words:?} was expected"),
        }
    }
}

#[test]
fn metadata_comes_along() {
    let layout = find_spans(&mut Cursor::new(fixture("mixed.safetensors"))).unwrap();
    assert_eq!(layout.metadata["step"], "400");
    let layout = find_spans(&mut Cursor::new(fixture("mixed.gguf"))).unwrap();
    assert_eq!(layout.metadata["general.architecture"], "llama");
    assert_eq!(layout.metadata["test.int64"], "-1099511627776");
    assert!(!layout.metadata.contains_key("test.strings"));
}

/// Where the pickle of a checkpoint begins and ends.
fn pickle_range(bytes: &[u8]) -> std::ops::Range<usize> {
    let start = bytes.windows(3).position(|window| window == b"\x80\x02}").unwrap();
    let end = start + bytes[start..].windows(2).position(|window| window == b"u.").unwrap() + 2;
    start..end
}

#[test]
fn storages_of_a_checkpoint_without_a_readable_pickle_are_bytes() {
    let mut bytes = fixture("nested.ckpt");
    let pickle = pickle_range(&bytes);
    bytes[pickle.start + 1] = 99;
    let layout = find_spans(&mut Cursor::new(&bytes)).unwrap();
    assert_tiles(&layout, bytes.len() as u64);
    assert_eq!(layout.format.as_str(), "torch");
    assert!(layout.note.unwrap().contains("not understood"));
    assert!(layout.spans.iter().all(|span| span.name.starts_with("data/") && span.dtype.as_str() == "U8"));
    assert!(layout.spans.len() > 10);
}

#[test]
fn storages_of_a_checkpoint_with_half_a_pickle_keep_their_types() {
    let mut bytes = fixture("nested.ckpt");
    let pickle = pickle_range(&bytes);
    bytes[pickle.end - 1] = b'I';
    let layout = find_spans(&mut Cursor::new(&bytes)).unwrap();
    assert_tiles(&layout, bytes.len() as u64);
    assert!(layout.note.unwrap().contains("not understood"));
    let types: Vec<_> = layout.spans.iter().map(|span| (span.name.as_str(), span.dtype.as_str())).collect();
    assert_eq!(types[..3], [("data/0", "F32"), ("data/1", "BF16"), ("data/2", "F64")]);
}

#[test]
fn overlapping_archive_members_are_refused() {
    // In the directory the second array's header is said to lie where the first one's does.
    let mut bytes = fixture("stored.npz");
    let entries: Vec<usize> =
        (0..bytes.len() - 4).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")).map(|at| at + 42).collect();
    let first: [u8; 4] = bytes[entries[0]..][..4].try_into().unwrap();
    bytes[entries[1]..][..4].copy_from_slice(&first);
    let layout = find_spans(&mut Cursor::new(&bytes)).unwrap();
    assert_tiles(&layout, bytes.len() as u64);
    assert_eq!(layout.format.as_str(), "raw");
    assert!(layout.note.unwrap().contains("overlaps"));
}

#[test]
fn an_empty_file_has_no_span() {
    let layout = find_spans(&mut Cursor::new([])).unwrap();
    assert_tiles(&layout, 0);
    assert!(layout.spans.is_empty() && layout.note.is_none());
}

#[test]
fn only_reading_itself_fails() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    impl std::io::Seek for Broken {
        fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
            Ok(1000)
        }
    }
    assert!(matches!(find_spans(&mut Broken), Err(lmgc_tensors::Error::Io(_))));
}
