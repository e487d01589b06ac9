use std::f64::consts::PI;

use burn::tensor::Tensor;

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

    /// Updates every parameter. `gradients` holds one a parameter, in order, flat, without autodiff.
    ///
    /// # Panics
    /// If there are not as many gradients as parameters.
    pub fn step(&mut self, parameters: &mut ParameterSet, gradients: Vec<Tensor<1>>, learning_rate: f64) {
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
}

/// The learning rate in an epoch (from 0) of a schedule that falls along half a cosine from `initial` to 0 over
/// `n_epochs`: `initial * (1 + cos(pi * epoch / n_epochs)) / 2`, as PyTorch's `CosineAnnealingLR` stepped once an epoch.
pub fn cosine_learning_rate(initial: f64, epoch: u64, n_epochs: u64) -> f64 {
    initial * 0.5 * (1.0 + (PI * epoch as f64 / n_epochs as f64).cos())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::Architecture;
    use crate::dataset::ImageShape;

    #[test]
    fn the_cosine_passes_through_known_values() {
        let rate = |epoch| cosine_learning_rate(0.1, epoch, 200);
        assert_eq!(rate(0), 0.1);
        assert!((rate(50) - 0.085_355_339_059_327_4).abs() < 1e-15);
        assert!((rate(100) - 0.05).abs() < 1e-15);
        assert!((rate(199) - 6.168_375_916_970_614e-6).abs() < 1e-15);
        assert!(rate(200).abs() < 1e-17);
    }

    #[test]
    fn two_steps_by_hand() {
        let device = Device::flex();
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        let (_, mut parameters) = Architecture::ConvNet.build(shape, 2, 0, &device.clone().autodiff());
        parameters.set_values(|parameter| vec![2.0; parameter.n_values()]);
        let gradients = |parameters: &ParameterSet, value: f32| {
            let all = parameters.iter().map(|parameter| {
                let n = parameter.n_values();
                Tensor::<1>::from_data(TensorData::new(vec![value; n], [n]), &device)
            });
            all.collect::<Vec<_>>()
        };
        let every_value_is = |parameters: &ParameterSet, expected: f32| {
            for parameter in parameters.iter() {
                for value in parameter.values().clone().into_data().try_to_vec::<f32>().unwrap() {
                    assert!((value - expected).abs() < 1e-6, "{} {value} {expected}", parameter.name());
                }
            }
        };
        let mut sgd = Sgd::new(0.5, 0.25);
        // g' = 1 + 0.25 * 2 = 1.5; velocity 1.5; 2 - 0.1 * 1.5 = 1.85.
        let first = gradients(&parameters, 1.0);
        sgd.step(&mut parameters, first, 0.1);
        every_value_is(&parameters, 1.85);
        // g' = -1 + 0.25 * 1.85 = -0.5375; velocity 0.75 - 0.5375 = 0.2125; 1.85 - 0.2 * 0.2125 = 1.8075.
        let second = gradients(&parameters, -1.0);
        sgd.step(&mut parameters, second, 0.2);
        every_value_is(&parameters, 1.8075);
    }
}
