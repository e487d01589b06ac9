//! Running a cell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmgc_codec::bench::{Contestant, Failure, Limits, Measurement, Scope, measure, measure_file};
use lmgc_codec::lm::{CodeLength, LanguageModel, LmCodec, LmSettings};
use lmgc_codec::structural::Structural;
use lmgc_codec::{
    BlockInput, CodecId, CodecName, CompressOptions, Error, ModelRecord, ModelSource, NoModels, NoProgress, Piece,
    Place, baselines,
};
use lmgc_serialize::BytesPerGroup;

use crate::results::{FieldBits, Status};
use crate::sample::Sample;
use crate::{Cell, Host, Method, Record};

/// Once is enough: the sizes are the same each time, and speed is what `lmgc bench` is for.
const ONCE: Limits = Limits { n_rounds: 1, enough: Duration::ZERO };

/// Runs a cell on its sample and fills in the record. A panic is a failure of the cell.
pub(crate) fn run(host: &dyn Host, cell: &Cell, sample: &Sample, record: &mut Record) {
    let start = Instant::now();
    record.files.clone_from(&sample.files);
    record.offsets.clone_from(&sample.offsets);
    record.sample_blake3 = Some(sample.hash.clone());
    record.raw_bytes = Some(sample.tensors.n_bytes());
    let outcome = guarded(|| figures(host, cell, sample));
    record.seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(figures) => figures.fill(sample, record),
        Err(reason) => record.error = Some(reason),
    }
}

/// Makes a panic an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("the program failed: {}", text.unwrap_or_else(|| "no reason given".to_owned())))
    })
}

/// What a cell came to.
enum Figures {
    Measured { measurement: Measurement, length: CodeLength },
    Estimated { length: CodeLength },
}

impl Figures {
    fn fill(self, sample: &Sample, record: &mut Record) {
        let (raw_bytes, n_values) = (sample.tensors.n_bytes() as f64, sample.tensors.n_values() as f64);
        let (length, compressed_bits) = match self {
            Self::Measured { measurement, mut length } => {
                // What would have become more than twice as long is stored as it is.
                if length.bits() > 2.0 * 8.0 * raw_bytes {
                    length.fields = vec![("stored as it is".to_owned(), 8.0 * raw_bytes)];
                }
                let mb_per_s = |seconds: f64| (seconds > 0.0).then(|| raw_bytes / 1e6 / seconds);
                record.compress_mb_per_s = mb_per_s(measurement.compress_seconds);
                record.decompress_mb_per_s = mb_per_s(measurement.decompress_seconds);
                record.round_trip = Some(true);
                (length, 8.0 * measurement.compressed_bytes as f64)
            }
            Self::Estimated { length } => {
                let bits = length.bits();
                (length, bits)
            }
        };
        record.status = Status::Ok;
        record.n_tokens = record.settings.model.as_ref().map(|_| length.n_tokens);
        record.compressed_bytes = Some((compressed_bits / 8.0).ceil() as u64);
        if raw_bytes > 0.0 {
            record.rate_percent = Some(100.0 * compressed_bits / 8.0 / raw_bytes);
            record.bits_per_value = Some(compressed_bits / n_values);
            let field = |(field, bits): (String, f64)| FieldBits { field, bits_per_value: bits / n_values };
            record.bits_by_field = length.fields.into_iter().map(field).collect();
        }
    }
}

fn figures(host: &dyn Host, cell: &Cell, sample: &Sample) -> Result<Figures, String> {
    match &cell.method {
        Method::Lm { .. } => lm_figures(host, cell, sample),
        Method::Codec { name, scope, chunk_bytes } => {
            let contestant: Contestant = name.parse().map_err(say)?;
            let scope: Scope = scope.parse().map_err(say)?;
            let is_structural = contestant.codec == CodecName::One(CodecId::Structural);
            if cell.is_estimate {
                return Ok(Figures::Estimated { length: structural_length(sample)? });
            }
            let sees_tensors = matches!(scope, Scope::File | Scope::Tensor);
            let measurement = codec_measurement(contestant, scope, chunk_bytes.unwrap_or(0), sample)?;
            // What the structural codec spends its bits on follows from coding once more. Integers have no fields.
            let length = if is_structural && sees_tensors { structural_length(sample).ok() } else { None };
            Ok(Figures::Measured { measurement, length: length.unwrap_or_default() })
        }
    }
}

