//! Seeds of the fuzz targets (`fuzz/`): tiny models of every family, well-formed.

use lmgc_tensors::Dtype;
use lmgc_testkit::{TinyFamily, TinyModel};

use crate::common::{hf_config, hf_tensors, safetensors};

/// The smallest model of a family; no wider than a few kilobytes allow.
fn small(family: TinyFamily) -> TinyModel {
    TinyModel {
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 4,
        d_model: None,
        d_ffn: 8,
        max_positions: 8,
        ..TinyModel::of(family)
    }
}

/// Target, name and content of each seed.
pub(crate) fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for family in TinyFamily::ALL {
        seeds.push(("gguf_model", family.architecture().to_owned(), small(family).to_gguf()));
    }
    seeds.push(("gguf_model", "quantised".to_owned(), quantised()));

    let llama = small(TinyFamily::Llama);
    let mut folders: Vec<(String, serde_json::Value, TinyModel)> = TinyFamily::ALL
        .map(|family| (family.architecture().to_owned(), hf_config(&small(family)), small(family)))
        .into();
    let mut mistral = hf_config(&llama);
    mistral["model_type"] = "mistral".into();
    mistral["sliding_window"] = 2.into();
    folders.push(("mistral".to_owned(), mistral, llama.clone()));
    let mut llama3 = hf_config(&llama);
    llama3["rope_scaling"] = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 4,
    });
    folders.push(("llama3-rope".to_owned(), llama3, llama));
    for (name, config, tiny) in folders {
        let config = config.to_string().into_bytes();
        let mut data = (config.len() as u32).to_le_bytes().to_vec();
        data.extend_from_slice(&config);
        data.extend(safetensors(&hf_tensors(&tiny), Dtype::BF16));
        seeds.push(("model_config", name.clone(), config));
        seeds.push(("safetensors_model", name, data));
    }
    seeds
}

/// A GGUF file whose matrices have every readable block type of 32 values in turn: the f32 model of the testkit, with
/// other types in the directory. What its bytes then mean is as good as anything else.
fn quantised() -> Vec<u8> {
    const TYPE_IDS: [u32; 7] = [2, 3, 6, 7, 8, 1, 30];
    let tiny = TinyModel { head_dim: 32, d_ffn: 32, ..small(TinyFamily::Qwen2) };
    let mut bytes = tiny.to_gguf();
    let tensors = tiny.tensors();
    let matrices = tensors.iter().filter(|tensor| tensor.dims.len() == 2);
    for (tensor, type_id) in matrices.zip(TYPE_IDS.into_iter().cycle()) {
        let name = [&(tensor.name.len() as u64).to_le_bytes()[..], tensor.name.as_bytes()].concat();
        let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
        // Behind the name: the number of dimensions, the dimensions, the type.
        let at = at + name.len() + 4 + 8 * tensor.dims.len();
        bytes[at..at + 4].copy_from_slice(&type_id.to_le_bytes());
    }
    bytes
}
