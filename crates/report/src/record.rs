//! One measurement, as a line of a result file tells it.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a cell has figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It has.
    Ok,
    /// It has none; [`Record::error`] says why.
    Failed,
}

/// What a size is the size of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// A `.lmgc` file that was decoded and compared.
    File,
    /// Payloads of a baseline, decoded and compared.
    Payload,
    /// The record does not say, as in the output of `lmgc bench`: measured, decoded and compared.
    Measured,
    /// An ideal code length. Nothing was written or decoded.
    Estimate,
}

impl Measure {
    /// The word that result files use; `measured` where they say nothing.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Payload => "payload",
            Self::Measured => "measured",
            Self::Estimate => "estimate",
        }
    }
}

/// What a cell was measured with. `None` is what the record does not say or says is null.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// Data set that the network was trained on.
    pub dataset: Option<String>,
    /// Architecture of the network.
    pub arch: Option<String>,
    /// Name of the training run: a repeat.
    #[serde(deserialize_with = "scalar")]
    pub tag: Option<String>,
    /// Number of the draw of samples: a repeat.
    #[serde(deserialize_with = "scalar")]
    pub draw: Option<String>,
    /// Gradient files in a sample.
    pub num_subsample: Option<u64>,
    /// Bytes in a sample.
    pub sample_bytes: Option<u64>,
    /// From how many places they are.
    pub sample_pieces: Option<u64>,
    /// Lossy steps before compression; see [`Settings::lossy_steps`].
    pub preprocess: Option<String>,
    /// Language model.
    pub model: Option<String>,
    /// Format of the text that the model reads.
    pub format: Option<String>,
    /// Bytes between two separators of the text.
    pub bytes_per_group: Option<u64>,
    /// Tokens in a window of the model.
    pub window: Option<u64>,
    /// Which tokens get no probability.
    pub mask: Option<String>,
    /// Bits of each value that the model codes.
    #[serde(deserialize_with = "scalar")]
    pub lm_bits: Option<String>,
    /// Whether the model is mixed with adaptive ones.
    #[serde(deserialize_with = "scalar")]
    pub mix: Option<String>,
    /// Level of the codec.
    #[serde(deserialize_with = "scalar")]
    pub level: Option<String>,
    /// What the codec sees at once.
    pub scope: Option<String>,
    /// Bytes in a chunk.
    pub chunk_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Versions of programs, by name.
    #[serde(deserialize_with = "versions")]
    pub versions: BTreeMap<String, String>,
}

impl Settings {
    /// The lossy steps before compression, if there are any.
    #[must_use]
    pub fn lossy_steps(&self) -> Option<&str> {
        self.preprocess.as_deref().filter(|steps| !matches!(*steps, "" | "none"))
    }
}

/// What a field of the values costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct FieldBits {
    /// Name of the field.
    pub field: String,
    /// Bits of it for each value.
    pub bits_per_value: Option<f64>,
}

/// A cell of a sweep, or a line of `lmgc bench`. `None` is what the line does not say or says is null.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Sweep that the cell belongs to.
    pub sweep: Option<String>,
    /// Name of the cell in its sweep.
    pub cell: Option<String>,
    /// Whether there are figures.
    pub status: Status,
    /// What the size is the size of.
    pub measure: Measure,
    /// What was compressed.
    pub input: Option<String>,
    /// Codec.
    pub codec: String,
    /// What it was measured with.
    pub settings: Settings,
    /// Files that the sample was drawn from.
    pub files: Vec<String>,
    /// Bytes that went in.
    pub raw_bytes: Option<u64>,
    /// Bytes that came out.
    pub compressed_bytes: Option<u64>,
    /// The latter in percent of the former; not negative.
    pub rate_percent: Option<f64>,
    /// Bits that came out, for each value.
    pub bits_per_value: Option<f64>,
    /// Speed of compression, in 10^6 bytes of input a second; above 0, as the next one is.
    pub compress_mb_per_s: Option<f64>,
    /// Speed of decompression.
    pub decompress_mb_per_s: Option<f64>,
    /// How long the cell took.
    pub seconds: Option<f64>,
    /// Tokens that the model saw.
    pub n_tokens: Option<u64>,
    /// Whether what came back was compared and equal.
    pub round_trip: Option<bool>,
    /// Where the bits went.
    pub bits_by_field: Vec<FieldBits>,
    /// Why there are no figures.
    pub error: Option<String>,
}

