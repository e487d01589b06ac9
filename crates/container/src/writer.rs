//! Writing a file from start to end.

use std::io::Write;

use crate::footer::{footer_body, trailer};
use crate::limits::{check, max_payload_bytes};
use crate::source::{SectionKind, prologue, section_bytes};
use crate::stream::BlockOrder;
use crate::wire::put_varint;
use crate::{BlockInfo, Error, Hashes, Header, Limits, Stream, StreamLayout};

/// Writes a `.lmgc` file, without seeking.
///
/// Blocks must come sorted by where their first byte lies in the original file (see [`StreamLayout`]), so that a
/// reader can rebuild it from start to end with one block of each stream in memory.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    written_len: u64,
    order: BlockOrder,
    n_blocks: u64,
    /// The footer's list of blocks so far.
    index: Vec<u8>,
    limits: Limits,
    header: Header,
}

impl<W: Write> Writer<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] for tensors that are out of order, overlap, or end after the original file,
    /// [`Error::LimitExceeded`] for a header that no reader would accept, [`Error::Io`].
    pub fn new(output: W, header: &Header) -> Result<Self, Error> {
        let limits = Limits::default();
        let order = BlockOrder::new(StreamLayout::new(header)?);
        let body = header.to_body(&limits)?;
        let mut writer =
            Self { output, written_len: 0, order, n_blocks: 0, index: Vec::new(), limits, header: header.clone() };
        writer.write(&section_bytes(prologue(), SectionKind::Header, &body))?;
        Ok(writer)
    }

    /// Writes the next block of `stream`, made by `codec` from the stream's next `raw_len` bytes; `n_lanes` is 0 if the
    /// codec has no lanes.
    ///
    /// # Errors
    /// [`Error::MisplacedBlock`] if the block is empty, goes past the end of its stream or is out of order,
    /// [`Error::LimitExceeded`] if it or its payload is too long (see [`Limits`]), [`Error::Io`]. After an error of the
    /// first two kinds, nothing has been written.
    pub fn write_block(
        &mut self,
        stream: Stream,
        codec: u8,
        raw_len: u64,
        n_lanes: u16,
        payload: &[u8],
    ) -> Result<(), Error> {
        let block = BlockInfo {
            stream,
            codec,
            stream_offset: self.order.next_offset(stream),
            raw_len,
            n_lanes,
            payload_len: payload.len() as u64,
            payload_crc32c: crc32c::crc32c(payload),
            file_offset: self.written_len,
        };
        check("block's original length in bytes", raw_len, self.limits.max_block_raw_bytes)?;
        check("block's payload length in bytes", block.payload_len, max_payload_bytes(raw_len))?;
        let body = block.to_body();
        // An entry is the body and at most two bytes of its length.
        let index_len = self.index.len() as u64 + body.len() as u64 + 2;
        check("index length in bytes", index_len, self.limits.max_index_bytes)?;
        self.order.accept(&block).map_err(|why| Error::MisplacedBlock {
            stream,
            stream_offset: block.stream_offset,
            raw_len,
            why,
        })?;

        put_varint(&mut self.index, body.len() as u64);
        self.index.extend_from_slice(&body);
        self.n_blocks += 1;
        self.write(&section_bytes(Vec::new(), SectionKind::Block, &body))?;
        self.write(payload)
    }

    /// Ends the file, given the hashes of the original one, and flushes. Returns the output and the file's length.
    ///
    /// # Errors
    /// [`Error::StreamIncomplete`] if blocks are missing, [`Error::Misuse`] if hashes are, [`Error::Io`].
    pub fn finish(mut self, hashes: &Hashes) -> Result<(W, u64), Error> {
        if let Some((stream, written, expected)) = self.order.incomplete() {
            return Err(Error::StreamIncomplete { stream, written, expected });
        }
        let body = footer_body(self.n_blocks, &self.index, hashes, &self.header)?;
        let footer = section_bytes(Vec::new(), SectionKind::Footer, &body);
        self.write(&footer)?;
        // The limits keep the footer far below 4 GiB.
        self.write(&trailer(footer.len() as u32))?;
        self.output.flush()?;
        Ok((self.output, self.written_len))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write_all(bytes)?;
        self.written_len += bytes.len() as u64;
        Ok(())
    }
}
