//! The grid that a block's values lie on, for fpzip, which predicts from neighbours in up to four dimensions.

use crate::{Error, Place};

/// Most dimensions of a grid.
pub(super) const MAX_DIMENSIONS: usize = 4;

/// A grid's extents, fastest dimension first; the unused ones are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Used dimensions: 1 to 4.
    pub(super) n_dimensions: usize,
    pub(super) extents: [usize; MAX_DIMENSIONS],
}

impl Grid {
    /// The tensor's shape if the block is one whole tensor of two dimensions or more, the slowest dimensions folded into one
    /// where there are more than four; else one run of `n_elements`.
    pub(super) fn of_block(place: &Place<'_>, n_elements: usize) -> Self {
        Self::of_tensor(place, n_elements).unwrap_or(Self::line(n_elements))
    }

    /// The grid that a payload names by its number of dimensions.
    pub(super) fn of_payload(n_dimensions: u8, place: &Place<'_>, n_elements: usize) -> Result<Self, Error> {
        if n_dimensions == 1 {
            return Ok(Self::line(n_elements));
        }
        Self::of_tensor(place, n_elements)
            .filter(|grid| grid.n_dimensions == usize::from(n_dimensions))
            .ok_or_else(|| Error::corrupt_block(format!("{n_dimensions} dimensions, which the block does not have")))
    }

    fn line(n_elements: usize) -> Self {
        Self { n_dimensions: 1, extents: [n_elements, 1, 1, 1] }
    }

    fn of_tensor(place: &Place<'_>, n_elements: usize) -> Option<Self> {
        let [piece] = place.pieces else { return None };
        let n_dimensions = piece.shape.len().min(MAX_DIMENSIONS);
        if n_dimensions < 2 || piece.start != 0 {
            return None;
        }
        let mut extents = [1usize; MAX_DIMENSIONS];
        for (i, &extent) in piece.shape.iter().rev().enumerate() {
            let to = &mut extents[i.min(MAX_DIMENSIONS - 1)];
            *to = to.checked_mul(usize::try_from(extent).ok()?)?;
        }
        let volume = extents.iter().try_fold(1usize, |volume, &extent| volume.checked_mul(extent))?;
        (volume == n_elements).then_some(Self { n_dimensions, extents })
    }
}

#[cfg(test)]
mod tests {
    use lmgc_tensors::Dtype;

    use super::*;
    use crate::Piece;

    fn grid(shape: &[u64], start: u64, n_elements: usize) -> Grid {
        let pieces = [Piece { shape, start, len: 4 * n_elements, reference: None }];
        Grid::of_block(&Place { dtype: Dtype::F32, pieces: &pieces }, n_elements)
    }

    #[test]
    fn whole_tensors_keep_their_shape() {
        assert_eq!(grid(&[2, 3], 0, 6), Grid { n_dimensions: 2, extents: [3, 2, 1, 1] });
        assert_eq!(grid(&[2, 3, 4], 0, 24), Grid { n_dimensions: 3, extents: [4, 3, 2, 1] });
        assert_eq!(grid(&[2, 3, 4, 5], 0, 120), Grid { n_dimensions: 4, extents: [5, 4, 3, 2] });
        assert_eq!(grid(&[7, 2, 3, 4, 5], 0, 840), Grid { n_dimensions: 4, extents: [5, 4, 3, 14] });
    }

    #[test]
    fn everything_else_is_a_line() {
        let line = Grid { n_dimensions: 1, extents: [6, 1, 1, 1] };
        assert_eq!(grid(&[6], 0, 6), line);
        assert_eq!(grid(&[], 0, 6), line);
        assert_eq!(grid(&[2, 3], 4, 6), line);
        assert_eq!(grid(&[2, 4], 0, 6), line);
        assert_eq!(grid(&[u64::MAX, u64::MAX], 0, 6), line);
        assert_eq!(Grid::of_block(&Place::UNKNOWN, 6), line);
        let pieces = [Piece { shape: &[3, 1], start: 0, len: 12, reference: None }; 2];
        assert_eq!(Grid::of_block(&Place { dtype: Dtype::F32, pieces: &pieces }, 6), line);
    }

    #[test]
    fn payloads_name_what_the_block_has() {
        let pieces = [Piece { shape: &[2, 3], start: 0, len: 24, reference: None }];
        let place = Place { dtype: Dtype::F32, pieces: &pieces };
        assert_eq!(Grid::of_payload(2, &place, 6).unwrap().extents, [3, 2, 1, 1]);
        assert_eq!(Grid::of_payload(1, &place, 6).unwrap().extents, [6, 1, 1, 1]);
        for n_dimensions in [0, 3, 4, 5, 255] {
            assert!(Grid::of_payload(n_dimensions, &place, 6).unwrap_err().is_bad_input());
        }
    }
}
