//! What an interrupted compression leaves to the next run: the blocks that it had coded.
//!
//! A journal lies beside the output while that is made. It starts with what it belongs to, and each coded block is
//! appended and flushed to disk as a record of its own. A later run takes the records from the start up to the first one
//! that is incomplete, damaged or of other bytes, and cuts off the rest. The layout is in `docs/format.md`, section 13.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lmgc_container::fields::{Fields, put_varint};
use lmgc_container::{Header, Writer};

use crate::{CodecId, Encoded, Error, Level};

/// Ending of a journal's name, after the output's.
pub(crate) const EXTENSION: &str = "part";

const MAGIC: [u8; 8] = *b"\x8cLMGP\r\n\x1a";
const VERSION: u16 = 1;
/// Magic, version and two hashes.
const HEADER_LEN: usize = 8 + 2 + 32 + 32;
const CHECKSUM_LEN: u64 = 32;
/// Bytes of a record's body besides its payload, at most.
const MAX_BODY_OVERHEAD: u64 = 64;

/// What a journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// BLAKE3 hash of the input.
    pub(crate) input_blake3: [u8; 32],
    /// Hash of all else that decides the output's bytes.
    pub(crate) job_blake3: [u8; 32],
}

impl Identity {
    /// The job's part is the header as the output will have it (settings, tensors, model, versions), the level, and this
    /// program's version, which decides how blocks are cut and coded.
    pub(crate) fn new(input_blake3: [u8; 32], header: &Header, level: Level) -> Result<Self, Error> {
        let mut job = blake3::Hasher::new();
        job.update(env!("CARGO_PKG_VERSION").as_bytes());
        job.update(&[0, level.get()]);
        Writer::new(&mut job, header)?;
        Ok(Self { input_blake3, job_blake3: job.finalize().into() })
    }

    fn to_header(&self) -> Vec<u8> {
        [&MAGIC[..], &VERSION.to_le_bytes(), &self.input_blake3, &self.job_blake3].concat()
    }

    /// Why a journal that starts with `found` is not this one; `None` if it is, or if nothing was recorded in it.
    fn refuses(&self, found: &[u8]) -> Option<&'static str> {
        let (own, input) = (self.to_header(), 10..42);
        if found.len() < HEADER_LEN || found == own {
            None
        } else if found.get(..input.start) != own.get(..input.start) {
            Some("it was written by another version of lmgc")
        } else if found.get(input.clone()) != own.get(input) {
            Some("it belongs to another input, or the input has changed")
        } else {
            Some("it was made with other settings, another model or another version of lmgc")
        }
    }
}

/// A journal, open and locked: whoever holds it may write to its output.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// Whether nothing was there.
    is_new: bool,
    /// Where the last good record ends.
    end: u64,
    /// Checksums are keyed with the hash of the journal's header. None until this run has begun.
    key: Option<[u8; 32]>,
    n_records: usize,
}

