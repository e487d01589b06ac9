//! The second decoder, which is written from the documents alone, reads what the program writes.

#[path = "../common/mod.rs"]
mod common;
mod ensemble;
mod fast;
mod files;
mod hand_made;
mod lm;
mod made;
mod model;
mod side_writer;
mod structural;
mod structural_made;

use lmgc_codec::{CodecId, CodecName, CompressOptions, Error};
use lmgc_tensors::safetensors::{self, TensorEntry};
use lmgc_tensors::{Dtype, find_spans};
use lmgc_testkit::second_decoder::{self, Class, Outside};
use lmgc_testkit::{Random, gradient_like};

/// Compresses, asserts that the second decoder makes the original of it, whole and tensor by tensor, and returns the file.
pub(crate) fn assert_same(original: &[u8], options: &CompressOptions<'_>, outside: &Outside<'_>) -> Vec<u8> {
    let (packed, _) = common::pack(original, options);
    assert_decodes(&packed, original, outside);
    packed
}

/// Asserts that the second decoder makes `original` of `packed`, whole and tensor by tensor.
pub(crate) fn assert_decodes(packed: &[u8], original: &[u8], outside: &Outside<'_>) {
    let decoded = second_decoder::decode(packed, outside).unwrap();
    assert!(decoded == original, "{}", first_difference(&decoded, original));
    let file = second_decoder::read(packed).unwrap();
    for (i, tensor) in file.tensors.iter().enumerate() {
        if file.tensors[..i].iter().any(|earlier| earlier.name == tensor.name) {
            continue;
        }
        let bytes = second_decoder::tensor(packed, &tensor.name, outside).unwrap();
        let start = tensor.offset as usize;
        assert!(bytes == original[start..start + tensor.len as usize], "tensor {}", tensor.name);
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> String {
    let place = a.iter().zip(b).position(|(a, b)| a != b);
    format!("lengths {} and {}, first difference at {place:?}", a.len(), b.len())
}

/// Options of a codec that needs no model.
pub(crate) fn options(codec: CodecId) -> CompressOptions<'static> {
    CompressOptions { codec: CodecName::One(codec), ..Default::default() }
}

/// A file's tensors, as the second decoder wants them of a reference.
pub(crate) fn tensors_of(file: &[u8]) -> Vec<second_decoder::Tensor> {
    let spans = find_spans(&mut std::io::Cursor::new(file)).unwrap().spans;
    let tensors = spans.into_iter().map(|span| second_decoder::Tensor {
        name: span.name,
        dtype: span.dtype.as_str().to_owned(),
        shape: span.shape,
        offset: span.offset,
        len: span.len,
    });
    tensors.collect()
}

/// A safetensors file of tensors with these names, types and shapes, whose bytes look like gradients of their type.
pub(crate) fn safetensors_file(tensors: &[(&str, Dtype, &[u64])]) -> Vec<u8> {
    let data: Vec<Vec<u8>> =
        tensors.iter().zip(1..).map(|(&(_, dtype, shape), seed)| values(seed, dtype, shape.iter().product())).collect();
    let entries: Vec<TensorEntry<'_>> = tensors
        .iter()
        .zip(&data)
        .map(|(&(name, dtype, shape), data)| (name.to_owned(), dtype, shape.to_vec(), &data[..]))
        .collect();
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &entries, &Default::default()).unwrap();
    file
}

/// `n` values of a type, small floats among them exact zeros, or small integers.
pub(crate) fn values(seed: u64, dtype: Dtype, n: u64) -> Vec<u8> {
    let floats = gradient_like(seed, 4 * n as usize);
    let floats = floats.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    match dtype {
        Dtype::F64 => floats.flat_map(|value| (f64::from(value) * 1.1).to_le_bytes()).collect(),
        Dtype::F32 => floats.flat_map(f32::to_le_bytes).collect(),
        Dtype::F16 => floats.flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::BF16 => floats.flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect(),
        _ => {
            let mut random = Random::new(seed);
            let size = dtype.size_bytes() as usize;
            (0..n).flat_map(|_| ((random.next_normal() * 20.0) as i64).to_le_bytes()[..size].to_vec()).collect()
        }
    }
}

/// The class of the program's error, where the format has one for it.
pub(crate) fn class(error: &Error) -> Option<Class> {
    use lmgc_container::Error as Container;
    Some(match error {
        Error::Container(Container::NotLmgc) => Class::NotLmgc,
        Error::Container(Container::UnsupportedVersion { .. } | Container::UnsupportedFeature { .. })
        | Error::UnknownCodec { .. } => Class::Unsupported,
        Error::Container(Container::Truncated { .. }) => Class::Truncated,
        Error::Container(Container::Corrupt { .. } | Container::TrailingBytes { .. }) | Error::CorruptBlock { .. } => {
            Class::Corrupt
        }
        Error::Container(Container::LimitExceeded { .. }) => Class::Limit,
        Error::ModelMismatch { .. } | Error::NumericsRevision { .. } | Error::ModelRequired => Class::Model,
        Error::ReferenceRequired { .. } | Error::ReferenceMismatch { .. } => Class::Reference,
        Error::HashMismatch => Class::Hash,
        _ => return None,
    })
}
