use lmgc_tensors::Dtype;

use super::fpzip_stream as stream;
use super::grid::Grid;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// fpzip (Lindstrom and Isenburg, "Fast and efficient compression of floating-point data", 2006), lossless, for F32 and F64.
///
/// A block that is one whole tensor of two dimensions or more is coded in its shape, any other as one run.
/// Payload: one byte, the number of dimensions (0 if there is no whole element, 1 to 4 otherwise); then the fpzip stream,
/// header included, if it is not 0; then the bytes beyond the last whole element as they are.
#[derive(Clone, Copy, Debug)]
pub struct Fpzip;

fn refuse(reason: String) -> Error {
    Error::CodecRefuses { codec: CodecId::Fpzip, reason }
}

impl BlockCodec for Fpzip {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let encode = match place.dtype {
            Dtype::F32 => stream::encode::<f32>,
            Dtype::F64 => stream::encode::<f64>,
            other => return Err(refuse(format!("it codes F32 and F64, and this is {other}"))),
        };
        let n_elements = bytes.len() / place.element_bytes();
        let (whole, tail) = bytes.split_at(n_elements * place.element_bytes());
        let mut payload = vec![0];
        if n_elements > 0 {
            let grid = Grid::of_block(&place, n_elements);
            if !stream::can_hold(grid) {
                return Err(refuse(format!("{} bytes are too much for one fpzip stream", whole.len())));
            }
            payload[0] = grid.n_dimensions as u8;
            payload.extend(encode(whole, grid)?);
        }
        payload.extend_from_slice(tail);
        progress.advance(bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Fpzip, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, place, .. } = block;
        let decode = match place.dtype {
            Dtype::F32 => stream::decode::<f32>,
            Dtype::F64 => stream::decode::<f64>,
            other => return Err(Error::corrupt_block(format!("fpzip payload for a block of {other}"))),
        };
        let (n_elements, n_tail) = (raw_len / place.element_bytes(), raw_len % place.element_bytes());
        let too_short = || Error::corrupt_block(format!("fpzip payload of {} bytes is too short", payload.len()));
        let (&n_dimensions, rest) = payload.split_first().ok_or_else(too_short)?;
        let (coded, tail) = rest.split_at(rest.len().checked_sub(n_tail).ok_or_else(too_short)?);
        let mut bytes = match (n_elements, n_dimensions) {
            (0, 0) if coded.is_empty() => Vec::new(),
            (0, _) | (_, 0) => {
                return Err(Error::corrupt_block(format!("{n_dimensions} dimensions of {n_elements} values")));
            }
            _ => {
                let grid = Grid::of_payload(n_dimensions, &place, n_elements)?;
                decode(coded, grid)?
            }
        };
        bytes.extend_from_slice(tail);
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
