//! GGUF files: configuration from the metadata, tensors from the directory.
//!
//! llama.cpp's converter reorders the rows of the query and key projections of architecture `llama` (not of the others) so
//! that rotary pairs lie side by side; they are put back into Hugging Face's order (pairs half a head apart), so that
//! both sources give one fingerprint.

use std::io::Cursor;
use std::path::Path;

use lmgc_kernels::{AttentionShape, RopeScaling, rope_frequencies};
use lmgc_tensors::gguf::{GgmlType, GgufFile, Value};
use memmap2::Mmap;

use crate::dequantise::dequantise;
use crate::families::{Bias, Biases, Family, FamilyWeights, GGUF_GPT2_NAMES, GGUF_NAMES};
use crate::mapping::map;
use crate::named_tensors::{NamedTensors, TensorView};
use crate::{Error, FeedForward, ModelConfig, Norm, NormKind, Positions};

const ARCHITECTURES: [(&str, Family); 4] =
    [("llama", Family::Llama), ("qwen2", Family::Qwen2), ("qwen3", Family::Qwen3), ("gpt2", Family::Gpt2)];

/// Factors of Llama 3.1's scaling, by pair.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Keys that change the arithmetic and are not supported unless they have this value.
const REFUSED_KEYS: [(&str, f64); 6] = [
    ("expert_count", 0.0),
    ("logit_scale", 1.0),
    ("embedding_scale", 1.0),
    ("residual_scale", 1.0),
    ("attention.scale", 0.0),
    ("attention.clamp_kqv", 0.0),
];

fn config_error(field: &str, problem: impl Into<String>) -> Error {
    Error::Config { field: field.to_owned(), problem: problem.into() }
}

/// Maps a file and reads its header.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`].
pub(crate) fn open(path: &Path) -> Result<(Mmap, GgufFile), Error> {
    let mapping = map(path)?;
    let header = GgufFile::parse(&mut Cursor::new(&mapping[..]))
        .map_err(|source| Error::Format { path: path.to_owned(), source })?;
    Ok((mapping, header))
}

/// The metadata of one architecture; keys are given without its name.
struct Metadata<'a> {
    gguf: &'a GgufFile,
    architecture: &'a str,
}

impl Metadata<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.gguf.metadata.get(&self.key(key))
    }

    fn size(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|v| usize::try_from(v).ok());
        size.map(Some).ok_or_else(|| config_error(&self.key(key), "is no non-negative integer"))
    }

    fn required_size(&self, key: &str) -> Result<usize, Error> {
        self.size(key)?.ok_or_else(|| config_error(&self.key(key), "is missing"))
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_i64().map(|v| v as f64));
        number.map(|v| Some(v as f32)).ok_or_else(|| config_error(&self.key(key), "is no number"))
    }

    fn required_float(&self, key: &str) -> Result<f32, Error> {
        self.float(key)?.ok_or_else(|| config_error(&self.key(key), "is missing"))
    }
}

