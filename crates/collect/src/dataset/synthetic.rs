use std::f32::consts::{PI, TAU};

use super::{Dataset, ImageShape, Split};
use crate::Error;
use crate::random::{Purpose, Stream};

const SIDE: usize = 32;
const N_CHANNELS: usize = 3;
const N_TRAIN: usize = 12_800;
const N_TEST: usize = 1_280;
const MAX_N_CLASSES: usize = 1000;
pub(super) const DEFAULT_N_CLASSES: usize = 10;

/// Standard deviation of the noise on each value.
const NOISE: f32 = 0.8;

/// The least share of an image that its own class has; the rest shows another.
const LEAST_SHARE: f32 = 0.5;

/// Procedural colour images of 3 x 32 x 32: 12 800 for training (100 batches of 128), 1280 for testing.
///
/// A class is a sinusoidal grating (orientation, frequency, colour), a soft blob (place, radius, colour) and a background
/// colour. A sight of it turns the grating a little, shifts its phase at random, moves the blob by up to 4 pixels and
/// varies the contrast. An image overlays the sight of its class, at a share of 50 to 100 %, with that of a random class,
/// and adds noise to every value. So no single pixel tells the class, and no network gets every image right. Values are
/// about centred, with a deviation near 1; there is no further normalisation.
///
/// Images are computed when they are asked for, from the seed, the split and the index alone. Image `i` has the label
/// `i mod n_classes`, so classes are balanced.
#[derive(Debug, Clone)]
pub struct Synthetic {
    seed: u64,
    classes: Vec<Class>,
}

/// What the images of a class have in common. Lengths in pixels.
#[derive(Debug, Clone)]
struct Class {
    /// Direction in which the grating's phase grows, in radians.
    direction: f32,
    /// Radians of phase a pixel.
    wave_number: f32,
    grating_colour: [f32; N_CHANNELS],
    blob_centre: [f32; 2],
    blob_radius: f32,
    blob_colour: [f32; N_CHANNELS],
    background: [f32; N_CHANNELS],
}

impl Class {
    fn draw(seed: u64, class: usize) -> Self {
        let mut stream = Stream::new(seed, Purpose::SyntheticClass, class as u64, 0);
        let side = SIDE as f32;
        Self {
            direction: stream.uniform(0.0, PI),
            wave_number: stream.uniform(1.5, 6.0) * TAU / side,
            grating_colour: std::array::from_fn(|_| 0.7 * stream.bell()),
            blob_centre: std::array::from_fn(|_| stream.uniform(0.2 * side, 0.8 * side)),
            blob_radius: stream.uniform(0.08 * side, 0.2 * side),
            blob_colour: std::array::from_fn(|_| 1.2 * stream.bell()),
            background: std::array::from_fn(|_| 0.15 * stream.bell()),
        }
    }
}

/// A class as one image shows it.
struct Sight<'a> {
    class: &'a Class,
    /// The share of the image that it makes up.
    share: f32,
    contrast: f32,
    /// Radians of phase a pixel to the right and down.
    wave: [f32; 2],
    phase: f32,
    blob_centre: [f32; 2],
}

impl<'a> Sight<'a> {
    fn draw(class: &'a Class, share: f32, stream: &mut Stream) -> Self {
        let (sin, cos) = (class.direction + stream.uniform(-0.1, 0.1)).sin_cos();
        Self {
            class,
            share,
            contrast: stream.uniform(0.5, 1.5),
            wave: [class.wave_number * cos, class.wave_number * sin],
            phase: stream.uniform(0.0, TAU),
            blob_centre: class.blob_centre.map(|place| place + stream.uniform(-4.0, 4.0)),
        }
    }

    /// Its part of the pixel at column `x` and row `y`.
    fn colour(&self, x: f32, y: f32) -> [f32; N_CHANNELS] {
        let class = self.class;
        let wave = (self.wave[0] * x + self.wave[1] * y + self.phase).sin();
        let [from_x, from_y] = [x - self.blob_centre[0], y - self.blob_centre[1]];
        let blob = (-(from_x * from_x + from_y * from_y) / (2.0 * class.blob_radius * class.blob_radius)).exp();
        std::array::from_fn(|channel| {
            let figure = class.grating_colour[channel] * wave + class.blob_colour[channel] * blob;
            self.share * (class.background[channel] + self.contrast * figure)
        })
    }
}

