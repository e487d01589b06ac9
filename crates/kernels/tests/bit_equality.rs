//! Every instruction set gives the scalar path's bits, for any number of rows and threads.

mod common;

use common::{bits, values};
use lmgc_kernels::{
    Activation, AttentionScratch, AttentionShape, Kernels, KvCache, PackedLinear, QuantMatrix, QuantRows, QueryRows,
    RopeTable, Store,
};
use proptest::prelude::*;

fn linear(kernels: Kernels, w: &PackedLinear, x: &[f32]) -> Vec<u32> {
    let mut rows = QuantRows::default();
    kernels.quantise_rows(x, w.n_inputs(), &mut rows);
    let mut out = vec![0.0; rows.n_rows() * w.n_outputs()];
    kernels.linear(w, &rows, Store::Replace, &mut out);
    bits(&out)
}

/// The same through the threads of the current pool, added to zeros.
fn linear_split(kernels: Kernels, w: &PackedLinear, x: &[f32]) -> Vec<u32> {
    let mut rows = QuantRows::default();
    kernels.quantise_rows(x, w.n_inputs(), &mut rows);
    let mut out = vec![0.0; rows.n_rows() * w.n_outputs()];
    kernels.linear_split(w, &rows, Store::Add, &mut out);
    bits(&out)
}

