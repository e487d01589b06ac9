//! Loops over slices, compiled for the widest vectors of the machine.

use pulp::Arch;

/// How many partial sums a sum has: element `i` goes to partial sum `i % N_LANES`.
const N_LANES: usize = 16;

/// Runs a loop compiled for the instruction sets that `pulp` finds. What it calls must be `#[inline(always)]`.
pub(super) fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(run)
}

/// The sum of `of(x)`, in 16 partial sums that are then added pairwise.
#[inline(always)]
pub(super) fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    sum_of_pairs(x, x, |x, _| of(x))
}

/// The sum of `of(x, y)` over two slices of one length, in the order of [`sum`].
#[inline(always)]
pub(super) fn sum_of_pairs(x: &[f32], y: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; N_LANES];
    let (x_chunks, x_rest) = x.as_chunks::<N_LANES>();
    let (y_chunks, y_rest) = y.as_chunks::<N_LANES>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += of(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += of(x, y);
    }
    let mut n = N_LANES / 2;
    while n > 0 {
        for lane in 0..n {
            lanes[lane] += lanes[lane + n];
        }
        n /= 2;
    }
    lanes[0]
}

/// `e^x` for `x <= 0` or little above, with a relative error below 2e-7; 0 below about -87.
///
/// `2^n * 2^f` with `f` in -1/2..1/2, `2^f` by its Taylor polynomial of degree 7.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to an integer.
    const ROUNDER: f32 = 12_582_912.0;
    let scaled = (x * std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
    let shifted = scaled + ROUNDER;
    let whole = shifted - ROUNDER;
    // ln 2 in two parts, so that little is lost where x is large.
    let rest = (x.clamp(-87.3, 87.3) - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut power = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * rest + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127);
    let two_to_whole = f32::from_bits(exponent << 23);
    if x < -87.3 { 0.0 } else { power * two_to_whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_function_is_close() {
        let mut worst = 0.0f64;
        for i in -87_000..1_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - expected).abs() / expected);
        }
        assert!(worst < 2e-7, "{worst:e}");
        assert_eq!((exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_of_every_length() {
        for n in 0..70 {
            let x: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(sum(&x, |x| x), (n * (n + 1) / 2) as f32);
            assert_eq!(sum_of_pairs(&x, &x, |x, y| x * y), (n * (n + 1) * (2 * n + 1) / 6) as f32);
        }
    }
}
