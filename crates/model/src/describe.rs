//! What a GGUF file or a Hugging Face folder says of itself, and whether it is complete. No weights are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use lmgc_tensors::gguf::{GgufFile, Value as GgufValue};
use lmgc_tensors::safetensors::read_layout_strict;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::store::{CONFIG_FILE, is_name};

pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
const WEIGHTS_FILE: &str = "model.safetensors";
/// Where a download records what it is.
pub(crate) const ORIGIN_FILE: &str = "lmgc-source.json";
/// The largest JSON file that is read; tokenizers of large vocabularies have some tens of MB.
const MAX_JSON_BYTES: u64 = 256 << 20;

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

/// Reads the headers of a GGUF file or of a Hugging Face folder.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] for a damaged GGUF header, [`Error::NotAModel`] for a folder
/// without a readable config.json. What else is missing stands in [`ModelInfo::problems`].
pub fn describe(path: &Path) -> Result<ModelInfo, Error> {
    if path.is_dir() { describe_folder(path) } else { describe_gguf(path) }
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
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let gguf =
        GgufFile::parse(&mut BufReader::new(file)).map_err(|source| Error::Format { path: path.to_owned(), source })?;
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
            bytes,
        }],
        problems,
    })
}

fn describe_folder(path: &Path) -> Result<ModelInfo, Error> {
    let files = list_files(path)?;
    let not_a_model = |problem: String| Error::NotAModel { path: path.to_owned(), problem };
    if !files.iter().any(|file| file.name == CONFIG_FILE) {
        return Err(not_a_model(format!("it has no {CONFIG_FILE}, as Hugging Face folders do")));
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
    let read_index = || read_json(&path.join(INDEX_FILE));
    match weights(&names, read_index) {
        Err(problem) => problems.push(problem),
        Ok(shards) => {
            for shard in shards {
                match File::open(path.join(&shard))
                    .map_err(lmgc_tensors::Error::from)
                    .and_then(|mut file| read_layout_strict(&mut file))
                {
                    Err(error) => problems.push(format!("{shard}: {error}")),
                    Ok(layout) => {
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

pub(crate) const NO_TOKENIZER: &str = "it has no tokenizer.json (a SentencePiece tokenizer.model alone is not read: convert \
                                       the model to GGUF with llama.cpp's convert_hf_to_gguf.py, then `lmgc model import \
                                       FILE.gguf`)";

/// The files that hold a folder's weights: `model.safetensors`, else those that the index names, else the only safetensors
/// file there is. `files` are the names that are there; `read_index` is called where the index is needed.
///
/// # Errors
/// What is missing or wrong, and what to do.
pub(crate) fn weights(
    files: &[&str],
    read_index: impl FnOnce() -> Result<Value, String>,
) -> Result<Vec<String>, String> {
    if files.contains(&WEIGHTS_FILE) {
        return Ok(vec![WEIGHTS_FILE.to_owned()]);
    }
    if files.contains(&INDEX_FILE) {
        let index = read_index()?;
        let map = index.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
        let map = map.ok_or_else(|| format!("{INDEX_FILE} has no weight_map"))?;
        let shards: BTreeSet<&str> = map.values().map(|shard| shard.as_str().unwrap_or_default()).collect();
        if let Some(shard) = shards.iter().find(|shard| !is_name(shard) || !shard.ends_with(".safetensors")) {
            return Err(format!("{INDEX_FILE} names {shard:?}, which is no safetensors file of the folder"));
        }
        let missing: Vec<&str> = shards.iter().copied().filter(|shard| !files.contains(shard)).collect();
        return match missing.first() {
            None => Ok(shards.into_iter().map(str::to_owned).collect()),
            Some(first) => Err(format!(
                "{} of the {} files that {INDEX_FILE} names are missing: {first}",
                missing.len(),
                shards.len()
            )),
        };
    }
    let ending = |ending: &str| files.iter().copied().filter(|file| file.ends_with(ending)).collect::<Vec<_>>();
    match ending(".safetensors").as_slice() {
        [only] => Ok(vec![(*only).to_owned()]),
        [] if !ending(".gguf").is_empty() => Err(format!(
            "it has no safetensors files, but GGUF files such as {}: download one and run `lmgc model import FILE.gguf`",
            ending(".gguf")[0]
        )),
        [] if ending(".bin").iter().any(|file| file.starts_with("pytorch_model")) => {
            Err("it has its weights as pytorch_model.bin alone, a pickle, which is not read: convert it to GGUF with llama.cpp's \
                 convert_hf_to_gguf.py or to safetensors with transformers' save_pretrained, then `lmgc model import PATH`"
                .to_owned())
        }
        [] => Err("it has no safetensors files".to_owned()),
        many => Err(format!("it has {} safetensors files and no {INDEX_FILE}", many.len())),
    }
}

/// Whether these [`weights`] may have been found by the index.
pub(crate) fn is_indexed(weights: &[String]) -> bool {
    weights != [WEIGHTS_FILE]
}

/// The files in a folder, links followed, sorted by name.
pub(crate) fn list_files(path: &Path) -> Result<Vec<ModelFile>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Ok(metadata) = std::fs::metadata(entry.path())
            && metadata.is_file()
        {
            files.push(ModelFile { name, bytes: metadata.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// A JSON file's value, or what is wrong with it.
pub(crate) fn read_json(path: &Path) -> Result<Value, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    file.take(MAX_JSON_BYTES + 1).read_to_end(&mut text).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > MAX_JSON_BYTES {
        return Err(format!("{name} has more than {} MiB", MAX_JSON_BYTES >> 20));
    }
    serde_json::from_slice(&text).map_err(|error| format!("{name} is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn none() -> Result<Value, String> {
        Err("not read".to_owned())
    }

    #[test]
    fn weights_come_from_one_file_or_from_those_of_the_index() {
        assert_eq!(weights(&["b.safetensors", "model.safetensors", INDEX_FILE], none).unwrap(), ["model.safetensors"]);
        assert_eq!(weights(&["b.safetensors"], none).unwrap(), ["b.safetensors"]);
        let index =
            || Ok(json!({ "weight_map": { "x": "m-2.safetensors", "y": "m-1.safetensors", "z": "m-2.safetensors" } }));
        let files = ["consolidated.safetensors", "m-1.safetensors", "m-2.safetensors", INDEX_FILE];
        assert_eq!(weights(&files, index).unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
        let error = weights(&["m-2.safetensors", INDEX_FILE], index).unwrap_err();
        assert!(error.contains("1 of the 2") && error.contains("m-1.safetensors"), "{error}");
    }

    #[test]
    fn what_weights_lack_is_said() {
        let problem = |files: &[&str]| weights(files, none).unwrap_err();
        assert!(problem(&["pytorch_model.bin"]).contains("convert_hf_to_gguf.py"));
        assert!(problem(&["pytorch_model-00001-of-00002.bin"]).contains("pickle"));
        assert!(problem(&["q4.gguf"]).contains("q4.gguf"));
        assert!(problem(&["a.safetensors", "b.safetensors"]).contains("2 safetensors files"));
        assert_eq!(problem(&[]), "it has no safetensors files");
        for index in [
            json!({}),
            json!([]),
            json!({ "weight_map": {} }),
            json!({ "weight_map": { "x": "../../etc/passwd.safetensors" } }),
            json!({ "weight_map": { "x": 3 } }),
            json!({ "weight_map": { "x": "weights.bin" } }),
        ] {
            let files = [INDEX_FILE, "weights.bin"];
            assert!(weights(&files, || Ok(index.clone())).unwrap_err().contains(INDEX_FILE), "{index}");
        }
    }
}
