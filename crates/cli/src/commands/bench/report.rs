//! Results for people and for machines.

use std::cmp::Ordering;
use std::io::IsTerminal;

use lmgc_codec::bench::{Failure, Floor, Measurement, Scope};
use lmgc_codec::{CodecId, CodecName};
use serde_json::{Value, json};

use super::{Row, worker};
use crate::args::{Bench, Common};
use crate::table;
use crate::terminal::{bytes, count};

/// What is measured on.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) format: String,
    /// One for each run.
    pub(super) dtypes: Vec<String>,
    pub(super) n_tensors: usize,
    pub(super) n_bytes: u64,
    pub(super) n_values: u64,
    pub(super) n_zeros: u64,
    pub(super) has_structure: bool,
    pub(super) floor: Floor,
}

/// The figures of a measurement. All but the sizes are `None` for an empty input.
struct Figures {
    rate_percent: Option<f64>,
    bits_per_value: Option<f64>,
    points_over_floor: Option<f64>,
    compress_mb_per_s: Option<f64>,
    decompress_mb_per_s: Option<f64>,
}

impl Figures {
    fn new(measured: &Measurement, subject: &Subject) -> Self {
        let raw_bytes = (measured.raw_bytes > 0).then_some(measured.raw_bytes as f64);
        let rate_percent = raw_bytes.map(|raw| 100.0 * measured.compressed_bytes as f64 / raw);
        let mb_per_s = |seconds: f64| raw_bytes.filter(|_| seconds > 0.0).map(|raw| raw / 1e6 / seconds);
        Self {
            rate_percent,
            bits_per_value: (subject.n_values > 0)
                .then(|| 8.0 * measured.compressed_bytes as f64 / subject.n_values as f64),
            points_over_floor: rate_percent.zip(subject.floor.order0_percent).map(|(rate, floor)| rate - floor),
            compress_mb_per_s: mb_per_s(measured.compress_seconds),
            decompress_mb_per_s: mb_per_s(measured.decompress_seconds),
        }
    }
}

pub(super) fn json(args: &Bench, common: &Common, subject: &Subject, row: &Row) -> Value {
    let measured = row.outcome.as_ref().ok();
    let figures = measured.map(|measured| Figures::new(measured, subject));
    let figure = |of: fn(&Figures) -> Option<f64>| figures.as_ref().and_then(of);
    let is_lm = row.contestant.codec == super::LM;
    json!({
        "input": subject.name,
        "codec": row.contestant.codec.to_string(),
        "settings": {
            "level": row.contestant.level,
            "scope": row.scope,
            "chunk_bytes": (row.scope == Scope::Chunks).then(|| args.chunk_bytes()),
            "rounds": measured.map(|measured| measured.n_rounds),
            "threads": worker::threads(common),
            "model": args.model.as_ref().filter(|_| is_lm),
            "versions": { "lmgc": env!("CARGO_PKG_VERSION") },
        },
        "dtypes": subject.dtypes,
        "n_tensors": subject.n_tensors,
        "n_values": subject.n_values,
        "n_zeros": subject.n_zeros,
        "n_pieces": measured.map(|measured| measured.n_pieces),
        "raw_bytes": measured.map_or(subject.n_bytes, |measured| measured.raw_bytes),
        "compressed_bytes": measured.map(|measured| measured.compressed_bytes),
        "rate_percent": figure(|f| f.rate_percent),
        "bits_per_value": figure(|f| f.bits_per_value),
        "order0_percent": subject.floor.order0_percent,
        "gaussian_percent": subject.floor.gaussian_percent,
        "points_over_floor": figure(|f| f.points_over_floor),
        "compress_mb_per_s": figure(|f| f.compress_mb_per_s),
        "decompress_mb_per_s": figure(|f| f.decompress_mb_per_s),
        "peak_memory_bytes": measured.and_then(|measured| measured.peak_memory_bytes),
        "round_trip": match &row.outcome {
            Ok(_) => Some(true),
            Err(Failure::Broken { .. }) => Some(false),
            Err(_) => None,
        },
        "error": row.outcome.as_ref().err().map(Failure::reason),
    })
}

/// A headline, a table sorted by rate, and the reasons of those who are not in it.
pub(super) fn lines(subject: &Subject, rows: &[Row]) -> Vec<String> {
    let mut lines = headline(subject);
    let mut measured: Vec<(&Row, &Measurement, Figures)> =
        rows.iter().filter_map(|row| row.outcome.as_ref().ok().map(|m| (row, m, Figures::new(m, subject)))).collect();
    let size = |measured: &Measurement, figures: &Figures| {
        (figures.rate_percent.unwrap_or_default(), measured.compressed_bytes)
    };
    measured.sort_by(|a, b| size(a.1, &a.2).partial_cmp(&size(b.1, &b.2)).unwrap_or(Ordering::Equal));
    if !measured.is_empty() {
        lines.push(String::new());
        lines.extend(table(&measured, subject).into_iter().map(|line| format!("  {line}")));
    }
    let failures = rows.iter().filter_map(|row| row.outcome.as_ref().err().map(|failure| (row, failure)));
    for (i, (row, failure)) in failures.enumerate() {
        if i == 0 {
            lines.push(String::new());
        }
        let verb = match failure {
            Failure::Broken { .. } => "FAILED",
            _ => "refused",
        };
        lines.push(format!("  {}, {}: {verb}: {}", row.contestant, row.scope, failure.reason()));
    }
    lines.push(String::new());
    lines
}