/// What an identity reads from an activated layer's results, on this thread and by the current pool.
fn activated(kernels: Kernels, activation: Activation, parts: &[&QuantMatrix], x: &[f32]) -> [Vec<u32>; 2] {
    let (n_cols, n_inputs) = (parts[0].rows(), parts[0].cols());
    let ones: Vec<f32> = (0..n_cols * n_cols).map(|i| if i % (n_cols + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let identity = PackedLinear::pack(&QuantMatrix::quantise(n_cols, n_cols, &ones));
    let biases: Vec<Vec<f32>> = (0..parts.len() as u64).map(|i| values(i + 9, n_cols, false)).collect();
    let biases: Vec<&[f32]> = biases.iter().map(Vec::as_slice).collect();
    let w = PackedLinear::interleave(parts).with_interleaved_bias(&biases);
    let (mut rows, mut out) = (QuantRows::default(), QuantRows::default());
    kernels.quantise_rows(x, n_inputs, &mut rows);
    let read = |out: &QuantRows| {
        let mut read = vec![0.0; out.n_rows() * n_cols];
        kernels.linear(&identity, out, Store::Replace, &mut read);
        bits(&read)
    };
    kernels.linear_activated(&w, activation, &rows, n_cols, &mut out);
    let whole = read(&out);
    kernels.linear_activated_split(&w, activation, &rows, n_cols, &mut out);
    [whole, read(&out)]
}

/// Attention over a sequence in pieces of `piece` positions.
fn attention(
    kernels: Kernels,
    shape: AttentionShape,
    n_positions: usize,
    window: Option<usize>,
    piece: usize,
    seed: u64,
) -> Vec<u32> {
    let mut cache = KvCache::new(shape);
    let table = RopeTable::new(n_positions, shape.head_dim, 10_000.0);
    let mut all = Vec::new();
    let mut scratch = AttentionScratch::default();
    let stride = shape.q_len() + 2 * shape.kv_len();
    for first in (0..n_positions).step_by(piece) {
        let n_rows = piece.min(n_positions - first);
        let mut rows = Vec::new();
        for position in first..first + n_rows {
            let mut row = values(seed + position as u64, stride, false);
            kernels.rotate(&table, position, &mut row[..shape.q_len() + shape.kv_len()]);
            rows.extend(row);
        }
        let (keys, vals) = (&rows[shape.q_len()..], &rows[shape.q_len() + shape.kv_len()..]);
        kernels.append(&mut cache, n_rows, keys, vals, stride);
        let mut out = vec![0.0; n_rows * shape.q_len()];
        let positions = QueryRows { first, n_rows, window };
        kernels.attend(&cache, positions, 0.125, &rows, stride, &mut scratch, &mut out);
        all.extend(bits(&out));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn linear_layers(
        n_rows in 1usize..50,
        n_outputs in 1usize..70,
        n_inputs in 1usize..200,
        seed in any::<u64>(),
        wild in any::<bool>(),
    ) {
        let w = PackedLinear::pack(&QuantMatrix::quantise(n_outputs, n_inputs, &values(seed, n_outputs * n_inputs, wild)));
        let x = values(seed ^ 1, n_rows * n_inputs, wild);
        let expected = linear(Kernels::with_isa(lmgc_kernels::Isa::Scalar).unwrap(), &w, &x);
        for kernels in Kernels::available() {
            prop_assert_eq!(&linear(kernels, &w, &x), &expected, "{}", kernels.isa());
            if !wild {
                // 0 + -0 is 0, and nothing else changes by being added to 0.
                let sum: Vec<u32> = expected.iter().map(|&b| if b == 1 << 31 { 0 } else { b }).collect();
                prop_assert_eq!(&linear_split(kernels, &w, &x), &sum, "{}", kernels.isa());
            }
            for (row, expected) in x.chunks_exact(n_inputs).zip(expected.chunks_exact(n_outputs)) {
                prop_assert_eq!(&linear(kernels, &w, row), expected, "a row alone, {}", kernels.isa());
            }
        }
    }

    #[test]
    fn activated_layers(
        n_rows in 1usize..50,
        n_cols in 1usize..150,
        n_inputs in 1usize..130,
        seed in any::<u64>(),
        wild in any::<bool>(),
    ) {
        let part = |i| QuantMatrix::quantise(n_cols, n_inputs, &values(seed ^ i, n_cols * n_inputs, wild));
        let (gate, up) = (part(1), part(2));
        let x = values(seed ^ 3, n_rows * n_inputs, wild);
        for (activation, parts) in [(Activation::SiluMul, vec![&gate, &up]), (Activation::GeluTanh, vec![&up])] {
            let run = |kernels, x| activated(kernels, activation, &parts, x);
            let [expected, split] = run(Kernels::with_isa(lmgc_kernels::Isa::Scalar).unwrap(), &x);
            prop_assert_eq!(&split, &expected);
            for kernels in Kernels::available() {
                for found in run(kernels, &x) {
                    prop_assert_eq!(&found, &expected, "{}", kernels.isa());
                }
                let alone = run(kernels, &x[..n_inputs]);
                prop_assert_eq!(&alone[0], &expected[..n_cols], "a row alone, {}", kernels.isa());
            }
        }
    }

    #[test]
    fn element_wise_and_norms(n in 1usize..100, seed in any::<u64>(), wild in any::<bool>()) {
        let run = |kernels: Kernels| {
            let (x, w) = (values(seed, 3 * n, wild), values(seed ^ 2, n, wild));
            let mut norm = vec![0.0; 3 * n];
            kernels.rms_norm(&x, &w, 1e-5, &mut norm);
            let mut weights = vec![0; x.len()];
            kernels.logit_weights(&x, &mut weights);
            (bits(&norm), weights)
        };
        let expected = run(Kernels::with_isa(lmgc_kernels::Isa::Scalar).unwrap());
        for kernels in Kernels::available() {
            prop_assert_eq!(&run(kernels), &expected, "{}", kernels.isa());
        }
    }

    #[test]
    fn attention_layers(
        (n_kv_heads, group) in (1usize..4, 1usize..4),
        half_dim in 1usize..70,
        n_positions in 1usize..150,
        window in proptest::option::of(1usize..70),
        piece in 2usize..40,
        seed in 0u64..1 << 40,
    ) {
        let shape = AttentionShape { n_heads: n_kv_heads * group, n_kv_heads, head_dim: 2 * half_dim };
        let run = |kernels, piece| attention(kernels, shape, n_positions, window, piece, seed);
        let expected = run(Kernels::with_isa(lmgc_kernels::Isa::Scalar).unwrap(), 1);
        for kernels in Kernels::available() {
            for piece in [1, piece, n_positions] {
                prop_assert_eq!(&run(kernels, piece), &expected, "{}, pieces of {}", kernels.isa(), piece);
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let w = PackedLinear::pack(&QuantMatrix::quantise(333, 97, &values(5, 333 * 97, false)));
    let x = values(6, 50 * 97, false);
    let kernels = Kernels::detect();
    let expected = linear(kernels, &w, &x);
    for n_threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        assert_eq!(pool.install(|| linear_split(kernels, &w, &x)), expected, "{n_threads} threads");
    }
}

#[test]
fn linear_agrees_with_the_definition_in_f64() {
    let (n_outputs, n_inputs) = (19, 70);
    let matrix = QuantMatrix::quantise(n_outputs, n_inputs, &values(1, n_outputs * n_inputs, false));
    let x = QuantMatrix::quantise(1, n_inputs, &values(2, n_inputs, false));
    let mut x_values = vec![0.0; n_inputs];
    x.dequantise_row(0, &mut x_values);
    let mut rows = QuantRows::default();
    let kernels = Kernels::detect();
    kernels.quantise_rows(&values(2, n_inputs, false), n_inputs, &mut rows);
    let mut out = vec![0.0; n_outputs];
    kernels.linear(&PackedLinear::pack(&matrix), &rows, Store::Replace, &mut out);
    for (row, &y) in out.iter().enumerate() {
        let mut w = vec![0.0; n_inputs];
        matrix.dequantise_row(row, &mut w);
        let exact: f64 = w.iter().zip(&x_values).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        assert!((exact - f64::from(y)).abs() < 1e-5, "{row}: {exact} {y}");
    }
}

#[test]
fn attention_agrees_with_softmax_in_f64() {
    let shape = AttentionShape { n_heads: 1, n_kv_heads: 1, head_dim: 20 };
    let mut cache = KvCache::new(shape);
    let n = 37;
    let keys: Vec<_> = (0..n).map(|i| values(i + 1, 20, false)).collect();
    let vals: Vec<_> = (0..n).map(|i| values(i + 100, 20, false)).collect();
    let kernels = Kernels::detect();
    kernels.append(&mut cache, keys.len(), &keys.concat(), &vals.concat(), 20);
    let q = values(77, 20, false);
    let mut out = vec![0.0; 20];
    let positions = QueryRows { first: n as usize - 1, n_rows: 1, window: None };
    kernels.attend(
        &cache,
        positions,
        0.3 * core::f32::consts::LOG2_E,
        &q,
        20,
        &mut AttentionScratch::default(),
        &mut out,
    );
    let scores: Vec<f64> =
        keys.iter().map(|k| 0.3 * k.iter().zip(&q).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()).collect();
    let total: f64 = scores.iter().map(|s| s.exp()).sum();
    for d in 0..20 {
        let exact: f64 = scores.iter().zip(&vals).map(|(s, v)| s.exp() / total * f64::from(v[d])).sum();
        // Queries, keys, values and weights have 8 bits each.
        assert!((exact - f64::from(out[d])).abs() < 0.02, "{exact} {}", out[d]);
    }
}
