//! How deviations from the predictions are distributed: a cumulative distribution, counted as values are coded.
//!
//! It starts as a normal distribution with heavier tails. What it says is a table of whole numbers, built from time to
//! time from counts, so that an interval costs two look-ups. The counts are of bins of a quarter of a standard deviation, or of a
//! sixteenth, whichever would have coded the values so far in fewer bits: sparse gradients have sharp edges.

use lmgc_coder::INTERVAL_PRECISION_BITS;
use lmgc_kernels::arch::scalar::Scalar;
use lmgc_kernels::{LANES, Simd, ln_f64};

use super::scales::exp2;

/// Steps of the table in a standard deviation.
pub(super) const STEPS_PER_DEVIATION: i32 = 64;
/// The table covers ± so many standard deviations; what is beyond is an escape.
const MAX_DEVIATIONS: i32 = 8;
/// Steps of the table.
pub(super) const N_STEPS: i32 = 2 * MAX_DEVIATIONS * STEPS_PER_DEVIATION;
const N: usize = N_STEPS as usize;
/// Every so many steps have a probability of at least 2^-18. An interval that is to be coded is longer.
const STEPS_PER_FLOOR: usize = 3;
/// Steps of a bin, fine or coarse.
const FINE_STEPS: usize = 4;
const COARSE_STEPS: usize = 16;
const N_BINS: usize = N / FINE_STEPS;
/// The sum of all probabilities.
pub(super) const TOTAL: u32 = 1 << INTERVAL_PRECISION_BITS;
/// Entries of the guide from probabilities to steps.
const GUIDE_BITS: u32 = 10;
const GUIDE_SHIFT: u32 = INTERVAL_PRECISION_BITS - GUIDE_BITS;
/// What the first distribution counts for, in values.
const PRIOR_COUNT: f32 = 100.0;
/// The part of the first distribution with tails twice as wide.
const WIDE_PART: f32 = 0.06;
/// What the first distribution gives to a step at least.
const LEAST_STEP: f32 = 1e-6;
/// The first escapes, as a part and as what it counts for.
const PRIOR_ESCAPES: f32 = 0.02;
const MIN_ESCAPES: f32 = 0.0001;
/// The table is built anew after this many values, and when their number has doubled, but not more seldom than every
/// `MAX_PERIOD` values.
const FIRST_PERIOD: u32 = 64;
const MAX_PERIOD: u32 = 4096;
/// Counts are halved here: a distribution may change.
const MAX_COUNT: u32 = 1 << 16;

/// The distribution before any value.
pub(super) struct Prior {
    /// Of each step; their sum is 1, about.
    steps: Box<[f32; N]>,
}

impl Prior {
    pub(super) fn new() -> Self {
        // log2(e) / 2.
        const NORMAL: f32 = 0.721_347_5;
        let density = |z: f32| {
            let mut lanes = [0.0; LANES];
            Scalar.store(exp2(Scalar, Scalar.splat(-NORMAL * z * z)), &mut lanes);
            lanes[0]
        };
        let mut steps: Box<[f32; N]> = Box::new([0.0; N]);
        for (i, step) in steps.iter_mut().enumerate() {
            let z = (i as f32 + 0.5 - (N / 2) as f32) / STEPS_PER_DEVIATION as f32;
            *step = (1.0 - WIDE_PART) * density(z) + WIDE_PART * 0.5 * density(0.5 * z);
        }
        let sum: f32 = steps.iter().sum();
        steps.iter_mut().for_each(|step| *step = (*step / sum).max(LEAST_STEP));
        Self { steps }
    }
}

