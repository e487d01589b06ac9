use lmgc_tensors::Dtype;
use zfp_rs::{ZfpBitStream, ZfpConfig, ZfpField, ZfpFieldMut, ZfpScalar};

use super::numbers::LittleEndian;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// zfp in its reversible mode (Lindstrom, "Fixed-rate compressed floating-point arrays", 2014), for F32, F64, I32 and I64.
///
/// A block is one run whatever its tensors' shapes: zfp's blocks are 4 wide in each dimension, and kernels of 3 x 3 leave
/// much of them empty. Payload: the zfp stream of the whole elements without a header, in words of 8 bytes (none: no
/// stream); then the bytes beyond the last whole element as they are.
#[derive(Clone, Copy, Debug)]
pub struct Zfp;

fn refuse(reason: impl ToString) -> Error {
    Error::CodecRefuses { codec: CodecId::Zfp, reason: reason.to_string() }
}

fn pack<T: ZfpScalar + LittleEndian>(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let config = ZfpConfig::reversible();
    let (whole, tail) = bytes.split_at(bytes.len() - bytes.len() % size_of::<T>());
    let mut payload = Vec::new();
    if !whole.is_empty() {
        let numbers = T::read_all(whole);
        let field = ZfpField::new(&numbers, [numbers.len()]).map_err(refuse)?;
        let capacity = config
            .maximum_size(field.scalar_type(), field.dims())
            .ok_or_else(|| refuse(format!("{} bytes are too much for one zfp stream", whole.len())))?;
        let mut stream = ZfpBitStream::new(capacity).map_err(refuse)?;
        stream.compress(&config, &field).map_err(refuse)?;
        payload = stream.into_bytes().map_err(refuse)?;
    }
    payload.extend_from_slice(tail);
    Ok(payload)
}

fn unpack<T: ZfpScalar + LittleEndian>(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
    let corrupt = |e: &dyn std::fmt::Display| Error::corrupt_block(format!("zfp: {e}"));
    let (n_elements, n_tail) = (raw_len / size_of::<T>(), raw_len % size_of::<T>());
    let stream_len = payload
        .len()
        .checked_sub(n_tail)
        .ok_or_else(|| Error::corrupt_block(format!("zfp payload of {} bytes is too short", payload.len())))?;
    let (stream, tail) = payload.split_at(stream_len);
    let (mut bytes, mut n_read) = (Vec::new(), 0);
    if n_elements > 0 {
        let mut numbers = vec![T::default(); n_elements];
        let mut field = ZfpFieldMut::new(&mut numbers, [n_elements]).map_err(|e| corrupt(&e))?;
        let mut bits = ZfpBitStream::from_bytes(stream).map_err(|e| corrupt(&e))?;
        n_read = bits.decompress(&ZfpConfig::reversible(), &mut field).map_err(|e| corrupt(&e))?;
        bytes = T::write_all(&numbers);
    }
    if n_read != stream.len() {
        return Err(Error::corrupt_block(format!("zfp stream of {} bytes ends at byte {n_read}", stream.len())));
    }
    bytes.extend_from_slice(tail);
    Ok(bytes)
}

impl BlockCodec for Zfp {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let payload = match input.place.dtype {
            Dtype::F32 => pack::<f32>(input.bytes)?,
            Dtype::F64 => pack::<f64>(input.bytes)?,
            Dtype::I32 => pack::<i32>(input.bytes)?,
            Dtype::I64 => pack::<i64>(input.bytes)?,
            other => return Err(refuse(format!("it codes F32, F64, I32 and I64, and this is {other}"))),
        };
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Zfp, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        let bytes = match block.place.dtype {
            Dtype::F32 => unpack::<f32>(payload, raw_len)?,
            Dtype::F64 => unpack::<f64>(payload, raw_len)?,
            Dtype::I32 => unpack::<i32>(payload, raw_len)?,
            Dtype::I64 => unpack::<i64>(payload, raw_len)?,
            other => return Err(Error::corrupt_block(format!("zfp payload for a block of {other}"))),
        };
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
