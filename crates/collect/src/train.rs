use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};

use crate::dataset::{Dataset, Split};
use crate::gradient_file::{create_gradient_directory, gradient_file_path};
use crate::network::{Network, ParameterSet, cross_entropy};
use crate::optimizer::{Sgd, cosine_learning_rate};
use crate::random::{Purpose, Stream};
use crate::{CollectOptions, DeviceName, Error, gradient_file};

/// Over how many epochs the reference's learning rate falls to 0, and how many it trains.
const N_SCHEDULE_EPOCHS: u64 = 200;

/// How many test images are classified at once.
const N_TEST_IMAGES_AT_ONCE: usize = 128;

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
    /// The learning rate of the step's update.
    pub learning_rate: f64,
    /// Images a second in this step, everything included.
    pub images_per_s: f64,
    /// The file that the step's gradients went to, every [`CollectOptions::grad_interval`] steps.
    pub gradient_file: Option<PathBuf>,
}

/// What a finished run did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CollectSummary {
    /// The gradient files, by rising step.
    pub gradient_files: Vec<PathBuf>,
    /// How many steps were trained.
    pub n_steps: u64,
    /// How many trainable values the network has.
    pub n_parameter_values: usize,
    /// The loss of the last step.
    pub final_loss: f32,
    /// How many test images the trained network classifies right.
    pub n_test_correct: usize,
    /// How many test images there are.
    pub n_test: usize,
    /// How long all of it took.
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
/// The recipe is the reference's: cross entropy; SGD with a learning rate of 0.1, momentum 0.9 and weight decay 5e-4; the
/// rate falls along a cosine over 200 epochs, or over the whole run when that is longer. Images are shuffled anew each
/// epoch. Step `k` is the `k`-th update, from 1; its gradients, as left by the backward pass before weight decay, are
/// taken at the weights after `k - 1` updates, and are written when `k` is a multiple of the interval. Files of an
/// earlier run under the same names are replaced.
///
/// `on_step` is called after each step, once its gradient file (if any) is complete.
///
/// # Errors
/// Bad options, among them an interval longer than the run, which would write nothing; a data set that cannot be opened; a
/// device this build lacks; a loss that is no longer finite; files that cannot be written.
pub fn collect(options: &CollectOptions, on_step: &mut dyn FnMut(&StepReport)) -> Result<CollectSummary, Error> {
    collect_on(options, options.open_dataset(&())?, on_step)
}