/// The family and configuration of a file, not yet validated.
pub(crate) fn read_config(gguf: &GgufFile, bytes: &[u8]) -> Result<(Family, ModelConfig), Error> {
    const ARCHITECTURE: &str = "general.architecture";
    let architecture = gguf.metadata.get(ARCHITECTURE).and_then(Value::as_str);
    let architecture = architecture.ok_or_else(|| config_error(ARCHITECTURE, "is missing"))?;
    let family = ARCHITECTURES.iter().find(|(name, _)| *name == architecture).map(|&(_, family)| family);
    let family = family.ok_or_else(|| {
        let known = ARCHITECTURES.map(|(name, _)| name).join(", ");
        config_error(ARCHITECTURE, format!("is '{architecture}'; supported are {known}"))
    })?;
    let metadata = Metadata { gguf, architecture };
    for (key, harmless) in REFUSED_KEYS {
        if metadata.get(key).is_some() && metadata.float(key)? != Some(harmless as f32) {
            return Err(config_error(
                &metadata.key(key),
                "is set: mixtures of experts and scaled layers are not supported",
            ));
        }
    }
    if metadata.get("attention.causal").and_then(Value::as_bool) == Some(false) {
        return Err(config_error(&metadata.key("attention.causal"), "is false; only causal models predict tokens"));
    }
    let d_model = metadata.required_size("embedding_length")?;
    let n_heads = metadata.required_size("attention.head_count")?;
    let rotated = metadata.size("rope.dimension_count")?;
    let key_length = metadata.size("attention.key_length")?;
    let head_dim = key_length.or(rotated).or(d_model.checked_div(n_heads)).unwrap_or(0);
    for (key, value) in
        [("rope.dimension_count", rotated), ("attention.value_length", metadata.size("attention.value_length")?)]
    {
        if let Some(value) = value.filter(|&value| value != head_dim && family != Family::Gpt2) {
            let problem = format!("is {value}; only whole heads of {head_dim} are supported");
            return Err(config_error(&metadata.key(key), problem));
        }
    }
    let vocab_size = match gguf.tensor("token_embd.weight").map(|tensor| tensor.dims.as_slice()) {
        Some(&[_, vocab_size]) => usize::try_from(vocab_size).unwrap_or(usize::MAX),
        _ => return Err(config_error("token_embd.weight", "is missing or no matrix")),
    };
    if let Some(stated) = metadata.size("vocab_size")?.filter(|&stated| stated != vocab_size) {
        let problem = format!("is {stated}; the embedding has {vocab_size} rows");
        return Err(config_error(&metadata.key("vocab_size"), problem));
    }
    let max_positions = metadata.required_size("context_length")?;
    let is_gpt2 = family == Family::Gpt2;
    let norm = match is_gpt2 {
        true => Norm { kind: NormKind::Layer, eps: metadata.required_float("attention.layer_norm_epsilon")? },
        false => Norm { kind: NormKind::Rms, eps: metadata.required_float("attention.layer_norm_rms_epsilon")? },
    };
    let positions = match is_gpt2 {
        true => Positions::Learned,
        false => {
            let theta = metadata.float("rope.freq_base")?.unwrap_or(10_000.0);
            Positions::Rope { theta, scaling: rope_scaling(&metadata, bytes, head_dim, theta)? }
        }
    };
    let config = ModelConfig {
        n_layers: metadata.required_size("block_count")?,
        d_model,
        attention: AttentionShape {
            n_heads,
            n_kv_heads: metadata.size("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
        },
        d_ffn: metadata.required_size("feed_forward_length")?,
        vocab_size,
        max_positions,
        norm,
        positions,
        feed_forward: if is_gpt2 { FeedForward::Gelu } else { FeedForward::SwiGlu },
        // A window that no position can leave is none.
        sliding_window: metadata.size("attention.sliding_window")?.filter(|window| (1..max_positions).contains(window)),
    };
    Ok((family, config))
}

fn rope_scaling(metadata: &Metadata<'_>, bytes: &[u8], head_dim: usize, theta: f32) -> Result<RopeScaling, Error> {
    const TYPE: &str = "rope.scaling.type";
    let kind = match metadata.get(TYPE) {
        None => None,
        Some(value) => Some(value.as_str().ok_or_else(|| config_error(&metadata.key(TYPE), "is no text"))?),
    };
    let linear = match kind {
        // The older key for linear scaling.
        None => metadata.float("rope.scale_linear")?,
        Some("none") => None,
        Some("linear") => Some(metadata.required_float("rope.scaling.factor")?),
        Some(other) => {
            let problem = format!("is '{other}'; supported are none, linear and Llama 3's factors ({ROPE_FACTORS})");
            return Err(config_error(&metadata.key(TYPE), problem));
        }
    };
    let linear = linear.filter(|&factor| factor != 1.0);
    match (linear, rope_factors(metadata.gguf, bytes, head_dim)?) {
        (None, None) => Ok(RopeScaling::None),
        (Some(factor), None) => Ok(RopeScaling::Linear { factor }),
        (None, Some(factors)) => Ok(named_scaling(factors, head_dim, theta)),
        (Some(_), Some(_)) => Err(config_error(ROPE_FACTORS, "is there beside linear scaling; only one is supported")),
    }
}

fn rope_factors(gguf: &GgufFile, bytes: &[u8], head_dim: usize) -> Result<Option<Vec<f32>>, Error> {
    let Some(tensor) = gguf.tensor(ROPE_FACTORS) else { return Ok(None) };
    let wrong = |problem: String| Error::Tensor { name: ROPE_FACTORS.to_owned(), problem };
    let n = head_dim / 2;
    if tensor.ggml_type != GgmlType::F32 || tensor.dims.as_slice() != [n as u64] || n == 0 || n > 1 << 9 {
        let problem =
            format!("has type {} and dimensions {:?}; F32 and [{n}] are expected", tensor.ggml_type, tensor.dims);
        return Err(wrong(problem));
    }
    let bytes =
        tensor_bytes(bytes, tensor.offset, tensor.len).ok_or_else(|| wrong("lies outside the file".to_owned()))?;
    let mut factors = vec![0.0; n];
    dequantise(GgmlType::F32, bytes, &mut factors);
    Ok(Some(factors))
}

/// The factors by their name, where they have one, so that they and a Hugging Face configuration give one fingerprint.
///
/// A GGUF file holds the factors alone, as f32. They count as Llama 3's if they agree, to within f32's rounding, with its
/// rule for low 1, high 4 and 8192 original positions (which all Llamas from 3.1 on share) and their largest as the factor.
fn named_scaling(factors: Vec<f32>, head_dim: usize, theta: f32) -> RopeScaling {
    if factors.iter().all(|&factor| factor == 1.0) {
        return RopeScaling::None;
    }
    let llama3 = RopeScaling::Llama3 {
        factor: factors.iter().copied().fold(0.0, f32::max),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192,
    };
    let is_near = |i: usize, frequency: f64| {
        factors.get(i).is_some_and(|&factor| {
            let expected = llama3.divisor(i, frequency);
            (f64::from(factor) - expected).abs() <= 1e-4 * expected
        })
    };
    // Frequencies need a sane base; validation names what is wrong with another.
    if theta.is_normal()
        && theta >= 1.0
        && rope_frequencies(head_dim, f64::from(theta)).enumerate().all(|(i, frequency)| is_near(i, frequency))
    {
        llama3
    } else {
        RopeScaling::Factors(factors)
    }
}

fn tensor_bytes(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// The tensors of a file as weights of `config`.
pub(crate) fn weights<'t, 'a>(
    gguf: &GgufFile,
    bytes: &'a [u8],
    family: Family,
    config: &'t ModelConfig,
) -> Result<FamilyWeights<'t, 'a>, Error> {
    let mut tensors = NamedTensors::default();
    for tensor in &gguf.tensors {
        let bytes = tensor_bytes(bytes, tensor.offset, tensor.len).ok_or_else(|| Error::Tensor {
            name: tensor.name.clone(),
            problem: "ends outside the file: the file has shrunk since its header was read".to_owned(),
        })?;
        let view = TensorView {
            ggml_type: tensor.ggml_type,
            type_name: tensor.ggml_type.to_string(),
            shape: tensor.dims.iter().rev().copied().collect(),
            bytes,
        };
        tensors.insert(tensor.name.clone(), view)?;
    }
    let always = match family {
        Family::Gpt2 => Bias::Required,
        _ => Bias::AsFound,
    };
    Ok(FamilyWeights {
        family,
        config,
        tensors,
        names: if family == Family::Gpt2 { &GGUF_GPT2_NAMES } else { &GGUF_NAMES },
        biases: Biases {
            qkv: if family == Family::Qwen2 { Bias::Required } else { always },
            attention_out: always,
            feed_forward: always,
        },
        is_transposed: false,
        has_adjacent_pairs: family == Family::Llama,
        is_tied: None,
        is_harmless: |name| name == ROPE_FACTORS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What llama.cpp's converter computes, in f32 as it does.
    fn converter_factors(factor: f32, theta: f32, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let frequency = 1.0 / theta.powf(2.0 * i as f32 / head_dim as f32);
                let wavelength = 2.0 * core::f32::consts::PI / frequency;
                if wavelength < 8192.0 / 4.0 {
                    1.0
                } else if wavelength > 8192.0 {
                    factor
                } else {
                    let smooth = (8192.0 / wavelength - 1.0) / 3.0;
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            })
            .collect()
    }

    #[test]
    fn llama3_factors_are_recognised_and_others_kept() {
        for (factor, head_dim) in [(8.0, 128), (32.0, 64)] {
            let factors = converter_factors(factor, 500_000.0, head_dim);
            let expected = RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_positions: 8192,
            };
            assert_eq!(named_scaling(factors.clone(), head_dim, 500_000.0), expected);
            assert_eq!(named_scaling(factors.clone(), head_dim, 10_000.0), RopeScaling::Factors(factors));
        }
        assert_eq!(named_scaling(vec![1.0; 8], 16, 10_000.0), RopeScaling::None);
        let nan = named_scaling(vec![f32::NAN; 8], 16, 10_000.0);
        assert!(matches!(nan, RopeScaling::Factors(factors) if factors.len() == 8));
    }
}
