//! Repeats of the same measurement, and what they come to.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::record::{Measure, Record, Status};
use crate::results::Results;

/// A setting of a codec. What data it works on is in [`Data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    Model,
    Format,
    BytesPerGroup,
    Window,
    Mask,
    LmBits,
    Mix,
    Level,
    Scope,
    ChunkBytes,
    Threads,
}

pub(crate) const SETTINGS: [Setting; 11] = [
    Setting::Model,
    Setting::Format,
    Setting::BytesPerGroup,
    Setting::Window,
    Setting::Mask,
    Setting::LmBits,
    Setting::Mix,
    Setting::Level,
    Setting::Scope,
    Setting::ChunkBytes,
    Setting::Threads,
];

impl Setting {
    /// As result files spell it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Format => "format",
            Self::BytesPerGroup => "bytes_per_group",
            Self::Window => "window",
            Self::Mask => "mask",
            Self::LmBits => "lm_bits",
            Self::Mix => "mix",
            Self::Level => "level",
            Self::Scope => "scope",
            Self::ChunkBytes => "chunk_bytes",
            Self::Threads => "threads",
        }
    }
}

/// A codec with its settings, and what its sizes are the sizes of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) codec: String,
    pub(crate) measure: Measure,
    settings: [Option<String>; SETTINGS.len()],
}

impl Variant {
    pub(crate) fn of(record: &Record) -> Self {
        let of = &record.settings;
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let settings = SETTINGS.map(|setting| match setting {
            Setting::Model => of.model.clone(),
            Setting::Format => of.format.clone(),
            Setting::BytesPerGroup => number(of.bytes_per_group),
            Setting::Window => number(of.window),
            Setting::Mask => of.mask.clone(),
            Setting::LmBits => of.lm_bits.clone(),
            // Not mixed is what a codec is that knows no mixing.
            Setting::Mix => of.mix.clone().filter(|mix| mix != "false"),
            Setting::Level => of.level.clone(),
            Setting::Scope => of.scope.clone(),
            Setting::ChunkBytes => number(of.chunk_bytes),
            Setting::Threads => number(of.threads),
        });
        Self { codec: record.codec.clone(), measure: record.measure, settings }
    }

    pub(crate) fn get(&self, setting: Setting) -> Option<&str> {
        self.settings.get(setting as usize).and_then(Option::as_deref)
    }

    /// The same with one setting open.
    pub(crate) fn without(&self, setting: Setting) -> Self {
        let mut rest = self.clone();
        if let Some(value) = rest.settings.get_mut(setting as usize) {
            *value = None;
        }
        rest
    }

    pub(crate) fn is_estimate(&self) -> bool {
        self.measure == Measure::Estimate
    }
}

impl Ord for Variant {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut settings = self.settings.iter().zip(&other.settings);
        natural(&self.codec, &other.codec)
            .then_with(|| {
                settings.find_map(|(a, b)| Some(natural_option(a, b)).filter(|o| o.is_ne())).unwrap_or(Ordering::Equal)
            })
            .then_with(|| self.measure.cmp(&other.measure))
    }
}

impl PartialOrd for Variant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers by value, and before all other text.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn natural_option(a: &Option<String>, b: &Option<String>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => natural(a, b),
        _ => a.is_some().cmp(&b.is_some()),
    }
}

/// What was compressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Data {
    /// Lossy steps that were applied; none first.
    pub(crate) preprocess: Option<String>,
    /// Data set; where there is none, the input.
    pub(crate) set: String,
    pub(crate) arch: Option<String>,
    pub(crate) sample_bytes: Option<u64>,
    pub(crate) sample_pieces: Option<u64>,
    pub(crate) num_subsample: Option<u64>,
    /// Whether `set` is an input's path.
    pub(crate) is_input: bool,
}

impl Data {
    pub(crate) fn of(record: &Record) -> Self {
        let settings = &record.settings;
        let is_input = settings.dataset.is_none() && settings.arch.is_none();
        let set = if is_input { record.input.clone() } else { settings.dataset.clone() };
        Self {
            preprocess: settings.lossy_steps().map(str::to_owned),
            set: set.unwrap_or_default(),
            arch: settings.arch.clone(),
            sample_bytes: settings.sample_bytes,
            sample_pieces: settings.sample_pieces,
            num_subsample: settings.num_subsample,
            is_input,
        }
    }
}

