//! Bounded reads from a seekable file.

use std::io::{Read, Seek, SeekFrom};

use crate::{Error, FileFormat};

/// A file of known length, of a presumed format, read in pieces whose bounds are checked before anything is allocated.
pub(crate) struct Source<'a, R> {
    reader: &'a mut R,
    file_len: u64,
    format: FileFormat,
}

impl<'a, R: Read + Seek> Source<'a, R> {
    /// Measures the file. Offsets count from the reader's absolute start.
    pub(crate) fn new(reader: &'a mut R, format: FileFormat) -> Result<Self, Error> {
        let file_len = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader, file_len, format })
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    pub(crate) fn format(&self) -> FileFormat {
        self.format
    }

    pub(crate) fn set_format(&mut self, format: FileFormat) {
        self.format = format;
    }

    /// The underlying reader, for parsers that do their own seeking.
    pub(crate) fn reader(&mut self) -> &mut R {
        self.reader
    }

    pub(crate) fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { format: self.format, what: what.into(), offset }
    }

    /// Reads `len` bytes at `offset`; errors when they are more than `limit` or reach past the end.
    pub(crate) fn read_at(&mut self, what: &'static str, offset: u64, len: u64, limit: u64) -> Result<Vec<u8>, Error> {
        if len > limit {
            return Err(Error::LimitExceeded { format: self.format, what, value: len, limit });
        }
        let available = self.file_len.saturating_sub(offset);
        let Some(n_bytes) = usize::try_from(len).ok().filter(|_| len <= available) else {
            return Err(Error::Truncated {
                format: self.format,
                what: what.to_owned(),
                offset,
                needed: len,
                available,
            });
        };
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; n_bytes];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Like [`Source::read_at`] for a few bytes of known number.
    pub(crate) fn array_at<const N: usize>(&mut self, what: &'static str, offset: u64) -> Result<[u8; N], Error> {
        let bytes = self.read_at(what, offset, N as u64, N as u64)?;
        <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| self.corrupt(offset, format!("{what} is not {N} bytes long")))
    }
}
