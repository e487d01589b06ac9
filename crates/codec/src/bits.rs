//! Plain bits, packed, and signs folded into whole numbers.

/// A whole number as one that is not negative: 0, -1, 1, -2 and so on become 0, 1, 2, 3.
pub(crate) fn zigzag(value: i32) -> u64 {
    ((value << 1) ^ (value >> 31)) as u32 as u64
}

/// The other way; `None` beyond 32 bits.
pub(crate) fn unzigzag(value: u64) -> Option<i32> {
    let value = u32::try_from(value).ok()?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// Packs bits, the first ones lowest.
#[derive(Default)]
pub(crate) struct BitPacker {
    bytes: Vec<u8>,
    held: u64,
    n_held: u32,
}

impl BitPacker {
    /// Appends the low `n_bits` bits, 56 at most.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: u64, n_bits: u32) {
        self.held |= (value & ((1 << n_bits) - 1)) << self.n_held;
        self.n_held += n_bits;
        let n_whole = self.n_held / 8;
        self.bytes.extend_from_slice(&self.held.to_le_bytes()[..n_whole as usize]);
        // Up to 63 bits are held: the shift is by 56 at most.
        self.held >>= 8 * n_whole;
        self.n_held %= 8;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.n_held > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes
    }
}

/// Reads what [`BitPacker`] wrote; zeros past the end.
pub(crate) struct BitUnpacker<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    n_held: u32,
}

impl<'a> BitUnpacker<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, n_held: 0 }
    }

    /// The next `n_bits` bits, 56 at most.
    #[inline(always)]
    pub(crate) fn take(&mut self, n_bits: u32) -> u64 {
        if self.n_held < n_bits {
            // n_held is below 56 here, so at least a byte fits.
            let word = match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                Some(whole) => u64::from_le_bytes(*whole),
                None => self.last_word(),
            };
            let n_new = (63 - self.n_held) / 8;
            self.held |= (word & ((1 << (8 * n_new)) - 1)) << self.n_held;
            self.at += n_new as usize;
            self.n_held += 8 * n_new;
        }
        let value = self.held & ((1 << n_bits) - 1);
        self.held >>= n_bits;
        self.n_held -= n_bits;
        value
    }

    #[cold]
    fn last_word(&self) -> u64 {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(word)
    }

    /// Whether more bits were taken than there are.
    pub(crate) fn is_overrun(&self) -> bool {
        8 * self.at - self.n_held as usize > 8 * self.bytes.len()
    }

    /// Whether all bytes have been read.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.at - self.n_held as usize / 8 >= self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back() {
        let mut state = 1u64;
        let pushes: Vec<(u64, u32)> = (0..2000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let n_bits = (i * 7 % 57) as u32;
                (state & ((1 << n_bits) - 1), n_bits)
            })
            .collect();
        let mut packer = BitPacker::default();
        pushes.iter().for_each(|&(value, n_bits)| packer.push(value, n_bits));
        let bytes = packer.finish();
        assert_eq!(bytes.len(), pushes.iter().map(|push| push.1 as usize).sum::<usize>().div_ceil(8));
        let mut unpacker = BitUnpacker::new(&bytes);
        for &(value, n_bits) in &pushes {
            assert!(n_bits == 0 || !unpacker.is_exhausted());
            assert_eq!(unpacker.take(n_bits), value);
        }
        assert!(unpacker.is_exhausted() && !unpacker.is_overrun());
        assert_eq!(unpacker.take(56), 0);
        assert!(unpacker.is_overrun());
    }
}
