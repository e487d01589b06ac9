//! Reading a file from start to end.

use std::io::{BufReader, Read};

use crate::footer::{Footer, TRAILER_LEN, parse_trailer};
use crate::source::{SectionKind, Source};
use crate::stream::BlockOrder;
use crate::{BlockInfo, Error, Hashes, Header, Limits, StreamLayout};

/// What stands at the end of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Hashes of the original file and its tensors.
    pub hashes: Hashes,
    /// Length of the `.lmgc` file.
    pub file_len: u64,
}

#[derive(Debug)]
enum State {
    Blocks,
    Done(Trailer),
    Failed,
}

/// Reads a `.lmgc` file block by block, without seeking, and checks all of it: every checksum, the order and completeness
/// of the blocks, the index, and that nothing follows.
#[derive(Debug)]
pub struct Reader<R> {
    source: Source<BufReader<R>>,
    limits: Limits,
    header: Header,
    order: BlockOrder,
    blocks_start: u64,
    /// Blocks seen so far.
    blocks: Vec<BlockInfo>,
    state: State,
}

impl<R: Read> Reader<R> {
    /// Reads the header, with the default limits.
    ///
    /// # Errors
    /// [`Error::NotLmgc`], [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`], [`Error::Truncated`],
    /// [`Error::Corrupt`], [`Error::LimitExceeded`], [`Error::Io`].
    pub fn new(input: R) -> Result<Self, Error> {
        Self::with_limits(input, Limits::default())
    }

    /// Reads the header.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_limits(input: R, limits: Limits) -> Result<Self, Error> {
        let mut source = Source::new(BufReader::new(input), 0);
        let header = Header::read(&mut source, &limits)?;
        let order = BlockOrder::new(StreamLayout::new(&header)?);
        Ok(Self {
            blocks_start: source.offset(),
            source,
            limits,
            header,
            order,
            blocks: Vec::new(),
            state: State::Blocks,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next block and its payload; `None` at the end, when the whole file has been checked.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and [`Error::TrailingBytes`] at the end; after an error, [`Error::Misuse`].
    pub fn next_block(&mut self) -> Result<Option<(BlockInfo, Vec<u8>)>, Error> {
        match self.state {
            State::Blocks => {}
            State::Done(_) => return Ok(None),
            State::Failed => return Err(Error::Misuse { what: "no block can be read after an error" }),
        }
        let result = self.read_next();
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// What stands at the end of the file.
    ///
    /// # Errors
    /// [`Error::Misuse`] before [`next_block`](Self::next_block) has returned `None`.
    pub fn trailer(&self) -> Result<&Trailer, Error> {
        match &self.state {
            State::Done(trailer) => Ok(trailer),
            _ => Err(Error::Misuse { what: "the trailer can be read after the last block" }),
        }
    }

    fn read_next(&mut self) -> Result<Option<(BlockInfo, Vec<u8>)>, Error> {
        let section = self.source.section(&self.limits)?;
        match section.kind {
            SectionKind::Header => Err(Error::Corrupt { what: "section marker", offset: section.offset }),
            SectionKind::Footer => {
                self.read_end(&section.body, section.offset, section.body_offset)?;
                Ok(None)
            }
            SectionKind::Block => {
                let block = BlockInfo::from_body(&section.body, section.body_offset, section.offset, &self.limits)?;
                self.order
                    .accept(&block)
                    .map_err(|_| Error::Corrupt { what: "order of the blocks", offset: section.offset })?;
                let payload_offset = self.source.offset();
                let payload = self.source.bytes(block.payload_len, "block payload")?;
                block.verify(&payload, payload_offset)?;
                self.blocks.push(block);
                Ok(Some((block, payload)))
            }
        }
    }

    fn read_end(&mut self, body: &[u8], offset: u64, body_offset: u64) -> Result<(), Error> {
        let footer = Footer::from_body(body, body_offset, self.blocks_start, &self.header, &self.limits)?;
        if footer.blocks != self.blocks {
            return Err(Error::Corrupt { what: "index", offset: body_offset });
        }
        let trailer_offset = self.source.offset();
        let trailer: [u8; TRAILER_LEN as usize] = self.source.array("trailer")?;
        if u64::from(parse_trailer(trailer, trailer_offset)?) != trailer_offset - offset {
            return Err(Error::Corrupt { what: "trailer", offset: trailer_offset });
        }
        self.source.end()?;
        self.state = State::Done(Trailer { hashes: footer.hashes, file_len: trailer_offset + TRAILER_LEN });
        Ok(())
    }
}
