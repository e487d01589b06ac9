//! Networks: what they compute, apart from the weights they compute it with.

mod convnet;
mod layers;
mod parameters;

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, Tensor};

pub use convnet::ConvNet;
pub use parameters::{Parameter, ParameterSet};

use crate::Error;
use crate::dataset::ImageShape;

/// A network architecture that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Three convolutions and a linear classifier: see [`ConvNet`].
    ConvNet,
}

impl Architecture {
    /// Every architecture there is, in the order in which they are listed to people.
    pub const ALL: [Self; 1] = [Self::ConvNet];

    /// The name on the command line and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConvNet => "convnet",
        }
    }

    /// Builds the network for images of this shape and draws its initial weights from the seed.
    ///
    /// The weights lie on `device`, which must record gradients ([`Device::autodiff`]).
    pub fn build(
        self,
        image_shape: ImageShape,
        n_classes: usize,
        seed: u64,
        device: &Device,
    ) -> (Box<dyn Network>, ParameterSet) {
        let mut parameters = ParameterSet::new(seed, device.clone());
        let network = match self {
            Self::ConvNet => ConvNet::new(image_shape, n_classes, &mut parameters),
        };
        (Box::new(network), parameters)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| Error::UnknownName {
            what: "architecture",
            name: name.to_owned(),
            valid: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// A network's computation.
pub trait Network: Send + Sync {
    /// The class scores `[batch, classes]` (before softmax) of images `[batch, channels, height, width]`.
    ///
    /// `parameters` must have been made together with the network, and lie on the device of the images.
    fn forward(&self, parameters: &ParameterSet, images: Tensor<4>) -> Tensor<2>;
}

/// The cross entropy of class scores, averaged over the batch.
///
/// `scores` is `[batch, classes]` before softmax; `targets` has the same shape and holds 1 at each image's class and 0
/// elsewhere. The result has one value.
pub fn cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [n_images, _] = scores.dims();
    let log_likelihoods = burn::tensor::activation::log_softmax(scores, 1);
    (log_likelihoods * targets).sum().mul_scalar(-1.0 / n_images as f64)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn an_architecture_that_is_not_there_is_refused_with_the_list() {
        assert_eq!("convnet".parse::<Architecture>().unwrap().to_string(), "convnet");
        let message = "vgg16".parse::<Architecture>().unwrap_err().to_string();
        assert_eq!(message, "unknown architecture `vgg16`: choose one of convnet");
    }

    #[test]
    fn cross_entropy_of_hand_computed_scores() {
        let device = Device::flex();
        let matrix = |values: [f32; 6]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 3]), &device);
        let loss = cross_entropy(matrix([0.0, 0.0, 0.0, 1.0, 2.0, 3.0]), matrix([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]));
        // -ln(1/3) and -ln(e^3 / (e + e^2 + e^3)).
        let expected = (3.0f64.ln() + 0.407_605_964_444_380_3) / 2.0;
        assert!((loss.into_scalar::<f32>() - expected as f32).abs() < 1e-6);
    }
}
