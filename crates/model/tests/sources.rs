//! The same weights give the same model, whatever file they come from.

mod common;

use std::fs;

use common::{HfTensor, hf_config, hf_tensors, load, run, safetensors, tokens};
use lmgc_model::{Error, Fingerprint, Kernels, LoadOptions, Model, ModelSource, OutputLayer, RopeScaling};
use lmgc_tensors::Dtype;
use lmgc_testkit::{GgufValue, GgufWriter, TinyFamily, TinyModel};

fn fingerprint(model: &Model) -> Fingerprint {
    model.fingerprint(std::iter::empty())
}

fn logits(model: &Model) -> Vec<Vec<u32>> {
    run(model, &OutputLayer::full(model), Kernels::detect(), &tokens(model, 7, 33), 33)
}

fn from_hf(tiny: &TinyModel, tensors: &[HfTensor], dtype: Dtype) -> Result<Model, Error> {
    let config = hf_config(tiny).to_string();
    Model::from_safetensors_bytes(config.as_bytes(), &[("model.safetensors", &safetensors(tensors, dtype))])
}

#[test]
fn hugging_face_and_gguf_give_one_model() {
    let families = TinyFamily::ALL.map(TinyModel::of);
    let more = [
        TinyModel { biases: true, tied: false, ..TinyModel::default() },
        TinyModel { tied: false, ..TinyModel::of(TinyFamily::Gpt2) },
    ];
    for tiny in families.into_iter().chain(more) {
        let gguf = load(&tiny);
        let hf = from_hf(&tiny, &hf_tensors(&tiny), Dtype::F32).unwrap();
        assert_eq!(hf.config(), gguf.config());
        assert_eq!(fingerprint(&hf), fingerprint(&gguf), "{tiny:?}");
        assert!(logits(&hf) == logits(&gguf), "{tiny:?}");
    }
}

