use super::resize::bilinear;
use super::{Dataset, ImageShape, Split};

/// The embedded records: a label byte, then 8 x 8 values from 0 to 16 (`data/make_digits.py`).
static RECORDS: &[u8] = include_bytes!("../../data/digits.bin");

const SOURCE_SIDE: usize = 8;
const RECORD_BYTES: usize = 1 + SOURCE_SIDE * SOURCE_SIDE;
const SIDE: usize = 28;
const N_VALUES: usize = SIDE * SIDE;
const N_IMAGES: usize = 1797;
const N_TRAIN: usize = 1437;
pub(super) const N_CLASSES: usize = 10;

/// Mean and standard deviation of the resized training images before normalisation, values in 0 to 1.
const MEAN: f32 = 0.3054;
const STD: f32 = 0.3238;

/// Handwritten digits: the test part of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, UCI
/// Machine Learning Repository, <https://doi.org/10.24432/C50P49>, CC BY 4.0), the 1797 images known from scikit-learn's
/// `load_digits`.
///
/// Grey images of 8 x 8 values from 0 to 16, resized to 1 x 28 x 28 (bilinear between pixel centres, edges repeated),
/// divided by 16 and normalised by the mean (0.3054) and standard deviation (0.3238) of the training images so treated.
/// The first 1437 are for training, the last 360 for testing.
#[derive(Debug, Clone)]
pub struct Digits {
    /// All images, normalised, one after another.
    pixels: Vec<f32>,
    labels: Vec<u8>,
}

impl Digits {
    /// Unpacks, resizes and normalises the embedded images (5.6 MB).
    pub fn new() -> Self {
        let mut pixels = Vec::with_capacity(N_IMAGES * N_VALUES);
        let mut labels = Vec::with_capacity(N_IMAGES);
        for record in RECORDS.chunks_exact(RECORD_BYTES) {
            labels.push(record[0]);
            let grey: Vec<f32> = record[1..].iter().map(|&value| f32::from(value) / 16.0).collect();
            let resized = bilinear(&grey, [SOURCE_SIDE; 2], [SIDE; 2]);
            pixels.extend(resized.iter().map(|value| (value - MEAN) / STD));
        }
        Self { pixels, labels }
    }
}

impl Default for Digits {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Digits {
    fn image_shape(&self) -> ImageShape {
        ImageShape { channels: 1, height: SIDE, width: SIDE }
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn n_images(&self, split: Split) -> usize {
        match split {
            Split::Train => N_TRAIN,
            Split::Test => N_IMAGES - N_TRAIN,
        }
    }

    fn image(&self, split: Split, index: usize, _: u64, pixels: &mut [f32]) -> usize {
        assert!(index < self.n_images(split), "image {index} is beyond the {split:?} split");
        let place = match split {
            Split::Train => index,
            Split::Test => N_TRAIN + index,
        };
        pixels.copy_from_slice(&self.pixels[place * N_VALUES..(place + 1) * N_VALUES]);
        usize::from(self.labels[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_is_the_known_one() {
        assert_eq!(RECORDS.len(), N_IMAGES * RECORD_BYTES);
        let mut n_per_class = [0; N_CLASSES];
        for record in RECORDS.chunks_exact(RECORD_BYTES) {
            n_per_class[usize::from(record[0])] += 1;
            assert!(record[1..].iter().all(|&value| value <= 16));
        }
        // As the data set's description counts them.
        assert_eq!(n_per_class, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(RECORDS[..9], [0, 0, 0, 5, 13, 9, 1, 0, 0]);
    }

    #[test]
    fn training_images_have_mean_0_and_deviation_1() {
        let digits = Digits::new();
        let train = &digits.pixels[..N_TRAIN * N_VALUES];
        let mean = train.iter().map(|&x| f64::from(x)).sum::<f64>() / train.len() as f64;
        let variance = train.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / train.len() as f64;
        assert!(mean.abs() < 2e-4, "mean {mean}");
        assert!((variance.sqrt() - 1.0).abs() < 2e-4, "deviation {}", variance.sqrt());
    }

    #[test]
    fn splits_follow_each_other() {
        let digits = Digits::new();
        assert_eq!((digits.n_images(Split::Train), digits.n_images(Split::Test)), (1437, 360));
        let mut pixels = vec![0.0; 784];
        assert_eq!(digits.image(Split::Train, 0, 0, &mut pixels), 0);
        assert_eq!(pixels[0], -MEAN / STD);
        let label = digits.image(Split::Test, 0, 0, &mut pixels);
        assert_eq!(label, usize::from(RECORDS[1437 * RECORD_BYTES]));
        assert_eq!(digits.image(Split::Test, 359, 0, &mut pixels), 8);
    }

    #[test]
    #[should_panic(expected = "beyond the Test split")]
    fn an_index_beyond_its_split_panics() {
        Digits::new().image(Split::Test, 360, 0, &mut [0.0; 784]);
    }
}
