use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, Luma, Rgb, RgbImage};

use super::super::archive::tests::zip;
use super::super::test_server::{Reply, Server};
use super::super::{Dataset, DatasetName, Split};
use super::*;

/// Not in order.
const IDS: [&str; 3] = ["n02", "n01", "n03"];

fn jpeg(pixels: &[u8], side: u32, colour: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode(pixels, side, side, colour).unwrap();
    bytes
}

/// A 64 x 64 image of one colour.
fn plain(colour: [u8; 3]) -> Vec<u8> {
    jpeg(RgbImage::from_pixel(64, 64, Rgb(colour)).as_raw(), 64, ExtendedColorType::Rgb8)
}

/// A 64 x 64 grey image, dark on the left and bright on the right.
fn grey() -> Vec<u8> {
    let image = GrayImage::from_fn(64, 64, |x, _| Luma([if x < 32 { 40 } else { 220 }]));
    jpeg(image.as_raw(), 64, ExtendedColorType::L8)
}

/// Every file but the images' own folder layout: path and content. Two training images a class, three for testing.
fn files(is_sorted: bool) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("wnids.txt".to_owned(), IDS.join("\n").into_bytes())];
    for (at, id) in IDS.iter().enumerate() {
        files.push((format!("train/{id}/images/{id}_10.JPEG"), plain([200, 100, 50 * at as u8])));
        files.push((format!("train/{id}/images/{id}_9.JPEG"), grey()));
        files.push((format!("train/{id}/{id}_boxes.txt"), b"ignored".to_vec()));
    }
    let test = [("val_1.JPEG", "n03"), ("val_0.JPEG", "n01"), ("val_2.JPEG", "n02")];
    for (name, id) in test {
        let place = if is_sorted { format!("val/{id}/{name}") } else { format!("val/images/{name}") };
        files.push((place, plain([10, 20, 30])));
    }
    if !is_sorted {
        let lines = test.map(|(name, id)| format!("{name}\t{id}\t0\t0\t62\t62\n"));
        files.push((format!("val/{ANNOTATIONS}"), lines.concat().into_bytes()));
    }
    files
}

fn write(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn any_size() -> DatasetOptions {
    DatasetOptions { any_size: true, ..DatasetOptions::default() }
}

fn labels(data: &dyn Dataset, split: Split) -> Vec<usize> {
    let mut pixels = vec![0.0; N_VALUES];
    (0..data.n_images(split)).map(|index| data.image(split, index, 0, &mut pixels)).collect()
}

/// What is said of a data set after a change to its folder.
fn message_after(change: impl FnOnce(&Path), options: &DatasetOptions) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files(false));
    change(folder.path());
    load(folder.path(), options, &()).unwrap_err().to_string()
}

#[test]
fn both_layouts_and_places_are_read() {
    for is_sorted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &files(is_sorted));
        let data = load(folder.path(), &any_size(), &()).unwrap();
        assert_eq!(data.image_shape(), ImageShape { channels: 3, height: 32, width: 32 });
        assert_eq!(data.n_classes(), 3);
        assert_eq!(labels(&data, Split::Train), [0, 0, 1, 1, 2, 2], "classes by rising id");
        // By file name, or by class.
        assert_eq!(labels(&data, Split::Test), if is_sorted { [0, 1, 2] } else { [0, 2, 1] });
        let outer = tempfile::tempdir().unwrap();
        write(&outer.path().join(FOLDER), &files(is_sorted));
        assert_eq!(labels(&load(outer.path(), &any_size(), &()).unwrap(), Split::Train), [0, 0, 1, 1, 2, 2]);
    }
}

#[test]
fn images_are_decoded_shrunk_and_normalised() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files(false));
    // Hidden files and others are passed over.
    write(folder.path(), &[("val/images/._val_0.JPEG".to_owned(), vec![0]), ("val/images/x.txt".to_owned(), vec![0])]);
    let data = load(folder.path(), &any_size(), &()).unwrap();
    let mut pixels = vec![0.0; N_VALUES];
    data.image(Split::Test, 0, 0, &mut pixels);
    for (channel, byte) in [10.0, 20.0, 30.0f32].into_iter().enumerate() {
        let expected = (byte / 255.0 - RECIPE.mean[channel]) / RECIPE.std[channel];
        let tolerance = 2.5 / 255.0 / RECIPE.std[channel];
        let plane = &pixels[channel * 1024..(channel + 1) * 1024];
        assert!(plane.iter().all(|pixel| (pixel - expected).abs() < tolerance), "{channel}");
    }
}

#[test]
fn grey_images_fill_three_channels_and_edges_blur_as_in_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grey.JPEG");
    fs::write(&path, grey()).unwrap();
    let mut pixels = vec![0; N_VALUES];
    decode(&path, &mut pixels).unwrap();
    assert!(pixels[..1024] == pixels[1024..2048] && pixels[..1024] == pixels[2048..]);
    // The triangle of an output pixel is four input pixels wide, with weights 1, 3, 3, 1 of 8.
    for row in pixels[..1024].chunks_exact(32) {
        for (x, expected) in [(0, 40), (14, 40), (15, 40 + 180 / 8), (16, 220 - 180 / 8), (17, 220), (31, 220)] {
            assert!(row[x].abs_diff(expected) <= 3, "column {x}: {}", row[x]);
        }
    }
}

