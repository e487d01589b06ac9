//! A report's files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::groups::groups;
use crate::labels::Labels;
use crate::overview::overview;
use crate::page::Page;
use crate::plots::{self, View};
use crate::raster::{Raster, RasterError};
use crate::results::Results;
use crate::tables::{Grid, Table, cells, failures, summaries};
use crate::{csv_files, markdown};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or its directory cannot be written.
    #[error("cannot write {}: {source}; give a directory that can be written to", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A plot could not be turned into pixels.
    #[error("cannot draw {name}.png: {source}; this is a fault of lmgc, please report it with the result files")]
    Raster {
        /// The plot.
        name: &'static str,
        /// What is wrong.
        source: RasterError,
    },
    /// A table could not be turned into CSV.
    #[error("cannot make {name}: {reason}; this is a fault of lmgc, please report it with the result files")]
    Csv {
        /// The file.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What a report came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The files, `index.html` first.
    pub files: Vec<PathBuf>,
    /// Plots that there is no data for, and why.
    pub skipped_plots: Vec<(String, String)>,
}

/// Writes `index.html`, `tables.md`, `summary.csv`, `cells.csv` and each plot as SVG and PNG into `dir`, which is made if
/// need be. A file replaces an older one of its name when it is whole. Of a plot without data, older files are removed.
///
/// The same results and title give the same bytes.
///
/// # Errors
/// [`ReportError`]; files before the one that failed are there then.
pub fn write_report(results: &Results, title: &str, dir: &Path) -> Result<Written, ReportError> {
    let groups = groups(results);
    let labels = Labels::new(&groups);
    let (summaries, failures, cells) =
        (summaries(&groups, &labels), failures(results, &labels), cells(results, &labels));
    let plots = plots::all(&View { groups: &groups, labels: &labels });
    let overview = overview(results, &groups, &labels);
    let page =
        Page { title, overview: &overview, summaries: &summaries, plots: &plots, failures: &failures, cells: &cells };
    let mut tables = format!("# {}\n\n", markdown::escape(title));
    for (name, value) in &overview.facts {
        tables.push_str(&format!("- {name}: {}\n", markdown::escape(value)));
    }
    tables.extend(overview.remarks.iter().map(|remark| format!("\n{}\n", markdown::escape(remark))));
    for grid in summaries.iter().chain([&failures, &cells]) {
        tables.push('\n');
        tables.push_str(&markdown::table(grid));
    }
    let csv = |name: &'static str, bytes: Result<Vec<u8>, csv::Error>| {
        bytes.map(|bytes| (name, bytes)).map_err(|error| ReportError::Csv { name, reason: error.to_string() })
    };
    let (summary_csv, cells_csv) =
        (csv("summary.csv", csv_files::summary(&groups, &labels))?, csv("cells.csv", csv_files::cells(results))?);

    std::fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    let mut written = Written::default();
    let mut write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        write_whole(dir, &path, bytes).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        written.files.push(path);
        Ok(())
    };
    write("index.html", page.html().as_bytes())?;
    write("tables.md", tables.as_bytes())?;
    for (name, bytes) in [summary_csv, cells_csv] {
        write(name, &bytes)?;
    }
    let raster = Raster::new();
    for plot in plots.iter().flatten() {
        let png = raster.png(&plot.svg).map_err(|source| ReportError::Raster { name: plot.name, source })?;
        write(&format!("{}.svg", plot.name), plot.svg.as_bytes())?;
        write(&format!("{}.png", plot.name), &png)?;
    }
    for skipped in plots.into_iter().filter_map(Result::err) {
        for extension in ["svg", "png"] {
            remove_older(&dir.join(format!("{}.{extension}", skipped.name)))?;
        }
        written.skipped_plots.push((skipped.name.to_owned(), skipped.reason));
    }
    Ok(written)
}

/// The tables of rates, for a terminal: one for the data as they are, and one for each kind of lossy steps.
#[must_use]
pub fn summary(results: &Results) -> Vec<Table> {
    let groups = groups(results);
    summaries(&groups, &Labels::new(&groups)).iter().map(Grid::plain).collect()
}

/// Under a temporary name first, so that nobody sees half of it.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    let mut temporary = usual_permissions(builder.prefix(".lmgc-").suffix(".tmp")).tempfile_in(dir)?;
    temporary.write_all(bytes)?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Temporary files are private by default; an output gets the permissions of any new file.
#[cfg(unix)]
fn usual_permissions<'a, 'b, 'c>(builder: &'a mut tempfile::Builder<'b, 'c>) -> &'a mut tempfile::Builder<'b, 'c> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn usual_permissions<'a, 'b, 'c>(builder: &'a mut tempfile::Builder<'b, 'c>) -> &'a mut tempfile::Builder<'b, 'c> {
    builder
}

fn remove_older(path: &Path) -> Result<(), ReportError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ReportError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
