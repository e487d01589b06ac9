//! Hugging Face safetensors: strict reading of the header, and deterministic writing.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The header's validation is the `safetensors` crate's;
//! the header is read here, so that no tensor data is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use safetensors::tensor::{Dtype as FormatDtype, Metadata, TensorInfo as FormatInfo};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::source::Source;
use crate::tensor_file::{TensorInfo, WriteTensor};
use crate::{Dtype, Error, FileFormat, Layout, Span};

/// The longest header accepted, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The header's length field.
const LENGTH_BYTES: u64 = 8;

/// A tensor to be written: name, element type, shape, little-endian bytes.
pub type TensorEntry<'a> = (String, Dtype, Vec<u64>, &'a [u8]);

/// Reads where the tensors lie in a safetensors file, or says what is wrong with it.
///
/// Tensors of types narrower than a byte (F4, F6) are given as one-dimensional [`Dtype::U8`].
///
/// # Errors
/// [`Error::Truncated`], [`Error::LimitExceeded`] or [`Error::Corrupt`] when the file does not follow the format
/// (header a JSON object, tensors contiguous and filling the file to its end), [`Error::Io`] when it cannot be read.
pub fn read_layout_strict<R: Read + Seek>(reader: &mut R) -> Result<Layout, Error> {
    read_layout(&mut Source::new(reader, FileFormat::Safetensors)?)
}

pub(crate) fn read_layout<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Layout, Error> {
    let header_len = u64::from_le_bytes(source.array_at("header length", 0)?);
    let header = source.read_at("header bytes", LENGTH_BYTES, header_len, MAX_HEADER_BYTES)?;
    // As the format has it, by which such files are told from others; a list would do for the parser.
    if header.first() != Some(&b'{') {
        return Err(source.corrupt(LENGTH_BYTES, "the header does not begin with '{'"));
    }
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| source.corrupt(LENGTH_BYTES, format!("the header is not valid: {error}")))?;

    let data_start = LENGTH_BYTES + header_len;
    let data_end = data_start.checked_add(metadata.data_len() as u64);
    if data_end != Some(source.file_len()) {
        return Err(source.corrupt(
            data_start,
            format!("tensors take {} bytes, {} follow the header", metadata.data_len(), source.file_len() - data_start),
        ));
    }

    let mut n_subbyte_tensors = 0;
    let spans = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let (offset, len) = (data_start + start, end - start);
            match from_format_dtype(info.dtype) {
                Some(dtype) => {
                    let shape = info.shape.iter().map(|&dim| dim as u64).collect();
                    Span { name, dtype, shape, offset, len }
                }
                None => {
                    n_subbyte_tensors += 1;
                    Span::bytes(name, offset, len)
                }
            }
        })
        .collect::<Vec<_>>();
    let note = (n_subbyte_tensors > 0)
        .then(|| format!("{n_subbyte_tensors} tensors with elements narrower than a byte are given as bytes"));

    let text = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    Layout::new(FileFormat::Safetensors, source.file_len(), named_order(spans), text, note)
}

/// Orders tensors that share a place (empty ones) by name: the crate's map has no order of its own.
fn named_order(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.name.cmp(&b.name));
    spans
}

const TEMPORARY_PREFIX: &str = ".lmgc-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Whether a path's name is that of a temporary file of [`write()`], which is left over if the process was killed.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX)
}

