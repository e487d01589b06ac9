use std::io::Cursor;

use flac_codec::encode::{FlacSampleWriter, Options};

use super::flac_frames::Frames;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// A FLAC stream (RFC 9639) a block: one channel, 8 bits, 16 kHz, a sample of byte - 128 for each byte. LM-GC's baseline.
///
/// The stream has no metadata but STREAMINFO.
#[derive(Clone, Copy, Debug)]
pub struct Flac;

const SAMPLE_RATE: u32 = 16_000;

/// Base-2 logarithm of the parts of a frame that have a Rice parameter of their own. The library gives parts of zeros no
/// bits at all, which libFLAC does not do; at libFLAC's own limit of 6, sparse gradients become 2 % smaller than there.
const MAX_PARTITION_ORDER: u32 = 5;

/// Bytes that are handed to the library at once.
const PIECE_BYTES: usize = 1 << 16;

/// Marker, head of the only metadata block, and that block.
const HEADER_BYTES: usize = 4 + 4 + 34;

/// What a stream begins with, up to the block and frame sizes.
const START: [u8; 8] = *b"fLaC\x80\0\0\x22";

/// STREAMINFO's sample rate, channels, bits and number of samples.
fn parameters(n_samples: usize) -> [u8; 8] {
    (u64::from(SAMPLE_RATE) << 44 | 7 << 36 | n_samples as u64).to_be_bytes()
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::CodecRefuses { codec: CodecId::Flac, reason: reason.into() }
}

impl BlockCodec for Flac {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let n_bytes = input.bytes.len();
        if n_bytes == 0 {
            return Err(refuse("a stream has one sample or more, and there are no bytes"));
        }
        let failed = |e: flac_codec::Error| refuse(e.to_string());
        let mut payload = Cursor::new(Vec::new());
        let options = Options::best().no_padding().no_seektable().max_partition_order(MAX_PARTITION_ORDER);
        let options = options.map_err(|e| refuse(e.to_string()))?;
        let mut writer =
            FlacSampleWriter::new(&mut payload, options, SAMPLE_RATE, 8, 1, Some(n_bytes as u64)).map_err(failed)?;
        for piece in input.bytes.chunks(PIECE_BYTES) {
            let samples: Vec<i32> = piece.iter().map(|&byte| i32::from(byte) - 128).collect();
            writer.write(&samples).map_err(failed)?;
            progress.advance(piece.len() as u64);
        }
        writer.finalize().map_err(failed)?;
        Ok(Encoded::plain(CodecId::Flac, payload.into_inner()))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        let (header, frames) = payload
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or_else(|| Error::corrupt_block("flac: the payload ends in its header"))?;
        if header[..8] != START || header[18..26] != parameters(raw_len) {
            return Err(Error::corrupt_block(format!("no 8-bit FLAC of {raw_len} samples")));
        }
        let bytes = Frames::new(frames).decode(raw_len)?;
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
