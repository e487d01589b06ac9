//! Taking numbers and strings from bytes (section 2).

use super::{Class, Refusal};

/// Bytes that are taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    left: &'a [u8],
    /// What it means that they end too early.
    end: Class,
}

impl<'a> Bytes<'a> {
    /// A file's: if they end too early, it is truncated.
    pub(super) fn of_file(bytes: &'a [u8]) -> Self {
        Self { left: bytes, end: Class::Truncated }
    }

    /// A section's body or a payload: if they end too early, it is corrupt.
    pub(super) fn of_body(bytes: &'a [u8]) -> Self {
        Self { left: bytes, end: Class::Corrupt }
    }

    /// What has not been taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.left
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// `bytes[n]`.
    pub(super) fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], Refusal> {
        match usize::try_from(n).ok().and_then(|n| self.left.split_at_checked(n)) {
            Some((taken, left)) => {
                self.left = left;
                Ok(taken)
            }
            None => {
                let what = format!("{what}: {n} bytes are needed, {} are there", self.left.len());
                Err(Refusal { class: self.end, what })
            }
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, Refusal> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, Refusal> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Refusal> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn varint(&mut self, what: &str) -> Result<u64, Refusal> {
        let mut value = 0_u64;
        for i in 0..10 {
            let byte = self.u8(what)?;
            if i == 9 && byte > 1 {
                return Err(Refusal::corrupt(format!("{what}: the number has more than 64 bits")));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                if byte == 0 && i > 0 {
                    return Err(Refusal::corrupt(format!("{what}: the number is longer than it need be")));
                }
                return Ok(value);
            }
        }
        Err(Refusal::corrupt(format!("{what}: the number has more than 10 bytes")))
    }

    pub(super) fn varint16(&mut self, what: &str) -> Result<u16, Refusal> {
        let value = self.varint(what)?;
        u16::try_from(value).map_err(|_| Refusal::corrupt(format!("{what}: {value} has more than 16 bits")))
    }

    pub(super) fn varint32(&mut self, what: &str) -> Result<u32, Refusal> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| Refusal::corrupt(format!("{what}: {value} has more than 32 bits")))
    }

    /// A string, whose entries of the list of well-known ones are `well_known`.
    pub(super) fn string(&mut self, well_known: &[&str], what: &str) -> Result<String, Refusal> {
        let t = self.varint(what)?;
        if t % 2 == 1 {
            let entry = usize::try_from(t / 2).ok().and_then(|entry| well_known.get(entry));
            let unknown =
                || Refusal::new(Class::Unsupported, format!("{what}: no well-known string {} is known", t / 2));
            return entry.map(|&entry| entry.to_owned()).ok_or_else(unknown);
        }
        let bytes = self.take(t / 2, what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::corrupt(format!("{what}: not UTF-8")))?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_the_shortest_there_are() {
        let varint = |bytes: &[u8]| Bytes::of_body(bytes).varint("").ok();
        assert_eq!(varint(&[0]), Some(0));
        assert_eq!(varint(&[0x8c, 0x01]), Some(140));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(u64::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
        assert_eq!(varint(&[0x80, 0x00]), None);
        assert_eq!(varint(&[0x80]), None);
    }
}
