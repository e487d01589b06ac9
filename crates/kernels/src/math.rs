//! Elementary functions with one definition for every machine.

use crate::simd::Simd;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has 9 significant bits, so that n * LN_2_HIGH is exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Taylor coefficients 1/7! ... 1/2! for the reduced argument, |r| <= ln(2) / 2: relative error below 2^-23.
const EXP_COEFFICIENTS: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
/// Below this exp is 0: e^-87 is still normal, so no subnormal ever arises.
const EXP_MIN: f32 = -87.0;
const EXP_MAX: f32 = 88.0;

/// Minimax polynomial of 2^r for |r| <= 1/2 with constant term 1, highest power first.
#[expect(clippy::approx_constant, reason = "fitted with the others, it is not ln 2")]
const EXP2_COEFFICIENTS: [f32; 6] = [0.001_326_472_7, 0.009_671_513, 0.055_507_336, 0.240_222_42, 0.693_147, 1.0];
/// Below this 2^x is 0: 2^-125 is still normal, so no subnormal ever arises.
const EXP2_MIN: f32 = -126.0;

/// e^x. The argument is clamped to at most 88; below -87, and for NaN, the result is 0.
///
/// n = round(x * log2 e); r = fma(-n, ln2_low, fma(-n, ln2_high, x)); Horner with one fma a term; times 2^n.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::F) -> S::F {
    let min = simd.splat(EXP_MIN);
    let clamped = simd.min(simd.max(x, min), simd.splat(EXP_MAX));
    let n = simd.round(simd.mul(clamped, simd.splat(LOG2_E)));
    let r = simd.fma(n, simd.splat(-LN_2_HIGH), clamped);
    let r = simd.fma(n, simd.splat(-LN_2_LOW), r);
    let mut p = simd.splat(EXP_COEFFICIENTS[0]);
    for c in &EXP_COEFFICIENTS[1..] {
        p = simd.fma(p, r, simd.splat(*c));
    }
    let one = simd.splat(1.0);
    p = simd.fma(p, r, one);
    p = simd.fma(p, r, one);
    let y = simd.mul(p, simd.exp2_integral(n));
    // max() has turned NaN into the minimum, which counts as below it here.
    simd.select_lt(min, simd.max(x, min), y, simd.zero())
}

/// 2^x for x <= 0, with a relative error below 2e-7. At or below -126, and for NaN, the result is 0.
///
/// n = round(x); r = x - n (exact); Horner with one fma a term; times 2^n.
#[inline(always)]
pub fn exp2_negative<S: Simd>(simd: S, x: S::F) -> S::F {
    let min = simd.splat(EXP2_MIN);
    // max() turns NaN into the minimum, which counts as below it here.
    let clamped = simd.max(x, min);
    let n = simd.round(clamped);
    let r = simd.sub(clamped, n);
    let mut p = simd.splat(EXP2_COEFFICIENTS[0]);
    for c in &EXP2_COEFFICIENTS[1..] {
        p = simd.fma(p, r, simd.splat(*c));
    }
    simd.select_lt(min, clamped, simd.mul(p, simd.exp2_integral(n)), simd.zero())
}

/// Polynomial of log2(1 + t) / t for 0 <= t < 1, highest power first, fitted at Chebyshev nodes.
const LOG2_COEFFICIENTS: [f32; 7] =
    [0.014_865_402, -0.077_314_414, 0.191_330_31, -0.323_971_8, 0.472_915_6, -0.720_487_83, 1.442_662_7];

/// log2 of positive normal numbers, with an absolute error below 4e-6. Finite for all others.
///
/// x = m * 2^n, 1 <= m < 2, t = m - 1: fma(t, p(t), n), p by Horner with one fma a term.
#[inline(always)]
pub fn log2<S: Simd>(simd: S, x: S::F) -> S::F {
    let (exponent, mantissa) = simd.split_exponent(x);
    let t = simd.sub(mantissa, simd.splat(1.0));
    let mut p = simd.splat(LOG2_COEFFICIENTS[0]);
    for c in &LOG2_COEFFICIENTS[1..] {
        p = simd.fma(p, t, simd.splat(*c));
    }
    simd.fma(t, p, exponent)
}

/// x / (1 + e^-x), each operation rounded to f32.
#[inline(always)]
pub(crate) fn silu<S: Simd>(simd: S, x: S::F) -> S::F {
    let one = simd.splat(1.0);
    simd.div(x, simd.add(one, exp(simd, simd.sub(simd.zero(), x))))
}

/// 2 sqrt(2 / pi), and that times 0.044715.
const GELU_LINEAR: f32 = 1.595_769_2;
const GELU_CUBIC: f32 = 0.071_354_814;

/// GELU in the tanh form of GPT-2 (Hendrycks and Gimpel, 2016): x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 x^3).
///
/// Since (1 + tanh(u)) / 2 = 1 / (1 + e^-2u), it is x / (1 + e^(-x * t)), t = fma(x * x, 0.071354814, 1.5957692), which
/// is finite for every finite x: t may be infinite, but x * t is never 0 * infinity, and [`exp`] is bounded.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(simd: S, x: S::F) -> S::F {
    let t = simd.fma(simd.mul(x, x), simd.splat(GELU_CUBIC), simd.splat(GELU_LINEAR));
    let e = exp(simd, simd.sub(simd.zero(), simd.mul(x, t)));
    simd.div(x, simd.add(simd.splat(1.0), e))
}

