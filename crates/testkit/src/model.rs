//! Tiny Llama-like models with random weights and a byte-level vocabulary.

use crate::bits::Random;
use crate::gguf::{GgufValue, GgufWriter};

/// Sizes of a tiny model; the weights follow from the seed.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Seed of the weights.
    pub seed: u64,
    /// Number of layers.
    pub n_layers: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Values a head.
    pub head_dim: u32,
    /// Feed-forward width.
    pub d_ffn: u32,
    /// Context length.
    pub max_positions: u32,
    /// Whether the output layer is the embedding.
    pub tied: bool,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            seed: 1,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            d_ffn: 96,
            max_positions: 2048,
            tied: true,
        }
    }
}

/// Tokens before the byte tokens, as SmolLM2 has them.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Bytes that SmolLM2's vocabulary lacks.
const LOST: [u8; 6] = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d];

impl TinyModel {
    /// The vocabulary: special tokens, one token a byte (but those that SmolLM2 lacks), some merges.
    fn vocabulary() -> (Vec<String>, Vec<String>) {
        let mut tokens: Vec<String> = SPECIAL.iter().map(|&s| s.to_owned()).collect();
        tokens.extend((0..=255).filter(|b| !LOST.contains(b)).map(|b| byte_char(b).to_string()));
        let merges = [("Ġ", "f"), ("a", "b"), ("f", "f"), ("Ġ", "a"), ("Ġa", "b"), ("b", "e"), ("be", "e"), ("Ġ", "Ġ")];
        tokens.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
        (tokens, merges.iter().map(|(a, b)| format!("{a} {b}")).collect())
    }

    /// The model as a GGUF file of architecture `llama` with a `smollm` vocabulary.
    pub fn to_gguf(&self) -> Vec<u8> {
        let (tokens, merges) = Self::vocabulary();
        let vocab_size = tokens.len() as u64;
        let d = u64::from(self.n_heads * self.head_dim);
        let kv = u64::from(self.n_kv_heads * self.head_dim);
        let ffn = u64::from(self.d_ffn);
        let mut file = GgufWriter::default();
        let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
        file.value("general.architecture", GgufValue::Text("llama".into()))
            .value("llama.block_count", GgufValue::U32(self.n_layers))
            .value("llama.context_length", GgufValue::U32(self.max_positions))
            .value("llama.embedding_length", GgufValue::U32(d as u32))
            .value("llama.feed_forward_length", GgufValue::U32(self.d_ffn))
            .value("llama.attention.head_count", GgufValue::U32(self.n_heads))
            .value("llama.attention.head_count_kv", GgufValue::U32(self.n_kv_heads))
            .value("llama.attention.layer_norm_rms_epsilon", GgufValue::F32(1e-5))
            .value("llama.rope.dimension_count", GgufValue::U32(self.head_dim))
            .value("llama.rope.freq_base", GgufValue::F32(10_000.0))
            .value("tokenizer.ggml.model", GgufValue::Text("gpt2".into()))
            .value("tokenizer.ggml.pre", GgufValue::Text("smollm".into()))
            .value("tokenizer.ggml.tokens", GgufValue::Texts(tokens))
            .value("tokenizer.ggml.merges", GgufValue::Texts(merges))
            .value("tokenizer.ggml.token_type", GgufValue::I32s(types))
            .value("tokenizer.ggml.bos_token_id", GgufValue::U32(1))
            .value("tokenizer.ggml.eos_token_id", GgufValue::U32(2));

        let mut random = Random::new(self.seed);
        // Large enough weights that the distributions are far from uniform.
        let mut normal = |n: u64, scale: f32| (0..n).map(|_| random.next_normal() * scale).collect::<Vec<_>>();
        let mut matrix = |file: &mut GgufWriter, name: &str, n_in: u64, n_out: u64| {
            let values = normal(n_in * n_out, 2.0 / (n_in as f32).sqrt());
            file.tensor(name, &[n_in, n_out], values);
        };
        matrix(&mut file, "token_embd.weight", d, vocab_size);
        for i in 0..self.n_layers {
            let name = |part: &str| format!("blk.{i}.{part}.weight");
            matrix(&mut file, &name("attn_q"), d, d);
            matrix(&mut file, &name("attn_k"), d, kv);
            matrix(&mut file, &name("attn_v"), d, kv);
            matrix(&mut file, &name("attn_output"), d, d);
            matrix(&mut file, &name("ffn_gate"), d, ffn);
            matrix(&mut file, &name("ffn_up"), d, ffn);
            matrix(&mut file, &name("ffn_down"), ffn, d);
            for norm in ["attn_norm", "ffn_norm"] {
                let values = (0..d).map(|j| 1.0 + (j % 5) as f32 / 16.0).collect();
                file.tensor(&name(norm), &[d], values);
            }
        }
        file.tensor("output_norm.weight", &[d], vec![1.0; d as usize]);
        if !self.tied {
            matrix(&mut file, "output.weight", d, vocab_size);
        }
        file.to_bytes()
    }
}

/// GPT-2's printable stand-in for a byte: itself where printable in Latin-1, else the next free one from U+0100 on.
fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or('?')
}
