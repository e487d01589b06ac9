//! `cargo xtask mutations`: all damaged files, where the tests take a sample.

use anyhow::Result;

use crate::workspace::{Workspace, run_visibly};

/// Runs the test of damaged files in full, with optimisation.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["test", "--release", "--package", "lmgc-codec", "--test", "mutations", "--", "--nocapture"]);
    run_visibly(command.env("LMGC_MUTATIONS", "full"))
}
