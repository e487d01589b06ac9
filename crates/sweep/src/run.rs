//! The sweep itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lmgc_codec::lm::LanguageModel;

use crate::remaining::Speeds;
use crate::results::{ResultsFile, Status};
use crate::sample::{Sample, directory_of};
use crate::{Cell, Collect, Config, Draw, Error, Method, Origin, Record, measure};

/// What a sweep needs of the program around it.
pub trait Host {
    /// A language model by name or path.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn language_model(&self, name: &str) -> Result<Arc<LanguageModel>, String>;

    /// Sees to it that a model is in the store.
    ///
    /// # Errors
    /// Why it is not, in words.
    fn pull(&self, name: &str) -> Result<(), String>;

    /// Budget for keys and values.
    fn memory_bytes(&self) -> u64;

    /// Threads that are used.
    fn n_threads(&self) -> usize;

    /// Trains, or goes on with, a run in `dir`.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn collect(&self, dir: &Path, dataset: &str, arch: &str, tag: &str, settings: &Collect) -> Result<(), String>;

    /// Something happened.
    fn tell(&self, event: &Event<'_>);
}

/// What happens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A run's gradients are about to be collected.
    Collecting {
        /// The run.
        origin: &'a Origin,
    },
    /// What is ahead.
    Planned {
        /// Cells in all.
        n_cells: usize,
        /// Those that an earlier run of this sweep has.
        n_done: usize,
        /// What the others will take.
        seconds_left: f64,
    },
    /// A cell begins.
    Began {
        /// Which.
        cell: &'a Cell,
        /// Cells that are done.
        n_done: usize,
        /// What the rest will take, this one included.
        seconds_left: f64,
    },
    /// A cell ended.
    Ended {
        /// With what.
        record: &'a Record,
    },
}

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Where `results.jsonl` goes.
    pub out: PathBuf,
    /// Ideal code lengths instead of files.
    pub estimate: bool,
    /// Forget earlier results.
    pub restart: bool,
}

/// What a sweep came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file of results.
    pub results: PathBuf,
    /// Cells in all.
    pub n_cells: usize,
    /// Those that an earlier run had done.
    pub n_resumed: usize,
    /// Those without a result, with the reason.
    pub failed: Vec<(String, String)>,
}

/// Runs every cell of a sweep that has no result yet, and writes each result as it comes.
///
/// # Errors
/// [`Error`] where results cannot be kept; a cell that fails is a result.
pub fn run(config: &Config, options: &SweepOptions, host: &dyn Host) -> Result<Summary, Error> {
    let mut results = ResultsFile::open(&options.out, options.restart)?;
    let mut sweep = Sweep {
        config,
        host,
        sample: None,
        directories: BTreeMap::new(),
        missing_models: BTreeMap::new(),
        speeds: Speeds::default(),
    };
    let cells = config.cells(options.estimate);
    sweep.collect(&cells, &results);
    sweep.pull(&cells, &results);

    let mut todo = Vec::new();
    let mut n_done = 0;
    for cell in cells.iter() {
        // A failure is tried again, and so is a result on other gradients than there are now.
        let is_done = results.get(&cell.to_string()).is_some_and(|record| {
            sweep.speeds.learn(cell, record);
            record.status == Status::Ok && sweep.is_current(cell, record)
        });
        if is_done { n_done += 1 } else { todo.push(cell) }
    }
    let n_resumed = n_done;
    sweep.measure_unknown(&todo);
    if let Some(cell) = todo.first() {
        // How large samples are, where no configuration says it; this one is needed next anyway. What goes wrong is told then.
        let _ = sweep.sample(cell);
    }
    let seconds_left = sweep.seconds_left(&todo);
    host.tell(&Event::Planned { n_cells: cells.len(), n_done, seconds_left });
    let mut failed = Vec::new();
    for (at, cell) in todo.iter().enumerate() {
        let seconds_left = sweep.seconds_left(&todo[at..]);
        host.tell(&Event::Began { cell, n_done, seconds_left });
        let record = sweep.run_cell(cell);
        results.push(&record)?;
        sweep.speeds.learn(cell, &record);
        host.tell(&Event::Ended { record: &record });
        failed.extend(record.error.map(|reason| (record.cell, reason)));
        n_done += 1;
    }
    Ok(Summary { results: results.path().to_owned(), n_cells: cells.len(), n_resumed, failed })
}

struct Sweep<'a> {
    config: &'a Config,
    host: &'a dyn Host,
    /// The last sample: cells of a draw come one after the other.
    sample: Option<(Origin, Draw, Result<Sample, String>)>,
    /// Where runs' gradients lie, or why there are none.
    directories: BTreeMap<Origin, Result<PathBuf, String>>,
    /// Models that could not be fetched, and why.
    missing_models: BTreeMap<String, String>,
    speeds: Speeds,
}

