//! Primitive fields: integers, strings, records.

use crate::Error;

/// Strings with a one-byte form. The position in this list is part of the format: entries may be added at the end,
/// never changed or removed.
const WELL_KNOWN: [&str; 66] = [
    // Settings.
    "bytes_per_group",
    "codec",
    "format",
    "lanes",
    "level",
    "lm_bits",
    "mask",
    "mix",
    "model",
    "overlap",
    "preprocess",
    "reference",
    "seed",
    "window",
    // Their values.
    "alphabet",
    "auto",
    "fast",
    "false",
    "grammar",
    "hex-0x",
    "hex-comma",
    "hex-comma+space",
    "hex-none",
    "hex-semicolon",
    "hex-space",
    "iso",
    "iso-comma+space",
    "iso-space",
    "lm",
    "none",
    "structural",
    "true",
    "zstd",
    // File formats.
    "gguf",
    "npy",
    "npz",
    "raw",
    "safetensors",
    "tokens",
    "torch",
    // Element types.
    "BF16",
    "BOOL",
    "C128",
    "C64",
    "F16",
    "F32",
    "F64",
    "F8_E4M3",
    "F8_E4M3FNUZ",
    "F8_E5M2",
    "F8_E5M2FNUZ",
    "F8_E8M0",
    "I16",
    "I32",
    "I64",
    "I8",
    "U16",
    "U32",
    "U64",
    "U8",
    // Tensor names.
    "bias",
    "weight",
    "ensemble",
    "ids-byte",
    "ids-exponent",
    "ids-nibble",
];

/// Most bytes of a variable-length integer.
pub(crate) const MAX_VARINT_BYTES: usize = 10;

/// Appends a variable-length integer: seven bits a byte, the lowest first, the top bit set on all but the last.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The value of a complete variable-length integer, if it is one in its shortest form.
pub(crate) fn varint_value(bytes: &[u8]) -> Option<u64> {
    let (&last, rest) = bytes.split_last()?;
    let is_shortest = last != 0 || rest.is_empty();
    if last >= 0x80 || !is_shortest {
        return None;
    }
    bytes.iter().rev().try_fold(0u64, |value, &byte| {
        let shifted = value.checked_mul(0x80)?;
        Some(shifted | u64::from(byte & 0x7f))
    })
}

/// Appends a string: `2 * length` and its bytes, or `2 * index + 1` of a well-known one.
pub(crate) fn put_string(out: &mut Vec<u8>, string: &str) {
    match WELL_KNOWN.iter().position(|&known| known == string) {
        Some(index) => put_varint(out, index as u64 * 2 + 1),
        None => {
            put_varint(out, string.len() as u64 * 2);
            out.extend_from_slice(string.as_bytes());
        }
    }
}

/// Reads the fields of a section's body, or of a codec's payload, whose checksum has been verified.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Where in the file the next field starts.
    offset: u64,
}

