//! Reading what is left of a damaged file.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::footer::{Footer, TRAILER_LEN, parse_trailer};
use crate::seek_reader::read_footer;
use crate::source::{SectionKind, Source, section_len};
use crate::stream::BlockOrder;
use crate::wire::Fields;
use crate::{BlockInfo, Error, Hashes, Header, Limits, StreamLayout};

/// Bytes that are looked at together in search of sections.
const WINDOW_BYTES: u64 = 1 << 16;

/// Longest section of a block besides its body: marker, length and checksum.
const SECTION_FRAME_BYTES: u64 = 1 + 10 + 4;

/// Finds the blocks of a file that may be damaged anywhere but in its header.
///
/// By the index, if that is whole: then a block is lost only if its payload is damaged. Else by going through the file, and
/// behind damage by trying every byte that could begin a section.
#[derive(Debug)]
pub struct Salvage<R> {
    input: R,
    header: Header,
    blocks: Vec<Found>,
    hashes: Option<Hashes>,
}

/// A block, and where its payload starts in the file.
#[derive(Debug)]
struct Found {
    info: BlockInfo,
    payload_offset: u64,
}

impl<R: Read + Seek> Salvage<R> {
    /// Reads the header and finds the blocks, with the default limits.
    ///
    /// # Errors
    /// Those of [`Reader::new`](crate::Reader::new): without the header nothing can be told.
    pub fn open(mut input: R) -> Result<Self, Error> {
        let limits = Limits::default();
        input.rewind()?;
        let mut source = Source::new(BufReader::new(&mut input), 0);
        let header = Header::read(&mut source, &limits)?;
        let blocks_start = source.offset();
        let (blocks, hashes) = match read_footer(&mut input, blocks_start, &header, &limits) {
            Ok(footer) => (by_index(&footer), Some(footer.hashes)),
            Err(Error::Io(error)) => return Err(Error::Io(error)),
            Err(_) => Scan::new(&mut input, &header, &limits, blocks_start)?.run()?,
        };
        Ok(Self { input, header, blocks, hashes })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The hashes of the original, if the footer is whole.
    pub fn hashes(&self) -> Option<&Hashes> {
        self.hashes.as_ref()
    }

    /// The blocks that were found, by ascending place in the original; there may be gaps.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &BlockInfo> {
        self.blocks.iter().map(|found| &found.info)
    }

