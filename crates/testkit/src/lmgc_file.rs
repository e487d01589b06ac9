//! `.lmgc` files as parts that tests change and put together again: by `docs/format.md`, and apart from the container's own
//! code. Parts may be as wrong as a test wants them; checksums, lengths and the index are made right when the file is
//! put together.

/// Bytes before the header section.
pub(crate) const PROLOGUE_BYTES: usize = 12;
/// Bytes of the original's hash, with which the rest of a footer begins.
const HASH_BYTES: usize = 32;

/// A file in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmgcFile {
    /// Magic, version and flags.
    pub prologue: Vec<u8>,
    /// The header.
    pub header: LmgcHeader,
    /// The blocks, in the file's order.
    pub blocks: Vec<LmgcBlock>,
    /// What follows the index in the footer: the original's hash, and records.
    pub footer_rest: Vec<u8>,
}

/// A header's body in parts. Strings are as they stand in the file, with their length or their number in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmgcHeader {
    /// Keys and values.
    pub settings: Vec<(Vec<u8>, Vec<u8>)>,
    /// Format of the original.
    pub format: Vec<u8>,
    /// Length of the original in bytes.
    pub original_len: u64,
    /// The tensor table.
    pub tensors: Vec<LmgcTensor>,
    /// The model.
    pub model: Option<LmgcModel>,
    /// Records, as they stand in the file.
    pub records: Vec<u8>,
}

/// An entry of the tensor table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmgcTensor {
    /// Name, as it stands in the file.
    pub name: Vec<u8>,
    /// Element type, as it stands in the file.
    pub dtype: Vec<u8>,
    /// Length along each dimension.
    pub shape: Vec<u64>,
    /// Bytes from the end of the tensor before.
    pub gap: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What a header says of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmgcModel {
    /// Name, as it stands in the file.
    pub name: Vec<u8>,
    /// Fingerprint.
    pub fingerprint: Vec<u8>,
    /// Numerics revision, number of tokens in the vocabulary, start token.
    pub numbers: [u64; 3],
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmgcBlock {
    /// Stream number.
    pub stream: u8,
    /// Codec number.
    pub codec: u8,
    /// Flags.
    pub flags: u8,
    /// First byte in the stream.
    pub offset: u64,
    /// Number of the stream's bytes.
    pub raw_len: u64,
    /// Number of lanes.
    pub n_lanes: u64,
    /// Records, as they stand in the file.
    pub records: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl LmgcFile {
    /// Takes an undamaged file apart.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let mut at = PROLOGUE_BYTES;
        let prologue = file.get(..at)?.to_vec();
        let section = Section::at(file, at)?;
        let header = LmgcHeader::parse(section.body(file)?)?;
        at = section.end;
        let mut blocks = Vec::new();
        loop {
            let section = Section::at(file, at)?;
            let body = section.body(file)?;
            if section.marker == b'F' {
                let mut fields = Fields(body);
                for _ in 0..fields.varint()? {
                    let len = fields.varint()?;
                    fields.bytes(len)?;
                }
                return Some(Self { prologue, header, blocks, footer_rest: fields.0.to_vec() });
            }
            let fields = BlockFields::parse(body)?;
            at = section.end.checked_add(usize::try_from(fields.payload_len).ok()?)?;
            let payload = file.get(section.end..at)?.to_vec();
            blocks.push(LmgcBlock { payload, ..fields.block });
        }
    }

    /// Puts the file together.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_with(&self.header.to_body(), &self.footer_body())
    }

    /// As [`LmgcFile::to_bytes`], with other bodies of header and footer.
    pub fn to_bytes_with(&self, header_body: &[u8], footer_body: &[u8]) -> Vec<u8> {
        let mut file = self.prologue.clone();
        push_section(&mut file, 0, b'H', header_body);
        for block in &self.blocks {
            let start = file.len();
            push_section(&mut file, start, b'B', &block.to_body());
            file.extend_from_slice(&block.payload);
        }
        let start = file.len();
        push_section(&mut file, start, b'F', footer_body);
        let footer_len = (file.len() - start) as u32;
        file.extend_from_slice(&footer_len.to_le_bytes());
        file.extend_from_slice(b"\x9aEND");
        file
    }

    /// The footer's body: the index, the hash and the records.
    pub fn footer_body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        push_varint(&mut body, self.blocks.len() as u64);
        for block in &self.blocks {
            let block = block.to_body();
            push_varint(&mut body, block.len() as u64);
            body.extend_from_slice(&block);
        }
        body.extend_from_slice(&self.footer_rest);
        body
    }

    /// The footer's records, which follow the hash.
    pub fn footer_records(&self) -> &[u8] {
        self.footer_rest.get(HASH_BYTES..).unwrap_or_default()
    }

    /// Gives a block of the data stream another length and keeps the rest of the file consistent with it: the tensor that
    /// the block ends in becomes longer or shorter, and what follows moves. For another stream, the original's end moves.
    pub fn resize_block(&mut self, index: usize, raw_len: u64) -> Option<()> {
        let block = self.blocks.get(index)?;
        let (stream, old, last) =
            (block.stream, block.raw_len, block.offset.checked_add(block.raw_len)?.checked_sub(1)?);
        let resized = |len: u64| len.checked_add(raw_len)?.checked_sub(old);
        if stream == 1 {
            let mut end = 0;
            let tensor = self.header.tensors.iter_mut().find(|tensor| {
                end = u64::saturating_add(end, tensor.len);
                last < end
            })?;
            tensor.len = resized(tensor.len)?;
        }
        self.header.original_len = resized(self.header.original_len)?;
        let (_, after) = self.blocks.split_at_mut(index + 1);
        for later in after.iter_mut().filter(|later| later.stream == stream) {
            later.offset = resized(later.offset)?;
        }
        self.blocks.get_mut(index)?.raw_len = raw_len;
        Some(())
    }
}

