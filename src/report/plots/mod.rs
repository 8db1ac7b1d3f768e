//! Charts of a run as SVG and PNG.

mod axis;
mod calls_and_loss;
mod cpu;
mod figure;
mod notes;
mod panel;
mod raster;
mod rtt_distribution;
mod rtt_over_time;
mod setup_times;
mod theme;
mod timeline;

use figure::{Drawn, Figure};
pub(super) use notes::{Frame, KeyNote, Notes, PanelNote};

use super::{File, ReportError, words};
use crate::analysis::Summary;

/// A chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plot {
    RttOverTime,
    RttDistribution,
    CallsAndLoss,
    SetupTimes,
    Cpu,
}

/// Size and dress of a chart. Everything in it is measured in `em`, the size of its letters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// Width in pixels, or in units of the SVG.
    pub width: u32,
    /// Height, likewise.
    pub height: u32,
    /// Size of letters, likewise.
    pub em: f64,
    /// Whether it carries title, subtitle and ground, or stands on a page that has its own.
    pub heading: bool,
}

impl Look {
    /// A picture of its own: twice the size at which its text reads well.
    pub(super) const PICTURE: Look = Look { width: 2000, height: 1000, em: 26.0, heading: true };
    /// On a page, the page being wide.
    pub(super) const WIDE: Look = Look { width: 2000, height: 840, em: 27.0, heading: false };
    /// On a page, the page being a phone's.
    pub(super) const NARROW: Look = Look { width: 1000, height: 940, em: 33.0, heading: false };
}

impl Plot {
    pub(super) const ALL: [Plot; 5] =
        [Plot::RttOverTime, Plot::RttDistribution, Plot::CallsAndLoss, Plot::SetupTimes, Plot::Cpu];

    /// The picture's place in the run's folder.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Plot::RttOverTime => "plots/rtt-over-time.png",
            Plot::RttDistribution => "plots/rtt-distribution.png",
            Plot::CallsAndLoss => "plots/calls-and-loss.png",
            Plot::SetupTimes => "plots/setup-times.png",
            Plot::Cpu => "plots/cpu.png",
        }
    }

    /// Its heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Plot::RttOverTime => "Round trip of packets, second by second",
            Plot::RttDistribution => "Round trip of packets, by percentile",
            Plot::CallsAndLoss => "Calls, and packets lost or late",
            Plot::SetupTimes => "How long calls took to set up",
            Plot::Cpu => "Processor time, second by second",
        }
    }

    fn draw(self, figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
        match self {
            Plot::RttOverTime => rtt_over_time::draw(figure, summary),
            Plot::RttDistribution => rtt_distribution::draw(figure, summary),
            Plot::CallsAndLoss => calls_and_loss::draw(figure, summary),
            Plot::SetupTimes => setup_times::draw(figure, summary),
            Plot::Cpu => cpu::draw(figure, summary),
        }
    }

    /// The chart as an SVG document.
    pub(super) fn svg(self, summary: &Summary, look: Look) -> Result<String, ReportError> {
        Ok(self.noted(summary, look)?.0)
    }

    fn noted(self, summary: &Summary, look: Look) -> Result<(String, Notes), ReportError> {
        let mut svg = String::new();
        let drawn = Figure::new(&mut svg, look).and_then(|mut figure| {
            figure.heading(self.title(), &subtitle(summary))?;
            self.draw(&mut figure, summary)?;
            figure.finish()
        });
        let notes = drawn.map_err(|e| ReportError::Chart { path: self.path(), what: e.to_string() })?;
        Ok((tidied(&notes.grouped(&svg)), notes))
    }

    /// The chart as an SVG element for a page: as wide as its place, in the page's colours and font, with
    /// what the page's script is to know of it. `label` is what a screen reader says.
    pub(super) fn inline(
        self,
        summary: &Summary,
        look: Look,
        label: &str,
    ) -> Result<(String, Notes), ReportError> {
        let (mut svg, notes) = self.noted(summary, look)?;
        for (colour, variable) in theme::Ink::variables() {
            svg = svg.replace(&colour, &variable);
        }
        let fixed = format!("<svg width=\"{}\" height=\"{}\"", look.width, look.height);
        let fluid = format!("<svg class=\"chart\" role=\"img\" aria-label=\"{}\"", words::attribute(label));
        svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
        let svg = svg.replacen(&fixed, &fluid, 1).replace(&format!(" font-family=\"{}\"", raster::FONT), "");
        Ok((svg, notes))
    }
}

/// All charts as PNG files.
pub(super) fn files(summary: &Summary) -> Result<Vec<File>, ReportError> {
    let picture = |plot: Plot| {
        let svg = plot.svg(summary, Look::PICTURE)?;
        let bytes = raster::png(&svg).map_err(|what| ReportError::Chart { path: plot.path(), what })?;
        Ok(File { path: plot.path(), bytes })
    };
    Plot::ALL.into_iter().map(picture).collect()
}

