//! Interleaved asymmetric numeral systems: symbols of fixed frequencies, at a few cycles each.
//!
//! Range asymmetric numeral systems (Duda, 2013; the interleaving and the 16-bit words after Giesen, "Interleaved entropy
//! coders", 2014): up to [`RANS_STATES`] states of 32 bits take turns, so that their chains of operations overlap and vector
//! instructions can carry out many at once. Frequencies are fractions of 2^[`RANS_PRECISION_BITS`].
//!
//! Symbols come in *runs*. Symbol i of a run belongs to state i modulo the number of states. To decode it in context c, with x the state,
//! s the symbol whose interval holds the lowest bits of x, f its frequency and a the interval's start:
//!
//! ```text
//! slot = x mod 2^11
//! x = f * floor(x / 2^11) + slot - a
//! if x < 2^16: x = x * 2^16 + the next word
//! ```
//!
//! An encoder goes the other way, from the last symbol of the last run to the first of the first, and starts with 2^16 in all states;
//! a decoder must end there, with no word left over.

use crate::Error;

/// States that may take turns at most, and do where much is to be coded.
pub const RANS_STATES: usize = 64;
/// Frequencies are fractions of 2^`RANS_PRECISION_BITS`.
pub const RANS_PRECISION_BITS: u32 = 11;
/// Slots of a table, the sum of all frequencies.
pub const RANS_SLOTS: usize = 1 << RANS_PRECISION_BITS;
/// Bytes of a state, with which streams begin.
pub const RANS_STATE_BYTES: usize = 4;

/// States are at least this between symbols.
const LOW: u32 = 1 << 16;
const WORD_BYTES: usize = 2;

/// The frequency of each symbol, their sum 2^[`RANS_PRECISION_BITS`]; or all zero, for a context that does not occur.
pub type RansFrequencies = [u16; 256];

/// Frequencies for symbols that occur this often: in proportion, at least 1 for each that occurs, and as cheap as can be
/// with that.
///
/// # Panics
/// If the counts' sum is 2^32 or more.
pub fn rans_frequencies(counts: &[u32; 256]) -> RansFrequencies {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    assert!(total < 1 << 32, "{total} symbols");
    let mut frequencies = [0u16; 256];
    if total == 0 {
        return frequencies;
    }
    for (frequency, &count) in frequencies.iter_mut().zip(counts) {
        if count > 0 {
            // Twice the share, for rounding to nearest.
            let share = (u64::from(count) << (RANS_PRECISION_BITS + 1)) / total;
            *frequency = (share.div_ceil(2) as u16).max(1);
        }
    }
    let mut sum: usize = frequencies.iter().map(|&frequency| usize::from(frequency)).sum();
    // A step more or less for a symbol of frequency f changes the length by about count / (f + 1/2) or count / (f - 1/2).
    let gain = |frequency: u16, count: u32, other: (u64, u64)| {
        let weight = (u64::from(count), 2 * u64::from(frequency) + 1);
        (weight.0 * other.1 > other.0 * weight.1).then_some(weight)
    };
    while sum < RANS_SLOTS {
        let (mut best, mut at) = ((0, 1), 0);
        for (symbol, (&frequency, &count)) in frequencies.iter().zip(counts).enumerate() {
            if let Some(better) = gain(frequency, count, best) {
                (best, at) = (better, symbol);
            }
        }
        frequencies[at] += 1;
        sum += 1;
    }
    while sum > RANS_SLOTS {
        let (mut best, mut at) = ((1, 0), 0);
        for (symbol, (&frequency, &count)) in frequencies.iter().zip(counts).enumerate() {
            let weight = (u64::from(count), 2 * u64::from(frequency).saturating_sub(1) + 1);
            if frequency > 1 && weight.0 * best.1 < best.0 * weight.1 {
                (best, at) = (weight, symbol);
            }
        }
        frequencies[at] -= 1;
        sum -= 1;
    }
    frequencies
}

/// What an encoder must know of a symbol: how to divide by its frequency f without a division, f itself, and its interval's start.
///
/// The quotient of x < 2^21 * f is floor((x + addend) * multiplier / 2^shift). With 2^b < f < 2^(b + 1), the multiplier is 2^(32 + b) / f, rounded
/// up (addend 0) or down (addend 1), whichever is nearer (Granlund and Montgomery, 1994; Robison, 2005).
#[derive(Clone, Copy, Debug)]
struct Entry(u64);

