//! What a killed run needs to go on, and model checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{Device, Tensor, TensorData};

use crate::network::ParameterSet;
use crate::optimizer::Optimizer;
use crate::tensor_file::{self, Entry};
use crate::{DeviceName, Error};

/// What training has summed up since the epoch began, and the last loss.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    /// The loss of the last step.
    pub(crate) loss: f32,
    /// The sum of the steps' losses in this epoch.
    pub(crate) epoch_loss: f64,
    /// Images classified right in this epoch, as they were trained on.
    pub(crate) n_correct: u64,
    /// Images seen in this epoch.
    pub(crate) n_images: u64,
}

const STEP: &str = "lmgc.step";
const LOSS: &str = "lmgc.loss";
const EPOCH_LOSS: &str = "lmgc.epoch_loss";
const N_CORRECT: &str = "lmgc.n_correct";
const N_IMAGES: &str = "lmgc.n_images";

/// Writes everything that decides how the run goes on. `settings` are those that a resumed run must share.
pub(crate) fn save(
    path: &Path,
    progress: &Progress,
    settings: &BTreeMap<String, String>,
    parameters: &ParameterSet,
    optimizer: &dyn Optimizer,
    device: DeviceName,
) -> Result<(), Error> {
    let mut entries = model_entries(parameters, device)?;
    for (kind, tensors) in optimizer.state() {
        for (parameter, values) in parameters.iter().zip(tensors) {
            let name = optimizer_entry(kind, parameter.name());
            entries.push(Entry::of(name, parameter.shape(), values.clone(), device)?);
        }
    }
    let mut metadata = settings.clone();
    let facts = [
        (STEP, progress.step.to_string()),
        (LOSS, progress.loss.to_string()),
        (EPOCH_LOSS, progress.epoch_loss.to_string()),
        (N_CORRECT, progress.n_correct.to_string()),
        (N_IMAGES, progress.n_images.to_string()),
    ];
    metadata.extend(facts.map(|(key, value)| (key.to_owned(), value)));
    tensor_file::write(path, &entries, metadata)
}

fn optimizer_entry(kind: &str, parameter: &str) -> String {
    format!("optimizer.{kind}.{parameter}")
}

/// Takes a saved run up: fills parameters and optimizer, and says how far it was.
///
/// # Errors
/// [`Error::OtherRun`] where the settings differ, [`Error::BrokenState`] where something is missing.
pub(crate) fn load(
    path: &Path,
    settings: &BTreeMap<String, String>,
    parameters: &mut ParameterSet,
    optimizer: &mut dyn Optimizer,
    device: &Device,
) -> Result<Progress, Error> {
    let mut contents = tensor_file::read(path)?;
    let broken = |problem: String| Error::BrokenState { path: path.to_owned(), problem };
    for (key, expected) in settings {
        let found = contents.metadata.get(key).cloned().unwrap_or_default();
        if found != *expected {
            let setting = key.trim_start_matches("lmgc.").to_owned();
            return Err(Error::OtherRun { path: run_of(path), setting, found, expected: expected.clone() });
        }
    }
    let facts = &contents.metadata;
    let progress = Progress {
        step: fact(facts, STEP, path)?,
        loss: fact(facts, LOSS, path)?,
        epoch_loss: fact(facts, EPOCH_LOSS, path)?,
        n_correct: fact(facts, N_CORRECT, path)?,
        n_images: fact(facts, N_IMAGES, path)?,
    };
    let mut take = |name: &str, n_values: usize| {
        let values = contents.tensors.remove(name).ok_or_else(|| broken(format!("`{name}` is missing")))?;
        if values.len() == n_values {
            Ok(values)
        } else {
            Err(broken(format!("`{name}` has {} values, not {n_values}", values.len())))
        }
    };
    let plain = device.clone().without_autodiff();
    let upload = |values: Vec<f32>| {
        let n_values = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [n_values]), &plain)
    };
    let mut state = Vec::new();
    let kinds: Vec<&str> = optimizer.state().into_iter().map(|(kind, _)| kind).collect();
    for kind in kinds {
        let of_each = parameters
            .iter()
            .map(|parameter| take(&optimizer_entry(kind, parameter.name()), parameter.n_values()).map(upload));
        state.push(of_each.collect::<Result<Vec<_>, Error>>()?);
    }
    let values = parameters.iter().map(|parameter| take(parameter.name(), parameter.n_values()));
    let values = values.collect::<Result<Vec<_>, Error>>()?;
    for statistics in parameters.statistics_mut() {
        let [n_values] = statistics.mean.dims();
        statistics.mean = upload(take(&format!("{}.running_mean", statistics.name()), n_values)?);
        statistics.variance = upload(take(&format!("{}.running_var", statistics.name()), n_values)?);
    }
    let mut values = values.into_iter();
    parameters.set_values(|_| values.next().expect("one a parameter"));
    optimizer.restore(state, progress.step);
    Ok(progress)
}

/// A number among the facts of a state file.
fn fact<T: FromStr>(facts: &BTreeMap<String, String>, key: &str, path: &Path) -> Result<T, Error> {
    let broken = |problem: String| Error::BrokenState { path: path.to_owned(), problem };
    let text = facts.get(key).ok_or_else(|| broken(format!("`{key}` is missing")))?;
    text.parse().map_err(|_| broken(format!("`{key}` is not a number")))
}

/// The run's directory, which holds its state file.
fn run_of(state: &Path) -> PathBuf {
    state.parent().unwrap_or(state).to_owned()
}

/// Parameters and running statistics under the names of PyTorch's `state_dict()`.
pub(crate) fn model_entries(parameters: &ParameterSet, device: DeviceName) -> Result<Vec<Entry>, Error> {
    let of_parameters = parameters.iter().map(|parameter| {
        let values = parameter.values().clone().without_autodiff();
        Entry::of(parameter.name().to_owned(), parameter.shape(), values, device)
    });
    let mut entries = of_parameters.collect::<Result<Vec<_>, Error>>()?;
    for statistics in parameters.statistics() {
        for (part, values) in [("running_mean", &statistics.mean), ("running_var", &statistics.variance)] {
            let name = format!("{}.{part}", statistics.name());
            entries.push(Entry::of(name, &values.dims(), values.clone(), device)?);
        }
    }
    Ok(entries)
}

/// Writes a model checkpoint: what PyTorch's `load_state_dict` takes.
pub(crate) fn save_model(
    path: &Path,
    n_steps: u64,
    parameters: &ParameterSet,
    metadata: BTreeMap<String, String>,
    device: DeviceName,
) -> Result<(), Error> {
    let mut entries = model_entries(parameters, device)?;
    let counts = parameters
        .statistics()
        .iter()
        .map(|statistics| Entry::integer(format!("{}.num_batches_tracked", statistics.name()), n_steps as i64));
    entries.extend(counts);
    tensor_file::write(path, &entries, metadata)
}
