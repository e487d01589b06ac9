//! GGUF, the model files of llama.cpp: strict reading of metadata and tensor directory.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::layout::checked_len_bytes;
use crate::source::Source;
use crate::{Error, FileFormat, Layout, Span};

mod types;
mod value;

pub use types::GgmlType;
pub use value::Value;

/// The longest header (metadata and tensor directory) accepted, in bytes.
pub const MAX_HEADER_BYTES: u64 = 256 << 20;
/// The most metadata values accepted, array elements included; vocabularies have some 10^6.
pub const MAX_N_VALUES: u64 = 1 << 23;
/// The most tensors accepted.
pub const MAX_N_TENSORS: u64 = 1 << 20;
/// The most dimensions of a tensor, as in ggml.
pub const MAX_N_DIMS: u32 = 4;
/// How deep arrays may lie in arrays.
const MAX_ARRAY_DEPTH: u32 = 4;
const DEFAULT_ALIGNMENT_BYTES: u64 = 32;

/// One tensor of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Element or block type.
    pub ggml_type: GgmlType,
    /// Elements along each dimension, the *innermost first*: a matrix of `out` rows of `in` columns is `[in, out]`.
    pub dims: Vec<u64>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes. For a type of unknown size, up to the next tensor or the end of the file, unless there are no elements.
    pub len: u64,
}

impl GgufTensor {
    /// Number of elements.
    #[must_use]
    pub fn n_elements(&self) -> u64 {
        self.dims.iter().fold(1, |n, &dim| n.saturating_mul(dim))
    }
}

/// The header of a GGUF file.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufFile {
    /// Format version, 2 or 3.
    pub version: u32,
    /// Key-value pairs.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors, in the order of the directory. All lie within the file.
    pub tensors: Vec<GgufTensor>,
    /// `general.alignment`, in bytes; 32 if not given.
    pub alignment: u64,
}

impl GgufFile {
    /// Reads a file's header and tensor directory.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Unsupported`] (version 1, big-endian) or
    /// [`Error::LimitExceeded`] when the file is not as it should be, [`Error::Io`] when it cannot be read.
    pub fn parse<R: Read + Seek>(reader: &mut R) -> Result<Self, Error> {
        Self::read(&mut Source::new(reader, FileFormat::Gguf)?)
    }

    /// The tensor of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn read<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Self, Error> {
        let file_len = source.file_len();
        source.reader().seek(SeekFrom::Start(0))?;
        let mut header = HeaderReader {
            reader: BufReader::with_capacity(1 << 16, source.reader()),
            position: 0,
            file_len,
            n_values: 0,
        };
        if header.array::<4>("magic")? != *b"GGUF" {
            return Err(header.corrupt("it does not begin with \"GGUF\""));
        }
        let version = header.u32("version")?;
        if !matches!(version, 2 | 3) {
            return Err(Error::Unsupported {
                format: FileFormat::Gguf,
                what: if matches!(version.swap_bytes(), 1..=3) {
                    "big-endian; convert it to little-endian".to_owned()
                } else {
                    format!("version {version}; versions 2 and 3 are read")
                },
            });
        }
        let n_tensors = header.u64("tensor count")?;
        let n_pairs = header.u64("metadata count")?;

        let mut metadata = BTreeMap::new();
        for _ in 0..n_pairs {
            let key = header.string("metadata key")?;
            let type_id = header.u32("metadata type")?;
            let value = header.value(type_id, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(header.corrupt(format!("metadata key \"{key}\" occurs twice")));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT_BYTES,
            Some(value) => value
                .as_u64()
                .filter(|bytes| bytes.is_power_of_two() && *bytes <= u64::from(u32::MAX))
                .ok_or_else(|| header.corrupt("general.alignment is not a power of two"))?,
        };

        header.limit("tensors", n_tensors, MAX_N_TENSORS)?;
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..n_tensors {
            let tensor = header.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(header.corrupt(format!("tensor \"{}\" occurs twice", tensor.name)));
            }
            tensors.push(tensor);
        }
        let data_start = header.position.checked_next_multiple_of(alignment);
        place_tensors(&mut tensors, data_start, file_len, alignment)?;
        Ok(Self { version, metadata, tensors, alignment })
    }
}

