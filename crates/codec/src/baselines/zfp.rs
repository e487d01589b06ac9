use lmgc_tensors::Dtype;
use zfp_rs::{ZfpBitStream, ZfpConfig, ZfpField, ZfpFieldMut, ZfpScalar};

use super::grid::{self, Grid};
use super::numbers::LittleEndian;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// zfp in its reversible mode (Lindstrom, "Fixed-rate compressed floating-point arrays", 2014), for F32, F64, I32 and I64.
///
/// A block that is one whole tensor of two dimensions or more is coded in its shape, any other as one run.
/// Payload: as [`grid`] says, with zfp's stream without a header, in words of 8 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Zfp;

fn refuse(reason: impl ToString) -> Error {
    Error::CodecRefuses { codec: CodecId::Zfp, reason: reason.to_string() }
}

fn pack<T: ZfpScalar + LittleEndian>(whole: &[u8], grid: Grid) -> Result<Vec<u8>, Error> {
    let config = ZfpConfig::reversible();
    let numbers = T::read_all(whole);
    let field = ZfpField::new(&numbers, dimensions(grid)).map_err(refuse)?;
    let capacity = config
        .maximum_size(field.scalar_type(), field.dims())
        .ok_or_else(|| refuse(format!("{} bytes are too much for one zfp stream", whole.len())))?;
    let mut stream = ZfpBitStream::new(capacity).map_err(refuse)?;
    stream.compress(&config, &field).map_err(refuse)?;
    stream.into_bytes().map_err(refuse)
}

fn unpack<T: ZfpScalar + LittleEndian>(stream: &[u8], grid: Grid) -> Result<Vec<u8>, Error> {
    let corrupt = |e: &dyn std::fmt::Display| Error::corrupt_block(format!("zfp: {e}"));
    let mut numbers = vec![T::default(); grid.extents.iter().product()];
    let mut field = ZfpFieldMut::new(&mut numbers, dimensions(grid)).map_err(|e| corrupt(&e))?;
    let mut bits = ZfpBitStream::from_bytes(stream).map_err(|e| corrupt(&e))?;
    let n_read = bits.decompress(&ZfpConfig::reversible(), &mut field).map_err(|e| corrupt(&e))?;
    if n_read != stream.len() {
        return Err(Error::corrupt_block(format!("zfp stream of {} bytes ends at byte {n_read}", stream.len())));
    }
    Ok(T::write_all(&numbers))
}

/// As zfp wants them: fastest first, and 0 for a dimension that is not used.
fn dimensions(grid: Grid) -> [usize; 4] {
    let mut dimensions = grid.extents;
    dimensions[grid.n_dimensions..].fill(0);
    dimensions
}

impl BlockCodec for Zfp {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let payload = match input.place.dtype {
            Dtype::F32 => grid::encode(input, pack::<f32>)?,
            Dtype::F64 => grid::encode(input, pack::<f64>)?,
            Dtype::I32 => grid::encode(input, pack::<i32>)?,
            Dtype::I64 => grid::encode(input, pack::<i64>)?,
            other => return Err(refuse(format!("it codes F32, F64, I32 and I64, and this is {other}"))),
        };
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Zfp, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let bytes = match block.place.dtype {
            Dtype::F32 => grid::decode(block, unpack::<f32>)?,
            Dtype::F64 => grid::decode(block, unpack::<f64>)?,
            Dtype::I32 => grid::decode(block, unpack::<i32>)?,
            Dtype::I64 => grid::decode(block, unpack::<i64>)?,
            other => return Err(Error::corrupt_block(format!("zfp payload for a block of {other}"))),
        };
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
