//! What the integration tests share.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;

use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};
use lmgc_tensors::Dtype;
use lmgc_testkit::{Random, TinyFamily, TinyModel};

pub(crate) fn load(tiny: &TinyModel) -> Model {
    Model::from_gguf_bytes(&tiny.to_gguf()).unwrap()
}

pub(crate) fn tokens(model: &Model, seed: u64, n: usize) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| (random.next_u64() % model.config().vocab_size as u64) as u32).collect()
}

/// Logits' bits of each row, feeding `tokens` in pieces of the given size.
pub(crate) fn run(
    model: &Model,
    output: &OutputLayer,
    kernels: Kernels,
    tokens: &[u32],
    piece: usize,
) -> Vec<Vec<u32>> {
    let mut engine = Engine::new(model, output, kernels, 1, tokens.len());
    let mut rows = Vec::new();
    for tokens in tokens.chunks(piece) {
        let logits = engine.forward(&[Segment { sequence: 0, tokens }]).unwrap();
        rows.extend(logits.chunks_exact(output.n_symbols()).map(|row| row.iter().map(|v| v.to_bits()).collect()));
    }
    rows
}

/// A tensor as safetensors hold it.
#[derive(Clone)]
pub(crate) struct HfTensor {
    pub(crate) name: String,
    /// Outermost first.
    pub(crate) shape: Vec<u64>,
    pub(crate) values: Vec<f32>,
}

/// The `config.json` of a tiny model.
pub(crate) fn hf_config(tiny: &TinyModel) -> serde_json::Value {
    let vocab_size = tiny.vocab_size();
    if tiny.family == TinyFamily::Gpt2 {
        return serde_json::json!({
            "model_type": "gpt2", "n_embd": tiny.d_model(), "n_head": tiny.n_heads, "n_layer": tiny.n_layers,
            "n_inner": tiny.d_ffn, "n_positions": tiny.max_positions, "vocab_size": vocab_size,
            "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "tie_word_embeddings": tiny.tied,
        });
    }
    serde_json::json!({
        "model_type": tiny.family.architecture(), "hidden_size": tiny.d_model(), "num_attention_heads": tiny.n_heads,
        "num_key_value_heads": tiny.n_kv_heads, "head_dim": tiny.head_dim, "num_hidden_layers": tiny.n_layers,
        "intermediate_size": tiny.d_ffn, "max_position_embeddings": tiny.max_positions, "vocab_size": vocab_size,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "attention_bias": tiny.biases,
        "mlp_bias": tiny.biases, "tie_word_embeddings": tiny.tied,
    })
}

/// The tensors of a tiny model under Hugging Face's names, rows and orientation.
pub(crate) fn hf_tensors(tiny: &TinyModel) -> Vec<HfTensor> {
    let is_gpt2 = tiny.family == TinyFamily::Gpt2;
    let tensor = |gguf: lmgc_testkit::TinyTensor| {
        let mut shape: Vec<u64> = gguf.dims.iter().rev().copied().collect();
        let mut values = gguf.values;
        let is_rotated = gguf.name.contains("attn_q.") || gguf.name.contains("attn_k.");
        if tiny.family == TinyFamily::Llama && is_rotated {
            values = pairs_half_apart(&values, shape[0] as usize, tiny.head_dim as usize);
        }
        let is_conv1d = is_gpt2 && shape.len() == 2 && gguf.name.starts_with("blk.");
        if is_conv1d {
            let (rows, cols) = (shape[0] as usize, shape[1] as usize);
            values = (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect();
            shape.reverse();
        }
        HfTensor { name: hf_name(&gguf.name, is_gpt2), shape, values }
    };
    tiny.tensors().into_iter().map(tensor).collect()
}

/// Undoes llama.cpp's order of rows: 0, 2, 4, ... of each head, then 1, 3, 5, ...
fn pairs_half_apart(values: &[f32], n_rows: usize, head_dim: usize) -> Vec<f32> {
    let row_len = values.len() / n_rows;
    let rows: Vec<&[f32]> = values.chunks_exact(row_len).collect();
    let mut ordered = Vec::new();
    for head in rows.chunks_exact(head_dim) {
        for first in [0, 1] {
            head.iter().skip(first).step_by(2).for_each(|row| ordered.extend_from_slice(row));
        }
    }
    ordered
}

fn hf_name(gguf: &str, is_gpt2: bool) -> String {
    let names: [(&str, &str, &str); 16] = [
        ("token_embd", "model.embed_tokens", "transformer.wte"),
        ("position_embd", "", "transformer.wpe"),
        ("output_norm", "model.norm", "transformer.ln_f"),
        ("output", "lm_head", "lm_head"),
        ("attn_norm", "input_layernorm", "ln_1"),
        ("ffn_norm", "post_attention_layernorm", "ln_2"),
        ("attn_qkv", "", "attn.c_attn"),
        ("attn_q", "self_attn.q_proj", ""),
        ("attn_k", "self_attn.k_proj", ""),
        ("attn_v", "self_attn.v_proj", ""),
        ("attn_q_norm", "self_attn.q_norm", ""),
        ("attn_k_norm", "self_attn.k_norm", ""),
        ("attn_output", "self_attn.o_proj", "attn.c_proj"),
        ("ffn_gate", "mlp.gate_proj", ""),
        ("ffn_up", "mlp.up_proj", "mlp.c_fc"),
        ("ffn_down", "mlp.down_proj", "mlp.c_proj"),
    ];
    let parts: Vec<&str> = gguf.split('.').collect();
    let (layer, part, kind) = match parts.as_slice() {
        ["blk", i, part, kind] => (Some(i), part, kind),
        [part, kind] => (None, part, kind),
        _ => panic!("{gguf}"),
    };
    let (_, llama, gpt2) = names.iter().find(|(name, ..)| name == part).unwrap();
    let name = if is_gpt2 { gpt2 } else { llama };
    match layer {
        None => format!("{name}.{kind}"),
        Some(i) if is_gpt2 => format!("transformer.h.{i}.{name}.{kind}"),
        Some(i) => format!("model.layers.{i}.{name}.{kind}"),
    }
}

/// The bytes of a safetensors file.
pub(crate) fn safetensors(tensors: &[HfTensor], dtype: Dtype) -> Vec<u8> {
    let encode = |value: f32| match dtype {
        Dtype::F32 => value.to_le_bytes().to_vec(),
        Dtype::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::I32 => (value as i32).to_le_bytes().to_vec(),
        _ => panic!("{dtype}"),
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.values.iter().flat_map(|&v| encode(v)).collect()).collect();
    let entries: Vec<_> = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, bytes)| (t.name.clone(), dtype, t.shape.clone(), bytes.as_slice()))
        .collect();
    let mut file = Vec::new();
    lmgc_tensors::safetensors::write_to(&mut file, &entries, &BTreeMap::new()).unwrap();
    file
}