impl Entry {
    /// An entry for a frequency of 0 divides by 1.
    fn new(frequency: u32, start: u32) -> Self {
        let divisor = u64::from(frequency.max(1));
        let shift = 31 + (divisor - 1).checked_ilog2().map_or(0, |bits| bits + 1);
        let below = (1 << shift) / divisor;
        let excess = (1 << shift) - below * divisor;
        let (multiplier, addend) = if 2 * excess <= divisor { (below, u64::from(excess > 0)) } else { (below + 1, 0) };
        let fields = u64::from(frequency) << 32 | u64::from(start) << 44 | u64::from(shift) << 55 | addend << 61;
        Self(multiplier | fields)
    }

    #[inline(always)]
    fn quotient(self, x: u32) -> u32 {
        let addend = self.0 >> 61;
        let multiplier = self.0 & 0xffff_ffff;
        (((u64::from(x) + addend) * multiplier) >> (self.0 >> 55 & 0x3f)) as u32
    }
}

/// Symbols in contexts, ready to be encoded.
#[derive(Clone, Debug)]
pub struct RansEncodeTable {
    entries: Vec<u64>,
}

impl RansEncodeTable {
    /// The table of some contexts.
    pub fn new(contexts: &[RansFrequencies]) -> Self {
        let mut entries = Vec::with_capacity(256 * contexts.len());
        for frequencies in contexts {
            let mut start = 0;
            for frequency in frequencies.map(u32::from) {
                // Behind the last symbol there is no place to start, but nothing either.
                entries.push(Entry::new(frequency, start % RANS_SLOTS as u32).0);
                start += frequency;
            }
        }
        Self { entries }
    }
}

/// Codes runs of symbols, the last one first.
#[derive(Clone, Debug)]
pub struct RansEncoder {
    states: [u32; RANS_STATES],
    n_states: usize,
    /// Room for a run's words, filled from the end.
    room: Vec<u16>,
    /// The words of each run, the last run's first.
    words: Vec<u16>,
    run_lens: Vec<usize>,
}

impl RansEncoder {
    /// An encoder with so many states.
    ///
    /// # Panics
    /// If there is no state or more than [`RANS_STATES`].
    pub fn new(n_states: usize) -> Self {
        assert!((1..=RANS_STATES).contains(&n_states), "{n_states} states");
        Self { states: [LOW; RANS_STATES], n_states, room: Vec::new(), words: Vec::new(), run_lens: Vec::new() }
    }

    /// Prepends a run of symbols, each as 256 * context + symbol.
    ///
    /// # Panics
    /// If a symbol's context is not in the table.
    pub fn encode(&mut self, table: &RansEncodeTable, run: &[u16]) {
        self.encode_with(table, run, |_| None);
    }

