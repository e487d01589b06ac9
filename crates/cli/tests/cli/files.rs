//! Round trips through files and pipes.

use std::collections::BTreeMap;

use lmgc_codec::CodecName;
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
    // These take nothing but numbers.
    let others = ["fpzip", "zfp"];
    for codec in CodecName::all().filter(|codec| !codec.needs_model()) {
        let codec = codec.to_string();
        if others.contains(&codec.as_str()) {
            continue;
        }
        sandbox.ok(&["compress", "-f", "g", "--codec", &codec]);
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

#[test]
fn inputs_are_never_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(5, 3000));
    sandbox.ok(&["compress", "g"]);
    sandbox.fails(&["compress", "-f", "g", "-o", "./g"], 2, &["input itself", "-o"]);
    sandbox.fails(&["decompress", "-f", "g.lmgc", "-o", "g.lmgc"], 2, &["input itself", "-o"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_special_files_stay_what_they_are() {
    use std::os::unix::fs::FileTypeExt;
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(6, 3000));
    sandbox.write("target", b"old");
    std::os::unix::fs::symlink(sandbox.path("target"), sandbox.path("link")).unwrap();
    sandbox.ok(&["compress", "-f", "g", "-o", "link"]);
    assert!(sandbox.path("link").is_symlink());
    sandbox.ok(&["decompress", "target", "-o", "back"]);
    assert_eq!(sandbox.read("back"), gradient_like(6, 3000));

    let _listener = std::os::unix::net::UnixListener::bind(sandbox.path("socket")).unwrap();
    assert_eq!(sandbox.run(&["compress", "-f", "g", "-o", "socket"]).code, Some(1));
    assert!(std::fs::symlink_metadata(sandbox.path("socket")).unwrap().file_type().is_socket());
}

#[test]
fn directories_are_named_as_what_they_are() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(7, 300));
    std::fs::create_dir(sandbox.path("d")).unwrap();
    for force in [&["compress", "g", "-o", "d"][..], &["compress", "-f", "g", "-o", "d"]] {
        sandbox.fails(force, 1, &["d", "directory"]);
    }
    let outcome = sandbox.run(&["compress", "g", "-o", "nowhere/x"]);
    assert!(outcome.stderr.contains("nowhere") && !outcome.stderr.contains(".tmp"), "{}", outcome.stderr);
}

#[test]
fn results_never_mix_with_data_on_standard_output() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(8, 3000));
    let packed = sandbox.ok(&["compress", "--json", "g", "-o", "-"]);
    assert!(packed.stderr.contains("\"round_trip\":true"), "{}", packed.stderr);
    let restored = sandbox.ok_pipe(&["decompress", "--json", "-"], &packed.stdout);
    assert_eq!(restored.stdout, gradient_like(8, 3000));
    let tokens = sandbox.ok(&["tokenize", "g", "--model", "tiny", "-o", "-"]).stdout;
    sandbox.write("g.tokens", &tokens);
    assert_eq!(sandbox.ok(&["detokenize", "g.tokens", "-o", "-"]).stdout, gradient_like(8, 3000));
}

#[test]
fn a_model_is_refused_where_it_would_be_ignored() {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(9, 300));
    sandbox.fails(&["compress", "g", "--model", "tiny"], 2, &["--model", "--codec lm"]);
}

#[test]
fn a_file_without_tokens_needs_no_model() {
    let sandbox = Sandbox::new();
    sandbox.write("empty", b"");
    sandbox.ok(&["compress", "empty", "--codec", "lm", "--model", "tiny"]);
    sandbox.forget_models();
    sandbox.ok(&["decompress", "-f", "empty.lmgc"]);
}
