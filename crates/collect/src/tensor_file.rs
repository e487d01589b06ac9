//! Tensors in and out of safetensors files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use burn::tensor::Tensor;
use lmgc_tensors::{Dtype, PARAMETER_ORDER_KEY, safetensors};

use crate::{DeviceName, Error};

/// A named tensor to write, `f32` unless said otherwise.
pub(crate) struct Entry {
    name: String,
    shape: Vec<u64>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Entry {
    /// Takes a tensor's values off the device; `shape` is the one to write.
    pub(crate) fn of(name: String, shape: &[usize], values: Tensor<1>, device: DeviceName) -> Result<Self, Error> {
        let bytes = download(values, device)?.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Self { name, shape: shape.iter().map(|&n| n as u64).collect(), dtype: Dtype::F32, bytes })
    }

    /// One integer, a tensor without dimensions.
    pub(crate) fn integer(name: String, value: i64) -> Self {
        Self { name, shape: Vec::new(), dtype: Dtype::I64, bytes: value.to_le_bytes().to_vec() }
    }
}

/// Writes tensors, and `metadata` plus their names in order (safetensors itself sorts by name). The file appears whole or
/// not at all.
pub(crate) fn write(path: &Path, entries: &[Entry], mut metadata: BTreeMap<String, String>) -> Result<(), Error> {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    metadata.insert(PARAMETER_ORDER_KEY.to_owned(), serde_json::Value::from(names).to_string());
    let tensors: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.clone(), entry.dtype, entry.shape.clone(), entry.bytes.as_slice()))
        .collect();
    safetensors::write(path, &tensors, &metadata)
        .map_err(|source| Error::WriteTensors { path: path.to_owned(), source })
}

/// What [`write()`] wrote: the metadata, and the values of each `f32` tensor by name.
pub(crate) struct Contents {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: BTreeMap<String, Vec<f32>>,
}

/// Reads a file of `f32` tensors.
pub(crate) fn read(path: &Path) -> Result<Contents, Error> {
    let failed = |source| Error::ReadTensors { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| failed(source.into()))?;
    let mut reader = BufReader::new(file);
    let layout = safetensors::read_layout_strict(&mut reader).map_err(failed)?;
    let mut tensors = BTreeMap::new();
    for span in layout.spans.into_iter().filter(|span| span.dtype == Dtype::F32) {
        // The layout was checked against the file, so its lengths are those of bytes that are there.
        let mut bytes = vec![0u8; span.len as usize];
        let read = reader.seek(SeekFrom::Start(span.offset)).and_then(|_| reader.read_exact(&mut bytes));
        read.map_err(|source| failed(source.into()))?;
        let values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        tensors.insert(span.name, values);
    }
    Ok(Contents { metadata: layout.metadata, tensors })
}

/// A tensor's values.
pub(crate) fn download<const D: usize>(tensor: Tensor<D>, device: DeviceName) -> Result<Vec<f32>, Error> {
    let data = tensor.try_into_data().map_err(|error| device.failed(error))?;
    data.try_to_vec().map_err(|error| device.failed(error))
}
