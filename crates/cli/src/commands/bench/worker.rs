//! One measurement, in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use lmgc_codec::bench::{Contestant, Failure, Limits, Measurement, Scope, measure, measure_file};
use lmgc_codec::{CodecName, CompressOptions, Error, baselines};

use crate::args::{Bench, Common};
use crate::commands::compress::default_lm;
use crate::models::Models;
use crate::terminal::Channel;

/// After this long, no other round begins.
const ENOUGH: Duration = Duration::from_secs(30);

/// Starts the process of a measurement and waits for it.
pub(super) fn start(
    args: &Bench,
    common: &Common,
    input: &Path,
    contestant: Contestant,
    scope: Scope,
) -> anyhow::Result<Result<Measurement, Failure>> {
    let program = std::env::current_exe().context("cannot find the program's own file, to run it again")?;
    let mut command = Command::new(&program);
    command
        .args(["bench", "--worker"])
        .arg(format!("--codecs={contestant}"))
        .arg(format!("--scope={scope}"))
        .arg(format!("--chunk-bytes={}", args.chunk_bytes()))
        .arg(format!("--rounds={}", args.rounds))
        .arg(format!("--threads={}", threads(common)))
        .arg(format!("--memory={}", common.memory.0));
    if let Some(dtype) = args.dtype {
        command.arg(format!("--dtype={dtype}"));
    }
    if let (Some(model), true) = (&args.model, contestant.codec.needs_model()) {
        command.arg(format!("--model={model}"));
    }
    let output = command
        .arg("--")
        .arg(input)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout)
            .context("the process of a measurement said something unexpected");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.split_whitespace().collect();
    Ok(Err(Failure::broken(format!("its process ended with {}: {}", output.status, said.join(" ")))))
}

/// Threads of a measurement.
pub(super) fn threads(common: &Common) -> usize {
    common.threads.map_or(1, std::num::NonZeroUsize::get)
}

/// Is that process: measures and prints the outcome.
pub(super) fn run(args: &Bench, common: &Common) -> anyhow::Result<()> {
    let ([input], [contestant], [scope]) = (args.inputs.as_slice(), args.codecs.as_slice(), args.scope.as_slice())
    else {
        anyhow::bail!("--worker takes one input, one codec and one scope");
    };
    let limits = Limits { n_rounds: args.rounds as usize, enough: ENOUGH };
    let outcome = match (scope, contestant.codec) {
        (Scope::File, _) => file(args, common, input, *contestant, limits)?,
        (_, CodecName::One(id)) if !contestant.codec.needs_model() => {
            match baselines::codec(id, contestant.level.unwrap_or(0)) {
                Ok(codec) => {
                    measure(&*codec, id, &super::read_sample(input, args)?, *scope, args.chunk_bytes(), limits)
                }
                Err(error) => Err(Failure::refused(&error)),
            }
        }
        (_, codec) => Err(Failure::Refused {
            reason: format!("{codec} is measured in scope file alone, as `lmgc compress` runs it"),
        }),
    };
    Channel::Out.line(serde_json::to_string(&outcome)?);
    Ok(())
}

fn file(
    args: &Bench,
    common: &Common,
    input: &Path,
    contestant: Contestant,
    limits: Limits,
) -> anyhow::Result<Result<Measurement, Failure>> {
    let models = Models::new(args.model.as_deref(), common);
    let lm = if contestant.codec.needs_model() { Some(default_lm(&models)?.1) } else { None };
    let level = match contestant.file_level() {
        Ok(level) => level,
        Err(error @ Error::NoSuchLevel { .. }) => return Ok(Err(Failure::refused(&error))),
        Err(error) => return Err(error.into()),
    };
    let options = CompressOptions { codec: contestant.codec, level, lm: lm.as_ref(), reference: None };
    let original = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    Ok(measure_file(&original, &options, &models, limits))
}
