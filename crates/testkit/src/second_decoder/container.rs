//! The file: sections, header, blocks, footer (sections 3 to 8 and 10).

use std::collections::{BTreeMap, HashMap};

use super::bytes::Bytes;
use super::layout::{BlockOrder, Layout, join, slice};
use super::{Block, Class, Outside, Piece, Prior, Refusal, block};

const MAGIC: [u8; 8] = [0x8c, 0x4c, 0x4d, 0x47, 0x43, 0x0d, 0x0a, 0x1a];
const FORMAT_VERSION: u16 = 1;
const PROLOGUE_LEN: usize = 12;
const END_MARKER: [u8; 4] = [0x9a, 0x45, 0x4e, 0x44];
const TRAILER_LEN: usize = 8;

/// The revision of `docs/determinism.md`.
const NUMERICS_REVISION: u32 = 3;

/// Tag of the footer's record with the hashes of tensors.
const TENSOR_HASHES: u64 = 2;

/// Limits of section 7.
const MAX_SETTINGS: u64 = 1024;
const MAX_TENSORS: u64 = 524_288;
const MAX_HEADER_BODY: u64 = 16 << 20;
const MAX_BLOCK_BODY: u64 = 4096;
const MAX_RAW_LEN: u64 = 64 << 20;
const MAX_FOOTER_BODY: u64 = 33 << 20;
const MAX_INDEX_LEN: u64 = 16 << 20;
/// A lower one of this decoder, which holds the original in memory.
const MAX_ORIGINAL_LEN: u64 = 1 << 30;

/// The well-known strings of section 8.
#[rustfmt::skip]
const WELL_KNOWN: [&str; 66] = [
    "bytes_per_group", "codec", "format", "lanes", "level", "lm_bits", "mask", "mix", "model", "overlap", "preprocess",
    "reference", "seed", "window",
    // from 14
    "alphabet", "auto", "fast", "false", "grammar", "hex-0x", "hex-comma", "hex-comma+space", "hex-none",
    "hex-semicolon", "hex-space",
    // from 25
    "iso", "iso-comma+space", "iso-space", "lm", "none", "structural", "true", "zstd",
    // from 33
    "gguf", "npy", "npz", "raw", "safetensors", "tokens", "torch",
    // from 40
    "BF16", "BOOL", "C128", "C64", "F16", "F32", "F64", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0",
    // from 52
    "I16", "I32", "I64", "I8", "U16", "U32", "U64", "U8",
    // from 60
    "bias", "weight",
    // from 62
    "ensemble", "ids-byte", "ids-exponent", "ids-nibble",
];

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The settings.
    pub settings: BTreeMap<String, String>,
    /// Format of the original.
    pub format: String,
    /// Length of the original in bytes.
    pub original_len: u64,
    /// The tensors, by offset.
    pub tensors: Vec<Tensor>,
    /// The language model that is needed to decode, if one is.
    pub model: Option<ModelRecord>,
    /// The blocks, in block order.
    pub blocks: Vec<BlockHead>,
    /// BLAKE3 hash of the original.
    pub original_blake3: [u8; 32],
    /// BLAKE3 hashes of all tensors of at least one byte, in their order, where the file has them.
    pub tensor_blake3: Option<Vec<[u8; 32]>>,
}

/// A tensor of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its element type, as safetensors spells it.
    pub dtype: String,
    /// Elements along each dimension, the slowest first.
    pub shape: Vec<u64>,
    /// First byte in the original.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// The language model that a file needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRecord {
    /// Its name.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: [u8; 32],
    /// Numerics revision.
    pub numerics_revision: u32,
    /// Number of tokens in its vocabulary.
    pub n_vocabulary: u32,
    /// The token that windows start with.
    pub start_token: u32,
}

/// A block without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// 0 skeleton, 1 data.
    pub stream: u8,
    /// Number of the codec.
    pub codec: u8,
    /// First byte in the stream.
    pub stream_offset: u64,
    /// Number of the stream's bytes.
    pub raw_len: u64,
    /// Number of lanes.
    pub n_lanes: u16,
    /// Length of the payload.
    pub payload_len: u64,
    /// CRC-32C of the payload.
    pub payload_crc: u32,
}

