//! Byte planes: all first bytes of the elements, all second bytes, and so on. Bytes beyond the last whole element follow
//! as they are.

use crate::{Error, Place};

/// Largest element: C128.
pub(super) const MAX_ELEMENT_BYTES: usize = 16;

/// Bytes of an element to make planes of.
pub(super) fn element_bytes(place: Place<'_>) -> usize {
    // Bytes of unknown type are most often f32.
    match place.element_bytes() {
        1 => 4,
        n => n.min(MAX_ELEMENT_BYTES),
    }
}

/// The element size at a payload's start, and what follows.
pub(super) fn read_element_bytes(payload: &[u8]) -> Result<(usize, &[u8]), Error> {
    let (&size, rest) = payload.split_first().ok_or_else(|| Error::corrupt_block("an empty payload"))?;
    let element_bytes = usize::from(size);
    if !(1..=MAX_ELEMENT_BYTES).contains(&element_bytes) {
        return Err(Error::corrupt_block(format!("planes of elements of {element_bytes} bytes")));
    }
    Ok((element_bytes, rest))
}

pub(super) fn split(bytes: &[u8], element_bytes: usize) -> Vec<u8> {
    let whole = bytes.chunks_exact(element_bytes);
    let tail = whole.remainder();
    let mut planes = Vec::with_capacity(bytes.len());
    for plane in 0..element_bytes {
        planes.extend(whole.clone().map(|element| element[plane]));
    }
    planes.extend(tail);
    planes
}

pub(super) fn join(planes: &[u8], element_bytes: usize) -> Vec<u8> {
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
