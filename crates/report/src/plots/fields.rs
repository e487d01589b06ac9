//! Bits by field: a stacked bar for each codec variant, data by data.

use super::panels::{LEGEND_LINE, Panel, WIDTH, counted, range};
use super::{Plot, Skipped, View};
use crate::axis::Axis;
use crate::groups::{Data, Group};
use crate::numbers::fixed;
use crate::style::{FieldStyle, PALE, SMALL, field_style};
use crate::svg::{Anchor, Svg};
use crate::text_width::{fitted, text_width};

const NAME: &str = "bits-by-field";
const MAX_BARS: usize = 60;
const MAX_LEGEND_LINES: i32 = 8;
const BAR: f64 = 18.0;
const ROW: f64 = 25.0;
const TITLE: f64 = 34.0;
const AXIS: f64 = 48.0;
const MAX_LABEL: f64 = 250.0;
/// Room on the right of a bar for its sum.
const SUM: f64 = 52.0;

pub(super) fn draw(view: &View<'_>) -> Result<Plot, Skipped> {
    let is_drawn = |group: &Group| group.fields.iter().any(|(_, bits)| *bits > 0.0);
    let mut bars: Vec<(&Data, f64, &Group)> = view
        .groups
        .iter()
        .filter(|group| is_drawn(group))
        .map(|group| (&group.data, group.fields.iter().map(|(_, bits)| bits).sum(), group))
        .collect();
    bars.retain(|(_, sum, _)| sum.is_finite());
    bars.sort_by(|a, b| a.0.cmp(b.0).then_with(|| a.1.total_cmp(&b.1)).then_with(|| a.2.variant.cmp(&b.2.variant)));
    let n_left_out = bars.len().saturating_sub(MAX_BARS);
    bars.truncate(MAX_BARS);
    let Some((_, most)) = range(bars.iter().map(|bar| bar.1)) else {
        return Err(Skipped { name: NAME, reason: "no cell says what its fields cost".to_owned() });
    };
    let styles = styles(bars.iter().map(|bar| bar.2));
    let legend = Legend::new(&styles);
    let styles: Vec<(&str, FieldStyle)> = styles.iter().flatten().copied().collect();

    let labels: Vec<String> =
        bars.iter().map(|bar| fitted(&view.labels.variant(&bar.2.variant), 11.0, MAX_LABEL)).collect();
    let left = labels.iter().map(|label| text_width(label, 11.0)).fold(60.0, f64::max) + 18.0;
    let data = view.data(|group| bars.iter().any(|bar| *bar.0 == group.data));
    let top = legend.height() + 4.0;
    let height = top + data.len() as f64 * TITLE + bars.len() as f64 * ROW + AXIS;
    let mut svg = Svg::new(WIDTH, height);
    legend.draw(&mut svg);
    let axis = Axis::new((0.0, most), (left, WIDTH - SUM), 8, 0.0).cut_to(0.0, most);
    let mut y = top;
    let mut rows = bars.iter().zip(&labels);
    let n_panels = data.len();
    for (index, data) in data.into_iter().enumerate() {
        let n_bars = rows.clone().take_while(|(bar, _)| bar.0 == data).count();
        let panel = Panel { left, top: y + TITLE, width: WIDTH - SUM - left, height: n_bars as f64 * ROW };
        panel.title(&mut svg, &view.labels.data(data));
        panel.grid(&mut svg, &axis);
        if index + 1 == n_panels {
            panel.x_axis(&mut svg, &axis, "bits a value (lower is better)");
        }
        for row in 0..n_bars {
            let Some((bar, label)) = rows.next() else { break };
            let at = panel.top + row as f64 * ROW + ROW / 2.0;
            svg.text((left - 8.0, at + 4.0), Anchor::End, SMALL, label);
            draw_bar(&mut svg, bar.2, (&axis, at), &styles, label);
        }
        panel.border(&mut svg);
        y = panel.bottom();
    }
    let mut caption = "What the fields of a value cost, as means over draws and training runs, each codec's fields in the order in which it \
                       names them. Segments too narrow for their name are in the order of the legend; point at one for its figure."
        .to_owned();
    if n_left_out > 0 {
        caption.push_str(&format!(" {} not drawn.", counted(n_left_out, "more bar")));
    }
    Ok(Plot { name: NAME, title: "Bits by field".to_owned(), caption, svg: svg.finish() })
}

