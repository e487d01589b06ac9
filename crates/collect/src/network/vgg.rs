use burn::tensor::Tensor;

use super::layers::{Conv2d, ConvShape, Linear, Norm, NormKind, Then, WeightInit, max_pool_by_2};
use super::{Network, ParameterSet, Pass};
use crate::dataset::ImageShape;

/// Channels of the convolutions between pools, as Simonyan and Zisserman (arXiv 1409.1556) give them.
type Plan = [&'static [usize]; 5];

/// LM-GC's VGG, the one known from CIFAR-10: convolutions of 3 x 3 with bias, batch normalisation and ReLU, five times followed
/// by the largest of 2 x 2, then one linear classifier on 512 features. Takes images of 32 x 32 (a pool less is left of
/// smaller ones than the classifier needs). Its parameters are `features.0.weight`, ..., `classifier.bias`.
#[derive(Debug)]
pub struct Vgg {
    stages: Vec<Vec<(Conv2d, Norm)>>,
    classifier: Linear,
}

/// VGG11's plan.
pub(super) const VGG11: Plan = [&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];
/// VGG13's plan.
pub(super) const VGG13: Plan = [&[64, 64], &[128, 128], &[256, 256], &[512, 512], &[512, 512]];
/// VGG16's plan.
pub(super) const VGG16: Plan = [&[64, 64], &[128, 128], &[256; 3], &[512; 3], &[512; 3]];
/// VGG19's plan.
pub(super) const VGG19: Plan = [&[64, 64], &[128, 128], &[256; 4], &[512; 4], &[512; 4]];

impl Vgg {
    /// Appends the network's parameters to `parameters`.
    pub(super) fn new(plan: Plan, image_shape: ImageShape, n_classes: usize, parameters: &mut ParameterSet) -> Self {
        let mut n_in = image_shape.channels;
        // The place in PyTorch's `features`: three modules a convolution, one a pool.
        let mut place = 0;
        let mut stages = Vec::new();
        for widths in plan {
            let mut stage = Vec::new();
            for &width in widths {
                let shape = ConvShape::same(n_in, width);
                let convolution = Conv2d::new(&format!("features.{place}"), shape, WeightInit::Default, parameters);
                let norm = Norm::new(&format!("features.{}", place + 1), NormKind::Batch, width, parameters);
                stage.push((convolution, norm));
                n_in = width;
                place += 3;
            }
            place += 1;
            stages.push(stage);
        }
        let classifier = Linear::new("classifier", [n_in, n_classes], WeightInit::Default, parameters);
        Self { stages, classifier }
    }
}

impl Network for Vgg {
    fn forward(&self, pass: &mut Pass<'_>, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for stage in &self.stages {
            for (convolution, norm) in stage {
                x = convolution.forward(pass, x);
                x = norm.forward(pass, x, Then::Relu);
            }
            x = max_pool_by_2(pass, x);
        }
        let [batch, channels, height, width] = x.dims();
        self.classifier.forward(pass, x.reshape([batch, channels * height * width]))
    }
}
