use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader, Limits};
use rayon::prelude::*;

use super::archive::{self, Archive};
use super::augment::Augmentation;
use super::download::{self, Source};
use super::images::{ByteImages, Labelled, Recipe};
use super::resize::shrink;
use super::{DataProgress, DataWork, DatasetOptions, ImageShape, bad, missing, unreadable};
use crate::Error;

pub(super) const NAME: &str = "tinyimagenet";
pub(super) const N_CLASSES: usize = 200;
const SIDE: usize = 32;
const N_VALUES: usize = 3 * SIDE * SIDE;
const N_TRAIN_PER_CLASS: usize = 500;
const N_TEST: usize = 10_000;

/// The folder in the archive.
const FOLDER: &str = "tiny-imagenet-200";
const ANNOTATIONS: &str = "val_annotations.txt";

/// Unpacked it has 240 MB in 120 609 entries.
const ARCHIVE: Archive = Archive { folder: FOLDER, max_bytes: 2_000_000_000, max_entries: 250_000 };

/// The images are 64 x 64 and a few kilobytes; a file beyond these is none of them.
const MAX_SIDE: u32 = 4096;
const MAX_FILE_BYTES: u64 = 16 << 20;

const RECIPE: Recipe = Recipe {
    shape: ImageShape { channels: 3, height: SIDE, width: SIDE },
    n_classes: N_CLASSES,
    mean: &[0.4802, 0.4481, 0.3975],
    std: &[0.2302, 0.2265, 0.2262],
    augmentation: Augmentation::RotateAndFlip,
};

/// Where the archive comes from.
pub(super) fn sources() -> Vec<Source> {
    vec![Source {
        file: "tiny-imagenet-200.zip".to_owned(),
        urls: vec!["https://cs231n.stanford.edu/tiny-imagenet-200.zip".to_owned()],
        bytes: 248_100_043,
        sha256: "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821".to_owned(),
    }]
}

/// Fetches and unpacks the archive, unless its folder is there.
pub(super) fn download(folder: &Path, sources: &[Source], progress: &dyn DataProgress) -> Result<(), Error> {
    if find(folder).is_ok() {
        return Ok(());
    }
    for source in sources {
        let path = download::fetch(source, folder, progress)?;
        archive::unpack_zip(&path, folder, &ARCHIVE, progress)?;
    }
    Ok(())
}

/// Lists, decodes and resizes all images.
pub(super) fn load(folder: &Path, options: &DatasetOptions, progress: &dyn DataProgress) -> Result<ByteImages, Error> {
    let root = find(folder)?;
    let classes = Classes::read(&root.join("wnids.txt"), options.any_size)?;
    let train = classes.train(&root.join("train"), options.any_size)?;
    let test = classes.test(&root.join("val"), options.any_size)?;
    progress.begin(DataWork::Decode { what: NAME }, (train.len() + test.len()) as u64, 0);
    let decoded = decode_all(&train, progress).and_then(|train| Ok((train, decode_all(&test, progress)?)));
    progress.end();
    let (train, test) = decoded?;
    let recipe = Recipe { n_classes: classes.0.len(), ..RECIPE };
    Ok(ByteImages::new(recipe, options.seed, train, test))
}

/// The folder with the parts of the data set.
fn find(folder: &Path) -> Result<PathBuf, Error> {
    let lacks = |place: &Path| ["wnids.txt", "train", "val"].into_iter().find(|name| !place.join(name).exists());
    let inner = folder.join(FOLDER);
    let place = if inner.is_dir() { inner } else { folder.to_owned() };
    match lacks(&place) {
        None => Ok(place),
        Some("wnids.txt") if place == folder => {
            Err(missing(NAME, folder, format!("it has neither {FOLDER} nor wnids.txt")))
        }
        Some(name) => Err(missing(NAME, folder, format!("{} has no {name}", place.display()))),
    }
}

/// An image to be read, and its class.
type Listed = (PathBuf, u8);

/// The WordNet ids and the numbers of the classes: by rising id, as torchvision's `ImageFolder` numbers them.
struct Classes(BTreeMap<String, u8>);

