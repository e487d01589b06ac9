//! The elements of SVG that plots need.

use std::fmt::Write;

/// Text, lines and rectangles; coordinates in pixels, from the top left.
pub(crate) struct Svg {
    text: String,
}

/// Where a text lies around its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Marks that can be told apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    Cross,
}

impl Shape {
    /// Around the middle, in radii; areas are about equal. A circle has none.
    fn corners(self) -> &'static [(f64, f64)] {
        match self {
            Self::Circle => &[],
            Self::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Self::Triangle => &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
            Self::Diamond => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            Self::TriangleDown => &[(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)],
            Self::Cross => &[
                (-0.4, -1.2),
                (0.4, -1.2),
                (0.4, -0.4),
                (1.2, -0.4),
                (1.2, 0.4),
                (0.4, 0.4),
                (0.4, 1.2),
                (-0.4, 1.2),
                (-0.4, 0.4),
                (-1.2, 0.4),
                (-1.2, -0.4),
                (-0.4, -0.4),
            ],
        }
    }
}

impl Svg {
    /// A white picture.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        Self { text }
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    /// `style` is more attributes of the element.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>"));
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        self.push(format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"));
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, style: &str) {
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" {style}/>"));
    }

    /// A text that reads upwards, with its middle here.
    pub(crate) fn text_upwards(&mut self, (x, y): (f64, f64), style: &str, text: &str) {
        let style = format!("transform=\"rotate(-90 {x:.1} {y:.1})\" {style}");
        self.text((x, y), Anchor::Middle, &style, text);
    }

    /// A rectangle, with a text that shows when one points at it.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: &str, title: &str) {
        let title = escape(title);
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}><title>{title}</title></rect>"
        ));
    }

    /// A mark with its middle here, and a text that shows when one points at it.
    pub(crate) fn mark(&mut self, shape: Shape, (x, y): (f64, f64), radius: f64, style: &str, title: &str) {
        if !x.is_finite() || !y.is_finite() {
            return;
        }
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) };
        if shape == Shape::Circle {
            return self
                .push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" {style}>{title}</circle>"));
        }
        let corners: Vec<String> =
            shape.corners().iter().map(|(dx, dy)| format!("{:.1} {:.1}", x + dx * radius, y + dy * radius)).collect();
        self.push(format_args!("<path d=\"M{}Z\" {style}>{title}</path>", corners.join("L")));
    }

    /// A line through these points.
    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format_args!("<polyline points=\"{}\" stroke-linejoin=\"round\" {style}/>", points.join(" ")));
    }

    /// A line through these points, broken where one is not finite. A point between two breaks is a dot.
    pub(crate) fn path(&mut self, points: &[(f64, f64)], color: &str, style: &str) {
        let is_drawn = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let mut data = String::new();
        for run in points.split(|point| !is_drawn(point)) {
            if let [only] = run {
                self.dot(*only, 2.5, &format!("fill=\"{color}\""));
                continue;
            }
            for (index, (x, y)) in run.iter().enumerate() {
                let step = if index == 0 { 'M' } else { 'L' };
                let _ = write!(data, "{step}{x:.1} {y:.1}");
            }
        }
        if !data.is_empty() {
            self.push(format_args!(
                "<path d=\"{data}\" fill=\"none\" stroke=\"{color}\" stroke-linejoin=\"round\" {style}/>"
            ));
        }
    }

    /// A frame outside which what `draw` adds is not seen.
    pub(crate) fn clipped(
        &mut self,
        id: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        draw: impl FnOnce(&mut Self),
    ) {
        self.push(format_args!(
            "<clipPath id=\"{id}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/></clipPath>\n\
             <g clip-path=\"url(#{id})\">"
        ));
        draw(self);
        self.text.push_str("</g>\n");
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{element}");
    }
}

/// Text as SVG takes it: markup escaped, control characters left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b>&\"c\"\u{0}\n"), "a&lt;b&gt;&amp;\"c\"");
    }

    #[test]
    fn marks_lie_where_they_should() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.mark(Shape::Square, (10.0, 20.0), 10.0, "fill=\"red\"", "a<b");
        svg.mark(Shape::Circle, (f64::NAN, 1.0), 1.0, "", "");
        let svg = svg.finish();
        assert!(
            svg.contains("d=\"M1.0 11.0L19.0 11.0L19.0 29.0L1.0 29.0Z\" fill=\"red\"><title>a&lt;b</title>"),
            "{svg}"
        );
        assert!(!svg.contains("<circle"));
    }

    #[test]
    fn paths_break_at_what_is_not_a_number() {
        let mut svg = Svg::new(10.0, 10.0);
        let nan = (3.0, f64::NAN);
        svg.path(&[(1.0, 1.0), (2.0, 2.5), nan, (4.0, 4.0), nan, (6.0, 6.0), (7.0, 7.0)], "#000", "");
        let svg = svg.finish();
        assert!(svg.contains("d=\"M1.0 1.0L2.0 2.5M6.0 6.0L7.0 7.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN"));
    }
}
