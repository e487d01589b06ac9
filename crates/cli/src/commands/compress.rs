use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use lmgc_codec::files::{FileOptions, Place, compress_file, compress_file_resumable};
use lmgc_codec::lm::{LmCodec, LmSettings};
use lmgc_codec::{CodecId, CodecName, CompressOptions, CompressReport, Level, ModelSource};
use serde_json::json;

use crate::args::{Common, Compress};
use crate::exit::UsageError;
use crate::models::Models;
use crate::terminal::{Bars, Channel, bytes, rough_duration};

/// Tokens in a window of the ensemble, which works on 16 of them at a time.
const ENSEMBLE_WINDOW: usize = 512;
/// Jobs shorter than this are not announced.
const ANNOUNCE_FROM_SECONDS: f64 = 5.0;

pub(crate) fn run(args: &Compress, common: &Common) -> anyhow::Result<()> {
    if args.output.is_some() && args.inputs.len() > 1 {
        return Err(UsageError("-o takes one input: without it, each IN becomes IN.lmgc".to_owned()).into());
    }
    let codec = args.codec;
    if args.model.is_some() && !codec.needs_model() {
        return Err(UsageError(format!("--model is for --codec lm and ensemble, not for --codec {codec}")).into());
    }
    if args.restart && !codec.needs_model() {
        let reason = format!("--restart is for --codec lm and ensemble: nothing is kept with --codec {codec}");
        return Err(UsageError(reason).into());
    }
    let level = args.level.level().and_then(Level::new).unwrap_or_default();
    let takes_reference = match args.codec {
        CodecName::Auto => level >= Level::FIRST_WITH_STRUCTURE,
        codec => [CodecId::Structural, CodecId::Ensemble].map(CodecName::One).contains(&codec),
    };
    if args.reference.is_some() && !takes_reference {
        let least = Level::FIRST_WITH_STRUCTURE.get();
        return Err(UsageError(format!(
            "--reference is for --codec auto from level -{least} on, and for --codec structural and ensemble"
        ))
        .into());
    }
    let is_lm = codec == CodecName::One(CodecId::Lm);
    if is_lm {
        args.lm.settings().check().map_err(|e| UsageError(e.to_string()))?;
    } else if let Some(flag) = args.lm.named().filter(|&flag| flag != "--window" || !codec.needs_model()) {
        return Err(UsageError(format!("{flag} is for --codec lm, not for --codec {codec}")).into());
    }
    let models = Models::new(args.model.as_deref(), common).with_reference(args.reference.as_deref())?;
    let lm = if codec.needs_model() {
        let mut settings = args.lm.settings();
        if !is_lm && args.lm.window.is_none() {
            settings.window_tokens = ENSEMBLE_WINDOW;
        }
        Some(LmCodec::new(models.given()?, settings, models.kernels())?.with_memory(models.memory_bytes()))
    } else {
        None
    };
    let options = CompressOptions { codec: args.codec, level, lm: lm.as_ref(), reference: models.reference() };
    for path in &args.inputs {
        let input = Place::new(path);
        let output = args.output.as_deref().map_or_else(|| input.compressed(), Place::new);
        if let (Some(lm), Place::File(path), true) = (&lm, &input, is_lm) {
            announce(lm, path, &output, !args.no_verify, common)?;
        }
        let progress = Bars::new(common, input.to_string());
        let files = FileOptions { force: args.force, models: &models, progress: &progress };
        let start = Instant::now();
        // A language model takes minutes or days: its work is worth keeping.
        let report = if lm.is_some() {
            compress_file_resumable(&input, &output, &options, !args.no_verify, args.restart, &files)
        } else {
            compress_file(&input, &output, &options, !args.no_verify, &files)
        }
        .with_context(|| format!("{input}"))?;
        tell(args, &input, &output, &report, start.elapsed().as_secs_f64(), common);
    }
    Ok(())
}

