//! Memory-mapped files: the one place of this crate with `unsafe`.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::Error;

/// Maps a whole file for reading.
pub(crate) fn map(path: &Path) -> Result<Mmap, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(io(std::io::Error::other("it is no ordinary file")));
    }
    // SAFETY: The mapping is read-only and private to this process, and is only ever read as bytes, of which any value
    // is valid. Mapping is unsound if someone changes the file meanwhile; as with every program that maps its models,
    // model files must be left alone while they are read. Whatever bytes are seen are checked before they are used.
    unsafe { Mmap::map(&file) }.map_err(io)
}
