//! Random numbers: one ChaCha8 stream for each use, keyed by the seed and by what it is for.
//!
//! A stream belongs to a purpose and two numbers (say, parameter 3, or image 17 of the test split), so that drawing more
//! for one use never shifts another, and any image or epoch can be had without those before it. The draws are written
//! out here because the distributions of the `rand` crate may change between releases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Purpose {
    /// Initial weights; the numbers are the parameter's place in the order, and 0.
    Initialization = 1,
    /// The order of the training images; the numbers are the epoch, and 0.
    Shuffle = 2,
    /// The look of a procedural class; the numbers are the class, and 0.
    SyntheticClass = 3,
    /// A procedural image; the numbers are the split and the index.
    SyntheticImage = 4,
    /// How a training image is shifted, turned and mirrored; the numbers are the epoch and the index.
    Augmentation = 5,
    /// Which values dropout keeps; the numbers are the step, and 0.
    Dropout = 6,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a purpose: the ChaCha8 key is `seed`, `purpose`, `a` and `b` as little-endian 64-bit words.
    pub(crate) fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut key = [0u8; 32];
        for (word, bytes) in [seed, purpose as u64, a, b].into_iter().zip(key.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A multiple of 2^-24, uniform in `0 <= x < 1`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Uniform in `low <= x <= high` (the upper end only by rounding).
    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Nearly normal with mean 0 and variance 1: the sum of four uniform numbers, scaled. Bounded by 3.47.
    pub(crate) fn bell(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 3.0f32.sqrt()
    }

    /// Normal with mean 0 and variance 1, by Box and Muller's method (one of the two numbers it makes).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * f64::from(1.0 - self.unit()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(self.unit())).cos()) as f32
    }

    /// Uniform in `0..n`, without bias: draws that fall in the incomplete last block are thrown away.
    ///
    /// # Panics
    /// If `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below 0");
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let draw = self.0.next_u64();
            if draw < limit {
                return draw % n;
            }
        }
    }

    /// The numbers `0..n` in random order (Fisher-Yates, from the end).
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_each_part_of_their_key() {
        let first = |seed, purpose, a, b| Stream::new(seed, purpose, a, b).0.next_u64();
        let one = first(1, Purpose::Shuffle, 0, 0);
        assert_eq!(one, first(1, Purpose::Shuffle, 0, 0));
        assert_ne!(one, first(2, Purpose::Shuffle, 0, 0));
        assert_ne!(one, first(1, Purpose::Initialization, 0, 0));
        assert_ne!(one, first(1, Purpose::Shuffle, 1, 0));
        assert_ne!(one, first(1, Purpose::Shuffle, 0, 1));
    }

    #[test]
    fn draws_lie_in_their_ranges_and_have_their_moments() {
        let mut stream = Stream::new(0, Purpose::SyntheticImage, 0, 0);
        let n = 40_000;
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for _ in 0..n {
            let x = stream.uniform(-2.0, 3.0);
            assert!((-2.0..=3.0).contains(&x));
            assert!(stream.below(7) < 7);
            let x = f64::from(stream.bell());
            assert!(x.abs() < 3.47);
            sum += x;
            squares += x * x;
        }
        assert!((sum / f64::from(n)).abs() < 0.03);
        assert!((squares / f64::from(n) - 1.0).abs() < 0.03);
        let normal: Vec<f64> = (0..n).map(|_| f64::from(stream.normal())).collect();
        let moment = |power| normal.iter().map(|x| x.powi(power)).sum::<f64>() / f64::from(n);
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.03 && (moment(4) - 3.0).abs() < 0.2);
    }

    #[test]
    fn a_permutation_holds_each_number_once() {
        let order = Stream::new(3, Purpose::Shuffle, 0, 0).permutation(1437);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1437).collect::<Vec<_>>());
        assert_ne!(order, sorted);
        assert!(Stream::new(3, Purpose::Shuffle, 0, 0).permutation(0).is_empty());
    }
}
