//! `lmgc report`: results as tables, plots and a page.

use std::collections::BTreeSet;

use anyhow::bail;
use lmgc_report::{Results, summary, write_report};
use serde_json::json;

use crate::args::{Common, Report};
use crate::table;
use crate::terminal::{Channel, count, say};

pub(crate) fn run(args: &Report, common: &Common) -> anyhow::Result<()> {
    let results = Results::read(&args.results)?;
    let page = args.output.join("index.html");
    if page.exists() && !args.force {
        bail!("{} has a report: give another directory, or -f to replace it", args.output.display());
    }
    let title = args.title.clone().unwrap_or_else(|| title(&results));
    let written = write_report(&results, &title, &args.output)?;
    if common.json {
        let skipped: Vec<_> =
            written.skipped_plots.iter().map(|(plot, reason)| json!({ "plot": plot, "reason": reason })).collect();
        Channel::Out.line(json!({
            "files": written.files,
            "skipped_plots": skipped,
            "n_ok": results.n_ok(),
            "n_failed": results.n_failed(),
        }));
    }
    for table in summary(&results) {
        let headers: Vec<&str> = table.headers.iter().map(String::as_str).collect();
        say(common, &table.title);
        table::lines(&headers, &table.rows).into_iter().for_each(|line| say(common, format!("  {line}")));
        table.notes.iter().for_each(|note| say(common, format!("  {note}")));
        say(common, "");
    }
    for (plot, reason) in &written.skipped_plots {
        say(common, format!("no plot {plot}: {reason}"));
    }
    say(
        common,
        format!(
            "{} with results, {} failed: {} and {} beside it",
            count(results.n_ok(), "cell"),
            results.n_failed(),
            page.display(),
            count(written.files.len().saturating_sub(1), "file")
        ),
    );
    Ok(())
}

fn title(results: &Results) -> String {
    let sweeps: BTreeSet<&str> = results.records().iter().filter_map(|record| record.sweep.as_deref()).collect();
    match sweeps.into_iter().collect::<Vec<_>>().as_slice() {
        [] => "Lossless compression of gradients".to_owned(),
        names => format!("Lossless compression of gradients: {}", names.join(", ")),
    }
}
