//! The numbers of a tensor: their bit fields, and what they are as f32 for the model.

use lmgc_tensors::Dtype;

use crate::float_layout::FloatLayout;

/// How a matrix's numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) exponent_bits: u32,
    pub(super) mantissa_bits: u32,
    /// The exponent field of infinities and NaNs.
    pub(super) max_exponent: i32,
    /// The exponent field that stands for 1; for F64 that of the largest magnitude, so that all that matters fits into f32.
    pub(super) bias: i32,
    /// Lowest mantissa bits that are zero in every value, and are not coded.
    pub(super) low_bits: u32,
}

impl Format {
    /// The format of a type, if its numbers are coded one by one.
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        if matches!(dtype, Dtype::C64 | Dtype::C128) {
            return None;
        }
        let FloatLayout { exponent_bits, mantissa_bits } = FloatLayout::of(dtype)?;
        let bias = (1 << (exponent_bits - 1)) - 1;
        Some(Self { exponent_bits, mantissa_bits, max_exponent: (1 << exponent_bits) - 1, bias, low_bits: 0 })
    }

    /// Bytes of a number.
    pub(super) fn n_bytes(&self) -> usize {
        (1 + self.exponent_bits + self.mantissa_bits) as usize / 8
    }

    /// Whether it is f32.
    pub(super) fn is_single(&self) -> bool {
        (self.exponent_bits, self.mantissa_bits) == (8, 23)
    }

    /// Whether the range of exponents exceeds that of f32, so that `bias` must be sent.
    pub(super) fn is_wide(&self) -> bool {
        self.exponent_bits > 8
    }

    #[inline(always)]
    pub(super) fn coded_mantissa_bits(&self) -> u32 {
        self.mantissa_bits - self.low_bits
    }

    #[inline(always)]
    pub(super) fn is_negative(&self, bits: u64) -> bool {
        bits >> (self.exponent_bits + self.mantissa_bits) & 1 == 1
    }

    #[inline(always)]
    pub(super) fn exponent(&self, bits: u64) -> i32 {
        (bits >> self.mantissa_bits) as i32 & self.max_exponent
    }

    #[inline(always)]
    pub(super) fn mantissa(&self, bits: u64) -> u64 {
        bits & ((1 << self.mantissa_bits) - 1)
    }

    #[inline(always)]
    pub(super) fn is_finite(&self, bits: u64) -> bool {
        self.exponent(bits) != self.max_exponent
    }

    #[inline(always)]
    pub(super) fn assemble(&self, is_negative: bool, exponent: i32, mantissa: u64) -> u64 {
        (u64::from(is_negative) << self.exponent_bits | exponent as u64) << self.mantissa_bits | mantissa
    }

    /// log2 of the least magnitude with an exponent.
    #[inline(always)]
    pub(super) fn octave(&self, exponent: i32) -> i32 {
        exponent.max(1) - self.bias
    }

    #[inline(always)]
    pub(super) fn exponent_of_octave(&self, octave: i32) -> i32 {
        octave + self.bias
    }

    /// The mantissa with its leading one, if it has one.
    #[inline(always)]
    pub(super) fn significand(&self, bits: u64) -> u64 {
        let leading = if self.exponent(bits) == 0 { 0 } else { 1 << self.mantissa_bits };
        self.mantissa(bits) | leading
    }

    /// The octave of the lowest bit that is set; `None` for zeros.
    #[inline(always)]
    pub(super) fn lowest_octave(&self, bits: u64) -> Option<i32> {
        let significand = self.significand(bits);
        (significand != 0)
            .then(|| self.octave(self.exponent(bits)) - self.mantissa_bits as i32 + significand.trailing_zeros() as i32)
    }

    /// A magnitude as f32: truncated to its precision, 0 or the largest number where it is out of range.
    #[inline(always)]
    pub(super) fn magnitude(&self, exponent: i32, mantissa: u64) -> f32 {
        let octave = exponent - self.bias;
        if exponent == 0 {
            // Subnormal numbers; those of F64 are far below what matters.
            return if self.is_wide() {
                0.0
            } else {
                mantissa as f32 * power_of_two(1 - self.bias - self.mantissa_bits as i32)
            };
        }
        if exponent >= self.max_exponent || octave > 127 {
            return f32::MAX;
        }
        if octave < -126 {
            return 0.0;
        }
        let top = if self.mantissa_bits >= 23 {
            mantissa >> (self.mantissa_bits - 23)
        } else {
            mantissa << (23 - self.mantissa_bits)
        };
        f32::from_bits(((octave + 127) as u32) << 23 | top as u32)
    }

    /// What a number is for the model: 0 for those that are not finite.
    #[inline(always)]
    pub(super) fn number(&self, bits: u64) -> f32 {
        if !self.is_finite(bits) {
            return 0.0;
        }
        let magnitude = self.magnitude(self.exponent(bits), self.mantissa(bits));
        if self.is_negative(bits) { -magnitude } else { magnitude }
    }
}

/// 2^n for -149 <= n <= 127.
#[inline(always)]
pub(super) fn power_of_two(n: i32) -> f32 {
    if n >= -126 { f32::from_bits(((n + 127) as u32) << 23) } else { f32::from_bits(1 << (n + 149).max(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_are() {
        let f32_format = Format::of(Dtype::F32).unwrap();
        for x in [0.0f32, -0.0, 1.0, -1.5, 1e-45, 1e-40, f32::MAX, f32::MIN_POSITIVE, 3.1e-7] {
            let bits = u64::from(x.to_bits());
            assert_eq!(f32_format.number(bits).to_bits(), x.to_bits());
            let parts = (f32_format.is_negative(bits), f32_format.exponent(bits), f32_format.mantissa(bits));
            assert_eq!(f32_format.assemble(parts.0, parts.1, parts.2), bits);
        }
        let half = Format::of(Dtype::F16).unwrap();
        assert_eq!([half.number(0x3c00), half.number(0xc000), half.number(1)], [1.0, -2.0, 5.960_464_5e-8]);
        let brain = Format::of(Dtype::BF16).unwrap();
        assert_eq!([brain.number(0x3f80), brain.number(0xbfc0)], [1.0, -1.5]);
        let double = Format::of(Dtype::F64).unwrap();
        assert_eq!(double.number((-1.25f64).to_bits()), -1.25);
        let shifted = Format { bias: 1023 - 300, ..double };
        assert_eq!(shifted.number(2f64.powi(-300).to_bits()), 1.0);
        assert_eq!(shifted.number(2f64.powi(-700).to_bits()), 0.0);
        assert_eq!(f32_format.number(u64::from(f32::NAN.to_bits())), 0.0);
        let lowest = |x: f32| f32_format.lowest_octave(u64::from(x.to_bits()));
        assert_eq!([lowest(1.0), lowest(-1.5), lowest(12.0)], [Some(0), Some(-1), Some(2)]);
        assert_eq!([lowest(1e-45), lowest(3e-45), lowest(-0.0)], [Some(-149), Some(-148), None]);
        assert!(Format::of(Dtype::I32).is_none());
    }
}
