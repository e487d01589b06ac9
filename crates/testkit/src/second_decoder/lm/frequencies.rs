//! The frequencies of `docs/determinism.md`, section 9.

use super::super::Refusal;
use super::super::streams::PRECISION;

/// Integer weights to frequencies.
pub(super) fn frequencies(weights: &[u32]) -> Result<Vec<u64>, Refusal> {
    let n = weights.len() as u64;
    let sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    if n == 0 || n > 1 << (PRECISION - 1) {
        return Err(Refusal::corrupt("no symbol, or too many"));
    }
    let weight = |i: usize| if sum == 0 { 1 } else { u64::from(weights[i]) };
    let m = (((1 << PRECISION) - n) << 32) / if sum == 0 { n } else { sum };
    // A weight is not above the sum, so that no product is above 2^60.
    let mut frequencies: Vec<u64> = (0..weights.len()).map(|i| 1 + ((weight(i) * m) >> 32)).collect();
    let missing = (1 << PRECISION) - frequencies.iter().sum::<u64>();
    let largest = (1..weights.len()).fold(0, |best, i| if weights[i] > weights[best] { i } else { best });
    frequencies[largest] += missing;
    Ok(frequencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_add_up() {
        for weights in [&[0, 0, 0][..], &[1 << 30], &[5, 1 << 30, 1 << 30, 0], &[u32::MAX; 300]] {
            let frequencies = frequencies(weights).unwrap();
            assert_eq!(frequencies.iter().sum::<u64>(), 1 << PRECISION);
            assert!(frequencies.iter().all(|&f| f > 0));
        }
    }
}
