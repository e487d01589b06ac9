//! Whole sweeps with a tiny model.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lmgc_codec::lm::LanguageModel;
use lmgc_sweep::{Collect, Config, Event, Host, Measure, Record, Status, Summary, SweepOptions, run};
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::{TinyModel, gradient_like};
use tempfile::TempDir;

struct TestHost {
    model: Arc<LanguageModel>,
    /// Names of the cells that ran.
    ran: RefCell<Vec<String>>,
}

impl TestHost {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiny.gguf");
        std::fs::write(&path, TinyModel::default().to_gguf()).unwrap();
        Self { model: Arc::new(LanguageModel::load("tiny", &path).unwrap()), ran: RefCell::default() }
    }
}

impl Host for TestHost {
    fn language_model(&self, name: &str) -> Result<Arc<LanguageModel>, String> {
        match name {
            "tiny" => Ok(self.model.clone()),
            "panicking" => panic!("the model fell over"),
            _ => Err(format!("no model {name}")),
        }
    }

    fn pull(&self, name: &str) -> Result<(), String> {
        if name == "gone" { Err("the hub is gone".to_owned()) } else { Ok(()) }
    }

    fn memory_bytes(&self) -> u64 {
        1 << 30
    }

    fn n_threads(&self) -> usize {
        1
    }

    /// Makes two files of gradients.
    fn collect(&self, dir: &Path, dataset: &str, arch: &str, tag: &str, settings: &Collect) -> Result<(), String> {
        if arch != "convnet" {
            return Err(format!("unknown architecture {arch}"));
        }
        let grads = dir.join(format!("{dataset}-{arch}")).join(tag).join("grads");
        std::fs::create_dir_all(&grads).unwrap();
        for step in 1..=settings.steps.unwrap() {
            let bytes = gradient_like(step, 8000);
            let tensors = [("weight".to_owned(), Dtype::F32, vec![20, 100], bytes.as_slice())];
            safetensors::write(grads.join(format!("grad_{step:08}.safetensors")), &tensors, &BTreeMap::new()).unwrap();
        }
        Ok(())
    }

    fn tell(&self, event: &Event<'_>) {
        if let Event::Ended { record } = event {
            self.ran.borrow_mut().push(record.cell.clone());
        }
    }
}

struct Setting {
    directory: TempDir,
    host: TestHost,
    config: Config,
}

impl Setting {
    fn new(change: impl FnOnce(String) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "name = 'test'\n\
             [gradients]\ndir = '{}'\ndatasets = ['digits']\narchs = ['convnet']\n\
             [gradients.collect]\nsteps = 2\n\
             [draws]\nseeds = [0, 1]\nbytes = [1024]\n\
             [[lm]]\nmodels = ['tiny']\nformats = ['hex-space', 'hex-none']\nwindows = [32]\n\
             [[codecs]]\nnames = ['zstd:3', 'structural']\nscopes = ['file', 'chunks']\n",
            directory.path().join("exps").display()
        );
        let config = Config::parse(&change(text)).unwrap();
        Self { directory, host: TestHost::new(), config }
    }

    fn options(&self, estimate: bool) -> SweepOptions {
        SweepOptions { out: self.directory.path().join("results"), estimate, restart: false }
    }

    fn run(&self, estimate: bool) -> Summary {
        run(&self.config, &self.options(estimate), &self.host).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("results/results.jsonl")).unwrap()
    }

    fn records(&self) -> Vec<Record> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn every_cell_is_measured_once() {
    let setting = Setting::new(|text| text);
    let summary = setting.run(false);
    assert_eq!((summary.n_cells, summary.n_resumed, &summary.failed), (12, 0, &Vec::new()));
    let records = setting.records();
    assert_eq!(records.len(), 12);
    for record in &records {
        assert_eq!((record.status, record.round_trip, record.raw_bytes), (Status::Ok, Some(true), Some(1024)));
        let is_file = record.settings.scope.as_deref() == Some("file");
        assert_eq!(record.measure, if is_file { Measure::File } else { Measure::Payload });
        let rate = 100.0 * record.compressed_bytes.unwrap() as f64 / 1024.0;
        assert!((record.rate_percent.unwrap() - rate).abs() < 1e-9 && record.compress_mb_per_s.unwrap() > 0.0);
        assert!((record.bits_per_value.unwrap() - 32.0 * rate / 100.0).abs() < 1e-9);
        assert_eq!(record.files.len(), 1);
        assert_eq!(record.n_tokens.is_some(), record.codec == "lm");
        assert_eq!(record.bits_by_field.is_empty(), record.codec == "zstd" || !is_file);
        // What the file holds, without its headers.
        let fields: f64 = record.bits_by_field.iter().map(|field| field.bits_per_value).sum();
        assert!(fields <= record.bits_per_value.unwrap(), "{record:?}");
    }
    let draws: std::collections::BTreeSet<_> = records.iter().map(|record| record.sample_blake3.clone()).collect();
    assert_eq!(draws.len(), 2);
    // Again: nothing is left to do.
    assert_eq!(setting.run(false).n_resumed, 12);
    assert_eq!(setting.host.ran.borrow().len(), 12);
}

