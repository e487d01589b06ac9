//! Bytes to text and back: LM-GC's hexadecimal and Latin-1 formats.
//!
//! A [`Serializer`] turns a chunk of bytes into text for a language model: every byte becomes two lower-case
//! hexadecimal digits, or one Latin-1 character, in memory order; a separator stands after every
//! [`BytesPerGroup`] bytes, but none at the end. Source: LM-GC (arXiv 2409.17836), its serialisation stage.
//!
//! Data is cut into chunks of [`CHUNK_BYTES`], each serialised by itself. LM-GC pads the last chunk with zero bytes
//! and cannot tell the padding from data when it decodes; here the last chunk is as short as it is, because lengths
//! are known to whoever stores the text.
//!
//! ```
//! use lmgc_serialize::{BytesPerGroup, Format, Serializer};
//! let serializer = Serializer::new(Format::HexSpace, BytesPerGroup::new(4).unwrap());
//! let text = serializer.serialize(&[0x3f, 0x80, 0x00, 0x01, 0xab]);
//! assert_eq!(text, "3f800001 ab");
//! assert_eq!(serializer.deserialize(&text).unwrap(), [0x3f, 0x80, 0x00, 0x01, 0xab]);
//! ```

mod error;
mod format;
mod grammar;
mod hex;

pub use error::Error;
pub use format::{BytesPerGroup, Format};
pub use grammar::Slot;

/// Bytes a chunk, as in LM-GC. The last chunk of a stream may be shorter.
pub const CHUNK_BYTES: usize = 512;

/// A format with a group size: everything that decides what text bytes become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serializer {
    format: Format,
    bytes_per_group: BytesPerGroup,
}

