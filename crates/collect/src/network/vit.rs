use burn::tensor::{Int, Tensor, TensorData, activation};

use super::layers::{Conv2d, ConvShape, EPSILON, Linear, WeightInit, average_pool_all, gelu, of_channels};
use super::parameters::{Initial, ParameterId};
use super::{Network, ParameterSet, Pass};
use crate::cpu;
use crate::dataset::ImageShape;

const N_CHANNELS: usize = 256;
const N_HEADS: usize = 8;
const N_BLOCKS: usize = 8;
/// Side of a patch in pixels.
const PATCH: usize = 2;
/// Channels between the two convolutions that make patches.
const N_STEM_CHANNELS: usize = 32;
/// How many times wider the feed-forward part is.
const FEED_FORWARD: usize = 4;
/// The share of features that the head drops in training.
const HEAD_DROPOUT: f32 = 0.3;
/// Deviation of initial positions.
const POSITION_DEVIATION: f32 = 0.02;
const INIT: WeightInit = WeightInit::KaimingNormal;

/// LM-GC's ViT: the vision transformer for CIFAR-10 that <https://juliusruseckas.github.io/ml/cifar10-vit.html> describes.
/// Patches of 2 x 2 behind a convolutional stem, an embedding of positions, eight blocks of attention (8 heads, a learned
/// bias for each distance) and feed-forward, each a residual with a learned factor that begins at 0, and a head of
/// normalisation, GELU, average, dropout and a linear layer. Activations stay `[batch, channels, height, width]`, so that
/// linear layers are convolutions of 1 x 1. Its parameters are `0.0.0.weight`, ..., `1.0.0.gamma`, ..., `2.5.bias`.
#[derive(Debug)]
pub struct Vit {
    stem: Conv2d,
    patches: Conv2d,
    positions: ParameterId,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

#[derive(Debug)]
struct Block {
    attention_gamma: ParameterId,
    attention_norm: LayerNorm,
    attention: SelfAttention,
    feed_forward_gamma: ParameterId,
    feed_forward_norm: LayerNorm,
    widen: Conv2d,
    narrow: Conv2d,
}

impl Vit {
    /// Appends the network's parameters to `parameters`.
    pub(super) fn new(image_shape: ImageShape, n_classes: usize, parameters: &mut ParameterSet) -> Self {
        let size = [image_shape.height / PATCH, image_shape.width / PATCH];
        let to_patches = ConvShape {
            n_in: N_STEM_CHANNELS,
            n_out: N_CHANNELS,
            kernel: PATCH,
            stride: PATCH,
            padding: 0,
            bias: true,
        };
        Self {
            stem: Conv2d::new("0.0.0", ConvShape::same(image_shape.channels, N_STEM_CHANNELS), INIT, parameters),
            patches: Conv2d::new("0.0.2", to_patches, INIT, parameters),
            positions: parameters.add_drawn(
                "0.1.pos_embedding".to_owned(),
                &[N_CHANNELS, size[0], size[1]],
                Initial::Normal { deviation: POSITION_DEVIATION },
            ),
            blocks: (0..N_BLOCKS).map(|index| Block::new(index, size, parameters)).collect(),
            norm: LayerNorm::new("2.0.norm", parameters),
            head: Linear::new("2.5", [N_CHANNELS, n_classes], INIT, parameters),
        }
    }
}

impl Network for Vit {
    fn forward(&self, pass: &mut Pass<'_>, images: Tensor<4>) -> Tensor<2> {
        let x = gelu(pass, self.stem.forward(pass, images));
        let positions = pass.get(self.positions).tensor::<3>().unsqueeze::<4>();
        let mut x = self.patches.forward(pass, x) + positions;
        for block in &self.blocks {
            x = block.forward(pass, x);
        }
        let x = gelu(pass, self.norm.forward(pass, x));
        let features = pass.dropout(average_pool_all(x), HEAD_DROPOUT);
        self.head.forward(pass, features)
    }
}

impl Block {
    fn new(index: usize, size: [usize; 2], parameters: &mut ParameterSet) -> Self {
        let [first, second] = [0, 1].map(|half| format!("1.{index}.{half}"));
        let hidden = FEED_FORWARD * N_CHANNELS;
        let widen = ConvShape::pointwise(N_CHANNELS, hidden);
        let narrow = ConvShape::pointwise(hidden, N_CHANNELS);
        Self {
            attention_gamma: parameters.add_constant(format!("{first}.gamma"), &[1], 0.0),
            attention_norm: LayerNorm::new(&format!("{first}.residual.0.norm"), parameters),
            attention: SelfAttention::new(&format!("{first}.residual.1"), size, parameters),
            feed_forward_gamma: parameters.add_constant(format!("{second}.gamma"), &[1], 0.0),
            feed_forward_norm: LayerNorm::new(&format!("{second}.residual.0.norm"), parameters),
            widen: Conv2d::new(&format!("{second}.residual.1.0"), widen, INIT, parameters),
            narrow: Conv2d::new(&format!("{second}.residual.1.2"), narrow, INIT, parameters),
        }
    }

    fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let y = self.attention_norm.forward(pass, x.clone());
        let x = residual(pass, x, self.attention.forward(pass, y), self.attention_gamma);
        let y = self.feed_forward_norm.forward(pass, x.clone());
        let y = self.narrow.forward(pass, gelu(pass, self.widen.forward(pass, y)));
        residual(pass, x, y, self.feed_forward_gamma)
    }
}

/// `x + gamma * y`.
fn residual(pass: &Pass<'_>, x: Tensor<4>, y: Tensor<4>, gamma: ParameterId) -> Tensor<4> {
    let gamma = pass.get(gamma).tensor::<1>();
    if pass.uses_ours() {
        cpu::compute(cpu::ScaledResidual, [x.into_dispatch(), y.into_dispatch(), gamma.into_dispatch()])
    } else {
        x + y * gamma.unsqueeze::<4>()
    }
}

/// Layer normalisation of each pixel over its channels.
#[derive(Debug)]
struct LayerNorm {
    weight: ParameterId,
    bias: ParameterId,
}

impl LayerNorm {
    fn new(prefix: &str, parameters: &mut ParameterSet) -> Self {
        Self {
            weight: parameters.add_constant(format!("{prefix}.weight"), &[N_CHANNELS], 1.0),
            bias: parameters.add_constant(format!("{prefix}.bias"), &[N_CHANNELS], 0.0),
        }
    }

    fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let (scale, shift) = (pass.get(self.weight).tensor::<1>(), pass.get(self.bias).tensor::<1>());
        if pass.uses_ours() {
            let inputs = [x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch()];
            return cpu::compute(cpu::ChannelLayerNorm { epsilon: EPSILON }, inputs);
        }
        let centred = x.clone() - x.mean_dim(1);
        let deviation = (centred.clone() * centred.clone()).mean_dim(1).add_scalar(EPSILON).sqrt();
        centred / deviation * of_channels(scale) + of_channels(shift)
    }
}

/// Attention over the pixels of an image, with a bias for each distance of two pixels in each head.
#[derive(Debug)]
struct SelfAttention {
    /// `[heads, (2 * height - 1) * (2 * width - 1)]`.
    positions: ParameterId,
    keys: Conv2d,
    queries: Conv2d,
    values: Conv2d,
    unify: Conv2d,
}

impl SelfAttention {
    fn new(prefix: &str, [height, width]: [usize; 2], parameters: &mut ParameterSet) -> Self {
        let positions = parameters.add_drawn(
            format!("{prefix}.pos_enc"),
            &[N_HEADS, (2 * height - 1) * (2 * width - 1)],
            Initial::Normal { deviation: POSITION_DEVIATION },
        );
        let [keys, queries, values, unify] = ["to_keys", "to_queries", "to_values", "unifyheads"].map(|name| {
            Conv2d::new(&format!("{prefix}.{name}"), ConvShape::pointwise(N_CHANNELS, N_CHANNELS), INIT, parameters)
        });
        Self { positions, keys, queries, values, unify }
    }

    fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let [keys, queries, values] =
            [&self.keys, &self.queries, &self.values].map(|layer| layer.forward(pass, x.clone()));
        let positions = pass.get(self.positions).tensor::<2>();
        let scale = ((N_CHANNELS / N_HEADS) as f32).sqrt().recip();
        let gathered = if pass.uses_ours() {
            let [keys, queries, values] = [keys, queries, values].map(Tensor::into_dispatch);
            cpu::compute(cpu::Attention { scale }, [keys, queries, values, positions.into_dispatch()])
        } else {
            attention_of_burn(scale, [keys, queries, values], positions)
        };
        self.unify.forward(pass, gathered)
    }
}

/// [`cpu::Attention`] from burn's operations.
fn attention_of_burn(scale: f32, inputs: [Tensor<4>; 3], positions: Tensor<2>) -> Tensor<4> {
    let [batch, n_channels, height, width] = inputs[0].dims();
    let n_pixels = height * width;
    let heads = |x: Tensor<4>| x.reshape([batch, N_HEADS, n_channels / N_HEADS, n_pixels]);
    let [keys, queries, values] = inputs.map(heads);
    let places: Vec<i32> = cpu::relative_places([height, width]).map(|place| place as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n_pixels * n_pixels]), &positions.device());
    let biases = positions.select(1, places).reshape([1, N_HEADS, n_pixels, n_pixels]);
    let weights = activation::softmax(keys.transpose().matmul(queries).mul_scalar(scale) + biases, 2);
    values.matmul(weights).reshape([batch, n_channels, height, width])
}
