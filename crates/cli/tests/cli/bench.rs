//! `lmgc bench`: codecs side by side.

use lmgc_testkit::{Random, alternating_tensors, gradient_like};
use serde_json::Value;

use crate::sandbox::Sandbox;

fn line<'a>(lines: &'a [Value], codec: &str, scope: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["codec"] == codec && line["settings"]["scope"] == scope);
    found.unwrap_or_else(|| panic!("no line for {codec}, {scope} in {lines:?}"))
}

#[test]
fn json_has_the_keys_that_results_have() {
    let sandbox = Sandbox::new();
    let original = gradient_like(1, 40_000);
    sandbox.write("g", &original);
    let args = ["bench", "g", "--dtype", "F32", "--codecs", "gzip,zstd:3,split-zstd,auto", "--chunk-bytes", "512"];
    let lines = sandbox.ok(&[&args[..], &["--rounds", "2", "--json", "-o", "results.jsonl"]].concat()).json();
    assert_eq!(lines.len(), 7, "{lines:?}");
    for line in &lines {
        for key in ["rate_percent", "bits_per_value", "compress_mb_per_s", "decompress_mb_per_s", "compressed_bytes"] {
            assert!(line[key].as_f64().unwrap() > 0.0, "{key} in {line}");
        }
        assert_eq!((&line["input"], &line["round_trip"], &line["error"]), (&"g".into(), &true.into(), &Value::Null));
        assert_eq!((&line["raw_bytes"], &line["n_values"]), (&40_000.into(), &10_000.into()));
        assert_eq!(line["settings"]["rounds"], 2);
        assert_eq!(line["settings"]["threads"], 1);
        assert_eq!(line["settings"]["versions"]["lmgc"], env!("CARGO_PKG_VERSION"));
        let rate = 100.0 * line["compressed_bytes"].as_f64().unwrap() / 40_000.0;
        assert!((line["rate_percent"].as_f64().unwrap() - rate).abs() < 1e-9, "{line}");
        assert!((line["bits_per_value"].as_f64().unwrap() - rate * 0.32).abs() < 1e-9, "{line}");
        if cfg!(target_os = "linux") {
            assert!(line["peak_memory_bytes"].is_u64(), "{line}");
        }
    }
    assert_eq!(line(&lines, "zstd", "whole")["settings"]["level"], 3);
    assert_eq!(line(&lines, "gzip", "chunks")["settings"]["chunk_bytes"], 512);
    assert_eq!(line(&lines, "gzip", "chunks")["n_pieces"], 79);
    assert_eq!(line(&lines, "gzip", "whole")["settings"]["chunk_bytes"], Value::Null);

    // What `compress` writes has the very size.
    sandbox.ok(&["compress", "g"]);
    assert_eq!(line(&lines, "auto", "file")["compressed_bytes"], sandbox.read("g.lmgc").len());

    // Results are appended.
    let first = sandbox.read("results.jsonl");
    sandbox.ok(&["bench", "g", "-q", "--codecs", "raw", "--rounds", "1", "-o", "results.jsonl"]);
    let both = sandbox.read("results.jsonl");
    assert!(both.starts_with(&first) && both.iter().filter(|&&byte| byte == b'\n').count() == 8);
    assert_eq!(sandbox.read("g"), original);
}

#[test]
fn hard_inputs_all_go_through() {
    let sandbox = Sandbox::new();
    sandbox.write("empty", b"");
    sandbox.write("one", b"x");
    sandbox.write("noise", &Random::new(2).bytes(5003));
    sandbox.write("zeros", &[0; 1 << 16]);
    sandbox.write("t.safetensors", &alternating_tensors(3, 4, 1000));
    let inputs = ["empty", "one", "noise", "zeros", "t.safetensors"];
    let lines = sandbox.ok(&[&["bench", "--rounds", "1", "--json"], &inputs[..]].concat()).json();
    for input in inputs {
        let of_input: Vec<Value> = lines.iter().filter(|line| line["input"] == input).cloned().collect();
        for codec in ["gzip", "zstd", "split-zstd"] {
            assert_eq!(line(&of_input, codec, "whole")["round_trip"], true, "{input} {codec}");
        }
        assert_eq!(line(&of_input, "auto", "file")["round_trip"], true, "{input}");
        for line in &of_input {
            // A codec may refuse an input, but says so, and gives nothing else back.
            assert_eq!(line["round_trip"] == true, line["error"].is_null(), "{line}");
            assert_ne!(line["round_trip"], false, "{line}");
            assert_eq!(line["rate_percent"].is_null(), input == "empty" || !line["error"].is_null(), "{line}");
        }
    }
}

