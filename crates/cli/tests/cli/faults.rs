//! Kills, full disks, closed pipes and damaged files: what was there stays, and what is wrong is said.

use std::time::{Duration, Instant};

use lmgc_testkit::{Random, alternating_tensors, gradient_like};

use crate::sandbox::Sandbox;

/// How often a job is killed: `LMGC_KILLS` if set, else few enough for every day.
fn n_kills() -> u64 {
    std::env::var("LMGC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(16)
}

/// Kills a job that replaces `output` at random moments of its run. Each time the output must be the old one or the new one.
fn kill_at_random(args: &[&str], output: &str, input: (&str, &[u8]), old: &[u8]) {
    let sandbox = Sandbox::new();
    sandbox.write(input.0, input.1);
    let mut took = Duration::ZERO;
    for _ in 0..3 {
        sandbox.write(output, old);
        let start = Instant::now();
        sandbox.ok(args);
        took = took.max(start.elapsed());
    }
    let new = sandbox.read(output);
    assert!(new != old);

    let mut random = Random::new(1);
    let [mut n_old, mut n_new] = [0u64; 2];
    for _ in 0..n_kills() {
        sandbox.write(output, old);
        let mut child = sandbox.start(args);
        let moment = random.next_u64() as f64 / u64::MAX as f64;
        std::thread::sleep(took.mul_f64(moment * 1.05));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = sandbox.read(output);
        assert!(found == old || found == new, "{args:?}: killed after {moment} of its time, it left something else");
        *if found == old { &mut n_old } else { &mut n_new } += 1;
        assert!(sandbox.read(input.0) == input.1, "the input changed");
        // What a killed job leaves is hidden and has a name of its own.
        for path in sandbox.snapshot().into_keys() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name != input.0 && name != output {
                assert!(name.starts_with(".lmgc-") && name.ends_with(".tmp"), "{name}");
                sandbox.remove(&name);
            }
        }
    }
    println!("{args:?} killed {} times in {took:?}: {n_old} times the old output, {n_new} times the new", n_kills());
    assert!(n_old > 0, "no kill came in time");
    // Nothing in the way of the next run.
    sandbox.ok(args);
    assert!(sandbox.read(output) == new);
}

#[test]
fn killed_compressions_leave_the_old_output_or_the_new() {
    let input = alternating_tensors(3, 8, 300_000);
    let old = b"not even a .lmgc file".to_vec();
    kill_at_random(&["compress", "g", "-f", "--codec", "fast"], "g.lmgc", ("g", &input), &old);
}

#[test]
fn killed_decompressions_leave_the_old_output_or_the_new() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &alternating_tensors(4, 8, 300_000));
    sandbox.ok(&["compress", "g", "--codec", "structural"]);
    let packed = sandbox.read("g.lmgc");
    let old = gradient_like(5, 100_000);
    kill_at_random(&["decompress", "g.lmgc", "-f"], "g", ("g.lmgc", &packed), &old);
}

