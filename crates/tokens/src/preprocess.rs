//! Thinning out and quantising gradients before they are tokenised. **Lossy**: what comes back from the tokens are the
//! values so processed, never the original ones.
//!
//! Steps are written `sparsification25+quantization8` and applied from left to right to all f32 values of one source, in
//! parameter order. Source: LM-GC (arXiv 2409.17836); the bins here count from 0 and the maximum falls into the last
//! one, where LM-GC's count from 1 and wrap around.

use std::fmt;
use std::str::FromStr;

use lmgc_tensors::Dtype;
use rand_chacha::rand_core::Rng;

use crate::random::generator;
use crate::{Error, Result};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `sparsificationP`: keeps each value with a probability of P percent, independently, and drops the others
    /// altogether; which ones is not recorded. f32 to f32.
    Sparsification {
        /// 1 to 100.
        percent: u8,
    },
    /// `quantizationB`: values become indices of 2^B equally wide bins from the least finite value to the greatest,
    /// as little-endian integers of B bits. The last step, since its output is no f32.
    Quantization {
        /// How many bins.
        bits: QuantizationBits,
    },
}

/// Bits a value after quantisation.
///
/// With 8 or 16 bits, bin `i` of value `x` is `floor((x - min) / (max - min) * 2^B)` in f64, at most `2^B - 1`; NaN and
/// negative infinity fall into bin 0, positive infinity into the last one, and if all finite values are equal they
/// all fall into bin 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantizationBits {
    /// The sign: 1 for values above 0 and 0 for all others, NaN included. Eight to a byte, the first in the highest
    /// bit; the last byte is filled up with zeros.
    One,
    /// 256 bins, one byte a value.
    Eight,
    /// 65536 bins, two bytes a value.
    Sixteen,
}

impl QuantizationBits {
    /// The number of bits.
    #[must_use]
    pub const fn get(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// A sequence of steps, perhaps empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preprocess {
    steps: Vec<Step>,
}

impl Preprocess {
    /// The steps, in order of application.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether nothing is done, and hence nothing lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The type of the elements that come out: [`Dtype::F32`], or, quantised, [`Dtype::U8`] (packed signs, too) or
    /// [`Dtype::U16`].
    #[must_use]
    pub fn output_dtype(&self) -> Dtype {
        match self.steps.last() {
            Some(Step::Quantization { bits: QuantizationBits::Sixteen }) => Dtype::U16,
            Some(Step::Quantization { .. }) => Dtype::U8,
            _ => Dtype::F32,
        }
    }

    /// Applies the steps to `values`; little-endian bytes of [`output_dtype`](Self::output_dtype).
    ///
    /// What is kept depends on `seed` and `source_index` (so that sources are thinned out independently) and the number
    /// of values only.
    #[must_use]
    pub fn apply(&self, values: &[f32], seed: u64, source_index: u64) -> Vec<u8> {
        let mut values = values.to_vec();
        // Stream 0 draws the sources.
        let mut generator = generator(seed, source_index.wrapping_add(1));
        for step in &self.steps {
            match *step {
                Step::Sparsification { percent } => {
                    values.retain(|_| u64::from(generator.next_u32()) * 100 < u64::from(percent) << 32);
                }
                Step::Quantization { bits } => return quantize(&values, bits),
            }
        }
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

fn quantize(values: &[f32], bits: QuantizationBits) -> Vec<u8> {
    match bits {
        QuantizationBits::One => values
            .chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0, |byte, (i, &value)| byte | u8::from(value > 0.0) << (7 - i)))
            .collect(),
        QuantizationBits::Eight => bins(values, 1 << 8).map(|bin| bin as u8).collect(),
        QuantizationBits::Sixteen => bins(values, 1 << 16).flat_map(|bin| (bin as u16).to_le_bytes()).collect(),
    }
}

/// The index, below `n_bins`, of each value's bin.
fn bins(values: &[f32], n_bins: u32) -> impl Iterator<Item = u32> {
    let finite = || values.iter().copied().filter(|value| value.is_finite()).map(f64::from);
    let min = finite().fold(f64::INFINITY, f64::min);
    let max = finite().fold(f64::NEG_INFINITY, f64::max);
    values.iter().map(move |&value| {
        if value == f32::INFINITY {
            return n_bins - 1;
        }
        let place = (f64::from(value) - min) / (max - min);
        // From NaN (NaN itself, 0/0, no finite value at all) and negative numbers this conversion makes 0.
        ((place * f64::from(n_bins)) as u32).min(n_bins - 1)
    })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sparsification { percent } => write!(f, "sparsification{percent}"),
            Self::Quantization { bits } => write!(f, "quantization{}", bits.get()),
        }
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown =
            |expected: &str| Error::UnknownPreprocess { found: text.to_owned(), expected: expected.to_owned() };
        // Only plain digits: no sign, no leading zero.
        let number = |digits: &str| digits.parse::<u8>().ok().filter(|number| number.to_string() == digits);
        if let Some(digits) = text.strip_prefix("sparsification") {
            match number(digits) {
                Some(percent @ 1..=100) => Ok(Self::Sparsification { percent }),
                _ => Err(unknown("give the percentage to keep, sparsification1 to sparsification100")),
            }
        } else if let Some(digits) = text.strip_prefix("quantization") {
            let bits = match number(digits) {
                Some(1) => QuantizationBits::One,
                Some(8) => QuantizationBits::Eight,
                Some(16) => QuantizationBits::Sixteen,
                _ => return Err(unknown("give 1, 8 or 16 bits, such as quantization8")),
            };
            Ok(Self::Quantization { bits })
        } else {
            Err(unknown("known are sparsification1 to sparsification100 and quantization1, 8 and 16, joined by +"))
        }
    }
}