/// Turns offsets within the data section into offsets in the file, and checks them.
fn place_tensors(
    tensors: &mut [GgufTensor],
    data_start: Option<u64>,
    file_len: u64,
    alignment: u64,
) -> Result<(), Error> {
    for tensor in tensors.iter_mut() {
        let corrupt = |what: String| Error::Corrupt { format: FileFormat::Gguf, what, offset: tensor.offset };
        if tensor.offset % alignment != 0 {
            return Err(corrupt(format!(
                "tensor \"{}\" does not begin at a multiple of {alignment} bytes",
                tensor.name
            )));
        }
        tensor.offset = data_start
            .and_then(|start| start.checked_add(tensor.offset))
            .filter(|&offset| offset <= file_len || tensor.len == 0)
            .ok_or_else(|| corrupt(format!("tensor \"{}\" begins past the end of the file", tensor.name)))?;
        // A file without data may end before the padding that would precede it.
        tensor.offset = tensor.offset.min(file_len);
    }
    let mut starts: Vec<u64> = tensors.iter().map(|tensor| tensor.offset).collect();
    starts.sort_unstable();
    for tensor in tensors {
        let available = file_len - tensor.offset;
        if tensor.ggml_type.block_bytes().is_none() && tensor.n_elements() > 0 {
            let next = starts.partition_point(|&start| start <= tensor.offset);
            tensor.len = starts.get(next).copied().unwrap_or(file_len) - tensor.offset;
        } else if tensor.len > available {
            return Err(Error::Truncated {
                format: FileFormat::Gguf,
                what: format!("tensor \"{}\"", tensor.name),
                offset: tensor.offset,
                needed: tensor.len,
                available,
            });
        }
    }
    Ok(())
}

pub(crate) fn read_layout<R: Read + Seek>(source: &mut Source<'_, R>) -> Result<Layout, Error> {
    let file = GgufFile::read(source)?;
    let mut n_by_bytes: BTreeMap<String, usize> = BTreeMap::new();
    let spans = file
        .tensors
        .into_iter()
        .map(|tensor| match tensor.ggml_type.dtype() {
            Some(dtype) => {
                let shape = tensor.dims.iter().rev().copied().collect();
                Span { name: tensor.name, dtype, shape, offset: tensor.offset, len: tensor.len }
            }
            None => {
                *n_by_bytes.entry(tensor.ggml_type.to_string()).or_default() += 1;
                Span::bytes(tensor.name, tensor.offset, tensor.len)
            }
        })
        .collect();
    let note = (!n_by_bytes.is_empty()).then(|| {
        let kinds: Vec<String> = n_by_bytes.iter().map(|(name, n)| format!("{n} of {name}")).collect();
        format!("tensors of quantised types are given as bytes: {}", kinds.join(", "))
    });
    let metadata = file.metadata.into_iter().filter_map(|(key, value)| Some((key, value.scalar_text()?))).collect();
    Layout::new(FileFormat::Gguf, source.file_len(), spans, metadata, note)
}

/// Reads a header front to back, checking each length before it is believed.
struct HeaderReader<R> {
    reader: BufReader<R>,
    position: u64,
    file_len: u64,
    n_values: u64,
}

