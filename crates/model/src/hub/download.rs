//! One file: with what is there already, as far as the connection lasts, and checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::header;

use super::client::{Expected, Hash, Hub, RemoteFile, Response};
use super::{HubError, Progress};
use crate::Error;

const BUFFER_BYTES: usize = 1 << 18;
/// Connections for one file that may break in all, and in a row without a byte.
const MAX_ATTEMPTS: u32 = 40;
const MAX_FRUITLESS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    fn new(expected: &Expected) -> Self {
        match expected.hash {
            Hash::Sha256(_) => Self::Sha256(Sha256::new()),
            Hash::GitBlob(_) => Self::GitBlob(Sha1::new_with_prefix(format!("blob {}\0", expected.bytes))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => hex(&hasher.finalize()),
            Self::GitBlob(hasher) => hex(&hasher.finalize()),
        }
    }
}

/// Fetches a file of a repository into `directory`. One that is there and right is left as it is.
pub(super) fn fetch(
    hub: &Hub,
    repository: &str,
    commit: &str,
    file: &RemoteFile,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let expected = hub.expected(repository, commit, file)?;
    let path = directory.join(&file.name);
    progress.begin(&file.name, expected.bytes);
    let result = fetch_expected(hub, (repository, commit, &file.name), &expected, &path, progress);
    progress.end();
    result
}

fn fetch_expected(
    hub: &Hub,
    (repository, commit, name): (&str, &str, &str),
    expected: &Expected,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    if path.exists() {
        let write = |source| Error::Write { path: path.to_owned(), source };
        let mut known = Partial::open(path, expected, progress)?;
        if known.check(name, expected).is_ok() {
            return Ok(());
        }
        // Of another commit, or damaged.
        fs::remove_file(path).map_err(write)?;
        progress.begin(name, expected.bytes);
    }
    // Named by the hash, so that only parts of one file are ever joined.
    let start = expected.hash.hex().get(..12).unwrap_or_default();
    let part_path = path.with_file_name(format!("{name}.{start}.part"));
    let write = |source| Error::Write { path: part_path.clone(), source };
    let mut part = Partial::open(&part_path, expected, progress)?;
    let mut n_fruitless = 0;
    let mut n_attempts = 0;
    while part.have < expected.bytes {
        n_attempts += 1;
        let before = part.have;
        let problem = match hub.open(repository, commit, name, part.have) {
            Ok(response) => part.receive(response, name, expected, progress),
            // Worth another try once bytes have come; without any, waiting would only hide what is wrong.
            Err(HubError::Unreachable { problem, .. }) if part.received => Ok(Some(problem)),
            Err(error) => Err(error.into()),
        };
        let problem = match problem {
            Ok(problem) => problem,
            Err(error) => {
                if part.have == 0 {
                    let _ = fs::remove_file(&part_path);
                }
                return Err(error);
            }
        };
        n_fruitless = if part.have > before { 0 } else { n_fruitless + 1 };
        let Some(problem) = problem else { continue };
        if n_fruitless == MAX_FRUITLESS || n_attempts == MAX_ATTEMPTS {
            part.file.sync_all().map_err(write)?;
            if part.have == 0 {
                let _ = fs::remove_file(&part_path);
            }
            let (file, have, size) = (name.to_owned(), part.have, expected.bytes);
            return Err(HubError::Interrupted { file, have, size, problem: hub.scrub(&problem) }.into());
        }
        thread::sleep(PAUSE);
    }
    if let Err(damaged) = part.check(name, expected) {
        let _ = fs::remove_file(&part_path);
        return Err(damaged.into());
    }
    part.file.sync_all().map_err(write)?;
    drop(part);
    fs::rename(&part_path, path).map_err(write)
}

/// The bytes of a file that are here.
struct Partial {
    file: File,
    path: PathBuf,
    have: u64,
    hasher: Hasher,
    /// Whether any byte came in this run.
    received: bool,
}

impl Partial {
    /// Reads what is there, for the hash.
    fn open(path: &Path, expected: &Expected, progress: &dyn Progress) -> Result<Self, Error> {
        let write = |source| Error::Write { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(write)?;
        let hasher = Hasher::new(expected);
        let mut part = Self { file, path: path.to_owned(), have: 0, hasher, received: false };
        if part.file.metadata().map_err(write)?.len() > expected.bytes {
            // Of no use.
            part.file.set_len(0).map_err(write)?;
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n_bytes = part.file.read(&mut buffer).map_err(write)?;
            let Some(bytes) = buffer.get(..n_bytes).filter(|bytes| !bytes.is_empty()) else { break };
            part.hasher.update(bytes);
            part.have += n_bytes as u64;
            progress.advance(n_bytes as u64);
        }
        Ok(part)
    }

    /// Takes in an answer. `Some` says why it ended too early.
    fn receive(
        &mut self,
        response: Response,
        name: &str,
        expected: &Expected,
        progress: &dyn Progress,
    ) -> Result<Option<String>, Error> {
        let goes_on = response.status().as_u16() == 206
            && response
                .headers()
                .get(header::CONTENT_RANGE)
                .and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok())
                == Some(self.have);
        let write = |path: &Path, source| Error::Write { path: path.to_owned(), source };
        if !goes_on {
            // The whole file comes, or nothing that can be joined.
            self.file.set_len(0).map_err(|source| write(&self.path, source))?;
            self.hasher = Hasher::new(expected);
            self.have = 0;
            progress.begin(name, expected.bytes);
            if response.status().as_u16() != 200 {
                return Ok(Some("the server cannot go on from there".to_owned()));
            }
        }
        self.file.seek(SeekFrom::Start(self.have)).map_err(|source| write(&self.path, source))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.have <= expected.bytes {
            let n_bytes = match body.read(&mut buffer) {
                Ok(n_bytes) => n_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let Some(bytes) = buffer.get(..n_bytes).filter(|bytes| !bytes.is_empty()) else { break };
            self.received = true;
            self.have += n_bytes as u64;
            if self.have > expected.bytes {
                // Never writes more than was promised.
                let _ = fs::remove_file(&self.path);
                let problem = format!("it has more than the {} bytes that the hub's list says", expected.bytes);
                return Err(HubError::Damaged { file: name.to_owned(), problem }.into());
            }
            self.file.write_all(bytes).map_err(|source| write(&self.path, source))?;
            self.hasher.update(bytes);
            progress.advance(n_bytes as u64);
        }
        Ok((self.have < expected.bytes).then(|| "the connection was closed".to_owned()))
    }

    /// Compares length and hash; the hash can be asked for once.
    fn check(&mut self, name: &str, expected: &Expected) -> Result<(), HubError> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(expected));
        let found = hasher.finish();
        if self.have == expected.bytes && found == expected.hash.hex() {
            return Ok(());
        }
        let problem = format!(
            "it has {} bytes and hash {found}, the hub's list says {} bytes and hash {}",
            self.have,
            expected.bytes,
            expected.hash.hex()
        );
        Err(HubError::Damaged { file: name.to_owned(), problem })
    }
}
