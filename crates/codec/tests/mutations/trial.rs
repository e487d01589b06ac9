//! What a damaged file ends in.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use lmgc_codec::files::{FileOptions, Place, decompress_tensor};
use lmgc_codec::{Error, NoProgress, decompress, inspect};
use lmgc_container::Error as ContainerError;
use tempfile::TempDir;

use crate::cases::Models;
use crate::damage::{Case, Kind, Subject, Subjects};
use crate::watch::{Panics, Watchdog};

/// The longest that a case may take.
const MAX_TIME: Duration = Duration::from_secs(2);
/// One case in so many is read by way of the index, too.
const SEEK_EVERY: usize = 8;

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
        // In memory where the system has such a place: outputs are flushed to the disk.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        // Every file is offered a reference, so that no setting makes one missing.
        let some = subjects.all.iter().find_map(|subject| subject.reference);
        let models = subjects.all.iter().map(|subject| subjects.needs.models(subject.reference.or(some))).collect();
        let output = tempfile::tempfile_in(&directory).unwrap();
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
            Ok(decoded) if self.is_an_original(&decoded, self.subjects.of(case)) => "right bytes",
            Ok(_) => return Err("wrong bytes under the right hash".to_owned()),
            Err(error) => class(&error)?,
        };
        let tensors = match inspect(Cursor::new(bytes)) {
            Ok(inspection) => inspection.tensors,
            Err(error) => {
                class(&error)?;
                Vec::new()
            }
        };
        // Single bits are no multiples of anything: their bytes are.
        let turn = if case.kind == Kind::Flip { case.number / 8 + case.number % 8 } else { case.number };
        if turn % SEEK_EVERY == 0
            && let Some(tensor) = tensors.get(case.number / SEEK_EVERY % tensors.len().max(1))
        {
            self.read_tensor(case, bytes, &tensor.name)?;
        }
        Ok(outcome)
    }

    fn decoded(&self, case: &Case, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = &self.output;
        output.set_len(0)?;
        output.seek(SeekFrom::Start(0))?;
        decompress(bytes, &mut output, &self.models[case.subject], &NoProgress)?;
        let mut decoded = Vec::new();
        output.seek(SeekFrom::Start(0))?;
        output.read_to_end(&mut decoded)?;
        Ok(decoded)
    }

    /// Damage may make one file of another.
    fn is_an_original(&self, decoded: &[u8], own: &Subject) -> bool {
        decoded == own.original || self.subjects.all.iter().any(|subject| decoded == subject.original)
    }

    fn read_tensor(&self, case: &Case, bytes: &[u8], name: &str) -> Result<(), String> {
        let [input, output] = ["damaged.lmgc", "tensor"].map(|name| self.directory.path().join(name));
        std::fs::write(&input, bytes).map_err(|error| error.to_string())?;
        let options = FileOptions { force: true, models: &self.models[case.subject], progress: &NoProgress };
        match decompress_tensor(&Place::new(&input), name, &Place::new(&output), &options) {
            Ok(_) => Ok(()),
            Err(error) => class(&error).map(|_| ()).map_err(|what| format!("as a tensor: {what}")),
        }
    }
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
        Error::HashMismatch => "hash",
        _ => "corrupt",
    })
}
