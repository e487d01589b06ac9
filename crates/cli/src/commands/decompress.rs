use anyhow::Context;
use lmgc_codec::files::{FileOptions, Place, decompress_file, decompress_tensor, salvage_file};
use serde_json::json;

use super::damage;
use crate::args::{Common, Decompress};
use crate::exit::{NotWhole, UsageError};
use crate::models::Models;
use crate::terminal::{Bars, Channel, bytes, say_on};

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
        restore(args, common, &input, &output, &files).with_context(|| format!("{input}"))?;
    }
    Ok(())
}

fn restore(
    args: &Decompress,
    common: &Common,
    input: &Place,
    output: &Place,
    files: &FileOptions<'_>,
) -> anyhow::Result<()> {
    let mut record = json!({
        "input": input.to_string(),
        "output": output.to_string(),
        "tensor": args.tensor,
    });
    let channel = Channel::beside(output.as_path());
    if args.salvage {
        let report = salvage_file(input, output, files)?;
        if common.json {
            channel.line(damage::to_json(&report, record)?);
        }
        for line in damage::describe(&report) {
            say_on(Channel::Err, common, format!("{input}: {line}"));
        }
        return if report.is_whole { Ok(()) } else { Err(NotWhole.into()) };
    }
    let (raw_bytes, read) = match &args.tensor {
        Some(name) => {
            let report = decompress_tensor(input, name, output, files)?;
            record["read_bytes"] = report.read_bytes.into();
            (report.raw_bytes, format!("read {}, ", bytes(report.read_bytes)))
        }
        None => {
            let report = decompress_file(input, output, files).inspect_err(|error| {
                if error.is_damage() {
                    files.progress.end();
                    say_on(Channel::Err, common, format!("{input}: {}", damage::HINT));
                }
            })?;
            (report.raw_bytes, String::new())
        }
    };
    record["raw_bytes"] = raw_bytes.into();
    if common.json {
        channel.line(record);
    }
    say_on(Channel::Err, common, format!("{input}: {read}{} -> {output}", bytes(raw_bytes)));
    Ok(())
}
