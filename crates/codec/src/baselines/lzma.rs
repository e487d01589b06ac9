use super::xz::{pack, unpack};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// One xz stream a block, with xz's own defaults: LZMA2 and a CRC-64.
#[derive(Clone, Copy, Debug)]
pub struct Lzma {
    /// xz's level, 0 to 9.
    pub level: u32,
}

impl BlockCodec for Lzma {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let payload = pack(input.bytes, self.level)?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Lzma, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let bytes = unpack(block.payload, block.raw_len)?;
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