impl Journal {
    /// Opens the journal at `path`, or creates it. With `replace`, what is there counts for nothing.
    ///
    /// # Errors
    /// [`Error::OutputBusy`] if another process holds it, [`Error::NotAJournal`] for a file of another kind without
    /// `replace`, [`Error::File`] where there can be none.
    pub(crate) fn open(path: &Path, output: &Path, replace: bool) -> Result<Self, Error> {
        let fail = |source| Error::File { action: "write", path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::OutputBusy { path: output.to_owned() }),
            Err(TryLockError::Error(source)) => {
                if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                    let _ = std::fs::remove_file(path);
                }
                return Err(fail(source));
            }
        }
        let mut start = Vec::new();
        (&file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(fail)?;
        if replace {
            file.set_len(0).map_err(fail)?;
        } else if !MAGIC.starts_with(&start) {
            return Err(Error::NotAJournal { path: path.to_owned() });
        }
        let is_new = start.is_empty() || replace;
        Ok(Self { file, path: path.to_owned(), is_new, end: 0, key: None, n_records: 0 })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was nothing when it was opened.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Takes up the journal if it is `identity`'s, else empties it; says why if there was something in it.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub(crate) fn begin(&mut self, identity: &Identity) -> Result<Option<&'static str>, Error> {
        let own = identity.to_header();
        let mut found = Vec::new();
        self.file.seek(SeekFrom::Start(0)).map_err(|source| self.fail(source))?;
        (&self.file).take(HEADER_LEN as u64).read_to_end(&mut found).map_err(|source| self.fail(source))?;
        let refused = identity.refuses(&found);
        if found != own {
            self.end = 0;
            self.cut()?;
            self.file.write_all(&own).map_err(|source| self.fail(source))?;
            self.sync()?;
        }
        self.end = HEADER_LEN as u64;
        self.key = Some(blake3::hash(&own).into());
        Ok(refused)
    }

    /// Whether [`begin`](Self::begin) was called, so that nothing of an earlier job is left.
    pub(crate) fn has_begun(&self) -> bool {
        self.key.is_some()
    }

    /// Number of records, those of earlier runs among them.
    pub(crate) fn n_records(&self) -> usize {
        self.n_records
    }

    /// The next record, if it is whole and codes these bytes. Else all from there on is cut off.
    ///
    /// # Errors
    /// Where the journal cannot be read or cut.
    pub(crate) fn next_record(&mut self, raw: &[u8]) -> Result<Option<Encoded>, Error> {
        let record = self.read_record(raw).map_err(|source| self.fail(source))?;
        if let Some((encoded, len)) = record {
            self.end += len;
            self.n_records += 1;
            return Ok(Some(encoded));
        }
        self.cut()?;
        Ok(None)
    }

    /// The record at `end` and its length.
    fn read_record(&mut self, raw: &[u8]) -> io::Result<Option<(Encoded, u64)>> {
        let Some(key) = self.key else { return Ok(None) };
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut len = Vec::new();
        (&self.file).take(4).read_to_end(&mut len)?;
        let Ok(len) = <[u8; 4]>::try_from(len) else { return Ok(None) };
        let len = u64::from(u32::from_le_bytes(len));
        // No codec's payload is longer than twice the block: a longer record was never written.
        if len > 2 * raw.len() as u64 + MAX_BODY_OVERHEAD {
            return Ok(None);
        }
        let mut record = Vec::new();
        (&self.file).take(len + CHECKSUM_LEN).read_to_end(&mut record)?;
        let Some((body, checksum)) = record.split_last_chunk::<{ CHECKSUM_LEN as usize }>() else { return Ok(None) };
        if body.len() as u64 != len || blake3::keyed_hash(&key, body) != *checksum {
            return Ok(None);
        }
        Ok(parse_body(body, raw).map(|encoded| (encoded, 4 + len + CHECKSUM_LEN)))
    }

    /// Appends what `raw` was coded to.
    ///
    /// # Errors
    /// Where writing fails.
    pub(crate) fn append(&mut self, encoded: &Encoded, raw: &[u8]) -> Result<(), Error> {
        let Some(key) = self.key else { return Ok(()) };
        let body = body(encoded, raw);
        let len = (body.len() as u32).to_le_bytes();
        let record = [&len[..], &body, blake3::keyed_hash(&key, &body).as_bytes()].concat();
        self.file.seek(SeekFrom::Start(self.end)).map_err(|source| self.fail(source))?;
        self.file.write_all(&record).map_err(|source| self.fail(source))?;
        self.end += record.len() as u64;
        self.n_records += 1;
        Ok(())
    }

    /// Flushes to disk what was appended.
    ///
    /// # Errors
    /// Where that fails.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| self.fail(source))
    }

    /// Removes the journal. One that cannot be removed does no harm: it will be taken up or refused like any other.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    fn cut(&mut self) -> Result<(), Error> {
        self.file.set_len(self.end).map_err(|source| self.fail(source))?;
        self.file.seek(SeekFrom::Start(self.end)).map_err(|source| self.fail(source))?;
        Ok(())
    }

    fn fail(&self, source: io::Error) -> Error {
        Error::File { action: "read or write", path: self.path.clone(), source }
    }
}

/// A record's body: what was coded, then how.
fn body(encoded: &Encoded, raw: &[u8]) -> Vec<u8> {
    let mut body = blake3::hash(raw).as_bytes().to_vec();
    body.push(encoded.codec as u8);
    put_varint(&mut body, encoded.n_lanes.into());
    put_varint(&mut body, encoded.n_tokens);
    body.extend_from_slice(&encoded.payload);
    body
}

