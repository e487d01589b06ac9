//! What people see while they wait.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lmgc_codec::files::STANDARD_STREAM;
use lmgc_codec::{EarlierRun, Progress, Stage};

use crate::args::Common;

/// Progress bars on a terminal, with rate and time left; nothing elsewhere, or where nothing is wanted.
pub(crate) struct Bars {
    current: ByteBar,
    label: String,
    /// Bytes of the next stage that an earlier run has done.
    n_bytes_done: AtomicU64,
}

impl Bars {
    pub(crate) fn new(common: &Common, label: impl Into<String>) -> Self {
        Self { current: ByteBar::new(common), label: label.into(), n_bytes_done: AtomicU64::new(0) }
    }
}

/// One bar after another, most of bytes with their rate.
pub(crate) struct ByteBar {
    visible: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl ByteBar {
    pub(crate) fn new(common: &Common) -> Self {
        Self { visible: !common.quiet && !common.json, bar: Mutex::new(None) }
    }

    /// Begins a bar, of which an earlier run has done some bytes.
    pub(crate) fn begin(&self, verb: &'static str, label: &str, n_bytes: u64, n_bytes_done: u64) {
        let template = "{prefix:>13} {wide_msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        self.begin_with(template, verb, label, n_bytes, n_bytes_done);
    }

    /// Begins a bar of other things than bytes.
    pub(crate) fn begin_items(&self, verb: &'static str, label: &str, items: &str, n: u64) {
        let template = format!("{{prefix:>13}} {{wide_msg}} {{bar:24}} {{pos}}/{{len}} {items} {{eta}} left");
        self.begin_with(&template, verb, label, n, 0);
    }

    fn begin_with(&self, template: &str, verb: &'static str, label: &str, n: u64, n_done: u64) {
        self.end();
        let bar = bar(self.visible, n, template);
        bar.set_prefix(verb);
        bar.set_message(label.to_owned());
        if n_done > 0 {
            bar.set_position(n_done);
            // The time left follows from what this run does.
            bar.reset_eta();
        }
        *self.lock() = Some(bar);
    }

    pub(crate) fn advance(&self, n_bytes: u64) {
        if let Some(bar) = &*self.lock() {
            bar.inc(n_bytes);
        }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A poisoned bar is still a bar.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bar of so many units, drawn on standard error if that is a terminal.
pub(crate) fn bar(visible: bool, n: u64, template: &str) -> ProgressBar {
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(n), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Progress for Bars {
    fn earlier_run(&self, earlier: &EarlierRun) {
        let line = match earlier {
            EarlierRun::Resumed { n_blocks_done, n_blocks, n_bytes_done, n_bytes } => {
                self.n_bytes_done.store(*n_bytes_done, Ordering::Relaxed);
                let percent = (100.0 * *n_bytes_done as f64 / *n_bytes as f64).floor();
                format!("resuming: {n_blocks_done} of {} ({percent} %) were done", count(*n_blocks, "block"))
            }
            EarlierRun::Discarded { reason } => format!("starting afresh, without the partial file: {reason}"),
            EarlierRun::NotKept { reason } => format!("this run cannot be resumed if it is interrupted: {reason}"),
            _ => return,
        };
        if self.current.visible {
            eprintln!("lmgc: {}: {line}", self.label);
        }
    }

    fn begin(&self, stage: Stage, n_bytes: u64) {
        let what = match stage {
            Stage::Compress => "compressing",
            Stage::Verify => "verifying",
            Stage::Decompress => "decompressing",
        };
        self.current.begin(what, &self.label, n_bytes, self.n_bytes_done.swap(0, Ordering::Relaxed));
    }

    fn advance(&self, n_bytes: u64) {
        self.current.advance(n_bytes);
    }

    fn end(&self) {
        self.current.end();
    }
}

/// "12 s", "3 minutes": for estimates.
pub(crate) fn rough_duration(seconds: f64) -> String {
    HumanDuration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))).to_string()
}

/// Bytes as people read them.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

/// Where results are told: standard output, unless the data themselves go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Channel {
    /// The channel beside an output of this name.
    pub(crate) fn beside(output: &Path) -> Self {
        if output.as_os_str() == STANDARD_STREAM { Self::Err } else { Self::Out }
    }

    /// Prints a line. A reader that has gone away (`| head`) ends the program quietly.
    pub(crate) fn line(self, line: impl std::fmt::Display) {
        let written = match self {
            Self::Out => writeln!(io::stdout(), "{line}"),
            Self::Err => writeln!(io::stderr(), "{line}"),
        };
        if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            std::process::exit(0);
        }
    }
}

/// Says something to people, unless only JSON or nothing is wanted.
pub(crate) fn say(common: &Common, line: impl AsRef<str>) {
    say_on(Channel::Out, common, line);
}

/// As [`say`], on a given channel.
pub(crate) fn say_on(channel: Channel, common: &Common, line: impl AsRef<str>) {
    if !common.quiet && !common.json {
        channel.line(line.as_ref());
    }
}

/// "1 file", "2 files".
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
