//! What is encoded is decoded, at the cost that the frequencies promise, and no bytes make the decoder panic.

use lmgc_coder::{
    AdaptiveBit, AdaptiveModel, AdaptiveUint, Decoder, Encoder, Error, FrequencyTable, Interval, MAX_SYMBOLS,
    PRECISION_BITS, interval_from_weights,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const TOTAL: u64 = 1 << PRECISION_BITS;

fn table(weights: &[u32]) -> FrequencyTable {
    let mut table = FrequencyTable::new();
    table.set_from_weights(weights);
    table
}

/// Information content of the interval, in bits.
fn cost_bits(interval: Interval) -> f64 {
    f64::from(PRECISION_BITS) - f64::from(interval.frequency()).log2()
}

/// Weights of every kind: smooth, skewed to the extreme, mostly zero, all zero, not a multiple of the block size.
fn any_weights() -> impl Strategy<Value = Vec<u32>> {
    let skewed = (any::<u32>(), 0u32..32).prop_map(|(weight, shift)| weight >> shift);
    let sparse = prop_oneof![9 => Just(0), 1 => any::<u32>()];
    prop_oneof![
        vec(0..=1u32 << 30, 1..300),
        vec(skewed, 1..300),
        vec(sparse, 1..300),
        vec(Just(0u32), 1..300),
        vec(Just(u32::MAX), 1..300),
        vec(0u32..3, 1..9),
    ]
}

fn encode(weights: &[u32], symbols: &[usize]) -> (Vec<u8>, f64) {
    let mut encoder = Encoder::new();
    let mut bits = 0.0;
    for &symbol in symbols {
        let interval = interval_from_weights(weights, symbol);
        bits += cost_bits(interval);
        encoder.encode(interval);
    }
    (encoder.finish(), bits)
}

/// Every property that a table has, checked symbol by symbol.
fn check_table(weights: &[u32]) {
    let table = table(weights);
    let n = weights.len();
    assert_eq!(table.n_symbols(), n);
    let mut cumulative = 0;
    for symbol in 0..n {
        let interval = table.interval(symbol);
        assert_eq!(u64::from(interval.cumulative()), cumulative);
        assert!(interval.frequency() >= 1);
        cumulative += u64::from(interval.frequency());
        assert_eq!(table.symbol_at(interval.cumulative()), symbol);
        assert_eq!(table.symbol_at(interval.cumulative() + interval.frequency() - 1), symbol);
    }
    assert_eq!(cumulative, TOTAL);
    assert_eq!(table.symbol_at(u32::MAX), n - 1);
}

/// The rule as it is documented, in wide integers.
fn specified_frequencies(weights: &[u32]) -> Vec<u128> {
    let mut weights: Vec<u128> = weights.iter().map(|&weight| u128::from(weight)).collect();
    if weights.iter().all(|&weight| weight == 0) {
        weights.fill(1);
    }
    let sum: u128 = weights.iter().sum();
    let multiplier = ((u128::from(TOTAL) - weights.len() as u128) << 32) / sum;
    let mut frequencies: Vec<u128> = weights.iter().map(|weight| 1 + ((weight * multiplier) >> 32)).collect();
    let rest = u128::from(TOTAL) - frequencies.iter().sum::<u128>();
    let max = weights.iter().max().unwrap();
    let first = weights.iter().position(|weight| weight == max).unwrap();
    frequencies[first] += rest;
    frequencies
}

proptest! {
    #[test]
    fn tables_follow_the_rule(weights in any_weights()) {
        check_table(&weights);
        let table = table(&weights);
        for (symbol, frequency) in specified_frequencies(&weights).into_iter().enumerate() {
            prop_assert_eq!(u128::from(table.interval(symbol).frequency()), frequency);
            prop_assert_eq!(interval_from_weights(&weights, symbol), table.interval(symbol));
        }
    }

    #[test]
    fn messages_come_back(weights in any_weights(), places in vec(any::<Index>(), 0..200)) {
        let symbols: Vec<usize> = places.iter().map(|place| place.index(weights.len())).collect();
        let (bytes, bits) = encode(&weights, &symbols);
        // The coder works with at least 32 - 28 bits beyond the frequencies' precision, and ends within two bytes.
        prop_assert!(bytes.len() as f64 <= bits * 1.001 / 8.0 + 2.0, "{} bytes for {bits} bits", bytes.len());
        prop_assert_ne!(bytes.last(), Some(&0));
        let table = table(&weights);
        let mut decoder = Decoder::new(&bytes);
        for &symbol in &symbols {
            prop_assert_eq!(decoder.decode(&table), Ok(symbol));
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn tables_can_change_at_every_symbol(steps in vec((any_weights(), any::<Index>()), 0..15)) {
        let mut encoder = Encoder::new();
        for (weights, place) in &steps {
            encoder.encode(interval_from_weights(weights, place.index(weights.len())));
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut table = FrequencyTable::new();
        for (weights, place) in &steps {
            table.set_from_weights(weights);
            prop_assert_eq!(decoder.decode(&table), Ok(place.index(weights.len())));
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(weights in any_weights(), bytes: Vec<u8>) {
        let table = table(&weights);
        let mut decoder = Decoder::new(&bytes);
        let (mut bit, mut model, mut uint) = (AdaptiveBit::new(), AdaptiveModel::new(7), AdaptiveUint::new());
        for _ in 0..20 {
            if let Ok(symbol) = decoder.decode(&table) {
                prop_assert!(symbol < weights.len());
            }
            let _ = (bit.decode(&mut decoder), uint.decode_uint(&mut decoder), decoder.decode_bits(64));
            if let Ok(symbol) = model.decode(&mut decoder) {
                prop_assert!(symbol < 7);
            }
        }
        let _ = decoder.finish();
    }

    #[test]
    fn side_information_comes_back(
        values in vec((any::<u64>(), 0u32..64), 0..100),
        n_symbols in 1usize..=256,
        plain_bits in 0u32..=64,
    ) {
        let values: Vec<u64> = values.into_iter().map(|(value, shift)| value >> shift).collect();
        let mut encoder = Encoder::new();
        let (mut bit, mut model, mut uint) =
            (AdaptiveBit::new(), AdaptiveModel::new(n_symbols), AdaptiveUint::new());
        for &value in &values {
            bit.encode(&mut encoder, value & 1 != 0);
            model.encode(&mut encoder, value as usize % n_symbols);
            uint.encode_uint(&mut encoder, value);
            encoder.encode_bits(value, plain_bits);
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let (mut bit, mut model, mut uint) =
            (AdaptiveBit::new(), AdaptiveModel::new(n_symbols), AdaptiveUint::new());
        for &value in &values {
            prop_assert_eq!(bit.decode(&mut decoder), Ok(value & 1 != 0));
            prop_assert_eq!(model.decode(&mut decoder), Ok(value as usize % n_symbols));
            prop_assert_eq!(uint.decode_uint(&mut decoder), Ok(value));
            let low_bits = u128::from(value) & ((1 << plain_bits) - 1);
            prop_assert_eq!(decoder.decode_bits(plain_bits).map(u128::from), Ok(low_bits));
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn large_tables_follow_the_rule() {
    let skewed = |n: u32| (0..n).map(|i| 1 << 30 >> (i.wrapping_mul(0x9e37_79b9) >> 27)).collect::<Vec<u32>>();
    for n in [1, 63, 64, 65, 128_256, 1 << 17] {
        check_table(&skewed(n));
    }
    let mut one_of_many = vec![0; MAX_SYMBOLS];
    one_of_many[777_777] = 1;
    check_table(&one_of_many);
    check_table(&vec![u32::MAX; MAX_SYMBOLS]);
    check_table(&vec![0; MAX_SYMBOLS]);

    let weights = skewed(1 << 17);
    let table = table(&weights);
    for symbol in (0..weights.len()).step_by(997).chain([weights.len() - 1]) {
        assert_eq!(interval_from_weights(&weights, symbol), table.interval(symbol));
    }
}

#[test]
fn a_large_alphabet_costs_its_entropy() {
    let n = 1 << 17;
    let weights: Vec<u32> = (0..n).map(|i| (1 << 30) / (i as u32 / 16 + 1)).collect();
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let table = table(&weights);
    // Quantiles evenly over the whole range draw symbols as often as their weights say.
    let symbols: Vec<usize> = (0..20_000u32).map(|i| table.symbol_at(i.wrapping_mul(0x9e37_79b9) >> 4)).collect();
    let ideal_bits: f64 = symbols.iter().map(|&symbol| -(f64::from(weights[symbol]) / sum).log2()).sum();
    let mut encoder = Encoder::new();
    symbols.iter().for_each(|&symbol| encoder.encode(table.interval(symbol)));
    let bits = encoder.finish().len() as f64 * 8.0;
    assert!(bits < ideal_bits * 1.001 + 16.0, "{bits} bits instead of {ideal_bits}");
}

#[test]
fn certainty_is_free() {
    let (bytes, _) = encode(&[5], &[0; 1000]);
    assert!(bytes.is_empty());
    let single = FrequencyTable::default();
    let mut decoder = Decoder::new(&bytes);
    assert!((0..1000).all(|_| decoder.decode(&single) == Ok(0)));
    assert_eq!(decoder.finish(), Ok(()));
    assert!(Encoder::default().finish().is_empty());
}

#[test]
fn improbable_symbols_come_back() {
    // Every symbol costs the most that it can, and long runs make carries likely.
    let weights = [u32::MAX, 0, u32::MAX, 0];
    for period in 1..40 {
        let symbols: Vec<usize> = (0..500).map(|i| [1, 3, 0, 2][(i / period + i % 3) % 4]).collect();
        let (bytes, _) = encode(&weights, &symbols);
        let table = table(&weights);
        let mut decoder = Decoder::new(&bytes);
        for &symbol in &symbols {
            assert_eq!(decoder.decode(&table), Ok(symbol));
        }
    }
}

#[test]
fn truncated_and_flipped_streams_end_in_symbols_or_errors() {
    let weights: Vec<u32> = (0..200).map(|i| 1 << (i % 31)).collect();
    let symbols: Vec<usize> = (0..300).map(|i| i * 7 % 200).collect();
    let (bytes, _) = encode(&weights, &symbols);
    let table = table(&weights);
    let decode = |bytes: &[u8]| -> Result<Vec<usize>, Error> {
        let mut decoder = Decoder::new(bytes);
        let symbols = symbols.iter().map(|_| decoder.decode(&table)).collect::<Result<Vec<_>, _>>()?;
        decoder.finish()?;
        Ok(symbols)
    };
    assert_eq!(decode(&bytes).as_ref(), Ok(&symbols));
    for len in 0..bytes.len() {
        assert_ne!(decode(&bytes[..len]).as_ref(), Ok(&symbols));
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode(&flipped) {
            Ok(wrong) => assert!(wrong.iter().all(|&symbol| symbol < 200)),
            Err(error) => assert!(matches!(error, Error::InvalidStream { .. } | Error::TrailingBytes { .. })),
        }
    }
}

#[test]
fn bytes_left_over_are_noticed() {
    let (mut bytes, _) = encode(&[1, 1, 1], &[0, 1, 2, 2]);
    bytes.extend([1; 12]);
    let table = table(&[1, 1, 1]);
    let mut decoder = Decoder::new(&bytes);
    for symbol in [0, 1, 2, 2] {
        assert_eq!(decoder.decode(&table), Ok(symbol));
    }
    let n_bytes = bytes.len();
    assert_eq!(decoder.finish(), Err(Error::TrailingBytes { used_bytes: 8, len_bytes: n_bytes }));
}

#[test]
fn bytes_that_no_encoder_writes_are_noticed() {
    let table = table(&[1, 2]);
    let mut decoder = Decoder::new(&[0xff; 9]);
    assert_eq!(decoder.decode(&table), Err(Error::InvalidStream { offset_bytes: 8, len_bytes: 9 }));
}

#[test]
fn adaptive_codes_learn() {
    let cost = |write: &dyn Fn(&mut Encoder)| {
        let mut encoder = Encoder::new();
        write(&mut encoder);
        encoder.finish().len()
    };
    // A flag that is set once in a thousand times: log2(1000) bits for the place and some for learning.
    let flags = cost(&|encoder| {
        let mut bit = AdaptiveBit::new();
        (0..1000).for_each(|i| bit.encode(encoder, i == 500));
    });
    assert!(flags <= 3, "{flags} bytes");
    // The same symbol over and over.
    let constant = cost(&|encoder| {
        let mut model = AdaptiveModel::new(256);
        (0..10_000).for_each(|_| model.encode(encoder, 200));
    });
    assert!(constant <= 140, "{constant} bytes");
    // Two values in turn: one bit each.
    let lengths = cost(&|encoder| {
        let mut uint = AdaptiveUint::new();
        (0..4000).for_each(|i| uint.encode_uint(encoder, 8 - i % 2));
    });
    assert!(lengths < 4000 / 8 + 30, "{lengths} bytes");
}

#[test]
fn exact_bytes_of_side_information() {
    let mut encoder = Encoder::new();
    let (mut bit, mut model, mut uint) = (AdaptiveBit::new(), AdaptiveModel::new(5), AdaptiveUint::new());
    for i in 0..12u64 {
        bit.encode(&mut encoder, i % 3 == 0);
        model.encode(&mut encoder, (i * i % 5) as usize);
        uint.encode_uint(&mut encoder, i * i * i * i);
        encoder.encode_bits(i, 4);
    }
    let expected = [
        128, 27, 131, 164, 199, 42, 119, 93, 154, 85, 6, 81, 225, 70, 102, 14, 241, 164, 148, 45, 99, 52, 198, 202, 77,
        22, 67, 43, 146, 189, 245, 244,
    ];
    assert_eq!(encoder.finish(), expected);
}

#[test]
fn intervals_are_valid_by_construction() {
    assert_eq!(Interval::new(0, 0), None);
    assert_eq!(Interval::new(1 << 28, 1), None);
    assert_eq!(Interval::new(1, 1 << 28), None);
    assert_eq!(Interval::new(u32::MAX, 2), None);
    assert!(Interval::new(0, 1 << 28).is_some());
    assert!(Interval::new((1 << 28) - 1, 1).is_some());
}
