//! Hugging Face folders: configuration from `config.json`, tensors from safetensors.

use std::io::Cursor;

use lmgc_kernels::{AttentionShape, RopeScaling};
use lmgc_tensors::Dtype;
use lmgc_tensors::gguf::GgmlType;
use serde_json::Value;

use crate::families::{Bias, Biases, Family, FamilyWeights, GPT2_NAMES, LLAMA_NAMES};
use crate::folder::{Shards, missing_tensor};
use crate::named_tensors::{NamedTensors, TensorView};
use crate::store::CONFIG_FILE;
use crate::{Error, FeedForward, ModelConfig, Norm, NormKind, Positions};

const MODEL_TYPES: [(&str, Family); 5] = [
    ("llama", Family::Llama),
    ("mistral", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("gpt2", Family::Gpt2),
];

/// What `config.json` says.
#[derive(Debug)]
pub(crate) struct HuggingFaceConfig {
    pub(crate) family: Family,
    pub(crate) config: ModelConfig,
    biases: Biases,
    is_tied: bool,
}

fn config_error(field: &str, problem: impl Into<String>) -> Error {
    Error::Config { field: field.to_owned(), problem: problem.into() }
}

/// A JSON object's fields; null counts as absent.
struct Fields<'a>(&'a serde_json::Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn size(&self, field: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let size = value.as_u64().and_then(|v| usize::try_from(v).ok());
        size.map(Some).ok_or_else(|| config_error(field, format!("is {value}, no non-negative integer")))
    }

    fn required_size(&self, field: &str) -> Result<usize, Error> {
        self.size(field)?.ok_or_else(|| config_error(field, "is missing"))
    }

    fn float(&self, field: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| config_error(field, format!("is {value}, no number")))?;
        Ok(Some(number as f32))
    }

    fn required_float(&self, field: &str) -> Result<f32, Error> {
        self.float(field)?.ok_or_else(|| config_error(field, "is missing"))
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| config_error(field, format!("is {value}, neither true nor false")))
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| config_error(field, format!("is {value}, no text")))
    }

    fn object(&self, field: &str) -> Result<Option<Fields<'a>>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| config_error(field, "is no object"))?;
        Ok(Some(Fields(object)))
    }

    /// Refuses a field that has another value than the one that is run here.
    fn only(&self, field: &str, supported: &Value) -> Result<(), Error> {
        match self.get(field).filter(|&value| value != supported) {
            None => Ok(()),
            Some(value) => Err(config_error(field, format!("is {value}; only {supported} is supported"))),
        }
    }
}

/// Reads a configuration; it is not yet validated.
pub(crate) fn read_config(json: &[u8]) -> Result<HuggingFaceConfig, Error> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| config_error(CONFIG_FILE, format!("is no JSON: {error}")))?;
    let fields = Fields(value.as_object().ok_or_else(|| config_error(CONFIG_FILE, "is no object"))?);
    let model_type = fields.text("model_type")?.ok_or_else(|| config_error("model_type", "is missing"))?;
    let family = MODEL_TYPES.iter().find(|(name, _)| *name == model_type).map(|&(_, family)| family);
    let family = family.ok_or_else(|| {
        let known = MODEL_TYPES.map(|(name, _)| name).join(", ");
        config_error("model_type", format!("is '{model_type}'; supported are {known}"))
    })?;
    if fields.get("quantization_config").is_some() {
        let problem = "is set; weights must be F32, F16 or BF16: take the original model, or a GGUF file";
        return Err(config_error("quantization_config", problem));
    }
    match family {
        Family::Gpt2 => gpt2(&fields),
        _ => llama_like(&fields, family, model_type),
    }
}

fn gpt2(fields: &Fields<'_>) -> Result<HuggingFaceConfig, Error> {
    let activation = fields.text("activation_function")?.unwrap_or("gelu_new");
    if !["gelu_new", "gelu_pytorch_tanh"].contains(&activation) {
        let problem = format!("is '{activation}'; supported with gpt2 are gelu_new and gelu_pytorch_tanh");
        return Err(config_error("activation_function", problem));
    }
    fields.only("scale_attn_weights", &Value::Bool(true))?;
    fields.only("scale_attn_by_inverse_layer_idx", &Value::Bool(false))?;
    fields.only("add_cross_attention", &Value::Bool(false))?;
    let (d_model, n_heads) = (fields.required_size("n_embd")?, fields.required_size("n_head")?);
    let config = ModelConfig {
        n_layers: fields.required_size("n_layer")?,
        d_model,
        attention: AttentionShape { n_heads, n_kv_heads: n_heads, head_dim: d_model.checked_div(n_heads).unwrap_or(0) },
        d_ffn: fields.size("n_inner")?.unwrap_or(d_model.saturating_mul(4)),
        vocab_size: fields.required_size("vocab_size")?,
        max_positions: fields.required_size("n_positions")?,
        norm: Norm { kind: NormKind::Layer, eps: fields.float("layer_norm_epsilon")?.unwrap_or(1e-5) },
        positions: Positions::Learned,
        feed_forward: FeedForward::Gelu,
        sliding_window: None,
    };
    let all = Bias::Required;
    Ok(HuggingFaceConfig {
        family: Family::Gpt2,
        config,
        biases: Biases { qkv: all, attention_out: all, feed_forward: all },
        is_tied: fields.flag("tie_word_embeddings", true)?,
    })
}