/// Reads a file from start to end, and checks all that can be checked without decoding blocks.
pub fn read(file: &[u8]) -> Result<File, Refusal> {
    Ok(read_blocks(file)?.0)
}

/// The original.
pub fn decode(file: &[u8], outside: &Outside<'_>) -> Result<Vec<u8>, Refusal> {
    let (file, payloads) = read_blocks(file)?;
    check_limit("length of the original", file.original_len, MAX_ORIGINAL_LEN)?;
    let decoder = Decoder::new(&file, outside)?;
    let mut streams = [Vec::new(), Vec::new()];
    for (head, payload) in file.blocks.iter().zip(payloads) {
        streams[usize::from(head.stream)].extend(decoder.block(head, payload)?);
    }
    let original = join(&decoder.layout, &streams)?;
    check_hash(&original, &file.original_blake3)?;
    for (tensor, hash) in file.tensors.iter().filter(|tensor| tensor.len > 0).zip(file.tensor_blake3.iter().flatten()) {
        check_hash(slice(&original, tensor.offset, tensor.len).unwrap_or_default(), hash)?;
    }
    Ok(original)
}

/// The bytes of the first tensor of this name, by the index (section 6, *Random access*).
pub fn tensor(file: &[u8], name: &str, outside: &Outside<'_>) -> Result<Vec<u8>, Refusal> {
    let Ok((indexed, places)) = read_index(file) else {
        // From the end alone nobody can tell what is wrong.
        read(file)?;
        return Err(Refusal::corrupt("the index is wrong, though the blocks are not"));
    };
    let Some(index) = indexed.tensors.iter().position(|tensor| tensor.name == name) else {
        return Err(Refusal::new(Class::Lacking, format!("there is no tensor {name}")));
    };
    let decoder = Decoder::new(&indexed, outside)?;
    let start: u64 = indexed.tensors[..index].iter().map(|tensor| tensor.len).sum();
    let len = indexed.tensors[index].len;
    let mut bytes = Vec::new();
    for (head, (place, body)) in indexed.blocks.iter().zip(places) {
        let block_end = head.stream_offset + head.raw_len;
        if head.stream == 0 || block_end <= start || head.stream_offset >= start + len {
            continue;
        }
        let mut at_block = Bytes::of_file(file.get(place..).unwrap_or_default());
        let found = read_block(&mut at_block)?;
        if found.body != body {
            return Err(Refusal::corrupt("the index differs from the blocks"));
        }
        let decoded = decoder.block(head, found.payload)?;
        let from = start.max(head.stream_offset);
        let part = slice(&decoded, from - head.stream_offset, (start + len).min(block_end) - from);
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    let n_before = indexed.tensors[..index].iter().filter(|tensor| tensor.len > 0).count();
    let hash = match &indexed.tensor_blake3 {
        Some(hashes) => hashes.get(n_before),
        // The tensor may be all there is.
        None => Some(&indexed.original_blake3).filter(|_| len == indexed.original_len),
    };
    hash.filter(|_| len > 0).map_or(Ok(()), |hash| check_hash(&bytes, hash))?;
    Ok(bytes)
}

fn check_hash(bytes: &[u8], expected: &[u8; 32]) -> Result<(), Refusal> {
    if blake3::hash(bytes) != *expected {
        return Err(Refusal::new(Class::Hash, format!("{} bytes do not have their hash", bytes.len())));
    }
    Ok(())
}

/// All parts in the order of the file, with the payloads of the blocks.
fn read_blocks(file: &[u8]) -> Result<(File, Vec<&[u8]>), Refusal> {
    let (mut header, mut left) = read_header(file)?;
    let layout = Layout::new(&header.tensors, header.original_len);
    let mut order = BlockOrder::new(&layout);
    let mut bodies = Vec::new();
    let mut payloads = Vec::new();
    while left.rest().first() == Some(&b'B') {
        let found = read_block(&mut left)?;
        order.check(&found.head)?;
        header.blocks.push(found.head);
        bodies.push(found.body);
        payloads.push(found.payload);
    }
    let before = left.rest().len();
    let footer = section(&mut left, b'F', MAX_FOOTER_BODY, &[])?;
    let footer_len = before - left.rest().len();
    if read_footer(footer, &mut header)? != bodies {
        return Err(Refusal::corrupt("the index differs from the blocks"));
    }
    order.finish()?;
    if left.u32("trailer")? as usize != footer_len || left.array("trailer")? != END_MARKER {
        return Err(Refusal::corrupt("the trailer is wrong"));
    }
    if !left.is_empty() {
        return Err(Refusal::corrupt("bytes follow the trailer"));
    }
    Ok((header, payloads))
}

/// For each block the place of its section, and its body as the index has it.
type Places<'a> = Vec<(usize, &'a [u8])>;

