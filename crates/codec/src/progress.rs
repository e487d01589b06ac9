//! How a long job tells what it has done.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Compressing.
    Compress,
    /// Decoding what was compressed and comparing it with the input.
    Verify,
    /// Decompressing.
    Decompress,
}

/// Receives progress in original bytes. Calls may come from several threads.
pub trait Progress: Sync {
    /// A stage over `n_bytes` original bytes begins.
    fn begin(&self, stage: Stage, n_bytes: u64);
    /// `n_bytes` more are done.
    fn advance(&self, n_bytes: u64);
    /// The stage has ended.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: Stage, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// Spreads a block's bytes over its steps, so that they add up exactly.
pub(crate) struct Share<'a> {
    progress: &'a dyn Progress,
    n_bytes: u64,
    n_steps: u64,
    done: u64,
}

impl<'a> Share<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, n_bytes: usize, n_steps: usize) -> Self {
        Self { progress, n_bytes: n_bytes as u64, n_steps: n_steps as u64, done: 0 }
    }

    /// Reports `n_steps` more.
    pub(crate) fn advance(&mut self, n_steps: usize) {
        let bytes_at =
            |steps: u64| (u128::from(self.n_bytes) * u128::from(steps) / u128::from(self.n_steps.max(1))) as u64;
        let after = self.done + n_steps as u64;
        self.progress.advance(bytes_at(after) - bytes_at(self.done));
        self.done = after;
    }
}
