//! Colours by role, and how wide text is.

use plotters::style::RGBColor;

/// A colour by what it is for. The series are those of Okabe and Ito, told apart by colour-blind
/// readers too; vermillion is kept for what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Titles and labels.
    Text,
    /// Subtitles, ticks and notes.
    Muted,
    /// Grid lines.
    Grid,
    /// The lines that panels stand on.
    Axis,
    /// The ground.
    Surface,
    /// Shaded stretches that are not measured.
    Shade,
    /// First series.
    Blue,
    /// Second series.
    Green,
    /// Third series.
    Orange,
    /// Fourth series.
    Purple,
    /// Fifth series.
    Sky,
    /// Lost, failed, refused.
    Vermillion,
}

impl Ink {
    /// Role, name of the CSS variable, colour on white paper. No two roles share a colour, so that
    /// a page can put its own in place of each.
    const TABLE: [(Ink, &'static str, (u8, u8, u8)); 12] = [
        (Ink::Text, "--chart-text", (0x1b, 0x1f, 0x24)),
        (Ink::Muted, "--chart-muted", (0x59, 0x63, 0x6e)),
        (Ink::Grid, "--chart-grid", (0xe3, 0xe7, 0xeb)),
        (Ink::Axis, "--chart-axis", (0x8c, 0x95, 0x9f)),
        (Ink::Surface, "--chart-surface", (0xff, 0xff, 0xff)),
        (Ink::Shade, "--chart-shade", (0x6e, 0x77, 0x81)),
        (Ink::Blue, "--chart-blue", (0x00, 0x72, 0xb2)),
        (Ink::Green, "--chart-green", (0x00, 0x9e, 0x73)),
        (Ink::Orange, "--chart-orange", (0xe6, 0x9f, 0x00)),
        (Ink::Purple, "--chart-purple", (0xcc, 0x79, 0xa7)),
        (Ink::Sky, "--chart-sky", (0x56, 0xb4, 0xe9)),
        (Ink::Vermillion, "--chart-vermillion", (0xd5, 0x5e, 0x00)),
    ];

    pub(super) fn rgb(self) -> RGBColor {
        let (r, g, b) =
            Ink::TABLE.iter().find(|(ink, ..)| *ink == self).map_or((0, 0, 0), |(_, _, rgb)| *rgb);
        RGBColor(r, g, b)
    }

    /// The colour on a page that may have its own: a CSS variable, else the colour itself.
    pub(super) fn on_page(self) -> String {
        let entry = Ink::TABLE.iter().find(|(ink, ..)| *ink == self);
        entry.map_or_else(String::new, |(_, name, (r, g, b))| format!("var({name},#{r:02X}{g:02X}{b:02X})"))
    }

    /// Every role's colour as it stands in an SVG, and the variable that may stand there instead.
    pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
        Ink::TABLE.iter().map(|(ink, _, (r, g, b))| (format!("#{r:02X}{g:02X}{b:02X}"), ink.on_page()))
    }
}

/// The width of a text in the bundled font, in ems, to a few per cent: enough to lay out legends.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> f64 {
    match c {
        'i' | 'l' | 'j' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.28,
        'f' | 't' | 'r' | '(' | ')' | '/' | '-' | 'I' => 0.38,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.88,
        'A'..='Z' => 0.70,
        '0'..='9' => 0.63,
        c if c.is_ascii() => 0.57,
        _ => 0.70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_roles_share_a_colour() {
        assert_eq!(Ink::variables().map(|(hex, _)| hex).collect::<HashSet<_>>().len(), Ink::TABLE.len());
    }
}
