//! Results for spreadsheets and scripts: a line for each group, and one for each cell.

use csv::Writer;

use crate::groups::{Group, SETTINGS, Variant};
use crate::labels::Labels;
use crate::record::Status;
use crate::results::Results;

/// Mean, deviation and range of each group.
pub(crate) fn summary(groups: &[Group], labels: &Labels) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Writer::from_writer(Vec::new());
    let mut header = vec!["dataset", "arch", "preprocess", "num_subsample", "sample_bytes", "sample_pieces"];
    header.extend(["label", "codec"]);
    header.extend(SETTINGS.map(|setting| setting.key()));
    header.extend(["measure", "n", "n_failed", "rate_percent_mean", "rate_percent_sd", "rate_percent_min"]);
    header.extend(["rate_percent_max", "bits_per_value_mean", "compress_mb_per_s_mean", "decompress_mb_per_s_mean"]);
    writer.write_record(header)?;
    for group in groups {
        let (data, variant, rate) = (&group.data, &group.variant, group.rate);
        let mut row = vec![
            data.set.clone(),
            data.arch.clone().unwrap_or_default(),
            data.preprocess.clone().unwrap_or_else(|| "none".to_owned()),
            text(data.num_subsample),
            text(data.sample_bytes),
            text(data.sample_pieces),
            labels.variant(variant),
            variant.codec.clone(),
        ];
        row.extend(SETTINGS.map(|setting| variant.get(setting).unwrap_or_default().to_owned()));
        row.push(variant.measure.name().to_owned());
        row.push(rate.map_or(0, |rate| rate.n).to_string());
        row.push(group.n_failed.to_string());
        row.extend([rate.map(|rate| rate.mean), rate.and_then(|rate| rate.sd)].map(text));
        row.extend([rate.map(|rate| rate.min), rate.map(|rate| rate.max)].map(text));
        row.extend([group.bits_per_value, group.compress_mb_per_s, group.decompress_mb_per_s].map(text));
        writer.write_record(row)?;
    }
    finish(writer)
}

/// Every record.
pub(crate) fn cells(results: &Results) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Writer::from_writer(Vec::new());
    let mut header = vec!["sweep", "cell", "status", "measure", "input", "dataset", "arch", "tag", "draw"];
    header.extend(["num_subsample", "sample_bytes", "sample_pieces", "preprocess", "codec"]);
    header.extend(SETTINGS.map(|setting| setting.key()));
    header.extend(["raw_bytes", "compressed_bytes", "rate_percent", "bits_per_value", "compress_mb_per_s"]);
    header.extend(["decompress_mb_per_s", "seconds", "n_tokens", "round_trip", "error", "files"]);
    writer.write_record(header)?;
    for record in results.records() {
        let (settings, variant) = (&record.settings, Variant::of(record));
        let status = if record.status == Status::Ok { "ok" } else { "failed" };
        let or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut row = vec![
            or_empty(&record.sweep),
            or_empty(&record.cell),
            status.to_owned(),
            record.measure.name().to_owned(),
            or_empty(&record.input),
            or_empty(&settings.dataset),
            or_empty(&settings.arch),
            or_empty(&settings.tag),
            or_empty(&settings.draw),
            text(settings.num_subsample),
            text(settings.sample_bytes),
            text(settings.sample_pieces),
            or_empty(&settings.preprocess),
            record.codec.clone(),
        ];
        row.extend(SETTINGS.map(|setting| variant.get(setting).unwrap_or_default().to_owned()));
        row.extend([record.raw_bytes, record.compressed_bytes].map(text));
        row.extend([record.rate_percent, record.bits_per_value, record.compress_mb_per_s].map(text));
        row.extend([record.decompress_mb_per_s, record.seconds].map(text));
        row.extend([text(record.n_tokens), text(record.round_trip), or_empty(&record.error), record.files.join(" ")]);
        writer.write_record(row)?;
    }
    finish(writer)
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn finish(writer: Writer<Vec<u8>>) -> Result<Vec<u8>, csv::Error> {
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::groups;

    #[test]
    fn what_needs_quotes_has_them() {
        let line = r#"{"codec":"a,b","cell":"say \"x\"","error":"two\nlines","settings":{"dataset":"d","mix":true}}"#;
        let results = Results::parse("x", line.as_bytes()).unwrap();
        let text = String::from_utf8(cells(&results).unwrap()).unwrap();
        assert!(text.contains(r#""say ""x""","#) && text.contains("\"two\nlines\"") && text.contains(r#""a,b""#));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let get = |name: &str| &row[header.iter().position(|column| column == name).unwrap()];
        assert_eq!((get("cell"), get("error"), get("codec"), get("mix")), ("say \"x\"", "two\nlines", "a,b", "true"));
        assert_eq!((get("status"), get("rate_percent")), ("failed", ""));
    }

    #[test]
    fn a_group_is_a_line() {
        let line = |draw: u8, rate: u8| {
            format!(r#"{{"codec":"x","rate_percent":{rate},"settings":{{"dataset":"d","draw":{draw},"level":3}}}}"#)
        };
        let results = Results::parse("x", [line(1, 2), line(2, 4)].join("\n").as_bytes()).unwrap();
        let groups = groups(&results);
        let text = String::from_utf8(summary(&groups, &Labels::new(&groups)).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "d,,none,,,,x,x,,,,,,,,3,,,,measured,2,0,3,1.4142135623730951,2,4,,,");
    }
}