fn subtitle(summary: &Summary) -> String {
    format!("{}: {}", words::one_line(&summary.environment.name), words::circumstances(&summary.environment))
}

/// Without what the backend writes and nobody needs.
fn tidied(svg: &str) -> String {
    svg.replace(">\n", ">")
        .replace("\n</text>", "</text>")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" \"/>", "\"/>")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use resvg::tiny_skia::Pixmap;

    use super::theme::Ink;
    use super::*;
    use crate::report::fixture;
    use crate::samples::SecondRecord;

    fn pixels(png: &[u8]) -> (u32, u32, HashMap<(u8, u8, u8), usize>) {
        let picture = Pixmap::decode_png(png).unwrap();
        let mut colours = HashMap::new();
        for p in picture.pixels() {
            *colours.entry((p.red(), p.green(), p.blue())).or_default() += 1;
        }
        (picture.width(), picture.height(), colours)
    }

    #[test]
    fn pictures_have_their_size_and_show_their_series() {
        let (summary, _) = fixture::typical();
        let pictures = files(&summary).unwrap();
        for (plot, file) in Plot::ALL.into_iter().zip(pictures) {
            let (width, height, colours) = pixels(&file.bytes);
            assert_eq!((width, height), (Look::PICTURE.width, Look::PICTURE.height), "{}", file.path);
            let inks: &[Ink] = match plot {
                Plot::RttOverTime => &[Ink::Blue, Ink::Green, Ink::Orange, Ink::Purple, Ink::Vermillion],
                Plot::RttDistribution => &[Ink::Blue, Ink::Green, Ink::Orange],
                Plot::CallsAndLoss => &[Ink::Blue, Ink::Sky, Ink::Orange, Ink::Vermillion],
                Plot::SetupTimes => &[Ink::Blue, Ink::Green, Ink::Orange],
                Plot::Cpu => &[Ink::Blue, Ink::Green, Ink::Orange, Ink::Purple, Ink::Sky],
            };
            for ink in inks.iter().chain([&Ink::Text]) {
                let rgb = ink.rgb();
                // More than the legend alone has.
                let count = colours.get(&(rgb.0, rgb.1, rgb.2)).copied().unwrap_or(0);
                assert!(count > 300, "{}: {count} pixels of {ink:?}", file.path);
            }
        }
    }

    #[test]
    fn charts_are_drawn_in_any_look_of_any_run() {
        let runs = [
            fixture::typical(),
            fixture::nothing_answered(),
            fixture::no_seconds(),
            fixture::one_second(),
            fixture::all_lost(),
            fixture::many_calls(),
            fixture::faulted(),
        ];
        for (summary, _) in &runs {
            for plot in Plot::ALL {
                for look in [Look::PICTURE, Look::WIDE, Look::NARROW] {
                    let svg = plot.svg(summary, look).unwrap();
                    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
                    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{plot:?}");
                }
            }
        }
    }

    #[test]
    fn faults_are_marked_over_time() {
        let (summary, _) = fixture::faulted();
        for (plot, marked) in
            [(Plot::RttOverTime, true), (Plot::CallsAndLoss, true), (Plot::SetupTimes, false)]
        {
            let svg = plot.svg(&summary, Look::WIDE).unwrap();
            assert_eq!(svg.contains("Asterisk killed"), marked, "{plot:?}");
        }
    }

    #[test]
    fn a_day_long_run_draws_no_more_than_pixels_can_show() {
        let (mut summary, _) = fixture::typical();
        let minute = summary.seconds[180..240].to_vec();
        summary.seconds =
            (0..86_400).map(|n| SecondRecord { second: n, ..minute[n as usize % 60].clone() }).collect();
        for plot in Plot::ALL {
            let svg = plot.svg(&summary, Look::WIDE).unwrap();
            assert!(svg.len() < 600_000, "{plot:?}: {} bytes", svg.len());
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_a_picture() {
        let (summary, _) = fixture::hostile();
        let svg = Plot::Cpu.svg(&summary, Look::PICTURE).unwrap();
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script"), "{svg}");
        let (inline, _) = Plot::Cpu.inline(&summary, Look::WIDE, "a \"label\" <b>").unwrap();
        assert!(inline.contains("aria-label=\"a &quot;label&quot; &lt;b&gt;\""));
    }

    #[test]
    fn on_a_page_every_colour_and_the_font_are_the_pages() {
        let (summary, _) = fixture::typical();
        for plot in Plot::ALL {
            let (svg, _) = plot.inline(&summary, Look::WIDE, "label").unwrap();
            assert!(!svg.contains("\"#") && !svg.contains("font-family"), "{plot:?}");
            assert!(svg.contains("viewBox=") && !svg.contains(" width=\"2000\" height="), "{plot:?}");
        }
    }
}