/// As [`collect`], with the data set already open ([`CollectOptions::open_dataset`] tells how far downloading and decoding
/// have come).
///
/// # Errors
/// As [`collect`].
pub fn collect_on(
    options: &CollectOptions,
    data: Box<dyn Dataset>,
    on_step: &mut dyn FnMut(&StepReport),
) -> Result<CollectSummary, Error> {
    let start = Instant::now();
    let trained = train(options, data, on_step)?;
    Ok(CollectSummary {
        n_test_correct: trained.n_test_correct()?,
        n_test: trained.data.n_images(Split::Test),
        n_parameter_values: trained.parameters.iter().map(|parameter| parameter.n_values()).sum(),
        n_steps: trained.n_steps,
        final_loss: trained.final_loss,
        gradient_files: trained.gradient_files,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A trained network, and what came of its training.
struct Trained {
    data: Box<dyn Dataset>,
    network: Box<dyn Network>,
    parameters: ParameterSet,
    device: Device,
    device_name: DeviceName,
    n_steps: u64,
    final_loss: f32,
    gradient_files: Vec<PathBuf>,
}

/// All of [`collect_on`] but the test.
fn train(
    options: &CollectOptions,
    data: Box<dyn Dataset>,
    on_step: &mut dyn FnMut(&StepReport),
) -> Result<Trained, Error> {
    options.validate()?;
    let device = options.device.open()?;
    let schedule = Schedule::new(options, data.n_images(Split::Train))?;
    create_gradient_directory(options)?;

    let (network, mut parameters) = options.arch.build(data.image_shape(), data.n_classes(), options.seed, &device);
    let mut optimizer = Sgd::new(Sgd::MOMENTUM, Sgd::WEIGHT_DECAY);
    let mut gradient_files = Vec::new();
    let mut final_loss = f32::NAN;
    let mut order = Vec::new();

    for step in 1..=schedule.n_steps {
        let step_start = Instant::now();
        let (epoch, batch) = schedule.place(step);
        if batch == 0 {
            let mut stream = Stream::new(options.seed, Purpose::Shuffle, epoch, 0);
            order = stream.permutation(data.n_images(Split::Train));
        }
        let first = batch as usize * options.batch_size;
        let indices = &order[first..order.len().min(first.saturating_add(options.batch_size))];
        let learning_rate = cosine_learning_rate(Sgd::LEARNING_RATE, epoch, schedule.n_cosine_epochs);

        let batch = Batch::load(&*data, Split::Train, epoch, indices, &device);
        let (loss, gradients) = gradients(&*network, &parameters, batch, options.device)?;
        if !loss.is_finite() {
            return Err(Error::Diverged { step, loss });
        }
        let gradient_file = if step % options.grad_interval == 0 {
            let path = gradient_file_path(options, step);
            let values = gradients.iter().map(|gradient| download(gradient.clone(), options.device));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            let facts = StepFacts { step, epoch, loss, learning_rate, n_images: indices.len() };
            let metadata = facts.describe(options, data.n_classes(), &schedule);
            gradient_file::write(&path, &parameters, &values, metadata)?;
            gradient_files.push(path.clone());
            Some(path)
        } else {
            None
        };
        optimizer.step(&mut parameters, gradients, learning_rate);
        final_loss = loss;
        on_step(&StepReport {
            step,
            n_steps: schedule.n_steps,
            epoch: epoch + 1,
            loss,
            learning_rate,
            images_per_s: indices.len() as f64 / step_start.elapsed().as_secs_f64(),
            gradient_file,
        });
    }
    let (n_steps, device_name) = (schedule.n_steps, options.device);
    Ok(Trained { data, network, parameters, device, device_name, n_steps, final_loss, gradient_files })
}

impl Trained {
    /// How many test images get the highest score at their own class.
    fn n_test_correct(&self) -> Result<usize, Error> {
        let parameters = self.parameters.without_autodiff();
        let device = self.device.clone().without_autodiff();
        let indices: Vec<usize> = (0..self.data.n_images(Split::Test)).collect();
        let mut n_correct = 0;
        for indices in indices.chunks(N_TEST_IMAGES_AT_ONCE) {
            let batch = Batch::load(&*self.data, Split::Test, 0, indices, &device);
            let scores = download(self.network.forward(&parameters, batch.images), self.device_name)?;
            let rows = scores.chunks_exact(self.data.n_classes()).zip(&batch.labels);
            n_correct += rows.filter(|(row, label)| row.iter().all(|&score| score <= row[**label])).count();
        }
        Ok(n_correct)
    }
}

/// How long the run is.
struct Schedule {
    n_steps: u64,
    n_steps_per_epoch: u64,
    n_cosine_epochs: u64,
}

impl Schedule {
    fn new(options: &CollectOptions, n_train: usize) -> Result<Self, Error> {
        let n_steps_per_epoch = n_train.div_ceil(options.batch_size) as u64;
        let n_steps = match (options.steps, options.epochs) {
            (Some(n_steps), _) => n_steps,
            (None, n_epochs) => n_epochs.unwrap_or(N_SCHEDULE_EPOCHS).saturating_mul(n_steps_per_epoch),
        };
        if options.grad_interval > n_steps {
            return Err(Error::InvalidOption {
                option: "--grad-interval",
                value: options.grad_interval.to_string(),
                problem: format!("a run of {n_steps} steps would write no gradients; use {n_steps} or less"),
            });
        }
        let n_epochs = n_steps.div_ceil(n_steps_per_epoch);
        Ok(Self { n_steps, n_steps_per_epoch, n_cosine_epochs: n_epochs.max(N_SCHEDULE_EPOCHS) })
    }

    /// The epoch (from 0) of a step (from 1), and the batch within it (from 0).
    fn place(&self, step: u64) -> (u64, u64) {
        ((step - 1) / self.n_steps_per_epoch, (step - 1) % self.n_steps_per_epoch)
    }
}

/// What a gradient file says about its step, beside the settings of the run.
struct StepFacts {
    step: u64,
    epoch: u64,
    loss: f32,
    learning_rate: f64,
    n_images: usize,
}

impl StepFacts {
    /// The settings and these facts as text under `lmgc.*` keys.
    fn describe(&self, options: &CollectOptions, n_classes: usize, schedule: &Schedule) -> BTreeMap<String, String> {
        let entries = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("dataset", options.dataset.to_string()),
            ("n_classes", n_classes.to_string()),
            ("arch", options.arch.to_string()),
            ("tag", options.tag.clone()),
            ("seed", options.seed.to_string()),
            ("device", options.device.to_string()),
            ("step", self.step.to_string()),
            ("epoch", (self.epoch + 1).to_string()),
            ("loss", self.loss.to_string()),
            ("batch_size", options.batch_size.to_string()),
            ("n_images", self.n_images.to_string()),
            ("optimizer", "sgd".to_owned()),
            ("initial_learning_rate", Sgd::LEARNING_RATE.to_string()),
            ("learning_rate", self.learning_rate.to_string()),
            ("momentum", Sgd::MOMENTUM.to_string()),
            ("weight_decay", Sgd::WEIGHT_DECAY.to_string()),
            ("schedule", format!("cosine over {} epochs", schedule.n_cosine_epochs)),
        ];
        entries.into_iter().map(|(key, value)| (format!("lmgc.{key}"), value)).collect()
    }
}

/// Images and their classes on the device.
struct Batch {
    /// `[batch, channels, height, width]`.
    images: Tensor<4>,
    /// `[batch, classes]`: 1 at the image's class, else 0.
    targets: Tensor<2>,
    labels: Vec<usize>,
}

impl Batch {
    fn load(data: &dyn Dataset, split: Split, epoch: u64, indices: &[usize], device: &Device) -> Self {
        let shape = data.image_shape();
        let mut pixels = vec![0.0f32; indices.len() * shape.n_values()];
        let images = indices.iter().zip(pixels.chunks_exact_mut(shape.n_values()));
        let labels: Vec<usize> = images.map(|(&index, image)| data.image(split, index, epoch, image)).collect();
        let n_classes = data.n_classes();
        let mut targets = vec![0.0f32; indices.len() * n_classes];
        for (row, &label) in targets.chunks_exact_mut(n_classes).zip(&labels) {
            row[label] = 1.0;
        }
        let pixels = TensorData::new(pixels, [indices.len(), shape.channels, shape.height, shape.width]);
        let targets = TensorData::new(targets, [indices.len(), n_classes]);
        Self { images: Tensor::from_data(pixels, device), targets: Tensor::from_data(targets, device), labels }
    }
}

/// The loss of a batch and its gradient with respect to every parameter, in order, flat, without autodiff.
fn gradients(
    network: &dyn Network,
    parameters: &ParameterSet,
    batch: Batch,
    device_name: DeviceName,
) -> Result<(f32, Vec<Tensor<1>>), Error> {
    let loss = cross_entropy(network.forward(parameters, batch.images), batch.targets);
    let mut gradients = loss.backward();
    let loss = loss.try_into_scalar::<f32>().map_err(|error| device_name.failed(error))?;
    let of_each = parameters.iter().map(|parameter| {
        let gradient = parameter.values.grad_remove(&mut gradients);
        gradient.expect("every parameter takes part in the loss")
    });
    Ok((loss, of_each.collect()))
}

/// A tensor's values.
fn download<const D: usize>(tensor: Tensor<D>, device_name: DeviceName) -> Result<Vec<f32>, Error> {
    let data = tensor.try_into_data().map_err(|error| device_name.failed(error))?;
    data.try_to_vec().map_err(|error| device_name.failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, DatasetName};

    fn options(steps: Option<u64>, epochs: Option<u64>) -> CollectOptions {
        let mut options = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, "out");
        (options.steps, options.epochs, options.grad_interval) = (steps, epochs, 1);
        options
    }

    #[test]
    fn the_last_batch_of_an_epoch_counts_as_a_step() {
        let schedule = Schedule::new(&options(None, Some(2)), 1437).unwrap();
        assert_eq!((schedule.n_steps, schedule.n_steps_per_epoch), (24, 12));
        assert_eq!(schedule.place(1), (0, 0));
        assert_eq!(schedule.place(12), (0, 11));
        assert_eq!(schedule.place(13), (1, 0));
    }

    #[test]
    fn the_cosine_covers_200_epochs_or_the_run() {
        let n_cosine_epochs = |steps, epochs| Schedule::new(&options(steps, epochs), 1437).unwrap().n_cosine_epochs;
        assert_eq!(n_cosine_epochs(Some(10), None), 200);
        assert_eq!(n_cosine_epochs(None, None), 200);
        assert_eq!(n_cosine_epochs(Some(200 * 12 + 1), None), 201);
        assert_eq!(n_cosine_epochs(None, Some(300)), 300);
        assert_eq!(Schedule::new(&options(None, None), 1437).unwrap().n_steps, 2400);
    }

    #[test]
    fn the_same_seed_gives_the_same_file_for_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        for dataset in DatasetName::ALL.into_iter().filter(|name| !name.needs_files()) {
            let run = |name: &str, seed: u64, n_threads: usize| {
                let mut options = CollectOptions::new(dataset, Architecture::ConvNet, folder.path().join(name));
                (options.steps, options.grad_interval) = (Some(3), 3);
                (options.batch_size, options.seed) = (5, seed);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                let data = options.open_dataset(&()).unwrap();
                let trained = pool.install(|| train(&options, data, &mut |_| ())).unwrap();
                std::fs::read(&trained.gradient_files[0]).unwrap()
            };
            let first = run("first", 11, 1);
            assert!(first == run("again", 11, 1), "{dataset}: another run");
            assert!(first == run("threads", 11, 3), "{dataset}: more threads");
            assert!(first != run("other", 12, 1), "{dataset}: another seed");
        }
    }

    #[test]
    fn a_run_that_would_write_nothing_is_refused() {
        let mut short = options(Some(10), None);
        short.grad_interval = 11;
        let message = collect(&short, &mut |_| ()).unwrap_err().to_string();
        assert!(message.contains("--grad-interval = 11") && message.contains("10 steps"), "{message}");
    }
}
