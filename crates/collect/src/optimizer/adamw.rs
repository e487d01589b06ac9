use burn::tensor::Tensor;

use super::{Optimizer, Rates};
use crate::network::ParameterSet;

/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101) as PyTorch's `AdamW` defines it, in two
/// groups: weights of convolutions and linear layers decay, all other parameters do not.
///
/// For each parameter `p` with gradient `g` at step `t`: `p = p * (1 - learning_rate * decay)`, then `m = b1 * m + (1 - b1) * g` and
/// `v = b2 * v + (1 - b2) * g^2`, then `p = p - learning_rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)`; in `f32`,
/// factors in `f64`. `b1` is [`Rates::momentum`].
#[derive(Debug)]
pub struct AdamW {
    weight_decay: f64,
    n_steps: u64,
    /// `m`, one a parameter, in order; empty before the first step.
    means: Vec<Tensor<1>>,
    /// `v`.
    squares: Vec<Tensor<1>>,
}

impl AdamW {
    /// The reference's weight decay.
    pub const WEIGHT_DECAY: f64 = 0.1;
    /// The reference's learning rate at its highest.
    pub const LEARNING_RATE: f64 = 1e-3;
    /// PyTorch's default.
    const BETA_2: f64 = 0.999;
    /// PyTorch's default.
    const EPSILON: f64 = 1e-8;

    /// An optimizer that has seen no gradient yet.
    pub fn new(weight_decay: f64) -> Self {
        Self { weight_decay, n_steps: 0, means: Vec::new(), squares: Vec::new() }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, parameters: &mut ParameterSet, gradients: Vec<Tensor<1>>, rates: Rates) {
        assert_eq!(gradients.len(), parameters.len(), "one gradient a parameter");
        self.n_steps += 1;
        let n_steps = self.n_steps as f64;
        let step_size = rates.learning_rate / (1.0 - rates.momentum.powf(n_steps));
        let root_of_correction = (1.0 - Self::BETA_2.powf(n_steps)).sqrt();
        let mut old_means = std::mem::take(&mut self.means).into_iter();
        let mut old_squares = std::mem::take(&mut self.squares).into_iter();
        for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
            let mut values = parameter.values.clone().without_autodiff();
            if parameter.is_weight() {
                values = values.mul_scalar(1.0 - rates.learning_rate * self.weight_decay);
            }
            let new_mean = gradient.clone().mul_scalar(1.0 - rates.momentum);
            let new_square = (gradient.clone() * gradient).mul_scalar(1.0 - Self::BETA_2);
            let mean = match old_means.next() {
                Some(old) => old.mul_scalar(rates.momentum) + new_mean,
                None => new_mean,
            };
            let square = match old_squares.next() {
                Some(old) => old.mul_scalar(Self::BETA_2) + new_square,
                None => new_square,
            };
            let denominator = square.clone().sqrt().div_scalar(root_of_correction).add_scalar(Self::EPSILON);
            let values = values - (mean.clone() / denominator).mul_scalar(step_size);
            parameter.values = values.autodiff().require_grad();
            self.means.push(mean);
            self.squares.push(square);
        }
    }

    fn state(&self) -> Vec<(&'static str, &[Tensor<1>])> {
        vec![("mean", &self.means), ("square", &self.squares)]
    }

    fn restore(&mut self, state: Vec<Vec<Tensor<1>>>, n_steps: u64) {
        let mut state = state.into_iter();
        (self.means, self.squares) = (state.next().unwrap_or_default(), state.next().unwrap_or_default());
        self.n_steps = n_steps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::tests::Parameters;

    #[test]
    fn three_steps_are_those_of_pytorch() {
        // torch.optim.AdamW([{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0}]) in float64, from
        // w = b = 2 with gradients 1, -0.5, 0.25 and (learning rate, first beta) as below.
        let mut parameters = Parameters::new(2.0);
        let mut adamw = AdamW::new(0.1);
        for (gradient, learning_rate, momentum, of_weights, of_others) in EXPECTED {
            parameters.step(&mut adamw, gradient, Rates { learning_rate, momentum });
            parameters.values_are(of_weights as f32, of_others as f32);
        }
    }

    const EXPECTED: [(f32, f64, f64, f64, f64); 3] = [
        (1.0, 0.1, 0.9, 1.880_000_001, 1.900_000_001),
        (-0.5, 0.05, 0.95, 1.825_186_121_7, 1.854_586_121_7),
        (0.25, 0.02, 0.85, 1.813_932_114_2, 1.846_982_486_5),
    ];
}
