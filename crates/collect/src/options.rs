use std::path::PathBuf;

use crate::dataset::{DataProgress, Dataset, DatasetOptions, GreyAsColour};
use crate::optimizer::OptimizerName;
use crate::schedule::ScheduleName;
use crate::{Architecture, DatasetName, DeviceName, Error};

/// What to train, for how long, and where the gradients go.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectOptions {
    /// The data set to train on.
    pub dataset: DatasetName,
    /// The network to train.
    pub arch: Architecture,
    /// The directory under which `<dataset>-<arch>/<tag>/grads/` is made.
    pub out: PathBuf,
    /// Where the data set's files lie; the embedded and procedural data sets have none and ignore it.
    pub data: Option<PathBuf>,
    /// Whether files of the data set that are not in `data` yet are fetched there first.
    pub download: bool,
    /// How many steps to train; exclusive with `epochs`. Neither: 200 epochs, the reference's length.
    pub steps: Option<u64>,
    /// How many passes over the training images; exclusive with `steps`.
    pub epochs: Option<u64>,
    /// A gradient file is written after every so many steps. The reference's default is 200.
    pub grad_interval: u64,
    /// Names the run: one path component. Repeats are called 0, 1 and 2 in the reference.
    pub tag: String,
    /// The source of everything random: initial weights, order of images, procedural images.
    pub seed: u64,
    /// Images a step; the last batch of an epoch may be smaller, as in PyTorch's loader.
    pub batch_size: usize,
    /// How many classes the `synthetic` data set has (2 to 1000, by default 10); other data sets have a fixed number.
    pub n_classes: Option<usize>,
    /// The optimizer; `None`: the one that the reference means for the architecture.
    pub optimizer: Option<OptimizerName>,
    /// What is done where the reference's schedule slips.
    pub schedule: ScheduleName,
    /// A model checkpoint is written after every so many epochs; 0: none. The reference's default is 5.
    pub model_interval: u64,
    /// Begin anew where an earlier run could be gone on with.
    pub restart: bool,
    /// Where to compute.
    pub device: DeviceName,
}

impl CollectOptions {
    /// The reference's settings: 200 epochs, batches of 128, a gradient file every 200 steps, a model every 5 epochs; tag `0`,
    /// seed 0, the CPU.
    pub fn new(dataset: DatasetName, arch: Architecture, out: impl Into<PathBuf>) -> Self {
        Self {
            dataset,
            arch,
            out: out.into(),
            data: None,
            download: false,
            steps: None,
            epochs: None,
            grad_interval: 200,
            tag: "0".to_owned(),
            seed: 0,
            batch_size: 128,
            n_classes: None,
            optimizer: None,
            schedule: ScheduleName::default(),
            model_interval: 5,
            restart: false,
            device: DeviceName::Cpu,
        }
    }

    /// The optimizer that will train.
    pub fn optimizer(&self) -> OptimizerName {
        self.optimizer.unwrap_or(OptimizerName::meant_for(self.arch))
    }

    /// Opens the data set, after checking the options, for [`collect_on`](crate::collect_on): in colour where the architecture
    /// needs it.
    ///
    /// # Errors
    /// Bad options, and as [`DatasetName::open`].
    pub fn open_dataset(&self, progress: &dyn DataProgress) -> Result<Box<dyn Dataset>, Error> {
        self.validate()?;
        let options = DatasetOptions {
            data: self.data.clone(),
            download: self.download,
            seed: self.seed,
            n_classes: self.n_classes,
            any_size: false,
        };
        let data = self.dataset.open(&options, progress)?;
        let is_grey = data.image_shape().channels == 1;
        Ok(if is_grey && self.arch.needs_colour() { Box::new(GreyAsColour::new(data)) } else { data })
    }

    /// Checks what can be checked without the data.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let invalid = |option, value: String, problem: &str| {
            Err(Error::InvalidOption { option, value, problem: problem.to_owned() })
        };
        if let (Some(_), Some(epochs)) = (self.steps, self.epochs) {
            return invalid("--epochs", epochs.to_string(), "give either --steps or --epochs, not both");
        }
        if self.steps == Some(0) {
            return invalid("--steps", "0".to_owned(), "at least one step is needed");
        }
        if self.epochs == Some(0) {
            return invalid("--epochs", "0".to_owned(), "at least one epoch is needed");
        }
        if self.grad_interval == 0 {
            return invalid("--grad-interval", "0".to_owned(), "give a number of steps of at least 1");
        }
        if self.batch_size == 0 {
            return invalid("--batch-size", "0".to_owned(), "at least one image a step is needed");
        }
        let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.tag.is_empty() || self.tag.starts_with('.') || !self.tag.chars().all(is_safe) {
            return invalid(
                "--tag",
                format!("{:?}", self.tag),
                "a tag names a directory: use letters, digits, `-`, `_` and `.` (not first)",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_bad_values_are_named() {
        let good = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, "out");
        good.validate().unwrap();
        let refused = |change: &dyn Fn(&mut CollectOptions), option: &str| {
            let mut options = good.clone();
            change(&mut options);
            let message = options.validate().unwrap_err().to_string();
            assert!(message.starts_with(option), "{message}");
        };
        refused(&|o| (o.steps, o.epochs) = (Some(1), Some(1)), "--epochs");
        refused(&|o| o.steps = Some(0), "--steps");
        refused(&|o| o.epochs = Some(0), "--epochs");
        refused(&|o| o.grad_interval = 0, "--grad-interval");
        refused(&|o| o.batch_size = 0, "--batch-size");
        for tag in ["", "..", "a/b", "a b", ".hidden", "a\\b"] {
            refused(&|o| o.tag = tag.to_owned(), "--tag");
        }
    }
}
