//! Tensors carried over from format to format.

use std::collections::BTreeMap;
use std::io::Cursor;

use lmgc_tensors::{Dtype, Error, FileFormat, OutputFormat, PARAMETER_ORDER_KEY, TensorFile, find_spans, safetensors};
use proptest::prelude::*;
use serde::Deserialize;

use crate::common::fixture;

/// A tensor with its elements.
#[derive(Debug, Clone, PartialEq)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> Tensor {
    Tensor { name: name.into(), dtype, shape: shape.into(), bytes: bytes.into() }
}

fn open(bytes: &[u8]) -> Result<TensorFile<Cursor<&[u8]>>, Error> {
    TensorFile::open(Cursor::new(bytes))
}

fn contents(bytes: &[u8]) -> Result<Vec<Tensor>, Error> {
    let mut file = open(bytes)?;
    let mut tensors: Vec<Tensor> =
        file.tensors().iter().map(|info| tensor(info.name, info.dtype, info.shape, &[])).collect();
    for (index, tensor) in tensors.iter_mut().enumerate() {
        file.copy_tensor(index, &mut tensor.bytes)?;
    }
    Ok(tensors)
}

fn write(tensors: &[Tensor]) -> Vec<u8> {
    let entries: Vec<_> =
        tensors.iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone(), t.bytes.as_slice())).collect();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let metadata = BTreeMap::from([(PARAMETER_ORDER_KEY.to_owned(), serde_json::to_string(&names).unwrap())]);
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &entries, &metadata).unwrap();
    file
}

fn convert(bytes: &[u8], format: OutputFormat) -> Result<Vec<u8>, Error> {
    Ok(open(bytes)?.write(format, Cursor::new(Vec::new()))?.into_inner())
}

/// Not in the order of names or types, with the bit patterns that arithmetic would change, empty tensors and scalars.
fn sample() -> Vec<Tensor> {
    let nans: Vec<u8> = [0x7f80_0001u32, 0xffc1_2345, 0x8000_0000, 1, 0x7f80_0000, 0x7fff_ffff]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    vec![
        tensor("z.weight", Dtype::F32, &[2, 3], &nans),
        tensor("a", Dtype::F16, &[3], &[1, 0x7c, 0xff, 0xff, 0, 0x80]),
        tensor("none", Dtype::F64, &[0, 4], &[]),
        tensor("schön/π", Dtype::I64, &[], &[1, 2, 3, 4, 5, 6, 7, 0xff]),
        tensor("block.10", Dtype::Bool, &[2, 1, 1], &[0, 1]),
        tensor("block.9", Dtype::U16, &[1], &[0xff, 0xfe]),
        tensor("c", Dtype::C64, &[1], &[1, 0, 0x80, 0x7f, 0, 0, 0, 0x80]),
        tensor("b.npy", Dtype::U8, &[5], b"\x80\x02.q\n"),
    ]
}

#[derive(Deserialize)]
enum Expected {
    #[serde(rename = "tensors")]
    Tensors(Vec<ExpectedTensor>),
    #[serde(rename = "refused")]
    Refused(String),
}

#[derive(Deserialize)]
struct ExpectedTensor {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    bytes: String,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn files_of_other_libraries_hold_what_these_read() {
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&fixture("contents.json")).unwrap();
    assert!(expected.len() > 25);
    for (name, expected) in expected {
        let found = contents(&fixture(&name));
        match expected {
            Expected::Tensors(tensors) => {
                let tensors: Vec<Tensor> = tensors
                    .iter()
                    .map(|t| tensor(&t.name, t.dtype.parse().unwrap(), &t.shape, &unhex(&t.bytes)))
                    .collect();
                assert_eq!(found.unwrap(), tensors, "{name}");
            }
            Expected::Refused(words) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(&words), "{name}: {error}");
            }
        }
    }
}

