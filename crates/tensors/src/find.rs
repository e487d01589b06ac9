//! Telling formats apart by content, and the promise that anything can be laid out.

use std::io::{Read, Seek};

use crate::source::Source;
use crate::{Error, FileFormat, Layout, archive, gguf, npy, safetensors, torch};

/// Enough of a file's start to tell its format.
pub(crate) const HEAD_BYTES: u64 = 16;

/// Finds the tensors of a file, whatever it is.
///
/// The format is told by content. A file of no known format, or one that breaks the rules of the format it seems to
/// have, is [`FileFormat::Raw`]: one span of bytes, named "", from start to end (none for an empty file), and in the
/// second case [`Layout::note`] says what was wrong. Only headers are read. The reader is measured from its absolute
/// start, and left at an unspecified place.
///
/// # Errors
/// [`Error::Io`] when reading fails; nothing else.
pub fn find_spans<R: Read + Seek>(reader: &mut R) -> Result<Layout, Error> {
    let mut source = Source::new(reader, FileFormat::Raw)?;
    let file_len = source.file_len();
    let head = source.read_at("first bytes", 0, file_len.min(HEAD_BYTES), HEAD_BYTES)?;
    let Some(format) = guess_format(&head) else { return Ok(Layout::raw(file_len, None)) };
    source.set_format(format);
    let found = match format {
        FileFormat::Safetensors => safetensors::read_layout(&mut source),
        FileFormat::Npy => npy::read_layout(&mut source),
        FileFormat::Npz => read_archive_layout(&mut source),
        FileFormat::Gguf => gguf::read_layout(&mut source),
        FileFormat::Torch => Err(torch::legacy()),
        FileFormat::Raw => Ok(Layout::raw(file_len, None)),
    };
    match found {
        Err(Error::Io(error)) => Err(Error::Io(error)),
        Err(reason) => Ok(Layout::raw(file_len, Some(format!("treated as raw bytes: {reason}")))),
        Ok(layout) => Ok(layout),
    }
}

/// The format that the first bytes announce: of an archive always [`FileFormat::Npz`], of a PyTorch file the old kind.
pub(crate) fn guess_format(head: &[u8]) -> Option<FileFormat> {
    match head {
        [b'G', b'G', b'U', b'F', ..] => Some(FileFormat::Gguf),
        [b'P', b'K', 3, 4, ..] => Some(FileFormat::Npz),
        _ if head.starts_with(npy::MAGIC) => Some(FileFormat::Npy),
        _ if head.starts_with(torch::LEGACY_MAGIC) => Some(FileFormat::Torch),
        // A header's length, then a JSON object.
        [_, _, _, _, _, _, _, _, b'{', ..] => Some(FileFormat::Safetensors),
        _ => None,
    }
}

/// Tells by its members what a zip archive is.
fn read_archive_layout<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Layout, Error> {
    if !archive::first_member_name(source)?.ends_with(b".npy") {
        source.set_format(FileFormat::Torch);
    }
    let members = archive::members(source)?;
    if let Some(prefix) = torch::archive_prefix(&members) {
        source.set_format(FileFormat::Torch);
        torch::read_layout(source, &members, prefix)
    } else if npy::has_arrays(&members) {
        source.set_format(FileFormat::Npz);
        npy::read_archive_layout(source, &members)
    } else {
        Err(unknown_archive(source.format()))
    }
}

/// What is said of an archive of something else.
pub(crate) fn unknown_archive(format: FileFormat) -> Error {
    Error::Unsupported { format, what: "a zip archive that holds neither PyTorch's data.pkl nor arrays".to_owned() }
}
