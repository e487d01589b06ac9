use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};

use crate::dataset::{Dataset, Split};
use crate::loader::{Batch, BatchOrder, HostBatch, load_ahead};
use crate::log::TrainingLog;
use crate::network::{BatchStatistics, Network, ParameterSet, Pass, cross_entropy};
use crate::optimizer::Optimizer;
use crate::run_directory::{RunDirectory, RunLock};
use crate::schedule::Schedule;
use crate::state::{self, Progress};
use crate::tensor_file::{self, Entry, download};
use crate::{CollectOptions, Error};

/// How many test images are classified at once.
const N_TEST_IMAGES_AT_ONCE: usize = 128;

/// The state is written with each gradient file, and when so much time has passed since it was.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// What [`collect`] tells while it runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Report {
    /// An earlier run was taken up after this many steps.
    Resumed {
        /// Steps done before.
        step: u64,
        /// Steps that there will be.
        n_steps: u64,
    },
    /// A step is done, its gradient file (if any) complete.
    Step(StepReport),
    /// An epoch is done.
    Epoch(EpochReport),
}

/// What happened in one step of training.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The step, from 1.
    pub step: u64,
    /// How many steps there will be.
    pub n_steps: u64,
    /// The pass over the training images that the step belongs to, from 1.
    pub epoch: u64,
    /// The mean cross entropy of the step's images, before its update.
    pub loss: f32,
    /// The share of the step's images classified right before its update, 0 to 1.
    pub accuracy: f64,
    /// The learning rate of the step's update.
    pub learning_rate: f64,
    /// Images a second in this step, everything included.
    pub images_per_s: f64,
    /// The file that the step's gradients went to, every [`CollectOptions::grad_interval`] steps.
    pub gradient_file: Option<PathBuf>,
}

/// What came of one pass over the training images.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The epoch's last step, from 1.
    pub step: u64,
    /// The mean of the steps' losses.
    pub train_loss: f64,
    /// The share of images classified right as they were trained on, 0 to 1.
    pub train_accuracy: f64,
    /// The mean cross entropy of the test images.
    pub test_loss: f64,
    /// The share of test images classified right, 0 to 1.
    pub test_accuracy: f64,
    /// The file that the model went to, every [`CollectOptions::model_interval`] epochs.
    pub model_file: Option<PathBuf>,
}

impl EpochReport {
    pub(crate) fn describe(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "step": self.step,
            "train_loss": self.train_loss,
            "train_accuracy": self.train_accuracy,
            "test_loss": self.test_loss,
            "test_accuracy": self.test_accuracy,
        })
    }
}

/// What a finished run did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CollectSummary {
    /// The gradient files, by rising step, those of before the run was taken up among them.
    pub gradient_files: Vec<PathBuf>,
    /// How many steps were trained in all.
    pub n_steps: u64,
    /// How many of them had been done before, when the run was taken up.
    pub n_resumed_steps: u64,
    /// How many trainable values the network has.
    pub n_parameter_values: usize,
    /// The loss of the last step.
    pub final_loss: f32,
    /// How many test images the trained network classifies right.
    pub n_test_correct: usize,
    /// How many test images there are.
    pub n_test: usize,
    /// How long all of it took, what was done before not counted.
    pub seconds: f64,
}

impl CollectSummary {
    /// The share of test images classified right, 0 to 1.
    pub fn test_accuracy(&self) -> f64 {
        self.n_test_correct as f64 / self.n_test as f64
    }
}

/// Trains a network and writes its gradients.
///
/// The recipe is the reference's: cross entropy; SGD with a learning rate of 0.1, momentum 0.9 and weight decay 5e-4, the rate
/// falling along a cosine over 200 epochs; for ViT AdamW with a learning rate of up to 1e-3 in one cycle over 200 epochs and
/// a weight decay of 0.1 on weights; both over the whole run when that is longer. Images are shuffled and augmented anew each
/// epoch. Step `k` is the `k`-th update, from 1; its gradients, as left by the backward pass before weight decay, are
/// taken at the weights after `k - 1` updates, and are written when `k` is a multiple of the interval.
///
/// A run that was cut off goes on after its last state file, and does what it would have done. [`RunDirectory`] names the
/// files.
///
/// # Errors
/// Bad options, among them an interval longer than the run, which would write nothing; data that are not there or broken;
/// another run in the directory; a device this build lacks; a loss that is no longer finite; files that cannot be written.
pub fn collect(options: &CollectOptions, on_report: &mut dyn FnMut(&Report)) -> Result<CollectSummary, Error> {
    collect_on(options, &*options.open_dataset(&())?, on_report)
}

