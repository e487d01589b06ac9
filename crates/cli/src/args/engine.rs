//! Arguments of the verbs that look at the engine itself.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args as ClapArgs;
use lmgc_codec::lm::Mask;

/// An amount of memory: `512M`, `2GiB`, `1073741824`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySize(pub(crate) u64);

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no amount of memory; write bytes, or a number with K, M, G or T (powers of 1024)");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

/// How fast a language model runs here.
///
/// Prefill is what encoding does: whole windows, logits after every token. Decoding goes token by token, some windows side
/// by side; it is measured at four places of the window, since attention costs more towards its end. Figures are medians of
/// the rounds, in tokens a second of all windows together.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc bench-model --model smollm2-135m\n  \
                        lmgc bench-model --model model.gguf --window 1024 --windows 1,8 --threads 2 --json")]
pub(crate) struct BenchModel {
    /// Language model: a name of the model store, a GGUF file or a Hugging Face folder
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) model: String,
    /// Tokens in a window
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub(crate) window: usize,
    /// Numbers of windows to decode side by side
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,4,16")]
    pub(crate) windows: Vec<usize>,
    /// Rounds of which the median is taken
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: u64,
    /// Which tokens get logits; prefill is measured with each, decoding with the first
    #[arg(long, value_name = "MASK,...", value_delimiter = ',', default_value = "alphabet,none")]
    pub(crate) mask: Vec<Mask>,
    /// Token ids to run, little-endian u32 [default: random ones of the alphabet of hex-space]
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: Option<PathBuf>,
    /// Instruction set to use: scalar, avx2, avx512 or amx [default: the fastest of this machine]
    #[arg(long, value_name = "NAME")]
    pub(crate) isa: Option<lmgc_model::Isa>,
}

/// Does this machine compute what every other one does?
///
/// Runs tiny models of every family with each instruction set of this machine and compares hashes of their logits with those
/// frozen for this numerics revision; then makes a small file with each codec, compares its hash, and decodes it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Selftest {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        let parse = |text: &str| text.parse::<MemorySize>().map(|size| size.0);
        assert_eq!(parse("1024"), Ok(1024));
        assert_eq!(parse("512M"), Ok(512 << 20));
        assert_eq!(parse("2GiB"), Ok(2 << 30));
        assert_eq!(parse("3 kb"), Ok(3 << 10));
        for wrong in ["", "G", "1.5G", "-1", "2X", "99999999T", "1é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
