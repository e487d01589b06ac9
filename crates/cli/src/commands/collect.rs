use anyhow::Context;
use indicatif::ProgressBar;
use lmgc_collect::dataset::{DataProgress, DataWork};
use lmgc_collect::{CollectOptions, CollectSummary, EpochReport, Report, RunDirectory, StepReport, collect_on};
use lmgc_report::{TrainingLog, training_curve};
use serde_json::json;

use crate::args::{Collect, Common};
use crate::terminal::{ByteBar, Channel, bar, say};

pub(crate) fn run(args: &Collect, common: &Common) -> anyhow::Result<()> {
    let mut options = CollectOptions::new(args.dataset, args.arch, &args.out);
    options.data.clone_from(&args.data);
    options.download = args.download;
    options.steps = args.steps;
    options.epochs = args.epochs;
    options.grad_interval = args.grad_interval;
    options.model_interval = args.model_interval;
    options.tag.clone_from(&args.tag);
    options.seed = args.seed;
    options.batch_size = args.batch_size;
    options.n_classes = args.classes;
    options.optimizer = args.optimizer;
    options.schedule = args.schedule;
    options.restart = args.restart;
    options.device = args.device;
    train(&options, common)?;
    Ok(())
}

/// Trains with a progress bar and says what came of it.
pub(crate) fn train(options: &CollectOptions, common: &Common) -> anyhow::Result<CollectSummary> {
    let data = options.open_dataset(&Preparing(ByteBar::new(common)))?;
    let mut display = Display::new(common);
    let summary = collect_on(options, &*data, &mut |report| display.show(report));
    display.bar.finish_and_clear();
    let summary = summary?;
    let directory = RunDirectory::of(options);
    let curve = directory.path().join("curve.svg");
    let log = TrainingLog::read(directory.log_file())?;
    lmgc_codec::files::write_atomically(&curve, training_curve(&[log]).as_bytes(), true)
        .with_context(|| format!("cannot write {}", curve.display()))?;
    if common.json {
        Channel::Out.line(json!({
            "n_steps": summary.n_steps,
            "n_resumed_steps": summary.n_resumed_steps,
            "n_parameter_values": summary.n_parameter_values,
            "final_loss": summary.final_loss,
            "n_test": summary.n_test,
            "n_test_correct": summary.n_test_correct,
            "seconds": summary.seconds,
            "gradient_files": summary.gradient_files,
            "log": directory.log_file(),
            "curve": curve,
        }));
    }
    let n_trained = summary.n_steps - summary.n_resumed_steps;
    say(
        common,
        format!(
            "trained {n_trained} steps in {:.1} s: loss {:.4}, {} of {} test images right ({:.1} %)",
            summary.seconds,
            summary.final_loss,
            summary.n_test_correct,
            summary.n_test,
            100.0 * summary.test_accuracy(),
        ),
    );
    for file in &summary.gradient_files {
        say(common, format!("wrote {}", file.display()));
    }
    say(common, format!("the training curve is {}", curve.display()));
    Ok(summary)
}

/// A bar with what the last step and the last test came to; or lines of JSON.
struct Display<'a> {
    common: &'a Common,
    bar: ProgressBar,
    /// Of the last test.
    test_accuracy: Option<f64>,
}

impl<'a> Display<'a> {
    fn new(common: &'a Common) -> Self {
        let template = "     training {wide_msg} {bar:24} step {pos}/{len} {eta} left";
        Self { common, bar: bar(!common.quiet && !common.json, 0, template), test_accuracy: None }
    }

    fn show(&mut self, report: &Report) {
        match report {
            Report::Resumed { step, n_steps } => {
                self.bar.set_length(*n_steps);
                self.bar.set_position(*step);
                // The time left follows from what this run does.
                self.bar.reset_eta();
                say(self.common, format!("going on after step {step} of {n_steps}, where an earlier run ended"));
            }
            Report::Step(step) => self.show_step(step),
            Report::Epoch(epoch) => self.show_epoch(epoch),
            _ => {}
        }
    }

    fn show_step(&self, report: &StepReport) {
        self.bar.set_length(report.n_steps);
        self.bar.set_position(report.step);
        let test = self.test_accuracy.map_or(String::new(), |share| format!(", test {:.1} %", 100.0 * share));
        self.bar.set_message(format!(
            "epoch {}, loss {:.4}, accuracy {:.1} %{test}, {:.0} images/s",
            report.epoch,
            report.loss,
            100.0 * report.accuracy,
            report.images_per_s
        ));
        if let (true, Some(file)) = (self.common.json, &report.gradient_file) {
            Channel::Out.line(json!({
                "gradient_file": file,
                "step": report.step,
                "epoch": report.epoch,
                "loss": report.loss,
                "learning_rate": report.learning_rate,
            }));
        }
    }

    fn show_epoch(&mut self, report: &EpochReport) {
        self.test_accuracy = Some(report.test_accuracy);
        if self.common.json {
            Channel::Out.line(json!({
                "epoch": report.epoch,
                "step": report.step,
                "train_loss": report.train_loss,
                "train_accuracy": report.train_accuracy,
                "test_loss": report.test_loss,
                "test_accuracy": report.test_accuracy,
                "model_file": report.model_file,
            }));
        }
    }
}

/// A progress bar for each file that is fetched, and for the decoding of images.
struct Preparing(ByteBar);

impl DataProgress for Preparing {
    fn begin(&self, work: DataWork<'_>, n_total: u64, n_done: u64) {
        match work {
            DataWork::Download { file } => self.0.begin("fetching", file, n_total, n_done),
            DataWork::Check { file } => self.0.begin("checking", file, n_total, n_done),
            DataWork::Unpack { file } => self.0.begin("unpacking", file, n_total, n_done),
            DataWork::Decode { what } => self.0.begin_items("decoding", what, "images", n_total),
            _ => self.0.begin("preparing", "", n_total, n_done),
        }
    }

    fn advance(&self, n: u64) {
        self.0.advance(n);
    }

    fn end(&self) {
        self.0.end();
    }
}