/// Header and footer alone.
fn read_index(file: &[u8]) -> Result<(File, Places<'_>), Refusal> {
    let (mut header, left) = read_header(file)?;
    let header_end = file.len() - left.rest().len();
    let wrong = || Refusal::corrupt("the trailer is wrong");
    let (rest, trailer) = file.split_at_checked(file.len().saturating_sub(TRAILER_LEN)).ok_or_else(wrong)?;
    let mut trailer = Bytes::of_body(trailer);
    let footer_len = trailer.u32("trailer")? as usize;
    let footer_start = rest.len().checked_sub(footer_len).filter(|&start| start >= header_end).ok_or_else(wrong)?;
    let mut at_footer = Bytes::of_body(&rest[footer_start..]);
    let footer = section(&mut at_footer, b'F', MAX_FOOTER_BODY, &[])?;
    if !at_footer.is_empty() || trailer.array("trailer")? != END_MARKER {
        return Err(wrong());
    }
    let bodies = read_footer(footer, &mut header)?;
    let layout = Layout::new(&header.tensors, header.original_len);
    let mut order = BlockOrder::new(&layout);
    let mut places = Vec::new();
    let mut place = header_end as u64;
    for body in bodies {
        check_limit("length of a block's body", body.len() as u64, MAX_BLOCK_BODY)?;
        let head = BlockHead::read(body)?;
        order.check(&head)?;
        places.push((usize::try_from(place).map_err(|_| wrong())?, body));
        let len_len = if body.len() < 128 { 1 } else { 2 };
        place += len_len + body.len() as u64 + 5 + head.payload_len;
        header.blocks.push(head);
    }
    order.finish()?;
    if place != footer_start as u64 {
        return Err(Refusal::corrupt("the blocks of the index do not end where the footer starts"));
    }
    Ok((header, places))
}

/// Prologue and header (sections 3 and 4), and what follows them; without blocks and hashes.
fn read_header(file: &[u8]) -> Result<(File, Bytes<'_>), Refusal> {
    let mut left = Bytes::of_file(file);
    if !file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]) {
        return Err(Refusal::new(Class::NotLmgc, "the first bytes are not the magic"));
    }
    left.take(MAGIC.len() as u64, "magic")?;
    let version = left.u16("format version")?;
    if version != FORMAT_VERSION {
        return Err(Refusal::new(Class::Unsupported, format!("format version {version}")));
    }
    let flags = left.u16("file flags")?;
    let body = section(&mut left, b'H', MAX_HEADER_BODY, &file[..PROLOGUE_LEN])?;
    // Only now is it known that they are as they were written.
    if flags != 0 {
        return Err(Refusal::new(Class::Unsupported, "file flags"));
    }
    Ok((header_body(body)?, left))
}

/// A section's body (section 3), its checksum compared; that counts `before`, too.
fn section<'a>(left: &mut Bytes<'a>, marker: u8, limit: u64, before: &[u8]) -> Result<&'a [u8], Refusal> {
    let start = left.rest();
    let name = char::from(marker);
    if left.u8("section")? != marker {
        return Err(Refusal::corrupt(format!("no marker {name} where a section should start")));
    }
    let len = left.varint("length of a section")?;
    check_limit("length of a section's body", len, limit)?;
    let body = left.take(len, "body of a section")?;
    let covered = &start[..start.len() - left.rest().len()];
    let checksum = crc32c::crc32c_append(crc32c::crc32c(before), covered);
    if left.u32("checksum of a section")? != checksum {
        return Err(Refusal::corrupt(format!("the checksum of a section {name} differs")));
    }
    Ok(body)
}

