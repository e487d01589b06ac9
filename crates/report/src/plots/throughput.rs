//! Rate by speed of compression: a labelled mark for each codec variant.

use super::codecs::{Key, series_of};
use super::mark_labels::{FONT, MARK, place_labels};
use super::panels::{Panel, WIDTH, counted, limit_panels, range, tight_axis};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group};
use crate::numbers::speed;
use crate::style::{HALO, LEADER, MARK_LABEL};
use crate::svg::{Anchor, Svg};
use crate::tables::mean_and_sd;
use crate::text_width::{fitted, text_width};

const NAME: &str = "rate-by-throughput";
const LEFT: f64 = 62.0;
const GAP: f64 = 62.0;
const TITLE: f64 = 32.0;
const AXIS: f64 = 52.0;
const MAX_LABEL: f64 = 190.0;
/// More labels than that in a panel would cover each other.
const MAX_MARKS: usize = 40;

pub(super) fn draw(view: &View<'_>) -> Result<Plot, Skipped> {
    let is_drawn = |group: &Group| group.rate.is_some() && group.compress_mb_per_s.is_some();
    let mut data = view.data(is_drawn);
    let panels_left_out = limit_panels(&mut data);
    let of_data = |data: &Data| -> Vec<&Group> {
        let mut groups: Vec<&Group> =
            view.groups.iter().filter(|group| group.data == *data && is_drawn(group)).collect();
        let rate = |group: &Group| group.rate.map_or(f64::INFINITY, |rate| rate.mean);
        groups.sort_by(|a, b| rate(a).total_cmp(&rate(b)).then_with(|| a.variant.cmp(&b.variant)));
        groups
    };
    let all = || view.groups.iter().filter(|group| is_drawn(group));
    let Some(speeds) = range(all().filter_map(|group| group.compress_mb_per_s)) else {
        let reason = "no cell has both a rate and a speed of compression".to_owned();
        return Err(Skipped { name: NAME, reason });
    };

    let n_most = data.iter().map(|data| of_data(data).len()).max().unwrap_or(0).min(MAX_MARKS);
    // Many labels need a wide panel.
    let n_across = if data.len() > 1 && n_most <= 30 { 2 } else { 1 };
    let width = (WIDTH - LEFT - 14.0 - GAP * (n_across as f64 - 1.0)) / n_across as f64;
    // The more marks in a row of panels, the taller it is.
    let heights: Vec<f64> = data
        .chunks(n_across)
        .map(|row| row.iter().map(|data| of_data(data).len().min(MAX_MARKS)).max().unwrap_or(0))
        .map(|n_marks| (130.0 + 12.0 * n_marks as f64).min(480.0))
        .collect();
    let key = Key::new(all().map(|group| &group.variant));
    let mut svg = Svg::new(WIDTH, key.height() + heights.iter().map(|height| TITLE + height + AXIS).sum::<f64>());
    key.draw(&mut svg, LEFT);
    let mut n_left_out = 0;
    let panels = data.chunks(n_across).zip(&heights).scan(key.height(), |below, (row, &height)| {
        let top = *below + TITLE;
        *below = top + height + AXIS;
        let lefts = (0..).map(move |across| LEFT + (width + GAP) * f64::from(across));
        Some(row.iter().zip(lefts).map(move |(data, left)| (*data, Panel { left, top, width, height })))
    });
    for (data, panel) in panels.flatten() {
        let x = Axis::log(speeds, (panel.left + 6.0, panel.right() - 6.0));
        let mut groups = of_data(data);
        n_left_out += groups.len().saturating_sub(MAX_MARKS);
        groups.truncate(MAX_MARKS);
        let Some(rates) = range(groups.iter().filter_map(|group| group.rate).map(|rate| rate.mean)) else { continue };
        let y = tight_axis(rates, (panel.bottom() - 12.0, panel.top + 12.0), 6);
        panel.title(&mut svg, &view.labels.data(data));
        panel.y_axis(&mut svg, &y, "rate, % (lower is better)");
        panel.x_axis(&mut svg, &x, "compression, MB/s (logarithmic; faster to the right)");
        panel.border(&mut svg);
        let marks: Vec<Mark<'_>> = groups
            .iter()
            .filter_map(|group| {
                let at = (x.place(group.compress_mb_per_s?), y.place(group.rate?.mean));
                Some(Mark { group, at, label: view.labels.variant(&group.variant) })
            })
            .collect();
        draw_marks(&mut svg, &panel, &marks);
    }
    let mut caption =
        "Mean rate against mean speed of compression, in 10⁶ bytes of input a second. Best is at the bottom right. \
                       Each panel has a vertical axis of its own, which does not begin at 0. Speeds compare only within one run on one machine."
            .to_owned();
    if n_left_out > 0 {
        caption.push_str(&format!(" {} of the highest rates are in the tables only.", counted(n_left_out, "mark")));
    }
    caption.push_str(view.steps_caption(data.iter().copied()));
    caption.push_str(&panels_left_out);
    Ok(Plot { name: NAME, title: "Rate by throughput".to_owned(), caption, svg: svg.finish() })
}

struct Mark<'a> {
    group: &'a Group,
    at: (f64, f64),
    label: String,
}

fn draw_marks(svg: &mut Svg, panel: &Panel, marks: &[Mark<'_>]) {
    let places: Vec<(f64, f64)> = marks.iter().map(|mark| mark.at).collect();
    let texts: Vec<String> = marks.iter().map(|mark| fitted(&mark.label, FONT, MAX_LABEL)).collect();
    let widths: Vec<f64> = texts.iter().map(|text| text_width(text, FONT)).collect();
    let labels = place_labels(panel, &places, &widths);
    // Leaders lie below all marks and labels.
    for label in labels.iter().filter(|label| label.has_leader()) {
        svg.line(label.leader.0, label.leader.1, LEADER);
    }
    for ((mark, text), label) in marks.iter().zip(&texts).zip(&labels) {
        let (variant, rate) = (&mark.group.variant, mark.group.rate);
        let figures = rate.map(|rate| mean_and_sd(&rate)).unwrap_or_default();
        let speed = mark.group.compress_mb_per_s.map(speed).unwrap_or_default();
        let title = format!("{}: {figures} %, {speed} MB/s", mark.label);
        let style = format!("{MARK_LABEL} {HALO}");
        // At the end where the leader is: another font may be narrower.
        let (x, anchor) = match label.leader.1.0 {
            x if label.is_left => (x, Anchor::End),
            x if x > label.area.left => (x, Anchor::Middle),
            x => (x, Anchor::Start),
        };
        svg.text((x, label.area.bottom - 2.5), anchor, &style, text);
        svg.mark(series_of(variant).shape(), mark.at, MARK, &series_of(variant).mark(variant.is_estimate()), &title);
    }
}
