use anyhow::Context;
use lmgc_codec::Inspection;
use lmgc_codec::files::{Place, inspect_file};

use crate::args::{Common, Inspect};
use crate::table;
use crate::terminal::{Channel, bytes, say};

pub(crate) fn run(args: &Inspect, common: &Common) -> anyhow::Result<()> {
    for path in &args.inputs {
        let input = Place::new(path);
        let mut inspection = inspect_file(&input).with_context(|| format!("{input}"))?;
        if common.json {
            if !args.blocks {
                inspection.blocks.clear();
            }
            let mut value = serde_json::to_value(&inspection)?;
            value["input"] = input.to_string().into();
            Channel::Out.line(value);
        }
        for line in describe(&input, &inspection, args.blocks) {
            say(common, line);
        }
    }
    Ok(())
}

fn describe(input: &Place, inspection: &Inspection, blocks: bool) -> Vec<String> {
    let rate = inspection.rate_percent.map_or_else(String::new, |rate| format!(" ({rate:.2} %)"));
    let mut lines = vec![
        format!("{input}"),
        format!(
            "  {} file of {} in {}{rate}",
            inspection.file_format,
            bytes(inspection.raw_bytes),
            bytes(inspection.compressed_bytes)
        ),
        format!("  blake3    {}", inspection.original_blake3),
    ];
    let settings: Vec<String> = inspection.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.push(format!("  settings  {}", settings.join(" ")));
    if let Some(model) = &inspection.model {
        lines.push(format!(
            "  model     {} (fingerprint {}..., numerics revision {})",
            model.name,
            model.fingerprint.get(..16).unwrap_or_default(),
            model.numerics_revision
        ));
    }
    let rows = |sizes: (u64, u64)| vec![bytes(sizes.0), bytes(sizes.1), percent(sizes.1 as f64, sizes.0)];
    let codecs: Vec<Vec<String>> = inspection
        .codecs
        .iter()
        .map(|codec| {
            let head = vec![codec.codec.clone(), codec.n_blocks.to_string()];
            [head, rows((codec.raw_bytes, codec.payload_bytes))].concat()
        })
        .collect();
    push_table(&mut lines, &["codec", "blocks", "raw", "payload", "rate"], &codecs);
    let tensors: Vec<Vec<String>> = inspection
        .tensors
        .iter()
        .map(|tensor| {
            vec![
                table::tensor_name(&tensor.name, "(whole file)"),
                tensor.dtype.clone(),
                table::shape(&tensor.shape),
                bytes(tensor.raw_bytes),
                percent(tensor.payload_bytes, tensor.raw_bytes),
                tensor.bits_per_value.map_or_else(|| "-".to_owned(), |bits| format!("{bits:.2}")),
                tensor.codecs.join("+"),
            ]
        })
        .collect();
    push_table(&mut lines, &["tensor", "dtype", "shape", "raw", "rate", "bits/value", "codec"], &tensors);
    if blocks {
        let blocks: Vec<Vec<String>> = inspection
            .blocks
            .iter()
            .map(|block| {
                let head = vec![block.stream.clone(), block.stream_offset.to_string(), block.codec.clone()];
                [head, rows((block.raw_bytes, block.payload_bytes)), vec![block.n_lanes.to_string()]].concat()
            })
            .collect();
        push_table(&mut lines, &["block", "at", "codec", "raw", "payload", "rate", "lanes"], &blocks);
    }
    lines
}

fn push_table(lines: &mut Vec<String>, header: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        lines.push(String::new());
        lines.extend(table::indented_lines(header, rows));
    }
}

fn percent(part: f64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.2} %", 100.0 * part / whole as f64) }
}