fn check_limit(what: &str, value: u64, limit: u64) -> Result<(), Refusal> {
    if value > limit {
        return Err(Refusal::new(Class::Limit, format!("{what}: {value} is more than {limit}")));
    }
    Ok(())
}

/// The records at the end of a body: the contents of those whose tags are `known`.
fn records<'a>(body: &mut Bytes<'a>, known: &[u64]) -> Result<Vec<(u64, &'a [u8])>, Refusal> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let tag = body.varint("tag of a record")?;
        let len = body.varint("length of a record")?;
        let contents = body.take(len, "contents of a record")?;
        if known.contains(&tag) {
            found.push((tag, contents));
        } else if tag % 2 == 1 {
            return Err(Refusal::new(Class::Unsupported, format!("a record with the tag {tag}")));
        }
    }
    Ok(found)
}

/// Section 4.
fn header_body(body: &[u8]) -> Result<File, Refusal> {
    let mut body = Bytes::of_body(body);
    let mut settings = BTreeMap::new();
    let n_settings = body.varint("number of settings")?;
    check_limit("number of settings", n_settings, MAX_SETTINGS)?;
    for _ in 0..n_settings {
        let key = body.string(&WELL_KNOWN, "key of a setting")?;
        let value = body.string(&WELL_KNOWN, "value of a setting")?;
        if settings.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(Refusal::corrupt("the settings' keys do not ascend"));
        }
        settings.insert(key, value);
    }
    let format = body.string(&WELL_KNOWN, "format of the original")?;
    let original_len = body.varint("length of the original")?;
    let n_tensors = body.varint("number of tensors")?;
    check_limit("number of tensors", n_tensors, MAX_TENSORS)?;
    let mut tensors = Vec::new();
    let mut end = 0_u64;
    for _ in 0..n_tensors {
        let name = body.string(&WELL_KNOWN, "name of a tensor")?;
        let dtype = body.string(&WELL_KNOWN, "element type of a tensor")?;
        let n_dimensions = body.varint("number of dimensions")?;
        let mut shape = Vec::new();
        for _ in 0..n_dimensions {
            shape.push(body.varint("length of a dimension")?);
        }
        let offset = end.checked_add(body.varint("gap before a tensor")?);
        let len = body.varint("length of a tensor")?;
        let ends = offset.and_then(|offset| Some((offset, offset.checked_add(len)?)));
        let Some((offset, tensor_end)) = ends.filter(|&(_, tensor_end)| tensor_end <= original_len) else {
            return Err(Refusal::corrupt("a tensor lies outside the original"));
        };
        end = tensor_end;
        tensors.push(Tensor { name, dtype, shape, offset, len });
    }
    let model = match body.u8("whether a model is needed")? {
        0 => None,
        1 => Some(ModelRecord {
            name: body.string(&WELL_KNOWN, "name of the model")?,
            fingerprint: body.array("fingerprint of the model")?,
            numerics_revision: body.varint32("numerics revision")?,
            n_vocabulary: body.varint32("size of the vocabulary")?,
            start_token: body.varint32("start token")?,
        }),
        _ => return Err(Refusal::corrupt("whether a model is needed is neither 0 nor 1")),
    };
    records(&mut body, &[])?;
    let (blocks, original_blake3) = (Vec::new(), [0; 32]);
    Ok(File { settings, format, original_len, tensors, model, blocks, original_blake3, tensor_blake3: None })
}

/// A block as it lies in the file (section 5).
struct Found<'a> {
    body: &'a [u8],
    head: BlockHead,
    payload: &'a [u8],
}