impl<'a> Fields<'a> {
    /// The fields in `bytes`, which start at `offset` in the file: errors count from there.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error for a field that starts here.
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { what, offset: self.offset }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming `what` if there are fewer.
    pub fn bytes(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], Error> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = split.ok_or_else(|| self.corrupt(what))?;
        self.rest = rest;
        self.offset += len;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.corrupt(what))?;
        self.rest = rest;
        self.offset += N as u64;
        Ok(bytes)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming `what` if there is none.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array(what).map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// A variable-length integer, as [`put_varint`] writes it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming `what` if there is none in its shortest form.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, Error> {
        let here = self.corrupt(what);
        let last = self.rest.iter().take(MAX_VARINT_BYTES).position(|&byte| byte < 0x80);
        let Some(last) = last else { return Err(here) };
        let bytes = self.bytes(last as u64 + 1, what)?;
        varint_value(bytes).ok_or(here)
    }

    /// A variable-length integer of a narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Error> {
        let here = self.corrupt(what);
        T::try_from(self.varint(what)?).map_err(|_| here)
    }

    pub(crate) fn string(&mut self, what: &'static str) -> Result<String, Error> {
        let offset = self.offset;
        let tag = self.varint(what)?;
        if tag & 1 != 0 {
            let index = tag >> 1;
            let known = usize::try_from(index).ok().and_then(|index| WELL_KNOWN.get(index));
            return match known {
                Some(&known) => Ok(known.to_owned()),
                None => Err(Error::UnsupportedFeature { what: "well-known string", value: index, offset }),
            };
        }
        let bytes = self.bytes(tag >> 1, what)?;
        let string = std::str::from_utf8(bytes).map_err(|_| Error::Corrupt { what, offset })?;
        Ok(string.to_owned())
    }

    /// Reads the records that fill the rest of a body; `known` takes those that it knows. Of the others those with even tags
    /// may be ignored, those with odd ones may not.
    pub(crate) fn records(
        mut self,
        mut known: impl FnMut(u64, Fields<'a>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        while !self.is_empty() {
            let offset = self.offset;
            let tag = self.varint("record")?;
            let len = self.varint("record")?;
            let contents_offset = self.offset;
            let contents = Fields::new(self.bytes(len, "record")?, contents_offset);
            if !known(tag, contents)? && tag & 1 != 0 {
                return Err(Error::UnsupportedFeature { what: "record", value: tag, offset });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn well_known_strings_are_distinct_and_short() {
        for (index, string) in WELL_KNOWN.iter().enumerate() {
            assert_eq!(WELL_KNOWN.iter().position(|known| known == string), Some(index), "{string}");
            let mut bytes = Vec::new();
            put_string(&mut bytes, string);
            let mut expected = Vec::new();
            put_varint(&mut expected, index as u64 * 2 + 1);
            assert_eq!(bytes, expected);
            assert!(bytes.len() < string.len(), "{string}");
            assert_eq!(Fields::new(&bytes, 0).string("test").unwrap(), *string);
        }
    }

    #[test]
    fn well_known_strings_are_as_specified() {
        let specification = include_str!("../../../docs/format.md");
        let (_, list) = specification.split_once("<!-- well-known strings -->").unwrap();
        let (list, _) = list.split_once("\n\n").unwrap();
        let mut specified = Vec::new();
        for line in list.lines().skip(3) {
            let [_, from, entries, _]: [&str; 4] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(from.trim(), specified.len().to_string());
            specified.extend(entries.split('`').skip(1).step_by(2));
        }
        assert_eq!(specified, WELL_KNOWN);
    }

    #[test]
    fn varints_have_one_form() {
        for (value, bytes) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
            (u64::MAX, vec![255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
        }
        for bad in [
            &[][..],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0x80, 0],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        ] {
            assert!(matches!(Fields::new(bad, 7).varint("test"), Err(Error::Corrupt { what: "test", offset: 7 })));
        }
    }

    #[test]
    fn unknown_records_are_skipped_only_if_their_tag_is_even() {
        let records = |bytes, offset| Fields::new(bytes, offset).records(|tag, _| Ok(tag == 7));
        assert!(records(&[], 0).is_ok());
        assert!(records(&[2, 3, 9, 9, 9, 0, 0, 7, 0], 0).is_ok());
        assert!(matches!(records(&[2, 3, 9, 9], 0), Err(Error::Corrupt { what: "record", offset: 2 })));
        assert!(matches!(
            records(&[0, 1, 9, 5, 0], 10),
            Err(Error::UnsupportedFeature { what: "record", value: 5, offset: 13 })
        ));
    }

    proptest! {
        #[test]
        fn varints_come_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert!(bytes.len() <= MAX_VARINT_BYTES);
            let mut fields = Fields::new(&bytes, 0);
            prop_assert_eq!(fields.varint("test").unwrap(), value);
            prop_assert!(fields.is_empty());
        }

        #[test]
        fn strings_come_back(string: String) {
            let mut bytes = Vec::new();
            put_string(&mut bytes, &string);
            let mut fields = Fields::new(&bytes, 0);
            prop_assert_eq!(fields.string("test").unwrap(), string);
            prop_assert!(fields.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Fields::new(&bytes, 0).string("test");
            let _ = Fields::new(&bytes, 0).narrow::<u16>("test");
            let _ = Fields::new(&bytes, 0).records(|_, _| Ok(false));
        }
    }
}
