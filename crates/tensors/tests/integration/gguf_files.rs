//! The strict GGUF reader.

use std::io::Cursor;

use lmgc_tensors::Error;
use lmgc_tensors::gguf::{GgmlType, GgufFile, MAX_N_TENSORS, Value};

use crate::common::fixture;

fn parse(bytes: &[u8]) -> Result<GgufFile, Error> {
    GgufFile::parse(&mut Cursor::new(bytes))
}

#[test]
fn metadata_of_every_type() {
    let file = parse(&fixture("mixed.gguf")).unwrap();
    let value = |name: &str| &file.metadata[&format!("test.{name}")];
    assert_eq!(value("uint8"), &Value::U8(8));
    assert_eq!(value("int8"), &Value::I8(-8));
    assert_eq!(value("uint16"), &Value::U16(16));
    assert_eq!(value("int16"), &Value::I16(-16));
    assert_eq!(value("uint32"), &Value::U32(32));
    assert_eq!(value("int32"), &Value::I32(-32));
    assert_eq!(value("uint64"), &Value::U64(1 << 40));
    assert_eq!(value("int64"), &Value::I64(-(1 << 40)));
    assert_eq!(value("float32"), &Value::F32(0.5));
    assert_eq!(value("float64"), &Value::F64(0.25));
    assert_eq!(value("bool"), &Value::Bool(true));
    assert_eq!(value("string").as_str(), Some("text"));
    let strings: Vec<_> = value("strings").as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(strings, ["a", "", "\u{e9}"]);
    assert_eq!(value("int8").as_u64(), None);
    assert_eq!(value("uint16").as_u64(), Some(16));
    assert_eq!(value("float32").as_f64(), Some(0.5));
    assert_eq!((file.version, file.alignment), (3, 64));
}

#[test]
fn tensors_have_their_innermost_dimension_first() {
    let file = parse(&fixture("mixed.gguf")).unwrap();
    let tensor = file.tensor("Q4_1").unwrap();
    assert_eq!((tensor.ggml_type, tensor.dims.as_slice()), (GgmlType::Q4_1, &[64, 2][..]));
    assert_eq!((tensor.len, tensor.n_elements(), tensor.offset % 64), (4 * 20, 128, 0));
    assert_eq!(file.tensor("f4").unwrap().dims, [3, 2]);
    assert!(file.tensor("absent").is_none());
}

/// A file of one tensor, without metadata.
struct OneTensor {
    version: u32,
    n_tensors: u64,
    dims: Vec<u64>,
    type_id: u32,
    offset: u64,
    data_len: usize,
}

impl Default for OneTensor {
    fn default() -> Self {
        Self { version: 3, n_tensors: 1, dims: vec![2, 3], type_id: 0, offset: 0, data_len: 24 }
    }
}

impl OneTensor {
    fn parse(&self) -> Result<GgufFile, Error> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.n_tensors.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.push(b't');
        bytes.extend((self.dims.len() as u32).to_le_bytes());
        bytes.extend(self.dims.iter().flat_map(|dim| dim.to_le_bytes()));
        bytes.extend(self.type_id.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + self.data_len, 0);
        parse(&bytes)
    }
}

#[test]
fn numbers_are_checked() {
    let good = OneTensor::default().parse().unwrap();
    assert_eq!((good.tensors[0].len, good.alignment), (24, 32));
    let cases = [
        OneTensor { version: 1, ..OneTensor::default() },
        OneTensor { version: 3u32.swap_bytes(), ..OneTensor::default() },
        OneTensor { n_tensors: 1000, ..OneTensor::default() },
        OneTensor { n_tensors: MAX_N_TENSORS + 1, ..OneTensor::default() },
        OneTensor { dims: vec![1; 5], ..OneTensor::default() },
        OneTensor { dims: vec![u64::MAX, 2], ..OneTensor::default() },
        OneTensor { dims: vec![1 << 62, 2], ..OneTensor::default() },
        OneTensor { type_id: 3, ..OneTensor::default() },
        OneTensor { offset: 1, ..OneTensor::default() },
        OneTensor { offset: 32, ..OneTensor::default() },
        OneTensor { offset: u64::MAX - 31, ..OneTensor::default() },
        OneTensor { data_len: 23, ..OneTensor::default() },
    ];
    for case in cases {
        match case.parse() {
            Err(Error::Io(error)) => panic!("{error}"),
            Err(_) => {}
            Ok(file) => panic!("{file:?}"),
        }
    }
}

#[test]
fn a_type_not_known_reaches_to_the_end() {
    let file = OneTensor { type_id: 999, ..OneTensor::default() }.parse().unwrap();
    assert_eq!((file.tensors[0].ggml_type, file.tensors[0].len), (GgmlType::Other(999), 24));
    // Another tensor may lie at the place of one without elements.
    let file = OneTensor { type_id: 999, dims: vec![2, 0], ..OneTensor::default() }.parse().unwrap();
    assert_eq!(file.tensors[0].len, 0);
}

#[test]
fn deep_arrays_are_refused() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b'k');
    bytes.extend(9u32.to_le_bytes());
    for _ in 0..100_000 {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    assert!(matches!(parse(&bytes), Err(Error::Corrupt { what, .. }) if what.contains("nested")));
}
