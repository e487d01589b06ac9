//! How plots look: colours, marks and dashes.
//!
//! Attributes say how a picture looks by itself, on white. Classes let a page's style sheet say something else, as in
//! dark mode: a rule of a style sheet outdoes an attribute.

use crate::svg::Shape;

/// Okabe and Ito's colours, which colour-blind people can tell apart; the palest two are left out.
pub(crate) const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000"];
const SHAPES: [Shape; 6] =
    [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::TriangleDown, Shape::Cross];
const DASHES: [&str; 4] = ["", "6 3", "2 3", "8 3 2 3"];

pub(crate) const TEXT: &str = "class=\"ink\" fill=\"#222222\" font-size=\"12\"";
pub(crate) const FIGURE: &str = "class=\"pale halo\" fill=\"#5a5a5a\" font-size=\"11\"";
pub(crate) const BEST_FIGURE: &str = "class=\"ink halo\" fill=\"#222222\" font-size=\"11\" font-weight=\"bold\"";
pub(crate) const MARK_LABEL: &str = "class=\"ink halo\" fill=\"#222222\" font-size=\"10\"";
pub(crate) const BOLD: &str = "class=\"ink\" fill=\"#222222\" font-size=\"12\" font-weight=\"bold\"";
pub(crate) const SMALL: &str = "class=\"ink\" fill=\"#222222\" font-size=\"11\"";
pub(crate) const PALE: &str = "class=\"pale\" fill=\"#5a5a5a\" font-size=\"11\"";
/// For text over lines: the paper shines around it.
pub(crate) const HALO: &str = "stroke=\"#ffffff\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"";
pub(crate) const GRID: &str = "class=\"grid\" stroke=\"#e4e4e4\"";
pub(crate) const FRAME: &str = "class=\"frame\" stroke=\"#888888\"";
/// From a label to its mark.
pub(crate) const LEADER: &str = "class=\"frame\" stroke=\"#888888\" stroke-width=\"0.7\"";

/// One of several series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Series(pub(crate) usize);

impl Series {
    fn color(self) -> &'static str {
        COLORS.get(self.0 % COLORS.len()).copied().unwrap_or_default()
    }

    fn color_class(self) -> usize {
        self.0 % COLORS.len()
    }

    /// Colours repeat after a turn, and marks are one further then.
    pub(crate) fn shape(self) -> Shape {
        let turn = self.0 / COLORS.len();
        SHAPES.get((self.0 + turn) % SHAPES.len()).copied().unwrap_or(Shape::Circle)
    }

    pub(crate) fn line(self, width: f64) -> String {
        let dashes = DASHES.get(self.0 % DASHES.len()).copied().unwrap_or_default();
        let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        format!("{} stroke-width=\"{width}\"{dashes}", self.stroke())
    }

    pub(crate) fn stroke(self) -> String {
        format!("class=\"k{}\" fill=\"none\" stroke=\"{}\"", self.color_class(), self.color())
    }

    /// A mark; of an estimate, it is hollow.
    pub(crate) fn mark(self, is_estimate: bool) -> String {
        let (class, color) = (self.color_class(), self.color());
        if is_estimate {
            return format!("class=\"hollow k{class}\" fill=\"#ffffff\" stroke=\"{color}\" stroke-width=\"1.6\"");
        }
        format!("class=\"f{class}\" fill=\"{color}\"")
    }
}

/// Fill of a field of the values, and of the text on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldStyle {
    pub(crate) fill: &'static str,
    pub(crate) text: &'static str,
}

const WHITE: &str = "#ffffff";
const BLACK: &str = "#1a1a1a";

/// Fields that codecs are known to have; one colour each, in all plots.
const FIELDS: [(&str, FieldStyle); 16] = [
    ("separators", FieldStyle { fill: "#54545c", text: WHITE }),
    ("byte 3", FieldStyle { fill: "#08519c", text: WHITE }),
    ("byte 2", FieldStyle { fill: "#2c7fb8", text: WHITE }),
    ("byte 1", FieldStyle { fill: "#7fb8dc", text: BLACK }),
    ("byte 0", FieldStyle { fill: "#c6dfef", text: BLACK }),
    ("side information", FieldStyle { fill: "#8c8c8c", text: BLACK }),
    ("zero", FieldStyle { fill: "#c9c9c9", text: BLACK }),
    ("sign", FieldStyle { fill: "#b5460f", text: WHITE }),
    ("exponent", FieldStyle { fill: "#e69f00", text: BLACK }),
    ("mantissa", FieldStyle { fill: "#00795a", text: WHITE }),
    ("lowest bit", FieldStyle { fill: "#8fd3bd", text: BLACK }),
    ("plain", FieldStyle { fill: "#cc79a7", text: BLACK }),
    ("sign and exponent", FieldStyle { fill: "#e69f00", text: BLACK }),
    ("leading bits", FieldStyle { fill: "#e69f00", text: BLACK }),
    ("stored as it is", FieldStyle { fill: "#f0eee8", text: BLACK }),
    ("other bits", FieldStyle { fill: "#00795a", text: WHITE }),
];

/// For all others, in turn.
const OTHER_FIELDS: [FieldStyle; 4] = [
    FieldStyle { fill: "#7570b3", text: WHITE },
    FieldStyle { fill: "#d8b365", text: BLACK },
    FieldStyle { fill: "#a6611a", text: WHITE },
    FieldStyle { fill: "#bebada", text: BLACK },
];

/// The style of a field; `n_unknown` counts the fields before it that are not known by name.
pub(crate) fn field_style(name: &str, n_unknown: &mut usize) -> FieldStyle {
    if let Some((_, style)) = FIELDS.iter().find(|(known, _)| *known == name) {
        return *style;
    }
    let style = OTHER_FIELDS.get(*n_unknown % OTHER_FIELDS.len()).copied();
    *n_unknown += 1;
    style.unwrap_or(FieldStyle { fill: WHITE, text: BLACK })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_differ_in_more_than_colour() {
        let looks: Vec<_> = (0..12).map(|n| (Series(n).color(), Series(n).shape(), Series(n).line(1.0))).collect();
        for (n, look) in looks.iter().enumerate() {
            for other in &looks[..n] {
                assert!(look.1 != other.1 || look.2 != other.2, "{look:?}");
            }
        }
    }

    #[test]
    fn known_fields_keep_their_colour() {
        let mut n_unknown = 0;
        let sign = field_style("sign", &mut n_unknown);
        let new = field_style("new", &mut n_unknown);
        assert_eq!(n_unknown, 1);
        assert_ne!(new, field_style("newer", &mut n_unknown));
        assert_eq!(sign, field_style("sign", &mut n_unknown));
    }
}
