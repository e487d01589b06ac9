//! Fuzz targets (`fuzz/`) in small, for the everyday suite: their seeds, mutations of these, and inputs that once found
//! something.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::bits::Random;
use crate::mutation::mutate_bytes;

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
            let mut mutated = input.clone();
            mutate_bytes(&mut mutated, &mut random, &[]);
            run(name, target, &mutated, &format!("mutation {i} of {input_name}"));
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
