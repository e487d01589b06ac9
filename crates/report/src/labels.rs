//! Short names of codec variants and data, from what varies.

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::{Data, Group, SETTINGS, Setting, Variant};
use crate::record::Measure;
use crate::results::file_name;

/// Longer paths that differ further up only are shown whole.
const MAX_PATH_PARTS: usize = 6;

/// Names for the groups of a report.
#[derive(Debug)]
pub(crate) struct Labels {
    /// Settings that a codec's names show.
    shown: BTreeMap<String, BTreeSet<Setting>>,
    /// Names without measure that several measures share.
    ambiguous: BTreeSet<String>,
    shows_sample: bool,
    shows_num_subsample: bool,
    /// Short names of inputs, by their paths.
    inputs: BTreeMap<String, String>,
    /// Settings that no name shows.
    pub(crate) common: Vec<String>,
}

impl Labels {
    pub(crate) fn new(groups: &[Group]) -> Self {
        let variants: BTreeSet<&Variant> = groups.iter().map(|group| &group.variant).collect();
        let codecs: BTreeSet<&str> = variants.iter().map(|variant| variant.codec.as_str()).collect();
        let mut shown: BTreeMap<String, BTreeSet<Setting>> = BTreeMap::new();
        for codec in &codecs {
            let of_codec = || variants.iter().filter(|variant| variant.codec == *codec);
            let shows = |setting: &Setting| {
                let values: BTreeSet<_> = of_codec().map(|variant| variant.get(*setting)).collect();
                let everywhere = variants.iter().filter_map(|variant| variant.get(*setting)).collect::<BTreeSet<_>>();
                let varies_among_codecs = everywhere.len() > 1 && !is_environment(*setting);
                values.len() > 1 || (varies_among_codecs && values != BTreeSet::from([None]))
            };
            shown.insert((*codec).to_owned(), SETTINGS.into_iter().filter(shows).collect());
        }
        let data: BTreeSet<&Data> = groups.iter().map(|group| &group.data).collect();
        let varies = |of: fn(&Data) -> Option<u64>| data.iter().map(|data| of(data)).collect::<BTreeSet<_>>().len() > 1;
        let inputs: BTreeSet<&str> = data.iter().filter(|data| data.is_input).map(|data| data.set.as_str()).collect();
        let mut labels = Self {
            shown,
            ambiguous: BTreeSet::new(),
            shows_sample: varies(|data| data.sample_bytes) || varies(|data| data.sample_pieces),
            shows_num_subsample: varies(|data| data.num_subsample),
            inputs: short_paths(&inputs),
            common: Vec::new(),
        };
        labels.common = labels.common_settings(&variants, &data);
        let mut seen = BTreeMap::new();
        for variant in variants.iter().filter(|variant| !variant.is_estimate()) {
            let name = labels.name(variant, None);
            if seen.insert(name.clone(), variant.measure).is_some_and(|other| other != variant.measure) {
                labels.ambiguous.insert(name);
            }
        }
        labels
    }

    /// A codec variant's name.
    pub(crate) fn variant(&self, variant: &Variant) -> String {
        self.with_measure(variant, self.name(variant, None))
    }

    /// The name of a variant whose one setting is open.
    pub(crate) fn variant_without(&self, variant: &Variant, setting: Setting) -> String {
        self.with_measure(variant, self.name(variant, Some(setting)))
    }

    fn with_measure(&self, variant: &Variant, name: String) -> String {
        match variant.measure {
            Measure::Estimate => format!("{name} (est.)"),
            measure if self.ambiguous.contains(&name) => format!("{name} ({})", measure.name()),
            _ => name,
        }
    }

    fn name(&self, variant: &Variant, open: Option<Setting>) -> String {
        let mut name = variant.codec.clone();
        for &setting in self.shown.get(&variant.codec).into_iter().flatten() {
            let Some(value) = variant.get(setting).filter(|_| open != Some(setting)) else { continue };
            match setting {
                Setting::Level => {
                    name.push(':');
                    name.push_str(value);
                }
                _ => {
                    name.push(' ');
                    name.push_str(&short(setting, value));
                }
            }
        }
        name
    }

    /// Name of some data, lossy steps included.
    pub(crate) fn data(&self, data: &Data) -> String {
        let name = self.data_without_steps(data);
        data.preprocess.as_ref().map_or_else(|| name.clone(), |steps| format!("{name}, {steps}"))
    }

