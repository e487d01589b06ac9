use std::io::Write;

use liblzma::bufread::XzDecoder;
use liblzma::stream::{Check, Stream};
use liblzma::write::XzEncoder;

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Memory that a decoder may use, in bytes: what level 9 asks for (a dictionary of 64 MiB) and some room. liblzma takes
/// it from the system as it is filled, so a short block costs little.
const MEMORY_LIMIT: u64 = 66 << 20;

/// One xz stream a block, with xz's own defaults: LZMA2 and a CRC-64.
#[derive(Clone, Copy, Debug)]
pub struct Lzma {
    /// xz's level, 0 to 9.
    pub level: u32,
}

pub(super) fn pack(bytes: &[u8], level: u32) -> Result<Vec<u8>, Error> {
    let stream = Stream::new_easy_encoder(level, Check::Crc64).map_err(std::io::Error::from)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

pub(super) fn unpack(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
    let stream = Stream::new_stream_decoder(MEMORY_LIMIT, 0).map_err(std::io::Error::from)?;
    super::read_block("xz", XzDecoder::new_stream(payload, stream), raw_len)
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
