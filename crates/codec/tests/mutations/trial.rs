//! What a damaged file ends in.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use lmgc_codec::files::{FileOptions, Place, decompress_tensor};
use lmgc_codec::{Error, NoProgress, Stage, decompress, salvage};
use lmgc_codec::{Inspection, inspect};
use lmgc_container::{Error as ContainerError, SeekReader};
use tempfile::TempDir;

use crate::cases::Models;
use crate::damage::{Case, Kind, Subjects};
use crate::watch::{Panics, Watchdog};

/// The longest that a case may take.
const MAX_TIME: Duration = Duration::from_secs(2);
/// One case in so many is read by way of the index, too, and another one salvaged.
const OTHER_WAYS_EVERY: usize = 8;

/// How a case may end: in the right bytes, or in an error of one of the classes of `docs/format.md`.
pub(crate) const OUTCOMES: [&str; 9] =
    ["right bytes", "not lmgc", "unsupported", "truncated", "corrupt", "limit", "model", "reference", "hash"];

/// What came of a case.
pub(crate) struct Trial {
    /// What was done to the file.
    pub(crate) what: &'static str,
    /// One of [`OUTCOMES`], or what is wrong.
    pub(crate) outcome: Result<&'static str, String>,
    pub(crate) time: Duration,
}

/// What cases are run with.
pub(crate) struct Trials<'a> {
    subjects: &'a Subjects,
    models: Vec<Models<'a>>,
    directory: TempDir,
    output: File,
    watchdog: Watchdog,
    panics: Panics,
}

impl<'a> Trials<'a> {
    pub(crate) fn new(subjects: &'a Subjects) -> Self {
        // In memory where the system has such a place: tensors are flushed to the disk.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        // Every file is offered a reference, so that no setting makes one missing.
        let some = subjects.all.iter().find_map(|subject| subject.reference);
        let models = subjects.all.iter().map(|subject| subjects.needs.models(subject.reference.or(some))).collect();
        // On a disk: file systems there refuse places far beyond what they hold.
        let output = tempfile::tempfile().unwrap();
        Self { subjects, models, directory, output, watchdog: Watchdog::start(), panics: Panics::new() }
    }

    /// Decodes the whole, and in some cases a tensor, and reads what the file says of itself.
    pub(crate) fn run(&self, case: &Case) -> Trial {
        let (bytes, what) = self.subjects.damaged(case);
        let mut best: Option<Trial> = None;
        // A case that took too long has two more chances: something else may have kept the machine busy.
        for _ in 0..3 {
            let start = Instant::now();
            self.watchdog.begin(|| self.subjects.describe(case));
            let mut outcome = self.panics.catch(|| self.judge(case, &bytes)).flatten();
            self.watchdog.end();
            let time = start.elapsed();
            if time > MAX_TIME && outcome.is_ok() {
                outcome = Err(format!("took {time:.1?}"));
            }
            best = best.into_iter().chain([Trial { what, outcome, time }]).min_by_key(|trial| trial.time);
            if time <= MAX_TIME {
                break;
            }
        }
        best.unwrap()
    }

