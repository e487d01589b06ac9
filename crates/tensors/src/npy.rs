//! NumPy's `.npy`, and `.npz` archives of them.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, versions 1.0, 2.0 and 3.0.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use crate::archive::{Member, Place};
use crate::layout::checked_len_bytes;
use crate::notes::Notes;
use crate::source::Source;
use crate::{Dtype, Error, FileFormat, Layout, Span};

mod literal;
mod numbers;
mod writer;

use literal::Literal;
pub(crate) use numbers::{read_archive_numbers, read_numbers};
pub(crate) use writer::write_archive;

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header accepted; NumPy writes a few hundred bytes and reads 10 000.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// The most dimensions accepted; NumPy has 64.
const MAX_N_DIMS: usize = 64;
/// The name NumPy itself gives an array that was saved without one.
const UNNAMED: &str = "arr_0";
const MEMBER_SUFFIX: &str = ".npy";

pub(crate) fn read_layout<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Layout, Error> {
    let file = Place { offset: 0, len: source.file_len() };
    let mut notes = Notes::default();
    let span = read_array(source, UNNAMED, file, &mut notes)?;
    Layout::new(FileFormat::Npy, source.file_len(), vec![span], BTreeMap::new(), notes.into_note())
}

/// Whether an archive holds arrays.
pub(crate) fn has_arrays(members: &[Member]) -> bool {
    members.iter().any(|member| member.name.ends_with(MEMBER_SUFFIX))
}

pub(crate) fn read_archive_layout<R: Read + Seek>(
    source: &mut Source<'_, R>,
    members: &[Member],
) -> Result<Layout, Error> {
    let mut spans = Vec::new();
    let mut notes = Notes::default();
    let mut n_compressed = 0;
    for member in members {
        let Some(name) = member.name.strip_suffix(MEMBER_SUFFIX) else { continue };
        let Some(place) = member.stored else {
            n_compressed += 1;
            continue;
        };
        match read_array(source, name, place, &mut notes) {
            Ok(span) => spans.push(span),
            Err(Error::Io(error)) => return Err(Error::Io(error)),
            Err(reason) => {
                notes.add(format!("\"{name}\" is given as bytes: {reason}"));
                spans.push(Span::bytes(name, place.offset, place.len));
            }
        }
    }
    notes.add_count(n_compressed, "arrays are compressed and left in the skeleton; numpy.savez stores them plain");
    Layout::new(FileFormat::Npz, source.file_len(), spans, BTreeMap::new(), notes.into_note())
}

/// The span of an array whose header begins `place`.
fn read_array<R: Read + Seek>(
    source: &mut Source<'_, R>,
    name: &str,
    place: Place,
    notes: &mut Notes,
) -> Result<Span, Error> {
    let (text_start, text_len) = header_text(source, place)?;
    let text = source.read_at("array header", text_start, text_len, MAX_HEADER_BYTES)?;
    let header = Header::parse(&text).ok_or_else(|| {
        source.corrupt(text_start, "the array's header is not a dictionary of descr, fortran_order and shape")
    })?;

    let offset = text_start + text_len;
    let available = (place.offset + place.len).saturating_sub(offset);
    let Some(element) = header.element else {
        notes.add(format!("\"{name}\" has elements without a plain type and is given as bytes"));
        return Ok(Span::bytes(name, offset, available));
    };
    let mut shape = header.shape;
    if header.is_fortran_order && shape.len() > 1 {
        shape.reverse();
        notes.add(format!("\"{name}\" is in Fortran order: its shape is given reversed, in memory order"));
    }
    let dtype = match element {
        Element::Typed(dtype) => dtype,
        Element::Swapped(_) | Element::Bytes(_) => {
            let element_bytes = element.size_bytes();
            notes.add(format!("\"{name}\" has big-endian or unusual elements, given as {element_bytes} bytes each"));
            shape.push(element_bytes);
            Dtype::U8
        }
    };
    let len = checked_len_bytes(&shape, dtype.size_bytes())
        .ok_or_else(|| source.corrupt(text_start, format!("an array of shape {shape:?} is too large")))?;
    if len > available {
        return Err(Error::Truncated {
            format: source.format(),
            what: format!("array \"{name}\""),
            offset,
            needed: len,
            available,
        });
    }
    if len < available {
        notes.add(format!("\"{name}\" is followed by {} bytes of something else", available - len));
    }
    Ok(Span { name: name.to_owned(), dtype, shape, offset, len })
}

/// Where the header's dictionary lies in the file: start and length.
fn header_text<R: Read + Seek>(source: &mut Source<'_, R>, place: Place) -> Result<(u64, u64), Error> {
    const WHAT: &str = "array header";
    let preamble: [u8; 8] = source.array_at(WHAT, place.offset)?;
    let Some([major, _minor]) = preamble.strip_prefix(MAGIC) else {
        return Err(source.corrupt(place.offset, "an array does not begin with \"\\x93NUMPY\""));
    };
    let (start, len) = match major {
        1 => (10, u16::from_le_bytes(source.array_at(WHAT, place.offset + 8)?).into()),
        2 | 3 => (12, u32::from_le_bytes(source.array_at(WHAT, place.offset + 8)?).into()),
        other => {
            return Err(Error::Unsupported {
                format: source.format(),
                what: format!("npy version {other}; versions 1 to 3 are read"),
            });
        }
    };
    if start + len > place.len {
        return Err(Error::Truncated {
            format: source.format(),
            what: WHAT.to_owned(),
            offset: place.offset,
            needed: start + len,
            available: place.len,
        });
    }
    Ok((place.offset + start, len))
}

