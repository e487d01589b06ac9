//! Rate by codec: a row for each codec variant, a panel for each data.

use std::collections::{BTreeMap, BTreeSet};

use super::panels::{LEGEND_LINE, Panel, WIDTH, counted, limit_panels, range, tight_axis};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group, Setting, Variant, mean};
use crate::numbers::fixed;
use crate::style::{BEST_FIGURE, FIGURE, FRAME, GRID, HALO, PALE, SMALL, Series, TEXT};
use crate::svg::{Anchor, Svg};
use crate::tables::mean_and_sd;
use crate::text_width::{fitted, text_width};

const NAME: &str = "rate-by-codec";
const MAX_ROWS: usize = 80;
const ROW: f64 = 19.0;
const MAX_LABEL: f64 = 250.0;
const LEAST_PANEL: f64 = 140.0;
/// More kinds of lossy steps than that would make a picture too tall.
const MAX_BLOCKS: usize = 6;
const HEADING: f64 = 28.0;
const RIGHT: f64 = 14.0;
const GAP: f64 = 26.0;
/// Room on the right of a mark for its figure.
const FIGURE_ROOM: f64 = 40.0;
const TITLE: f64 = 30.0;
const AXIS: f64 = 52.0;

/// Marks: with a language model, and without.
pub(super) const WITH_MODEL: Series = Series(0);
pub(super) const WITHOUT_MODEL: Series = Series(1);

pub(super) fn series_of(variant: &Variant) -> Series {
    if variant.get(Setting::Model).is_some() { WITH_MODEL } else { WITHOUT_MODEL }
}

/// What the marks mean, in a line; nothing if there is nothing to tell apart.
pub(super) struct Key {
    entries: Vec<(Series, bool, &'static str)>,
}

impl Key {
    pub(super) fn new<'a>(variants: impl Iterator<Item = &'a Variant> + Clone) -> Self {
        let has_model = |has: bool| variants.clone().any(|variant| variant.get(Setting::Model).is_some() == has);
        let mut entries = Vec::new();
        if has_model(true) && has_model(false) {
            entries.push((WITH_MODEL, false, "with a language model"));
            entries.push((WITHOUT_MODEL, false, "without"));
        }
        if let Some(estimate) = variants.clone().find(|variant| variant.is_estimate()) {
            entries.push((series_of(estimate), true, "hollow: estimate, nothing was written"));
        }
        Self { entries }
    }

    pub(super) fn height(&self) -> f64 {
        if self.entries.is_empty() { 0.0 } else { LEGEND_LINE + 6.0 }
    }

    pub(super) fn draw(&self, svg: &mut Svg, left: f64) {
        let mut x = left + 5.0;
        for &(series, is_estimate, text) in &self.entries {
            svg.mark(series.shape(), (x, 12.0), 4.5, &series.mark(is_estimate), "");
            svg.text((x + 10.0, 16.0), Anchor::Start, SMALL, text);
            x += text_width(text, 11.0) + 34.0;
        }
    }
}

/// Rows and panels of the data that went through the same lossy steps.
struct Block<'a> {
    steps: Option<&'a str>,
    rows: Vec<Row<'a>>,
    data: Vec<&'a Data>,
}

struct Row<'a> {
    /// Over the data that have a rate; the order of rows.
    mean: f64,
    variant: &'a Variant,
    groups: BTreeMap<&'a Data, &'a Group>,
    label: String,
}

