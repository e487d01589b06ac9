//! Experiment matrices, and reports of them.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::sandbox::Sandbox;

const CONFIG: &str = "\
name = 'tiny'
[gradients]
datasets = ['digits', 'digit']
archs = ['convnet']
[gradients.collect]
steps = 4
grad-interval = 1
batch-size = 8
[draws]
seeds = [0, 1, 2]
bytes = [4096]
pieces = 2
[[lm]]
models = ['tiny', 'nobody']
formats = ['hex-space', 'hex-none']
windows = [64, 128]
[[codecs]]
names = ['zstd', 'structural']
scopes = ['file', 'chunks']
";
const N_CELLS: usize = 2 * 3 * (8 + 4);
const N_OK: usize = 3 * (4 + 4);

fn results(sandbox: &Sandbox) -> Vec<Value> {
    let text = String::from_utf8(sandbox.read("results/tiny/results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last result of each cell.
fn sizes(results: &[Value]) -> BTreeMap<String, Value> {
    results.iter().map(|line| (line["cell"].as_str().unwrap().to_owned(), line["compressed_bytes"].clone())).collect()
}

#[test]
fn a_killed_sweep_goes_on_and_its_report_has_every_cell() {
    let sandbox = Sandbox::new();
    sandbox.write("tiny.toml", CONFIG.as_bytes());
    let listed = sandbox.ok(&["sweep", "tiny.toml", "--list", "--json"]).json();
    assert_eq!(listed.len(), N_CELLS);

    let mut child = sandbox.start(&["sweep", "tiny.toml"]);
    let file = sandbox.path("results/tiny/results.jsonl");
    let n_lines = || std::fs::read(&file).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count();
    while n_lines() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "the sweep ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let n_before = n_lines();
    assert!(n_before < N_CELLS);
    // As if the kill had hit a write.
    let mut bytes = sandbox.read("results/tiny/results.jsonl");
    bytes.extend(b"{\"sweep\":\"tiny\",\"cell\":\"dig");
    sandbox.write("results/tiny/results.jsonl", &bytes);

    let outcome = sandbox.run(&["sweep", "tiny.toml"]);
    assert_eq!(outcome.code, Some(1), "cells failed: {}", outcome.stderr);
    assert!(outcome.stderr.contains("48 cells failed; the first: "), "{}", outcome.stderr);
    assert!(outcome.text().contains(&format!("{N_OK} of {N_CELLS} cells have results")), "{}", outcome.text());
    let after = results(&sandbox);
    let n_ok = |results: &[Value]| results.iter().filter(|line| line["status"] == "ok").count();
    assert_eq!((sizes(&after).len(), n_ok(&after)), (N_CELLS, N_OK), "each cell once, failures perhaps twice");
    let reason_of = |cell: &str| {
        let line = after.iter().find(|line| line["cell"].as_str().unwrap().starts_with(cell)).unwrap();
        line["error"].as_str().unwrap().to_owned()
    };
    assert!(reason_of("digit-convnet/0 draw 2").contains("unknown data set `digit`"));
    for line in &after {
        let failed = line["status"] == "failed";
        assert_eq!((line["error"].is_string(), line["round_trip"].is_null()), (failed, failed), "{line}");
    }

    let report = sandbox.ok(&["report", "results/tiny", "-o", "report", "--json"]).json();
    assert_eq!((report[0]["n_ok"].as_u64(), report[0]["n_failed"].as_u64()), (Some(24), Some(48)), "{}", report[0]);
    let page = String::from_utf8(sandbox.read("report/index.html")).unwrap();
    for words in
        ["digits, convnet", "tiny hex-none w64", "unknown data set", "model &#39;nobody&#39; is not in the model store"]
    {
        assert!(page.contains(words), "{words}");
    }
    for name in
        ["tables.md", "summary.csv", "cells.csv", "rate-by-codec.svg", "rate-by-window.png", "bits-by-field.svg"]
    {
        assert!(!sandbox.read(&format!("report/{name}")).is_empty());
    }
    assert_eq!(sandbox.run(&["report", "results/tiny", "-o", "report"]).code, Some(1), "-f is for that");
    let said = sandbox.ok(&["report", "results/tiny", "-o", "report", "-f"]).text();
    assert!(said.contains("24 cells with results, 48 failed"), "{said}");
    sandbox.write("wrong.jsonl", b"not a result\n");
    assert_eq!(sandbox.run(&["report", "wrong.jsonl", "-o", "other"]).code, Some(3));
    assert_eq!(sandbox.run(&["report", "nothing", "-o", "other"]).code, Some(1));

    // The unbroken sweep has the same sizes.
    let whole = sandbox.run(&["sweep", "tiny.toml", "-o", "whole", "--json"]);
    assert_eq!(sizes(&whole.json()[..N_CELLS]), sizes(&after));
    let failures = whole.json()[N_CELLS..].to_vec();
    assert!(failures.len() == 1 && failures[0]["exit_code"] == 1, "{failures:?}");
}

#[test]
fn estimates_and_bad_configurations() {
    let sandbox = Sandbox::new();
    let config = CONFIG.replace(", 'digit'", "").replace(", 'nobody'", "");
    sandbox.write("tiny.toml", config.as_bytes());
    let lines = sandbox.ok(&["sweep", "tiny.toml", "--estimate", "--json"]).json();
    assert_eq!(lines.len(), 3 * (4 + 4));
    for line in &lines {
        let is_estimate = line["codec"] == "lm" || line["codec"] == "structural";
        assert_eq!(line["measure"] == "estimate", is_estimate, "{line}");
        assert_eq!(line["decompress_mb_per_s"].is_null(), is_estimate);
    }
    let said = sandbox.ok(&["sweep", "tiny.toml", "--estimate"]).text();
    assert!(said.contains("24 of 24 cells are done") || said.contains("24 cells"), "{said}");

    for (text, words) in [
        ("name = 'x'\n", "gradients"),
        (&CONFIG.replace("windows", "window"), "windows"),
        ("name = ", "line 1"),
        (&CONFIG.replace("seeds = [0, 1, 2]", "seeds = []"), "empty list"),
    ] {
        sandbox.write("bad.toml", text.as_bytes());
        let outcome = sandbox.run(&["sweep", "bad.toml"]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("bad.toml") && outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
    }
    assert_eq!(sandbox.run(&["sweep", "none.toml"]).code, Some(1));
    sandbox.write("broken/results.jsonl", b"{}\n");
    let outcome = sandbox.run(&["sweep", "tiny.toml", "-o", "broken"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("line 1") && outcome.stderr.contains("--restart"), "{}", outcome.stderr);
    sandbox.ok(&["sweep", "tiny.toml", "-o", "broken", "--restart", "-q"]);
}