    /// As [`encode`](Self::encode), with the help of `fast`: it may encode all the whole rounds of [`RANS_STATES`] symbols that it gets, and
    /// returns the number of words that are free then; or `None`, with nothing changed. It is not asked where there are fewer states.
    ///
    /// # Panics
    /// As [`encode`](Self::encode), but for contexts, which are the business of `fast`.
    #[inline(always)]
    pub fn encode_with(
        &mut self,
        table: &RansEncodeTable,
        run: &[u16],
        fast: impl FnOnce(RansEncodeRounds<'_>) -> Option<usize>,
    ) {
        let entries = table.entries.as_slice();
        // A symbol gives a word at most; the one before the first is written, too, but does not count.
        let len = run.len() + 1;
        if self.room.len() < len {
            self.room.resize(len, 0);
        }
        let mut n_free = self.room.len();
        let (rounds, last) = run.as_chunks::<RANS_STATES>();
        if self.n_states < RANS_STATES {
            n_free = self.encode_slowly(entries, run, n_free);
        } else {
            n_free = self.encode_slowly(entries, last, n_free);
            let (states, words) = (&mut self.states, self.room.as_mut_slice());
            n_free = match fast(RansEncodeRounds { states, words, n_free, entries, rounds }) {
                Some(n_free) => n_free,
                None => self.encode_slowly(entries, rounds.as_flattened(), n_free),
            };
        }
        let words = &self.room[n_free..];
        self.words.extend_from_slice(words);
        self.run_lens.push(words.len());
    }

    /// Returns the number of words that are free then.
    fn encode_slowly(&mut self, entries: &[u64], run: &[u16], mut n_free: usize) -> usize {
        let mut states = self.states;
        let words = self.room.as_mut_slice();
        for round in run.chunks(self.n_states).rev() {
            for (state, &symbol) in states.iter_mut().zip(round).rev() {
                step(state, Entry(entries[usize::from(symbol)]), words, &mut n_free);
            }
        }
        self.states = states;
        n_free
    }

    /// Number of words so far.
    pub fn n_words(&self) -> usize {
        self.words.len()
    }

    /// Appends the states and the words to `bytes`.
    pub fn finish(self, bytes: &mut Vec<u8>) {
        bytes.reserve(RANS_STATE_BYTES * self.n_states + WORD_BYTES * self.n_words());
        for state in &self.states[..self.n_states] {
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let mut later = self.words.as_slice();
        for len in self.run_lens.iter().rev() {
            let (words, run) = later.split_at(later.len() - len);
            later = words;
            let (chunks, rest) = run.as_chunks::<32>();
            for chunk in chunks {
                bytes.extend_from_slice(chunk.map(u16::to_le_bytes).as_flattened());
            }
            for word in rest {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// What a faster encoder of whole rounds gets and changes, see [`RansEncoder::encode_with`].
#[derive(Debug)]
pub struct RansEncodeRounds<'a> {
    /// The states.
    pub states: &'a mut [u32; RANS_STATES],
    /// Words, those from `n_free` on already there.
    pub words: &'a mut [u16],
    /// Words that are not there yet, more than there are symbols.
    pub n_free: usize,
    /// The entry of each symbol: a multiplier in bits 0 to 31, the frequency in bits 32 to 43, the interval's start in bits 44 to 54, a shift
    /// in bits 55 to 60 and an addend in bit 61. The quotient of x by the frequency is (x + addend) * multiplier / 2^shift, rounded down.
    pub entries: &'a [u64],
    /// Symbols as 256 * context + symbol. The last one is encoded first.
    pub rounds: &'a [[u16; RANS_STATES]],
}

/// Encodes a symbol. Words are written in any case, since whether they count cannot be foretold.
#[inline(always)]
fn step(state: &mut u32, entry: Entry, words: &mut [u16], n_free: &mut usize) {
    let x = *state;
    let frequency = (entry.0 >> 32 & 0xfff) as u32;
    let start = (entry.0 >> 44 & 0x7ff) as u32;
    let is_large = x >> (32 - RANS_PRECISION_BITS) >= frequency;
    words[*n_free - 1] = x as u16;
    *n_free -= usize::from(is_large);
    let x = if is_large { x >> 16 } else { x };
    *state = x + start + entry.quotient(x) * (RANS_SLOTS as u32 - frequency);
}

/// Slots of contexts: the symbol in bits 0 to 7, its frequency in bits 8 to 19, and how far the slot lies from the symbol's
/// first in bits 20 to 30.
#[derive(Clone, Debug)]
pub struct RansDecodeTable {
    slots: Vec<u32>,
}

impl RansDecodeTable {
    /// The table of some contexts; `None` if the frequencies of one add up to something else than 2^[`RANS_PRECISION_BITS`] or 0.
    pub fn new(contexts: &[RansFrequencies]) -> Option<Self> {
        let mut slots = Vec::with_capacity(RANS_SLOTS * contexts.len());
        for (at, frequencies) in contexts.iter().enumerate() {
            let sum: usize = frequencies.iter().map(|&frequency| usize::from(frequency)).sum();
            if sum != 0 && sum != RANS_SLOTS {
                return None;
            }
            for (symbol, frequency) in (0..).zip(frequencies.map(u32::from)) {
                slots.extend((0..frequency).map(|offset| symbol | frequency << 8 | offset << 20));
            }
            slots.resize(RANS_SLOTS * (at + 1), 0);
        }
        Some(Self { slots })
    }
}

/// What a faster decoder of whole rounds gets and changes, see [`RansDecoder::decode_with`].
#[derive(Debug)]
pub struct RansDecodeRounds<'a> {
    /// The states.
    pub states: &'a mut [u32; RANS_STATES],
    /// Words that have not been read, two bytes each, little-endian.
    pub words: &'a [u8],
    /// [`RANS_SLOTS`] slots of each context: the symbol in bits 0 to 7, its frequency in bits 8 to 19, and how far the slot lies
    /// from the symbol's first in bits 20 to 30.
    pub slots: &'a [u32],
    /// The context of each symbol; empty if all are in the first.
    pub contexts: &'a [u8],
    /// Symbols to be filled in.
    pub symbols: &'a mut [u8],
}

/// Decodes runs of symbols.
#[derive(Clone, Debug)]
pub struct RansDecoder<'a> {
    states: [u32; RANS_STATES],
    n_states: usize,
    words: &'a [u8],
    len_bytes: usize,
}

impl<'a> RansDecoder<'a> {
    /// A decoder with so many states, of these bytes: the states and the words.
    ///
    /// # Errors
    /// [`Error::InvalidStream`] if that cannot be.
    ///
    /// # Panics
    /// If there is no state or more than [`RANS_STATES`].
    pub fn new(n_states: usize, bytes: &'a [u8]) -> Result<Self, Error> {
        assert!((1..=RANS_STATES).contains(&n_states), "{n_states} states");
        let invalid = Error::InvalidStream { offset_bytes: 0, len_bytes: bytes.len() };
        let (of_states, words) = bytes.split_at_checked(RANS_STATE_BYTES * n_states).ok_or(invalid)?;
        let mut states = [LOW; RANS_STATES];
        let (of_states, _) = of_states.as_chunks();
        for (state, &bytes) in states.iter_mut().zip(of_states) {
            *state = u32::from_le_bytes(bytes);
        }
        if !words.len().is_multiple_of(WORD_BYTES) || states.iter().any(|&state| state < LOW) {
            return Err(invalid);
        }
        Ok(Self { states, n_states, words, len_bytes: bytes.len() })
    }

    /// Decodes a run. `contexts` has the context of each symbol, or is empty if all are in the first.
    ///
    /// # Errors
    /// [`Error::InvalidStream`] if words are missing.
    ///
    /// # Panics
    /// If a context is not in the table, or if there is another number of contexts than of symbols.
    pub fn decode(&mut self, table: &RansDecodeTable, contexts: &[u8], symbols: &mut [u8]) -> Result<(), Error> {
        self.decode_with(table, contexts, symbols, |_| (0, 0))
    }

    /// As [`decode`](Self::decode), with the help of `fast`: it may decode a number of whole rounds of [`RANS_STATES`] symbols, and returns
    /// how many symbols it decoded and how many words it read. It is not asked where there are fewer states.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    ///
    /// # Panics
    /// As [`decode`](Self::decode), or if `fast` claims to have done more than there was.
    #[inline(always)]
    pub fn decode_with(
        &mut self,
        table: &RansDecodeTable,
        contexts: &[u8],
        symbols: &mut [u8],
        fast: impl FnOnce(RansDecodeRounds<'_>) -> (usize, usize),
    ) -> Result<(), Error> {
        assert!(contexts.is_empty() || contexts.len() == symbols.len(), "each symbol has a context, or none has");
        let slots = table.slots.as_slice();
        let words = self.words;
        let (n_done, n_words) = match self.n_states {
            RANS_STATES => fast(RansDecodeRounds { states: &mut self.states, words, slots, contexts, symbols }),
            _ => (0, 0),
        };
        self.words = &words[WORD_BYTES * n_words..];
        let symbols = &mut symbols[n_done..];
        let contexts = contexts.get(n_done..).unwrap_or_default();
        self.decode_slowly(slots, contexts, symbols)
    }

    fn decode_slowly(&mut self, slots: &[u32], contexts: &[u8], symbols: &mut [u8]) -> Result<(), Error> {
        let mut states = self.states;
        let (words, _) = self.words.as_chunks::<WORD_BYTES>();
        let mut at = 0;
        for (round, symbols) in symbols.chunks_mut(self.n_states).enumerate() {
            let contexts = contexts.get(self.n_states * round..).unwrap_or_default();
            for (lane, (state, symbol)) in states.iter_mut().zip(symbols).enumerate() {
                let context = contexts.get(lane).map_or(0, |&context| usize::from(context));
                let x = *state;
                let slot = slots[context << RANS_PRECISION_BITS | x as usize & (RANS_SLOTS - 1)];
                *symbol = slot as u8;
                let x = (slot >> 8 & 0xfff) * (x >> RANS_PRECISION_BITS) + (slot >> 20);
                let is_small = x < LOW;
                let word = words.get(at).copied().unwrap_or_default();
                *state = if is_small { x << 16 | u32::from(u16::from_le_bytes(word)) } else { x };
                at += usize::from(is_small);
            }
        }
        if at > words.len() {
            return Err(Error::InvalidStream { offset_bytes: self.len_bytes, len_bytes: self.len_bytes });
        }
        self.words = &self.words[WORD_BYTES * at..];
        self.states = states;
        Ok(())
    }

    /// Ends the reading: the states must be back at their start, with all words read.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`] or [`Error::InvalidStream`].
    pub fn finish(self) -> Result<(), Error> {
        let (used_bytes, len_bytes) = (self.len_bytes - self.words.len(), self.len_bytes);
        if !self.words.is_empty() {
            return Err(Error::TrailingBytes { used_bytes, len_bytes });
        }
        if self.states != [LOW; RANS_STATES] {
            return Err(Error::InvalidStream { offset_bytes: used_bytes, len_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_exact() {
        for frequency in 1..=RANS_SLOTS as u32 {
            let entry = Entry::new(frequency, 5);
            assert_eq!((entry.0 >> 32 & 0xfff, entry.0 >> 44 & 0x7ff), (u64::from(frequency), 5));
            // A state that is to be divided is below this.
            let end = u64::from(frequency) << (32 - RANS_PRECISION_BITS);
            let check = |x: u64| assert_eq!(entry.quotient(x as u32), x as u32 / frequency, "{x} / {frequency}");
            // A wrong quotient would show beside a multiple of the frequency first.
            let step = u64::from(frequency) * 97;
            for multiple in (0..end).step_by(step as usize) {
                check(multiple);
                check(multiple + u64::from(frequency) - 1);
            }
            (end - 2 * u64::from(frequency)..end).for_each(check);
            // In general, with m the multiplier, 2^k the divisor of the product and f the frequency: if m * f = 2^k + e, a quotient is too large by
            // x * e / (f * 2^k), which must be below 1 / f; if m * f = 2^k - e, then (x + 1) * m = (x + 1) * 2^k / f - (x + 1) * e / f, where the
            // last term may be 2^k / f at most.
            let (multiplier, shift, addend) = (entry.0 & 0xffff_ffff, entry.0 >> 55 & 0x3f, entry.0 >> 61);
            let error = (multiplier * u64::from(frequency)).abs_diff(1 << shift);
            assert_eq!(addend == 1, multiplier * u64::from(frequency) < 1 << shift);
            assert!((end - 1 + addend) * error < (1 << shift) + addend, "{frequency}");
        }
    }

    #[test]
    fn frequencies_add_up() {
        let check = |counts: [u32; 256]| {
            let frequencies = rans_frequencies(&counts);
            assert_eq!(frequencies.iter().map(|&f| usize::from(f)).sum::<usize>(), RANS_SLOTS);
            for (&frequency, &count) in frequencies.iter().zip(&counts) {
                assert_eq!(frequency == 0, count == 0);
            }
        };
        check([1; 256]);
        check([1 << 23; 256]);
        for at in 0..256 {
            let mut counts = [0; 256];
            counts[at] = 1;
            check(counts);
            counts[255 - at] = u32::MAX - 1;
            check(counts);
            counts[7] = 12345;
            counts[8] = 1;
            counts[255 - at] = 1 << 31;
            check(counts);
            counts = core::array::from_fn(|i| (i as u32 + 1) << (at % 16));
            check(counts);
            counts = core::array::from_fn(|i| if i % 3 == 0 { 1 } else { 1 << (i % 23) });
            check(counts);
        }
        assert_eq!(rans_frequencies(&[0; 256]), [0; 256]);
        let mut counts = [0; 256];
        (counts[0], counts[3]) = (3, 1);
        assert_eq!(rans_frequencies(&counts)[..4], [1536, 0, 0, 512]);
    }
}
