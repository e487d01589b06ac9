//! Files as Python's libraries write them, the odd ones included, come back byte for byte, whole and tensor by tensor.

mod common;

use std::collections::HashSet;
use std::io::Cursor;
use std::path::Path;

use common::{OneModel, lm_options, takes_any_bytes, unpack};
use lmgc_codec::files::{FileOptions, Place, decompress_tensor};
use lmgc_codec::lm::LmSettings;
use lmgc_codec::{CodecName, CompressOptions, Error, ModelSource, NoModels, NoProgress, compress};
use lmgc_testkit::TinyModel;
use rayon::prelude::*;

/// Name and bytes.
type File = (String, Vec<u8>);

/// The files of `testdata/tensors`.
fn fixtures() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tensors");
    let mut files: Vec<File> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.is_file() && path.extension().is_none_or(|extension| extension != "py" && extension != "json")
        })
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    for ending in [".safetensors", ".npy", ".npz", ".pt", ".ckpt", ".gguf"] {
        let n_files = files.iter().filter(|(name, _)| name.ends_with(ending)).count();
        assert!(n_files >= if ending == ".ckpt" { 2 } else { 5 }, "{n_files} files of {ending}");
    }
    files
}

/// Compresses and restores a file. A codec that does not take all bytes may refuse it: `None`.
fn round_trip(file: &File, options: &CompressOptions<'_>, models: &dyn ModelSource) -> Option<Vec<u8>> {
    let (name, original) = file;
    let codec = options.codec;
    let mut packed = Vec::new();
    match compress(&mut Cursor::new(original), &mut packed, options, &NoProgress) {
        Err(Error::CodecRefuses { .. }) if !takes_any_bytes(codec) => return None,
        result => result.unwrap(),
    };
    assert!(unpack(&packed, models).unwrap() == *original, "{codec}: {name}");
    Some(packed)
}

/// Restores each tensor of a compressed file alone.
fn check_tensors(file: &File, packed: &[u8], models: &dyn ModelSource) {
    let (name, original) = file;
    let layout = lmgc_tensors::find_spans(&mut Cursor::new(original)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("packed"), folder.path().join("tensor"));
    std::fs::write(&input, packed).unwrap();
    let files = FileOptions { force: true, models, progress: &NoProgress };
    let mut seen = HashSet::new();
    // Of tensors with one name the first is meant.
    for span in layout.spans.iter().filter(|span| seen.insert(&span.name)) {
        let report = decompress_tensor(&Place::new(&input), &span.name, &Place::new(&output), &files).unwrap();
        let expected = &original[span.offset as usize..][..span.len as usize];
        assert_eq!(report.raw_bytes, span.len, "{:?} of {name}", span.name);
        assert!(std::fs::read(&output).unwrap() == expected, "{:?} of {name}", span.name);
    }
}

#[test]
fn every_file_by_every_codec() {
    let files = fixtures();
    for (n, codec) in CodecName::all().filter(|codec| !codec.needs_model()).enumerate() {
        let options = CompressOptions { codec, ..Default::default() };
        files.par_iter().enumerate().for_each(|(n_file, file)| {
            // Each tensor that is written waits for the disk: all by `auto`, and by the others a part of the files in turn.
            match round_trip(file, &options, &NoModels) {
                Some(packed) if codec == CodecName::Auto || (n_file + n) % 4 == 0 => {
                    check_tensors(file, &packed, &NoModels);
                }
                _ => {}
            }
        });
    }
}

#[test]
fn every_file_by_the_language_model() {
    let tiny = TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() };
    let models = OneModel::tiny(&tiny);
    let codec = models.codec(LmSettings { window_tokens: 256, ..Default::default() });
    fixtures().par_iter().for_each(|file| {
        let packed = round_trip(file, &lm_options(&codec), &models).unwrap();
        check_tensors(file, &packed, &models);
    });
}
