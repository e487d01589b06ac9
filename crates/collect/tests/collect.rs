//! Short runs: what they report and what their files hold.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use lmgc_collect::dataset::{Dataset, ImageShape, Split};
use lmgc_collect::{
    Architecture, CollectOptions, DatasetName, Error, OptimizerName, Report, RunDirectory, collect, collect_on,
};
use serde_json::Value;

fn options(dataset: DatasetName, out: &Path) -> CollectOptions {
    let mut options = CollectOptions::new(dataset, Architecture::ConvNet, out);
    options.steps = Some(3);
    options.grad_interval = 2;
    options.batch_size = 4;
    options.seed = 11;
    options
}

#[test]
fn a_run_reports_its_steps_and_writes_a_complete_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(DatasetName::Digits, folder.path());
    options.tag = "first".to_owned();
    let mut reports = Vec::new();
    let summary = collect(&options, &mut |report| {
        if let Report::Step(step) = report {
            reports.push(step.clone());
        }
    })
    .unwrap();

    let path = folder.path().join("digits-convnet/first/grads/grad_00000002.safetensors");
    assert_eq!(summary.gradient_files, std::slice::from_ref(&path));
    assert_eq!((summary.n_steps, summary.n_resumed_steps, summary.n_parameter_values), (3, 0, 317_706));
    assert_eq!(summary.n_test, 360);
    assert!(summary.n_test_correct <= 360);
    let steps: Vec<_> = reports.iter().map(|r| (r.step, r.n_steps, r.epoch, r.gradient_file.is_some())).collect();
    assert_eq!(steps, [(1, 3, 1, false), (2, 3, 1, true), (3, 3, 1, false)]);
    assert_eq!(reports[2].loss, summary.final_loss);
    assert!(reports.iter().all(|r| r.loss.is_finite() && r.learning_rate == 0.1));

    let bytes = std::fs::read(&path).unwrap();
    let layout = lmgc_tensors::find_spans(&mut Cursor::new(&bytes)).unwrap();
    let text = |key: &str| layout.metadata[&format!("lmgc.{key}")].as_str();
    assert_eq!((text("step"), text("epoch"), text("seed"), text("tag")), ("2", "1", "11", "first"));
    assert_eq!((text("dataset"), text("n_classes"), text("arch")), ("digits", "10", "convnet"));
    assert_eq!((text("optimizer"), text("momentum"), text("weight_decay")), ("sgd", "0.9", "0.0005"));
    assert_eq!((text("learning_rate"), text("batch_size"), text("n_images")), ("0.1", "4", "4"));
    assert_eq!(text("loss").parse::<f32>().unwrap(), reports[1].loss);
    assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));

    let in_order: Vec<_> = layout.parameter_order().into_iter().map(|i| &layout.spans[i]).collect();
    assert_eq!(in_order.len(), 14);
    assert_eq!((in_order[0].name.as_str(), in_order[13].name.as_str()), ("features.0.weight", "classifier.bias"));
    assert_eq!(in_order[0].shape, [128, 1, 3, 3]);
    assert_eq!(in_order[12].shape, [10, 2048]);
    let values = |place: usize| {
        let span = in_order[place];
        let bytes = &bytes[span.offset as usize..(span.offset + span.len) as usize];
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    // Softmax makes a classifier's bias gradients sum to zero; with the bias gradients of the four images' classes at
    // p - 1 and the others at p, all below 1.
    let bias = values(13);
    assert_eq!(bias.len(), 10);
    assert!(bias.iter().sum::<f32>().abs() < 1e-5 && bias.iter().any(|&g| g < 0.0));
    for place in 0..14 {
        assert!(values(place).iter().all(|g| g.is_finite()));
        assert!(values(place).iter().any(|&g| g != 0.0), "parameter {place} has no gradient");
    }
}

#[test]
fn an_unwritable_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = collect(&options(DatasetName::Digits, &file), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::CreateDirectory { .. }));
    assert!(error.to_string().contains("file"), "{error}");
}

/// Few and small images: six for training, in epochs of three steps of two, and four for testing.
struct FewImages {
    shape: ImageShape,
}

