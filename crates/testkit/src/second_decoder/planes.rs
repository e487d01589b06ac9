//! Planes of bytes and of bits (section 9).

/// Bytes in planes, elements of `e` bytes again.
pub(super) fn join_bytes(planes: &[u8], e: usize) -> Vec<u8> {
    let n = planes.len() / e;
    let mut out = planes.to_vec();
    for (i, element) in out.chunks_exact_mut(e).enumerate() {
        for (byte, plane) in element.iter_mut().zip(planes.chunks_exact(n)) {
            *byte = plane[i];
        }
    }
    out
}

/// Bytes in bit planes, elements of `e` bytes again.
pub(super) fn join_bits(planes: &[u8], e: usize) -> Vec<u8> {
    let m = planes.len() / (8 * e) * 8;
    let mut out = planes.to_vec();
    for (i, element) in out.chunks_exact_mut(e).take(m).enumerate() {
        for (k, byte) in element.iter_mut().enumerate() {
            let bit = |bit: usize| planes[(8 * k + bit) * (m / 8) + i / 8] >> (i % 8) & 1;
            *byte = (0..8).fold(0, |byte, place| byte | bit(place) << place);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_stay() {
        assert_eq!(join_bytes(&[1, 3, 2, 4, 9], 2), [1, 2, 3, 4, 9]);
        assert_eq!(join_bytes(&[9], 2), [9]);
        // Eight elements of a byte, the first of which is 3 and the second 1.
        assert_eq!(join_bits(&[3, 1, 0, 0, 0, 0, 0, 0, 9], 1), [3, 1, 0, 0, 0, 0, 0, 0, 9]);
    }
}
