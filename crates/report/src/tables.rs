//! The tables of a report: summaries, failures and all cells.

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::{Data, Group, Stats, Variant, mean};
use crate::labels::Labels;
use crate::numbers::{count, fixed, speed};
use crate::record::{Record, Status};
use crate::results::Results;

/// What stands for a figure that is not there.
pub(crate) const NONE: &str = "–";
/// Of longer reasons, the beginning is shown; `cells.csv` has all of it.
const MAX_REASON_CHARS: usize = 600;

/// A table of plain text, for a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// One for each column.
    pub headers: Vec<String>,
    /// Cells, as many as headers. The best figure of a column ends in `*`.
    pub rows: Vec<Vec<String>>,
    /// What one must know to read it, a sentence each.
    pub notes: Vec<String>,
}

/// A table before it is text, Markdown or HTML.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_number: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// What it is sorted by, if not by its text.
    pub(crate) value: Option<f64>,
    pub(crate) is_best: bool,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn number(value: Option<f64>, text: impl FnOnce(f64) -> String) -> Self {
        Self { text: value.map_or_else(|| NONE.to_owned(), text), value, is_best: false }
    }
}

impl Grid {
    fn new(title: impl Into<String>, columns: &[(&str, bool)]) -> Self {
        let columns = columns.iter().map(|&(name, is_number)| Column { name: name.to_owned(), is_number }).collect();
        Self { title: title.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn plain(&self) -> Table {
        let text = |cell: &Cell| if cell.is_best { format!("{}*", cell.text) } else { cell.text.clone() };
        let mut notes = self.notes.clone();
        if self.rows.iter().flatten().any(|cell| cell.is_best) {
            notes.push("* is the best of its column.".to_owned());
        }
        Table {
            title: self.title.clone(),
            headers: self.columns.iter().map(|column| column.name.clone()).collect(),
            rows: self.rows.iter().map(|row| row.iter().map(text).collect()).collect(),
            notes,
        }
    }
}

/// Rates by codec variant and data: a table for the data as they are, and one for each kind of lossy steps.
pub(crate) fn summaries(groups: &[Group], labels: &Labels) -> Vec<Grid> {
    let steps: BTreeSet<&Option<String>> = groups.iter().map(|group| &group.data.preprocess).collect();
    steps
        .into_iter()
        .map(|steps| {
            let of_steps: Vec<&Group> = groups.iter().filter(|group| group.data.preprocess == *steps).collect();
            summary(steps.as_deref(), &of_steps, labels)
        })
        .collect()
}

struct SummaryRow<'a> {
    /// Mean over the data that have a rate: the order of rows.
    known: Option<f64>,
    variant: &'a Variant,
    /// What can be the best of its column.
    measured: Vec<Option<f64>>,
    cells: Vec<Cell>,
}

fn summary(steps: Option<&str>, groups: &[&Group], labels: &Labels) -> Grid {
    let data: BTreeSet<&Data> = groups.iter().map(|group| &group.data).collect();
    let mut rows_of: BTreeMap<&Variant, BTreeMap<&Data, &Group>> = BTreeMap::new();
    for group in groups {
        rows_of.entry(&group.variant).or_default().insert(&group.data, group);
    }
    let has_mean = data.len() > 1;
    let title = steps.map_or_else(|| "Rate in percent".to_owned(), |steps| format!("Rate in percent, after {steps}"));
    let mut grid = Grid::new(title, &[("codec", false)]);
    grid.columns.extend(
        data.iter()
            .map(|data| labels.data_without_steps(data))
            .chain(has_mean.then(|| "mean".to_owned()))
            .map(|name| Column { name, is_number: true }),
    );

    let usual_n = usual_n(groups);
    let mut rows: Vec<SummaryRow<'_>> = rows_of
        .into_iter()
        .map(|(variant, groups)| {
            let cells_of = |data: &&Data| summary_cell(groups.get(*data).copied(), usual_n);
            let mut cells: Vec<Cell> = data.iter().map(cells_of).collect();
            let means: Vec<f64> = cells.iter().filter_map(|cell| cell.value).collect();
            let (known, is_full) = (mean(&means), means.len() == data.len());
            if has_mean {
                let mark = estimate_mark(variant);
                // Means over some of the data are no match for means over all of them.
                cells.push(Cell::number(known.filter(|_| is_full), |mean| format!("{mark}{}", fixed(mean, 2))));
            }
            let measured = cells.iter().map(|cell| cell.value.filter(|_| !variant.is_estimate())).collect();
            cells.insert(0, Cell::text(labels.variant(variant)));
            SummaryRow { known, variant, measured, cells }
        })
        .collect();
    rows.sort_by(|a, b| {
        let by_mean = a.known.unwrap_or(f64::INFINITY).total_cmp(&b.known.unwrap_or(f64::INFINITY));
        by_mean.then_with(|| a.variant.cmp(b.variant))
    });
    for column in 1..grid.columns.len() {
        let value = |row: &SummaryRow<'_>| row.measured.get(column - 1).copied().flatten();
        let least = rows.iter().filter_map(value).min_by(f64::total_cmp);
        let n_contenders = rows.iter().filter_map(value).count();
        for row in &mut rows {
            let is_best = n_contenders > 1 && least.is_some() && value(row) == least;
            if let Some(cell) = row.cells.get_mut(column) {
                cell.is_best = is_best;
            }
        }
    }
    grid.notes = summary_notes(groups, usual_n, steps);
    grid.rows = rows.into_iter().map(|row| row.cells).collect();
    grid
}

/// The number of repeats that most groups have; of several, the greatest.
fn usual_n(groups: &[&Group]) -> usize {
    let mut n_groups: BTreeMap<usize, usize> = BTreeMap::new();
    for n in groups.iter().filter_map(|group| group.rate).map(|rate| rate.n) {
        *n_groups.entry(n).or_default() += 1;
    }
    n_groups.into_iter().max_by_key(|&(n, n_groups)| (n_groups, n)).map_or(0, |(n, _)| n)
}

fn estimate_mark(variant: &Variant) -> &'static str {
    if variant.is_estimate() { "≈ " } else { "" }
}

