//! Location-scale densities and what they say of binary questions about a value.
#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays may not be inlined with the instruction set's features"
)]

use lmgc_kernels::{LANES, Simd};

/// Densities that are asked.
pub(super) const N_DENSITIES: usize = 8;

/// log2 of the odds of what lies below a point are within ± this.
const MAX_LOG2_ODDS: f32 = 50.0;
const EXTREME: f32 = (1u64 << 50) as f32;
/// Every point, for lanes without a density: what [`exp2_roughly`] says of 0.
const NOWHERE: f32 = EXP2_COEFFICIENTS[0];
const EXP2_COEFFICIENTS: [f32; 4] = [0.999_945_4, 0.693_255_66, 0.242_356_51, 0.055_069_353];
/// Least difference of two points, so that logarithms stay finite.
const TINY: f32 = 1e-30;
/// What a question is answered with at most, in log2 of odds.
const MAX_ANSWER: f32 = 17.0;

/// Shape of a density with distribution function 1 / (1 + 2^-t(z)), t(z) = z * (linear + cubic * z^2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) linear: f32,
    pub(super) cubic: f32,
}

/// The normal distribution, within 1.4e-4 (Bowling, Khasawneh, Kaewkuekool and Cho, 2009), with t in units of ln 2.
pub(super) const NORMAL: Shape = Shape { linear: 2.304_85, cubic: 0.101_8 };
/// A logistic distribution of about the same width.
pub(super) const LOGISTIC: Shape = Shape { linear: 2.455_47, cubic: 1e-6 };

/// Scales that densities are built on.
pub(super) const N_SCALES: usize = 4;

/// What one of the densities is, whatever the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) shape: Shape,
    /// Around the prediction, or else around the value's base.
    pub(super) is_centred: bool,
    /// Which of a value's scales it takes, and the part of it.
    pub(super) scale: usize,
    pub(super) part: f32,
}

/// The kinds of all lanes.
pub(super) struct Kinds {
    /// Of -t.
    linear: [f32; LANES],
    cubic: [f32; LANES],
    is_centred: [f32; LANES],
    is_not_centred: [f32; LANES],
    /// What each scale's reciprocal counts for.
    parts: [[f32; LANES]; N_SCALES],
    has_opinion: [f32; LANES],
    /// What is below and above all numbers.
    bottom: [f32; LANES],
    top: [f32; LANES],
}

impl Kinds {
    pub(super) fn new(kinds: [Kind; N_DENSITIES]) -> Self {
        let none = [0.0; LANES];
        let mut all = Self {
            linear: none,
            cubic: none,
            is_centred: none,
            is_not_centred: none,
            parts: [none; N_SCALES],
            has_opinion: none,
            bottom: [NOWHERE; LANES],
            top: [NOWHERE; LANES],
        };
        for (lane, kind) in kinds.into_iter().enumerate() {
            (all.linear[lane], all.cubic[lane]) = (-kind.shape.linear, -kind.shape.cubic);
            let centred = if kind.is_centred { &mut all.is_centred } else { &mut all.is_not_centred };
            centred[lane] = 1.0;
            all.parts[kind.scale][lane] = 1.0 / kind.part;
            all.has_opinion[lane] = 1.0;
            (all.bottom[lane], all.top[lane]) = (EXTREME, 1.0 / EXTREME);
        }
        all
    }
}

/// The densities of one value, a lane each; lanes beyond [`N_DENSITIES`] answer 0.
#[derive(Clone, Copy)]
pub(super) struct Densities<S: Simd> {
    simd: S,
    mean: S::F,
    inverse_scale: S::F,
    linear: S::F,
    cubic: S::F,
    /// 1 in the lanes of densities, 0 in the others.
    has_opinion: S::F,
    pub(super) bottom: Point<S>,
    pub(super) top: Point<S>,
}

/// A point on the line as the densities see it: 2^-t of it.
pub(super) type Point<S> = <S as Simd>::F;

