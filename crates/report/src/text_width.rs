//! How wide a text is, in the font of the pictures.

/// Advance widths of DejaVu Sans from space to tilde, in thousandths of the font size. Fonts that a browser may take
/// instead are narrower.
const WIDTHS: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
];
/// As wide as any letter of most scripts.
const OTHER: u16 = 1000;

/// The width of a text in pixels.
pub(crate) fn text_width(text: &str, font_size: f64) -> f64 {
    text.chars().map(|c| f64::from(width(c))).sum::<f64>() * font_size / 1000.0
}

fn width(c: char) -> u16 {
    (c as usize).checked_sub(32).and_then(|index| WIDTHS.get(index)).copied().unwrap_or(OTHER)
}

/// The text, or as much of its beginning as is not wider than `max_width`, and an ellipsis.
pub(crate) fn fitted(text: &str, font_size: f64, max_width: f64) -> String {
    if text_width(text, font_size) <= max_width {
        return text.to_owned();
    }
    let mut fits = String::new();
    let mut left = max_width - font_size;
    for c in text.chars() {
        left -= f64::from(width(c)) * font_size / 1000.0;
        if left < 0.0 {
            break;
        }
        fits.push(c);
    }
    fits.truncate(fits.trim_end().len());
    fits.push('…');
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_add_up() {
        assert_eq!(text_width("", 10.0), 0.0);
        assert!((text_width("il ~", 10.0) - 17.12).abs() < 1e-9);
        assert!((text_width("é", 10.0) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(fitted("short", 10.0, 100.0), "short");
        let long = fitted(&"word ".repeat(1000), 10.0, 100.0);
        assert!(long.ends_with('…') && text_width(&long, 10.0) <= 100.0, "{long}");
        assert_eq!(fitted("anything", 10.0, 0.0), "…");
    }
}