fn summary_cell(group: Option<&Group>, usual_n: usize) -> Cell {
    let Some(group) = group else { return Cell::text(NONE) };
    let Some(rate) = group.rate else {
        return Cell::text(if group.n_failed > 0 { "failed" } else { NONE });
    };
    let mut text = format!("{}{}", estimate_mark(&group.variant), mean_and_sd(&rate));
    if rate.n != usual_n {
        text.push_str(&format!(" (n={})", rate.n));
    }
    Cell { text, value: Some(rate.mean), is_best: false }
}

pub(crate) fn mean_and_sd(rate: &Stats) -> String {
    let mean = fixed(rate.mean, 2);
    rate.sd.map_or_else(|| mean.clone(), |sd| format!("{mean} ± {}", fixed(sd, 2)))
}

fn summary_notes(groups: &[&Group], usual_n: usize, steps: Option<&str>) -> Vec<String> {
    let mut notes = vec!["Rate: compressed bytes in percent of the original bytes. Lower is better.".to_owned()];
    if let Some(steps) = steps {
        notes.push(format!(
            "These rates are over the bytes as {steps} left them, which is lossy: they do not compare with rates over the \
             original bytes."
        ));
    }
    let rates = || groups.iter().filter_map(|group| group.rate);
    let has_others = rates().any(|rate| rate.n != usual_n);
    if rates().any(|rate| rate.n > 1) {
        let others = if has_others { " unless a cell says otherwise" } else { "" };
        notes.push(format!("Mean ± sample standard deviation over draws and training runs, n = {usual_n}{others}."));
    } else if usual_n == 1 {
        notes.push("Each figure is a single measurement (n = 1).".to_owned());
    }
    if groups.iter().any(|group| group.variant.is_estimate()) {
        notes.push(ESTIMATES.to_owned());
    }
    notes
}

/// What everyone must know of estimates.
pub(crate) const ESTIMATES: &str = "≈ and “(est.)” mark estimates: ideal code lengths, for which nothing was written or decoded. They are never \
     averaged with measured sizes, and never marked as the best.";

/// Why cells have no figures.
pub(crate) fn failures(results: &Results, labels: &Labels) -> Grid {
    let mut grid = Grid::new("Failures", &[("data", false), ("repeat", false), ("codec", false), ("reason", false)]);
    for record in results.records().iter().filter(|record| record.status == Status::Failed) {
        let reason = shortened(record.error.as_deref().unwrap_or(NONE), MAX_REASON_CHARS);
        grid.rows.push(vec![
            Cell::text(labels.data(&Data::of(record))),
            Cell::text(repeat(record)),
            Cell::text(labels.variant(&Variant::of(record))),
            Cell::text(reason),
        ]);
    }
    grid
}

fn repeat(record: &Record) -> String {
    let tag = record.settings.tag.as_ref().map(|tag| format!("tag {tag}"));
    let draw = record.settings.draw.as_ref().map(|draw| format!("draw {draw}"));
    let parts: Vec<String> = tag.into_iter().chain(draw).collect();
    if parts.is_empty() { NONE.to_owned() } else { parts.join(", ") }
}

