//! Training runs: what a kill leaves, and how they go on.

use std::thread::sleep;
use std::time::Duration;

use lmgc_testkit::gradient_like;

use crate::sandbox::Sandbox;

const RUN: [&str; 13] = [
    "collect",
    "--dataset",
    "digits",
    "--arch",
    "convnet",
    "--batch-size",
    "16",
    "--steps",
    "12",
    "--grad-interval",
    "2",
    "--seed",
    "5",
];

/// Starts a run and kills it once there are two gradient files.
fn kill_midway(sandbox: &Sandbox, out: &str) {
    let mut child = sandbox.start(&[&RUN[..], &["--out", out]].concat());
    let second = sandbox.path(&format!("{out}/digits-convnet/0/grads/grad_00000004.safetensors"));
    while !second.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_goes_on_to_the_same_gradients() {
    let sandbox = Sandbox::new();
    kill_midway(&sandbox, "killed");
    let gradients = |out: &str, step: u64| format!("{out}/digits-convnet/0/grads/grad_{step:08}.safetensors");
    // Whole files only; a temporary one may be left over.
    for (path, bytes) in sandbox.snapshot() {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let layout = lmgc_tensors::find_spans(&mut std::io::Cursor::new(bytes)).unwrap();
            assert_eq!(layout.format, lmgc_tensors::FileFormat::Safetensors, "{}", path.display());
        }
    }
    let said = sandbox.ok(&[&RUN[..], &["--out", "killed"]].concat());
    let resumed = said.stderr.contains("going on after step") || said.text().contains("going on after step");
    assert!(resumed, "{}\n{}", said.text(), said.stderr);
    let report = sandbox.ok(&[&RUN[..], &["--out", "whole", "--json"]].concat()).json();
    assert_eq!(report.last().unwrap()["n_resumed_steps"], 0);
    for step in [2, 4, 6, 8, 10, 12] {
        let (killed, whole) = (sandbox.read(&gradients("killed", step)), sandbox.read(&gradients("whole", step)));
        assert!(killed == whole, "step {step} differs");
    }
    let leftovers: Vec<_> =
        sandbox.snapshot().into_keys().filter(|path| path.extension().is_some_and(|e| e == "tmp")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");

    // Once more: there is nothing left to do. With other settings: refused, or begun anew.
    let report = sandbox.ok(&[&RUN[..], &["--out", "whole", "--json"]].concat()).json();
    assert_eq!(report.last().unwrap()["n_resumed_steps"], 12);
    let other = [&RUN[..11], &["--seed", "6", "--out", "whole"]].concat();
    sandbox.fails(&other, 2, &["seed = 5, not 6", "--tag", "--restart"]);
    sandbox.ok(&[&other[..], &["--restart"]].concat());
    assert!(sandbox.read(&gradients("whole", 2)) != sandbox.read(&gradients("killed", 2)));
}

#[test]
fn a_run_leaves_a_log_and_a_curve() {
    let sandbox = Sandbox::new();
    let run = ["--steps", "2", "--grad-interval", "2", "--batch-size", "1000", "--model-interval", "1", "--json"];
    let reports =
        sandbox.ok(&[&["collect", "--dataset", "digits", "--arch", "convnet", "--out", "e"], &run[..]].concat());
    let reports = reports.json();
    let epoch = reports.iter().find(|report| report["test_accuracy"].is_number()).unwrap();
    assert_eq!((&epoch["epoch"], &epoch["step"]), (&1.into(), &2.into()));
    let log = String::from_utf8(sandbox.read("e/digits-convnet/0/log.jsonl")).unwrap();
    let events: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["start", "step", "step", "epoch"]);
    let curve = String::from_utf8(sandbox.read("e/digits-convnet/0/curve.svg")).unwrap();
    assert!(curve.starts_with("<svg") && curve.contains("digits"), "{curve}");
    assert!(sandbox.path("e/digits-convnet/0/ckpts/model_001.safetensors").exists());
    let packed = "e/digits-convnet/0/ckpts/model_001.safetensors";
    sandbox.ok(&["compress", packed, "-o", "m.lmgc"]);
}

#[test]
fn a_damaged_state_is_bad_input() {
    let sandbox = Sandbox::new();
    sandbox.write("e/digits-convnet/0/state.safetensors", &gradient_like(1, 500));
    sandbox.write("e/digits-convnet/0/.lock", b"");
    sandbox.fails(&[&RUN[..], &["--out", "e"]].concat(), 3, &["state.safetensors", "--restart"]);
}
