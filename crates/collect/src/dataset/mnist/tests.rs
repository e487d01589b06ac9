use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::test_server::{Reply, Server};
use super::super::{Dataset, DatasetName, Split};
use super::*;

const N_TRAIN_HERE: usize = 4;
const N_TEST_HERE: usize = 3;

fn idx(magic: u32, dims: &[u32], content: &[u8]) -> Vec<u8> {
    let numbers = [&[magic], dims].concat();
    [numbers.iter().flat_map(|n| n.to_be_bytes()).collect(), content.to_vec()].concat()
}

fn image_file(n: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (0..n * 784).map(|i| (i % 251) as u8).collect();
    idx(0x803, &[n as u32, 28, 28], &pixels)
}

fn label_file(n: usize) -> Vec<u8> {
    let labels: Vec<u8> = (0..n).map(|i| (9 - i % 10) as u8).collect();
    idx(0x801, &[n as u32], &labels)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The four files, by name.
fn files() -> [(&'static str, Vec<u8>); 4] {
    [
        (TRAIN_IMAGES.name, image_file(N_TRAIN_HERE)),
        (TRAIN_LABELS.name, label_file(N_TRAIN_HERE)),
        (TEST_IMAGES.name, image_file(N_TEST_HERE)),
        (TEST_LABELS.name, label_file(N_TEST_HERE)),
    ]
}

/// A folder with the four files, under other names and content.
fn folder(rename: impl Fn(&str) -> String, pack: impl Fn(&[u8]) -> Vec<u8>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files() {
        let path = folder.path().join(rename(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, pack(&content)).unwrap();
    }
    folder
}

fn plain() -> tempfile::TempDir {
    folder(str::to_owned, <[u8]>::to_vec)
}

fn any_size() -> DatasetOptions {
    DatasetOptions { any_size: true, ..DatasetOptions::default() }
}

fn check(folder: &Path) {
    let data = load(folder, &any_size()).unwrap();
    assert_eq!(data.image_shape(), ImageShape { channels: 1, height: 28, width: 28 });
    assert_eq!((data.n_images(Split::Train), data.n_images(Split::Test), data.n_classes()), (4, 3, 10));
    let mut pixels = vec![0.0; 784];
    assert_eq!(data.image(Split::Train, 1, 3, &mut pixels), 8);
    assert!((pixels[0] - ((784 % 251) as f32 / 255.0 - 0.1307) / 0.3081).abs() < 1e-6);
    assert_eq!(data.image(Split::Test, 2, 0, &mut pixels), 7);
}

/// What is said once one file has another content.
fn message_with(name: &str, content: &[u8], options: &DatasetOptions) -> String {
    let folder = plain();
    fs::write(folder.path().join(name), content).unwrap();
    let error = load(folder.path(), options).unwrap_err();
    assert!(matches!(error, Error::BadData { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&folder.path().join(name).display().to_string()), "{message}");
    message
}

#[test]
fn all_spellings_and_places_are_found() {
    check(plain().path());
    check(folder(|name| format!("{name}.gz"), gz).path());
    check(folder(dotted, <[u8]>::to_vec).path());
    check(folder(|name| format!("{}.gz", dotted(name)), gz).path());
    check(folder(|name| format!("MNIST/raw/{name}"), <[u8]>::to_vec).path());
    check(folder(|name| format!("raw/{name}.gz"), gz).path());
    // A name says nothing about compression.
    check(folder(|name| format!("{name}.gz"), <[u8]>::to_vec).path());
    check(folder(str::to_owned, gz).path());
    // Of several members, and the plain file goes first.
    let halves = |bytes: &[u8]| [gz(&bytes[..5]), gz(&bytes[5..])].concat();
    let mixed = folder(|name| format!("{name}.gz"), halves);
    check(mixed.path());
    fs::write(mixed.path().join(TEST_LABELS.name), "no labels").unwrap();
    assert!(load(mixed.path(), &any_size()).unwrap_err().to_string().contains("t10k-labels-idx1-ubyte: "));
}

#[test]
fn a_missing_file_is_named() {
    for (name, _) in files() {
        let folder = plain();
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = load(folder.path(), &any_size()).unwrap_err();
        assert!(matches!(error, Error::DataMissing { dataset: "mnist", .. }));
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(&folder.path().display().to_string()), "{message}");
        assert!(message.contains("--data DIR") && message.contains("--download"), "{message}");
    }
}

#[test]
fn other_numbers_of_images_than_published_are_refused() {
    let error = load(plain().path(), &DatasetOptions::default()).unwrap_err().to_string();
    assert!(error.contains("it has 4 images, and should have 60000"), "{error}");
    let message = message_with(TEST_IMAGES.name, &image_file(0), &any_size());
    assert!(message.contains("it has 0 images"), "{message}");
}

#[test]
fn what_is_wrong_in_a_file_is_said() {
    let message = |name, content: &[u8]| message_with(name, content, &any_size());
    let said = message(TRAIN_IMAGES.name, &label_file(4));
    assert!(said.contains("it begins with 0x00000801, not 0x00000803"), "{said}");
    let said = message(TRAIN_LABELS.name, b"<html>not found</html>");
    assert!(said.contains("not an IDX file of labels"), "{said}");
    let said = message(TEST_IMAGES.name, &idx(0x803, &[3, 32, 32], &[0; 3072]));
    assert!(said.contains("32 x 32, not 28 x 28"), "{said}");
    let said = message(TEST_LABELS.name, &label_file(2));
    assert!(said.contains("2 labels for the 3 images") && said.contains(TEST_IMAGES.name), "{said}");
    let said = message(TRAIN_LABELS.name, &idx(0x801, &[4], &[0, 9, 10, 0]));
    assert!(said.contains("label 2 (from 0) is 10"), "{said}");
    let said = message(TEST_IMAGES.name, &[image_file(3), vec![0]].concat());
    assert!(said.contains("goes on after its 3 images"), "{said}");
    // A count that no memory holds is not believed.
    let said = message(TRAIN_IMAGES.name, &idx(0x803, &[u32::MAX, 28, 28], &[0; 784]));
    assert!(said.contains("truncated: 784 of"), "{said}");
    let mut damaged = gz(&image_file(4));
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let said = message(TRAIN_IMAGES.name, &damaged);
    assert!(said.contains("gzip") || said.contains("truncated"), "{said}");
}

#[test]
fn every_truncation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let cases = [
        (&TEST_IMAGES, image_file(2)),
        (&TEST_LABELS, label_file(20)),
        (&TEST_IMAGES, gz(&image_file(2))),
        (&TEST_LABELS, gz(&label_file(20))),
    ];
    for (file, content) in cases {
        for len in 0..content.len() {
            fs::write(&path, &content[..len]).unwrap();
            let message = file.read(&path, true).unwrap_err().to_string();
            assert!(message.contains("truncated"), "{len} of {}: {message}", content.len());
        }
        fs::write(&path, &content).unwrap();
        file.read(&path, true).unwrap();
    }
}

#[test]
fn flipped_bits_leave_the_number_of_bytes_or_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (file, content, n_bytes) in [
        (&TEST_IMAGES, image_file(1), 784),
        (&TEST_LABELS, label_file(20), 20),
        (&TEST_IMAGES, gz(&image_file(1)), 784),
        (&TEST_LABELS, gz(&label_file(20)), 20),
    ] {
        // A file for each bit takes its time; seven go through all places in a byte.
        for bit in (0..8 * content.len()).step_by(7) {
            let mut content = content.clone();
            content[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &content).unwrap();
            match file.read(&path, true) {
                Ok(content) => assert_eq!(content.len(), n_bytes, "bit {bit}"),
                Err(error) => assert!(matches!(error, Error::BadData { .. }), "bit {bit}: {error}"),
            }
        }
    }
}

#[test]
fn what_is_lacking_is_fetched() {
    let packed: Vec<_> = files().into_iter().map(|(name, content)| (format!("{name}.gz"), gz(&content))).collect();
    let on_server = packed.clone();
    let server = Server::start(move |request, _| {
        let file = on_server.iter().find(|(name, _)| *name == request.path);
        file.map_or_else(|| Reply::status(404), |(_, content)| Reply::range(content, request))
    });
    let sources: Vec<_> = packed.iter().map(|(name, content)| server.source(name, content)).collect();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("mnist");
    let options = DatasetOptions { data: Some(data.clone()), download: true, ..any_size() };
    let data_set = DatasetName::Mnist.open_from(&sources, &options, &()).unwrap();
    assert_eq!(data_set.n_images(Split::Train), 4);
    check(&data);
    assert_eq!(server.requests().len(), 4);

    // Right files stay, a damaged one is fetched, an unpacked one is taken.
    fs::write(data.join(&packed[2].0), "damaged").unwrap();
    fs::remove_file(data.join(&packed[3].0)).unwrap();
    fs::write(data.join(TEST_LABELS.name), label_file(3)).unwrap();
    DatasetName::Mnist.open_from(&sources, &options, &()).unwrap();
    let paths: Vec<_> = server.requests().into_iter().skip(4).map(|request| request.path).collect();
    assert_eq!(paths, [packed[2].0.as_str()]);
}
