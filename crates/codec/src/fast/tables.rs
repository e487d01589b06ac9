//! Frequencies of a block's symbols, and how they are sent.

use lmgc_coder::{RANS_SLOTS, RANS_STATES, RansFrequencies, rans_frequencies};

use super::corrupt;
use super::symbols::{ESCAPE, FIRST_EXPONENT, LAST_EXPONENT};
use crate::Error;
use crate::bits::{BitPacker, BitUnpacker};

/// Contexts of values: where in an octave their scale lies.
pub(super) const N_CONTEXTS: usize = 4;
/// Blocks of fewer values have one context only.
const MIN_VALUES_FOR_CONTEXTS: usize = 1 << 16;
/// States of the coder in a block with one context: all of them would be a good part of what it comes to.
const FEW_STATES: usize = 16;
/// Bits of a frequency's number of bits.
const LEN_BITS: u32 = 4;
const EXPONENT_BITS: u32 = 6;
/// Exponents of fewer than one in 2^this values are left to escapes: their symbols would take 1 / 2^11 each from all others.
const RARE_SHIFT: u32 = 12;

/// How many contexts a block should have.
pub(super) fn n_contexts(n_values: usize) -> usize {
    if n_values < MIN_VALUES_FOR_CONTEXTS { 1 } else { N_CONTEXTS }
}

/// The states of a block's coder.
pub(super) fn n_states(n_contexts: usize) -> usize {
    if n_contexts > 1 { RANS_STATES } else { FEW_STATES }
}

/// The frequencies of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    /// One or [`N_CONTEXTS`].
    pub(super) values: Vec<RansFrequencies>,
    pub(super) scales: RansFrequencies,
    /// Residual exponents that have symbols.
    pub(super) first: u8,
    pub(super) last: u8,
}

impl Tables {
    /// Frequencies for symbols that occur this often, the symbols of rare exponents escaped; and how many escapes there are then.
    pub(super) fn new(mut values: Vec<[u32; 256]>, scales: &[u32; 256]) -> (Self, usize) {
        let n_values: u32 = values.iter().flatten().sum();
        let count = |exponent: &u8| {
            let symbols = 4 * usize::from(*exponent)..4 * usize::from(*exponent) + 4;
            values.iter().flat_map(|counts| &counts[symbols.clone()]).sum::<u32>()
        };
        let is_common = |exponent: &u8| count(exponent) > n_values >> RARE_SHIFT;
        let first = (FIRST_EXPONENT..=LAST_EXPONENT).find(is_common).unwrap_or(FIRST_EXPONENT);
        let last = (first..=LAST_EXPONENT).rfind(is_common).unwrap_or(first);
        let mut n_escapes = 0;
        for counts in &mut values {
            for symbol in 4..256 {
                if !(4 * usize::from(first)..4 * usize::from(last) + 4).contains(&symbol) {
                    counts[usize::from(ESCAPE)] += std::mem::take(&mut counts[symbol]);
                }
            }
            n_escapes += counts[usize::from(ESCAPE)] as usize;
        }
        let values = values.iter().map(rans_frequencies).collect();
        (Self { values, scales: rans_frequencies(scales), first, last }, n_escapes)
    }

    /// The first and the last symbol that stands for a value.
    pub(super) fn range(&self) -> [u8; 2] {
        [4 * self.first, 4 * self.last + 3]
    }

    /// Symbols that may have a frequency.
    fn symbols(&self) -> impl Iterator<Item = usize> {
        let [first, last] = self.range();
        [0, usize::from(ESCAPE)].into_iter().chain(usize::from(first)..=usize::from(last))
    }

    pub(super) fn pack(&self) -> Vec<u8> {
        let mut bits = BitPacker::default();
        bits.push(u64::from(self.values.len() > 1), 1);
        bits.push(self.first.into(), EXPONENT_BITS);
        bits.push(self.last.into(), EXPONENT_BITS);
        for frequencies in &self.values {
            let occurs = frequencies.iter().any(|&frequency| frequency > 0);
            bits.push(occurs.into(), 1);
            if occurs {
                self.symbols().for_each(|symbol| push(&mut bits, frequencies[symbol]));
            }
        }
        let largest = self.scales.iter().rposition(|&frequency| frequency > 0).unwrap_or(0);
        bits.push(largest as u64, 8);
        self.scales[..=largest].iter().for_each(|&frequency| push(&mut bits, frequency));
        bits.finish()
    }

