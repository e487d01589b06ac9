//! Unpacks downloaded archives: first beside their place, and nothing outside it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{DataProgress, DataWork, bad, unreadable, unwritable};
use crate::Error;

const BUFFER_BYTES: usize = 1 << 18;

/// What an archive should hold.
pub(super) struct Archive {
    /// The one folder in which everything lies.
    pub(super) folder: &'static str,
    /// The most that all files may have together.
    pub(super) max_bytes: u64,
    /// The most files and folders.
    pub(super) max_entries: usize,
}

/// Unpacks a gzipped tar file, so that its folder stands in `into`.
pub(super) fn unpack_tar_gz(
    path: &Path,
    into: &Path,
    archive: &Archive,
    progress: &dyn DataProgress,
) -> Result<(), Error> {
    unpack(path, into, archive, progress, |file, target| {
        let broken = |error: io::Error| bad(path, format!("not a readable .tar.gz archive ({error})"));
        let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::new(Counted { file, progress })));
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = entry.path().map_err(broken)?.into_owned();
            let kind = entry.header().entry_type();
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => target.folder(&name)?,
                (_, true) => target.file(&name, &mut entry)?,
                _ => return Err(bad(path, format!("{} is neither file nor folder", name.display()))),
            }
        }
        // A checksum stands at the very end, after padding.
        let mut rest = tar.into_inner().take(archive.max_bytes.saturating_add(1 << 20));
        io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
        Ok(())
    })
}

/// Unpacks a zip file, so that its folder stands in `into`.
pub(super) fn unpack_zip(
    path: &Path,
    into: &Path,
    archive: &Archive,
    progress: &dyn DataProgress,
) -> Result<(), Error> {
    unpack(path, into, archive, progress, |file, target| {
        let broken = |error: zip::result::ZipError| bad(path, format!("not a readable .zip archive ({error})"));
        let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        for at in 0..zip.len() {
            let mut entry = zip.by_index(at).map_err(broken)?;
            let name = PathBuf::from(entry.name().map_err(broken)?.into_owned());
            if entry.is_symlink() {
                return Err(bad(path, format!("{} is neither file nor folder", name.display())));
            }
            if entry.is_dir() {
                target.folder(&name)?;
            } else {
                target.file(&name, &mut entry)?;
            }
            progress.advance(entry.compressed_size());
        }
        Ok(())
    })
}

fn unpack(
    path: &Path,
    into: &Path,
    archive: &Archive,
    progress: &dyn DataProgress,
    extract: impl FnOnce(File, &mut Target<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let place = into.join(archive.folder);
    if place.exists() {
        return Err(bad(&place, "it lacks files of the data set, and is not overwritten: remove it"));
    }
    let file = File::open(path).map_err(unreadable(path))?;
    let n_bytes = file.metadata().map_err(unreadable(path))?.len();
    // A dot and a random name: no other run takes it for its own, and none takes it for the data set.
    let temporary = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(into).map_err(unwritable(into))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    progress.begin(DataWork::Unpack { file: &name }, n_bytes, 0);
    let mut target = Target {
        archive: path,
        root: temporary.path(),
        folder: archive.folder,
        n_bytes_left: archive.max_bytes,
        n_entries_left: archive.max_entries,
    };
    let extracted = extract(file, &mut target);
    progress.end();
    extracted?;
    let unpacked = temporary.path().join(archive.folder);
    if !unpacked.is_dir() {
        return Err(bad(path, format!("it has no folder {}", archive.folder)));
    }
    fs::rename(&unpacked, &place).map_err(unwritable(&place))
}

/// Where entries go, and how much may still come.
struct Target<'a> {
    archive: &'a Path,
    root: &'a Path,
    folder: &'a str,
    n_bytes_left: u64,
    n_entries_left: usize,
}

impl Target<'_> {
    /// Where the entry of this name belongs; it lies in the archive's folder for sure.
    fn place(&mut self, name: &Path) -> Result<PathBuf, Error> {
        self.n_entries_left = self
            .n_entries_left
            .checked_sub(1)
            .ok_or_else(|| bad(self.archive, "it has many more files than the published archive"))?;
        let mut parts = name.components().filter(|part| *part != Component::CurDir).peekable();
        let is_ours = parts.peek() == Some(&Component::Normal(self.folder.as_ref()));
        if !is_ours || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(bad(self.archive, format!("{name:?} lies outside its folder {}", self.folder)));
        }
        Ok(self.root.join(name))
    }

    fn folder(&mut self, name: &Path) -> Result<(), Error> {
        let place = self.place(name)?;
        fs::create_dir_all(&place).map_err(unwritable(&place))
    }

    fn file(&mut self, name: &Path, content: &mut dyn Read) -> Result<(), Error> {
        let place = self.place(name)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(unwritable(folder))?;
        }
        let mut file = File::create_new(&place).map_err(unwritable(&place))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n_bytes = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n_bytes) => n_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(bad(self.archive, format!("{} is damaged ({error})", name.display()))),
            };
            self.n_bytes_left = self
                .n_bytes_left
                .checked_sub(n_bytes as u64)
                .ok_or_else(|| bad(self.archive, "unpacked, it is much larger than the published archive"))?;
            file.write_all(&buffer[..n_bytes]).map_err(unwritable(&place))?;
        }
    }
}

/// Tells how much of the archive has been read.
struct Counted<'a> {
    file: File,
    progress: &'a dyn DataProgress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.file.read(buffer)?;
        self.progress.advance(n_bytes as u64);
        Ok(n_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests;
