//! Tensors by name, wherever they come from, and their conversion to canonical form.

use std::collections::{BTreeMap, BTreeSet};

use lmgc_kernels::{BLOCK, QuantMatrix};
use lmgc_tensors::gguf::GgmlType;
use rayon::prelude::*;

use crate::Error;
use crate::dequantise::{READABLE_TYPES, dequantise};

/// Rows that one task converts.
const ROWS_A_TASK: usize = 64;

/// A tensor's place in a mapped file. The reader of the format has checked that the bytes are as many as type and shape
/// ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorView<'a> {
    /// Element type. safetensors' F32, F16 and BF16 are GGML's.
    pub(crate) ggml_type: GgmlType,
    /// What the source calls the type.
    pub(crate) type_name: String,
    /// Outermost first.
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: &'a [u8],
}

/// The rows of a matrix that are wanted, and where they lie in the source.
pub(crate) struct Rows<'f> {
    /// Rows (or columns, if transposed) of the source's matrix.
    pub(crate) n_source: usize,
    /// Rows wanted.
    pub(crate) n: usize,
    /// The source's row for each row wanted, below `n_source`.
    pub(crate) source_of: &'f (dyn Fn(usize) -> usize + Sync),
    /// The source stores `[inputs, outputs]`.
    pub(crate) is_transposed: bool,
}

/// All tensors of a model, each to be used or known as harmless.
#[derive(Debug, Default)]
pub(crate) struct NamedTensors<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    used: BTreeSet<String>,
}

impl<'a> NamedTensors<'a> {
    /// Adds a tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the name occurs twice.
    pub(crate) fn insert(&mut self, name: String, tensor: TensorView<'a>) -> Result<(), Error> {
        if self.tensors.contains_key(&name) {
            return Err(wrong(&name, "occurs twice".to_owned()));
        }
        self.tensors.insert(name, tensor);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// A tensor of this shape, which counts as used from now on.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<TensorView<'a>, Error> {
        let tensor = self.tensors.get(name).ok_or_else(|| wrong(name, "is missing".to_owned()))?;
        if !tensor.shape.iter().map(|&dim| usize::try_from(dim).ok()).eq(shape.iter().map(|&dim| Some(dim))) {
            let problem = format!("has shape {:?}; the configuration asks for {shape:?}", tensor.shape);
            return Err(wrong(name, problem));
        }
        self.used.insert(name.to_owned());
        Ok(tensor.clone())
    }

    /// A vector of this length.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        self.floats(name, &[len])
    }

    /// A tensor's values, row-major.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let tensor = self.take(name, shape)?;
        let n = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        // The bytes are there, so this many values are no surprise.
        let mut values = vec![0.0; n.ok_or_else(|| wrong(name, "is too large".to_owned()))?];
        if dequantise(tensor.ggml_type, tensor.bytes, &mut values) {
            Ok(values)
        } else {
            Err(unreadable(name, &tensor))
        }
    }

    /// A matrix in canonical form, `[rows.n, cols]`.
    pub(crate) fn matrix(&mut self, name: &str, rows: &Rows<'_>, cols: usize) -> Result<QuantMatrix, Error> {
        let shape = if rows.is_transposed { [cols, rows.n_source] } else { [rows.n_source, cols] };
        let tensor = self.take(name, &shape)?;
        let n_blocks = cols.div_ceil(BLOCK);
        let mut q = vec![0i8; rows.n * n_blocks * BLOCK];
        let mut scales = vec![0.0; rows.n * n_blocks];
        let n_a_task = ROWS_A_TASK * n_blocks;
        q.par_chunks_mut(n_a_task * BLOCK)
            .zip(scales.par_chunks_mut(n_a_task))
            .enumerate()
            .try_for_each(|(task, (q, scales))| {
                let first = task * ROWS_A_TASK;
                let wanted = first..(first + ROWS_A_TASK).min(rows.n);
                let values = if rows.is_transposed {
                    columns(&tensor, wanted.clone().map(rows.source_of), rows.n_source, cols)
                } else {
                    whole_rows(&tensor, wanted.clone().map(rows.source_of), rows.n_source, cols)
                }?;
                let part = QuantMatrix::quantise(wanted.len(), cols, &values);
                q.copy_from_slice(part.values());
                scales.copy_from_slice(part.scales());
                Some(())
            })
            .ok_or_else(|| unreadable(name, &tensor))?;
        QuantMatrix::from_parts(rows.n, cols, q, scales)
            .ok_or_else(|| wrong(name, "does not fill its shape".to_owned()))
    }

    /// Whether two tensors hold the same bytes.
    pub(crate) fn are_same(&self, a: &str, b: &str) -> bool {
        matches!((self.get(a), self.get(b)), (Some(a), Some(b)) if a == b)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a tensor that was neither used nor is harmless: the model would run, but give other
    /// probabilities.
    pub(crate) fn finish(&self, family: &str, is_harmless: impl Fn(&str) -> bool) -> Result<(), Error> {
        match self.names().find(|&name| !self.used.contains(name) && !is_harmless(name)) {
            None => Ok(()),
            Some(name) => Err(wrong(
                name,
                format!(
                    "is not used by a {family} model as configured and run here: this model needs another version of lmgc"
                ),
            )),
        }
    }
}

/// The given rows, one after the other; `None` for a type that cannot be read.
fn whole_rows(
    tensor: &TensorView<'_>,
    wanted: impl Iterator<Item = usize>,
    n_rows: usize,
    cols: usize,
) -> Option<Vec<f32>> {
    let row_bytes = tensor.bytes.len() / n_rows;
    let mut values = Vec::new();
    for row in wanted {
        let at = values.len();
        values.resize(at + cols, 0.0);
        let bytes = tensor.bytes.get(row * row_bytes..(row + 1) * row_bytes)?;
        dequantise(tensor.ggml_type, bytes, &mut values[at..]).then_some(())?;
    }
    Some(values)
}

/// The given columns of a matrix `[n_inputs, n_columns]`, one after the other; plain types only.
fn columns(
    tensor: &TensorView<'_>,
    wanted: impl Iterator<Item = usize>,
    n_columns: usize,
    n_inputs: usize,
) -> Option<Vec<f32>> {
    let wanted: Vec<usize> = wanted.collect();
    let element_bytes = match tensor.ggml_type {
        GgmlType::F32 => 4,
        GgmlType::F16 | GgmlType::BF16 => 2,
        _ => return None,
    };
    let mut values = vec![0.0; wanted.len() * n_inputs];
    for (input, row) in tensor.bytes.chunks_exact(n_columns * element_bytes).enumerate() {
        for (i, column) in wanted.iter().enumerate() {
            let bytes = row.get(column * element_bytes..(column + 1) * element_bytes)?;
            dequantise(tensor.ggml_type, bytes, &mut values[i * n_inputs + input..][..1]).then_some(())?;
        }
    }
    Some(values)
}

fn wrong(name: &str, problem: String) -> Error {
    Error::Tensor { name: name.to_owned(), problem }
}

fn unreadable(name: &str, tensor: &TensorView<'_>) -> Error {
    let readable: Vec<String> = READABLE_TYPES.iter().map(ToString::to_string).collect();
    let problem = format!("has type {}; {} can be read: convert the model", tensor.type_name, readable.join(", "));
    wrong(name, problem)
}
