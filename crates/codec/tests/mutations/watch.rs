//! Time, memory and panics of cases.

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// After this time a case is named and the program ended: it may never come back.
const PATIENCE: Duration = Duration::from_secs(10);

type Running = Arc<Mutex<Option<(Instant, String)>>>;

/// Ends the program when a case hangs.
pub(crate) struct Watchdog(Running);

impl Watchdog {
    pub(crate) fn start() -> Self {
        let running = Running::default();
        let watched = Arc::downgrade(&running);
        thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some((start, case)) = &*running.lock().unwrap_or_else(PoisonError::into_inner)
                    && start.elapsed() > PATIENCE
                {
                    eprintln!("LMGC_MUTATION={case}: hangs for more than {PATIENCE:?}");
                    abort();
                }
                drop(running);
                thread::sleep(Duration::from_millis(200));
            }
        });
        Self(running)
    }

    pub(crate) fn begin(&self, case: impl FnOnce() -> String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), case()));
    }

    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Keeps what expected panics say, instead of printing it.
pub(crate) struct Panics(Arc<Mutex<Option<String>>>);

impl Panics {
    pub(crate) fn new() -> Self {
        // Some while a panic is expected.
        let last: Arc<Mutex<Option<String>>> = Arc::default();
        let (usual, kept) = (panic::take_hook(), last.clone());
        panic::set_hook(Box::new(move |info| match &mut *kept.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(last) => *last = info.to_string(),
            None => usual(info),
        }));
        Self(last)
    }

    /// What `work` gives, or what it panics with.
    pub(crate) fn catch<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(String::new());
        let result = catch_unwind(AssertUnwindSafe(work));
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.map_err(|_| format!("panicked: {}", said.unwrap_or_default()))
    }
}

/// How much more memory than before the process held at most during some work, in bytes; 0 where the system does not say.
pub(crate) fn peak_memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // Sets the peak to what is held now.
    let is_known = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = peak_resident_bytes();
    let result = work();
    let after = peak_resident_bytes();
    (result, if is_known { after.saturating_sub(before) } else { 0 })
}

fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}