#[test]
fn people_get_a_table_by_rate_with_the_best_marked() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(4, 40_000));
    let args = ["bench", "g", "--dtype", "F32", "--codecs", "raw,gzip,split-zstd", "--rounds", "1"];
    let outcome = sandbox.ok(&args);
    let text = outcome.text();
    assert!(text.contains("10000 values of F32") && text.contains("% zeros") && text.contains("82.7 %"), "{text}");
    let place =
        |codec: &str| text.lines().position(|line| line.trim_start().starts_with(&format!("{codec} "))).unwrap();
    assert!(place("split-zstd") < place("gzip") && place("gzip") < place("raw"), "{text}");
    assert_eq!(text.matches('*').count(), 3, "{text}");
    assert!(!text.lines().nth(place("raw")).unwrap().contains('*'), "{text}");
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    assert!(sandbox.ok(&[&args[..], &["-q"]].concat()).stdout.is_empty());
}

#[test]
fn a_refusal_is_a_line_and_the_rest_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(5, 4000));
    // No level of a .lmgc file means zstd's 4.
    let args = ["bench", "g", "--codecs", "zstd:4,gzip:4", "--scope", "file", "--rounds", "1"];
    let lines = sandbox.ok(&[&args[..], &["--json"]].concat()).json();
    let refused = line(&lines, "zstd", "file");
    assert!(refused["error"].as_str().unwrap().contains("1, 2, 3, 5"), "{refused}");
    assert_eq!((&refused["round_trip"], &refused["rate_percent"]), (&Value::Null, &Value::Null));
    assert_eq!(line(&lines, "gzip", "file")["round_trip"], true);
    let text = sandbox.ok(&args).text();
    assert!(text.contains("zstd:4, file: refused: "), "{text}");
}

#[test]
fn a_language_model_is_measured_where_one_is_given() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(6, 600));
    let args = ["bench", "g", "--codecs", "gzip", "--model", "tiny", "--rounds", "1", "--json"];
    let lines = sandbox.ok(&args).json();
    assert_eq!(lines.len(), 2);
    let lm = line(&lines, "lm", "file");
    assert_eq!((&lm["round_trip"], &lm["settings"]["model"]), (&true.into(), &"tiny".into()));
    sandbox.fails(&["bench", "g", "--codecs", "lm"], 2, &["--model"]);
    sandbox.fails(&["bench", "g", "--model", "absent"], 1, &["absent"]);
}

#[test]
fn standard_input_is_measured_like_a_file() {
    let sandbox = Sandbox::new();
    let original = gradient_like(7, 3000);
    sandbox.write("g", &original);
    let args = |input| ["bench", input, "--codecs", "gzip", "--rounds", "1", "--json"];
    let (file, pipe) = (sandbox.ok(&args("g")).json(), sandbox.ok_pipe(&args("-"), &original).json());
    assert_eq!(pipe[0]["compressed_bytes"], file[0]["compressed_bytes"]);
    assert_eq!(pipe[0]["input"], "-");
}

#[test]
fn wrong_arguments_and_inputs() {
    let sandbox = Sandbox::new();
    sandbox.write("g", b"bytes");
    sandbox.fails(&["bench", "g", "--codecs", "gzip,bogus"], 2, &["bogus", "auto, raw, zstd, split-zstd, gzip"]);
    sandbox.fails(&["bench", "g", "--codecs", "zstd:23"], 2, &["zstd", "23", "1 to 22"]);
    sandbox.fails(&["bench", "g", "--scope", "bogus"], 2, &["bogus", "whole, tensor, chunks, file"]);
    sandbox.fails(&["bench", "g", "--dtype", "f32"], 2, &["f32"]);
    for zero in ["--rounds", "--chunk-bytes"] {
        sandbox.fails(&["bench", "g", zero, "0"], 2, &[zero]);
    }
    sandbox.fails(&["bench"], 2, &["--help"]);
    sandbox.fails(&["bench", "missing"], 1, &["missing"]);
    sandbox.fails(&["bench", "g", "-o", "nowhere/results"], 1, &["cannot write", "nowhere"]);
    // What came before a missing input stays said.
    let outcome = sandbox.run(&["bench", "g", "missing", "--codecs", "gzip", "--rounds", "1"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.text().contains("gzip"), "{}", outcome.text());
}
