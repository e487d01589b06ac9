//! What a GGUF file or a Hugging Face folder says of itself, and whether it is complete. No weights are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use lmgc_tensors::gguf::Value as GgufValue;
use lmgc_tensors::safetensors::read_layout_strict;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::folder::{
    NO_MODEL, NO_TOKENIZER, TOKENIZER_FILE, list_files, missing_tensor, read_index, read_json, weights,
};
use crate::store::{CONFIG_FILE, model_at};
use crate::{Error, gguf};

/// Where a download records what it is.
pub(crate) const ORIGIN_FILE: &str = "lmgc-source.json";

/// How a model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One GGUF file.
    Gguf,
    /// A folder with config.json, tokenizer.json and safetensors files.
    HuggingFace,
}

/// Where a downloaded model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Repository on the hub.
    pub repository: String,
    /// Commit of it.
    pub commit: String,
    /// Licence that the hub names.
    #[serde(default)]
    pub licence: Option<String>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What a model says of itself. Nothing here has been tried: a field is `None` where the source does not name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// How it is stored.
    pub kind: Kind,
    /// `general.architecture` of a GGUF file, `model_type` of a config.json.
    pub architecture: Option<String>,
    /// Number of layers.
    pub n_layers: Option<u64>,
    /// Width of the residual stream.
    pub d_model: Option<u64>,
    /// Query heads.
    pub n_heads: Option<u64>,
    /// Key and value heads.
    pub n_kv_heads: Option<u64>,
    /// Width of the feed-forward layer.
    pub d_ffn: Option<u64>,
    /// Number of token ids.
    pub vocab_size: Option<u64>,
    /// Context length in tokens.
    pub context_tokens: Option<u64>,
    /// Elements of all tensors.
    pub n_parameters: u64,
    /// Element types of the weights, with the number of tensors of each.
    pub tensor_types: BTreeMap<String, usize>,
    /// Licence that the files name.
    pub licence: Option<String>,
    /// Where it was downloaded from.
    pub origin: Option<Origin>,
    /// Its files, sorted by name.
    pub files: Vec<ModelFile>,
    /// What is missing or damaged; empty for a complete model.
    pub problems: Vec<String>,
}

impl ModelInfo {
    /// Bytes of all files.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// Reads the headers of a GGUF file or of a folder: of its `model.gguf` if it has one, else as a Hugging Face folder.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] for a damaged GGUF header, [`Error::NotAModel`] for a folder
/// without a readable config.json. What else is missing stands in [`ModelInfo::problems`].
pub fn describe(path: &Path) -> Result<ModelInfo, Error> {
    let path = model_at(path);
    if path.is_dir() { describe_folder(&path) } else { describe_gguf(&path) }
}

/// As [`describe`], for a model that must be complete.
///
/// # Errors
/// As [`describe`]; [`Error::NotAModel`] with all problems.
pub(crate) fn check(path: &Path) -> Result<ModelInfo, Error> {
    let info = describe(path)?;
    if info.problems.is_empty() {
        return Ok(info);
    }
    Err(Error::NotAModel { path: path.to_owned(), problem: info.problems.join("; ") })
}

fn describe_gguf(path: &Path) -> Result<ModelInfo, Error> {
    let (mapping, gguf) = gguf::open(path)?;
    let text = |key: &str| gguf.metadata.get(key).and_then(GgufValue::as_str).map(str::to_owned);
    let architecture = text("general.architecture");
    let size = |key: &str| {
        let key = format!("{}.{key}", architecture.as_deref().unwrap_or_default());
        gguf.metadata.get(&key).and_then(GgufValue::as_u64)
    };
    let mut problems = Vec::new();
    if architecture.is_none() {
        problems.push("its header names no general.architecture".to_owned());
    }
    let vocab_size = match gguf.metadata.get("tokenizer.ggml.tokens") {
        Some(GgufValue::Array(tokens)) => Some(tokens.len() as u64),
        _ => {
            problems.push("it has no vocabulary (tokenizer.ggml.tokens)".to_owned());
            None
        }
    };
    if gguf.tensors.is_empty() {
        problems.push("it has no tensors".to_owned());
    }
    let mut tensor_types = BTreeMap::new();
    for tensor in &gguf.tensors {
        *tensor_types.entry(tensor.ggml_type.to_string()).or_default() += 1;
    }
    Ok(ModelInfo {
        kind: Kind::Gguf,
        n_layers: size("block_count"),
        d_model: size("embedding_length"),
        n_heads: size("attention.head_count"),
        n_kv_heads: size("attention.head_count_kv"),
        d_ffn: size("feed_forward_length"),
        context_tokens: size("context_length"),
        architecture,
        vocab_size,
        n_parameters: gguf.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.n_elements())),
        tensor_types,
        licence: text("general.license"),
        origin: None,
        files: vec![ModelFile {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes: mapping.len() as u64,
        }],
        problems,
    })
}

