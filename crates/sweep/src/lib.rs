//! Experiment matrices: gradients by draws by codecs and their settings, each cell a line of results.
//!
//! A [`Config`] says what to run, as TOML; [`run()`] does every cell that has no result yet and appends a [`Record`] to
//! `results.jsonl` as each is done. Whatever ends the program, at most the cell it was at is lost. A cell that cannot be done is a
//! result, too: it says why, and the rest goes on. The experiments are those of LM-GC (NeurIPS 2024, arXiv 2409.17836) and more;
//! training and language models come from the [`Host`].

mod cell;
mod config;
mod error;
mod measure;
mod remaining;
mod results;
mod run;
mod sample;

pub use cell::{Cell, Draw, Method, Origin};
pub use config::{Codecs, Collect, Config, Draws, Gradients, LanguageModels, NO_PREPROCESS};
pub use error::Error;
pub use results::{FieldBits, Measure, Record, Settings, Status};
pub use run::{Event, Host, Summary, SweepOptions, run};
