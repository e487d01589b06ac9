//! The families: which tensors a layer has, what sources call them, and how they become canonical weights.

use lmgc_kernels::{AttentionShape, QuantMatrix};

use crate::named_tensors::{NamedTensors, Rows};
use crate::{Error, FeedForward, LayerWeights, LinearWeights, ModelConfig, NormKind, NormWeights, Positions};

/// A model family: those whose tensors have the same names and the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Llama and Mistral.
    Llama,
    Qwen2,
    Qwen3,
    Gpt2,
}

/// Whether a linear layer has a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bias {
    Required,
    /// A bias in the file is then left over, which is refused.
    None,
    /// As the file has it.
    AsFound,
}

/// The biases that a source's configuration asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Biases {
    pub(crate) qkv: Bias,
    pub(crate) attention_out: Bias,
    pub(crate) feed_forward: Bias,
}

/// What a source calls its tensors, without `.weight` and `.bias`. Names of layers stand behind [`Names::layer`].
pub(crate) struct Names {
    pub(crate) embedding: &'static str,
    pub(crate) positions: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) output: &'static str,
    /// What stands before a layer's number and a dot.
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) qkv: QkvNames,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) attention_out: &'static str,
    pub(crate) ffn_norm: &'static str,
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

/// The projections to queries, keys and values: one tensor each, or one for all, in this order.
pub(crate) enum QkvNames {
    Apart([&'static str; 3]),
    Fused(&'static str),
}

/// GGUF's names (llama.cpp's `gguf-py/gguf/constants.py`); GPT-2's projections are fused.
pub(crate) const GGUF_NAMES: Names = Names {
    embedding: "token_embd",
    positions: "position_embd",
    final_norm: "output_norm",
    output: "output",
    layers: "blk.",
    attention_norm: "attn_norm",
    qkv: QkvNames::Apart(["attn_q", "attn_k", "attn_v"]),
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    attention_out: "attn_output",
    ffn_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
};

pub(crate) const GGUF_GPT2_NAMES: Names = Names { qkv: QkvNames::Fused("attn_qkv"), ..GGUF_NAMES };

/// Hugging Face's names of Llama-like models, without the leading `model.`.
pub(crate) const LLAMA_NAMES: Names = Names {
    embedding: "embed_tokens",
    positions: "",
    final_norm: "norm",
    output: "lm_head",
    layers: "layers.",
    attention_norm: "input_layernorm",
    qkv: QkvNames::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    attention_out: "self_attn.o_proj",
    ffn_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
};

/// Hugging Face's names of GPT-2, without the leading `transformer.`.
pub(crate) const GPT2_NAMES: Names = Names {
    embedding: "wte",
    positions: "wpe",
    final_norm: "ln_f",
    output: "lm_head",
    layers: "h.",
    attention_norm: "ln_1",
    qkv: QkvNames::Fused("attn.c_attn"),
    q_norm: "",
    k_norm: "",
    attention_out: "attn.c_proj",
    ffn_norm: "ln_2",
    gate: "",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
};

/// Weights in canonical form, asked for in the order of [`crate::ModelBuilder`].
pub(crate) trait WeightSource {
    fn embedding(&mut self) -> Result<QuantMatrix, Error>;
    fn positions(&mut self) -> Result<Option<Vec<f32>>, Error>;
    fn layer(&mut self, i: usize) -> Result<LayerWeights, Error>;
    fn final_norm(&mut self) -> Result<NormWeights, Error>;
    fn output(&mut self) -> Result<Option<QuantMatrix>, Error>;
    /// Checks that nothing is left.
    fn finish(&mut self) -> Result<(), Error>;
}

/// Named tensors of one family, read as weights.
pub(crate) struct FamilyWeights<'t, 'a> {
    pub(crate) family: Family,
    pub(crate) config: &'t ModelConfig,
    pub(crate) tensors: NamedTensors<'a>,
    pub(crate) names: &'static Names,
    pub(crate) biases: Biases,
    /// Matrices of layers are `[inputs, outputs]` (GPT-2's `Conv1D`).
    pub(crate) is_transposed: bool,
    /// Rows of q and k have the two values of a rotary pair side by side (llama.cpp's order for architecture llama).
    pub(crate) has_adjacent_pairs: bool,
    /// Whether the output layer is the embedding; `None` where the file decides.
    pub(crate) is_tied: Option<bool>,
    /// Tensors that mean nothing.
    pub(crate) is_harmless: fn(&str) -> bool,
}

/// A linear layer within a source's tensor.
struct Part<'f> {
    name: &'f str,
    bias: Bias,
    n_outputs: usize,
    n_inputs: usize,
    /// Outputs of the whole tensor.
    n_source: usize,
    source_of: &'f (dyn Fn(usize) -> usize + Sync),
}

impl FamilyWeights<'_, '_> {
    fn name(&self, i: usize, part: &str) -> String {
        format!("{}{i}.{part}", self.names.layers)
    }

    fn norm(&mut self, name: &str) -> Result<NormWeights, Error> {
        let d = self.config.d_model;
        let weight = self.tensors.vector(&format!("{name}.weight"), d)?;
        let bias = match self.config.norm.kind {
            NormKind::Layer => Some(self.tensors.vector(&format!("{name}.bias"), d)?),
            NormKind::Rms => None,
        };
        Ok(NormWeights { weight, bias })
    }

    fn head_norm(&mut self, i: usize, part: &str) -> Result<Option<Vec<f32>>, Error> {
        if self.family != Family::Qwen3 {
            return Ok(None);
        }
        let name = format!("{}.weight", self.name(i, part));
        self.tensors.vector(&name, self.config.attention.head_dim).map(Some)
    }

    fn part(&mut self, part: &Part<'_>) -> Result<LinearWeights, Error> {
        let Part { name, bias, n_outputs, n_inputs, n_source, source_of } = *part;
        let rows = Rows { n_source, n: n_outputs, source_of, is_transposed: self.is_transposed };
        let matrix = self.tensors.matrix(&format!("{name}.weight"), &rows, n_inputs)?;
        let bias_name = format!("{name}.bias");
        let has_bias = match bias {
            Bias::Required => true,
            Bias::None => false,
            Bias::AsFound => self.tensors.get(&bias_name).is_some(),
        };
        let bias = match has_bias {
            true => {
                let whole = self.tensors.vector(&bias_name, n_source)?;
                Some((0..n_outputs).filter_map(|row| whole.get(source_of(row)).copied()).collect())
            }
            false => None,
        };
        Ok(LinearWeights { matrix, bias })
    }

    fn linear(&mut self, name: &str, bias: Bias, [n_outputs, n_inputs]: [usize; 2]) -> Result<LinearWeights, Error> {
        self.part(&Part { name, bias, n_outputs, n_inputs, n_source: n_outputs, source_of: &|row| row })
    }

    /// Query, key or value projection: number `which` of the three.
    fn projection(&mut self, i: usize, which: usize) -> Result<LinearWeights, Error> {
        let AttentionShape { head_dim, .. } = self.config.attention;
        let (q_len, kv_len) = (self.config.attention.q_len(), self.config.attention.kv_len());
        let (n_inputs, bias) = (self.config.d_model, self.biases.qkv);
        let n_outputs = if which == 0 { q_len } else { kv_len };
        let half = head_dim / 2;
        let is_permuted = self.has_adjacent_pairs && which < 2;
        let in_head = move |row: usize| match is_permuted {
            true => row / head_dim * head_dim + row % head_dim % half * 2 + row % head_dim / half,
            false => row,
        };
        match &self.names.qkv {
            QkvNames::Apart(names) => {
                let name = self.name(i, names[which]);
                self.part(&Part { name: &name, bias, n_outputs, n_inputs, n_source: n_outputs, source_of: &in_head })
            }
            QkvNames::Fused(name) => {
                let name = self.name(i, name);
                let first = [0, q_len, q_len + kv_len][which];
                let source_of = move |row| first + row;
                let n_source = q_len + 2 * kv_len;
                self.part(&Part { name: &name, bias, n_outputs, n_inputs, n_source, source_of: &source_of })
            }
        }
    }

    fn vocabulary_matrix(&mut self, name: &str) -> Result<QuantMatrix, Error> {
        let n = self.config.vocab_size;
        let rows = Rows { n_source: n, n, source_of: &|row| row, is_transposed: false };
        self.tensors.matrix(name, &rows, self.config.d_model)
    }
}

impl WeightSource for FamilyWeights<'_, '_> {
    fn embedding(&mut self) -> Result<QuantMatrix, Error> {
        self.vocabulary_matrix(&format!("{}.weight", self.names.embedding))
    }

    fn positions(&mut self) -> Result<Option<Vec<f32>>, Error> {
        match self.config.positions {
            Positions::Rope { .. } => Ok(None),
            Positions::Learned => {
                let shape = [self.config.max_positions, self.config.d_model];
                self.tensors.floats(&format!("{}.weight", self.names.positions), &shape).map(Some)
            }
        }
    }

    fn layer(&mut self, i: usize) -> Result<LayerWeights, Error> {
        let (names, config, biases) = (self.names, self.config, self.biases);
        let (d, d_ffn) = (config.d_model, config.d_ffn);
        let name = |part: &str| format!("{}{i}.{part}", names.layers);
        Ok(LayerWeights {
            attention_norm: self.norm(&name(names.attention_norm))?,
            q: self.projection(i, 0)?,
            k: self.projection(i, 1)?,
            v: self.projection(i, 2)?,
            q_norm: self.head_norm(i, names.q_norm)?,
            k_norm: self.head_norm(i, names.k_norm)?,
            attention_out: self.linear(
                &name(names.attention_out),
                biases.attention_out,
                [d, config.attention.q_len()],
            )?,
            ffn_norm: self.norm(&name(names.ffn_norm))?,
            gate: match config.feed_forward {
                FeedForward::SwiGlu => Some(self.linear(&name(names.gate), biases.feed_forward, [d_ffn, d])?),
                FeedForward::Gelu => None,
            },
            up: self.linear(&name(names.up), biases.feed_forward, [d_ffn, d])?,
            down: self.linear(&name(names.down), biases.feed_forward, [d, d_ffn])?,
        })
    }

    fn final_norm(&mut self) -> Result<NormWeights, Error> {
        self.norm(self.names.final_norm)
    }

    /// A copy of the embedding counts as the embedding, so that files with and without it give one fingerprint.
    fn output(&mut self) -> Result<Option<QuantMatrix>, Error> {
        let name = format!("{}.weight", self.names.output);
        let is_own = match self.is_tied {
            Some(is_tied) => !is_tied,
            None => self.tensors.get(&name).is_some(),
        };
        let output = if is_own { Some(self.vocabulary_matrix(&name)?) } else { None };
        let is_copy = self.tensors.are_same(&name, &format!("{}.weight", self.names.embedding));
        Ok(output.filter(|_| !is_copy))
    }

    fn finish(&mut self) -> Result<(), Error> {
        let family = match self.family {
            Family::Llama => "Llama",
            Family::Qwen2 => "Qwen 2",
            Family::Qwen3 => "Qwen 3",
            Family::Gpt2 => "GPT-2",
        };
        let output = format!("{}.weight", self.names.output);
        let is_tied = self.is_tied == Some(true);
        self.tensors.finish(family, |name| (self.is_harmless)(name) || is_tied && name == output)
    }
}
