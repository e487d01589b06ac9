//! What damaged files lack, as people and programs read it.

use lmgc_codec::SalvageReport;
use serde_json::Value;

use crate::table;
use crate::terminal::{bytes, count};

/// What to do with a file that is damaged.
pub(crate) const HINT: &str = "`lmgc decompress --salvage` restores what is whole";

/// The report as JSON, with `first` in front.
pub(crate) fn to_json(report: &SalvageReport, first: Value) -> anyhow::Result<Value> {
    let mut value = first;
    if let (Value::Object(value), Value::Object(report)) = (&mut value, serde_json::to_value(report)?) {
        value.extend(report);
    }
    Ok(value)
}

/// The report in a few lines.
pub(crate) fn describe(report: &SalvageReport) -> Vec<String> {
    if report.is_whole {
        return vec!["everything is whole".to_owned()];
    }
    let n_damaged = report.damaged_tensors.len();
    let n_whole = report.n_tensors - n_damaged;
    let mut lines = Vec::new();
    if n_damaged > 0 {
        let rows: Vec<Vec<String>> = report
            .damaged_tensors
            .iter()
            .map(|tensor| {
                vec![
                    table::tensor_name(&tensor.name, "(no name)"),
                    tensor.dtype.clone(),
                    table::shape(&tensor.shape),
                    bytes(tensor.raw_bytes),
                    bytes(tensor.lost_bytes),
                ]
            })
            .collect();
        lines.push(format!("{} damaged, {n_whole} whole:", count(n_damaged, "tensor")));
        lines.extend(table::indented_lines(&["tensor", "dtype", "shape", "bytes", "lost"], &rows));
    } else {
        lines.push(format!("{} whole", count(n_whole, "tensor")));
    }
    lines.push(match report.lost_skeleton_bytes {
        0 => "all bytes outside tensors are there".to_owned(),
        lost => format!("{} outside tensors are lost: other programs may not be able to open the file", bytes(lost)),
    });
    if !report.has_hashes {
        lines.push("the hashes are lost, so that only the blocks' checksums say that the rest is right".to_owned());
    } else if report.lost_ranges.is_empty() {
        lines.push("but the whole does not have the hash that the file records".to_owned());
    }
    lines
}
