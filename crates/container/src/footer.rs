//! The footer: index and hash; and the trailer, by which the footer is found from the end of the file.

use crate::limits::check;
use crate::source::section_len;
use crate::stream::BlockOrder;
use crate::wire::{Fields, put_varint};
use crate::{BlockInfo, Error, Hashes, Header, Limits, StreamLayout};

/// Last bytes of the file.
const END_MAGIC: [u8; 4] = *b"\x9aEND";

/// Length of the trailer.
pub(crate) const TRAILER_LEN: u64 = 8;

/// What a footer section holds.
#[derive(Debug)]
pub(crate) struct Footer {
    /// All blocks in file order.
    pub(crate) blocks: Vec<BlockInfo>,
    /// Hashes of the original.
    pub(crate) hashes: Hashes,
    /// Where in the file the last block ends.
    pub(crate) blocks_end: u64,
}

/// The footer section's body: `index` holds the blocks' bodies, each with its length in front.
pub(crate) fn footer_body(n_blocks: u64, index: &[u8], hashes: &Hashes, header: &Header) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    put_varint(&mut body, n_blocks);
    body.extend_from_slice(index);
    body.extend_from_slice(&hashes.original);
    body.extend_from_slice(&hashes.to_record(header)?);
    Ok(body)
}

impl Footer {
    /// Reads a footer section's body that starts at `offset` in the file; the first block starts at `blocks_start`.
    pub(crate) fn from_body(
        body: &[u8],
        offset: u64,
        blocks_start: u64,
        header: &Header,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut fields = Fields::new(body, offset);
        let mut order = BlockOrder::new(StreamLayout::new(header)?);
        let (mut blocks, mut blocks_end) = (Vec::new(), blocks_start);
        let n_blocks = fields.varint("index")?;
        let index_start = fields.offset();
        for _ in 0..n_blocks {
            let here = fields.corrupt("index entry");
            let block_len = fields.varint("index entry")?;
            let offset = fields.offset();
            let block = fields.bytes(block_len, "index entry")?;
            let block = BlockInfo::from_body(block, offset, blocks_end, limits)?;
            let end = section_len(block_len)
                .and_then(|len| len.checked_add(block.payload_len))
                .and_then(|len| len.checked_add(blocks_end));
            match (order.accept(&block), end) {
                (Ok(()), Some(end)) => blocks_end = end,
                _ => return Err(here),
            }
            check("index length in bytes", fields.offset() - index_start, limits.max_index_bytes)?;
            blocks.push(block);
        }
        if order.incomplete().is_some() {
            return Err(fields.corrupt("index"));
        }
        let hashes = Hashes::read(fields, header)?;
        Ok(Self { blocks, hashes, blocks_end })
    }
}

/// The trailer after a footer section of so many bytes.
pub(crate) fn trailer(footer_len: u32) -> [u8; TRAILER_LEN as usize] {
    let [a, b, c, d] = footer_len.to_le_bytes();
    let [e, f, g, h] = END_MAGIC;
    [a, b, c, d, e, f, g, h]
}

/// Length of the footer section according to the trailer, which starts at `offset`.
pub(crate) fn parse_trailer(trailer: [u8; TRAILER_LEN as usize], offset: u64) -> Result<u32, Error> {
    let [a, b, c, d, end_magic @ ..] = trailer;
    if end_magic == END_MAGIC {
        Ok(u32::from_le_bytes([a, b, c, d]))
    } else {
        Err(Error::Corrupt { what: "end marker", offset: offset + 4 })
    }
}
