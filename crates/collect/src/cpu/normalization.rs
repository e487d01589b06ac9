use rayon::prelude::*;

use super::convolution::sum_over_batch;
use super::vector::{sum, sum_of_pairs, vectorized};
use super::{Array, Backpass, Forward, Operation};

/// Group normalisation with as many groups as channels: `x` is `[batch, channels, height, width]`, scale and shift
/// `[channels]`. Each channel of each image is brought to mean 0 and (biased) variance 1, scaled and shifted, and, if
/// asked for, cut off below 0.
///
/// Saves each channel of each image's mean, then the inverse of each deviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelNorm {
    pub(crate) epsilon: f32,
    pub(crate) relu: bool,
}

impl Operation<3> for ChannelNorm {
    fn forward(&self, [x, scale, shift]: [&Array; 3]) -> Forward {
        let [batch, n_channels, height, width] = x.dims();
        let n_pixels = height * width;
        let mut output = vec![0.0f32; x.values().len()];
        let mut saved = vec![0.0f32; 2 * batch * n_channels];
        let (means, inverses) = saved.split_at_mut(batch * n_channels);
        let rows = x.values().par_chunks(n_pixels).zip(output.par_chunks_mut(n_pixels));
        let rows = rows.zip(means.par_iter_mut().zip(inverses)).enumerate();
        rows.for_each(|(index, ((x, output), (mean, inverse)))| {
            let channel = index % n_channels;
            vectorized(|| {
                let n = n_pixels as f32;
                *mean = sum(x, |x| x) / n;
                *inverse = 1.0 / (sum(x, |x| (x - *mean) * (x - *mean)) / n + self.epsilon).sqrt();
                let line = Line { mean: *mean, inverse: *inverse, scale: scale.values()[channel] };
                line.normalize(x, shift.values()[channel], self.relu, output);
            });
        });
        Forward { output: Array::new(output, x.shape()), saved }
    }

    fn backward(&self, pass: Backpass<'_, 3>) -> [Option<Array>; 3] {
        let [x, scale, _] = pass.inputs;
        let [batch, n_channels, height, width] = x.dims();
        let (means, inverses) = pass.saved.split_at(batch * n_channels);
        let line = |index: usize| {
            let scale = scale.values()[index % n_channels];
            Line { mean: means[index], inverse: inverses[index], scale }
        };
        let (result, sums) = through_rows(&pass, self.relu, line, |line, x, sums, result| {
            let averages = sums.map(|sum| sum / (height * width) as f32);
            vectorized(|| line.input_gradient(x, averages, result));
        });
        gradients(result, x, &sums, n_channels)
    }
}

/// Batch normalisation with the statistics of the batch: as [`ChannelNorm`], but a channel's mean and variance are taken
/// over all images.
///
/// Saves each channel's mean, then each (biased) variance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNorm {
    pub(crate) epsilon: f32,
    pub(crate) relu: bool,
}

impl BatchNorm {
    fn line(&self, saved: &[f32], scale: &Array, channel: usize) -> Line {
        let (means, variances) = saved.split_at(saved.len() / 2);
        let inverse = 1.0 / (variances[channel] + self.epsilon).sqrt();
        Line { mean: means[channel], inverse, scale: scale.values()[channel] }
    }
}

impl Operation<3> for BatchNorm {
    fn forward(&self, [x, scale, shift]: [&Array; 3]) -> Forward {
        let [batch, n_channels, height, width] = x.dims();
        let n_pixels = height * width;
        let n = (batch * n_pixels) as f32;
        let average = |of: &(dyn Fn(usize, f32) -> f32 + Sync)| {
            let rows = x.values().par_chunks(n_pixels).enumerate();
            let sums: Vec<f32> = rows.map(|(i, x)| vectorized(|| sum(x, |x| of(i % n_channels, x)))).collect();
            sum_over_batch(&sums, n_channels).into_iter().map(|sum| sum / n).collect::<Vec<f32>>()
        };
        let mut saved = average(&|_, x| x);
        let variances = {
            let means = &saved;
            let rows = x.values().par_chunks(n_pixels).enumerate();
            let squares = rows.map(|(i, x)| {
                let mean = means[i % n_channels];
                vectorized(|| sum(x, |x| (x - mean) * (x - mean)))
            });
            let squares: Vec<f32> = squares.collect();
            sum_over_batch(&squares, n_channels).into_iter().map(|sum| sum / n)
        };
        saved.extend(variances);
        let mut output = vec![0.0f32; x.values().len()];
        let rows = x.values().par_chunks(n_pixels).zip(output.par_chunks_mut(n_pixels)).enumerate();
        rows.for_each(|(index, (x, output))| {
            let line = self.line(&saved, scale, index % n_channels);
            vectorized(|| line.normalize(x, shift.values()[index % n_channels], self.relu, output));
        });
        Forward { output: Array::new(output, x.shape()), saved }
    }

