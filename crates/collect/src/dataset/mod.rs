//! Data sets: labelled, normalised images, one at a time by index.

mod archive;
mod augment;
mod cifar10;
mod colour;
mod digits;
mod download;
mod images;
mod mnist;
mod progress;
mod resize;
mod synthetic;
#[cfg(test)]
mod test_server;
mod tinyimagenet;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use colour::GreyAsColour;
pub use digits::Digits;
use download::Source;
pub use progress::{DataProgress, DataWork};
pub use synthetic::Synthetic;

use crate::Error;

/// A data set that can be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetName {
    /// 1797 handwritten digits, embedded: see [`Digits`].
    Digits,
    /// Procedural images: see [`Synthetic`].
    Synthetic,
    /// Handwritten digits (Y. LeCun, C. Cortes and C. J. C. Burges): 60 000 grey images of 28 x 28 for training, 10 000 for
    /// testing, 10 classes; normalised, not augmented.
    ///
    /// The folder holds the four IDX files, as they are or as `.gz`, by their published names or with a dot for the hyphen
    /// before `idx`, or has them in `MNIST/raw`, where torchvision puts them.
    Mnist,
    /// Photographs (A. Krizhevsky): 50 000 colour images of 32 x 32 for training, 10 000 for testing, 10 classes. Training images
    /// are cropped at random from a frame of 4 black pixels, mirrored at random and normalised.
    ///
    /// The folder holds the six files of the binary version, or has them in `cifar-10-batches-bin`.
    Cifar10,
    /// Photographs (Stanford CS231n, from ImageNet): 100 000 colour images of 64 x 64 for training and the 10 000 of `val` for
    /// testing, 200 classes, resized to 32 x 32. Training images are turned by up to 20 degrees, mirrored at random and
    /// normalised.
    ///
    /// The folder is `tiny-imagenet-200` or holds it. `val` may be sorted into folders of classes. Opening it decodes all
    /// images, with all cores, into 340 MB.
    TinyImageNet,
}

/// How a data set is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetOptions {
    /// The folder of the data set's files; embedded and procedural data sets have none and ignore it.
    pub data: Option<PathBuf>,
    /// Whether to fetch files that are not there yet into the folder.
    pub download: bool,
    /// Decides what procedural images look like, and how training images are augmented.
    pub seed: u64,
    /// The number of classes, for data sets of any number (`synthetic`); others refuse all but their own.
    pub n_classes: Option<usize>,
    /// Takes a folder with another number of images (or, in `tinyimagenet`, fewer classes) than the published data set: a
    /// part of it, say. Without this such a folder is refused, as most likely not whole.
    pub any_size: bool,
}

impl DatasetName {
    /// Every data set there is, in the order in which they are listed to people.
    pub const ALL: [Self; 5] = [Self::Digits, Self::Synthetic, Self::Mnist, Self::Cifar10, Self::TinyImageNet];

    /// The name on the command line and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Synthetic => "synthetic",
            Self::Mnist => mnist::NAME,
            Self::Cifar10 => cifar10::NAME,
            Self::TinyImageNet => tinyimagenet::NAME,
        }
    }

    /// Whether the data set lies in files, so that [`DatasetOptions::data`] is needed.
    pub fn needs_files(self) -> bool {
        !matches!(self, Self::Digits | Self::Synthetic)
    }

    /// Opens the data set: fetches its files if that is wanted, reads and checks them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a number of classes it does not have, [`Error::DataRequired`] without a folder,
    /// [`Error::DataMissing`], [`Error::BadData`] and [`Error::ReadData`] for what is wrong in it, [`Error::Download`] and
    /// [`Error::Write`] where fetching fails.
    pub fn open(self, options: &DatasetOptions, progress: &dyn DataProgress) -> Result<Box<dyn Dataset>, Error> {
        let sources = match self {
            Self::Digits | Self::Synthetic => Vec::new(),
            Self::Mnist => mnist::sources(),
            Self::Cifar10 => cifar10::sources(),
            Self::TinyImageNet => tinyimagenet::sources(),
        };
        self.open_from(&sources, options, progress)
    }

    /// As [`open`](Self::open), with the files from other places.
    fn open_from(
        self,
        sources: &[Source],
        options: &DatasetOptions,
        progress: &dyn DataProgress,
    ) -> Result<Box<dyn Dataset>, Error> {
        let n_own_classes = match self {
            Self::Synthetic => None,
            Self::Digits => Some(digits::N_CLASSES),
            Self::Mnist => Some(mnist::N_CLASSES),
            Self::Cifar10 => Some(cifar10::N_CLASSES),
            Self::TinyImageNet => Some(tinyimagenet::N_CLASSES),
        };
        if let (Some(own), Some(n)) = (n_own_classes, options.n_classes)
            && own != n
        {
            return Err(Error::InvalidOption {
                option: "--classes",
                value: n.to_string(),
                problem: format!("`{self}` always has {own} classes; leave the option out"),
            });
        }
        if let Self::Digits = self {
            return Ok(Box::new(Digits::new()));
        }
        if let Self::Synthetic = self {
            let n_classes = options.n_classes.unwrap_or(synthetic::DEFAULT_N_CLASSES);
            return Ok(Box::new(Synthetic::new(options.seed, n_classes)?));
        }
        let folder = options.data.as_deref().ok_or(Error::DataRequired { dataset: self.as_str() })?;
        if options.download {
            match self {
                Self::Mnist => mnist::download(folder, sources, progress)?,
                Self::Cifar10 => cifar10::download(folder, sources, progress)?,
                _ => tinyimagenet::download(folder, sources, progress)?,
            }
        }
        Ok(Box::new(match self {
            Self::Mnist => mnist::load(folder, options)?,
            Self::Cifar10 => cifar10::load(folder, options)?,
            _ => tinyimagenet::load(folder, options, progress)?,
        }))
    }
}