#[test]
fn a_sweep_goes_on_wherever_it_was_cut_off() {
    let whole = Setting::new(|text| text);
    whole.run(false);
    let text = whole.text();
    let sizes = |records: Vec<Record>| -> BTreeMap<String, Option<u64>> {
        records.into_iter().map(|record| (record.cell, record.compressed_bytes)).collect()
    };
    let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    for cut in [0, 1, line_ends[0] - 1, line_ends[0], line_ends[4] + 7, text.len() - 1] {
        whole.host.ran.borrow_mut().clear();
        std::fs::write(whole.directory.path().join("results/results.jsonl"), &text[..cut]).unwrap();
        let n_left = text[..cut].matches('\n').count();
        assert_eq!(whole.run(false).n_resumed, n_left);
        assert_eq!(whole.host.ran.borrow().len(), 12 - n_left);
        let records = whole.records();
        assert_eq!(records.len(), 12);
        assert_eq!(sizes(records), sizes(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()));
    }
}

#[test]
fn estimates_are_close_and_say_what_they_are() {
    let setting = Setting::new(|text| text);
    setting.run(false);
    let summary = setting.run(true);
    // zstd's four cells are the same ones.
    assert_eq!((summary.n_cells, summary.n_resumed), (12, 4));
    let records = setting.records();
    assert_eq!(records.len(), 20);
    let measured: BTreeMap<&str, &Record> = records[..12].iter().map(|record| (record.cell.as_str(), record)).collect();
    for estimate in &records[12..] {
        assert_eq!((estimate.measure, estimate.round_trip), (Measure::Estimate, None));
        assert_eq!((estimate.compress_mb_per_s, estimate.decompress_mb_per_s), (None, None));
        let measured = measured[estimate.cell.strip_suffix(" estimate").unwrap()];
        let (ideal, file) = (estimate.compressed_bytes.unwrap(), measured.compressed_bytes.unwrap());
        // Files have headers, pieces their lengths; what is no gain may be stored as it is.
        assert!(ideal.min(1024) < file && file < ideal + 500, "{}: {ideal}, {file}", estimate.cell);
        let fields: f64 = estimate.bits_by_field.iter().map(|field| field.bits_per_value).sum();
        assert!((fields - estimate.bits_per_value.unwrap()).abs() < 1e-6);
    }
}