impl Sweep<'_> {
    /// Sees to it that every run is there.
    fn collect(&mut self, cells: &[Cell], results: &ResultsFile) {
        let runs = self.config.runs_dir();
        for origin in self.config.origins() {
            let directory = directory_of(&origin, &runs);
            let outcome = match (&origin, &self.config.gradients.collect) {
                // With all results there is no need for gradients.
                _ if cells.iter().filter(|cell| cell.origin == origin).all(|cell| has_result(results, cell)) => Ok(()),
                (Origin::Run { dataset, arch, tag }, Some(settings)) => {
                    self.host.tell(&Event::Collecting { origin: &origin });
                    measure::guarded(|| self.host.collect(&runs, dataset, arch, tag, settings))
                }
                (Origin::Run { .. }, None) if !directory.is_dir() => Err(format!(
                    "no gradients in {}: run lmgc collect, or add a table [gradients.collect]",
                    directory.display()
                )),
                _ => Ok(()),
            };
            self.directories.insert(origin, outcome.map(|()| directory));
        }
    }

    /// Sees to it that every model is there, if that is wanted.
    fn pull(&mut self, cells: &[Cell], results: &ResultsFile) {
        let todo = cells.iter().filter(|cell| self.config.pull && !has_result(results, cell));
        let models: BTreeSet<&String> = todo.filter_map(|cell| model_of(&cell.method)).collect();
        for model in models {
            if let Err(reason) = self.host.pull(model) {
                self.missing_models.insert(model.clone(), reason);
            }
        }
    }

    fn sample(&mut self, cell: &Cell) -> Result<&Sample, String> {
        let Cell { origin, draw, .. } = cell;
        if self.sample.as_ref().is_none_or(|(o, d, _)| (o, d) != (origin, draw)) {
            let drawn = match self.directories.get(origin) {
                Some(Ok(directory)) => measure::guarded(|| Sample::draw(directory, draw)),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err("no such gradients in the configuration".to_owned()),
            };
            self.sample = Some((origin.clone(), draw.clone(), drawn));
        }
        match &self.sample {
            Some((.., Ok(sample))) => Ok(sample),
            Some((.., Err(reason))) => Err(reason.clone()),
            None => Err("nothing was drawn".to_owned()),
        }
    }

    /// Whether a result is of the gradients that are there now. Where they are gone it is the best there is.
    fn is_current(&mut self, cell: &Cell, record: &Record) -> bool {
        let found = self.sample(cell).map(|sample| sample.hash.clone());
        found.is_err() || found.ok() == record.sample_blake3
    }

    fn run_cell(&mut self, cell: &Cell) -> Record {
        let host = self.host;
        let mut record = Record::new(self.config, cell, host.n_threads());
        let missing = model_of(&cell.method).and_then(|model| self.missing_models.get(model)).cloned();
        match self.sample(cell) {
            Ok(sample) if missing.is_none() => measure::run(host, cell, sample, &mut record),
            Ok(_) => record.error = missing,
            Err(reason) => record.error = Some(reason),
        }
        record
    }

    /// Finds out how fast language models will be of which no result is known yet.
    fn measure_unknown(&mut self, todo: &[&Cell]) {
        let mut seen = BTreeSet::new();
        for cell in todo {
            let is_lm = matches!(cell.method, Method::Lm { .. });
            if !is_lm || self.speeds.knows(cell) || !seen.insert(&cell.method) {
                continue;
            }
            let host = self.host;
            let estimate = self.sample(cell).and_then(|sample| {
                let bytes = sample.tensors.runs.iter().map(|run| run.bytes.as_slice()).next().unwrap_or_default();
                let n_bytes = sample.tensors.n_bytes();
                measure::guarded(|| {
                    let (codec, _) = measure::lm_codec(host, &cell.method)?;
                    Ok((codec.estimate(bytes, n_bytes).map_err(|error| error.to_string())?, n_bytes))
                })
            });
            // What cannot be estimated will fail, and say why, when its turn comes.
            if let Ok((estimate, n_bytes)) = estimate {
                let decode_seconds = if cell.is_estimate { 0.0 } else { estimate.decode_seconds };
                self.speeds.expect(cell, estimate.encode_seconds + decode_seconds, n_bytes);
            }
        }
    }

    fn seconds_left(&self, todo: &[&Cell]) -> f64 {
        todo.iter().map(|cell| self.speeds.seconds(cell, self.usual_bytes(cell))).sum()
    }

    /// Bytes of a cell: what the draw says, or those of the last sample where it takes everything.
    fn usual_bytes(&self, cell: &Cell) -> u64 {
        let last = || match &self.sample {
            Some((.., Ok(sample))) => sample.tensors.n_bytes(),
            _ => 0,
        };
        if cell.draw.bytes > 0 { cell.draw.bytes } else { last() }
    }
}

fn model_of(method: &Method) -> Option<&String> {
    match method {
        Method::Lm { model, .. } => Some(model),
        Method::Codec { .. } => None,
    }
}

fn has_result(results: &ResultsFile, cell: &Cell) -> bool {
    results.get(&cell.to_string()).is_some_and(|record| record.status == Status::Ok)
}
