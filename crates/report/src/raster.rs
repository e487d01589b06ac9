//! Pictures as PNG, the same on every machine.

use std::sync::Arc;

use resvg::{tiny_skia, usvg};

/// Pixels of the PNG for one of the SVG.
const SCALE: f32 = 2.0;
/// No side is longer than that, so that a picture cannot take all memory.
const MAX_SIDE: f32 = 20_000.0;
const FONT: &str = "DejaVu Sans";

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RasterError {
    /// It is no SVG.
    #[error("not a picture: {0}")]
    Svg(#[from] usvg::Error),
    /// It has no pixels, or too many.
    #[error("a picture of {width} x {height} pixels cannot be drawn")]
    Size {
        /// Its width.
        width: f32,
        /// Its height.
        height: f32,
    },
    /// It could not be written as PNG.
    #[error("not written as PNG: {0}")]
    Png(String),
}

/// Draws pictures with fonts of our own, whatever fonts the machine has.
///
/// The fonts' licence (Bitstream Vera's; DejaVu's changes are in the public domain) lets programs carry them along with its
/// notice, which the font files hold themselves.
pub(crate) struct Raster {
    options: usvg::Options<'static>,
}

impl Raster {
    pub(crate) fn new() -> Self {
        let mut options = usvg::Options { font_family: FONT.to_owned(), ..usvg::Options::default() };
        let fonts = Arc::make_mut(&mut options.fontdb);
        for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
            fonts.load_font_source(usvg::fontdb::Source::Binary(Arc::new(font)));
        }
        fonts.set_sans_serif_family(FONT);
        Self { options }
    }

    /// The picture as PNG, in twice its size.
    pub(crate) fn png(&self, svg: &str) -> Result<Vec<u8>, RasterError> {
        let tree = usvg::Tree::from_str(svg, &self.options)?;
        let size = tree.size();
        let scale = SCALE.min(MAX_SIDE / size.width().max(size.height()));
        let (width, height) = ((size.width() * scale).round(), (size.height() * scale).round());
        let mut pixels =
            tiny_skia::Pixmap::new(width as u32, height as u32).ok_or(RasterError::Size { width, height })?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| RasterError::Png(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::{Anchor, Svg};

    /// Dark pixels of a picture with this text.
    fn n_dark(text: &str, style: &str) -> usize {
        let mut svg = Svg::new(200.0, 40.0);
        svg.text((5.0, 25.0), Anchor::Start, style, text);
        let pixels = tiny_skia::Pixmap::decode_png(&Raster::new().png(&svg.finish()).unwrap()).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (400, 80));
        pixels.pixels().iter().filter(|pixel| pixel.red() < 128).count()
    }

    #[test]
    fn text_is_drawn_in_the_fonts_that_come_along() {
        let plain = n_dark("structural", "fill=\"#000000\"");
        assert!(plain > 300, "{plain}");
        assert!(n_dark("structural", "fill=\"#000000\" font-weight=\"bold\"") > plain);
        assert_eq!(n_dark("", ""), 0);
        // Signs beyond ASCII that plots use.
        for sign in ["±", "≈", "…", "–", "⁶"] {
            assert!(n_dark(sign, "fill=\"#000000\"") > 3, "{sign}");
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        assert!(matches!(Raster::new().png("<svg"), Err(RasterError::Svg(_))));
    }
}
