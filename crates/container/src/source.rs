//! Reading bytes and sections from an input that cannot be trusted.
//!
//! A section is a marker byte, its body's length as a variable-length integer, the body, and a CRC-32C of all that
//! (little-endian). The header's checksum covers the file's first bytes too.

use std::io::Read;

use crate::limits::check;
use crate::wire::{MAX_VARINT_BYTES, put_varint, varint_value};
use crate::{Error, FORMAT_VERSION, Limits, MAGIC};

/// Memory that is reserved at once for a length that the input claims.
const RESERVED_BYTES: u64 = 1 << 20;

/// The kinds of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Header,
    Block,
    Footer,
}

impl SectionKind {
    pub(crate) fn marker(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Block => b'B',
            Self::Footer => b'F',
        }
    }

    fn from_marker(marker: u8) -> Option<Self> {
        [Self::Header, Self::Block, Self::Footer].into_iter().find(|kind| kind.marker() == marker)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Block => "block header",
            Self::Footer => "footer",
        }
    }

    fn max_body_bytes(self, limits: &Limits) -> u64 {
        match self {
            Self::Header => limits.max_header_bytes,
            Self::Block => limits.max_block_header_bytes,
            Self::Footer => limits.max_footer_bytes,
        }
    }
}

/// A section whose checksum was right.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    /// Where the section starts in the file.
    pub(crate) offset: u64,
    pub(crate) body: Vec<u8>,
    /// Where the body starts in the file.
    pub(crate) body_offset: u64,
}

/// The bytes before the header section.
pub(crate) fn prologue() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    // Reserved flags.
    bytes.extend_from_slice(&0u16.to_le_bytes());
    bytes
}

/// A section's bytes, after `prefix`, which its checksum covers too.
pub(crate) fn section_bytes(mut prefix: Vec<u8>, kind: SectionKind, body: &[u8]) -> Vec<u8> {
    prefix.push(kind.marker());
    put_varint(&mut prefix, body.len() as u64);
    prefix.extend_from_slice(body);
    prefix.extend_from_slice(&crc32c::crc32c(&prefix).to_le_bytes());
    prefix
}

/// Length of a section with a body of so many bytes; `None` if no file is that long.
pub(crate) fn section_len(body_len: u64) -> Option<u64> {
    let mut len = Vec::new();
    put_varint(&mut len, body_len);
    body_len.checked_add(len.len() as u64 + 5)
}

/// An input, and how far it has been read.
#[derive(Debug)]
pub(crate) struct Source<R> {
    input: R,
    offset: u64,
}

impl<R: Read> Source<R> {
    /// An input that stands at `offset` in the file.
    pub(crate) fn new(input: R, offset: u64) -> Self {
        Self { input, offset }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends the next `len` bytes to `out`.
    fn append(&mut self, len: u64, what: &'static str, out: &mut Vec<u8>) -> Result<(), Error> {
        out.reserve(len.min(RESERVED_BYTES) as usize);
        let got = self.input.by_ref().take(len).read_to_end(out)? as u64;
        self.offset += got;
        if got < len { Err(Error::Truncated { what, needed: len, got }) } else { Ok(()) }
    }

    /// Reads `len` bytes.
    pub(crate) fn bytes(&mut self, len: u64, what: &'static str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.append(len, what, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let offset = self.offset;
        let bytes = self.bytes(N as u64, what)?;
        bytes.try_into().map_err(|_| Error::Corrupt { what, offset })
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match self.array::<1>("end of the file") {
            Err(Error::Truncated { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::TrailingBytes { offset: self.offset - 1 }),
        }
    }

    /// Reads from the start of the file to the end of the header section.
    pub(crate) fn header_section(&mut self, limits: &Limits) -> Result<Section, Error> {
        let mut prologue = Vec::new();
        let magic = self.append(MAGIC.len() as u64, "magic", &mut prologue);
        if !MAGIC.starts_with(&prologue) {
            return Err(Error::NotLmgc);
        }
        magic?;
        self.append(2, "format version", &mut prologue)?;
        let found = prologue.last_chunk().map_or(0, |&version| u16::from_le_bytes(version));
        if found != FORMAT_VERSION {
            return Err(Error::UnsupportedVersion { found, supported: FORMAT_VERSION });
        }
        let flags_offset = self.offset;
        self.append(2, "flags", &mut prologue)?;
        let flags = prologue.last_chunk().map_or(0, |&flags| u16::from_le_bytes(flags));
        let section = self.section_after(prologue, limits)?;
        if section.kind != SectionKind::Header {
            return Err(Error::Corrupt { what: "header marker", offset: section.offset });
        }
        if flags != 0 {
            return Err(Error::UnsupportedFeature { what: "file flags", value: flags.into(), offset: flags_offset });
        }
        Ok(section)
    }

    /// Reads a section.
    pub(crate) fn section(&mut self, limits: &Limits) -> Result<Section, Error> {
        self.section_after(Vec::new(), limits)
    }

    /// Reads a section whose checksum also covers the bytes just read before it.
    fn section_after(&mut self, before: Vec<u8>, limits: &Limits) -> Result<Section, Error> {
        let offset = self.offset;
        let mut bytes = before;
        let [marker] = self.array("section marker")?;
        let kind = SectionKind::from_marker(marker).ok_or(Error::Corrupt { what: "section marker", offset })?;
        bytes.push(marker);

        let mut len_bytes = Vec::new();
        while len_bytes.len() < MAX_VARINT_BYTES && len_bytes.last().is_none_or(|&byte| byte >= 0x80) {
            self.append(1, kind.name(), &mut len_bytes)?;
        }
        let body_len = varint_value(&len_bytes).ok_or(Error::Corrupt { what: kind.name(), offset })?;
        check(kind.name(), body_len, kind.max_body_bytes(limits))?;
        bytes.extend_from_slice(&len_bytes);

        let body_offset = self.offset;
        let body_start = bytes.len();
        self.append(body_len, kind.name(), &mut bytes)?;
        let crc = u32::from_le_bytes(self.array(kind.name())?);
        if crc32c::crc32c(&bytes) != crc {
            return Err(Error::Corrupt { what: kind.name(), offset });
        }
        Ok(Section { kind, offset, body: bytes.split_off(body_start), body_offset })
    }
}
