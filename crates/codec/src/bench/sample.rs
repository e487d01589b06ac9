//! The bytes that codecs are measured on.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use lmgc_tensors::{Dtype, FileFormat, find_spans};

use super::Scope;
use crate::{Error, Piece, Place};

/// The bytes of a file's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What the file was recognised as.
    pub format: FileFormat,
    /// Why a file that looked like some format was taken as something less.
    pub note: Option<String>,
    /// One for each element type, in the order in which they first occur; at least one.
    pub runs: Vec<Run>,
}

/// All tensors of one element type, one after the other in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Element type.
    pub dtype: Dtype,
    /// The tensors' bytes.
    pub bytes: Vec<u8>,
    /// The tensors; together they tile the bytes.
    pub tensors: Vec<Tensor>,
    /// Elements in all of them, as the shape of the whole run.
    shape: [u64; 1],
}

/// A tensor's place in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Elements along each dimension, slowest first.
    pub shape: Vec<u64>,
    /// Its bytes in the run.
    pub range: Range<usize>,
}

impl Sample {
    /// Reads the tensors' bytes of a file, or all bytes of a file of no known format. `raw_dtype` says what the bytes of the
    /// latter are; they stay bytes if they are no whole number of such elements.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn read<R: Read + Seek>(input: &mut R, raw_dtype: Option<Dtype>) -> Result<Self, Error> {
        let layout = find_spans(input)?;
        let mut sample = Self { format: layout.format, note: layout.note, runs: Vec::new() };
        for span in layout.spans {
            let (mut dtype, mut shape) = (span.dtype, span.shape);
            if let (FileFormat::Raw, Some(raw)) = (layout.format, raw_dtype)
                && span.len % raw.size_bytes() == 0
            {
                (dtype, shape) = (raw, vec![span.len / raw.size_bytes()]);
            }
            input.seek(SeekFrom::Start(span.offset))?;
            let run = sample.run_of(dtype);
            let start = run.bytes.len();
            let n_read = input.by_ref().take(span.len).read_to_end(&mut run.bytes)?;
            if n_read as u64 != span.len {
                return Err(Error::InputChanged);
            }
            run.tensors.push(Tensor { shape, range: start..run.bytes.len() });
        }
        if sample.runs.is_empty() {
            // Codecs must cope with nothing, too.
            sample.run_of(raw_dtype.unwrap_or(Dtype::U8));
        }
        for run in &mut sample.runs {
            run.shape = [run.n_values()];
        }
        Ok(sample)
    }

    fn run_of(&mut self, dtype: Dtype) -> &mut Run {
        let at = self.runs.iter().position(|run| run.dtype == dtype).unwrap_or(self.runs.len());
        if at == self.runs.len() {
            self.runs.push(Run { dtype, bytes: Vec::new(), tensors: Vec::new(), shape: [0] });
        }
        &mut self.runs[at]
    }

    /// Bytes of all tensors.
    pub fn n_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes.len() as u64).sum()
    }

    /// Elements of all tensors.
    pub fn n_values(&self) -> u64 {
        self.runs.iter().map(Run::n_values).sum()
    }

    /// Number of tensors.
    pub fn n_tensors(&self) -> usize {
        self.runs.iter().map(|run| run.tensors.len()).sum()
    }

    /// How many values are zero; a float's negative zero is one.
    pub fn n_zeros(&self) -> u64 {
        self.runs.iter().map(Run::n_zeros).sum()
    }

    /// Whether [`Scope::Tensor`] differs from [`Scope::Whole`].
    pub fn has_structure(&self) -> bool {
        self.runs.iter().any(|run| run.tensors.len() > 1 || run.tensors.iter().any(|tensor| tensor.shape.len() > 1))
    }

    /// The pieces that a codec gets in a scope, chunks of so many bytes where that applies. There are none in
    /// [`Scope::File`], which does not work on a sample.
    pub(super) fn pieces(&self, scope: Scope, chunk_bytes: usize) -> Vec<SamplePiece<'_>> {
        self.runs
            .iter()
            .flat_map(|run| -> Vec<SamplePiece<'_>> {
                let part = |shape, start: usize, bytes| SamplePiece {
                    bytes,
                    dtype: run.dtype,
                    piece: [Piece { shape, start: start as u64, len: bytes.len(), reference: None }],
                };
                match scope {
                    Scope::File => Vec::new(),
                    Scope::Tensor if !run.tensors.is_empty() => {
                        let bytes = |tensor: &Tensor| &run.bytes[tensor.range.clone()];
                        run.tensors.iter().map(|tensor| part(&tensor.shape, 0, bytes(tensor))).collect()
                    }
                    Scope::Chunks if !run.bytes.is_empty() => {
                        let chunk_bytes = chunk_bytes.max(1);
                        let chunks = run.bytes.chunks(chunk_bytes).enumerate();
                        chunks.map(|(i, bytes)| part(&run.shape, i * chunk_bytes, bytes)).collect()
                    }
                    _ => vec![part(&run.shape, 0, &run.bytes)],
                }
            })
            .collect()
    }
}

