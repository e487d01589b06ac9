//! What a `.lmgc` file says about itself, without decoding its blocks.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use lmgc_container::{BlockInfo, SeekReader, Stream};
use lmgc_model::Fingerprint;
use serde::Serialize;

use crate::streams::StreamMap;
use crate::{CodecId, Error};

/// A file at a glance. Sizes are in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// What the original was recognised as.
    pub file_format: String,
    /// Length of the original.
    pub raw_bytes: u64,
    /// Length of the `.lmgc` file.
    pub compressed_bytes: u64,
    /// Compressed size in percent of the original's; `None` for an empty original.
    pub rate_percent: Option<f64>,
    /// BLAKE3 hash of the original, in hexadecimal.
    pub original_blake3: String,
    /// Codec settings.
    pub settings: BTreeMap<String, String>,
    /// Language model, if one is needed.
    pub model: Option<ModelSummary>,
    /// Totals by codec.
    pub codecs: Vec<CodecSummary>,
    /// The tensors, in file order.
    pub tensors: Vec<TensorSummary>,
    /// The blocks, in file order.
    pub blocks: Vec<BlockSummary>,
}

/// The language model that a file needs.
#[derive(Clone, Debug, Serialize)]
pub struct ModelSummary {
    /// Name.
    pub name: String,
    /// Fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Numerics revision.
    pub numerics_revision: u32,
}

/// What one codec did.
#[derive(Clone, Debug, Serialize)]
pub struct CodecSummary {
    /// The codec.
    pub codec: String,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Original bytes in them.
    pub raw_bytes: u64,
    /// Their payloads' bytes.
    pub payload_bytes: u64,
}

/// One tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorSummary {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Elements along each dimension.
    pub shape: Vec<u64>,
    /// Its bytes in the original.
    pub raw_bytes: u64,
    /// BLAKE3 hash of its bytes, in hexadecimal; `None` for an empty tensor, and in files from before there were such hashes.
    pub blake3: Option<String>,
    /// Its share of the payloads, by bytes, where blocks hold several tensors.
    pub payload_bytes: f64,
    /// Payload bits for each element; `None` for an empty tensor.
    pub bits_per_value: Option<f64>,
    /// The codecs of its blocks.
    pub codecs: Vec<String>,
}

/// One block.
#[derive(Clone, Debug, Serialize)]
pub struct BlockSummary {
    /// Skeleton or data.
    pub stream: String,
    /// The codec.
    pub codec: String,
    /// Where it starts in its stream.
    pub stream_offset: u64,
    /// Original bytes in it.
    pub raw_bytes: u64,
    /// Its payload's bytes.
    pub payload_bytes: u64,
    /// Lanes.
    pub n_lanes: u16,
}

/// Reads a file's header and index.
///
/// # Errors
/// Where the file is no `.lmgc` file or is damaged.
pub fn inspect<R: Read + Seek>(mut input: R) -> Result<Inspection, Error> {
    let compressed_bytes = input.seek(std::io::SeekFrom::End(0))?;
    let reader = SeekReader::open(input)?;
    let header = reader.header();
    let map = StreamMap::new(header);
    let mut codecs: BTreeMap<CodecId, CodecSummary> = BTreeMap::new();
    let mut tensors: Vec<TensorSummary> = header
        .tensors
        .iter()
        .zip(&reader.hashes().tensors)
        .map(|(tensor, hash)| TensorSummary {
            name: tensor.name.clone(),
            dtype: tensor.dtype.clone(),
            shape: tensor.shape.clone(),
            raw_bytes: tensor.len,
            blake3: hash.map(|hash| blake3::Hash::from_bytes(hash).to_string()),
            payload_bytes: 0.0,
            bits_per_value: None,
            codecs: Vec::new(),
        })
        .collect();
    let mut blocks = Vec::new();
    for info in reader.index() {
        let codec = CodecId::from_number(info.codec)?;
        let sum = codecs.entry(codec).or_insert_with(|| CodecSummary {
            codec: codec.to_string(),
            n_blocks: 0,
            raw_bytes: 0,
            payload_bytes: 0,
        });
        sum.n_blocks += 1;
        sum.raw_bytes += info.raw_len;
        sum.payload_bytes += info.payload_len;
        share_among_tensors(&map, info, codec, &mut tensors);
        blocks.push(BlockSummary {
            stream: info.stream.to_string(),
            codec: codec.to_string(),
            stream_offset: info.stream_offset,
            raw_bytes: info.raw_len,
            payload_bytes: info.payload_len,
            n_lanes: info.n_lanes,
        });
    }
    for tensor in &mut tensors {
        let n_values = tensor.shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).filter(|&n| n > 0);
        tensor.bits_per_value = n_values.map(|n| tensor.payload_bytes * 8.0 / n as f64);
    }
    Ok(Inspection {
        file_format: header.file_format.clone(),
        raw_bytes: header.original_len,
        compressed_bytes,
        rate_percent: (header.original_len > 0).then(|| 100.0 * compressed_bytes as f64 / header.original_len as f64),
        original_blake3: blake3::Hash::from_bytes(reader.hashes().original).to_string(),
        settings: header.settings.clone(),
        model: header.model.as_ref().map(|record| ModelSummary {
            name: record.name.clone(),
            fingerprint: Fingerprint(record.fingerprint).to_string(),
            numerics_revision: record.numerics_revision,
        }),
        codecs: codecs.into_values().collect(),
        tensors,
        blocks,
    })
}

fn share_among_tensors(map: &StreamMap, info: &BlockInfo, codec: CodecId, tensors: &mut [TensorSummary]) {
    if info.stream != Stream::Data {
        return;
    }
    for run in map.slice(info.stream, info.stream_offset, info.raw_len) {
        let Some(tensor) = run.tensor.and_then(|i| tensors.get_mut(i)) else { continue };
        tensor.payload_bytes += info.payload_len as f64 * run.len as f64 / info.raw_len as f64;
        let codec = codec.to_string();
        if !tensor.codecs.contains(&codec) {
            tensor.codecs.push(codec);
        }
    }
}
