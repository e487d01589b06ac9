//! The tensors of a file themselves, in full, and files of other formats with the same tensors.
//!
//! [`find_spans`](crate::find_spans) says where bytes lie and takes any file; here every tensor must be understood: its
//! own name, shape and element order. What is not a tensor is listed, and what cannot be had exactly is an error.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::str::FromStr;

use crate::find::{HEAD_BYTES, guess_format};
use crate::source::Source;
use crate::{Dtype, Error, FileFormat, PARAMETER_ORDER_KEY, archive, npy, safetensors, torch};

mod compare;
mod stored;

pub(crate) use stored::StoredTensor;

/// A format in which tensors can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OutputFormat {
    /// Hugging Face safetensors, with the parameter order in its metadata.
    Safetensors,
    /// NumPy `.npz`, not compressed.
    Npz,
    /// PyTorch zip checkpoint of one `OrderedDict`.
    Torch,
}

impl OutputFormat {
    /// Every format, in declaration order.
    pub const ALL: [Self; 3] = [Self::Safetensors, Self::Npz, Self::Torch];

    /// The format's name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
            Self::Torch => "pt",
        }
    }

    /// The format that a file's extension stands for: `.safetensors`, `.npz`, and `.pt`, `.pth` or `.ckpt`.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "safetensors" => Some(Self::Safetensors),
            "npz" => Some(Self::Npz),
            "pt" | "pth" | "ckpt" => Some(Self::Torch),
            _ => None,
        }
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == name);
        found.ok_or_else(|| Error::UnknownOutputFormat(name.to_owned()))
    }
}

/// What a tensor is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Name; of a tensor in nested dictionaries and lists of a checkpoint, keys and positions joined with dots.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Number of elements along each dimension; the last varies fastest.
    pub shape: &'a [u64],
    /// Bytes: the shape's product times the element size.
    pub len: u64,
}

impl TensorInfo<'_> {
    /// An error that says why this tensor cannot be written.
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::InvalidTensor { name: self.name.to_owned(), reason: reason.into() }
    }
}

/// Writes the elements of the tensor with this index: little-endian, in the order of its shape.
pub(crate) type WriteTensor<'a> = dyn FnMut(usize, &mut dyn Write) -> Result<(), Error> + 'a;

/// The names of what a file holds beside tensors: the first of them, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    names: Vec<String>,
    n: usize,
}

impl LeftOut {
    /// The most names kept.
    const MAX_N_NAMES: usize = 100;

    /// Names, in the order of the file; no more than a hundred of them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many things there are.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Adds one; its name is made only if it is kept.
    pub(crate) fn add(&mut self, name: impl FnOnce() -> String) {
        if self.names.len() < Self::MAX_N_NAMES {
            self.names.push(name());
        }
        self.n += 1;
    }

    pub(crate) fn extend(&mut self, others: Self) {
        let n_kept = Self::MAX_N_NAMES.saturating_sub(self.names.len());
        self.names.extend(others.names.into_iter().take(n_kept));
        self.n += others.n;
    }

    /// Forgets all but the first `n`.
    pub(crate) fn truncate(&mut self, n: usize) {
        self.names.truncate(n);
        self.n = self.n.min(n);
    }
}

/// The file that the tensors are read from.
enum Backing<R> {
    Given(R),
    /// An archive's members, inflated.
    Unpacked(File),
}

impl<R: Read + Seek> Read for Backing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Given(reader) => reader.read(buffer),
            Self::Unpacked(file) => file.read(buffer),
        }
    }
}

impl<R: Read + Seek> Seek for Backing<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Given(reader) => reader.seek(to),
            Self::Unpacked(file) => file.seek(to),
        }
    }
}

/// A file whose tensors are known, in parameter order.
pub struct TensorFile<R> {
    backing: Backing<R>,
    format: FileFormat,
    tensors: Vec<StoredTensor>,
    metadata: BTreeMap<String, String>,
    left_out: LeftOut,
}