pub(super) fn draw(view: &View<'_>) -> Result<Plot, Skipped> {
    let drawn = || view.groups.iter().filter(|group| group.rate.is_some());
    let steps: BTreeSet<&Option<String>> = drawn().map(|group| &group.data.preprocess).collect();
    if steps.is_empty() {
        return Err(Skipped { name: NAME, reason: "no cell has a rate".to_owned() });
    }
    let mut left_out = LeftOut::default();
    let blocks: Vec<Block<'_>> = steps
        .into_iter()
        .take(MAX_BLOCKS)
        .map(|steps| {
            block(view, steps.as_deref(), drawn().filter(|group| group.data.preprocess == *steps), &mut left_out)
        })
        .collect();
    let label_width =
        blocks.iter().flat_map(|block| &block.rows).map(|row| text_width(&row.label, 11.0)).fold(60.0, f64::max);
    let left = label_width + 18.0;
    let layouts: Vec<Layout> = blocks.iter().map(|block| Layout::new(block, left)).collect();
    let key = Key::new(blocks.iter().flat_map(|block| &block.rows).map(|row| row.variant));
    let top = key.height();
    let mut svg = Svg::new(WIDTH, top + layouts.iter().map(Layout::height).sum::<f64>());
    key.draw(&mut svg, left);
    let mut y = top;
    for (block, layout) in blocks.iter().zip(&layouts) {
        draw_block(&mut svg, view, block, layout, y);
        y += layout.height();
    }
    let mut caption = "Mean rate of each codec, best first by the mean over data; figures beside the marks, the best of the measured ones bold. \
                       Bars: ± one sample standard deviation over draws and training runs. Each panel has an axis of its own, which does not \
                       begin at 0; a dashed line is the original size."
        .to_owned();
    caption.push_str(view.steps_caption(blocks.iter().flat_map(|block| block.data.iter().copied())));
    caption.push_str(&left_out.words());
    Ok(Plot { name: NAME, title: "Rate by codec".to_owned(), caption, svg: svg.finish() })
}

/// What there was no room for.
#[derive(Default)]
struct LeftOut {
    n_rows: usize,
    data: String,
}

impl LeftOut {
    fn words(&self) -> String {
        let mut words = self.data.clone();
        if self.n_rows > 0 {
            words.push_str(&format!(" Not drawn: {} with the highest rates.", counted(self.n_rows, "codec variant")));
        }
        words
    }
}

fn block<'a>(
    view: &View<'_>,
    steps: Option<&'a str>,
    groups: impl Iterator<Item = &'a Group>,
    left_out: &mut LeftOut,
) -> Block<'a> {
    let mut rows_of: BTreeMap<&Variant, BTreeMap<&Data, &Group>> = BTreeMap::new();
    for group in groups {
        rows_of.entry(&group.variant).or_default().insert(&group.data, group);
    }
    let mut rows: Vec<Row<'_>> = rows_of
        .into_iter()
        .map(|(variant, groups)| {
            let rates: Vec<f64> = groups.values().filter_map(|group| group.rate).map(|rate| rate.mean).collect();
            let label = fitted(&view.labels.variant(variant), 11.0, MAX_LABEL);
            Row { mean: mean(&rates).unwrap_or(f64::INFINITY), variant, groups, label }
        })
        .collect();
    rows.sort_by(|a, b| a.mean.total_cmp(&b.mean).then_with(|| a.variant.cmp(b.variant)));
    left_out.n_rows += rows.len().saturating_sub(MAX_ROWS);
    rows.truncate(MAX_ROWS);
    let data: BTreeSet<&Data> = rows.iter().flat_map(|row| row.groups.keys().copied()).collect();
    let mut data: Vec<&Data> = data.into_iter().collect();
    left_out.data.push_str(&limit_panels(&mut data));
    Block { steps, rows, data }
}

/// Where a block's panels are.
struct Layout {
    left: f64,
    width: f64,
    height: f64,
    heading: f64,
    n_across: usize,
    n_down: usize,
}

impl Layout {
    fn new(block: &Block<'_>, left: f64) -> Self {
        let room = WIDTH - left - RIGHT;
        let n_fitting = ((room + GAP) / (LEAST_PANEL + GAP)).floor().max(1.0) as usize;
        // As even as can be: 3 and 3 rather than 4 and 2.
        let n_down = block.data.len().div_ceil(n_fitting).max(1);
        let n_across = block.data.len().div_ceil(n_down).max(1);
        let width = (room - GAP * (n_across as f64 - 1.0)) / n_across as f64;
        let heading = if block.steps.is_some() { HEADING } else { 0.0 };
        Self { left, width, height: ROW * block.rows.len() as f64 + 6.0, heading, n_across, n_down }
    }

    fn height(&self) -> f64 {
        self.heading + (TITLE + self.height + AXIS) * self.n_down as f64
    }

