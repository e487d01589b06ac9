//! What is sent of a piece before its values.

use lmgc_coder::{AdaptiveUint, Decoder, Encoder};
use lmgc_kernels::Kernels;

use super::corrupt;
use super::factor::{FactorCode, Factors};
use super::fit::{Effort, fit};
use super::number::Format;
use super::view::View;
use crate::Error;
use crate::float_layout::bits_of;

/// What is sent of a piece before its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Description {
    /// All values are the same.
    Constant(u64),
    /// All values are those of the reference.
    Same,
    /// Values of a matrix.
    Matrix {
        low_bits: u32,
        bias: i32,
        /// Whether some values are zero; with a whole reference, whether some are the reference's.
        has_zeros: bool,
        /// The octave of the lowest bit that is set in some value, where low bits are zero more often than by chance.
        lowest_octave: Option<i32>,
        /// How much of the reference is in the values, in steps.
        reference_steps: Option<i32>,
        factors: Factors,
    },
}

/// Steps of a reference's weight in 1.
const REFERENCE_STEPS: i32 = 64;
const REFERENCE_BITS: u32 = 8;
const REFERENCE_OFFSET: i32 = 1 << (REFERENCE_BITS - 1);
/// Octaves of single bits.
const OCTAVE_BITS: u32 = 13;
const OCTAVE_OFFSET: i32 = 1 << (OCTAVE_BITS - 1);
/// If more than this part of the values has two zero bits at the end, where chance would have a quarter, they lie on a grid.
const GRID_PART: f64 = 0.32;
/// Fewer values are no evidence of it.
const MIN_GRID_VALUES: usize = 128;

/// How much of the reference is in the values.
pub(super) fn reference_weight(steps: i32) -> f32 {
    steps as f32 / REFERENCE_STEPS as f32
}

/// Adaptive code for the descriptions of a block's pieces.
pub(super) struct DescriptionCode {
    low_bits: AdaptiveUint,
    factors: FactorCode,
}

/// Kinds of descriptions.
mod kind {
    pub(super) const MATRIX: u64 = 0;
    pub(super) const CONSTANT: u64 = 1;
    pub(super) const SAME: u64 = 2;
    pub(super) const N_BITS: u32 = 2;
}

impl DescriptionCode {
    pub(super) fn new() -> Self {
        Self { low_bits: AdaptiveUint::new(), factors: FactorCode::new() }
    }

    /// The step that all values of a piece are multiples of; only of F32.
    pub(super) fn encode_step(encoder: &mut Encoder, step: Option<f32>) {
        encoder.encode_bits(u64::from(step.is_some()), 1);
        if let Some(step) = step {
            encoder.encode_bits(u64::from(step.to_bits()), u32::BITS);
        }
    }

    pub(super) fn decode_step(decoder: &mut Decoder<'_>) -> Result<Option<f32>, Error> {
        if decoder.decode_bits(1)? == 0 {
            return Ok(None);
        }
        let step = f32::from_bits(decoder.decode_bits(u32::BITS)? as u32);
        if step.is_normal() && step > 0.0 { Ok(Some(step)) } else { Err(corrupt("a step is no positive number")) }
    }

    pub(super) fn encode(&mut self, encoder: &mut Encoder, format: &Format, description: &Description) {
        match description {
            Description::Constant(bits) => {
                encoder.encode_bits(kind::CONSTANT, kind::N_BITS);
                encoder.encode_bits(*bits, 8 * format.n_bytes() as u32);
            }
            Description::Same => encoder.encode_bits(kind::SAME, kind::N_BITS),
            Description::Matrix { low_bits, bias, has_zeros, lowest_octave, reference_steps, factors } => {
                encoder.encode_bits(kind::MATRIX, kind::N_BITS);
                self.low_bits.encode_uint(encoder, u64::from(*low_bits));
                if format.is_wide() {
                    encoder.encode_bits(*bias as u64, format.exponent_bits);
                }
                encoder.encode_bits(u64::from(*has_zeros), 1);
                encode_option(encoder, *lowest_octave, OCTAVE_OFFSET, OCTAVE_BITS);
                encode_option(encoder, *reference_steps, REFERENCE_OFFSET, REFERENCE_BITS);
                self.factors.encode(encoder, factors);
            }
        }
    }

