use burn::tensor::ops::{AvgPoolOptions, ConvOptions};
use burn::tensor::{Device, Tensor, TensorData, module};

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

/// Averages of non-overlapping squares of 2 x 2: `[batch, channels, height, width]` to half the height and width, an odd
/// last row or column left out.
pub(super) fn average_pool_by_2(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    if height % 2 == 1 || width % 2 == 1 {
        return module::avg_pool2d(x, AvgPoolOptions::new([2, 2]));
    }
    // Two rows lie together in memory; a matrix product maps them to one row of averages. Forward and backward, the CPU
    // device takes a third of the time that its own pooling does.
    let averages = row_pair_averages(width, &x.device());
    let row_pairs = x.reshape([batch * channels * height / 2, 2 * width]);
    row_pairs.matmul(averages).reshape([batch, channels, height / 2, width / 2])
}

/// The matrix `[2 * width, width / 2]` that averages pairs of columns over two rows: 1/4 or 0.
fn row_pair_averages(width: usize, device: &Device) -> Tensor<2> {
    let n_out = width / 2;
    let mut matrix = vec![0.0f32; 2 * width * n_out];
    for (place, row) in matrix.chunks_exact_mut(n_out).enumerate() {
        row[place % width / 2] = 0.25;
    }
    Tensor::from_data(TensorData::new(matrix, [2 * width, n_out]), device)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_averages_squares_and_drops_an_odd_edge() {
        let pool = |values: Vec<f32>, shape: [usize; 4]| {
            let pooled = average_pool_by_2(Tensor::from_data(TensorData::new(values, shape), &Device::flex()));
            (pooled.dims(), pooled.into_data().try_to_vec::<f32>().unwrap())
        };
        #[rustfmt::skip]
        let values = vec![
            1.0, 3.0, 10.0, 20.0,
            5.0, 7.0, 30.0, 40.0,
            0.0, 0.0, -1.0, -1.0,
            0.0, 8.0, -1.0, -1.0,
        ];
        assert_eq!(pool(values.clone(), [1, 1, 4, 4]), ([1, 1, 2, 2], vec![4.0, 25.0, 2.0, -1.0]));
        let [first, second] = [values[..8].to_vec(), values[8..].to_vec()];
        let batch = [first.clone(), second.clone(), second, first].concat();
        let expected = vec![4.0, 25.0, 2.0, -1.0, 2.0, -1.0, 4.0, 25.0];
        assert_eq!(pool(batch, [2, 2, 2, 4]), ([2, 2, 1, 2], expected));
        let odd: Vec<f32> = (0..15).map(|i| i as f32).collect();
        assert_eq!(pool(odd, [1, 1, 3, 5]), ([1, 1, 1, 2], vec![3.0, 5.0]));
    }
}
