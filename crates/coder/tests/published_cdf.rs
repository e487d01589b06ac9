//! Why LM-GC's published sizes are no code lengths, in numbers: what its released code hands to the arithmetic coder as a cumulative
//! distribution is each probability divided by the running sum of the probabilities. `docs/experiments.md` quotes the figures.

use lmgc_coder::{Decoder, Encoder, FrequencyTable, PRECISION_BITS};

/// Ids of the sixteen hexadecimal digits' tokens in Llama's vocabulary of 32 000, ascending: e a d c f b 1 0 2 9 3 5 4 8 6 7.
const DIGITS: [usize; 16] =
    [29872, 29874, 29881, 29883, 29888, 29890, 29896, 29900, 29906, 29929, 29941, 29945, 29946, 29947, 29953, 29955];
const VOCABULARY: usize = 32_000;

/// Where each token's interval begins and ends, by a list of "cumulative" values: a token's own is its end, the one before its start.
fn intervals(cumulative: &[f64]) -> Vec<(f64, f64)> {
    let start = |token: usize| if token == 0 { 0.0 } else { cumulative[token - 1] };
    DIGITS.map(|token| (start(token), cumulative[token])).to_vec()
}

/// The digits' probabilities: all the same, and nothing for other tokens.
fn probabilities() -> Vec<f64> {
    let mut probabilities = vec![0.0; VOCABULARY];
    DIGITS.iter().for_each(|&token| probabilities[token] = 1.0 / 16.0);
    probabilities
}

fn running_sums(values: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    values
        .iter()
        .map(|value| {
            sum += value;
            sum
        })
        .collect()
}

#[test]
fn a_probability_over_the_running_sum_is_no_cumulative_distribution() {
    let probabilities = probabilities();
    let sums = running_sums(&probabilities);
    let published: Vec<f64> =
        probabilities.iter().zip(&sums).map(|(p, sum)| if *sum > 0.0 { p / sum } else { 0.0 }).collect();
    assert!(published.windows(2).any(|pair| pair[1] < pair[0]), "it falls");

    let intervals = intervals(&published);
    let widths: Vec<f64> = intervals.iter().map(|(start, end)| end - start).collect();
    // The k-th digit gets 1/k of the whole, but for two whose neighbour is a digit, too: they end before they begin.
    assert!(
        (widths[0] - 1.0).abs() < 1e-12 && (widths[1] - 0.5).abs() < 1e-12 && (widths[15] - 1.0 / 16.0).abs() < 1e-12
    );
    assert_eq!(widths.iter().filter(|&&width| width < 0.0).count(), 2);
    let sum: f64 = widths.iter().sum();
    assert_eq!(format!("{sum:.2}"), "3.22", "the widths must add up to 1");
    // Overlap: a decoder that reads 0 cannot tell which of fourteen digits it was.
    assert_eq!(intervals.iter().filter(|(start, end)| *start == 0.0 && *end > 0.0).count(), 14);
    // What the widths say that uniform digits cost: no code takes fewer than 4 bits.
    let bits = widths.iter().map(|width| -width.abs().log2()).sum::<f64>() / 16.0;
    assert_eq!(format!("{bits:.2}"), "3.22");
    // The digits that have an interval at all.
    let valid: Vec<f64> = widths.iter().copied().filter(|&width| width > 0.0).collect();
    let bits = valid.iter().map(|width| -width.log2()).sum::<f64>() / valid.len() as f64;
    assert_eq!(format!("{bits:.2}"), "2.62");
}

#[test]
fn running_sums_are_one_and_decode() {
    let sums = running_sums(&probabilities());
    let widths: Vec<f64> = intervals(&sums).iter().map(|(start, end)| end - start).collect();
    assert!(widths.iter().all(|width| (width - 1.0 / 16.0).abs() < 1e-12));
    assert_eq!(widths.iter().map(|width| -width.log2()).sum::<f64>() / 16.0, 4.0);

    // This project's frequencies: every token at least 1 of 2^28, so that nothing is impossible; that costs next to nothing.
    let mut weights = vec![0; VOCABULARY];
    DIGITS.iter().for_each(|&token| weights[token] = 1 << 20);
    let mut table = FrequencyTable::new();
    table.set_from_weights(&weights);
    let total: u64 = (0..VOCABULARY).map(|token| u64::from(table.interval(token).frequency())).sum();
    assert_eq!(total, 1 << PRECISION_BITS);
    let text: Vec<usize> = (0..4000).map(|at| DIGITS[at * 7919 % 16]).collect();
    let mut encoder = Encoder::new();
    text.iter().for_each(|&token| encoder.encode(table.interval(token)));
    let bytes = encoder.finish();
    let bits_a_digit = 8.0 * bytes.len() as f64 / text.len() as f64;
    assert!((4.0..4.02).contains(&bits_a_digit), "{bits_a_digit}");
    let mut decoder = Decoder::new(&bytes);
    assert!(text.iter().all(|&token| decoder.decode(&table).unwrap() == token));
    decoder.finish().unwrap();
}
