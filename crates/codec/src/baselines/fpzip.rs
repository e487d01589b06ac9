use fpzip_rs::FpZipCompressor;
use lmgc_tensors::Dtype;

use super::fpzip_decoder;
use super::grid::{self, Grid};
use super::numbers::LittleEndian;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// fpzip (Lindstrom and Isenburg, "Fast and efficient compression of floating-point data", 2006), lossless, for F32 and F64.
///
/// A block that is one whole tensor of two dimensions or more is coded in its shape, any other as one run.
/// Payload: as [`grid`] says, with fpzip's own stream, header included.
#[derive(Clone, Copy, Debug)]
pub struct Fpzip;

/// Bits of a number that fpzip knows.
fn width_bits(dtype: Dtype) -> Option<u32> {
    match dtype {
        Dtype::F32 => Some(32),
        Dtype::F64 => Some(64),
        _ => None,
    }
}

fn refuse(reason: String) -> Error {
    Error::CodecRefuses { codec: CodecId::Fpzip, reason }
}

fn pack(whole: &[u8], width_bits: u32, grid: Grid) -> Result<Vec<u8>, Error> {
    let too_large = || refuse(format!("{} bytes are too much for one fpzip stream", whole.len()));
    if !fpzip_decoder::can_hold(grid) {
        return Err(too_large());
    }
    let [nx, ny, nz, nf] = grid.extents.map(|extent| extent as u32);
    let compressor = FpZipCompressor::new(nx).ny(ny).nz(nz).nf(nf);
    let stream = match width_bits {
        32 => compressor.compress_f32(&f32::read_all(whole)),
        _ => compressor.compress_f64(&f64::read_all(whole)),
    };
    stream.map_err(|_| too_large())
}

impl BlockCodec for Fpzip {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let dtype = input.place.dtype;
        let width_bits =
            width_bits(dtype).ok_or_else(|| refuse(format!("it codes F32 and F64, and this is {dtype}")))?;
        let payload = grid::encode(input, |whole, grid| pack(whole, width_bits, grid))?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Fpzip, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let dtype = block.place.dtype;
        let width_bits =
            width_bits(dtype).ok_or_else(|| Error::corrupt_block(format!("fpzip payload for a block of {dtype}")))?;
        let bytes = grid::decode(block, |stream, grid| fpzip_decoder::decode(stream, width_bits, grid))?;
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
