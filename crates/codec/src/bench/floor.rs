//! What a codec without knowledge of the values' order could reach at best.

use lmgc_tensors::Dtype;

use super::Sample;

/// Bits that an independent Gaussian f32 carries when its scale is known (arXiv 2605.11546).
const GAUSSIAN_F32_BITS: f64 = 26.46;

/// Entropy floors of a sample, in percent of its bytes. A codec that goes below one uses structure that the floor's model
/// does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Floor {
    /// Order-0 entropy of the values' fields, tensor by tensor.
    pub order0_percent: Option<f64>,
    /// Independent Gaussian values; for samples of nothing but f32.
    pub gaussian_percent: Option<f64>,
}

impl Floor {
    /// The floors of a sample, as far as they are known.
    pub fn of(sample: &Sample) -> Self {
        let is_f32 = !sample.runs.is_empty() && sample.runs.iter().all(|run| run.dtype == Dtype::F32);
        Self { order0_percent: None, gaussian_percent: is_f32.then_some(100.0 * GAUSSIAN_F32_BITS / 32.0) }
    }
}