impl Dataset for FewImages {
    fn image_shape(&self) -> ImageShape {
        self.shape
    }

    fn n_classes(&self) -> usize {
        3
    }

    fn n_images(&self, split: Split) -> usize {
        match split {
            Split::Train => 6,
            Split::Test => 4,
        }
    }

    fn image(&self, split: Split, index: usize, epoch: u64, pixels: &mut [f32]) -> usize {
        let key = index + 10 * usize::from(split == Split::Test) + 100 * epoch as usize;
        for (place, pixel) in pixels.iter_mut().enumerate() {
            *pixel = ((key * 7919 + place * 104_729) % 1009) as f32 / 500.0 - 1.0;
        }
        index % 3
    }
}

/// All files of a run but the log, whose lines tell of interruptions and times.
fn files(options: &CollectOptions) -> BTreeMap<PathBuf, Vec<u8>> {
    let directory = RunDirectory::of(options);
    let folders = [directory.path().to_owned(), directory.path().join("grads"), directory.path().join("ckpts")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let paths =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file() && *path != directory.log_file());
    paths.map(|path| (path.strip_prefix(directory.path()).unwrap().to_owned(), std::fs::read(&path).unwrap())).collect()
}

fn log(options: &CollectOptions) -> Vec<Value> {
    let text = std::fs::read_to_string(RunDirectory::of(options).log_file()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run that was cut off, at any step, goes on to the same files: the state holds weights, running statistics, what the
/// optimizer remembers and the sums of the epoch.
#[test]
fn a_run_in_pieces_leaves_the_files_of_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, side, optimizer) in [
        (Architecture::ConvNet, 8, OptimizerName::Sgd),
        (Architecture::ConvNet, 8, OptimizerName::AdamW),
        (Architecture::Vgg11, 32, OptimizerName::Sgd),
        (Architecture::Vit, 8, OptimizerName::AdamW),
    ] {
        let data = FewImages { shape: ImageShape { channels: 3, height: side, width: side } };
        let run = |name: &str, pieces: &[u64]| {
            let out = folder.path().join(format!("{name}-{optimizer}"));
            let mut options = CollectOptions::new(DatasetName::Synthetic, arch, out);
            (options.batch_size, options.optimizer) = (2, Some(optimizer));
            (options.grad_interval, options.model_interval) = (2, 1);
            let mut n_before = 0;
            for &n_steps in pieces {
                options.steps = Some(n_steps);
                let mut resumed = None;
                let summary = collect_on(&options, &data, &mut |report| {
                    if let Report::Resumed { step, .. } = report {
                        resumed = Some(*step);
                    }
                })
                .unwrap();
                assert_eq!((summary.n_steps, summary.n_resumed_steps), (n_steps, n_before));
                assert_eq!(resumed.unwrap_or(0), n_before);
                assert_eq!(summary.gradient_files.len() as u64, n_steps / 2);
                n_before = n_steps;
            }
            (files(&options), log(&options))
        };
        let (whole, whole_log) = run("whole", &[7]);
        let (pieces, pieces_log) = run("pieces", &[2, 3, 5, 7, 7]);
        let names: Vec<&PathBuf> = whole.keys().collect();
        assert_eq!(names.len(), 3 + 2 + 2, "three gradients, two models, state and lock: {names:?}");
        assert_eq!(whole.keys().collect::<Vec<_>>(), pieces.keys().collect::<Vec<_>>());
        for (name, bytes) in &whole {
            assert!(pieces[name] == *bytes, "{arch} {optimizer}: {} differs", name.display());
        }
        let of = |log: &[Value], event: &str, keys: &[&str]| {
            let lines = log.iter().filter(|line| line["event"] == event);
            lines.map(|line| keys.iter().map(|&key| line[key].clone()).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        for (event, keys) in [
            ("step", &["step", "epoch", "loss", "accuracy", "learning_rate"][..]),
            ("epoch", &["epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy"][..]),
        ] {
            assert_eq!(of(&whole_log, event, keys), of(&pieces_log, event, keys), "{arch} {optimizer}");
        }
        assert_eq!(of(&whole_log, "epoch", &["step"]), [[Value::from(3)], [Value::from(6)]]);
        assert_eq!(of(&pieces_log, "resume", &["step"]).len(), 4);
    }
}

#[test]
fn another_run_in_the_directory_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(DatasetName::Digits, folder.path());
    collect(&options, &mut |_| ()).unwrap();
    let before = files(&options);
    for (change, setting) in [
        (&(|o: &mut CollectOptions| o.seed = 12) as &dyn Fn(&mut CollectOptions), "seed = 11, not 12"),
        (&|o| o.batch_size = 5, "batch_size = 4, not 5"),
        (&|o| o.optimizer = Some(OptimizerName::AdamW), "optimizer = sgd, not adamw"),
        (&|o| o.steps = Some(2), "steps = 3, not 2"),
    ] {
        let mut other = options.clone();
        change(&mut other);
        let error = collect(&other, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::OtherRun { .. }), "{error}");
        assert!(error.to_string().contains(setting), "{error}");
    }
    assert!(files(&options) == before);
    let mut anew = options.clone();
    (anew.seed, anew.restart) = (12, true);
    assert_eq!(collect(&anew, &mut |_| ()).unwrap().n_resumed_steps, 0);
    assert!(files(&options) != before);
}

