//! Images of few colours, one pixel a cell.
//!
//! A heat map of fifty calls and five minutes has fifteen thousand cells. As shapes they would take
//! hundreds of kilobytes even with equal neighbours merged, and millions in the worst case; as an indexed
//! PNG they take some ten.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::style::RGBColor;
use resvg::tiny_skia::{FilterQuality, Pixmap, PixmapPaint, Transform};

use super::canvas::Rect;
use super::heat::{self, STEPS};
use super::theme::Ink;

/// Cells in a place on the canvas, each an index into the heat map's colours: 0 is nothing, then come the
/// steps of the scale, then [`heat::SILENT`].
#[derive(Debug)]
pub(super) struct Image {
    pub place: Rect,
    pub columns: usize,
    /// Row by row, from the top.
    pub cells: Vec<u8>,
}

impl Image {
    fn rows(&self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// The cells as a `data:` URL; none for an image without cells.
    pub(super) fn data_url(&self) -> Option<String> {
        Some(format!("data:image/png;base64,{}", STANDARD.encode(self.png().ok()?)))
    }

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.columns as u32, self.rows() as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let nothing_and_steps = [[0; 3]].into_iter().chain((0..STEPS).map(heat::colour));
        let RGBColor(r, g, b) = Ink::Vermillion.rgb();
        encoder.set_palette(nothing_and_steps.chain([[r, g, b]]).flatten().collect::<Vec<u8>>());
        encoder.set_trns(vec![0]);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.cells)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Paints the cells onto the pixels of a picture.
    pub(super) fn paint(&self, pixels: &mut Pixmap) {
        let Some(own) = self.png().ok().and_then(|png| Pixmap::decode_png(&png).ok()) else { return };
        let Rect { left, top, right, bottom, .. } = self.place;
        let scale = |from: i32, to: i32, cells: usize| (to - from) as f32 / cells as f32;
        let fitted = Transform::from_scale(scale(left, right, self.columns), scale(top, bottom, self.rows()))
            .post_translate(left as f32, top as f32);
        let paint = PixmapPaint { quality: FilterQuality::Nearest, ..PixmapPaint::default() };
        pixels.draw_pixmap(0, 0, own.as_ref(), &paint, fitted, None);
    }
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::ColorU8;

    use super::*;

    #[test]
    fn cells_come_out_in_their_colours() {
        let place = Rect { left: 2, top: 1, right: 8, bottom: 5, above: 0 };
        let image = Image { place, columns: 3, cells: vec![0, 1, 24, heat::SILENT, 0, 12] };
        let colour = |index: u8| match index {
            0 => [0; 3],
            heat::SILENT => [0xd5, 0x5e, 0x00],
            step => heat::colour(usize::from(step) - 1),
        };
        let small = Pixmap::decode_png(&image.png().unwrap()).unwrap();
        let mut large = Pixmap::new(10, 6).unwrap();
        image.paint(&mut large);
        for (n, index) in image.cells.iter().enumerate() {
            let [r, g, b] = colour(*index);
            let wanted = ColorU8::from_rgba(r, g, b, if *index == 0 { 0 } else { 255 }).premultiply();
            let (x, y) = (n as u32 % 3, n as u32 / 3);
            assert_eq!(small.pixel(x, y), Some(wanted), "cell {n}");
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                assert_eq!(large.pixel(2 + 2 * x + dx, 1 + 2 * y + dy), Some(wanted), "cell {n}");
            }
        }
        assert_eq!(large.pixel(0, 0).map(|p| p.alpha()), Some(0));
        let none = Image { place, columns: 0, cells: Vec::new() };
        assert_eq!(none.data_url(), None);
        none.paint(&mut large);
    }
}
