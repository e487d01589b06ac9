//! Model files that do not fit: a clear error, never a panic.

use std::io::Cursor;

mod common;

use common::{HfTensor, hf_config, hf_tensors, safetensors};
use lmgc_model::{Error, LoadOptions, Model};
use lmgc_tensors::Dtype;
use lmgc_tensors::gguf::{GgufFile, GgufTensor, Value};
use lmgc_testkit::{TinyFamily, TinyModel};

fn load(bytes: &[u8], change: impl FnOnce(&mut GgufFile)) -> Error {
    let mut gguf = GgufFile::parse(&mut Cursor::new(bytes)).unwrap();
    change(&mut gguf);
    Model::from_gguf(&gguf, bytes).unwrap_err()
}

fn tensor<'a>(gguf: &'a mut GgufFile, name: &str) -> &'a mut GgufTensor {
    gguf.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn each_fault_is_named() {
    let bytes = TinyModel::default().to_gguf();
    let names = |error: Error, words: &[&str]| {
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let set =
        |key: &'static str, value: Value| move |gguf: &mut GgufFile| drop(gguf.metadata.insert(key.into(), value));
    names(load(&bytes, set("general.architecture", Value::String("mamba".into()))), &["mamba", "llama, qwen2"]);
    names(load(&bytes, set("llama.block_count", Value::U32(0))), &["number of layers", "0"]);
    names(load(&bytes, set("llama.block_count", Value::U32(3))), &["blk.2.attn_norm.weight", "missing"]);
    names(load(&bytes, set("llama.block_count", Value::U32(1))), &["blk.1.", "not used"]);
    names(load(&bytes, set("llama.embedding_length", Value::U32(1 << 30))), &["model width"]);
    names(load(&bytes, set("llama.embedding_length", Value::String("x".into()))), &["embedding_length"]);
    names(load(&bytes, set("llama.attention.head_count", Value::U32(3))), &["heads"]);
    names(load(&bytes, set("llama.rope.scaling.type", Value::String("linear".into()))), &["scaling.factor", "missing"]);
    names(load(&bytes, set("llama.rope.scaling.type", Value::String("yarn".into()))), &["yarn", "linear"]);
    names(load(&bytes, set("llama.attention.key_length", Value::U32(32))), &["whole heads"]);
    names(load(&bytes, set("llama.expert_count", Value::U32(8))), &["expert_count"]);
    names(load(&bytes, set("llama.vocab_size", Value::U32(8))), &["llama.vocab_size", "embedding"]);
    names(load(&bytes, |gguf| drop(gguf.metadata.remove("llama.context_length"))), &["context_length", "missing"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.0.attn_q.weight").dims[0] = 1), &["blk.0.attn_q.weight", "shape"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.0.attn_q.weight").name = "odd".into()), &["blk.0.attn_q.weight"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.1.ffn_up.weight").offset = 1 << 40), &["blk.1.ffn_up.weight", "ends"]);
}

fn small(family: TinyFamily) -> TinyModel {
    TinyModel {
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 8,
        d_model: None,
        d_ffn: 16,
        max_positions: 8,
        ..TinyModel::of(family)
    }
}

#[test]
fn any_damage_to_the_header_is_an_error_or_a_model() {
    for family in TinyFamily::ALL {
        let bytes = small(family).to_gguf();
        let header_len = GgufFile::parse(&mut Cursor::new(&bytes)).unwrap().tensors[0].offset as usize;
        for at in (0..header_len).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ = Model::from_gguf_bytes(&damaged);
        }
        for len in (0..bytes.len()).step_by(509).chain(bytes.len() - 4..bytes.len()) {
            assert!(Model::from_gguf_bytes(&bytes[..len]).is_err(), "{len}");
        }
    }
}

fn from_hf(config: &serde_json::Value, file: &[u8]) -> Result<Model, Error> {
    Model::from_safetensors_bytes(config.to_string().as_bytes(), &[("model.safetensors", file)])
}

#[test]
fn any_damage_to_safetensors_is_an_error_or_a_model() {
    for family in TinyFamily::ALL {
        let tiny = small(family);
        let (config, file) = (hf_config(&tiny), safetensors(&hf_tensors(&tiny), Dtype::BF16));
        assert!(from_hf(&config, &file).is_ok());
        let header_len = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize + 8;
        for at in (0..header_len).step_by(5) {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ = from_hf(&config, &damaged);
        }
        for len in (0..file.len()).step_by(509).chain(file.len() - 4..file.len()) {
            assert!(matches!(from_hf(&config, &file[..len]), Err(Error::Format { .. })), "{len}");
        }
    }
}

#[test]
fn absurd_or_missing_configuration_values_are_errors() {
    for family in TinyFamily::ALL {
        let tiny = small(family);
        let (config, file) = (hf_config(&tiny), safetensors(&hf_tensors(&tiny), Dtype::F32));
        for (key, value) in config.as_object().unwrap() {
            // Another value of the same type may be fine for some of these; none may panic or allocate without bounds.
            let absurd =
                [0.into(), (-1).into(), u64::MAX.into(), 1e300.into(), "x".into(), true.into(), serde_json::json!([])];
            for wrong in absurd {
                let mut config = config.clone();
                config[key] = wrong.clone();
                let result = from_hf(&config, &file);
                let is_size = value.is_u64() && !["rope_theta"].contains(&key.as_str());
                assert!(!is_size || result.is_err(), "{key} = {wrong}");
            }
        }
        for key in ["model_type", "vocab_size"] {
            let mut config = config.clone();
            config.as_object_mut().unwrap().remove(key);
            let message = from_hf(&config, &file).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains("missing"), "{message}");
        }
    }
}

#[test]
fn missing_misshapen_and_mistyped_tensors_are_named() {
    for family in TinyFamily::ALL {
        let tiny = small(family);
        let config = hf_config(&tiny);
        let tensors = hf_tensors(&tiny);
        let all = tensors.clone();
        for i in 0..tensors.len() {
            let expect = |tensors: &[HfTensor], word: &str| {
                let message = from_hf(&config, &safetensors(tensors, Dtype::F32)).unwrap_err().to_string();
                let short = without_prefix(&all[i].name);
                assert!(message.contains(short) && message.contains(word), "{message}");
            };
            let mut missing = tensors.clone();
            missing.remove(i);
            expect(&missing, "is missing");
            let mut misshapen = tensors.clone();
            misshapen[i].shape.insert(0, 1);
            expect(&misshapen, "has shape");
        }
        let integers = from_hf(&config, &safetensors(&tensors, Dtype::I32)).unwrap_err().to_string();
        assert!(integers.contains("I32") && integers.contains("BF16"), "{integers}");
        let mut vocabulary = config.clone();
        vocabulary["vocab_size"] = 100.into();
        let message = from_hf(&vocabulary, &safetensors(&tensors, Dtype::F32)).unwrap_err().to_string();
        assert!(message.contains("[100, 8]"), "{message}");
    }
}

fn without_prefix(name: &str) -> &str {
    name.trim_start_matches("model.").trim_start_matches("transformer.")
}

#[test]
fn folders_without_a_model_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &std::path::Path| Model::load(path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(load(folder.path()).contains("neither a config.json"));
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(load(folder.path()).contains("save the model as safetensors"));
    assert!(load(&folder.path().join("model.safetensors")).contains("give the folder"));
    assert!(load(&folder.path().join("nothing.gguf")).contains("nothing.gguf"));
    std::fs::write(folder.path().join("model.gguf"), "").unwrap();
    assert!(load(folder.path()).contains("not a readable model"));
}
