use rayon::prelude::*;

use super::matmul::{Matrix, MatrixMut, Old, multiply};
use super::unfold::{Geometry, fold, unfold};
use super::vector::{sum, vectorized};
use super::{Array, Backpass, Forward, Operation};

/// Output pixels that a product takes at least: images are grouped until they have as many.
const MIN_PIXELS_AT_ONCE: usize = 256;

/// Rows of unfolded input (a channel has one a tap) that a part of the weight's gradient takes at least.
const MIN_ROWS_AT_ONCE: usize = 256;

/// Parts of the batch whose weight gradients are summed apart where the weight is small.
const N_BATCH_PARTS: usize = 8;

/// The largest weight that counts as small: 256 KiB a part.
const MAX_SMALL_WEIGHT: usize = 1 << 16;

/// A convolution with a square kernel: inputs `[batch, n_in, height, width]`, the weight `[n_out, n_in, kernel, kernel]` and,
/// of three, a bias `[n_out]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution {
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Operation<2> for Convolution {
    fn forward(&self, [x, weight]: [&Array; 2]) -> Forward {
        Forward::new(self.shape(x, weight).forward(x, weight, None))
    }

    fn backward(&self, pass: Backpass<'_, 2>) -> [Option<Array>; 2] {
        let ([x, weight], [wants_x, wants_weight]) = (pass.inputs, pass.wanted);
        let shape = self.shape(x, weight);
        [
            wants_x.then(|| shape.input_gradient(weight, pass.gradient)),
            wants_weight.then(|| shape.weight_gradient(x, pass.gradient)),
        ]
    }
}

impl Operation<3> for Convolution {
    fn forward(&self, [x, weight, bias]: [&Array; 3]) -> Forward {
        Forward::new(self.shape(x, weight).forward(x, weight, Some(bias)))
    }

    fn backward(&self, pass: Backpass<'_, 3>) -> [Option<Array>; 3] {
        let ([x, weight, _], [wants_x, wants_weight, wants_bias]) = (pass.inputs, pass.wanted);
        let shape = self.shape(x, weight);
        [
            wants_x.then(|| shape.input_gradient(weight, pass.gradient)),
            wants_weight.then(|| shape.weight_gradient(x, pass.gradient)),
            wants_bias.then(|| shape.bias_gradient(pass.gradient)),
        ]
    }
}

impl Convolution {
    fn shape(&self, x: &Array, weight: &Array) -> Shape {
        let [batch, n_in, height, width] = x.dims();
        let [n_out, n_in_of_weight, kernel, kernel_width] = weight.dims();
        assert!(n_in == n_in_of_weight && kernel == kernel_width, "the weight is for other inputs");
        let geometry = Geometry::new([height, width], kernel, self.stride, self.padding);
        Shape { geometry, batch, n_in, n_out }
    }
}

/// A [`Convolution`] of known shapes.
#[derive(Debug, Clone, Copy)]
struct Shape {
    geometry: Geometry,
    batch: usize,
    n_in: usize,
    n_out: usize,
}

impl Shape {
    /// Values that an output pixel sees.
    fn n_rows(&self) -> usize {
        self.n_in * self.geometry.n_taps()
    }

    fn weight_dims(&self) -> [usize; 2] {
        [self.n_out, self.n_rows()]
    }

    fn image_len(&self) -> usize {
        self.n_in * self.geometry.n_pixels()
    }

    fn out_image_len(&self) -> usize {
        self.n_out * self.geometry.n_out_pixels()
    }

    /// How many images one product works on.
    fn group(&self) -> usize {
        MIN_PIXELS_AT_ONCE.div_ceil(self.geometry.n_out_pixels()).min(self.batch)
    }

    fn forward(&self, x: &Array, weight: &Array, bias: Option<&Array>) -> Array {
        let [out_height, out_width] = self.geometry.out_size;
        let mut output = vec![0.0f32; self.batch * self.out_image_len()];
        let weight = Matrix::rows(weight.values(), self.weight_dims(), self.n_rows());
        let n_out_pixels = self.geometry.n_out_pixels();
        let images = x.values().par_chunks(self.group() * self.image_len());
        let outputs = output.par_chunks_mut(self.group() * self.out_image_len());
        images.zip(outputs).for_each_init(Scratch::default, |scratch, (images, output)| {
            let n_columns = output.len() / self.n_out;
            let columns = self.unfolded(images, &mut scratch.columns);
            let columns = Matrix::rows(columns, [self.n_rows(), n_columns], n_columns);
            let dims = [self.n_out, n_columns];
            if n_columns == n_out_pixels {
                multiply(MatrixMut::rows(output, dims, n_columns), Old::Replaced, 1.0, weight, columns);
            } else {
                let product = resized(&mut scratch.pixels, output.len());
                multiply(MatrixMut::rows(product, dims, n_columns), Old::Replaced, 1.0, weight, columns);
                self.by_image(product, output);
            }
            if let Some(bias) = bias {
                let channels = output.chunks_exact_mut(n_out_pixels).zip(bias.values().iter().cycle());
                channels.for_each(|(pixels, &bias)| pixels.iter_mut().for_each(|pixel| *pixel += bias));
            }
        });
        Array::new(output, &[self.batch, self.n_out, out_height, out_width])
    }