impl<R: Read> HeaderReader<R> {
    fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt { format: FileFormat::Gguf, what: what.into(), offset: self.position }
    }

    fn limit(&self, what: &'static str, value: u64, limit: u64) -> Result<(), Error> {
        if value > limit { Err(Error::LimitExceeded { format: FileFormat::Gguf, what, value, limit }) } else { Ok(()) }
    }

    /// Moves past `len` bytes that are about to be read.
    fn advance(&mut self, what: &str, len: u64) -> Result<(), Error> {
        let available = self.file_len.saturating_sub(self.position);
        if len > available {
            return Err(Error::Truncated {
                format: FileFormat::Gguf,
                what: what.to_owned(),
                offset: self.position,
                needed: len,
                available,
            });
        }
        self.limit("header bytes", self.position + len, MAX_HEADER_BYTES)?;
        self.position += len;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        self.advance(what, N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn string(&mut self, what: &str) -> Result<String, Error> {
        let len = self.u64(what)?;
        self.advance(what, len)?;
        // Within MAX_HEADER_BYTES now.
        let mut bytes = vec![0; len as usize];
        self.reader.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.corrupt(format!("{what} is not UTF-8")))
    }

    fn value(&mut self, type_id: u32, depth: u32) -> Result<Value, Error> {
        self.n_values += 1;
        self.limit("metadata values", self.n_values, MAX_N_VALUES)?;
        const WHAT: &str = "metadata value";
        Ok(match type_id {
            0 => Value::U8(u8::from_le_bytes(self.array(WHAT)?)),
            1 => Value::I8(i8::from_le_bytes(self.array(WHAT)?)),
            2 => Value::U16(u16::from_le_bytes(self.array(WHAT)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(WHAT)?)),
            4 => Value::U32(self.u32(WHAT)?),
            5 => Value::I32(i32::from_le_bytes(self.array(WHAT)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(WHAT)?)),
            7 => match self.array(WHAT)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(self.corrupt(format!("a boolean is {other}"))),
            },
            8 => Value::String(self.string(WHAT)?),
            9 => {
                if depth == MAX_ARRAY_DEPTH {
                    return Err(self.corrupt("arrays are nested too deep"));
                }
                let element_type_id = self.u32("array type")?;
                let n_elements = self.u64("array length")?;
                // No allocation ahead: each element is checked as it comes.
                let mut elements = Vec::new();
                for _ in 0..n_elements {
                    elements.push(self.value(element_type_id, depth + 1)?);
                }
                Value::Array(elements)
            }
            10 => Value::U64(self.u64(WHAT)?),
            11 => Value::I64(i64::from_le_bytes(self.array(WHAT)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(WHAT)?)),
            other => return Err(self.corrupt(format!("metadata type {other} is not known"))),
        })
    }

    /// A directory entry; its offset still counts from the start of the data section.
    fn tensor(&mut self) -> Result<GgufTensor, Error> {
        let name = self.string("tensor name")?;
        let n_dims = self.u32("number of dimensions")?;
        self.limit("dimensions", u64::from(n_dims), u64::from(MAX_N_DIMS))?;
        let dims = (0..n_dims).map(|_| self.u64("dimension")).collect::<Result<Vec<u64>, Error>>()?;
        let ggml_type = GgmlType::from_id(self.u32("tensor type")?);
        let offset = self.u64("tensor offset")?;
        let len = ggml_type.len_bytes(&dims).ok_or_else(|| {
            self.corrupt(format!("tensor \"{name}\" of type {ggml_type} cannot have dimensions {dims:?}"))
        })?;
        Ok(GgufTensor { name, ggml_type, dims, offset, len })
    }
}

impl GgmlType {
    /// Bytes of a tensor; 0 for types of unknown size; `None` when rows are no whole number of blocks or the count
    /// overflows.
    fn len_bytes(self, dims: &[u64]) -> Option<u64> {
        dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim))?;
        let (Some(block_len), Some(block_bytes)) = (self.block_len(), self.block_bytes()) else { return Some(0) };
        let (&innermost, outer) = dims.split_first().unwrap_or((&1, &[]));
        if innermost % block_len != 0 {
            return None;
        }
        checked_len_bytes(outer, (innermost / block_len).checked_mul(block_bytes)?)
    }
}
