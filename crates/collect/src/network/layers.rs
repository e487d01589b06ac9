use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData, activation, module};

use super::Pass;
use super::parameters::{BatchStatistics, Initial, ParameterId, ParameterSet, StatisticsId};
use crate::cpu;

/// What normalisations add to a variance before they take its root: PyTorch's default.
pub(super) const EPSILON: f32 = 1e-5;

/// How the weights of convolutions and linear layers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WeightInit {
    /// PyTorch's default: Kaiming uniform with a slope of sqrt(5), which comes to a bound of 1/sqrt(fan_in), for weights and
    /// biases (`torch.nn.modules.conv` and `linear`, `reset_parameters`).
    Default,
    /// Kaiming normal, a deviation of sqrt(2/fan_in); biases of 0.
    KaimingNormal,
}

impl WeightInit {
    fn weight(self, fan_in: usize) -> Initial {
        match self {
            Self::Default => Initial::Uniform { bound: (1.0 / (fan_in as f64).sqrt()) as f32 },
            Self::KaimingNormal => Initial::Normal { deviation: (2.0 / fan_in as f64).sqrt() as f32 },
        }
    }

    fn add_bias(self, name: String, n: usize, fan_in: usize, parameters: &mut ParameterSet) -> ParameterId {
        match self {
            Self::Default => parameters.add_drawn(name, &[n], self.weight(fan_in)),
            Self::KaimingNormal => parameters.add_constant(name, &[n], 0.0),
        }
    }
}

/// A convolution with a square kernel.
#[derive(Debug)]
pub(super) struct Conv2d {
    weight: ParameterId,
    bias: Option<ParameterId>,
    stride: usize,
    padding: usize,
}

/// What a [`Conv2d`] is like; lengths in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvShape {
    pub(super) n_in: usize,
    pub(super) n_out: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) bias: bool,
}

impl ConvShape {
    /// A kernel of 3 x 3 that keeps the size, with bias.
    pub(super) fn same(n_in: usize, n_out: usize) -> Self {
        Self { n_in, n_out, kernel: 3, stride: 1, padding: 1, bias: true }
    }

    /// A kernel of 1 x 1, with bias.
    pub(super) fn pointwise(n_in: usize, n_out: usize) -> Self {
        Self { n_in, n_out, kernel: 1, stride: 1, padding: 0, bias: true }
    }

    pub(super) fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    pub(super) fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

impl Conv2d {
    pub(super) fn new(prefix: &str, shape: ConvShape, init: WeightInit, parameters: &mut ParameterSet) -> Self {
        let ConvShape { n_in, n_out, kernel, stride, padding, bias } = shape;
        let fan_in = n_in * kernel * kernel;
        let dims = [n_out, n_in, kernel, kernel];
        let weight = parameters.add_drawn(format!("{prefix}.weight"), &dims, init.weight(fan_in));
        let bias = bias.then(|| init.add_bias(format!("{prefix}.bias"), n_out, fan_in, parameters));
        Self { weight, bias, stride, padding }
    }

    /// `[batch, n_in, height, width]` to `[batch, n_out, height', width']`.
    pub(super) fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let weight = pass.get(self.weight).tensor::<4>();
        let bias = self.bias.map(|bias| pass.get(bias).tensor::<1>());
        if !pass.uses_ours() {
            let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
            return module::conv2d(x, weight, bias, options);
        }
        let operation = cpu::Convolution { stride: self.stride, padding: self.padding };
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        match bias {
            Some(bias) => cpu::compute(operation, [x, weight, bias.into_dispatch()]),
            None => cpu::compute(operation, [x, weight]),
        }
    }
}

/// Which normalisation follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormKind {
    /// Group normalisation with as many groups as channels: each channel of each image for itself.
    Channel,
    /// Batch normalisation: each channel over the batch in training, by running statistics in testing.
    Batch,
}

/// A normalisation of channels to mean 0 and (biased) variance 1, then scaled and shifted by learned numbers.
#[derive(Debug)]
pub(super) struct Norm {
    weight: ParameterId,
    bias: ParameterId,
    /// Of a batch normalisation.
    statistics: Option<StatisticsId>,
}

/// What follows a normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Values below 0 become 0.
    Relu,
    /// Nothing.
    Nothing,
}

impl Norm {
    pub(super) fn new(prefix: &str, kind: NormKind, n_channels: usize, parameters: &mut ParameterSet) -> Self {
        Self {
            weight: parameters.add_constant(format!("{prefix}.weight"), &[n_channels], 1.0),
            bias: parameters.add_constant(format!("{prefix}.bias"), &[n_channels], 0.0),
            statistics: match kind {
                NormKind::Channel => None,
                NormKind::Batch => Some(parameters.add_statistics(prefix.to_owned(), n_channels)),
            },
        }
    }

