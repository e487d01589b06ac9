//! Where models lie on this machine.
//!
//! The store is `$LMGC_HOME` if set, else `lmgc` in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`;
//! `~/Library/Caches` on macOS; `%LOCALAPPDATA%` on Windows). A model is the directory `models/<name>` in it: `model.gguf`, or
//! the files of a Hugging Face folder (config.json, tokenizer.json, `*.safetensors`). `models/<name>.partial` is a download
//! that has not ended yet ([`crate::hub`]).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Error;

/// A GGUF model's file in its directory.
pub const GGUF_FILE: &str = "model.gguf";
/// The file that makes a directory a Hugging Face folder.
pub const CONFIG_FILE: &str = "config.json";
/// Ending of directories of unfinished downloads.
pub(crate) const PARTIAL: &str = ".partial";
const MAX_NAME_LEN: usize = 96;

/// The store's directory; it need not exist.
///
/// # Errors
/// [`Error::NoStore`] where neither `LMGC_HOME` nor a home directory is known.
pub fn root() -> Result<PathBuf, Error> {
    root_from(|name| env::var_os(name)).ok_or(Error::NoStore)
}

fn root_from(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = path("LMGC_HOME") {
        return Some(home);
    }
    let cache = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Caches"))
    } else {
        path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("lmgc"))
}

/// The directory that holds all models; it need not exist.
///
/// # Errors
/// As [`root`].
pub fn models() -> Result<PathBuf, Error> {
    Ok(root()?.join("models"))
}

/// The place of a model's GGUF file in the store, whether or not it is there.
///
/// # Errors
/// As [`root`].
pub fn model_file(name: &str) -> Result<PathBuf, Error> {
    Ok(models()?.join(name).join(GGUF_FILE))
}

/// Whether `--model` names a file or folder rather than a model of the store: it has a separator, or an ending of a model
/// file.
pub fn is_path(model: &str) -> bool {
    let path = Path::new(model);
    let ending = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf") || e.eq_ignore_ascii_case("json"));
    path.components().count() > 1 || model.ends_with(std::path::is_separator) || ending
}

/// Whether a name can stand in the store: ASCII letters, digits, `-`, `_` and `.`, no dot in front, and not the ending of
/// unfinished downloads.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=MAX_NAME_LEN).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(PARTIAL)
        && name.chars().all(is_plain)
}

/// The GGUF file or the Hugging Face folder for `--model`: a path where it looks like one ([`is_path`]), else a name in
/// the store.
///
/// # Errors
/// [`Error::NotFound`] where the store lacks it; the error names what to do. A path is not checked here.
pub fn resolve(model: &str) -> Result<PathBuf, Error> {
    if is_path(model) { Ok(model_at(Path::new(model))) } else { resolve_name(model) }
}

/// The GGUF file or the Hugging Face folder of a model of the store, for a name that comes from a file and may be anything.
///
/// # Errors
/// [`Error::NotFound`] where the store lacks it, or where it is no plain name.
pub fn resolve_name(name: &str) -> Result<PathBuf, Error> {
    resolve_in(&models()?, name)
}

fn resolve_in(models: &Path, name: &str) -> Result<PathBuf, Error> {
    let not_found = || Error::NotFound { name: name.escape_debug().to_string(), models: models.to_owned() };
    if !is_name(name) {
        return Err(not_found());
    }
    content(&models.join(name)).ok_or_else(not_found)
}

/// What a directory of the store holds: its GGUF file, or else the directory itself as a Hugging Face folder.
fn content(directory: &Path) -> Option<PathBuf> {
    let path = model_at(directory);
    (path != directory || directory.join(CONFIG_FILE).is_file()).then_some(path)
}

/// What a path stands for: the GGUF file in a folder that has one, else what it names.
pub(crate) fn model_at(path: &Path) -> PathBuf {
    let gguf = path.join(GGUF_FILE);
    if gguf.is_file() { gguf } else { path.to_owned() }
}

/// The names of all models in the store, sorted. A store that is not there yet has none.
///
/// # Errors
/// [`Error::NoStore`], or [`Error::Io`] where the directory cannot be read.
pub fn names() -> Result<Vec<String>, Error> {
    names_in(&models()?)
}

