//! An earlier file, such as the last checkpoint, that a file is coded against.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use lmgc_container::{Header, Stream, TensorEntry};
use lmgc_tensors::{Dtype, find_spans};

use crate::streams::StreamMap;
use crate::{Error, Piece};

/// The setting that holds the reference's hash.
pub(crate) const SETTING: &str = "reference";

trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A file whose tensors others are coded against, by name. Whoever decodes needs the same file.
pub struct Reference {
    file: Mutex<Box<dyn ReadSeek>>,
    tensors: HashMap<String, Tensor>,
    hash: blake3::Hash,
}

struct Tensor {
    dtype: Dtype,
    shape: Vec<u64>,
    offset: u64,
    len: u64,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("hash", &self.hash).field("n_tensors", &self.tensors.len()).finish()
    }
}

impl Reference {
    /// Finds the tensors of a file and hashes it. Of tensors with the same name, the first counts.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn new(mut file: impl Read + Seek + Send + 'static) -> Result<Self, Error> {
        let layout = find_spans(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file)?;
        let mut tensors = HashMap::new();
        for span in layout.spans {
            let tensor = Tensor { dtype: span.dtype, shape: span.shape, offset: span.offset, len: span.len };
            tensors.entry(span.name).or_insert(tensor);
        }
        Ok(Self { file: Mutex::new(Box::new(file)), tensors, hash: hasher.finalize() })
    }

    /// The file's hash, in hexadecimal.
    pub fn blake3(&self) -> String {
        self.hash.to_string()
    }

    /// The tensor that another file's tensor is coded against: one of the same name, type and shape.
    fn matching(&self, entry: &TensorEntry) -> Option<&Tensor> {
        let tensor = self.tensors.get(&entry.name)?;
        let is_alike = tensor.dtype.as_str() == entry.dtype && tensor.shape == entry.shape && tensor.len == entry.len;
        is_alike.then_some(tensor)
    }

    /// How many tensors of a file it has.
    pub(crate) fn n_matching(&self, header: &Header) -> usize {
        header.tensors.iter().filter(|entry| entry.len > 0 && self.matching(entry).is_some()).count()
    }

    /// The parts that belong to [`StreamMap::pieces`] of the same stretch.
    pub(crate) fn parts(
        &self,
        map: &StreamMap,
        header: &Header,
        stream: Stream,
        start: u64,
        len: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let entries = map.slice(stream, start, len).filter_map(|run| Some((header.tensors.get(run.tensor?)?, run)));
        entries
            .map(|(entry, run)| {
                let Some(tensor) = self.matching(entry) else { return Ok(None) };
                let mut bytes = Vec::new();
                let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(tensor.offset + (run.file_offset - entry.offset)))?;
                file.by_ref().take(run.len).read_to_end(&mut bytes)?;
                if bytes.len() as u64 == run.len { Ok(Some(bytes)) } else { Err(Error::ReferenceChanged) }
            })
            .collect()
    }
}

/// Gives pieces their parts of the reference.
pub(crate) fn attach<'a>(pieces: &mut [Piece<'a>], parts: &'a [Option<Vec<u8>>]) {
    for (piece, part) in pieces.iter_mut().zip(parts) {
        piece.reference = part.as_deref();
    }
}
