//! Windows and lanes: how a block's tokens are dealt out.

use std::ops::Range;

use crate::Error;

/// Most lanes of a block. A decoder steps as many of them side by side as its memory allows.
pub(super) const MAX_LANES: usize = 32;
/// Tokens that a lane should have at least, so that its stream's end (some 5 bytes) costs little.
const MIN_TOKENS_A_LANE: usize = 2000;

/// What a window holds beside its start token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowShape {
    /// Tokens that are coded in it.
    pub(super) coded: usize,
    /// Tokens of the window before that it begins with; fewer in a lane's first windows.
    pub(super) overlap: usize,
}

impl WindowShape {
    /// Of windows of so many tokens with the start token; as many as fit are coded that belong to whole values.
    pub(super) fn new(window_tokens: usize, overlap: usize, value_tokens: usize) -> Self {
        let room = window_tokens.saturating_sub(1 + overlap);
        Self { coded: (room / value_tokens * value_tokens).max(1), overlap }
    }

    /// Rows that the model sees, start token included: all but the last token.
    pub(super) fn n_rows(&self) -> usize {
        self.coded + self.overlap
    }
}

/// How a block's tokens lie in windows and lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    n_tokens: usize,
    pub(super) shape: WindowShape,
    n_lanes: usize,
}

impl Windows {
    /// The encoder's choice of lanes.
    pub(super) fn plan(n_tokens: usize, shape: WindowShape) -> Self {
        let plan = Self { n_tokens, shape, n_lanes: 0 };
        let n_lanes = (n_tokens / MIN_TOKENS_A_LANE).clamp(1, MAX_LANES).min(plan.n_windows());
        Self { n_lanes, ..plan }
    }

    /// The lanes of a file.
    pub(super) fn with_lanes(n_tokens: usize, shape: WindowShape, n_lanes: usize) -> Result<Self, Error> {
        let windows = Self { n_tokens, shape, n_lanes };
        if n_lanes > MAX_LANES.min(windows.n_windows()) || (n_lanes == 0) != (n_tokens == 0) {
            let what = format!("{n_lanes} lanes for {} windows (at most {MAX_LANES} lanes)", windows.n_windows());
            return Err(Error::corrupt_block(what));
        }
        Ok(windows)
    }

    pub(super) fn n_lanes(&self) -> usize {
        self.n_lanes
    }

    fn n_windows(&self) -> usize {
        self.n_tokens.div_ceil(self.shape.coded)
    }

    /// The first token of each lane.
    pub(super) fn lane_starts(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.n_lanes).map(|lane| self.lane(lane).start)
    }

    /// Token range of a lane: windows `lane * n / n_lanes .. (lane + 1) * n / n_lanes`.
    pub(super) fn lane(&self, lane: usize) -> Range<usize> {
        let start = |lane: usize| (self.n_windows() * lane / self.n_lanes * self.shape.coded).min(self.n_tokens);
        start(lane)..start(lane + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE: WindowShape = WindowShape { coded: 8, overlap: 0 };

    #[test]
    fn lanes_tile_the_tokens_in_whole_windows() {
        for n_tokens in [0, 1, 7, 8, 9, 100, 1000, 5000] {
            let windows = Windows::plan(n_tokens, NINE);
            let mut next = 0;
            for lane in 0..windows.n_lanes() {
                let range = windows.lane(lane);
                assert_eq!(range.start, next);
                assert!(range.start.is_multiple_of(8) && !range.is_empty());
                next = range.end;
            }
            assert_eq!(next, n_tokens);
            assert!(Windows::with_lanes(n_tokens, NINE, windows.n_lanes()).is_ok());
            assert!(Windows::with_lanes(n_tokens, NINE, MAX_LANES + 1).is_err());
        }
        assert_eq!([0, 1, 4001, 1 << 20].map(|n_tokens| Windows::plan(n_tokens, NINE).n_lanes()), [0, 1, 2, MAX_LANES]);
        let shape = WindowShape::new(3001, 0, 1);
        assert_eq!(Windows::plan(9000, shape).n_lanes(), 3, "no more lanes than windows");
        assert!(Windows::with_lanes(0, NINE, 1).is_err());
        assert!(Windows::with_lanes(1, NINE, 0).is_err());
        assert!(Windows::with_lanes(8, NINE, 2).is_err(), "more lanes than windows");
    }

    #[test]
    fn windows_hold_whole_values() {
        assert_eq!(WindowShape::new(2048, 0, 1), WindowShape { coded: 2047, overlap: 0 });
        assert_eq!(WindowShape::new(2048, 0, 8), WindowShape { coded: 2040, overlap: 0 });
        assert_eq!(WindowShape::new(256, 100, 4), WindowShape { coded: 152, overlap: 100 });
        assert_eq!(WindowShape::new(256, 100, 4).n_rows(), 252);
    }
}
