use std::ops::Range;

/// Sizes of a convolution with a square kernel, lengths in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Height and width of an input channel.
    pub(super) size: [usize; 2],
    /// Height and width of an output channel.
    pub(super) out_size: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Geometry {
    /// # Panics
    /// If the kernel does not fit into the padded input.
    pub(super) fn new(size: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Self {
        let out_size = size.map(|side| {
            let room = (side + 2 * padding).checked_sub(kernel).expect("the kernel fits into the padded image");
            room / stride + 1
        });
        Self { size, out_size, kernel, stride, padding }
    }

    pub(super) fn n_pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(super) fn n_out_pixels(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    pub(super) fn n_taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Whether unfolding would change nothing.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// Outputs along one side whose tap `tap` falls within the image, and where the first of them looks.
    fn within(&self, tap: usize, side: usize, out_side: usize) -> (Range<usize>, usize) {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride).min(out_side);
        // The output at `o` looks at `o * stride + tap - padding`, which must stay below `side`.
        let end = (side + self.padding).saturating_sub(tap).div_ceil(self.stride).clamp(first, out_side);
        (first..end, (first * self.stride + tap).saturating_sub(self.padding))
    }
}

/// Lays out what each output pixel sees: row `channel * taps + tap` of `columns` holds, at each output pixel, the input
/// under that tap of the kernel (0 in the padding).
///
/// `image` is `[channels, height, width]`; rows of `columns` begin `stride` values apart.
pub(super) fn unfold(geometry: &Geometry, image: &[f32], columns: &mut [f32], stride: usize) {
    let n_out = geometry.n_out_pixels();
    let width = geometry.size[1];
    for (channel, pixels) in image.chunks_exact(geometry.n_pixels()).enumerate() {
        for tap in 0..geometry.n_taps() {
            let (rows, top) = geometry.within(tap / geometry.kernel, geometry.size[0], geometry.out_size[0]);
            let (places, left) = geometry.within(tap % geometry.kernel, width, geometry.out_size[1]);
            let row = (channel * geometry.n_taps() + tap) * stride;
            let row = &mut columns[row..row + n_out];
            for (y, out) in row.chunks_exact_mut(geometry.out_size[1]).enumerate() {
                if !rows.contains(&y) {
                    out.fill(0.0);
                    continue;
                }
                let from = (top + (y - rows.start) * geometry.stride) * width + left;
                out[..places.start].fill(0.0);
                out[places.end..].fill(0.0);
                let out = &mut out[places.clone()];
                if out.is_empty() {
                    continue;
                }
                if geometry.stride == 1 {
                    out.copy_from_slice(&pixels[from..from + out.len()]);
                } else {
                    let pixels = pixels[from..].iter().step_by(geometry.stride);
                    out.iter_mut().zip(pixels).for_each(|(out, &pixel)| *out = pixel);
                }
            }
        }
    }
}

/// The transpose of [`unfold`]: adds every value of `columns` to the input pixel that it was taken from.
pub(super) fn fold(geometry: &Geometry, columns: &[f32], stride: usize, image: &mut [f32]) {
    let n_out = geometry.n_out_pixels();
    let width = geometry.size[1];
    for (channel, pixels) in image.chunks_exact_mut(geometry.n_pixels()).enumerate() {
        for tap in 0..geometry.n_taps() {
            let (rows, top) = geometry.within(tap / geometry.kernel, geometry.size[0], geometry.out_size[0]);
            let (places, left) = geometry.within(tap % geometry.kernel, width, geometry.out_size[1]);
            let row = (channel * geometry.n_taps() + tap) * stride;
            let row = &columns[row..row + n_out];
            for y in rows.clone() {
                let from = (top + (y - rows.start) * geometry.stride) * width + left;
                let start = y * geometry.out_size[1];
                let row = &row[start + places.start..start + places.end];
                if row.is_empty() {
                    continue;
                }
                if geometry.stride == 1 {
                    let pixels = &mut pixels[from..from + row.len()];
                    pixels.iter_mut().zip(row).for_each(|(pixel, &value)| *pixel += value);
                } else {
                    let pixels = pixels[from..].iter_mut().step_by(geometry.stride);
                    pixels.zip(row).for_each(|(pixel, &value)| *pixel += value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfolded(geometry: &Geometry, image: &[f32]) -> Vec<f32> {
        let mut columns = vec![f32::NAN; geometry.n_taps() * geometry.n_out_pixels()];
        unfold(geometry, image, &mut columns, geometry.n_out_pixels());
        columns
    }

    #[test]
    fn a_padded_kernel_of_three_by_hand() {
        let geometry = Geometry::new([2, 2], 3, 1, 1);
        let columns = unfolded(&geometry, &[1.0, 2.0, 3.0, 4.0]);
        #[rustfmt::skip]
        let expected = [
            0.0, 0.0, 0.0, 1.0,   0.0, 0.0, 1.0, 2.0,   0.0, 0.0, 2.0, 0.0,
            0.0, 1.0, 0.0, 3.0,   1.0, 2.0, 3.0, 4.0,   2.0, 0.0, 4.0, 0.0,
            0.0, 3.0, 0.0, 0.0,   3.0, 4.0, 0.0, 0.0,   4.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(columns, expected);
    }

    /// For every geometry, each column against its definition, and `fold` against the transpose.
    #[test]
    fn unfolding_and_folding_follow_their_definition() {
        let sides = [[5, 4], [1, 1], [7, 7], [2, 6]];
        for (size, kernel, stride, padding) in sides.into_iter().flat_map(|size| {
            [(3, 1, 1), (3, 2, 1), (3, 1, 3), (1, 1, 0), (1, 2, 0), (2, 2, 0), (5, 3, 2)]
                .map(|(kernel, stride, padding)| (size, kernel, stride, padding))
        }) {
            if size.iter().any(|side| side + 2 * padding < kernel) {
                continue;
            }
            let geometry = Geometry::new(size, kernel, stride, padding);
            let image: Vec<f32> = (1..=geometry.n_pixels()).map(|i| i as f32).collect();
            let columns = unfolded(&geometry, &image);
            let mut sums = vec![0.0; image.len()];
            for tap in 0..geometry.n_taps() {
                for pixel in 0..geometry.n_out_pixels() {
                    let [y, x] = [pixel / geometry.out_size[1], pixel % geometry.out_size[1]];
                    let y = (y * stride + tap / kernel).checked_sub(padding).filter(|&y| y < size[0]);
                    let x = (x * stride + tap % kernel).checked_sub(padding).filter(|&x| x < size[1]);
                    let place = y.zip(x).map(|(y, x)| y * size[1] + x);
                    let column = columns[tap * geometry.n_out_pixels() + pixel];
                    assert_eq!(column, place.map_or(0.0, |place| image[place]), "{geometry:?} {tap} {pixel}");
                    if let Some(place) = place {
                        sums[place] += 1.0 + tap as f32;
                    }
                }
            }
            let weights: Vec<f32> = (0..columns.len()).map(|i| (1 + i / geometry.n_out_pixels()) as f32).collect();
            let mut folded = vec![0.0; image.len()];
            fold(&geometry, &weights, geometry.n_out_pixels(), &mut folded);
            assert_eq!(folded, sums, "{geometry:?}");
        }
    }
}
