use super::{Raw, SplitZstd, Zstd};
use crate::{BlockCodec, BlockInput, Encoded, EncodedBlock, Error, NoProgress, Progress};

/// The smallest of raw, zstd and split-zstd, measured for each block.
#[derive(Clone, Copy, Debug)]
pub struct Auto {
    /// zstd's level, 1 to 22.
    pub level: i32,
}

impl BlockCodec for Auto {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let mut best = Raw.encode(input, &NoProgress)?;
        let others: [&dyn BlockCodec; 2] = [&Zstd { level: self.level }, &SplitZstd { level: self.level }];
        for codec in others {
            let encoded = codec.encode(input, &NoProgress)?;
            if encoded.payload.len() < best.payload.len() {
                best = encoded;
            }
        }
        progress.advance(input.bytes.len() as u64);
        Ok(best)
    }

    fn decode(&self, _: EncodedBlock<'_>, _: &dyn Progress) -> Result<Vec<u8>, Error> {
        Err(Error::corrupt_block("auto names no codec of its own"))
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
