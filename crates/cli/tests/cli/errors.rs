//! Exit codes and messages: 1 failure, 2 usage, 3 corrupt or mismatched input. After any of them, every file is as before.

use lmgc_testkit::{TinyModel, gradient_like};

use crate::sandbox::Sandbox;

fn with_lm_file() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("g", &gradient_like(1, 400));
    sandbox.ok(&["compress", "g", "--codec", "lm", "--model", "tiny"]);
    sandbox
}

#[test]
fn another_model_is_refused() {
    let sandbox = with_lm_file();
    let other = sandbox.model_file("other.gguf", &TinyModel { seed: 2, ..TinyModel::default() });
    let said = ["fingerprint", "'tiny'", "other", "--model"];
    sandbox.fails(&["decompress", "g.lmgc", "-o", "x", "--model", &other], 3, &said);
    sandbox.fails(&["verify", "g.lmgc", "--model", &other], 3, &said);
}

#[test]
fn a_missing_model_is_named_with_what_to_do() {
    let sandbox = with_lm_file();
    let said = ["no-such-model", "lmgc model list", "lmgc model pull", "--model"];
    sandbox.fails(&["compress", "g", "-o", "x", "--codec", "lm", "--model", "no-such-model"], 1, &said);
    sandbox.fails(&["tokenize", "g", "-o", "x", "--model", "no-such-model"], 1, &said);
    let known = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "qwen3-0.6b"];
    sandbox.fails(&known, 1, &["qwen3-0.6b", "lmgc model pull qwen3-0.6b"]);
    sandbox.fails(&["compress", "g", "-o", "x", "--codec", "lm"], 2, &["needs a language model", "--model"]);
    let lost = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "lost.gguf"];
    sandbox.fails(&lost, 1, &["cannot read", "lost.gguf"]);
    sandbox.write("no-model.gguf", b"GGUF, but not really");
    let broken = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "no-model.gguf"];
    sandbox.fails(&broken, 1, &["no-model.gguf", "not a readable model"]);

    sandbox.forget_models();
    sandbox.fails(&["decompress", "g.lmgc", "-o", "x"], 1, &["'tiny'", "--model"]);
    let model = sandbox.tiny_gguf();
    sandbox.ok(&["decompress", "g.lmgc", "-o", "x", "--model", &model]);
}

#[test]
fn windows_have_limits() {
    let sandbox = with_lm_file();
    let window = |n, code, said: &[&str]| {
        let args = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "tiny", "--window", n];
        sandbox.fails(&args, code, said);
    };
    window("4096", 2, &["4096", "'tiny'", "--window 2048"]);
    window("10", 2, &["--window", "256"]);
    window("many", 2, &["--window", "many"]);
}

#[test]
fn settings_of_the_language_model_that_do_not_go_together() {
    let sandbox = with_lm_file();
    let fails = |args: &[&str], said: &[&str]| {
        let lm = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "tiny"];
        sandbox.fails(&[&lm[..], args].concat(), 2, said);
    };
    fails(&["--mix"], &["--mix", "hex-space", "ids-exponent"]);
    fails(&["--lm-bits", "12"], &["12", "hex-space", "multiple of 8"]);
    fails(&["--format", "ids-exponent", "--lm-bits", "8"], &["ids-exponent", "leave out --lm-bits"]);
    fails(&["--format", "ids-byte", "--mask", "none"], &["mask none", "ids-byte"]);
    fails(&["--overlap", "2047"], &["overlap", "2047", "2048"]);
    for flag in [&["--mix"][..], &["--lm-bits", "8"], &["--overlap", "8"], &["--format", "iso"], &["--window", "512"]] {
        sandbox.fails(&[&["compress", "g", "-o", "x"], flag].concat(), 2, &[flag[0], "--codec lm"]);
    }
    let ensemble = ["compress", "g", "-o", "x", "--codec", "ensemble", "--model", "tiny", "--mix"];
    sandbox.fails(&ensemble, 2, &["--mix", "--codec lm", "ensemble"]);
    sandbox.fails(&["compress", "g", "-o", "x", "--codec", "ensemble"], 2, &["needs a language model", "--model"]);
}

#[test]
fn unknown_names_list_the_known() {
    let sandbox = Sandbox::new();
    sandbox.write("g", b"bytes");
    let compress = |option, known: &[&str]| {
        let said = [known, &[option, "bogus"]].concat();
        sandbox.fails(&["compress", "g", option, "bogus"], 2, &said);
    };
    compress("--codec", &["auto", "raw", "zstd", "split-zstd", "gzip", "lm"]);
    compress("--format", &["hex-none", "hex-space", "hex-comma+space", "iso"]);
    compress("--mask", &["none", "alphabet"]);
    sandbox.fails(&["compress", "g", "--bytes-per-group", "5", "--codec", "lm"], 2, &["--bytes-per-group", "5", "8"]);

    let collect = |dataset, arch, known: &[&str]| {
        let said = [known, &["bogus"]].concat();
        sandbox.fails(&["collect", "--dataset", dataset, "--arch", arch, "--out", "exps"], 2, &said);
    };
    collect("bogus", "convnet", &["--dataset", "digits", "synthetic", "mnist", "cifar10", "tinyimagenet"]);
    collect("digits", "bogus", &["--arch", "convnet"]);

    let tokenize = ["tokenize", "g", "--model", "tiny", "-o", "x", "--preprocess", "bogus"];
    sandbox.fails(&tokenize, 2, &["--preprocess", "bogus", "sparsification", "quantization"]);
}

