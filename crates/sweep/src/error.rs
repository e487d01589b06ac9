//! Errors that end a sweep. What goes wrong with a cell is that cell's result.

use std::io;
use std::path::PathBuf;

/// Why a sweep does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A configuration that does not say what to do.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// Results that this program did not write.
    #[error("{}, line {line}: {problem}: move the file away, or begin anew with --restart", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Another process writes to the results.
    #[error("another sweep is writing to {}: wait for it, or give another directory with -o", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}
