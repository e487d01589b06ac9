//! Golden logits: does this machine compute what every other one does?
//!
//! A tiny model of each family, made by formula, runs a fixed sequence of tokens. The BLAKE3 hash of its logits must be
//! the one that was frozen with the numerics revision. No file is needed.

use std::fmt;

use lmgc_kernels::{AttentionShape, Kernels, QuantMatrix, RopeScaling};

use crate::{
    Engine, Error, FeedForward, LayerWeights, LinearWeights, Model, ModelBuilder, ModelConfig, Norm, NormKind,
    NormWeights, OutputLayer, Positions, Segment,
};

/// The numerics revision that the hashes belong to: [`lmgc_kernels::NUMERICS_REVISION`] when they were frozen.
pub const FROZEN_REVISION: u32 = 3;

/// Name of each check and the hash that it must find.
const FROZEN: [(&str, &str); 7] = [
    ("llama", "b44868cada1a22f1ff283f5671300d4597637395e4b17aeb857b15d951b64185"),
    ("llama3-rope", "b4a53f4d4a3252e6cdd5489be3568d9fc2263044e28a33bdfdfff695bebc2dd1"),
    ("mistral-window", "44262809f28f40958c22f758e3d7d9edea70531b73eb9607d5c943f08243c255"),
    ("qwen2", "f2b3258a497c324713f706785bb6f84d52731b79bcd6caf33ffdbbcee5e7775b"),
    ("qwen3", "c13858ed65b3b5b06778322dff572097fd53cc879e8e24f578d19166e1c06986"),
    ("gpt2", "cbad9da146c621040de9361d0a3fe85b10876fc3f814795d31c1f57596039199"),
    (INTEGER_WEIGHTS, "c25fcb02f9b0ff59c22c69fd26118c7c0b14adcf76ba274b8a1c917eb619e12b"),
];

/// The check of section 8 of `docs/determinism.md`, on the logits of one more Llama.
const INTEGER_WEIGHTS: &str = "integer-weights";

/// Tokens that each model is fed: first a wide batch, then a narrow one, which take different ways through the engine.
const PIECES: [usize; 2] = [72, 28];
/// No multiple of a tile or a block, as are other sizes here.
const VOCAB_SIZE: usize = 131;
const D_MODEL: usize = 72;
const D_FFN: usize = 116;
const N_LAYERS: usize = 2;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The model family, or what else is checked.
    pub name: &'static str,
    /// The frozen hash, in hexadecimal.
    pub expected: &'static str,
    /// The hash found, in hexadecimal.
    pub found: String,
}

impl Check {
    /// Whether it found what it must.
    pub fn is_passed(&self) -> bool {
        self.expected == self.found
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_passed() {
            true => write!(f, "{}: as frozen", self.name),
            false => write!(f, "{}: found {}, expected {}", self.name, self.found, self.expected),
        }
    }
}

/// Runs every check with one instruction set, on the current rayon pool.
///
/// # Errors
/// None but for a fault of this program: those of [`ModelBuilder`] and [`Engine::forward`].
pub fn golden(kernels: Kernels) -> Result<Vec<Check>, Error> {
    FROZEN
        .iter()
        .map(|&(name, expected)| {
            let logits = logits(name, kernels, |_, value| value)?;
            let found = match name {
                INTEGER_WEIGHTS => hash_of_weights(kernels, &logits),
                _ => hash(logits.iter().map(|logit| logit.to_bits())),
            };
            Ok(Check { name, expected, found })
        })
        .collect()
}

fn hash(words: impl Iterator<Item = u32>) -> String {
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    blake3::hash(&bytes).to_hex().to_string()
}

fn hash_of_weights(kernels: Kernels, logits: &[f32]) -> String {
    let mut all = vec![0; logits.len()];
    for (logits, weights) in logits.chunks(VOCAB_SIZE).zip(all.chunks_mut(VOCAB_SIZE)) {
        kernels.logit_weights(logits, weights);
    }
    hash(all.into_iter())
}

