//! `cargo bench -p lmgc-model`: whole windows of a small model, encoding and decoding. Items are tokens. For a real model
//! there is `lmgc bench-model`.

use divan::Bencher;
use divan::counter::ItemsCount;
use lmgc_model::{Engine, Kernels, Model, OutputLayer, Segment};
use lmgc_testkit::TinyModel;

fn main() {
    divan::main();
}

const WINDOW_TOKENS: usize = 512;

fn model() -> Model {
    let tiny = TinyModel { n_layers: 4, n_heads: 8, n_kv_heads: 2, head_dim: 32, d_ffn: 768, ..Default::default() };
    Model::from_gguf_bytes(&tiny.to_gguf()).expect("a tiny model loads")
}

fn tokens(model: &Model) -> Vec<u32> {
    (0..WINDOW_TOKENS as u32)
        .map(|i| i.wrapping_mul(0x9e37_79b9) >> 8)
        .map(|i| i % model.config().vocab_size as u32)
        .collect()
}

/// Encoding: a window at once.
#[divan::bench]
fn prefill(bencher: Bencher<'_, '_>) {
    let model = model();
    let (output, tokens) = (OutputLayer::full(&model), tokens(&model));
    let mut engine = Engine::new(&model, &output, Kernels::detect(), 1, WINDOW_TOKENS);
    bencher.counter(ItemsCount::new(WINDOW_TOKENS)).bench_local(|| {
        engine.reset(0);
        engine.forward_each(&[Segment { sequence: 0, tokens: &tokens }], |_, logits| logits[0])
    });
}

/// Decoding: one token of each of some windows, in their middle.
#[divan::bench(args = [1, 4, 16])]
fn decode(bencher: Bencher<'_, '_>, n_windows: usize) {
    let model = model();
    let (output, tokens) = (OutputLayer::full(&model), tokens(&model));
    let middle = WINDOW_TOKENS / 2;
    let mut engine = Engine::new(&model, &output, Kernels::detect(), n_windows, WINDOW_TOKENS);
    for sequence in 0..n_windows {
        engine.forward_each(&[Segment { sequence, tokens: &tokens[..middle] }], |_, _| ()).expect("the tokens fit");
    }
    let batch: Vec<Segment<'_>> =
        (0..n_windows).map(|sequence| Segment { sequence, tokens: &tokens[middle..][..1] }).collect();
    bencher.counter(ItemsCount::new(n_windows)).bench_local(|| {
        let first_logit = engine.forward(&batch).map(|logits| logits[0]);
        (0..n_windows).for_each(|sequence| engine.truncate(sequence, middle));
        first_logit
    });
}
