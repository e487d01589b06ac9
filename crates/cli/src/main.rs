//! The `lmgc` command line: collects, tokenises, compresses and restores neural-network gradients.

mod args;
mod commands;
mod exit;
mod models;
mod table;
mod terminal;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(exit::report(&error, args.common.json)),
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let n_threads = args.common.threads.map_or(0, NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    // All of it on one of the pool's threads: handing work over from outside would cost a wake-up a call.
    pool.install(|| run_verb(args))
}

fn run_verb(args: &Args) -> anyhow::Result<()> {
    let common = &args.common;
    match &args.verb {
        Verb::Collect(verb) => commands::collect::run(verb, common),
        Verb::Tokenize(verb) => commands::tokenize::run(verb, common),
        Verb::Detokenize(verb) => commands::tokenize::run_inverse(verb, common),
        Verb::Compress(verb) => commands::compress::run(verb, common),
        Verb::Decompress(verb) => commands::decompress::run(verb, common),
        Verb::Verify(verb) => commands::verify::run(verb, common),
        Verb::Inspect(verb) => commands::inspect::run(verb, common),
        Verb::Convert(verb) => commands::convert::run(verb, common),
        Verb::Model(verb) => commands::model::run(verb, common),
        Verb::Bench(verb) => commands::bench::run(verb, common),
        Verb::Sweep(verb) => commands::sweep::run(verb, common),
        Verb::Report(verb) => commands::report::run(verb, common),
        Verb::BenchModel(verb) => commands::bench_model::run(verb, common),
        Verb::Selftest(_) => commands::selftest::run(common),
        Verb::Demo(verb) => commands::demo::run(verb, common),
    }
}
