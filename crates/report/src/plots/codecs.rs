//! Rate by codec: a row for each codec variant, a panel for each data.

use std::collections::{BTreeMap, BTreeSet};

use super::panels::{LEGEND_LINE, Panel, WIDTH, counted, limit_panels, range, with_room};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group, Setting, Variant, mean};
use crate::numbers::fixed;
use crate::style::{FRAME, GRID, PALE, SMALL, Series, TEXT};
use crate::svg::{Anchor, Svg};
use crate::tables::mean_and_sd;
use crate::text_width::{fitted, text_width};

const NAME: &str = "rate-by-codec";
const MAX_ROWS: usize = 80;
const ROW: f64 = 19.0;
const MAX_LABEL: f64 = 250.0;
const LEAST_PANEL: f64 = 140.0;
const GAP: f64 = 26.0;
/// Room on the right of a mark for its figure.
const FIGURE: f64 = 40.0;
const TITLE: f64 = 30.0;
const AXIS: f64 = 52.0;

/// Marks: with a language model, and without.
pub(super) const WITH_MODEL: Series = Series(0);
pub(super) const WITHOUT_MODEL: Series = Series(1);

pub(super) fn series_of(variant: &Variant) -> Series {
    if variant.get(Setting::Model).is_some() { WITH_MODEL } else { WITHOUT_MODEL }
}

/// What the marks mean, in a line.
pub(super) fn draw_key<'a>(svg: &mut Svg, (left, y): (f64, f64), variants: impl Iterator<Item = &'a Variant> + Clone) {
    let has_model = |has: bool| variants.clone().any(|variant| variant.get(Setting::Model).is_some() == has);
    let mut entries = Vec::new();
    if has_model(true) && has_model(false) {
        entries.push((WITH_MODEL, false, "with a language model"));
        entries.push((WITHOUT_MODEL, false, "without"));
    }
    if variants.clone().any(Variant::is_estimate) {
        let series = variants.clone().find(|variant| variant.is_estimate()).map_or(WITH_MODEL, series_of);
        entries.push((series, true, "hollow: estimate, nothing was written"));
    }
    let mut x = left + 5.0;
    for (series, is_estimate, text) in entries {
        svg.mark(series.shape(), (x, y - 4.0), 4.5, &series.mark(is_estimate), "");
        svg.text((x + 10.0, y), Anchor::Start, SMALL, text);
        x += text_width(text, 11.0) + 34.0;
    }
}