/// An element of an array.
#[derive(Debug, PartialEq, Eq)]
enum Element {
    Typed(Dtype),
    /// Big-endian.
    Swapped(Dtype),
    /// Of a type without a [`Dtype`]: its size in bytes.
    Bytes(u64),
}

impl Element {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Typed(dtype) | Self::Swapped(dtype) => dtype.size_bytes(),
            Self::Bytes(size) => *size,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// `None` for structured types and pickled objects.
    element: Option<Element>,
    is_fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    /// `None` unless the text is a Python dictionary of exactly the three keys, with values of the right kind.
    fn parse(text: &[u8]) -> Option<Self> {
        let Literal::Dict(pairs) = Literal::parse(text)? else { return None };
        let [_, _, _] = pairs.as_slice() else { return None };
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let element = match value("descr")? {
            Literal::Text(descr) => parse_element(descr),
            Literal::List(_) | Literal::Tuple(_) => None,
            _ => return None,
        };
        let Literal::Bool(is_fortran_order) = *value("fortran_order")? else { return None };
        let Literal::Tuple(dims) = value("shape")? else { return None };
        if dims.len() > MAX_N_DIMS {
            return None;
        }
        let shape = dims.iter().map(|dim| if let Literal::Int(n) = dim { Some(*n) } else { None });
        Some(Self { element, is_fortran_order, shape: shape.collect::<Option<_>>()? })
    }
}

/// Reads NumPy's type string, such as `<f4`: byte order, kind, bytes (characters of 4 bytes for `U`), and a unit in
/// brackets for times.
fn parse_element(descr: &str) -> Option<Element> {
    let mut chars = descr.chars();
    let byte_order = chars.next()?;
    let kind = chars.next()?;
    let number = chars.as_str().split('[').next()?;
    let size: u64 = number.parse::<u32>().ok()?.into();
    let dtype = match (kind, size) {
        ('b', 1) => Some(Dtype::Bool),
        ('i', 1) => Some(Dtype::I8),
        ('i', 2) => Some(Dtype::I16),
        ('i', 4) => Some(Dtype::I32),
        ('i', 8) => Some(Dtype::I64),
        ('u', 1) => Some(Dtype::U8),
        ('u', 2) => Some(Dtype::U16),
        ('u', 4) => Some(Dtype::U32),
        ('u', 8) => Some(Dtype::U64),
        ('f', 2) => Some(Dtype::F16),
        ('f', 4) => Some(Dtype::F32),
        ('f', 8) => Some(Dtype::F64),
        ('c', 8) => Some(Dtype::C64),
        ('c', 16) => Some(Dtype::C128),
        _ => None,
    };
    match (dtype, byte_order) {
        (Some(dtype), '<') => Some(Element::Typed(dtype)),
        (Some(dtype), '|' | '>') if dtype.size_bytes() == 1 => Some(Element::Typed(dtype)),
        (Some(dtype), '>') => Some(Element::Swapped(dtype)),
        (_, '<' | '>' | '|') => match kind {
            'b' | 'i' | 'u' | 'f' | 'c' | 'm' | 'M' | 'S' | 'a' | 'V' => Some(Element::Bytes(size)),
            'U' => Some(Element::Bytes(size * 4)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_strings() {
        for (descr, expected) in [
            ("<f4", Some(Element::Typed(Dtype::F32))),
            ("|b1", Some(Element::Typed(Dtype::Bool))),
            ("|u1", Some(Element::Typed(Dtype::U8))),
            ("<c16", Some(Element::Typed(Dtype::C128))),
            (">f4", Some(Element::Swapped(Dtype::F32))),
            (">i1", Some(Element::Typed(Dtype::I8))),
            ("<U5", Some(Element::Bytes(20))),
            ("|S3", Some(Element::Bytes(3))),
            ("|V2", Some(Element::Bytes(2))),
            ("<f16", Some(Element::Bytes(16))),
            ("<M8[ns]", Some(Element::Bytes(8))),
            ("|O", None),
            ("=f4", None),
            ("<f-4", None),
            ("<f", None),
            ("", None),
        ] {
            assert_eq!(parse_element(descr), expected, "{descr}");
        }
    }

    #[test]
    fn headers_are_held_to_their_form() {
        let good = b"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }   \n";
        let expected = Header { element: Some(Element::Typed(Dtype::F32)), is_fortran_order: true, shape: vec![2, 3] };
        assert_eq!(Header::parse(good), Some(expected));
        for bad in [
            "{'descr': '<f4', 'fortran_order': True}",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2), }",
            "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }",
            "{'descr': 4, 'fortran_order': True, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (-2,), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), 'x': 1}",
            "{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}",
            "[]",
        ] {
            assert_eq!(Header::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