    fn input_gradient(&self, weight: &Array, gradient: &Array) -> Array {
        let [height, width] = self.geometry.size;
        let mut result = vec![0.0f32; self.batch * self.image_len()];
        let weight = Matrix::rows(weight.values(), self.weight_dims(), self.n_rows()).transposed();
        let gradients = gradient.values().par_chunks(self.group() * self.out_image_len());
        let results = result.par_chunks_mut(self.group() * self.image_len());
        gradients.zip(results).for_each_init(Scratch::default, |scratch, (gradients, result)| {
            let n_columns = gradients.len() / self.n_out;
            let gradients = self.by_channel(gradients, &mut scratch.pixels);
            let gradients = Matrix::rows(gradients, [self.n_out, n_columns], n_columns);
            let dims = [self.n_rows(), n_columns];
            if self.geometry.is_pointwise() && n_columns == self.geometry.n_pixels() {
                multiply(MatrixMut::rows(result, dims, n_columns), Old::Replaced, 1.0, weight, gradients);
                return;
            }
            let columns = resized(&mut scratch.columns, self.n_rows() * n_columns);
            multiply(MatrixMut::rows(columns, dims, n_columns), Old::Replaced, 1.0, weight, gradients);
            for (index, image) in result.chunks_exact_mut(self.image_len()).enumerate() {
                let columns = &columns[index * self.geometry.n_out_pixels()..];
                vectorized(|| fold(&self.geometry, columns, n_columns, image));
            }
        });
        Array::new(result, &[self.batch, self.n_in, height, width])
    }

    /// Channels of the input are divided among threads, and the batch too where the weight is small; how, the shapes say.
    fn weight_gradient(&self, x: &Array, gradient: &Array) -> Array {
        let n_taps = self.geometry.n_taps();
        let n_channels = MIN_ROWS_AT_ONCE.div_ceil(n_taps).min(self.n_in);
        let n_batch_parts = if self.n_out * self.n_rows() <= MAX_SMALL_WEIGHT { N_BATCH_PARTS } else { 1 };
        let n_images = self.batch.div_ceil(n_batch_parts).next_multiple_of(self.group());
        let channel_parts = (0..self.n_in).step_by(n_channels).map(|first| first..self.n_in.min(first + n_channels));
        let image_parts = (0..self.batch).step_by(n_images).map(|first| first..self.batch.min(first + n_images));
        let parts =
            channel_parts.flat_map(|channels| image_parts.clone().map(move |images| (channels.clone(), images)));
        let parts: Vec<_> = parts.collect();
        let sums = parts.par_iter().map_init(Scratch::default, |scratch, (channels, images)| {
            let n_rows = channels.len() * n_taps;
            let mut result = vec![0.0f32; self.n_out * n_rows];
            for first in images.clone().step_by(self.group()) {
                let group = first..images.end.min(first + self.group());
                let n_columns = group.len() * self.geometry.n_out_pixels();
                let gradients =
                    &gradient.values()[group.start * self.out_image_len()..group.end * self.out_image_len()];
                let gradients = self.by_channel(gradients, &mut scratch.pixels);
                let seen = &x.values()[group.start * self.image_len()..group.end * self.image_len()];
                let columns = self.unfolded_channels(seen, channels.clone(), &mut scratch.columns);
                multiply(
                    MatrixMut::rows(&mut result, [self.n_out, n_rows], n_rows),
                    Old::AddedTo,
                    1.0,
                    Matrix::rows(gradients, [self.n_out, n_columns], n_columns),
                    Matrix::rows(columns, [n_rows, n_columns], n_columns).transposed(),
                );
            }
            result
        });
        let sums: Vec<Vec<f32>> = sums.collect();
        let mut result = vec![0.0f32; self.n_out * self.n_rows()];
        for ((channels, _), sums) in parts.iter().zip(&sums) {
            let n_rows = channels.len() * n_taps;
            let rows = result.chunks_exact_mut(self.n_rows()).zip(sums.chunks_exact(n_rows));
            for (row, sums) in rows {
                let row = &mut row[channels.start * n_taps..][..n_rows];
                row.iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
            }
        }
        Array::new(result, &[self.n_out, self.n_in, self.geometry.kernel, self.geometry.kernel])
    }

    fn bias_gradient(&self, gradient: &Array) -> Array {
        let channels = gradient.values().par_chunks(self.geometry.n_out_pixels());
        let sums: Vec<f32> = channels.map(|pixels| vectorized(|| sum(pixels, |g| g))).collect();
        Array::new(sum_over_batch(&sums, self.n_out), &[self.n_out])
    }

