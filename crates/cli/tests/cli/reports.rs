//! What the program says: verify, inspect, JSON and help.

use lmgc_testkit::gradient_like;

use crate::sandbox::{Sandbox, tensor_fixtures};

#[test]
fn verify_tells_good_from_damaged() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(1, 5000));
    sandbox.ok(&["compress", "g"]);
    assert!(sandbox.ok(&["verify", "g.lmgc"]).text().contains("g.lmgc: ok"));
    let report = sandbox.ok(&["verify", "--json", "g.lmgc"]).json();
    assert_eq!((&report[0]["ok"], &report[0]["raw_bytes"]), (&true.into(), &5000.into()));
    assert!(sandbox.ok(&["verify", "-q", "g.lmgc"]).stdout.is_empty());

    let mut damaged = sandbox.read("g.lmgc");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    sandbox.write("damaged.lmgc", &damaged);
    sandbox.fails(&["verify", "damaged.lmgc"], 3, &["damaged.lmgc"]);
    let outcome = sandbox.run(&["verify", "--json", "damaged.lmgc"]);
    assert_eq!((outcome.code, &outcome.json()[0]["exit_code"]), (Some(3), &3.into()));
}

#[test]
fn inspect_shows_tensors_codecs_and_settings() {
    let sandbox = Sandbox::new();
    sandbox.write("t.safetensors", &tensor_fixtures()["mixed.safetensors"]);
    sandbox.ok(&["compress", "t.safetensors", "--codec", "lm", "--model", "tiny", "--format", "hex-none"]);
    let text = sandbox.ok(&["inspect", "--blocks", "t.safetensors.lmgc"]).text();
    for part in ["safetensors file", "format=hex-none", "tiny (fingerprint", "scale", "[3, 5]", "BF16", "lm", "lanes"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }

    let report = &sandbox.ok(&["inspect", "--json", "t.safetensors.lmgc"]).json()[0];
    assert_eq!(report["input"], "t.safetensors.lmgc");
    assert_eq!(report["raw_bytes"], sandbox.read("t.safetensors").len());
    assert_eq!(report["compressed_bytes"], sandbox.read("t.safetensors.lmgc").len());
    assert_eq!(report["original_blake3"].as_str().unwrap().len(), 64);
    assert_eq!(report["model"]["name"], "tiny");
    assert_eq!(report["settings"]["format"], "hex-none");
    let tensors = report["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 7);
    let w = tensors.iter().find(|tensor| tensor["name"] == "w").unwrap();
    assert_eq!((&w["dtype"], &w["raw_bytes"]), (&"F32".into(), &60.into()));
    assert_eq!(w["shape"], serde_json::json!([3, 5]));
    assert!(w["bits_per_value"].as_f64().unwrap() > 0.0);
    assert_eq!(report["blocks"], serde_json::json!([]));
    let report = &sandbox.ok(&["inspect", "--json", "--blocks", "t.safetensors.lmgc"]).json()[0];
    assert!(report["blocks"].as_array().unwrap().iter().any(|block| block["codec"] == "lm"));
}

#[test]
fn json_says_what_was_done() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(2, 2000));
    sandbox.write("empty", b"");
    let compress = ["compress", "--json", "g", "empty", "--codec", "lm", "--model", "tiny", "--window", "512"];
    let outcome = sandbox.ok(&compress);
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    let reports = outcome.json();
    assert_eq!(reports.len(), 2);
    let report = &reports[0];
    assert_eq!((&report["input"], &report["output"]), (&"g".into(), &"g.lmgc".into()));
    assert_eq!((&report["codec"], &report["round_trip"]), (&"lm".into(), &true.into()));
    assert_eq!((&report["settings"]["model"], &report["settings"]["window"]), (&"tiny".into(), &512.into()));
    let compressed_bytes = sandbox.read("g.lmgc").len();
    assert_eq!((&report["raw_bytes"], &report["compressed_bytes"]), (&2000.into(), &compressed_bytes.into()));
    let percent = compressed_bytes as f64 / 20.0;
    assert!((report["rate_percent"].as_f64().unwrap() - percent).abs() < 1e-9);
    assert!(report["bits_per_value"].as_f64().unwrap() > 0.0);
    assert!(reports[1]["rate_percent"].is_null(), "nothing has no rate");

    let report = &sandbox.ok(&["compress", "--json", "-f", "--no-verify", "-9", "g"]).json()[0];
    assert_eq!((&report["codec"], &report["round_trip"]), (&"auto".into(), &false.into()));
    assert_eq!(report["settings"]["level"], 9);
    let report = &sandbox.ok(&["decompress", "--json", "-f", "g.lmgc"]).json()[0];
    assert_eq!((&report["output"], &report["raw_bytes"]), (&"g".into(), &2000.into()));

    let outcome = sandbox.run(&["compress", "--json", "missing"]);
    let report = &outcome.json()[0];
    assert_eq!((outcome.code, &report["exit_code"]), (Some(1), &1.into()));
    assert!(report["error"].as_str().unwrap().contains("missing"));
}

#[test]
fn quiet_is_quiet() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(3, 500));
    for args in [&["compress", "-q", "g"][..], &["decompress", "-q", "-f", "g.lmgc"]] {
        let outcome = sandbox.ok(args);
        assert!(outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{args:?}: {}", outcome.stderr);
    }
}

#[test]
fn help_explains_every_verb() {
    let sandbox = Sandbox::new();
    let main = sandbox.ok(&["--help"]).text();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&main).contains("lmgc compress grad.safetensors"), "no example in:\n{main}");
    assert!(main.contains("Exit codes"), "{main}");
    for (verb, about) in [
        ("collect", "write its gradients"),
        ("tokenize", "language-model tokens"),
        ("detokenize", "back into the gradients' bytes"),
        ("compress", "Compress files"),
        ("decompress", "byte for byte"),
        ("verify", "checksums"),
        ("inspect", "header, tensors, codecs and sizes"),
        ("model", "in the model store"),
        ("demo", "embedded data"),
    ] {
        assert!(main.contains(&format!("\n  {verb} ")), "{verb} is not listed:\n{main}");
        let help = words(&sandbox.ok(&[verb, "--help"]).text());
        for part in [about, &format!("Usage: lmgc {verb}"), "--json"] {
            assert!(help.contains(part), "{verb} --help does not say {part:?}: {help}");
        }
    }
    let version = sandbox.ok(&["--version"]).text();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn this_machine_computes_what_others_do() {
    let sandbox = Sandbox::new();
    let lines = sandbox.ok(&["selftest", "--json"]).json();
    assert!(lines.len() > 15 && lines.iter().all(|line| line["ok"] == true), "{lines:?}");
    for codec in ["structural", "fast"] {
        assert!(lines.iter().any(|line| line["name"] == codec), "{codec}");
    }
}
