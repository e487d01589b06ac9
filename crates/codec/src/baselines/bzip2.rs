use std::io::Write;

use bzip2::Compression;
use bzip2::bufread::BzDecoder;
use bzip2::write::BzEncoder;

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// One bzip2 stream a block.
#[derive(Clone, Copy, Debug)]
pub struct Bzip2 {
    /// bzip2's level, 1 to 9.
    pub level: u32,
}

impl BlockCodec for Bzip2 {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let mut encoder = BzEncoder::new(Vec::new(), Compression::new(self.level));
        encoder.write_all(input.bytes)?;
        let payload = encoder.finish()?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Bzip2, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let mut rest = block.payload;
        let bytes = super::read_block("bzip2", BzDecoder::new(&mut rest), block.raw_len)?;
        super::expect_end("bzip2", rest.len())?;
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
