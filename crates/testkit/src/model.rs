//! Tiny models of every family with random weights and a byte-level vocabulary.

use crate::bits::Random;
use crate::gguf::{GgufValue, GgufWriter};

/// The families, by GGUF's name of the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TinyFamily {
    /// `llama`.
    Llama,
    /// `qwen2`: biases of q, k and v.
    Qwen2,
    /// `qwen3`: norms of query and key heads.
    Qwen3,
    /// `gpt2`: layer norms, learned positions, biases everywhere, GELU.
    Gpt2,
}

impl TinyFamily {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gpt2];

    /// GGUF's name of the architecture.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gpt2 => "gpt2",
        }
    }
}

/// Sizes of a tiny model; the weights follow from the seed.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Family.
    pub family: TinyFamily,
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
    /// Width of the residual stream; `None` for `n_heads * head_dim`.
    pub d_model: Option<u32>,
    /// Feed-forward width.
    pub d_ffn: u32,
    /// Context length.
    pub max_positions: u32,
    /// Whether the output layer is the embedding.
    pub tied: bool,
    /// Biases in all linear layers of a Llama; other families have those that they always have.
    pub biases: bool,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            family: TinyFamily::Llama,
            seed: 1,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            d_model: None,
            d_ffn: 96,
            max_positions: 2048,
            tied: true,
            biases: false,
        }
    }
}

/// A tensor of a tiny model.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyTensor {
    /// GGUF's name.
    pub name: String,
    /// Elements along each dimension, innermost first.
    pub dims: Vec<u64>,
    /// The values; rotary pairs of q and k lie side by side in a Llama, half a head apart in the others.
    pub values: Vec<f32>,
}

/// Tokens before the byte tokens, as SmolLM2 has them.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Bytes that SmolLM2's vocabulary lacks.
const LOST: [u8; 6] = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1d];

impl TinyModel {
    /// A model of a family, with as many key heads as query heads where the family has no others, and a width of its own
    /// where heads need not fill it.
    pub fn of(family: TinyFamily) -> Self {
        let default = Self { family, ..Self::default() };
        match family {
            TinyFamily::Llama | TinyFamily::Qwen2 => default,
            TinyFamily::Qwen3 => Self { d_model: Some(48), ..default },
            TinyFamily::Gpt2 => Self { n_kv_heads: default.n_heads, ..default },
        }
    }

    /// Width of the residual stream.
    pub fn d_model(&self) -> u32 {
        self.d_model.unwrap_or(self.n_heads * self.head_dim)
    }

    /// Number of token ids.
    pub fn vocab_size(&self) -> u32 {
        Self::vocabulary().0.len() as u32
    }

    /// The vocabulary: special tokens, one token a byte (but those that SmolLM2 lacks), some merges.
    fn vocabulary() -> (Vec<String>, Vec<String>) {
        let mut tokens: Vec<String> = SPECIAL.iter().map(|&s| s.to_owned()).collect();
        tokens.extend((0..=255).filter(|b| !LOST.contains(b)).map(|b| byte_char(b).to_string()));
        let merges = [("Ġ", "f"), ("a", "b"), ("f", "f"), ("Ġ", "a"), ("Ġa", "b"), ("b", "e"), ("be", "e"), ("Ġ", "Ġ")];
        tokens.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
        (tokens, merges.iter().map(|(a, b)| format!("{a} {b}")).collect())
    }

    /// The tensors, in the file's order.
    pub fn tensors(&self) -> Vec<TinyTensor> {
        let d = u64::from(self.d_model());
        let (q, kv) = (u64::from(self.n_heads * self.head_dim), u64::from(self.n_kv_heads * self.head_dim));
        let (ffn, vocab_size) = (u64::from(self.d_ffn), u64::from(self.vocab_size()));
        let family = self.family;
        let is_gpt2 = family == TinyFamily::Gpt2;
        let has_biases = is_gpt2 || self.biases && family == TinyFamily::Llama;
        let mut maker = Maker { random: Random::new(self.seed), tensors: Vec::new() };
        maker.matrix("token_embd", d, vocab_size, false);
        if is_gpt2 {
            maker.matrix("position_embd", d, u64::from(self.max_positions), false);
        }
        for i in 0..self.n_layers {
            let name = |part: &str| format!("blk.{i}.{part}");
            if is_gpt2 {
                maker.matrix(&name("attn_qkv"), d, q + 2 * kv, true);
            } else {
                let is_biased = has_biases || family == TinyFamily::Qwen2;
                maker.matrix(&name("attn_q"), d, q, is_biased);
                maker.matrix(&name("attn_k"), d, kv, is_biased);
                maker.matrix(&name("attn_v"), d, kv, is_biased);
            }
            if family == TinyFamily::Qwen3 {
                maker.norm(&name("attn_q_norm"), u64::from(self.head_dim), false);
                maker.norm(&name("attn_k_norm"), u64::from(self.head_dim), false);
            }
            maker.matrix(&name("attn_output"), q, d, has_biases);
            if !is_gpt2 {
                maker.matrix(&name("ffn_gate"), d, ffn, has_biases);
            }
            maker.matrix(&name("ffn_up"), d, ffn, has_biases);
            maker.matrix(&name("ffn_down"), ffn, d, has_biases);
            maker.norm(&name("attn_norm"), d, is_gpt2);
            maker.norm(&name("ffn_norm"), d, is_gpt2);
        }
        maker.push("output_norm.weight".to_owned(), &[d], vec![1.0; d as usize]);
        if is_gpt2 {
            maker.bias("output_norm", d);
        }
        if !self.tied {
            maker.matrix("output", d, vocab_size, false);
        }
        maker.tensors
    }

