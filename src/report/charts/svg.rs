//! A drawing backend of plotters' that writes SVG with groups.
//!
//! plotters' own SVG backend knows no groups, by which the page's script finds the marks of a panel or a
//! series, and writes colours that a page could not change.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::{self, Display, Write as _};
use std::rc::Rc;

use plotters::backend::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind, FontStyle,
};

use super::Look;
use super::canvas::Rect;
use super::image::Image;
use super::raster::FONT;
use super::theme::Ink;

/// The backend. Clones write into one drawing: plotters owns one of them, the canvas another.
#[derive(Clone)]
pub(super) struct Svg(Rc<RefCell<Drawing>>);

/// A drawing as SVG.
#[derive(Default)]
pub(super) struct Drawing {
    size: (u32, u32),
    look: Look,
    elements: String,
    /// A picture's images, which belong below its elements. A page has them among its elements.
    pub images: Vec<Image>,
}

impl Svg {
    /// An empty drawing without ground: a picture's is painted where it is rasterised, a page has its own.
    pub(super) fn new(size: (u32, u32), look: Look) -> Svg {
        Svg(Rc::new(RefCell::new(Drawing { size, look, ..Drawing::default() })))
    }

    /// Puts the marks that `draw` makes into a group with an attribute, whose value is a number or a few.
    pub(super) fn group(&self, attribute: &str, value: impl Display, draw: impl FnOnce()) {
        self.0.borrow_mut().add(format_args!("<g {attribute}=\"{value}\">"));
        draw();
        self.0.borrow_mut().add(format_args!("</g>"));
    }

    /// Adds an image.
    pub(super) fn image(&self, image: Image) {
        let drawing = &mut *self.0.borrow_mut();
        match drawing.look {
            Look::Picture => drawing.images.push(image),
            Look::Wide | Look::Narrow => {
                let Rect { left, top, right, bottom, .. } = image.place;
                let Some(data) = image.data_url() else { return };
                let (width, height) = (right - left, bottom - top);
                drawing.add(format_args!(
                    "<image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
                     preserveAspectRatio=\"none\" image-rendering=\"pixelated\" href=\"{data}\"/>"
                ));
            }
        }
    }

    /// Adds an element without content, filled or outlined.
    fn element<S: BackendStyle>(
        &self,
        name: &str,
        style: &S,
        fill: bool,
        place: fmt::Arguments<'_>,
    ) -> Drawn {
        let mut drawing = self.0.borrow_mut();
        let paint = drawing.paint(style.color(), (!fill).then(|| style.stroke_width()));
        drawing.add(format_args!("<{name} {paint} {place}/>"));
        Ok(())
    }

    /// Makes the drawing higher.
    pub(super) fn grow(&self, by: u32) {
        self.0.borrow_mut().size.1 += by;
    }

    /// Takes the finished drawing out.
    pub(super) fn finish(self) -> Drawing {
        self.0.take()
    }
}

impl Drawing {
    /// A document of its own.
    pub(super) fn document(&self) -> String {
        let (width, height) = self.size;
        self.root(format_args!(
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"{FONT}\""
        ))
    }

    /// An element for a page, as wide as its place. `label` is read by a screen reader.
    pub(super) fn inline(&self, label: &str) -> String {
        self.root(format_args!("role=\"img\" aria-label=\"{}\"", escaped(label)))
    }

    fn root(&self, attributes: fmt::Arguments<'_>) -> String {
        let ((width, height), elements) = (self.size, &self.elements);
        format!("<svg {attributes} viewBox=\"0 0 {width} {height}\">{elements}</svg>")
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.elements.write_fmt(element);
    }

    /// Attributes of an element that is filled, or outlined where `width` says how wide.
    fn paint(&self, colour: BackendColor, width: Option<u32>) -> String {
        let (r, g, b) = colour.rgb;
        let paint = match Ink::of(colour.rgb).filter(|_| self.look != Look::Picture) {
            Some(ink) => ink.css(),
            None => format!("#{r:02x}{g:02x}{b:02x}"),
        };
        let paint = match width {
            None => format!("fill=\"{paint}\""),
            Some(width) => format!("fill=\"none\" stroke=\"{paint}\" stroke-width=\"{width}\""),
        };
        if colour.alpha < 1.0 { format!("{paint} opacity=\"{}\"", short(colour.alpha)) } else { paint }
    }
}

/// A text as content, or as an attribute in double quotes. A character that XML cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number with two decimals at most.
fn short(number: f64) -> f64 {
    // Adding 0 makes −0 a 0.
    (number * 100.0).round() / 100.0 + 0.0
}