pub(super) fn draw(view: &View<'_>) -> Result<Plot, Skipped> {
    let mut rows_of: BTreeMap<&Variant, BTreeMap<&Data, &Group>> = BTreeMap::new();
    for group in view.groups.iter().filter(|group| group.rate.is_some()) {
        rows_of.entry(&group.variant).or_default().insert(&group.data, group);
    }
    let rates = |groups: &BTreeMap<&Data, &Group>| -> Vec<f64> {
        groups.values().filter_map(|group| group.rate).map(|rate| rate.mean).collect()
    };
    let mut rows: Vec<_> =
        rows_of.into_iter().map(|(variant, groups)| (mean(&rates(&groups)), variant, groups)).collect();
    rows.sort_by(|a, b| {
        let by_mean = a.0.unwrap_or(f64::INFINITY).total_cmp(&b.0.unwrap_or(f64::INFINITY));
        by_mean.then_with(|| a.1.cmp(b.1))
    });
    let n_left_out = rows.len().saturating_sub(MAX_ROWS);
    rows.truncate(MAX_ROWS);
    let drawn: BTreeSet<&Data> = rows.iter().flat_map(|row| row.2.keys().copied()).collect();
    let mut data: Vec<&Data> = drawn.into_iter().collect();
    let panels_left_out = limit_panels(&mut data);
    let values = rows.iter().flat_map(|row| row.2.values()).filter_map(|group| group.rate).flat_map(|rate| {
        let sd = rate.sd.unwrap_or(0.0);
        [rate.mean - sd, rate.mean + sd]
    });
    let Some(values) = range(values) else {
        return Err(Skipped { name: NAME, reason: "no cell has a rate".to_owned() });
    };

    let labels: Vec<String> = rows.iter().map(|row| fitted(&view.labels.variant(row.1), 11.0, MAX_LABEL)).collect();
    let label_width = labels.iter().map(|label| text_width(label, 11.0)).fold(60.0, f64::max);
    let left = label_width + 18.0;
    let room = WIDTH - left - 14.0;
    let n_fitting = ((room + GAP) / (LEAST_PANEL + GAP)).floor().max(1.0) as usize;
    let n_across = data.len().clamp(1, n_fitting);
    // As even as can be: 3 and 3 rather than 4 and 2.
    let n_down = data.len().div_ceil(n_across).max(1);
    let n_across = data.len().div_ceil(n_down).max(1);
    let width = (room - GAP * (n_across as f64 - 1.0)) / n_across as f64;
    let height = ROW * rows.len() as f64 + 6.0;
    let block = TITLE + height + AXIS;
    let top = LEGEND_LINE + 8.0;
    let mut svg = Svg::new(WIDTH, top + block * n_down as f64);
    draw_key(&mut svg, (left, 16.0), rows.iter().map(|row| row.1));
    for (index, data) in data.iter().enumerate() {
        let (across, down) = (index % n_across, index / n_across);
        let panel =
            Panel { left: left + (width + GAP) * across as f64, top: top + block * down as f64 + TITLE, width, height };
        let axis = Axis::new(with_room(values, 0.02), (panel.left, panel.right() - FIGURE), 4, 0.0);
        panel.title(&mut svg, &view.labels.data(data));
        for row in 0..rows.len() {
            let y = row_place(&panel, row);
            svg.line((panel.left, y), (panel.right(), y), GRID);
            if let Some(label) = labels.get(row).filter(|_| across == 0) {
                svg.text((panel.left - 8.0, y + 4.0), Anchor::End, SMALL, label);
            }
        }
        panel.x_axis(&mut svg, &axis, "");
        if axis.values.0 < 100.0 && axis.values.1 > 100.0 {
            let at = axis.place(100.0);
            svg.line((at, panel.top), (at, panel.bottom()), &format!("{FRAME} stroke-dasharray=\"3 3\""));
        }
        panel.border(&mut svg);
        let best = rows
            .iter()
            .filter(|row| !row.1.is_estimate())
            .filter_map(|row| row.2.get(data)?.rate)
            .map(|rate| rate.mean)
            .min_by(f64::total_cmp);
        for (index, row) in rows.iter().enumerate() {
            let y = row_place(&panel, index);
            match row.2.get(data) {
                Some(group) => draw_rate(&mut svg, group, (&axis, y), best, &view.labels.variant(row.1)),
                None => svg.text((panel.left + 6.0, y + 4.0), Anchor::Start, PALE, "–"),
            }
        }
        if across == 0 {
            let middle = left + (WIDTH - 14.0 - left) / 2.0;
            svg.text(
                (middle, panel.bottom() + 36.0),
                Anchor::Middle,
                TEXT,
                "rate, % of the original bytes (lower is better)",
            );
        }
    }
    let mut caption = "Mean rate of each codec, best first by the mean over data; figures beside the marks, the best of the measured ones bold. \
                       Bars: ± one sample standard deviation over draws and training runs. The axis does not begin at 0; the dashed line is \
                       the original size."
        .to_owned();
    if n_left_out > 0 {
        caption.push_str(&format!(
            " {} of the highest rates are in the tables only.",
            counted(n_left_out, "codec variant")
        ));
    }
    caption.push_str(&panels_left_out);
    Ok(Plot { name: NAME, title: "Rate by codec".to_owned(), caption, svg: svg.finish() })
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
    let style = if is_best { format!("{SMALL} font-weight=\"bold\"") } else { PALE.to_owned() };
    svg.text((x + reach.max(4.0) + 5.0, y + 4.0), Anchor::Start, &style, &format!("{mark}{}", fixed(rate.mean, 1)));
}
