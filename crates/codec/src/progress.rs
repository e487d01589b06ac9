//! How a long job tells what it has done.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// What became of the work of an earlier run that was interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EarlierRun {
    /// It goes on: these blocks need not be coded again.
    Resumed {
        /// Blocks that were done.
        n_blocks_done: usize,
        /// Blocks of the whole job.
        n_blocks: usize,
        /// Original bytes in the blocks that were done.
        n_bytes_done: u64,
        /// Original bytes of the whole job.
        n_bytes: u64,
    },
    /// It is of no use to this run, which starts afresh.
    Discarded {
        /// Why.
        reason: &'static str,
    },
    /// Nothing can be kept where the output goes: this run cannot be resumed.
    NotKept {
        /// Why.
        reason: String,
    },
}

/// Receives progress in original bytes. Calls may come from several threads.
pub trait Progress: Sync {
    /// Before the first stage: what became of an earlier run. After [`EarlierRun::Resumed`], the first stage begins with
    /// that many of its bytes done.
    fn earlier_run(&self, _: &EarlierRun) {}
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

/// Spreads a block's bytes over its steps, so that they add up exactly. Steps may come from several threads.
pub(crate) struct Share<'a> {
    progress: &'a dyn Progress,
    n_bytes: u64,
    n_steps: u64,
    done: AtomicU64,
}

impl<'a> Share<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, n_bytes: usize, n_steps: usize) -> Self {
        Self { progress, n_bytes: n_bytes as u64, n_steps: n_steps as u64, done: AtomicU64::new(0) }
    }

    /// Reports `n_steps` more.
    pub(crate) fn advance(&self, n_steps: usize) {
        let bytes_at = |steps: u64| {
            let steps = steps.min(self.n_steps);
            (u128::from(self.n_bytes) * u128::from(steps) / u128::from(self.n_steps.max(1))) as u64
        };
        let before = self.done.fetch_add(n_steps as u64, Ordering::Relaxed);
        self.progress.advance(bytes_at(before + n_steps as u64) - bytes_at(before));
    }

    /// Reports all that is left.
    pub(crate) fn finish(&self) {
        let left = self.n_steps.saturating_sub(self.done.load(Ordering::Relaxed));
        self.advance(left as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum(AtomicU64);

    impl Progress for Sum {
        fn begin(&self, _: Stage, _: u64) {}
        fn advance(&self, n_bytes: u64) {
            self.0.fetch_add(n_bytes, Ordering::Relaxed);
        }
        fn end(&self) {}
    }

    #[test]
    fn steps_add_up_to_all_bytes() {
        for (n_bytes, n_steps) in [(0, 3), (1, 7), (1000, 7), (7, 1000)] {
            let sum = Sum(AtomicU64::new(0));
            let share = Share::new(&sum, n_bytes, n_steps);
            (0..n_steps).for_each(|_| share.advance(1));
            share.finish();
            assert_eq!(sum.0.into_inner(), n_bytes as u64);
            let sum = Sum(AtomicU64::new(0));
            let share = Share::new(&sum, n_bytes, n_steps);
            share.advance(n_steps / 2);
            share.finish();
            share.advance(5);
            assert_eq!(sum.0.into_inner(), n_bytes as u64, "neither too few nor too many");
        }
    }
}