/// Says beforehand how long a language model will take.
fn announce(lm: &LmCodec, path: &std::path::Path, output: &Place, verify: bool, common: &Common) -> anyhow::Result<()> {
    if common.quiet || common.json {
        return Ok(());
    }
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    // Any bytes of the file give the tokens a byte well enough; its end is likelier data than its beginning.
    let sample = std::fs::File::open(path).and_then(|mut file| {
        use std::io::{Read, Seek, SeekFrom};
        file.seek(SeekFrom::Start(metadata.len() / 2))?;
        let mut sample = Vec::new();
        file.take(512).read_to_end(&mut sample)?;
        Ok(sample)
    });
    let Ok(sample) = sample else { return Ok(()) };
    let estimate = lm.estimate(&sample, metadata.len())?;
    let verify_seconds = if verify { estimate.decode_seconds } else { 0.0 };
    let total = estimate.encode_seconds + verify_seconds;
    if total >= ANNOUNCE_FROM_SECONDS {
        let verifying =
            if verify { format!(", {} of it to verify", rough_duration(verify_seconds)) } else { String::new() };
        let resumable = match output {
            Place::File(_) => "; interrupted, the same command will resume it",
            Place::Standard => "",
        };
        eprintln!(
            "lmgc: {} through {} will take about {}{verifying}{resumable}",
            bytes(metadata.len()),
            lm.language_model().name(),
            rough_duration(total)
        );
    }
    Ok(())
}

fn tell(args: &Compress, input: &Place, output: &Place, report: &CompressReport, seconds: f64, common: &Common) {
    let bits_per_value = (report.n_values > 0).then(|| 8.0 * report.compressed_bytes as f64 / report.n_values as f64);
    let rate = (report.raw_bytes > 0).then(|| report.rate_percent());
    if common.json {
        let lm = args.codec == CodecName::One(CodecId::Lm);
        let window = args.lm.settings().window_tokens;
        let channel = Channel::beside(output.as_path());
        channel.line(json!({
            "input": input.to_string(),
            "output": output.to_string(),
            "codec": args.codec.to_string(),
            "settings": if lm {
                json!({
                    "model": args.model,
                    "format": args.lm.format.to_string(),
                    "bytes_per_group": args.lm.bytes_per_group.get(),
                    "window": window,
                    "mask": args.lm.mask.to_string(),
                    "lm_bits": args.lm.lm_bits,
                    "mix": args.lm.mix,
                    "overlap": args.lm.overlap,
                })
            } else {
                let level = args.level.level().and_then(Level::new).unwrap_or_default().get();
                let mut settings = json!({ "level": level });
                if args.codec.needs_model() {
                    settings["model"] = json!(args.model);
                    settings["window"] = json!(args.lm.window.unwrap_or(ENSEMBLE_WINDOW));
                }
                settings
            },
            "file_format": report.file_format,
            "n_tensors": report.n_tensors,
            "raw_bytes": report.raw_bytes,
            "compressed_bytes": report.compressed_bytes,
            "rate_percent": rate,
            "bits_per_value": bits_per_value,
            "n_blocks": report.n_blocks,
            "resumed_blocks": report.n_resumed_blocks,
            "n_tokens": report.n_tokens,
            "seconds": seconds,
            "round_trip": !args.no_verify,
            "note": report.note,
            "version": env!("CARGO_PKG_VERSION"),
        }));
    }
    if common.quiet || common.json {
        return;
    }
    if let Some(note) = &report.note {
        eprintln!("lmgc: {input}: note: {note}");
    }
    let rate = rate.map_or_else(String::new, |rate| format!(" ({rate:.2} %)"));
    let verified = if args.no_verify { "not verified" } else { "verified" };
    // Standard output may be the compressed file itself.
    eprintln!(
        "{input}: {} -> {}{rate}, {verified}, {seconds:.1} s -> {output}",
        bytes(report.raw_bytes),
        bytes(report.compressed_bytes)
    );
}

/// The codec of the demo: the default settings with a model.
pub(crate) fn default_lm(models: &Models) -> Result<(Arc<lmgc_codec::lm::LanguageModel>, LmCodec), lmgc_codec::Error> {
    let model = models.given()?;
    let codec =
        LmCodec::new(model.clone(), LmSettings::default(), models.kernels())?.with_memory(models.memory_bytes());
    Ok((model, codec))
}
