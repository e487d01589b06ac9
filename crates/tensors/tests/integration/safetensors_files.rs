//! Writing safetensors files, and reading them back strictly.

use std::collections::BTreeMap;
use std::io::Cursor;

use lmgc_tensors::safetensors::{TensorEntry, read_layout_strict, write, write_to};
use lmgc_tensors::{Dtype, Error, PARAMETER_ORDER_KEY};
use proptest::prelude::*;

use crate::common::assert_tiles;

fn written(tensors: &[TensorEntry<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, tensors, metadata)?;
    Ok(bytes)
}

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn golden_bytes() {
    let tensors = [
        ("b".to_owned(), Dtype::U8, vec![3], &b"xyz"[..]),
        ("a".to_owned(), Dtype::F32, vec![1, 1], b"1234"),
        ("z".to_owned(), Dtype::U8, vec![0], b""),
    ];
    let bytes = written(&tensors, &metadata(&[("step", "4"), ("order", "b a")])).unwrap();
    let header = concat!(
        r#"{"__metadata__":{"order":"b a","step":"4"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"#,
        r#""b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},"z":{"dtype":"U8","shape":[0],"data_offsets":[7,7]}}"#,
        "      "
    );
    let expected = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), b"1234xyz"].concat();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    // And the reference implementation takes it.
    let read = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("b").unwrap().data(), b"xyz");
}

#[test]
fn what_was_written_comes_back() {
    let names = ["weight", "bias", "0"];
    let tensors: Vec<TensorEntry<'_>> =
        names.iter().map(|&name| (name.to_owned(), Dtype::I16, vec![2], &b"abcd"[..])).collect();
    let order = serde_json::to_string(&names).unwrap();
    let bytes = written(&tensors, &metadata(&[(PARAMETER_ORDER_KEY, &order)])).unwrap();
    let layout = read_layout_strict(&mut Cursor::new(&bytes)).unwrap();
    assert_tiles(&layout, bytes.len() as u64);
    let found: Vec<_> = layout.parameter_order().iter().map(|&index| layout.spans[index].name.as_str()).collect();
    assert_eq!(found, names);
    assert_eq!(layout.skeleton_ranges().len(), 1);
}

#[test]
fn every_type_of_the_format_comes_back() {
    let data = [7; 16];
    for dtype in Dtype::ALL {
        let bytes = &data[..dtype.size_bytes() as usize];
        let result = written(&[("t".to_owned(), dtype, vec![], bytes)], &BTreeMap::new());
        if dtype == Dtype::C128 {
            assert!(matches!(result, Err(Error::InvalidTensor { .. })));
        } else {
            let layout = read_layout_strict(&mut Cursor::new(result.unwrap())).unwrap();
            assert_eq!((layout.spans[0].dtype, layout.spans[0].shape.as_slice()), (dtype, &[][..]));
        }
    }
}

#[test]
fn misfits_are_refused_by_name() {
    let refused = |tensors: &[TensorEntry<'_>]| match written(tensors, &BTreeMap::new()) {
        Err(Error::InvalidTensor { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let entry = |name: &str, shape: &[u64]| (name.to_owned(), Dtype::F32, shape.to_vec(), &b"12345678"[..]);
    assert_eq!(refused(&[entry("short", &[3])]), "short");
    assert_eq!(refused(&[entry("huge", &[u64::MAX, u64::MAX])]), "huge");
    assert_eq!(refused(&[entry("__metadata__", &[2])]), "__metadata__");
    assert_eq!(refused(&[entry("twice", &[2]), entry("x", &[2]), entry("twice", &[1, 2])]), "twice");
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grad.safetensors");
    let good = [("t".to_owned(), Dtype::U8, vec![3], &b"abc"[..])];
    write(&path, &good, &BTreeMap::new()).unwrap();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(first, written(&good, &BTreeMap::new()).unwrap());

    let bad = [("t".to_owned(), Dtype::U8, vec![4], &b"abc"[..])];
    assert!(write(&path, &bad, &BTreeMap::new()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), first);

    let other = [("u".to_owned(), Dtype::U8, vec![1], &b"z"[..])];
    write(&path, &other, &BTreeMap::new()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), written(&other, &BTreeMap::new()).unwrap());
    // Nothing temporary stays behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let missing = folder.path().join("no such folder").join("x.safetensors");
    assert!(matches!(write(missing, &good, &BTreeMap::new()), Err(Error::Io(_))));
}

#[test]
fn errors_say_what_is_wrong() {
    let read = |bytes: &[u8]| read_layout_strict(&mut Cursor::new(bytes)).unwrap_err();
    assert!(matches!(read(b"abc"), Error::Truncated { needed: 8, available: 3, .. }));
    assert!(matches!(read(b"\xff\xff\xff\xff\x00\x00\x00\x00{}"), Error::LimitExceeded { .. }));
    assert!(matches!(read(b"\x09\x00\x00\x00\x00\x00\x00\x00{}"), Error::Truncated { offset: 8, needed: 9, .. }));
    for header in [&b"\x02\x00\x00\x00\x00\x00\x00\x00[]"[..], b"\x03\x00\x00\x00\x00\x00\x00\x00 {}"] {
        assert!(matches!(read(header), Error::Corrupt { offset: 8, .. }));
    }
    assert!(matches!(read(b"\x02\x00\x00\x00\x00\x00\x00\x00{}x"), Error::Corrupt { offset: 10, .. }));
}

proptest! {
    #[test]
    fn any_tensors_round_trip(
        tensors in prop::collection::btree_map("[a-z.\u{e9}\"\\\\]{1,8}", (prop::collection::vec(0..4u64, 0..4), any::<u8>()), 0..6),
        metadata in prop::collection::btree_map(".{0,6}", ".{0,6}", 0..4),
    ) {
        let tensors: Vec<(String, Vec<u64>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, (shape, fill))| {
                let data = vec![fill; (shape.iter().product::<u64>() * 2) as usize];
                (name, shape, data)
            })
            .collect();
        let entries: Vec<TensorEntry<'_>> =
            tensors.iter().map(|(name, shape, data)| (name.clone(), Dtype::BF16, shape.clone(), data.as_slice())).collect();
        let bytes = written(&entries, &metadata).unwrap();
        let layout = read_layout_strict(&mut Cursor::new(&bytes)).unwrap();
        assert_tiles(&layout, bytes.len() as u64);
        prop_assert_eq!(&layout.metadata, &metadata);
        let mut found: Vec<_> = layout.spans.iter().map(|span| {
            let data = bytes[span.offset as usize..][..span.len as usize].to_vec();
            (span.name.clone(), span.shape.clone(), data)
        }).collect();
        found.sort();
        prop_assert_eq!(found, tensors);
    }
}
