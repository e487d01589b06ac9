use gemm::Parallelism;

/// A matrix in a slice: element `(i, j)` lies at `i * row_stride + j * column_stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    layout: Layout,
}

/// A [`Matrix`] to write to.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    values: &'a mut [f32],
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Layout {
    fn row_major([n_rows, n_columns]: [usize; 2], stride: usize) -> Self {
        assert!(stride >= n_columns, "rows do not overlap");
        Self { n_rows, n_columns, row_stride: stride, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self {
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Whether every element lies within `len` values.
    fn fits(&self, len: usize) -> bool {
        if self.n_rows == 0 || self.n_columns == 0 {
            return true;
        }
        let last_row = (self.n_rows - 1).checked_mul(self.row_stride);
        let last_column = (self.n_columns - 1).checked_mul(self.column_stride);
        last_row.zip(last_column).and_then(|(row, column)| row.checked_add(column)).is_some_and(|last| last < len)
    }
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, each row without gaps, row `i` at `i * stride`.
    pub(super) fn rows(values: &'a [f32], dims: [usize; 2], stride: usize) -> Self {
        Self { values, layout: Layout::row_major(dims, stride) }
    }

    pub(super) fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }
}

impl<'a> MatrixMut<'a> {
    /// `[rows, columns]`, each row without gaps, row `i` at `i * stride`.
    pub(super) fn rows(values: &'a mut [f32], dims: [usize; 2], stride: usize) -> Self {
        Self { values, layout: Layout::row_major(dims, stride) }
    }
}

/// What becomes of the values that the result is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    Replaced,
    AddedTo,
}

/// `scale * left * right`, with `[m, k]` and `[k, n]`, on the calling thread.
///
/// # Panics
/// If the shapes do not go together, or a matrix does not lie within its slice.
pub(super) fn multiply(result: MatrixMut<'_>, old: Old, scale: f32, left: Matrix<'_>, right: Matrix<'_>) {
    let (out, a, b) = (result.layout, left.layout, right.layout);
    assert!(
        out.n_rows == a.n_rows && out.n_columns == b.n_columns && a.n_columns == b.n_rows,
        "shapes of a product: {a:?} times {b:?} to {out:?}"
    );
    assert!(out.fits(result.values.len()) && a.fits(left.values.len()) && b.fits(right.values.len()));
    // SAFETY: every element of the three matrices lies within its slice (checked above); the slice written to is borrowed
    // mutably, so it overlaps neither other, and its elements are distinct (a row's stride covers the row). A slice has at
    // most `isize::MAX` bytes, so strides of matrices that fit into one do not overflow `isize`.
    unsafe {
        gemm::gemm(
            out.n_rows,
            out.n_columns,
            a.n_columns,
            result.values.as_mut_ptr(),
            out.column_stride as isize,
            out.row_stride as isize,
            old == Old::AddedTo,
            left.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            right.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_rows_and_of_transposed_rows() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, 9.0, 2.0, 1.0, 9.0];
        let mut result = [10.0; 9];
        // [3, 2] times [2, 2], the right one with a gap after each row.
        let (a, b) = (Matrix::rows(&left, [3, 2], 2), Matrix::rows(&right, [2, 2], 3));
        multiply(MatrixMut::rows(&mut result, [3, 2], 3), Old::Replaced, 1.0, a, b);
        assert_eq!(result, [5.0, 2.0, 10.0, 11.0, 4.0, 10.0, 17.0, 6.0, 10.0]);
        multiply(MatrixMut::rows(&mut result, [3, 2], 3), Old::AddedTo, 2.0, a, b);
        assert_eq!(result, [15.0, 6.0, 10.0, 33.0, 12.0, 10.0, 51.0, 18.0, 10.0]);
        let transposed = Matrix::rows(&left, [2, 3], 3).transposed();
        multiply(MatrixMut::rows(&mut result, [3, 2], 3), Old::Replaced, 1.0, transposed, b);
        assert_eq!(result, [9.0, 4.0, 10.0, 12.0, 5.0, 10.0, 15.0, 6.0, 10.0]);
    }

    #[test]
    #[should_panic(expected = "fits")]
    fn a_matrix_beyond_its_slice_panics() {
        let (left, right, mut result) = ([1.0; 5], [1.0; 4], [0.0; 6]);
        let (a, b) = (Matrix::rows(&left, [3, 2], 2), Matrix::rows(&right, [2, 2], 2));
        multiply(MatrixMut::rows(&mut result, [3, 2], 2), Old::Replaced, 1.0, a, b);
    }
}