    fn panel(&self, index: usize, top: f64) -> Panel {
        let (across, down) = (index % self.n_across, index / self.n_across);
        Panel {
            left: self.left + (self.width + GAP) * across as f64,
            top: top + self.heading + (TITLE + self.height + AXIS) * down as f64 + TITLE,
            width: self.width,
            height: self.height,
        }
    }
}

fn draw_block(svg: &mut Svg, view: &View<'_>, block: &Block<'_>, layout: &Layout, top: f64) {
    if let Some(steps) = block.steps {
        let heading = fitted(&format!("after {steps}"), 12.0, WIDTH - layout.left);
        svg.text((layout.left, top + HEADING - 6.0), Anchor::Start, TEXT, &heading);
    }
    for (index, data) in block.data.iter().enumerate() {
        let panel = layout.panel(index, top);
        let is_first = index % layout.n_across == 0;
        let ends = block.rows.iter().filter_map(|row| row.groups.get(data)?.rate).flat_map(|rate| {
            let sd = rate.sd.unwrap_or(0.0);
            [rate.mean - sd, rate.mean + sd]
        });
        let Some(values) = range(ends) else { continue };
        let n_ticks = (panel.width / 45.0) as usize;
        let axis = tight_axis(values, (panel.left + 4.0, panel.right() - FIGURE_ROOM), n_ticks);
        panel.title(svg, &view.labels.data_without_steps(data));
        for (index, row) in block.rows.iter().enumerate() {
            let y = row_place(&panel, index);
            svg.line((panel.left, y), (panel.right(), y), GRID);
            if is_first {
                svg.text((panel.left - 8.0, y + 4.0), Anchor::End, SMALL, &row.label);
            }
        }
        panel.x_axis(svg, &axis, "");
        if axis.values.0 < 100.0 && axis.values.1 > 100.0 {
            let at = axis.place(100.0);
            svg.line((at, panel.top), (at, panel.bottom()), &format!("{FRAME} stroke-dasharray=\"3 3\""));
        }
        panel.border(svg);
        let measured = block.rows.iter().filter(|row| !row.variant.is_estimate());
        let rates = measured.filter_map(|row| row.groups.get(data)?.rate).map(|rate| rate.mean);
        let best = rates.min_by(f64::total_cmp);
        for (index, row) in block.rows.iter().enumerate() {
            let y = row_place(&panel, index);
            match row.groups.get(data) {
                Some(group) => draw_rate(svg, group, (&axis, y), best, &row.label),
                None => svg.text((panel.left + 6.0, y + 4.0), Anchor::Start, PALE, "–"),
            }
        }
        if is_first {
            let middle = (layout.left + WIDTH - RIGHT) / 2.0;
            svg.text((middle, panel.bottom() + 36.0), Anchor::Middle, TEXT, "rate, % (lower is better)");
        }
    }
}

fn row_place(panel: &Panel, row: usize) -> f64 {
    panel.top + 3.0 + ROW * (row as f64 + 0.5)
}

fn draw_rate(svg: &mut Svg, group: &Group, (axis, y): (&Axis, f64), best: Option<f64>, label: &str) {
    let Some(rate) = group.rate else { return };
    let (series, is_estimate) = (series_of(&group.variant), group.variant.is_estimate());
    let x = axis.place(rate.mean);
    let reach = axis.place(rate.mean + rate.sd.unwrap_or(0.0)) - x;
    if reach > 0.0 {
        let line = format!("{} stroke-width=\"1.3\"", series.stroke());
        svg.line((x - reach, y), (x + reach, y), &line);
        for end in [x - reach, x + reach] {
            svg.line((end, y - 3.5), (end, y + 3.5), &line);
        }
    }
    let mark = if is_estimate { "≈" } else { "" };
    let title = format!("{label}: {mark}{} %, n = {}", mean_and_sd(&rate), rate.n);
    svg.mark(series.shape(), (x, y), 4.0, &series.mark(is_estimate), &title);
    let is_best = !is_estimate && Some(rate.mean) == best;
    let style = format!("{} {HALO}", if is_best { BEST_FIGURE } else { FIGURE });
    svg.text((x + reach.max(4.0) + 5.0, y + 4.0), Anchor::Start, &style, &format!("{mark}{}", fixed(rate.mean, 1)));
}
