//! Arguments of the language-model codec.

use clap::Args as ClapArgs;
use lmgc_codec::lm::{LmFormat, LmSettings, Mask};
use lmgc_serialize::BytesPerGroup;

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Codec lm (ensemble has --window)")]
pub(crate) struct LmFlags {
    /// How values become tokens: text (hex-none, hex-space, hex-comma, hex-comma+space, hex-semicolon, hex-0x, iso, iso-space,
    /// iso-comma+space), or single tokens (ids-nibble, ids-byte, and ids-exponent, which leaves mantissas to models of their own)
    #[arg(long, default_value_t = LmSettings::default().format)]
    pub(crate) format: LmFormat,
    /// Bytes between separators of text: 1, 2, 3, 4 or 8
    #[arg(long, value_name = "N", default_value_t = BytesPerGroup::default())]
    pub(crate) bytes_per_group: BytesPerGroup,
    /// Tokens in a window, start token included: 256 up to the model's limit [default: 2048; 512 for codec ensemble]
    #[arg(long, value_name = "N", value_parser = window)]
    pub(crate) window: Option<usize>,
    /// Tokens that get probability: none (all, as in the paper), alphabet (those that the format can give) or grammar (those
    /// that can come next)
    #[arg(long, default_value_t = Mask::default())]
    pub(crate) mask: Mask,
    /// Only the leading N bits of each value pass through the model, the rest has models of its own [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) lm_bits: Option<u32>,
    /// Mix what the model says with counts in contexts, as the data shows what each is worth; for the ids formats
    #[arg(long)]
    pub(crate) mix: bool,
    /// Begin each window with the last N tokens of the one before: a little smaller, slower by N tokens a window
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) overlap: usize,
}

impl LmFlags {
    /// A flag that says something which is not the default, if there is one.
    pub(crate) fn named(&self) -> Option<&'static str> {
        let (own, default) = (self.settings(), LmSettings::default());
        [
            ("--format", own.format != default.format),
            ("--mask", own.mask != default.mask),
            ("--window", self.window.is_some()),
            ("--bytes-per-group", own.bytes_per_group != default.bytes_per_group),
            ("--lm-bits", own.lm_bits.is_some()),
            ("--mix", own.mix),
            ("--overlap", own.overlap_tokens > 0),
        ]
        .into_iter()
        .find_map(|(flag, is_named)| is_named.then_some(flag))
    }

    pub(crate) fn settings(&self) -> LmSettings {
        LmSettings {
            format: self.format,
            bytes_per_group: self.bytes_per_group,
            window_tokens: self.window.unwrap_or(LmSettings::default().window_tokens),
            mask: self.mask,
            lm_bits: self.lm_bits,
            mix: self.mix,
            overlap_tokens: self.overlap,
        }
    }
}

fn window(text: &str) -> Result<usize, String> {
    let n: usize = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    if n < 256 { Err("a window has at least 256 tokens".to_owned()) } else { Ok(n) }
}
