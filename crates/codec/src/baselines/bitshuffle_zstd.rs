use super::planes::{element_bytes, join, read_element_bytes, split};
use super::zstd::{Zstd, unpack};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// Bit planes (all lowest bits of the elements, all second bits, ...), then zstd, as Blosc2 and HDF5's bitshuffle do it.
///
/// Payload: one byte, the element size; then the zstd frame of the planes. Elements beyond the last multiple of eight and
/// bytes beyond the last whole element follow the planes as they are.
#[derive(Clone, Copy, Debug)]
pub struct BitshuffleZstd {
    /// zstd's level, 1 to 22.
    pub level: i32,
}

/// Bytes whose elements can be cut into bit planes: as many elements as fill the planes' bytes.
fn shuffled_len(len: usize, element_bytes: usize) -> usize {
    len - len % (8 * element_bytes)
}

/// Transposes 8 x 8 bits: bit j of byte i becomes bit i of byte j. Its own inverse. Warren, Hacker's Delight, section 7-3.
fn transpose(mut x: u64) -> u64 {
    for (shift, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)] {
        let t = (x ^ (x >> shift)) & mask;
        x ^= t ^ (t << shift);
    }
    x
}

fn shuffle(bytes: &[u8], element_bytes: usize) -> Vec<u8> {
    let (whole, tail) = bytes.split_at(shuffled_len(bytes.len(), element_bytes));
    let byte_planes = split(whole, element_bytes);
    let plane_bytes = whole.len() / element_bytes / 8;
    let mut planes = vec![0; whole.len()];
    if plane_bytes > 0 {
        let pairs = planes.chunks_exact_mut(8 * plane_bytes).zip(byte_planes.chunks_exact(8 * plane_bytes));
        for (bit_planes, byte_plane) in pairs {
            for (at, eight) in byte_plane.as_chunks::<8>().0.iter().enumerate() {
                let bits = transpose(u64::from_le_bytes(*eight)).to_le_bytes();
                for (plane, byte) in bit_planes.chunks_exact_mut(plane_bytes).zip(bits) {
                    plane[at] = byte;
                }
            }
        }
    }
    planes.extend(tail);
    planes
}

fn unshuffle(planes: &[u8], element_bytes: usize) -> Vec<u8> {
    let (whole, tail) = planes.split_at(shuffled_len(planes.len(), element_bytes));
    let plane_bytes = whole.len() / element_bytes / 8;
    let mut byte_planes = vec![0; whole.len()];
    if plane_bytes > 0 {
        let pairs = byte_planes.chunks_exact_mut(8 * plane_bytes).zip(whole.chunks_exact(8 * plane_bytes));
        for (byte_plane, bit_planes) in pairs {
            for (at, eight) in byte_plane.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let mut bits = [0; 8];
                for (byte, plane) in bits.iter_mut().zip(bit_planes.chunks_exact(plane_bytes)) {
                    *byte = plane[at];
                }
                *eight = transpose(u64::from_le_bytes(bits)).to_le_bytes();
            }
        }
    }
    let mut bytes = join(&byte_planes, element_bytes);
    bytes.extend(tail);
    bytes
}

impl BlockCodec for BitshuffleZstd {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let element_bytes = element_bytes(input.place);
        let mut payload = vec![element_bytes as u8];
        payload.extend(Zstd { level: self.level }.pack(&shuffle(input.bytes, element_bytes))?);
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::BitshuffleZstd, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let (element_bytes, frame) = read_element_bytes(block.payload)?;
        let bytes = unshuffle(&unpack(frame, block.raw_len)?, element_bytes);
        progress.advance(block.raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use lmgc_testkit::Random;

    use super::super::planes::MAX_ELEMENT_BYTES;
    use super::*;

    #[test]
    fn planes_hold_the_bits_that_they_should() {
        for element_bytes in 1..=MAX_ELEMENT_BYTES {
            for n_bytes in [0, 1, 7, 8, 24 * element_bytes, 24 * element_bytes + 5, 16 * element_bytes - 1] {
                let bytes = Random::new(n_bytes as u64).bytes(n_bytes);
                let planes = shuffle(&bytes, element_bytes);
                let n_elements = n_bytes / element_bytes / 8 * 8;
                for bit in 0..8 * element_bytes {
                    for element in 0..n_elements {
                        let expected = bytes[element * element_bytes + bit / 8] >> (bit % 8) & 1;
                        let found = planes[bit * n_elements / 8 + element / 8] >> (element % 8) & 1;
                        assert_eq!(found, expected, "bit {bit} of element {element} of {element_bytes} bytes");
                    }
                }
                assert_eq!(planes[n_elements * element_bytes..], bytes[n_elements * element_bytes..]);
                assert_eq!(unshuffle(&planes, element_bytes), bytes);
            }
        }
    }
}
