//! Data sets: labelled, normalised images, one at a time by index.

mod digits;
mod resize;
mod synthetic;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

pub use digits::Digits;
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
}

impl DatasetName {
    /// Every data set there is, in the order in which they are listed to people.
    pub const ALL: [Self; 2] = [Self::Digits, Self::Synthetic];

    /// The name on the command line and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Synthetic => "synthetic",
        }
    }

    /// Opens the data set.
    ///
    /// `data` is the directory of its files (no data set has any yet), `seed` decides what procedural images look like,
    /// `n_classes` is for data sets of any number of classes; others refuse it.
    pub fn open(self, data: Option<&Path>, seed: u64, n_classes: Option<usize>) -> Result<Box<dyn Dataset>, Error> {
        let _ = data;
        match self {
            Self::Digits => match n_classes {
                None | Some(digits::N_CLASSES) => Ok(Box::new(Digits::new())),
                Some(n) => Err(Error::InvalidOption {
                    option: "--classes",
                    value: n.to_string(),
                    problem: "`digits` always has 10 classes; leave the option out".to_owned(),
                }),
            },
            Self::Synthetic => Ok(Box::new(Synthetic::new(seed, n_classes.unwrap_or(synthetic::DEFAULT_N_CLASSES))?)),
        }
    }
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
    /// # Panics
    /// If `index` is not below [`n_images`](Self::n_images) or `pixels` has not
    /// [`n_values`](ImageShape::n_values) places.
    fn image(&self, split: Split, index: usize, pixels: &mut [f32]) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused_with_the_list() {
        for name in DatasetName::ALL {
            assert_eq!(name.as_str().parse::<DatasetName>().unwrap(), name);
        }
        let message = "mnist".parse::<DatasetName>().unwrap_err().to_string();
        assert_eq!(message, "unknown data set `mnist`: choose one of digits, synthetic");
    }

    #[test]
    fn digits_refuses_another_number_of_classes() {
        assert!(DatasetName::Digits.open(None, 0, Some(10)).is_ok());
        let message = DatasetName::Digits.open(None, 0, Some(20)).err().unwrap().to_string();
        assert!(message.contains("--classes = 20"), "{message}");
    }
}
