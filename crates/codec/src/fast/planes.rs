//! The bits below a mantissa's first, as they are, but packed in planes, which vector instructions do well.

use super::CHUNK;
use super::word::{Format, Word};

/// The bits of a piece's values that go plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    /// Bits below them, which are 0 in all values.
    low_bits: u32,
    n_bits: u32,
}

/// Room for the bits of a chunk that fill no byte, one byte a value, and for what rounding up needs.
pub(super) type Crumbs = [u8; CHUNK + 8];

impl Planes {
    pub(super) fn new(format: Format, low_bits: u32) -> Self {
        Self { low_bits, n_bits: (format.mantissa_bits - low_bits).saturating_sub(1) }
    }

    /// Bytes of the planes of so many values.
    pub(super) fn len(&self, n_values: usize) -> usize {
        let whole = n_values * (self.n_bits / 8) as usize;
        whole + self.crumb_planes().map(|(width, _)| (n_values * width as usize).div_ceil(8)).sum::<usize>()
    }

    /// Widths of the planes of the uppermost bits, and how far they are shifted.
    #[inline(always)]
    fn crumb_planes(&self) -> impl Iterator<Item = (u32, u32)> {
        let n_left = self.n_bits % 8;
        [4, 2, 1].into_iter().filter(move |width| n_left & width != 0).map(move |width| {
            // Wider ones lie below.
            (width, n_left & !(2 * width - 1))
        })
    }

    /// Appends the planes of up to [`CHUNK`] values.
    #[inline(always)]
    pub(super) fn pack<W: Word>(&self, words: &[W], crumbs: &mut Crumbs, out: &mut Vec<u8>) {
        let n = words.len();
        let mut shift = self.low_bits;
        let mut bytes = [0u8; 2 * CHUNK];
        for _ in 0..self.n_bits / 16 {
            let (pairs, _) = bytes.as_chunks_mut();
            for (pair, &word) in pairs.iter_mut().zip(words) {
                *pair = (word >> shift).as_u16().to_le_bytes();
            }
            out.extend_from_slice(&bytes[..2 * n]);
            shift += 16;
        }
        if self.n_bits % 16 >= 8 {
            for (byte, &word) in bytes.iter_mut().zip(words) {
                *byte = (word >> shift).as_u8();
            }
            out.extend_from_slice(&bytes[..n]);
            shift += 8;
        }
        if self.n_bits.is_multiple_of(8) {
            return;
        }
        for (crumb, &word) in crumbs.iter_mut().zip(words) {
            *crumb = (word >> shift).as_u8();
        }
        crumbs[n..n + 8].fill(0);
        for (width, shift) in self.crumb_planes() {
            let n_bytes = (n * width as usize).div_ceil(8);
            let packed = &mut bytes[..n_bytes];
            let mask = (1u8 << width) - 1;
            for part in 0..8 / width {
                let crumbs = &crumbs[part as usize * n_bytes..][..n_bytes];
                let keep = if part == 0 { 0 } else { 0xff };
                for (byte, &crumb) in packed.iter_mut().zip(crumbs) {
                    *byte = *byte & keep | (crumb >> shift & mask) << (part * width);
                }
            }
            out.extend_from_slice(packed);
        }
    }

    /// Values from their planes, whose length must be [`len`](Self::len).
    #[inline(always)]
    pub(super) fn unpack<W: Word>(&self, mut planes: &[u8], crumbs: &mut Crumbs, words: &mut [W]) {
        let n = words.len();
        let mut shift = self.low_bits;
        if self.n_bits < 16 {
            words.fill(W::default());
        }
        for plane_index in 0..self.n_bits / 16 {
            let (plane, rest) = planes.split_at(2 * n);
            planes = rest;
            let (pairs, _) = plane.as_chunks();
            if plane_index == 0 {
                for (word, &pair) in words.iter_mut().zip(pairs) {
                    *word = W::from_u16(u16::from_le_bytes(pair)) << shift;
                }
            } else {
                for (word, &pair) in words.iter_mut().zip(pairs) {
                    *word = *word | W::from_u16(u16::from_le_bytes(pair)) << shift;
                }
            }
            shift += 16;
        }
        if self.n_bits % 16 >= 8 {
            let (plane, rest) = planes.split_at(n);
            planes = rest;
            for (word, &byte) in words.iter_mut().zip(plane) {
                *word = *word | W::from_u8(byte) << shift;
            }
            shift += 8;
        }
        if self.n_bits.is_multiple_of(8) {
            return;
        }
        for (width, shift) in self.crumb_planes() {
            let n_bytes = (n * width as usize).div_ceil(8);
            let (packed, rest) = planes.split_at(n_bytes);
            planes = rest;
            let mask = (1u8 << width) - 1;
            // The widest plane, which is the lowest, replaces what is there.
            let keep = if shift == 0 { 0 } else { 0xff };
            for part in 0..8 / width {
                let crumbs = &mut crumbs[part as usize * n_bytes..][..n_bytes];
                for (crumb, &byte) in crumbs.iter_mut().zip(packed) {
                    *crumb = *crumb & keep | (byte >> (part * width) & mask) << shift;
                }
            }
        }
        for (word, &crumb) in words.iter_mut().zip(crumbs.iter()) {
            *word = *word | W::from_u8(crumb) << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let format = Format { n_bytes: 8, exponent_bits: 11, mantissa_bits: 52 };
        let mut crumbs = [0xff; CHUNK + 8];
        for low_bits in 0..=52 {
            for n in [0, 1, 2, 3, 7, 8, 9, 63, 65, CHUNK - 1, CHUNK] {
                let planes = Planes::new(format, low_bits);
                let mask = ((1u64 << 51) - 1) & !((1 << low_bits) - 1);
                let words: Vec<u64> = (1..=n as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
                let mut bytes = Vec::new();
                planes.pack(&words, &mut crumbs, &mut bytes);
                assert_eq!(bytes.len(), planes.len(n));
                let mut back = vec![7u64; n];
                planes.unpack(&bytes, &mut crumbs, &mut back);
                assert!(back.iter().zip(&words).all(|(&back, &word)| back == word & mask), "{low_bits} {n}");
            }
        }
    }

    #[test]
    fn planes_of_f32() {
        let format = Format { n_bytes: 4, exponent_bits: 8, mantissa_bits: 23 };
        let mut bytes = Vec::new();
        Planes::new(format, 0).pack(&[0x3f_1234u32, 0x80ab_cdef, 0x15_0000], &mut [0; CHUNK + 8], &mut bytes);
        // Two bytes each; 4 bits of the first and third, of the second; two bits of each.
        assert_eq!(bytes, [0x34, 0x12, 0xef, 0xcd, 0, 0, 0x5f, 0x0b, 0b01_10_11]);
    }
}
