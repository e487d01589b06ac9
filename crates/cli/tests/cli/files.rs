//! Round trips through files and pipes.

use std::collections::BTreeMap;

use lmgc_testkit::{Random, gradient_like};

use crate::sandbox::{Sandbox, tensor_fixtures};

#[test]
fn files_come_back_under_their_names_and_inputs_stay() {
    let sandbox = Sandbox::new();
    let mut originals: BTreeMap<String, Vec<u8>> = tensor_fixtures();
    originals.insert("empty.bin".into(), Vec::new());
    originals.insert("one.bin".into(), vec![0xa5]);
    originals.insert("gradient.bin".into(), gradient_like(1, 100_003));
    originals.insert("noise".into(), Random::new(2).bytes(5000));
    let names: Vec<&str> = originals.keys().map(String::as_str).collect();
    for (name, bytes) in &originals {
        sandbox.write(name, bytes);
    }

    let outcome = sandbox.ok(&[&["compress"], names.as_slice()].concat());
    assert!(outcome.stdout.is_empty(), "{}", outcome.text());
    for (name, bytes) in &originals {
        assert_eq!(&sandbox.read(name), bytes, "{name} changed");
        assert!(outcome.stderr.contains(name), "{name} is not reported");
        sandbox.remove(name);
    }
    assert!(sandbox.read("gradient.bin.lmgc").len() < 95_000);

    let packed: Vec<String> = names.iter().map(|name| format!("{name}.lmgc")).collect();
    let packed: Vec<&str> = packed.iter().map(String::as_str).collect();
    sandbox.ok(&[&["decompress"], packed.as_slice()].concat());
    for (name, bytes) in &originals {
        assert_eq!(&sandbox.read(name), bytes, "{name}");
    }
    assert_eq!(sandbox.snapshot().len(), 2 * originals.len());
}

#[test]
fn every_codec_round_trips() {
    let sandbox = Sandbox::new();
    let original = gradient_like(3, 20_001);
    sandbox.write("g", &original);
    for codec in ["auto", "raw", "zstd", "split-zstd", "gzip"] {
        sandbox.ok(&["compress", "-f", "g", "--codec", codec]);
        sandbox.ok(&["decompress", "-f", "g.lmgc", "-o", "back"]);
        assert_eq!(sandbox.read("back"), original, "{codec}");
    }
}

#[test]
fn standard_streams_round_trip() {
    let sandbox = Sandbox::new();
    let original = gradient_like(4, 9_999);
    let packed = sandbox.ok_pipe(&["compress", "-"], &original).stdout;
    assert!(!packed.is_empty() && packed != original);
    assert_eq!(sandbox.ok_pipe(&["decompress", "-"], &packed).stdout, original);
    assert!(sandbox.snapshot().is_empty());

    // A pipe and a file give the same bytes.
    sandbox.write("g", &original);
    assert_eq!(sandbox.ok(&["compress", "g", "-o", "-"]).stdout, packed);
    sandbox.ok_pipe(&["compress", "-", "-o", "g.lmgc"], &original);
    assert_eq!(sandbox.read("g.lmgc"), packed);
    assert_eq!(sandbox.ok(&["decompress", "g.lmgc", "-o", "-"]).stdout, original);
    sandbox.ok_pipe(&["verify", "-"], &packed);
    assert!(sandbox.ok_pipe(&["inspect", "-"], &packed).text().contains("auto"));
}

#[test]
fn an_existing_output_needs_force() {
    let sandbox = Sandbox::new();
    sandbox.write("g", b"some bytes");
    sandbox.write("g.lmgc", b"precious");
    sandbox.fails(&["compress", "g"], 1, &["g.lmgc", "-f"]);
    sandbox.ok(&["compress", "-f", "g"]);
    assert_ne!(sandbox.read("g.lmgc"), b"precious");

    sandbox.write("g", b"precious");
    sandbox.fails(&["decompress", "g.lmgc"], 1, &["g exists", "-f"]);
    sandbox.ok(&["decompress", "-f", "g.lmgc"]);
    assert_eq!(sandbox.read("g"), b"some bytes");
}

#[test]
fn output_may_be_named() {
    let sandbox = Sandbox::new();
    sandbox.write("g", b"some bytes");
    sandbox.ok(&["compress", "g", "-o", "other.name"]);
    sandbox.ok(&["decompress", "other.name", "-o", "back"]);
    assert_eq!(sandbox.read("back"), b"some bytes");
    assert_eq!(sandbox.snapshot().len(), 3);
    sandbox.write("h", b"more bytes");
    sandbox.fails(&["compress", "g", "h", "-o", "both"], 2, &["-o takes one input"]);
    sandbox.fails(&["decompress", "g.lmgc", "h.lmgc", "-o", "both"], 2, &["-o takes one input"]);
}

#[test]
fn levels_from_1_to_9() {
    let sandbox = Sandbox::new();
    let original = b"0123456789abcdef the quick brown fox ".repeat(300);
    sandbox.write("g", &original);
    let mut sizes = Vec::new();
    for level in ["-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"] {
        sandbox.ok(&["compress", "-f", level, "g"]);
        sizes.push(sandbox.read("g.lmgc").len());
        sandbox.ok(&["decompress", "-f", "g.lmgc", "-o", "back"]);
        assert_eq!(sandbox.read("back"), original, "{level}");
    }
    assert!(sizes[8] <= sizes[0], "{sizes:?}");
    sandbox.fails(&["compress", "-1", "-9", "g", "-o", "x"], 2, &["-1", "-9"]);
}

#[test]
fn threads_change_nothing() {
    let sandbox = Sandbox::new();
    let original = gradient_like(5, 3 << 20);
    sandbox.write("g", &original);
    sandbox.ok(&["compress", "-1", "g", "--threads", "1"]);
    sandbox.ok(&["compress", "-1", "g", "--threads", "3", "-o", "g3.lmgc"]);
    assert_eq!(sandbox.read("g3.lmgc"), sandbox.read("g.lmgc"));
    sandbox.ok(&["--threads", "2", "decompress", "g.lmgc", "-o", "back"]);
    assert_eq!(sandbox.read("back"), original);
}

#[test]
fn single_tensors_can_be_restored() {
    let sandbox = Sandbox::new();
    sandbox.write("t.safetensors", &tensor_fixtures()["mixed.safetensors"]);
    sandbox.ok(&["compress", "t.safetensors"]);
    let restore = |name| {
        sandbox.ok(&["decompress", "-f", "t.safetensors.lmgc", "--tensor", name, "-o", "part"]);
        sandbox.read("part")
    };
    // As in expected.json.
    assert_eq!(restore("b"), [0x32, 0x3f, 0xac, 0xbf, 0xea, 0xbe]);
    assert_eq!(restore("scale"), 2.5f32.to_le_bytes());
    assert!(restore("empty").is_empty());
    let absent = ["decompress", "t.safetensors.lmgc", "--tensor", "absent", "-o", "x"];
    sandbox.fails(&absent, 1, &["'absent'", "lmgc inspect"]);
    sandbox.fails(&["decompress", "t.safetensors.lmgc", "--tensor", "b"], 2, &["--output"]);
}