    /// Reads the payload of the `index`-th of the [`blocks`](Self::blocks).
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Corrupt`] where it is damaged, [`Error::Io`].
    pub fn payload(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let Found { info, payload_offset } =
            self.blocks.get(index).ok_or(Error::Misuse { what: "there is no block of that number" })?;
        self.input.seek(SeekFrom::Start(*payload_offset))?;
        let payload = Source::new(&mut self.input, *payload_offset).bytes(info.payload_len, "block payload")?;
        info.verify(&payload, *payload_offset)?;
        Ok(payload)
    }
}

/// The blocks of an index. A payload ends where the next block's section begins.
fn by_index(footer: &Footer) -> Vec<Found> {
    let ends = footer.blocks.iter().skip(1).map(|next| next.file_offset).chain([footer.blocks_end]);
    footer.blocks.iter().zip(ends).map(|(&info, end)| Found { info, payload_offset: end - info.payload_len }).collect()
}

/// A walk through the file, from section to section.
struct Scan<'a, R> {
    input: &'a mut R,
    file_len: u64,
    header: &'a Header,
    limits: &'a Limits,
    blocks_start: u64,
    window: Vec<u8>,
    window_start: u64,
}

enum Section {
    Block(Found),
    Footer(Hashes),
}

impl<'a, R: Read + Seek> Scan<'a, R> {
    fn new(input: &'a mut R, header: &'a Header, limits: &'a Limits, blocks_start: u64) -> Result<Self, Error> {
        let file_len = input.seek(SeekFrom::End(0))?;
        Ok(Self { input, file_len, header, limits, blocks_start, window: Vec::new(), window_start: 0 })
    }

    fn run(mut self) -> Result<(Vec<Found>, Option<Hashes>), Error> {
        let (mut blocks, mut hashes) = (Vec::<Found>::new(), None);
        let mut order = BlockOrder::new(StreamLayout::new(self.header)?);
        let mut at = self.blocks_start;
        while at < self.file_len {
            match self.section(at)? {
                None => at += 1,
                // Blocks may follow: the end of another file, stored in a damaged block.
                Some(Section::Footer(found)) => {
                    hashes = Some(found);
                    at += 1;
                }
                Some(Section::Block(found)) => {
                    at = self.next_place(&found)?;
                    if order.accept_later(&found.info).is_ok() {
                        blocks.push(found);
                    }
                }
            }
        }
        Ok((blocks, hashes))
    }

    /// Where to go on after a block: behind its payload if that is whole or a section begins there. Else bytes are missing or too
    /// many, and the next section can be anywhere.
    fn next_place(&mut self, found: &Found) -> Result<u64, Error> {
        let Found { info, payload_offset } = found;
        let Some(end) = payload_offset.checked_add(info.payload_len) else { return Ok(*payload_offset) };
        let payload = self.bytes(*payload_offset, info.payload_len)?;
        if info.verify(payload, *payload_offset).is_ok() || self.section(end)?.is_some() {
            return Ok(end);
        }
        Ok(*payload_offset)
    }

    /// The section at a place of the file, if there is one and its checksum is right.
    fn section(&mut self, at: u64) -> Result<Option<Section>, Error> {
        let limits = self.limits;
        let head = self.bytes(at, SECTION_FRAME_BYTES + limits.max_block_header_bytes)?;
        match head.first() {
            Some(&marker) if marker == SectionKind::Block.marker() => {
                let mut source = Source::new(head, at);
                let Ok(section) = source.section(limits) else { return Ok(None) };
                let payload_offset = source.offset();
                let info = BlockInfo::from_body(&section.body, section.body_offset, at, limits);
                Ok(info.ok().map(|info| Section::Block(Found { info, payload_offset })))
            }
            Some(&marker) if marker == SectionKind::Footer.marker() => self.footer(at),
            _ => Ok(None),
        }
    }

    /// The footer at a place of the file. Its length must be what the trailer behind it says, which is looked at first: a footer
    /// can be long, and many a byte looks like the first one of a footer.
    fn footer(&mut self, at: u64) -> Result<Option<Section>, Error> {
        let limits = self.limits;
        let Ok(body_len) = Fields::new(self.bytes(at + 1, SECTION_FRAME_BYTES)?, at + 1).varint("footer") else {
            return Ok(None);
        };
        let section_len = section_len(body_len).filter(|_| body_len <= limits.max_footer_bytes);
        let Some(section_len) = section_len else { return Ok(None) };
        let trailer = self.bytes(at.saturating_add(section_len), TRAILER_LEN)?;
        let Ok(trailer) = trailer.try_into() else { return Ok(None) };
        if parse_trailer(trailer, 0).ok().map(u64::from) != Some(section_len) {
            return Ok(None);
        }
        let (header, blocks_start) = (self.header, self.blocks_start);
        let bytes = self.bytes(at, section_len)?;
        let Ok(section) = Source::new(bytes, at).section(limits) else { return Ok(None) };
        let footer = Footer::from_body(&section.body, section.body_offset, blocks_start, header, limits);
        Ok(footer.ok().map(|footer| Section::Footer(footer.hashes)))
    }

    /// Up to `len` bytes at a place of the file, fewer at its end.
    fn bytes(&mut self, at: u64, len: u64) -> Result<&[u8], Error> {
        let len = len.min(self.file_len.saturating_sub(at));
        let window_end = self.window_start + self.window.len() as u64;
        if at < self.window_start || at + len > window_end {
            self.window.clear();
            self.window_start = at;
            self.input.seek(SeekFrom::Start(at))?;
            self.input.by_ref().take(len.max(WINDOW_BYTES)).read_to_end(&mut self.window)?;
        }
        let from = (at - self.window_start) as usize;
        Ok(self.window.get(from..).map_or(&[], |rest| rest.get(..len as usize).unwrap_or(rest)))
    }
}
