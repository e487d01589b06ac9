//! Hashes of the original file and of its tensors.

use crate::wire::{Fields, put_varint};
use crate::{Error, Header};

/// Tag of the footer's record that holds the tensors' hashes. Even: a reader may do without.
const TENSOR_HASHES: u64 = 2;

/// BLAKE3 hashes of the original file and of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Of the whole file.
    pub original: [u8; 32],
    /// Of each tensor's bytes, in the order of the header. `None` for tensors without bytes, and for all in files that were
    /// written before there were such hashes.
    pub tensors: Vec<Option<[u8; 32]>>,
}

impl Hashes {
    /// The footer's record, or nothing if it would say nothing.
    pub(crate) fn to_record(&self, header: &Header) -> Result<Vec<u8>, Error> {
        let is_complete = self.tensors.len() == header.tensors.len()
            && header.tensors.iter().zip(&self.tensors).all(|(tensor, hash)| hash.is_some() == (tensor.len > 0));
        if !is_complete {
            return Err(Error::Misuse { what: "each tensor that has bytes needs a hash" });
        }
        let mut record = Vec::new();
        if has_record(header) {
            let hashes: Vec<u8> = self.tensors.iter().flatten().flatten().copied().collect();
            put_varint(&mut record, TENSOR_HASHES);
            put_varint(&mut record, hashes.len() as u64);
            record.extend_from_slice(&hashes);
        }
        Ok(record)
    }

    /// Reads the hash of the original and the records that follow it.
    pub(crate) fn read(mut fields: Fields<'_>, header: &Header) -> Result<Self, Error> {
        let original = fields.array("hash of the original file")?;
        let mut tensors = None;
        fields.records(|tag, mut record| {
            if tag != TENSOR_HASHES {
                return Ok(false);
            }
            let here = record.corrupt("tensors' hashes");
            if tensors.is_some() {
                return Err(here);
            }
            let mut hashes = Vec::new();
            for tensor in &header.tensors {
                hashes.push(if tensor.len == 0 { None } else { Some(record.array("tensors' hashes")?) });
            }
            if !record.is_empty() {
                return Err(here);
            }
            tensors = Some(hashes);
            Ok(true)
        })?;
        let tensors = tensors.unwrap_or_else(|| {
            let is_original = |tensor: &crate::TensorEntry| tensor.len > 0 && tensor.len == header.original_len;
            header.tensors.iter().map(|tensor| is_original(tensor).then_some(original)).collect()
        });
        Ok(Self { original, tensors })
    }
}

/// A tensor that is the whole original has its hash.
fn has_record(header: &Header) -> bool {
    header.tensors.iter().any(|tensor| tensor.len > 0 && tensor.len < header.original_len)
}
