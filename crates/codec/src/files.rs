//! Files: temporary outputs, renaming, verification.
//!
//! An output is written beside its final place under a temporary name, flushed to disk, and renamed when all is well. Until
//! then what was there stays, and after an error nothing is left behind: but for the progress of a resumable compression.

mod output;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use self::output::{Named, Output, directory_of, plain_target};
use crate::compress::compress_with;
use crate::decompress::verify;
use crate::journal::{self, Journal};
use crate::{
    CompressOptions, CompressReport, DecompressReport, EarlierRun, Error, Inspection, ModelSource, Progress,
    SalvageReport, Stage, compress, decompress, inspect, salvage, verify_against,
};

/// Ending of compressed files.
pub const EXTENSION: &str = "lmgc";

/// The name that stands for standard input or output.
pub const STANDARD_STREAM: &str = "-";

/// Where an input comes from or an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard input or output.
    Standard,
    /// A file.
    File(PathBuf),
}

impl Place {
    /// `-` is a standard stream, everything else a file.
    pub fn new(path: &Path) -> Self {
        if path.as_os_str() == STANDARD_STREAM { Self::Standard } else { Self::File(path.to_owned()) }
    }

    /// The path, or `-`.
    pub fn as_path(&self) -> &Path {
        match self {
            Self::Standard => Path::new(STANDARD_STREAM),
            Self::File(path) => path,
        }
    }