    pub(crate) fn data_without_steps(&self, data: &Data) -> String {
        let set = match data.set.as_str() {
            "" => "unnamed data",
            set => self.inputs.get(set).filter(|_| data.is_input).map_or(set, String::as_str),
        };
        let mut name = set.to_owned();
        if let Some(arch) = &data.arch {
            name = format!("{name}, {arch}");
        }
        if let Some(sample) = sample(data).filter(|_| self.shows_sample) {
            name = format!("{name}, {sample}");
        }
        if let Some(n) = data.num_subsample.filter(|_| self.shows_num_subsample) {
            name = format!("{name}, {}", files(n));
        }
        name
    }

    fn common_settings(&self, variants: &BTreeSet<&Variant>, data: &BTreeSet<&Data>) -> Vec<String> {
        let mut common = Vec::new();
        let the_only = |of: fn(&Data) -> Option<u64>| data.iter().find_map(|data| of(data));
        if let Some(sample) = data.iter().find_map(|data| sample(data)).filter(|_| !self.shows_sample) {
            common.push(format!("samples of {sample}"));
        }
        if let Some(n) = the_only(|data| data.num_subsample).filter(|_| !self.shows_num_subsample) {
            common.push(format!("drawn from {}", files(n)));
        }
        for setting in SETTINGS {
            // By value, the codecs that have it and do not show it.
            let mut codecs_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            let is_shown = |variant: &Variant| self.shown.get(&variant.codec).is_some_and(|s| s.contains(&setting));
            for variant in variants.iter().filter(|variant| !is_shown(variant)) {
                if let Some(value) = variant.get(setting) {
                    codecs_of.entry(value).or_default().insert(&variant.codec);
                }
            }
            // Of a setting that other codecs show in their names, the codecs must be told.
            let is_single = codecs_of.len() == 1 && !self.shown.values().any(|shown| shown.contains(&setting));
            common.extend(codecs_of.into_iter().map(|(value, codecs)| {
                let codecs: Vec<&str> = codecs.into_iter().collect();
                if is_single {
                    long(setting, value)
                } else {
                    format!("{} ({})", long(setting, value), codecs.join(", "))
                }
            }));
        }
        common
    }
}

/// The ends of paths, as long as it takes to tell them apart.
fn short_paths(paths: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let mut short = BTreeMap::new();
    let mut rest: Vec<&str> = paths.iter().copied().collect();
    for n_parts in 1..=MAX_PATH_PARTS {
        let mut paths_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for path in rest {
            paths_of.entry(path_end(path, n_parts)).or_default().push(path);
        }
        rest = Vec::new();
        for (end, paths) in paths_of {
            match paths.as_slice() {
                [only] => drop(short.insert((*only).to_owned(), end)),
                _ => rest.extend(paths),
            }
        }
    }
    short.extend(rest.into_iter().map(|path| (path.to_owned(), path.to_owned())));
    short
}

fn path_end(path: &str, n_parts: usize) -> String {
    let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let end = parts.get(parts.len().saturating_sub(n_parts)..).unwrap_or_default().join("/");
    if end.is_empty() { path.to_owned() } else { end }
}

/// Whether a setting says how a codec was run rather than which one it is.
fn is_environment(setting: Setting) -> bool {
    matches!(setting, Setting::Scope | Setting::ChunkBytes | Setting::Threads)
}

fn short(setting: Setting, value: &str) -> String {
    match setting {
        Setting::Model => file_name(value).to_owned(),
        Setting::Format | Setting::Scope | Setting::Level => value.to_owned(),
        Setting::BytesPerGroup => format!("g{value}"),
        Setting::Window => format!("w{value}"),
        Setting::Mask if value == "none" => "unmasked".to_owned(),
        Setting::Mask => value.to_owned(),
        Setting::LmBits => format!("{value} bits"),
        Setting::Mix => {
            if value == "true" {
                "mix".to_owned()
            } else {
                format!("mix {value}")
            }
        }
        Setting::ChunkBytes => format!("of {value}"),
        Setting::Threads => {
            if value == "1" {
                "1 thread".to_owned()
            } else {
                format!("{value} threads")
            }
        }
    }
}

fn long(setting: Setting, value: &str) -> String {
    match setting {
        Setting::Mix if value == "true" => "mixed with adaptive models".to_owned(),
        Setting::Threads => short(setting, value),
        Setting::Model => format!("model {}", file_name(value)),
        Setting::LmBits => format!("{value} bits a value by the model"),
        _ => format!("{} {value}", setting.key().replace('_', " ")),
    }
}

fn files(n: u64) -> String {
    if n == 1 { "1 file".to_owned() } else { format!("{n} files") }
}

