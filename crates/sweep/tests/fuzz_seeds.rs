//! The fuzz target of this crate (`fuzz/`) in small. It begins with the configurations of `configs/`, too.

use std::path::Path;

use lmgc_sweep::Config;
use lmgc_testkit::{fuzz_seeds, require_fuzz_seed, run_fuzz_target};

#[path = "../../../fuzz/src/sweep.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod targets;

const SEED: &str = r#"name = "a"
about = "b"
pull = true
[gradients]
dir = "exps"
datasets = ["digits"]
archs = ["convnet"]
tags = ["0"]
files = ["x"]
collect = { steps = 3, data = "d", download = false }
[draws]
seeds = [1]
num-subsample = [1]
bytes = [512]
pieces = 2
preprocess = ["none"]
[[codecs]]
names = ["zstd", "auto"]
"#;

#[test]
fn mutated_seeds_are_configurations_or_errors() {
    require_fuzz_seed("sweep_config", "small", SEED.as_bytes());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut configs = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        configs.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    configs.sort();
    run_fuzz_target("sweep_config", targets::sweep_config, &configs, 300);
}

#[test]
fn seeds_are_configurations() {
    for (name, seed) in fuzz_seeds("sweep_config") {
        let config = Config::parse(str::from_utf8(&seed).unwrap());
        assert!(config.is_ok(), "{name}: {config:?}");
    }
}
