//! Files that no writer writes, with right checksums.

use lmgc_codec::{CodecId, NoModels};
use lmgc_testkit::second_decoder::{self, Outside};
use lmgc_testkit::{LmgcBlock, push_section, push_varint};

use crate::{class, common};

/// A file, part by part. By default its original is four bytes of skeleton, a tensor of eight bytes and four bytes of skeleton
/// again, and both blocks are stored as they are.
pub(crate) struct Made {
    pub(crate) prologue: Vec<u8>,
    pub(crate) settings: Vec<u8>,
    pub(crate) format: Vec<u8>,
    pub(crate) original_len: u64,
    pub(crate) tensors: Vec<u8>,
    pub(crate) model: Vec<u8>,
    pub(crate) header_records: Vec<u8>,
    pub(crate) blocks: Vec<LmgcBlock>,
    /// The bodies in the index; those of the blocks, if nothing else.
    pub(crate) index: Option<Vec<Vec<u8>>>,
    pub(crate) hash: [u8; 32],
    pub(crate) footer_records: Vec<u8>,
    pub(crate) between: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

/// A block that is stored as it is, at the beginning of its stream.
pub(crate) fn raw_block(stream: u8, payload: &[u8]) -> LmgcBlock {
    let (raw_len, payload, records) = (payload.len() as u64, payload.to_vec(), Vec::new());
    LmgcBlock { stream, codec: 0, flags: 0, offset: 0, raw_len, n_lanes: 0, payload, records }
}

impl Default for Made {
    fn default() -> Self {
        Self {
            prologue: b"\x8cLMGC\r\n\x1a\x01\0\0\0".to_vec(),
            settings: vec![0],
            format: b"\x06raw".to_vec(),
            original_len: 16,
            tensors: b"\x01\x02t\x04U8\x01\x08\x04\x08".to_vec(),
            model: vec![0],
            header_records: Vec::new(),
            blocks: vec![raw_block(0, b"skeleton"), raw_block(1, b"the data")],
            index: None,
            hash: *blake3::hash(b"skelthe dataeton").as_bytes(),
            footer_records: Vec::new(),
            between: Vec::new(),
            end: b"\x9aEND".to_vec(),
        }
    }
}

impl Made {
    /// A file whose original is one tensor, one block of `codec`.
    pub(crate) fn of_block(dtype: &str, shape: &[u64], original: &[u8], codec: CodecId, payload: &[u8]) -> Self {
        let len = original.len() as u64;
        let mut tensors = vec![1, 0];
        tensors.push(2 * dtype.len() as u8);
        tensors.extend(dtype.as_bytes());
        tensors.push(shape.len() as u8);
        tensors.extend([shape, &[0, len]].concat().into_iter().flat_map(varint));
        let block = LmgcBlock { codec: codec as u8, raw_len: len, ..raw_block(1, payload) };
        let hash = *blake3::hash(original).as_bytes();
        Self { original_len: len, tensors, blocks: vec![block], hash, ..Self::default() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut file = self.prologue.clone();
        let len = varint(self.original_len);
        let header =
            [&self.settings[..], &self.format, &len, &self.tensors, &self.model, &self.header_records].concat();
        push_section(&mut file, 0, b'H', &header);
        for block in &self.blocks {
            let start = file.len();
            push_section(&mut file, start, b'B', &block.to_body());
            file.extend(&block.payload);
        }
        file.extend(&self.between);
        let start = file.len();
        let index = self.index.clone().unwrap_or_else(|| self.blocks.iter().map(LmgcBlock::to_body).collect());
        let mut footer = varint(index.len() as u64);
        for body in index {
            footer.extend(varint(body.len() as u64));
            footer.extend(body);
        }
        footer.extend(self.hash);
        footer.extend(&self.footer_records);
        push_section(&mut file, start, b'F', &footer);
        let footer_len = (file.len() - start) as u32;
        file.extend(footer_len.to_le_bytes());
        file.extend(&self.end);
        file
    }
}

pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, value);
    bytes
}

/// The payload of the only block of the data stream.
pub(crate) fn only_payload(packed: &[u8], codec: CodecId) -> Vec<u8> {
    let file = second_decoder::read(packed).unwrap();
    let data: Vec<_> = file.blocks.iter().filter(|block| block.stream == 1).collect();
    let [block] = data[..] else { panic!("{} data blocks", data.len()) };
    assert_eq!(block.codec, codec as u8);
    // It lies right before the footer.
    let footer_len = u32::from_le_bytes(*packed[..packed.len() - 4].last_chunk().unwrap());
    let end = packed.len() - 8 - footer_len as usize;
    packed[end - block.payload_len as usize..end].to_vec()
}

/// Asserts that both decoders make the same of files: bytes, or a refusal of the same class where the program names one; and
/// that so many of them are decoded.
pub(crate) fn assert_alike(files: impl IntoIterator<Item = (String, Vec<u8>)>, n_decoded: usize) {
    let mut different = Vec::new();
    let mut n_good = 0;
    for (name, packed) in files {
        let second = second_decoder::decode(&packed, &Outside::default());
        let first = common::unpack(&packed, &NoModels);
        let is_alike = match (&first, &second) {
            (Err(error), Err(refusal)) => class(error).is_none_or(|class| class == refusal.class),
            (Ok(first), Ok(second)) => first == second,
            _ => false,
        };
        if !is_alike {
            let first = first.as_ref().map_err(|error| format!("{:?}: {error}", class(error)));
            let second = second.as_ref().map_err(|refusal| format!("{:?}: {}", refusal.class, refusal.what));
            let [first, second] = [first, second].map(|result| result.map(|bytes| bytes.len()));
            different.push(format!("{name}: {first:?}; the second decoder {second:?}"));
        }
        n_good += usize::from(first.is_ok());
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(n_good, n_decoded);
}
