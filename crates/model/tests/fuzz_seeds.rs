//! The fuzz targets of `fuzz/` in small: their seeds, and some hundred mutations of each. Any input gives an error or a
//! model that runs, never a panic.

mod common;
#[path = "common/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod targets;

use std::fs;
use std::path::Path;

use lmgc_model::Model;
use lmgc_testkit::Random;

const N_MUTATIONS: usize = 300;

fn target(name: &str) -> fn(&[u8]) {
    match name {
        "gguf_model" => targets::gguf_model,
        "safetensors_model" => targets::safetensors_model,
        "model_config" => targets::model_config,
        _ => panic!("{name}"),
    }
}

/// Up to four changes: bits, bytes, numbers, pieces copied, cut out or cut off. Most hit the first part, where headers are.
fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, u64::MAX, 1 << 63, 1 << 32, i64::MAX as u64, u32::MAX as u64, 1 << 40];
    let mut data = seed.to_vec();
    for _ in 0..=random.next_u64() % 4 {
        let mut below = |n: usize| (random.next_u64() % n.max(1) as u64) as usize;
        let header = if below(4) > 0 { data.len().min(6000) } else { data.len() };
        let at = below(header);
        let len = below(16).min(data.len() - at);
        match below(7) {
            0 => data[at] ^= 1 << below(8),
            1 => data[at] = below(256) as u8,
            2 => data[at] = b'0' + below(10) as u8,
            3 => {
                let width = [1, 2, 4, 8][below(4)].min(data.len() - at);
                data[at..at + width].copy_from_slice(&NUMBERS[below(8)].to_le_bytes()[..width]);
            }
            4 => data = [&data[..at], &data[at + len..]].concat(),
            5 => data = [&data[..at + len], &data[at..]].concat(),
            _ if below(4) == 0 => data.truncate(at),
            _ => {}
        }
        if data.is_empty() {
            break;
        }
    }
    data
}

#[test]
fn mutated_seeds_are_errors_or_models() {
    for (name, seed_name, seed) in seeds::seeds() {
        let target = target(name);
        target(&seed);
        let mut random = Random::new(seed.len() as u64);
        for i in 0..N_MUTATIONS {
            let data = mutate(&seed, &mut random);
            let outcome = std::panic::catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{name}: mutation {i} of {seed_name} panics");
        }
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
