//! Settings of the language-model prior, as they stand in a file's header.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use lmgc_serialize::{BytesPerGroup, Format, Serializer};

use super::LmFormat;
use crate::Error;

/// Which tokens get probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mask {
    /// The whole vocabulary, as in the paper.
    None,
    /// The tokens that can occur in the format's text, and those that occur all the same.
    #[default]
    Alphabet,
    /// The tokens that can come next: in a hexadecimal format only the separator after a group's last digit. Blocks that
    /// do not keep to this, and the other formats, have the alphabet.
    Grammar,
}

impl Mask {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Alphabet, Self::Grammar];
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Alphabet => "alphabet",
            Self::Grammar => "grammar",
        })
    }
}

impl FromStr for Mask {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|mask| mask.to_string() == name).ok_or_else(|| Error::UnknownName {
            what: "mask",
            name: name.to_owned(),
            known: Self::ALL.map(|mask| mask.to_string()).join(", "),
        })
    }
}

/// Shortest window: the start token and one token.
pub const MIN_WINDOW_TOKENS: usize = 2;
/// The name of the window's setting in headers.
const WINDOW: &str = "window";
/// Tokens of a value at most: 64 bits in nibbles.
const MAX_VALUE_TOKENS: usize = 16;

/// How the language-model prior turns bytes into coded tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LmSettings {
    /// How values become tokens.
    pub format: LmFormat,
    /// Bytes between separators, where they become text.
    pub bytes_per_group: BytesPerGroup,
    /// Tokens in a window, start token included.
    pub window_tokens: usize,
    /// Which tokens get probability. Formats without text have no others than their own.
    pub mask: Mask,
    /// Leading bits of each value that pass through the model; the rest has models of its own. `None` for all of them.
    pub lm_bits: Option<u32>,
    /// Whether the model is one expert among others, which learn; for formats without text.
    pub mix: bool,
    /// Tokens of the window before that a window begins with.
    pub overlap_tokens: usize,
}

impl Default for LmSettings {
    fn default() -> Self {
        Self {
            format: Format::HexSpace.into(),
            bytes_per_group: BytesPerGroup::default(),
            window_tokens: 2048,
            mask: Mask::default(),
            lm_bits: None,
            mix: false,
            overlap_tokens: 0,
        }
    }
}

impl LmSettings {
    /// The serialiser of these settings, if they have one.
    pub fn serializer(&self) -> Option<Serializer> {
        match self.format {
            LmFormat::Text(format) => Some(Serializer::new(format, self.bytes_per_group)),
            _ => None,
        }
    }

    /// The same for a text format, with nothing that only suits values.
    pub(crate) fn with_text(&self, format: Format, bytes_per_group: BytesPerGroup) -> Self {
        Self { format: format.into(), bytes_per_group, lm_bits: None, mix: false, ..*self }
    }