    pub(super) fn unpack(bytes: &[u8]) -> Result<Self, Error> {
        let mut bits = BitUnpacker::new(bytes);
        let n_contexts = if bits.take(1) == 1 { N_CONTEXTS } else { 1 };
        let first = bits.take(EXPONENT_BITS) as u8;
        let last = bits.take(EXPONENT_BITS) as u8;
        if !(FIRST_EXPONENT..=last).contains(&first) || last > LAST_EXPONENT {
            return Err(corrupt(format!("exponents from {first} to {last}")));
        }
        let mut tables = Self { values: Vec::new(), scales: [0; 256], first, last };
        for _ in 0..n_contexts {
            let mut frequencies = [0; 256];
            if bits.take(1) == 1 {
                for symbol in tables.symbols() {
                    frequencies[symbol] = pull(&mut bits);
                }
                check(&frequencies)?;
            }
            tables.values.push(frequencies);
        }
        let largest = bits.take(8) as usize;
        tables.scales[..=largest].iter_mut().for_each(|frequency| *frequency = pull(&mut bits));
        check(&tables.scales)?;
        // Neither bits left over nor other ways to say the same.
        if tables.pack() != bytes {
            return Err(corrupt("frequencies that no encoder writes"));
        }
        Ok(tables)
    }
}

/// A frequency: its number of bits, then those below the leading one.
fn push(bits: &mut BitPacker, frequency: u16) {
    let n_bits = u16::BITS - frequency.leading_zeros();
    bits.push(n_bits.into(), LEN_BITS);
    bits.push(frequency.into(), n_bits.saturating_sub(1));
}

fn pull(bits: &mut BitUnpacker<'_>) -> u16 {
    match bits.take(LEN_BITS) as u32 {
        0 => 0,
        n_bits => 1 << (n_bits - 1) | bits.take(n_bits - 1) as u16,
    }
}

fn check(frequencies: &RansFrequencies) -> Result<(), Error> {
    let sum: u32 = frequencies.iter().map(|&frequency| u32::from(frequency)).sum();
    if sum as usize == RANS_SLOTS { Ok(()) } else { Err(corrupt(format!("frequencies add up to {sum}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back_and_damage_is_noticed() {
        let mut counts = vec![[0u32; 256]; N_CONTEXTS];
        for (context, counts) in counts.iter_mut().enumerate().skip(1) {
            counts[0] = 5000;
            for (symbol, count) in counts.iter_mut().enumerate().skip(4) {
                *count = (1 << 20) >> (symbol.abs_diff(120 + context) / 4).min(20);
            }
        }
        let mut scales = [0; 256];
        scales[..3].copy_from_slice(&[5, 0, 9]);
        let (tables, n_escapes) = Tables::new(counts, &scales);
        assert!(n_escapes > 0 && tables.first > 10 && tables.last < 50, "{tables:?}");
        let bytes = tables.pack();
        assert!(Tables::unpack(&bytes).unwrap() == tables);
        for len in 0..bytes.len() {
            assert!(Tables::unpack(&bytes[..len]).is_err());
        }
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Tables::unpack(&damaged).is_err(), "{bit}");
        }
    }

    #[test]
    fn nothing_but_zeros_or_escapes() {
        for symbol in [0, usize::from(ESCAPE), 255, 4] {
            let mut counts = vec![[0u32; 256]];
            counts[0][symbol] = 10_000;
            let (tables, n_escapes) = Tables::new(counts, &[1; 256]);
            assert_eq!(n_escapes, if symbol % 4 == 0 { 0 } else { 10_000 });
            assert!(Tables::unpack(&tables.pack()).unwrap() == tables);
        }
    }
}
