//! From training to tokens and back.

use std::collections::BTreeMap;

use lmgc_tensors::{Dtype, PARAMETER_ORDER_KEY, safetensors};
use lmgc_testkit::gradient_like;

use crate::sandbox::Sandbox;

/// A gradient file whose parameter order is not that of its bytes, and its bytes in parameter order.
fn gradient_file(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let (weight, bias) = (gradient_like(seed, 600), gradient_like(seed + 100, 40));
    let tensors = [
        ("z.weight".to_owned(), Dtype::F32, vec![10, 15], weight.as_slice()),
        ("a.bias".to_owned(), Dtype::F32, vec![10], bias.as_slice()),
    ];
    let order = [(PARAMETER_ORDER_KEY.to_owned(), r#"["z.weight","a.bias"]"#.to_owned())];
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &tensors, &BTreeMap::from(order)).unwrap();
    let position = |part: &[u8]| file.windows(part.len()).position(|window| window == part).unwrap();
    assert!(position(&bias) < position(&weight), "the orders are the same: nothing is tested");
    (file, [weight, bias].concat())
}

#[test]
fn tokens_turn_back_into_the_tensors_in_parameter_order() {
    let sandbox = Sandbox::new();
    let (file, bytes) = gradient_file(1);
    sandbox.write("g.safetensors", &file);
    for format in ["hex-none", "hex-space", "iso"] {
        sandbox.ok(&["tokenize", "-f", "g.safetensors", "--model", "tiny", "-o", "g.tokens", "--format", format]);
        sandbox.ok(&["detokenize", "-f", "g.tokens", "-o", "back"]);
        assert!(sandbox.read("back") == bytes, "{format}");
    }
    let model = sandbox.tiny_gguf();
    sandbox.ok(&["detokenize", "-f", "g.tokens", "-o", "back", "--model", &model]);
    assert!(sandbox.read("back") == bytes);
    assert_eq!(sandbox.ok(&["detokenize", "g.tokens", "-o", "-"]).stdout, bytes);
    sandbox.fails(&["detokenize", "g.tokens", "-o", "back"], 1, &["back", "-f"]);
    sandbox.fails(&["tokenize", "g.safetensors", "--model", "tiny", "-o", "g.tokens"], 1, &["g.tokens", "-f"]);
}

#[test]
fn several_files_and_directories() {
    let sandbox = Sandbox::new();
    let mut all = Vec::new();
    for (seed, name) in [(1, "grads/1.safetensors"), (2, "grads/2.safetensors"), (3, "grads/3.safetensors")] {
        let (file, bytes) = gradient_file(seed);
        sandbox.write(name, &file);
        all.extend(bytes);
    }
    sandbox.write("grads/.hidden", b"not a gradient");
    let files = ["grads/1.safetensors", "grads/2.safetensors", "grads/3.safetensors"];
    sandbox.ok(&[&["tokenize", "--model", "tiny", "-o", "files.tokens"], &files[..]].concat());
    let outcome = sandbox.ok(&["tokenize", "--json", "grads", "--model", "tiny", "-o", "directory.tokens"]);
    assert_eq!(sandbox.read("files.tokens"), sandbox.read("directory.tokens"));
    let report = &outcome.json()[0];
    assert_eq!((&report["n_sources"], &report["raw_bytes"]), (&3.into(), &all.len().into()));

    let report = &sandbox.ok(&["detokenize", "--json", "directory.tokens", "-o", "back"]).json()[0];
    assert!(sandbox.read("back") == all);
    assert_eq!(report["sources"], serde_json::json!(["1.safetensors", "2.safetensors", "3.safetensors"]));

    let draw = ["tokenize", "-f", "grads", "--model", "tiny", "-o", "two.tokens", "--num-subsample"];
    sandbox.ok(&[&draw[..], &["2"]].concat());
    assert_eq!(sandbox.ok(&["detokenize", "two.tokens", "-o", "-"]).stdout.len(), all.len() / 3 * 2);
    sandbox.fails(&[&draw[..], &["4"]].concat(), 2, &["4", "3"]);
    std::fs::create_dir(sandbox.path("hollow")).unwrap();
    sandbox.fails(&["tokenize", "hollow", "--model", "tiny", "-o", "x"], 1, &["hollow", "no files"]);
}

#[test]
fn preprocessing_is_said_to_be_lossy() {
    let sandbox = Sandbox::new();
    let (file, bytes) = gradient_file(1);
    sandbox.write("g.safetensors", &file);
    let tokenize = ["tokenize", "g.safetensors", "--model", "tiny", "-o"];
    let outcome = sandbox.ok(&[&tokenize[..], &["lossy", "--preprocess", "sparsification50"]].concat());
    assert!(outcome.stderr.contains("sparsification50 is lossy"), "{}", outcome.stderr);
    let sparse = sandbox.ok(&["detokenize", "lossy", "-o", "-"]).stdout;
    assert!(!sparse.is_empty() && sparse.len() < bytes.len());
    // What is kept is kept as it was, in order.
    let mut values = bytes.chunks(4);
    assert!(sparse.chunks(4).all(|kept| values.any(|value| value == kept)));
    sandbox.ok(&[&tokenize[..], &["bins", "--preprocess", "quantization8"]].concat());
    assert_eq!(sandbox.ok(&["detokenize", "bins", "-o", "-"]).stdout.len(), bytes.len() / 4);
    let outcome = sandbox.ok(&[&tokenize[..], &["lossless"]].concat());
    assert!(!outcome.stderr.contains("lossy"), "{}", outcome.stderr);
}

#[test]
fn token_data_sets_compress_with_the_model() {
    let sandbox = Sandbox::new();
    sandbox.write("g.safetensors", &gradient_file(1).0);
    sandbox.ok(&["tokenize", "g.safetensors", "--model", "tiny", "-o", "g.tokens"]);
    let report = &sandbox.ok(&["compress", "--json", "g.tokens", "--codec", "lm", "--model", "tiny"]).json()[0];
    // Four bytes an id: the model sees the ids themselves, not the text of their bytes.
    let n_tokens = report["n_tokens"].as_u64().unwrap();
    assert!(n_tokens > 640 && 4 * n_tokens <= report["raw_bytes"].as_u64().unwrap(), "{n_tokens} tokens");
    sandbox.ok(&["decompress", "g.tokens.lmgc", "-o", "back"]);
    assert_eq!(sandbox.read("back"), sandbox.read("g.tokens"));
}

#[test]
fn damaged_data_sets() {
    let sandbox = Sandbox::new();
    sandbox.write("g.safetensors", &gradient_file(1).0);
    sandbox.ok(&["tokenize", "g.safetensors", "--model", "tiny", "-o", "g.tokens"]);
    let tokens = sandbox.read("g.tokens");
    for len in [0, 7, 100, tokens.len() - 1] {
        sandbox.write("cut.tokens", &tokens[..len]);
        sandbox.fails(&["detokenize", "cut.tokens", "-o", "x"], 3, &["cut.tokens"]);
    }
    sandbox.fails(&["detokenize", "g.safetensors", "-o", "x"], 3, &["g.safetensors", "not a usable token dataset"]);
    sandbox.forget_models();
    sandbox.fails(&["detokenize", "g.tokens", "-o", "x"], 1, &["'tiny'", "--model"]);
}

#[test]
fn collected_gradients_are_where_the_help_says_and_repeat() {
    let sandbox = Sandbox::new();
    let collect = |out| {
        let args = ["--steps", "1", "--grad-interval", "1", "--batch-size", "8", "--seed", "7", "--out", out];
        sandbox.ok(&[&["collect", "--json", "--dataset", "digits", "--arch", "convnet"], &args[..]].concat())
    };
    let reports = collect("first").json();
    let file = |out: &str| format!("{out}/digits-convnet/0/grads/grad_00000001.safetensors");
    let gradients = sandbox.read(&file("first"));
    let reported = std::path::Path::new(reports[0]["gradient_file"].as_str().unwrap());
    assert_eq!(sandbox.path(reported.to_str().unwrap()), sandbox.path(&file("first")));
    assert_eq!(reports.last().unwrap()["n_steps"], 1);
    collect("second");
    assert!(sandbox.read(&file("second")) == gradients, "the same seed gives other gradients");

    let packed = file("first") + ".lmgc";
    sandbox.ok(&["compress", &file("first")]);
    sandbox.ok(&["decompress", &packed, "-o", "back"]);
    assert!(sandbox.read("back") == gradients);
    let report = &sandbox.ok(&["inspect", "--json", &packed]).json()[0];
    assert_eq!(report["file_format"], "safetensors");
}