impl LmgcHeader {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let settings = (0..fields.varint()?)
            .map(|_| Some((fields.string()?.to_vec(), fields.string()?.to_vec())))
            .collect::<Option<_>>()?;
        let format = fields.string()?.to_vec();
        let original_len = fields.varint()?;
        let tensors = (0..fields.varint()?)
            .map(|_| {
                Some(LmgcTensor {
                    name: fields.string()?.to_vec(),
                    dtype: fields.string()?.to_vec(),
                    shape: (0..fields.varint()?).map(|_| fields.varint()).collect::<Option<_>>()?,
                    gap: fields.varint()?,
                    len: fields.varint()?,
                })
            })
            .collect::<Option<_>>()?;
        let model = match fields.bytes(1)? {
            [0] => None,
            _ => Some(LmgcModel {
                name: fields.string()?.to_vec(),
                fingerprint: fields.bytes(32)?.to_vec(),
                numbers: [fields.varint()?, fields.varint()?, fields.varint()?],
            }),
        };
        Some(Self { settings, format, original_len, tensors, model, records: fields.0.to_vec() })
    }

    /// The header's body.
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        push_varint(&mut body, self.settings.len() as u64);
        for (key, value) in &self.settings {
            body.extend_from_slice(key);
            body.extend_from_slice(value);
        }
        body.extend_from_slice(&self.format);
        push_varint(&mut body, self.original_len);
        push_varint(&mut body, self.tensors.len() as u64);
        for tensor in &self.tensors {
            body.extend_from_slice(&tensor.name);
            body.extend_from_slice(&tensor.dtype);
            push_varint(&mut body, tensor.shape.len() as u64);
            for &number in tensor.shape.iter().chain(&[tensor.gap, tensor.len]) {
                push_varint(&mut body, number);
            }
        }
        body.push(u8::from(self.model.is_some()));
        if let Some(model) = &self.model {
            body.extend_from_slice(&model.name);
            body.extend_from_slice(&model.fingerprint);
            for number in model.numbers {
                push_varint(&mut body, number);
            }
        }
        body.extend_from_slice(&self.records);
        body
    }
}

impl LmgcBlock {
    /// The block's body.
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = vec![self.stream, self.codec, self.flags];
        for number in [self.offset, self.raw_len, self.n_lanes, self.payload.len() as u64] {
            push_varint(&mut body, number);
        }
        body.extend_from_slice(&crc32c::crc32c(&self.payload).to_le_bytes());
        body.extend_from_slice(&self.records);
        body
    }
}

/// A string as it stands in a file, written out.
pub fn lmgc_string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, text.len() as u64 * 2);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Appends a variable-length integer.
pub fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends a section. Its checksum is of the file's bytes from `checked_from` on.
pub fn push_section(file: &mut Vec<u8>, checked_from: usize, marker: u8, body: &[u8]) {
    file.push(marker);
    push_varint(file, body.len() as u64);
    file.extend_from_slice(body);
    let checksum = crc32c::crc32c(file.get(checked_from..).unwrap_or_default());
    file.extend_from_slice(&checksum.to_le_bytes());
}

/// Where a section lies in a file that may be damaged.
#[derive(Clone, Copy)]
pub(crate) struct Section {
    pub(crate) start: usize,
    pub(crate) marker: u8,
    pub(crate) body_start: usize,
    /// Where the body ends and the checksum starts.
    pub(crate) body_end: usize,
    pub(crate) end: usize,
}

impl Section {
    /// The section that starts here, if all of it is there.
    pub(crate) fn at(file: &[u8], start: usize) -> Option<Self> {
        let (&marker, rest) = file.get(start..)?.split_first()?;
        let mut fields = Fields(rest);
        let body_len = usize::try_from(fields.varint()?).ok()?;
        let body_start = file.len() - fields.0.len();
        let body_end = body_start.checked_add(body_len)?;
        let end = body_end.checked_add(4).filter(|&end| end <= file.len())?;
        Some(Self { start, marker, body_start, body_end, end })
    }

    pub(crate) fn body(self, file: &[u8]) -> Option<&[u8]> {
        file.get(self.body_start..self.body_end)
    }
}

/// What a block's body says.
pub(crate) struct BlockFields {
    /// The block without its payload.
    block: LmgcBlock,
    pub(crate) payload_len: u64,
    /// Where in the body the payload's checksum is.
    pub(crate) checksum_at: usize,
}

impl BlockFields {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let [stream, codec, flags] = *fields.bytes(3)? else { return None };
        let [offset, raw_len, n_lanes, payload_len] =
            [fields.varint()?, fields.varint()?, fields.varint()?, fields.varint()?];
        let checksum_at = body.len() - fields.0.len();
        fields.bytes(4)?;
        let (records, payload) = (fields.0.to_vec(), Vec::new());
        let block = LmgcBlock { stream, codec, flags, offset, raw_len, n_lanes, records, payload };
        Some(Self { block, payload_len, checksum_at })
    }
}

/// Fields from the front of some bytes on.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let &[byte] = self.bytes(1)? else { return None };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A string with what is in front of it.
    fn string(&mut self) -> Option<&'a [u8]> {
        let all = self.0;
        let tag = self.varint()?;
        if tag.is_multiple_of(2) {
            self.bytes(tag / 2)?;
        }
        all.get(..all.len() - self.0.len())
    }
}