/// Figures of repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stats {
    pub(crate) n: usize,
    pub(crate) mean: f64,
    /// Sample standard deviation; none of a single figure.
    pub(crate) sd: Option<f64>,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Stats {
    /// `None` if there are no figures, or if they are too large to be added up.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = mean(values)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (n > 1).then(|| (squares / (n as f64 - 1.0)).sqrt()).filter(|sd| sd.is_finite());
        let (min, max) = values.iter().fold((mean, mean), |(min, max), &value| (value.min(min), value.max(max)));
        Some(Self { n, mean, sd, min, max })
    }
}

pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    Some(sum / values.len() as f64).filter(|mean| !values.is_empty() && mean.is_finite())
}

/// A codec variant on some data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) data: Data,
    pub(crate) variant: Variant,
    pub(crate) n_failed: usize,
    /// Records that a later one of the same repeat stands for.
    pub(crate) n_superseded: usize,
    pub(crate) rate: Option<Stats>,
    pub(crate) bits_per_value: Option<f64>,
    pub(crate) compress_mb_per_s: Option<f64>,
    pub(crate) decompress_mb_per_s: Option<f64>,
    /// Bits a value by field, in the order in which the records have them.
    pub(crate) fields: Vec<(String, f64)>,
}

/// All groups, ordered by data and variant.
///
/// A repeat that occurs again, in another sweep, does not count twice: the last one stands, as for a cell.
pub(crate) fn groups(results: &Results) -> Vec<Group> {
    let mut records_of: BTreeMap<(Data, Variant), Vec<&Record>> = BTreeMap::new();
    for record in results.records() {
        records_of.entry((Data::of(record), Variant::of(record))).or_default().push(record);
    }
    records_of.into_iter().map(|((data, variant), records)| group(data, variant, &records)).collect()
}

fn group(data: Data, variant: Variant, records: &[&Record]) -> Group {
    let mut last: BTreeMap<(Option<&str>, Option<&str>, usize), &Record> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let (tag, draw) = (record.settings.tag.as_deref(), record.settings.draw.as_deref());
        // Records that do not say which repeat they are cannot be the same one.
        let index = if tag.is_some() && draw.is_some() { 0 } else { index };
        last.insert((tag, draw, index), record);
    }
    let repeats: Vec<&Record> = last.into_values().collect();
    let ok: Vec<&Record> = repeats.iter().copied().filter(|record| record.status == Status::Ok).collect();
    let figures = |of: fn(&Record) -> Option<f64>| ok.iter().filter_map(|record| of(record)).collect::<Vec<f64>>();
    Group {
        n_failed: repeats.len() - ok.len(),
        n_superseded: records.len() - repeats.len(),
        rate: Stats::of(&figures(|record| record.rate_percent)),
        bits_per_value: mean(&figures(|record| record.bits_per_value)),
        compress_mb_per_s: mean(&figures(|record| record.compress_mb_per_s)),
        decompress_mb_per_s: mean(&figures(|record| record.decompress_mb_per_s)),
        fields: mean_fields(&ok),
        data,
        variant,
    }
}

