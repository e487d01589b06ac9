//! Compressions that are killed and go on.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Mutex;

use common::{OneModel, lm_options};
use lmgc_codec::files::{FileOptions, Place, compress_file, compress_file_resumable};
use lmgc_codec::lm::{LmCodec, LmSettings, Mask};
use lmgc_codec::{CompressReport, EarlierRun, Error, NoProgress, Progress, Stage};
use lmgc_testkit::{TinyModel, alternating_tensors};
use tempfile::TempDir;

const N_TENSORS: usize = 6;
const TENSOR_BYTES: usize = 240;

/// A block of the model for each tensor, and one of skeleton before.
fn input(seed: u64) -> Vec<u8> {
    alternating_tensors(seed, N_TENSORS, TENSOR_BYTES)
}

fn tiny(seed: u64) -> OneModel {
    OneModel::tiny(&TinyModel { seed, n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() })
}

const SETTINGS: fn() -> LmSettings = || LmSettings { window_tokens: 64, ..Default::default() };

/// Ends the job as a kill would, in a stage once so many bytes are done; notes what it was told.
struct Watch {
    kill: Option<(Stage, u64)>,
    seen: Mutex<Vec<(Stage, u64)>>,
    earlier: Mutex<Option<EarlierRun>>,
}

impl Watch {
    fn new(kill: Option<(Stage, u64)>) -> Self {
        Self { kill, seen: Mutex::new(Vec::new()), earlier: Mutex::new(None) }
    }

    fn n_bytes(&self, stage: Stage) -> u64 {
        self.seen.lock().unwrap().iter().filter(|(s, _)| *s == stage).map(|(_, n)| n).sum()
    }
}

impl Progress for Watch {
    fn earlier_run(&self, earlier: &EarlierRun) {
        *self.earlier.lock().unwrap() = Some(earlier.clone());
    }

    fn begin(&self, stage: Stage, _: u64) {
        self.seen.lock().unwrap().push((stage, 0));
    }

    fn advance(&self, n_bytes: u64) {
        let mut seen = self.seen.lock().unwrap();
        let (stage, done) = seen.last_mut().unwrap();
        *done += n_bytes;
        if self.kill.is_some_and(|(at, after)| *stage == at && *done > after) {
            drop(seen);
            resume_unwind(Box::new("killed"));
        }
    }

    fn end(&self) {}
}

/// A directory with the input `in`, and what belongs to a job on it.
struct Job {
    directory: TempDir,
    models: OneModel,
    lm: LmCodec,
    restart: bool,
    verify: bool,
}