fn llama_like(fields: &Fields<'_>, family: Family, model_type: &str) -> Result<HuggingFaceConfig, Error> {
    let activation = fields.text("hidden_act")?.unwrap_or("silu");
    if !["silu", "swish"].contains(&activation) {
        return Err(config_error("hidden_act", format!("is '{activation}'; supported with {model_type} is silu")));
    }
    let bias = |is_there: bool| if is_there { Bias::Required } else { Bias::None };
    let in_attention =
        bias(family != Family::Qwen2 && model_type != "mistral" && fields.flag("attention_bias", false)?);
    let in_feed_forward = bias(model_type == "llama" && fields.flag("mlp_bias", false)?);
    let (d_model, n_heads) = (fields.required_size("hidden_size")?, fields.required_size("num_attention_heads")?);
    let head_dim = match (fields.size("head_dim")?, family) {
        (Some(head_dim), _) => head_dim,
        (None, Family::Qwen3) => 128,
        (None, _) => d_model.checked_div(n_heads).unwrap_or(0),
    };
    let n_layers = fields.required_size("num_hidden_layers")?;
    let max_positions = fields.required_size("max_position_embeddings")?;
    let (theta, scaling) = rope(fields, max_positions)?;
    let config = ModelConfig {
        n_layers,
        d_model,
        attention: AttentionShape {
            n_heads,
            n_kv_heads: fields.size("num_key_value_heads")?.unwrap_or(n_heads),
            head_dim,
        },
        d_ffn: fields.required_size("intermediate_size")?,
        vocab_size: fields.required_size("vocab_size")?,
        max_positions,
        norm: Norm { kind: NormKind::Rms, eps: fields.required_float("rms_norm_eps")? },
        positions: Positions::Rope { theta, scaling },
        feed_forward: FeedForward::SwiGlu,
        // A window that no position can leave is none.
        sliding_window: sliding_window(fields, model_type, n_layers)?.filter(|&window| window < max_positions),
    };
    Ok(HuggingFaceConfig {
        family,
        config,
        biases: Biases {
            qkv: if family == Family::Qwen2 { Bias::Required } else { in_attention },
            attention_out: in_attention,
            feed_forward: in_feed_forward,
        },
        is_tied: fields.flag("tie_word_embeddings", false)?,
    })
}

/// Base frequency and scaling: `rope_parameters`, else the older `rope_theta` and `rope_scaling`.
fn rope(fields: &Fields<'_>, max_positions: usize) -> Result<(f32, RopeScaling), Error> {
    let none = serde_json::Map::new();
    let named = match fields.object("rope_parameters")? {
        Some(parameters) => Some(("rope_parameters", parameters)),
        None => fields.object("rope_scaling")?.map(|parameters| ("rope_scaling", parameters)),
    };
    let (name, parameters) = named.unwrap_or(("rope_scaling", Fields(&none)));
    if parameters.0.values().any(Value::is_object) {
        return Err(config_error(name, "differs between kinds of layers; only one for all layers is supported"));
    }
    for fields in [fields, &parameters] {
        if let Some(part) = fields.float("partial_rotary_factor")?.filter(|&part| part != 1.0) {
            let problem = format!("is {part}; only whole heads can be rotated");
            return Err(config_error("partial_rotary_factor", problem));
        }
    }
    let theta = parameters.float("rope_theta")?.or(fields.float("rope_theta")?).unwrap_or(10_000.0);
    let kind = match parameters.text("rope_type")? {
        Some(kind) => Some(kind),
        None => parameters.text("type")?,
    };
    let scaling = match kind {
        None if parameters.get("factor").is_some() => {
            return Err(config_error(name, "has a factor and no rope_type"));
        }
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: parameters.required_float("factor")? },
        Some("llama3") => {
            const ORIGINAL: &str = "original_max_position_embeddings";
            RopeScaling::Llama3 {
                factor: parameters.required_float("factor")?,
                low_freq_factor: parameters.required_float("low_freq_factor")?,
                high_freq_factor: parameters.required_float("high_freq_factor")?,
                original_max_positions: parameters.size(ORIGINAL)?.or(fields.size(ORIGINAL)?).unwrap_or(max_positions),
            }
        }
        Some(other) => {
            let problem = format!("has type '{other}'; supported are default, linear and llama3");
            return Err(config_error(name, problem));
        }
    };
    let is_no_scaling = matches!(&scaling, RopeScaling::Linear { factor } if *factor == 1.0);
    Ok((theta, if is_no_scaling { RopeScaling::None } else { scaling }))
}

