use super::zstd::{Zstd, unpack};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Byte planes (all first bytes of the elements, all second bytes, ...), then zstd.
///
/// Payload: one byte, the element size; then the zstd frame of the planes. Bytes beyond the last whole element follow the
/// planes as they are.
#[derive(Clone, Copy, Debug)]
pub struct SplitZstd {
    /// zstd's level, 1 to 22.
    pub level: i32,
}

/// Largest element: C128.
const MAX_ELEMENT_BYTES: usize = 16;

fn split(bytes: &[u8], element_bytes: usize) -> Vec<u8> {
    let whole = bytes.chunks_exact(element_bytes);
    let tail = whole.remainder();
    let mut planes = Vec::with_capacity(bytes.len());
    for plane in 0..element_bytes {
        planes.extend(whole.clone().map(|element| element[plane]));
    }
    planes.extend(tail);
    planes
}

fn join(planes: &[u8], element_bytes: usize) -> Vec<u8> {
    let n_elements = planes.len() / element_bytes;
    let (planes, tail) = planes.split_at(n_elements * element_bytes);
    let mut bytes = vec![0; planes.len()];
    for (plane, values) in planes.chunks_exact(n_elements.max(1)).enumerate() {
        for (element, &value) in bytes.chunks_exact_mut(element_bytes).zip(values) {
            element[plane] = value;
        }
    }
    bytes.extend(tail);
    bytes
}

impl BlockCodec for SplitZstd {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        // Bytes of unknown type are most often f32.
        let element_bytes = match input.place.element_bytes() {
            1 => 4,
            n => n.min(MAX_ELEMENT_BYTES),
        };
        let mut payload = vec![element_bytes as u8];
        payload.extend(Zstd { level: self.level }.pack(&split(input.bytes, element_bytes))?);
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::SplitZstd, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        let (&element_bytes, frame) =
            payload.split_first().ok_or_else(|| Error::corrupt_block("split-zstd payload is empty"))?;
        let element_bytes = usize::from(element_bytes);
        if !(1..=MAX_ELEMENT_BYTES).contains(&element_bytes) {
            return Err(Error::corrupt_block(format!("split-zstd element size {element_bytes}")));
        }
        let bytes = join(&unpack(frame, raw_len)?, element_bytes);
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

    #[test]
    fn planes_and_back() {
        assert_eq!(split(&[1, 2, 3, 4, 5, 6, 7], 3), [1, 4, 2, 5, 3, 6, 7]);
        for len in 0..40u8 {
            let bytes: Vec<u8> = (0..len).collect();
            for element_bytes in 1..=MAX_ELEMENT_BYTES {
                assert_eq!(join(&split(&bytes, element_bytes), element_bytes), bytes);
            }
        }
    }
}