    fn backward(&self, pass: Backpass<'_, 3>) -> [Option<Array>; 3] {
        let [x, scale, _] = pass.inputs;
        let [batch, n_channels, height, width] = x.dims();
        let n_pixels = height * width;
        let line = |index: usize| self.line(pass.saved, scale, index % n_channels);
        let (mut result, sums) = through_rows(&pass, self.relu, line, |_, _, _, _| ());
        let averages = sums_over_batch(&sums, n_channels).map(|sums| {
            let averages = sums.into_iter().map(|sum| sum / (batch * n_pixels) as f32);
            averages.collect::<Vec<f32>>()
        });
        let rows = x.values().par_chunks(n_pixels).zip(result.par_chunks_mut(n_pixels)).enumerate();
        rows.for_each(|(index, (x, result))| {
            let channel = index % n_channels;
            let line = self.line(pass.saved, scale, channel);
            vectorized(|| line.input_gradient(x, [averages[0][channel], averages[1][channel]], result));
        });
        gradients(result, x, &sums, n_channels)
    }
}

/// The output's gradient of each channel of each image as it passes the cut below 0, and its sums
/// ([`Line::gradient_sums`]); `then` may go on with a channel while it is at hand: its line, input, sums and gradient.
fn through_rows(
    pass: &Backpass<'_, 3>,
    relu: bool,
    line: impl Fn(usize) -> Line + Sync,
    then: impl Fn(Line, &[f32], [f32; 2], &mut [f32]) + Sync,
) -> (Vec<f32>, Vec<[f32; 2]>) {
    let x = pass.inputs[0];
    let [batch, n_channels, height, width] = x.dims();
    let n_pixels = height * width;
    let mut result = vec![0.0f32; x.values().len()];
    let mut sums = vec![[0.0f32; 2]; batch * n_channels];
    let rows = result.par_chunks_mut(n_pixels).zip(&mut sums).enumerate();
    rows.for_each(|(index, (result, sums))| {
        let range = index * n_pixels..(index + 1) * n_pixels;
        let (x, output) = (&x.values()[range.clone()], &pass.output.values()[range.clone()]);
        let line = line(index);
        vectorized(|| {
            masked(&pass.gradient.values()[range], output, relu, result);
            *sums = line.gradient_sums(x, result);
        });
        then(line, x, *sums, result);
    });
    (result, sums)
}

/// How one channel (of one image) is normalised.
#[derive(Clone, Copy)]
struct Line {
    mean: f32,
    /// One over the deviation.
    inverse: f32,
    scale: f32,
}

impl Line {
    #[inline(always)]
    fn normalize(self, x: &[f32], shift: f32, relu: bool, output: &mut [f32]) {
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let factor = self.inverse * self.scale;
        for (output, &x) in output.iter_mut().zip(x) {
            let y = (x - self.mean) * factor + shift;
            // Not `max`, which would hide a NaN.
            *output = if y < floor { floor } else { y };
        }
    }

    /// The sums of the gradient, and of the gradient times the normalised input.
    #[inline(always)]
    fn gradient_sums(self, x: &[f32], gradient: &[f32]) -> [f32; 2] {
        let products = sum_of_pairs(x, gradient, |x, g| (x - self.mean) * g);
        [sum(gradient, |g| g), products * self.inverse]
    }

    /// Turns the output's gradient into the input's, given the averages of [`gradient_sums`](Self::gradient_sums).
    #[inline(always)]
    fn input_gradient(self, x: &[f32], [average, product]: [f32; 2], gradient: &mut [f32]) {
        let factor = self.inverse * self.scale;
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            *gradient = factor * (*gradient - average - (x - self.mean) * (self.inverse * product));
        }
    }
}

/// The gradient where the output is above 0, else 0; with `relu` off the gradient as it is.
#[inline(always)]
fn masked(gradient: &[f32], output: &[f32], relu: bool, result: &mut [f32]) {
    if relu {
        for ((result, &gradient), &output) in result.iter_mut().zip(gradient).zip(output) {
            *result = if output > 0.0 { gradient } else { 0.0 };
        }
    } else {
        result.copy_from_slice(gradient);
    }
}