/// The window of all layers, as transformers works it out for each model type.
fn sliding_window(fields: &Fields<'_>, model_type: &str, n_layers: usize) -> Result<Option<usize>, Error> {
    if model_type == "llama" {
        return Ok(None);
    }
    let window = fields.size("sliding_window")?;
    let is_used = model_type == "mistral" || fields.flag("use_sliding_window", false)?;
    let Some(window) = window.filter(|_| is_used) else { return Ok(None) };
    let mixed = |field: &str| {
        config_error(
            field,
            "gives some layers a sliding window and others none; only one kind for all layers is supported",
        )
    };
    if let Some(kinds) = fields.get("layer_types") {
        let kinds = kinds.as_array().ok_or_else(|| config_error("layer_types", "is no array"))?;
        let is_all = |kind: &str| kinds.iter().all(|found| found == kind);
        return match kinds {
            _ if is_all("full_attention") => Ok(None),
            _ if is_all("sliding_attention") => Ok(Some(window)),
            _ => Err(mixed("layer_types")),
        };
    }
    if model_type == "mistral" {
        return Ok(Some(window));
    }
    // The first layers have full attention, the others a window.
    match fields.size("max_window_layers")?.unwrap_or(28) {
        0 => Ok(Some(window)),
        n_full if n_full >= n_layers => Ok(None),
        _ => Err(mixed("max_window_layers")),
    }
}

/// Buffers that old files carry: causal masks and RoPE's frequencies, which follow from the configuration.
fn is_buffer(name: &str) -> bool {
    [".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq"].iter().any(|end| name.ends_with(end))
}

