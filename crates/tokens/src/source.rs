//! Where gradients come from: tensor files, and directories of them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lmgc_tensors::{Dtype, FileFormat, find_spans};
use serde::{Deserialize, Serialize};

use crate::preprocess::Preprocess;
use crate::{Error, Result, as_text};

/// What is to be tokenised: one gradient file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name, such as the file's.
    pub name: String,
    /// All tensors' bytes, little-endian, one after the other in parameter order.
    pub bytes: Vec<u8>,
    /// The tensors, in parameter order. Empty for data of no known structure.
    pub tensors: Vec<TensorInfo>,
}

/// A tensor of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// Element type.
    #[serde(with = "as_text")]
    pub dtype: Dtype,
    /// Number of elements along each dimension, the slowest first.
    pub shape: Vec<u64>,
}

impl TensorInfo {
    /// Bytes of all elements; `None` when that overflows.
    #[must_use]
    pub fn len_bytes(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(self.dtype.size_bytes(), |len, &dim| len.checked_mul(dim))
    }
}

impl Source {
    /// Reads a file's tensors, flattened and concatenated in parameter order; also why a file that looked like some format was
    /// taken as something less.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Changed`] for a file that something writes to, [`Error::Tensors`].
    pub fn read(path: &Path) -> Result<(Self, Option<String>)> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let layout = find_spans(&mut file)?;
        let mut source = Self {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes: Vec::new(),
            tensors: Vec::new(),
        };
        for index in layout.parameter_order() {
            let Some(span) = layout.spans.get(index) else { continue };
            file.seek(SeekFrom::Start(span.offset)).map_err(io)?;
            let n_read = file.by_ref().take(span.len).read_to_end(&mut source.bytes).map_err(io)?;
            if n_read as u64 != span.len {
                return Err(Error::Changed { path: path.to_owned() });
            }
            if layout.format != FileFormat::Raw {
                source.tensors.push(TensorInfo {
                    name: span.name.clone(),
                    dtype: span.dtype,
                    shape: span.shape.clone(),
                });
            }
        }
        Ok((source, layout.note))
    }

    /// The values after preprocessing ([`Preprocess::apply`]).
    ///
    /// # Errors
    /// [`Error::Preprocess`] for anything but f32.
    pub fn preprocessed(&self, preprocess: &Preprocess, seed: u64, source_index: u64) -> Result<Vec<u8>> {
        let error = |what: String| Error::Preprocess { source_name: self.name.clone(), what };
        if self.tensors.is_empty() {
            return Err(error("its element type is not known; only f32 can be preprocessed".to_owned()));
        }
        if let Some(tensor) = self.tensors.iter().find(|tensor| tensor.dtype != Dtype::F32) {
            return Err(error(format!("tensor \"{}\" is {}; only F32 can be preprocessed", tensor.name, tensor.dtype)));
        }
        // Whole values: the tensors tile the bytes.
        let values: Vec<f32> = self.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Ok(preprocess.apply(&values, seed, source_index))
    }
}

/// The files of a directory by name, without hidden ones (half-written files are hidden).
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::NoSources`] if there are none.
pub fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::NoSources { directory: directory.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_list_their_files_by_name() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(files_in(directory.path()), Err(Error::NoSources { .. })));
        for name in ["b", "a", ".hidden"] {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        std::fs::create_dir(directory.path().join("c")).unwrap();
        let found = files_in(directory.path()).unwrap();
        assert_eq!(found, [directory.path().join("a"), directory.path().join("b")]);
        assert!(matches!(files_in(&directory.path().join("none")), Err(Error::Io { .. })));
    }

    #[test]
    fn files_of_no_known_format_are_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.bin");
        std::fs::write(&path, b"abc").unwrap();
        let (source, note) = Source::read(&path).unwrap();
        assert_eq!((source.name.as_str(), source.bytes.as_slice(), note), ("x.bin", b"abc".as_slice(), None));
        assert!(source.tensors.is_empty());
    }
}
