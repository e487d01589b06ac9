use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc sweep configs/small.toml\n  \
                        lmgc sweep configs/formats.toml --estimate -o results/formats\n  \
                        lmgc report results/small -o report\n\n\
                        docs/experiments.md says what a CONFIG.toml may hold; configs/ has LM-GC's experiments. Results are appended to \
                        DIR/results.jsonl as they come: after an interruption the same command goes on where it stopped. A cell that \
                        fails says why in its line, and the rest goes on; the next run tries it again. Exit code 1 if any cell failed.")]
pub(crate) struct Sweep {
    /// What to run: the matrix of experiments, as TOML
    #[arg(value_name = "CONFIG.toml")]
    pub(crate) config: PathBuf,
    /// Directory of results [default: results/NAME, with the name that the configuration gives]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Compute ideal code lengths of language models and of codec structural, without writing and decoding blocks: faster, without
    /// headers, and labelled as estimates. Other codecs are measured as always
    #[arg(long)]
    pub(crate) estimate: bool,
    /// Show the cells and do nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Forget earlier results in DIR and begin anew
    #[arg(long)]
    pub(crate) restart: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc report results/small -o report\n  \
                        lmgc bench grad.safetensors --json > bench.jsonl && lmgc report bench.jsonl -o report\n\n\
                        DIR gets index.html (one page with everything in it: open it in a browser, send it to somebody), tables.md, \
                        summary.csv, cells.csv, and each plot as SVG and PNG.")]
pub(crate) struct Report {
    /// Results of `lmgc sweep` and `lmgc bench --json`: files of JSON lines, or directories with a results.jsonl
    #[arg(required = true, value_name = "RESULTS")]
    pub(crate) results: Vec<PathBuf>,
    /// Directory for the report
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Title of the page [default: the sweeps' names]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Replace a report that is in DIR
    #[arg(short, long)]
    pub(crate) force: bool,
}
