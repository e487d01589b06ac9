//! One file from one of several servers: with what is there already, as far as the connection lasts, and checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, header};
use ureq::{Agent, Body};

use super::{DataProgress, DataWork, unreadable, unwritable};
use crate::Error;

const BUFFER_BYTES: usize = 1 << 18;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections to one server that may break in all, and in a row without a byte.
const MAX_ATTEMPTS: u32 = 40;
const MAX_FRUITLESS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// A file of a data set, where it can be had and what it must be.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its name here.
    pub(super) file: String,
    /// Addresses, the first to be tried first.
    pub(super) urls: Vec<String>,
    pub(super) bytes: u64,
    /// In lower-case hexadecimal.
    pub(super) sha256: String,
}

/// Fetches a file into the folder, and gives its path. One that is there and right is left as it is.
///
/// What came of an interrupted download lies in `NAME.part`, and the next one goes on from there, with whichever server.
pub(super) fn fetch(source: &Source, folder: &Path, progress: &dyn DataProgress) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(|cause| Error::CreateDirectory { path: folder.to_owned(), source: cause })?;
    let path = folder.join(&source.file);
    if is_right(&path, source, progress)? {
        return Ok(path);
    }
    let part_path = folder.join(format!("{}.part", source.file));
    let mut attempts = Vec::new();
    for url in &source.urls {
        let result = fetch_from(url, source, &part_path, progress);
        progress.end();
        match result? {
            Ok(()) => {
                fs::rename(&part_path, &path).map_err(unwritable(&path))?;
                return Ok(path);
            }
            // Text that others made stays on one line.
            Err(problem) => attempts.push(format!("{url}: {}", problem.escape_debug())),
        }
    }
    Err(Error::Download { file: source.file.clone(), attempts })
}

/// Whether the file is there and what it must be.
fn is_right(path: &Path, source: &Source, progress: &dyn DataProgress) -> Result<bool, Error> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == source.bytes) {
        return Ok(false);
    }
    let file = File::open(path).map_err(unreadable(path))?;
    progress.begin(DataWork::Check { file: &source.file }, source.bytes, 0);
    let hashed = hash(&mut &file, |n_bytes| progress.advance(n_bytes));
    progress.end();
    Ok(hex(hashed.map_err(unreadable(path))?.0) == source.sha256)
}

