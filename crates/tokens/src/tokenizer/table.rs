//! The id -> bytes table.

use crate::{Error, Result};

/// No vocabulary known comes near; it bounds what a wrong id in a file can make us allocate.
pub(super) const MAX_VOCAB_SIZE: usize = 1 << 22;

/// The bytes that every id stands for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// All entries' bytes, in order of ids.
    bytes: Vec<u8>,
    /// Where each entry ends in `bytes`; ascending.
    ends: Vec<usize>,
}

impl Table {
    /// From entries in any order; ids not mentioned get no bytes.
    pub(super) fn new(mut entries: Vec<(u32, Vec<u8>)>) -> Result<Self> {
        entries.sort_unstable();
        let mut table = Self::default();
        for (id, bytes) in entries {
            let id = id as usize;
            if id >= MAX_VOCAB_SIZE {
                return Err(Error::Vocabulary(format!("token id {id} is above the limit of {MAX_VOCAB_SIZE}")));
            }
            if id < table.len() {
                return Err(Error::Vocabulary(format!("token id {id} is given twice")));
            }
            table.ends.resize(id, table.bytes.len());
            table.bytes.extend(bytes);
            table.ends.push(table.bytes.len());
        }
        Ok(table)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        match (start, self.ends.get(id)) {
            (Some(start), Some(&end)) => &self.bytes[start..end],
            _ => &[],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|id| self.get(id as u32))
    }

    pub(super) fn padded(&self, n_entries: usize) -> impl Iterator<Item = &[u8]> {
        (0..n_entries.max(self.len())).map(|id| u32::try_from(id).map_or(&[][..], |id| self.get(id)))
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        // Where all bytes have been given, only empty entries follow.
        let n_used = match self.bytes.len() {
            0 => 0,
            n_bytes => self.ends.partition_point(|&end| end < n_bytes) + 1,
        };
        let mut hasher = blake3::Hasher::new();
        for bytes in self.iter().take(n_used) {
            hasher.update(&(bytes.len() as u32).to_le_bytes());
            hasher.update(bytes);
        }
        hasher.finalize().into()
    }
}

/// How a vocabulary writes bytes as characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: one character a byte, printable Latin-1 as itself, others from U+0100 on.
    ByteLevel,
    /// SentencePiece's: text, with `▁` for a space and `<0x0A>` for a byte where no piece fits.
    SentencePiece {
        /// Whether `<0x0A>` are bytes.
        byte_fallback: bool,
    },
}

impl Spelling {
    /// The bytes of an ordinary token.
    pub(super) fn bytes_of(self, token: &str) -> Vec<u8> {
        match self {
            // As transformers decodes: a token with any other character is no byte-level one.
            Self::ByteLevel => {
                token.chars().map(byte_of_char).collect::<Option<_>>().unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::SentencePiece { byte_fallback } => match byte_token(token).filter(|_| byte_fallback) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
        }
    }

    /// The bytes of a token that is matched in the text before anything else is done to it.
    pub(super) fn bytes_of_added(self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => token.as_bytes().to_vec(),
            Self::SentencePiece { .. } => token.replace('▁', " ").into_bytes(),
        }
    }
}

/// The byte that GPT-2 writes as this character.
fn byte_of_char(c: char) -> Option<u8> {
    const PRINTABLE_BYTES: [std::ops::RangeInclusive<u8>; 3] = [0x21..=0x7e, 0xa1..=0xac, 0xae..=0xff];
    let is_printable = |byte: &u8| PRINTABLE_BYTES.iter().any(|range| range.contains(byte));
    match u8::try_from(c) {
        Ok(byte) => Some(byte).filter(is_printable),
        Err(_) => {
            let index = u32::from(c).checked_sub(0x100)?;
            (0..=0xff).filter(|byte| !is_printable(byte)).nth(index as usize)
        }
    }
}

/// `<0x0A>` is the byte 0x0A.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = digits.len() == 2 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_padding() {
        let table = Table::new(vec![(3, b"abc".to_vec()), (1, b"x".to_vec())]).unwrap();
        assert_eq!(table.len(), 4);
        assert_eq!([0, 1, 2, 3, 4].map(|id| table.get(id)), [&b""[..], b"x", b"", b"abc", b""]);
        assert_eq!(table.get(u32::MAX), b"");
        assert_eq!(table.padded(6).collect::<Vec<_>>(), [&b""[..], b"x", b"", b"abc", b"", b""]);
        assert_eq!(table.padded(0).count(), 4);
    }

    #[test]
    fn impossible_ids() {
        assert!(Table::new(vec![(1, vec![]), (1, vec![])]).is_err());
        assert!(Table::new(vec![(u32::MAX, vec![])]).is_err());
    }

    #[test]
    fn hash_ignores_padding_only() {
        let hash = |entries: &[(u32, &str)]| {
            Table::new(entries.iter().map(|&(id, text)| (id, text.into())).collect()).unwrap().hash()
        };
        assert_eq!(hash(&[(0, "a"), (1, "b")]), hash(&[(0, "a"), (1, "b"), (2, ""), (7, "")]));
        assert_ne!(hash(&[(0, "a"), (1, "b")]), hash(&[(0, "a"), (2, "b")]));
        assert_ne!(hash(&[(0, "a"), (1, "b")]), hash(&[(0, "ab")]));
        assert_ne!(hash(&[(0, "a"), (1, "b")]), hash(&[(0, ""), (1, "ab")]));
        assert_eq!(hash(&[]), hash(&[(0, "")]));
    }

    #[test]
    fn byte_level_characters() {
        assert_eq!(byte_of_char('Ġ'), Some(b' '));
        assert_eq!(byte_of_char('Ċ'), Some(b'\n'));
        assert_eq!(byte_of_char('a'), Some(b'a'));
        assert_eq!(byte_of_char('ÿ'), Some(0xff));
        assert_eq!(byte_of_char('\u{143}'), Some(0xad));
        assert_eq!(byte_of_char(' '), None);
        assert_eq!(byte_of_char('\u{144}'), None);
        let mut bytes: Vec<_> = (0..0x150).filter_map(char::from_u32).filter_map(byte_of_char).collect();
        bytes.sort_unstable();
        assert!(bytes.into_iter().eq(0..=255));
        assert_eq!(Spelling::ByteLevel.bytes_of("Ġab"), b" ab");
        assert_eq!(Spelling::ByteLevel.bytes_of("a b"), b"a b");
    }

    #[test]
    fn sentencepiece_tokens() {
        let spelling = Spelling::SentencePiece { byte_fallback: true };
        assert_eq!(spelling.bytes_of("▁ab▁"), b" ab ");
        assert_eq!(spelling.bytes_of("<0x0A>"), b"\n");
        assert_eq!(spelling.bytes_of("<0xFF>"), b"\xff");
        for not_byte in ["<0xff>", "<0x+F>", "<0x0A", "<0x00A>"] {
            assert_eq!(spelling.bytes_of(not_byte), not_byte.as_bytes());
        }
        assert_eq!(Spelling::SentencePiece { byte_fallback: false }.bytes_of("<0x0A>"), b"<0x0A>");
    }
}
