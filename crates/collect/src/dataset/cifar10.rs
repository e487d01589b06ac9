use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::{self, Archive};
use super::augment::Augmentation;
use super::download::{self, Source};
use super::images::{ByteImages, Labelled, Recipe};
use super::{DataProgress, DatasetOptions, ImageShape, bad, missing, unreadable};
use crate::Error;

pub(super) const NAME: &str = "cifar10";
pub(super) const N_CLASSES: usize = 10;
const SIDE: usize = 32;
const N_PER_FILE: usize = 10_000;
/// The label, then the three channels.
const RECORD_BYTES: usize = 1 + 3 * SIDE * SIDE;

/// The folder in the archive.
const FOLDER: &str = "cifar-10-batches-bin";
const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: [&str; 1] = ["test_batch.bin"];

/// Unpacked it has 184 MB in 8 files.
const ARCHIVE: Archive = Archive { folder: FOLDER, max_bytes: 400_000_000, max_entries: 100 };

const RECIPE: Recipe = Recipe {
    shape: ImageShape { channels: 3, height: SIDE, width: SIDE },
    n_classes: N_CLASSES,
    mean: &[0.4914, 0.4822, 0.4465],
    std: &[0.2023, 0.1994, 0.2010],
    augmentation: Augmentation::CropAndFlip,
};

/// Where the archive of the binary version comes from.
pub(super) fn sources() -> Vec<Source> {
    vec![Source {
        file: "cifar-10-binary.tar.gz".to_owned(),
        urls: vec!["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".to_owned()],
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".to_owned(),
    }]
}

/// Fetches and unpacks the archive, unless its files are there.
pub(super) fn download(folder: &Path, sources: &[Source], progress: &dyn DataProgress) -> Result<(), Error> {
    if find(folder).is_ok() {
        return Ok(());
    }
    for source in sources {
        let path = download::fetch(source, folder, progress)?;
        archive::unpack_tar_gz(&path, folder, &ARCHIVE, progress)?;
    }
    Ok(())
}

/// Reads the six files.
pub(super) fn load(folder: &Path, options: &DatasetOptions) -> Result<ByteImages, Error> {
    let folder = find(folder)?;
    let load = |names: &[&str]| {
        let mut images = Labelled::default();
        for name in names {
            read(&folder.join(name), options.any_size, &mut images)?;
        }
        Ok(images)
    };
    Ok(ByteImages::new(RECIPE, options.seed, load(&TRAIN)?, load(&TEST)?))
}

/// The folder that has all the files.
fn find(folder: &Path) -> Result<PathBuf, Error> {
    let mut lacking = None;
    for place in [folder.to_owned(), folder.join(FOLDER)] {
        match TRAIN.iter().chain(&TEST).find(|name| !place.join(name).is_file()) {
            None => return Ok(place),
            // The folder that has some of them is the one to speak of.
            Some(name) if *name != TRAIN[0] => lacking = Some(format!("{} has no {name}", place.display())),
            Some(_) => {}
        }
    }
    let problem = lacking.unwrap_or_else(|| format!("neither it nor its {FOLDER} has {}", TRAIN[0]));
    Err(missing(NAME, folder, problem))
}

/// Adds a file's images.
fn read(path: &Path, any_size: bool, images: &mut Labelled) -> Result<(), Error> {
    let published = N_PER_FILE * RECORD_BYTES;
    let limit = if any_size { u64::MAX } else { published as u64 + 1 };
    let mut content = Vec::new();
    File::open(path).map_err(unreadable(path))?.take(limit).read_to_end(&mut content).map_err(unreadable(path))?;
    if !any_size && content.len() > published {
        return Err(bad(path, format!("it is longer than the {published} bytes of {N_PER_FILE} images")));
    }
    let (records, rest) = content.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        let (n, found) = (records.len(), content.len());
        return Err(bad(
            path,
            format!("truncated: {found} bytes, so {n} images of {RECORD_BYTES} bytes and a part of one"),
        ));
    }
    if records.is_empty() || (!any_size && records.len() < N_PER_FILE) {
        return Err(bad(path, format!("it has {} images, and should have {N_PER_FILE}", records.len())));
    }
    for (at, [label, pixels @ ..]) in records.iter().enumerate() {
        if usize::from(*label) >= N_CLASSES {
            let problem = format!("the label of image {at} (from 0) is {label}, but classes are numbered 0 to 9");
            return Err(bad(path, problem));
        }
        images.labels.push(*label);
        images.pixels.extend_from_slice(pixels);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
