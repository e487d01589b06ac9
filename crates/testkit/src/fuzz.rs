//! Fuzz targets (`fuzz/`) in small, for the everyday suite: their seeds, mutations of these, and inputs that once found
//! something.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::bits::Random;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target)
}

/// Name and content of a folder's files, by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a folder that can be listed"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file that can be read"))
        })
        .collect();
    files.sort();
    files
}

/// The committed seeds of a target, with their names.
pub fn fuzz_seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    files(&folder("seeds", target))
}

/// Makes sure that a target's seed is committed. With `LMGC_WRITE_FUZZ_SEEDS` set, it is written if it is not; what is there
/// is left alone, so that a codec may change its output.
///
/// # Panics
/// If the seed is missing.
pub fn require_fuzz_seed(target: &str, name: &str, content: &[u8]) {
    let path = folder("seeds", target).join(name);
    if std::env::var_os("LMGC_WRITE_FUZZ_SEEDS").is_some() && !path.exists() {
        fs::create_dir_all(folder("seeds", target)).expect("a folder for seeds");
        fs::write(&path, content).expect("a seed that can be written");
    }
    assert!(path.exists(), "{}: write it with LMGC_WRITE_FUZZ_SEEDS=1 and commit it", path.display());
}

/// Runs a target over its seeds, `more_seeds`, its regressions, and so many mutations of each.
///
/// # Panics
/// Where the target does, with the place where the input was kept.
pub fn run_fuzz_target(name: &str, target: fn(&[u8]), more_seeds: &[(String, Vec<u8>)], n_mutations: usize) {
    let mut inputs = fuzz_seeds(name);
    assert!(!inputs.is_empty() || !more_seeds.is_empty(), "{name} has no seeds");
    inputs.extend_from_slice(more_seeds);
    inputs.extend(files(&folder("regressions", name)));
    for (input_name, input) in inputs {
        run(name, target, &input, &input_name);
        let mut random = Random::new(input.len() as u64);
        for i in 0..n_mutations {
            run(name, target, &mutate(&input, &mut random), &format!("mutation {i} of {input_name}"));
        }
    }
}

fn run(name: &str, target: fn(&[u8]), input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let path = std::env::temp_dir().join(format!("lmgc-fuzz-{name}"));
        let kept = fs::write(&path, input).map_or_else(|e| e.to_string(), |()| format!("kept as {}", path.display()));
        panic!("{name}: {what} panics ({kept})");
    }
}

/// Up to four changes: bits, bytes, numbers, pieces copied, cut out or cut off. Most hit the first part, where headers are.
pub fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, u64::MAX, 1 << 63, 1 << 32, i64::MAX as u64, u32::MAX as u64, 1 << 40];
    let mut data = seed.to_vec();
    for _ in 0..=random.next_u64() % 4 {
        if data.is_empty() {
            break;
        }
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
    }
    data
}