/// What is known of the distribution.
pub(super) struct Shape {
    /// Probability below each step, in 1 / [`TOTAL`]; the rest is that of an escape.
    cumulative: Box<[u32; N + 1]>,
    /// By a probability's upper bits: the last step that is not above it.
    guide: Box<[u16; 1 << GUIDE_BITS]>,
    counts: [u32; N_BINS],
    n_escapes: u32,
    n_counted: u32,
    next: u32,
    /// The counts when the table was built, and what fine and coarse bins said then, a part of 1 each.
    counts_before: [u32; N_BINS],
    fine: [f32; N_BINS],
    coarse: [f32; N_BINS],
    /// Bits that fine bins would have saved.
    fine_gain: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            cumulative: Box::new([0; N + 1]),
            guide: Box::new([0; 1 << GUIDE_BITS]),
            counts: [0; N_BINS],
            n_escapes: 0,
            n_counted: 0,
            next: 0,
            counts_before: [0; N_BINS],
            fine: [1.0; N_BINS],
            coarse: [1.0; N_BINS],
            fine_gain: 0.0,
        }
    }
}

/// The step of a boundary that is so many steps from the prediction, which must be a number.
#[inline(always)]
pub(super) fn step(steps: f32) -> i32 {
    // f32 has no fractions from here on: adding it rounds to a whole number, which is in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let step = (steps + (N_STEPS / 2) as f32).clamp(0.0, N_STEPS as f32);
    (step + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32
}

impl Shape {
    /// Forgets everything.
    pub(super) fn reset(&mut self, prior: &Prior) {
        self.counts = [0; N_BINS];
        (self.n_escapes, self.n_counted, self.next) = (0, 0, FIRST_PERIOD);
        (self.counts_before, self.fine_gain) = ([0; N_BINS], 0.0);
        self.build(prior);
    }

    /// Probability below a step.
    #[inline(always)]
    pub(super) fn below(&self, step: i32) -> u32 {
        self.cumulative[step.clamp(0, N_STEPS) as usize]
    }

    /// Where escapes begin.
    #[inline(always)]
    pub(super) fn escape(&self) -> u32 {
        self.cumulative[N]
    }

    /// A step that is not above a probability, and not far below it.
    #[inline(always)]
    pub(super) fn guess(&self, probability: u32) -> i32 {
        i32::from(self.guide[(probability >> GUIDE_SHIFT) as usize % (1 << GUIDE_BITS)])
    }

    /// Counts a value by the step that it is in, or an escape.
    #[inline(always)]
    pub(super) fn count(&mut self, prior: &Prior, step: Option<i32>) {
        match step {
            Some(step) => self.counts[(step as usize / FINE_STEPS).min(N_BINS - 1)] += 1,
            None => self.n_escapes += 1,
        }
        self.n_counted += 1;
        if self.n_counted >= self.next {
            self.learn(prior);
        }
    }

    #[inline(never)]
    fn learn(&mut self, prior: &Prior) {
        for (at, &count) in self.counts.iter().enumerate() {
            let n_new = f64::from(count - self.counts_before[at]);
            if n_new > 0.0 {
                self.fine_gain += n_new * ln_f64(f64::from(self.fine[at]) / f64::from(self.coarse[at]));
            }
        }
        if self.n_counted >= MAX_COUNT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.n_escapes /= 2;
            self.n_counted = self.n_escapes + self.counts.iter().sum::<u32>();
        }
        self.next = self.n_counted + self.n_counted.min(MAX_PERIOD);
        self.counts_before = self.counts;
        self.build(prior);
    }

    /// What bins of so many steps say of each step, and their sum.
    fn weights(&self, prior: &Prior, bin_steps: usize) -> ([f32; N], f32) {
        // How much likelier each bin is than the first distribution says.
        let n_inside = (self.n_counted - self.n_escapes) as f32;
        let mut ratios = [0.0f32; N_BINS];
        let bins = self.counts.chunks_exact(bin_steps / FINE_STEPS).zip(prior.steps.chunks_exact(bin_steps));
        for (ratio, (counts, steps)) in ratios.iter_mut().zip(bins) {
            let (count, expected) = (counts.iter().sum::<u32>() as f32, steps.iter().sum::<f32>());
            *ratio = (count + PRIOR_COUNT * expected) / ((n_inside + PRIOR_COUNT) * expected);
        }
        // Between the bins' middles along straight lines.
        let n_bins = N / bin_steps;
        let mut weights = [0.0f32; N];
        let mut sum = 0.0;
        for bin in 0..n_bins {
            let (before, here, after) = (ratios[bin.saturating_sub(1)], ratios[bin], ratios[(bin + 1).min(n_bins - 1)]);
            for at in 0..bin_steps {
                let i = bin * bin_steps + at;
                let from_middle = (at as f32 + 0.5) / bin_steps as f32 - 0.5;
                let other = if from_middle < 0.0 { before } else { after };
                weights[i] = prior.steps[i] * (here + (other - here) * from_middle.abs());
                sum += weights[i];
            }
        }
        (weights, sum)
    }

    fn build(&mut self, prior: &Prior) {
        let (fine, coarse) = (self.weights(prior, FINE_STEPS), self.weights(prior, COARSE_STEPS));
        for (bins, (weights, sum)) in [(&mut self.fine, &fine), (&mut self.coarse, &coarse)] {
            for (bin, weights) in bins.iter_mut().zip(weights.chunks_exact(FINE_STEPS)) {
                *bin = weights.iter().sum::<f32>() / sum;
            }
        }
        let (weights, sum) = if self.fine_gain > 0.0 { fine } else { coarse };
        let escapes = (self.n_escapes as f32 + PRIOR_ESCAPES) / (self.n_counted as f32 + 1.0);
        let escapes = (escapes.clamp(MIN_ESCAPES, 0.5) * TOTAL as f32) as u32;
        let floors = (N / STEPS_PER_FLOOR) as u32;
        let factor = (TOTAL - escapes - floors) as f32 / sum;
        let mut below = 0.0f32;
        for (i, weight) in weights.iter().enumerate() {
            let floor = (i / STEPS_PER_FLOOR) as u32;
            self.cumulative[i] = ((below * factor) as u32).min(TOTAL - escapes - floors) + floor;
            below += weight;
        }
        self.cumulative[N] = TOTAL - escapes;
        let mut step = 0;
        for (at, guide) in self.guide.iter_mut().enumerate() {
            while step < N - 1 && self.cumulative[step + 1] <= (at as u32) << GUIDE_SHIFT {
                step += 1;
            }
            *guide = step as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_distribution_is_about_normal() {
        let prior = Prior::new();
        let mut shape = Shape::default();
        shape.reset(&prior);
        let below = |z: f32| f64::from(shape.below(step(z * 64.0))) / f64::from(TOTAL);
        for (z, expected) in [(0.0, 0.5), (-1.0, 0.158_7), (1.0, 0.841_3), (2.0, 0.977_2)] {
            assert!((below(z) - expected).abs() < 0.03, "{z} {}", below(z));
        }
        assert_eq!(shape.below(0), 0);
        assert!(shape.escape() < TOTAL);
    }

    #[test]
    fn every_interval_has_a_probability_and_is_guessed() {
        let prior = Prior::new();
        let mut shape = Shape::default();
        shape.reset(&prior);
        for round in 0..3 {
            for start in 0..=N_STEPS - 4 {
                assert!(shape.below(start) < shape.below(start + 4), "{round} {start}");
            }
            for probability in (0..shape.escape()).step_by(7) {
                let step = shape.guess(probability);
                let entry = probability >> GUIDE_SHIFT << GUIDE_SHIFT;
                assert!(shape.below(step) <= probability && entry < shape.below(step + 1));
            }
            // Then all is in one bin, and then all beyond.
            for _ in 0..200_000 {
                shape.count(&prior, [None, Some(900), None][round]);
            }
        }
        assert!(shape.escape() > TOTAL / 3);
    }

    #[test]
    fn a_distribution_is_learned() {
        let prior = Prior::new();
        let mut shape = Shape::default();
        shape.reset(&prior);
        // Uniform between 0 and 2 standard deviations.
        for i in 0..20_000 {
            shape.count(&prior, Some(N_STEPS / 2 + i % 128));
        }
        let share = |from: i32, to: i32| f64::from(shape.below(to) - shape.below(from)) / f64::from(TOTAL);
        let zero = N_STEPS / 2;
        assert!((share(zero + 32, zero + 64) - 0.25).abs() < 0.02);
        assert!(share(0, zero - 32) < 0.01);
    }
}