/// The beginning of a text, and an ellipsis if there is more.
pub(crate) fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// All cells, with and without figures.
pub(crate) fn cells(results: &Results, labels: &Labels) -> Grid {
    let mut grid = Grid::new(
        "All cells",
        &[
            ("data", false),
            ("repeat", false),
            ("codec", false),
            ("measure", false),
            ("rate %", true),
            ("bits/value", true),
            ("bytes in", true),
            ("bytes out", true),
            ("MB/s in", true),
            ("MB/s out", true),
            ("round trip", false),
        ],
    );
    for record in results.records() {
        let variant = Variant::of(record);
        let mark = estimate_mark(&variant);
        let figure = |value: Option<f64>| Cell::number(value, |value| format!("{mark}{}", fixed(value, 2)));
        let size = |value: Option<u64>, mark: &str| {
            Cell::number(value.map(|value| value as f64), |_| format!("{mark}{}", value.map(count).unwrap_or_default()))
        };
        let is_failed = record.status == Status::Failed;
        let round_trip = match record.round_trip {
            _ if is_failed => "failed",
            Some(_) => "equal",
            None => NONE,
        };
        grid.rows.push(vec![
            Cell::text(labels.data(&Data::of(record))),
            Cell::text(repeat(record)),
            Cell::text(labels.variant(&variant)),
            Cell::text(record.measure.name()),
            figure(record.rate_percent),
            figure(record.bits_per_value),
            size(record.raw_bytes, ""),
            size(record.compressed_bytes, mark),
            Cell::number(record.compress_mb_per_s, speed),
            Cell::number(record.decompress_mb_per_s, speed),
            Cell::text(round_trip),
        ]);
    }
    if results.records().iter().any(|record| Variant::of(record).is_estimate()) {
        grid.notes.push(ESTIMATES.to_owned());
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::groups;

    fn read(lines: &[String]) -> (Results, Vec<Group>) {
        let results = Results::parse("x", lines.join("\n").as_bytes()).unwrap();
        let groups = groups(&results);
        (results, groups)
    }

    fn line(arch: &str, codec: &str, draw: u8, rate: f64, more: &str) -> String {
        format!(
            r#"{{"codec":"{codec}","rate_percent":{rate},"settings":{{"dataset":"digits","arch":"{arch}","tag":"0","draw":{draw}{more}}}}}"#
        )
    }

    fn tables(lines: &[String]) -> Vec<Table> {
        let (_, groups) = read(lines);
        summaries(&groups, &Labels::new(&groups)).iter().map(Grid::plain).collect()
    }

    #[test]
    fn rows_are_codecs_and_columns_are_data() {
        let mut lines = Vec::new();
        for (draw, rate) in [(1, 90.0), (2, 92.0), (3, 97.0)] {
            lines.push(line("a", "x", draw, rate, ""));
            lines.push(line("b", "x", draw, rate - 40.0, ""));
            lines.push(line("a", "y", draw, rate - 1.0, ""));
        }
        lines.push(line("b", "y", 1, 60.0, ""));
        lines.push(line("b", "z", 1, 99.0, ""));
        let tables = tables(&lines);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].headers, ["codec", "digits, a", "digits, b", "mean"]);
        assert_eq!(
            tables[0].rows,
            [
                ["x", "93.00 ± 3.61", "53.00 ± 3.61*", "73.00*"],
                ["y", "92.00 ± 3.61*", "60.00 (n=1)", "76.00"],
                ["z", "–", "99.00 (n=1)", "–"],
            ]
        );
        assert!(tables[0].notes.iter().any(|note| note.contains("n = 3 unless")), "{:?}", tables[0].notes);
    }

    #[test]
    fn estimates_are_marked_and_win_nothing() {
        let estimate = line("a", "x", 1, 10.0, "").replacen('{', r#"{"measure":"estimate","#, 1);
        let table = &tables(&[line("a", "x", 1, 50.0, ""), estimate, line("a", "y", 1, 60.0, "")])[0];
        assert_eq!(table.rows, [["x (est.)", "≈ 10.00"], ["x", "50.00*"], ["y", "60.00"]]);
        assert!(table.notes.iter().any(|note| note == ESTIMATES));
    }

    #[test]
    fn lossy_steps_have_a_table_of_their_own() {
        let steps = |steps: &str| line("a", "x", 1, 10.0, &format!(r#","preprocess":"{steps}""#));
        let tables = tables(&[steps("none"), steps("quantization8"), line("a", "y", 1, 10.0, "")]);
        let titles: Vec<&str> = tables.iter().map(|table| table.title.as_str()).collect();
        assert_eq!(titles, ["Rate in percent", "Rate in percent, after quantization8"]);
        assert_eq!(tables[1].headers, ["codec", "digits, a"]);
        assert!(tables[1].notes.iter().any(|note| note.contains("lossy")));
        assert!(!tables[0].notes.iter().any(|note| note.contains("lossy")));
    }

    #[test]
    fn failures_say_why() {
        let failed = line("a", "x", 1, 10.0, "").replacen('{', r#"{"error":"too small","#, 1);
        let (results, groups) = read(&[failed]);
        let labels = Labels::new(&groups);
        assert_eq!(failures(&results, &labels).plain().rows, [["digits, a", "tag 0, draw 1", "x", "too small"]]);
        assert_eq!(summaries(&groups, &labels)[0].plain().rows, [["x", "failed"]]);
        let cells = cells(&results, &labels).plain();
        assert_eq!(cells.rows[0].len(), cells.headers.len());
        assert_eq!(cells.rows[0].last().unwrap(), "failed");
    }

    #[test]
    fn nothing_gives_no_summary() {
        assert!(tables(&[]).is_empty());
    }
}