impl Run {
    fn n_values(&self) -> u64 {
        self.bytes.len() as u64 / self.dtype.size_bytes().max(1)
    }

    fn n_zeros(&self) -> u64 {
        // The sign is the last byte's highest bit.
        let sign = if is_float(self.dtype) { 0x80 } else { 0 };
        let is_zero = |value: &[u8]| {
            value.split_last().is_none_or(|(last, rest)| last & !sign == 0 && rest.iter().all(|&byte| byte == 0))
        };
        let element_bytes = self.dtype.size_bytes().max(1) as usize;
        self.bytes.chunks_exact(element_bytes).filter(|value| is_zero(value)).count() as u64
    }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F8E4M3 | Dtype::F8E5M2)
}

/// What goes through a codec at once.
pub(super) struct SamplePiece<'a> {
    pub(super) bytes: &'a [u8],
    dtype: Dtype,
    piece: [Piece<'a>; 1],
}

impl SamplePiece<'_> {
    pub(super) fn place(&self) -> Place<'_> {
        Place { dtype: self.dtype, pieces: &self.piece }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn sample(bytes: &[u8], raw_dtype: Option<Dtype>) -> Sample {
        Sample::read(&mut Cursor::new(bytes), raw_dtype).unwrap()
    }

    fn lengths(sample: &Sample, scope: Scope, chunk_bytes: usize) -> Vec<usize> {
        sample.pieces(scope, chunk_bytes).iter().map(|piece| piece.bytes.len()).collect()
    }

    #[test]
    fn raw_bytes_are_one_run() {
        let bytes = [0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0];
        let plain = sample(&bytes, None);
        assert_eq!((plain.n_bytes(), plain.n_values(), plain.n_tensors(), plain.n_zeros()), (12, 12, 1, 10));
        let typed = sample(&bytes, Some(Dtype::F32));
        assert_eq!((typed.n_bytes(), typed.n_values(), typed.n_tensors(), typed.n_zeros()), (12, 3, 1, 2));
        assert!(!typed.has_structure());
        let odd = sample(&bytes[..11], Some(Dtype::F32));
        assert_eq!((odd.runs[0].dtype, odd.n_values()), (Dtype::U8, 11));
    }

    #[test]
    fn scopes_cut_differently() {
        let alternating = lmgc_testkit::alternating_tensors(5, 4, 100);
        let sample = sample(&alternating, None);
        assert!(sample.runs.len() > 1 && sample.has_structure(), "{sample:?}");
        let total = sample.n_bytes() as usize;
        for (scope, n_pieces) in [(Scope::Whole, sample.runs.len()), (Scope::Tensor, sample.n_tensors())] {
            let lengths = lengths(&sample, scope, 512);
            assert_eq!((lengths.iter().sum::<usize>(), lengths.len()), (total, n_pieces), "{scope}");
        }
        let chunks = lengths(&sample, Scope::Chunks, 3);
        assert!(
            chunks.iter().sum::<usize>() == total && chunks.iter().all(|&len| (1..=3).contains(&len)),
            "{chunks:?}"
        );
        for scope in Scope::ALL {
            for piece in sample.pieces(scope, 3) {
                let place = piece.place();
                assert_eq!(place.pieces.iter().map(|piece| piece.len).sum::<usize>(), piece.bytes.len());
            }
        }
    }

    #[test]
    fn nothing_is_one_empty_piece() {
        let empty = sample(&[], None);
        assert_eq!((empty.n_bytes(), empty.n_values(), empty.n_tensors(), empty.n_zeros()), (0, 0, 0, 0));
        for scope in [Scope::Whole, Scope::Tensor, Scope::Chunks] {
            assert_eq!(lengths(&empty, scope, 512), [0], "{scope}");
        }
        assert!(lengths(&empty, Scope::File, 512).is_empty());
    }
}