/// The points of a line or a polygon, `x,y` each.
fn points(points: impl IntoIterator<Item = BackendCoord>) -> String {
    points.into_iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Svg {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.borrow().size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &colour, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (x, y) = (left.min(right), top.min(bottom));
        let (width, height) = (left.abs_diff(right), top.abs_diff(bottom));
        let place = format_args!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
        self.element("rect", style, fill, place)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.element("polyline", style, false, format_args!("points=\"{}\"", points(path)))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        self.element("polygon", style, true, format_args!("points=\"{}\"", points(corners)))
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.element("circle", style, fill, format_args!("cx=\"{x}\" cy=\"{y}\" r=\"{radius}\""))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let anchor = style.anchor();
        let across = match anchor.h_pos {
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        // Distances from the place to the letters' base line, in units of the font that is used.
        let down = match anchor.v_pos {
            VPos::Top => "0.76em",
            VPos::Center => "0.5ex",
            VPos::Bottom => "-0.5ex",
        };
        let weight = if matches!(style.style(), FontStyle::Bold) { " font-weight=\"bold\"" } else { "" };
        let mut drawing = self.0.borrow_mut();
        let (paint, size, text) = (drawing.paint(style.color(), None), short(style.size()), escaped(text));
        drawing.add(format_args!(
            "<text {paint} x=\"{x}\" y=\"{y}\" dy=\"{down}\"{across} font-size=\"{size}\"{weight}>{text}</text>"
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use plotters::prelude::{Circle, IntoDrawingArea, PathElement, Rectangle, Text};
    use plotters::style::{Color, IntoFont, TextStyle};
    use proptest::prelude::*;
    use resvg::usvg::roxmltree::Document;

    use super::super::canvas::outline;
    use super::*;

    #[test]
    fn elements_are_short_and_lie_in_their_groups() {
        let svg = Svg::new((40, 30), Look::Wide);
        let area = svg.clone().into_drawing_area();
        svg.group("data-panel", 0, || {
            svg.group("data-series", 2, || {
                area.draw(&PathElement::new(vec![(1, 2), (3, 4)], outline(Ink::Blue, 3))).unwrap();
            });
            area.draw(&Rectangle::new([(9, 8), (5, 6)], Ink::Shade.rgb().mix(0.14).filled())).unwrap();
        });
        area.draw(&Circle::new((7, 7), 4, outline(Ink::Sky, 2))).unwrap();
        let ink = Ink::Text.rgb();
        let style = TextStyle::from(("any", 24.3).into_font()).color(&ink);
        area.draw(&Text::new("p < q", (1, 1), style)).unwrap();
        drop(area);
        assert_eq!(
            svg.finish().inline("one & two"),
            "<svg role=\"img\" aria-label=\"one &amp; two\" viewBox=\"0 0 40 30\">\
             <g data-panel=\"0\"><g data-series=\"2\">\
             <polyline fill=\"none\" stroke=\"var(--chart-blue)\" stroke-width=\"3\" points=\"1,2 3,4\"/></g>\
             <rect fill=\"var(--chart-shade)\" opacity=\"0.14\" x=\"5\" y=\"6\" width=\"4\" height=\"2\"/></g>\
             <circle fill=\"none\" stroke=\"var(--chart-sky)\" stroke-width=\"2\" cx=\"7\" cy=\"7\" r=\"4\"/>\
             <text fill=\"var(--chart-text)\" x=\"1\" y=\"1\" dy=\"0.76em\" font-size=\"24.3\">p &lt; q</text>\
             </svg>"
        );
    }

    #[test]
    fn numbers_have_two_decimals_at_most() {
        let short = [0.14, 1.0 / 3.0, 0.1 + 0.2, -0.001, 7.0].map(|n| short(n).to_string());
        assert_eq!(short, ["0.14", "0.33", "0.3", "0", "7"]);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_an_element_and_an_attribute(text in any::<String>()) {
            let mut svg = Svg::new((1, 1), Look::Wide);
            let style = TextStyle::from(("any", 24.3).into_font());
            svg.draw_text(&text, &style, (0, 0)).unwrap();
            let element = svg.finish().inline(&text);
            let tree = Document::parse(&element).unwrap();
            let kept = |c: char| match c {
                '\t' | '\n' | '\r' => ' ',
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                c => c,
            };
            let wanted: String = text.chars().map(kept).collect();
            let root = tree.root_element();
            prop_assert_eq!(root.attribute("aria-label"), Some(wanted.as_str()));
            prop_assert_eq!(root.first_element_child().unwrap().text().unwrap_or_default(), wanted);
        }
    }
}
