//! Pieces cut into elements: characters, or what is left of them.

/// An element that is a space.
const SPACE: u16 = b' ' as u16;
/// An element that is no Latin-1 character.
pub(super) const FOREIGN: u16 = 0x100;

/// A sequence of elements, made of bytes of UTF-8.
///
/// An element ends at each byte below 0xC0, that is, at ASCII and continuation bytes. For Latin-1 text these are its
/// characters; text that a tokenizer changed or took apart is cut somehow, but always in the same way. Bytes behind the
/// last such byte are no element.
#[derive(Debug)]
pub(super) struct Elements {
    elements: Vec<u16>,
    pending: Pending,
    /// A space that comes first is still to be dropped.
    drops_next_space: bool,
}

/// What precedes the byte that ends an element.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Nothing,
    /// One byte, 0xC0 or above.
    Lead(u8),
    /// More than that.
    Several,
}

impl Elements {
    /// No elements. If `drops_prefix` and the first one is a space, it will not be recorded.
    pub(super) fn new(drops_prefix: bool) -> Self {
        Self { elements: Vec::new(), pending: Pending::Nothing, drops_next_space: drops_prefix }
    }

    pub(super) fn extend(&mut self, piece: &[u8]) {
        for &byte in piece {
            if byte >= 0xc0 {
                self.pending = match self.pending {
                    Pending::Nothing => Pending::Lead(byte),
                    _ => Pending::Several,
                };
                continue;
            }
            let element = match (self.pending, byte) {
                (Pending::Nothing, 0..0x80) => byte.into(),
                (Pending::Lead(0xc2), 0x80..) => byte.into(),
                (Pending::Lead(0xc3), 0x80..) => u16::from(byte) + 0x40,
                _ => FOREIGN,
            };
            self.pending = Pending::Nothing;
            if !(std::mem::take(&mut self.drops_next_space) && element == SPACE) {
                self.elements.push(element);
            }
        }
    }

    pub(super) fn as_slice(&self) -> &[u16] {
        &self.elements
    }
}

/// How many spaces a text begins with.
pub(crate) fn n_leading_spaces(text: impl Iterator<Item = u8>) -> usize {
    text.take_while(|&byte| byte == b' ').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(drops_prefix: bool, pieces: &[&[u8]]) -> Vec<u16> {
        let mut elements = Elements::new(drops_prefix);
        for piece in pieces {
            elements.extend(piece);
        }
        elements.elements
    }

    #[test]
    fn latin1_characters_across_pieces() {
        let text: String = (0..=0xff).map(char::from).collect();
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert!(elements(false, &bytes).into_iter().eq(0..0x100));
        assert!(elements(false, &[text.as_bytes()]).into_iter().eq(0..0x100));
    }

    #[test]
    fn foreign_elements() {
        assert_eq!(elements(false, &["€a".as_bytes()]), [FOREIGN, FOREIGN, 0x61]);
        assert_eq!(elements(false, &[b"\x80\xc2a\xc2\xc2\x85b\xc4\x80"]), [FOREIGN, FOREIGN, FOREIGN, 0x62, FOREIGN]);
        assert_eq!(elements(false, &[b"a\xc3"]), [0x61]);
    }

    #[test]
    fn one_leading_space_is_dropped() {
        assert_eq!(elements(true, &[b" ", b" a"]), [SPACE, 0x61]);
        assert_eq!(elements(true, &[b"a "]), [0x61, SPACE]);
        assert_eq!(elements(false, &[b" a"]), [SPACE, 0x61]);
    }
}