    /// The model as a GGUF file with a `smollm` vocabulary.
    pub fn to_gguf(&self) -> Vec<u8> {
        self.to_writer().to_bytes()
    }

    /// The writer of that file, for more metadata and tensors.
    pub fn to_writer(&self) -> GgufWriter {
        let (tokens, merges) = Self::vocabulary();
        let mut file = GgufWriter::default();
        let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
        let architecture = self.family.architecture();
        let key = |key: &str| format!("{architecture}.{key}");
        file.value("general.architecture", GgufValue::Text(architecture.into()))
            .value(&key("block_count"), GgufValue::U32(self.n_layers))
            .value(&key("context_length"), GgufValue::U32(self.max_positions))
            .value(&key("embedding_length"), GgufValue::U32(self.d_model()))
            .value(&key("feed_forward_length"), GgufValue::U32(self.d_ffn))
            .value(&key("attention.head_count"), GgufValue::U32(self.n_heads));
        if self.family == TinyFamily::Gpt2 {
            file.value(&key("attention.layer_norm_epsilon"), GgufValue::F32(1e-5));
        } else {
            file.value(&key("attention.head_count_kv"), GgufValue::U32(self.n_kv_heads))
                .value(&key("attention.layer_norm_rms_epsilon"), GgufValue::F32(1e-5))
                .value(&key("rope.dimension_count"), GgufValue::U32(self.head_dim))
                .value(&key("rope.freq_base"), GgufValue::F32(10_000.0));
        }
        file.value("tokenizer.ggml.model", GgufValue::Text("gpt2".into()))
            .value("tokenizer.ggml.pre", GgufValue::Text("smollm".into()))
            .value("tokenizer.ggml.tokens", GgufValue::Texts(tokens))
            .value("tokenizer.ggml.merges", GgufValue::Texts(merges))
            .value("tokenizer.ggml.token_type", GgufValue::I32s(types))
            .value("tokenizer.ggml.bos_token_id", GgufValue::U32(1))
            .value("tokenizer.ggml.eos_token_id", GgufValue::U32(2));
        for tensor in self.tensors() {
            file.tensor(&tensor.name, &tensor.dims, tensor.values);
        }
        file
    }
}

struct Maker {
    random: Random,
    tensors: Vec<TinyTensor>,
}

impl Maker {
    fn push(&mut self, name: String, dims: &[u64], values: Vec<f32>) {
        self.tensors.push(TinyTensor { name, dims: dims.to_vec(), values });
    }

    fn matrix(&mut self, name: &str, n_in: u64, n_out: u64, has_bias: bool) {
        // Large enough weights that the distributions are far from uniform.
        let scale = 2.0 / (n_in as f32).sqrt();
        let values = (0..n_in * n_out).map(|_| self.random.next_normal() * scale).collect();
        self.push(format!("{name}.weight"), &[n_in, n_out], values);
        if has_bias {
            self.bias(name, n_out);
        }
    }

    fn norm(&mut self, name: &str, width: u64, has_bias: bool) {
        let values = (0..width).map(|j| 1.0 + (j % 5) as f32 / 16.0).collect();
        self.push(format!("{name}.weight"), &[width], values);
        if has_bias {
            self.bias(name, width);
        }
    }

    fn bias(&mut self, name: &str, len: u64) {
        let values = (0..len).map(|_| self.random.next_normal() * 0.25).collect();
        self.push(format!("{name}.bias"), &[len], values);
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
