//! Interleaved asymmetric numeral systems: every symbol comes back at its cost, and no bytes harm.

use lmgc_coder::{
    Error, RANS_STATE_BYTES, RANS_STATES, RansDecodeTable, RansDecoder, RansEncodeTable, RansEncoder, RansFrequencies,
    rans_frequencies,
};
use proptest::prelude::*;

/// Bytes of all states.
const ALL_STATES: usize = RANS_STATES * RANS_STATE_BYTES;

fn counts(symbols: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
    counts
}

/// Runs of symbols, one context each.
fn encode(n_states: usize, contexts: &[RansFrequencies], runs: &[&[u8]]) -> Vec<u8> {
    let table = RansEncodeTable::new(contexts);
    let mut encoder = RansEncoder::new(n_states);
    for (context, run) in runs.iter().enumerate().rev() {
        let run: Vec<u16> = run.iter().map(|&symbol| (context << 8) as u16 | u16::from(symbol)).collect();
        encoder.encode(&table, &run);
    }
    let n_words = encoder.n_words();
    let mut bytes = Vec::new();
    encoder.finish(&mut bytes);
    assert_eq!(bytes.len(), RANS_STATE_BYTES * n_states + 2 * n_words);
    bytes
}

fn decode(n_states: usize, contexts: &[RansFrequencies], bytes: &[u8], lens: &[usize]) -> Result<Vec<Vec<u8>>, Error> {
    let table = RansDecodeTable::new(contexts).unwrap();
    let mut decoder = RansDecoder::new(n_states, bytes)?;
    let mut runs = Vec::new();
    for (context, &len) in lens.iter().enumerate() {
        let mut run = vec![0; len];
        decoder.decode(&table, &vec![context as u8; len], &mut run)?;
        runs.push(run);
    }
    decoder.finish()?;
    Ok(runs)
}

fn round_trip(runs: &[&[u8]]) -> Vec<u8> {
    let contexts: Vec<RansFrequencies> = runs.iter().map(|run| rans_frequencies(&counts(run))).collect();
    let lens: Vec<usize> = runs.iter().map(|run| run.len()).collect();
    for n_states in [1, 2, 16, 63] {
        let bytes = encode(n_states, &contexts, runs);
        assert_eq!(decode(n_states, &contexts, &bytes, &lens).unwrap(), runs);
    }
    let bytes = encode(RANS_STATES, &contexts, runs);
    assert_eq!(decode(RANS_STATES, &contexts, &bytes, &lens).unwrap(), runs);
    bytes
}

/// Numbers whose logarithms are about even.
fn skewed(n: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as u32).trailing_zeros() as u8 * 9
        })
        .collect()
}

#[test]
fn runs_come_back() {
    assert_eq!(round_trip(&[]).len(), ALL_STATES);
    assert_eq!(round_trip(&[&[]]).len(), ALL_STATES);
    // One symbol alone costs nothing.
    assert_eq!(round_trip(&[&[7; 100_000]]).len(), ALL_STATES);
    let all: Vec<u8> = (0..=255).collect();
    round_trip(&[&all, &[3], &[], &all.repeat(3), &[1, 2], &[0; 33], &skewed(3001)]);
    for n in 0..100 {
        round_trip(&[&skewed(n), &[5; 40], &skewed(n)]);
    }
}

#[test]
fn symbols_cost_their_entropy() {
    let symbols = skewed(1 << 20);
    let counts = counts(&symbols);
    let bits: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&c| f64::from(c) * (f64::from(1u32 << 20) / f64::from(c)).log2())
        .sum();
    let coded = 8.0 * round_trip(&[&symbols]).len() as f64;
    assert!((bits..bits * 1.005).contains(&coded), "{coded} bits for {bits}");
}

#[test]
fn truncations_and_flipped_bits_are_noticed_or_decode() {
    let symbols = skewed(2000);
    let contexts = [rans_frequencies(&counts(&symbols))];
    let bytes = encode(RANS_STATES, &contexts, &[&symbols]);
    for len in 0..bytes.len() {
        assert!(decode(RANS_STATES, &contexts, &bytes[..len], &[2000]).is_err(), "{len} of {}", bytes.len());
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // The state that a bit has got into does not come back to its start.
        assert!(decode(RANS_STATES, &contexts, &damaged, &[2000]).map_or(true, |runs| runs[0] != symbols), "bit {bit}");
    }
    let longer = [bytes.as_slice(), &[0, 0]].concat();
    assert!(matches!(decode(RANS_STATES, &contexts, &longer, &[2000]), Err(Error::TrailingBytes { .. })));
    assert!(decode(RANS_STATES, &contexts, &bytes, &[1999]).is_err());
    assert!(decode(RANS_STATES, &contexts, &bytes, &[2001]).is_err());
}

#[test]
fn frequencies_that_do_not_add_up_are_no_table() {
    let mut frequencies = [0; 256];
    assert!(RansDecodeTable::new(&[frequencies]).is_some());
    for (frequency, is_table) in [(2047, false), (2048, true), (2049, false), (u16::MAX, false)] {
        frequencies[9] = frequency;
        assert_eq!(RansDecodeTable::new(&[frequencies]).is_some(), is_table);
    }
}

#[test]
fn a_context_that_does_not_occur_ends_in_an_error() {
    let contexts = [[0; 256], rans_frequencies(&counts(&[1, 2, 3]))];
    let bytes = encode(RANS_STATES, &contexts, &[&[], &[1, 2, 3]]);
    assert!(decode(RANS_STATES, &contexts, &bytes, &[5]).is_err());
    assert!(decode(RANS_STATES, &contexts, &bytes, &[0, 3]).is_ok());
}

#[test]
fn exact_bytes() {
    // Eight states take part twice, which needs no word yet: they are still below 2^32 by far.
    let symbols: Vec<u8> = (0..RANS_STATES + 8).map(|i| (i % 5) as u8).collect();
    let bytes = round_trip(&[&symbols]);
    assert_eq!(bytes.len(), ALL_STATES);
    assert_eq!(bytes[..8], [29, 184, 24, 0, 46, 242, 22, 0]);
    assert_eq!(bytes[ALL_STATES - 4..], [236, 37, 5, 0]);
}

proptest! {
    #[test]
    fn any_runs(runs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5)) {
        round_trip(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>, len in 0usize..400) {
        let contexts = [rans_frequencies(&counts(&skewed(300)))];
        let _ = decode(RANS_STATES, &contexts, &bytes, &[len]);
        let mut states = vec![1; ALL_STATES];
        states.extend(bytes);
        let _ = decode(RANS_STATES, &contexts, &states, &[len]);
    }
}