fn names_in(models: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Io { path: models.to_owned(), source };
    let entries = match std::fs::read_dir(models) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string()
            && is_name(&name)
            && content(&entry.path()).is_some()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Puts a finished directory in a model's place. What was there is kept until the new one stands.
///
/// # Errors
/// [`Error::Exists`] where the place is taken and `force` is not set, [`Error::Io`] where renaming fails.
pub(crate) fn settle(finished: &Path, place: &Path, force: bool) -> Result<(), Error> {
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|source| Error::Write { path: to.to_owned(), source })
    };
    check_free(place, force)?;
    if !place.exists() {
        return rename(finished, place);
    }
    let parent = place.parent().unwrap_or(place);
    let aside = tempfile::Builder::new()
        .prefix(".old-")
        .tempdir_in(parent)
        .map_err(|source| Error::Write { path: parent.to_owned(), source })?;
    let old = aside.path().join("model");
    rename(place, &old)?;
    rename(finished, place).inspect_err(|_| {
        // Put back what was there; the first error is the one to tell.
        let _ = std::fs::rename(&old, place);
    })
}

/// # Errors
/// [`Error::Exists`] where the place is taken and `force` is not set.
pub(crate) fn check_free(place: &Path, force: bool) -> Result<(), Error> {
    if !force && place.exists() {
        return Err(Error::Exists { path: place.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lmgc_home_comes_first_and_empty_counts_as_unset() {
        let vars = |home: &'static str| {
            move |name: &str| match name {
                "LMGC_HOME" => Some(OsString::from(home)),
                _ => Some(OsString::from("/cache")),
            }
        };
        assert_eq!(root_from(vars("/models")), Some(PathBuf::from("/models")));
        assert!(root_from(vars("")).is_some_and(|root| root.starts_with("/cache")));
        assert_eq!(root_from(|_| None), None);
    }

    #[test]
    fn paths_and_names_are_told_apart() {
        for path in ["dir/m", "m.GGUF", "./m", "m/"] {
            assert_eq!(resolve(path).unwrap(), PathBuf::from(path));
        }
        let store = tempfile::tempdir().unwrap();
        for hostile in ["", "..", "../x", "/etc/passwd", "a b", "x/y", ".x", "x.partial", &"x".repeat(97)] {
            std::fs::create_dir_all(store.path().join("x.partial")).unwrap();
            std::fs::write(store.path().join("x.partial/config.json"), "{}").unwrap();
            assert!(resolve_in(store.path(), hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn a_model_is_a_gguf_file_or_a_folder() {
        let store = tempfile::tempdir().unwrap();
        let place = |path: &str| store.path().join(path);
        for directory in ["gguf", "folder", "empty", "late.partial", ".hidden"] {
            std::fs::create_dir(place(directory)).unwrap();
        }
        for file in ["gguf/model.gguf", "gguf/config.json", "folder/config.json", "late.partial/config.json"] {
            std::fs::write(place(file), "").unwrap();
        }
        std::fs::write(place(".hidden/config.json"), "").unwrap();
        assert_eq!(resolve_in(store.path(), "gguf").unwrap(), place("gguf/model.gguf"));
        assert_eq!(resolve_in(store.path(), "folder").unwrap(), place("folder"));
        assert!(resolve_in(store.path(), "empty").is_err());
        assert_eq!(names_in(store.path()).unwrap(), ["folder", "gguf"]);
        assert_eq!(names_in(&place("nowhere")).unwrap(), [""; 0]);
    }

    #[test]
    fn missing_models_are_told_with_what_to_do() {
        let message = |name: &str| resolve_in(Path::new("/store"), name).unwrap_err().to_string();
        let known = message("gpt2");
        assert!(
            known.contains("/store") && known.contains("lmgc model pull gpt2") && !known.contains("near"),
            "{known}"
        );
        let gated = message("llama3-8b");
        assert!(gated.contains("HF_TOKEN"), "{gated}");
        let close = message("tinylama");
        assert!(close.contains("tinyllama") && close.contains("lmgc model list"), "{close}");
        let unknown = message("no-such-model");
        assert!(unknown.contains("no-such-model") && unknown.contains("lmgc model pull OWNER/REPO"), "{unknown}");
    }

    #[test]
    fn a_place_is_taken_over_only_by_force() {
        let store = tempfile::tempdir().unwrap();
        let (new, place) = (store.path().join("new"), store.path().join("model"));
        for (directory, text) in [(&new, "new"), (&place, "old")] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("f"), text).unwrap();
        }
        assert!(matches!(settle(&new, &place, false), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(place.join("f")).unwrap(), b"old");
        settle(&new, &place, true).unwrap();
        assert_eq!(std::fs::read(place.join("f")).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 1, "something was left beside it");
        // A finished directory that is not there: the old model comes back.
        assert!(matches!(settle(&new, &place, true), Err(Error::Write { .. })));
        assert_eq!(std::fs::read(place.join("f")).unwrap(), b"new");
    }
}
