//! How a piece of a tensor becomes a matrix: which elements are samples, and which are coordinates of a sample.

use crate::Piece;

/// A matrix of coordinates x samples over a piece's elements. Coordinate i of sample j is element
/// `i * coordinate_stride + j * sample_stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) n_coordinates: usize,
    pub(super) n_samples: usize,
    pub(super) coordinate_stride: usize,
    pub(super) sample_stride: usize,
    /// Samples that belong together, such as the taps of a kernel; 1 if none do.
    pub(super) n_taps: usize,
}

/// Matrices with more coordinates than this are folded: their covariance would take too much time and memory.
const MAX_COORDINATES: usize = 1024;

impl View {
    /// The view of a piece of `n_elements`. A tensor is a matrix of its first dimension x all others, whose shorter side gives the
    /// coordinates; a piece that is no whole number of rows, or one-dimensional, is a single coordinate of many samples. Where
    /// both sides are long, two rows become one, or one two, as often as it takes: factors are shared by half as many coordinates,
    /// and may be twice as many.
    pub(super) fn of(piece: Option<&Piece<'_>>, n_elements: usize, element_bytes: usize) -> Self {
        let flat = Self { n_coordinates: 1, n_samples: n_elements, coordinate_stride: 0, sample_stride: 1, n_taps: 1 };
        let Some(piece) = piece.filter(|piece| piece.shape.len() >= 2) else { return flat };
        let n_cols = piece.shape[1..].iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
        let Some(n_cols) = n_cols.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 1) else { return flat };
        if n_elements == 0 || !n_elements.is_multiple_of(n_cols) {
            return flat;
        }
        // Now a row is no longer than the piece.
        let row_bytes = n_cols as u64 * element_bytes as u64;
        if !piece.start.is_multiple_of(row_bytes) {
            return flat;
        }
        let (mut n_rows, mut n_cols) = (n_elements / n_cols, n_cols);
        if n_rows == 1 {
            return flat;
        }
        while n_rows.min(n_cols) > MAX_COORDINATES {
            let (short, long) = if n_rows <= n_cols { (&mut n_rows, &mut n_cols) } else { (&mut n_cols, &mut n_rows) };
            if !short.is_multiple_of(2) {
                return flat;
            }
            (*short, *long) = (*short / 2, *long * 2);
        }
        if n_rows <= n_cols {
            let n_taps = match piece.shape {
                [_, _, taps @ ..] => taps.iter().product::<u64>() as usize,
                _ => 1,
            };
            let (coordinate_stride, sample_stride) = (n_cols, 1);
            return Self { n_coordinates: n_rows, n_samples: n_cols, coordinate_stride, sample_stride, n_taps };
        }
        let (coordinate_stride, sample_stride) = (1, n_cols);
        Self { n_coordinates: n_cols, n_samples: n_rows, coordinate_stride, sample_stride, n_taps: 1 }
    }

    /// Elements in all.
    pub(super) fn n_elements(&self) -> usize {
        self.n_coordinates * self.n_samples
    }

    /// Where an element is.
    #[inline(always)]
    pub(super) fn at(&self, coordinate: usize, sample: usize) -> usize {
        coordinate * self.coordinate_stride + sample * self.sample_stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_gives_the_samples() {
        let view = |shape: &[u64], start, n| View::of(Some(&Piece { shape, start, len: n * 4, reference: None }), n, 4);
        let wide = view(&[8, 4, 3, 3], 0, 288);
        assert_eq!((wide.n_coordinates, wide.n_samples, wide.n_taps, wide.at(2, 5)), (8, 36, 9, 77));
        let tall = view(&[100, 10], 0, 1000);
        assert_eq!((tall.n_coordinates, tall.n_samples, tall.at(2, 5)), (10, 100, 52));
        assert_eq!(tall.n_elements(), 1000);
        // Long sides are folded: rows 2 i and 2 i + 1 become coordinate i, columns j and j + n / 2 sample twice.
        let folded = view(&[2048, 5000], 0, 2048 * 5000);
        assert_eq!((folded.n_coordinates, folded.n_samples, folded.at(1, 5003)), (1024, 10_000, 3 * 5000 + 3));
        let folded = view(&[5000, 2048], 0, 2048 * 5000);
        assert_eq!((folded.n_coordinates, folded.n_samples, folded.at(7, 3)), (1024, 10_000, 2048 + 1024 + 7));
        assert_eq!(view(&[2049, 5000], 0, 2049 * 5000).n_coordinates, 1);
        // A part of a tensor: whole rows are still a matrix.
        assert_eq!(view(&[100, 10], 40 * 7, 200).n_samples, 20);
        for flat in [
            view(&[100, 10], 4, 200),
            view(&[100, 10], 0, 205),
            view(&[7], 0, 7),
            view(&[1, 7], 0, 7),
            view(&[0, 3], 0, 0),
            view(&[2, 1 << 62], 0, 7),
        ] {
            assert_eq!(flat.n_coordinates, 1);
        }
        assert_eq!(View::of(None, 9, 4).n_samples, 9);
    }
}
