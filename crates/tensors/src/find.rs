//! Telling formats apart by content, and the promise that anything can be laid out.

use std::io::{Read, Seek};

use crate::source::Source;
use crate::{Error, FileFormat, Layout, gguf, safetensors};

/// Enough of a file's start to tell its format.
const HEAD_BYTES: u64 = 16;

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
    let found = match guess_format(&head) {
        Some(format) => {
            source.set_format(format);
            match format {
                FileFormat::Gguf => gguf::read_layout(&mut source),
                _ => safetensors::read_layout(&mut source),
            }
        }
        None => return Ok(Layout::raw(file_len, None)),
    };
    match found {
        Err(Error::Io(error)) => Err(Error::Io(error)),
        Err(reason) => Ok(Layout::raw(file_len, Some(format!("treated as raw bytes: {reason}")))),
        Ok(layout) => Ok(layout),
    }
}

/// The format that the first bytes announce.
fn guess_format(head: &[u8]) -> Option<FileFormat> {
    match head {
        [b'G', b'G', b'U', b'F', ..] => Some(FileFormat::Gguf),
        // A header's length, then a JSON object.
        [_, _, _, _, _, _, _, _, b'{', ..] => Some(FileFormat::Safetensors),
        _ => None,
    }
}
