//! Panels side by side and below each other, with their axes.

use crate::axis::Axis;
use crate::style::{BOLD, FRAME, GRID, SMALL, TEXT};
use crate::svg::{Anchor, Svg};
use crate::text_width::fitted;

/// All plots are that wide.
pub(super) const WIDTH: f64 = 880.0;
/// Height of a line of a legend.
pub(super) const LEGEND_LINE: f64 = 20.0;

/// Where values are drawn, without axes' labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Panel {
    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// What the panel shows, above it.
    pub(super) fn title(&self, svg: &mut Svg, title: &str) {
        svg.text((self.left, self.top - 9.0), Anchor::Start, BOLD, &fitted(title, 13.0, self.width));
    }

    pub(super) fn border(&self, svg: &mut Svg) {
        svg.line((self.left, self.top), (self.left, self.bottom()), FRAME);
        svg.line((self.left, self.bottom()), (self.right(), self.bottom()), FRAME);
    }

    /// Vertical grid lines.
    pub(super) fn grid(&self, svg: &mut Svg, axis: &Axis) {
        for &tick in &axis.ticks {
            let at = axis.place(tick);
            svg.line((at, self.top), (at, self.bottom()), GRID);
        }
    }

    /// Vertical grid lines, and ticks with their labels below.
    pub(super) fn x_axis(&self, svg: &mut Svg, axis: &Axis, title: &str) {
        self.grid(svg, axis);
        for &tick in &axis.ticks {
            let at = axis.place(tick);
            svg.text((at, self.bottom() + 16.0), Anchor::Middle, SMALL, &axis.label(tick, 1.0));
        }
        svg.text((self.left + self.width / 2.0, self.bottom() + 34.0), Anchor::Middle, TEXT, title);
    }

    /// Horizontal grid lines, and ticks with their labels on the left.
    pub(super) fn y_axis(&self, svg: &mut Svg, axis: &Axis, title: &str) {
        for &tick in &axis.ticks {
            let at = axis.place(tick);
            svg.line((self.left, at), (self.right(), at), GRID);
            svg.text((self.left - 6.0, at + 4.0), Anchor::End, SMALL, &axis.label(tick, 1.0));
        }
        svg.text_upwards((self.left - 40.0, self.top + self.height / 2.0), TEXT, title);
    }
}

/// More data would make a picture too tall to be looked at, or to be kept in memory.
const MAX_PANELS: usize = 12;

/// Leaves out the last of too many; says so, as the end of a caption.
pub(super) fn limit_panels<T>(data: &mut Vec<T>) -> String {
    let n_left_out = data.len().saturating_sub(MAX_PANELS);
    data.truncate(MAX_PANELS);
    if n_left_out == 0 { String::new() } else { format!(" Not drawn: {n_left_out} more data.") }
}

/// Rates with some room on both sides, so that no mark sits on the frame.
fn with_room((low, high): (f64, f64), share: f64) -> (f64, f64) {
    let room = (high - low) * share;
    ((low - room).max(0.0), high + room)
}

/// An axis over these values and little more, with about so many ticks and two at least.
pub(super) fn tight_axis(values: (f64, f64), places: (f64, f64), n_ticks: usize) -> Axis {
    let (low, high) = with_room(values, 0.04);
    let tight = |n_ticks| Axis::new(values, places, n_ticks, 0.0).cut_to(low, high);
    let axis = (n_ticks.max(2)..4 * n_ticks.max(2)).map(tight).find(|axis| axis.ticks.len() >= 2);
    axis.unwrap_or_else(|| Axis::new(values, places, n_ticks, 0.0))
}

/// The least and the greatest.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// "1 line", "2 lines".
pub(super) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