impl Classes {
    fn read(path: &Path, any_size: bool) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(unreadable(path))?;
        let mut ids: Vec<&str> = text.split_whitespace().collect();
        // They become parts of paths.
        if let Some(id) = ids.iter().find(|id| !id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            return Err(bad(path, format!("{id:?} is no WordNet id")));
        }
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(path, format!("it names {} twice", twice[0])));
        }
        let fits = if any_size { (2..=N_CLASSES).contains(&ids.len()) } else { ids.len() == N_CLASSES };
        if !fits {
            return Err(bad(path, format!("it names {} classes, and should name {N_CLASSES}", ids.len())));
        }
        Ok(Self(ids.into_iter().map(str::to_owned).zip(0..).collect()))
    }

    /// The training images, class by class, each by rising file name.
    fn train(&self, folder: &Path, any_size: bool) -> Result<Vec<Listed>, Error> {
        let n_per_class = (!any_size).then_some(N_TRAIN_PER_CLASS);
        self.sorted(folder, n_per_class)
    }

    /// The validation images: by rising file name as the annotations name their classes, or class by class where they have
    /// been sorted into folders.
    fn test(&self, folder: &Path, any_size: bool) -> Result<Vec<Listed>, Error> {
        let is_sorted = self.0.keys().any(|id| folder.join(id).is_dir());
        let images = if is_sorted { self.sorted(folder, None)? } else { self.annotated(folder)? };
        if images.is_empty() || (!any_size && images.len() != N_TEST) {
            return Err(bad(folder, format!("it has {} images, and should have {N_TEST}", images.len())));
        }
        Ok(images)
    }

    /// Images in folders by class, either in `images` of each folder or in the folder itself.
    fn sorted(&self, folder: &Path, n_per_class: Option<usize>) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for (id, &class) in &self.0 {
            let inner = folder.join(id).join("images");
            let place = if inner.is_dir() { inner } else { folder.join(id) };
            let images = images_in(&place)?;
            if images.is_empty() || n_per_class.is_some_and(|n| n != images.len()) {
                let expected = n_per_class.map_or_else(String::new, |n| format!(", and should have {n}"));
                return Err(bad(&place, format!("it has {} images{expected}", images.len())));
            }
            listed.extend(images.into_iter().map(|path| (path, class)));
        }
        Ok(listed)
    }

    fn annotated(&self, folder: &Path) -> Result<Vec<Listed>, Error> {
        let path = folder.join(ANNOTATIONS);
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let mut classes = BTreeMap::new();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let mut fields = line.split('\t');
            let (Some(name), Some(id)) = (fields.next(), fields.next().map(str::trim)) else {
                return Err(bad(&path, format!("line {number} is no file name and class, separated by a tab")));
            };
            let Some(&class) = self.0.get(id) else {
                return Err(bad(
                    &path,
                    format!("line {number} gives {name:?} the class {id:?}, which is not in wnids.txt"),
                ));
            };
            if classes.insert(name, class).is_some() {
                return Err(bad(&path, format!("line {number} names {name:?} a second time")));
            }
        }
        let listed = images_in(&folder.join("images"))?.into_iter().map(|image| {
            let class = image.file_name().and_then(|name| classes.remove(name.to_str()?));
            match class {
                Some(class) => Ok((image, class)),
                None => Err(bad(&image, format!("{} does not name its class", path.display()))),
            }
        });
        let listed = listed.collect::<Result<_, _>>()?;
        match classes.keys().next() {
            None => Ok(listed),
            Some(name) => Err(bad(&folder.join("images"), format!("it has no {name:?}, which {ANNOTATIONS} names"))),
        }
    }
}

/// The JPEG files of a folder, by rising name.
fn images_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_jpeg = |e: &std::ffi::OsStr| e.eq_ignore_ascii_case("jpeg") || e.eq_ignore_ascii_case("jpg");
        if !is_hidden && path.extension().is_some_and(is_jpeg) {
            images.push(path);
        }
    }
    images.sort_unstable();
    Ok(images)
}

fn decode_all(listed: &[Listed], progress: &dyn DataProgress) -> Result<Labelled, Error> {
    let mut pixels = vec![0; listed.len() * N_VALUES];
    pixels.par_chunks_exact_mut(N_VALUES).zip(listed).try_for_each(|(pixels, (path, _))| {
        decode(path, pixels)?;
        progress.advance(1);
        Ok(())
    })?;
    Ok(Labelled { pixels, labels: listed.iter().map(|(_, class)| *class).collect() })
}

/// Reads one image, as colour even if it is grey, and shrinks it to `[3, 32, 32]`.
fn decode(path: &Path, pixels: &mut [u8]) -> Result<(), Error> {
    let file = fs::File::open(path).map_err(unreadable(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable(path))?;
    if !is_whole(&bytes) {
        return Err(bad(path, "not a whole JPEG image"));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    let image = reader.decode().map_err(|error| bad(path, format!("not a readable JPEG image ({error})")))?;
    let image = image.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    for (channel, small) in pixels.chunks_exact_mut(SIDE * SIDE).enumerate() {
        let plane: Vec<u8> = image.as_raw().iter().skip(channel).step_by(3).copied().collect();
        small.copy_from_slice(&shrink(&plane, [height, width], [SIDE; 2]));
    }
    Ok(())
}

/// Whether a JPEG file reaches the mark of its end: the decoder makes up what is missing.
fn is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    // Past the start mark, segments say their length; scans come after the last that does.
    let mut at = 2;
    loop {
        match bytes.get(at..) {
            // Marks may be padded.
            Some([0xff, 0xff, ..]) => at += 1,
            Some([0xff, START_OF_SCAN, scans @ ..]) => return scans.windows(2).any(|pair| pair == END),
            Some([0xff, _, upper, lower, ..]) => at += 2 + usize::from(u16::from_be_bytes([*upper, *lower])),
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
