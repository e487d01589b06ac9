//! Section 7: numbers.

use super::math::power_of_two;

/// How a matrix's values are made up.
#[derive(Clone, Copy)]
pub(super) struct Float {
    pub(super) exponent_bits: u32,
    pub(super) mantissa_bits: u32,
    /// The exponent field that counts as that of 1.
    pub(super) bias: i32,
    /// Mantissa bits that are 0 in all values.
    pub(super) low_bits: u32,
}

impl Float {
    /// The format of a type's values, of `F64` without its bias.
    pub(super) fn of(dtype: &str) -> Option<(usize, Self)> {
        let (size, exponent_bits, mantissa_bits, bias) = match dtype {
            "F64" => (8, 11, 52, 0),
            "F32" => (4, 8, 23, 127),
            "F16" => (2, 5, 10, 15),
            "BF16" => (2, 8, 7, 127),
            _ => return None,
        };
        Some((size, Self { exponent_bits, mantissa_bits, bias, low_bits: 0 }))
    }

    fn is_double(self) -> bool {
        self.mantissa_bits == 52
    }

    /// Mantissa bits that are coded.
    pub(super) fn coded_bits(self) -> u32 {
        self.mantissa_bits.saturating_sub(self.low_bits)
    }

    /// The exponent field of what is not finite.
    pub(super) fn top(self) -> i32 {
        (1 << self.exponent_bits) - 1
    }

    fn exponent(self, value: u64) -> i32 {
        (value >> self.mantissa_bits) as i32 & self.top()
    }

    fn mantissa(self, value: u64) -> u64 {
        value & ((1 << self.mantissa_bits) - 1)
    }

    pub(super) fn is_finite(self, value: u64) -> bool {
        self.exponent(value) != self.top()
    }

    /// The octave of an exponent field.
    pub(super) fn octave(self, exponent: i32) -> i32 {
        exponent.max(1) - self.bias
    }

    /// The octave of a value's lowest bit that is set.
    pub(super) fn lowest(self, value: u64) -> Option<i32> {
        let exponent = self.exponent(value);
        let leading = if exponent == 0 { 0 } else { 1 << self.mantissa_bits };
        let significand = leading + self.mantissa(value);
        let place = significand.trailing_zeros() as i32;
        (significand != 0).then(|| self.octave(exponent) - self.mantissa_bits as i32 + place)
    }

    /// The value of a sign, an exponent field and the coded bits of a mantissa.
    pub(super) fn compose(self, is_negative: bool, exponent: i32, coded: u64) -> u64 {
        let mantissa = (coded & ((1 << self.coded_bits()) - 1)) << self.low_bits;
        let sign = u64::from(is_negative) << (self.exponent_bits + self.mantissa_bits);
        sign | (exponent as u64) << self.mantissa_bits | mantissa
    }

    /// What a value is for the model.
    pub(super) fn number(self, value: u64) -> f32 {
        let (exponent, mantissa) = (self.exponent(value), self.mantissa(value));
        let octave = exponent - self.bias;
        let magnitude = if !self.is_finite(value) {
            0.0
        } else if exponent == 0 {
            if self.is_double() {
                0.0
            } else {
                // In two steps, as the power may be subnormal; both are exact.
                mantissa as f32 * power_of_two(1 - self.bias) * power_of_two(-(self.mantissa_bits as i32))
            }
        } else if octave > 127 {
            f32::MAX
        } else if octave < -126 {
            0.0
        } else {
            let bits = if self.is_double() { mantissa >> 29 } else { mantissa << (23 - self.mantissa_bits) };
            f32::from_bits(((octave + 127) as u32) << 23 | bits as u32)
        };
        let is_negative = value >> (self.exponent_bits + self.mantissa_bits) & 1 == 1;
        if is_negative { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_values() {
        let (_, float) = Float::of("F32").unwrap();
        for x in [1.5f32, -3e-40, 1e-45, f32::MIN_POSITIVE, f32::MAX, -0.0] {
            assert_eq!(float.number(u64::from(x.to_bits())).to_bits(), x.to_bits());
        }
        assert_eq!(float.number(u64::from(f32::NAN.to_bits())), 0.0);
        assert_eq!(float.lowest(u64::from(0.375f32.to_bits())), Some(-3));
        assert_eq!(float.lowest(1), Some(-149));
        let (_, float) = Float::of("F16").unwrap();
        assert_eq!(float.number(0xbc01), -1.0 - 1.0 / 1024.0);
        assert_eq!(float.number(3), 3.0 / f32::powi(2.0, 24));
    }
}
