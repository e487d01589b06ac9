//! Fetching models from the Hugging Face hub into the store.
//!
//! The crate `hf-hub` knows the hub: it asks for a repository's files and forms their addresses, with `HF_ENDPOINT` and a
//! token. Its download step (0.5) is not used, because it
//!
//! - compares no hash and no length with what the hub promised, and appends to a partial file even where the server sends
//!   the whole one;
//! - sends the token to whatever host the hub redirects to when it asks for a file's size;
//! - waits for ever on a connection that has gone silent, and panics on some answers that a server may give;
//! - does not read `HF_TOKEN`;
//! - keeps files in a cache of its own, under names that are links, rather than in a folder.
//!
//! So files are fetched with `ureq` here, which `hf-hub` uses too (`download.rs`).
//!
//! A model arrives in `models/<name>.partial`. Each file is written to `<file>.<start of its hash>.part` there and
//! gets its name once its length and hash are right: SHA-256 for large files, git's SHA-1 of a blob for small ones, as the
//! hub's file list gives them. The directory gets the model's place when all files are there. A download that was
//! interrupted, or killed, goes on from the bytes that it has.

mod client;
mod download;
mod error;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;

pub use client::Hub;
pub use error::HubError;

use crate::describe::{ORIGIN_FILE, check};
use crate::folder::{
    INDEX_FILE, NO_TOKENIZER, NO_WEIGHTS, Shards, TOKENIZER_FILE, is_indexed, list_files, read_index, weights,
};
use crate::store::{CONFIG_FILE, PARTIAL, check_free, is_name, settle};
use crate::{Error, ModelInfo, Origin, Progress, registry};
use client::{Listing, RemoteFile};

/// What to fetch, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Repository, `owner/name`.
    pub repository: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// Patterns of the files to fetch ([`registry::matches`]).
    pub files: &'a [&'a str],
    /// The directory that holds all models.
    pub models: &'a Path,
    /// The model's name in it.
    pub name: &'a str,
    /// Replace a model of this name.
    pub force: bool,
}

/// Whether this is a repository's full name: `owner/name`, both of letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

/// Fetches a model; see the [module](self) for how. After an error nothing is left but a partial download worth resuming.
///
/// # Errors
/// [`Error::Hub`] with what the hub or the network did; [`Error::BadName`]; [`Error::Exists`] where the name is taken and
/// `force` is not set; [`Error::NotAModel`] where the files do not make a model; [`Error::Io`] or [`Error::Write`].
pub fn pull(hub: &Hub, request: &Request<'_>, progress: &dyn Progress) -> Result<ModelInfo, Error> {
    let Request { repository, revision, models, name, force, .. } = *request;
    if !is_name(name) {
        return Err(Error::BadName { name: name.escape_debug().to_string() });
    }
    let place = models.join(name);
    check_free(&place, force)?;
    let listing = hub.list(repository, revision)?;
    let plan = Plan::new(&listing, request)?;

    std::fs::create_dir_all(models).map_err(|source| Error::Write { path: models.to_owned(), source })?;
    let _lock = Lock::take(models.join(format!(".{name}.lock")))?;
    let partial = models.join(format!("{name}{PARTIAL}"));
    std::fs::create_dir_all(&partial).map_err(|source| Error::Write { path: partial.clone(), source })?;
    let fetched = plan.fetch(hub, &partial, progress);
    match &fetched {
        Err(Error::Hub(HubError::Unusable { .. })) => {
            let _ = std::fs::remove_dir_all(&partial);
        }
        Err(_) => {
            // Goes away only if it is empty.
            let _ = std::fs::remove_dir(&partial);
        }
        Ok(()) => {}
    }
    fetched?;
    let info = finish(&partial, &listing, repository).inspect_err(|_| {
        // Complete and as the hub has it, but no model: fetching the rest would not help.
        let _ = std::fs::remove_dir_all(&partial);
    })?;
    settle(&partial, &place, force)?;
    Ok(info)
}

