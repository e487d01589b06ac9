//! What torchvision's transforms do to the bytes of one training image, and the draws that decide it.
//!
//! Images are `u8` of `[channels, side, side]`, row by row.

use crate::random::Stream;

/// How training images are varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Augmentation {
    /// Not at all.
    None,
    /// A window of the image with 4 black pixels added on each side, then mirrored or not.
    CropAndFlip,
    /// Turned by up to 20 degrees either way, then mirrored or not.
    RotateAndFlip,
}

const PADDING: usize = 4;
const MAX_DEGREES: f32 = 20.0;

impl Augmentation {
    /// Draws what happens to one image, and does it.
    pub(super) fn apply(self, image: &[u8], side: usize, stream: &mut Stream) -> Vec<u8> {
        let mut varied = match self {
            Self::None => return image.to_vec(),
            Self::CropAndFlip => {
                let [top, left] = std::array::from_fn(|_| stream.below(2 * PADDING as u64 + 1) as usize);
                crop(image, side, top, left)
            }
            Self::RotateAndFlip => rotate(image, side, f64::from(stream.uniform(-MAX_DEGREES, MAX_DEGREES))),
        };
        if stream.below(2) == 1 {
            mirror(&mut varied, side);
        }
        varied
    }
}

/// The window at `top` and `left` of the image with [`PADDING`] black pixels added on each side (`RandomCrop`).
fn crop(image: &[u8], side: usize, top: usize, left: usize) -> Vec<u8> {
    let mut window = vec![0; image.len()];
    for (from, to) in image.chunks_exact(side * side).zip(window.chunks_exact_mut(side * side)) {
        for (y, row) in to.chunks_exact_mut(side).enumerate() {
            let Some(source) = (y + top).checked_sub(PADDING).filter(|&y| y < side) else { continue };
            let source = &from[source * side..(source + 1) * side];
            for (x, pixel) in row.iter_mut().enumerate() {
                if let Some(&value) = (x + left).checked_sub(PADDING).and_then(|x| source.get(x)) {
                    *pixel = value;
                }
            }
        }
    }
    window
}

/// Left becomes right (`RandomHorizontalFlip`).
fn mirror(image: &mut [u8], side: usize) {
    image.chunks_exact_mut(side).for_each(<[u8]>::reverse);
}