/// "8 KiB in 4 pieces", where not all bytes are taken.
fn sample(data: &Data) -> Option<String> {
    let bytes = byte_count(data.sample_bytes?);
    Some(match data.sample_pieces {
        None | Some(1) => bytes,
        Some(n) => format!("{bytes} in {n} pieces"),
    })
}

/// In units that leave a whole number.
fn byte_count(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::groups;
    use crate::results::Results;

    fn labels(lines: &[&str]) -> (Vec<String>, Vec<String>, Labels) {
        let groups = groups(&Results::parse("x", lines.join("\n").as_bytes()).unwrap());
        let labels = Labels::new(&groups);
        let variants = groups.iter().map(|group| labels.variant(&group.variant)).collect();
        (variants, groups.iter().map(|group| labels.data(&group.data)).collect(), labels)
    }

    #[test]
    fn what_varies_is_shown_and_the_rest_is_common() {
        let lm = |format: &str, window: u32| {
            format!(
                r#"{{"codec":"lm","settings":{{"dataset":"d","sample_bytes":8192,"num_subsample":1,"model":"small","format":"{format}",
                "bytes_per_group":4,"window":{window},"mask":"alphabet","mix":false,"scope":"file","threads":2}}}}"#
            )
            .replace('\n', " ")
        };
        let gzip = r#"{"codec":"gzip","settings":{"dataset":"d","sample_bytes":8192,"num_subsample":1,"level":9,"scope":"whole"}}"#;
        let zstd = gzip.replace("gzip", "zstd").replace(":9,", ":19,");
        let structural = r#"{"codec":"structural","settings":{"dataset":"d","sample_bytes":8192,"num_subsample":1}}"#;
        let (variants, data, labels) = labels(&[&lm("hex-space", 2048), &lm("hex-none", 256), gzip, &zstd, structural]);
        assert_eq!(variants, ["gzip:9", "lm hex-none w256", "lm hex-space w2048", "structural", "zstd:19"]);
        assert_eq!(data[0], "d");
        assert_eq!(
            labels.common,
            [
                "samples of 8 KiB",
                "drawn from 1 file",
                "model small",
                "bytes per group 4",
                "mask alphabet",
                "scope file (lm)",
                "scope whole (gzip, zstd)",
                "2 threads"
            ]
        );
    }

    #[test]
    fn scopes_and_chunks_are_shown_where_a_codec_has_several() {
        let line = |scope: &str| format!(r#"{{"input":"a/b.npy","codec":"zstd","settings":{{"level":19,{scope}}}}}"#);
        let (variants, data, _) =
            labels(&[&line(r#""scope":"whole""#), &line(r#""scope":"chunks","chunk_bytes":512"#)]);
        assert_eq!(variants, ["zstd chunks of 512", "zstd whole"]);
        let auto = r#"{"input":"a/b.npy","codec":"auto","settings":{"level":19,"scope":"file"}}"#;
        let (.., labels) = self::labels(&[&line(r#""scope":"whole""#), &line(r#""scope":"tensor""#), auto]);
        assert_eq!(labels.common, ["level 19", "scope file (auto)"]);
        assert_eq!(data[0], "b.npy");
    }

    #[test]
    fn estimates_and_equal_names_are_told_apart() {
        let line = |measure: &str| format!(r#"{{"codec":"lm","measure":"{measure}","settings":{{"dataset":"d"}}}}"#);
        let (variants, ..) = labels(&[&line("file"), &line("estimate")]);
        assert_eq!(variants, ["lm", "lm (est.)"]);
        let (variants, ..) = labels(&[&line("file"), &line("payload")]);
        assert_eq!(variants, ["lm (file)", "lm (payload)"]);
    }

    #[test]
    fn data_are_told_apart() {
        let line = |input: &str| format!(r#"{{"input":"{input}","codec":"x"}}"#);
        let (_, data, _) = labels(&[&line("r/a/x.npy"), &line("r/b/x.npy"), &line("r/b/y.npy"), &line("-")]);
        assert_eq!(data, ["-", "a/x.npy", "b/x.npy", "y.npy"]);
        let (_, data, _) = labels(&[&line("/"), &line("x"), &line("/x")]);
        assert_eq!(data, ["/", "/x", "x"]);
        let sample =
            |bytes: u64| format!(r#"{{"codec":"x","settings":{{"dataset":"d","arch":"n","sample_bytes":{bytes}}}}}"#);
        let (_, data, _) = labels(&[&sample(1000), &sample(8192), &sample(1 << 20)]);
        assert_eq!(data, ["d, n, 1000 bytes", "d, n, 8 KiB", "d, n, 1 MiB"]);
    }
}
