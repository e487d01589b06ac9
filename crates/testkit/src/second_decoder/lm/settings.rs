//! The header's settings.

use std::collections::BTreeMap;

use super::super::Refusal;
use super::text::TextFormat;

/// How values become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text(TextFormat),
    Symbols(SymbolFormat),
}

/// What a token stands for, where it is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolFormat {
    Nibble,
    Byte,
    Exponent,
}

/// Which tokens get probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    None,
    Alphabet,
    Grammar,
}

pub(super) struct Settings {
    pub(super) format: Format,
    /// Tokens in a window, start token included.
    pub(super) window: usize,
    pub(super) mask: Mask,
    /// Leading bits of each value that pass through the model, if not all.
    pub(super) lm_bits: Option<u32>,
    pub(super) mix: bool,
    /// Tokens of the window before that a window begins with.
    pub(super) overlap: usize,
}

impl Settings {
    pub(super) fn read(settings: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let get = |key: &str| settings.get(key).map(String::as_str);
        let wrong = |key: &str| Refusal::corrupt(format!("setting {key} is missing or wrong"));
        let number = |key: &str| get(key).and_then(decimal).ok_or_else(|| wrong(key));

        let bytes_per_group = number("bytes_per_group")?;
        if ![1, 2, 3, 4, 8].contains(&bytes_per_group) {
            return Err(wrong("bytes_per_group"));
        }
        let text = |is_hex, separator| Format::Text(TextFormat { is_hex, separator, bytes_per_group });
        let format = match get("format") {
            Some("hex-none") => text(true, ""),
            Some("hex-space") => text(true, " "),
            Some("hex-comma") => text(true, ","),
            Some("hex-comma+space") => text(true, ", "),
            Some("hex-semicolon") => text(true, ";"),
            Some("hex-0x") => text(true, "0x"),
            Some("iso") => text(false, ""),
            Some("iso-space") => text(false, " "),
            Some("iso-comma+space") => text(false, ", "),
            Some("ids-nibble") => Format::Symbols(SymbolFormat::Nibble),
            Some("ids-byte") => Format::Symbols(SymbolFormat::Byte),
            Some("ids-exponent") => Format::Symbols(SymbolFormat::Exponent),
            _ => return Err(wrong("format")),
        };
        let is_text = matches!(format, Format::Text(_));
        let mask = match get("mask") {
            Some("none") if is_text => Mask::None,
            Some("alphabet") => Mask::Alphabet,
            Some("grammar") => Mask::Grammar,
            _ => return Err(wrong("mask")),
        };
        let lm_bits = match get("lm_bits") {
            None => None,
            Some(_) => {
                let n_bits = number("lm_bits")?;
                let step = match format {
                    Format::Text(_) | Format::Symbols(SymbolFormat::Byte) => 8,
                    Format::Symbols(SymbolFormat::Nibble) => 4,
                    Format::Symbols(SymbolFormat::Exponent) => return Err(wrong("lm_bits")),
                };
                if !(1..=64).contains(&n_bits) || n_bits % step != 0 {
                    return Err(wrong("lm_bits"));
                }
                Some(n_bits as u32)
            }
        };
        let mix = match get("mix") {
            None | Some("false") => false,
            Some("true") if !is_text => true,
            Some(_) => return Err(wrong("mix")),
        };
        let overlap = if get("overlap").is_some() { number("overlap")? } else { 0 };
        let window = number("window")?;
        let least = if is_text { 2 } else { 17 };
        if window.checked_sub(overlap).is_none_or(|n_new| n_new < least) {
            return Err(wrong("window"));
        }
        Ok(Self { format, window, mask, lm_bits, mix, overlap })
    }

    /// Whether values are cut into heads and a rest.
    pub(super) fn is_cut(&self) -> bool {
        self.lm_bits.is_some() || matches!(self.format, Format::Symbols(_))
    }
}

/// A number in decimal.
fn decimal(text: &str) -> Option<usize> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}
