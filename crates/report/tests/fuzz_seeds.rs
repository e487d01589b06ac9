//! The fuzz targets of this crate (`fuzz/`) in small.

use lmgc_report::{Results, TrainingLog};
use lmgc_testkit::{fuzz_seeds, require_fuzz_seed, run_fuzz_target};
use serde_json::json;

#[path = "../../../fuzz/src/report.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod targets;

/// Two draws, an estimate with fields, a failure, a line as `lmgc bench` writes it, and one that breaks off.
fn results() -> String {
    let record = |draw: u32, codec: &str, rate: f64| {
        json!({
            "sweep": "s", "cell": format!("{codec} {draw}"), "status": "ok", "measure": "file", "input": "digits-convnet/0",
            "codec": codec, "settings": {"dataset": "digits", "arch": "convnet", "tag": "0", "draw": draw,
                "preprocess": "none", "model": "m", "format": "hex-space", "bytes_per_group": 4, "window": 256},
            "files": ["g"], "raw_bytes": 800, "compressed_bytes": 400, "rate_percent": rate, "bits_per_value": 16.0,
            "compress_mb_per_s": 1.5, "decompress_mb_per_s": 2.5, "seconds": 1.0, "round_trip": true, "error": null,
        })
    };
    let mut estimate = record(0, "lm", 40.0);
    estimate["measure"] = json!("estimate");
    estimate["bits_by_field"] = json!([{"field": "byte 3", "bits_per_value": 5.0}]);
    let mut failed = record(2, "zstd", 0.0);
    failed["status"] = json!("failed");
    failed["error"] = json!("no memory");
    failed["rate_percent"] = json!(null);
    let bench = json!({
        "input": "x", "codec": "zstd", "raw_bytes": 10, "compressed_bytes": 5, "rate_percent": 50.0,
        "bits_per_value": 16.0, "compress_mb_per_s": 1.0, "decompress_mb_per_s": 1.0, "round_trip": true,
    });
    let mut lines = String::new();
    for line in [record(0, "zstd", 50.0), record(1, "zstd", 51.0), estimate, failed, bench] {
        lines.push_str(&format!("{line}\n"));
    }
    lines + r#"{"sweep": "s", "ce"#
}

const LOG: &str = r#"{"event":"start","dataset":"digits","arch":"convnet","tag":"0"}
{"event":"step","step":1,"loss":2.5}
{"event":"step","step":2,"loss":null}
{"event":"epoch","epoch":1,"train_accuracy":0.5,"test_accuracy":null}

{"event":"other"}
{"event":"step","step":3,"loss":1.25}
{"event":"epoch","epoch":2,"test_accuracy":0.75}
{"event":"st"#;

#[test]
fn mutated_seeds_are_results_or_errors() {
    require_fuzz_seed("results", "several", results().as_bytes());
    require_fuzz_seed("training_log", "two_epochs", LOG.as_bytes());
    run_fuzz_target("results", targets::results, &[], 2000);
    run_fuzz_target("training_log", targets::training_log, &[], 2000);
}

#[test]
fn seeds_are_results() {
    for (name, seed) in fuzz_seeds("results") {
        let results = Results::parse(&name, &seed).unwrap();
        assert!((results.n_ok() + results.n_failed(), results.n_torn()) == (5, 1), "{name}");
    }
    for (name, seed) in fuzz_seeds("training_log") {
        assert!(TrainingLog::parse(&seed).is_ok_and(|log| log.losses.len() == 3), "{name}");
    }
}
