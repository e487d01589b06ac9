//! Whether two files hold the same tensors.

use std::io::{self, Read, Seek, Write};

use super::TensorFile;
use crate::Error;

impl<R: Read + Seek> TensorFile<R> {
    /// The first way in which the tensors of `other` differ from these: number, names, order, shapes, types or bits.
    /// `None` if they do not.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn difference<S: Read + Seek>(&mut self, other: &mut TensorFile<S>) -> Result<Option<String>, Error> {
        let (n_tensors, n_others) = (self.tensors.len(), other.tensors.len());
        if n_tensors != n_others {
            return Ok(Some(format!("{n_others} tensors instead of {n_tensors}")));
        }
        for (mine, theirs) in self.tensors.iter().zip(&other.tensors) {
            let (mine, theirs) = (mine.info(), theirs.info());
            if mine != theirs {
                return Ok(Some(format!("{theirs:?} instead of {mine:?}")));
            }
        }
        let Self { tensors, backing, .. } = self;
        for (mine, theirs) in tensors.iter().zip(&other.tensors) {
            // One side is written into a check that reads the other.
            let mut check = Check { expected: theirs.read(&mut other.backing)?, buffer: Vec::new(), is_same: true };
            mine.copy(backing, &mut check)?;
            if !check.is_same {
                return Ok(Some(format!("other bits in tensor \"{}\"", mine.info().name)));
            }
        }
        Ok(None)
    }
}

/// Compares what is written to it with what it reads.
struct Check<'a> {
    expected: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    is_same: bool,
}

impl Write for Check<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.resize(bytes.len(), 0);
        self.expected.read_exact(&mut self.buffer)?;
        self.is_same &= self.buffer == bytes;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use super::*;
    use crate::{Dtype, safetensors};

    fn file(name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> TensorFile<Cursor<Vec<u8>>> {
        let mut file = Vec::new();
        let tensor = (name.to_owned(), dtype, shape.to_vec(), bytes);
        safetensors::write_to(&mut file, &[tensor], &BTreeMap::new()).unwrap();
        TensorFile::open(Cursor::new(file)).unwrap()
    }

    #[test]
    fn differences_are_told() {
        let mut original = file("a", Dtype::I16, &[2, 1], &[1, 2, 3, 4]);
        for (mut other, expected) in [
            (file("a", Dtype::I16, &[2, 1], &[1, 2, 3, 4]), None),
            (file("a", Dtype::I16, &[2, 1], &[1, 2, 3, 5]), Some("other bits in tensor \"a\"")),
            (file("b", Dtype::I16, &[2, 1], &[1, 2, 3, 4]), Some("\"b\"")),
            (file("a", Dtype::F16, &[2, 1], &[1, 2, 3, 4]), Some("F16")),
            (file("a", Dtype::I16, &[1, 2], &[1, 2, 3, 4]), Some("[1, 2]")),
        ] {
            let found = original.difference(&mut other).unwrap();
            match expected {
                None => assert_eq!(found, None),
                Some(words) => assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{found:?}"),
            }
        }
    }
}