    pub(super) fn decode(
        &mut self,
        decoder: &mut Decoder<'_>,
        format: &Format,
        view: View,
        has_reference: bool,
    ) -> Result<Description, Error> {
        let no_reference = || corrupt("a tensor is coded with a reference that has no such tensor");
        match decoder.decode_bits(kind::N_BITS)? {
            kind::MATRIX => {}
            kind::CONSTANT => return Ok(Description::Constant(decoder.decode_bits(8 * format.n_bytes() as u32)?)),
            kind::SAME if has_reference => return Ok(Description::Same),
            kind::SAME => return Err(no_reference()),
            other => return Err(corrupt(format!("description of kind {other}"))),
        }
        let low_bits = self.low_bits.decode_uint(decoder)?;
        let low_bits = u32::try_from(low_bits)
            .ok()
            .filter(|&bits| bits <= format.mantissa_bits)
            .ok_or_else(|| corrupt("more bits are left out than there are"))?;
        let bias = if format.is_wide() { decoder.decode_bits(format.exponent_bits)? as i32 } else { format.bias };
        let has_zeros = decoder.decode_bits(1)? == 1;
        let lowest_octave = decode_option(decoder, OCTAVE_OFFSET, OCTAVE_BITS)?;
        let reference_steps = decode_option(decoder, REFERENCE_OFFSET, REFERENCE_BITS)?;
        if reference_steps.is_some() && !has_reference {
            return Err(no_reference());
        }
        let factors = self.factors.decode(decoder, view.n_coordinates, view.n_samples)?;
        Ok(Description::Matrix { low_bits, bias, has_zeros, lowest_octave, reference_steps, factors })
    }
}

fn encode_option(encoder: &mut Encoder, value: Option<i32>, offset: i32, n_bits: u32) {
    encoder.encode_bits(u64::from(value.is_some()), 1);
    if let Some(value) = value {
        encoder.encode_bits((value + offset) as u64, n_bits);
    }
}

fn decode_option(decoder: &mut Decoder<'_>, offset: i32, n_bits: u32) -> Result<Option<i32>, Error> {
    Ok(if decoder.decode_bits(1)? == 1 { Some(decoder.decode_bits(n_bits)? as i32 - offset) } else { None })
}

/// What one look at all values tells.
struct Survey {
    is_constant: bool,
    has_zeros: bool,
    n_same: usize,
    all_bits: u64,
    /// The greatest exponent of a finite value.
    max_exponent: Option<i32>,
    /// Values other than zero, and those of them that end in two zero bits (above the low bits of all).
    n_values: usize,
    n_even: usize,
}

impl Survey {
    fn new(format: &Format, bytes: &[u8], reference: Option<&[u8]>) -> Self {
        let size = format.n_bytes();
        let mut survey = Self {
            is_constant: true,
            has_zeros: false,
            n_same: 0,
            all_bits: 0,
            max_exponent: None,
            n_values: 0,
            n_even: 0,
        };
        let first = bytes.get(..size).map_or(0, bits_of);
        for element in bytes.chunks_exact(size) {
            let bits = bits_of(element);
            survey.is_constant &= bits == first;
            survey.has_zeros |= bits == 0;
            survey.all_bits |= bits;
            if format.is_finite(bits) {
                survey.max_exponent = survey.max_exponent.max(Some(format.exponent(bits)));
            }
        }
        let low_bits = survey.low_bits(format);
        for element in bytes.chunks_exact(size) {
            let bits = bits_of(element);
            survey.n_values += usize::from(bits != 0);
            survey.n_even += usize::from(bits != 0 && bits >> low_bits & 3 == 0);
        }
        if let Some(reference) = reference {
            survey.n_same = bytes.chunks_exact(size).zip(reference.chunks_exact(size)).filter(|(a, b)| a == b).count();
        }
        survey
    }

    fn low_bits(&self, format: &Format) -> u32 {
        self.all_bits.trailing_zeros().min(format.mantissa_bits)
    }

    fn lies_on_grid(&self) -> bool {
        self.n_values >= MIN_GRID_VALUES && self.n_even as f64 > GRID_PART * self.n_values as f64
    }
}

