//! Where the elements of one tensor lie.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::TensorInfo;
use crate::archive::Place;
use crate::layout::checked_len_bytes;
use crate::source::Source;
use crate::{Dtype, Error};

/// The longest tensor accepted, in bytes, that repeats the elements it has (`Tensor.expand`).
const MAX_REPEATED_BYTES: u64 = 1 << 32;
/// Elements are gathered in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 16;

/// A tensor in a file: its elements lie at regular distances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    /// Distance of neighbours along each dimension, in elements.
    pub(crate) stride: Vec<u64>,
    /// Where the first element lies in the file.
    offset: u64,
    /// Whether the bytes of each number are the other way round.
    pub(crate) is_big_endian: bool,
}

impl StoredTensor {
    /// A tensor without gaps, the last dimension fastest, little-endian.
    pub(crate) fn new(name: String, dtype: Dtype, shape: Vec<u64>, offset: u64) -> Self {
        let mut stride = dense_stride(shape.iter().rev());
        stride.reverse();
        Self { name, dtype, shape, stride, offset, is_big_endian: false }
    }

    /// Makes the first dimension the fastest.
    pub(crate) fn stride_from_first(&mut self) {
        self.stride = dense_stride(self.shape.iter());
    }

    pub(super) fn info(&self) -> TensorInfo<'_> {
        TensorInfo { name: &self.name, dtype: self.dtype, shape: &self.shape, len: self.len().unwrap_or(0) }
    }

    fn len(&self) -> Option<u64> {
        checked_len_bytes(&self.shape, self.dtype.size_bytes())
    }

    /// Bytes from the first element's start to the last one's end.
    fn extent(&self) -> Option<u64> {
        if self.len()? == 0 {
            return Some(0);
        }
        let last = self
            .shape
            .iter()
            .zip(&self.stride)
            .try_fold(0u64, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?))?;
        last.checked_add(1)?.checked_mul(self.dtype.size_bytes())
    }

    /// Refuses a tensor whose elements do not lie in `place`.
    pub(crate) fn check<R: Read + Seek>(&self, source: &Source<'_, R>, place: Place) -> Result<(), Error> {
        let (Some(len), Some(extent)) = (self.len(), self.extent()) else {
            let what = format!("tensor \"{}\" of shape {:?} is too large", self.name, self.shape);
            return Err(source.corrupt(self.offset, what));
        };
        let place_end = place.offset.saturating_add(place.len);
        let available = place_end.saturating_sub(self.offset);
        if extent > 0 && (self.offset < place.offset || extent > available) {
            return Err(Error::Truncated {
                format: source.format(),
                what: format!("tensor \"{}\"", self.name),
                offset: self.offset,
                needed: extent,
                available,
            });
        }
        if len > extent && len > MAX_REPEATED_BYTES {
            return Err(Error::LimitExceeded {
                format: source.format(),
                what: "bytes of a tensor that repeats its elements",
                value: len,
                limit: MAX_REPEATED_BYTES,
            });
        }
        Ok(())
    }

    fn is_dense(&self) -> bool {
        let mut expected = 1u64;
        self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            fits
        })
    }

    /// The elements as a stream, in the order of the shape.
    pub(super) fn read<'r, R: Read + Seek>(&self, reader: &'r mut R) -> Result<Box<dyn Read + 'r>, Error> {
        if self.is_dense() && !self.is_big_endian {
            reader.seek(SeekFrom::Start(self.offset))?;
            return Ok(Box::new(reader.take(self.len().unwrap_or(0))));
        }
        let mut elements = Vec::new();
        self.copy(reader, &mut elements)?;
        Ok(Box::new(io::Cursor::new(elements)))
    }

    /// Copies the elements, in the order of the shape.
    pub(super) fn copy<R: Read + Seek>(&self, reader: &mut R, writer: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        let len = self.len().unwrap_or(0);
        if len == 0 {
            return Ok(());
        }
        reader.seek(SeekFrom::Start(self.offset))?;
        if !self.is_dense() {
            return self.gather(reader, writer);
        }
        let mut data = reader.take(len);
        if self.is_big_endian {
            let mut piece = vec![0; PIECE_BYTES];
            let mut n_left = len;
            while n_left > 0 {
                let n_bytes = piece.len().min(usize::try_from(n_left).unwrap_or(usize::MAX));
                let part = &mut piece[..n_bytes];
                data.read_exact(part)?;
                self.swap(part);
                writer.write_all(part)?;
                n_left -= n_bytes as u64;
            }
        } else if io::copy(&mut data, writer)? != len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// Copies elements that lie with gaps, permuted or several times.
    fn gather<R: Read>(&self, reader: &mut R, writer: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        // No longer than the file: `check` has seen to that.
        let extent = self.extent().unwrap_or(0);
        let mut elements = Vec::new();
        if reader.take(extent).read_to_end(&mut elements)? as u64 != extent {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let element_bytes = self.dtype.size_bytes() as usize;
        let mut piece = Vec::with_capacity(PIECE_BYTES + element_bytes);
        let mut index = vec![0u64; self.shape.len()];
        let mut at = 0u64;
        loop {
            let start = at as usize * element_bytes;
            piece.extend_from_slice(elements.get(start..start + element_bytes).unwrap_or_default());
            if piece.len() >= PIECE_BYTES {
                self.flush(&mut piece, writer)?;
            }
            // Like a counter whose last digit goes round first.
            let mut dims = index.iter_mut().zip(&self.shape).zip(&self.stride).rev();
            let is_done = loop {
                let Some(((index, &size), &stride)) = dims.next() else { break true };
                *index += 1;
                at += stride;
                if *index < size {
                    break false;
                }
                *index = 0;
                at -= size * stride;
            };
            if is_done {
                self.flush(&mut piece, writer)?;
                return Ok(());
            }
        }
    }

    fn flush(&self, piece: &mut Vec<u8>, writer: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        if self.is_big_endian {
            self.swap(piece);
        }
        writer.write_all(piece)?;
        piece.clear();
        Ok(())
    }

    /// Turns the bytes of each number round: of a complex one, of its parts.
    fn swap(&self, elements: &mut [u8]) {
        let size = self.dtype.size_bytes() as usize;
        let number_bytes = if matches!(self.dtype, Dtype::C64 | Dtype::C128) { size / 2 } else { size };
        elements.chunks_exact_mut(number_bytes).for_each(<[u8]>::reverse);
    }
}

/// Strides of dimensions given fastest first.
fn dense_stride<'a>(sizes: impl Iterator<Item = &'a u64>) -> Vec<u64> {
    sizes
        .scan(1u64, |next, &size| {
            let stride = *next;
            // An overflow is of a shape that is too large, which `check` refuses.
            *next = next.saturating_mul(size);
            Some(stride)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::FileFormat;

    fn tensor(shape: &[u64], stride: &[u64]) -> StoredTensor {
        let mut tensor = StoredTensor::new("t".into(), Dtype::I16, shape.to_vec(), 2);
        tensor.stride = stride.to_vec();
        tensor
    }

    fn check(tensor: &StoredTensor) -> Result<(), Error> {
        let mut bytes = Cursor::new([0; 32]);
        let source = Source::new(&mut bytes, FileFormat::Torch).unwrap();
        tensor.check(&source, Place { offset: 2, len: 24 })
    }

    #[test]
    fn elements_come_in_the_order_of_the_shape() {
        let file: Vec<u8> = (0..32).collect();
        for (shape, stride, expected) in [
            (&[2, 3][..], &[3, 1][..], &[1, 2, 3, 4, 5, 6][..]),
            (&[2, 3], &[1, 2], &[1, 3, 5, 2, 4, 6]),
            (&[3], &[4], &[1, 5, 9]),
            (&[2, 2], &[0, 1], &[1, 2, 1, 2]),
            (&[2, 1, 2], &[4, 99, 1], &[1, 2, 5, 6]),
            (&[], &[], &[1]),
            (&[3, 0], &[5, 7], &[]),
        ] {
            let tensor = tensor(shape, stride);
            check(&tensor).unwrap();
            for is_big_endian in [false, true] {
                let mut found = Vec::new();
                StoredTensor { is_big_endian, ..tensor.clone() }.copy(&mut Cursor::new(&file), &mut found).unwrap();
                let pair = |n: &u8| if is_big_endian { [2 * n + 1, 2 * n] } else { [2 * n, 2 * n + 1] };
                assert_eq!(found, expected.iter().flat_map(pair).collect::<Vec<u8>>(), "{shape:?} {stride:?}");
            }
        }
    }

    #[test]
    fn long_tensors_are_gathered_whole() {
        let file: Vec<u8> = (0..150_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut tensor = StoredTensor::new("t".into(), Dtype::I32, vec![300, 500], 0);
        tensor.stride_from_first();
        let mut found = Vec::new();
        tensor.copy(&mut Cursor::new(&file), &mut found).unwrap();
        let expected: Vec<u8> =
            (0..300u32).flat_map(|i| (0..500u32).map(move |j| j * 300 + i)).flat_map(u32::to_le_bytes).collect();
        assert!(found == expected);
    }

    #[test]
    fn parts_of_complex_numbers_keep_their_order() {
        let mut tensor = StoredTensor::new("t".into(), Dtype::C64, vec![1], 0);
        tensor.is_big_endian = true;
        let mut found = Vec::new();
        tensor.copy(&mut Cursor::new([0, 1, 2, 3, 4, 5, 6, 7]), &mut found).unwrap();
        assert_eq!(found, [3, 2, 1, 0, 7, 6, 5, 4]);
    }

    #[test]
    fn what_reaches_past_its_place_is_refused() {
        check(&tensor(&[12], &[1])).unwrap();
        check(&tensor(&[2, 4], &[8, 1])).unwrap();
        for (shape, stride) in
            [(&[13][..], &[1][..]), (&[2, 4], &[9, 1]), (&[2], &[u64::MAX]), (&[u64::MAX, 3], &[0, 0])]
        {
            let error = check(&tensor(shape, stride)).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. } | Error::Corrupt { .. }), "{shape:?}: {error}");
        }
        let error = check(&tensor(&[1 << 33, 12], &[0, 1])).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        let before = StoredTensor { offset: 0, ..tensor(&[1], &[1]) };
        assert!(check(&before).is_err());
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        for stride in [[3, 1], [1, 2]] {
            let error = tensor(&[2, 3], &stride).copy(&mut Cursor::new([0; 13]), &mut Vec::new()).unwrap_err();
            assert!(matches!(error, Error::Io(_)), "{error}");
        }
    }
}
