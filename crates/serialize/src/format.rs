//! Names of formats and group sizes.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// How bytes become characters, and what separates groups of them. Names are LM-GC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `hex-none`: two hexadecimal digits a byte, no separator, whatever the group size.
    HexNone,
    /// `hex-space`: groups separated by a space.
    HexSpace,
    /// `hex-comma`: groups separated by a comma.
    HexComma,
    /// `hex-comma+space`: groups separated by a comma and a space.
    HexCommaSpace,
    /// `hex-semicolon`: groups separated by a semicolon.
    HexSemicolon,
    /// `hex-0x`: groups separated by `0x`; none stands before the first.
    Hex0x,
    /// `iso`: one Latin-1 character a byte, no separator, whatever the group size.
    Iso,
    /// `iso-space`: Latin-1, groups separated by a space.
    IsoSpace,
    /// `iso-comma+space`: Latin-1, groups separated by a comma and a space.
    IsoCommaSpace,
}

impl Format {
    /// Every format, in declaration order.
    pub const ALL: [Self; 9] = [
        Self::HexNone,
        Self::HexSpace,
        Self::HexComma,
        Self::HexCommaSpace,
        Self::HexSemicolon,
        Self::Hex0x,
        Self::Iso,
        Self::IsoSpace,
        Self::IsoCommaSpace,
    ];

    /// The format's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HexNone => "hex-none",
            Self::HexSpace => "hex-space",
            Self::HexComma => "hex-comma",
            Self::HexCommaSpace => "hex-comma+space",
            Self::HexSemicolon => "hex-semicolon",
            Self::Hex0x => "hex-0x",
            Self::Iso => "iso",
            Self::IsoSpace => "iso-space",
            Self::IsoCommaSpace => "iso-comma+space",
        }
    }

    /// Whether a byte becomes two hexadecimal digits, rather than one Latin-1 character.
    #[must_use]
    pub const fn is_hex(self) -> bool {
        !matches!(self, Self::Iso | Self::IsoSpace | Self::IsoCommaSpace)
    }

    /// What stands between groups; ASCII, may be empty.
    #[must_use]
    pub const fn separator(self) -> &'static str {
        match self {
            Self::HexNone | Self::Iso => "",
            Self::HexSpace | Self::IsoSpace => " ",
            Self::HexComma => ",",
            Self::HexCommaSpace | Self::IsoCommaSpace => ", ",
            Self::HexSemicolon => ";",
            Self::Hex0x => "0x",
        }
    }

    /// Characters a byte becomes.
    #[must_use]
    pub const fn chars_per_byte(self) -> usize {
        if self.is_hex() { 2 } else { 1 }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| Error::UnknownFormat(name.to_owned()))
    }
}

/// Bytes between two separators: 1, 2, 3, 4 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BytesPerGroup(u8);

impl BytesPerGroup {
    /// Every size, ascending.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(8)];

    /// This many bytes a group.
    ///
    /// # Errors
    /// [`Error::BytesPerGroup`] unless it is one of [`ALL`](Self::ALL).
    pub fn new(n_bytes: usize) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|group| group.get() == n_bytes)
            .ok_or_else(|| Error::BytesPerGroup(n_bytes.to_string()))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// 4 bytes, one f32.
impl Default for BytesPerGroup {
    fn default() -> Self {
        Self(4)
    }
}

impl fmt::Display for BytesPerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BytesPerGroup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::BytesPerGroup(text.to_owned());
        Self::new(text.parse().map_err(|_| invalid())?).map_err(|_| invalid())
    }
}

impl TryFrom<u8> for BytesPerGroup {
    type Error = Error;

    fn try_from(n_bytes: u8) -> Result<Self, Error> {
        Self::new(n_bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "hex_space".parse::<Format>().unwrap_err();
        assert!(error.to_string().contains("hex-space"), "{error}");
    }

    #[test]
    fn group_sizes() {
        assert_eq!(BytesPerGroup::ALL.map(BytesPerGroup::get), [1, 2, 3, 4, 8]);
        for group in BytesPerGroup::ALL {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        for refused in ["0", "5", "7", "9", "-1", "four", ""] {
            let error = refused.parse::<BytesPerGroup>().unwrap_err();
            assert!(error.to_string().contains("1, 2, 3, 4, 8"), "{error}");
        }
    }
}
