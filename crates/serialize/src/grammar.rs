//! What may stand where: the language of all texts of a format, for whoever needs to know which pieces can occur.
//!
//! A text is periodic: after a group and its separator everything repeats. So the grammar is a cycle of [`Slot`]s, one
//! a character, and a piece of text (a token's bytes, which may begin or end within a character's UTF-8) either fits
//! from some slot on or nowhere.

use crate::Serializer;

/// What may stand at one place of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// A byte's upper four bits: `0-9a-f`.
    HighDigit,
    /// A byte's lower four bits: `0-9a-f`.
    LowDigit,
    /// Any character from U+0000 to U+00FF, one or two bytes of UTF-8.
    Latin1,
    /// This ASCII character, part of a separator.
    Separator(u8),
}

impl Serializer {
    /// The cycle of slots: a group's characters, then its separator's. A text begins at slot 0.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let byte: &[Slot] = if self.format().is_hex() { &[Slot::HighDigit, Slot::LowDigit] } else { &[Slot::Latin1] };
        let mut slots = byte.repeat(self.bytes_per_group().get());
        slots.extend(self.format().separator().bytes().map(Slot::Separator));
        slots
    }

    /// Whether some text of this format contains these bytes (of UTF-8, not necessarily whole characters).
    ///
    /// The length of chunks is not taken into account. The empty piece occurs in every text.
    #[must_use]
    pub fn can_contain(&self, piece: &[u8]) -> bool {
        let slots = self.slots();
        (0..slots.len()).any(|start| {
            fits(&slots, start, piece)
                // It may begin with the second byte of a character.
                || slots[start] == Slot::Latin1
                    && piece.split_first().is_some_and(|(&first, rest)| {
                        is_continuation(first) && fits(&slots, start + 1, rest)
                    })
        })
    }

    /// Whether these bytes, all of them whole characters but perhaps the last, can stand at a place of the cycle of [`slots`](Self::slots).
    #[must_use]
    pub fn fits_at(&self, slot: usize, piece: &[u8]) -> bool {
        fits(&self.slots(), slot, piece)
    }

    /// Whether some text of this format begins with these bytes (of UTF-8, the last character perhaps incomplete).
    #[must_use]
    pub fn can_begin_with(&self, piece: &[u8]) -> bool {
        fits(&self.slots(), 0, piece)
    }
}

/// Whether `piece` fits from the slot `start` (modulo the cycle) on.
fn fits(slots: &[Slot], start: usize, piece: &[u8]) -> bool {
    let mut place = start;
    let mut bytes = piece.iter();
    while let Some(&byte) = bytes.next() {
        let fits = match slots[place % slots.len()] {
            Slot::HighDigit | Slot::LowDigit => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Slot::Separator(expected) => byte == expected,
            // U+0080 to U+00FF are C2 or C3 and a continuation byte, which the piece may lack at its end.
            Slot::Latin1 => match byte {
                0..0x80 => true,
                0xc2 | 0xc3 => bytes.next().is_none_or(|&next| is_continuation(next)),
                _ => false,
            },
        };
        if !fits {
            return false;
        }
        place += 1;
    }
    true
}

const fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..0xc0)
}

#[cfg(test)]
mod tests {
    use crate::{BytesPerGroup, Format, Serializer};

    fn serializer(format: Format, bytes_per_group: usize) -> Serializer {
        Serializer::new(format, BytesPerGroup::new(bytes_per_group).unwrap())
    }

    #[test]
    fn hexadecimal_pieces() {
        let groups_of_two = serializer(Format::HexSpace, 2);
        for piece in ["", "0", "f", "face", " ", " face ", "e face ", "ace be", "0000 0000 0"] {
            assert!(groups_of_two.can_contain(piece.as_bytes()), "{piece:?}");
        }
        for piece in ["F", "g", "faces", "facef", "  ", " fac ", ",", "\n", "é", "f f f"] {
            assert!(!groups_of_two.can_contain(piece.as_bytes()), "{piece:?}");
        }
        assert!(serializer(Format::HexNone, 1).can_contain(b"facefacef"));
        assert!(!serializer(Format::HexNone, 1).can_contain(b" "));
        assert!(serializer(Format::Hex0x, 1).can_contain(b"x"));
        assert!(serializer(Format::Hex0x, 1).can_contain(b"0x000x"));
        assert!(!serializer(Format::Hex0x, 1).can_contain(b"0x0x"));
        assert!(serializer(Format::HexCommaSpace, 1).can_contain(b", 00, "));
        assert!(!serializer(Format::HexCommaSpace, 1).can_contain(b",00"));
    }

    #[test]
    fn latin1_pieces() {
        let iso = serializer(Format::Iso, 4);
        for piece in [&b"a b"[..], b"\xc3", b"\x85", b"\x85\xc2", b"\xc3\xbf\xc2\x80", b"\0"] {
            assert!(iso.can_contain(piece), "{piece:x?}");
        }
        for piece in [&b"\xc4"[..], b"\xc4\x80", b"\x80\x80", b"\xe2\x82\xac", b"\xc3a", b"\xff"] {
            assert!(!iso.can_contain(piece), "{piece:x?}");
        }
        let separated = serializer(Format::IsoCommaSpace, 1);
        assert!(separated.can_contain(b"\x85, \xc3"));
        assert!(separated.can_contain(b",, "), "a comma as data");
        assert!(!separated.can_contain(b"abc"));
    }

    #[test]
    fn beginnings() {
        let serializer = serializer(Format::HexSpace, 1);
        assert!(serializer.can_begin_with(b"3f 8"));
        assert!(!serializer.can_begin_with(b"f 80"));
        assert!(!serializer.can_begin_with(b" 3f"));
        assert!(serializer.fits_at(1, b"f 80") && serializer.fits_at(2, b" 3f") && !serializer.fits_at(1, b"3f"));
    }
}