    /// The compressed file's place when none is named: IN.lmgc, or standard output for standard input.
    pub fn compressed(&self) -> Self {
        match self {
            Self::Standard => Self::Standard,
            Self::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".");
                name.push(EXTENSION);
                Self::File(name.into())
            }
        }
    }

    /// The original's place when none is named: without the ending.
    ///
    /// # Errors
    /// [`Error::NoOutputName`] where the name does not end in `.lmgc`.
    pub fn decompressed(&self) -> Result<Self, Error> {
        match self {
            Self::Standard => Ok(Self::Standard),
            Self::File(path) if path.extension().is_some_and(|extension| extension == EXTENSION) => {
                Ok(Self::File(path.with_extension("")))
            }
            Self::File(path) => Err(Error::NoOutputName { path: path.clone() }),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str(STANDARD_STREAM),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What is common to all jobs on files.
pub struct FileOptions<'a> {
    /// Replace an existing output.
    pub force: bool,
    /// Where models come from.
    pub models: &'a dyn ModelSource,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

/// Compresses a file; with `verify`, decodes the result and compares it before it gets its name.
///
/// # Errors
/// As [`compress`] and [`verify_against`]; [`Error::OutputExists`] without `force`.
pub fn compress_file(
    input: &Place,
    output: &Place,
    options: &CompressOptions<'_>,
    verify: bool,
    files: &FileOptions<'_>,
) -> Result<CompressReport, Error> {
    check_output(input, output, files.force)?;
    let mut source = open_seekable(input)?;
    let mut target = Output::create(output)?;
    let file = Named::new(target.file(), output);
    let report = compress(&mut source, &mut BufWriter::new(file), options, files.progress)?;
    if verify {
        target.file().seek(SeekFrom::Start(0))?;
        verify_against(BufReader::new(target.file()), &mut source, files.models, files.progress)?;
    }
    target.finish(files.force)?;
    Ok(report)
}

/// As [`compress_file`], for long jobs: every coded block is kept in the file `OUTPUT.part` until the output has its name. A
/// later call for the same input and options, after this one was killed or failed, goes on where it ended and writes the
/// same bytes; with `restart`, or where anything differs, it begins afresh. Only one process at a time can work on an output
/// in this way. Standard streams and special files are compressed without keeping anything.
///
/// # Errors
/// As [`compress_file`]; [`Error::OutputBusy`], and [`Error::NotAJournal`] without `restart`. `OUTPUT.part` stays after an
/// error that its blocks have no part in, such as a full disk, and is removed after any other.
pub fn compress_file_resumable(
    input: &Place,
    output: &Place,
    options: &CompressOptions<'_>,
    verify: bool,
    restart: bool,
    files: &FileOptions<'_>,
) -> Result<CompressReport, Error> {
    check_output(input, output, files.force)?;
    let (Place::File(_), Some(path)) = (input, plain_target(output)) else {
        return compress_file(input, output, options, verify, files);
    };
    let mut journal_path = path.clone().into_os_string();
    journal_path.push(".");
    journal_path.push(journal::EXTENSION);
    let mut journal = match Journal::open(Path::new(&journal_path), &path, restart) {
        Ok(journal) => journal,
        Err(error @ (Error::OutputBusy { .. } | Error::NotAJournal { .. })) => return Err(error),
        Err(error) => {
            files.progress.earlier_run(&EarlierRun::NotKept { reason: error.to_string() });
            return compress_file(input, output, options, verify, files);
        }
    };
    let result = compress_with_journal(input, output, options, verify, &mut journal, files);
    let is_of_use = match &result {
        Ok(_) => false,
        // What an earlier run left is not this one's to remove before its job is known to be another.
        Err(_) if !journal.has_begun() => !journal.is_new(),
        Err(error) => journal.n_records() > 0 && error.leaves_coded_blocks_good(),
    };
    if !is_of_use {
        journal.remove();
    }
    result
}

fn compress_with_journal(
    input: &Place,
    output: &Place,
    options: &CompressOptions<'_>,
    verify: bool,
    journal: &mut Journal,
    files: &FileOptions<'_>,
) -> Result<CompressReport, Error> {
    let mut source = open_seekable(input)?;
    // Unnamed, so that nothing but the journal is left if the process is killed.
    let mut spool = tempfile::tempfile_in(directory_of(journal.path()))?;
    let report = compress_with(&mut source, &mut BufWriter::new(&mut spool), options, Some(journal), files.progress)?;
    if verify {
        spool.seek(SeekFrom::Start(0))?;
        verify_against(BufReader::new(&mut spool), &mut source, files.models, files.progress)?;
    }
    spool.seek(SeekFrom::Start(0))?;
    let mut target = Output::create(output)?;
    io::copy(&mut spool, &mut Named::new(target.file(), output))?;
    target.finish(files.force)?;
    Ok(report)
}

/// Decompresses a file.
///
/// # Errors
/// As [`decompress`]; [`Error::OutputExists`] without `force`.
pub fn decompress_file(input: &Place, output: &Place, files: &FileOptions<'_>) -> Result<DecompressReport, Error> {
    check_output(input, output, files.force)?;
    let source = open(input)?;
    let mut target = Output::create(output)?;
    let report = decompress(source, &mut Named::new(target.file(), output), files.models, files.progress)?;
    target.finish(files.force)?;
    Ok(report)
}

/// What decompressing one tensor came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorReport {
    /// The tensor's length.
    pub raw_bytes: u64,
    /// Bytes that were read of the compressed file: header, index, and the tensor's blocks.
    pub read_bytes: u64,
}

/// Decompresses one tensor's bytes, reading only what it needs.
///
/// # Errors
/// As [`decompress_file`]; [`Error::NoSuchTensor`], [`Error::TensorHashMismatch`].
pub fn decompress_tensor(
    input: &Place,
    name: &str,
    output: &Place,
    files: &FileOptions<'_>,
) -> Result<TensorReport, Error> {
    check_output(input, output, files.force)?;
    let mut source = Counted { input: open_seekable(input)?.into_inner(), n_bytes: 0 };
    let mut target = Output::create(output)?;
    let raw_bytes = crate::decompress::tensor(&mut source, name, &mut Named::new(target.file(), output), files.models)?;
    target.finish(files.force)?;
    Ok(TensorReport { raw_bytes, read_bytes: source.n_bytes })
}

/// Counts the bytes that are read.
struct Counted<R> {
    input: R,
    n_bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.input.read(buffer)?;
        self.n_bytes += n_bytes as u64;
        Ok(n_bytes)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// Checks all checksums, decodes every block and compares all hashes, keeping nothing.
///
/// # Errors
/// As [`decompress`]; [`Error::Damaged`], which tells what is hit, for a damaged file whose header is whole.
pub fn verify_file(input: &Place, files: &FileOptions<'_>) -> Result<DecompressReport, Error> {
    let mut source = open_seekable(input)?;
    // The hashes run over the file in order, the blocks come in another: what is decoded waits in an unnamed file.
    match verify(&mut source, &mut tempfile::tempfile()?, files.models, files.progress) {
        Err(error) if error.is_damage() => {
            let mut restored = tempfile::tempfile()?;
            match salvage(source, &mut restored, files.models, files.progress, Stage::Verify) {
                Ok(damage) => Err(Error::Damaged { source: Box::new(error), damage: Box::new(damage) }),
                Err(unreadable) if unreadable.is_damage() => Err(error),
                Err(other) => Err(other),
            }
        }
        verified => verified,
    }
}

/// Restores what is whole in a damaged file, with zeros for the rest; see [`salvage`].
///
/// # Errors
/// As [`salvage`]; [`Error::OutputExists`] without `force`.
pub fn salvage_file(input: &Place, output: &Place, files: &FileOptions<'_>) -> Result<SalvageReport, Error> {
    check_output(input, output, files.force)?;
    let source = open_seekable(input)?;
    let mut target = Output::create(output)?;
    let report = salvage(source, target.file(), files.models, files.progress, Stage::Decompress)?;
    target.finish(files.force)?;
    Ok(report)
}

/// Reads a file's header and index.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_file(input: &Place) -> Result<Inspection, Error> {
    inspect(open_seekable(input)?)
}

/// Refuses an output that would replace the input, or anything else without `force`.
fn check_output(input: &Place, output: &Place, force: bool) -> Result<(), Error> {
    let Place::File(path) = output else { return Ok(()) };
    let same = |input: &Path| match (input.canonicalize(), path.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    match input {
        Place::File(input) if same(input) => Err(Error::OutputIsInput { path: path.clone() }),
        _ if !force && path.is_file() => Err(Error::OutputExists { path: path.clone() }),
        _ => Ok(()),
    }
}

fn open_file(path: &Path) -> Result<File, Error> {
    let fail = |source| Error::File { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Ok(file)
}

fn open(input: &Place) -> Result<Box<dyn Read>, Error> {
    Ok(match input {
        Place::Standard => Box::new(io::stdin().lock()),
        Place::File(path) => Box::new(BufReader::new(open_file(path)?)),
    })
}

/// Opens an input that can be read at any place: a file as it is, standard input by way of an unnamed temporary file.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read; [`Error::Io`].
pub fn open_seekable(input: &Place) -> Result<BufReader<File>, Error> {
    let file = match input {
        Place::File(path) => open_file(path)?,
        Place::Standard => {
            let mut spool = tempfile::tempfile()?;
            io::copy(&mut io::stdin().lock(), &mut spool)?;
            spool.seek(SeekFrom::Start(0))?;
            spool
        }
    };
    Ok(BufReader::new(file))
}

/// Writes a whole file under a temporary name and renames it; `-` is standard output.
///
/// # Errors
/// [`Error::OutputExists`] without `force`; where writing fails.
pub fn write_atomically(path: &Path, bytes: &[u8], force: bool) -> Result<(), Error> {
    write_atomically_with(&Place::Standard, &Place::new(path), force, |file| Ok(file.write_all(bytes)?))
}

/// Makes a file from `input` under a temporary name and renames it when `write` is done. The file that `write` gets is
/// empty, and may be read, too.
///
/// # Errors
/// [`Error::OutputExists`] without `force`; [`Error::OutputIsInput`]; where writing fails; what `write` says.
pub fn write_atomically_with<T, E: From<Error>>(
    input: &Place,
    output: &Place,
    force: bool,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    check_output(input, output, force)?;
    let mut target = Output::create(output)?;
    let written = write(target.file())?;
    target.finish(force)?;
    Ok(written)
}
