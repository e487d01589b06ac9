//! Zip archives as places of members in the file.
//!
//! Format: PKWARE's APPNOTE.TXT 6.3.10, with zip64; no spanning over several disks. Read here rather than by the `zip`
//! crate because that takes memory by what the directory claims to hold, and tells where a member's data begin only of
//! those it can decompress. Nothing is decompressed, but by [`unpack`], for those who need the members themselves.
//! Archives are written by the `zip` crate.

use std::io::{Read, Seek};

use crate::Error;
use crate::source::Source;

mod members;

pub(crate) use members::{check, new_member, unpack};

/// The most members accepted.
const MAX_N_MEMBERS: u64 = 1 << 20;
/// The longest central directory accepted.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;

const END_MAGIC: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const MAX_COMMENT_BYTES: u64 = 0xffff;
const END64_LOCATOR_BYTES: u64 = 20;
const END64_LOCATOR_MAGIC: &[u8] = b"PK\x06\x07";
const END64_BYTES: u64 = 56;
const END64_MAGIC: &[u8] = b"PK\x06\x06";
const MEMBER_MAGIC: &[u8] = b"PK\x01\x02";
const LOCAL_HEADER_BYTES: u64 = 30;
const LOCAL_HEADER_MAGIC: &[u8] = b"PK\x03\x04";
const ZIP64_EXTRA_ID: u16 = 1;
const ENCRYPTED_FLAG: u16 = 1;
const METHOD_STORED: u16 = 0;
const METHOD_DEFLATED: u16 = 8;

/// One member of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Path within the archive, with `/`; bytes that are not UTF-8 are replaced.
    pub(crate) name: String,
    /// Where its bytes lie in the file, if as they are: neither compressed nor encrypted. In bounds.
    pub(crate) stored: Option<Place>,
    /// What the directory says of it; not checked.
    pub(crate) facts: Facts,
}

/// A member as its entry of the directory describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    header_offset: u64,
    method: u16,
    is_encrypted: bool,
    /// CRC-32 of the member.
    crc: u32,
    /// Bytes in the archive.
    compressed_len: u64,
    /// Bytes of the member itself.
    len: u64,
}

impl Facts {
    fn is_stored(&self) -> bool {
        self.method == METHOD_STORED && !self.is_encrypted && self.compressed_len == self.len
    }
}

/// A range of the file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// The name in the local header that begins the file, to judge a damaged archive by; empty if it cannot be had.
pub(crate) fn first_member_name<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Vec<u8>, Error> {
    let name = source.array_at::<2>("local header of a member", 26).and_then(|len_bytes| {
        let len = u16::from_le_bytes(len_bytes).into();
        source.read_at("name of a member", LOCAL_HEADER_BYTES, len, len)
    });
    match name {
        Err(Error::Io(error)) => Err(Error::Io(error)),
        name => Ok(name.unwrap_or_default()),
    }
}

/// Lists an archive's members in the order of its central directory.
pub(crate) fn members<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Vec<Member>, Error> {
    let directory = find_directory(source)?;
    if directory.n_members > MAX_N_MEMBERS {
        return Err(Error::LimitExceeded {
            format: source.format(),
            what: "members of the archive",
            value: directory.n_members,
            limit: MAX_N_MEMBERS,
        });
    }
    let Place { offset, len } = directory.place;
    let bytes = source.read_at("central directory bytes", offset, len, MAX_DIRECTORY_BYTES)?;
    let mut fields = Fields { rest: &bytes };
    let mut members = Vec::new();
    for _ in 0..directory.n_members {
        let at = offset + (bytes.len() - fields.rest.len()) as u64;
        let entry = fields.entry().ok_or_else(|| source.corrupt(at, "an entry of the zip directory is malformed"))?;
        let facts = entry.facts;
        let stored = match facts.is_stored() {
            true => Some(data_place(source, facts.header_offset, facts.len)?),
            false => None,
        };
        members.push(Member { name: String::from_utf8_lossy(entry.name).into_owned(), stored, facts });
    }
    Ok(members)
}

/// The central directory.
struct Directory {
    place: Place,
    n_members: u64,
}

/// Finds the directory by the record at the file's end, whose comment reaches exactly to the end.
fn find_directory<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Directory, Error> {
    let file_len = source.file_len();
    let tail_len = file_len.min(END_BYTES as u64 + MAX_COMMENT_BYTES);
    let tail_start = file_len - tail_len;
    let tail = source.read_at("end of the archive", tail_start, tail_len, tail_len)?;
    let is_end = |window: &[u8]| window.starts_with(END_MAGIC);
    let end =
        tail.windows(END_BYTES).enumerate().rev().filter(|(_, window)| is_end(window)).find_map(|(at, window)| {
            let mut fields = Fields { rest: window.get(END_MAGIC.len()..)? };
            let (disk, directory_disk) = (fields.u16()?, fields.u16()?);
            let (n_on_disk, n_members) = (fields.u16()?, fields.u16()?);
            let (len, offset) = (fields.u32()?, fields.u32()?);
            let is_last = at + END_BYTES + usize::from(fields.u16()?) == tail.len();
            let is_saturated = n_members == u16::MAX || len == u32::MAX || offset == u32::MAX;
            let is_single_disk = disk == directory_disk && n_on_disk == n_members;
            let directory =
                Directory { place: Place { offset: offset.into(), len: len.into() }, n_members: n_members.into() };
            is_last.then_some((tail_start + at as u64, directory, is_single_disk, is_saturated))
        });
    let Some((end_offset, mut directory, is_single_disk, is_saturated)) = end else {
        return Err(source.corrupt(file_len, "the zip archive's directory is missing: the file may be cut short"));
    };
    if is_saturated && let Some(wide) = find_directory64(source, end_offset)? {
        directory = wide;
    } else if !is_single_disk {
        return Err(Error::Unsupported {
            format: source.format(),
            what: "a zip archive of several disks; join it into one".to_owned(),
        });
    }
    let Place { offset, len } = directory.place;
    if offset.checked_add(len).is_none_or(|directory_end| directory_end > end_offset) {
        return Err(source.corrupt(end_offset, "the zip directory does not lie where its end says"));
    }
    Ok(directory)
}

