//! SVG → PNG, with the bundled font and no other.

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::svg::Drawing;
use super::theme::Ink;

const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.otf");

/// The name of the bundled font.
pub(super) const FONT: &str = "Inter";

/// Draws a picture in its own size on paper.
///
/// # Errors
/// In words, when the SVG cannot be read or is empty or too large.
pub(super) fn png(drawing: &Drawing) -> Result<Vec<u8>, String> {
    let mut options = Options { font_family: FONT.into(), ..Options::default() };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(SEMI_BOLD.to_vec());
    let tree = Tree::from_str(&drawing.document(), &options).map_err(|e| e.to_string())?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or("no memory for the picture")?;
    let ground = Ink::Surface.rgb();
    pixels.fill(Color::from_rgba8(ground.0, ground.1, ground.2, 255));
    drawing.images.iter().for_each(|image| image.paint(&mut pixels));
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| e.to_string())
}
