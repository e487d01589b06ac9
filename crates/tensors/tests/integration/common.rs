//! Fixture files and what must hold of every layout.

use std::path::{Path, PathBuf};

use lmgc_tensors::Layout;

/// `testdata/tensors` of the repository.
pub(crate) fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tensors")
}

/// A fixture's bytes.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture_folder().join(name)).unwrap()
}

/// Sorted, disjoint, in bounds, as long as their shapes say; with the skeleton exactly the file; a parameter order that
/// is a permutation.
pub(crate) fn assert_tiles(layout: &Layout, file_len: u64) {
    assert_eq!(layout.file_len, file_len);
    for pair in layout.spans.windows(2) {
        assert!((pair[0].offset, pair[0].len) <= (pair[1].offset, pair[1].len), "spans are not sorted: {pair:?}");
        assert!(pair[0].offset + pair[0].len <= pair[1].offset, "spans overlap: {pair:?}");
    }
    for span in &layout.spans {
        let n_elements: u128 = span.shape.iter().map(|&dim| u128::from(dim)).product();
        assert_eq!(n_elements * u128::from(span.dtype.size_bytes()), u128::from(span.len), "{span:?}");
        assert!(span.offset + span.len <= file_len, "{span:?}");
    }
    let skeleton = layout.skeleton_ranges();
    let mut pieces: Vec<(u64, u64)> = skeleton.iter().map(|range| (range.start, range.end)).collect();
    assert!(pieces.iter().all(|(start, end)| start < end));
    assert!(pieces.windows(2).all(|pair| pair[0].1 < pair[1].0), "skeleton ranges touch: {pieces:?}");
    pieces.extend(layout.spans.iter().filter(|span| span.len > 0).map(|span| (span.offset, span.offset + span.len)));
    pieces.sort_unstable();
    let mut covered_to = 0;
    for (start, end) in pieces {
        assert_eq!(start, covered_to, "the file is not tiled");
        covered_to = end;
    }
    assert_eq!(covered_to, file_len);

    let mut order = layout.parameter_order();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..layout.spans.len()));
}
