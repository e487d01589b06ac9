//! `lmgc sweep`: a matrix of experiments, cell by cell.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::bail;
use indicatif::ProgressBar;
use lmgc_codec::ModelSource;
use lmgc_codec::lm::LanguageModel;
use lmgc_collect::CollectOptions;
use lmgc_model::store;
use lmgc_sweep::{Cell, Collect, Config, Event, Host, Measure, Record, SweepOptions};
use serde_json::json;

use super::collect::train;
use super::model::pull;
use crate::args::{Common, ModelPull, Sweep};
use crate::models::Models;
use crate::terminal::{Channel, bar, count, rough_duration, say};

pub(crate) fn run(args: &Sweep, common: &Common) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    if args.list {
        list(&config.cells(args.estimate), common);
        return Ok(());
    }
    if !config.about.is_empty() {
        say(common, format!("{}: {}", config.name, config.about));
    }
    let out = args.output.clone().unwrap_or_else(|| Path::new("results").join(&config.name));
    let options = SweepOptions { out, estimate: args.estimate, restart: args.restart };
    let program = Program {
        models: Models::new(None, common),
        common,
        bar: bar(!common.quiet && !common.json, 0, "     sweeping {wide_msg} {bar:24} {pos}/{len}{prefix}"),
    };
    let summary = lmgc_sweep::run(&config, &options, &program)?;
    program.bar.finish_and_clear();
    let n_ok = summary.n_cells - summary.failed.len();
    say(
        common,
        format!(
            "{} of {} have results in {}; lmgc report {} -o DIR makes tables and plots of them",
            n_ok,
            count(summary.n_cells, "cell"),
            summary.results.display(),
            options.out.display()
        ),
    );
    let Some((cell, reason)) = summary.failed.first() else { return Ok(()) };
    bail!("{} failed; the first: {cell}: {reason}", count(summary.failed.len(), "cell"));
}

fn list(cells: &[Cell], common: &Common) {
    for cell in cells {
        if common.json {
            Channel::Out.line(json!({ "cell": cell.to_string(), "estimate": cell.is_estimate }));
        } else if !common.quiet {
            Channel::Out.line(cell);
        }
    }
    say(common, count(cells.len(), "cell"));
}

/// What a sweep needs of this program.
struct Program<'a> {
    models: Models,
    common: &'a Common,
    bar: ProgressBar,
}

impl Program<'_> {
    /// For work on the way: only cells are results.
    fn quietly(&self) -> Common {
        Common { json: false, quiet: self.common.quiet || self.common.json, ..*self.common }
    }

    /// A line above the bar.
    fn say(&self, line: impl AsRef<str>) {
        self.bar.suspend(|| say(self.common, line));
    }
}

impl Host for Program<'_> {
    fn language_model(&self, name: &str) -> Result<Arc<LanguageModel>, String> {
        self.models.named(name).map_err(|error| error.to_string())
    }

    fn pull(&self, name: &str) -> Result<(), String> {
        if store::is_path(name) || store::resolve(name).is_ok() {
            return Ok(());
        }
        let request = ModelPull { model: name.to_owned(), revision: None, name: None, force: false };
        let pulled = self.bar.suspend(|| pull(&request, &self.quietly()));
        pulled.map_err(|error| format!("model {name} cannot be fetched: {error:#}"))
    }

    fn memory_bytes(&self) -> u64 {
        self.models.memory_bytes()
    }

    fn n_threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn collect(&self, dir: &Path, dataset: &str, arch: &str, tag: &str, settings: &Collect) -> Result<(), String> {
        let options = collect_options(dir, dataset, arch, tag, settings)?;
        self.bar.suspend(|| train(&options, &self.quietly())).map(|_| ()).map_err(|error| format!("{error:#}"))
    }

    fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Collecting { origin } => self.say(format!("collecting gradients of {origin}")),
            Event::Planned { n_cells, n_done, seconds_left } => {
                self.bar.set_length(*n_cells as u64);
                let todo = match n_done {
                    0 => count(*n_cells, "cell"),
                    n => format!("{n} of {} are done, {} to go", count(*n_cells, "cell"), n_cells - n),
                };
                let time = if n_done == n_cells {
                    String::new()
                } else {
                    format!(": about {}", rough_duration(*seconds_left))
                };
                self.say(format!("{todo}{time}"));
            }
            Event::Began { cell, n_done, seconds_left } => {
                self.bar.set_position(*n_done as u64);
                self.bar.set_message(cell.to_string());
                self.bar.set_prefix(format!(", {} left", rough_duration(*seconds_left)));
            }
            Event::Ended { record } => {
                if self.common.json {
                    if let Ok(line) = serde_json::to_string(record) {
                        Channel::Out.line(line);
                    }
                } else {
                    self.say(line_of(record));
                }
            }
            _ => {}
        }
    }
}

fn line_of(record: &Record) -> String {
    let what = match (&record.error, record.rate_percent) {
        (Some(reason), _) => format!("FAILED: {reason}"),
        (None, Some(rate)) if record.measure == Measure::Estimate => format!("{rate:.2} % (ideal code length)"),
        (None, Some(rate)) => format!("{rate:.2} %"),
        (None, None) => "nothing to compress".to_owned(),
    };
    format!("{} in {:.1} s: {what}", record.cell, record.seconds)
}

fn collect_options(
    dir: &Path,
    dataset: &str,
    arch: &str,
    tag: &str,
    settings: &Collect,
) -> Result<CollectOptions, String> {
    fn parse<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<T, String> {
        name.parse().map_err(|error: T::Err| error.to_string())
    }
    let mut options = CollectOptions::new(parse(dataset)?, parse(arch)?, dir);
    options.data = settings.data.as_ref().map(|data: &PathBuf| data.join(dataset));
    options.download = settings.download;
    options.steps = settings.steps;
    options.epochs = settings.epochs;
    options.grad_interval = settings.grad_interval.unwrap_or(options.grad_interval);
    options.batch_size = settings.batch_size.unwrap_or(options.batch_size);
    options.n_classes = settings.classes;
    options.optimizer = settings.optimizer.as_deref().map(parse).transpose()?;
    options.schedule = settings.schedule.as_deref().map(parse).transpose()?.unwrap_or_default();
    tag.clone_into(&mut options.tag);
    options.seed = tag.parse().unwrap_or(0);
    // Only gradients are wanted.
    options.model_interval = 0;
    Ok(options)
}
