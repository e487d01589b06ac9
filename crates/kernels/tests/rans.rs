//! Rounds of the entropy coder are those of the rules, wherever an instruction set has something to offer.

use lmgc_kernels::{DecodeRounds, EncodeRounds, Isa, Kernel, Kernels, RANS_STATES, Simd};
use proptest::prelude::*;

const SLOTS: usize = 1 << 11;

struct Decode<'a>(DecodeRounds<'a>);

impl Kernel for Decode<'_> {
    type Output = (usize, usize);

    fn run<S: Simd>(self, simd: S) -> (usize, usize) {
        simd.decode_rounds(self.0)
    }
}

struct Encode<'a>(EncodeRounds<'a>);

impl Kernel for Encode<'_> {
    type Output = Option<usize>;

    fn run<S: Simd>(self, simd: S) -> Option<usize> {
        simd.encode_rounds(self.0)
    }
}

/// xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
    }
}

/// Frequencies of `n` symbols.
fn frequencies(random: &mut Random, n: usize) -> Vec<u32> {
    let mut frequencies = vec![1; n];
    for _ in n..SLOTS {
        // Mostly the first ones.
        let at = random.next() as usize % n;
        frequencies[at % (1 + random.next() as usize % n)] += 1;
    }
    frequencies
}

fn slots(frequencies: &[u32]) -> Vec<u32> {
    let runs = (0..).zip(frequencies);
    runs.flat_map(|(symbol, &f)| (0..f).map(move |offset| symbol | f << 8 | offset << 20)).collect()
}

/// An entry whose quotients are exact; the addend is 0 or 1, as rounding wants it.
fn entry(frequency: u32, start: u32) -> u64 {
    let (f, mut shift) = (u64::from(frequency), 31);
    while 1u64 << (shift - 31) < f {
        shift += 1;
    }
    let (below, rest) = ((1u64 << shift) / f, (1u64 << shift) % f);
    let (multiplier, addend) = if 2 * rest <= f { (below, u64::from(rest > 0)) } else { (below + 1, 0) };
    multiplier | f << 32 | u64::from(start) << 44 | shift << 55 | addend << 61
}

/// The kernels that have something to offer.
fn fast() -> impl Iterator<Item = Kernels> {
    Kernels::available().into_iter().filter(|kernels| matches!(kernels.isa(), Isa::Avx512 | Isa::Amx))
}

