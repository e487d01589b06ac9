//! Arrays of numbers, to be read element by element; anything else of a file is listed as left out.

use std::io::{Read, Seek};

use super::{Element, Header, MAX_HEADER_BYTES, MEMBER_SUFFIX, UNNAMED, header_text};
use crate::Error;
use crate::archive::{self, Member, Place};
use crate::source::Source;
use crate::tensor_file::{LeftOut, StoredTensor};

/// The array of a `.npy` file.
pub(crate) fn read_numbers<R: Read + Seek>(
    source: &mut Source<'_, R>,
    left_out: &mut LeftOut,
) -> Result<Vec<StoredTensor>, Error> {
    let file = Place { offset: 0, len: source.file_len() };
    Ok(read_array(source, UNNAMED, file, left_out)?.into_iter().collect())
}

/// The arrays of a `.npz` file, all of whose members are stored.
pub(crate) fn read_archive_numbers<R: Read + Seek>(
    source: &mut Source<'_, R>,
    members: &[Member],
    left_out: &mut LeftOut,
) -> Result<Vec<StoredTensor>, Error> {
    let mut tensors = Vec::new();
    for member in members {
        let (Some(name), Some(place)) = (member.name.strip_suffix(MEMBER_SUFFIX), member.stored) else {
            left_out.add(|| member.name.clone());
            continue;
        };
        archive::check(source, member)?;
        tensors.extend(read_array(source, name, place, left_out)?);
    }
    Ok(tensors)
}

/// `None` for an array of text, objects or records.
fn read_array<R: Read + Seek>(
    source: &mut Source<'_, R>,
    name: &str,
    place: Place,
    left_out: &mut LeftOut,
) -> Result<Option<StoredTensor>, Error> {
    let (text_start, text_len) = header_text(source, place)?;
    let text = source.read_at("array header", text_start, text_len, MAX_HEADER_BYTES)?;
    let header = Header::parse(&text).ok_or_else(|| {
        source.corrupt(text_start, "the array's header is not a dictionary of descr, fortran_order and shape")
    })?;
    let (dtype, is_big_endian) = match header.element {
        Some(Element::Typed(dtype)) => (dtype, false),
        Some(Element::Swapped(dtype)) => (dtype, true),
        Some(Element::Bytes(_)) | None => {
            left_out.add(|| format!("{name} (not an array of numbers)"));
            return Ok(None);
        }
    };
    let offset = text_start + text_len;
    let data = Place { offset, len: (place.offset + place.len).saturating_sub(offset) };
    let mut tensor = StoredTensor::new(name.to_owned(), dtype, header.shape, data.offset);
    tensor.is_big_endian = is_big_endian;
    if header.is_fortran_order {
        tensor.stride_from_first();
    }
    tensor.check(source, data)?;
    Ok(Some(tensor))
}
