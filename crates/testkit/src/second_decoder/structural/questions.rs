//! Section 13: questions.

use super::super::streams::Counter;
use super::math::squash;

/// Counters in each of the three arrays.
const COUNTERS: usize = 8192;

/// Kinds of mixed questions.
#[derive(Clone, Copy)]
pub(super) enum Mixed {
    Zero = 0,
    LowestBit = 1,
}

/// The weights of one kind.
#[derive(Clone, Copy)]
struct Weights {
    weights: [f32; 6],
    n: u32,
}

/// What a mixed question is answered from.
pub(super) struct Opinions {
    counters: [usize; 3],
    opinions: [f32; 6],
}

pub(super) struct Questions {
    counters: [Vec<Counter>; 3],
    weights: [Weights; 2],
}

impl Questions {
    pub(super) fn new() -> Self {
        let counters = || vec![Counter::NEW; COUNTERS];
        let weights = Weights { weights: [0.4, 0.2, 0.1, 0.1, 0.0, 0.0], n: 0 };
        Self { counters: [counters(), counters(), counters()], weights: [weights; 2] }
    }

    /// What a counter of the first array says.
    pub(super) fn plain(&self, counter: usize) -> u32 {
        self.counters[0].get(counter).map_or(1 << 15, |counter| counter.probability())
    }

    pub(super) fn count_plain(&mut self, counter: usize, answer: bool) {
        if let Some(counter) = self.counters[0].get_mut(counter) {
            counter.count(answer);
        }
    }

    /// The probability of a one, and what is needed to learn from the answer.
    pub(super) fn mixed(&self, kind: Mixed, given: [f32; 2], counters: [usize; 3]) -> (u32, Opinions) {
        let mut opinions = [given[0], given[1], 0.0, 0.0, 0.0, 0.3];
        for ((array, &place), opinion) in self.counters.iter().zip(&counters).zip(&mut opinions[2..]) {
            *opinion = array.get(place).map_or(0.0, |counter| counter.opinion());
        }
        let Weights { weights, .. } = self.weights[kind as usize];
        let x = weights.iter().zip(opinions).fold(0.0, |x, (weight, opinion)| x + weight * opinion);
        (squash(x), Opinions { counters, opinions })
    }

    pub(super) fn learn(&mut self, kind: Mixed, p: u32, said: &Opinions, answer: bool) {
        let Weights { weights, n } = &mut self.weights[kind as usize];
        let error = f32::from(u8::from(answer)) - p as f32 / 65536.0;
        let rate = 0.0007 * (1.0 + 20.0 / (1.0 + *n as f32 / 50.0));
        for (weight, opinion) in weights.iter_mut().zip(said.opinions) {
            *weight += rate * error * opinion;
        }
        *n = (*n + 1).min(4095);
        for (array, &place) in self.counters.iter_mut().zip(&said.counters) {
            if let Some(counter) = array.get_mut(place) {
                counter.count(answer);
            }
        }
    }
}

/// The counter of a context.
pub(super) fn hash(x: u32, kind: Mixed) -> usize {
    let y = x.wrapping_mul(0x85eb_ca6b) ^ (kind as u32).wrapping_mul(0x9e37_79b1);
    ((y ^ y >> 15).wrapping_mul(0xc2b2_ae35) >> 19) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 16.
    #[test]
    fn examples() {
        let hashes = [hash(7, Mixed::Zero), hash(100, Mixed::Zero), hash(5000, Mixed::LowestBit)];
        assert_eq!(hashes, [3991, 5008, 5228]);
    }
}
