//! "Text".

use super::super::Refusal;

/// Bytes of which a text is made; the last text may have fewer.
pub(super) const CHUNK_BYTES: usize = 512;

/// How bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextFormat {
    /// Whether a byte is two digits; else it is one character.
    pub(super) is_hex: bool,
    pub(super) separator: &'static str,
    pub(super) bytes_per_group: usize,
}

/// A place in the cycle of a group and a separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A hexadecimal digit.
    Digit,
    /// Any character up to U+00FF.
    Character,
    /// This byte.
    Separator(u8),
}

impl TextFormat {
    /// Number of characters of the text of `n_bytes`.
    pub(super) fn n_characters(&self, n_bytes: usize) -> usize {
        let n_separators = n_bytes.div_ceil(self.bytes_per_group).saturating_sub(1);
        n_bytes * self.characters_per_byte() + n_separators * self.separator.len()
    }

    fn characters_per_byte(&self) -> usize {
        if self.is_hex { 2 } else { 1 }
    }

    /// The cycle.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let slot = if self.is_hex { Slot::Digit } else { Slot::Character };
        let mut slots = vec![slot; self.bytes_per_group * self.characters_per_byte()];
        slots.extend(self.separator.bytes().map(Slot::Separator));
        slots
    }

    /// The bytes of a text, whose characters are given by their numbers.
    pub(super) fn bytes_of_text(&self, text: &[u8]) -> Result<Vec<u8>, Refusal> {
        let wrong = || Refusal::corrupt("a text that is none of the format");
        let mut bytes = Vec::new();
        let mut left = text;
        while !left.is_empty() {
            if !bytes.is_empty() && bytes.len().is_multiple_of(self.bytes_per_group) {
                left = left.strip_prefix(self.separator.as_bytes()).ok_or_else(wrong)?;
            }
            let (byte, after) = left.split_at_checked(self.characters_per_byte()).ok_or_else(wrong)?;
            bytes.push(match *byte {
                [upper, lower] => digit(upper).ok_or_else(wrong)? << 4 | digit(lower).ok_or_else(wrong)?,
                [character] => character,
                _ => return Err(wrong()),
            });
            left = after;
        }
        Ok(bytes)
    }
}

/// The value of a hexadecimal digit.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl Slot {
    /// Whether a byte is a character that can be here, of those that are one byte.
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Digit => digit(byte).is_some(),
            Self::Character => byte < 0x80,
            Self::Separator(separator) => byte == separator,
        }
    }
}