impl Synthetic {
    /// Draws the classes. Fails unless `n_classes` is between 2 and 1000.
    pub fn new(seed: u64, n_classes: usize) -> Result<Self, Error> {
        if !(2..=MAX_N_CLASSES).contains(&n_classes) {
            return Err(Error::InvalidOption {
                option: "--classes",
                value: n_classes.to_string(),
                problem: format!("`synthetic` has between 2 and {MAX_N_CLASSES} classes"),
            });
        }
        let classes = (0..n_classes).map(|class| Class::draw(seed, class)).collect();
        Ok(Self { seed, classes })
    }
}

impl Dataset for Synthetic {
    fn image_shape(&self) -> ImageShape {
        ImageShape { channels: N_CHANNELS, height: SIDE, width: SIDE }
    }

    fn n_classes(&self) -> usize {
        self.classes.len()
    }

    fn n_images(&self, split: Split) -> usize {
        match split {
            Split::Train => N_TRAIN,
            Split::Test => N_TEST,
        }
    }

    fn image(&self, split: Split, index: usize, _: u64, pixels: &mut [f32]) -> usize {
        assert!(index < self.n_images(split), "image {index} is beyond the {split:?} split");
        assert_eq!(pixels.len(), self.image_shape().n_values(), "one place a value");
        let label = index % self.classes.len();
        let split_number = match split {
            Split::Train => 0,
            Split::Test => 1,
        };
        let mut stream = Stream::new(self.seed, Purpose::SyntheticImage, split_number, index as u64);
        let other = stream.below(self.classes.len() as u64) as usize;
        let share = stream.uniform(LEAST_SHARE, 1.0);
        let own = Sight::draw(&self.classes[label], share, &mut stream);
        let other = Sight::draw(&self.classes[other], 1.0 - share, &mut stream);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let (own, other) = (own.colour(x as f32, y as f32), other.colour(x as f32, y as f32));
                for channel in 0..N_CHANNELS {
                    pixels[(channel * SIDE + y) * SIDE + x] = own[channel] + other[channel] + NOISE * stream.bell();
                }
            }
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(data: &Synthetic, split: Split, index: usize) -> (usize, Vec<f32>) {
        let mut pixels = vec![0.0; 3 * 32 * 32];
        (data.image(split, index, 0, &mut pixels), pixels)
    }

    #[test]
    fn images_repeat_and_differ_by_seed_split_and_index() {
        let data = Synthetic::new(7, 10).unwrap();
        let one = image(&data, Split::Train, 25);
        assert_eq!(one.0, 5);
        assert_eq!(one, image(&Synthetic::new(7, 10).unwrap(), Split::Train, 25));
        assert_ne!(one.1, image(&Synthetic::new(8, 10).unwrap(), Split::Train, 25).1);
        assert_ne!(one.1, image(&data, Split::Test, 25).1);
        assert_ne!(one.1, image(&data, Split::Train, 35).1);
    }

    #[test]
    fn values_are_about_centred_with_deviation_1() {
        for n_classes in [10, 200] {
            let data = Synthetic::new(0, n_classes).unwrap();
            let values: Vec<f64> = (0..400).flat_map(|i| image(&data, Split::Train, i).1).map(f64::from).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
            assert!(mean.abs() < 0.2 && (0.8..1.3).contains(&deviation), "{mean} {deviation}");
        }
    }

    #[test]
    fn class_counts_outside_the_range_are_refused() {
        for n in [0, 1, 1001] {
            assert!(Synthetic::new(0, n).unwrap_err().to_string().starts_with("--classes"));
        }
        assert_eq!(Synthetic::new(0, 200).unwrap().n_classes(), 200);
    }
}
