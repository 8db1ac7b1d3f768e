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
    /// Base lines of panels.
    Axis,
    /// The ground.
    Surface,
    /// Shaded stretches outside the measured window.
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
    /// Role, its name in a page's CSS, its colour on light and on dark ground. No two roles share a light
    /// colour, so that the backend knows the role from it.
    const TABLE: [(Ink, &'static str, u32, u32); 12] = [
        (Ink::Text, "text", 0x1b1f24, 0xe6eaee),
        (Ink::Muted, "muted", 0x59636e, 0x9aa5b1),
        (Ink::Grid, "grid", 0xe3e7eb, 0x2b323a),
        (Ink::Axis, "axis", 0x8c959f, 0x6c7783),
        (Ink::Surface, "surface", 0xffffff, 0x12161b),
        (Ink::Shade, "shade", 0x6e7781, 0x8b96a2),
        (Ink::Blue, "blue", 0x0072b2, 0x4ba3e3),
        (Ink::Green, "green", 0x009e73, 0x2cc295),
        (Ink::Orange, "orange", 0xe69f00, 0xf0b429),
        (Ink::Purple, "purple", 0xcc79a7, 0xd994b9),
        (Ink::Sky, "sky", 0x56b4e9, 0x86cdf5),
        (Ink::Vermillion, "vermillion", 0xd55e00, 0xff7f33),
    ];

    fn row(self) -> (&'static str, u32) {
        let row = Ink::TABLE.iter().find(|(ink, ..)| *ink == self);
        row.map_or(("text", 0), |(_, name, light, _)| (name, *light))
    }

    /// The colour on light ground.
    pub(super) fn rgb(self) -> RGBColor {
        let [_, r, g, b] = self.row().1.to_be_bytes();
        RGBColor(r, g, b)
    }

    /// The role of a colour on light ground.
    pub(super) fn of((r, g, b): (u8, u8, u8)) -> Option<Ink> {
        let colour = u32::from_be_bytes([0, r, g, b]);
        Ink::TABLE.iter().find(|(_, _, light, _)| *light == colour).map(|(ink, ..)| *ink)
    }

    /// The colour on a page, which has one for light and one for dark ground.
    pub(super) fn css(self) -> String {
        format!("var(--chart-{})", self.row().0)
    }
}

/// Style rules that give a page every colour, for light and for dark ground.
pub(in crate::report) fn css() -> String {
    let rules = |colour: fn(&(Ink, &'static str, u32, u32)) -> u32| -> String {
        Ink::TABLE.iter().map(|row| format!(" --chart-{}: #{:06x};", row.1, colour(row))).collect()
    };
    let (light, dark) = (rules(|row| row.2), rules(|row| row.3));
    format!(":root {{{light} }}\n@media (prefers-color-scheme: dark) {{ :root {{{dark} }} }}")
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

    #[test]
    fn every_role_is_known_by_its_colour() {
        for (ink, ..) in Ink::TABLE {
            let rgb = ink.rgb();
            assert_eq!(Ink::of((rgb.0, rgb.1, rgb.2)), Some(ink));
        }
        assert_eq!(Ink::of((1, 2, 3)), None);
    }
}
