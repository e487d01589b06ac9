//! The workspace as cargo sees it, and how to call cargo again.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The part of `cargo metadata --no-deps` that the checks use.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target_dir: PathBuf,
    /// All members of the workspace, and nothing else.
    #[serde(rename = "packages")]
    pub(crate) members: Vec<Member>,
}

#[derive(Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for an ordinary dependency.
    pub(crate) kind: Option<DependencyKind>,
    /// Set for path dependencies, that is for the workspace's own crates.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DependencyKind {
    Dev,
    Build,
}

impl Workspace {
    /// The workspace that this program belongs to. Asks cargo; needs no network and no lock file.
    pub(crate) fn load() -> Result<Self> {
        // The manifest compiled into this program names the workspace, whatever the current directory.
        Self::load_from(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")))
    }

    /// The workspace of a manifest.
    pub(crate) fn load_from(manifest: &Path) -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
        let json = stdout_of(&mut command)?;
        serde_json::from_str(&json).context("`cargo metadata` gave JSON of an unexpected form")
    }

    /// `cargo` in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }
}

impl Member {
    /// The directory that holds the member's `Cargo.toml`.
    pub(crate) fn dir(&self) -> PathBuf {
        self.manifest_path.with_file_name("")
    }
}

/// The cargo that runs this program, so that the toolchain stays the same.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command with its output on the terminal; an unsuccessful end is an error.
pub(crate) fn run_visibly(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

/// Runs a command and returns what it prints; its error output goes to the terminal.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` ended with {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something that is not UTF-8"))
}

/// The command line for messages, with the program's directory left out.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Prints complaints, one a line, and fails if there are any.
pub(crate) fn settle(what: &str, complaints: &[String]) -> Result<()> {
    for complaint in complaints {
        eprintln!("error: {complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        1 => bail!("{what}: 1 problem"),
        n => bail!("{what}: {n} problems"),
    }
}
