//! The members of an archive themselves: checked, inflated, written.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{METHOD_DEFLATED, METHOD_STORED, Member, data_place};
use crate::Error;
use crate::source::Source;

/// The most bytes that one byte of deflate stands for.
const MAX_DEFLATE_RATIO: u64 = 1032;
/// Members of this size and more need zip64.
const ZIP64_FROM_BYTES: u64 = u32::MAX as u64;

/// Begins a member of `len` bytes, stored as it is, whose data begin at a multiple of `alignment`.
pub(crate) fn new_member<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    name: &str,
    len: u64,
    alignment: u16,
) -> Result<(), Error> {
    // The time is left out, so that the same tensors always give the same file.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(len >= ZIP64_FROM_BYTES)
        .with_alignment(alignment);
    archive.start_file(name, options).map_err(|error| Error::Io(error.into()))
}

/// Compares a stored member with its checksum.
pub(crate) fn check<R: Read + Seek>(source: &mut Source<'_, R>, member: &Member) -> Result<(), Error> {
    let Some(place) = member.stored else { return Ok(()) };
    source.reader().seek(SeekFrom::Start(place.offset))?;
    let mut crc = CrcReader::new(Read::by_ref(source.reader()).take(place.len));
    io::copy(&mut crc, &mut io::sink())?;
    let found = crc.crc().sum();
    expect_crc(source, member, found, place.offset)
}

/// Writes an archive's members into an unnamed temporary file, as an archive in which all are stored; `None` if they
/// are already.
pub(crate) fn unpack<R: Read + Seek>(source: &mut Source<'_, R>, members: &[Member]) -> Result<Option<File>, Error> {
    if members.iter().all(|member| member.stored.is_some()) {
        return Ok(None);
    }
    let mut archive = ZipWriter::new(BufWriter::with_capacity(1 << 20, tempfile::tempfile()?));
    for member in members {
        let facts = member.facts;
        if facts.is_encrypted || !matches!(facts.method, METHOD_STORED | METHOD_DEFLATED) {
            let how = if facts.is_encrypted { "encrypted" } else { "compressed, but not by deflate" };
            return Err(Error::Unsupported {
                format: source.format(),
                what: format!("its member \"{}\" is {how}; unpack and store it again", member.name),
            });
        }
        let place = data_place(source, facts.header_offset, facts.compressed_len)?;
        let is_deflated = facts.method == METHOD_DEFLATED;
        let most = if is_deflated { (facts.compressed_len + 1).saturating_mul(MAX_DEFLATE_RATIO) } else { place.len };
        if facts.len > most {
            let what = format!("member \"{}\" cannot hold the {} bytes that it claims", member.name, facts.len);
            return Err(source.corrupt(place.offset, what));
        }
        new_member(&mut archive, &member.name, facts.len, 1)
            .map_err(|error| source.corrupt(place.offset, format!("member \"{}\": {error}", member.name)))?;
        source.reader().seek(SeekFrom::Start(place.offset))?;
        let packed = Read::by_ref(source.reader()).take(place.len);
        let plain: Box<dyn Read + '_> =
            if is_deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
        // One byte more, to notice a member that is longer than it says.
        let copied = copy(plain.take(facts.len.saturating_add(1)), &mut archive);
        let (n_bytes, crc) = match copied {
            Ok(copied) => copied,
            Err(error) if is_of_the_data(&error) => {
                return Err(source.corrupt(place.offset, format!("member \"{}\": {error}", member.name)));
            }
            Err(error) => return Err(Error::Io(error)),
        };
        if n_bytes != facts.len {
            let what = format!("member \"{}\" is not as long as the zip directory says", member.name);
            return Err(source.corrupt(place.offset, what));
        }
        expect_crc(source, member, crc, place.offset)?;
    }
    let writer = archive.finish().map_err(|error| Error::Io(error.into()))?;
    Ok(Some(writer.into_inner().map_err(|error| Error::Io(error.into_error()))?))
}

/// Whether inflating failed because of what was inflated.
fn is_of_the_data(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Number and checksum of the bytes copied.
fn copy(reader: impl Read, writer: &mut impl Write) -> io::Result<(u64, u32)> {
    let mut reader = CrcReader::new(reader);
    let n_bytes = io::copy(&mut reader, writer)?;
    Ok((n_bytes, reader.crc().sum()))
}

fn expect_crc<R: Read + Seek>(source: &Source<'_, R>, member: &Member, crc: u32, offset: u64) -> Result<(), Error> {
    if crc == member.facts.crc {
        return Ok(());
    }
    Err(source.corrupt(offset, format!("member \"{}\" does not have the checksum that it should have", member.name)))
}
