//! Sections 5 and 8: matrices and factors.

use super::super::Piece;
use super::math::power_of_two;
use super::side::Coded;

/// How a piece is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) n_coordinates: usize,
    pub(super) n_samples: usize,
    pub(super) taps: usize,
    /// Whether the elements of a coordinate follow one another, and not those of a sample.
    is_by_coordinate: bool,
}

/// Coordinates beyond which a matrix is folded.
const MOST_COORDINATES: u64 = 1024;

impl Layout {
    /// The matrix of a piece's `n` elements.
    pub(super) fn of(piece: &Piece<'_>, n: usize, size: usize) -> Self {
        Self::folded(piece, n as u64, size as u64).unwrap_or(Self {
            n_coordinates: 1,
            n_samples: n,
            taps: 1,
            is_by_coordinate: false,
        })
    }

    /// None where the matrix is flat.
    fn folded(piece: &Piece<'_>, n: u64, size: u64) -> Option<Self> {
        let [_, rest @ ..] = piece.shape else { return None };
        let [_, taps @ ..] = rest else { return None };
        let product = |lengths: &[u64]| lengths.iter().try_fold(1u64, |product, &length| product.checked_mul(length));
        let mut cols = product(rest)?;
        if cols <= 1 || !n.is_multiple_of(cols) || u128::from(piece.start) % (u128::from(cols) * u128::from(size)) != 0
        {
            return None;
        }
        let mut rows = n / cols;
        if rows == 1 {
            return None;
        }
        while rows.min(cols) > MOST_COORDINATES {
            let (halved, doubled) = if rows <= cols { (&mut rows, &mut cols) } else { (&mut cols, &mut rows) };
            if *halved % 2 != 0 {
                return None;
            }
            *halved /= 2;
            *doubled *= 2;
        }
        let (rows_are_coordinates, taps) = (rows <= cols, product(taps)?);
        let (rows, cols) = (usize::try_from(rows).ok()?, usize::try_from(cols).ok()?);
        Some(if rows_are_coordinates {
            let taps = usize::try_from(taps).ok()?;
            Self { n_coordinates: rows, n_samples: cols, taps, is_by_coordinate: true }
        } else {
            Self { n_coordinates: cols, n_samples: rows, taps: 1, is_by_coordinate: false }
        })
    }

    /// The element that is a sample's coordinate.
    pub(super) fn element(&self, coordinate: usize, sample: usize) -> usize {
        if self.is_by_coordinate {
            coordinate * self.n_samples + sample
        } else {
            coordinate + sample * self.n_coordinates
        }
    }
}

/// A coordinate's scale, its row of the factor that is sent, and what follows from that.
pub(super) struct Coordinate {
    pub(super) scale: f32,
    pub(super) factors: Vec<f32>,
    pub(super) gains: Vec<f32>,
    pub(super) deviation: f32,
}

/// A scale of so many quarter octaves.
pub(super) fn scale(steps: i32) -> f32 {
    let quarter = match steps.rem_euclid(4) {
        0 => 1.0,
        1 => 1.1892071,
        2 => std::f32::consts::SQRT_2,
        _ => 1.6817928,
    };
    quarter * power_of_two(steps.div_euclid(4).clamp(-120, 120))
}

/// Section 8.
pub(super) fn coordinates(coded: &Coded, n_samples: usize) -> Vec<Coordinate> {
    let rank = coded.rank;
    let unit = (12.0 / n_samples as f32).sqrt();
    // C, row by row.
    let mut covariance: Vec<Vec<f64>> =
        (0..rank).map(|q| (0..rank).map(|p| if p == q { 1.0 } else { 0.0 }).collect()).collect();
    let mut coordinates = Vec::new();
    for (i, &steps) in coded.row_scales.iter().enumerate() {
        let factors: Vec<f32> =
            coded.entries.iter().map(|column| column.get(i).map_or(0.0, |&entry| entry as f32 * unit)).collect();
        let w: Vec<f64> = factors.iter().map(|&u| f64::from(u)).collect();
        let h: Vec<f64> = covariance.iter().map(|row| dot(row, &w)).collect();
        let v = h.iter().zip(&w).fold(1.0, |v, (h, w)| v + h * w).max(1.0);
        let gains = h.iter().map(|h| (h / v) as f32).collect();
        for (row, hq) in covariance.iter_mut().zip(&h) {
            for (c, hp) in row.iter_mut().zip(&h) {
                *c -= (hq / v) * hp;
            }
        }
        coordinates.push(Coordinate { scale: scale(steps), factors, gains, deviation: v.sqrt() as f32 });
    }
    coordinates
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut s = [0.0; 8];
    for (x, y) in x.chunks(8).zip(y.chunks(8)) {
        for ((s, x), y) in s.iter_mut().zip(x).zip(y) {
            *s += x * y;
        }
    }
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[u64], n: usize, start: u64) -> (usize, usize, usize) {
        let piece = Piece { shape, start, len: 4 * n, tensor_len: 0, reference: None };
        let layout = Layout::of(&piece, n, 4);
        (layout.n_coordinates, layout.n_samples, layout.taps)
    }

    #[test]
    fn layouts() {
        assert_eq!(layout(&[10], 10, 0), (1, 10, 1));
        assert_eq!(layout(&[4, 2, 3, 3], 72, 0), (4, 18, 9));
        assert_eq!(layout(&[40, 2, 3], 240, 0), (6, 40, 1));
        assert_eq!(layout(&[40, 6], 60, 24), (6, 10, 1));
        assert_eq!(layout(&[40, 6], 60, 20), (1, 60, 1));
        assert_eq!(layout(&[40, 6], 6, 24), (1, 6, 1));
        assert_eq!(layout(&[2048, 2050], 2048 * 2050, 0), (1024, 4100, 1));
        assert_eq!(layout(&[1025, 1026], 1025 * 1026, 0), (1, 1025 * 1026, 1));
    }
}
