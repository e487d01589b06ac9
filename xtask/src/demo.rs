//! `cargo xtask demo`: from a fresh clone to a verified round trip.

use std::{
    env::consts::EXE_SUFFIX,
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{
    model,
    workspace::{Workspace, run_visibly},
};

/// Builds lmgc, obtains the model and runs `lmgc demo` with `arguments`; returns lmgc's exit code.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    println!("1/3 build lmgc (release); the first time this takes some minutes");
    run_visibly(workspace.cargo().args(["build", "--release", "--package", "lmgc"]))?;
    println!("2/3 language model");
    println!("{}", model::fetch()?.display());
    println!("3/3 lmgc demo");
    let program = workspace.target_dir.join("release").join(format!("lmgc{EXE_SUFFIX}"));
    let status = Command::new(&program).arg("demo").args(arguments).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    // A signal leaves no code, and codes beyond a byte exist on Windows only.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
