//! Kernels of particular families: every instruction set gives the scalar path's bits, and a row alone those of a batch.

mod common;

use common::{bits, values};
use lmgc_kernels::{Isa, Kernels, RopeScaling, RopeTable};
use proptest::prelude::*;

fn layer_norm(kernels: Kernels, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<u32> {
    let mut out = vec![0.0; x.len()];
    kernels.layer_norm(x, weight, bias, 1e-5, &mut out);
    bits(&out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn norms(n in 1usize..100, rows in 1usize..40, seed in any::<u64>(), wild in any::<bool>()) {
        let (x, w, b) = (values(seed, rows * n, wild), values(seed ^ 2, n, wild), values(seed ^ 3, n, wild));
        let heads = |kernels: Kernels| {
            let mut heads = x.clone();
            kernels.rms_norm_heads(&mut heads, &w, 1e-6);
            bits(&heads)
        };
        let scalar = Kernels::with_isa(Isa::Scalar).unwrap();
        let (expected, expected_heads) = (layer_norm(scalar, &x, &w, &b), heads(scalar));
        for kernels in Kernels::available() {
            prop_assert_eq!(&layer_norm(kernels, &x, &w, &b), &expected, "{}", kernels.isa());
            prop_assert_eq!(&heads(kernels), &expected_heads, "{}", kernels.isa());
            let alone: Vec<u32> = x.chunks_exact(n).flat_map(|row| layer_norm(kernels, row, &w, &b)).collect();
            prop_assert_eq!(&alone, &expected, "rows alone, {}", kernels.isa());
        }
    }

    #[test]
    fn rotation_by_scaled_tables(half in 1usize..40, position in 0usize..300, seed in any::<u64>()) {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 64,
        };
        let table = RopeTable::scaled(300, 2 * half, 10_000.0, &scaling);
        let rotate = |kernels: Kernels| {
            let mut heads = values(seed, 6 * half, false);
            kernels.rotate(&table, position, &mut heads);
            bits(&heads)
        };
        let expected = rotate(Kernels::with_isa(Isa::Scalar).unwrap());
        for kernels in Kernels::available() {
            prop_assert_eq!(&rotate(kernels), &expected, "{}", kernels.isa());
        }
    }
}
