//! The engine's edges, and that what `bit_equality.rs` compares depends on what it should.

mod common;

use common::{load, run, tokens};
use lmgc_model::{Engine, Error, Kernels, OutputLayer, Segment};
use lmgc_testkit::{TinyFamily, TinyModel};

#[test]
fn a_restricted_output_layer_gives_the_same_logits() {
    let model = load(&TinyModel::default());
    let kernels = Kernels::detect();
    let ids = [0, 3, 17, 18, 100, 255];
    let (full, some) = (OutputLayer::full(&model), OutputLayer::restricted(&model, &ids).unwrap());
    let tokens = tokens(&model, 5, 40);
    for (full, some) in run(&model, &full, kernels, &tokens, 40).iter().zip(run(&model, &some, kernels, &tokens, 40)) {
        assert_eq!(ids.map(|id| full[id as usize]).to_vec(), some);
    }
    assert_eq!((some.symbol_of(17), some.id_of(2), some.symbol_of(16)), (Some(2), Some(17), None));
    assert!(matches!(OutputLayer::restricted(&model, &[1, 10_000]), Err(Error::TokenOutOfRange { id: 10_000, .. })));
}

#[test]
fn a_reset_sequence_starts_afresh() {
    let model = load(&TinyModel::default());
    let output = OutputLayer::full(&model);
    let tokens = tokens(&model, 9, 40);
    let mut engine = Engine::new(&model, &output, Kernels::detect(), 1, 40);
    let first = engine.forward(&[Segment { sequence: 0, tokens: &tokens }]).unwrap().to_vec();
    assert_eq!(engine.n_tokens(0), 40);
    let full = engine.forward(&[Segment { sequence: 0, tokens: &tokens[..1] }]);
    assert!(matches!(full, Err(Error::WindowFull { position: 40, capacity_tokens: 40 })));
    engine.reset(0);
    assert_eq!(engine.forward(&[Segment { sequence: 0, tokens: &tokens }]).unwrap(), first);
    engine.reset(0);
    let unknown = engine.forward(&[Segment { sequence: 0, tokens: &[u32::MAX] }]);
    assert!(matches!(unknown, Err(Error::TokenOutOfRange { id: u32::MAX, .. })));
}

#[test]
fn fingerprints_tell_models_and_tables_apart() {
    let table: [&[u8]; 2] = [b"a", b"bc"];
    let model = load(&TinyModel::default());
    let fingerprint = model.fingerprint(table.into_iter());
    assert_eq!(fingerprint, load(&TinyModel::default()).fingerprint(table.into_iter()));
    let other: [&[u8]; 2] = [b"ab", b"c"];
    assert_ne!(fingerprint, model.fingerprint(other.into_iter()));
    let reseeded = load(&TinyModel { seed: 2, ..Default::default() });
    assert_ne!(fingerprint, reseeded.fingerprint(table.into_iter()));
}

#[test]
fn logits_depend_on_order_and_context() {
    // A model that ignored positions or context would pass every equality above.
    for family in TinyFamily::ALL {
        let model = load(&TinyModel::of(family));
        let output = OutputLayer::full(&model);
        let a = run(&model, &output, Kernels::detect(), &[5, 6, 7], 3);
        let b = run(&model, &output, Kernels::detect(), &[6, 5, 7], 3);
        assert_ne!(a[2], b[2]);
        assert_ne!(a[0], a[1]);
    }
}

#[test]
fn learned_positions_end() {
    let model = load(&TinyModel { max_positions: 4, ..TinyModel::of(TinyFamily::Gpt2) });
    let output = OutputLayer::full(&model);
    let mut engine = Engine::new(&model, &output, Kernels::detect(), 1, 100);
    let beyond = engine.forward(&[Segment { sequence: 0, tokens: &[1; 5] }]);
    assert!(matches!(beyond, Err(Error::WindowFull { position: 4, capacity_tokens: 4 })));
    assert!(engine.forward(&[Segment { sequence: 0, tokens: &[1; 4] }]).is_ok());
}
