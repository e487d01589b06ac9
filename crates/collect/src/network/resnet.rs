use burn::tensor::Tensor;

use super::layers::{Conv2d, ConvShape, Linear, Norm, NormKind, Then, WeightInit, add_relu, average_pool_all};
use super::{Network, ParameterSet, Pass};
use crate::dataset::ImageShape;

/// Channels of the four stages.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// What a [`ResNet`] is built of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    block: BlockKind,
    /// Blocks of each stage.
    n_blocks: [usize; 4],
    norm: NormKind,
}

/// He et al.'s two blocks (arXiv 1512.03385).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// Two convolutions of 3 x 3.
    Basic,
    /// 1 x 1, 3 x 3, and 1 x 1 to four times the channels.
    Bottleneck,
}

impl BlockKind {
    /// How many times the stage's width comes out.
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

const fn plan(block: BlockKind, n_blocks: [usize; 4], norm: NormKind) -> Plan {
    Plan { block, n_blocks, norm }
}

pub(super) const RESNET18: Plan = plan(BlockKind::Basic, [2, 2, 2, 2], NormKind::Channel);
pub(super) const RESNET18_BN: Plan = plan(BlockKind::Basic, [2, 2, 2, 2], NormKind::Batch);
pub(super) const RESNET34: Plan = plan(BlockKind::Basic, [3, 4, 6, 3], NormKind::Channel);
pub(super) const RESNET50: Plan = plan(BlockKind::Bottleneck, [3, 4, 6, 3], NormKind::Channel);
pub(super) const RESNET101: Plan = plan(BlockKind::Bottleneck, [3, 4, 23, 3], NormKind::Channel);
pub(super) const RESNET152: Plan = plan(BlockKind::Bottleneck, [3, 8, 36, 3], NormKind::Channel);

/// LM-GC's ResNet: a stem of one convolution of 3 x 3 with stride 1, four stages of residual blocks, the average of each
/// channel and a linear classifier. Convolutions have no bias; normalisations are group normalisations with as many groups
/// as channels, or batch normalisations (`resnet18bn`). Its parameters are `conv1.weight`, `bn1.weight`, `bn1.bias`,
/// `layer1.0.conv1.weight`, ..., `classifier.bias`.
#[derive(Debug)]
pub struct ResNet {
    stem: (Conv2d, Norm),
    blocks: Vec<Block>,
    classifier: Linear,
}

/// Convolutions and their normalisations in turn, and what is added before the last ReLU.
#[derive(Debug)]
struct Block {
    layers: Vec<(Conv2d, Norm)>,
    /// Where the shape changes; else the input itself is added.
    shortcut: Option<(Conv2d, Norm)>,
}

impl ResNet {
    /// Appends the network's parameters to `parameters`.
    pub(super) fn new(plan: Plan, image_shape: ImageShape, n_classes: usize, parameters: &mut ParameterSet) -> Self {
        let mut layer = |names: [String; 2], shape: ConvShape| {
            let convolution = Conv2d::new(&names[0], shape.without_bias(), WeightInit::Default, parameters);
            (convolution, Norm::new(&names[1], plan.norm, shape.n_out, parameters))
        };
        let mut n_in = WIDTHS[0];
        let stem = layer(["conv1".to_owned(), "bn1".to_owned()], ConvShape::same(image_shape.channels, n_in));
        let mut blocks = Vec::new();
        for (stage, (width, n_blocks)) in WIDTHS.into_iter().zip(plan.n_blocks).enumerate() {
            for index in 0..n_blocks {
                let prefix = format!("layer{}.{index}", stage + 1);
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let n_out = width * plan.block.expansion();
                let shapes = match plan.block {
                    BlockKind::Basic => {
                        vec![ConvShape::same(n_in, width).with_stride(stride), ConvShape::same(width, width)]
                    }
                    BlockKind::Bottleneck => vec![
                        ConvShape::pointwise(n_in, width),
                        ConvShape::same(width, width).with_stride(stride),
                        ConvShape::pointwise(width, n_out),
                    ],
                };
                let layers = shapes.into_iter().zip(1..).map(|(shape, number)| {
                    layer([format!("{prefix}.conv{number}"), format!("{prefix}.bn{number}")], shape)
                });
                let layers = layers.collect();
                let shortcut = (stride != 1 || n_in != n_out).then(|| {
                    let names = [0, 1].map(|place| format!("{prefix}.shortcut.{place}"));
                    layer(names, ConvShape::pointwise(n_in, n_out).with_stride(stride))
                });
                blocks.push(Block { layers, shortcut });
                n_in = n_out;
            }
        }
        let classifier = Linear::new("classifier", [n_in, n_classes], WeightInit::Default, parameters);
        Self { stem, blocks, classifier }
    }
}

impl Block {
    fn forward(&self, pass: &mut Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for (index, (convolution, norm)) in self.layers.iter().enumerate() {
            let then = if index + 1 < self.layers.len() { Then::Relu } else { Then::Nothing };
            y = convolution.forward(pass, y);
            y = norm.forward(pass, y, then);
        }
        let x = match &self.shortcut {
            Some((convolution, norm)) => {
                let x = convolution.forward(pass, x);
                norm.forward(pass, x, Then::Nothing)
            }
            None => x,
        };
        add_relu(pass, y, x)
    }
}

impl Network for ResNet {
    fn forward(&self, pass: &mut Pass<'_>, images: Tensor<4>) -> Tensor<2> {
        let (convolution, norm) = &self.stem;
        let x = convolution.forward(pass, images);
        let mut x = norm.forward(pass, x, Then::Relu);
        for block in &self.blocks {
            x = block.forward(pass, x);
        }
        self.classifier.forward(pass, average_pool_all(x))
    }
}
