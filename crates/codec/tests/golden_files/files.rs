//! `.lmgc` files that earlier versions wrote, under `testdata/format-1`.
//!
//! They stay as they are. `LMGC_WRITE_GOLDEN=1 cargo test -p lmgc-codec --test golden_files` writes those that are missing,
//! such as the ones of a new codec, and their lines in `files.csv`; it changes none that is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write};

use lmgc_codec::files::{FileOptions, Place, decompress_tensor};
use lmgc_codec::{CodecId, NoProgress, inspect};
use lmgc_container::SeekReader;

use crate::cases::{Case, Models, Needs, cases};
use crate::common::unpack;
use crate::originals::{made, testdata};

const DIRECTORY: &str = "format-1";
const MANIFEST: &str = "format-1/files.csv";
/// Where files are that were written before footers had hashes of tensors.
const WITHOUT_HASHES: &str = "without-tensor-hashes/";
const COLUMNS: &str = "file,original,reference,codec,settings,blake3";

/// A line of the manifest.
struct GoldenFile {
    file: String,
    original: String,
    reference: Option<String>,
    codec: String,
    blake3: String,
}

impl GoldenFile {
    fn parse(line: &str) -> Self {
        let columns: Vec<&str> = line.split(',').collect();
        let [file, original, reference, codec, _settings, blake3] = columns.try_into().unwrap();
        let own = str::to_owned;
        let reference = Some(own(reference)).filter(|name| !name.is_empty());
        Self { file: own(file), original: own(original), reference, codec: own(codec), blake3: own(blake3) }
    }

    fn read(&self) -> Vec<u8> {
        let file = fs::read(testdata(DIRECTORY).join(&self.file)).unwrap();
        assert_eq!(blake3::hash(&file).to_string(), self.blake3, "{} was changed; golden files never are", self.file);
        file
    }
}

fn manifest() -> Vec<GoldenFile> {
    let text = fs::read_to_string(testdata(MANIFEST)).unwrap();
    let (columns, lines) = text.split_once('\n').unwrap();
    assert_eq!(columns, COLUMNS);
    lines.lines().map(GoldenFile::parse).collect()
}

fn file_name(case: &Case) -> String {
    format!("{}.lmgc", case.name)
}

/// Writes the files of `cases` that do not exist yet, with their originals, and adds them to the manifest.
fn write_missing(needs: &Needs) {
    fs::create_dir_all(testdata("format-1/originals")).unwrap();
    if !testdata(MANIFEST).exists() {
        fs::write(testdata(MANIFEST), format!("{COLUMNS}\n")).unwrap();
    }
    let mut manifest = fs::OpenOptions::new().append(true).open(testdata(MANIFEST)).unwrap();
    for case in cases() {
        for name in [Some(case.original), case.reference].into_iter().flatten().filter(|name| name.contains('/')) {
            if !testdata(name).exists() {
                fs::write(testdata(name), made(name, needs.tokenizer()).unwrap()).unwrap();
            }
        }
        let path = testdata(DIRECTORY).join(file_name(&case));
        if path.exists() {
            continue;
        }
        let packed = case.pack(needs, &needs.original(case.original));
        fs::write(path, &packed).unwrap();
        let columns = [
            &file_name(&case),
            case.original,
            case.reference.unwrap_or_default(),
            &case.codec,
            &case.settings(),
            &blake3::hash(&packed).to_string(),
        ];
        writeln!(manifest, "{}", columns.join(",")).unwrap();
    }
}

#[test]
fn golden_files_are_all_there_and_decode_to_their_originals() {
    let needs = Needs::new();
    if std::env::var_os("LMGC_WRITE_GOLDEN").is_some() {
        write_missing(&needs);
    }
    assert_every_case_has_its_file_and_every_file_its_line();
    let mut codecs = BTreeSet::new();
    for golden in manifest().iter().filter(|golden| crate::cases::is_built(&golden.codec)) {
        let (file, original) = (golden.read(), needs.original(&golden.original));
        let models = needs.models(golden.reference.as_deref());
        assert!(unpack(&file, &models).unwrap() == original, "{}", golden.file);
        assert_tensors(golden, &file, &original, &models);
        codecs.extend(inspect(Cursor::new(&file)).unwrap().codecs.into_iter().map(|codec| codec.codec));
    }
    for codec in CodecId::ALL.into_iter().filter(|codec| codec.is_built()) {
        assert!(codecs.contains(&codec.to_string()), "no golden file has a block of codec {codec}: see `cases.rs`");
    }
}

/// The same by way of the index.
fn assert_tensors(golden: &GoldenFile, file: &[u8], original: &[u8], models: &Models<'_>) {
    let directory = tempfile::tempdir().unwrap();
    let [input, output] = ["x.lmgc", "tensor"].map(|name| directory.path().join(name));
    fs::write(&input, file).unwrap();
    let options = FileOptions { force: true, models, progress: &NoProgress };
    let mut seen = BTreeSet::new();
    let reader = SeekReader::open(Cursor::new(file)).unwrap();
    for (tensor, hash) in reader.header().tensors.iter().zip(&reader.hashes().tensors) {
        assert_eq!(hash.is_some(), tensor.len > 0 && !golden.file.starts_with(WITHOUT_HASHES), "{}", golden.file);
        // Of several with the same name, the first is meant.
        if seen.insert(tensor.name.clone()) {
            decompress_tensor(&Place::new(&input), &tensor.name, &Place::new(&output), &options).unwrap();
            let expected = &original[tensor.offset as usize..][..tensor.len as usize];
            assert!(fs::read(&output).unwrap() == expected, "{}: tensor {}", golden.file, tensor.name);
        }
    }
}

fn assert_every_case_has_its_file_and_every_file_its_line() {
    let listed: BTreeSet<String> = manifest().into_iter().map(|golden| golden.file).collect();
    for case in cases() {
        assert!(
            listed.contains(&file_name(&case)),
            "there is no golden file of {case:?}; LMGC_WRITE_GOLDEN=1 writes it"
        );
    }
    let mut n_files = 0;
    for directory in ["", WITHOUT_HASHES] {
        for entry in fs::read_dir(testdata(DIRECTORY).join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".lmgc") {
                n_files += 1;
                assert!(listed.contains(&format!("{directory}{name}")), "{name} is not in {MANIFEST}");
            }
        }
    }
    assert_eq!(n_files, listed.len(), "files that {MANIFEST} lists are missing");
}
