//! Loading a Llama-like model from a GGUF file.
//!
//! llama.cpp's converter reorders the rows of the query and key projections so that rotary pairs lie side by side; here
//! they are put back into Hugging Face's order (pairs half a head apart), so that both sources give one fingerprint.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use lmgc_kernels::{AttentionShape, QuantMatrix};
use lmgc_tensors::gguf::{GgufFile, GgufTensor, Value};
use rayon::prelude::*;

use crate::dequantise::dequantise;
use crate::{Error, LayerWeights, ModelConfig, Model, Weights};

impl Model {
    /// Loads a model from a GGUF file of architecture `llama`, reading weights from `path`, whose header is `gguf`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Config`] or [`Error::Tensor`], saying what is wrong with the file.
    pub fn from_gguf(path: &Path, gguf: &GgufFile) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_gguf_reader(&mut BufReader::new(file), gguf).map_err(|error| match error {
            Error::Read(source) => Error::Io { path: path.to_owned(), source },
            other => other,
        })
    }

    /// As [`Model::from_gguf`], from any reader.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Config`] or [`Error::Tensor`], saying what is wrong with the file.
    pub fn from_gguf_reader<R: Read + Seek>(reader: &mut R, gguf: &GgufFile) -> Result<Self, Error> {
        let config = read_config(gguf)?;
        config.validate()?;
        let mut loader = Loader { reader, gguf, n_read: 0 };
        let (d, d_ffn, vocab) = (config.d_model, config.d_ffn, config.vocab_size);
        let AttentionShape { n_heads, n_kv_heads, head_dim } = config.attention;
        let (q_len, kv_len) = (config.attention.q_len(), config.attention.kv_len());
        let embedding = loader.matrix("token_embd.weight", [vocab, d])?;
        let mut layers = Vec::new();
        for i in 0..config.n_layers {
            let name = |part: &str| format!("blk.{i}.{part}.weight");
            layers.push(LayerWeights {
                attention_norm: loader.vector(&name("attn_norm"), d)?,
                q: pairs_half_apart(&loader.matrix(&name("attn_q"), [q_len, d])?, n_heads, head_dim),
                k: pairs_half_apart(&loader.matrix(&name("attn_k"), [kv_len, d])?, n_kv_heads, head_dim),
                v: loader.matrix(&name("attn_v"), [kv_len, d])?,
                attention_out: loader.matrix(&name("attn_output"), [d, q_len])?,
                ffn_norm: loader.vector(&name("ffn_norm"), d)?,
                gate: loader.matrix(&name("ffn_gate"), [d_ffn, d])?,
                up: loader.matrix(&name("ffn_up"), [d_ffn, d])?,
                down: loader.matrix(&name("ffn_down"), [d, d_ffn])?,
            });
        }
        let final_norm = loader.vector("output_norm.weight", d)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => Some(loader.matrix("output.weight", [vocab, d])?),
            None => None,
        };
        if loader.n_read != gguf.tensors.len() {
            return Err(left_over(&config, gguf));
        }
        Self::new(config, Weights { embedding, layers, final_norm, output })
    }
}

fn read_config(gguf: &GgufFile) -> Result<ModelConfig, Error> {
    let missing = |field: &str, problem: &str| Error::Config { field: field.to_owned(), problem: problem.to_owned() };
    let text = |key: &str| gguf.metadata.get(key).and_then(Value::as_str);
    let architecture = text("general.architecture").ok_or_else(|| missing("general.architecture", "is missing"))?;
    if architecture != "llama" {
        let problem = format!("is '{architecture}'; this version runs models of architecture llama");
        return Err(Error::Config { field: "general.architecture".to_owned(), problem });
    }
    for key in ["llama.rope.scaling.type", "llama.expert_count", "rope_freqs.weight"] {
        let set = match gguf.metadata.get(key) {
            Some(value) => value.as_str() != Some("none") && value.as_u64() != Some(0),
            None => gguf.tensor(key).is_some(),
        };
        if set {
            return Err(missing(key, "is set: RoPE scaling and mixtures of experts are not supported"));
        }
    }
    let optional = |key: &str| -> Result<Option<usize>, Error> {
        let key = format!("llama.{key}");
        let Some(value) = gguf.metadata.get(&key) else { return Ok(None) };
        let size = value.as_u64().and_then(|v| usize::try_from(v).ok());
        size.map(Some).ok_or_else(|| missing(&key, "is no non-negative integer"))
    };
    let required = |key: &str| optional(key)?.ok_or_else(|| missing(&format!("llama.{key}"), "is missing"));
    let float = |key: &str, default: Option<f32>| -> Result<f32, Error> {
        let key = format!("llama.{key}");
        match gguf.metadata.get(&key) {
            Some(value) => value.as_f64().map(|v| v as f32).ok_or_else(|| missing(&key, "is no number")),
            None => default.ok_or_else(|| missing(&key, "is missing")),
        }
    };
    let d_model = required("embedding_length")?;
    let n_heads = required("attention.head_count")?;
    let head_dim = match optional("attention.key_length")?.or(optional("rope.dimension_count")?) {
        Some(head_dim) => head_dim,
        None => d_model.checked_div(n_heads).unwrap_or(0),
    };
    let vocab_size = match gguf.tensor("token_embd.weight").map(|tensor| tensor.dims.as_slice()) {
        Some(&[_, vocab_size]) => usize::try_from(vocab_size).unwrap_or(usize::MAX),
        _ => return Err(missing("token_embd.weight", "is missing or no matrix")),
    };
    if let Some(rotated) = optional("rope.dimension_count")?.filter(|&rotated| rotated != head_dim) {
        let problem = format!("is {rotated}; only whole heads of {head_dim} can be rotated");
        return Err(Error::Config { field: "llama.rope.dimension_count".to_owned(), problem });
    }
    Ok(ModelConfig {
        n_layers: required("block_count")?,
        d_model,
        attention: AttentionShape {
            n_heads,
            n_kv_heads: optional("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
        },
        d_ffn: required("feed_forward_length")?,
        vocab_size,
        max_positions: required("context_length")?,
        rope_theta: float("rope.freq_base", Some(10_000.0))?,
        rms_eps: float("attention.layer_norm_rms_epsilon", None)?,
    })
}

/// Within each head: rows 0, 2, 4, ... and then 1, 3, 5, ...
fn pairs_half_apart(matrix: &QuantMatrix, n_heads: usize, head_dim: usize) -> QuantMatrix {
    matrix.select_rows((0..n_heads).flat_map(|head| {
        (0..head_dim).map(move |i| {
            let half = head_dim / 2;
            head * head_dim + i % half * 2 + i / half
        })
    }))
}

struct Loader<'a, R> {
    reader: &'a mut R,
    gguf: &'a GgufFile,
    n_read: usize,
}

