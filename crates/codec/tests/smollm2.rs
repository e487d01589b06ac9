//! With the real model: agreement with transformers, and round trips across threads.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{OneModel, lm_options, pack, unpack};
use lmgc_codec::lm::{LanguageModel, LmFormat, LmSettings, Mask};
use lmgc_model::{Engine, Kernels, OutputLayer, Segment, store};
use lmgc_serialize::Format;
use lmgc_testkit::gradient_like;

fn smollm2() -> OneModel {
    let path = store::resolve("smollm2-135m").unwrap();
    OneModel(Arc::new(LanguageModel::load("smollm2-135m", &path).unwrap()), Kernels::detect())
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn code_length_is_that_of_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/smollm2");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let ids: Vec<u32> = std::fs::read(folder.join("ids.bin"))
        .unwrap()
        .chunks_exact(2)
        .map(|id| u32::from(u16::from_le_bytes([id[0], id[1]])))
        .collect();
    assert_eq!(ids.len(), 8192);

    let models = smollm2();
    let output = OutputLayer::full(models.0.model());
    let mut engine = Engine::new(models.0.model(), &output, models.1, 1, 2047);
    let mut weights = vec![0; output.n_symbols()];
    let mut bits = 0.0;
    for window in ids.chunks(2047) {
        engine.reset(0);
        let inputs: Vec<u32> = [models.0.start_token()].into_iter().chain(window.iter().copied()).collect();
        for (inputs, targets) in inputs.chunks(128).zip(window.chunks(128)) {
            let segment = Segment { sequence: 0, tokens: &inputs[..targets.len()] };
            let logits = engine.forward(&[segment]).unwrap();
            for (logits, &target) in logits.chunks_exact(output.n_symbols()).zip(targets) {
                models.1.logit_weights(logits, &mut weights);
                let interval = lmgc_coder::interval_from_weights(&weights, target as usize);
                bits += 28.0 - f64::from(interval.frequency()).log2();
            }
        }
    }
    let found = bits / ids.len() as f64;
    let expected = expected["mean_bits_per_token"].as_f64().unwrap();
    println!("{found:.5} bits a token, transformers {expected:.5}: {:+.3} %", 100.0 * (found / expected - 1.0));
    assert!((found / expected - 1.0).abs() < 0.005, "{found} bits a token, transformers {expected}");
}

#[test]
#[ignore = "needs the SmolLM2 model: cargo xtask test runs it"]
fn round_trips_across_threads() {
    let models = smollm2();
    let original = gradient_like(1, 1024);
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    let text = LmSettings { window_tokens: 256, ..Default::default() };
    let mut settings: Vec<LmSettings> = [Format::HexNone, Format::HexSpace, Format::HexCommaSpace, Format::Iso]
        .map(|format| LmSettings { format: format.into(), ..text })
        .into();
    settings.push(LmSettings { mask: Mask::Grammar, lm_bits: Some(16), overlap_tokens: 50, ..text });
    settings.extend(LmFormat::SYMBOLS.map(|format| LmSettings { format, mix: true, overlap_tokens: 50, ..text }));
    for settings in settings {
        let format = settings.format;
        let codec = models.codec(settings);
        let (packed, report) = one.install(|| pack(&original, &lm_options(&codec)));
        assert!(two.install(|| pack(&original, &lm_options(&codec))).0 == packed, "{format}: the same file");
        assert!(two.install(|| unpack(&packed, &models)).unwrap() == original, "{format}");
        println!("{format}: {} tokens, {:.2} %", report.n_tokens, report.rate_percent());
    }
}
