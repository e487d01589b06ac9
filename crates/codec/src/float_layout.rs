//! Where a floating-point number has its sign, exponent and mantissa.

use lmgc_tensors::Dtype;

/// The bit fields of a binary floating-point format, from the highest bit: sign, exponent, mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatLayout {
    pub(crate) exponent_bits: u32,
    pub(crate) mantissa_bits: u32,
}

impl FloatLayout {
    /// The layout of a type's numbers, or of its parts for complex ones; `None` for integers and bytes. The 8-bit floats count
    /// as bytes.
    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        let (exponent_bits, mantissa_bits) = match dtype {
            Dtype::F64 | Dtype::C128 => (11, 52),
            Dtype::F32 | Dtype::C64 => (8, 23),
            Dtype::F16 => (5, 10),
            Dtype::BF16 => (8, 7),
            _ => return None,
        };
        Some(Self { exponent_bits, mantissa_bits })
    }

    /// Bytes of a number.
    pub(crate) fn n_bytes(self) -> usize {
        (1 + self.exponent_bits + self.mantissa_bits) as usize / 8
    }
}

/// A little-endian number of up to 8 bytes.
pub(crate) fn bits_of(element: &[u8]) -> u64 {
    element.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_fill_their_numbers() {
        for dtype in Dtype::ALL {
            let Some(layout) = FloatLayout::of(dtype) else { continue };
            let parts = if matches!(dtype, Dtype::C64 | Dtype::C128) { 2 } else { 1 };
            assert_eq!(layout.n_bytes() as u64 * parts, dtype.size_bytes(), "{dtype}");
        }
        assert_eq!(bits_of(&[1, 2, 3]), 0x03_0201);
    }
}
