//! Hugging Face folders: which files there are, and which of them hold the weights.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use lmgc_tensors::Layout;
use serde_json::Value;

use crate::store::is_name;
use crate::{Error, ModelFile};

pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";
/// The largest JSON file that is read; tokenizers of large vocabularies have some tens of MB.
const MAX_JSON_BYTES: u64 = 256 << 20;

pub(crate) const NO_MODEL: &str = "it holds neither a config.json, as Hugging Face folders do, nor a model.gguf";
pub(crate) const NO_TOKENIZER: &str = "it has no tokenizer.json (a SentencePiece tokenizer.model alone is not read: convert \
                                       the model to GGUF with llama.cpp's convert_hf_to_gguf.py, then `lmgc model import \
                                       FILE.gguf`)";

pub(crate) const NO_WEIGHTS: &str = "it has no safetensors files, and weights in others are not read: save the model as \
                                     safetensors, or convert it to GGUF";

/// The files that hold a folder's weights, each with the tensors that it must hold: none where there is no index.
pub(crate) type Shards = BTreeMap<String, Vec<String>>;

/// The files that hold a folder's weights: `model.safetensors`, else those that the index names, else the only safetensors
/// file there is. `files` are the names that are there; `read_index` is called where the index is needed.
///
/// # Errors
/// What is missing or wrong, and what to do.
pub(crate) fn weights(files: &[&str], read_index: impl FnOnce() -> Result<Shards, String>) -> Result<Shards, String> {
    let alone = |file: &str| Shards::from([(file.to_owned(), Vec::new())]);
    if files.contains(&WEIGHTS_FILE) {
        return Ok(alone(WEIGHTS_FILE));
    }
    if files.contains(&INDEX_FILE) {
        let shards = read_index()?;
        let missing: Vec<&String> = shards.keys().filter(|shard| !files.contains(&shard.as_str())).collect();
        return match missing.first() {
            None => Ok(shards),
            Some(first) => Err(format!(
                "{} of the {} files that {INDEX_FILE} names are missing: {first}",
                missing.len(),
                shards.len()
            )),
        };
    }
    let ending = |ending: &str| files.iter().copied().filter(|file| file.ends_with(ending)).collect::<Vec<_>>();
    match ending(".safetensors").as_slice() {
        [only] => Ok(alone(only)),
        [] if !ending(".gguf").is_empty() => Err(format!(
            "it has no safetensors files, but GGUF files such as {}: download one and run `lmgc model import FILE.gguf`",
            ending(".gguf")[0]
        )),
        [] if ending(".bin").iter().any(|file| file.starts_with("pytorch_model")) => {
            Err("it has its weights as pytorch_model.bin alone, a pickle, which is not read: convert it to GGUF with llama.cpp's \
                 convert_hf_to_gguf.py or to safetensors with transformers' save_pretrained, then `lmgc model import PATH`"
                .to_owned())
        }
        [] => Err(NO_WEIGHTS.to_owned()),
        many => Err(format!("it has {} safetensors files and no {INDEX_FILE}", many.len())),
    }
}

/// Whether these [`weights`] were found by the index.
pub(crate) fn is_indexed(weights: &Shards) -> bool {
    weights.values().any(|tensors| !tensors.is_empty())
}

/// The first of the tensors that a file must hold and does not.
pub(crate) fn missing_tensor<'a>(layout: &Layout, tensors: &'a [String]) -> Option<&'a String> {
    tensors.iter().find(|tensor| !layout.spans.iter().any(|span| span.name == **tensor))
}

/// The index of a folder's weights.
pub(crate) fn read_index(folder: &Path) -> Result<Shards, String> {
    parse_index(&read_bytes(&folder.join(INDEX_FILE)).map_err(|error| error.to_string())?)
}

/// The files that an index names, with the tensors that each must hold.
pub(crate) fn parse_index(json: &[u8]) -> Result<Shards, String> {
    let index: Value = serde_json::from_slice(json).map_err(|error| format!("{INDEX_FILE} is no JSON: {error}"))?;
    let map = index.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| format!("{INDEX_FILE} has no weight_map"))?;
    let mut shards = Shards::new();
    for (tensor, file) in map {
        let shard = file.as_str().filter(|file| is_name(file) && file.ends_with(".safetensors"));
        let shard =
            shard.ok_or_else(|| format!("{INDEX_FILE} names {file}, which is no safetensors file of the folder"))?;
        shards.entry(shard.to_owned()).or_default().push(tensor.clone());
    }
    Ok(shards)
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
    let text = read_bytes(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    serde_json::from_slice(&text).map_err(|error| format!("{name} is no JSON: {error}"))
}

/// A JSON file's bytes.
///
/// # Errors
/// [`Error::Io`], also for a file that is too long.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_JSON_BYTES + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > MAX_JSON_BYTES {
        return Err(failed(std::io::Error::other(format!("it has more than {} MiB", MAX_JSON_BYTES >> 20))));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn none() -> Result<Shards, String> {
        Err("not read".to_owned())
    }

    #[test]
    fn weights_come_from_one_file_or_from_those_of_the_index() {
        let single = weights(&["b.safetensors", "model.safetensors", INDEX_FILE], none).unwrap();
        assert_eq!(single, Shards::from([(WEIGHTS_FILE.to_owned(), Vec::new())]));
        assert!(weights(&["b.safetensors"], none).unwrap()["b.safetensors"].is_empty() && !is_indexed(&single));
        let index = json!({ "weight_map": { "x": "m-2.safetensors", "y": "m-1.safetensors", "z": "m-2.safetensors" } });
        let index = || parse_index(index.to_string().as_bytes());
        let files = ["consolidated.safetensors", "m-1.safetensors", "m-2.safetensors", INDEX_FILE];
        let shards = weights(&files, index).unwrap();
        assert_eq!(shards.keys().collect::<Vec<_>>(), ["m-1.safetensors", "m-2.safetensors"]);
        assert!(shards["m-2.safetensors"] == ["x", "z"] && is_indexed(&shards));
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
        assert_eq!(problem(&[]), NO_WEIGHTS);
    }

    #[test]
    fn an_index_names_plain_safetensors_files() {
        for index in [
            json!({}),
            json!([]),
            json!({ "weight_map": {} }),
            json!({ "weight_map": { "x": "../../etc/passwd.safetensors" } }),
            json!({ "weight_map": { "x": "a/b.safetensors" } }),
            json!({ "weight_map": { "x": ".safetensors" } }),
            json!({ "weight_map": { "x": 3 } }),
            json!({ "weight_map": { "x": "weights.bin" } }),
        ] {
            assert!(parse_index(index.to_string().as_bytes()).unwrap_err().contains(INDEX_FILE), "{index}");
        }
        assert!(parse_index(b"[").unwrap_err().contains("no JSON"));
    }
}