/// By the rules, symbol for symbol.
fn decode(states: &mut [u32], words: &[u8], slots: &[u32], contexts: &[u8], symbols: &mut [u8]) -> usize {
    let mut at = 0;
    for (i, symbol) in symbols.iter_mut().enumerate() {
        let state = &mut states[i % RANS_STATES];
        let context = contexts.get(i).map_or(0, |&context| usize::from(context) % (slots.len() / SLOTS));
        let slot = slots[context * SLOTS + *state as usize % SLOTS];
        *symbol = slot as u8;
        *state = (slot >> 8 & 0xfff).wrapping_mul(*state >> 11).wrapping_add(slot >> 20);
        if *state < 1 << 16 {
            *state = *state << 16 | u32::from(u16::from_le_bytes([words[2 * at], words[2 * at + 1]]));
            at += 1;
        }
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn decoding(
        seed in 1u64..,
        n_contexts in 0usize..4,
        n_symbols in 1usize..256,
        len in 0usize..2000,
        n_words in 0usize..2500,
        is_wild in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let n_contexts = 1 << n_contexts;
        let mut slots: Vec<u32> = (0..n_contexts).flat_map(|_| slots(&frequencies(&mut random, n_symbols))).collect();
        if is_wild {
            // What no encoder means is the same everywhere, too.
            slots.iter_mut().for_each(|slot| *slot = random.next() as u32);
        }
        let words: Vec<u8> = (0..2 * n_words).map(|_| random.next() as u8).collect();
        let contexts: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let states: [u32; RANS_STATES] = std::array::from_fn(|_| random.next() as u32);
        for contexts in [&contexts[..], &[]] {
            for kernels in fast() {
                let (mut found_states, mut found) = (states, vec![0; len]);
                let (n_done, n_used) = kernels.run(Decode(DecodeRounds {
                    states: &mut found_states,
                    words: &words,
                    slots: &slots,
                    contexts,
                    symbols: &mut found,
                }));
                prop_assert!(n_done.is_multiple_of(RANS_STATES) && n_done <= len && n_used <= n_words);
                // It stops only where words might be missing, or at the last whole round.
                prop_assert!(n_words - n_used < RANS_STATES || len - n_done < RANS_STATES);
                let (mut expected_states, mut expected) = (states, vec![0; len]);
                let at = decode(&mut expected_states, &words, &slots, contexts, &mut expected[..n_done]);
                prop_assert_eq!((&found, &found_states, n_used), (&expected, &expected_states, at));
            }
        }
    }

    #[test]
    fn encoding(seed in 1u64.., n_symbols in 1usize..256, n_rounds in 0usize..30, n_more in 0usize..200) {
        let mut random = Random(seed);
        let mut entries = vec![entry(1, 0); 256];
        let mut start = 0;
        for (entry_of, frequency) in entries.iter_mut().zip(frequencies(&mut random, n_symbols)) {
            *entry_of = entry(frequency, start);
            start += frequency;
        }
        // The numbers of symbols count modulo the number of entries.
        let mut symbol = || (random.next() as usize % n_symbols + 256 * (random.next() as usize % 4)) as u16;
        let rounds: Vec<[u16; RANS_STATES]> = (0..n_rounds).map(|_| std::array::from_fn(|_| symbol())).collect();
        let states: [u32; RANS_STATES] = std::array::from_fn(|_| random.next() as u32 | 1 << 16);
        let words: Vec<u16> = (0..n_rounds * RANS_STATES + 2 * n_more).map(|_| random.next() as u16).collect();
        let n_free = n_rounds * RANS_STATES + n_more;
        let (mut expected_states, mut expected, mut at) = (states, words.clone(), n_free);
        for round in rounds.iter().rev() {
            for (state, &symbol) in expected_states.iter_mut().zip(round).rev() {
                let entry = entries[usize::from(symbol) % 256];
                let (frequency, start) = ((entry >> 32 & 0xfff) as u32, (entry >> 44 & 0x7ff) as u32);
                if *state >> 21 >= frequency {
                    at -= 1;
                    expected[at] = *state as u16;
                    *state >>= 16;
                }
                *state = *state % frequency + start + ((*state / frequency) << 11);
            }
        }
        for kernels in fast() {
            let (mut found_states, mut found) = (states, words.clone());
            let (states, words) = (&mut found_states, &mut found[..]);
            let left = kernels.run(Encode(EncodeRounds { states, words, n_free, entries: &entries, rounds: &rounds }));
            prop_assert_eq!(left, Some(at));
            prop_assert_eq!((&found, &found_states), (&expected, &expected_states));
        }
    }
}

#[test]
fn what_does_not_fit_is_left_alone() {
    for kernels in Kernels::available() {
        let mut states = [1 << 16; RANS_STATES];
        let mut symbols = [7; 2 * RANS_STATES];
        for slots in [&[][..], &[0; SLOTS - 1], &[0; 3 * SLOTS]] {
            let (states, symbols) = (&mut states, &mut symbols[..]);
            let rounds = DecodeRounds { states, words: &[0; 1000], slots, contexts: &[], symbols };
            assert_eq!(kernels.run(Decode(rounds)), (0, 0));
        }
        let rounds = [[0; RANS_STATES]; 2];
        let mut words = [9; 3 * RANS_STATES];
        for (n_free, n_entries) in [(2 * RANS_STATES - 1, 4), (3 * RANS_STATES + 1, 4), (3 * RANS_STATES, 3)] {
            let (states, words) = (&mut states, &mut words[..]);
            let rounds =
                EncodeRounds { states, words, n_free, entries: &vec![entry(1, 0); n_entries], rounds: &rounds };
            assert_eq!(kernels.run(Encode(rounds)), None);
        }
        assert!(states == [1 << 16; RANS_STATES] && symbols.iter().all(|&s| s == 7) && words.iter().all(|&w| w == 9));
    }
}
