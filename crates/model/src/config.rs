//! Sizes and constants of a decoder, checked before anything is allocated.

use lmgc_kernels::{AttentionShape, RopeScaling};

use crate::Error;

/// Configuration of a pre-norm decoder: the families Llama, Mistral, Qwen 2, Qwen 3 and GPT-2.
///
/// Biases, per-head norms and a separate output matrix are not here: they are there where the weights have them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Number of layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Heads. Their dimension need not be `d_model / n_heads`.
    pub attention: AttentionShape,
    /// Width of the feed-forward layer.
    pub d_ffn: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Positions that the model was trained for.
    pub max_positions: usize,
    /// The norms before attention, feed-forward layer and output.
    pub norm: Norm,
    /// How positions enter.
    pub positions: Positions,
    /// The feed-forward layer's kind.
    pub feed_forward: FeedForward,
    /// Position p sees position j only if p - j is below this; `None` where it sees all before it.
    pub sliding_window: Option<usize>,
}

/// A norm's kind and constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Which one.
    pub kind: NormKind,
    /// Added to the mean square or the variance.
    pub eps: f32,
}

/// Kinds of norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square norm, no bias.
    Rms,
    /// Layer norm, with a bias.
    Layer,
}

/// How positions enter the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// Queries and keys are rotated.
    Rope {
        /// Base frequency.
        theta: f32,
        /// Scaling for longer contexts.
        scaling: RopeScaling,
    },
    /// A vector for each position is added to the embedding.
    Learned,
}

/// Kinds of feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// down(silu(gate(x)) * up(x)).
    SwiGlu,
    /// down(gelu(up(x))), GELU in its tanh form.
    Gelu,
}

const MAX_POSITIONS: usize = 1 << 22;

impl ModelConfig {
    /// Checks every value against what the kernels and sane files allow.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = self.attention;
        in_range("number of layers", self.n_layers, 1 << 10)?;
        in_range("model width", self.d_model, 1 << 16)?;
        in_range("number of heads", n_heads, 1 << 10)?;
        in_range("number of key-value heads", n_kv_heads, n_heads)?;
        in_range("head dimension", head_dim, 1 << 10)?;
        in_range("feed-forward width", self.d_ffn, 1 << 18)?;
        in_range("vocabulary size", self.vocab_size, 1 << 20)?;
        in_range("context length", self.max_positions, MAX_POSITIONS)?;
        if let Some(window) = self.sliding_window {
            in_range("sliding window", window, MAX_POSITIONS)?;
        }
        if !n_heads.is_multiple_of(n_kv_heads) {
            return fail("number of heads", format!("is {n_heads}, no multiple of {n_kv_heads} key-value heads"));
        }
        between("norm epsilon", self.norm.eps, f32::MIN_POSITIVE, 1.0)?;
        match &self.positions {
            Positions::Learned => Ok(()),
            Positions::Rope { theta, scaling } => {
                if !head_dim.is_multiple_of(2) {
                    return fail("head dimension", format!("is {head_dim}; rotary embedding needs an even one"));
                }
                between("RoPE base frequency", *theta, 1.0, 1e30)?;
                validate_scaling(scaling, head_dim)
            }
        }
    }

    /// The fields as bytes for the fingerprint, in field order, little-endian: integers as u64, floats as f32 bits, kinds
    /// as one byte, an absent window as 0.
    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        let AttentionShape { n_heads, n_kv_heads, head_dim } = self.attention;
        let mut bytes = b"decoder".to_vec();
        let sizes = [self.n_layers, self.d_model, n_heads, n_kv_heads, head_dim, self.d_ffn, self.vocab_size];
        for size in sizes.into_iter().chain([self.max_positions]) {
            bytes.extend((size as u64).to_le_bytes());
        }
        bytes.push(match self.norm.kind {
            NormKind::Rms => 0,
            NormKind::Layer => 1,
        });
        bytes.extend(self.norm.eps.to_le_bytes());
        match &self.positions {
            Positions::Learned => bytes.push(0),
            Positions::Rope { theta, scaling } => {
                bytes.push(1);
                bytes.extend(theta.to_le_bytes());
                scaling_bytes(scaling, &mut bytes);
            }
        }
        bytes.push(match self.feed_forward {
            FeedForward::SwiGlu => 0,
            FeedForward::Gelu => 1,
        });
        bytes.extend((self.sliding_window.unwrap_or(0) as u64).to_le_bytes());
        bytes
    }
}

fn validate_scaling(scaling: &RopeScaling, head_dim: usize) -> Result<(), Error> {
    const FACTOR: &str = "RoPE scaling factor";
    match scaling {
        RopeScaling::None => Ok(()),
        RopeScaling::Linear { factor } => between(FACTOR, *factor, 1.0, 1e6),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            between(FACTOR, *factor, 1.0, 1e6)?;
            between("RoPE low_freq_factor", *low_freq_factor, 1e-6, 1e6)?;
            between("RoPE high_freq_factor", *high_freq_factor, 1e-6, 1e6)?;
            if low_freq_factor >= high_freq_factor {
                let problem = format!("is {high_freq_factor}; it must be above low_freq_factor, {low_freq_factor}");
                return fail("RoPE high_freq_factor", problem);
            }
            in_range("RoPE original_max_position_embeddings", *original_max_positions, MAX_POSITIONS)
        }
        RopeScaling::Factors(factors) => {
            if factors.len() != head_dim / 2 {
                let problem = format!("are {} for {} pairs of values in a head", factors.len(), head_dim / 2);
                return fail("RoPE factors", problem);
            }
            factors.iter().try_for_each(|&factor| between(FACTOR, factor, 0.01, 1e6))
        }
        _ => fail("RoPE scaling", "is of a kind that this version does not know".to_owned()),
    }
}

