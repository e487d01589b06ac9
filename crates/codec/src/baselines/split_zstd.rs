use super::planes::{element_bytes, join, read_element_bytes, split};
use super::zstd::{Zstd, unpack};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Byte planes (all first bytes of the elements, all second bytes, ...), then zstd.
///
/// Payload: one byte, the element size; then the zstd frame of the planes. Bytes beyond the last whole element follow the
/// planes as they are.
#[derive(Clone, Copy, Debug)]
pub struct SplitZstd {
    /// zstd's level, 1 to 22.
    pub level: i32,
}

impl BlockCodec for SplitZstd {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let element_bytes = element_bytes(input.place);
        let mut payload = vec![element_bytes as u8];
        payload.extend(Zstd { level: self.level }.pack(&split(input.bytes, element_bytes))?);
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::SplitZstd, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        let (element_bytes, frame) = read_element_bytes(payload)?;
        let bytes = join(&unpack(frame, raw_len)?, element_bytes);
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
