use anyhow::Context;
use lmgc_codec::files::{FileOptions, Place, verify_file};
use lmgc_codec::{Error, Progress};
use serde_json::json;

use super::damage;
use crate::args::{Common, Verify};
use crate::exit::{self, SomeFailed};
use crate::models::Models;
use crate::terminal::{Bars, Channel, bytes, count, say, say_on};

pub(crate) fn run(args: &Verify, common: &Common) -> anyhow::Result<()> {
    let models = Models::new(args.model.as_deref(), common).with_reference(args.reference.as_deref())?;
    let mut failed = SomeFailed::of(args.inputs.len());
    for path in &args.inputs {
        match verify(&Place::new(path), &models, common) {
            Ok(()) => {}
            Err(error) if args.inputs.len() == 1 => return Err(error),
            Err(error) => failed.add(exit::report(&error, common.json)),
        }
    }
    failed.into_result()
}

fn verify(input: &Place, models: &Models, common: &Common) -> anyhow::Result<()> {
    let progress = Bars::new(common, input.to_string());
    let files = FileOptions { force: false, models, progress: &progress };
    let report = match verify_file(input, &files) {
        Ok(report) => report,
        Err(error) => {
            progress.end();
            if let Error::Damaged { damage, .. } = &error {
                for line in damage::describe(damage) {
                    say_on(Channel::Err, common, format!("{input}: {line}"));
                }
                say_on(Channel::Err, common, format!("{input}: {}", damage::HINT));
            }
            return Err(error).with_context(|| format!("{input}"));
        }
    };
    if common.json {
        Channel::Out.line(json!({
            "input": input.to_string(),
            "raw_bytes": report.raw_bytes,
            "compressed_bytes": report.compressed_bytes,
            "n_blocks": report.n_blocks,
            "ok": true,
        }));
    }
    let blocks = count(report.n_blocks, "block");
    say(common, format!("{input}: ok, {blocks}, {} restored", bytes(report.raw_bytes)));
    Ok(())
}