/// Writes a safetensors file at `path`: to a temporary file beside it, flushed to the disk, then renamed, so that `path`
/// holds either what it held or the whole new file.
///
/// The bytes depend on the arguments alone. As in the reference implementation tensors are put in order of falling
/// element alignment, then by name, so give [`PARAMETER_ORDER_KEY`](crate::PARAMETER_ORDER_KEY) if their order matters.
///
/// # Errors
/// [`Error::InvalidTensor`] for a repeated or reserved name, a length that does not match the shape, or a type that
/// safetensors lacks; [`Error::LimitExceeded`] for a header over [`MAX_HEADER_BYTES`]; [`Error::Io`].
pub fn write(
    path: impl AsRef<Path>,
    tensors: &[TensorEntry<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let infos = infos(tensors);
    let prepared = Prepared::new(&infos, metadata)?;
    // A bare file name has the parent "".
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What any new file gets; the umask still applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).tempfile_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    prepared.write_to(&mut writer, &mut write_entry(tensors))?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself lies in the folder; only Unix lets a folder be flushed.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Writes a safetensors file to `writer`; the same bytes as [`write()`] puts into a file.
///
/// # Errors
/// Those of [`write()`].
pub fn write_to<W: Write>(
    writer: &mut W,
    tensors: &[TensorEntry<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    Prepared::new(&infos(tensors), metadata)?.write_to(writer, &mut write_entry(tensors))
}

/// Writes a safetensors file of tensors that `write_tensor` brings, one by one.
pub(crate) fn write_streamed<W: Write>(
    writer: &mut W,
    tensors: &[TensorInfo<'_>],
    metadata: &BTreeMap<String, String>,
    write_tensor: &mut WriteTensor<'_>,
) -> Result<(), Error> {
    Prepared::new(tensors, metadata)?.write_to(writer, write_tensor)
}

fn infos<'a>(tensors: &'a [TensorEntry<'_>]) -> Vec<TensorInfo<'a>> {
    let info = |(name, dtype, shape, bytes): &'a TensorEntry<'_>| TensorInfo {
        name,
        dtype: *dtype,
        shape,
        len: bytes.len() as u64,
    };
    tensors.iter().map(info).collect()
}

fn write_entry<'a>(tensors: &'a [TensorEntry<'_>]) -> impl FnMut(usize, &mut dyn Write) -> Result<(), Error> + 'a {
    |index, writer| Ok(writer.write_all(tensors.get(index).map_or(&[], |(.., bytes)| *bytes))?)
}

/// A file about to be written: header text, then the tensors of these indices.
struct Prepared {
    header: Vec<u8>,
    order: Vec<usize>,
}

impl Prepared {
    fn new(tensors: &[TensorInfo<'_>], metadata: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut sorted = tensors
            .iter()
            .enumerate()
            .map(|(index, tensor)| Ok((tensor.name, format_info(tensor)?, index)))
            .collect::<Result<Vec<_>, Error>>()?;
        sorted.sort_by(|(name_a, a, _), (name_b, b, _)| b.dtype.cmp(&a.dtype).then(name_a.cmp(name_b)));

        let mut names: Vec<&str> = sorted.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        if let Some(repeated) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(repeated[0], "its name occurs twice"));
        }

        let mut end = 0usize;
        for (name, info, index) in &mut sorted {
            let start = end;
            let len = tensors.get(*index).and_then(|tensor| usize::try_from(tensor.len).ok());
            end = len.and_then(|len| start.checked_add(len)).ok_or_else(|| invalid(name, "it is too long"))?;
            info.data_offsets = (start, end);
        }
        let header = Header { metadata, tensors: &sorted };
        let mut header = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
        // Spaces, so that the data begins at a multiple of 8 bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        if header.len() as u64 > MAX_HEADER_BYTES {
            return Err(Error::LimitExceeded {
                format: FileFormat::Safetensors,
                what: "header bytes",
                value: header.len() as u64,
                limit: MAX_HEADER_BYTES,
            });
        }
        Ok(Self { header, order: sorted.into_iter().map(|(_, _, index)| index).collect() })
    }

    fn write_to<W: Write>(&self, writer: &mut W, write_tensor: &mut WriteTensor<'_>) -> Result<(), Error> {
        writer.write_all(&(self.header.len() as u64).to_le_bytes())?;
        writer.write_all(&self.header)?;
        for &index in &self.order {
            write_tensor(index, writer)?;
        }
        Ok(())
    }
}

/// The header as JSON. The crate's own keeps metadata in a hash map, whose order changes from run to run.
struct Header<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: &'a [(&'a str, FormatInfo, usize)],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", self.metadata)?;
        }
        for (name, info, _) in self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

fn invalid(name: &str, reason: impl Into<String>) -> Error {
    Error::InvalidTensor { name: name.to_owned(), reason: reason.into() }
}

fn format_info(tensor: &TensorInfo<'_>) -> Result<FormatInfo, Error> {
    let &TensorInfo { name, dtype, shape, len } = tensor;
    if name == "__metadata__" {
        return Err(invalid(name, "safetensors reserves this name"));
    }
    let format_dtype = to_format_dtype(dtype).ok_or_else(|| {
        invalid(name, format!("safetensors has no element type {dtype}; use npz or pt, or split the tensor into parts"))
    })?;
    let dims: Option<Vec<usize>> = shape.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    // Multiplied from the left, zeros included, since that is how readers check for overflow.
    let expected =
        shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).and_then(|n| n.checked_mul(dtype.size_bytes()));
    match (dims, expected) {
        (Some(shape), Some(expected)) if expected == len => {
            Ok(FormatInfo { dtype: format_dtype, shape, data_offsets: (0, 0) })
        }
        _ => Err(invalid(name, format!("{len} bytes do not fill shape {shape:?} of {dtype}"))),
    }
}

/// `None` for types narrower than a byte and those not known here.
fn from_format_dtype(dtype: FormatDtype) -> Option<Dtype> {
    dtype.to_string().parse().ok()
}

fn to_format_dtype(dtype: Dtype) -> Option<FormatDtype> {
    Some(match dtype {
        Dtype::F64 => FormatDtype::F64,
        Dtype::F32 => FormatDtype::F32,
        Dtype::F16 => FormatDtype::F16,
        Dtype::BF16 => FormatDtype::BF16,
        Dtype::F8E4M3 => FormatDtype::F8_E4M3,
        Dtype::F8E5M2 => FormatDtype::F8_E5M2,
        Dtype::F8E4M3Fnuz => FormatDtype::F8_E4M3FNUZ,
        Dtype::F8E5M2Fnuz => FormatDtype::F8_E5M2FNUZ,
        Dtype::F8E8M0 => FormatDtype::F8_E8M0,
        Dtype::I64 => FormatDtype::I64,
        Dtype::I32 => FormatDtype::I32,
        Dtype::I16 => FormatDtype::I16,
        Dtype::I8 => FormatDtype::I8,
        Dtype::U64 => FormatDtype::U64,
        Dtype::U32 => FormatDtype::U32,
        Dtype::U16 => FormatDtype::U16,
        Dtype::U8 => FormatDtype::U8,
        Dtype::Bool => FormatDtype::BOOL,
        Dtype::C64 => FormatDtype::C64,
        Dtype::C128 => return None,
    })
}
