use burn::tensor::Tensor;

use super::layers::{Conv2d, ConvShape, Linear, Norm, NormKind, Then, WeightInit, average_pool_by_2};
use super::{Network, ParameterSet, Pass};
use crate::dataset::ImageShape;

const WIDTH: usize = 128;
const N_BLOCKS: usize = 3;
/// Places a block takes in PyTorch's `features`: convolution, normalisation, ReLU, pooling.
const N_MODULES_PER_BLOCK: usize = 4;

/// LM-GC's ConvNet, the one of the gradient-matching literature: three times convolution 3 x 3 of width 128 (padding 1; 3 on
/// the first when the image has one channel), GroupNorm of 128 groups, ReLU and average pooling by 2, then a linear
/// classifier. Its parameters are `features.0.weight`, `features.0.bias`, `features.1.weight`, ..., `classifier.bias`.
#[derive(Debug)]
pub struct ConvNet {
    blocks: Vec<Block>,
    classifier: Linear,
}

#[derive(Debug)]
struct Block {
    convolution: Conv2d,
    norm: Norm,
}

impl ConvNet {
    /// Appends the network's parameters to `parameters`.
    pub(super) fn new(image_shape: ImageShape, n_classes: usize, parameters: &mut ParameterSet) -> Self {
        let ImageShape { mut channels, mut height, mut width } = image_shape;
        let mut blocks = Vec::with_capacity(N_BLOCKS);
        for index in 0..N_BLOCKS {
            let padding = if index == 0 && channels == 1 { 3 } else { 1 };
            let place = index * N_MODULES_PER_BLOCK;
            blocks.push(Block {
                convolution: Conv2d::new(
                    &format!("features.{place}"),
                    ConvShape { padding, ..ConvShape::same(channels, WIDTH) },
                    WeightInit::Default,
                    parameters,
                ),
                norm: Norm::new(&format!("features.{}", place + 1), NormKind::Channel, WIDTH, parameters),
            });
            channels = WIDTH;
            [height, width] = [height, width].map(|side| (side + 2 * padding - 2) / 2);
        }
        let classifier =
            Linear::new("classifier", [WIDTH * height * width, n_classes], WeightInit::Default, parameters);
        Self { blocks, classifier }
    }
}

impl Network for ConvNet {
    fn forward(&self, pass: &mut Pass<'_>, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for block in &self.blocks {
            x = block.convolution.forward(pass, x);
            x = block.norm.forward(pass, x, Then::Relu);
            x = average_pool_by_2(pass, x);
        }
        let [batch, channels, height, width] = x.dims();
        self.classifier.forward(pass, x.reshape([batch, channels * height * width]))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::Architecture;

    fn names_and_shapes(channels: usize, side: usize, n_classes: usize) -> Vec<(String, Vec<usize>)> {
        let shape = ImageShape { channels, height: side, width: side };
        let (_, parameters) = Architecture::ConvNet.build(shape, n_classes, 0, &Device::flex().autodiff());
        parameters.iter().map(|p| (p.name().to_owned(), p.shape().to_vec())).collect()
    }

    #[test]
    fn names_shapes_and_order_are_pytorchs() {
        let expected: Vec<(String, Vec<usize>)> = [
            ("features.0.weight", vec![128, 1, 3, 3]),
            ("features.0.bias", vec![128]),
            ("features.1.weight", vec![128]),
            ("features.1.bias", vec![128]),
            ("features.4.weight", vec![128, 128, 3, 3]),
            ("features.4.bias", vec![128]),
            ("features.5.weight", vec![128]),
            ("features.5.bias", vec![128]),
            ("features.8.weight", vec![128, 128, 3, 3]),
            ("features.8.bias", vec![128]),
            ("features.9.weight", vec![128]),
            ("features.9.bias", vec![128]),
            ("classifier.weight", vec![10, 2048]),
            ("classifier.bias", vec![10]),
        ]
        .map(|(name, shape)| (name.to_owned(), shape))
        .to_vec();
        assert_eq!(names_and_shapes(1, 28, 10), expected);

        let colour = names_and_shapes(3, 32, 200);
        assert_eq!(colour[0].1, [128, 3, 3, 3]);
        assert_eq!(colour[12].1, [200, 2048]);
    }

    #[test]
    fn initial_weights_fill_their_range_and_follow_the_seed() {
        let build = |seed| {
            let shape = ImageShape { channels: 1, height: 28, width: 28 };
            let (_, parameters) = Architecture::ConvNet.build(shape, 10, seed, &Device::flex().autodiff());
            let all = parameters.iter().map(|p| p.values().clone().into_data().try_to_vec::<f32>().unwrap());
            all.collect::<Vec<_>>()
        };
        let weights = build(5);
        // The fan-in of each layer: 1 * 9, 128 * 9 twice, 2048.
        for (index, fan_in) in [(0, 9.0f32), (1, 9.0), (4, 1152.0), (5, 1152.0), (8, 1152.0), (12, 2048.0)] {
            let bound = 1.0 / fan_in.sqrt();
            let largest = weights[index].iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
            assert!(largest <= bound && largest > 0.95 * bound, "parameter {index}: {largest} of {bound}");
        }
        assert!(weights[2].iter().all(|&w| w == 1.0) && weights[3].iter().all(|&w| w == 0.0));
        assert_eq!(weights, build(5));
        assert_ne!(weights[0], build(6)[0]);
        assert_ne!(weights[4][..1152], weights[8][..1152]);
    }
}
