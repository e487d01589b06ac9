//! Result files: JSON lines, one measurement each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::groups::Variant;
use crate::record::{Record, Status};

/// The file of results in a sweep's directory.
const RESULTS_FILE: &str = "results.jsonl";

/// Why results could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The file cannot be read.
    #[error("cannot read results {}: {source}; give a file of JSON lines, or a directory with a {RESULTS_FILE}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A line is no result. A last line that breaks off is none of these.
    #[error(
        "{name}, line {line}: not a result ({reason}); remove the line, or give a file that `lmgc sweep` or \
         `lmgc bench --json` wrote"
    )]
    Malformed {
        /// The file.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The records of one or several result files. Of a cell that occurs again in its sweep, the last one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    records: Vec<Record>,
    n_torn: usize,
    n_replaced: usize,
}

impl Results {
    /// Reads result files; of a directory, the `results.jsonl` in it.
    ///
    /// # Errors
    /// [`ResultsError`], with the file and the line.
    pub fn read(paths: &[PathBuf]) -> Result<Self, ResultsError> {
        let mut lines = Lines::default();
        for path in paths {
            let path = if path.is_dir() { &path.join(RESULTS_FILE) } else { path };
            let bytes = std::fs::read(path).map_err(|source| ResultsError::Read { path: path.clone(), source })?;
            lines.add(&path.display().to_string(), &bytes)?;
        }
        Ok(lines.finish())
    }

    /// Reads the content of a result file, which errors call `name`. A last line that breaks off is counted and left
    /// out: the program that wrote it was killed.
    ///
    /// # Errors
    /// [`ResultsError::Malformed`] for any other line that is no result.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ResultsError> {
        let mut lines = Lines::default();
        lines.add(name, bytes)?;
        Ok(lines.finish())
    }

    /// The records, in the order of the files.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Cells with figures.
    #[must_use]
    pub fn n_ok(&self) -> usize {
        self.records.len() - self.n_failed()
    }

    /// Cells without.
    #[must_use]
    pub fn n_failed(&self) -> usize {
        self.records.iter().filter(|record| record.status == Status::Failed).count()
    }

    /// Last lines that broke off.
    #[must_use]
    pub fn n_torn(&self) -> usize {
        self.n_torn
    }

    /// Records that a later one of the same cell stands for.
    #[must_use]
    pub fn n_replaced(&self) -> usize {
        self.n_replaced
    }
}

#[derive(Default)]
struct Lines {
    records: Vec<Record>,
    n_torn: usize,
}