/// Looks at the values of a piece.
pub(super) fn describe(
    kernels: Kernels,
    format: Format,
    view: View,
    bytes: &[u8],
    reference: Option<&[u8]>,
    effort: Effort,
) -> Description {
    let values = |bytes: &'_ [u8]| -> Vec<u64> { bytes.chunks_exact(format.n_bytes()).map(bits_of).collect() };
    let survey = Survey::new(&format, bytes, reference);
    if survey.is_constant {
        return Description::Constant(bytes.get(..format.n_bytes()).map_or(0, bits_of));
    }
    if survey.n_same == view.n_elements() {
        return Description::Same;
    }
    let mut bias = format.bias;
    if format.is_wide() {
        bias = survey.max_exponent.unwrap_or(bias).clamp(1, format.max_exponent - 1);
    }
    let format = Format { bias, low_bits: survey.low_bits(&format), ..format };
    let values_bits = values(bytes);
    let lowest_octave = survey.lies_on_grid().then(|| {
        let octaves = values_bits.iter().filter_map(|&bits| format.lowest_octave(bits));
        octaves.min().unwrap_or(0).clamp(-OCTAVE_OFFSET, OCTAVE_OFFSET - 1)
    });
    let numbers: Vec<f32> = values_bits.iter().map(|&bits| format.number(bits)).collect();
    drop(values_bits);
    let (mut factors, cost) = fit(kernels, &numbers, view, effort);
    let mut reference_steps = None;
    if let Some(reference) = reference {
        // Even if it is no part of the values, it says something of their magnitudes.
        reference_steps = Some(0);
        let references: Vec<f32> =
            reference.chunks_exact(format.n_bytes()).map(|element| format.number(bits_of(element))).collect();
        let steps = best_weight(&numbers, &references);
        if steps != 0 {
            let weight = reference_weight(steps);
            let differences: Vec<f32> = numbers.iter().zip(&references).map(|(x, r)| x - weight * r).collect();
            let (found, cost_of_differences) = fit(kernels, &differences, view, effort);
            if cost_of_differences + precision_bits(&differences, &numbers) < cost + precision_bits(&numbers, &numbers)
            {
                (factors, reference_steps) = (found, Some(steps));
            }
        }
    }
    let has_zeros = if reference_steps == Some(REFERENCE_STEPS) { survey.n_same > 0 } else { survey.has_zeros };
    let low_bits = format.low_bits;
    Description::Matrix { low_bits, bias, has_zeros, lowest_octave, reference_steps, factors }
}

/// What has to be added to the costs of fits for them to be comparable: the precision of those numbers whose differences are not
/// zero.
fn precision_bits(differences: &[f32], numbers: &[f32]) -> f64 {
    let octave = |x: f32| ((x.to_bits() >> 23) & 0xff) as i64 - 127;
    let pairs = differences.iter().zip(numbers).filter(|(d, _)| **d != 0.0);
    pairs.map(|(_, &x)| i64::from(f32::MANTISSA_DIGITS) - octave(x)).sum::<i64>() as f64
}

/// How much of the reference to take away: none, all of it, or what least squares say, whichever leaves the smallest numbers.
fn best_weight(numbers: &[f32], references: &[f32]) -> i32 {
    let (mut cross, mut square) = (0.0f64, 0.0f64);
    for (&x, &r) in numbers.iter().zip(references) {
        cross += f64::from(x) * f64::from(r);
        square += f64::from(r) * f64::from(r);
    }
    let fitted = (cross / square * f64::from(REFERENCE_STEPS)).round_ties_even();
    let max = f64::from(REFERENCE_OFFSET - 1);
    let fitted = if fitted.is_finite() { fitted.clamp(-max, max) as i32 } else { 0 };
    // By magnitudes' octaves, so that a few large values do not decide.
    let cost = |steps: i32| -> u64 {
        let weight = reference_weight(steps);
        numbers.iter().zip(references).map(|(x, r)| u64::from((x - weight * r).abs().to_bits() >> 20)).sum()
    };
    [0, REFERENCE_STEPS, fitted].into_iter().min_by_key(|&steps| cost(steps)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_counts_as_much_as_it_is_worth() {
        let reference: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 - 50.3).collect();
        let near: Vec<f32> = reference.iter().enumerate().map(|(i, r)| r + 1e-3 * (i % 7) as f32).collect();
        assert_eq!(best_weight(&near, &reference), REFERENCE_STEPS);
        let half: Vec<f32> = near.iter().map(|x| 0.5 * x).collect();
        assert_eq!(best_weight(&half, &reference), REFERENCE_STEPS / 2);
        let unlike: Vec<f32> = (0..1000).map(|i| ((i * 61) % 89) as f32 * 1e-3 - 0.04).collect();
        assert_eq!(best_weight(&unlike, &reference), 0);
        assert_eq!(best_weight(&unlike, &vec![0.0; 1000]), 0);
    }

    #[test]
    fn a_survey_sees_grids() {
        let format = Format::of(lmgc_tensors::Dtype::F32).unwrap();
        let bytes = |f: &dyn Fn(u32) -> f32| -> Vec<u8> { (0..1000).flat_map(|i| f(i).to_le_bytes()).collect() };
        let on_grid = Survey::new(&format, &bytes(&|i| (0.5 + 1e-4 * i as f32) - 0.5), None);
        assert!(on_grid.lies_on_grid());
        let off_grid = Survey::new(&format, &bytes(&|i| 1.0 / (1.0 + i as f32)), None);
        assert!(!off_grid.lies_on_grid());
    }
}