fn say(error: Error) -> String {
    error.to_string()
}

/// The codec of a cell of a language model, and the model.
pub(crate) fn lm_codec(host: &dyn Host, method: &Method) -> Result<(LmCodec, Arc<LanguageModel>), String> {
    let Method::Lm { model, format, bytes_per_group, window, mask, lm_bits, mix } = method else {
        return Err("a codec without a language model".to_owned());
    };
    let settings = LmSettings {
        format: format.parse().map_err(say)?,
        bytes_per_group: BytesPerGroup::new(*bytes_per_group).map_err(|error| error.to_string())?,
        window_tokens: *window,
        mask: mask.parse().map_err(say)?,
        lm_bits: *lm_bits,
        mix: *mix,
        overlap_tokens: 0,
    };
    settings.check().map_err(say)?;
    let model = host.language_model(model)?;
    let codec = LmCodec::new(model.clone(), settings, NoModels.kernels()).map_err(say)?;
    Ok((codec.with_memory(host.memory_bytes()), model))
}

fn lm_figures(host: &dyn Host, cell: &Cell, sample: &Sample) -> Result<Figures, String> {
    let (codec, model) = lm_codec(host, &cell.method)?;
    if cell.is_estimate {
        let mut length = CodeLength::default();
        for run in &sample.tensors.runs {
            let place = Place { dtype: run.dtype, pieces: &[] };
            let input = BlockInput { bytes: &run.bytes, place, is_token_ids: false };
            length.add_all(&codec.code_length(input, &NoProgress).map_err(say)?);
        }
        return Ok(Figures::Estimated { length });
    }
    let (codec, meter) = codec.metered();
    let options = CompressOptions { codec: CodecName::One(CodecId::Lm), lm: Some(&codec), ..Default::default() };
    let models = OneModel { model, memory_bytes: host.memory_bytes() };
    let measurement = measure_file(&sample.file, &options, &models, ONCE).map_err(reason)?;
    Ok(Figures::Measured { measurement, length: meter.take() })
}

fn reason(failure: Failure) -> String {
    match failure {
        Failure::Broken { reason } => format!("NOT LOSSLESS, a defect of lmgc, please report it: {reason}"),
        failure => failure.reason().to_owned(),
    }
}

/// The model of the cell.
struct OneModel {
    model: Arc<LanguageModel>,
    memory_bytes: u64,
}

impl ModelSource for OneModel {
    fn model(&self, _: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        Ok(self.model.clone())
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

fn codec_measurement(
    contestant: Contestant,
    scope: Scope,
    chunk_bytes: usize,
    sample: &Sample,
) -> Result<Measurement, String> {
    if contestant.codec.needs_model() {
        return Err(format!("{} needs a language model: name it in a table [[lm]]", contestant.codec));
    }
    if scope == Scope::File {
        let level = contestant.file_level().map_err(say)?;
        let options = CompressOptions { codec: contestant.codec, level, ..Default::default() };
        return measure_file(&sample.file, &options, &NoModels, ONCE).map_err(reason);
    }
    let CodecName::One(id) = contestant.codec else {
        return Err(format!("{} picks codecs for files: use scope file", contestant.codec));
    };
    let codec = baselines::codec(id, contestant.level.unwrap_or_default()).map_err(say)?;
    measure(&*codec, id, &sample.tensors, scope, chunk_bytes, ONCE).map_err(reason)
}

/// What the structural codec spends on each tensor by itself.
fn structural_length(sample: &Sample) -> Result<CodeLength, String> {
    let mut length = CodeLength::default();
    for run in &sample.tensors.runs {
        for tensor in &run.tensors {
            let bytes = run.bytes.get(tensor.range.clone()).unwrap_or_default();
            let pieces = [Piece { shape: &tensor.shape, start: 0, len: bytes.len(), reference: None }];
            let place = Place { dtype: run.dtype, pieces: &pieces };
            for costs in Structural::default().cost_by_field(bytes, place).map_err(say)? {
                for (name, bits) in costs.by_name() {
                    length.add(name.replace('_', " "), bits);
                }
            }
        }
    }
    Ok(length)
}
