use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// One zstd frame (RFC 8878) a block, without zstd's own checksum: the container has its own.
#[derive(Clone, Copy, Debug)]
pub struct Zstd {
    /// zstd's level, 1 to 22.
    pub level: i32,
}

impl Zstd {
    pub(crate) fn pack(self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(zstd::bulk::compress(bytes, self.level)?)
    }
}

pub(crate) fn unpack(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
    // Streaming, so that memory follows what is really there and not what the frame announces.
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)
        .map_err(|e| Error::corrupt_block(format!("zstd: {e}")))?
        .single_frame();
    let bytes = super::read_block("zstd", &mut decoder, raw_len)?;
    super::expect_end("zstd", decoder.into_inner().len())?;
    Ok(bytes)
}

impl BlockCodec for Zstd {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let payload = self.pack(input.bytes)?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Zstd, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        let bytes = unpack(payload, raw_len)?;
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