/// The 64-bit record, if there is a locator before the plain one.
fn find_directory64<R: Read + Seek>(source: &mut Source<'_, R>, end_offset: u64) -> Result<Option<Directory>, Error> {
    let Some(locator_offset) = end_offset.checked_sub(END64_LOCATOR_BYTES) else { return Ok(None) };
    let locator = source.read_at("zip64 locator", locator_offset, END64_LOCATOR_BYTES, END64_LOCATOR_BYTES)?;
    let Some(locator) = locator.strip_prefix(END64_LOCATOR_MAGIC) else { return Ok(None) };
    let mut fields = Fields { rest: locator };
    let end64_offset = fields.u32().and_then(|_disk| fields.u64()).unwrap_or(u64::MAX);
    let end64 = source.read_at("zip64 end of the archive", end64_offset, END64_BYTES, END64_BYTES)?;
    let directory = end64.strip_prefix(END64_MAGIC).and_then(|rest| {
        let mut fields = Fields { rest };
        // Size, versions, disks, and the count on this disk.
        fields.take(28)?;
        let (n_members, len, offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Some(Directory { place: Place { offset, len }, n_members })
    });
    directory.map(Some).ok_or_else(|| source.corrupt(end64_offset, "the zip64 record is malformed"))
}

/// Finds a member's data behind its local header, whose name and extra fields may be longer than the directory's.
fn data_place<R: Read + Seek>(source: &mut Source<'_, R>, header_offset: u64, len: u64) -> Result<Place, Error> {
    let header = source.read_at("local header of a member", header_offset, LOCAL_HEADER_BYTES, LOCAL_HEADER_BYTES)?;
    let variable_bytes = header.strip_prefix(LOCAL_HEADER_MAGIC).and_then(|rest| {
        let mut fields = Fields { rest };
        fields.take(22)?;
        Some(u64::from(fields.u16()?) + u64::from(fields.u16()?))
    });
    let Some(variable_bytes) = variable_bytes else {
        return Err(source.corrupt(header_offset, "no local header lies where the zip directory says"));
    };
    // The header was read, so its offset is no larger than the file.
    let offset = header_offset + LOCAL_HEADER_BYTES + variable_bytes;
    let available = source.file_len().saturating_sub(offset);
    if offset > source.file_len() || len > available {
        return Err(Error::Truncated {
            format: source.format(),
            what: "data of a member".to_owned(),
            offset,
            needed: len,
            available,
        });
    }
    Ok(Place { offset, len })
}

/// What the central directory says of a member.
struct Entry<'a> {
    name: &'a [u8],
    facts: Facts,
}

/// Little-endian fields, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An entry of the central directory.
    fn entry(&mut self) -> Option<Entry<'a>> {
        self.rest = self.rest.strip_prefix(MEMBER_MAGIC)?;
        let _versions = self.u32()?;
        let (flags, method) = (self.u16()?, self.u16()?);
        let (_time_and_date, crc) = (self.u32()?, self.u32()?);
        let (compressed, uncompressed) = (self.u32()?, self.u32()?);
        let (name_len, extra_len, comment_len) = (self.u16()?, self.u16()?, self.u16()?);
        let _disk_and_attributes = self.u64()?;
        let header_offset = self.u32()?;
        let name = self.take(name_len.into())?;
        let extra = Fields { rest: self.take(extra_len.into())? };
        self.take(comment_len.into())?;

        // A saturated field stands in the zip64 extra field instead, in this order.
        let mut wide = extra.zip64();
        let mut widen = |narrow: u32| if narrow == u32::MAX { wide.u64() } else { Some(narrow.into()) };
        let (len, compressed_len, header_offset) = (widen(uncompressed)?, widen(compressed)?, widen(header_offset)?);
        let is_encrypted = flags & ENCRYPTED_FLAG != 0;
        Some(Entry { name, facts: Facts { header_offset, method, is_encrypted, crc, compressed_len, len } })
    }

    /// The contents of the zip64 field among extra fields; empty if there is none.
    fn zip64(mut self) -> Fields<'a> {
        while let Some((id, len)) = self.u16().zip(self.u16()) {
            match self.take(len.into()) {
                Some(rest) if id == ZIP64_EXTRA_ID => return Fields { rest },
                Some(_) => {}
                None => break,
            }
        }
        Fields { rest: &[] }
    }
}
