use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Error;
use crate::train::{EpochReport, StepReport};

/// The training log: one JSON object a line, with an `event` each.
///
/// `start` holds the settings of the run, `resume` the last step that was kept, `step` and `epoch` what happened. Accuracies
/// are shares, 0 to 1.
#[derive(Debug)]
pub(crate) struct TrainingLog {
    path: PathBuf,
    file: File,
}

impl TrainingLog {
    /// A log that begins anew.
    pub(crate) fn create(path: PathBuf, settings: Value) -> Result<Self, Error> {
        let file = File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let mut log = Self { path, file };
        log.line("start", settings)?;
        Ok(log)
    }

    /// A log that goes on after `step`. A last line that was cut off is taken away.
    pub(crate) fn resume(path: PathBuf, step: u64, settings: Value) -> Result<Self, Error> {
        if !path.exists() {
            return Self::create(path, settings);
        }
        let file = open_after_last_line(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let mut log = Self { path, file };
        log.line("resume", json!({ "step": step }))?;
        Ok(log)
    }

    pub(crate) fn step(&mut self, report: &StepReport) -> Result<(), Error> {
        self.line(
            "step",
            json!({
                "step": report.step,
                "epoch": report.epoch,
                "loss": report.loss,
                "accuracy": report.accuracy,
                "learning_rate": report.learning_rate,
                "images_per_s": report.images_per_s,
            }),
        )
    }

    pub(crate) fn epoch(&mut self, report: &EpochReport) -> Result<(), Error> {
        self.line("epoch", report.describe())
    }

    fn line(&mut self, event: &str, mut facts: Value) -> Result<(), Error> {
        facts["event"] = event.into();
        let result = self.file.write_all(format!("{facts}\n").as_bytes());
        result.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

fn open_after_last_line(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    file.set_len(end as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_taken_away_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        TrainingLog::create(path.clone(), json!({ "seed": 1 })).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"event\":\"st").unwrap();
        TrainingLog::resume(path.clone(), 7, json!({})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"event\":\"start\",\"seed\":1}\n{\"event\":\"resume\",\"step\":7}\n");
    }

    #[test]
    fn resuming_without_a_log_begins_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        TrainingLog::resume(path.clone(), 7, json!({ "seed": 1 })).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"event\":\"start\",\"seed\":1}\n");
    }
}
