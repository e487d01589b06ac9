//! What a codec without knowledge of the values' order could reach at best.

use lmgc_tensors::Dtype;

use super::Sample;
use crate::floor::{GAUSSIAN_F32_BITS, order0_bits, percent_of_raw};

/// Entropy floors of a sample, in percent of its bytes. A codec that goes below one uses structure that the floor's model
/// does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Floor {
    /// Order-0 entropy of the values' fields, tensor by tensor ([`crate::floor`]); for samples that are not empty.
    pub order0_percent: Option<f64>,
    /// Independent Gaussian values; for samples of nothing but f32.
    pub gaussian_percent: Option<f64>,
}

impl Floor {
    /// The floors of a sample, as far as they exist.
    pub fn of(sample: &Sample) -> Self {
        let is_f32 = !sample.runs.is_empty() && sample.runs.iter().all(|run| run.dtype == Dtype::F32);
        let tensors = sample.runs.iter().flat_map(|run| run.tensors.iter().map(move |tensor| (run, tensor)));
        let bits = tensors.map(|(run, tensor)| order0_bits(&run.bytes[tensor.range.clone()], run.dtype)).sum();
        let n_bytes = sample.n_bytes();
        Self {
            order0_percent: (n_bytes > 0).then(|| percent_of_raw(bits, n_bytes)),
            gaussian_percent: is_f32.then_some(100.0 * GAUSSIAN_F32_BITS / 32.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn floors_of_hand_checked_samples() {
        let of = |bytes: &[u8], dtype| Floor::of(&Sample::read(&mut Cursor::new(bytes), dtype).unwrap());
        // Two values of bytes, equally frequent: one bit of eight.
        let floor = of(&[7, 9, 9, 7], None);
        assert!((floor.order0_percent.unwrap() - 12.5).abs() < 1e-9);
        assert_eq!(floor.gaussian_percent, None);
        let ones = of(&1f32.to_le_bytes().repeat(5), Some(Dtype::F32));
        assert_eq!(ones.order0_percent, Some(0.0));
        assert!((ones.gaussian_percent.unwrap() - 82.6875).abs() < 1e-9);
        assert_eq!(of(&[], None), Floor::default());
    }
}
