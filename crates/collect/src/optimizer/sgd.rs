use burn::tensor::Tensor;

use super::{Optimizer, Rates};
use crate::network::ParameterSet;

/// Stochastic gradient descent as PyTorch's `SGD` defines it, without dampening or Nesterov's variant.
///
/// For each parameter `p` with gradient `g`: `g' = g + weight_decay * p`, then `velocity = momentum * velocity + g'`
/// (`g'` itself on the first step), then `p = p - learning_rate * velocity`; in `f32`, value by value, each operation
/// rounded.
#[derive(Debug)]
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    /// One a parameter, in order; empty before the first step.
    velocities: Vec<Tensor<1>>,
}

impl Sgd {
    /// The reference's momentum.
    pub const MOMENTUM: f64 = 0.9;
    /// The reference's weight decay.
    pub const WEIGHT_DECAY: f64 = 5e-4;
    /// The reference's learning rate at the start.
    pub const LEARNING_RATE: f64 = 0.1;

    /// An optimizer that has seen no gradient yet.
    pub fn new(momentum: f64, weight_decay: f64) -> Self {
        Self { momentum, weight_decay, velocities: Vec::new() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, parameters: &mut ParameterSet, gradients: Vec<Tensor<1>>, rates: Rates) {
        let learning_rate = rates.learning_rate;
        assert_eq!(gradients.len(), parameters.len(), "one gradient a parameter");
        let mut old_velocities = std::mem::take(&mut self.velocities).into_iter();
        for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
            let values = parameter.values.clone().without_autodiff();
            let decayed = gradient + values.clone().mul_scalar(self.weight_decay);
            let velocity = match old_velocities.next() {
                Some(old) => old.mul_scalar(self.momentum) + decayed,
                None => decayed,
            };
            let values = values - velocity.clone().mul_scalar(learning_rate);
            parameter.values = values.autodiff().require_grad();
            self.velocities.push(velocity);
        }
    }

    fn state(&self) -> Vec<(&'static str, &[Tensor<1>])> {
        vec![("velocity", &self.velocities)]
    }

    fn restore(&mut self, mut state: Vec<Vec<Tensor<1>>>, _n_steps: u64) {
        self.velocities = state.pop().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::tests::Parameters;

    #[test]
    fn two_steps_by_hand() {
        let mut parameters = Parameters::new(2.0);
        let mut sgd = Sgd::new(0.5, 0.25);
        let rates = |learning_rate| Rates { learning_rate, momentum: 0.0 };
        // g' = 1 + 0.25 * 2 = 1.5; velocity 1.5; 2 - 0.1 * 1.5 = 1.85.
        parameters.step(&mut sgd, 1.0, rates(0.1));
        parameters.every_value_is(1.85);
        // g' = -1 + 0.25 * 1.85 = -0.5375; velocity 0.75 - 0.5375 = 0.2125; 1.85 - 0.2 * 0.2125 = 1.8075.
        parameters.step(&mut sgd, -1.0, rates(0.2));
        parameters.every_value_is(1.8075);
    }
}