    /// The columns of some images side by side: `[rows, images * output pixels]`.
    fn unfolded<'a>(&self, images: &'a [f32], columns: &'a mut Vec<f32>) -> &'a [f32] {
        self.unfolded_channels(images, 0..self.n_in, columns)
    }

    /// [`unfolded`](Self::unfolded) with rows of these channels only.
    fn unfolded_channels<'a>(
        &self,
        images: &'a [f32],
        channels: std::ops::Range<usize>,
        columns: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let n_pixels = self.geometry.n_pixels();
        let n_images = images.len() / self.image_len();
        let of_image = |image: &'a [f32]| &image[channels.start * n_pixels..channels.end * n_pixels];
        if self.geometry.is_pointwise() && n_images == 1 {
            return of_image(images);
        }
        let stride = n_images * self.geometry.n_out_pixels();
        let columns = resized(columns, channels.len() * self.geometry.n_taps() * stride);
        for (index, image) in images.chunks_exact(self.image_len()).enumerate() {
            let columns = &mut columns[index * self.geometry.n_out_pixels()..];
            vectorized(|| unfold(&self.geometry, of_image(image), columns, stride));
        }
        columns
    }

    /// `[images, n_out, pixels]` as `[n_out, images * pixels]`.
    fn by_channel<'a>(&self, images: &'a [f32], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let n_pixels = self.geometry.n_out_pixels();
        let n_images = images.len() / self.out_image_len();
        if n_images == 1 {
            return images;
        }
        let channels = resized(scratch, images.len());
        for (index, pixels) in images.chunks_exact(n_pixels).enumerate() {
            let (image, channel) = (index / self.n_out, index % self.n_out);
            channels[(channel * n_images + image) * n_pixels..][..n_pixels].copy_from_slice(pixels);
        }
        channels
    }

    /// The inverse of [`by_channel`](Self::by_channel).
    fn by_image(&self, channels: &[f32], images: &mut [f32]) {
        let n_pixels = self.geometry.n_out_pixels();
        let n_images = images.len() / self.out_image_len();
        for (index, pixels) in images.chunks_exact_mut(n_pixels).enumerate() {
            let (image, channel) = (index / self.n_out, index % self.n_out);
            pixels.copy_from_slice(&channels[(channel * n_images + image) * n_pixels..][..n_pixels]);
        }
    }
}

/// Memory that a thread uses again and again.
#[derive(Default)]
struct Scratch {
    columns: Vec<f32>,
    pixels: Vec<f32>,
}

/// The first `len` values, whatever they hold.
fn resized(scratch: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    &mut scratch[..len]
}

/// Adds up `[batch, channels]` to `[channels]`, in `f64`.
pub(super) fn sum_over_batch(values: &[f32], n_channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; n_channels];
    for row in values.chunks_exact(n_channels) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Tensor, module, ops::ConvOptions};

    use super::*;
    use crate::cpu::compute;
    use crate::cpu::reference::{Case, agree};

    #[test]
    fn outputs_and_gradients_are_those_of_burn() {
        // batch, n_in, n_out, side, kernel, stride, padding: one image a product and several, whole and broken groups,
        // several channel parts, small and large weights.
        let cases = [
            [2, 3, 5, 32, 3, 1, 1],
            [11, 1, 4, 9, 3, 1, 3],
            [9, 40, 6, 4, 3, 1, 1],
            [3, 8, 16, 8, 3, 2, 1],
            [5, 64, 32, 16, 1, 1, 0],
            [5, 48, 32, 6, 1, 1, 0],
            [3, 6, 7, 9, 1, 2, 0],
            [3, 5, 7, 8, 2, 2, 0],
            [130, 70, 110, 2, 3, 1, 1],
        ];
        for [batch, n_in, n_out, side, kernel, stride, padding] in cases {
            let case = Case::new(&[&[batch, n_in, side, side], &[n_out, n_in, kernel, kernel], &[n_out]]);
            let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
            let operation = Convolution { stride, padding };
            let [x, weight, bias] = case.inputs();
            let dispatch = [x.tensor::<4>().into_dispatch(), weight.tensor::<4>().into_dispatch()];
            let with_bias = [dispatch[0].clone(), dispatch[1].clone(), bias.tensor::<1>().into_dispatch()];
            let ours: Tensor<4> = compute(operation, with_bias) + compute(operation, dispatch);
            let [rx, rweight, rbias] = case.inputs();
            let (px, pweight) = (rx.tensor::<4>(), rweight.tensor::<4>());
            let theirs = module::conv2d(px.clone(), pweight.clone(), Some(rbias.tensor()), options.clone())
                + module::conv2d(px, pweight, None, options);
            agree(&[x, weight, bias], ours, &[rx, rweight, rbias], theirs);
        }
    }
}