impl<S: Simd> Densities<S> {
    /// Densities of these kinds around a prediction and a base, with a value's scales.
    #[inline(always)]
    pub(super) fn new(simd: S, kinds: &Kinds, mean: f32, base: f32, scales: [f32; N_SCALES]) -> Self {
        // Each lane has one part that is not 0, so that the sums are exact.
        let mut inverse_scale = simd.zero();
        for k in 0..N_SCALES {
            inverse_scale = simd.fma(simd.splat(1.0 / scales[k]), simd.load(&kinds.parts[k]), inverse_scale);
        }
        Self {
            simd,
            mean: simd.fma(
                simd.splat(mean),
                simd.load(&kinds.is_centred),
                simd.mul(simd.splat(base), simd.load(&kinds.is_not_centred)),
            ),
            inverse_scale,
            linear: simd.load(&kinds.linear),
            cubic: simd.load(&kinds.cubic),
            has_opinion: simd.load(&kinds.has_opinion),
            bottom: simd.load(&kinds.bottom),
            top: simd.load(&kinds.top),
        }
    }

    /// The densities of -x where `is_mirrored`.
    #[inline(always)]
    pub(super) fn mirrored_if(self, is_mirrored: bool) -> Self {
        let sign = if is_mirrored { -1.0 } else { 1.0 };
        Self { mean: self.simd.mul(self.mean, self.simd.splat(sign)), ..self }
    }

    /// A point.
    #[inline(always)]
    pub(super) fn at(&self, x: f32) -> Point<S> {
        let simd = self.simd;
        // Far out z may be infinite, and t with it: their signs agree, since no shape's terms are zero.
        let z = simd.mul(simd.sub(simd.splat(x), self.mean), self.inverse_scale);
        exp2_roughly(simd, simd.mul(z, simd.fma(simd.mul(z, z), self.cubic, self.linear)))
    }

    /// log2 of the odds that a value in [a, b) is at `m` or above.
    #[inline(always)]
    pub(super) fn upper_odds(&self, a: Point<S>, m: Point<S>, b: Point<S>) -> S::F {
        // With u = 2^-t, F = 1 / (1 + u), the odds are (u_m - u_b) (1 + u_a) / ((u_a - u_m) (1 + u_b)): no cancellation.
        let simd = self.simd;
        let (one, tiny) = (simd.splat(1.0), simd.splat(TINY));
        let upper = simd.mul(simd.max(simd.sub(m, b), tiny), simd.add(one, a));
        let lower = simd.mul(simd.max(simd.sub(a, m), tiny), simd.add(one, b));
        self.log2_ratio(upper, lower)
    }

    /// log2 of the odds that a value is in [a, b).
    #[inline(always)]
    pub(super) fn inside_odds(&self, a: Point<S>, b: Point<S>) -> S::F {
        let simd = self.simd;
        let one = simd.splat(1.0);
        let inside = simd.max(simd.sub(a, b), simd.splat(TINY));
        let outside = simd.fma(simd.add(a, simd.splat(2.0)), b, one);
        // Lanes without a density see no difference between points, and would be sure of the outside.
        simd.mul(self.log2_ratio(inside, outside), self.has_opinion)
    }

    #[inline(always)]
    fn log2_ratio(&self, over: S::F, under: S::F) -> S::F {
        let simd = self.simd;
        let odds = log2_roughly(simd, simd.div(over, under));
        simd.min(simd.max(odds, simd.splat(-MAX_ANSWER)), simd.splat(MAX_ANSWER))
    }
}

/// 2^x, x within ±[`MAX_LOG2_ODDS`] (beyond, the value there), with a relative error below 2e-7.
///
/// n = round(x), r = x - n, Horner with one fused multiply-add a term, times 2^n.
#[inline(always)]
#[expect(clippy::approx_constant, reason = "fitted with the others, it is not ln 2")]
pub(super) fn exp2<S: Simd>(simd: S, x: S::F) -> S::F {
    const COEFFICIENTS: [f32; 5] = [0.001_326_472_7, 0.009_671_513, 0.055_507_336, 0.240_222_42, 0.693_147];
    let x = simd.min(simd.max(x, simd.splat(-MAX_LOG2_ODDS)), simd.splat(MAX_LOG2_ODDS));
    let n = simd.round(x);
    let r = simd.sub(x, n);
    let mut p = simd.splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = simd.fma(p, r, simd.splat(*c));
    }
    p = simd.fma(p, r, simd.splat(1.0));
    simd.mul(p, simd.exp2_integral(n))
}