/// The hash of all that comes, and how much that was.
fn hash(reader: &mut dyn Read, mut advance: impl FnMut(u64)) -> io::Result<(Sha256, u64)> {
    let (mut hasher, mut n_read) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n_bytes = reader.read(&mut buffer)?;
        if n_bytes == 0 {
            return Ok((hasher, n_read));
        }
        hasher.update(&buffer[..n_bytes]);
        n_read += n_bytes as u64;
        advance(n_bytes as u64);
    }
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Completes the partial file from one server. The inner error says why that did not work.
fn fetch_from(
    url: &str,
    source: &Source,
    part_path: &Path,
    progress: &dyn DataProgress,
) -> Result<Result<(), String>, Error> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        // No redirect may lose the encryption.
        .https_only(url.starts_with("https://"))
        // Ranges and hashes count the file's own bytes.
        .accept_encoding("identity")
        .user_agent(concat!("lmgc/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .build()
        .into();
    loop {
        let mut part = Partial::open(part_path, source, progress)?;
        // Bytes of an earlier run may be of another file: those get one more chance, from the beginning.
        let has_old_bytes = part.have > 0;
        if let Err(problem) = part.complete(&agent, url, source, progress)? {
            let is_empty = part.have == 0;
            drop(part);
            if is_empty {
                let _ = fs::remove_file(part_path);
            }
            return Ok(Err(problem));
        }
        let found = part.sha256();
        if found == source.sha256 {
            part.file.sync_all().map_err(unwritable(part_path))?;
            return Ok(Ok(()));
        }
        drop(part);
        fs::remove_file(part_path).map_err(unwritable(part_path))?;
        if !has_old_bytes {
            return Ok(Err(format!("SHA-256 is {found}, and should be {}; nothing was kept", source.sha256)));
        }
    }
}

/// The bytes of a file that are here.
struct Partial {
    file: File,
    path: PathBuf,
    have: u64,
    hasher: Sha256,
    /// The server's mark of the version that the bytes are of.
    etag: Option<String>,
}

impl Partial {
    /// Reads what is there, for the hash.
    fn open(path: &Path, source: &Source, progress: &dyn DataProgress) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(unwritable(path))?;
        if file.metadata().map_err(unreadable(path))?.len() > source.bytes {
            // Of no use.
            file.set_len(0).map_err(unwritable(path))?;
        }
        let (hasher, have) = hash(&mut file, |_| ()).map_err(unreadable(path))?;
        progress.begin(DataWork::Download { file: &source.file }, source.bytes, have);
        Ok(Self { file, path: path.to_owned(), have, hasher, etag: None })
    }

    /// Asks until all bytes are here. The inner error says why the server could not give them.
    fn complete(
        &mut self,
        agent: &Agent,
        url: &str,
        source: &Source,
        progress: &dyn DataProgress,
    ) -> Result<Result<(), String>, Error> {
        let (mut n_attempts, mut n_fruitless) = (0, 0);
        let mut has_answered = false;
        while self.have < source.bytes {
            let before = self.have;
            let problem = match self.ask(agent, url) {
                Ok(response) => match response.status().as_u16() {
                    200 | 206 | 416 => {
                        has_answered = true;
                        match self.receive(response, source, progress)? {
                            Received::AsFarAsItWent(problem) => problem,
                            Received::AnotherFile(problem) => return Ok(Err(problem)),
                        }
                    }
                    // It may pass.
                    408 | 429 | 500..=599 => Some(response.status().to_string()),
                    _ => return Ok(Err(response.status().to_string())),
                },
                // Worth another try once the server has answered; before, waiting would only hide what is wrong.
                Err(error) if has_answered => Some(error.to_string()),
                Err(error) => return Ok(Err(error.to_string())),
            };
            n_attempts += 1;
            n_fruitless = if self.have > before { 0 } else { n_fruitless + 1 };
            let Some(problem) = problem else { continue };
            if n_fruitless == MAX_FRUITLESS || n_attempts == MAX_ATTEMPTS {
                self.file.sync_all().map_err(unwritable(&self.path))?;
                return Ok(Err(format!("{problem}; {} of {} bytes are here", self.have, source.bytes)));
            }
            thread::sleep(PAUSE);
        }
        Ok(Ok(()))
    }

    /// Asks for what is lacking.
    fn ask(&self, agent: &Agent, url: &str) -> Result<ureq::http::Response<Body>, ureq::Error> {
        let mut request = agent.get(url);
        if self.have > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.have));
            if let Some(etag) = &self.etag {
                // Of another version the whole file comes.
                request = request.header(header::IF_RANGE, etag);
            }
        }
        request.call()
    }

    /// Takes in an answer of status 200, 206 or 416.
    fn receive(
        &mut self,
        response: ureq::http::Response<Body>,
        source: &Source,
        progress: &dyn DataProgress,
    ) -> Result<Received, Error> {
        let status = response.status().as_u16();
        let goes_on = status == 206 && range_start(response.headers()) == Some(self.have);
        if !goes_on {
            // The whole file comes, or nothing that can be joined.
            self.restart(source, progress)?;
            if status != 200 {
                return Ok(Received::AsFarAsItWent(Some("the server cannot go on from there".to_owned())));
            }
            if let Some(bytes) = number(response.headers(), header::CONTENT_LENGTH).filter(|n| *n != source.bytes) {
                let problem = format!("the file there has {bytes} bytes, and should have {}", source.bytes);
                return Ok(Received::AnotherFile(problem));
            }
        }
        self.etag = strong_etag(response.headers());
        self.file.seek(SeekFrom::Start(self.have)).map_err(unwritable(&self.path))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n_bytes = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n_bytes) => n_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Received::AsFarAsItWent(Some(error.to_string()))),
            };
            if self.have + n_bytes as u64 > source.bytes {
                // Never writes more than was promised.
                self.restart(source, progress)?;
                return Ok(Received::AnotherFile(format!(
                    "it sends more than {} bytes; nothing was kept",
                    source.bytes
                )));
            }
            self.file.write_all(&buffer[..n_bytes]).map_err(unwritable(&self.path))?;
            self.hasher.update(&buffer[..n_bytes]);
            self.have += n_bytes as u64;
            progress.advance(n_bytes as u64);
        }
        let is_cut = self.have < source.bytes;
        Ok(Received::AsFarAsItWent(is_cut.then(|| "the connection was closed".to_owned())))
    }

    /// Forgets all bytes.
    fn restart(&mut self, source: &Source, progress: &dyn DataProgress) -> Result<(), Error> {
        if self.have == 0 {
            return Ok(());
        }
        self.file.set_len(0).map_err(unwritable(&self.path))?;
        self.hasher = Sha256::new();
        (self.have, self.etag) = (0, None);
        progress.begin(DataWork::Download { file: &source.file }, source.bytes, 0);
        Ok(())
    }

    fn sha256(&self) -> String {
        hex(self.hasher.clone())
    }
}

/// What came of an answer.
enum Received {
    /// Bytes; why they ended too early, if they did.
    AsFarAsItWent(Option<String>),
    /// What the server has is not the file.
    AnotherFile(String),
}

/// The first number of `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A mark that stands for the very bytes; weak ones do not.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

#[cfg(test)]
mod tests;