/// sin and cos of an angle in f64, for the RoPE tables: + - x / alone, so equal on every machine. Error below 1e-9 for
/// |angle| up to 2^30.
pub(crate) fn sin_cos(angle: f64) -> (f64, f64) {
    // pi/2 in two parts, the first with 33 significant bits so that its product with a quadrant below 2^20 is exact.
    const HALF_PI_HIGH: f64 = 1.570_796_326_734_125_614_166_259_765_625;
    const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;
    let quadrant = (angle * core::f64::consts::FRAC_2_PI).round_ties_even();
    let r = (angle - quadrant * HALF_PI_HIGH) - quadrant * HALF_PI_LOW;
    let r2 = r * r;
    // Taylor series to r^17 and r^18; |r| <= pi/4.
    let (mut sin, mut cos) = (0.0, 0.0);
    for k in (1..=8).rev() {
        let k = f64::from(k);
        sin = (1.0 + sin) * (-r2 / ((2.0 * k) * (2.0 * k + 1.0)));
        cos = (1.0 + cos) * (-r2 / ((2.0 * k - 1.0) * (2.0 * k)));
    }
    let (sin, cos) = (r + r * sin, 1.0 + cos);
    match (quadrant as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// e^x in f64 by + - x / alone, for the RoPE frequencies. Relative error below 1e-14 for |x| <= 700.
pub(crate) fn exp_f64(x: f64) -> f64 {
    let n = (x * core::f64::consts::LOG2_E).round_ties_even();
    // ln 2 with 32 significant bits, and the rest.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.0;
    for k in (1..=20).rev() {
        p = 1.0 + p * (r / f64::from(k));
    }
    p * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// Natural logarithm of a positive normal f64 by + - x / alone. Relative error below 1e-14 away from 1.
pub fn ln_f64(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > core::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), |argument| < 0.172.
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let mut sum = 0.0;
    for k in (0..=15).rev() {
        sum = sum * z2 + 1.0 / f64::from(2 * k + 1);
    }
    exponent as f64 * core::f64::consts::LN_2 + 2.0 * z * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::scalar::Scalar;
    use crate::simd::Simd;

    fn exp1(x: f32) -> f32 {
        exp(Scalar, Scalar.splat(x))[0]
    }

    #[test]
    fn exp_is_accurate_and_defined_everywhere() {
        let mut worst = 0.0f64;
        for i in -86_900..=87_900 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp1(x)) / exact - 1.0).abs());
        }
        assert!(worst < 1.5e-7, "{worst}");
        assert_eq!(exp1(0.0), 1.0);
        assert_eq!(exp1(-87.0), 0.0);
        assert_eq!(exp1(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp1(f32::NAN), 0.0);
        assert_eq!(exp1(f32::INFINITY), exp1(88.0));
    }

    #[test]
    fn exp2_is_accurate_and_defined_everywhere() {
        let exp2 = |x| exp2_negative(Scalar, Scalar.splat(x))[0];
        let mut worst = 0.0f64;
        for i in 0..126_000 {
            let x = -i as f32 / 1000.0;
            worst = worst.max((f64::from(exp2(x)) / f64::from(x).exp2() - 1.0).abs());
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2(-3.0), 0.125);
        assert_eq!(exp2(-126.0), 0.0);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2(f32::NAN), 0.0);
        assert!(exp2(-125.99).is_normal());
    }

    #[test]
    fn log2_is_accurate_and_finite() {
        let log2 = |x| log2(Scalar, Scalar.splat(x))[0];
        let mut worst = 0.0f64;
        for i in 0..100_000 {
            let x = f32::from_bits(0x0080_0000 + i * 21_000);
            worst = worst.max((f64::from(log2(x)) - f64::from(x).log2()).abs());
        }
        assert!(worst < 1.2e-5, "{worst}");
        assert_eq!([log2(1.0), log2(0.125), log2(65536.0)], [0.0, -3.0, 16.0]);
        assert!([0.0, -1.0, f32::INFINITY, f32::NAN, 1e-45].into_iter().all(|x| log2(x).is_finite()));
    }

    #[test]
    fn silu_of_known_values() {
        let silu1 = |x| silu(Scalar, Scalar.splat(x))[0];
        assert_eq!(silu1(0.0), 0.0);
        assert!((silu1(1.0) - 0.731_058_6).abs() < 1e-6);
        assert!(silu1(-200.0).abs() < 1e-30);
        assert_eq!(silu1(200.0), 200.0);
    }

    #[test]
    fn gelu_agrees_with_tanh_in_f64_and_is_finite_for_finite_input() {
        let gelu1 = |x| gelu_tanh(Scalar, Scalar.splat(x))[0];
        for i in -12_000..=12_000 {
            let x = i as f32 / 1000.0;
            let wide = f64::from(x);
            let u = (2.0 / core::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let exact = 0.5 * wide * (1.0 + u.tanh());
            assert!((f64::from(gelu1(x)) - exact).abs() < 1e-6 * exact.abs().max(0.1), "{x}");
        }
        for x in [0.0, -0.0, 1e-30, 1e4, 1e18, 1e30, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
            assert!(gelu1(-x).is_finite() && gelu1(-x).abs() <= 2.1, "{x}");
            assert!(gelu1(x) >= x / 2.0 && gelu1(x) <= x, "{x}");
        }
    }

    #[test]
    fn f64_functions_agree_with_the_standard_library() {
        for i in 0..200_000 {
            let x = f64::from(i) * 0.731;
            let (sin, cos) = sin_cos(x);
            assert!((sin - x.sin()).abs() < 1e-9 && (cos - x.cos()).abs() < 1e-9, "{x}");
        }
        for i in -7000..7000 {
            let x = f64::from(i) / 10.0;
            assert!((exp_f64(x) / x.exp() - 1.0).abs() < 1e-12, "{x}");
        }
        for i in 1..100_000 {
            let x = f64::from(i) * 12.5;
            assert!((ln_f64(x) - x.ln()).abs() < 1e-13 * x.ln().abs().max(1.0), "{x}");
        }
    }
}