/// The tensors of safetensors files as weights. `files` are name and content; `expected`, where there is an index, what
/// each must hold.
pub(crate) fn weights<'t, 'a>(
    source: &'t HuggingFaceConfig,
    files: &[(&str, &'a [u8])],
    expected: &Shards,
) -> Result<FamilyWeights<'t, 'a>, Error> {
    let is_gpt2 = source.family == Family::Gpt2;
    let prefix = if is_gpt2 { "transformer." } else { "model." };
    let mut tensors = NamedTensors::default();
    for &(name, bytes) in files {
        let layout = lmgc_tensors::safetensors::read_layout_strict(&mut Cursor::new(bytes))
            .map_err(|source| Error::Format { path: name.into(), source })?;
        if let Some(tensor) = missing_tensor(&layout, expected.get(name).map_or(&[], Vec::as_slice)) {
            let problem = format!("is not in {name}, where the index says it is");
            return Err(Error::Tensor { name: tensor.clone(), problem });
        }
        for span in layout.spans {
            let end = span.offset.saturating_add(span.len);
            let place = usize::try_from(span.offset).ok().zip(usize::try_from(end).ok());
            let bytes = place.and_then(|(start, end)| bytes.get(start..end));
            let view = TensorView {
                ggml_type: match span.dtype {
                    Dtype::F32 => GgmlType::F32,
                    Dtype::F16 => GgmlType::F16,
                    Dtype::BF16 => GgmlType::BF16,
                    _ => GgmlType::Other(u32::MAX),
                },
                type_name: span.dtype.to_string(),
                shape: span.shape,
                bytes: bytes.ok_or_else(|| Error::Tensor {
                    name: span.name.clone(),
                    problem: "ends outside its file".to_owned(),
                })?,
            };
            // Models saved without their head lack the prefix.
            let short = span.name.strip_prefix(prefix).unwrap_or(&span.name).to_owned();
            tensors.insert(short, view)?;
        }
    }
    Ok(FamilyWeights {
        family: source.family,
        config: &source.config,
        tensors,
        names: if is_gpt2 { &GPT2_NAMES } else { &LLAMA_NAMES },
        biases: source.biases,
        is_transposed: is_gpt2,
        has_adjacent_pairs: false,
        is_tied: Some(source.is_tied),
        is_harmless: is_buffer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &[(&str, Value)]) -> Result<HuggingFaceConfig, Error> {
        let mut json = serde_json::json!({
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
            "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        });
        for (key, value) in changes {
            json[*key] = value.clone();
        }
        read_config(json.to_string().as_bytes())
    }

    fn scaling(changes: &[(&str, Value)]) -> (f32, RopeScaling) {
        match config(changes).unwrap().config.positions {
            Positions::Rope { theta, scaling } => (theta, scaling),
            Positions::Learned => panic!("RoPE"),
        }
    }

    #[test]
    fn rope_in_all_spellings() {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(scaling(&[]), (10_000.0, RopeScaling::None));
        assert_eq!(scaling(&[("rope_scaling", Value::Null), ("rope_theta", 5e5.into())]), (5e5, RopeScaling::None));
        let linear = RopeScaling::Linear { factor: 2.0 };
        for old_or_new in [r#"{"type": "linear", "factor": 2}"#, r#"{"rope_type": "linear", "factor": 2.0}"#] {
            assert_eq!(scaling(&[("rope_scaling", json(old_or_new))]), (10_000.0, linear.clone()));
        }
        let new = json(r#"{"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0}"#);
        assert_eq!(scaling(&[("rope_parameters", new)]), (1000.0, linear));
        let same = json(r#"{"rope_type": "linear", "factor": 1.0}"#);
        assert_eq!(scaling(&[("rope_parameters", same)]), (10_000.0, RopeScaling::None));
        let llama3 = r#"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
            "original_max_position_embeddings": 8192}"#;
        let expected = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192,
        };
        assert_eq!(scaling(&[("rope_scaling", json(llama3))]).1, expected);
    }

    #[test]
    fn what_is_not_run_here_is_refused_by_name() {
        let faults: [(&str, Value, &[&str]); 14] = [
            ("model_type", "mamba".into(), &["mamba", "llama, mistral, qwen2, qwen3, gpt2"]),
            ("model_type", 5.into(), &["model_type", "no text"]),
            ("hidden_act", "gelu".into(), &["gelu", "silu"]),
            ("hidden_size", "big".into(), &["hidden_size", "integer"]),
            ("hidden_size", (-1).into(), &["hidden_size", "integer"]),
            ("hidden_size", Value::Null, &["hidden_size", "missing"]),
            ("rms_norm_eps", "x".into(), &["rms_norm_eps", "number"]),
            ("attention_bias", 1.into(), &["attention_bias", "true"]),
            ("rope_scaling", serde_json::json!({"type": "yarn", "factor": 2}), &["yarn", "llama3"]),
            ("rope_scaling", serde_json::json!({"factor": 2}), &["rope_type"]),
            ("rope_scaling", "linear".into(), &["rope_scaling", "object"]),
            ("rope_parameters", serde_json::json!({"full_attention": {"rope_type": "default"}}), &["kinds of layers"]),
            ("partial_rotary_factor", 0.5.into(), &["partial_rotary_factor"]),
            ("quantization_config", serde_json::json!({"bits": 4}), &["quantization_config", "GGUF"]),
        ];
        for (key, value, words) in faults {
            let message = config(&[(key, value)]).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{key}: {message}");
        }
        assert!(read_config(b"[]").is_err() && read_config(b"{").is_err());
    }

    #[test]
    fn windows_follow_the_model_type() {
        let window = |changes: &[(&str, Value)]| config(changes).map(|c| c.config.sliding_window);
        let one_window =
            |model_type: &str| vec![("model_type", Value::from(model_type)), ("sliding_window", 64.into())];
        assert_eq!(window(&one_window("llama")).unwrap(), None);
        assert_eq!(window(&one_window("mistral")).unwrap(), Some(64));
        assert_eq!(window(&one_window("qwen2")).unwrap(), None);
        let with = |more: &[(&'static str, Value)]| {
            let mut changes = one_window("qwen2");
            changes.push(("use_sliding_window", true.into()));
            changes.extend_from_slice(more);
            window(&changes)
        };
        assert_eq!(with(&[("max_window_layers", 2.into())]).unwrap(), None);
        assert_eq!(with(&[("max_window_layers", 0.into())]).unwrap(), Some(64));
        let message = with(&[("max_window_layers", 1.into())]).unwrap_err().to_string();
        assert!(message.contains("some layers"), "{message}");
        let types = |a: &str, b: &str| with(&[("layer_types", serde_json::json!([a, b]))]);
        assert_eq!(types("sliding_attention", "sliding_attention").unwrap(), Some(64));
        assert_eq!(types("full_attention", "full_attention").unwrap(), None);
        assert!(types("full_attention", "sliding_attention").is_err());
        let wide = [("model_type", "mistral".into()), ("sliding_window", 4096.into())];
        assert_eq!(window(&wide).unwrap(), None, "no position can leave it");
    }
}
