use super::resize::bilinear;
use super::{Dataset, ImageShape, Split};

const N_CHANNELS: usize = 3;
const SIDE: usize = 32;

/// Grey images as colour images of 3 x 32 x 32, for networks made for those (VGG and ViT).
///
/// The normalised image is resized to 32 x 32 (bilinear between pixel centres, edges repeated) and stands in each of the
/// three channels.
pub struct GreyAsColour {
    grey: Box<dyn Dataset>,
}

impl GreyAsColour {
    /// Wraps a data set of one channel.
    ///
    /// # Panics
    /// If the data set has another number of channels.
    pub fn new(grey: Box<dyn Dataset>) -> Self {
        assert_eq!(grey.image_shape().channels, 1, "only grey images are made colour images");
        Self { grey }
    }
}

impl Dataset for GreyAsColour {
    fn image_shape(&self) -> ImageShape {
        ImageShape { channels: N_CHANNELS, height: SIDE, width: SIDE }
    }

    fn n_classes(&self) -> usize {
        self.grey.n_classes()
    }

    fn n_images(&self, split: Split) -> usize {
        self.grey.n_images(split)
    }

    fn image(&self, split: Split, index: usize, epoch: u64, pixels: &mut [f32]) -> usize {
        assert_eq!(pixels.len(), self.image_shape().n_values(), "one place a value");
        let shape = self.grey.image_shape();
        let mut grey = vec![0.0; shape.n_values()];
        let label = self.grey.image(split, index, epoch, &mut grey);
        let resized = bilinear(&grey, [shape.height, shape.width], [SIDE; 2]);
        pixels.chunks_exact_mut(SIDE * SIDE).for_each(|channel| channel.copy_from_slice(&resized));
        label
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Digits, Synthetic};
    use super::*;

    #[test]
    fn each_channel_is_the_resized_image() {
        let (digits, colour) = (Digits::new(), GreyAsColour::new(Box::new(Digits::new())));
        assert_eq!(colour.image_shape(), ImageShape { channels: 3, height: 32, width: 32 });
        assert_eq!((colour.n_classes(), colour.n_images(Split::Train), colour.n_images(Split::Test)), (10, 1437, 360));
        let (mut grey, mut pixels) = (vec![0.0; 784], vec![0.0; 3 * 1024]);
        for split in [Split::Train, Split::Test] {
            assert_eq!(colour.image(split, 5, 0, &mut pixels), digits.image(split, 5, 0, &mut grey));
            let resized = bilinear(&grey, [28; 2], [32; 2]);
            assert!(pixels.chunks_exact(1024).all(|channel| channel == resized));
            // The corner looks at -1/16 of a pixel, which is held at 0.
            assert_eq!(pixels[0], grey[0]);
        }
    }

    #[test]
    #[should_panic(expected = "only grey images")]
    fn colour_images_are_not_wrapped() {
        GreyAsColour::new(Box::new(Synthetic::new(0, 10).unwrap()));
    }
}