/// The shell limits how long files may get, and has the program see an error instead of a signal.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_output() {
    use std::process::Command;

    let sandbox = Sandbox::new();
    sandbox.write("g", &Random::new(6).bytes(300_000));
    sandbox.ok(&["compress", "g", "-o", "whole.lmgc"]);
    sandbox.write("out", b"old");
    let before = sandbox.snapshot();
    let limited = |args: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 64; exec \"$0\" {args}");
        let program = env!("CARGO_BIN_EXE_lmgc");
        Command::new("sh").args(["-c", &script, program]).current_dir(sandbox.path("")).output().unwrap()
    };
    for args in
        ["compress g -f -o out", "decompress whole.lmgc -f -o out", "decompress whole.lmgc --tensor '' -f -o out"]
    {
        let outcome = limited(args);
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert_eq!(outcome.status.code(), Some(1), "{args}: {said}");
        assert!(said.contains("cannot write out: File too large"), "{args}: {said}");
        assert!(sandbox.snapshot() == before, "{args} left something");
    }
    // A device that is always full.
    for args in [["compress", "g", "-f", "-o", "/dev/full"], ["decompress", "whole.lmgc", "-f", "-o", "/dev/full"]] {
        sandbox.fails(&args, 1, &["cannot write /dev/full", "No space left"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_error_is_told() {
    let sandbox = Sandbox::new();
    // Its first page cannot be read, and nothing can find its end.
    let memory = "/proc/self/mem";
    sandbox.fails(&["decompress", memory, "-o", "out"], 1, &[memory, "Input/output error"]);
    sandbox.fails(&["verify", memory], 1, &[memory, "Input/output error"]);
    sandbox.fails(&["compress", memory, "-o", "out"], 1, &[memory, "Invalid argument"]);
    sandbox.fails(&["inspect", memory], 1, &[memory, "Invalid argument"]);
}

#[test]
fn a_closed_pipe_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(7, 500_000));
    sandbox.ok(&["compress", "g"]);
    for args in [["decompress", "g.lmgc", "-o", "-"], ["compress", "g", "-o", "-"]] {
        let mut child = sandbox.start(&args);
        drop(child.stdout.take());
        let outcome = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert_eq!(outcome.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write to standard output") && !said.contains("panicked"), "{said}");
    }
}

/// Three large tensors, of which the first one's block is damaged.
fn with_damage() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("g", &alternating_tensors(8, 3, 300_000));
    sandbox.ok(&["compress", "g", "--codec", "fast", "-o", "whole.lmgc"]);
    let mut packed = sandbox.read("whole.lmgc");
    packed[100_000] ^= 4;
    sandbox.write("bad.lmgc", &packed);
    sandbox
}

#[test]
fn verify_says_which_tensors_are_hit() {
    let sandbox = with_damage();
    let said = ["bad.lmgc: 1 tensor damaged, 2 whole", "all bytes outside tensors are there", "block payload"];
    sandbox.fails(&["verify", "bad.lmgc"], 3, &said);
    // What to do about it is said where it can be done.
    let hint = "bad.lmgc: `lmgc decompress --salvage` restores what is whole";
    sandbox.fails(&["verify", "bad.lmgc"], 3, &[hint]);
    sandbox.fails(&["decompress", "bad.lmgc", "-o", "out"], 3, &["block payload", hint]);
    sandbox.write("other.lmgc", b"what is this");
    let outcome = sandbox.run(&["decompress", "other.lmgc", "-o", "out"]);
    assert!(outcome.code == Some(3) && !outcome.stderr.contains("salvage"), "{}", outcome.stderr);
    let outcome = sandbox.run(&["verify", "bad.lmgc", "--json"]);
    assert_eq!(outcome.code, Some(3));
    let damage = &outcome.json()[0]["damage"];
    assert_eq!((&damage["has_hashes"], &damage["n_lost_blocks"]), (&true.into(), &1.into()));
    assert_eq!(damage["damaged_tensors"].as_array().unwrap().len(), 1);
    assert_eq!(damage["damaged_tensors"][0]["lost_bytes"], 300_000);

    // All of several files are checked.
    let outcome = sandbox.run(&["verify", "other.lmgc", "bad.lmgc", "whole.lmgc"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.text().contains("whole.lmgc: ok"), "{}", outcome.text());
    for part in ["other.lmgc: not an lmgc file", "bad.lmgc: 1 tensor damaged", "2 of 3 files failed"] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn salvage_restores_what_is_whole() {
    let sandbox = with_damage();
    let original = sandbox.read("g");
    let outcome = sandbox.run(&["decompress", "bad.lmgc", "--salvage", "-o", "rest", "--json"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("not the whole original"), "{}", outcome.stderr);
    let record = &outcome.json()[0];
    let lost = &record["lost_ranges"];
    assert_eq!(lost.as_array().unwrap().len(), 1);
    let (from, len) = (lost[0]["offset"].as_u64().unwrap() as usize, lost[0]["bytes"].as_u64().unwrap() as usize);
    assert_eq!(len, 300_000);
    let rest = sandbox.read("rest");
    assert!(rest[..from] == original[..from] && rest[from + len..] == original[from + len..]);
    assert!(rest[from..from + len].iter().all(|&byte| byte == 0));

    sandbox.fails(&["decompress", "bad.lmgc", "--salvage", "-o", "rest"], 1, &["exists already"]);
    sandbox.ok(&["decompress", "whole.lmgc", "--salvage", "-o", "all"]);
    assert!(sandbox.read("all") == original);
    sandbox.fails(&["decompress", "whole.lmgc", "--salvage", "--tensor", "a", "-o", "b"], 2, &["cannot be used with"]);
    let mut headless = sandbox.read("whole.lmgc");
    headless[20] ^= 1;
    sandbox.write("headless.lmgc", &headless);
    sandbox.fails(&["decompress", "headless.lmgc", "--salvage", "-o", "c"], 3, &["header"]);
}
