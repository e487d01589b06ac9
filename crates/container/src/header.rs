//! The header: what the original file is and how it was compressed.

use std::collections::BTreeMap;
use std::io::Read;

use crate::limits::check;
use crate::source::Source;
use crate::wire::{Fields, put_string, put_varint};
use crate::{Error, Limits};

/// What a `.lmgc` file says about the original file and about how it was compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Codec settings, such as `format`, `bytes_per_group`, `window` and `mask`.
    pub settings: BTreeMap<String, String>,
    /// The original file's format, such as `safetensors` or `raw`.
    pub file_format: String,
    /// The original file's length in bytes.
    pub original_len: u64,
    /// Tensors by ascending offset, disjoint and within the file. Names need not be unique.
    pub tensors: Vec<TensorEntry>,
    /// The language model that is needed to decode, if any.
    pub model: Option<ModelRecord>,
}

/// A tensor of the original file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name; may be empty.
    pub name: String,
    /// Its element type, as safetensors spells it (`F32`, `BF16`, `F8_E4M3`, ...).
    pub dtype: String,
    /// Number of elements along each dimension, the slowest first. Not checked against the length.
    pub shape: Vec<u64>,
    /// First byte in the original file.
    pub offset: u64,
    /// Length in bytes; may be 0.
    pub len: u64,
}

/// The language model that is needed to decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRecord {
    /// Its name in the registry of known models, for messages.
    pub name: String,
    /// Hash of its canonical configuration, weights and vocabulary.
    pub fingerprint: [u8; 32],
    /// Revision of the numeric rules under which it was run.
    pub numerics_revision: u32,
    /// Number of tokens in its vocabulary.
    pub vocab_size: u32,
    /// Token with which every window starts.
    pub start_token: u32,
}

impl Header {
    /// The header section's body. The tensors must have been checked.
    pub(crate) fn to_body(&self, limits: &Limits) -> Result<Vec<u8>, Error> {
        check("number of settings", self.settings.len() as u64, limits.max_settings)?;
        check("number of tensors", self.tensors.len() as u64, limits.max_tensors)?;
        check("original length in bytes", self.original_len, limits.max_original_bytes)?;
        let mut body = Vec::new();
        put_varint(&mut body, self.settings.len() as u64);
        for (key, value) in &self.settings {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
        put_string(&mut body, &self.file_format);
        put_varint(&mut body, self.original_len);
        put_varint(&mut body, self.tensors.len() as u64);
        let mut covered_to = 0;
        for tensor in &self.tensors {
            put_string(&mut body, &tensor.name);
            put_string(&mut body, &tensor.dtype);
            put_varint(&mut body, tensor.shape.len() as u64);
            for &dim in &tensor.shape {
                put_varint(&mut body, dim);
            }
            put_varint(&mut body, tensor.offset - covered_to);
            put_varint(&mut body, tensor.len);
            covered_to = tensor.offset + tensor.len;
        }
        match &self.model {
            None => body.push(0),
            Some(model) => {
                body.push(1);
                put_string(&mut body, &model.name);
                body.extend_from_slice(&model.fingerprint);
                put_varint(&mut body, model.numerics_revision.into());
                put_varint(&mut body, model.vocab_size.into());
                put_varint(&mut body, model.start_token.into());
            }
        }
        check("header length in bytes", body.len() as u64, limits.max_header_bytes)?;
        Ok(body)
    }

    /// Reads from the start of a file to the end of its header section.
    pub(crate) fn read<R: Read>(source: &mut Source<R>, limits: &Limits) -> Result<Self, Error> {
        let section = source.header_section(limits)?;
        Self::from_body(&section.body, section.body_offset, limits)
    }

    /// Reads a header section's body that starts at `offset` in the file.
    fn from_body(body: &[u8], offset: u64, limits: &Limits) -> Result<Self, Error> {
        let mut fields = Fields::new(body, offset);

        let n_settings = fields.varint("number of settings")?;
        check("number of settings", n_settings, limits.max_settings)?;
        let mut settings = BTreeMap::new();
        for _ in 0..n_settings {
            let here = fields.corrupt("settings (keys ascend)");
            let key = fields.string("setting's key")?;
            let value = fields.string("setting's value")?;
            if settings.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(here);
            }
            settings.insert(key, value);
        }

        let file_format = fields.string("file format")?;
        let original_len = fields.varint("original length")?;
        check("original length in bytes", original_len, limits.max_original_bytes)?;

        let n_tensors = fields.varint("number of tensors")?;
        check("number of tensors", n_tensors, limits.max_tensors)?;
        let (mut tensors, mut covered_to) = (Vec::new(), 0);
        for _ in 0..n_tensors {
            let tensor = read_tensor(&mut fields, covered_to, original_len)?;
            covered_to = tensor.offset + tensor.len;
            tensors.push(tensor);
        }

        let here = fields.corrupt("model record");
        let model = match fields.u8("model record")? {
            0 => None,
            1 => Some(ModelRecord {
                name: fields.string("model's name")?,
                fingerprint: fields.array("model's fingerprint")?,
                numerics_revision: fields.narrow("numerics revision")?,
                vocab_size: fields.narrow("vocabulary size")?,
                start_token: fields.narrow("start token")?,
            }),
            _ => return Err(here),
        };
        fields.records(|_, _| Ok(false))?;
        Ok(Self { settings, file_format, original_len, tensors, model })
    }
}

fn read_tensor(fields: &mut Fields<'_>, covered_to: u64, original_len: u64) -> Result<TensorEntry, Error> {
    let name = fields.string("tensor's name")?;
    let dtype = fields.string("tensor's element type")?;
    let n_dims = fields.varint("tensor's number of dimensions")?;
    let mut shape = Vec::new();
    // Each takes at least a byte, so that the section's length bounds them.
    for _ in 0..n_dims {
        shape.push(fields.varint("tensor's shape")?);
    }
    let here = fields.corrupt("tensor's place (within the file)");
    let gap = fields.varint("tensor's offset")?;
    let len = fields.varint("tensor's length")?;
    let offset = covered_to.checked_add(gap);
    let end = offset.and_then(|offset| offset.checked_add(len));
    match (offset, end) {
        (Some(offset), Some(end)) if end <= original_len => Ok(TensorEntry { name, dtype, shape, offset, len }),
        _ => Err(here),
    }
}
