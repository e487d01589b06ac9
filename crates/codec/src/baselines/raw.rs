use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl BlockCodec for Raw {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Raw, input.bytes.to_vec()))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        if payload.len() != raw_len {
            return Err(Error::corrupt_block(format!("{} stored bytes for a block of {raw_len}", payload.len())));
        }
        progress.advance(raw_len as u64);
        Ok(payload.to_vec())
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