fn read_block<'a>(left: &mut Bytes<'a>) -> Result<Found<'a>, Refusal> {
    let body = section(left, b'B', MAX_BLOCK_BODY, &[])?;
    let head = BlockHead::read(body)?;
    let payload = left.take(head.payload_len, "payload")?;
    if crc32c::crc32c(payload) != head.payload_crc {
        return Err(Refusal::corrupt("the checksum of a payload differs"));
    }
    Ok(Found { body, head, payload })
}

impl BlockHead {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut left = Bytes::of_body(body);
        let stream = left.u8("stream")?;
        if stream > 1 {
            return Err(Refusal::corrupt(format!("a block of stream {stream}")));
        }
        let codec = left.u8("codec")?;
        if left.u8("block flags")? != 0 {
            return Err(Refusal::new(Class::Unsupported, "block flags"));
        }
        let stream_offset = left.varint("offset in the stream")?;
        let raw_len = left.varint("raw length")?;
        if raw_len == 0 {
            return Err(Refusal::corrupt("a block of no byte"));
        }
        check_limit("raw length of a block", raw_len, MAX_RAW_LEN)?;
        let n_lanes = left.varint16("number of lanes")?;
        let payload_len = left.varint("length of the payload")?;
        check_limit("payload of a block", payload_len, 2 * raw_len + (64 << 10))?;
        let payload_crc = left.u32("checksum of the payload")?;
        records(&mut left, &[])?;
        Ok(Self { stream, codec, stream_offset, raw_len, n_lanes, payload_len, payload_crc })
    }
}

/// Section 6: puts the hashes into `file`, returns the bodies of the index.
fn read_footer<'a>(body: &'a [u8], file: &mut File) -> Result<Vec<&'a [u8]>, Refusal> {
    let mut left = Bytes::of_body(body);
    let mut index = Vec::new();
    for _ in 0..left.varint("number of blocks")? {
        let len = left.varint("length of a block's body")?;
        index.push(left.take(len, "body of a block")?);
        check_limit("length of the index", (body.len() - left.rest().len()) as u64, MAX_INDEX_LEN)?;
    }
    file.original_blake3 = left.array("hash of the original")?;
    let hashes = records(&mut left, &[TENSOR_HASHES])?;
    if hashes.len() > 1 {
        return Err(Refusal::corrupt("the hashes of tensors are there twice"));
    }
    if let Some((_, contents)) = hashes.first() {
        let (hashes, rest) = contents.as_chunks();
        if !rest.is_empty() || hashes.len() != file.tensors.iter().filter(|tensor| tensor.len > 0).count() {
            return Err(Refusal::corrupt("there are not as many hashes as tensors"));
        }
        file.tensor_blake3 = Some(hashes.to_vec());
    }
    Ok(index)
}

/// A file, and what is needed to decode its blocks.
struct Decoder<'a> {
    file: &'a File,
    layout: Layout,
    /// Only a block that needs a model misses it.
    prior: Result<Prior<'a>, Refusal>,
    reference: Option<Reference<'a>>,
}

impl<'a> Decoder<'a> {
    fn new(file: &'a File, outside: &Outside<'a>) -> Result<Self, Refusal> {
        let layout = Layout::new(&file.tensors, file.original_len);
        if file.model.as_ref().is_some_and(|model| model.numerics_revision != NUMERICS_REVISION) {
            return Err(Refusal::new(Class::Model, "another numerics revision"));
        }
        let prior = prior(file, outside);
        let reference = match file.settings.get("reference") {
            Some(hash) => Some(reference(hash, outside)?),
            None => None,
        };
        Ok(Self { file, layout, prior, reference })
    }

