//! BLAKE3 hashes of originals and of their tensors.

use std::io::{Read, Seek, SeekFrom};

use lmgc_container::{Hashes, TensorEntry};

use crate::Error;

/// Bytes that are read and hashed together: enough for hashing to use the widest registers.
const CHUNK_BYTES: usize = 1 << 20;

/// Hashes a file of so many bytes, and the tensors in it, which are sorted and disjoint.
///
/// # Errors
/// [`Error::InputChanged`] where the file is shorter; where reading fails.
pub(crate) fn hash_file<R: Read + Seek>(input: &mut R, len: u64, tensors: &[TensorEntry]) -> Result<Hashes, Error> {
    let mut chunks = Tensors::new(tensors, len);
    let mut whole = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(len).unwrap_or(CHUNK_BYTES))];
    input.seek(SeekFrom::Start(0))?;
    let mut at = 0;
    while at < len {
        let n_bytes = chunk.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let chunk = &mut chunk[..n_bytes];
        input.read_exact(chunk).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::InputChanged,
            _ => Error::Io(error),
        })?;
        rayon::join(|| whole.update(chunk), || chunks.update(at, chunk));
        at += n_bytes as u64;
    }
    let original = whole.finalize().into();
    Ok(Hashes { original, tensors: chunks.finish(original) })
}

/// The BLAKE3 hash of a stretch of a file.
pub(crate) fn hash_range<R: Read + Seek>(input: &mut R, offset: u64, len: u64) -> Result<[u8; 32], Error> {
    input.seek(SeekFrom::Start(offset))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(input.by_ref().take(len))?;
    Ok(hasher.finalize().into())
}

/// The hashes of tensors that come by in chunks of a file.
struct Tensors<'a> {
    tensors: &'a [TensorEntry],
    file_len: u64,
    hashes: Vec<Option<[u8; 32]>>,
    hasher: blake3::Hasher,
}

impl<'a> Tensors<'a> {
    fn new(tensors: &'a [TensorEntry], file_len: u64) -> Self {
        Self { tensors, file_len, hashes: Vec::with_capacity(tensors.len()), hasher: blake3::Hasher::new() }
    }

    /// Takes the bytes from `start` on.
    fn update(&mut self, start: u64, chunk: &[u8]) {
        let end = start + chunk.len() as u64;
        while let Some(tensor) = self.tensors.get(self.hashes.len()) {
            let tensor_end = tensor.offset + tensor.len;
            // A tensor that is the whole file has its hash.
            if tensor.len > 0 && tensor.len < self.file_len && tensor.offset < end {
                let from = (tensor.offset.max(start) - start) as usize;
                let to = (tensor_end.min(end) - start) as usize;
                self.hasher.update(&chunk[from..to]);
            }
            if tensor_end > end {
                return;
            }
            self.end_tensor(tensor);
        }
    }

    fn end_tensor(&mut self, tensor: &TensorEntry) {
        let hash = self.hasher.finalize().into();
        self.hashes.push((tensor.len > 0).then_some(hash));
        self.hasher.reset();
    }

    fn finish(mut self, original: [u8; 32]) -> Vec<Option<[u8; 32]>> {
        // In an empty file there was no chunk.
        while let Some(tensor) = self.tensors.get(self.hashes.len()) {
            self.end_tensor(tensor);
        }
        for (tensor, hash) in self.tensors.iter().zip(&mut self.hashes) {
            if tensor.len > 0 && tensor.len == self.file_len {
                *hash = Some(original);
            }
        }
        self.hashes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn tensor(offset: u64, len: u64) -> TensorEntry {
        TensorEntry { name: String::new(), dtype: "U8".into(), shape: vec![len], offset, len }
    }

    #[test]
    fn each_tensor_has_the_hash_of_its_bytes() {
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 5).map(|i| ((i * i) >> 7) as u8).collect();
        let (chunk, len) = (CHUNK_BYTES as u64, bytes.len() as u64);
        for tensors in [
            vec![],
            vec![tensor(0, len)],
            vec![
                tensor(0, 0),
                tensor(0, 10),
                tensor(10, 0),
                tensor(10, chunk - 10),
                tensor(chunk, 2 * chunk),
                tensor(len, 0),
            ],
            vec![tensor(3, 2), tensor(9, chunk), tensor(2 * chunk + 1, chunk + 4)],
        ] {
            let hashes = hash_file(&mut Cursor::new(&bytes), len, &tensors).unwrap();
            assert_eq!(hashes.original, *blake3::hash(&bytes).as_bytes());
            assert_eq!(hashes.tensors.len(), tensors.len());
            for (tensor, hash) in tensors.iter().zip(&hashes.tensors) {
                let range = tensor.offset as usize..(tensor.offset + tensor.len) as usize;
                let expected = (tensor.len > 0).then(|| *blake3::hash(&bytes[range]).as_bytes());
                assert_eq!(*hash, expected, "{tensor:?}");
                assert_eq!(
                    hash_range(&mut Cursor::new(&bytes), tensor.offset, tensor.len).unwrap(),
                    expected.unwrap_or(*blake3::hash(b"").as_bytes())
                );
            }
        }
        assert_eq!(hash_file(&mut Cursor::new(b""), 0, &[tensor(0, 0)]).unwrap().tensors, [None]);
        assert!(matches!(hash_file(&mut Cursor::new(&bytes), len + 1, &[]), Err(Error::InputChanged)));
    }
}
