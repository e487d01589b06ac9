//! Whatever the bytes are, spans and skeleton tile the file, and nothing panics.

use std::io::Cursor;

use lmgc_tensors::{FileFormat, find_spans, gguf, safetensors};
use proptest::prelude::*;

use crate::common::{assert_tiles, fixture, fixture_folder};

fn check(bytes: &[u8]) -> FileFormat {
    let layout = find_spans(&mut Cursor::new(bytes)).unwrap();
    assert_tiles(&layout, bytes.len() as u64);
    if layout.format == FileFormat::Raw {
        assert_eq!(layout.spans.len(), usize::from(!bytes.is_empty()));
    }
    layout.format
}

/// All fixtures, by name.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = std::fs::read_dir(fixture_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".py") && !name.ends_with(".json"))
        .collect();
    names.sort();
    assert!(names.len() > 25);
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}

/// Bytes without which a file is no longer of its format: all, but for padding and what may follow.
fn needed_len(name: &str, bytes: &[u8]) -> usize {
    match name {
        // Elements without a plain type are taken to reach to the end, wherever that is.
        "structured.npy" | "objects.npy" => 128,
        "nested.npy" => 192,
        "trailing.safetensors" => bytes.len() - 1,
        "version2.npy" => bytes.len() - b"more".len(),
        // Its last value ends in a byte that is not 0.
        "no_tensors.gguf" => bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1,
        _ if name.ends_with(".gguf") => {
            let file = gguf::GgufFile::parse(&mut Cursor::new(bytes));
            let end = file.iter().flat_map(|file| &file.tensors).map(|tensor| tensor.offset + tensor.len).max();
            end.map_or(bytes.len(), |end| end as usize)
        }
        _ => bytes.len(),
    }
}

#[test]
fn truncated_at_every_byte() {
    for (name, bytes) in fixtures() {
        let whole = check(&bytes);
        for len in 0..bytes.len() {
            let format = check(&bytes[..len]);
            assert!(
                format == FileFormat::Raw || len >= needed_len(&name, &bytes),
                "{name} cut to {len} bytes is taken for {whole}"
            );
        }
    }
}

#[test]
fn every_byte_changed() {
    for (_, mut bytes) in fixtures() {
        for at in 0..bytes.len() {
            let byte = bytes[at];
            for changed in [byte ^ (1 << (at % 8)), 0xff] {
                bytes[at] = changed;
                check(&bytes);
            }
            bytes[at] = byte;
        }
    }
}

#[test]
fn strict_readers_refuse_what_is_truncated() {
    let bytes = fixture("mixed.gguf");
    assert!(gguf::GgufFile::parse(&mut Cursor::new(&bytes)).is_ok());
    for len in 0..needed_len("mixed.gguf", &bytes) {
        assert!(gguf::GgufFile::parse(&mut Cursor::new(&bytes[..len])).is_err(), "{len}");
    }
    let bytes = fixture("mixed.safetensors");
    assert!(safetensors::read_layout_strict(&mut Cursor::new(&bytes)).is_ok());
    for len in 0..bytes.len() {
        assert!(safetensors::read_layout_strict(&mut Cursor::new(&bytes[..len])).is_err(), "{len}");
    }
}

/// Beginnings that lead into each parser.
fn any_head() -> impl Strategy<Value = Vec<u8>> {
    let heads: [&[u8]; 8] = [
        b"",
        b"GGUF\x03\x00\x00\x00",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x03\x00",
        b"PK\x03\x04",
        b"\x10\x00\x00\x00\x00\x00\x00\x00{",
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{",
    ];
    prop::sample::select(heads.map(<[u8]>::to_vec).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(head in any_head(), tail in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&[head, tail].concat());
    }

    #[test]
    fn several_bytes_changed(
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let files = fixtures();
        let (_, mut bytes) = files[index.index(files.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
    }

    #[test]
    fn a_field_of_eight_bytes_changed(
        index in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in prop_oneof![any::<u64>(), Just(u64::MAX), Just(u64::MAX / 2), 0..100_000u64],
    ) {
        let files = fixtures();
        let (_, mut bytes) = files[index.index(files.len())].clone();
        let at = at.index(bytes.len());
        for (byte, new) in bytes[at..].iter_mut().zip(value.to_le_bytes()) {
            *byte = new;
        }
        check(&bytes);
    }
}
