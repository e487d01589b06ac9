//! Section 11: the scale model.

use super::math::{exp2, log2, sum16};

/// What is remembered of one part.
pub(super) struct ScaleModel {
    weights: [f32; 4],
    bias: f32,
    /// R and RZ.
    coordinates: Vec<(f32, f32)>,
    /// S, SZ and A.
    samples: [f32; 16],
    sample_zeros: [f32; 16],
    above: [f32; 16],
}

/// What the model says of a row.
pub(super) struct Said {
    inputs: [[f32; 16]; 4],
    /// D.
    pub(super) scales: [f32; 16],
    /// zr and zs; zeros where no value may be the commonest one.
    pub(super) row_odds: f32,
    pub(super) sample_odds: [f32; 16],
}

impl ScaleModel {
    pub(super) fn new(n_coordinates: usize) -> Self {
        Self {
            weights: [0.3, 0.3, 0.2, 0.0],
            bias: 0.3,
            coordinates: vec![(0.8, 0.5); n_coordinates],
            samples: [0.8; 16],
            sample_zeros: [0.5; 16],
            above: [0.8; 16],
        }
    }

    pub(super) fn begin_group(&mut self) {
        self.samples = [0.8; 16];
        self.sample_zeros = [0.5; 16];
        self.above = [0.8; 16];
    }

    /// What is said of a row of coordinate `i`; `magnitudes` are the reference's, if it is used.
    pub(super) fn say(&self, i: usize, magnitudes: Option<&[f32; 16]>, may_be_common: bool) -> Said {
        let (row, row_zeros) = self.coordinates.get(i).copied().unwrap_or((0.8, 0.5));
        let row = row.max(1e-6);
        let by_reference = magnitudes.map_or([0.0; 16], |magnitudes| {
            let mean = (sum16(*magnitudes) * (1.0 / 16.0)).clamp(1e-6, 1e30);
            magnitudes.map(|magnitude| log2(magnitude.mul_add(1.0 / mean, 0.05).min(16.0)))
        });
        let inputs = [
            [log2(row); 16],
            self.samples.map(|s| log2(s.max(1e-6))),
            self.above.map(|a| log2(a + 0.05 * row)),
            by_reference,
        ];
        let mut sums = [self.bias; 16];
        for (input, weight) in inputs.iter().zip(self.weights) {
            for (sum, x) in sums.iter_mut().zip(input) {
                *sum = x.mul_add(weight, *sum);
            }
        }
        let scales = sums.map(|l| exp2(l.clamp(-20.0, 20.0)));
        let (mut row_odds, mut sample_odds) = (0.0, [0.0; 16]);
        if may_be_common {
            row_odds = odds(row_zeros);
            sample_odds = self.sample_zeros.map(odds);
        }
        Said { inputs, scales, row_odds, sample_odds }
    }

    /// Learns from a row's `n` deviations in `d`s, as magnitudes, and unscaled values; what is beyond `n` is 0.
    pub(super) fn learn(&mut self, i: usize, n: usize, said: &Said, deviations: [f32; 16], x: &[f32; 16]) {
        let mask: [f32; 16] = std::array::from_fn(|t| if t < n && x[t] != 0.0 { 1.0 } else { 0.0 });
        let count = sum16(mask);
        let rate = (0.03 * count).min(0.4) / count.max(1.0);
        if let Some((r, rz)) = self.coordinates.get_mut(i) {
            let sum = sum16(std::array::from_fn(|t| deviations[t] * mask[t]));
            *r += (sum - *r * count) * rate;
            *rz += (1.0 - count / n as f32 - *rz) * (0.06 * n as f32).min(0.4);
        }
        let sample_rate = (1.0 / (i as f32 + 8.0)).max(0.02);
        let mut pull = [0.0; 16];
        for t in 0..n {
            if mask[t] == 1.0 {
                self.samples[t] = (deviations[t] - self.samples[t]).mul_add(sample_rate, self.samples[t]);
            }
            let zero = (1.0 - mask[t]) - self.sample_zeros[t];
            self.sample_zeros[t] = zero.mul_add(0.06, self.sample_zeros[t]);
            self.above[t] = deviations[t];
            pull[t] = ((deviations[t] * 1.25 / said.scales[t]).min(6.0) - 1.0) * mask[t];
        }
        for (weight, input) in self.weights.iter_mut().zip(&said.inputs) {
            *weight += 0.0006 * sum16(std::array::from_fn(|t| pull[t] * input[t]));
        }
        self.bias += 0.002 * sum16(pull);
    }
}

fn odds(z: f32) -> f32 {
    let y = z.clamp(0.002, 1.0 - 0.002);
    log2(y / (1.0 - y))
}