/// All logits of a check's model, whose i-th number is `change(i, number)`.
fn logits(name: &str, kernels: Kernels, change: impl Fn(usize, f32) -> f32) -> Result<Vec<f32>, Error> {
    let seed = name.bytes().fold(0u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut formula = Formula { state: seed, n_drawn: 0, change };
    let config = config(name);
    let model = formula.model(name, config)?;
    let output = OutputLayer::full(&model);
    let mut engine = Engine::new(&model, &output, kernels, 1, PIECES.iter().sum());
    let mut logits = Vec::new();
    for n in PIECES {
        let tokens: Vec<u32> = (0..n).map(|_| (formula.next_u64() % VOCAB_SIZE as u64) as u32).collect();
        logits.extend_from_slice(engine.forward(&[Segment { sequence: 0, tokens: &tokens }])?);
    }
    Ok(logits)
}

fn config(name: &str) -> ModelConfig {
    let rope = |theta, scaling| Positions::Rope { theta, scaling };
    let llama = ModelConfig {
        n_layers: N_LAYERS,
        d_model: D_MODEL,
        attention: AttentionShape { n_heads: 4, n_kv_heads: 2, head_dim: 18 },
        d_ffn: D_FFN,
        vocab_size: VOCAB_SIZE,
        max_positions: 128,
        norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
        positions: rope(10_000.0, RopeScaling::None),
        feed_forward: FeedForward::SwiGlu,
        sliding_window: None,
    };
    let attention = |n_heads, n_kv_heads, head_dim| AttentionShape { n_heads, n_kv_heads, head_dim };
    match name {
        "llama3-rope" => ModelConfig {
            attention: attention(3, 1, 32),
            positions: rope(
                500_000.0,
                // Of the pairs some stay, some are blended and some divided.
                RopeScaling::Llama3 {
                    factor: 8.0,
                    low_freq_factor: 1.0,
                    high_freq_factor: 4.0,
                    original_max_positions: 64,
                },
            ),
            ..llama
        },
        "mistral-window" => ModelConfig { sliding_window: Some(33), ..llama },
        "qwen2" => ModelConfig { positions: rope(1e6, RopeScaling::Linear { factor: 2.0 }), ..llama },
        "qwen3" => ModelConfig { attention: attention(4, 2, 40), ..llama },
        "gpt2" => ModelConfig {
            attention: attention(6, 6, 12),
            norm: Norm { kind: NormKind::Layer, eps: 1e-5 },
            positions: Positions::Learned,
            feed_forward: FeedForward::Gelu,
            ..llama
        },
        _ => llama,
    }
}

/// Numbers for weights and tokens: SplitMix64.
struct Formula<C> {
    state: u64,
    n_drawn: usize,
    change: C,
}

impl<C: Fn(usize, f32) -> f32> Formula<C> {
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `n` numbers around `middle`, less than `scale` away. Exact in f32 for the middles and scales used here.
    fn vector(&mut self, n: usize, middle: f32, scale: f32) -> Vec<f32> {
        (0..n)
            .map(|_| {
                let number = (self.next_u64() >> 48) as f32 / 32_768.0 - 1.0;
                self.n_drawn += 1;
                (self.change)(self.n_drawn - 1, middle + scale * number)
            })
            .collect()
    }

    fn matrix(&mut self, n_outputs: usize, n_inputs: usize) -> QuantMatrix {
        // Large enough that distributions are far from uniform.
        QuantMatrix::quantise(n_outputs, n_inputs, &self.vector(n_outputs * n_inputs, 0.0, 0.375))
    }

    fn linear(&mut self, n_outputs: usize, n_inputs: usize, has_bias: bool) -> LinearWeights {
        let matrix = self.matrix(n_outputs, n_inputs);
        LinearWeights { matrix, bias: has_bias.then(|| self.vector(n_outputs, 0.0, 0.25)) }
    }

    fn norm(&mut self, kind: NormKind) -> NormWeights {
        let weight = self.vector(D_MODEL, 1.0, 0.25);
        NormWeights { weight, bias: (kind == NormKind::Layer).then(|| self.vector(D_MODEL, 0.0, 0.25)) }
    }

    fn model(&mut self, name: &str, config: ModelConfig) -> Result<Model, Error> {
        let (is_gpt2, attention, kind) = (name == "gpt2", config.attention, config.norm.kind);
        let (q_len, kv_len) = (attention.q_len(), attention.kv_len());
        let embedding = self.matrix(VOCAB_SIZE, D_MODEL);
        let positions = is_gpt2.then(|| self.vector(config.max_positions * D_MODEL, 0.0, 0.25));
        let mut builder = ModelBuilder::new(config, embedding, positions)?;
        let has_qkv_bias = is_gpt2 || name == "qwen2";
        for _ in 0..N_LAYERS {
            builder.push_layer(LayerWeights {
                attention_norm: self.norm(kind),
                q: self.linear(q_len, D_MODEL, has_qkv_bias),
                k: self.linear(kv_len, D_MODEL, has_qkv_bias),
                v: self.linear(kv_len, D_MODEL, has_qkv_bias),
                q_norm: (name == "qwen3").then(|| self.vector(attention.head_dim, 1.0, 0.25)),
                k_norm: (name == "qwen3").then(|| self.vector(attention.head_dim, 1.0, 0.25)),
                attention_out: self.linear(D_MODEL, q_len, is_gpt2),
                ffn_norm: self.norm(kind),
                gate: (!is_gpt2).then(|| self.linear(D_FFN, D_MODEL, false)),
                up: self.linear(D_FFN, D_MODEL, is_gpt2),
                down: self.linear(D_MODEL, D_FFN, is_gpt2),
            })?;
        }
        let final_norm = self.norm(kind);
        // One family with an output matrix of its own.
        let output = (name == "mistral-window").then(|| self.matrix(VOCAB_SIZE, D_MODEL));
        builder.finish(final_norm, output)
    }
}

#[cfg(test)]
mod tests {
    use lmgc_kernels::NUMERICS_REVISION;

    use super::*;

    #[test]
    fn logits_are_those_that_were_frozen() {
        let mut is_frozen = FROZEN_REVISION == NUMERICS_REVISION;
        for kernels in Kernels::available() {
            let checks = golden(kernels).unwrap();
            for check in checks.iter().filter(|check| !check.is_passed()) {
                is_frozen = false;
                eprintln!("{} {check}", kernels.isa());
            }
        }
        // Ready to be pasted, where numerics were changed on purpose and the revision with them.
        let rows: Vec<String> = golden(Kernels::detect())
            .unwrap()
            .iter()
            .map(|check| match check.name {
                INTEGER_WEIGHTS => format!("    (INTEGER_WEIGHTS, \"{}\"),\n", check.found),
                name => format!("    (\"{name}\", \"{}\"),\n", check.found),
            })
            .collect();
        let constants = format!(
            "pub const FROZEN_REVISION: u32 = {NUMERICS_REVISION};\nconst FROZEN: [(&str, &str); {}] = [\n{}];",
            rows.len(),
            rows.concat()
        );
        assert!(is_frozen, "logits changed; constants for this revision:\n{constants}");
    }

    #[test]
    fn one_changed_number_changes_the_hash() {
        let bits = |logits: Vec<f32>| hash(logits.into_iter().map(f32::to_bits));
        let kernels = Kernels::detect();
        for (name, _) in FROZEN {
            let n_drawn = std::cell::Cell::new(0);
            let count = |i, value| {
                n_drawn.set(i + 1);
                value
            };
            let expected = bits(logits(name, kernels, count).unwrap());
            // Not the embedding, some of whose rows no token picks.
            let first = VOCAB_SIZE * D_MODEL;
            for part in 0..=16 {
                let at = first + part * (n_drawn.get() - 1 - first) / 16;
                let changed = logits(name, kernels, |i, value| if i == at { value + 0.25 } else { value }).unwrap();
                assert_ne!(bits(changed), expected, "{name}, number {at}");
            }
        }
    }

    #[test]
    fn logits_are_sane() {
        // Golden logits of a model that saturates or says nothing would prove little.
        for (name, _) in FROZEN {
            let logits = logits(name, Kernels::detect(), |_, value| value).unwrap();
            assert_eq!(logits.len(), PIECES.iter().sum::<usize>() * VOCAB_SIZE);
            let n = logits.len() as f32;
            let mean = logits.iter().sum::<f32>() / n;
            let deviation = (logits.iter().map(|logit| (logit - mean).powi(2)).sum::<f32>() / n).sqrt();
            assert!((0.5..5.0).contains(&deviation), "{name}: {deviation}");
        }
    }
}
