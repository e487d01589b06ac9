use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use lmgc_tensors::safetensors;

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

    /// Makes the directories that the files go to, keeps other runs out for as long as the lock lives, and clears away what
    /// a killed run had half written.
    pub(crate) fn open(&self, with_models: bool) -> Result<RunLock, Error> {
        let directories = [Some(self.gradients()), with_models.then(|| self.models())];
        for path in directories.into_iter().flatten() {
            std::fs::create_dir_all(&path).map_err(|source| Error::CreateDirectory { path, source })?;
        }
        let path = self.0.join(".lock");
        let cannot = |source| Error::Write { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::RunIsBusy { path: self.0.clone() }),
            Err(TryLockError::Error(source)) => return Err(cannot(source)),
        }
        for directory in [self.0.clone(), self.gradients(), self.models()] {
            remove_leftovers(&directory);
        }
        Ok(RunLock { _file: file })
    }

    /// The gradient files of the run's steps that are there, by rising step.
    pub(crate) fn gradient_files(&self, options: &CollectOptions, n_steps: u64) -> Vec<PathBuf> {
        let steps = (1..=n_steps / options.grad_interval).map(|k| k * options.grad_interval);
        steps.map(|step| self.gradient_file(step)).filter(|path| path.exists()).collect()
    }
}

/// Keeps a run's directory to itself until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

/// Takes away temporary files; those that cannot be taken away do no harm.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if safetensors::is_temporary(&path) {
            let _ = std::fs::remove_file(path);
        }
    }
}