/// The steps joined by `+`; nothing if there are none.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Preprocess {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let steps = text.split('+').map(str::parse).collect::<Result<Vec<Step>>>()?;
        let quantization = steps.iter().position(|step| matches!(step, Step::Quantization { .. }));
        if let Some(after) = quantization.and_then(|index| steps.get(index + 1)) {
            return Err(Error::UnknownPreprocess {
                found: text.to_owned(),
                expected: format!("{after} needs f32 values; put quantization last"),
            });
        }
        Ok(Self { steps })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(steps: &str, values: &[f32]) -> Vec<u8> {
        steps.parse::<Preprocess>().unwrap().apply(values, 7, 0)
    }

    #[test]
    fn names() {
        for text in ["", "sparsification25+quantization8", "sparsification100", "quantization16", "quantization1"] {
            assert_eq!(text.parse::<Preprocess>().unwrap().to_string(), text);
        }
        for (text, expected) in [
            ("sparsification0", "sparsification1 to"),
            ("sparsification101", "sparsification1 to"),
            ("sparsification+5", "sparsification1 to"),
            ("sparsification", "sparsification1 to"),
            ("quantization4", "1, 8 or 16"),
            ("quantization08", "1, 8 or 16"),
            ("dropout", "known are"),
            ("quantization8+", "known are"),
            ("quantization8+sparsification5", "put quantization last"),
            ("quantization8+quantization1", "put quantization last"),
        ] {
            let error = text.parse::<Preprocess>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn bins_count_from_zero_and_hold_the_maximum() {
        assert_eq!(apply("quantization8", &[0.0, 255.0, 256.0, 1.0, 128.5]), [0, 255, 255, 1, 128]);
        assert_eq!(apply("quantization8", &[-1.0, 0.0, 1.0]), [0, 128, 255]);
        assert_eq!(apply("quantization16", &[0.0, 65536.0, 258.0]), [0, 0, 0xff, 0xff, 2, 1]);
        assert_eq!(apply("quantization8", &[f32::MIN, 0.0, f32::MAX]), [0, 128, 255]);
        assert!(apply("quantization8", &[]).is_empty());
    }

    #[test]
    fn values_that_have_no_bin_of_their_own() {
        assert_eq!(apply("quantization8", &[2.5; 3]), [0; 3]);
        let values = [f32::NAN, f32::NEG_INFINITY, 0.0, 1.0, f32::INFINITY];
        assert_eq!(apply("quantization8", &values), [0, 0, 0, 255, 255]);
        assert_eq!(apply("quantization8", &[f32::NAN, f32::NEG_INFINITY, f32::INFINITY]), [0, 0, 255]);
        assert_eq!(apply("quantization8", &[f32::INFINITY, 3.0, f32::NEG_INFINITY]), [255, 0, 0]);
    }

    #[test]
    fn signs_are_packed() {
        let values = [1.0, -1.0, 0.0, -0.0, f32::NAN, f32::INFINITY, 1e-45, -2.0, 3.0];
        assert_eq!(apply("quantization1", &values), [0b1000_0110, 0b1000_0000]);
    }

    #[test]
    fn sparsification_keeps_about_as_many_as_it_says() {
        let values: Vec<f32> = (0..10_000_u16).map(f32::from).collect();
        let kept = |steps: &str, seed, source| -> Vec<f32> {
            let bytes = steps.parse::<Preprocess>().unwrap().apply(&values, seed, source);
            bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        let quarter = kept("sparsification25", 7, 0);
        assert!((2300..2700).contains(&quarter.len()), "{} of 10000 kept", quarter.len());
        assert!(quarter.is_sorted(), "order is kept");
        assert_eq!(quarter, kept("sparsification25", 7, 0));
        assert_ne!(quarter, kept("sparsification25", 8, 0));
        assert_ne!(quarter, kept("sparsification25", 7, 1));
        assert_eq!(kept("sparsification100", 7, 0), values);
        let steps = kept("sparsification50+sparsification50", 7, 0);
        assert!((2300..2700).contains(&steps.len()), "{} of 10000 kept", steps.len());
        // What a seed means: these follow from ChaCha20 written down independently.
        assert_eq!(quarter[..4], [4.0, 6.0, 10.0, 13.0]);
    }

    proptest! {
        #[test]
        fn any_values_are_quantised(values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..100)) {
            prop_assert_eq!(apply("quantization1", &values).len(), values.len().div_ceil(8));
            prop_assert_eq!(apply("quantization8", &values).len(), values.len());
            prop_assert_eq!(apply("quantization16", &values).len(), 2 * values.len());
        }

        #[test]
        fn nothing_to_do_changes_nothing(values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..100)) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(apply("", &values), bytes);
        }
    }
}
