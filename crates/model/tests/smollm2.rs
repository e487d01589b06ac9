//! The determinism contract on a real model: logits' bits never depend on how the work was done.
//!
//! As `bit_equality.rs`, but for the scalar path, which would take too long. Most runs have an output layer of some hundred
//! ids from all over the vocabulary, since the full one would take most of the time.

mod common;

use common::{Case, assert_same, pool, tokens};
use lmgc_model::{Isa, Kernels, LoadOptions, Model, OutputLayer, store};

const LONGEST: usize = 2047;
const LENGTHS: [usize; 9] = [1, 2, 31, 32, 33, 255, 256, 257, LONGEST];

fn smollm2() -> Model {
    let path = store::resolve("smollm2-135m").unwrap();
    Model::load(&path, &LoadOptions::default()).unwrap()
}

/// The instruction sets with vectors; where there are none, nothing is left to compare.
fn vectors() -> Vec<Kernels> {
    Kernels::available().into_iter().filter(|kernels| kernels.isa() != Isa::Scalar).collect()
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn logits_do_not_depend_on_how_the_work_is_done() {
    let mut case = Case::new("smollm2-135m", smollm2());
    let all = tokens(&case.model, 1, LONGEST);
    let full = case.run(Kernels::detect(), &all[..257], 257);
    for kernels in vectors() {
        let found = case.run(kernels, &all[..257], 100);
        assert_same(&found, &full, format_args!("{}, all ids", kernels.isa()));
    }

    let ids: Vec<u32> = (0..case.model.config().vocab_size as u32).step_by(97).collect();
    case.output = OutputLayer::restricted(&case.model, &ids).unwrap();
    let expected = case.run(Kernels::detect(), &all, LONGEST);
    let check = |kernels: Kernels, n: usize, piece: usize, n_threads: usize| {
        let found = pool(n_threads).install(|| case.run(kernels, &all[..n], piece));
        let isa = kernels.isa();
        assert_same(
            &found,
            &expected[..n],
            format_args!("{isa}, {n_threads} threads, {n} tokens in pieces of {piece}"),
        );
    };
    for kernels in vectors() {
        for n in LENGTHS {
            check(kernels, n, n, 2);
        }
        check(kernels, 257, 33, 3);
        check(kernels, 65, 1, 2);
    }
    for n_threads in [1, 2, 3, 8] {
        check(Kernels::detect(), LONGEST, 500, n_threads);
        check(Kernels::detect(), 100, 20, n_threads);
    }
    for kernels in vectors() {
        // The window itself among others, and several short ones.
        let others = [[200, 33, 1].as_slice(), &[2, 31, 32, 33, 65, 66, 17, 8, 130]]
            .map(|lengths| lengths.iter().zip(2..).map(|(&n, seed)| tokens(&case.model, seed, n)).collect::<Vec<_>>());
        let n = if kernels.isa() == Kernels::detect().isa() { LONGEST } else { 257 };
        for (others, n, max_piece, n_threads) in [(&others[0], n, 700, 2), (&others[1], 65, 4, 3)] {
            let mut sequences = vec![all[..n].to_vec()];
            sequences.extend_from_slice(others);
            let found = pool(n_threads).install(|| case.lockstep(kernels, &sequences, max_piece, 5));
            assert_same(&found[0], &expected[..n], format_args!("{}, {n} tokens among others", kernels.isa()));
            for (i, tokens) in others.iter().enumerate() {
                let alone = case.run(Kernels::detect(), tokens, tokens.len());
                assert_same(&found[i + 1], &alone, format_args!("{}, other {i}", kernels.isa()));
            }
        }
    }
}
