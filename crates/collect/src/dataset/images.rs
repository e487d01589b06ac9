use super::augment::Augmentation;
use super::{Dataset, ImageShape, Split};
use crate::random::{Purpose, Stream};

/// Images of one split, in bytes, with their classes.
#[derive(Debug, Default)]
pub(super) struct Labelled {
    /// One image after another, each `[channels, height, width]`.
    pub(super) pixels: Vec<u8>,
    pub(super) labels: Vec<u8>,
}

/// What tells the data sets in bytes apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    /// Of square images.
    pub(super) shape: ImageShape,
    pub(super) n_classes: usize,
    /// Of each channel, values in 0 to 1.
    pub(super) mean: &'static [f32],
    /// Of each channel.
    pub(super) std: &'static [f32],
    pub(super) augmentation: Augmentation,
}

/// A data set held in memory as bytes; an image is varied, divided by 255 and normalised when it is asked for.
#[derive(Debug)]
pub(super) struct ByteImages {
    recipe: Recipe,
    seed: u64,
    train: Labelled,
    test: Labelled,
    /// For each channel, what every byte becomes.
    normalised: Vec<[f32; 256]>,
}

impl ByteImages {
    /// # Panics
    /// If a split has not one image a label, or a label is not below the number of classes: loaders check that.
    pub(super) fn new(recipe: Recipe, seed: u64, train: Labelled, test: Labelled) -> Self {
        for split in [&train, &test] {
            assert_eq!(split.pixels.len(), split.labels.len() * recipe.shape.n_values(), "one image a label");
            assert!(split.labels.iter().all(|&label| usize::from(label) < recipe.n_classes), "labels name classes");
        }
        let channels = recipe.mean.iter().zip(recipe.std);
        let normalised = channels.map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std));
        Self { recipe, seed, train, test, normalised: normalised.collect() }
    }

    fn split(&self, split: Split) -> &Labelled {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}

impl Dataset for ByteImages {
    fn image_shape(&self) -> ImageShape {
        self.recipe.shape
    }

    fn n_classes(&self) -> usize {
        self.recipe.n_classes
    }

    fn n_images(&self, split: Split) -> usize {
        self.split(split).labels.len()
    }

    fn image(&self, split: Split, index: usize, epoch: u64, pixels: &mut [f32]) -> usize {
        assert!(index < self.n_images(split), "image {index} is beyond the {split:?} split");
        let shape = self.recipe.shape;
        assert_eq!(pixels.len(), shape.n_values(), "one place a value");
        let images = self.split(split);
        let bytes = &images.pixels[index * shape.n_values()..(index + 1) * shape.n_values()];
        let varied;
        let bytes = match (split, self.recipe.augmentation) {
            (Split::Test, _) | (_, Augmentation::None) => bytes,
            (Split::Train, augmentation) => {
                let mut stream = Stream::new(self.seed, Purpose::Augmentation, epoch, index as u64);
                varied = augmentation.apply(bytes, shape.width, &mut stream);
                &varied
            }
        };
        let plane = shape.height * shape.width;
        let channels = bytes.chunks_exact(plane).zip(pixels.chunks_exact_mut(plane)).zip(&self.normalised);
        for ((bytes, pixels), normalised) in channels {
            for (byte, pixel) in bytes.iter().zip(pixels) {
                *pixel = normalised[usize::from(*byte)];
            }
        }
        usize::from(images.labels[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(augmentation: Augmentation, seed: u64) -> ByteImages {
        let recipe = Recipe {
            shape: ImageShape { channels: 3, height: 32, width: 32 },
            n_classes: 10,
            mean: &[0.4914, 0.4822, 0.4465],
            std: &[0.2023, 0.1994, 0.2010],
            augmentation,
        };
        let split = |n: usize, key: u32| Labelled {
            pixels: (0..n as u32 * 3072)
                .map(|i| (i.wrapping_add(key).wrapping_mul(2_654_435_761) >> 21) as u8)
                .collect(),
            labels: (0..n as u8).collect(),
        };
        ByteImages::new(recipe, seed, split(5, 0), split(3, 1 << 20))
    }

    fn image(data: &ByteImages, split: Split, index: usize, epoch: u64) -> Vec<f32> {
        let mut pixels = vec![f32::NAN; 3072];
        assert_eq!(data.image(split, index, epoch, &mut pixels), index);
        pixels
    }

    #[test]
    fn values_are_normalised_by_channel() {
        let data = images(Augmentation::None, 0);
        let pixels = image(&data, Split::Train, 4, 7);
        let raw = &data.train.pixels[4 * 3072..];
        for at in [0, 1023, 1024, 3071] {
            let channel = at / 1024;
            let expected =
                (f64::from(raw[at]) / 255.0 - [0.4914, 0.4822, 0.4465][channel]) / [0.2023, 0.1994, 0.2010][channel];
            assert!((f64::from(pixels[at]) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn the_black_frame_is_normalised_too() {
        let data = images(Augmentation::CropAndFlip, 0);
        let black = [-0.4914 / 0.2023, -0.4822 / 0.1994, -0.4465 / 0.2010f32];
        // Of 81 windows 9 have the frame above or below at its full width of 4; some epoch has one.
        let has_frame = |epoch| {
            let pixels = image(&data, Split::Train, 0, epoch);
            let mut channels = pixels.chunks_exact(1024).zip(black);
            channels.all(|(plane, black)| plane[..128].iter().all(|&pixel| (pixel - black).abs() < 1e-6))
        };
        assert!((0..100).any(has_frame));
    }

    #[test]
    fn epochs_seeds_and_images_vary_training_images_alone() {
        for augmentation in [Augmentation::CropAndFlip, Augmentation::RotateAndFlip] {
            let (data, other) = (images(augmentation, 0), images(augmentation, 1));
            let epochs: Vec<_> = (0..10).map(|epoch| image(&data, Split::Train, 2, epoch)).collect();
            assert!(epochs.iter().filter(|pixels| **pixels != epochs[0]).count() >= 8);
            assert!((0..10).any(|epoch| image(&other, Split::Train, 2, epoch as u64) != epochs[epoch]));
            // Any of them can be had alone.
            assert_eq!(image(&images(augmentation, 0), Split::Train, 2, 9), epochs[9]);
            let test = image(&data, Split::Test, 2, 0);
            assert_eq!(test, image(&images(Augmentation::None, 5), Split::Test, 2, 3));
        }
        let plain = images(Augmentation::None, 0);
        assert_eq!(image(&plain, Split::Train, 1, 0), image(&plain, Split::Train, 1, 1));
    }

    #[test]
    #[should_panic(expected = "beyond the Test split")]
    fn an_index_beyond_its_split_panics() {
        image(&images(Augmentation::None, 0), Split::Test, 3, 0);
    }
}