    /// Checks what can be said without a model.
    ///
    /// # Errors
    /// [`Error::WindowTooShort`], or [`Error::LmSettings`] saying what does not go together.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |problem: String| Err(Error::LmSettings { problem });
        let Self { format, window_tokens, .. } = *self;
        if window_tokens < MIN_WINDOW_TOKENS {
            return Err(Error::WindowTooShort { window: window_tokens, min: MIN_WINDOW_TOKENS });
        }
        if let Some(bits) = self.lm_bits {
            let unit = format.symbol_bits().unwrap_or(8);
            if format == LmFormat::Exponents {
                return wrong(format!(
                    "{format} always takes sign and exponent through the model: leave out --lm-bits"
                ));
            }
            if bits == 0 || bits > 64 || bits % unit != 0 {
                return wrong(format!(
                    "{bits} leading bits do not make tokens of {format}: use a multiple of {unit} up to 64"
                ));
            }
        }
        if self.mix && format.is_text() {
            let known = LmFormat::SYMBOLS.map(|format| format.to_string()).join(", ");
            return wrong(format!(
                "--mix is for formats without text, whose tokens stand for whole symbols, not for {format}: use one of {known}"
            ));
        }
        if self.mask == Mask::None && !format.is_text() {
            return wrong(format!("mask none is for text: {format} has no tokens but its own"));
        }
        let least = if format.is_text() { MIN_WINDOW_TOKENS } else { 1 + MAX_VALUE_TOKENS };
        if window_tokens < self.overlap_tokens + least {
            return wrong(format!(
                "an overlap of {} tokens leaves too little of a window of {window_tokens}: at least {least} must be left",
                self.overlap_tokens
            ));
        }
        Ok(())
    }

    /// Adds the settings to a header's.
    pub(crate) fn write_to(&self, settings: &mut BTreeMap<String, String>) {
        let mut put = |key: &str, value: String| settings.insert(key.to_owned(), value);
        put("format", self.format.to_string());
        put("bytes_per_group", self.bytes_per_group.get().to_string());
        put(WINDOW, self.window_tokens.to_string());
        put("mask", self.mask.to_string());
        // What is not there is as it was before there were such settings.
        if let Some(bits) = self.lm_bits {
            put("lm_bits", bits.to_string());
        }
        if self.mix {
            put("mix", self.mix.to_string());
        }
        if self.overlap_tokens > 0 {
            put("overlap", self.overlap_tokens.to_string());
        }
    }

    /// Takes the window out of a header's settings.
    pub(crate) fn remove_window_from(settings: &mut BTreeMap<String, String>) {
        settings.remove(WINDOW);
    }

    /// Reads the window from a header's settings, all that the ensemble has.
    pub(crate) fn read_window_from(settings: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut full = BTreeMap::new();
        Self::default().write_to(&mut full);
        full.extend(settings.get(WINDOW).map(|window| (WINDOW.to_owned(), window.clone())));
        Self::read_from(&full)
    }

    /// Adds the window to a header's settings.
    pub(crate) fn write_window_to(&self, settings: &mut BTreeMap<String, String>) {
        settings.insert(WINDOW.to_owned(), self.window_tokens.to_string());
    }

    /// Reads the settings from a header's.
    pub(crate) fn read_from(settings: &BTreeMap<String, String>) -> Result<Self, Error> {
        fn get<T: FromStr>(settings: &BTreeMap<String, String>, key: &str) -> Result<Option<T>, Error> {
            let Some(value) = settings.get(key) else { return Ok(None) };
            let bad = || Error::corrupt_block(format!("the header's setting '{key}' of codec lm is '{value}'"));
            value.parse().map(Some).map_err(|_| bad())
        }
        fn require<T: FromStr>(settings: &BTreeMap<String, String>, key: &str) -> Result<T, Error> {
            get(settings, key)?
                .ok_or_else(|| Error::corrupt_block(format!("the header lacks the setting '{key}' of codec lm")))
        }
        let bytes_per_group = BytesPerGroup::new(require(settings, "bytes_per_group")?)
            .map_err(|e| Error::corrupt_block(format!("the header's bytes per group: {e}")))?;
        let read = Self {
            format: require(settings, "format")?,
            bytes_per_group,
            window_tokens: require(settings, WINDOW)?,
            mask: require(settings, "mask")?,
            lm_bits: get(settings, "lm_bits")?,
            mix: get(settings, "mix")?.unwrap_or(false),
            overlap_tokens: get(settings, "overlap")?.unwrap_or(0),
        };
        read.check().map_err(|e| Error::corrupt_block(format!("the header's settings of codec lm: {e}")))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_header() {
        let settings = LmSettings { window_tokens: 777, ..Default::default() };
        for settings in [
            settings,
            LmSettings { mask: Mask::None, overlap_tokens: 700, ..settings },
            LmSettings { mask: Mask::Grammar, lm_bits: Some(16), ..settings },
            LmSettings { format: LmFormat::Exponents, mix: true, ..settings },
            LmSettings { format: LmFormat::Nibbles, lm_bits: Some(12), ..settings },
        ] {
            let mut header = BTreeMap::new();
            settings.write_to(&mut header);
            assert_eq!(LmSettings::read_from(&header).unwrap(), settings);
            header.insert("window".into(), "many".into());
            assert!(LmSettings::read_from(&header).is_err());
            header.remove("window");
            assert!(LmSettings::read_from(&header).unwrap_err().to_string().contains("window"));
        }
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let settings = LmSettings::default();
        for (settings, word) in [
            (LmSettings { mix: true, ..settings }, "ids-nibble"),
            (LmSettings { lm_bits: Some(12), ..settings }, "multiple of 8"),
            (LmSettings { lm_bits: Some(72), ..settings }, "up to 64"),
            (LmSettings { format: LmFormat::Exponents, lm_bits: Some(8), ..settings }, "leave out"),
            (LmSettings { format: LmFormat::Bytes, mask: Mask::None, ..settings }, "mask none"),
            (LmSettings { overlap_tokens: 2047, ..settings }, "overlap"),
            (LmSettings { overlap_tokens: 2032, format: LmFormat::Nibbles, ..settings }, "overlap"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            let mut header = BTreeMap::new();
            settings.write_to(&mut header);
            assert!(LmSettings::read_from(&header).unwrap_err().is_bad_input());
        }
        assert!(LmSettings { overlap_tokens: 2046, ..settings }.check().is_ok());
    }
}