    fn block(&self, head: &BlockHead, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut pieces = Vec::new();
        let mut dtypes = Vec::new();
        if head.stream == 1 {
            for run in self.layout.runs(1, head.stream_offset, head.raw_len) {
                let tensor = &self.file.tensors[run.tensor];
                let start = run.in_original - tensor.offset;
                let reference = self.reference.as_ref().and_then(|reference| reference.part(tensor, start, run.len));
                let (shape, len, tensor_len) = (&tensor.shape[..], run.len as usize, tensor.len);
                pieces.push(Piece { shape, start, len, tensor_len, reference });
                dtypes.push(&tensor.dtype[..]);
            }
        }
        let dtype = match dtypes[..] {
            [first, ref others @ ..] if others.iter().all(|&other| other == first) => first,
            _ => "U8",
        };
        let (raw_len, n_lanes) = (head.raw_len as usize, usize::from(head.n_lanes));
        let block = Block { payload, raw_len, n_lanes, dtype, pieces: &pieces };
        block::decode(head.codec, &block, self.prior.as_ref())
    }
}

/// The model that the header names.
fn prior<'a>(file: &'a File, outside: &Outside<'a>) -> Result<Prior<'a>, Refusal> {
    let refuse = |what: &str| Err(Refusal::new(Class::Model, what));
    let Some(record) = &file.model else {
        return Err(Refusal::corrupt("the block needs a language model, and the header has none"));
    };
    let Some(model) = outside.model else { return refuse("a model is needed") };
    if model.fingerprint() != record.fingerprint {
        return refuse("another model was compressed with");
    }
    let (n_vocabulary, start_token) = (record.n_vocabulary, record.start_token);
    Ok(Prior { model, settings: &file.settings, n_vocabulary, start_token })
}

/// The file that was coded against (section 9, *References*).
struct Reference<'a> {
    bytes: &'a [u8],
    /// The first tensor of each name.
    tensors: HashMap<&'a str, &'a Tensor>,
}

fn reference<'a>(hash: &str, outside: &Outside<'a>) -> Result<Reference<'a>, Refusal> {
    let found = outside.reference.filter(|found| blake3::hash(found.bytes).to_hex().as_str() == hash);
    let Some(found) = found else {
        return Err(Refusal::new(Class::Reference, format!("the file with the hash {hash} is needed")));
    };
    let mut tensors = HashMap::new();
    for tensor in found.tensors {
        tensors.entry(&tensor.name[..]).or_insert(tensor);
    }
    Ok(Reference { bytes: found.bytes, tensors })
}

impl<'a> Reference<'a> {
    /// What stands where a part of a tensor stands.
    fn part(&self, tensor: &Tensor, start: u64, len: u64) -> Option<&'a [u8]> {
        let found = self.tensors.get(&tensor.name[..])?;
        let is_like = found.dtype == tensor.dtype && found.shape == tensor.shape && found.len == tensor.len;
        slice(self.bytes, found.offset.checked_add(start)?, len).filter(|_| is_like)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of section 12, with its made-up hash.
    const EXAMPLE: &[u8] =
        b"\x8cLMGC\r\n\x1a\x01\0\0\0H\x13\x02\x051\x02x\x021E\x8c\x01\x01\0[\x01\x03\x80\x01\x0c\0\x35\x49\x24\x10\
        B\x0c\0\x01\0\0\x80\x01\0\x02\x8d\x44\xe4\xe4\xd7\x5c\x09\x22\xaa\xbb\
        B\x0b\x01\0\0\0\x0c\0\x0c\x63\x55\xa1\x51\x5f\xa0\x90\xf3\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\
        F\x3a\x02\x0c\0\x01\0\0\x80\x01\0\x02\x8d\x44\xe4\xe4\x0b\x01\0\0\0\x0c\0\x0c\x63\x55\xa1\x51\
        \xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\
        \xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xee\xb0\x28\xa1\x1e\
        \x40\0\0\0\x9aEND";

    #[test]
    fn the_example_is_read() {
        let file = read(EXAMPLE).unwrap();
        assert_eq!(file.settings["format"], "hex-space");
        assert_eq!(file.settings["x"], "1");
        assert_eq!((&file.format[..], file.original_len, file.blocks.len()), ("npy", 140, 2));
        let (name, dtype) = (String::new(), "F32".to_owned());
        assert_eq!(file.tensors, [Tensor { name, dtype, shape: vec![3], offset: 128, len: 12 }]);
        assert_eq!(file.original_blake3, [0xee; 32]);
        assert_eq!((file.model, file.tensor_blake3), (None, None));
    }
}