/// Styles by field, in the order in which fields occur; a legend's line for the fields that a codec adds.
fn styles<'a>(bars: impl Iterator<Item = &'a Group>) -> Vec<Vec<(&'a str, FieldStyle)>> {
    let mut lines: Vec<Vec<(&str, FieldStyle)>> = Vec::new();
    let mut n_unknown = 0;
    for group in bars {
        let mut line = Vec::new();
        for (name, _) in &group.fields {
            if !lines.iter().flatten().chain(&line).any(|(known, _)| known == name) {
                line.push((name.as_str(), field_style(name, &mut n_unknown)));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// A field's name for people.
fn shown(name: &str) -> String {
    name.replace('_', " ")
}

fn draw_bar(svg: &mut Svg, group: &Group, (axis, y): (&Axis, f64), styles: &[(&str, FieldStyle)], label: &str) {
    let mut sum = 0.0;
    for (name, bits) in group.fields.iter().filter(|(_, bits)| *bits > 0.0) {
        let Some((_, style)) = styles.iter().find(|(known, _)| known == name) else { continue };
        let (start, end) = (axis.place(sum), axis.place(sum + bits));
        sum += bits;
        let title = format!("{label}, {}: {} bits a value", shown(name), fixed(*bits, 2));
        // A thin gap tells neighbours apart without their colours.
        let style_of_fill = format!("fill=\"{}\" class=\"segment\" stroke=\"#ffffff\" stroke-width=\"1\"", style.fill);
        svg.rect((start, y - BAR / 2.0), ((end - start).max(0.5), BAR), &style_of_fill, &title);
        let (short, long) = (fixed(*bits, 1), format!("{} {}", shown(name), fixed(*bits, 1)));
        let text = [long, short].into_iter().find(|text| text_width(text, 10.0) + 6.0 <= end - start);
        if let Some(text) = text {
            let style = format!("fill=\"{}\" font-size=\"10\" pointer-events=\"none\"", style.text);
            svg.text(((start + end) / 2.0, y + 3.6), Anchor::Middle, &style, &text);
        }
    }
    let mark = if group.variant.is_estimate() { "≈" } else { "" };
    svg.text((axis.place(sum) + 5.0, y + 4.0), Anchor::Start, PALE, &format!("{mark}{}", fixed(sum, 1)));
}

/// Fields and their colours, in lines above the bars.
struct Legend<'a> {
    entries: Vec<((f64, f64), String, &'a FieldStyle)>,
    n_lines: i32,
}

impl<'a> Legend<'a> {
    fn new(styles: &'a [Vec<(&str, FieldStyle)>]) -> Self {
        let mut n_lines = 0;
        let mut entries = Vec::new();
        for line in styles {
            let mut x = WIDTH;
            for (index, (name, style)) in line.iter().enumerate() {
                let text = fitted(&shown(name), 11.0, 200.0);
                let width = text_width(&text, 11.0) + 36.0;
                if index == 0 || x + width > WIDTH {
                    (x, n_lines) = (8.0, n_lines + 1);
                }
                if n_lines > MAX_LEGEND_LINES {
                    return Self { entries, n_lines: MAX_LEGEND_LINES };
                }
                entries.push(((x, (f64::from(n_lines) - 0.5) * LEGEND_LINE), text, style));
                x += width;
            }
        }
        Self { entries, n_lines }
    }

    fn height(&self) -> f64 {
        f64::from(self.n_lines) * LEGEND_LINE
    }

    fn draw(&self, svg: &mut Svg) {
        for ((x, y), name, style) in &self.entries {
            svg.rect((*x, y - 6.0), (12.0, 12.0), &format!("fill=\"{}\"", style.fill), name);
            svg.text((x + 17.0, y + 4.0), Anchor::Start, SMALL, name);
        }
    }
}
