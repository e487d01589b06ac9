//! `cargo xtask test`: every check that a change must pass, in the order of their cost.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    directions, licences, model,
    workspace::{Workspace, run_visibly, shown},
};

enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    duration: Duration,
}

/// Runs all steps, whatever fails, and prints one line at the end.
pub(crate) fn run(workspace: &Workspace, no_model: bool) -> Result<ExitCode> {
    let cargo_step = |words: &str, variable: Option<(&str, &str)>| {
        let mut command = workspace.cargo();
        command.args(words.split(' ')).envs(variable);
        println!("{}", shown(&command));
        run_visibly(&mut command).map(|()| Outcome::Passed)
    };
    let steps = [
        step("format", || cargo_step("fmt --all --check", None)),
        step("directions", || directions::run(workspace).map(|()| Outcome::Passed)),
        step("licences", || licences::run(workspace).map(|()| Outcome::Passed)),
        step("clippy", || cargo_step("clippy --workspace --all-targets -- -D warnings", None)),
        // Shares clippy's metadata of the dependencies.
        step("docs", || cargo_step("doc --workspace --no-deps", Some(("RUSTDOCFLAGS", "-D warnings")))),
        step("tests", || cargo_step("test --workspace --no-fail-fast", None)),
        step("model tests", || {
            if no_model {
                return Ok(Outcome::Skipped("--no-model".into()));
            }
            match model::fetch() {
                // Not the doctests, where `ignore` means something else.
                Ok(_) => cargo_step("test --workspace --no-fail-fast --tests -- --ignored", None),
                Err(model::FetchError::Unavailable(why)) => {
                    eprintln!("warning: {why}");
                    Ok(Outcome::Skipped("no model".into()))
                }
                Err(error) => Err(error.into()),
            }
        }),
    ];
    println!("\n{}", summary(&steps));
    let failed = steps.iter().any(|step| matches!(step.outcome, Outcome::Failed));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn step(name: &'static str, run: impl FnOnce() -> Result<Outcome>) -> Step {
    println!("\n=== {name}");
    let start = Instant::now();
    let outcome = run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Outcome::Failed
    });
    let step = Step { name, outcome, duration: start.elapsed() };
    println!("=== {}", line(&step));
    step
}

/// `tests ok 3 min 20 s`
fn line(Step { name, outcome, duration }: &Step) -> String {
    let seconds = duration.as_secs_f64();
    let duration = if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    };
    match outcome {
        Outcome::Passed => format!("{name} ok {duration}"),
        Outcome::Failed => format!("{name} FAILED {duration}"),
        Outcome::Skipped(why) => format!("{name} SKIPPED ({why})"),
    }
}

/// `xtask test: passed: format ok 0.5 s, clippy ok 3 min 20 s`
fn summary(steps: &[Step]) -> String {
    let failed = steps.iter().any(|step| matches!(step.outcome, Outcome::Failed));
    let verdict = if failed { "FAILED" } else { "passed" };
    format!("xtask test: {verdict}: {}", steps.iter().map(line).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole() {
        let step = |name, outcome, seconds| Step { name, outcome, duration: Duration::from_secs(seconds) };
        let mut steps = vec![step("a", Outcome::Passed, 1), step("b", Outcome::Skipped("no pip".into()), 0)];
        assert_eq!(summary(&steps), "xtask test: passed: a ok 1.0 s, b SKIPPED (no pip)");
        steps.push(step("c", Outcome::Failed, 125));
        assert_eq!(summary(&steps), "xtask test: FAILED: a ok 1.0 s, b SKIPPED (no pip), c FAILED 2 min 5 s");
    }

    #[test]
    fn errors_are_failures() {
        assert!(matches!(super::step("a", || anyhow::bail!("x")).outcome, Outcome::Failed));
    }
}