/// A repeat without a field has 0 bits of it, if it has others.
fn mean_fields(records: &[&Record]) -> Vec<(String, f64)> {
    let with_fields: Vec<&&Record> = records.iter().filter(|record| !record.bits_by_field.is_empty()).collect();
    let mut sums: Vec<(String, f64)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for field in with_fields.iter().flat_map(|record| &record.bits_by_field) {
        let place = *places.entry(&field.field).or_insert(sums.len());
        if place == sums.len() {
            sums.push((field.field.clone(), 0.0));
        }
        let bits = field.bits_per_value.filter(|bits| bits.is_finite() && *bits >= 0.0).unwrap_or(0.0);
        if let Some((_, sum)) = sums.get_mut(place) {
            *sum += bits / with_fields.len() as f64;
        }
    }
    sums.retain(|(_, sum)| sum.is_finite());
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[String]) -> Vec<Group> {
        groups(&Results::parse("x", lines.join("\n").as_bytes()).unwrap())
    }

    fn line(settings: &str, rest: &str) -> String {
        format!(r#"{{"codec":"lm","settings":{{"dataset":"digits","arch":"convnet",{settings}}},{rest}}}"#)
    }

    #[test]
    fn repeats_have_mean_and_sample_standard_deviation() {
        let lines = [90.0, 92.0, 97.0].map(|rate| {
            line(&format!(r#""tag":"0","draw":{rate},"window":256"#), &format!(r#""rate_percent":{rate}"#))
        });
        let groups = read(&lines);
        assert_eq!(groups.len(), 1);
        // Mean (90 + 92 + 97) / 3 = 93; squares 9 + 1 + 16 = 26, over 2: 13.
        let stats = groups[0].rate.unwrap();
        assert_eq!(stats, Stats { n: 3, mean: 93.0, sd: Some(13f64.sqrt()), min: 90.0, max: 97.0 });
    }

    #[test]
    fn a_single_figure_has_no_deviation() {
        assert_eq!(Stats::of(&[5.0]).unwrap().sd, None);
        assert_eq!(Stats::of(&[]), None);
        assert_eq!(Stats::of(&[f64::MAX, f64::MAX]), None);
        assert_eq!(Stats::of(&[1e200, -1e200]).unwrap().sd, None);
    }

    #[test]
    fn other_settings_and_estimates_are_other_groups() {
        let mut lines = Vec::new();
        for settings in [
            r#""window":256"#,
            r#""window":2048"#,
            r#""window":256,"sample_bytes":8192"#,
            r#""window":256,"num_subsample":2"#,
            r#""window":256,"preprocess":"quantization8""#,
        ] {
            for measure in ["file", "estimate"] {
                lines.push(line(settings, &format!(r#""measure":"{measure}","rate_percent":1"#)));
            }
        }
        assert_eq!(read(&lines).len(), 10);
        // What is off is as good as not there.
        let same = [r#""preprocess":"none","mix":false"#, r#""preprocess":null,"mix":null"#];
        assert_eq!(read(&same.map(|settings| line(settings, r#""rate_percent":1"#))).len(), 1);
    }

    #[test]
    fn failures_are_counted_and_add_nothing() {
        let groups = read(&[
            line(r#""draw":1"#, r#""rate_percent":50,"compress_mb_per_s":2"#),
            line(r#""draw":2"#, r#""rate_percent":70,"error":"no""#),
            line(r#""draw":3"#, r#""rate_percent":60,"compress_mb_per_s":4"#),
        ]);
        let group = &groups[0];
        assert_eq!((group.n_failed, group.rate.unwrap().mean, group.rate.unwrap().n), (1, 55.0, 2));
        assert_eq!(group.compress_mb_per_s, Some(3.0));
    }

    #[test]
    fn a_repeat_counts_once() {
        let repeat = |sweep: &str, rate: u8| {
            line(r#""tag":"0","draw":1"#, &format!(r#""sweep":"{sweep}","cell":"c","rate_percent":{rate}"#))
        };
        let stats = read(&[repeat("a", 10), repeat("b", 20)])[0].rate.unwrap();
        assert_eq!((stats.n, stats.mean), (1, 20.0));
        assert_eq!(read(&[repeat("a", 10), repeat("b", 20)])[0].n_superseded, 1);
    }

    #[test]
    fn fields_keep_their_order_and_are_averaged() {
        let fields = |sign: &str| {
            format!(
                r#""bits_by_field":[{{"field":"zero","bits_per_value":3}},{{"field":"sign","bits_per_value":{sign}}}]"#
            )
        };
        let groups = read(&[
            line(r#""draw":1"#, &fields("1")),
            line(r#""draw":2"#, &fields("null")),
            line(r#""draw":3"#, r#""rate_percent":1"#),
        ]);
        assert_eq!(groups[0].fields, [("zero".to_owned(), 3.0), ("sign".to_owned(), 0.5)]);
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let mut texts = ["2048", "b", "256", "a", "19", "1e999"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["19", "256", "2048", "1e999", "a", "b"]);
    }
}