fn describe_folder(path: &Path) -> Result<ModelInfo, Error> {
    let files = list_files(path)?;
    let not_a_model = |problem: String| Error::NotAModel { path: path.to_owned(), problem };
    if !files.iter().any(|file| file.name == CONFIG_FILE) {
        return Err(not_a_model(NO_MODEL.to_owned()));
    }
    let config = read_json(&path.join(CONFIG_FILE)).map_err(not_a_model)?;
    if !config.is_object() {
        return Err(not_a_model(format!("{CONFIG_FILE} is no JSON object")));
    }
    let size = |keys: &[&str]| keys.iter().find_map(|key| config.get(key)?.as_u64());
    let first_class = || config.get("architectures")?.get(0);
    let architecture = config.get("model_type").or_else(first_class).and_then(Value::as_str).map(str::to_owned);
    let origin = read_json(&path.join(ORIGIN_FILE)).ok().and_then(|origin| Origin::deserialize(origin).ok());
    let mut info = ModelInfo {
        kind: Kind::HuggingFace,
        architecture,
        n_layers: size(&["num_hidden_layers", "n_layer"]),
        d_model: size(&["hidden_size", "n_embd"]),
        n_heads: size(&["num_attention_heads", "n_head"]),
        n_kv_heads: size(&["num_key_value_heads"]),
        d_ffn: size(&["intermediate_size", "n_inner"]),
        vocab_size: size(&["vocab_size"]),
        context_tokens: size(&["max_position_embeddings", "n_positions", "n_ctx"]),
        n_parameters: 0,
        tensor_types: BTreeMap::new(),
        licence: origin.as_ref().and_then(|origin| origin.licence.clone()),
        origin,
        files,
        problems: Vec::new(),
    };
    if info.architecture.is_none() {
        info.problems.push(format!("{CONFIG_FILE} names no model_type"));
    }
    add_contents(path, &mut info);
    Ok(info)
}

/// Looks into the tokenizer and the headers of the weights.
fn add_contents(path: &Path, info: &mut ModelInfo) {
    let names: Vec<&str> = info.files.iter().map(|file| file.name.as_str()).collect();
    let mut problems = Vec::new();
    if !names.contains(&TOKENIZER_FILE) {
        problems.push(NO_TOKENIZER.to_owned());
    } else if let Err(problem) = read_json(&path.join(TOKENIZER_FILE)) {
        problems.push(problem);
    }
    match weights(&names, || read_index(path)) {
        Err(problem) => problems.push(problem),
        Ok(shards) => {
            for (shard, tensors) in shards {
                match File::open(path.join(&shard))
                    .map_err(lmgc_tensors::Error::from)
                    .and_then(|mut file| read_layout_strict(&mut file))
                {
                    Err(error) => problems.push(format!("{shard}: {error}")),
                    Ok(layout) => {
                        if let Some(tensor) = missing_tensor(&layout, &tensors) {
                            problems.push(format!("{shard} lacks the tensor {tensor}, which the index says it has"));
                        }
                        for span in layout.spans {
                            let n_elements = span.shape.iter().fold(1, |n: u64, &dim| n.saturating_mul(dim));
                            info.n_parameters = info.n_parameters.saturating_add(n_elements);
                            *info.tensor_types.entry(span.dtype.to_string()).or_default() += 1;
                        }
                    }
                }
            }
        }
    }
    info.problems.extend(problems);
}
