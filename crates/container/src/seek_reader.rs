//! Reading single blocks by the index.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::footer::{Footer, TRAILER_LEN, parse_trailer};
use crate::source::{SectionKind, Source};
use crate::{BlockInfo, Error, Hashes, Header, Limits, Reader};

/// Enough for a typical block header, little enough that hardly more is read than asked for.
const BUFFER_BYTES: usize = 64;

/// Reads a `.lmgc` file's header and index, and then the blocks that are asked for.
///
/// Only what is read is checked: header, footer and trailer at once, a block when it is read.
#[derive(Debug)]
pub struct SeekReader<R> {
    input: R,
    limits: Limits,
    header: Header,
    blocks: Vec<BlockInfo>,
    hashes: Hashes,
}

impl<R: Read + Seek> SeekReader<R> {
    /// Reads header and index, with the default limits.
    ///
    /// # Errors
    /// [`Error::NotLmgc`], [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`], [`Error::Truncated`],
    /// [`Error::Corrupt`], [`Error::LimitExceeded`], [`Error::TrailingBytes`], [`Error::Io`]. If the end of the file is not
    /// as it should be, all of the file is read to say what is wrong with it.
    pub fn open(input: R) -> Result<Self, Error> {
        Self::with_limits(input, Limits::default())
    }

    /// Reads header and index.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_limits(mut input: R, limits: Limits) -> Result<Self, Error> {
        input.rewind()?;
        let mut source = Source::new(BufReader::new(&mut input), 0);
        let header = Header::read(&mut source, &limits)?;
        let blocks_start = source.offset();
        let footer = match read_footer(&mut input, blocks_start, &header, &limits) {
            Ok(footer) => footer,
            Err(Error::Io(error)) => return Err(Error::Io(error)),
            Err(error) => return Err(diagnose(&mut input, &limits).err().unwrap_or(error)),
        };
        Ok(Self { input, limits, header, blocks: footer.blocks, hashes: footer.hashes })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All blocks in file order. Each stream's blocks cover it without gaps.
    pub fn index(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// Hashes of the original file and its tensors.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Reads the payload of a block of the [`index`](Self::index).
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Io`]. Other blocks can be read after an error.
    pub fn read_block(&mut self, block: &BlockInfo) -> Result<Vec<u8>, Error> {
        self.input.seek(SeekFrom::Start(block.file_offset))?;
        let buffered = BufReader::with_capacity(BUFFER_BYTES, &mut self.input);
        let mut source = Source::new(buffered, block.file_offset);
        let section = source.section(&self.limits)?;
        let mismatch = Error::Corrupt { what: "block header (it differs from the index)", offset: section.offset };
        if section.kind != SectionKind::Block {
            return Err(mismatch);
        }
        let found = BlockInfo::from_body(&section.body, section.body_offset, section.offset, &self.limits)?;
        if found != *block {
            return Err(mismatch);
        }
        let payload_offset = source.offset();
        let payload = source.bytes(block.payload_len, "block payload")?;
        block.verify(&payload, payload_offset)?;
        Ok(payload)
    }

    /// The input, to read it in another way.
    pub fn into_inner(self) -> R {
        self.input
    }
}

/// Reads the footer by way of the trailer.
pub(crate) fn read_footer<R: Read + Seek>(
    input: &mut R,
    blocks_start: u64,
    header: &Header,
    limits: &Limits,
) -> Result<Footer, Error> {
    let file_len = input.seek(SeekFrom::End(0))?;
    let trailer_offset = file_len.checked_sub(TRAILER_LEN).ok_or(Error::Truncated {
        what: "file",
        needed: TRAILER_LEN,
        got: file_len,
    })?;
    input.seek(SeekFrom::Start(trailer_offset))?;
    let trailer = Source::new(&mut *input, trailer_offset).array("trailer")?;
    let footer_len = parse_trailer(trailer, trailer_offset)?;
    let bad_trailer = || Error::Corrupt { what: "trailer", offset: trailer_offset };
    let footer_offset = trailer_offset.checked_sub(footer_len.into()).ok_or_else(bad_trailer)?;

    input.seek(SeekFrom::Start(footer_offset))?;
    let mut source = Source::new(BufReader::new(input), footer_offset);
    let section = source.section(limits)?;
    if section.kind != SectionKind::Footer || source.offset() != trailer_offset {
        return Err(bad_trailer());
    }
    let footer = Footer::from_body(&section.body, section.body_offset, blocks_start, header, limits)?;
    if footer.blocks_end != footer_offset {
        return Err(Error::Corrupt { what: "index", offset: section.body_offset });
    }
    Ok(footer)
}

/// Reads the whole file to find what is wrong with it: from the end alone, truncation, damage and appended bytes
/// look the same.
fn diagnose<R: Read + Seek>(input: &mut R, limits: &Limits) -> Result<(), Error> {
    input.rewind()?;
    let mut reader = Reader::with_limits(input, limits.clone())?;
    while reader.next_block()?.is_some() {}
    Ok(())
}