#[test]
fn a_broken_image_is_named() {
    let good = plain([1, 2, 3]);
    let scan = good.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    for (broken, said) in [
        (good[..good.len() - 2].to_vec(), "not a whole JPEG image"),
        (good[..scan + 4].to_vec(), "not a whole JPEG image"),
        (good[..10].to_vec(), "not a whole JPEG image"),
        (Vec::new(), "not a whole JPEG image"),
        (b"<html>not an image</html>".to_vec(), "JPEG image"),
        // Tables that say nothing sensible.
        ([&good[..2], &[0xff, 0xc4, 0, 4, 0xff, 0xff], &good[2..]].concat(), "not a readable JPEG image"),
    ] {
        for name in ["val/images/val_2.JPEG", "train/n03/images/n03_9.JPEG"] {
            let message = message_after(|root| fs::write(root.join(name), &broken).unwrap(), &any_size());
            assert!(message.contains(name) && message.contains(said), "{message}");
        }
    }
}

#[test]
fn every_truncation_of_an_image_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.JPEG");
    for whole in [grey(), plain([250, 3, 100])] {
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let message = decode(&path, &mut vec![0; N_VALUES]).unwrap_err().to_string();
            assert!(message.contains("image.JPEG"), "{message}");
        }
        // What follows the end does not matter.
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        decode(&path, &mut vec![0; N_VALUES]).unwrap();
    }
}

#[test]
fn flipped_bits_of_an_image_leave_an_image_or_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.JPEG");
    for whole in [grey(), plain([250, 3, 100])] {
        // A file for each bit takes its time; seven go through all places in a byte.
        for bit in (0..8 * whole.len()).step_by(7) {
            let mut image = whole.clone();
            image[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &image).unwrap();
            if let Err(error) = decode(&path, &mut vec![0; N_VALUES]) {
                assert!(matches!(error, Error::BadData { .. }), "bit {bit}: {error}");
            }
        }
    }
}

#[test]
fn missing_parts_are_named() {
    for part in ["wnids.txt", "train", "val"] {
        let remove = |root: &Path| fs::rename(root.join(part), root.join("elsewhere")).unwrap();
        let message = message_after(remove, &any_size());
        assert!(message.contains("tinyimagenet") && message.contains(part), "{message}");
    }
    let lost = |name: &'static str| move |root: &Path| fs::remove_file(root.join(name)).unwrap();
    let message = message_after(lost("val/val_annotations.txt"), &any_size());
    assert!(message.contains("cannot read") && message.contains(ANNOTATIONS), "{message}");
    let message = message_after(lost("val/images/val_1.JPEG"), &any_size());
    assert!(message.contains("val_1.JPEG") && message.contains("val/images"), "{message}");
    let message = message_after(|root| fs::remove_dir_all(root.join("train/n02")).unwrap(), &any_size());
    assert!(message.contains("train/n02"), "{message}");
}

#[test]
fn too_few_images_or_classes_are_refused() {
    let message = message_after(|_| (), &DatasetOptions::default());
    assert!(message.contains("wnids.txt") && message.contains("names 3 classes, and should name 200"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files(false));
    let classes = Classes::read(&folder.path().join("wnids.txt"), true).unwrap();
    let message = classes.train(&folder.path().join("train"), false).unwrap_err().to_string();
    assert!(message.contains("train/n01/images: it has 2 images, and should have 500"), "{message}");
    let message = classes.test(&folder.path().join("val"), false).unwrap_err().to_string();
    assert!(message.contains("it has 3 images, and should have 10000"), "{message}");
    let empty = |root: &Path| {
        fs::remove_dir_all(root.join("train/n01/images")).unwrap();
        fs::create_dir(root.join("train/n01/images")).unwrap();
    };
    let message = message_after(empty, &any_size());
    assert!(message.contains("train/n01/images: it has 0 images"), "{message}");
}

#[test]
fn wrong_lists_are_named() {
    let with = |name: &'static str, text: &str| {
        let message = message_after(|root| fs::write(root.join(name), text).unwrap(), &any_size());
        assert!(message.contains(name), "{message}");
        message
    };
    let annotations = "val/val_annotations.txt";
    let unknown = with(annotations, "val_0.JPEG\tn01\nval_1.JPEG\tn99\n");
    assert!(unknown.contains("line 2") && unknown.contains("\"n99\"") && unknown.contains("wnids.txt"), "{unknown}");
    let twice = with(annotations, "val_0.JPEG\tn01\nval_0.JPEG\tn02\n");
    assert!(twice.contains("line 2") && twice.contains("a second time"), "{twice}");
    let short = with(annotations, "val_0.JPEG\n");
    assert!(short.contains("line 1"), "{short}");
    let unlisted = with(annotations, "val_0.JPEG\tn01\n");
    assert!(unlisted.contains("val_1.JPEG") && unlisted.contains("does not name its class"), "{unlisted}");
    let path = with("wnids.txt", "n01\n../../n02\nn03");
    assert!(path.contains("is no WordNet id"), "{path}");
    let twice = with("wnids.txt", "n01\nn02\nn01");
    assert!(twice.contains("names n01 twice"), "{twice}");
}

#[test]
fn the_archive_is_fetched_and_unpacked_once() {
    let files: Vec<_> = files(false).into_iter().map(|(name, content)| (format!("{FOLDER}/{name}"), content)).collect();
    let entries: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let archive = zip(&entries);
    let body = archive.clone();
    let server = Server::start(move |request, _| Reply::range(&body, request));
    let sources = [server.source("tiny-imagenet-200.zip", &archive)];
    let folder = tempfile::tempdir().unwrap();
    let options = DatasetOptions { data: Some(folder.path().to_owned()), download: true, ..any_size() };
    for _ in 0..2 {
        let data = DatasetName::TinyImageNet.open_from(&sources, &options, &()).unwrap();
        assert_eq!(labels(&*data, Split::Test), [0, 2, 1]);
    }
    assert_eq!(server.requests().len(), 1);
}