/// The channel sums over the batch of `[sum, product]` pairs.
fn sums_over_batch(sums: &[[f32; 2]], n_channels: usize) -> [Vec<f32>; 2] {
    [0, 1].map(|which| {
        let values: Vec<f32> = sums.iter().map(|sums| sums[which]).collect();
        sum_over_batch(&values, n_channels)
    })
}

/// The gradients of input, scale and shift.
fn gradients(result: Vec<f32>, x: &Array, sums: &[[f32; 2]], n_channels: usize) -> [Option<Array>; 3] {
    let [shift, scale] = sums_over_batch(sums, n_channels);
    [
        Some(Array::new(result, x.shape())),
        Some(Array::new(scale, &[n_channels])),
        Some(Array::new(shift, &[n_channels])),
    ]
}

/// Layer normalisation over channels: `x` is `[batch, channels, height, width]`, scale and shift `[channels]`. All channels of
/// a pixel together are brought to mean 0 and (biased) variance 1, then each is scaled and shifted.
///
/// Saves each pixel's mean and inverse deviation, image by image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelLayerNorm {
    pub(crate) epsilon: f32,
}

impl Operation<3> for ChannelLayerNorm {
    fn forward(&self, [x, scale, shift]: [&Array; 3]) -> Forward {
        let [batch, n_channels, height, width] = x.dims();
        let n_pixels = height * width;
        let mut output = vec![0.0f32; x.values().len()];
        let mut saved = vec![0.0f32; 2 * batch * n_pixels];
        let images = x.values().par_chunks(n_channels * n_pixels).zip(output.par_chunks_mut(n_channels * n_pixels));
        images.zip(saved.par_chunks_mut(2 * n_pixels)).for_each(|((x, output), saved)| {
            vectorized(|| {
                let (means, inverses) = saved.split_at_mut(n_pixels);
                let n = n_channels as f32;
                add_rows(x, means);
                means.iter_mut().for_each(|mean| *mean /= n);
                add_squares(x, means, inverses);
                inverses.iter_mut().for_each(|sum| *sum = 1.0 / (*sum / n + self.epsilon).sqrt());
                let rows = x.chunks_exact(n_pixels).zip(output.chunks_exact_mut(n_pixels));
                for ((x, output), (&scale, &shift)) in rows.zip(scale.values().iter().zip(shift.values())) {
                    let pixels = output.iter_mut().zip(x).zip(means.iter().zip(inverses.iter()));
                    for ((output, &x), (&mean, &inverse)) in pixels {
                        *output = (x - mean) * inverse * scale + shift;
                    }
                }
            });
        });
        Forward { output: Array::new(output, x.shape()), saved }
    }

    fn backward(&self, pass: Backpass<'_, 3>) -> [Option<Array>; 3] {
        let [x, scale, _] = pass.inputs;
        let [batch, n_channels, height, width] = x.dims();
        let n_pixels = height * width;
        let len = n_channels * n_pixels;
        let mut result = vec![0.0f32; x.values().len()];
        let mut sums = vec![[0.0f32; 2]; batch * n_channels];
        let images = result.par_chunks_mut(len).zip(sums.par_chunks_mut(n_channels)).enumerate();
        images.for_each(|(index, (result, sums))| {
            let x = &x.values()[index * len..][..len];
            let gradient = &pass.gradient.values()[index * len..][..len];
            let (means, inverses) = pass.saved[index * 2 * n_pixels..][..2 * n_pixels].split_at(n_pixels);
            let [mut average, mut product, mut normalized] = [(); 3].map(|()| vec![0.0f32; n_pixels]);
            vectorized(|| {
                let rows = || x.chunks_exact(n_pixels).zip(gradient.chunks_exact(n_pixels));
                for (((x, gradient), &scale), sums) in rows().zip(scale.values()).zip(sums.iter_mut()) {
                    let pixels = normalized.iter_mut().zip(x).zip(means.iter().zip(inverses));
                    pixels.for_each(|((normalized, &x), (&mean, &inverse))| *normalized = (x - mean) * inverse);
                    *sums = [sum(gradient, |g| g), sum_of_pairs(&normalized, gradient, |x, g| x * g)];
                    let pixels = average.iter_mut().zip(&mut product).zip(normalized.iter().zip(gradient));
                    for ((average, product), (&normalized, &g)) in pixels {
                        *average += scale * g;
                        *product += scale * g * normalized;
                    }
                }
                average.iter_mut().chain(&mut product).for_each(|sum| *sum /= n_channels as f32);
                let rows = rows().zip(scale.values()).zip(result.chunks_exact_mut(n_pixels));
                for (((x, gradient), &scale), result) in rows {
                    let pixels = means.iter().zip(inverses).zip(average.iter().zip(&product));
                    for ((((&mean, &inverse), (&average, &product)), (&x, &g)), result) in
                        pixels.zip(x.iter().zip(gradient)).zip(result)
                    {
                        *result = inverse * (scale * g - average - (x - mean) * inverse * product);
                    }
                }
            });
        });
        gradients(result, x, &sums, n_channels)
    }
}

