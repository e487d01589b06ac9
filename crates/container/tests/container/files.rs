//! Writing and reading whole files in memory.

use std::io::Cursor;

use lmgc_container::{BlockInfo, Error, Hashes, Header, ModelRecord, Reader, SeekReader, Stream, TensorEntry, Writer};

/// A block to be written.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) stream: Stream,
    pub(crate) codec: u8,
    pub(crate) raw_len: u64,
    pub(crate) n_lanes: u16,
    pub(crate) payload: Vec<u8>,
}

/// All that is in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) header: Header,
    pub(crate) blocks: Vec<(BlockInfo, Vec<u8>)>,
    pub(crate) hashes: Hashes,
}

/// A raw file's header, with byte tensors at the given offsets and of the given lengths.
pub(crate) fn header(original_len: u64, spans: &[(u64, u64)]) -> Header {
    let tensors = spans.iter().map(|&(offset, len)| TensorEntry {
        name: String::new(),
        dtype: "U8".to_owned(),
        shape: vec![len],
        offset,
        len,
    });
    Header {
        settings: Default::default(),
        file_format: "raw".to_owned(),
        original_len,
        tensors: tensors.collect(),
        model: None,
    }
}

/// One span: the whole file.
pub(crate) fn spans(original_len: u64) -> [(u64, u64); 1] {
    [(0, original_len)]
}

/// The header of a 4 KiB raw file compressed with a language model.
pub(crate) fn small_lm_header() -> Header {
    let settings = [("format", "hex-space"), ("bytes_per_group", "4"), ("window", "2048"), ("mask", "none")];
    Header {
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        model: Some(ModelRecord {
            name: "smollm2-135m".to_owned(),
            fingerprint: std::array::from_fn(|i| 3 * i as u8),
            numerics_revision: 1,
            vocab_size: 49152,
            start_token: 0,
        }),
        ..header(4096, &spans(4096))
    }
}

/// A small file with both streams, several tensors and blocks, and a model.
pub(crate) fn small_file() -> Vec<u8> {
    let tensor = |name: &str, dtype: &str, shape: &[u64], offset, len| TensorEntry {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        shape: shape.to_owned(),
        offset,
        len,
    };
    let header = Header {
        file_format: "safetensors".to_owned(),
        original_len: 400,
        tensors: vec![
            tensor("bias", "F32", &[3], 128, 12),
            tensor("empty", "I64", &[0, 2], 140, 0),
            tensor("layer.weight", "BF16", &[5, 26], 140, 260),
        ],
        ..small_lm_header()
    };
    let block = |stream, codec, raw_len, n_lanes, payload: &[u8]| Block {
        stream,
        codec,
        raw_len,
        n_lanes,
        payload: payload.to_vec(),
    };
    let blocks = [
        block(Stream::Skeleton, 0, 128, 0, b"skeleton"),
        block(Stream::Data, 1, 72, 2, b"first data block"),
        block(Stream::Data, 1, 200, 300, b""),
    ];
    write(&header, &blocks, std::array::from_fn(|i| 255 - i as u8))
}

/// Hashes, made up for the tensors but for one that is the original.
pub(crate) fn hashes(header: &Header, original: [u8; 32]) -> Hashes {
    let tensors = (1..).zip(&header.tensors).map(|(n, tensor)| match tensor.len {
        0 => None,
        len if len == header.original_len => Some(original),
        _ => Some([n; 32]),
    });
    Hashes { original, tensors: tensors.collect() }
}

/// Writes a file.
pub(crate) fn write(header: &Header, blocks: &[Block], original_blake3: [u8; 32]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for block in blocks {
        writer.write_block(block.stream, block.codec, block.raw_len, block.n_lanes, &block.payload).unwrap();
    }
    let (bytes, len) = writer.finish(&hashes(header, original_blake3)).unwrap();
    assert_eq!(bytes.len() as u64, len);
    bytes
}

/// Reads a file from start to end.
pub(crate) fn read_streaming(bytes: &[u8]) -> Result<Contents, Error> {
    let mut reader = Reader::new(bytes)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    let trailer = reader.trailer()?;
    assert_eq!(trailer.file_len, bytes.len() as u64);
    Ok(Contents { header: reader.header().clone(), blocks, hashes: trailer.hashes.clone() })
}

/// Reads a file by its index.
pub(crate) fn read_seeking(bytes: &[u8]) -> Result<Contents, Error> {
    let mut reader = SeekReader::open(Cursor::new(bytes))?;
    let mut blocks = Vec::new();
    for info in reader.index().to_vec() {
        blocks.push((info, reader.read_block(&info)?));
    }
    Ok(Contents { header: reader.header().clone(), blocks, hashes: reader.hashes().clone() })
}
