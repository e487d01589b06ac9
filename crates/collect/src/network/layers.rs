use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use super::parameters::{ParameterId, ParameterSet};

/// The bound of PyTorch's default initial distribution: Kaiming uniform with a slope of sqrt(5) for weights comes to
/// 1/sqrt(fan_in), which is also the bound of biases (`torch.nn.modules.conv` and `linear`, `reset_parameters`).
fn default_bound(fan_in: usize) -> f32 {
    (1.0 / (fan_in as f64).sqrt()) as f32
}

/// A convolution with a square kernel, stride 1 and bias.
#[derive(Debug)]
pub(super) struct Conv2d {
    weight: ParameterId,
    bias: ParameterId,
    padding: usize,
}

impl Conv2d {
    /// `n_in` and `n_out` count channels; `kernel` and `padding` are in pixels.
    pub(super) fn new(
        prefix: &str,
        [n_in, n_out]: [usize; 2],
        kernel: usize,
        padding: usize,
        parameters: &mut ParameterSet,
    ) -> Self {
        let bound = default_bound(n_in * kernel * kernel);
        Self {
            weight: parameters.add_uniform(format!("{prefix}.weight"), &[n_out, n_in, kernel, kernel], bound),
            bias: parameters.add_uniform(format!("{prefix}.bias"), &[n_out], bound),
            padding,
        }
    }

    /// `[batch, n_in, height, width]` to `[batch, n_out, height', width']`.
    pub(super) fn forward(&self, parameters: &ParameterSet, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [self.padding; 2], [1, 1], 1);
        module::conv2d(x, parameters.get(self.weight).tensor(), Some(parameters.get(self.bias).tensor()), options)
    }
}

/// Group normalisation with as many groups as channels: each channel of each image by its own mean and (biased) variance,
/// then scaled and shifted by learned numbers.
#[derive(Debug)]
pub(super) struct ChannelGroupNorm {
    weight: ParameterId,
    bias: ParameterId,
}

impl ChannelGroupNorm {
    /// PyTorch's default.
    const EPSILON: f64 = 1e-5;

    pub(super) fn new(prefix: &str, n_channels: usize, parameters: &mut ParameterSet) -> Self {
        Self {
            weight: parameters.add_constant(format!("{prefix}.weight"), &[n_channels], 1.0),
            bias: parameters.add_constant(format!("{prefix}.bias"), &[n_channels], 0.0),
        }
    }

    /// `[batch, channels, height, width]` to the same.
    pub(super) fn forward(&self, parameters: &ParameterSet, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        // Batch normalisation of a batch of one, in which every channel of every image counts as a channel: burn has that
        // as one operation with a backward pass of its own, where group normalisation is a chain of small ones.
        let repeated = |id| parameters.get(id).tensor::<1>().repeat_dim(0, batch);
        let one_image = x.reshape([1, batch * channels, height, width]);
        module::batch_norm_train(one_image, repeated(self.weight), repeated(self.bias), Self::EPSILON)
            .output
            .reshape([batch, channels, height, width])
    }
}

/// A linear layer with bias. The weight is `[out, in]` as in PyTorch; burn's own would be `[in, out]`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: ParameterId,
    bias: ParameterId,
}

impl Linear {
    /// `n_in` and `n_out` count features.
    pub(super) fn new(prefix: &str, [n_in, n_out]: [usize; 2], parameters: &mut ParameterSet) -> Self {
        let bound = default_bound(n_in);
        Self {
            weight: parameters.add_uniform(format!("{prefix}.weight"), &[n_out, n_in], bound),
            bias: parameters.add_uniform(format!("{prefix}.bias"), &[n_out], bound),
        }
    }

    /// `[batch, n_in]` to `[batch, n_out]`.
    pub(super) fn forward(&self, parameters: &ParameterSet, x: Tensor<2>) -> Tensor<2> {
        let weight = parameters.get(self.weight).tensor::<2>().transpose();
        x.matmul(weight) + parameters.get(self.bias).tensor::<1>().unsqueeze()
    }
}