    /// `[batch, channels, height, width]` to the same.
    pub(super) fn forward(&self, pass: &mut Pass<'_>, x: Tensor<4>, then: Then) -> Tensor<4> {
        let (scale, shift) = (pass.get(self.weight).tensor::<1>(), pass.get(self.bias).tensor::<1>());
        if let (Some(id), false) = (self.statistics, pass.is_training()) {
            let running = pass.running_statistics(id);
            let scale = scale / running.variance.clone().add_scalar(EPSILON).sqrt();
            let shift = shift - running.mean.clone() * scale.clone();
            return cut(x * of_channels(scale) + of_channels(shift), then);
        }
        if pass.uses_ours() {
            let inputs = [x.clone().into_dispatch(), scale.into_dispatch(), shift.into_dispatch()];
            let relu = then == Then::Relu;
            let Some(id) = self.statistics else {
                return cpu::compute(cpu::ChannelNorm { epsilon: EPSILON, relu }, inputs);
            };
            let (output, saved) = cpu::apply(cpu::BatchNorm { epsilon: EPSILON, relu }, inputs);
            let device = x.device().without_autodiff();
            let (mean, variance) = saved.split_at(saved.len() / 2);
            let [mean, variance] = [mean, variance]
                .map(|values| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device));
            pass.found(BatchStatistics { id, mean, variance: unbiased(variance, &x) });
            return output;
        }
        let Some(id) = self.statistics else {
            let [batch, channels, height, width] = x.dims();
            // Batch normalisation of a batch of one, in which every channel of every image counts as a channel: burn has
            // that as one operation with a backward pass of its own, where group normalisation is a chain of small ones.
            let [scale, shift] = [scale, shift].map(|x| x.repeat_dim(0, batch));
            let one_image = x.reshape([1, batch * channels, height, width]);
            let result = module::batch_norm_train(one_image, scale, shift, EPSILON.into());
            return cut(result.output.reshape([batch, channels, height, width]), then);
        };
        let result = module::batch_norm_train(x.clone(), scale, shift, EPSILON.into());
        let [mean, variance] = [result.mean, result.variance].map(Tensor::without_autodiff);
        pass.found(BatchStatistics { id, mean, variance: unbiased(variance, &x) });
        cut(result.output, then)
    }
}

/// The variance as estimated for images to come: PyTorch keeps this one, though it normalises by the biased one.
fn unbiased(variance: Tensor<1>, x: &Tensor<4>) -> Tensor<1> {
    let [batch, _, height, width] = x.dims();
    let n = (batch * height * width) as f64;
    variance.mul_scalar(n / (n - 1.0).max(1.0))
}

/// A value a channel, to be combined with `[batch, channels, height, width]`.
pub(super) fn of_channels(x: Tensor<1>) -> Tensor<4> {
    x.unsqueeze_dims(&[0, 2, 3])
}

fn cut(x: Tensor<4>, then: Then) -> Tensor<4> {
    match then {
        Then::Relu => activation::relu(x),
        Then::Nothing => x,
    }
}

/// The sum of two arrays of one shape, 0 where it is negative.
pub(super) fn add_relu(pass: &Pass<'_>, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    if pass.uses_ours() {
        cpu::compute(cpu::AddRelu, [x.into_dispatch(), y.into_dispatch()])
    } else {
        activation::relu(x + y)
    }
}

/// `x` times the normal distribution function of `x`.
pub(super) fn gelu(pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
    if pass.uses_ours() { cpu::compute(cpu::Gelu, [x.into_dispatch()]) } else { activation::gelu(x) }
}

/// Averages of non-overlapping squares of 2 x 2: `[batch, channels, height, width]` to half the height and width, an odd
/// last row or column left out.
pub(super) fn average_pool_by_2(pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
    if pass.uses_ours() {
        cpu::compute(cpu::AveragePool, [x.into_dispatch()])
    } else {
        module::avg_pool2d(x, AvgPoolOptions::new([2, 2]))
    }
}

/// The largest values of non-overlapping squares of 2 x 2, otherwise as [`average_pool_by_2`].
pub(super) fn max_pool_by_2(pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
    if pass.uses_ours() {
        cpu::compute(cpu::MaxPool, [x.into_dispatch()])
    } else {
        module::max_pool2d(x, MaxPoolOptions::new([2, 2]))
    }
}

/// The averages of whole channels: `[batch, channels, height, width]` to `[batch, channels]`.
pub(super) fn average_pool_all(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// A linear layer with bias. The weight is `[out, in]` as in PyTorch; burn's own would be `[in, out]`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: ParameterId,
    bias: ParameterId,
}

impl Linear {
    /// `n_in` and `n_out` count features.
    pub(super) fn new(
        prefix: &str,
        [n_in, n_out]: [usize; 2],
        init: WeightInit,
        parameters: &mut ParameterSet,
    ) -> Self {
        Self {
            weight: parameters.add_drawn(format!("{prefix}.weight"), &[n_out, n_in], init.weight(n_in)),
            bias: init.add_bias(format!("{prefix}.bias"), n_out, n_in, parameters),
        }
    }

    /// `[batch, n_in]` to `[batch, n_out]`.
    pub(super) fn forward(&self, pass: &Pass<'_>, x: Tensor<2>) -> Tensor<2> {
        let weight = pass.get(self.weight).tensor::<2>().transpose();
        x.matmul(weight) + pass.get(self.bias).tensor::<1>().unsqueeze()
    }
}