fn scaling_bytes(scaling: &RopeScaling, bytes: &mut Vec<u8>) {
    let (kind, floats): (u8, &[f32]) = match scaling {
        RopeScaling::Linear { factor } => (1, &[*factor]),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
            (2, &[*factor, *low_freq_factor, *high_freq_factor])
        }
        RopeScaling::Factors(factors) => (3, factors),
        _ => (0, &[]),
    };
    bytes.push(kind);
    floats.iter().for_each(|float| bytes.extend(float.to_le_bytes()));
    if let RopeScaling::Llama3 { original_max_positions, .. } = scaling {
        bytes.extend((*original_max_positions as u64).to_le_bytes());
    }
}

fn fail(field: &str, problem: String) -> Result<(), Error> {
    Err(Error::Config { field: field.to_owned(), problem })
}

fn in_range(field: &str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) { Ok(()) } else { fail(field, format!("is {value}; it must be in 1..={max}")) }
}

/// NaN lies between nothing.
fn between(field: &str, value: f32, min: f32, max: f32) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    fail(field, format!("is {value}; it must be from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ModelConfig {
        ModelConfig {
            n_layers: 2,
            d_model: 64,
            attention: AttentionShape { n_heads: 4, n_kv_heads: 2, head_dim: 16 },
            d_ffn: 96,
            vocab_size: 300,
            max_positions: 2048,
            norm: Norm { kind: NormKind::Rms, eps: 1e-5 },
            positions: Positions::Rope { theta: 10_000.0, scaling: RopeScaling::None },
            feed_forward: FeedForward::SwiGlu,
            sliding_window: None,
        }
    }

    fn rope(scaling: RopeScaling) -> Positions {
        Positions::Rope { theta: 10_000.0, scaling }
    }

    fn llama3(low_freq_factor: f32, high_freq_factor: f32) -> RopeScaling {
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor, high_freq_factor, original_max_positions: 8192 }
    }

    #[test]
    fn every_field_is_in_the_canonical_bytes() {
        let changes: [fn(&mut ModelConfig); 20] = [
            |_| (),
            |c| c.n_layers = 3,
            |c| c.d_model = 65,
            |c| c.attention.n_heads = 8,
            |c| c.attention.n_kv_heads = 1,
            |c| c.attention.head_dim = 8,
            |c| c.d_ffn = 97,
            |c| c.vocab_size = 301,
            |c| c.max_positions = 2049,
            |c| c.norm.kind = NormKind::Layer,
            |c| c.norm.eps = 1e-6,
            |c| c.positions = Positions::Learned,
            |c| c.positions = Positions::Rope { theta: 10_001.0, scaling: RopeScaling::None },
            |c| c.positions = rope(RopeScaling::Linear { factor: 2.0 }),
            |c| c.positions = rope(RopeScaling::Linear { factor: 4.0 }),
            |c| c.positions = rope(llama3(1.0, 4.0)),
            |c| c.positions = rope(llama3(2.0, 4.0)),
            |c| c.positions = rope(RopeScaling::Factors(vec![2.0; 8])),
            |c| c.feed_forward = FeedForward::Gelu,
            |c| c.sliding_window = Some(100),
        ];
        let mut seen: Vec<Vec<u8>> = changes
            .iter()
            .map(|change| {
                let mut config = config();
                change(&mut config);
                config.canonical_bytes()
            })
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), changes.len());
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Fault = (&'static str, fn(&mut ModelConfig));
        config().validate().unwrap();
        let faults: [Fault; 14] = [
            ("number of layers", |c| c.n_layers = 0),
            ("model width", |c| c.d_model = 1 << 40),
            ("key-value heads", |c| c.attention.n_kv_heads = 5),
            ("no multiple", |c| c.attention.n_kv_heads = 3),
            ("even", |c| c.attention.head_dim = 7),
            ("vocabulary", |c| c.vocab_size = usize::MAX),
            ("context length", |c| c.max_positions = 0),
            ("sliding window", |c| c.sliding_window = Some(0)),
            ("norm epsilon", |c| c.norm.eps = f32::NAN),
            ("base frequency", |c| c.positions = Positions::Rope { theta: 0.5, scaling: RopeScaling::None }),
            ("scaling factor", |c| c.positions = rope(RopeScaling::Linear { factor: 0.0 })),
            ("high_freq_factor", |c| c.positions = rope(llama3(4.0, 4.0))),
            ("RoPE factors", |c| c.positions = rope(RopeScaling::Factors(vec![1.0; 7]))),
            ("scaling factor", |c| c.positions = rope(RopeScaling::Factors(vec![f32::INFINITY; 8]))),
        ];
        for (word, fault) in faults {
            let mut config = config();
            fault(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(word), "{word}: {message}");
        }
        // Odd heads are fine without rotation.
        let mut odd = config();
        odd.positions = Positions::Learned;
        odd.attention.head_dim = 7;
        odd.validate().unwrap();
    }
}
