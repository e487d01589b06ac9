use std::io::Write;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// One gzip member (RFC 1952) a block.
#[derive(Clone, Copy, Debug)]
pub struct Gzip {
    /// gzip's level, 1 to 9.
    pub level: u32,
}

impl BlockCodec for Gzip {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(self.level));
        encoder.write_all(input.bytes)?;
        let payload = encoder.finish()?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Gzip, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let mut rest = block.payload;
        let bytes = super::read_block("gzip", GzDecoder::new(&mut rest), block.raw_len)?;
        super::expect_end("gzip", rest.len())?;
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
