use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::augment::Augmentation;
use super::download::{self, Source};
use super::images::{ByteImages, Labelled, Recipe};
use super::{DataProgress, DatasetOptions, ImageShape, bad, missing, unreadable};
use crate::Error;

pub(super) const NAME: &str = "mnist";
pub(super) const N_CLASSES: usize = 10;
const SIDE: usize = 28;
const N_TRAIN: usize = 60_000;
const N_TEST: usize = 10_000;

/// Where in the folder the files may be.
const PLACES: [&str; 3] = ["", "MNIST/raw", "raw"];

const RECIPE: Recipe = Recipe {
    shape: ImageShape { channels: 1, height: SIDE, width: SIDE },
    n_classes: N_CLASSES,
    mean: &[0.1307],
    std: &[0.3081],
    augmentation: Augmentation::None,
};

/// One of the four files.
struct IdxFile {
    /// Its published name without `.gz`.
    name: &'static str,
    is_images: bool,
    n_published: usize,
}

const TRAIN_IMAGES: IdxFile = IdxFile { name: "train-images-idx3-ubyte", is_images: true, n_published: N_TRAIN };
const TRAIN_LABELS: IdxFile = IdxFile { name: "train-labels-idx1-ubyte", is_images: false, n_published: N_TRAIN };
const TEST_IMAGES: IdxFile = IdxFile { name: "t10k-images-idx3-ubyte", is_images: true, n_published: N_TEST };
const TEST_LABELS: IdxFile = IdxFile { name: "t10k-labels-idx1-ubyte", is_images: false, n_published: N_TEST };

/// Where the files come from; the checksums are those of the files first published at yann.lecun.com.
pub(super) fn sources() -> Vec<Source> {
    let mirrors =
        ["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"];
    let files = [
        (TRAIN_IMAGES, 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (TRAIN_LABELS, 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (TEST_IMAGES, 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (TEST_LABELS, 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ];
    let source = |(file, bytes, sha256): (IdxFile, u64, &str)| Source {
        file: format!("{}.gz", file.name),
        urls: mirrors.map(|mirror| format!("{mirror}/{}.gz", file.name)).into(),
        bytes,
        sha256: sha256.to_owned(),
    };
    files.into_iter().map(source).collect()
}

/// Fetches what is not there yet. Unpacked files, and files in torchvision's folder, are taken as they are.
pub(super) fn download(folder: &Path, sources: &[Source], progress: &dyn DataProgress) -> Result<(), Error> {
    for source in sources {
        let own = folder.join(&source.file);
        let name = source.file.trim_end_matches(".gz");
        if own.exists() || find(folder, name).is_none() {
            download::fetch(source, folder, progress)?;
        }
    }
    Ok(())
}

/// Reads the four files.
pub(super) fn load(folder: &Path, options: &DatasetOptions) -> Result<ByteImages, Error> {
    let load = |images: &IdxFile, labels: &IdxFile| {
        let (image_path, label_path) = (locate(folder, images.name)?, locate(folder, labels.name)?);
        let pixels = images.read(&image_path, options.any_size)?;
        let labels = labels.read(&label_path, options.any_size)?;
        let n_images = pixels.len() / (SIDE * SIDE);
        if labels.len() != n_images {
            let images = image_path.display();
            return Err(bad(
                &label_path,
                format!("it has {} labels for the {n_images} images of {images}", labels.len()),
            ));
        }
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= N_CLASSES) {
            let problem = format!("label {at} (from 0) is {}, but classes are numbered 0 to 9", labels[at]);
            return Err(bad(&label_path, problem));
        }
        Ok(Labelled { pixels, labels })
    };
    let (train, test) = (load(&TRAIN_IMAGES, &TRAIN_LABELS)?, load(&TEST_IMAGES, &TEST_LABELS)?);
    Ok(ByteImages::new(RECIPE, options.seed, train, test))
}

fn locate(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    find(folder, name).ok_or_else(|| {
        missing(NAME, folder, format!("neither it nor its MNIST/raw has {name}, {name}.gz or {}", dotted(name)))
    })
}

/// The spelling with a dot, in which some copies are spread.
fn dotted(name: &str) -> String {
    name.replace("-idx", ".idx")
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let names = [name.to_owned(), format!("{name}.gz"), dotted(name), format!("{}.gz", dotted(name))];
    let paths = PLACES.iter().flat_map(|place| names.iter().map(move |name| folder.join(place).join(name)));
    // Some archives have folders of these names, with the file inside: those are not meant.
    paths.into_iter().find(|path| path.is_file())
}

impl IdxFile {
    /// Reads the file's content, after checking its header: `u32`s, upper byte first, of a magic number, the number of
    /// images, and for images the rows and columns. Whether it is compressed is seen from its first bytes.
    fn read(&self, path: &Path, any_size: bool) -> Result<Vec<u8>, Error> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                bad(path, format!("damaged or truncated gzip data ({source})"))
            }
            _ => unreadable(path)(source),
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

        let (magic, what) = if self.is_images { (0x803, "images") } else { (0x801, "labels") };
        let n_numbers = if self.is_images { 4 } else { 2 };
        let mut header = Vec::new();
        reader.by_ref().take(4 * n_numbers).read_to_end(&mut header).map_err(unreadable)?;
        let numbers: Vec<u32> = header.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect();
        if let Some(&found) = numbers.first()
            && found != magic
        {
            return Err(bad(
                path,
                format!("not an IDX file of {what}: it begins with {found:#010x}, not {magic:#010x}"),
            ));
        }
        let (n, item_bytes) = match numbers[..] {
            [_, n] if !self.is_images => (n, 1),
            [_, n, rows, columns] if self.is_images => {
                if [rows, columns] != [SIDE as u32; 2] {
                    return Err(bad(path, format!("its images are {rows} x {columns}, not {SIDE} x {SIDE}")));
                }
                (n, SIDE * SIDE)
            }
            _ => return Err(bad(path, format!("truncated: its {} bytes end within the header", header.len()))),
        };
        if n == 0 || (!any_size && n as usize != self.n_published) {
            return Err(bad(path, format!("it has {n} {what}, and should have {}", self.n_published)));
        }
        let n_bytes = u64::from(n) * item_bytes as u64;
        let mut content = Vec::new();
        reader.take(n_bytes + 1).read_to_end(&mut content).map_err(unreadable)?;
        match (content.len() as u64).cmp(&n_bytes) {
            std::cmp::Ordering::Equal => Ok(content),
            std::cmp::Ordering::Less => {
                let (whole, found) = (content.len() / item_bytes, content.len());
                Err(bad(path, format!("truncated: {found} of {n_bytes} bytes, so {whole} of {n} {what}")))
            }
            std::cmp::Ordering::Greater => Err(bad(path, format!("it goes on after its {n} {what}"))),
        }
    }
}

#[cfg(test)]
mod tests;
