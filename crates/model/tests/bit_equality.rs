//! The determinism contract on tiny models of every family: logits' bits never depend on how the work was done.
//!
//! Attention is causal, so the rows of a window of n tokens are the first n of every longer one. All runs of a model
//! are compared with one: the whole window of 2047 tokens on the scalar path.

mod common;

use std::path::Path;

use common::{Case, assert_same, load, pool, tokens};
use lmgc_model::{Isa, Kernels, LoadOptions, Model};
use lmgc_testkit::{TinyFamily, TinyModel};

const LONGEST: usize = 2047;
/// Around the edges of tiles, blocks and panels.
const LENGTHS: [usize; 9] = [1, 2, 31, 32, 33, 255, 256, 257, LONGEST];
const N_THREADS: [usize; 4] = [1, 2, 3, 8];

/// Every family, all with at least 2048 positions.
fn cases() -> Vec<Case> {
    let mistral = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/mistral");
    let mistral = Model::load(&mistral, &LoadOptions::default()).unwrap();
    assert_eq!(mistral.config().sliding_window, Some(64));
    // Sizes that fill neither blocks nor tiles.
    let odd = TinyModel {
        seed: 2,
        n_layers: 1,
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 10,
        d_model: Some(40),
        d_ffn: 50,
        tied: false,
        biases: true,
        ..TinyModel::default()
    };
    let mut cases = vec![Case::new("mistral", mistral), Case::new("odd sizes and biases", load(&odd))];
    cases.extend(TinyFamily::ALL.map(|family| Case::new(family.architecture(), load(&TinyModel::of(family)))));
    assert!(cases.iter().all(|case| case.model.config().max_positions >= 2048));
    cases
}

fn scalar() -> Kernels {
    Kernels::with_isa(Isa::Scalar).unwrap()
}

/// All but the scalar path, which is slow; that one where there is no other.
fn fast() -> Vec<Kernels> {
    let all = Kernels::available();
    if all.len() == 1 { all } else { all.into_iter().filter(|kernels| kernels.isa() != Isa::Scalar).collect() }
}

#[test]
fn instruction_sets_lengths_and_pieces() {
    for case in cases() {
        let tokens = tokens(&case.model, 1, LONGEST);
        let expected = case.run(scalar(), &tokens, LONGEST);
        for kernels in Kernels::available() {
            let check = |n: usize, piece: usize| {
                let found = case.run(kernels, &tokens[..n], piece);
                assert_same(
                    &found,
                    &expected[..n],
                    format_args!("{}, {}, {n} tokens in pieces of {piece}", case.name, kernels.isa()),
                );
            };
            let is_scalar = kernels.isa() == Isa::Scalar;
            for n in LENGTHS.into_iter().filter(|&n| !is_scalar || n < 255 || n == 257) {
                check(n, n);
            }
            for piece in [1, 7, 31, 32, 33, 100].into_iter().filter(|piece| !is_scalar || [1, 33].contains(piece)) {
                check(257, piece);
            }
            for piece in [1, 500].into_iter().filter(|_| !is_scalar) {
                check(LONGEST, piece);
            }
        }
    }
}

#[test]
fn threads() {
    for case in cases() {
        let tokens = tokens(&case.model, 2, LONGEST);
        let expected = pool(1).install(|| case.run(Kernels::detect(), &tokens, LONGEST));
        for n_threads in N_THREADS {
            pool(n_threads).install(|| {
                let check = |kernels: Kernels, n: usize, piece: usize| {
                    let found = case.run(kernels, &tokens[..n], piece);
                    let isa = kernels.isa();
                    assert_same(
                        &found,
                        &expected[..n],
                        format_args!("{}, {isa}, {n_threads} threads, {n} tokens in pieces of {piece}", case.name),
                    );
                };
                for n in LENGTHS {
                    check(Kernels::detect(), n, n);
                }
                for kernels in Kernels::available() {
                    check(kernels, 257, 257);
                    check(kernels, 257, 40);
                    check(kernels, 33, 1);
                }
            });
        }
    }
}

#[test]
fn a_sequence_among_others() {
    for case in cases() {
        // The first is long; the others' lengths lie around it and far below.
        let lengths = |i: usize| [300, 257, 256, 1, 33, 2, 100][i % 7] - i / 7 * usize::from(i % 7 < 3);
        let sequences: Vec<Vec<u32>> = (0..41).map(|i| tokens(&case.model, 10 + i as u64, lengths(i))).collect();
        let alone: Vec<_> = sequences.iter().map(|tokens| case.run(Kernels::detect(), tokens, LONGEST)).collect();
        for n_threads in N_THREADS {
            pool(n_threads).install(|| {
                // Threads matter alike to all instruction sets, so only one number of them meets all.
                let all = n_threads == 3;
                for kernels in if all { fast() } else { vec![Kernels::detect()] } {
                    // At once, and from step to step; narrow batches and wide ones.
                    let more: &[(usize, usize)] = if all { &[(2, 20), (10, 5), (41, 1000)] } else { &[] };
                    for &(n_sequences, max_piece) in [(3, 150), (41, 8)].iter().chain(more) {
                        let sequences = &sequences[..n_sequences];
                        let found = case.lockstep(kernels, sequences, max_piece, n_threads as u64);
                        for (i, (found, expected)) in found.iter().zip(&alone).enumerate() {
                            assert_same(
                                found,
                                expected,
                                format_args!(
                                    "{}, {}, {n_threads} threads, sequence {i} of {n_sequences}, pieces up to {max_piece}",
                                    case.name,
                                    kernels.isa()
                                ),
                            );
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn both_ways_to_get_logits_agree() {
    for case in cases() {
        for n in LENGTHS {
            let tokens = tokens(&case.model, 3, n);
            let whole = common::run(&case.model, &case.output, Kernels::detect(), &tokens, n);
            let hashes: Vec<_> = whole
                .iter()
                .map(|row| common::hash_of_bits(&row.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>()))
                .collect();
            assert_same(&case.run(Kernels::detect(), &tokens, n), &hashes, format_args!("{}, {n} tokens", case.name));
        }
    }
}
