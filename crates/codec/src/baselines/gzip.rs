use std::io::{Read, Write};

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
        let EncodedBlock { payload, raw_len, .. } = block;
        let mut bytes = Vec::new();
        GzDecoder::new(payload)
            .take(raw_len as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::corrupt_block(format!("gzip: {e}")))?;
        if bytes.len() != raw_len {
            return Err(Error::corrupt_block(format!("gzip gives another length than {raw_len} bytes")));
        }
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