impl<R: Read + Seek> TensorFile<R> {
    /// Finds the tensors of a safetensors, npy, npz or PyTorch zip file, told by its content. Members of archives may be
    /// deflated: they are inflated into an unnamed temporary file. Pickles are read as data, never run.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Truncated`] or [`Error::LimitExceeded`] for a file that breaks the rules of its
    /// format; [`Error::Unsupported`] for one of another kind, or with tensors that are not plain ones (sparse,
    /// quantized, elements narrower than a byte); [`Error::Io`].
    pub fn open(reader: R) -> Result<Self, Error> {
        let mut backing = Backing::Given(reader);
        let mut source = Source::new(&mut backing, FileFormat::Raw)?;
        let head_len = source.file_len().min(HEAD_BYTES);
        let head = source.read_at("first bytes", 0, head_len, HEAD_BYTES)?;
        let format = guess_format(&head).unwrap_or(FileFormat::Raw);
        source.set_format(format);
        let (mut left_out, mut metadata) = (LeftOut::default(), BTreeMap::new());
        let mut unpacked = None;
        let (format, tensors) = match format {
            FileFormat::Safetensors => {
                let layout = safetensors::read_layout(&mut source)?;
                if let Some(note) = layout.note {
                    return Err(Error::Unsupported { format, what: format!("{note}; they cannot be converted") });
                }
                let order = layout.parameter_order();
                metadata = layout.metadata;
                let spans = order.into_iter().filter_map(|index| layout.spans.get(index));
                let stored =
                    spans.map(|span| StoredTensor::new(span.name.clone(), span.dtype, span.shape.clone(), span.offset));
                (format, stored.collect())
            }
            FileFormat::Npy => (format, npy::read_numbers(&mut source, &mut left_out)?),
            // Any archive.
            FileFormat::Npz => {
                if !archive::first_member_name(&mut source)?.ends_with(b".npy") {
                    source.set_format(FileFormat::Torch);
                }
                let members = archive::members(&mut source)?;
                unpacked = archive::unpack(&mut source, &members)?;
                match &mut unpacked {
                    None => read_archive(&mut source, &members, &mut left_out)?,
                    Some(file) => {
                        let mut source = Source::new(file, source.format())?;
                        let members = archive::members(&mut source)?;
                        read_archive(&mut source, &members, &mut left_out)?
                    }
                }
            }
            FileFormat::Torch => return Err(torch::legacy()),
            FileFormat::Gguf | FileFormat::Raw => {
                let what = "none of safetensors, npy, npz and PyTorch zip checkpoint, which are the ones converted";
                return Err(Error::Unsupported { format, what: what.to_owned() });
            }
        };
        if let Some(file) = unpacked {
            backing = Backing::Unpacked(file);
        }
        Ok(Self { backing, format, tensors, metadata, left_out })
    }

    /// What the file is.
    #[must_use]
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// The tensors, in parameter order.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorInfo<'_>> {
        self.tensors.iter().map(StoredTensor::info).collect()
    }

    /// What the file holds beside tensors, and a file of that format would not: values and objects of a checkpoint,
    /// members that are not arrays, metadata.
    #[must_use]
    pub fn left_out(&self, format: OutputFormat) -> LeftOut {
        let mut left_out = self.left_out.clone();
        if format != OutputFormat::Safetensors {
            for key in self.metadata.keys().filter(|key| *key != PARAMETER_ORDER_KEY) {
                left_out.add(|| format!("metadata {key}"));
            }
        }
        left_out
    }

    /// Writes the elements of a tensor: little-endian, in the order of its shape.
    ///
    /// # Errors
    /// [`Error::Io`]; a file that has become shorter is one, too.
    ///
    /// # Panics
    /// If there is no tensor of this index.
    pub fn copy_tensor(&mut self, index: usize, writer: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        self.tensors[index].copy(&mut self.backing, writer)
    }

    /// Writes a file with the same tensors: names, shapes, types, order and bits. safetensors takes the metadata over.
    /// The bytes written depend on the tensors and metadata alone. `writer` must be at its start, and is given back.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for a type that the format lacks, or a name that it cannot have or that occurs twice;
    /// [`Error::NoTensors`]; [`Error::LimitExceeded`]; [`Error::Io`].
    pub fn write<W: Write + Seek>(&mut self, format: OutputFormat, mut writer: W) -> Result<W, Error> {
        let Self { tensors, backing, metadata, .. } = self;
        let infos: Vec<TensorInfo<'_>> = tensors.iter().map(StoredTensor::info).collect();
        if infos.is_empty() {
            return Err(Error::NoTensors);
        }
        let mut names = HashSet::new();
        if let Some(repeated) = infos.iter().find(|info| !names.insert(info.name)) {
            return Err(repeated.invalid("its name occurs twice; name it otherwise where the file is written"));
        }
        let mut write_tensor = |index: usize, writer: &mut dyn Write| match tensors.get(index) {
            Some(tensor) => tensor.copy(backing, writer),
            None => Ok(()),
        };
        match format {
            OutputFormat::Safetensors => {
                let mut metadata = metadata.clone();
                let order: Vec<&str> = infos.iter().map(|info| info.name).collect();
                metadata.insert(PARAMETER_ORDER_KEY.to_owned(), serde_json::Value::from(order).to_string());
                safetensors::write_streamed(&mut writer, &infos, &metadata, &mut write_tensor)?;
                Ok(writer)
            }
            OutputFormat::Npz => npy::write_archive(writer, &infos, &mut write_tensor),
            OutputFormat::Torch => torch::write_checkpoint(writer, &infos, &mut write_tensor),
        }
    }
}

/// Tells by its members what an archive is, all of whose members are stored, and reads it.
fn read_archive<R: Read + Seek>(
    source: &mut Source<'_, R>,
    members: &[archive::Member],
    left_out: &mut LeftOut,
) -> Result<(FileFormat, Vec<StoredTensor>), Error> {
    if let Some(prefix) = torch::archive_prefix(members) {
        source.set_format(FileFormat::Torch);
        Ok((FileFormat::Torch, torch::read_tensors(source, members, prefix, left_out)?))
    } else if npy::has_arrays(members) || members.is_empty() {
        source.set_format(FileFormat::Npz);
        Ok((FileFormat::Npz, npy::read_archive_numbers(source, members, left_out)?))
    } else {
        Err(crate::find::unknown_archive(source.format()))
    }
}
