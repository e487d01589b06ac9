//! Elements as unsigned integers, in a form that the compiler makes vector instructions of.

use std::ops::{BitAnd, BitOr, BitXor, Shl, Shr};

use lmgc_tensors::Dtype;

use crate::float_layout::FloatLayout;

/// The bits of a floating-point format that this codec takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) n_bytes: usize,
    pub(super) exponent_bits: u32,
    pub(super) mantissa_bits: u32,
}

impl Format {
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                let layout = FloatLayout::of(dtype)?;
                let FloatLayout { exponent_bits, mantissa_bits } = layout;
                Some(Self { n_bytes: layout.n_bytes(), exponent_bits, mantissa_bits })
            }
            _ => None,
        }
    }

    /// What the exponent field of [`Word::magnitude`] is above that of the value itself.
    pub(super) fn magnitude_bias(&self) -> i32 {
        match self.exponent_bits {
            5 => HALF_BIAS,
            11 => -DOUBLE_BIAS,
            _ => 0,
        }
    }
}

/// Keeps magnitudes of F16 away from the smallest f32, with which processors are slow.
const HALF_BIAS: i32 = 64;
/// 1.0 is 1.0 as a magnitude, too.
const DOUBLE_BIAS: i32 = 1023 - 127;
const F32_MANTISSA_BITS: u32 = 23;
const F32_INFINITY: u32 = 0xff << F32_MANTISSA_BITS;

/// An unsigned integer that holds an element.
pub(super) trait Word:
    Copy
    + Default
    + PartialEq
    + Send
    + Sync
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    const BITS: u32;

    /// Little-endian elements; as many as fit both.
    fn load(bytes: &[u8], words: &mut [Self]);
    /// The other way round.
    fn store(words: &[Self], bytes: &mut [u8]);
    fn from_u8(value: u8) -> Self;
    fn from_u16(value: u16) -> Self;
    /// Modulo 2^[`BITS`](Self::BITS), as the following.
    fn from_u64(value: u64) -> Self;
    fn as_u8(self) -> u8;
    fn as_u16(self) -> u16;
    /// About the absolute value as f32, its exponent moved by [`Format::magnitude_bias`]; 0 for zero, infinities and NaNs.
    fn magnitude(self, format: Format) -> f32;
}

macro_rules! word {
    ($word:ident, $magnitude:expr) => {
        impl Word for $word {
            const BITS: u32 = $word::BITS;

            #[inline(always)]
            fn load(bytes: &[u8], words: &mut [Self]) {
                let (elements, _) = bytes.as_chunks();
                for (word, element) in words.iter_mut().zip(elements) {
                    *word = $word::from_le_bytes(*element);
                }
            }

            #[inline(always)]
            fn store(words: &[Self], bytes: &mut [u8]) {
                let (elements, _) = bytes.as_chunks_mut();
                for (word, element) in words.iter().zip(elements) {
                    *element = word.to_le_bytes();
                }
            }

            #[inline(always)]
            fn from_u8(value: u8) -> Self {
                value.into()
            }

            #[inline(always)]
            fn from_u16(value: u16) -> Self {
                value.into()
            }

            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $word
            }

            #[inline(always)]
            fn as_u8(self) -> u8 {
                self as u8
            }

            #[inline(always)]
            fn as_u16(self) -> u16 {
                self as u16
            }

            #[inline(always)]
            fn magnitude(self, format: Format) -> f32 {
                $magnitude(self, format)
            }
        }
    };
}

word!(u16, |word: u16, format: Format| {
    let infinity = ((1u32 << format.exponent_bits) - 1) << format.mantissa_bits;
    let absolute = u32::from(word & 0x7fff);
    let bias = if format.exponent_bits == 5 { (HALF_BIAS as u32) << F32_MANTISSA_BITS } else { 0 };
    let bits = (absolute << (F32_MANTISSA_BITS - format.mantissa_bits)) + bias;
    f32::from_bits(if absolute == 0 || absolute >= infinity { 0 } else { bits })
});
word!(u32, |word: u32, _| {
    let absolute = word & 0x7fff_ffff;
    f32::from_bits(if absolute >= F32_INFINITY { 0 } else { absolute })
});
word!(u64, |word: u64, format: Format| {
    let absolute = ((word & (u64::MAX >> 1)) >> (format.mantissa_bits - F32_MANTISSA_BITS)) as i64;
    let bits = absolute - (i64::from(DOUBLE_BIAS) << F32_MANTISSA_BITS);
    f32::from_bits(if bits <= 0 || bits >= i64::from(F32_INFINITY) { 0 } else { bits as u32 })
});
