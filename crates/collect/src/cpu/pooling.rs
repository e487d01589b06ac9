use rayon::prelude::*;

use super::vector::vectorized;
use super::{Array, Backpass, Forward, Operation};

/// The averages of non-overlapping squares of 2 x 2 of `[batch, channels, height, width]`; an odd last row or column is left
/// out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AveragePool;

/// The largest values of non-overlapping squares of 2 x 2 of `[batch, channels, height, width]`; an odd last row or column is
/// left out. Of equal values the first, row by row, gets the gradient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxPool;

/// The shape of what comes out, and channel by channel what `of` makes of two rows of input and one of output.
fn pooled(x: &Array, of: impl Fn(&[f32], &[f32], &mut [f32]) + Sync) -> Array {
    let [batch, channels, height, width] = x.dims();
    let [out_height, out_width] = [height / 2, width / 2];
    let mut output = vec![0.0f32; batch * channels * out_height * out_width];
    if !output.is_empty() {
        let planes = x.values().par_chunks(height * width).zip(output.par_chunks_mut(out_height * out_width));
        planes.for_each(|(plane, output)| {
            vectorized(|| {
                for (rows, output) in plane.chunks_exact(2 * width).zip(output.chunks_exact_mut(out_width)) {
                    let (first, second) = rows.split_at(width);
                    of(first, second, output);
                }
            });
        });
    }
    Array::new(output, &[batch, channels, out_height, out_width])
}

/// The input's gradient, two rows at a time: `of` is given the two rows of input, the row of gradient and the two rows to
/// fill.
fn unpooled(x: &Array, gradient: &Array, of: impl Fn([&[f32]; 2], &[f32], [&mut [f32]; 2]) + Sync) -> Array {
    let [_, _, height, width] = x.dims();
    let mut result = vec![0.0f32; x.values().len()];
    if !gradient.values().is_empty() {
        let planes = x.values().par_chunks(height * width).zip(result.par_chunks_mut(height * width));
        planes.zip(gradient.values().par_chunks((height / 2) * (width / 2))).for_each(|((x, result), gradient)| {
            vectorized(|| {
                let rows = x.chunks_exact(2 * width).zip(result.chunks_exact_mut(2 * width));
                for ((x, result), gradient) in rows.zip(gradient.chunks_exact(width / 2)) {
                    of(x.split_at(width).into(), gradient, result.split_at_mut(width).into());
                }
            });
        });
    }
    Array::new(result, x.shape())
}

impl Operation<1> for AveragePool {
    fn forward(&self, [x]: [&Array; 1]) -> Forward {
        Forward::new(pooled(x, |first, second, output| {
            let (first, second) = (first.as_chunks::<2>().0, second.as_chunks::<2>().0);
            for ((output, [a, b]), [c, d]) in output.iter_mut().zip(first).zip(second) {
                *output = ((a + b) + (c + d)) * 0.25;
            }
        }))
    }

    fn backward(&self, pass: Backpass<'_, 1>) -> [Option<Array>; 1] {
        let result = unpooled(pass.inputs[0], pass.gradient, |_, gradient, rows| {
            for row in rows {
                let pairs = row.as_chunks_mut::<2>().0.iter_mut().zip(gradient);
                pairs.for_each(|(pair, &g)| *pair = [g * 0.25; 2]);
            }
        });
        [Some(result)]
    }
}

impl Operation<1> for MaxPool {
    fn forward(&self, [x]: [&Array; 1]) -> Forward {
        // `a < b` keeps the first of equals, and a NaN that comes first; no NaN comes out of a finite input.
        let larger = |a: f32, b: f32| if a < b { b } else { a };
        Forward::new(pooled(x, |first, second, output| {
            let (first, second) = (first.as_chunks::<2>().0, second.as_chunks::<2>().0);
            for ((output, &[a, b]), &[c, d]) in output.iter_mut().zip(first).zip(second) {
                *output = larger(larger(a, b), larger(c, d));
            }
        }))
    }

    fn backward(&self, pass: Backpass<'_, 1>) -> [Option<Array>; 1] {
        let result = unpooled(pass.inputs[0], pass.gradient, |[first, second], gradient, [to_first, to_second]| {
            let from = first.as_chunks::<2>().0.iter().zip(second.as_chunks::<2>().0);
            let to = to_first.as_chunks_mut::<2>().0.iter_mut().zip(to_second.as_chunks_mut::<2>().0);
            for (((&[a, b], &[c, d]), (above, below)), &g) in from.zip(to).zip(gradient) {
                let (right_above, right_below) = (a < b, c < d);
                let (high, low) = (if right_above { b } else { a }, if right_below { d } else { c });
                let (g_above, g_below) = if high < low { (0.0, g) } else { (g, 0.0) };
                *above = if right_above { [0.0, g_above] } else { [g_above, 0.0] };
                *below = if right_below { [0.0, g_below] } else { [g_below, 0.0] };
            }
        });
        [Some(result)]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{
        Device, Tensor, TensorData, module,
        ops::{AvgPoolOptions, MaxPoolOptions},
    };

    use super::*;
    use crate::cpu::compute;
    use crate::cpu::reference::{Case, agree};

    #[test]
    fn pools_are_those_of_burn() {
        for shape in [[3, 2, 8, 6], [2, 3, 5, 7], [70, 3, 2, 2]] {
            let case = Case::new(&[&shape]);
            let ([ours], [theirs]) = (case.inputs::<1>(), case.inputs::<1>());
            let average = compute::<1, 4>(AveragePool, [ours.tensor::<4>().into_dispatch()]);
            let maximum = compute::<1, 4>(MaxPool, [ours.tensor::<4>().into_dispatch()]);
            let x = theirs.tensor::<4>();
            let their_average = module::avg_pool2d(x.clone(), AvgPoolOptions::new([2, 2]));
            let their_maximum = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
            let reference = Tensor::cat(vec![their_average, their_maximum], 1);
            agree(&[ours], Tensor::cat(vec![average, maximum], 1), &[theirs], reference);
        }
    }

    #[test]
    fn of_equal_values_the_first_gets_the_gradient() {
        let device = Device::flex().autodiff();
        let values = vec![1.0f32, 1.0, 0.0, 2.0, 1.0, 1.0, 2.0, 0.0];
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 2, 4]), &device).require_grad();
        let gradients = compute::<1, 4>(MaxPool, [x.clone().into_dispatch()]).sum().backward();
        let gradient = x.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