#[test]
fn cells_fail_alone() {
    let setting = Setting::new(|text| {
        text.replace("archs = ['convnet']", "archs = ['convnet', 'nonet']\nfiles = ['none.npy']")
            .replace("models = ['tiny']", "models = ['tiny', 'giant', 'panicking', 'gone']")
            .replace("name = 'test'", "name = 'test'\npull = true")
            .replace("formats = ['hex-space', 'hex-none']", "formats = ['hex-space', 'hex-spaces']")
            .replace("windows = [32]", "windows = [32, 1, 999999]\nbytes-per-group = [4, 5]")
            .replace(
                "names = ['zstd:3', 'structural']",
                "names = ['zstd:3', 'zstd:4', 'zstdd', 'lm', 'auto', 'structural']",
            )
            .replace("bytes = [1024]", "bytes = [1024]\npreprocess = ['none', 'quantization8', 'quantisation8']")
    });
    let summary = setting.run(false);
    let records = setting.records();
    assert_eq!((summary.n_cells, records.len()), (2 * 3 * 3 * (48 + 12), summary.n_cells));
    let reason = |words: &[&str]| -> String {
        let record = records.iter().find(|record| words.iter().all(|word| record.cell.contains(word)));
        let record = record.unwrap_or_else(|| panic!("no cell {words:?}"));
        assert_eq!(
            (record.status == Status::Failed, record.rate_percent.is_none()),
            (record.error.is_some(), record.error.is_some())
        );
        record.error.clone().unwrap_or_default()
    };
    let convnet = "digits-convnet/0 draw 1: 1 of the files, 1024 bytes: ";
    assert_eq!(reason(&[convnet, "lm tiny hex-space g4 w32 "]), "");
    for (words, because) in [
        (["lm giant hex-space g4 w32 ", convnet], "no model giant"),
        (["lm panicking hex-space g4 w32 ", convnet], "the model fell over"),
        (["lm gone hex-space g4 w32 ", convnet], "the hub is gone"),
        (["lm tiny hex-spaces g4 w32 ", convnet], "unknown format 'hex-spaces'"),
        (["lm tiny hex-space g5 w32 ", convnet], "5"),
        (["lm tiny hex-space g4 w1 ", convnet], "window"),
        (["lm tiny hex-space g4 w999999 ", convnet], "999999"),
        (["zstd:4 file", convnet], "1, 2, 3, 5"),
        (["zstdd file", convnet], "zstdd"),
        (["lm file", convnet], "[[lm]]"),
        (["auto chunks 512", convnet], "scope file"),
        (["zstd:3 file", "digits-nonet/0 "], "unknown architecture nonet"),
        (["zstd:3 file", "none.npy "], "none.npy"),
        (["zstd:3 file", "quantisation8"], "quantisation8"),
    ] {
        let reason = reason(&words);
        assert!(reason.contains(because), "{words:?}: {reason}");
    }
    assert_eq!(reason(&["zstd:3 chunks", convnet]), "");
    assert_eq!(reason(&["zstd:3 file", "quantization8", "digits-convnet"]), "", "1024 of 2000 bytes");
    assert_eq!(reason(&["structural file", "quantization8", "digits-convnet"]), "", "integers have no fields");
    // Failures are tried again.
    setting.host.ran.borrow_mut().clear();
    let again = setting.run(false);
    assert_eq!(again.n_resumed + again.failed.len(), again.n_cells);
    assert_eq!(setting.host.ran.borrow().len(), summary.failed.len());
}

#[test]
fn other_gradients_are_measured_anew() {
    let setting = Setting::new(|text| text);
    setting.run(false);
    let grads = setting.directory.path().join("exps/digits-convnet/0/grads");
    for step in 1..=2u64 {
        let bytes = gradient_like(step + 50, 8000);
        let tensors = [("weight".to_owned(), Dtype::F32, vec![20, 100], bytes.as_slice())];
        safetensors::write(grads.join(format!("grad_{step:08}.safetensors")), &tensors, &BTreeMap::new()).unwrap();
    }
    assert_eq!(setting.run(false).n_resumed, 0);
    // Without gradients the results that are there stand.
    std::fs::remove_dir_all(setting.directory.path().join("exps")).unwrap();
    assert_eq!(setting.run(false).n_resumed, 12);
}

#[test]
fn the_configurations_that_come_along_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut n = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let config = Config::read(&path).unwrap();
        assert_eq!(Some(config.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(!config.cells(false).is_empty());
        n += 1;
    }
    assert!(n > 5);
}