impl Serializer {
    /// A serializer for this format, separating groups of this many bytes.
    #[must_use]
    pub const fn new(format: Format, bytes_per_group: BytesPerGroup) -> Self {
        Self { format, bytes_per_group }
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The group size.
    #[must_use]
    pub const fn bytes_per_group(&self) -> BytesPerGroup {
        self.bytes_per_group
    }

    /// The text of `chunk`, which may have any length.
    #[must_use]
    pub fn serialize(&self, chunk: &[u8]) -> String {
        let mut text = String::new();
        self.serialize_into(chunk, &mut text);
        text
    }

    /// Appends the text of `chunk` to `text`. No separator is put before it.
    pub fn serialize_into(&self, chunk: &[u8], text: &mut String) {
        let separator = self.format.separator();
        if self.format.is_hex() {
            text.reserve(self.n_chars(chunk.len()));
            match self.bytes_per_group.get() {
                1 => hex::encode_groups::<1>(chunk, separator, text),
                2 => hex::encode_groups::<2>(chunk, separator, text),
                3 => hex::encode_groups::<3>(chunk, separator, text),
                4 => hex::encode_groups::<4>(chunk, separator, text),
                _ => hex::encode_groups::<8>(chunk, separator, text),
            }
        } else {
            // Half of random bytes need two bytes of UTF-8.
            text.reserve(self.n_chars(chunk.len()) + chunk.len() / 2);
            for (index, group) in chunk.chunks(self.bytes_per_group.get()).enumerate() {
                if index > 0 {
                    text.push_str(separator);
                }
                text.extend(group.iter().map(|&byte| char::from(byte)));
            }
        }
    }

    /// Characters (not bytes of UTF-8) of the text of `n_bytes` bytes.
    ///
    /// The two agree for hexadecimal formats, whose text is ASCII. Saturates at `usize::MAX`.
    #[must_use]
    pub const fn n_chars(&self, n_bytes: usize) -> usize {
        if n_bytes == 0 {
            return 0;
        }
        let n_separators = (n_bytes - 1) / self.bytes_per_group.get();
        n_bytes
            .saturating_mul(self.format.chars_per_byte())
            .saturating_add(n_separators.saturating_mul(self.format.separator().len()))
    }

    /// The number of bytes whose text has this many characters, if there is one: the inverse of
    /// [`n_chars`](Self::n_chars).
    #[must_use]
    pub const fn n_bytes(&self, n_chars: usize) -> Option<usize> {
        let group_bytes = self.bytes_per_group.get();
        let chars_per_byte = self.format.chars_per_byte();
        let period = group_bytes * chars_per_byte + self.format.separator().len();
        let rest_bytes = (n_chars % period) / chars_per_byte;
        let n_bytes = (n_chars / period) * group_bytes + rest_bytes;
        if self.n_chars(n_bytes) == n_chars { Some(n_bytes) } else { None }
    }

    /// The bytes that `text` stands for. Accepts exactly what [`serialize`](Self::serialize) makes.
    ///
    /// # Errors
    /// [`Error::Length`] when no chunk has a text of this length, [`Error::Digit`], [`Error::Separator`] or
    /// [`Error::NotLatin1`] for the first character that does not fit.
    pub fn deserialize(&self, text: &str) -> Result<Vec<u8>, Error> {
        let n_chars = if self.format.is_hex() { text.len() } else { text.chars().count() };
        let length = self.n_bytes(n_chars).ok_or(Error::Length { n_chars, serializer: *self });
        if let Ok(n_bytes) = length
            && self.format.is_hex()
            && let Some(bytes) = self.decode_hex(text.as_bytes(), n_bytes)
        {
            return Ok(bytes);
        }
        // Character by character: for Latin-1, and to find what is wrong.
        let mut bytes = Vec::with_capacity(n_chars.div_ceil(self.format.chars_per_byte()));
        let slots = self.slots();
        let mut high = 0;
        for ((position, found), slot) in text.chars().enumerate().zip(slots.iter().cycle()) {
            match *slot {
                Slot::HighDigit => high = hex::digit_value(found).ok_or(Error::Digit { position, found })?,
                Slot::LowDigit => {
                    bytes.push(high << 4 | hex::digit_value(found).ok_or(Error::Digit { position, found })?);
                }
                Slot::Latin1 => bytes.push(u8::try_from(found).map_err(|_| Error::NotLatin1 { position, found })?),
                Slot::Separator(expected) if found == char::from(expected) => {}
                Slot::Separator(expected) => {
                    return Err(Error::Separator { position, found, expected: expected.into() });
                }
            }
        }
        length.map(|_| bytes)
    }

    /// The bytes of a hexadecimal text as long as that of `n_bytes` bytes; `None` if any character is wrong.
    fn decode_hex(&self, text: &[u8], n_bytes: usize) -> Option<Vec<u8>> {
        let separator = self.format.separator();
        match self.bytes_per_group.get() {
            1 => hex::decode_groups::<1>(text, separator, n_bytes),
            2 => hex::decode_groups::<2>(text, separator, n_bytes),
            3 => hex::decode_groups::<3>(text, separator, n_bytes),
            4 => hex::decode_groups::<4>(text, separator, n_bytes),
            _ => hex::decode_groups::<8>(text, separator, n_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 5] = [0x3f, 0x80, 0x00, 0x01, 0xab];

    fn serializer(format: Format, bytes_per_group: usize) -> Serializer {
        Serializer::new(format, BytesPerGroup::new(bytes_per_group).unwrap())
    }

    /// Written by hand from the format's description; one line a format, group sizes 1, 2, 3, 4, 8.
    const VECTORS: [(&str, [&str; 5]); 9] = [
        ("hex-none", ["3f800001ab"; 5]),
        ("hex-space", ["3f 80 00 01 ab", "3f80 0001 ab", "3f8000 01ab", "3f800001 ab", "3f800001ab"]),
        ("hex-comma", ["3f,80,00,01,ab", "3f80,0001,ab", "3f8000,01ab", "3f800001,ab", "3f800001ab"]),
        ("hex-comma+space", ["3f, 80, 00, 01, ab", "3f80, 0001, ab", "3f8000, 01ab", "3f800001, ab", "3f800001ab"]),
        ("hex-semicolon", ["3f;80;00;01;ab", "3f80;0001;ab", "3f8000;01ab", "3f800001;ab", "3f800001ab"]),
        ("hex-0x", ["3f0x800x000x010xab", "3f800x00010xab", "3f80000x01ab", "3f8000010xab", "3f800001ab"]),
        ("iso", ["?\u{80}\0\u{1}«"; 5]),
        (
            "iso-space",
            ["? \u{80} \0 \u{1} «", "?\u{80} \0\u{1} «", "?\u{80}\0 \u{1}«", "?\u{80}\0\u{1} «", "?\u{80}\0\u{1}«"],
        ),
        (
            "iso-comma+space",
            [
                "?, \u{80}, \0, \u{1}, «",
                "?\u{80}, \0\u{1}, «",
                "?\u{80}\0, \u{1}«",
                "?\u{80}\0\u{1}, «",
                "?\u{80}\0\u{1}«",
            ],
        ),
    ];

    #[test]
    fn hand_checked_vectors() {
        assert_eq!(VECTORS.map(|(name, _)| name.parse::<Format>().unwrap()), Format::ALL);
        for (name, texts) in VECTORS {
            for (group, text) in BytesPerGroup::ALL.into_iter().zip(texts) {
                let serializer = Serializer::new(name.parse().unwrap(), group);
                assert_eq!(serializer.serialize(&BYTES), text, "{name}, {group}");
                assert_eq!(serializer.deserialize(text).unwrap(), BYTES, "{name}, {group}");
                assert_eq!(serializer.n_chars(5), text.chars().count(), "{name}, {group}");
            }
        }
    }

    #[test]
    fn a_whole_group_ends_without_separator() {
        assert_eq!(serializer(Format::HexSpace, 4).serialize(&[1; 8]), "01010101 01010101");
        assert_eq!(serializer(Format::Hex0x, 1).serialize(&[1]), "01");
        assert_eq!(serializer(Format::IsoCommaSpace, 2).serialize(b"abcd"), "ab, cd");
        assert_eq!(serializer(Format::HexSpace, 4).serialize(&[]), "");
    }

    #[test]
    fn every_byte_value_is_one_latin1_character() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = serializer(Format::Iso, 4).serialize(&bytes);
        assert!(text.chars().map(u32::from).eq(0..256));
    }

    #[test]
    fn appends() {
        let mut text = String::from("x");
        serializer(Format::HexComma, 1).serialize_into(&[1, 2], &mut text);
        assert_eq!(text, "x01,02");
    }

    #[test]
    fn lengths_are_inverse() {
        for format in Format::ALL {
            for group in BytesPerGroup::ALL {
                let serializer = Serializer::new(format, group);
                let mut lengths = (0..40).map(|n_bytes| (serializer.n_chars(n_bytes), n_bytes)).peekable();
                for n_chars in 0..serializer.n_chars(39) {
                    let expected = lengths.next_if(|&(length, _)| length == n_chars).map(|(_, n_bytes)| n_bytes);
                    assert_eq!(serializer.n_bytes(n_chars), expected, "{format} {group} {n_chars}");
                }
            }
        }
        assert_eq!(serializer(Format::HexSpace, 1).n_chars(usize::MAX), usize::MAX);
        assert_eq!(serializer(Format::HexSpace, 1).n_bytes(usize::MAX), None);
    }

    #[test]
    fn only_canonical_text_is_accepted() {
        let hex = serializer(Format::HexSpace, 2);
        assert!(matches!(hex.deserialize("3F80"), Err(Error::Digit { position: 1, found: 'F' })));
        assert!(matches!(
            hex.deserialize("3f80,0001"),
            Err(Error::Separator { position: 4, found: ',', expected: ' ' })
        ));
        assert!(matches!(hex.deserialize("3f80 "), Err(Error::Length { n_chars: 5, .. })));
        assert!(matches!(hex.deserialize("3f8"), Err(Error::Length { n_chars: 3, .. })));
        assert!(matches!(hex.deserialize("3é80"), Err(Error::Digit { position: 1, found: 'é' })));
        assert!(matches!(hex.deserialize(" 3f80"), Err(Error::Digit { position: 0, found: ' ' })));
        let iso = serializer(Format::IsoSpace, 1);
        assert!(matches!(iso.deserialize("a ł"), Err(Error::NotLatin1 { position: 2, found: 'ł' })));
        assert!(matches!(iso.deserialize("ab"), Err(Error::Separator { position: 1, .. })));
        assert_eq!(iso.deserialize("").unwrap(), []);
    }
}
