//! `cargo bench -p lmgc-kernels`: the kernels that a forward pass spends its time in, with each instruction set of this
//! machine, at the sizes of SmolLM2-135M. Items are multiply-accumulates.

use divan::Bencher;
use divan::counter::ItemsCount;
use lmgc_kernels::{
    Activation, AttentionScratch, AttentionShape, Kernels, KvCache, PackedLinear, QuantMatrix, QuantRows, QueryRows,
    Store,
};

fn main() {
    divan::main();
}

/// Values between -1/2 and 1/2 (xorshift, Marsaglia, 2003).
fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// The name of an instruction set is what divan prints.
fn instruction_sets() -> Vec<String> {
    Kernels::available().iter().map(|kernels| kernels.isa().to_string()).collect()
}

fn kernels(isa: &str) -> Kernels {
    let isa = isa.parse().unwrap_or(lmgc_kernels::Isa::Scalar);
    Kernels::with_isa(isa).unwrap_or_else(Kernels::detect)
}

/// Gate and up projections: 64 rows of an encoder, 16 of a decoder in lockstep, one of a decoder alone.
#[divan::bench(args = instruction_sets(), consts = [1, 16, 64])]
fn linear_576_to_3072<const ROWS: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let kernels = kernels(isa);
    let (n_inputs, n_outputs) = (576, 3072);
    let linear = PackedLinear::pack(&QuantMatrix::quantise(n_outputs, n_inputs, &values(1, n_inputs * n_outputs)));
    let mut x = QuantRows::default();
    kernels.quantise_rows(&values(2, ROWS * n_inputs), n_inputs, &mut x);
    let mut out = vec![0.0; ROWS * n_outputs];
    bencher
        .counter(ItemsCount::new(ROWS * n_inputs * n_outputs))
        .bench_local(|| kernels.linear(&linear, &x, Store::Replace, &mut out));
}

/// The same with their activation, quantised.
#[divan::bench(args = instruction_sets(), consts = [1, 16, 64])]
fn activated_576_to_1536<const ROWS: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let kernels = kernels(isa);
    let (n_inputs, n_cols) = (576, 1536);
    let part = |seed| QuantMatrix::quantise(n_cols, n_inputs, &values(seed, n_inputs * n_cols));
    let linear = PackedLinear::interleave(&[&part(1), &part(7)]);
    let (mut x, mut out) = (QuantRows::default(), QuantRows::default());
    kernels.quantise_rows(&values(2, ROWS * n_inputs), n_inputs, &mut x);
    bencher
        .counter(ItemsCount::new(ROWS * n_inputs * 2 * n_cols))
        .bench_local(|| kernels.linear_activated(&linear, Activation::SiluMul, &x, n_cols, &mut out));
}

/// Attention at position 1024: 16 rows of an encoder, one of a decoder.
#[divan::bench(args = instruction_sets(), consts = [1, 16])]
fn attention_at_1024<const ROWS: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let kernels = kernels(isa);
    let shape = AttentionShape { n_heads: 9, n_kv_heads: 3, head_dim: 64 };
    let stride = shape.q_len() + 2 * shape.kv_len();
    let first = 1024;
    let rows = values(3, (first + ROWS) * stride);
    let mut cache = KvCache::new(shape);
    kernels.append(&mut cache, first + ROWS, &rows[shape.q_len()..], &rows[shape.q_len() + shape.kv_len()..], stride);
    let mut scratch = AttentionScratch::default();
    let mut out = vec![0.0; ROWS * shape.q_len()];
    let positions = QueryRows { first, n_rows: ROWS, window: None };
    bencher
        .counter(ItemsCount::new(2 * ROWS * first * shape.q_len()))
        .bench_local(|| kernels.attend(&cache, positions, 0.125, &rows, stride, &mut scratch, &mut out));
}

/// Norm and quantisation of 64 rows; items are values.
#[divan::bench(args = instruction_sets())]
fn element_wise(bencher: Bencher<'_, '_>, isa: &str) {
    let kernels = kernels(isa);
    let (n_rows, d_model) = (64, 576);
    let (x, weight) = (values(4, n_rows * d_model), values(5, d_model));
    let mut normed = vec![0.0; x.len()];
    let mut q = QuantRows::default();
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        kernels.rms_norm(&x, &weight, 1e-5, &mut normed);
        kernels.quantise_rows(&normed, d_model, &mut q);
    });
}
