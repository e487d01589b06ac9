//! Optimizers as PyTorch defines them.

mod adamw;
mod sgd;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;

pub use adamw::AdamW;
pub use sgd::Sgd;

use crate::Error;
use crate::network::{Architecture, ParameterSet};

/// What an optimizer is told anew at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// How far a step goes.
    pub learning_rate: f64,
    /// How much of the past stays: AdamW's first beta. SGD has its own, fixed.
    pub momentum: f64,
}

/// Something that turns gradients into new weights.
pub trait Optimizer: Send {
    /// Updates every parameter. `gradients` holds one a parameter, in order, flat, without autodiff.
    ///
    /// # Panics
    /// If there are not as many gradients as parameters.
    fn step(&mut self, parameters: &mut ParameterSet, gradients: Vec<Tensor<1>>, rates: Rates);

    /// What it remembers: kinds of state by name, each one tensor a parameter, or none before the first step.
    fn state(&self) -> Vec<(&'static str, &[Tensor<1>])>;

    /// Takes back the tensors of [`state`](Self::state), in its order, after so many steps.
    fn restore(&mut self, state: Vec<Vec<Tensor<1>>>, n_steps: u64);
}

/// Which optimizer trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptimizerName {
    /// [`Sgd`], its learning rate falling along a cosine.
    Sgd,
    /// [`AdamW`] with a one-cycle schedule.
    AdamW,
}

impl OptimizerName {
    /// Every optimizer there is.
    pub const ALL: [Self; 2] = [Self::Sgd, Self::AdamW];

    /// The one that the reference means for an architecture: AdamW for ViT, SGD for the rest.
    pub fn meant_for(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Vit => Self::AdamW,
            _ => Self::Sgd,
        }
    }

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
        }
    }

    /// The optimizer with the reference's settings.
    pub(crate) fn build(self) -> Box<dyn Optimizer> {
        match self {
            Self::Sgd => Box::new(Sgd::new(Sgd::MOMENTUM, Sgd::WEIGHT_DECAY)),
            Self::AdamW => Box::new(AdamW::new(AdamW::WEIGHT_DECAY)),
        }
    }

    /// The reference's weight decay.
    pub(crate) fn weight_decay(self) -> f64 {
        match self {
            Self::Sgd => Sgd::WEIGHT_DECAY,
            Self::AdamW => AdamW::WEIGHT_DECAY,
        }
    }
}

impl fmt::Display for OptimizerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OptimizerName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| Error::UnknownName {
            what: "optimizer",
            name: name.to_owned(),
            valid: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::dataset::ImageShape;

    /// A small network's parameters.
    pub(super) struct Parameters(ParameterSet);

    impl Parameters {
        /// Every value is `value`.
        pub(super) fn new(value: f32) -> Self {
            let shape = ImageShape { channels: 1, height: 8, width: 8 };
            let (_, mut parameters) = Architecture::ConvNet.build(shape, 2, 0, &Device::flex().autodiff());
            parameters.set_values(|parameter| vec![value; parameter.n_values()]);
            Self(parameters)
        }

        /// A step with a gradient of one value throughout.
        pub(super) fn step(&mut self, optimizer: &mut dyn Optimizer, gradient: f32, rates: Rates) {
            let all = self.0.iter().map(|parameter| {
                let n = parameter.n_values();
                Tensor::<1>::from_data(TensorData::new(vec![gradient; n], [n]), &Device::flex())
            });
            let gradients = all.collect();
            optimizer.step(&mut self.0, gradients, rates);
        }

        pub(super) fn every_value_is(&self, expected: f32) {
            self.values_are(expected, expected);
        }

        /// Weights have one value, all else another.
        pub(super) fn values_are(&self, of_weights: f32, of_others: f32) {
            for parameter in self.0.iter() {
                let expected = if parameter.is_weight() { of_weights } else { of_others };
                for value in parameter.values().clone().into_data().try_to_vec::<f32>().unwrap() {
                    assert!((value - expected).abs() < 1e-6, "{} {value} {expected}", parameter.name());
                }
            }
        }
    }

    #[test]
    fn names_come_back_and_others_are_refused() {
        for name in OptimizerName::ALL {
            assert_eq!(name.to_string().parse::<OptimizerName>().unwrap(), name);
        }
        let message = "adam".parse::<OptimizerName>().unwrap_err().to_string();
        assert_eq!(message, "unknown optimizer `adam`: choose one of sgd, adamw");
        assert_eq!(OptimizerName::meant_for(Architecture::Vit), OptimizerName::AdamW);
        assert_eq!(OptimizerName::meant_for(Architecture::ResNet18), OptimizerName::Sgd);
    }
}
