use brotli::enc::BrotliEncoderParams;
use brotli::{BrotliCompress, Decompressor};

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Base-2 logarithm of the window's bytes: the default of the reference library.
const WINDOW_BITS: i32 = 22;

/// Bytes that the decoder takes from the payload at once.
const BUFFER_BYTES: usize = 4096;

/// One brotli stream (RFC 7932) a block.
#[derive(Clone, Copy, Debug)]
pub struct Brotli {
    /// brotli's quality, 0 to 11.
    pub quality: i32,
}

impl BlockCodec for Brotli {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let params = BrotliEncoderParams {
            quality: self.quality,
            lgwin: WINDOW_BITS,
            size_hint: input.bytes.len(),
            ..Default::default()
        };
        let (mut bytes, mut payload) = (input.bytes, Vec::new());
        BrotliCompress(&mut bytes, &mut payload, &params)?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Brotli, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        // The library also knows windows of up to 1 GiB, which RFC 7932 does not, and reserves what a stream asks for.
        if payload.first().is_some_and(|first| first & 0x7f == 0x11) {
            return Err(Error::corrupt_block("brotli: a window beyond 16 MiB"));
        }
        let mut rest = payload;
        let mut decoder = Decompressor::new(&mut rest, BUFFER_BYTES);
        let bytes = super::read_block("brotli", &mut decoder, raw_len)?;
        // Past the end, the library says whether anything is left of what it holds of the payload.
        super::read_block("brotli", &mut decoder, 0)?;
        drop(decoder);
        super::expect_end("brotli", rest.len())?;
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoProgress, Place};

    #[test]
    fn large_windows_are_refused() {
        let bytes: Vec<u8> = (0..200).collect();
        let params = BrotliEncoderParams { quality: 5, lgwin: 28, large_window: true, ..Default::default() };
        let mut payload = Vec::new();
        BrotliCompress(&mut bytes.as_slice(), &mut payload, &params).unwrap();
        let block = EncodedBlock { payload: &payload, raw_len: bytes.len(), n_lanes: 0, place: Place::UNKNOWN };
        let error = Brotli { quality: 11 }.decode(block, &NoProgress).unwrap_err();
        assert!(error.to_string().contains("window"), "{error}");
    }
}
