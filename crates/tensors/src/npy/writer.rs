//! Writing `.npz`, as `numpy.savez` does.

use std::io::{Seek, Write};

use zip::ZipWriter;

use super::{MAGIC, MAX_N_DIMS, MEMBER_SUFFIX};
use crate::tensor_file::{TensorInfo, WriteTensor};
use crate::{Dtype, Error, archive};

/// The data of an array begin at a multiple of this, counted from the array's own start.
const ALIGNMENT: usize = 64;
/// Bytes before the text of a version 1.0 header: magic, version, length.
const PREAMBLE_BYTES: usize = 10;

/// Writes an archive of arrays, in this order.
pub(crate) fn write_archive<W: Write + Seek>(
    writer: W,
    tensors: &[TensorInfo<'_>],
    write_tensor: &mut WriteTensor<'_>,
) -> Result<W, Error> {
    let headers = tensors.iter().map(header).collect::<Result<Vec<_>, _>>()?;
    let mut archive = ZipWriter::new(writer);
    for (index, (tensor, header)) in tensors.iter().zip(headers).enumerate() {
        let len = tensor.len.saturating_add(header.len() as u64);
        archive::new_member(&mut archive, &format!("{}{MEMBER_SUFFIX}", tensor.name), len, 1)?;
        archive.write_all(&header)?;
        write_tensor(index, &mut archive)?;
    }
    archive.finish().map_err(|error| Error::Io(error.into()))
}

/// An array's header, with padding.
fn header(tensor: &TensorInfo<'_>) -> Result<Vec<u8>, Error> {
    let descr = descr(tensor.dtype).ok_or_else(|| {
        tensor.invalid(format!(
            "NumPy has no element type {}; convert to safetensors or pt, or cast it to F32 first",
            tensor.dtype
        ))
    })?;
    if tensor.shape.len() > MAX_N_DIMS {
        return Err(tensor.invalid(format!("NumPy has at most {MAX_N_DIMS} dimensions")));
    }
    let mut shape: String = tensor.shape.iter().map(|dim| format!("{dim}, ")).collect();
    // A tuple of one keeps its comma.
    shape.truncate(shape.len().saturating_sub(if tensor.shape.len() == 1 { 1 } else { 2 }));
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (PREAMBLE_BYTES + text.len() + 1).next_multiple_of(ALIGNMENT) - PREAMBLE_BYTES;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let text_len = u16::try_from(text.len()).map_err(|_| tensor.invalid("its shape is too long to write down"))?;
    Ok([MAGIC, &[1, 0], &text_len.to_le_bytes(), text.as_bytes()].concat())
}

/// NumPy's type string; `None` for what it lacks.
fn descr(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "<f8",
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::I64 => "<i8",
        Dtype::I32 => "<i4",
        Dtype::I16 => "<i2",
        Dtype::I8 => "|i1",
        Dtype::U64 => "<u8",
        Dtype::U32 => "<u4",
        Dtype::U16 => "<u2",
        Dtype::U8 => "|u1",
        Dtype::Bool => "|b1",
        Dtype::C64 => "<c8",
        Dtype::C128 => "<c16",
        Dtype::BF16 | Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz | Dtype::F8E8M0 => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse_element;
    use super::*;

    #[test]
    fn headers_are_those_of_numpy() {
        for (shape, text) in [(&[][..], "()"), (&[3], "(3,)"), (&[2, 0], "(2, 0)"), (&[1, 2, 3], "(1, 2, 3)")] {
            let header = header(&TensorInfo { name: "x", dtype: Dtype::F32, shape, len: 0 }).unwrap();
            assert!(header.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': "));
            let found = String::from_utf8(header[60..].to_vec()).unwrap();
            assert_eq!(found.trim_end(), format!("{text}, }}"));
            assert!(header.len() == 128 && header.ends_with(b" \n"));
        }
    }

    #[test]
    fn type_strings_mean_the_types() {
        for dtype in Dtype::ALL {
            match descr(dtype) {
                Some(text) => assert_eq!(parse_element(text), Some(super::super::Element::Typed(dtype))),
                None => assert!(dtype.as_str().starts_with("BF16") || dtype.as_str().starts_with("F8_")),
            }
        }
    }
}