impl Job {
    fn new() -> Self {
        let (models, directory) = (tiny(1), tempfile::tempdir().unwrap());
        std::fs::write(directory.path().join("in"), input(1)).unwrap();
        let lm = models.codec(SETTINGS());
        Self { directory, models, lm, restart: false, verify: true }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn place(&self, name: &str) -> Place {
        Place::File(self.path(name))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The file and the report of a job that nothing interrupts.
    fn unbroken(&self) -> (Vec<u8>, CompressReport) {
        let files = FileOptions { force: false, models: &self.models, progress: &NoProgress };
        let elsewhere = tempfile::tempdir().unwrap();
        let output = elsewhere.path().join("out");
        let options = lm_options(&self.lm);
        let report = compress_file(&self.place("in"), &Place::File(output.clone()), &options, true, &files).unwrap();
        (std::fs::read(output).unwrap(), report)
    }

    fn run(&self, force: bool, progress: &dyn Progress) -> Result<CompressReport, Error> {
        let files = FileOptions { force, models: &self.models, progress };
        let (input, output) = (self.place("in"), self.place("out"));
        compress_file_resumable(&input, &output, &lm_options(&self.lm), self.verify, self.restart, &files)
    }

    fn kill(&self, stage: Stage, after: u64) {
        let watch = Watch::new(Some((stage, after)));
        assert!(catch_unwind(AssertUnwindSafe(|| self.run(false, &watch))).is_err(), "it was not killed");
        assert_eq!(self.names(), ["in", "out.part"]);
    }

    /// Kills a job after this many of the model's blocks.
    fn kill_after_blocks(&self, n_blocks: usize) {
        let n_skeleton = input(1).len() - N_TENSORS * TENSOR_BYTES;
        self.kill(Stage::Compress, (n_skeleton + n_blocks * TENSOR_BYTES) as u64);
    }

    /// Runs to the end, and checks that it took up so many blocks and wrote the bytes of an unbroken run.
    fn finish(&self, n_resumed_blocks: usize) -> Watch {
        let watch = Watch::new(None);
        let report = self.run(false, &watch).unwrap();
        let (bytes, expected) = self.unbroken();
        assert_eq!(report, CompressReport { n_resumed_blocks, ..expected });
        assert!(std::fs::read(self.path("out")).unwrap() == bytes, "another file");
        assert_eq!(self.names(), ["in", "out"]);
        watch
    }
}

#[test]
fn a_job_goes_on_wherever_it_was_killed() {
    for n_blocks in 0..N_TENSORS {
        let job = Job::new();
        job.kill_after_blocks(n_blocks);
        let watch = job.finish(1 + n_blocks);
        let left = (N_TENSORS - n_blocks) * TENSOR_BYTES;
        assert_eq!(watch.n_bytes(Stage::Compress), left as u64);
        assert_eq!(watch.n_bytes(Stage::Verify), input(1).len() as u64, "all of it is verified");
        let n_bytes = input(1).len() as u64;
        let (n_blocks_done, n_blocks) = (1 + n_blocks, 1 + N_TENSORS);
        let resumed = EarlierRun::Resumed { n_blocks_done, n_blocks, n_bytes_done: n_bytes - left as u64, n_bytes };
        assert_eq!(watch.earlier.into_inner().unwrap(), Some(resumed));
    }
}

#[test]
fn a_job_may_be_killed_again_and_again() {
    let job = Job::new();
    job.kill(Stage::Compress, input(1).len() as u64 - (N_TENSORS * TENSOR_BYTES) as u64);
    for _ in 0..N_TENSORS - 1 {
        // The stage's bytes count from where this run began.
        job.kill(Stage::Compress, TENSOR_BYTES as u64);
    }
    job.finish(N_TENSORS);
}

#[test]
fn a_killed_verification_is_all_that_is_repeated() {
    let job = Job::new();
    job.kill(Stage::Verify, 700);
    let watch = job.finish(1 + N_TENSORS);
    assert_eq!(watch.n_bytes(Stage::Compress), 0);
}

#[test]
fn a_torn_last_block_is_coded_again() {
    let mut job = Job::new();
    job.verify = false;
    job.kill_after_blocks(N_TENSORS - 2);
    let shorter = std::fs::read(job.path("out.part")).unwrap();
    std::fs::remove_file(job.path("out.part")).unwrap();
    job.kill_after_blocks(N_TENSORS - 1);
    let whole = std::fs::read(job.path("out.part")).unwrap();
    assert!(whole.starts_with(&shorter) && whole.len() > shorter.len());
    let (bytes, _) = job.unbroken();
    // Every byte is the journal's own test; here some of them, and all of the block.
    for len in (shorter.len()..whole.len()).step_by(13).chain([whole.len()]) {
        std::fs::write(job.path("out.part"), &whole[..len]).unwrap();
        let report = job.run(true, &NoProgress).unwrap();
        let n_whole = if len == whole.len() { N_TENSORS } else { N_TENSORS - 1 };
        assert_eq!(report.n_resumed_blocks, n_whole, "{len} bytes");
        assert!(std::fs::read(job.path("out")).unwrap() == bytes, "{len} bytes");
    }
    assert_eq!(job.names(), ["in", "out"]);
}

/// What a later run says that began afresh.
fn reason(watch: Watch) -> &'static str {
    match watch.earlier.into_inner().unwrap() {
        Some(EarlierRun::Discarded { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_input_begins_afresh() {
    let job = Job::new();
    job.kill_after_blocks(3);
    std::fs::write(job.path("in"), input(2)).unwrap();
    assert!(reason(job.finish(0)).contains("input"));
}

#[test]
fn other_settings_begin_afresh() {
    for settings in [LmSettings { window_tokens: 65, ..SETTINGS() }, LmSettings { mask: Mask::None, ..SETTINGS() }] {
        let mut job = Job::new();
        job.kill_after_blocks(3);
        job.lm = job.models.codec(settings);
        assert!(reason(job.finish(0)).contains("settings"));
    }
}

#[test]
fn another_model_begins_afresh() {
    let mut job = Job::new();
    job.kill_after_blocks(3);
    job.models = tiny(2);
    job.lm = job.models.codec(SETTINGS());
    assert!(reason(job.finish(0)).contains("model"));
}

#[test]
fn restart_begins_afresh_without_a_word() {
    let mut job = Job::new();
    job.kill_after_blocks(3);
    job.restart = true;
    let watch = job.finish(0);
    assert_eq!(watch.earlier.into_inner().unwrap(), None);
}

#[test]
fn two_jobs_do_not_share_an_output() {
    let job = Job::new();
    job.kill_after_blocks(3);
    let part = std::fs::File::open(job.path("out.part")).unwrap();
    part.lock().unwrap();
    let before = std::fs::read(job.path("out.part")).unwrap();
    assert!(matches!(job.run(false, &NoProgress), Err(Error::OutputBusy { .. })));
    assert_eq!(std::fs::read(job.path("out.part")).unwrap(), before);
    drop(part);
    job.finish(4);
}

#[test]
fn another_file_of_that_name_stays_unless_it_may_be_replaced() {
    let mut job = Job::new();
    std::fs::write(job.path("out.part"), b"precious").unwrap();
    assert!(matches!(job.run(false, &NoProgress), Err(Error::NotAJournal { .. })));
    assert_eq!(std::fs::read(job.path("out.part")).unwrap(), b"precious");
    job.restart = true;
    job.finish(0);
}

/// Meddles with the files when verification begins.
struct Meddler<F>(F);

impl<F: Fn() + Sync> Progress for Meddler<F> {
    fn begin(&self, stage: Stage, _: u64) {
        if stage == Stage::Verify {
            (self.0)();
        }
    }
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

#[test]
fn blocks_that_an_error_does_not_touch_are_kept() {
    let job = Job::new();
    let appears = Meddler(|| std::fs::write(job.path("out"), b"another's").unwrap());
    assert!(matches!(job.run(false, &appears), Err(Error::OutputExists { .. })));
    assert_eq!(job.names(), ["in", "out", "out.part"]);
    std::fs::remove_file(job.path("out")).unwrap();

    // A mistyped name is no reason to forget them either.
    std::fs::rename(job.path("in"), job.path("moved")).unwrap();
    assert!(matches!(job.run(false, &NoProgress), Err(Error::File { .. })));
    std::fs::rename(job.path("moved"), job.path("in")).unwrap();
    job.finish(1 + N_TENSORS);
}

#[test]
fn blocks_that_are_of_no_use_are_removed() {
    let job = Job::new();
    let changes = Meddler(|| std::fs::write(job.path("in"), input(7)).unwrap());
    assert!(matches!(job.run(false, &changes), Err(Error::VerificationFailed { .. })));
    assert_eq!(job.names(), ["in"]);

    std::fs::rename(job.path("in"), job.path("moved")).unwrap();
    assert!(matches!(job.run(false, &NoProgress), Err(Error::File { .. })));
    assert_eq!(job.names(), ["moved"], "nothing was done");
}

#[test]
fn where_nothing_can_be_kept_the_job_is_done_all_the_same() {
    let job = Job::new();
    std::fs::create_dir(job.path("out.part")).unwrap();
    let watch = Watch::new(None);
    job.run(false, &watch).unwrap();
    assert!(matches!(watch.earlier.into_inner().unwrap(), Some(EarlierRun::NotKept { .. })));
    assert!(std::fs::read(job.path("out")).unwrap() == job.unbroken().0);
}
