use rayon::prelude::*;

use super::vector::{exp, sum_of_pairs, vectorized};
use super::{Array, Backpass, Forward, Operation};

/// Values that one task works on.
const N_AT_ONCE: usize = 1 << 14;

/// The sum of two arrays of one shape where it is above 0, else 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddRelu;

/// `x * Phi(x)` with the normal distribution function, PyTorch's `GELU()` without approximation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gelu;

/// `x + gamma * y` with `x` and `y` of one shape and `gamma` of one value: inputs `[x, y, gamma]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaledResidual;

/// What `of` makes of each pair of values.
fn map(x: &Array, y: &Array, of: impl Fn(f32, f32) -> f32 + Sync) -> Array {
    assert_eq!(x.shape(), y.shape(), "two arrays of one shape");
    let mut output = vec![0.0f32; x.values().len()];
    let parts = output.par_chunks_mut(N_AT_ONCE).zip(x.values().par_chunks(N_AT_ONCE));
    parts.zip(y.values().par_chunks(N_AT_ONCE)).for_each(|((output, x), y)| {
        vectorized(|| {
            for ((output, &x), &y) in output.iter_mut().zip(x).zip(y) {
                *output = of(x, y);
            }
        });
    });
    Array::new(output, x.shape())
}

/// The gradient where the output is above 0, else 0.
fn where_positive(gradient: &Array, output: &Array) -> Array {
    map(gradient, output, |gradient, output| if output > 0.0 { gradient } else { 0.0 })
}

/// The standard normal distribution function, with an absolute error below 2e-7, and the density.
///
/// After Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.2.17.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const INVERSE_SQRT_TAU: f32 = 0.398_942_3;
    const COEFFICIENTS: [f32; 5] = [1.330_274_4, -1.821_255_9, 1.781_477_9, -0.356_563_78, 0.319_381_53];
    let density = INVERSE_SQRT_TAU * exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = COEFFICIENTS.into_iter().fold(0.0, |series, coefficient| series * t + coefficient) * t;
    let tail = density * series;
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

impl Operation<2> for AddRelu {
    fn forward(&self, [x, y]: [&Array; 2]) -> Forward {
        Forward::new(map(x, y, |x, y| if x + y < 0.0 { 0.0 } else { x + y }))
    }

    fn backward(&self, pass: Backpass<'_, 2>) -> [Option<Array>; 2] {
        let gradient = where_positive(pass.gradient, pass.output);
        [Some(gradient.clone()), Some(gradient)]
    }
}

impl Operation<1> for Gelu {
    fn forward(&self, [x]: [&Array; 1]) -> Forward {
        Forward::new(map(x, x, |x, _| x * normal(x).0))
    }

    fn backward(&self, pass: Backpass<'_, 1>) -> [Option<Array>; 1] {
        let slope = |x: f32, gradient: f32| {
            let (distribution, density) = normal(x);
            gradient * (distribution + x * density)
        };
        [Some(map(pass.inputs[0], pass.gradient, slope))]
    }
}

impl Operation<3> for ScaledResidual {
    fn forward(&self, [x, y, gamma]: [&Array; 3]) -> Forward {
        let gamma = gamma.values()[0];
        Forward::new(map(x, y, |x, y| x + gamma * y))
    }

    fn backward(&self, pass: Backpass<'_, 3>) -> [Option<Array>; 3] {
        let [_, y, gamma] = pass.inputs;
        let factor = gamma.values()[0];
        let parts = pass.gradient.values().par_chunks(N_AT_ONCE).zip(y.values().par_chunks(N_AT_ONCE));
        let sums: Vec<f32> = parts.map(|(g, y)| vectorized(|| sum_of_pairs(g, y, |g, y| g * y))).collect();
        let sum = sums.into_iter().map(f64::from).sum::<f64>() as f32;
        [
            Some(pass.gradient.clone()),
            Some(map(pass.gradient, pass.gradient, |gradient, _| factor * gradient)),
            Some(Array::new(vec![sum], gamma.shape())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation;

    use super::*;
    use crate::cpu::compute;
    use crate::cpu::reference::{Case, agree};

    #[test]
    fn activations_are_those_of_burn() {
        let shape = [3, 7, 40, 41];
        let case = Case::new(&[&shape, &shape]);
        let (ours, theirs) = (case.inputs::<2>(), case.inputs::<2>());
        let [x, y] = [0, 1].map(|i| ours[i].tensor::<4>().into_dispatch());
        let [px, py] = [0, 1].map(|i| theirs[i].tensor::<4>());
        let our_output = compute::<2, 4>(AddRelu, [x, y.clone()]) + compute::<1, 4>(Gelu, [y]);
        let their_output = activation::relu(px + py.clone()) + activation::gelu(py);
        agree(&ours, our_output, &theirs, their_output);
    }

    #[test]
    fn a_scaled_residual_is_a_sum_of_products() {
        let shape = [2, 3, 90, 80];
        let case = Case::new(&[&shape, &shape, &[1]]);
        let (ours, theirs) = (case.inputs::<3>(), case.inputs::<3>());
        let [x, y] = [0, 1].map(|i| ours[i].tensor::<4>().into_dispatch());
        let our_output = compute::<3, 4>(ScaledResidual, [x, y, ours[2].tensor::<1>().into_dispatch()]);
        let [px, py] = [0, 1].map(|i| theirs[i].tensor::<4>());
        let their_output = px + py * theirs[2].tensor::<1>().reshape([1, 1, 1, 1]);
        agree(&ours, our_output, &theirs, their_output);
    }

    #[test]
    fn the_normal_distribution_is_close() {
        // From 30-digit tables: Phi(x) and the density.
        for (x, distribution, density) in [
            (0.0f32, 0.5, 0.398_942_280_401),
            (1.0, 0.841_344_746_069, 0.241_970_724_519),
            (-1.0, 0.158_655_253_931, 0.241_970_724_519),
            (-3.0, 0.001_349_898_032, 0.004_431_848_412),
            (5.0, 0.999_999_713_348, 0.000_001_486_720),
        ] {
            let (ours, our_density) = normal(x);
            assert!((f64::from(ours) - distribution).abs() < 2e-7, "{x}: {ours}");
            assert!((f64::from(our_density) - density).abs() < 1e-7, "{x}: {our_density}");
        }
        assert!(normal(f32::NAN).0.is_nan());
    }
}
