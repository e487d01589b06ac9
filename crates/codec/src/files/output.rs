//! Outputs that get their name when they are finished.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Place;
use crate::Error;

/// Where an output will lie if it is, or will be, a plain file; the target of a symbolic link is replaced, not the link.
pub(super) fn plain_target(output: &Place) -> Option<PathBuf> {
    let Place::File(path) = output else { return None };
    let path = path.canonicalize().unwrap_or_else(|_| path.clone());
    path.metadata().map_or(true, |metadata| metadata.is_file()).then_some(path)
}

pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An output that exists under its name only once it is finished.
pub(super) enum Output {
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
    /// Standard output, a device or a pipe: written to, never replaced.
    Stream {
        spool: File,
        place: Place,
    },
}

impl Output {
    pub(super) fn create(place: &Place) -> Result<Self, Error> {
        let Some(path) = plain_target(place) else {
            if let Place::File(path) = place
                && path.is_dir()
            {
                let source = io::ErrorKind::IsADirectory.into();
                return Err(Error::File { action: "write", path: path.clone(), source });
            }
            return Ok(Self::Stream { spool: tempfile::tempfile()?, place: place.clone() });
        };
        let directory = directory_of(&path);
        // The error itself would name the temporary file.
        let temporary = usual_permissions(tempfile::Builder::new().prefix(".lmgc-").suffix(".tmp"))
            .tempfile_in(directory)
            .map_err(|error| Error::File {
                action: "write into directory",
                path: directory.to_owned(),
                source: error.kind().into(),
            })?;
        Ok(Self::File { temporary, path })
    }

    /// Where to write.
    pub(super) fn file(&mut self) -> &mut File {
        match self {
            Self::File { temporary, .. } => temporary.as_file_mut(),
            Self::Stream { spool, .. } => spool,
        }
    }

    /// Flushes what was written to disk and gives it its name.
    pub(super) fn finish(self, force: bool) -> Result<(), Error> {
        match self {
            Self::Stream { mut spool, place } => {
                spool.seek(SeekFrom::Start(0))?;
                let mut stream: Box<dyn Write> = match &place {
                    Place::Standard => Box::new(io::stdout().lock()),
                    Place::File(path) => {
                        Box::new(File::options().write(true).open(path).map_err(|source| Error::File {
                            action: "write",
                            path: path.clone(),
                            source,
                        })?)
                    }
                };
                io::copy(&mut spool, &mut stream).and_then(|_| stream.flush()).map_err(|error| named(error, &place))?;
                Ok(())
            }
            Self::File { temporary, path } => {
                let fail = |source| Error::File { action: "write", path: path.clone(), source };
                temporary.as_file().sync_all().map_err(fail)?;
                let persisted = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
                match persisted {
                    Ok(_) => {
                        sync_directory(directory_of(&path));
                        Ok(())
                    }
                    Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::OutputExists { path }),
                    Err(e) => Err(fail(e.error)),
                }
            }
        }
    }
}

/// Temporary files are private by default; an output gets the permissions of any new file.
#[cfg(unix)]
fn usual_permissions<'a, 'b, 'c>(builder: &'a mut tempfile::Builder<'b, 'c>) -> &'a mut tempfile::Builder<'b, 'c> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn usual_permissions<'a, 'b, 'c>(builder: &'a mut tempfile::Builder<'b, 'c>) -> &'a mut tempfile::Builder<'b, 'c> {
    builder
}

/// Flushes the new name to disk, so that it survives a crash of the system. Not every system and file system can; the file is
/// whole under its old or its new name either way.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

/// A file being written, whose errors say which one it is.
pub(super) struct Named<'a> {
    file: &'a mut File,
    place: &'a Place,
}

impl<'a> Named<'a> {
    /// The file behind an output that will be at this place.
    pub(super) fn new(file: &'a mut File, place: &'a Place) -> Self {
        Self { file, place }
    }

    fn name(&self, error: io::Error) -> io::Error {
        named(error, self.place)
    }
}

/// The error, with what could not be written.
fn named(error: io::Error, place: &Place) -> io::Error {
    match (error.kind(), place) {
        // Callers try again after these.
        (io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock, _) => error,
        (kind, Place::Standard) => io::Error::new(kind, format!("cannot write to standard output: {error}")),
        (kind, Place::File(path)) => io::Error::new(kind, format!("cannot write {}: {error}", path.display())),
    }
}

impl Read for Named<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| self.name(error))
    }
}

impl Write for Named<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer).map_err(|error| self.name(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.name(error))
    }
}

impl Seek for Named<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to).map_err(|error| self.name(error))
    }
}
