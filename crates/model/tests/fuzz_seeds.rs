//! The fuzz targets of `fuzz/` in small: their seeds, and some hundred mutations of each. Any input gives an error or a
//! model that runs, never a panic.

mod common;
#[path = "common/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/model.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod targets;

use std::fs;
use std::path::Path;

use lmgc_model::Model;

const N_MUTATIONS: usize = 300;

fn target(name: &str) -> fn(&[u8]) {
    match name {
        "gguf_model" => targets::gguf_model,
        "safetensors_model" => targets::safetensors_model,
        "model_config" => targets::model_config,
        _ => panic!("{name}"),
    }
}

#[test]
fn mutated_seeds_are_errors_or_models() {
    for name in ["gguf_model", "safetensors_model", "model_config"] {
        lmgc_testkit::run_fuzz_target(name, target(name), &[], N_MUTATIONS);
    }
}

#[test]
fn seeds_are_models() {
    for (name, seed_name, seed) in seeds::seeds() {
        let result = match name {
            "gguf_model" => Model::from_gguf_bytes(&seed),
            "safetensors_model" => {
                let (len, rest) = seed.split_first_chunk::<4>().unwrap();
                let (config, file) = rest.split_at(u32::from_le_bytes(*len) as usize);
                Model::from_safetensors_bytes(config, &[("model.safetensors", file)])
            }
            _ => continue,
        };
        assert!(result.is_ok(), "{seed_name}: {result:?}");
    }
}

#[test]
fn committed_seeds_are_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let is_asked_to_write = std::env::var_os("LMGC_WRITE_FUZZ_SEEDS").is_some();
    for (name, seed_name, seed) in seeds::seeds() {
        let path = folder.join(name).join(&seed_name);
        if is_asked_to_write {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(&path, &seed).unwrap();
        }
        let is_same = fs::read(&path).is_ok_and(|committed| committed == seed);
        assert!(is_same, "{}: write it again with LMGC_WRITE_FUZZ_SEEDS=1 and commit it", path.display());
    }
}