/// 2^x as [`exp2`], with a relative error below 1.2e-04 and without steps: n = round(x), r = x - n,
/// ((c3 r + c2) r^2 + (c1 r + c0)) 2^n, each fused.
#[inline(always)]
fn exp2_roughly<S: Simd>(simd: S, x: S::F) -> S::F {
    let x = simd.min(simd.max(x, simd.splat(-MAX_LOG2_ODDS)), simd.splat(MAX_LOG2_ODDS));
    let n = simd.round(x);
    let r = simd.sub(x, n);
    let high = simd.fma(simd.splat(EXP2_COEFFICIENTS[3]), r, simd.splat(EXP2_COEFFICIENTS[2]));
    let low = simd.fma(simd.splat(EXP2_COEFFICIENTS[1]), r, simd.splat(EXP2_COEFFICIENTS[0]));
    simd.mul(simd.fma(high, simd.mul(r, r), low), simd.exp2_integral(n))
}

/// log2 of positive normal numbers, with an error below 1.5e-04 and without steps: of m = 1 + t,
/// t ((c3 t + c2) t^2 + (c1 t + c0)), each fused.
#[inline(always)]
fn log2_roughly<S: Simd>(simd: S, x: S::F) -> S::F {
    const C: [f32; 4] = [1.438_073_3, -0.67476666, 0.317_000_72, -0.080_307_305];
    let (exponent, mantissa) = simd.split_exponent(x);
    let t = simd.sub(mantissa, simd.splat(1.0));
    let high = simd.fma(simd.splat(C[3]), t, simd.splat(C[2]));
    let low = simd.fma(simd.splat(C[1]), t, simd.splat(C[0]));
    simd.fma(t, simd.fma(high, simd.mul(t, t), low), exponent)
}

#[cfg(test)]
mod tests {
    use lmgc_kernels::arch::scalar::Scalar;

    use super::*;

    fn densities(mean: f32, deviation: f32, shape: Shape) -> Densities<Scalar> {
        let kind = Kind { shape, is_centred: true, scale: 1, part: 1.0 };
        Densities::new(Scalar, &Kinds::new([kind; N_DENSITIES]), mean, 0.0, [1.0, deviation, 1.0, 1.0])
    }

    #[test]
    fn answers_are_those_of_the_normal_distribution() {
        let d = densities(3.0, 2.0, NORMAL);
        let (a, b) = (d.bottom, d.top);
        // P(x >= mean) = 1/2; P(x >= mean + deviation) = 0.158655.
        assert!(d.upper_odds(a, d.at(3.0), b)[0].abs() < 5e-4);
        let expected = (0.158_655f32 / 0.841_345).log2();
        assert!((d.upper_odds(a, d.at(5.0), b)[0] - expected).abs() < 2e-3);
        // P(within a deviation) = 0.682689.
        let expected = (0.682_689f32 / 0.317_311).log2();
        assert!((d.inside_odds(d.at(1.0), d.at(5.0))[0] - expected).abs() < 2e-3);
        // A narrow interval far out: the odds of its halves by the density's slope, z dz = 3 * 0.01.
        let odds = d.upper_odds(d.at(9.0), d.at(9.01), d.at(9.02))[0];
        let expected = -(3.0 * 0.005) * core::f32::consts::LOG2_E;
        assert!((odds - expected).abs() < 0.01, "{odds} {expected}");
        // Lanes without a density have no opinion.
        assert_eq!(d.upper_odds(a, d.at(5.0), b)[N_DENSITIES], 0.0);
        assert_eq!(d.inside_odds(d.at(1.0), d.at(5.0))[N_DENSITIES], 0.0);
        assert_eq!(d.upper_odds(d.bottom, d.at(0.0), d.top)[N_DENSITIES], 0.0);
    }

    #[test]
    fn answers_are_finite_everywhere() {
        let points = [f32::MIN, -1e30, -1.0, -1e-45, 0.0, 1e-38, 1.0, 1e30, f32::MAX];
        for mean in points {
            for deviation in [1e-30, 1.0, 1e30] {
                for shape in [NORMAL, LOGISTIC] {
                    let d = densities(mean, deviation, shape);
                    for (i, &a) in points.iter().enumerate() {
                        for (j, &m) in points.iter().enumerate().skip(i) {
                            for &b in &points[j..] {
                                let odds = d.upper_odds(d.at(a), d.at(m), d.at(b))[0];
                                assert!(odds.is_finite() && d.inside_odds(d.at(a), d.at(b))[0].is_finite());
                            }
                        }
                    }
                }
            }
        }
    }
}
