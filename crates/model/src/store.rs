//! Where models lie on this machine.
//!
//! The store is `$LMGC_HOME` if set, else `lmgc` in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`;
//! `~/Library/Caches` on macOS; `%LOCALAPPDATA%` on Windows). A model is `models/<name>/model.gguf` in it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Error;

/// Names that `lmgc` knows, with what they are.
pub const KNOWN_MODELS: &[(&str, &str)] =
    &[("smollm2-135m", "SmolLM2-135M-Instruct, 135 M parameters, context 8192 (Apache-2.0)")];

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

/// The file that holds a model of the store, whether or not it is there.
///
/// # Errors
/// As [`root`].
pub fn model_file(name: &str) -> Result<PathBuf, Error> {
    Ok(root()?.join("models").join(name).join("model.gguf"))
}

/// Whether `--model` names a file rather than a model of the store: it has a separator, or an ending of a model file.
pub fn is_path(model: &str) -> bool {
    let path = Path::new(model);
    let ending = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf") || e.eq_ignore_ascii_case("json"));
    path.components().count() > 1 || ending
}

/// The GGUF file for `--model`: a path where it looks like one ([`is_path`]), else a name in the store.
///
/// # Errors
/// [`Error::NotFound`] where the store lacks it; the error names what to do. A path is not checked here.
pub fn resolve(model: &str) -> Result<PathBuf, Error> {
    if is_path(model) { Ok(PathBuf::from(model)) } else { resolve_name(model) }
}

/// The GGUF file of a model of the store, for a name that comes from a file and may be anything.
///
/// # Errors
/// [`Error::NotFound`] where the store lacks it, or where it is no plain name.
pub fn resolve_name(name: &str) -> Result<PathBuf, Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(Error::NotFound { name: name.escape_debug().to_string(), looked: root()?.join("models") });
    }
    let looked = model_file(name)?;
    if looked.is_file() { Ok(looked) } else { Err(Error::NotFound { name: name.to_owned(), looked }) }
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
        assert_eq!(resolve("dir/m").unwrap(), PathBuf::from("dir/m"));
        assert_eq!(resolve("m.GGUF").unwrap(), PathBuf::from("m.GGUF"));
        for hostile in ["", "..", "../x", "/etc/passwd", "a b", "x/y"] {
            assert!(resolve_name(hostile).is_err(), "{hostile}");
        }
        let error = resolve("no-such-model").unwrap_err().to_string();
        assert!(error.contains("no-such-model") && error.contains("fetch-model"), "{error}");
    }
}
