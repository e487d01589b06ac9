//! Short runs: what they report and what their files hold.

use std::io::Cursor;
use std::path::Path;

use lmgc_collect::{Architecture, CollectOptions, DatasetName, Error, Report, RunDirectory, collect};

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