    fn judge(&self, case: &Case, bytes: &[u8]) -> Result<&'static str, String> {
        let outcome = match self.decoded(case, bytes) {
            Ok(decoded) if self.is_an_original(&decoded) => "right bytes",
            Ok(_) => return Err("wrong bytes under the right hash".to_owned()),
            Err(error) => class(&error)?,
        };
        let inspection = inspect(Cursor::new(bytes)).map_err(|error| class(&error));
        // Single bits are no multiples of anything: their bytes are.
        let turn = if case.kind == Kind::Flip { case.number / 8 + case.number % 8 } else { case.number };
        match (inspection, turn % OTHER_WAYS_EVERY) {
            (Err(Err(what)), _) => return Err(format!("when inspected: {what}")),
            (Ok(inspection), 0) => self.read_tensor(case, bytes, &inspection)?,
            (_, 1) => self.salvage(case, bytes)?,
            _ => {}
        }
        Ok(outcome)
    }

    fn decoded(&self, case: &Case, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = self.empty_output()?;
        decompress(bytes, &mut output, &self.models[case.subject], &NoProgress)?;
        Ok(read_all(output)?)
    }

    fn empty_output(&self) -> std::io::Result<File> {
        let mut output = self.output.try_clone()?;
        output.set_len(0)?;
        output.seek(SeekFrom::Start(0))?;
        Ok(output)
    }

    /// Damage may make one file of another.
    fn is_an_original(&self, decoded: &[u8]) -> bool {
        self.subjects.all.iter().any(|subject| decoded == subject.original)
    }

    /// Reads a tensor by way of the index. What has a hash must have it.
    fn read_tensor(&self, case: &Case, bytes: &[u8], inspection: &Inspection) -> Result<(), String> {
        let n_tensors = inspection.tensors.len();
        let Some(tensor) = inspection.tensors.get(case.number / OTHER_WAYS_EVERY % n_tensors.max(1)) else {
            return Ok(());
        };
        let [input, output] = ["damaged.lmgc", "tensor"].map(|name| self.directory.path().join(name));
        std::fs::write(&input, bytes).map_err(|error| error.to_string())?;
        let options = FileOptions { force: true, models: &self.models[case.subject], progress: &NoProgress };
        match decompress_tensor(&Place::new(&input), &tensor.name, &Place::new(&output), &options) {
            Ok(_) => {
                let found = std::fs::read(&output).map_err(|error| error.to_string())?;
                let reader = SeekReader::open(Cursor::new(bytes)).map_err(|error| error.to_string())?;
                let at = reader.header().tensors.iter().position(|other| other.name == tensor.name);
                let expected = at.and_then(|at| *reader.hashes().tensors.get(at)?);
                match expected {
                    Some(expected) if blake3::hash(&found) != expected => Err("a tensor without its hash".to_owned()),
                    _ => Ok(()),
                }
            }
            Err(error) => class(&error).map(|_| ()).map_err(|what| format!("as a tensor: {what}")),
        }
    }

    /// Restores what there is. What is said to be whole must be.
    fn salvage(&self, case: &Case, bytes: &[u8]) -> Result<(), String> {
        let io = |error: std::io::Error| error.to_string();
        let mut output = self.empty_output().map_err(io)?;
        let models = &self.models[case.subject];
        let report = match salvage(Cursor::new(bytes), &mut output, models, &NoProgress, Stage::Decompress) {
            Ok(report) => report,
            Err(error) => return class(&error).map(|_| ()).map_err(|what| format!("when salvaged: {what}")),
        };
        if report.is_whole && !self.is_an_original(&read_all(output.try_clone().map_err(io)?).map_err(io)?) {
            return Err("salvaged as a whole, but wrong".to_owned());
        }
        // Where nobody made checksums right, they tell what is damaged.
        if !case.is_repaired && matches!(case.kind, Kind::Truncation | Kind::Flip) {
            let restored = read_all(output).map_err(io)?;
            let own = self.subjects.of(case);
            let is_whole = |start: u64| report.damaged_tensors.iter().all(|tensor| tensor.offset != start);
            for tensor in own.tensors.iter().filter(|tensor| tensor.start < tensor.end && is_whole(tensor.start as u64))
            {
                if restored.get(tensor.clone()) != own.original.get(tensor.clone()) {
                    return Err(format!("the tensor at {} is salvaged, but wrong", tensor.start));
                }
            }
        }
        Ok(())
    }
}

fn read_all(mut file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The class of an error about a file, or what is wrong with it.
fn class(error: &Error) -> Result<&'static str, String> {
    if !error.is_bad_input() {
        return Err(format!("no error about a damaged file: {error:?}"));
    }
    Ok(match error {
        Error::Container(error) => match error {
            ContainerError::NotLmgc => "not lmgc",
            ContainerError::UnsupportedVersion { .. } | ContainerError::UnsupportedFeature { .. } => "unsupported",
            ContainerError::Truncated { .. } => "truncated",
            ContainerError::LimitExceeded { .. } => "limit",
            _ => "corrupt",
        },
        Error::ModelMismatch { .. } | Error::NumericsRevision { .. } | Error::VocabularyMismatch { .. } => "model",
        Error::ReferenceMismatch { .. } => "reference",
        Error::UnknownCodec { .. } => "unsupported",
        Error::HashMismatch | Error::TensorHashMismatch { .. } => "hash",
        _ => "corrupt",
    })
}
