/// Resizes one channel by bilinear interpolation between pixel centres, edges repeated.
///
/// Output pixel `i` of `n_out` looks at position `(i + 1/2) * n_in / n_out - 1/2` of the input, held within
/// `0..=n_in - 1`, and mixes the two pixels around it by their distances: along the rows' direction first, then down the
/// columns. This is PyTorch's `interpolate(mode="bilinear", align_corners=False)` without antialiasing. `pixels` is
/// `[height, width]`, the result `[new_height, new_width]`, both row by row.
pub(super) fn bilinear(pixels: &[f32], [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> Vec<f32> {
    assert_eq!(pixels.len(), height * width, "one value a pixel");
    let rows = taps(height, new_height);
    let columns = taps(width, new_width);
    let mut resized = Vec::with_capacity(new_height * new_width);
    for row in &rows {
        for column in &columns {
            let along = |y: usize| {
                let left = pixels[y * width + column.near];
                left + (pixels[y * width + column.far] - left) * column.weight_far
            };
            let above = along(row.near);
            resized.push(above + (along(row.far) - above) * row.weight_far);
        }
    }
    resized
}

/// The two input pixels that make an output pixel, and how much the second counts.
struct Tap {
    near: usize,
    far: usize,
    weight_far: f32,
}

fn taps(n_in: usize, n_out: usize) -> Vec<Tap> {
    let scale = n_in as f32 / n_out as f32;
    let last = n_in - 1;
    let tap = |i: usize| {
        let position = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, last as f32);
        let near = position as usize;
        Tap { near, far: (near + 1).min(last), weight_far: position - near as f32 }
    };
    (0..n_out).map(tap).collect()
}

/// The places after the binary point in the weights of [`shrink`].
const WEIGHT_BITS: u32 = 22;

/// Resizes one channel as Pillow's `BILINEAR` does, to the same bytes.
///
/// A triangle around each output pixel's centre, as wide as two output pixels (two input pixels, if those are larger), weighs
/// the input pixels: so shrinking averages over all of them. Along the rows first, then down the columns (recent releases of
/// Pillow turn this round for some images that are not square, which can change a byte by 1); weights are integers of 22
/// binary places, and each pass rounds to bytes. `pixels` is `[height, width]`, the result `[new_height, new_width]`, both row by
/// row; no size is 0.
pub(super) fn shrink(pixels: &[u8], [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> Vec<u8> {
    assert_eq!(pixels.len(), height * width, "one byte a pixel");
    let mut narrow = Vec::with_capacity(height * new_width);
    let columns = windows(width, new_width);
    for row in pixels.chunks_exact(width) {
        narrow.extend(columns.iter().map(|window| window.mean(row.iter())));
    }
    let mut small = Vec::with_capacity(new_height * new_width);
    for window in windows(height, new_height) {
        small.extend((0..new_width).map(|x| window.mean(narrow.iter().skip(x).step_by(new_width))));
    }
    small
}

/// The input pixels that make an output pixel, and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

impl Window {
    fn mean<'a>(&self, pixels: impl Iterator<Item = &'a u8>) -> u8 {
        let weighted =
            self.weights.iter().zip(pixels.skip(self.first)).map(|(weight, &pixel)| weight * i32::from(pixel));
        ((weighted.sum::<i32>() + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).clamp(0, 255) as u8
    }
}

fn windows(n_in: usize, n_out: usize) -> Vec<Window> {
    if n_in == n_out {
        return (0..n_in).map(|first| Window { first, weights: vec![1 << WEIGHT_BITS] }).collect();
    }
    let scale = n_in as f64 / n_out as f64;
    let reach = scale.max(1.0);
    let window = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        // Conversion to an integer cuts towards zero, and holds negative numbers at 0.
        let first = (centre - reach + 0.5) as usize;
        let end = ((centre + reach + 0.5) as usize).min(n_in);
        let heights = (first..end).map(|x| (1.0 - ((x as f64 - centre + 0.5) * (1.0 / reach)).abs()).max(0.0));
        let heights: Vec<f64> = heights.collect();
        let sum: f64 = heights.iter().sum();
        let weights = heights.iter().map(|height| (0.5 + height / sum * f64::from(1 << WEIGHT_BITS)) as i32).collect();
        Window { first, weights }
    };
    (0..n_out).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_mixes_a_quarter_of_the_neighbour() {
        // Positions -0.25 (held at 0), 0.25, 0.75, 1.25 (held at 1) in both directions.
        let doubled = bilinear(&[0.0, 8.0, 16.0, 24.0], [2, 2], [4, 4]);
        #[rustfmt::skip]
        let expected = [
             0.0,  2.0,  6.0,  8.0,
             4.0,  6.0, 10.0, 12.0,
            12.0, 14.0, 18.0, 20.0,
            16.0, 18.0, 22.0, 24.0,
        ];
        assert_eq!(doubled, expected);
    }

    #[test]
    fn the_same_size_changes_nothing_and_a_constant_stays() {
        let pixels: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(bilinear(&pixels, [3, 4], [3, 4]), pixels);
        assert_eq!(bilinear(&[5.0; 64], [8, 8], [28, 28]), [5.0; 784]);
    }

    #[test]
    fn eight_to_twenty_eight_hits_its_positions() {
        // Column 3 looks at 3.5 * 2/7 - 0.5 = 0.5, column 10 at 10.5 * 2/7 - 0.5 = 2.5.
        let ramp: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
        let resized = bilinear(&ramp, [8, 8], [28, 28]);
        assert_eq!((resized[0], resized[27]), (0.0, 7.0));
        assert!((resized[3] - 0.5).abs() < 1e-6 && (resized[10] - 2.5).abs() < 1e-6);
        assert_eq!(resized[..28], resized[27 * 28..]);
    }

    #[test]
    fn shrinking_gives_pillows_bytes() {
        // Image.fromarray(a).resize((width, height), Image.BILINEAR) of Pillow 13.0, for a[y, x] = mix(y * width + x).
        let mix = |i: u32| {
            let x = i.wrapping_mul(2_654_435_761);
            (x ^ (x >> 15)) as u8
        };
        let image = |n: u32| (0..n).map(mix).collect::<Vec<_>>();
        #[rustfmt::skip]
        let cases: [([usize; 2], [usize; 2], &[u8]); 5] = [
            ([8, 8], [4, 4], &[181, 146, 121, 180, 205, 116, 130, 112, 190, 77, 115, 69, 207, 93, 94, 100]),
            ([7, 7], [3, 3], &[197, 163, 117, 165, 157, 124, 95, 102, 143]),
            ([3, 3], [5, 5], &[0, 89, 223, 204, 191, 38, 97, 185, 166, 153, 95, 108, 127, 108, 95, 153, 166, 185, 188, 191, 191, 204, 223, 242, 255]),
            ([5, 7], [3, 4], &[162, 192, 119, 131, 205, 198, 154, 96, 151, 124, 175, 107]),
            ([6, 6], [6, 2], &[143, 119, 223, 183, 143, 215, 111, 130, 173, 116, 131, 100]),
        ];
        for (from, to, expected) in cases {
            let pixels = image((from[0] * from[1]) as u32);
            assert_eq!(shrink(&pixels, from, to), expected, "{from:?} to {to:?}");
        }
    }
}