fn headline(subject: &Subject) -> Vec<String> {
    let zeros = if subject.n_values > 0 {
        format!(", {:.1} % zeros", 100.0 * subject.n_zeros as f64 / subject.n_values as f64)
    } else {
        String::new()
    };
    let mut lines = vec![
        subject.name.clone(),
        format!(
            "  {}, {}, {} of {}, {}{zeros}",
            subject.format,
            count(subject.n_tensors, "tensor"),
            count(subject.n_values as usize, "value"),
            subject.dtypes.join(" and "),
            bytes(subject.n_bytes),
        ),
    ];
    let order0 = subject.floor.order0_percent.map(|p| format!("order-0 sign, exponent and mantissa {p:.2} %"));
    let gaussian = subject.floor.gaussian_percent.map(|p| format!("independent Gaussian f32 {p:.1} %"));
    let floors: Vec<String> = order0.into_iter().chain(gaussian).collect();
    if !floors.is_empty() {
        lines.push(format!("  entropy floors: {}", floors.join(", ")));
    }
    lines
}

fn table(measured: &[(&Row, &Measurement, Figures)], subject: &Subject) -> Vec<String> {
    // Copying bytes wins nothing.
    let contenders = || measured.iter().filter(|(row, ..)| row.contestant.codec != CodecName::One(CodecId::Raw));
    let most = |of: fn(&Figures) -> Option<f64>| contenders().filter_map(|(.., f)| of(f)).max_by(f64::total_cmp);
    let best_rate = contenders().filter_map(|(.., f)| f.rate_percent).min_by(f64::total_cmp);
    let (best_in, best_out) = (most(|f| f.compress_mb_per_s), most(|f| f.decompress_mb_per_s));
    let style = Style::of_output();
    let has_floor = subject.floor.order0_percent.is_some();
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|(row, measured, figures)| {
            let is_contender = row.contestant.codec != CodecName::One(CodecId::Raw);
            let mark = |value: Option<f64>, best: Option<f64>, text: String| {
                style.mark(text, is_contender && value.is_some() && value == best)
            };
            let mut cells = vec![
                row.contestant.codec.to_string(),
                row.contestant.level.map_or_else(|| "-".to_owned(), |level| level.to_string()),
                row.scope.to_string(),
                measured.compressed_bytes.to_string(),
                mark(figures.rate_percent, best_rate, number(figures.rate_percent, 2)),
                number(figures.bits_per_value, 2),
            ];
            if has_floor {
                cells.push(figures.points_over_floor.map_or_else(|| "-".to_owned(), |points| format!("{points:+.2}")));
            }
            cells.push(mark(figures.compress_mb_per_s, best_in, speed(figures.compress_mb_per_s)));
            cells.push(mark(figures.decompress_mb_per_s, best_out, speed(figures.decompress_mb_per_s)));
            cells.push(measured.peak_memory_bytes.map_or_else(|| "-".to_owned(), bytes));
            cells
        })
        .collect();
    let (rate, mb_in, mb_out) =
        (style.mark("rate %".into(), false), style.mark("MB/s in".into(), false), style.mark("MB/s out".into(), false));
    let mut header = vec!["codec", "level", "scope", "bytes", &rate, "bits/value"];
    if has_floor {
        header.push("over floor");
    }
    header.extend([mb_in.as_str(), &mb_out, "memory"]);
    table::lines(&header, &rows)
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Three digits or more.
fn speed(mb_per_s: Option<f64>) -> String {
    let decimals = match mb_per_s {
        Some(value) if value < 1.0 => 3,
        Some(value) if value < 10.0 => 2,
        Some(value) if value < 100.0 => 1,
        _ => 0,
    };
    number(mb_per_s, decimals)
}

/// How the best figures stand out.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Star,
}

impl Style {
    fn of_output() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !plain { Self::Bold } else { Self::Star }
    }

    /// All cells of a column are marked or not by this, so that their digits stand in line.
    fn mark(self, text: String, is_best: bool) -> String {
        match (self, is_best) {
            (Self::Bold, true) => table::bold(&text),
            (Self::Bold, false) => text,
            (Self::Star, true) => text + "*",
            (Self::Star, false) => text + " ",
        }
    }
}
