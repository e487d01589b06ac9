use std::path::{Path, PathBuf};

use crate::{CollectOptions, Error};

/// Where the files of a run lie: `OUT/<dataset>-<arch>/<tag>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// The directory that these options name.
    pub fn of(options: &CollectOptions) -> Self {
        Self(options.out.join(format!("{}-{}", options.dataset, options.arch)).join(&options.tag))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The gradients of a step: `grads/grad_<step, 8 digits>.safetensors`.
    pub fn gradient_file(&self, step: u64) -> PathBuf {
        self.gradients().join(format!("grad_{step:08}.safetensors"))
    }

    /// The model after an epoch (from 1): `ckpts/model_<epoch, 3 digits>.safetensors`.
    pub fn model_file(&self, epoch: u64) -> PathBuf {
        self.models().join(format!("model_{epoch:03}.safetensors"))
    }

    /// The training log, one JSON object a line: `log.jsonl`.
    pub fn log_file(&self) -> PathBuf {
        self.0.join("log.jsonl")
    }

    /// All that a killed run needs to go on: `state.safetensors`.
    pub fn state_file(&self) -> PathBuf {
        self.0.join("state.safetensors")
    }

    fn gradients(&self) -> PathBuf {
        self.0.join("grads")
    }

    fn models(&self) -> PathBuf {
        self.0.join("ckpts")
    }

    /// Makes the directories that the files go to.
    pub(crate) fn create(&self, with_models: bool) -> Result<(), Error> {
        let directories = [Some(self.gradients()), with_models.then(|| self.models())];
        for path in directories.into_iter().flatten() {
            std::fs::create_dir_all(&path).map_err(|source| Error::CreateDirectory { path, source })?;
        }
        Ok(())
    }

    /// The gradient files of the run's steps that are there, by rising step.
    pub(crate) fn gradient_files(&self, options: &CollectOptions, n_steps: u64) -> Vec<PathBuf> {
        let steps = (1..=n_steps / options.grad_interval).map(|k| k * options.grad_interval);
        steps.map(|step| self.gradient_file(step)).filter(|path| path.exists()).collect()
    }
}
