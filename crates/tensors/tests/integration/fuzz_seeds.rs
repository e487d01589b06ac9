//! The fuzz targets of this crate (`fuzz/`) in small. They begin with the fixtures, too.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use lmgc_tensors::{Dtype, FileFormat, OutputFormat, TensorFile, find_spans, safetensors};
use lmgc_testkit::{GgufValue, GgufWriter, fuzz_seeds, gradient_like, require_fuzz_seed, run_fuzz_target};

use crate::common::{fixture, fixture_folder};

#[path = "../../../../fuzz/src/tensors.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod targets;

/// Fixtures whose names end so.
fn fixtures(endings: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = std::fs::read_dir(fixture_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}

fn small_safetensors() -> Vec<u8> {
    let tensors = [
        ("a".to_owned(), Dtype::F32, vec![2, 3], &gradient_like(1, 24)[..]),
        ("b.weight".to_owned(), Dtype::F16, vec![4], &[1; 8][..]),
        ("c".to_owned(), Dtype::I64, vec![0, 5], &[][..]),
        ("d".to_owned(), Dtype::U8, vec![], &[9][..]),
    ];
    let mut file = Vec::new();
    let metadata: BTreeMap<String, String> = [("key".to_owned(), "value".to_owned())].into();
    safetensors::write_to(&mut file, &tensors, &metadata).unwrap();
    file
}

fn npy(head: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.as_bytes());
    file.extend(data);
    file
}

fn small_gguf() -> Vec<u8> {
    let mut file = GgufWriter::default();
    file.value("general.alignment", GgufValue::U32(32))
        .value("general.name", GgufValue::Text("x".to_owned()))
        .value("list", GgufValue::Texts(vec!["a".to_owned(), String::new()]))
        .tensor("a", &[2, 2], vec![1.0, 2.0, 3.0, 4.0])
        .tensor("b", &[3], vec![0.0; 3]);
    file.to_bytes()
}

fn write_seeds() {
    let safetensors = small_safetensors();
    require_fuzz_seed("safetensors", "small", &safetensors);
    require_fuzz_seed("gguf", "small", &small_gguf());
    for (name, head, data) in [
        ("f4", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", &[1; 24][..]),
        ("big_endian", "{'descr': '>c8', 'fortran_order': True, 'shape': (1, 2), }\n", &[2; 16]),
        ("scalar", "{'descr': '|b1', 'fortran_order': False, 'shape': (), }\n", &[1]),
        ("record", "{'descr': [('a', '<i2'), ('b', '|S3')], 'fortran_order': False, 'shape': (1,), }\n", &[3; 5]),
    ] {
        require_fuzz_seed("npy", name, &npy(head, data));
    }
    for format in [OutputFormat::Npz, OutputFormat::Torch] {
        let mut file = TensorFile::open(Cursor::new(&safetensors)).unwrap();
        let written = file.write(format, Cursor::new(Vec::new())).unwrap().into_inner();
        require_fuzz_seed("archive", &format.to_string(), &written);
    }
    for (name, content) in fixtures(&[".pt", ".ckpt"]) {
        let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(content)) else { continue };
        for index in 0..archive.len() {
            let mut pickle = Vec::new();
            let is_whole = archive.by_index(index).is_ok_and(|mut member| {
                // Whether the library reads compressed ones depends on what else is built.
                member.compression() == zip::CompressionMethod::Stored
                    && member.name().is_ok_and(|name| name.ends_with("data.pkl"))
                    && member.read_to_end(&mut pickle).is_ok()
            });
            if is_whole {
                require_fuzz_seed("torch_pickle", &name, &pickle);
            }
        }
    }
}

#[test]
fn mutated_seeds_are_tiled_and_converted_or_refused() {
    write_seeds();
    run_fuzz_target("safetensors", targets::safetensors, &fixtures(&[".safetensors"]), 2000);
    run_fuzz_target("npy", targets::npy, &fixtures(&[".npy"]), 500);
    run_fuzz_target("archive", targets::archive, &fixtures(&[".npz", ".pt", ".ckpt", ".zip"]), 500);
    run_fuzz_target("torch_pickle", targets::torch_pickle, &[], 500);
    run_fuzz_target("gguf", targets::gguf, &fixtures(&[".gguf"]), 2000);
}

#[test]
fn seeds_have_their_format() {
    for (target, formats) in [
        ("safetensors", &[FileFormat::Safetensors][..]),
        ("npy", &[FileFormat::Npy]),
        ("archive", &[FileFormat::Npz, FileFormat::Torch]),
        ("gguf", &[FileFormat::Gguf]),
    ] {
        for (name, seed) in fuzz_seeds(target) {
            let layout = find_spans(&mut Cursor::new(seed)).unwrap();
            assert!(formats.contains(&layout.format), "{name}: {:?}", layout.note);
        }
    }
}
