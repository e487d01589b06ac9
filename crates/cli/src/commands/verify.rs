use anyhow::Context;
use lmgc_codec::files::{FileOptions, Place, verify_file};
use serde_json::json;

use crate::args::{Common, Verify};
use crate::models::Models;
use crate::terminal::{Bars, Channel, bytes, count, say};

pub(crate) fn run(args: &Verify, common: &Common) -> anyhow::Result<()> {
    let models = Models::new(args.model.as_deref(), common).with_reference(args.reference.as_deref())?;
    for path in &args.inputs {
        let input = Place::new(path);
        let progress = Bars::new(common, input.to_string());
        let files = FileOptions { force: false, models: &models, progress: &progress };
        let report = verify_file(&input, &files).with_context(|| format!("{input}"))?;
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
    }
    Ok(())
}
