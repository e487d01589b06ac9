use rayon::prelude::*;

use super::matmul::{Matrix, MatrixMut, Old, multiply};
use super::vector::{exp, vectorized};
use super::{Array, Backpass, Forward, Operation};

/// Parts of the batch that sum the table's gradient apart.
const N_BATCH_PARTS: usize = 16;

/// Attention of several heads over the pixels of an image, with a learned bias for each distance of two pixels.
///
/// Inputs are keys, queries and values, `[batch, heads * width, image height, image width]`, and a table
/// `[heads, (2 * height - 1) * (2 * width - 1)]`. In each head pixel `j` weighs pixel `i` by the softmax over `i` of `scale *
/// (key i . query j) + table[i - j]` and gathers the values by these weights. The weights are computed anew in the backward
/// pass, not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) scale: f32,
}

/// Sizes of the arrays: all heads of one image lie together, each `[width, pixels]`.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    n_heads: usize,
    /// Channels of a head.
    width: usize,
    size: [usize; 2],
}

impl Shape {
    fn new(keys: &Array, table: &Array) -> Self {
        let [batch, n_channels, image_height, image_width] = keys.dims();
        let [n_heads, _] = table.dims();
        Self { batch, n_heads, width: n_channels / n_heads, size: [image_height, image_width] }
    }

    fn n_pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn head_len(&self) -> usize {
        self.width * self.n_pixels()
    }

    fn image_len(&self) -> usize {
        self.n_heads * self.head_len()
    }

    /// The table as one bias for each `i` and `j`: `[heads, pixels, pixels]`.
    fn biases(&self, table: &Array) -> Vec<f32> {
        let heads = table.values().chunks_exact(table.values().len() / self.n_heads);
        heads.flat_map(|table| relative_places(self.size).map(|place| table[place])).collect()
    }

    fn head<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::rows(values, [self.width, self.n_pixels()], self.n_pixels())
    }

    fn head_mut<'a>(&self, values: &'a mut [f32]) -> MatrixMut<'a> {
        MatrixMut::rows(values, [self.width, self.n_pixels()], self.n_pixels())
    }

    fn square<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::rows(values, [self.n_pixels(); 2], self.n_pixels())
    }

    fn square_mut<'a>(&self, values: &'a mut [f32]) -> MatrixMut<'a> {
        MatrixMut::rows(values, [self.n_pixels(); 2], self.n_pixels())
    }

    /// The weights of one head, `[i, j]`.
    fn weights(&self, scale: f32, keys: &[f32], queries: &[f32], biases: &[f32], weights: &mut [f32]) {
        weights.copy_from_slice(biases);
        let keys = self.head(keys).transposed();
        multiply(self.square_mut(weights), Old::AddedTo, scale, keys, self.head(queries));
        vectorized(|| softmax_of_columns(weights, self.n_pixels()));
    }
}

/// Where a head's table holds the bias of pixel `i` as seen from pixel `j`, for every `i` and, within it, every `j` of an image
/// of `[height, width]`.
pub(crate) fn relative_places([height, width]: [usize; 2]) -> impl Iterator<Item = usize> {
    let n_pixels = height * width;
    (0..n_pixels * n_pixels).map(move |index| {
        let (i, j) = (index / n_pixels, index % n_pixels);
        let down = i / width + height - 1 - j / width;
        let right = i % width + width - 1 - j % width;
        down * (2 * width - 1) + right
    })
}

/// Replaces a matrix by the softmax of each of its columns.
#[inline(always)]
fn softmax_of_columns(matrix: &mut [f32], n_columns: usize) {
    let mut largest = vec![f32::NEG_INFINITY; n_columns];
    for row in matrix.chunks_exact(n_columns) {
        largest.iter_mut().zip(row).for_each(|(largest, &x)| *largest = if *largest < x { x } else { *largest });
    }
    let mut sums = vec![0.0f32; n_columns];
    for row in matrix.chunks_exact_mut(n_columns) {
        for ((x, &largest), sum) in row.iter_mut().zip(&largest).zip(&mut sums) {
            *x = exp(*x - largest);
            *sum += *x;
        }
    }
    sums.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
    for row in matrix.chunks_exact_mut(n_columns) {
        row.iter_mut().zip(&sums).for_each(|(x, &inverse)| *x *= inverse);
    }
}

/// Turns the gradient of [`softmax_of_columns`]'s result into that of its input.
#[inline(always)]
fn softmax_gradient(weights: &[f32], gradient: &mut [f32], n_columns: usize) {
    let mut averages = vec![0.0f32; n_columns];
    for (weights, gradient) in weights.chunks_exact(n_columns).zip(gradient.chunks_exact(n_columns)) {
        averages.iter_mut().zip(weights).zip(gradient).for_each(|((average, &w), &g)| *average += w * g);
    }
    for (weights, gradient) in weights.chunks_exact(n_columns).zip(gradient.chunks_exact_mut(n_columns)) {
        gradient.iter_mut().zip(weights).zip(&averages).for_each(|((g, &w), &average)| *g = w * (*g - average));
    }
}

