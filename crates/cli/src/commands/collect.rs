use lmgc_collect::dataset::{DataProgress, DataWork};
use lmgc_collect::{CollectOptions, StepReport, collect_on};
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
    options.tag.clone_from(&args.tag);
    options.seed = args.seed;
    options.batch_size = args.batch_size;
    options.n_classes = args.classes;
    options.device = args.device;
    train(&options, common)?;
    Ok(())
}

/// Trains with a progress bar and says what came of it.
pub(crate) fn train(options: &CollectOptions, common: &Common) -> anyhow::Result<lmgc_collect::CollectSummary> {
    let data = options.open_dataset(&Preparing(ByteBar::new(common)))?;
    let template = "     training {wide_msg} {bar:24} step {pos}/{len} {eta} left";
    let bar = bar(!common.quiet && !common.json, options.steps.unwrap_or(0), template);
    let summary = collect_on(options, data, &mut |report: &StepReport| {
        bar.set_length(report.n_steps);
        bar.set_position(report.step);
        bar.set_message(format!("loss {:.4}, {:.0} images/s", report.loss, report.images_per_s));
        if let (true, Some(file)) = (common.json, &report.gradient_file) {
            Channel::Out.line(json!({
                "gradient_file": file,
                "step": report.step,
                "epoch": report.epoch,
                "loss": report.loss,
                "learning_rate": report.learning_rate,
            }));
        }
    });
    bar.finish_and_clear();
    let summary = summary?;
    if common.json {
        Channel::Out.line(json!({
            "n_steps": summary.n_steps,
            "n_parameter_values": summary.n_parameter_values,
            "final_loss": summary.final_loss,
            "n_test": summary.n_test,
            "n_test_correct": summary.n_test_correct,
            "seconds": summary.seconds,
            "gradient_files": summary.gradient_files,
        }));
    }
    say(
        common,
        format!(
            "trained {} steps in {:.1} s: loss {:.4}, {} of {} test images right ({:.1} %)",
            summary.n_steps,
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
    Ok(summary)
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
