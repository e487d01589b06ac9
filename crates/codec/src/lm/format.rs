//! What a language model reads: text, or symbols that are single tokens.

use std::fmt;
use std::str::FromStr;

use lmgc_serialize::Format;

use crate::Error;

/// How values become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LmFormat {
    /// Text, tokenised as the model's tokenizer does it: LM-GC's formats.
    Text(Format),
    /// `ids-nibble`: each four bits of a value are a token, the uppermost first.
    Nibbles,
    /// `ids-byte`: each byte of a value is a token, the uppermost first.
    Bytes,
    /// `ids-exponent`: sign and exponent of a value are a token; the mantissa does without the model. Numbers that are not
    /// floats have their upper 8 bits for it.
    Exponents,
}

impl LmFormat {
    /// The formats that are no text.
    pub const SYMBOLS: [Self; 3] = [Self::Nibbles, Self::Bytes, Self::Exponents];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Format::ALL.into_iter().map(Self::Text).chain(Self::SYMBOLS)
    }

    /// Bits of a symbol, where a value has several of the same kind.
    pub(crate) fn symbol_bits(self) -> Option<u32> {
        match self {
            Self::Nibbles => Some(4),
            Self::Bytes => Some(8),
            Self::Text(_) | Self::Exponents => None,
        }
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl From<Format> for LmFormat {
    fn from(format: Format) -> Self {
        Self::Text(format)
    }
}

impl fmt::Display for LmFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(format) => format.fmt(f),
            Self::Nibbles => f.pad("ids-nibble"),
            Self::Bytes => f.pad("ids-byte"),
            Self::Exponents => f.pad("ids-exponent"),
        }
    }
}

impl FromStr for LmFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::all().find(|format| format.to_string() == name).ok_or_else(|| Error::UnknownName {
            what: "format",
            name: name.to_owned(),
            known: Self::all().map(|format| format.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(LmFormat::all().count(), 12);
        for format in LmFormat::all() {
            assert_eq!(format.to_string().parse::<LmFormat>().unwrap(), format);
        }
        assert!("ids".parse::<LmFormat>().unwrap_err().to_string().contains("ids-nibble"));
    }
}