#[test]
fn every_pair_of_formats_round_trips() {
    let tensors = sample();
    let original = write(&tensors);
    for first in OutputFormat::ALL {
        let once = convert(&original, first).unwrap();
        assert_eq!(contents(&once).unwrap(), tensors, "{first}");
        for second in OutputFormat::ALL {
            let twice = convert(&once, second).unwrap();
            assert_eq!(contents(&twice).unwrap(), tensors, "{first} to {second}");
            assert_eq!(convert(&original, second).unwrap(), twice, "{first} to {second}");
            let difference = open(&original).unwrap().difference(&mut open(&twice).unwrap()).unwrap();
            assert_eq!(difference, None);
        }
    }
}

#[test]
fn spans_lie_where_they_should_in_what_is_written() {
    let tensors = sample();
    for (output, format) in [(OutputFormat::Npz, FileFormat::Npz), (OutputFormat::Torch, FileFormat::Torch)] {
        let bytes = convert(&write(&tensors), output).unwrap();
        let layout = find_spans(&mut Cursor::new(&bytes)).unwrap();
        crate::common::assert_tiles(&layout, bytes.len() as u64);
        assert_eq!((layout.format, layout.note.as_deref()), (format, None));
        for (index, tensor) in layout.parameter_order().into_iter().zip(&tensors) {
            let span = &layout.spans[index];
            assert_eq!((&span.name, &span.shape, span.dtype), (&tensor.name, &tensor.shape, tensor.dtype));
            assert_eq!(bytes[span.offset as usize..][..span.len as usize], tensor.bytes);
            assert!(output != OutputFormat::Torch || span.offset.is_multiple_of(64) || span.len == 0, "{span:?}");
        }
    }
}

#[test]
fn every_type_is_carried_over_or_refused_with_advice() {
    // safetensors lacks one.
    for dtype in Dtype::ALL.into_iter().filter(|&dtype| dtype != Dtype::C128) {
        let bytes: Vec<u8> = (0..dtype.size_bytes() as u8 * 2).map(|n| n % 2).collect();
        let original = tensor("t", dtype, &[2], &bytes);
        let source = write(std::slice::from_ref(&original));
        assert_eq!(contents(&convert(&source, OutputFormat::Torch).unwrap()).unwrap(), std::slice::from_ref(&original));
        let is_known_to_numpy = !matches!(
            dtype,
            Dtype::BF16 | Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz | Dtype::F8E8M0
        );
        match convert(&source, OutputFormat::Npz) {
            Ok(npz) => assert!(is_known_to_numpy && contents(&npz).unwrap() == [original]),
            Err(error) => {
                let message = error.to_string();
                assert!(!is_known_to_numpy, "{message}");
                assert!(message.contains(dtype.as_str()) && message.contains("safetensors or pt"), "{message}");
            }
        }
    }
}

#[test]
fn what_safetensors_lacks_is_refused_with_advice() {
    let error = convert(&fixture("dtypes.pt"), OutputFormat::Safetensors).unwrap_err().to_string();
    assert!(error.contains("C128") && error.contains("use npz or pt"), "{error}");
    let again = convert(&fixture("dtypes.pt"), OutputFormat::Torch).unwrap();
    assert_eq!(contents(&again).unwrap(), contents(&fixture("dtypes.pt")).unwrap());
}

#[test]
fn what_is_not_a_tensor_is_listed() {
    let left_out = |name: &str, format| {
        let bytes = fixture(name);
        let left_out = open(&bytes).unwrap().left_out(format);
        assert_eq!(left_out.n(), left_out.names().len());
        left_out.names().to_vec()
    };
    let nested = ["epoch", "big", "lr", "tag", "done", "seen", "raw", "optimizer.param_groups"];
    assert_eq!(left_out("nested.ckpt", OutputFormat::Npz), nested);
    assert_eq!(left_out("again.pt", OutputFormat::Npz), ["step", "q.1"]);
    assert_eq!(left_out("views.pt", OutputFormat::Torch), [""; 0]);
    assert_eq!(left_out("stored.npz", OutputFormat::Torch), [""; 0]);
    assert_eq!(left_out("mixed.safetensors", OutputFormat::Torch), ["metadata step"]);
    assert_eq!(left_out("mixed.safetensors", OutputFormat::Safetensors), [""; 0]);
    assert_eq!(left_out("text.npy", OutputFormat::Torch), ["arr_0 (not an array of numbers)"]);
}