/// Turns the image counter-clockwise about its centre; what lies outside is black (`RandomRotation`, nearest pixel).
///
/// As Pillow computes it: the inverse map in 16.16 fixed point, stepped from pixel to pixel. `side` is below 32768.
fn rotate(image: &[u8], side: usize, degrees: f64) -> Vec<u8> {
    // Whole turns are left out, and so small an angle as changes nothing is one of them.
    let radians = -degrees.rem_euclid(360.0).to_radians();
    // Pillow rounds to 15 places, so that right angles are exact.
    let rounded = |x: f64| (x * 1e15).round() / 1e15;
    let (sin, cos) = (rounded(radians.sin()), rounded(radians.cos()));
    let centre = side as f64 / 2.0;
    let matrix = [cos, sin, centre - cos * centre - sin * centre, -sin, cos, centre + sin * centre - cos * centre];
    let fixed = |x: f64| (x * 65536.0 + 0.5).floor() as i32;
    let half_pixel = |at: usize| fixed(matrix[at + 2] + matrix[at] * 0.5 + matrix[at + 1] * 0.5);
    let [x_by_column, x_by_row, y_by_column, y_by_row] = [0, 1, 3, 4].map(|at| fixed(matrix[at]));
    let mut row_start = (half_pixel(0), half_pixel(3));
    let mut turned = vec![0; image.len()];
    let place = |at: i32| usize::try_from(at >> 16).ok().filter(|&at| at < side);
    for row in 0..side {
        let (mut x, mut y) = row_start;
        for column in 0..side {
            if let (Some(from_x), Some(from_y)) = (place(x), place(y)) {
                for plane in (0..image.len()).step_by(side * side) {
                    turned[plane + row * side + column] = image[plane + from_y * side + from_x];
                }
            }
            (x, y) = (x + x_by_column, y + y_by_column);
        }
        row_start = (row_start.0 + x_by_row, row_start.1 + y_by_row);
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    const SIDE: usize = 8;

    /// Two channels of 8 x 8, no pixel black but by chance.
    fn image() -> Vec<u8> {
        let mix = |i: u32| {
            let x = i.wrapping_mul(2_654_435_761);
            (x ^ (x >> 15)) as u8
        };
        (0..128).map(mix).collect()
    }

    #[test]
    fn rotation_gives_pillows_bytes() {
        // Image.fromarray(a).rotate(degrees, resample=Image.NEAREST, fillcolor=0) of Pillow 13.0, which torchvision's
        // rotate calls, for the first channel.
        #[rustfmt::skip]
        let cases: [(f64, [u8; 64]); 2] = [
            (20.0, [
                  0,   0,  95, 127,  95, 191, 223,   0,
                223, 191,  95, 127,  95, 190,  16,   0,
                223, 191,  31, 127, 127, 156, 190,   0,
                255, 159, 190,  24, 126, 156,  62,  16,
                254, 156, 190,  24, 126, 156,  33,  33,
                254, 156,  62,  25,  25, 125,  93,  49,
                  0, 254, 157,  57,  89, 125,  66,   0,
                  0, 253, 221,  57,  89, 125,   0,   0,
            ]),
            (-13.5, [
                  0, 255, 223, 191,  95, 127,  95,   0,
                255, 255, 223, 191,  95, 127,  95, 191,
                254, 156, 191,  31, 127, 156, 191, 223,
                254, 156, 190,  24, 126, 156, 190,  16,
                254, 157,  62,  24, 126, 156, 190,   0,
                253, 221,  57,  25, 125, 157,  62,  16,
                221,  57,  89, 125,  93,  49,  33,  33,
                  0,  57,  89, 125,  66,   0, 209,   0,
            ]),
        ];
        for (degrees, expected) in cases {
            let turned = rotate(&image(), SIDE, degrees);
            assert_eq!(turned[..64], expected, "{degrees}");
            // Channels are turned alike.
            assert_eq!(turned[64..], rotate(&image()[64..], SIDE, degrees));
        }
    }

    #[test]
    fn no_rotation_is_the_identity_and_right_angles_are_exact() {
        let image = image();
        for degrees in [0.0, -0.0, 360.0, 1e-9] {
            assert_eq!(rotate(&image, SIDE, degrees), image, "{degrees}");
        }
        let turned = rotate(&image, SIDE, 90.0);
        // Counter-clockwise: what was on the right is on top.
        assert!((0..8).all(|x| turned[x] == image[x * SIDE + 7]));
        assert_eq!(rotate(&rotate(&turned, SIDE, 180.0), SIDE, 90.0), image);
    }

    #[test]
    fn crops_shift_the_image_in_black() {
        let image = image();
        assert_eq!(crop(&image, SIDE, PADDING, PADDING), image);
        for (top, left) in [(0, 0), (8, 1), (3, 8)] {
            let window = crop(&image, SIDE, top, left);
            for (at, &pixel) in window.iter().enumerate() {
                let (channel, y, x) = (at / 64, at / 8 % 8, at % 8);
                let (from_y, from_x) = ((y + top).wrapping_sub(4), (x + left).wrapping_sub(4));
                let is_inside = from_y < 8 && from_x < 8;
                assert_eq!(pixel, if is_inside { image[channel * 64 + from_y * 8 + from_x] } else { 0 });
            }
        }
    }

    #[test]
    fn mirroring_swaps_left_and_right() {
        let mut mirrored = image();
        mirror(&mut mirrored, SIDE);
        assert!((0..128).all(|at| mirrored[at] == image()[at / 8 * 8 + 7 - at % 8]));
        mirror(&mut mirrored, SIDE);
        assert_eq!(mirrored, image());
    }

    #[test]
    fn every_window_and_side_is_drawn_about_as_often() {
        let image = image();
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..16_200 {
            let mut stream = Stream::new(3, Purpose::Augmentation, epoch, 0);
            *counts.entry(Augmentation::CropAndFlip.apply(&image, SIDE, &mut stream)).or_insert(0) += 1;
        }
        // 9 x 9 windows, 2 sides, 100 draws of each: six deviations are 60.
        assert_eq!(counts.len(), 162);
        assert!(counts.values().all(|n| (40..=160).contains(n)));
        let window = crop(&image, SIDE, 0, 8);
        let mut mirrored = window.clone();
        mirror(&mut mirrored, SIDE);
        assert!(counts.contains_key(&window) && counts.contains_key(&mirrored));
    }

    #[test]
    fn turns_stay_within_20_degrees() {
        // Where a bright column beside the centre of 32 x 32 crosses row 4 tells the angle.
        let (side, row) = (32, 4);
        let column: Vec<u8> = (0..side * side).map(|at| if at % side == 15 { 255 } else { 0 }).collect();
        let mut places = Vec::new();
        for index in 0..500 {
            let mut stream = Stream::new(0, Purpose::Augmentation, 0, index);
            let turned = Augmentation::RotateAndFlip.apply(&column, side, &mut stream);
            places.push(turned[row * side..].iter().position(|&pixel| pixel > 0).unwrap());
        }
        // 11.5 * tan 20 degrees are 4.2 pixels, from column 15 or, mirrored, 16.
        let (least, most) = (*places.iter().min().unwrap(), *places.iter().max().unwrap());
        assert!((10..=12).contains(&least) && (19..=21).contains(&most), "{least} to {most}");
    }

    #[test]
    fn without_augmentation_nothing_changes() {
        let mut stream = Stream::new(0, Purpose::Augmentation, 0, 0);
        assert_eq!(Augmentation::None.apply(&image(), SIDE, &mut stream), image());
    }
}
