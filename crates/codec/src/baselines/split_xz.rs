use super::planes::{element_bytes, join, read_element_bytes, split};
use super::xz::{pack, unpack};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Byte planes, then xz.
///
/// Payload: one byte, the element size; then the xz stream of the planes.
#[derive(Clone, Copy, Debug)]
pub struct SplitXz {
    /// xz's level, 0 to 9.
    pub level: u32,
}

impl BlockCodec for SplitXz {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let element_bytes = element_bytes(input.place);
        let mut payload = vec![element_bytes as u8];
        payload.extend(pack(&split(input.bytes, element_bytes), self.level)?);
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::SplitXz, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let (element_bytes, stream) = read_element_bytes(block.payload)?;
        let bytes = join(&unpack(stream, block.raw_len)?, element_bytes);
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
