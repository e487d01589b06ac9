//! Training logs: JSON lines, one event each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Why a training log could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read training log {}: {source}", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A line before the last is not an event.
    #[error(
        "line {line} of the training log is no event ({reason}); remove the line, or give a log that `lmgc collect` wrote"
    )]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The same, of a file.
    #[error("training log {}: {source}", path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

/// What is known after an epoch. Accuracies are from 0 to 1; NaN where the log has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Share of the training images that were classified rightly.
    pub train_accuracy: f64,
    /// Share of the test images that were classified rightly.
    pub test_accuracy: f64,
}

/// A training run, as its log tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingLog {
    /// Data set; empty if not told. So are the next two.
    pub dataset: String,
    /// Network.
    pub arch: String,
    /// Name of the run.
    pub tag: String,
    /// Training loss by step; NaN where it was not a number.
    pub losses: BTreeMap<u64, f64>,
    /// Accuracies by epoch.
    pub epochs: BTreeMap<u64, Epoch>,
}

/// A line. Unknown fields are ignored.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Start {
        #[serde(default)]
        dataset: String,
        #[serde(default)]
        arch: String,
        #[serde(default)]
        tag: String,
    },
    Step {
        step: u64,
        // JSON has no NaN: it is written as null.
        loss: Option<f64>,
    },
    Epoch {
        epoch: u64,
        #[serde(default)]
        train_accuracy: Option<f64>,
        #[serde(default)]
        test_accuracy: Option<f64>,
    },
    #[serde(other)]
    Other,
}

impl TrainingLog {
    /// Reads a log file; see [`TrainingLog::parse`].
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::File`] with the malformed line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes).map_err(|source| Error::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// Reads a log. Of a step or epoch that occurs again, after a resume, the last line counts. A last line that breaks
    /// off is ignored, and so are empty lines and events of other kinds.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other line that is not an event.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut log = Self::default();
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(event) => log.add(event),
                // Only the last line can lack its end.
                Err(_) if !line.ends_with(b"\n") => {}
                Err(reason) => return Err(Error::Malformed { line: index + 1, reason: reason.to_string() }),
            }
        }
        Ok(log)
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Start { dataset, arch, tag } => (self.dataset, self.arch, self.tag) = (dataset, arch, tag),
            Event::Step { step, loss } => {
                self.losses.insert(step, loss.unwrap_or(f64::NAN));
            }
            Event::Epoch { epoch, train_accuracy, test_accuracy } => {
                let [train_accuracy, test_accuracy] = [train_accuracy, test_accuracy].map(|a| a.unwrap_or(f64::NAN));
                self.epochs.insert(epoch, Epoch { train_accuracy, test_accuracy });
            }
            Event::Other => {}
        }
    }

    /// Data set, network and tag, as far as they are known.
    pub(crate) fn title(&self) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!("tag {}", self.tag) };
        let parts = [&self.dataset, &self.arch, &tag].map(String::as_str);
        let title = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        if title.is_empty() { "training run".to_owned() } else { title }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"event":"start","dataset":"digits","arch":"convnet","tag":"0","n_steps":4,"seed":7}"#;

    fn step(step: u64, loss: &str) -> String {
        format!(r#"{{"event":"step","step":{step},"epoch":1,"loss":{loss},"learning_rate":0.1,"images_per_s":9.5}}"#)
    }

    fn parse(lines: &[&str]) -> Result<TrainingLog, Error> {
        TrainingLog::parse((lines.join("\n") + "\n").as_bytes())
    }

    #[test]
    fn events_become_curves() {
        let epoch = r#"{"event":"epoch","epoch":1,"step":2,"train_loss":1.0,"train_accuracy":0.5,"test_loss":1,"test_accuracy":0.25}"#;
        let log =
            parse(&[START, &step(1, "2.5"), "", &step(2, "1"), epoch, r#"{"event":"new kind","x":[1]}"#]).unwrap();
        assert_eq!((log.dataset.as_str(), log.arch.as_str(), log.tag.as_str()), ("digits", "convnet", "0"));
        assert_eq!(log.losses, BTreeMap::from([(1, 2.5), (2, 1.0)]));
        assert_eq!(log.epochs, BTreeMap::from([(1, Epoch { train_accuracy: 0.5, test_accuracy: 0.25 })]));
        assert_eq!(log.title(), "digits, convnet, tag 0");
    }

    #[test]
    fn after_a_resume_the_last_line_of_a_step_counts() {
        let resume = r#"{"event":"resume","step":1}"#;
        let log = parse(&[START, &step(1, "3"), &step(2, "2"), resume, &step(2, "1.5"), &step(3, "1")]).unwrap();
        assert_eq!(log.losses, BTreeMap::from([(1, 3.0), (2, 1.5), (3, 1.0)]));
    }

    #[test]
    fn a_torn_last_line_is_ignored() {
        let line = step(2, "1");
        for len in 0..line.len() {
            let log = TrainingLog::parse(format!("{START}\n{}\n{}", step(1, "2"), &line[..len]).as_bytes()).unwrap();
            assert_eq!(log.losses, BTreeMap::from([(1, 2.0)]), "{len}");
        }
        let log = TrainingLog::parse(format!("{START}\n{line}").as_bytes()).unwrap();
        assert_eq!(log.losses.len(), 1);
    }

    #[test]
    fn other_malformed_lines_are_named() {
        let torn = &step(1, "2")[..20];
        for bad in [
            torn,
            "null",
            "[]",
            r#"{"step":1}"#,
            r#"{"event":"step","loss":1}"#,
            r#"{"event":"step","step":-1,"loss":1}"#,
        ] {
            let error = parse(&[START, bad, &step(2, "1")]).unwrap_err();
            assert!(matches!(error, Error::Malformed { line: 2, .. }), "{bad}: {error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        std::fs::write(&path, b"nothing\n").unwrap();
        let message = TrainingLog::read(&path).unwrap_err().to_string();
        assert!(message.contains("x.jsonl") && message.contains("line 1"), "{message}");
        let message = TrainingLog::read(directory.path().join("absent")).unwrap_err().to_string();
        assert!(message.contains("absent"), "{message}");
    }

    #[test]
    fn an_empty_log_is_a_run_that_has_not_begun() {
        assert_eq!(TrainingLog::parse(b"").unwrap(), TrainingLog::default());
        assert_eq!(TrainingLog::default().title(), "training run");
    }

    #[test]
    fn no_number_is_nan() {
        let log = parse(&[&step(1, "null"), r#"{"event":"epoch","epoch":1,"test_accuracy":0.5}"#]).unwrap();
        assert!(log.losses[&1].is_nan() && log.epochs[&1].train_accuracy.is_nan());
        assert_eq!(log.epochs[&1].test_accuracy, 0.5);
    }
}
