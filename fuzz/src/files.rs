//! Whole `.lmgc` files, and what an interrupted compression leaves.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lmgc_codec::files::{FileOptions, Place, compress_file_resumable};
use lmgc_codec::lm::{LanguageModel, LmCodec, LmSettings};
use lmgc_codec::{
    CodecId, CodecName, CompressOptions, Error, ModelRecord, ModelSource, NoProgress, Progress, Reference, Stage,
    array, decompress, inspect, verify_against,
};
use lmgc_model::Kernels;
use lmgc_testkit::{alternating_tensors, repair_checksums};

use super::codec::tiny_model;

/// Longest original here: files may ask for any number of bytes.
const MAX_ORIGINAL_BYTES: u64 = 1 << 20;

/// A `.lmgc` file.
pub fn lmgc_file(data: &[u8]) {
    let is_small = inspect(Cursor::new(data)).is_ok_and(|found| found.raw_bytes <= MAX_ORIGINAL_BYTES);
    let mut output = Bounded::default();
    match decompress(data, &mut output, &Sources, &NoProgress) {
        Ok(report) => {
            assert!(is_small);
            assert_eq!(report.raw_bytes, output.0.get_ref().len() as u64);
            let verified = verify_against(data, &mut output.0, &Sources, &NoProgress);
            assert!(verified.is_ok_and(|verified| verified == report));
        }
        Err(error) => assert!(is_expected(&error), "{error}"),
    }
    if let Err(error) = array::decompress::<f32>(data)
        && is_small
    {
        let is_other = matches!(error, Error::NotThisArray { .. } | Error::ModelRequired);
        assert!(is_other || is_expected(&error), "{error}");
    }
}

/// What is left of a `.lmgc` file. Where all of it is, it is the original.
pub fn salvage(data: &[u8]) {
    if read_len(data).is_none_or(|len| len > MAX_ORIGINAL_BYTES) {
        return;
    }
    let mut output = tempfile::tempfile().expect("a temporary file");
    let whole = decompress(data, &mut Bounded::default(), &Sources, &NoProgress);
    match lmgc_codec::salvage(Cursor::new(data), &mut output, &Sources, &NoProgress, Stage::Decompress) {
        Ok(report) => {
            assert!(report.is_whole || whole.is_err());
            assert_eq!(output.metadata().expect("a file").len(), report.raw_bytes);
            let lost: u64 = report.lost_ranges.iter().map(|range| range.bytes).sum();
            assert!(lost <= report.raw_bytes);
        }
        Err(error) => assert!(whole.is_err() && error.is_bad_input(), "{error}"),
    }
}

/// The length of the original, if the header is whole.
fn read_len(data: &[u8]) -> Option<u64> {
    Some(lmgc_container::Reader::new(data).ok()?.header().original_len)
}

/// A `.lmgc` file whose checksums are repaired first.
pub fn lmgc_file_repaired(data: &[u8]) {
    let mut repaired = data.to_vec();
    repair_checksums(&mut repaired);
    lmgc_file(&repaired);
}

fn is_expected(error: &Error) -> bool {
    let is_beyond_bounds = matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::FileTooLarge);
    error.is_bad_input() || is_beyond_bounds
}

/// Has what the seeds need.
struct Sources;

impl ModelSource for Sources {
    fn model(&self, _: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        Ok(tiny_model())
    }

    fn reference(&self) -> Option<&Reference> {
        static REFERENCE: OnceLock<Reference> = OnceLock::new();
        Some(REFERENCE.get_or_init(|| Reference::new(Cursor::new(reference_file())).expect("a file in memory")))
    }
}

/// The file that seeds with a reference refer to.
pub fn reference_file() -> Vec<u8> {
    alternating_tensors(1, 3, 480)
}

/// Takes no bytes beyond the limit.
#[derive(Default)]
struct Bounded(Cursor<Vec<u8>>);

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.position().saturating_add(bytes.len() as u64) > MAX_ORIGINAL_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Records of a journal: each a length (u16) and a body, whose checksum is made here. The compression that finds them writes
/// a file that decodes, or says that it does not.
pub fn journal(data: &[u8]) {
    static JOB: OnceLock<Mutex<Job>> = OnceLock::new();
    let job = JOB.get_or_init(|| Mutex::new(Job::new())).lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = job.journal_header.clone();
    let key = *blake3::hash(&file).as_bytes();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first_chunk() {
        let (body, after) = after.split_at(after.len().min(u16::from_le_bytes(*len).into()));
        file.extend((body.len() as u32).to_le_bytes());
        file.extend(body);
        file.extend(blake3::keyed_hash(&key, body).as_bytes());
        rest = after;
    }
    std::fs::write(job.path("out.part"), file).expect("a temporary file");
    match job.run(&NoProgress) {
        Ok(report) => assert_eq!(report, job.input.len() as u64),
        Err(Error::VerificationFailed { .. }) => {}
        Err(error) => assert!(error.is_bad_input(), "{error}"),
    }
    assert!(!job.path("out.part").exists(), "a journal is removed when its job has ended");
}

/// A compression to interrupt.
struct Job {
    folder: tempfile::TempDir,
    input: Vec<u8>,
    lm: LmCodec,
    /// What all its journals begin with.
    journal_header: Vec<u8>,
}

impl Job {
    /// Magic, version and two hashes: `docs/format.md`, section 13.
    const HEADER_LEN: usize = 74;

    fn new() -> Self {
        let settings = LmSettings { window_tokens: 64, ..Default::default() };
        let mut job = Self {
            // In memory if there is such a folder: journals are flushed to disk again and again.
            folder: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder"),
            input: alternating_tensors(1, 4, 48),
            lm: LmCodec::new(tiny_model(), settings, Kernels::detect()).expect("settings that go together"),
            journal_header: Vec::new(),
        };
        std::fs::write(job.path("in"), &job.input).expect("a temporary file");
        job.journal_header = job.interrupted_journal();
        job.journal_header.truncate(Self::HEADER_LEN);
        job
    }

    /// The journal with all blocks.
    fn interrupted_journal(&self) -> Vec<u8> {
        assert!(catch_unwind(AssertUnwindSafe(|| self.run(&StopBeforeVerifying))).is_err(), "it was not stopped");
        std::fs::read(self.path("out.part")).expect("a journal")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The number of bytes compressed.
    fn run(&self, progress: &dyn Progress) -> Result<u64, Error> {
        let options = CompressOptions { codec: CodecName::One(CodecId::Lm), lm: Some(&self.lm), ..Default::default() };
        let files = FileOptions { force: true, models: &Sources, progress };
        let (input, output) = (Place::File(self.path("in")), Place::File(self.path("out")));
        compress_file_resumable(&input, &output, &options, true, false, &files).map(|report| report.raw_bytes)
    }
}

/// Ends a job as a kill would.
struct StopBeforeVerifying;

impl Progress for StopBeforeVerifying {
    fn begin(&self, stage: Stage, _: u64) {
        if stage == Stage::Verify {
            resume_unwind(Box::new("stopped"));
        }
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}

/// The body of each record of a whole journal, as [`journal`] takes them.
pub fn journal_seed() -> Vec<u8> {
    let journal = Job::new().interrupted_journal();
    let (mut seed, mut rest) = (Vec::new(), &journal[Job::HEADER_LEN..]);
    while let Some((len, after)) = rest.split_first_chunk() {
        let (body, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        seed.extend((body.len() as u16).to_le_bytes());
        seed.extend(body);
        rest = &after[blake3::OUT_LEN..];
    }
    seed
}
