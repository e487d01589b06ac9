//! The whole road on embedded data: train, take a gradient, compress a sample with a language model, restore it.

use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use lmgc_codec::{CodecId, CodecName, CompressOptions, Level, NoModels, Progress, compress, decompress};
use lmgc_collect::{Architecture, CollectOptions, DatasetName};
use lmgc_tensors::find_spans;
use lmgc_tokens::stream::tokenize_bytes;
use serde_json::json;

use super::compress::default_lm;
use crate::args::{Common, Demo};
use crate::models::Models;
use crate::table;
use crate::terminal::{Bars, Channel, bytes, rough_duration, say};

/// One line of the demo's table.
struct Measurement {
    codec: String,
    compressed_bytes: u64,
    compress_seconds: f64,
    decompress_seconds: f64,
    n_tokens: u64,
}

pub(crate) fn run(args: &Demo, common: &Common) -> anyhow::Result<()> {
    let temporary;
    let out: &Path = match &args.out {
        Some(out) => out,
        None => {
            temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
            temporary.path()
        }
    };
    let models = Models::new(Some(&args.model), common);
    let (model, lm) = default_lm(&models)?;

    say(common, format!("1. Train LM-GC's ConvNet on 8x8 digits for {} steps and keep its last gradient.", args.steps));
    let mut options = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, out);
    options.steps = Some(args.steps);
    options.grad_interval = args.steps;
    options.model_interval = 0;
    options.restart = true;
    let summary = super::collect::train(&options, common)?;
    let Some(gradient) = summary.gradient_files.last() else { bail!("training wrote no gradient file") };

    let sample = sample(gradient, args.sample_kib as usize * 1024)?;
    let sample_file = out.join("sample.f32");
    lmgc_codec::files::write_atomically(&sample_file, &sample, true)?;
    let serializer = lm.settings().serializer().context("the demo shows text")?;
    let tokens = tokenize_bytes(model.tokenizer(), &serializer, &sample)?;
    say(common, "");
    say(
        common,
        format!("2. Take {} from its middle, as text and as tokens of {}.", bytes(sample.len() as u64), model.name()),
    );
    let text = serializer.serialize(sample.get(..16).unwrap_or(&sample));
    say(common, format!("   first four values: {text}"));
    say(
        common,
        format!("   {} tokens, {:.1} a value", tokens.ids.len(), 4.0 * tokens.ids.len() as f64 / sample.len() as f64),
    );

    say(common, "");
    let estimate = lm.estimate(&sample, sample.len() as u64)?;
    let seconds = estimate.encode_seconds + estimate.decode_seconds;
    say(
        common,
        format!("3. Compress it with the model's probabilities and restore it: about {}.", rough_duration(seconds)),
    );
    let bars = Bars::new(common, "sample.f32");
    let name = format!("lm {}", model.name());
    let lm_options = CompressOptions { codec: CodecName::One(CodecId::Lm), lm: Some(&lm), ..Default::default() };
    let mut measurements = vec![measure(&name, &sample, &lm_options, &models, &bars)?];
    for (codec, level) in [(CodecId::Gzip, 9), (CodecId::Zstd, 9), (CodecId::SplitZstd, 9)] {
        let level = Level::new(level).unwrap_or_default();
        let options = CompressOptions { codec: CodecName::One(codec), level, ..Default::default() };
        measurements.push(measure(&codec.to_string(), &sample, &options, &NoModels, &bars)?);
    }
    tell(&measurements, &sample, common);
    say(common, "");
    say(common, "The round trip is byte-identical.");
    Ok(())
}

/// Tensor bytes from the middle of a gradient file: whole f32 values.
fn sample(gradient: &Path, n_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::read(gradient).with_context(|| format!("cannot read {}", gradient.display()))?;
    let layout = find_spans(&mut Cursor::new(&file))?;
    let data: Vec<u8> = layout
        .spans
        .iter()
        .filter_map(|span| file.get(span.offset as usize..(span.offset + span.len) as usize))
        .flatten()
        .copied()
        .collect();
    let start = (data.len().saturating_sub(n_bytes) / 2) & !3;
    Ok(data[start..data.len().min(start + n_bytes)].to_vec())
}

/// Compresses, decompresses, compares; an error if a single byte differs.
fn measure(
    name: &str,
    sample: &[u8],
    options: &CompressOptions<'_>,
    models: &dyn lmgc_codec::ModelSource,
    progress: &dyn Progress,
) -> anyhow::Result<Measurement> {
    let mut packed = Vec::new();
    let start = Instant::now();
    let report = compress(&mut Cursor::new(sample), &mut packed, options, progress)?;
    let compress_seconds = start.elapsed().as_secs_f64();
    let mut restored = Cursor::new(Vec::new());
    let start = Instant::now();
    decompress(packed.as_slice(), &mut restored, models, progress)?;
    let decompress_seconds = start.elapsed().as_secs_f64();
    if restored.into_inner() != sample {
        bail!("{name} did not restore the sample: this is a defect of lmgc, please report it");
    }
    Ok(Measurement {
        codec: name.to_owned(),
        compressed_bytes: report.compressed_bytes,
        compress_seconds,
        decompress_seconds,
        n_tokens: report.n_tokens,
    })
}

fn tell(measurements: &[Measurement], sample: &[u8], common: &Common) {
    let raw_bytes = sample.len();
    let mut rows = vec![vec!["raw".to_owned(), raw_bytes.to_string(), "100.00".into(), "32.00".into()]];
    for m in measurements {
        let rate_percent = 100.0 * m.compressed_bytes as f64 / raw_bytes as f64;
        let bits_per_value = 32.0 * m.compressed_bytes as f64 / raw_bytes as f64;
        let mb_per_s = |seconds: f64| raw_bytes as f64 / 1e6 / seconds;
        let tokens_per_s = |seconds: f64| {
            if m.n_tokens > 0 { format!("{:.0}", m.n_tokens as f64 / seconds) } else { "-".to_owned() }
        };
        rows.push(vec![
            m.codec.clone(),
            m.compressed_bytes.to_string(),
            format!("{rate_percent:.2}"),
            format!("{bits_per_value:.2}"),
            tokens_per_s(m.compress_seconds),
            tokens_per_s(m.decompress_seconds),
        ]);
        if common.json {
            Channel::Out.line(json!({
                "input": "demo sample",
                "codec": m.codec,
                "raw_bytes": raw_bytes,
                "compressed_bytes": m.compressed_bytes,
                "rate_percent": rate_percent,
                "bits_per_value": bits_per_value,
                "compress_mb_per_s": mb_per_s(m.compress_seconds),
                "decompress_mb_per_s": mb_per_s(m.decompress_seconds),
                "n_tokens": m.n_tokens,
                "round_trip": true,
            }));
        }
    }
    say(common, "");
    let header = ["codec", "bytes", "rate %", "bits/value", "tokens/s in", "tokens/s out"];
    for line in table::lines(&header, &rows) {
        say(common, line);
    }
}