#[test]
fn a_damaged_state_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(DatasetName::Digits, folder.path());
    collect(&options, &mut |_| ()).unwrap();
    let path = RunDirectory::of(&options).state_file();
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = collect(&options, &mut |_| ()).unwrap_err().to_string();
        assert!(message.contains("state.safetensors") && message.contains("--restart"), "{message}");
    };
    for n in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..n]);
    }
    let text = |from: &str, to: &str| {
        let place = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    refused(&text("\"optimizer.velocity.classifier.bias\":", "\"optimizer.velocity.classifier.bios\":"));
    refused(&text("\"lmgc.step\":\"3\"", "\"lmgc.step\":\"x\""));
}

#[test]
fn a_model_checkpoint_has_what_pytorch_loads() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = CollectOptions::new(DatasetName::Synthetic, Architecture::Vgg11, folder.path());
    (options.steps, options.grad_interval, options.batch_size, options.model_interval) = (Some(1), 1, 6, 1);
    let data = FewImages { shape: ImageShape { channels: 3, height: 32, width: 32 } };
    let mut epochs = Vec::new();
    collect_on(&options, &data, &mut |report| {
        if let Report::Epoch(epoch) = report {
            epochs.push(epoch.clone());
        }
    })
    .unwrap();
    let path = RunDirectory::of(&options).model_file(1);
    assert_eq!(epochs.len(), 1);
    assert_eq!((epochs[0].epoch, epochs[0].step, epochs[0].model_file.as_ref()), (1, 1, Some(&path)));
    let layout = lmgc_tensors::find_spans(&mut Cursor::new(std::fs::read(path).unwrap())).unwrap();
    let shape = |name: &str| layout.spans.iter().find(|span| span.name == name).unwrap().shape.clone();
    assert_eq!(shape("features.0.weight"), [64, 3, 3, 3]);
    assert_eq!(shape("features.1.running_mean"), [64]);
    assert_eq!(shape("features.1.running_var"), [64]);
    assert_eq!(shape("features.1.num_batches_tracked"), [0u64; 0]);
    assert_eq!(layout.metadata["lmgc.epoch"], "1");
    assert_eq!(layout.metadata["lmgc.test_accuracy"].parse::<f64>().unwrap(), epochs[0].test_accuracy);
}

#[test]
fn two_runs_at_once_do_not_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(DatasetName::Digits, folder.path());
    let mut refused = None;
    collect(&options, &mut |_| {
        let error = collect(&options, &mut |_| ()).unwrap_err();
        refused = Some((matches!(error, Error::RunIsBusy { .. }), error.to_string()));
    })
    .unwrap();
    let (is_busy, message) = refused.unwrap();
    assert!(is_busy && message.contains("--tag"), "{message}");
}
