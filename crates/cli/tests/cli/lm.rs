//! Codec lm, with a tiny model.

use std::collections::BTreeMap;

use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{gradient_like, odd_floats};

use crate::sandbox::{Sandbox, tensor_fixtures};

/// Compresses all files at once, removes them, decompresses all at once and compares.
fn round_trip(sandbox: &Sandbox, originals: &BTreeMap<String, Vec<u8>>, options: &[&str]) {
    let packed: Vec<String> = originals.keys().map(|name| format!("{name}.lmgc")).collect();
    let packed: Vec<&str> = packed.iter().map(String::as_str).collect();
    let names: Vec<&str> = originals.keys().map(String::as_str).collect();
    for (name, bytes) in originals {
        sandbox.write(name, bytes);
    }
    let reports = sandbox.ok(&[&["compress", "-f", "--json", "--codec", "lm"], options, &names].concat()).json();
    for name in &names {
        sandbox.remove(name);
    }
    // The file names the model; the store has it.
    sandbox.ok(&[&["decompress"], packed.as_slice()].concat());
    for (name, bytes) in originals {
        assert_eq!(&sandbox.read(name), bytes, "{name} with {options:?}");
    }
    let n_tokens: u64 = reports.iter().map(|report| report["n_tokens"].as_u64().unwrap()).sum();
    assert!(n_tokens > 0, "nothing went through the model");
}

fn odd_float_bytes() -> Vec<u8> {
    odd_floats().iter().flat_map(|value| value.to_bits().to_le_bytes()).collect()
}

#[test]
fn every_kind_of_bytes_in_several_formats() {
    let sandbox = Sandbox::new();
    let floats = odd_float_bytes();
    let tensors = [
        ("floats".to_owned(), Dtype::F32, vec![2, floats.len() as u64 / 8], floats.as_slice()),
        ("scalar".to_owned(), Dtype::F32, vec![], &[0, 0, 0xa0, 0x7f][..]),
        ("nothing".to_owned(), Dtype::F32, vec![3, 0], &[][..]),
    ];
    let mut odd_tensors = Vec::new();
    safetensors::write_to(&mut odd_tensors, &tensors, &BTreeMap::new()).unwrap();
    let originals = BTreeMap::from([
        ("empty.bin".to_owned(), Vec::new()),
        ("one.bin".to_owned(), vec![0x13]),
        ("unaligned.bin".to_owned(), gradient_like(1, 1023)),
        ("all.bin".to_owned(), (0..=255).collect()),
        ("floats.bin".to_owned(), floats.clone()),
        ("floats.safetensors".to_owned(), odd_tensors),
    ]);
    for format in ["hex-none", "hex-space", "hex-comma+space", "iso"] {
        round_trip(&sandbox, &originals, &["--model", "tiny", "--format", format, "--window", "300"]);
    }
    for options in [["--bytes-per-group", "8"], ["--mask", "none"]] {
        round_trip(&sandbox, &originals, &[["--model", "tiny"], options].concat());
    }
}

#[test]
fn tensor_files_of_every_format() {
    let sandbox = Sandbox::new();
    round_trip(&sandbox, &tensor_fixtures(), &["--model", "tiny"]);
}

#[test]
fn beyond_text() {
    let sandbox = Sandbox::new();
    let originals = tensor_fixtures();
    for options in [
        &["--format", "ids-exponent", "--mix"][..],
        &["--format", "ids-byte", "--lm-bits", "16", "--mix", "--overlap", "100"],
        &["--format", "ids-nibble", "--lm-bits", "12"],
        &["--mask", "grammar", "--lm-bits", "16", "--overlap", "16"],
    ] {
        round_trip(&sandbox, &originals, &[options, &["--model", "tiny", "--window", "300"]].concat());
    }
    sandbox.write("g", &gradient_like(3, 3000));
    let ensemble = ["compress", "g", "--json", "--codec", "ensemble", "--model", "tiny", "--window", "300"];
    let report = &sandbox.ok(&ensemble).json()[0];
    assert_eq!((&report["codec"], &report["settings"]["window"]), (&"ensemble".into(), &300.into()));
    assert!(report["note"].as_str().unwrap().contains("structural"), "bytes of no type have no values to foresee");
    sandbox.ok(&["decompress", "g.lmgc", "-o", "back"]);
    assert_eq!(sandbox.read("back"), sandbox.read("g"));
}

#[test]
fn threads_change_nothing() {
    let sandbox = Sandbox::new();
    let original = gradient_like(2, 3000);
    sandbox.write("g", &original);
    let model = sandbox.tiny_gguf();
    let compress = |threads, output| {
        let settings = ["--codec", "lm", "--model", &model, "--window", "256", "--threads", threads];
        sandbox.ok(&[&["compress", "g", "-o", output], &settings[..]].concat());
        sandbox.read(output)
    };
    let single = compress("1", "1.lmgc");
    assert!(compress("2", "2.lmgc") == single, "two threads give another file than one");
    for (packed, threads) in [("1.lmgc", "2"), ("2.lmgc", "1")] {
        sandbox.ok(&["decompress", "-f", packed, "-o", "back", "--model", &model, "--threads", threads]);
        assert_eq!(sandbox.read("back"), original);
    }
    // The path's file name is recorded, under which the store has the same model.
    sandbox.ok(&["decompress", "-f", "1.lmgc", "-o", "back"]);
    assert_eq!(sandbox.read("back"), original);
}

#[test]
fn pipes_and_unverified_files_are_the_same_bytes() {
    let sandbox = Sandbox::new();
    let original = gradient_like(3, 500);
    sandbox.write("g", &original);
    sandbox.ok(&["compress", "g", "--codec", "lm", "--model", "tiny"]);
    let packed = sandbox.read("g.lmgc");
    let piped = ["compress", "-", "--codec", "lm", "--model", "tiny", "--no-verify"];
    assert_eq!(sandbox.ok_pipe(&piped, &original).stdout, packed);
    assert_eq!(sandbox.ok_pipe(&["decompress", "-"], &packed).stdout, original);
    sandbox.ok(&["decompress", "g.lmgc", "--tensor", "", "-o", "back"]);
    assert_eq!(sandbox.read("back"), original);
}
