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
}