#[test]
fn folders_shards_and_files_without_prefix_give_one_model() {
    for tiny in TinyFamily::ALL.map(TinyModel::of) {
        let expected = fingerprint(&load(&tiny));
        let options = LoadOptions::default();
        let tensors = hf_tensors(&tiny);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);

        fs::write(path("model.gguf"), tiny.to_gguf()).unwrap();
        assert_eq!(fingerprint(&Model::load(&path("model.gguf"), &options).unwrap()), expected);
        assert_eq!(fingerprint(&Model::load(folder.path(), &options).unwrap()), expected);
        fs::remove_file(path("model.gguf")).unwrap();

        fs::write(path("config.json"), hf_config(&tiny).to_string()).unwrap();
        let (a, b) = tensors.split_at(tensors.len() / 2);
        let mut weight_map = serde_json::Map::new();
        for (file, tensors) in [("a.safetensors", a), ("b.safetensors", b)] {
            fs::write(path(file), safetensors(tensors, Dtype::F32)).unwrap();
            weight_map.extend(tensors.iter().map(|t| (t.name.clone(), file.into())));
        }
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
        fs::write(path("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_eq!(fingerprint(&Model::load(folder.path(), &options).unwrap()), expected);
        let source = ModelSource::open(folder.path()).unwrap();
        assert_eq!(source.config().n_layers, tiny.n_layers as usize);

        fs::remove_file(path("b.safetensors")).unwrap();
        let error = Model::load(folder.path(), &options).unwrap_err().to_string();
        assert!(error.contains("b.safetensors"), "{error}");
        fs::write(path("b.safetensors"), safetensors(&b[1..], Dtype::F32)).unwrap();
        let error = Model::load(folder.path(), &options).unwrap_err().to_string();
        assert!(error.contains(&b[0].name) && error.contains("index"), "{error}");

        let mut bare = tensors;
        for tensor in &mut bare {
            tensor.name = tensor.name.replace("model.", "").replace("transformer.", "");
        }
        fs::write(path("model.safetensors"), safetensors(&bare, Dtype::F32)).unwrap();
        assert_eq!(fingerprint(&Model::load(folder.path(), &options).unwrap()), expected);
    }
}

#[test]
fn element_types_are_exact() {
    for tiny in [TinyModel::default(), TinyModel::of(TinyFamily::Gpt2)] {
        let original = hf_tensors(&tiny);
        for (dtype, round) in [
            (Dtype::F16, (|v| half::f16::from_f32(v).to_f32()) as fn(f32) -> f32),
            (Dtype::BF16, |v| half::bf16::from_f32(v).to_f32()),
        ] {
            let mut rounded = original.clone();
            rounded.iter_mut().flat_map(|t| &mut t.values).for_each(|v| *v = round(*v));
            let (narrow, wide) =
                (from_hf(&tiny, &original, dtype).unwrap(), from_hf(&tiny, &rounded, Dtype::F32).unwrap());
            assert_eq!(fingerprint(&narrow), fingerprint(&wide), "{dtype}");
            assert_ne!(fingerprint(&narrow), fingerprint(&load(&tiny)), "{dtype}");
        }
    }
}

#[test]
fn harmless_tensors_are_known_and_others_refused() {
    let extra = |tiny: &TinyModel, name: &str| {
        let mut tensors = hf_tensors(tiny);
        tensors.push(HfTensor { name: name.to_owned(), shape: vec![4], values: vec![0.5; 4] });
        from_hf(tiny, &tensors, Dtype::F32)
    };
    let (llama, gpt2) = (TinyModel::default(), TinyModel::of(TinyFamily::Gpt2));
    let expected = fingerprint(&load(&llama));
    for name in ["model.layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight"] {
        assert_eq!(fingerprint(&extra(&llama, name).unwrap()), expected, "{name}");
    }
    for name in ["transformer.h.0.attn.bias", "h.1.attn.masked_bias"] {
        assert_eq!(fingerprint(&extra(&gpt2, name).unwrap()), fingerprint(&load(&gpt2)), "{name}");
    }
    for name in ["model.layers.0.self_attn.q_proj.bias", "model.layers.2.input_layernorm.weight", "adapter.weight"] {
        let error = extra(&llama, name).unwrap_err().to_string();
        assert!(error.contains(name.trim_start_matches("model.")) && error.contains("not used"), "{error}");
    }
    let untied = TinyModel { tied: false, ..llama.clone() };
    let error = from_hf(&untied, &hf_tensors(&llama), Dtype::F32).unwrap_err().to_string();
    assert!(error.contains("lm_head.weight") && error.contains("missing"), "{error}");
}

#[test]
fn an_output_that_repeats_the_embedding_is_the_embedding() {
    let tied = TinyModel::default();
    let mut tensors = hf_tensors(&tied);
    let copy = HfTensor { name: "lm_head.weight".to_owned(), ..tensors[0].clone() };
    tensors.push(copy);
    let untied = TinyModel { tied: false, ..tied.clone() };
    assert_eq!(fingerprint(&from_hf(&untied, &tensors, Dtype::F32).unwrap()), fingerprint(&load(&tied)));
}

#[test]
fn rope_scaling_from_both_sources() {
    let tiny = TinyModel { head_dim: 64, n_heads: 1, n_kv_heads: 1, n_layers: 1, ..TinyModel::default() };
    let scaled = |scaling: serde_json::Value| {
        let mut config = hf_config(&tiny);
        config["rope_scaling"] = scaling;
        let file = safetensors(&hf_tensors(&tiny), Dtype::F32);
        Model::from_safetensors_bytes(config.to_string().as_bytes(), &[("model.safetensors", &file)]).unwrap()
    };
    let linear = scaled(serde_json::json!({"type": "linear", "factor": 4.0}));
    let llama3 = scaled(serde_json::json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}));
    let gguf = |extra: &dyn Fn(&mut GgufWriter)| {
        let mut file = tiny.to_writer();
        extra(&mut file);
        Model::from_gguf_bytes(&file.to_bytes()).unwrap()
    };
    let plain = gguf(&|_| ());
    let linear_gguf = gguf(&|file| {
        file.value("llama.rope.scaling.type", GgufValue::Text("linear".into()));
        file.value("llama.rope.scaling.factor", GgufValue::F32(4.0));
    });
    let factors: Vec<f32> = (0..32)
        .map(|i| {
            let turns = 8192.0 / (2.0 * std::f64::consts::PI) * 10_000f64.powf(-f64::from(i) / 32.0);
            let smooth = ((turns - 1.0) / 3.0).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / 32.0 + smooth)) as f32
        })
        .collect();
    let with_factors = |factors: &[f32]| {
        gguf(&|file| {
            file.tensor("rope_freqs.weight", &[32], factors.to_vec());
        })
    };
    let odd: Vec<f32> = factors.iter().map(|f| f * 1.01).collect();
    let odd_gguf = with_factors(&odd);
    assert_eq!(fingerprint(&linear_gguf), fingerprint(&linear));
    assert_eq!(fingerprint(&with_factors(&factors)), fingerprint(&llama3));
    assert!(
        matches!(&odd_gguf.config().positions, lmgc_model::Positions::Rope { scaling: RopeScaling::Factors(f), .. } if *f == odd)
    );
    let mut all: Vec<_> = [&plain, &linear, &llama3, &odd_gguf].map(logits).to_vec();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "each scaling changes the logits");
}