impl Operation<4> for Attention {
    fn forward(&self, [keys, queries, values, table]: [&Array; 4]) -> Forward {
        let shape = Shape::new(keys, table);
        let biases = shape.biases(table);
        let n_squares = shape.n_pixels() * shape.n_pixels();
        let mut output = vec![0.0f32; keys.values().len()];
        let heads = output.par_chunks_mut(shape.head_len()).enumerate();
        heads.for_each_init(
            || vec![0.0f32; n_squares],
            |weights, (index, output)| {
                let of = index * shape.head_len()..(index + 1) * shape.head_len();
                let biases = &biases[index % shape.n_heads * n_squares..][..n_squares];
                shape.weights(self.scale, &keys.values()[of.clone()], &queries.values()[of.clone()], biases, weights);
                let values = shape.head(&values.values()[of]);
                multiply(shape.head_mut(output), Old::Replaced, 1.0, values, shape.square(weights));
            },
        );
        Forward::new(Array::new(output, keys.shape()))
    }

    fn backward(&self, pass: Backpass<'_, 4>) -> [Option<Array>; 4] {
        let [keys, queries, values, table] = pass.inputs;
        let shape = Shape::new(keys, table);
        let biases = shape.biases(table);
        let n_squares = shape.n_pixels() * shape.n_pixels();
        let [mut to_keys, mut to_queries, mut to_values] =
            [keys, queries, values].map(|x| vec![0.0f32; x.values().len()]);
        let part_len = shape.batch.div_ceil(N_BATCH_PARTS) * shape.image_len();
        let parts = to_keys.par_chunks_mut(part_len).zip(to_queries.par_chunks_mut(part_len));
        let parts = parts.zip(to_values.par_chunks_mut(part_len)).enumerate();
        let bias_gradients = parts.map(|(part, ((to_keys, to_queries), to_values))| {
            let mut bias_gradient = vec![0.0f32; shape.n_heads * n_squares];
            let (mut weights, mut gradient) = (vec![0.0f32; n_squares], vec![0.0f32; n_squares]);
            let len = shape.head_len();
            let heads = to_keys.chunks_exact_mut(len).zip(to_queries.chunks_exact_mut(len));
            for (index, ((to_keys, to_queries), to_values)) in heads.zip(to_values.chunks_exact_mut(len)).enumerate() {
                let start = part * part_len + index * len;
                let of = start..start + len;
                let head = index % shape.n_heads * n_squares..(index % shape.n_heads + 1) * n_squares;
                let keys = &keys.values()[of.clone()];
                let queries = &queries.values()[of.clone()];
                let values = &values.values()[of.clone()];
                let of_output = shape.head(&pass.gradient.values()[of]);
                shape.weights(self.scale, keys, queries, &biases[head.clone()], &mut weights);
                let transposed = shape.square(&weights).transposed();
                multiply(shape.head_mut(to_values), Old::Replaced, 1.0, of_output, transposed);
                let of_values = shape.head(values).transposed();
                multiply(shape.square_mut(&mut gradient), Old::Replaced, 1.0, of_values, of_output);
                vectorized(|| {
                    softmax_gradient(&weights, &mut gradient, shape.n_pixels());
                    let sums = bias_gradient[head].iter_mut().zip(&gradient);
                    sums.for_each(|(sum, &g)| *sum += g);
                });
                let transposed = shape.square(&gradient).transposed();
                multiply(shape.head_mut(to_keys), Old::Replaced, self.scale, shape.head(queries), transposed);
                let of_logits = shape.square(&gradient);
                multiply(shape.head_mut(to_queries), Old::Replaced, self.scale, shape.head(keys), of_logits);
            }
            bias_gradient
        });
        let bias_gradients: Vec<Vec<f32>> = bias_gradients.collect();
        let n_places = table.values().len() / shape.n_heads;
        let mut to_table = vec![0.0f64; table.values().len()];
        for gradient in &bias_gradients {
            for (head, gradient) in gradient.chunks_exact(n_squares).enumerate() {
                let to_table = &mut to_table[head * n_places..][..n_places];
                for (place, &g) in relative_places(shape.size).zip(gradient) {
                    to_table[place] += f64::from(g);
                }
            }
        }
        let to_table = to_table.into_iter().map(|sum| sum as f32).collect();
        [
            Some(Array::new(to_keys, keys.shape())),
            Some(Array::new(to_queries, queries.shape())),
            Some(Array::new(to_values, values.shape())),
            Some(Array::new(to_table, table.shape())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distance_of_two_pixels_has_a_place_of_its_own() {
        let places: Vec<usize> = relative_places([3, 4]).collect();
        let place = |i: usize, j: usize| places[i * 12 + j];
        let distance = |i: usize, j: usize| [i / 4 + 3 - j / 4, i % 4 + 4 - j % 4];
        for (i, j) in (0..12).flat_map(|i| (0..12).map(move |j| (i, j))) {
            for (k, l) in (0..12).flat_map(|k| (0..12).map(move |l| (k, l))) {
                assert_eq!(place(i, j) == place(k, l), distance(i, j) == distance(k, l));
            }
            assert!(place(i, j) < 5 * 7);
        }
    }

    #[test]
    fn columns_of_a_softmax_sum_to_one() {
        let mut matrix = vec![0.0, 1000.0, -1.0, 2.0, 1000.0, -2.0, 1.0, 0.0, f32::NEG_INFINITY];
        softmax_of_columns(&mut matrix, 3);
        for column in 0..3 {
            let sum: f32 = matrix.iter().skip(column).step_by(3).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{matrix:?}");
        }
        assert_eq!((matrix[1], matrix[4], matrix[7], matrix[8]), (0.5, 0.5, 0.0, 0.0));
    }
}