impl Lines {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ResultsError> {
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match Record::parse(line) {
                Ok(record) => self.records.push(record),
                // Only the last line can lack its end.
                Err(_) if !line.ends_with(b"\n") => self.n_torn += 1,
                Err(reason) => {
                    let reason = reason.to_string();
                    return Err(ResultsError::Malformed { name: name.to_owned(), line: index + 1, reason });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Results {
        let mut last = BTreeMap::new();
        for (index, record) in self.records.iter().enumerate() {
            last.insert(Identity::of(record, index), index);
        }
        let n_all = self.records.len();
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        let mut records: Vec<Option<Record>> = self.records.into_iter().map(Some).collect();
        let records: Vec<Record> =
            kept.into_iter().filter_map(|index| records.get_mut(index).and_then(Option::take)).collect();
        Results { n_replaced: n_all - records.len(), n_torn: self.n_torn, records }
    }
}

/// What two records of the same cell have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Cell { sweep: Option<String>, cell: String },
    // `lmgc bench` names no cells and appends to its results: the same codec on the same input is the same cell.
    Bench { input: String, variant: Box<Variant> },
    Line(usize),
}

impl Identity {
    fn of(record: &Record, index: usize) -> Self {
        let settings = &record.settings;
        match (&record.cell, &record.input) {
            (Some(cell), _) => Self::Cell { sweep: record.sweep.clone(), cell: cell.clone() },
            (None, Some(input)) if settings.dataset.is_none() && settings.arch.is_none() => {
                Self::Bench { input: input.clone(), variant: Box::new(Variant::of(record)) }
            }
            _ => Self::Line(index),
        }
    }
}

/// The name of a file in a path, as it is shown.
pub(crate) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, rate: f64) -> String {
        format!(r#"{{"sweep":"s","cell":"{name}","codec":"lm","rate_percent":{rate}}}"#)
    }

    fn parse(lines: &[String]) -> Result<Results, ResultsError> {
        Results::parse("x.jsonl", (lines.join("\n") + "\n").as_bytes())
    }

    #[test]
    fn the_last_line_of_a_cell_counts() {
        let results = parse(&[cell("a", 1.0), cell("b", 2.0), cell("a", 3.0)]).unwrap();
        let rates: Vec<_> = results.records().iter().map(|record| record.rate_percent.unwrap()).collect();
        assert_eq!(rates, [2.0, 3.0]);
        assert_eq!((results.n_ok(), results.n_failed(), results.n_replaced()), (2, 0, 1));
        let other_sweep = cell("a", 4.0).replace("\"s\"", "\"t\"");
        assert_eq!(parse(&[cell("a", 1.0), other_sweep]).unwrap().n_ok(), 2);
    }

    #[test]
    fn a_bench_line_is_replaced_by_its_like() {
        let line = |input: &str, level: u8, rounds: u8| {
            format!(r#"{{"input":"{input}","codec":"zstd","settings":{{"level":{level},"rounds":{rounds}}}}}"#)
        };
        let results = parse(&[line("a", 3, 1), line("a", 19, 1), line("b", 3, 1), line("a", 3, 2)]).unwrap();
        assert_eq!((results.n_ok(), results.n_replaced()), (3, 1));
    }

    #[test]
    fn a_torn_last_line_is_counted() {
        let line = cell("b", 2.0);
        for len in 1..line.len() {
            let results = Results::parse("x", format!("{}\n{}", cell("a", 1.0), &line[..len]).as_bytes()).unwrap();
            assert_eq!((results.n_ok(), results.n_torn()), (1, 1), "{len}");
        }
        // Whole, but for its newline.
        let results = Results::parse("x", line.as_bytes()).unwrap();
        assert_eq!((results.n_ok(), results.n_torn()), (1, 0));
        assert_eq!(Results::parse("x", b"").unwrap(), Results::default());
    }

    #[test]
    fn other_malformed_lines_are_named() {
        for bad in
            ["{", "null", "[]", "{}", r#"{"codec":1}"#, r#"{"codec":"x","raw_bytes":-1}"#, "{\"codec\":\"\u{1}\"}"]
        {
            let error = parse(&[cell("a", 1.0), String::new(), bad.to_owned(), cell("b", 1.0)]).unwrap_err();
            assert!(matches!(error, ResultsError::Malformed { line: 3, .. }), "{bad}: {error}");
            assert!(error.to_string().starts_with("x.jsonl, line 3: "), "{error}");
        }
        let broken = br#"{"codec":"x","rate_percent":1e999}"#;
        assert_eq!(Results::parse("x", broken).unwrap().n_torn(), 1);
        assert!(Results::parse("x", &[broken.as_slice(), b"\n"].concat()).is_err());
        assert!(Results::parse("x", b"\xff\xfe\n").is_err());
    }

    #[test]
    fn a_directory_has_its_results() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results.jsonl");
        let paths = [directory.path().to_owned(), directory.path().join("more.jsonl")];
        let message = Results::read(&paths).unwrap_err().to_string();
        assert!(message.contains("results.jsonl"), "{message}");
        std::fs::write(&file, cell("a", 1.0) + "\n").unwrap();
        std::fs::write(&paths[1], cell("a", 2.0) + "\n" + &cell("b", 3.0)).unwrap();
        let results = Results::read(&paths).unwrap();
        assert_eq!((results.n_ok(), results.n_replaced()), (2, 1));
        std::fs::write(&file, "?\n").unwrap();
        let message = Results::read(&paths).unwrap_err().to_string();
        assert!(message.contains("results.jsonl, line 1: "), "{message}");
    }
}