/// Why a file or folder could not be read.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |source| Error::ReadData { path: path.to_owned(), source }
}

/// Why a file or folder could not be written.
fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |source| Error::Write { path: path.to_owned(), source }
}

/// A file or folder that is not what it should be.
fn bad(path: &Path, problem: impl Into<String>) -> Error {
    Error::BadData { path: path.to_owned(), problem: problem.into() }
}

/// A folder that is none of the data set's; says so if there is no folder at all.
fn missing(dataset: &'static str, folder: &Path, problem: impl Into<String>) -> Error {
    let problem = if folder.is_dir() { problem.into() } else { "there is no such folder".to_owned() };
    Error::DataMissing { dataset, path: folder.to_owned(), problem }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| Error::UnknownName {
            what: "data set",
            name: name.to_owned(),
            valid: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// The two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Images to train on.
    Train,
    /// Images to measure accuracy on.
    Test,
}

/// The size of every image of a data set. Pixels lie channel by channel, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Colour channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// How many values an image has.
    pub fn n_values(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Labelled images by index.
pub trait Dataset: Send + Sync {
    /// The size of every image.
    fn image_shape(&self) -> ImageShape;

    /// How many classes there are; labels are below it.
    fn n_classes(&self) -> usize;

    /// How many images a split has.
    fn n_images(&self, split: Split) -> usize;

    /// Writes the normalised image to `pixels`, `f32` in the order `[channels, height, width]`, and returns its label.
    ///
    /// `epoch`, from 0, selects how a training image is augmented, where the data set does that. Images of the test split
    /// are the same in every epoch. Any image of any epoch can be had without those before it.
    ///
    /// # Panics
    /// If `index` is not below [`n_images`](Self::n_images) or `pixels` has not
    /// [`n_values`](ImageShape::n_values) places.
    fn image(&self, split: Split, index: usize, epoch: u64, pixels: &mut [f32]) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused_with_the_list() {
        for name in DatasetName::ALL {
            assert_eq!(name.as_str().parse::<DatasetName>().unwrap(), name);
        }
        let message = "imagenet".parse::<DatasetName>().unwrap_err().to_string();
        let known = "digits, synthetic, mnist, cifar10, tinyimagenet";
        assert_eq!(message, format!("unknown data set `imagenet`: choose one of {known}"));
    }

    fn message(name: DatasetName, options: &DatasetOptions) -> String {
        name.open(options, &()).err().unwrap().to_string()
    }

    #[test]
    fn other_numbers_of_classes_are_refused() {
        let options = |n| DatasetOptions { n_classes: Some(n), ..DatasetOptions::default() };
        assert!(DatasetName::Digits.open(&options(10), &()).is_ok());
        for name in [DatasetName::Digits, DatasetName::Mnist, DatasetName::Cifar10, DatasetName::TinyImageNet] {
            let message = message(name, &options(20));
            assert!(message.starts_with("--classes = 20") && message.contains(name.as_str()), "{message}");
        }
    }

    #[test]
    fn a_folder_is_needed_and_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in DatasetName::ALL.into_iter().filter(|name| name.needs_files()) {
            for download in [false, true] {
                let without = message(name, &DatasetOptions { download, ..DatasetOptions::default() });
                assert!(without.contains(name.as_str()) && without.contains("--data DIR"), "{without}");
            }
            let data = Some(folder.path().join("nowhere"));
            let absent = message(name, &DatasetOptions { data, ..DatasetOptions::default() });
            assert!(absent.contains("nowhere") && absent.contains("there is no such folder"), "{absent}");
            let data = Some(folder.path().to_owned());
            let empty = message(name, &DatasetOptions { data, ..DatasetOptions::default() });
            assert!(empty.contains(name.as_str()) && empty.contains("--download"), "{empty}");
        }
    }
}