/// Records where the files come from, and looks whether they make a model.
fn finish(partial: &Path, listing: &Listing, repository: &str) -> Result<ModelInfo, Error> {
    let origin =
        Origin { repository: repository.to_owned(), commit: listing.commit.clone(), licence: listing.licence.clone() };
    let path = partial.join(ORIGIN_FILE);
    std::fs::write(&path, format!("{:#}\n", json!(origin))).map_err(|source| Error::Write { path, source })?;
    check(partial)
}

/// The files to fetch.
struct Plan<'a> {
    repository: &'a str,
    commit: &'a str,
    /// Everything but weights.
    small: Vec<&'a RemoteFile>,
    /// Files that may hold weights; where there is an index, it says which do.
    weights: Vec<&'a RemoteFile>,
}

impl<'a> Plan<'a> {
    /// Refuses a repository that lacks something, before anything is fetched.
    fn new(listing: &'a Listing, request: &Request<'a>) -> Result<Self, HubError> {
        let fits = |file: &RemoteFile| request.files.iter().any(|pattern| registry::matches(pattern, &file.name));
        let is_weights = |file: &RemoteFile| file.name.ends_with(".safetensors");
        let unusable = |problem: String| HubError::Unusable { repository: request.repository.to_owned(), problem };
        let candidates = || listing.files.iter().filter(|file| fits(file) || !is_weights(file));
        let names: Vec<&str> = candidates().map(|file| file.name.as_str()).collect();
        // With an index, which cannot be read yet, any name will do.
        let any = || {
            let name = names.iter().find(|name| name.ends_with(".safetensors")).ok_or(NO_WEIGHTS)?;
            Ok(Shards::from([((*name).to_owned(), vec![String::new()])]))
        };
        let weights = weights(&names, any).map_err(unusable)?;
        for (file, problem) in [(CONFIG_FILE, "it has no config.json"), (TOKENIZER_FILE, NO_TOKENIZER)] {
            if !names.contains(&file) {
                return Err(unusable(problem.to_owned()));
            }
        }
        let wants_index = is_indexed(&weights);
        Ok(Self {
            repository: request.repository,
            commit: &listing.commit,
            small: candidates()
                .filter(|file| fits(file) && !is_weights(file) && (wants_index || file.name != INDEX_FILE))
                .collect(),
            weights: candidates()
                .filter(|file| is_weights(file) && (wants_index || weights.contains_key(&file.name)))
                .collect(),
        })
    }

    /// Fetches everything into `partial`, and removes what does not belong there.
    fn fetch(&self, hub: &Hub, partial: &Path, progress: &dyn Progress) -> Result<(), Error> {
        let fetch = |file: &RemoteFile| download::fetch(hub, self.repository, self.commit, file, partial, progress);
        for file in &self.small {
            fetch(file)?;
        }
        let names: Vec<&str> = self.small.iter().chain(&self.weights).map(|file| file.name.as_str()).collect();
        let weights = weights(&names, || read_index(partial))
            .map_err(|problem| HubError::Unusable { repository: self.repository.to_owned(), problem })?;
        for file in self.weights.iter().filter(|file| weights.contains_key(&file.name)) {
            fetch(file)?;
        }
        // Files of another commit, perhaps.
        let is_wanted = |name: &String| weights.contains_key(name) || self.small.iter().any(|file| file.name == *name);
        for file in list_files(partial)?.into_iter().filter(|file| !is_wanted(&file.name)) {
            let path = partial.join(file.name);
            std::fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }
}

/// Keeps two downloads of one model apart. The file goes away with it.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf) -> Result<Self, Error> {
        let file = File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(HubError::Busy { path }.into()),
            Err(std::fs::TryLockError::Error(source)) => Err(Error::Write { path, source }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays does no harm: only its lock counts.
        let _ = std::fs::remove_file(&self.path);
    }
}
