//! Taking models from elsewhere on this machine into the store.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::describe::check;
use crate::folder::{INDEX_FILE, is_indexed, list_files, read_index, weights};
use crate::store::{GGUF_FILE, check_free, is_name, model_at, settle};
use crate::{Error, ModelInfo, Progress, registry};

const COPY_BYTES: usize = 1 << 20;

/// The name that a model gets where none is given: that of the file, without its ending, or of the folder, in lower case.
#[must_use]
pub fn default_name(source: &Path) -> String {
    // "." and ".." have no name of their own.
    let whole = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match name.strip_suffix(".gguf") {
        Some(stem) if !whole.is_dir() => stem.to_owned(),
        _ => name,
    }
}

/// Copies a GGUF file or a Hugging Face folder to `models/<name>`, once its headers are read and it is complete. Of a folder,
/// only what a model needs is copied. The copy gets its place when all of it is written; after an error nothing is left.
///
/// # Errors
/// [`Error::BadName`]; [`Error::Exists`] where the name is taken and `force` is not set; [`Error::Io`], [`Error::Format`] or
/// [`Error::NotAModel`] where the source is not a complete model; [`Error::Write`].
pub fn import(
    source: &Path,
    models: &Path,
    name: &str,
    force: bool,
    progress: &dyn Progress,
) -> Result<ModelInfo, Error> {
    if !is_name(name) {
        return Err(Error::BadName { name: name.escape_debug().to_string() });
    }
    let place = models.join(name);
    check_free(&place, force)?;
    let source = &model_at(source);
    check(source)?;
    let in_models = |source| Error::Write { path: models.to_owned(), source };
    std::fs::create_dir_all(models).map_err(in_models)?;
    let temporary = tempfile::Builder::new().prefix(".import-").tempdir_in(models).map_err(in_models)?;
    let target = temporary.path().join(name);
    std::fs::create_dir(&target).map_err(in_models)?;
    let copied = if source.is_dir() {
        for file in needed(source)? {
            copy(&source.join(&file), &target.join(&file), progress)?;
        }
        target.clone()
    } else {
        let copied = target.join(GGUF_FILE);
        copy(source, &copied, progress)?;
        copied
    };
    // The source may have changed meanwhile.
    let info = check(&copied)?;
    settle(&target, &place, force)?;
    Ok(info)
}

/// The files of a folder that a model needs.
fn needed(folder: &Path) -> Result<Vec<String>, Error> {
    let files = list_files(folder)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let weights = weights(&names, || read_index(folder))
        .map_err(|problem| Error::NotAModel { path: folder.to_owned(), problem })?;
    // An index beside the one file that it does not describe would mislead.
    let wanted = |name: &str| {
        let is_weights = name.ends_with(".safetensors");
        (!is_weights || weights.contains_key(name)) && (name != INDEX_FILE || is_indexed(&weights))
    };
    let fits = |name: &str| registry::FILES.iter().any(|pattern| registry::matches(pattern, name));
    Ok(names.into_iter().filter(|name| fits(name) && wanted(name)).map(str::to_owned).collect())
}

fn copy(from: &Path, to: &Path, progress: &dyn Progress) -> Result<(), Error> {
    let read = |source| Error::Io { path: from.to_owned(), source };
    let write = |source| Error::Write { path: to.to_owned(), source };
    let mut source = File::open(from).map_err(read)?;
    let mut target = File::create_new(to).map_err(write)?;
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    progress.begin(&name, source.metadata().map_err(read)?.len());
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let n_bytes = source.read(&mut buffer).map_err(read)?;
        let Some(bytes) = buffer.get(..n_bytes).filter(|bytes| !bytes.is_empty()) else { break };
        target.write_all(bytes).map_err(write)?;
        progress.advance(n_bytes as u64);
    }
    progress.end();
    target.sync_all().map_err(write)
}
