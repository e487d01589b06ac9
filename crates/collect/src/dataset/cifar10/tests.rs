use std::fs;

use super::super::archive::tests::tar_gz;
use super::super::test_server::{Reply, Server};
use super::super::{Dataset, DatasetName, Split};
use super::*;

/// A file of `n` images, that begins at some label.
fn file(n: usize, first: usize) -> Vec<u8> {
    let record = |i: usize| {
        let planes = [[i as u8; 1024], [100; 1024], [200; 1024]];
        [&[((first + i) % 10) as u8][..], planes.as_flattened()].concat()
    };
    (0..n).flat_map(record).collect()
}

/// The six files, of two images each.
fn write(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (at, name) in TRAIN.iter().chain(&TEST).enumerate() {
        fs::write(folder.join(name), file(2, at)).unwrap();
    }
}

fn any_size() -> DatasetOptions {
    DatasetOptions { any_size: true, ..DatasetOptions::default() }
}

fn check(data: &dyn Dataset) {
    assert_eq!(data.image_shape(), ImageShape { channels: 3, height: 32, width: 32 });
    assert_eq!((data.n_images(Split::Train), data.n_images(Split::Test), data.n_classes()), (10, 2, 10));
    let mut pixels = vec![0.0; 3072];
    let labels: Vec<_> = (0..10).map(|index| data.image(Split::Train, index, 0, &mut pixels)).collect();
    assert_eq!(labels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5], "file after file");
    assert_eq!(data.image(Split::Test, 1, 0, &mut pixels), 6);
    let expected =
        [(1.0 / 255.0 - 0.4914) / 0.2023, (100.0 / 255.0 - 0.4822) / 0.1994, (200.0 / 255.0 - 0.4465) / 0.201];
    for (plane, expected) in pixels.chunks_exact(1024).zip(expected) {
        assert!(plane.iter().all(|&pixel: &f32| (pixel - expected).abs() < 1e-5), "{expected}");
    }
}

/// What is said once one file has another content.
fn message_with(name: &str, content: &[u8], options: &DatasetOptions) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    fs::write(folder.path().join(name), content).unwrap();
    let error = load(folder.path(), options).unwrap_err();
    assert!(matches!(error, Error::BadData { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&folder.path().join(name).display().to_string()), "{message}");
    message
}

#[test]
fn both_places_are_found() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    check(&load(folder.path(), &any_size()).unwrap());
    let outer = tempfile::tempdir().unwrap();
    write(&outer.path().join(FOLDER));
    check(&load(outer.path(), &any_size()).unwrap());
}

#[test]
fn a_missing_file_is_named() {
    for name in TRAIN.iter().chain(&TEST) {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join(FOLDER);
        write(&inner);
        fs::remove_file(inner.join(name)).unwrap();
        let error = load(folder.path(), &any_size()).unwrap_err();
        assert!(matches!(error, Error::DataMissing { dataset: "cifar10", .. }));
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(FOLDER) && message.contains("--download"), "{message}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_said() {
    let said = message_with("data_batch_3.bin", &file(3, 0)[..3 * RECORD_BYTES - 1], &any_size());
    assert!(said.contains("truncated: 9218 bytes, so 2 images"), "{said}");
    let said = message_with("test_batch.bin", b"", &any_size());
    assert!(said.contains("it has 0 images"), "{said}");
    let mut wrong = file(3, 0);
    wrong[2 * RECORD_BYTES] = 10;
    let said = message_with("data_batch_5.bin", &wrong, &any_size());
    assert!(said.contains("the label of image 2 (from 0) is 10"), "{said}");
    // Without any_size a file has its 10 000 images.
    let said = message_with("data_batch_1.bin", &file(2, 0), &DatasetOptions::default());
    assert!(said.contains("it has 2 images, and should have 10000"), "{said}");
    let said = message_with("data_batch_1.bin", &vec![0; 30_730_001], &DatasetOptions::default());
    assert!(said.contains("longer than the 30730000 bytes"), "{said}");
}

#[test]
fn every_truncation_is_an_error_unless_it_leaves_whole_images() {
    let folder = tempfile::tempdir().unwrap();
    let (path, content) = (folder.path().join("file"), file(2, 0));
    for len in 0..content.len() {
        fs::write(&path, &content[..len]).unwrap();
        let mut images = Labelled::default();
        let result = read(&path, true, &mut images);
        match len {
            RECORD_BYTES => assert_eq!(result.map(|()| images.labels.len()).unwrap(), 1),
            0 => assert!(result.unwrap_err().to_string().contains("it has 0 images")),
            _ => assert!(result.unwrap_err().to_string().contains("truncated")),
        }
        assert!(read(&path, false, &mut Labelled::default()).is_err());
    }
}

#[test]
fn the_archive_is_fetched_and_unpacked_once() {
    let inner = tempfile::tempdir().unwrap();
    write(inner.path());
    let files: Vec<_> = TRAIN.iter().chain(&TEST).map(|name| (format!("{FOLDER}/{name}"), name)).collect();
    let files: Vec<_> = files.iter().map(|(entry, name)| (entry, fs::read(inner.path().join(name)).unwrap())).collect();
    let entries: Vec<(&str, &[u8])> = files.iter().map(|(entry, content)| (entry.as_str(), &content[..])).collect();
    let archive = tar_gz(&entries);
    let body = archive.clone();
    let server = Server::start(move |request, _| Reply::range(&body, request));
    let sources = [server.source("cifar-10-binary.tar.gz", &archive)];
    let folder = tempfile::tempdir().unwrap();
    let options = DatasetOptions { data: Some(folder.path().to_owned()), download: true, ..any_size() };
    for _ in 0..2 {
        check(&*DatasetName::Cifar10.open_from(&sources, &options, &()).unwrap());
    }
    assert_eq!(server.requests().len(), 1);
    // The archive is kept, and unpacked again without the server.
    fs::remove_dir_all(folder.path().join(FOLDER)).unwrap();
    check(&*DatasetName::Cifar10.open_from(&sources, &options, &()).unwrap());
    assert_eq!(server.requests().len(), 1);
    // A folder that is not whole is not touched.
    let lost = folder.path().join(FOLDER).join("data_batch_2.bin");
    fs::remove_file(&lost).unwrap();
    let message = DatasetName::Cifar10.open_from(&sources, &options, &()).err().unwrap().to_string();
    assert!(message.contains("remove it") && message.contains(FOLDER), "{message}");
    assert!(!lost.exists());
}