impl Record {
    /// Reads a line.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        let line: Line = serde_json::from_slice(line)?;
        let is_broken = line.round_trip == Some(false);
        let status = match line.status {
            _ if is_broken => Status::Failed,
            Some(status) => status,
            None if line.error.is_some() => Status::Failed,
            None => Status::Ok,
        };
        let error = match (status, line.error) {
            (Status::Ok, _) => None,
            (Status::Failed, None) if is_broken => Some("what came back is not what went in".to_owned()),
            (Status::Failed, None) => Some("the result file gives no reason".to_owned()),
            (Status::Failed, reason) => reason,
        };
        let is_ok = status == Status::Ok;
        let figure = |value: Option<f64>| value.filter(|value| is_ok && value.is_finite() && *value >= 0.0);
        let speed = |value: Option<f64>| figure(value).filter(|value| *value > 0.0);
        let compressed_bytes = line.compressed_bytes.filter(|_| is_ok);
        let from_sizes = || {
            let raw = line.raw_bytes.filter(|&raw| raw > 0)?;
            Some(100.0 * compressed_bytes? as f64 / raw as f64)
        };
        Ok(Self {
            sweep: line.sweep,
            cell: line.cell,
            status,
            measure: line.measure.unwrap_or(Measure::Measured),
            input: line.input,
            codec: line.codec,
            settings: line.settings.unwrap_or_default(),
            files: line.files.unwrap_or_default(),
            raw_bytes: line.raw_bytes,
            compressed_bytes,
            rate_percent: figure(line.rate_percent).or_else(from_sizes),
            bits_per_value: figure(line.bits_per_value),
            compress_mb_per_s: speed(line.compress_mb_per_s),
            decompress_mb_per_s: speed(line.decompress_mb_per_s),
            seconds: line.seconds.filter(|seconds| seconds.is_finite()),
            n_tokens: line.n_tokens,
            round_trip: line.round_trip,
            bits_by_field: line.bits_by_field.filter(|_| is_ok).unwrap_or_default(),
            error,
        })
    }
}

/// A line as it stands in the file. Unknown fields are ignored.
#[derive(Deserialize)]
struct Line {
    sweep: Option<String>,
    cell: Option<String>,
    status: Option<Status>,
    measure: Option<Measure>,
    input: Option<String>,
    codec: String,
    settings: Option<Settings>,
    files: Option<Vec<String>>,
    raw_bytes: Option<u64>,
    compressed_bytes: Option<u64>,
    rate_percent: Option<f64>,
    bits_per_value: Option<f64>,
    compress_mb_per_s: Option<f64>,
    decompress_mb_per_s: Option<f64>,
    seconds: Option<f64>,
    n_tokens: Option<u64>,
    round_trip: Option<bool>,
    bits_by_field: Option<Vec<FieldBits>>,
    error: Option<String>,
}

/// A name that may be written as a number, or a number that may be written as a name.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text_of(Value::deserialize(deserializer)?)
        .map_err(|found| D::Error::custom(format!("expected text or a number, found {found}")))
}

fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let versions = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    // What is no version says nothing here.
    let known = |(name, value)| Some((name, text_of(value).ok()??));
    Ok(versions.into_iter().filter_map(known).collect())
}

fn text_of(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Array(_) => Err("an array"),
        Value::Object(_) => Err("an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Record {
        Record::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_codec_is_enough() {
        let record = parse(r#"{"codec":"gzip"}"#);
        assert_eq!((record.status, record.measure), (Status::Ok, Measure::Measured));
        assert_eq!((record.settings, record.rate_percent), (Settings::default(), None));
        let nulls = r#"{"codec":"gzip","settings":{"level":null,"versions":null,"draw":null,"mix":null},"files":null,
            "rate_percent":null,"bits_by_field":null,"error":null,"status":null,"measure":null,"new":[1]}"#;
        assert_eq!(parse(nulls), parse(r#"{"codec":"gzip"}"#));
        assert_eq!(parse(r#"{"codec":"gzip","settings":null}"#), parse(r#"{"codec":"gzip"}"#));
    }

    #[test]
    fn the_rate_comes_from_the_sizes_if_it_is_missing() {
        assert_eq!(parse(r#"{"codec":"x","raw_bytes":200,"compressed_bytes":150}"#).rate_percent, Some(75.0));
        assert_eq!(parse(r#"{"codec":"x","raw_bytes":0,"compressed_bytes":150}"#).rate_percent, None);
        assert_eq!(parse(r#"{"codec":"x","rate_percent":-1}"#).rate_percent, None);
        assert_eq!(parse(r#"{"codec":"x","compress_mb_per_s":0}"#).compress_mb_per_s, None);
    }

    #[test]
    fn an_error_or_a_broken_round_trip_is_a_failure() {
        let record = parse(r#"{"codec":"x","error":"refused","rate_percent":50.0}"#);
        assert_eq!((record.status, record.rate_percent), (Status::Failed, None));
        let record = parse(r#"{"codec":"x","status":"ok","round_trip":false,"rate_percent":50.0}"#);
        assert_eq!((record.status, record.rate_percent), (Status::Failed, None));
        assert!(record.error.is_some());
        assert!(parse(r#"{"codec":"x","status":"failed"}"#).error.is_some());
    }

    #[test]
    fn names_may_be_numbers() {
        let settings = parse(r#"{"codec":"x","settings":{"tag":0,"draw":"1","level":19,"mix":true}}"#).settings;
        let texts = [settings.tag, settings.draw, settings.level, settings.mix];
        assert_eq!(texts.map(Option::unwrap), ["0", "1", "19", "true"]);
        let bad = Record::parse(br#"{"codec":"x","settings":{"tag":[]}}"#).unwrap_err().to_string();
        assert!(bad.contains("expected text or a number, found an array"), "{bad}");
    }

    #[test]
    fn lossy_steps_are_those_that_are_there() {
        for (line, steps) in [
            (r#"{"codec":"x"}"#, None),
            (r#"{"codec":"x","settings":{"preprocess":"none"}}"#, None),
            (r#"{"codec":"x","settings":{"preprocess":"quantization8"}}"#, Some("quantization8")),
        ] {
            assert_eq!(parse(line).settings.lossy_steps(), steps);
        }
    }
}