/// Adds rows of `x` to `sums`, value by value.
#[inline(always)]
fn add_rows(x: &[f32], sums: &mut [f32]) {
    for row in x.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
    }
}

/// Adds the squares of the rows' distances from the means to `sums`, value by value.
#[inline(always)]
fn add_squares(x: &[f32], means: &[f32], sums: &mut [f32]) {
    for row in x.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).zip(means).for_each(|((sum, &x), &mean)| *sum += (x - mean) * (x - mean));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Tensor, activation, module};

    use super::*;
    use crate::cpu::reference::{Case, Input, agree};
    use crate::cpu::{apply, compute};

    const EPSILON: f32 = 1e-5;

    fn dispatch([x, scale, shift]: &[Input; 3]) -> [burn::backend::DispatchTensor; 3] {
        [x.tensor::<4>().into_dispatch(), scale.tensor::<1>().into_dispatch(), shift.tensor::<1>().into_dispatch()]
    }

    fn cut(x: Tensor<4>, relu: bool) -> Tensor<4> {
        if relu { activation::relu(x) } else { x }
    }

    #[test]
    fn batch_norm_is_that_of_burn() {
        for (shape, relu) in [([5, 3, 7, 6], false), ([5, 3, 7, 6], true), ([32, 2, 1, 1], false)] {
            let case = Case::new(&[&shape, &[shape[1]], &[shape[1]]]);
            let (ours, theirs) = (case.inputs::<3>(), case.inputs::<3>());
            let (our_output, saved) = apply::<3, 4>(BatchNorm { epsilon: EPSILON, relu }, dispatch(&ours));
            let [x, scale, shift] = &theirs;
            let result = module::batch_norm_train(x.tensor::<4>(), scale.tensor(), shift.tensor(), EPSILON.into());
            let statistics =
                [result.mean, result.variance].map(|t| t.into_data().try_to_vec::<f32>().unwrap()).concat();
            assert!(saved.iter().zip(&statistics).all(|(a, b)| (a - b).abs() < 1e-5), "{saved:?} {statistics:?}");
            agree(&ours, our_output, &theirs, cut(result.output, relu));
        }
    }

    #[test]
    fn channel_norm_is_batch_norm_of_one_image() {
        for relu in [false, true] {
            let [batch, channels, height, width] = [4, 3, 8, 9];
            let case = Case::new(&[&[batch, channels, height, width], &[channels], &[channels]]);
            let (ours, theirs) = (case.inputs::<3>(), case.inputs::<3>());
            let our_output = compute::<3, 4>(ChannelNorm { epsilon: EPSILON, relu }, dispatch(&ours));
            let [x, scale, shift] = &theirs;
            let repeated = |input: &Input| input.tensor::<1>().repeat_dim(0, batch);
            let one_image = x.tensor::<4>().reshape([1, batch * channels, height, width]);
            let result = module::batch_norm_train(one_image, repeated(scale), repeated(shift), EPSILON.into());
            let result = result.output.reshape([batch, channels, height, width]);
            agree(&ours, our_output, &theirs, cut(result, relu));
        }
    }

    #[test]
    fn channel_layer_norm_follows_its_definition() {
        let [batch, channels, height, width] = [3, 20, 5, 4];
        let case = Case::new(&[&[batch, channels, height, width], &[channels], &[channels]]);
        let (ours, theirs) = (case.inputs::<3>(), case.inputs::<3>());
        let our_output = compute::<3, 4>(ChannelLayerNorm { epsilon: EPSILON }, dispatch(&ours));
        let [x, scale, shift] = &theirs;
        let x = x.tensor::<4>();
        let centred = x.clone() - x.mean_dim(1);
        let deviation = (centred.clone() * centred.clone()).mean_dim(1).add_scalar(EPSILON).sqrt();
        let wide = |input: &Input| input.tensor::<1>().reshape([1, channels, 1, 1]);
        agree(&ours, our_output, &theirs, centred / deviation * wide(scale) + wide(shift));
    }
}
