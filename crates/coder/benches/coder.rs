//! `cargo bench -p lmgc-coder`: the range coder and the adaptive models. Items are symbols.

use divan::Bencher;
use divan::counter::ItemsCount;
use lmgc_coder::{AdaptiveBit, AdaptiveModel, AdaptiveUint, Decoder, Encoder, FrequencyTable, interval_from_weights};

fn main() {
    divan::main();
}

const N_SYMBOLS: usize = 10_000;

/// Random numbers (xorshift, Marsaglia, 2003), the smaller the likelier: about one in two is 0, one in four is 1, ...
fn geometric(below: usize) -> Vec<usize> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..N_SYMBOLS).map(|_| next().leading_zeros() as usize % below).collect()
}

/// Falling weights, as many as there are symbols.
fn weights(n_symbols: usize) -> Vec<u32> {
    (0..n_symbols).map(|symbol| (1 << 30) >> symbol.min(30)).collect()
}

#[divan::bench(args = [16, 300, 50_000])]
fn table_from_weights(bencher: Bencher<'_, '_>, n_symbols: usize) {
    let weights = weights(n_symbols);
    let mut table = FrequencyTable::new();
    bencher.counter(ItemsCount::new(n_symbols)).bench_local(|| table.set_from_weights(divan::black_box(&weights)));
}

#[divan::bench(args = [16, 300, 50_000])]
fn interval_of_one_symbol(bencher: Bencher<'_, '_>, n_symbols: usize) {
    let weights = weights(n_symbols);
    bencher.counter(ItemsCount::new(n_symbols)).bench_local(|| interval_from_weights(divan::black_box(&weights), 3));
}

fn encode_static(table: &FrequencyTable, symbols: &[usize]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    for &symbol in symbols {
        encoder.encode(table.interval(symbol));
    }
    encoder.finish()
}

fn static_table() -> (FrequencyTable, Vec<usize>) {
    let mut table = FrequencyTable::new();
    table.set_from_weights(&weights(16));
    (table, geometric(16))
}

#[divan::bench]
fn range_encode(bencher: Bencher<'_, '_>) {
    let (table, symbols) = static_table();
    bencher.counter(ItemsCount::new(N_SYMBOLS)).bench_local(|| encode_static(&table, &symbols));
}

#[divan::bench]
fn range_decode(bencher: Bencher<'_, '_>) {
    let (table, symbols) = static_table();
    let bytes = encode_static(&table, &symbols);
    bencher.counter(ItemsCount::new(N_SYMBOLS)).bench_local(|| {
        let mut decoder = Decoder::new(&bytes);
        (0..N_SYMBOLS).filter_map(|_| decoder.decode(&table).ok()).sum::<usize>()
    });
}

#[divan::bench]
fn plain_bits_encode(bencher: Bencher<'_, '_>) {
    let symbols = geometric(16);
    bencher.counter(ItemsCount::new(N_SYMBOLS)).bench_local(|| {
        let mut encoder = Encoder::new();
        symbols.iter().for_each(|&symbol| encoder.encode_bits(symbol as u64, 16));
        encoder.finish()
    });
}

/// What an adaptive model does with a symbol.
trait Adaptive {
    fn new() -> Self;
    fn encode(&mut self, encoder: &mut Encoder, symbol: usize);
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> usize;
}

impl Adaptive for AdaptiveBit {
    fn new() -> Self {
        Self::new()
    }
    fn encode(&mut self, encoder: &mut Encoder, symbol: usize) {
        self.encode(encoder, symbol != 0);
    }
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> usize {
        self.decode(decoder).map_or(0, usize::from)
    }
}

/// As many symbols as an f32 has exponents.
impl Adaptive for AdaptiveModel {
    fn new() -> Self {
        Self::new(256)
    }
    fn encode(&mut self, encoder: &mut Encoder, symbol: usize) {
        // In the middle, where exponents are.
        self.encode(encoder, 100 + symbol);
    }
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> usize {
        self.decode(decoder).unwrap_or_default()
    }
}

impl Adaptive for AdaptiveUint {
    fn new() -> Self {
        Self::new()
    }
    fn encode(&mut self, encoder: &mut Encoder, symbol: usize) {
        self.encode_uint(encoder, symbol as u64 * 37);
    }
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> usize {
        self.decode_uint(decoder).unwrap_or_default() as usize
    }
}

fn encode_adaptive<A: Adaptive>(symbols: &[usize]) -> Vec<u8> {
    let (mut model, mut encoder) = (A::new(), Encoder::new());
    symbols.iter().for_each(|&symbol| model.encode(&mut encoder, symbol));
    encoder.finish()
}

#[divan::bench(types = [AdaptiveBit, AdaptiveModel, AdaptiveUint])]
fn adaptive_encode<A: Adaptive>(bencher: Bencher<'_, '_>) {
    let symbols = geometric(16);
    bencher.counter(ItemsCount::new(N_SYMBOLS)).bench_local(|| encode_adaptive::<A>(&symbols));
}

#[divan::bench(types = [AdaptiveBit, AdaptiveModel, AdaptiveUint])]
fn adaptive_decode<A: Adaptive>(bencher: Bencher<'_, '_>) {
    let bytes = encode_adaptive::<A>(&geometric(16));
    bencher.counter(ItemsCount::new(N_SYMBOLS)).bench_local(|| {
        let (mut model, mut decoder) = (A::new(), Decoder::new(&bytes));
        (0..N_SYMBOLS).map(|_| model.decode(&mut decoder)).sum::<usize>()
    });
}