/// A model with its output layer.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) output: OutputLayer,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, model: Model) -> Self {
        let output = OutputLayer::full(&model);
        Self { name: name.into(), model, output }
    }

    /// A hash of each row's logits, feeding `tokens` in pieces of the given size.
    pub(crate) fn run(&self, kernels: Kernels, tokens: &[u32], piece: usize) -> Vec<blake3::Hash> {
        let mut engine = Engine::new(&self.model, &self.output, kernels, 1, tokens.len());
        let each = |_: usize, logits: &[f32]| hash_of_bits(logits);
        let pieces = tokens.chunks(piece).map(|tokens| [Segment { sequence: 0, tokens }]);
        pieces.flat_map(|batch| engine.forward_each(&batch, each).unwrap()).collect()
    }

    /// Many sequences side by side: each time a random few of them get the next tokens of theirs, up to `max_piece` each,
    /// and every other time by `forward` instead of `forward_each`. Returns the hashes of each sequence's rows.
    pub(crate) fn lockstep(
        &self,
        kernels: Kernels,
        sequences: &[Vec<u32>],
        max_piece: usize,
        seed: u64,
    ) -> Vec<Vec<blake3::Hash>> {
        let capacity = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut engine = Engine::new(&self.model, &self.output, kernels, sequences.len(), capacity);
        let mut random = Random::new(seed);
        let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
        let mut found = vec![Vec::new(); sequences.len()];
        for step in 0.. {
            let mut batch = Vec::new();
            for (sequence, tokens) in sequences.iter().enumerate() {
                let rest = &tokens[engine.n_tokens(sequence)..];
                // Everyone begins in the first step; after that some pause.
                if !rest.is_empty() && (step == 0 || below(4) > 0) {
                    let n = (1 + below(max_piece)).min(rest.len());
                    batch.push(Segment { sequence, tokens: &rest[..n] });
                }
            }
            if (0..sequences.len()).all(|sequence| engine.n_tokens(sequence) == sequences[sequence].len()) {
                return found;
            }
            let hashes: Vec<blake3::Hash> = match step % 2 {
                0 => engine.forward_each(&batch, |_, logits| hash_of_bits(logits)).unwrap(),
                _ => {
                    let logits = engine.forward(&batch).unwrap();
                    logits.chunks_exact(self.output.n_symbols()).map(hash_of_bits).collect()
                }
            };
            let mut hashes = hashes.into_iter();
            for segment in &batch {
                found[segment.sequence].extend(hashes.by_ref().take(segment.tokens.len()));
            }
            assert!(hashes.next().is_none(), "one row a token");
        }
        unreachable!("sequences end")
    }
}

/// BLAKE3 over `to_bits()`.
pub(crate) fn hash_of_bits(logits: &[f32]) -> blake3::Hash {
    let mut bytes = vec![0; 4 * logits.len()];
    for (bytes, logit) in bytes.as_chunks_mut().0.iter_mut().zip(logits) {
        *bytes = logit.to_bits().to_le_bytes();
    }
    blake3::hash(&bytes)
}

/// A rayon pool.
pub(crate) fn pool(n_threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap()
}

/// Says where two lists of rows differ first.
pub(crate) fn assert_same(found: &[blake3::Hash], expected: &[blake3::Hash], what: std::fmt::Arguments<'_>) {
    assert_eq!(found.len(), expected.len(), "{what}: number of rows");
    if let Some(row) = (0..found.len()).find(|&row| found[row] != expected[row]) {
        panic!("{what}: row {row} of {} is the first that differs", found.len());
    }
}