#[test]
fn data_sets_in_files_need_their_files() {
    let sandbox = Sandbox::new();
    let collect = |name, rest: &[&str], code, said: &[&str]| {
        let run = ["collect", "--arch", "convnet", "--steps", "1", "--grad-interval", "1", "--out", "exps"];
        sandbox.fails(&[&run[..], &["--dataset", name], rest].concat(), code, said);
    };
    for name in ["mnist", "cifar10", "tinyimagenet"] {
        collect(name, &[], 2, &[name, "--data DIR", "--download"]);
        collect(name, &["--download"], 2, &[name, "--data DIR"]);
        collect(name, &["--data", "nowhere"], 1, &[name, "nowhere", "no such folder", "--download"]);
        collect(name, &["--data", "nowhere", "--classes", "7"], 2, &["--classes", name]);
    }
    sandbox.write("mnist/train-images-idx3-ubyte", b"<html>not found</html>");
    sandbox.write("mnist/train-labels-idx1-ubyte", b"");
    collect("mnist", &["--data", "mnist"], 3, &["train-images-idx3-ubyte", "not an IDX file of images"]);
}

#[test]
fn unknown_verbs_options_and_missing_arguments() {
    let sandbox = Sandbox::new();
    sandbox.write("g", b"bytes");
    for args in [
        &["bogus"][..],
        &["compress"],
        &["compress", "g", "--bogus"],
        &["compress", "g", "--threads", "0"],
        &["decompress"],
        &["tokenize", "g", "-o", "x"],
        &["collect", "--dataset", "digits"],
        &["collect", "--dataset", "digits", "--arch", "convnet", "--out", "e", "--steps", "1", "--epochs", "1"],
    ] {
        sandbox.fails(args, 2, &["--help"]);
    }
}

#[test]
fn missing_inputs() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("directory.lmgc")).unwrap();
    for input in ["missing.lmgc", "directory.lmgc"] {
        for verb in ["compress", "decompress", "verify", "inspect"] {
            sandbox.fails(&[verb, input], 1, &[input]);
        }
    }
    sandbox.fails(&["detokenize", "missing", "-o", "x"], 1, &["cannot read missing"]);
    sandbox.fails(&["tokenize", "missing", "--model", "tiny", "-o", "x"], 1, &["cannot read missing"]);
    sandbox.write("g", b"bytes");
    sandbox.fails(&["compress", "g", "-o", "nowhere/g.lmgc"], 1, &["cannot write", "nowhere"]);
}

#[test]
fn truncated_files() {
    let sandbox = with_lm_file();
    let packed = sandbox.read("g.lmgc");
    sandbox.write("small", b"bytes of any kind");
    sandbox.ok(&["compress", "small"]);
    let small = sandbox.read("small.lmgc");
    for len in (0..small.len()).step_by(5).chain([small.len() - 1]) {
        sandbox.fails_pipe(&["decompress", "-"], &small[..len], 3, &[]);
    }
    for len in [4, packed.len() / 3, packed.len() / 2, packed.len() - 1] {
        sandbox.write("cut.lmgc", &packed[..len]);
        sandbox.fails(&["decompress", "cut.lmgc"], 3, &["cut.lmgc"]);
        sandbox.fails(&["verify", "cut.lmgc"], 3, &["cut.lmgc"]);
        sandbox.fails(&["inspect", "cut.lmgc"], 3, &["cut.lmgc"]);
    }
    let longer = [packed.as_slice(), b"more"].concat();
    sandbox.write("long.lmgc", &longer);
    sandbox.fails(&["verify", "long.lmgc"], 3, &["long.lmgc"]);
}

#[test]
fn flipped_bytes() {
    let sandbox = with_lm_file();
    let packed = sandbox.read("g.lmgc");
    for at in (0..packed.len()).step_by(packed.len() / 24).chain([packed.len() - 1]) {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x10;
        sandbox.write("damaged.lmgc", &damaged);
        sandbox.fails(&["decompress", "damaged.lmgc"], 3, &["damaged.lmgc"]);
        sandbox.fails(&["verify", "damaged.lmgc"], 3, &["damaged.lmgc"]);
    }
}

#[test]
fn files_that_are_no_lmgc_files() {
    let sandbox = Sandbox::new();
    sandbox.write("plain.lmgc", b"This is plain text, longer than any header could be. ".repeat(20).as_slice());
    sandbox.write("empty.lmgc", b"");
    for input in ["plain.lmgc", "empty.lmgc"] {
        for verb in ["decompress", "verify", "inspect"] {
            sandbox.fails(&[verb, input], 3, &[input]);
        }
    }
    sandbox.write("g", b"bytes");
    sandbox.ok(&["compress", "g", "-o", "packed"]);
    sandbox.fails(&["decompress", "packed"], 1, &["packed", ".lmgc", "-o"]);
    sandbox.ok(&["decompress", "packed", "-o", "back"]);
}

#[test]
fn one_bad_file_does_not_undo_the_good_before_it() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"good");
    let outcome = sandbox.run(&["compress", "a", "missing"]);
    assert_eq!(outcome.code, Some(1));
    sandbox.ok(&["verify", "a.lmgc"]);
}