/// As [`collect`], with the data set already open ([`CollectOptions::open_dataset`] tells how far downloading and decoding
/// have come).
///
/// # Errors
/// As [`collect`].
pub fn collect_on(
    options: &CollectOptions,
    data: &dyn Dataset,
    on_report: &mut dyn FnMut(&Report),
) -> Result<CollectSummary, Error> {
    let start = Instant::now();
    options.validate()?;
    let schedule = Schedule::new(options, data.n_images(Split::Train))?;
    let mut run = Run::prepare(options, data, &schedule)?;
    let n_resumed_steps = run.progress.step;
    if n_resumed_steps > 0 {
        on_report(&Report::Resumed { step: n_resumed_steps, n_steps: run.schedule.n_steps });
    }
    run.train(on_report)?;
    let test = match run.last_test.take() {
        Some(test) => test,
        None => run.test()?,
    };
    Ok(CollectSummary {
        n_test_correct: test.n_correct,
        n_test: run.data.n_images(Split::Test),
        n_parameter_values: run.parameters.n_values(),
        n_steps: run.progress.step,
        n_resumed_steps,
        final_loss: run.progress.loss,
        gradient_files: run.directory.gradient_files(options, run.progress.step),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A run under way.
struct Run<'a> {
    options: &'a CollectOptions,
    directory: RunDirectory,
    _lock: RunLock,
    data: &'a dyn Dataset,
    device: Device,
    schedule: &'a Schedule,
    network: Box<dyn Network>,
    parameters: ParameterSet,
    optimizer: Box<dyn Optimizer>,
    /// What a resumed run must share.
    settings: BTreeMap<String, String>,
    progress: Progress,
    saved: Instant,
    log: TrainingLog,
    /// Of the weights as they are, if they have been tested.
    last_test: Option<TestResult>,
}

#[derive(Debug, Clone, Copy)]
struct TestResult {
    n_correct: usize,
    /// Mean cross entropy.
    loss: f64,
}

/// What is known of a step before its update.
struct Differentiated {
    loss: f32,
    n_correct: usize,
    /// One a parameter, in order, flat, without autodiff.
    gradients: Vec<Tensor<1>>,
    statistics: Vec<BatchStatistics>,
}

impl<'a> Run<'a> {
    /// Builds the network, and takes up an earlier run if there is one.
    fn prepare(options: &'a CollectOptions, data: &'a dyn Dataset, schedule: &'a Schedule) -> Result<Self, Error> {
        let device = options.device.open()?;
        let directory = RunDirectory::of(options);
        let lock = directory.open(options.model_interval > 0)?;
        let (network, mut parameters) = options.arch.build(data.image_shape(), data.n_classes(), options.seed, &device);
        let mut optimizer = options.optimizer().build();
        let settings = settings(options, schedule, data.n_classes());
        let start = json!({
            "dataset": options.dataset.as_str(),
            "arch": options.arch.as_str(),
            "tag": options.tag,
            "n_steps": schedule.n_steps,
            "n_steps_per_epoch": schedule.n_steps_per_epoch,
            "n_parameter_values": parameters.n_values(),
            "settings": settings,
        });
        let (state_file, log_file) = (directory.state_file(), directory.log_file());
        let (progress, log) = if state_file.exists() && !options.restart {
            let progress = state::load(&state_file, &settings, &mut parameters, &mut *optimizer, &device)?;
            if progress.step > schedule.n_steps {
                return Err(Error::OtherRun {
                    path: directory.path().to_owned(),
                    setting: "steps".to_owned(),
                    found: progress.step.to_string(),
                    expected: schedule.n_steps.to_string(),
                });
            }
            (progress, TrainingLog::resume(log_file, progress.step, start)?)
        } else {
            (Progress::default(), TrainingLog::create(log_file, start)?)
        };
        let (saved, last_test) = (Instant::now(), None);
        Ok(Self {
            options,
            directory,
            _lock: lock,
            data,
            device,
            schedule,
            network,
            parameters,
            optimizer,
            settings,
            progress,
            saved,
            log,
            last_test,
        })
    }

    /// Trains what is left, with a thread beside that loads images.
    fn train(&mut self, on_report: &mut dyn FnMut(&Report)) -> Result<(), Error> {
        let (data, schedule, first) = (self.data, self.schedule, self.progress.step + 1);
        let order = BatchOrder { seed: self.options.seed, batch_size: self.options.batch_size };
        std::thread::scope(|scope| {
            let batches = load_ahead(scope, data, schedule, order, first);
            (first..=schedule.n_steps).try_for_each(|step| self.step(step, &batches, on_report))
        })
    }

    fn step(
        &mut self,
        step: u64,
        batches: &Receiver<HostBatch>,
        on_report: &mut dyn FnMut(&Report),
    ) -> Result<(), Error> {
        let start = Instant::now();
        let (epoch, batch_of_epoch) = self.schedule.place(step);
        if batch_of_epoch == 0 {
            self.progress = Progress { step: self.progress.step, loss: self.progress.loss, ..Progress::default() };
        }
        let batch =
            batches.recv().expect("the loader ends after the last step, or by a panic that the scope passes on");
        let batch = batch.upload(self.data, &self.device);
        let n_images = batch.labels.len();
        let rates = self.schedule.rates(step);
        let Differentiated { loss, n_correct, gradients, statistics } = self.differentiate(step, batch)?;
        if !loss.is_finite() {
            return Err(Error::Diverged { step, loss });
        }
        let gradient_file = step.is_multiple_of(self.options.grad_interval).then(|| self.directory.gradient_file(step));
        if let Some(path) = &gradient_file {
            let entries = self.parameters.iter().zip(&gradients).map(|(parameter, gradient)| {
                Entry::of(parameter.name().to_owned(), parameter.shape(), gradient.clone(), self.options.device)
            });
            let mut metadata = self.settings.clone();
            let facts = [
                ("step", step.to_string()),
                ("epoch", (epoch + 1).to_string()),
                ("loss", loss.to_string()),
                ("n_images", n_images.to_string()),
                ("tag", self.options.tag.clone()),
                ("learning_rate", rates.learning_rate.to_string()),
                ("momentum", rates.momentum.to_string()),
            ];
            metadata.extend(facts.map(|(key, value)| (format!("lmgc.{key}"), value)));
            tensor_file::write(path, &entries.collect::<Result<Vec<_>, Error>>()?, metadata)?;
        }
        self.parameters.follow(statistics);
        self.optimizer.step(&mut self.parameters, gradients, rates);
        self.last_test = None;
        self.progress = Progress {
            step,
            loss,
            epoch_loss: self.progress.epoch_loss + f64::from(loss),
            n_correct: self.progress.n_correct + n_correct as u64,
            n_images: self.progress.n_images + n_images as u64,
        };
        let has_gradients = gradient_file.is_some();
        let report = StepReport {
            step,
            n_steps: self.schedule.n_steps,
            epoch: epoch + 1,
            loss,
            accuracy: n_correct as f64 / n_images as f64,
            learning_rate: rates.learning_rate,
            images_per_s: n_images as f64 / start.elapsed().as_secs_f64(),
            gradient_file,
        };
        self.log.step(&report)?;
        on_report(&Report::Step(report));
        if self.schedule.ends_epoch(step) {
            self.end_epoch(epoch + 1, on_report)?;
        }
        // After the end of an epoch, so that a run that goes on from here need not make up for it.
        if has_gradients || step == self.schedule.n_steps || self.saved.elapsed() >= STATE_INTERVAL {
            let path = self.directory.state_file();
            let (parameters, optimizer) = (&self.parameters, &*self.optimizer);
            state::save(&path, &self.progress, &self.settings, parameters, optimizer, self.options.device)?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    /// Tests the network, and writes a model checkpoint when it is due.
    fn end_epoch(&mut self, epoch: u64, on_report: &mut dyn FnMut(&Report)) -> Result<(), Error> {
        let test = self.test()?;
        self.last_test = Some(test);
        let interval = self.options.model_interval;
        let is_due = interval > 0 && epoch.is_multiple_of(interval);
        let Progress { step, epoch_loss, n_correct, n_images, .. } = self.progress;
        let report = EpochReport {
            epoch,
            step,
            train_loss: epoch_loss / self.schedule.n_steps_per_epoch as f64,
            train_accuracy: n_correct as f64 / n_images as f64,
            test_loss: test.loss,
            test_accuracy: test.n_correct as f64 / self.data.n_images(Split::Test) as f64,
            model_file: is_due.then(|| self.directory.model_file(epoch)),
        };
        if let Some(path) = &report.model_file {
            let mut metadata = self.settings.clone();
            metadata.insert("lmgc.tag".to_owned(), self.options.tag.clone());
            if let Value::Object(facts) = report.describe() {
                metadata.extend(facts.into_iter().map(|(key, value)| (format!("lmgc.{key}"), value.to_string())));
            }
            state::save_model(path, step, &self.parameters, metadata, self.options.device)?;
        }
        self.log.epoch(&report)?;
        on_report(&Report::Epoch(report));
        Ok(())
    }

    /// The loss of a batch and its gradient with respect to every parameter.
    fn differentiate(&self, step: u64, batch: Batch) -> Result<Differentiated, Error> {
        let device = self.options.device;
        let mut pass = Pass::training(&self.parameters).with_dropout(self.options.seed, step);
        let scores = self.network.forward(&mut pass, batch.images);
        let loss = cross_entropy(scores.clone(), batch.targets);
        let mut of_all = loss.backward();
        let of_each = self.parameters.iter().map(|parameter| {
            let gradient = parameter.values.grad_remove(&mut of_all);
            gradient.expect("every parameter takes part in the loss")
        });
        let gradients = of_each.collect();
        let statistics = pass.into_statistics();
        let loss = loss.try_into_scalar::<f32>().map_err(|error| device.failed(error))?;
        let n_correct = n_correct(&download(scores.without_autodiff(), device)?, &batch.labels);
        Ok(Differentiated { loss, n_correct, gradients, statistics })
    }

    /// How the network does on the test images.
    fn test(&self) -> Result<TestResult, Error> {
        let parameters = self.parameters.without_autodiff();
        let device = self.device.clone().without_autodiff();
        let indices: Vec<usize> = (0..self.data.n_images(Split::Test)).collect();
        let mut result = TestResult { n_correct: 0, loss: 0.0 };
        for indices in indices.chunks(N_TEST_IMAGES_AT_ONCE) {
            let batch = HostBatch::load(self.data, Split::Test, indices, 0).upload(self.data, &device);
            let scores = self.network.forward(&mut Pass::testing(&parameters), batch.images);
            let loss = cross_entropy(scores.clone(), batch.targets);
            let loss = loss.try_into_scalar::<f32>().map_err(|error| self.options.device.failed(error))?;
            result.loss += f64::from(loss) * indices.len() as f64;
            result.n_correct += n_correct(&download(scores, self.options.device)?, &batch.labels);
        }
        result.loss /= indices.len() as f64;
        Ok(result)
    }
}

/// How many images get the highest score at their own class; `scores` is `[images, classes]`.
fn n_correct(scores: &[f32], labels: &[usize]) -> usize {
    let rows = scores.chunks_exact(scores.len() / labels.len()).zip(labels);
    rows.filter(|(row, label)| row.iter().all(|&score| score <= row[**label])).count()
}

/// What decides a run's results, as text under `lmgc.*` keys.
fn settings(options: &CollectOptions, schedule: &Schedule, n_classes: usize) -> BTreeMap<String, String> {
    let optimizer = options.optimizer();
    let entries = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("dataset", options.dataset.to_string()),
        ("n_classes", n_classes.to_string()),
        ("arch", options.arch.to_string()),
        ("seed", options.seed.to_string()),
        ("device", options.device.to_string()),
        ("batch_size", options.batch_size.to_string()),
        ("optimizer", optimizer.to_string()),
        ("weight_decay", optimizer.weight_decay().to_string()),
        ("schedule", schedule.describe()),
    ];
    entries.into_iter().map(|(key, value)| (format!("lmgc.{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, DatasetName};

    fn options(arch: Architecture, steps: u64, out: &std::path::Path) -> CollectOptions {
        let mut options = CollectOptions::new(DatasetName::Digits, arch, out);
        (options.steps, options.grad_interval, options.batch_size) = (Some(steps), 2, 479);
        options
    }

    #[test]
    fn the_same_seed_gives_the_same_file_for_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        for (dataset, arch) in [
            (DatasetName::Digits, Architecture::ConvNet),
            (DatasetName::Synthetic, Architecture::ConvNet),
            (DatasetName::Synthetic, Architecture::Vgg11),
            (DatasetName::Synthetic, Architecture::Vit),
        ] {
            let run = |name: &str, seed: u64, n_threads: usize| {
                let mut options = CollectOptions::new(dataset, arch, folder.path().join(name));
                (options.steps, options.grad_interval) = (Some(2), 2);
                (options.batch_size, options.seed) = (5, seed);
                let data = options.open_dataset(&()).unwrap();
                let schedule = Schedule::new(&options, data.n_images(Split::Train)).unwrap();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                pool.install(|| Run::prepare(&options, &*data, &schedule).unwrap().train(&mut |_| ())).unwrap();
                std::fs::read(RunDirectory::of(&options).gradient_file(2)).unwrap()
            };
            let first = run("first", 11, 1);
            assert!(first == run("again", 11, 1), "{dataset} {arch}: another run");
            assert!(first == run("threads", 11, 3), "{dataset} {arch}: more threads");
            assert!(first != run("other", 12, 1), "{dataset} {arch}: another seed");
        }
    }

    #[test]
    fn a_run_that_would_write_nothing_is_refused() {
        let mut short = options(Architecture::ConvNet, 10, "out".as_ref());
        short.grad_interval = 11;
        let message = collect(&short, &mut |_| ()).unwrap_err().to_string();
        assert!(message.contains("--grad-interval = 11") && message.contains("10 steps"), "{message}");
    }
}
