use anyhow::Context;
use lmgc_codec::files::{FileOptions, Place, decompress_file, decompress_tensor};
use serde_json::json;

use crate::args::{Common, Decompress};
use crate::exit::UsageError;
use crate::models::Models;
use crate::terminal::{Bars, Channel, bytes};

pub(crate) fn run(args: &Decompress, common: &Common) -> anyhow::Result<()> {
    if args.output.is_some() && args.inputs.len() > 1 {
        return Err(UsageError("-o takes one input: without it, each IN.lmgc becomes IN".to_owned()).into());
    }
    let models = Models::new(args.model.as_deref(), common).with_reference(args.reference.as_deref())?;
    for path in &args.inputs {
        let input = Place::new(path);
        let output = match &args.output {
            Some(output) => Place::new(output),
            None => input.decompressed()?,
        };
        let progress = Bars::new(common, input.to_string());
        let files = FileOptions { force: args.force, models: &models, progress: &progress };
        let raw_bytes = match &args.tensor {
            Some(name) => decompress_tensor(&input, name, &output, &files),
            None => decompress_file(&input, &output, &files).map(|report| report.raw_bytes),
        }
        .with_context(|| format!("{input}"))?;
        if common.json {
            Channel::beside(output.as_path()).line(json!({
                "input": input.to_string(),
                "output": output.to_string(),
                "tensor": args.tensor,
                "raw_bytes": raw_bytes,
            }));
        } else if !common.quiet {
            eprintln!("{input}: {} -> {output}", bytes(raw_bytes));
        }
    }
    Ok(())
}