fn parse_body(body: &[u8], raw: &[u8]) -> Option<Encoded> {
    let (raw_blake3, rest) = body.split_first_chunk::<32>()?;
    if blake3::hash(raw) != *raw_blake3 {
        return None;
    }
    let mut fields = Fields::new(rest, 0);
    let codec = CodecId::from_number(fields.u8("codec").ok()?).ok()?;
    let n_lanes = fields.varint("number of lanes").ok()?.try_into().ok()?;
    let n_tokens = fields.varint("number of tokens").ok()?;
    Some(Encoded { codec, payload: fields.rest().to_vec(), n_lanes, n_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { input_blake3: [1; 32], job_blake3: [2; 32] };

    fn blocks() -> Vec<(Vec<u8>, Encoded)> {
        (0..3u8)
            .map(|i| {
                let raw = vec![i; 100];
                let payload = vec![0xa0 + i; 10 * usize::from(i)];
                (raw, Encoded { codec: CodecId::Lm, payload, n_lanes: u16::from(i) * 100, n_tokens: 1 << (20 * i) })
            })
            .collect()
    }

    fn open(path: &Path) -> Result<Journal, Error> {
        Journal::open(path, Path::new("out"), false)
    }

    /// The blocks that a run with this identity finds, and why it began anew.
    fn take_up(path: &Path, identity: &Identity) -> (usize, Option<&'static str>) {
        let mut journal = open(path).unwrap();
        let why = journal.begin(identity).unwrap();
        let found = blocks().into_iter().take_while(|(raw, coded)| match journal.next_record(raw).unwrap() {
            Some(found) => {
                assert_eq!(found, *coded);
                true
            }
            None => false,
        });
        (found.count(), why)
    }

    /// A journal of three blocks; where each of them ends.
    fn write(path: &Path) -> Vec<u64> {
        let mut journal = open(path).unwrap();
        assert_eq!(journal.begin(&IDENTITY).unwrap(), None);
        let ends = blocks().into_iter().map(|(raw, coded)| {
            journal.append(&coded, &raw).unwrap();
            journal.sync().unwrap();
            std::fs::metadata(path).unwrap().len()
        });
        ends.collect()
    }

    #[test]
    fn every_torn_tail_is_cut_to_whole_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("j");
        let ends = write(&path);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let n_whole = ends.iter().filter(|&&end| end <= len as u64).count();
            assert_eq!(take_up(&path, &IDENTITY), (n_whole, None), "{len} bytes");
            let left = std::fs::metadata(&path).unwrap().len();
            let expected = n_whole.checked_sub(1).map_or(HEADER_LEN as u64, |last| ends[last]);
            assert_eq!(left, expected, "{len} bytes");
        }
    }

    #[test]
    fn no_flipped_bit_is_taken_for_a_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("j");
        let ends = write(&path);
        let whole = std::fs::read(&path).unwrap();
        for bit in MAGIC.len() * 8..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &damaged).unwrap();
            let n_before = ends.iter().filter(|&&end| end <= bit as u64 / 8).count();
            let (n_found, why) = take_up(&path, &IDENTITY);
            assert_eq!((n_found, why.is_some()), (n_before, bit / 8 < HEADER_LEN), "bit {bit}");
        }
    }

    #[test]
    fn records_go_on_after_a_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("j");
        let ends = write(&path);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..ends[1] as usize + 7]).unwrap();
        let mut journal = open(&path).unwrap();
        journal.begin(&IDENTITY).unwrap();
        let n_found = blocks().iter().take_while(|(raw, _)| journal.next_record(raw).unwrap().is_some()).count();
        assert_eq!(n_found, 2);
        let (raw, coded) = &blocks()[2];
        journal.append(coded, raw).unwrap();
        assert_eq!(journal.n_records(), 3);
        drop(journal);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn other_jobs_and_other_bytes_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("j");
        for (identity, word) in [
            (Identity { input_blake3: [9; 32], ..IDENTITY }, "input"),
            (Identity { job_blake3: [9; 32], ..IDENTITY }, "settings"),
        ] {
            write(&path);
            let (n_found, why) = take_up(&path, &identity);
            assert!(n_found == 0 && why.unwrap().contains(word), "{why:?}");
            assert_eq!(std::fs::read(&path).unwrap(), identity.to_header());
            std::fs::remove_file(&path).unwrap();
        }
        write(&path);
        let mut journal = open(&path).unwrap();
        journal.begin(&IDENTITY).unwrap();
        assert_eq!(journal.next_record(&[7; 100]).unwrap(), None, "other bytes");
    }

    #[test]
    fn a_journal_has_one_writer_and_no_other_file_is_taken_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("j");
        let held = open(&path).unwrap();
        assert!(matches!(open(&path), Err(Error::OutputBusy { .. })));
        drop(held);
        std::fs::write(&path, b"precious").unwrap();
        assert!(matches!(open(&path), Err(Error::NotAJournal { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        Journal::open(&path, Path::new("out"), true).unwrap().begin(&IDENTITY).unwrap();
        assert_eq!(take_up(&path, &IDENTITY), (0, None));
    }
}