/// The error for a tensor that this architecture does not use: the model would run, but give other probabilities.
fn left_over(config: &ModelConfig, gguf: &GgufFile) -> Error {
    let parts =
        ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"];
    let layers = (0..config.n_layers).flat_map(|i| parts.map(|part| format!("blk.{i}.{part}.weight")));
    let known: HashSet<String> = ["token_embd.weight", "output_norm.weight", "output.weight"]
        .map(str::to_owned)
        .into_iter()
        .chain(layers)
        .collect();
    let name = gguf.tensors.iter().map(|tensor| &tensor.name).find(|&name| !known.contains(name));
    Error::Tensor {
        name: name.cloned().unwrap_or_default(),
        problem: "is not used by the architecture llama as run here: this model needs a newer lmgc".to_owned(),
    }
}

impl<R: Read + Seek> Loader<'_, R> {
    /// A tensor's bytes, after checking its dimensions (innermost first, as GGUF gives them).
    fn bytes(&mut self, name: &str, dims: &[usize]) -> Result<(&GgufTensor, Vec<u8>), Error> {
        let fail = |problem: String| Error::Tensor { name: name.to_owned(), problem };
        let tensor = self.gguf.tensor(name).ok_or_else(|| fail("is missing from the file".to_owned()))?;
        if !tensor.dims.iter().map(|&d| usize::try_from(d).ok()).eq(dims.iter().map(|&d| Some(d))) {
            let problem = format!("has dimensions {:?}; the configuration asks for {dims:?}", tensor.dims);
            return Err(fail(problem));
        }
        self.reader.seek(SeekFrom::Start(tensor.offset))?;
        let mut bytes = Vec::new();
        // The directory's lengths are checked against the file, which may have shrunk since.
        self.reader.by_ref().take(tensor.len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != tensor.len {
            return Err(fail(format!("ends after {} of {} bytes", bytes.len(), tensor.len)));
        }
        self.n_read += 1;
        Ok((tensor, bytes))
    }

    fn matrix(&mut self, name: &str, [rows, cols]: [usize; 2]) -> Result<QuantMatrix, Error> {
        let (tensor, bytes) = self.bytes(name, &[cols, rows])?;
        let row_bytes = bytes.len() / rows;
        // Groups of rows in parallel; the rule works on each row alone.
        let parts = bytes
            .par_chunks(row_bytes.max(1) * 64)
            .map(|group| {
                let mut part = QuantMatrix::empty(cols);
                let mut row = vec![0.0; cols];
                for bytes in group.chunks_exact(row_bytes) {
                    if !dequantise(tensor.ggml_type, bytes, &mut row) {
                        return None;
                    }
                    part.push_row(&row);
                }
                Some(part)
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| unreadable(tensor))?;
        Ok(QuantMatrix::empty(cols).stack(&parts.iter().collect::<Vec<_>>()))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        let (tensor, bytes) = self.bytes(name, &[len])?;
        let mut values = vec![0.0; len];
        if !dequantise(tensor.ggml_type, &bytes, &mut values) {
            return Err(unreadable(tensor));
        }
        Ok(values)
    }
}

fn unreadable(tensor: &GgufTensor) -> Error {
    let problem = format!(
        "has type {}; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 can be read: requantise the model",
        tensor.ggml_type
    );
    Error::Tensor { name: tensor.name.clone(), problem }
}
