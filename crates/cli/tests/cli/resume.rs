//! A compression with a language model, killed and run again.

use std::thread::sleep;
use std::time::Duration;

use lmgc_testkit::{alternating_tensors, gradient_like};

use crate::sandbox::Sandbox;

const N_TENSORS: usize = 24;
const TENSOR_BYTES: usize = 1200;

fn input() -> Vec<u8> {
    alternating_tensors(1, N_TENSORS, TENSOR_BYTES)
}

const COMPRESS: [&str; 8] = ["compress", "g", "--codec", "lm", "--model", "tiny", "--window", "256"];

/// Starts the job and, once it has kept some blocks, kills it. Meanwhile another one is refused.
fn kill_midway(sandbox: &Sandbox) {
    let mut child = sandbox.start(&COMPRESS);
    let part = sandbox.path("g.lmgc.part");
    let n_kept = || std::fs::metadata(&part).map_or(0, |metadata| metadata.len());
    while n_kept() < 3 * TENSOR_BYTES as u64 {
        assert!(child.try_wait().unwrap().is_none(), "the job ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    let refused = sandbox.run(&COMPRESS);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("another lmgc is compressing to g.lmgc"), "{}", refused.stderr);
    child.kill().unwrap();
    child.wait().unwrap();
    let names: Vec<_> = sandbox.snapshot().into_keys().collect();
    assert_eq!(names, [sandbox.path("g"), part.clone()]);
}

#[test]
fn a_killed_compression_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &input());
    kill_midway(&sandbox);
    let kept = sandbox.read("g.lmgc.part");

    let json = sandbox.ok(&[&COMPRESS[..], &["--json"]].concat()).json();
    let (n_resumed, n_blocks) = (&json[0]["resumed_blocks"], &json[0]["n_blocks"]);
    assert!(n_resumed.as_u64().unwrap() > 1 && *n_blocks == N_TENSORS + 1, "{n_resumed} of {n_blocks}");
    let resumed = sandbox.read("g.lmgc");
    assert_eq!(sandbox.snapshot().len(), 2, "no more than input and output");

    // The same once more, for people; then without an interruption.
    sandbox.remove("g.lmgc");
    sandbox.write("g.lmgc.part", &kept);
    let said = sandbox.ok(&COMPRESS).stderr;
    assert!(said.contains(&format!("resuming: {n_resumed} of {n_blocks} blocks (")), "{said}");
    assert!(sandbox.read("g.lmgc") == resumed);
    sandbox.write("g.lmgc.part", &kept);
    let json = sandbox.ok(&[&COMPRESS[..], &["--json", "--restart", "-f"]].concat()).json();
    assert_eq!(json[0]["resumed_blocks"], 0);
    assert!(sandbox.read("g.lmgc") == resumed, "resuming made another file");
    assert_eq!(sandbox.snapshot().len(), 2);

    sandbox.ok(&["decompress", "g.lmgc", "-o", "back"]);
    assert!(sandbox.read("back") == input());
}

#[test]
fn a_partial_file_of_other_settings_is_replaced_with_a_note() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &input());
    kill_midway(&sandbox);
    sandbox.write("g", &gradient_like(2, 500));
    let said = sandbox.ok(&COMPRESS).stderr;
    assert!(said.contains("starting afresh") && said.contains("another input"), "{said}");
    assert_eq!(sandbox.snapshot().len(), 2);
}

#[test]
fn restart_is_refused_where_it_would_be_ignored() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(3, 300));
    sandbox.fails(&["compress", "g", "--restart"], 2, &["--restart", "--codec lm"]);
}
