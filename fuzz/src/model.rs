//! Model files.

use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};

/// Tokens fed to a model that was accepted.
const N_TOKENS: usize = 4;

/// A GGUF file.
pub fn gguf_model(data: &[u8]) {
    if let Ok(model) = Model::from_gguf_bytes(data) {
        run(&model);
    }
}

/// A `config.json` and a safetensors file: the former's length as a little-endian u32, the former, the latter.
pub fn safetensors_model(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<4>() else { return };
    let Some((config, file)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else { return };
    if let Ok(model) = Model::from_safetensors_bytes(config, &[("model.safetensors", file)]) {
        run(&model);
    }
}

/// A `config.json` without weights, which no model is made of.
pub fn model_config(data: &[u8]) {
    assert!(Model::from_safetensors_bytes(data, &[]).is_err(), "a model without weights");
}

/// A model that was accepted runs, whatever its weights are.
fn run(model: &Model) {
    let output = OutputLayer::full(model);
    let last = (model.config().vocab_size - 1) as u32;
    let n_tokens = N_TOKENS.min(model.config().max_positions);
    let mut engine = Engine::new(model, &output, Kernels::detect(), 1, n_tokens);
    let tokens = &[0, last, last / 2, 0][..n_tokens];
    let logits = engine.forward(&[Segment { sequence: 0, tokens }]).map(<[f32]>::len);
    assert_eq!(logits.ok(), Some(n_tokens * model.config().vocab_size), "the model runs");
}