#[test]
fn metadata_stays_in_safetensors() {
    let again = convert(&fixture("mixed.safetensors"), OutputFormat::Safetensors).unwrap();
    let layout = find_spans(&mut Cursor::new(&again)).unwrap();
    assert_eq!(layout.metadata["step"], "400");
    assert_eq!(again, convert(&again, OutputFormat::Safetensors).unwrap());
}

#[test]
fn names_that_occur_twice_are_refused() {
    let two = [tensor("a", Dtype::U8, &[1], &[1]), tensor("b", Dtype::U8, &[1], &[2])];
    let mut npz = convert(&write(&two), OutputFormat::Npz).unwrap();
    replace(&mut npz, b"b.npy", b"a.npy");
    replace(&mut npz, b"b.npy", b"a.npy");
    let error = convert(&npz, OutputFormat::Torch).unwrap_err();
    assert!(matches!(&error, Error::InvalidTensor { name, .. } if name == "a"), "{error}");
}

/// Replaces the first occurrence by as many bytes.
fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes.splice(at..at + from.len(), to.iter().copied());
}

#[test]
fn a_wrong_checksum_is_noticed() {
    for name in ["stored.npz", "compressed.npz"] {
        let mut bytes = fixture(name);
        assert!(contents(&bytes).is_ok());
        let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        bytes[directory + 16] ^= 1;
        let error = contents(&bytes).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("checksum"), "{name}: {error}");
    }
}

#[test]
fn a_member_that_claims_too_much_is_refused_before_it_is_inflated() {
    let mut bytes = fixture("compressed.npz");
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[directory + 24..directory + 28].copy_from_slice(&0x7000_0000u32.to_le_bytes());
    let error = contents(&bytes).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("claims"), "{error}");
}

const CONVERTIBLE: [&str; 8] = [
    "nested.ckpt",
    "views.pt",
    "again.pt",
    "big_endian.pt",
    "deflated_fortran.npz",
    "zip64.npz",
    "mixed.safetensors",
    "fortran_order.npy",
];

#[test]
fn truncated_files_are_errors() {
    for name in CONVERTIBLE {
        let bytes = fixture(name);
        assert!(contents(&bytes).is_ok(), "{name}");
        for len in 0..bytes.len() {
            let error = contents(&bytes[..len]).unwrap_err();
            assert!(!matches!(error, Error::Io(_)), "{name} cut to {len} bytes: {error}");
        }
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    for name in CONVERTIBLE {
        let mut bytes = fixture(name);
        for at in 0..bytes.len() {
            let byte = bytes[at];
            for changed in [byte ^ (1 << (at % 8)), 0xff] {
                bytes[at] = changed;
                check_any(&bytes);
            }
            bytes[at] = byte;
        }
    }
}

/// Whatever is read can be written and read again, unless the format lacks it.
fn check_any(bytes: &[u8]) {
    let Ok(tensors) = contents(bytes) else { return };
    for format in OutputFormat::ALL {
        match convert(bytes, format) {
            Ok(converted) => assert_eq!(contents(&converted).unwrap(), tensors),
            Err(Error::NoTensors) => assert!(tensors.is_empty()),
            Err(error) => assert!(matches!(error, Error::InvalidTensor { .. }), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn several_bytes_changed(
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fixture(CONVERTIBLE[index.index(CONVERTIBLE.len())]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_any(&bytes);
    }
}
