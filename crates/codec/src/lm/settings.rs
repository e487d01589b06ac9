//! Settings of the language-model prior, as they stand in a file's header.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use lmgc_serialize::{BytesPerGroup, Format, Serializer};

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

/// How the language-model prior turns bytes into coded tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LmSettings {
    /// Format of the text.
    pub format: Format,
    /// Bytes between separators.
    pub bytes_per_group: BytesPerGroup,
    /// Tokens in a window, start token included.
    pub window_tokens: usize,
    /// Which tokens get probability.
    pub mask: Mask,
}

impl Default for LmSettings {
    fn default() -> Self {
        Self {
            format: Format::HexSpace,
            bytes_per_group: BytesPerGroup::default(),
            window_tokens: 2048,
            mask: Mask::default(),
        }
    }
}

impl LmSettings {
    /// The serialiser of these settings.
    pub fn serializer(&self) -> Serializer {
        Serializer::new(self.format, self.bytes_per_group)
    }

    /// Adds the settings to a header's.
    pub(crate) fn write_to(&self, settings: &mut BTreeMap<String, String>) {
        for (key, value) in [
            ("format", self.format.to_string()),
            ("bytes_per_group", self.bytes_per_group.get().to_string()),
            ("window", self.window_tokens.to_string()),
            ("mask", self.mask.to_string()),
        ] {
            settings.insert(key.to_owned(), value);
        }
    }

    /// Reads the settings from a header's.
    pub(crate) fn read_from(settings: &BTreeMap<String, String>) -> Result<Self, Error> {
        fn get<T: FromStr>(settings: &BTreeMap<String, String>, key: &str) -> Result<T, Error> {
            let value = settings
                .get(key)
                .ok_or_else(|| Error::corrupt_block(format!("the header lacks the setting '{key}' of codec lm")))?;
            let bad = || Error::corrupt_block(format!("the header's setting '{key}' of codec lm is '{value}'"));
            value.parse().map_err(|_| bad())
        }
        let bytes_per_group = BytesPerGroup::new(get(settings, "bytes_per_group")?)
            .map_err(|e| Error::corrupt_block(format!("the header's bytes per group: {e}")))?;
        Ok(Self {
            format: get(settings, "format")?,
            bytes_per_group,
            window_tokens: get(settings, "window")?,
            mask: get(settings, "mask")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_header() {
        for mask in Mask::ALL {
            let settings = LmSettings { mask, window_tokens: 777, ..Default::default() };
            let mut header = BTreeMap::new();
            settings.write_to(&mut header);
            assert_eq!(LmSettings::read_from(&header).unwrap(), settings);
            header.insert("window".into(), "many".into());
            assert!(LmSettings::read_from(&header).is_err());
            header.remove("window");
            assert!(LmSettings::read_from(&header).unwrap_err().to_string().contains("window"));
        }
    }
}
