//! Networks: what they compute, apart from the weights they compute it with.

mod convnet;
mod layers;
mod parameters;
mod pass;
mod resnet;
mod vgg;
mod vit;

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, Tensor};

pub use convnet::ConvNet;
pub(crate) use parameters::BatchStatistics;
pub use parameters::{Parameter, ParameterSet, RunningStatistics};
pub use pass::Pass;
pub use resnet::ResNet;
pub use vgg::Vgg;
pub use vit::Vit;

use crate::Error;
use crate::dataset::ImageShape;

/// A network architecture that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Three convolutions and a linear classifier: see [`ConvNet`].
    ConvNet,
    /// 8 convolutions: see [`Vgg`].
    Vgg11,
    /// 10 convolutions: see [`Vgg`].
    Vgg13,
    /// 13 convolutions: see [`Vgg`].
    Vgg16,
    /// 16 convolutions: see [`Vgg`].
    Vgg19,
    /// 8 basic blocks: see [`ResNet`].
    ResNet18,
    /// 16 basic blocks: see [`ResNet`].
    ResNet34,
    /// 16 bottleneck blocks: see [`ResNet`].
    ResNet50,
    /// 33 bottleneck blocks: see [`ResNet`].
    ResNet101,
    /// 50 bottleneck blocks: see [`ResNet`].
    ResNet152,
    /// `ResNet18` with batch normalisation: see [`ResNet`].
    ResNet18Bn,
    /// A vision transformer: see [`Vit`].
    Vit,
}

impl Architecture {
    /// Every architecture there is, in the order in which they are listed to people.
    pub const ALL: [Self; 12] = [
        Self::ConvNet,
        Self::Vgg11,
        Self::Vgg13,
        Self::Vgg16,
        Self::Vgg19,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::ResNet152,
        Self::ResNet18Bn,
        Self::Vit,
    ];

    /// The name on the command line and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConvNet => "convnet",
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
            Self::ResNet152 => "resnet152",
            Self::ResNet18Bn => "resnet18bn",
            Self::Vit => "vit",
        }
    }

    /// Whether it is made for colour images of 32 x 32 only: grey ones must be shown to it as
    /// [`GreyAsColour`](crate::dataset::GreyAsColour).
    pub fn needs_colour(self) -> bool {
        matches!(self, Self::Vgg11 | Self::Vgg13 | Self::Vgg16 | Self::Vgg19 | Self::Vit)
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
        let p = &mut parameters;
        let vgg = |plan, p| Box::new(Vgg::new(plan, image_shape, n_classes, p)) as Box<dyn Network>;
        let resnet = |plan, p| Box::new(ResNet::new(plan, image_shape, n_classes, p)) as Box<dyn Network>;
        let network = match self {
            Self::ConvNet => Box::new(ConvNet::new(image_shape, n_classes, p)),
            Self::Vgg11 => vgg(vgg::VGG11, p),
            Self::Vgg13 => vgg(vgg::VGG13, p),
            Self::Vgg16 => vgg(vgg::VGG16, p),
            Self::Vgg19 => vgg(vgg::VGG19, p),
            Self::ResNet18 => resnet(resnet::RESNET18, p),
            Self::ResNet34 => resnet(resnet::RESNET34, p),
            Self::ResNet50 => resnet(resnet::RESNET50, p),
            Self::ResNet101 => resnet(resnet::RESNET101, p),
            Self::ResNet152 => resnet(resnet::RESNET152, p),
            Self::ResNet18Bn => resnet(resnet::RESNET18_BN, p),
            Self::Vit => Box::new(Vit::new(image_shape, n_classes, p)),
        };
        (network, parameters)
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
    /// The parameters of `pass` must have been made together with the network, and lie on the device of the images.
    fn forward(&self, pass: &mut Pass<'_>, images: Tensor<4>) -> Tensor<2>;
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
        let message = "vgg15".parse::<Architecture>().unwrap_err().to_string();
        assert!(message.starts_with("unknown architecture `vgg15`: choose one of convnet, vgg11, "), "{message}");
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
