//! Which values share a scale.

use crate::Piece;

/// A piece's values as rows of the same length, the last one perhaps shorter. Each row has a scale; the columns may have some, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) n_values: usize,
    /// Values of a row.
    pub(super) n_columns: usize,
    /// Whether the rows are a tensor's, so that columns mean something.
    pub(super) is_matrix: bool,
}

/// Values of a row where the shape gives none.
pub(super) const FLAT_ROW: usize = 512;
/// A matrix has at least so many rows and columns: scales of fewer values cost more than they bring.
const MIN_SIDE: usize = 32;

impl View {
    /// Rows of [`FLAT_ROW`].
    pub(super) fn flat(n_values: usize) -> Self {
        Self { n_values, n_columns: FLAT_ROW, is_matrix: false }
    }

    /// The first dimension x all others, if the piece is whole rows and neither side is small.
    pub(super) fn matrix(piece: &Piece<'_>, n_values: usize, element_bytes: usize) -> Option<Self> {
        let [_, others @ ..] = piece.shape else { return None };
        let n_columns = others.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))?;
        let n_columns = usize::try_from(n_columns).ok().filter(|&n| n >= MIN_SIDE)?;
        let row_bytes = n_columns.checked_mul(element_bytes)? as u64;
        let is_whole = n_values.is_multiple_of(n_columns) && piece.start.is_multiple_of(row_bytes);
        (is_whole && n_values / n_columns >= MIN_SIDE).then_some(Self { n_values, n_columns, is_matrix: true })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_values.div_ceil(self.n_columns)
    }

    /// Scales of the columns.
    pub(super) fn n_column_scales(&self) -> usize {
        if self.is_matrix { self.n_columns } else { 0 }
    }

    /// Scales in all.
    pub(super) fn n_scales(&self) -> usize {
        self.n_rows() + self.n_column_scales()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_whole_rows() {
        let view = |shape: &[u64], start, n| View::matrix(&Piece { shape, start, len: 4 * n, reference: None }, n, 4);
        let whole = view(&[64, 16, 3, 3], 0, 64 * 144).unwrap();
        assert_eq!((whole.n_rows(), whole.n_columns, whole.n_scales()), (64, 144, 208));
        // A part of a tensor.
        assert_eq!(view(&[640, 144], 4 * 144 * 5, 32 * 144).unwrap().n_rows(), 32);
        let too_large = [2, u64::MAX, 3];
        for (shape, start, n) in [
            (&[64, 144][..], 4, 64 * 144),
            (&[64, 144], 0, 64 * 144 - 1),
            (&[64, 144], 0, 31 * 144),
            (&[300, 31], 0, 9300),
            (&[9300], 0, 9300),
            (&[], 0, 1),
            (&[0, 144], 0, 0),
            (&[64, 0], 0, 0),
            (&too_large, 0, 4096),
        ] {
            assert_eq!(view(shape, start, n), None, "{shape:?}");
        }
        let flat = View::flat(1025);
        assert_eq!((flat.n_rows(), flat.n_scales()), (3, 3));
    }
}
