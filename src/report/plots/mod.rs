//! Charts of a run as SVG and PNG.

mod axis;
mod calls_and_loss;
mod cpu;
mod faults;
mod figure;
mod heat;
mod image;
mod notes;
mod panel;
mod raster;
mod rtt_by_call;
mod rtt_distribution;
mod rtt_over_time;
mod setup_times;
mod theme;
mod timeline;
mod where_time_goes;

use figure::{Drawn, Figure};
use image::Image;
pub(super) use notes::{Frame, KeyNote, Notes, PanelNote};

use super::{File, ReportError, words};
use crate::metrics::Summary;

/// A chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plot {
    RttOverTime,
    RttDistribution,
    WhereTimeGoes,
    CallsAndLoss,
    SetupTimes,
    RttByCall,
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

impl Look {
    /// Higher on a phone by a line of the legend for each fault, which a chart over time would have to
    /// give up for it.
    fn with_room(self, plot: Plot, summary: &Summary) -> Look {
        let is_narrow = self.width == Look::NARROW.width;
        let lines = if is_narrow && plot.is_over_time() { summary.faults.len() } else { 0 };
        let more = 1.5 * self.em * lines.min(faults::MOST_WORDS + 1) as f64;
        Look { height: self.height + more as u32, ..self }
    }
}

impl Plot {
    pub(super) const ALL: [Plot; 7] = [
        Plot::RttOverTime,
        Plot::RttDistribution,
        Plot::WhereTimeGoes,
        Plot::CallsAndLoss,
        Plot::SetupTimes,
        Plot::RttByCall,
        Plot::Cpu,
    ];

    /// Its name: of the picture's file, and on a page.
    pub(super) fn name(self) -> &'static str {
        let file = self.path().trim_start_matches("plots/");
        file.trim_end_matches(".png")
    }

    /// The picture's place in the run's folder.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Plot::RttOverTime => "plots/rtt-over-time.png",
            Plot::RttDistribution => "plots/rtt-distribution.png",
            Plot::WhereTimeGoes => "plots/where-time-goes.png",
            Plot::CallsAndLoss => "plots/calls-and-loss.png",
            Plot::SetupTimes => "plots/setup-times.png",
            Plot::RttByCall => "plots/rtt-by-call.png",
            Plot::Cpu => "plots/cpu.png",
        }
    }

    /// Its heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Plot::RttOverTime => "Round trip of packets, second by second",
            Plot::RttDistribution => "Round trip of packets, by percentile",
            Plot::WhereTimeGoes => "Where a packet's time goes",
            Plot::CallsAndLoss => "Calls, and packets lost or late",
            Plot::SetupTimes => "How long calls took to set up",
            Plot::RttByCall => "Round trip of packets, call by call and second by second",
            Plot::Cpu => "Processor time, second by second",
        }
    }

    /// Whether its x axis is the run's time.
    fn is_over_time(self) -> bool {
        !matches!(self, Plot::RttDistribution | Plot::WhereTimeGoes)
    }

    fn draw(self, figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
        match self {
            Plot::RttOverTime => rtt_over_time::draw(figure, summary),
            Plot::RttDistribution => rtt_distribution::draw(figure, summary),
            Plot::WhereTimeGoes => where_time_goes::draw(figure, summary),
            Plot::CallsAndLoss => calls_and_loss::draw(figure, summary),
            Plot::SetupTimes => setup_times::draw(figure, summary),
            Plot::RttByCall => rtt_by_call::draw(figure, summary),
            Plot::Cpu => cpu::draw(figure, summary),
        }
    }

    /// The chart as an SVG document without its ground, the images that belong below it, and what a
    /// page's script is to know of it.
    fn drawn(self, summary: &Summary, look: Look) -> Result<(String, Vec<Image>, Notes), ReportError> {
        let mut svg = String::new();
        let look = look.with_room(self, summary);
        let drawn = Figure::new(&mut svg, look).and_then(|mut figure| {
            figure.heading(self.title(), &subtitle(summary))?;
            self.draw(&mut figure, summary)?;
            figure.finish()
        });
        let (images, notes) = drawn.map_err(|e| self.error(e.to_string()))?;
        Ok((tidied(&notes.grouped(&svg)), images, notes))
    }

    fn error(self, what: String) -> ReportError {
        ReportError::Chart { path: self.path(), what }
    }

    /// The chart as an SVG document.
    #[cfg(test)]
    pub(super) fn svg(self, summary: &Summary, look: Look) -> Result<String, ReportError> {
        Ok(self.noted(summary, look)?.0)
    }

    fn noted(self, summary: &Summary, look: Look) -> Result<(String, Notes), ReportError> {
        let (svg, images, notes) = self.drawn(summary, look)?;
        let images: Result<String, String> = images.iter().map(Image::element).collect();
        let images = images.map_err(|what| self.error(what))?;
        let (start, rest) = svg.split_once('>').unwrap_or((&svg, ""));
        Ok((format!("{start}>{images}{rest}"), notes))
    }

    /// The chart as a PNG file.
    fn png(self, summary: &Summary) -> Result<Vec<u8>, ReportError> {
        let (svg, images, _) = self.drawn(summary, Look::PICTURE)?;
        raster::png(&svg, &images).map_err(|what| self.error(what))
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
        let Look { width, height, .. } = look.with_room(self, summary);
        let fixed = format!("<svg width=\"{width}\" height=\"{height}\"");
        let fluid = format!("<svg class=\"chart\" role=\"img\" aria-label=\"{}\"", words::attribute(label));
        svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
        let svg = svg.replacen(&fixed, &fluid, 1).replace(&format!(" font-family=\"{}\"", raster::FONT), "");
        Ok((svg, notes))
    }
}

/// All charts as PNG files.
pub(super) fn files(summary: &Summary) -> Result<Vec<File>, ReportError> {
    let picture = |plot: Plot| Ok(File { path: plot.path(), bytes: plot.png(summary)? });
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
    use std::collections::{HashMap, HashSet};

    use resvg::tiny_skia::Pixmap;

    use super::theme::Ink;
    use super::*;
    use crate::record::{CallRecord, CallSecond, SecondRecord};
    use crate::report::fixture;

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
                Plot::WhereTimeGoes => &[Ink::Blue, Ink::Orange, Ink::Green, Ink::Purple, Ink::Axis],
                Plot::RttByCall => &[Ink::Vermillion],
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

    const OVER_TIME: [Plot; 5] =
        [Plot::RttOverTime, Plot::CallsAndLoss, Plot::SetupTimes, Plot::RttByCall, Plot::Cpu];

    /// Where broken lines go down in an ink, in units from the left.
    fn lines_down(svg: &str, ink: Ink) -> HashSet<u32> {
        let rgb = ink.rgb();
        let colour = format!("stroke=\"#{:02X}{:02X}{:02X}\"", rgb.0, rgb.1, rgb.2);
        let lines = svg.split("<polyline ").skip(1).filter(|element| element.contains(&colour));
        let ends = |element: &str| -> Vec<(u32, u32)> {
            let points = element.split("points=\"").nth(1).and_then(|p| p.split('"').next()).unwrap_or("");
            points
                .split_whitespace()
                .filter_map(|p| p.split_once(','))
                .filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)))
                .collect()
        };
        let mut dashes: HashMap<u32, u32> = HashMap::new();
        for ends in lines.map(ends) {
            if let [(x, from), (to_x, to)] = ends[..]
                && x == to_x
            {
                *dashes.entry(x).or_default() += from.abs_diff(to);
            }
        }
        // Longer than any mark in the legend.
        dashes.into_iter().filter(|(_, long)| *long > 60).map(|(x, _)| x).collect()
    }

    #[test]
    fn every_fault_and_every_return_is_marked_in_every_chart_over_time() {
        let (summary, _) = fixture::faulted();
        let mut without = summary.clone();
        without.faults.clear();
        for plot in OVER_TIME {
            for look in [Look::PICTURE, Look::WIDE, Look::NARROW] {
                let (faulted, whole) = (plot.svg(&summary, look).unwrap(), plot.svg(&without, look).unwrap());
                for words in ["Asterisk killed at 1:40.2, back at 1:43.4", "service restarted at 1:46.0"] {
                    assert_eq!((faulted.matches(words).count(), whole.matches(words).count()), (1, 0));
                }
                for (ink, what) in [(Ink::Vermillion, "fault"), (Ink::Text, "return")] {
                    let marked = lines_down(&faulted, ink).len() - lines_down(&whole, ink).len();
                    assert_eq!(marked, 2, "{what} in {plot:?}, {look:?}");
                }
            }
        }
    }

    #[test]
    fn charts_over_time_share_their_axis() {
        let (summary, _) = fixture::faulted();
        let is_time = |text: &&str| {
            text.split_once(':')
                .is_some_and(|(m, s)| s.len() == 2 && (m.to_owned() + s).parse::<u32>().is_ok())
        };
        let times = |plot: Plot| -> HashSet<String> {
            let svg = plot.svg(&summary, Look::WIDE).unwrap();
            let texts = svg.split("</text>").filter_map(|t| t.rsplit('>').next());
            texts.filter(is_time).map(str::to_string).collect()
        };
        let shared = times(Plot::RttOverTime);
        assert!(shared.contains("0:00") && shared.contains("5:00"), "{shared:?}");
        for plot in OVER_TIME {
            assert_eq!(times(plot), shared, "{plot:?}");
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
    fn a_heat_map_stays_small_however_many_the_calls_and_long_the_run() {
        let (mut summary, _) = fixture::typical();
        let last = SecondRecord { second: 86_399, ..summary.seconds[0].clone() };
        summary.seconds.push(last);
        let answered = summary.calls[0].clone();
        // Calls of ten minutes on a thousand lines, whose medians follow no order: the worst to compress.
        summary.calls = (0..2000)
            .map(|call| {
                let intended_s = f64::from(call) * 42.0;
                CallRecord { call, line: call % 1000, intended_s, total_sent: 30_000, ..answered.clone() }
            })
            .collect();
        let ms = |n: u32| 10f32.powf((n.wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6);
        summary.call_seconds = (0..2000u32)
            .flat_map(|call| (0..600).map(move |n| (call, call * 42 + n)))
            .map(|(call, second)| CallSecond { call, second, rtt_p50_ms: ms(call * 600 + second) })
            .collect();
        for (look, most) in [(Look::WIDE, 150_000), (Look::NARROW, 90_000)] {
            let svg = Plot::RttByCall.svg(&summary, look).unwrap();
            assert!(svg.len() < most, "{look:?}: {} bytes", svg.len());
            assert!(svg.contains("lines of calls") && svg.contains(" s: "), "says what a cell stands for");
        }
    }

    #[test]
    fn the_heat_map_shows_the_slow_call_and_the_silent_one() {
        let (summary, _) = fixture::typical();
        let colours = |summary: &Summary| pixels(&Plot::RttByCall.png(summary).unwrap()).2;
        let count = |of: &HashMap<_, usize>, rgb| of.get(&rgb).copied().unwrap_or(0);
        let vermillion = Ink::Vermillion.rgb();
        let silent = (vermillion.0, vermillion.1, vermillion.2);
        let bright = |of: &HashMap<_, usize>| -> usize {
            (heat::STEPS * 2 / 3..heat::STEPS).map(|step| count(of, heat::colour(step))).sum()
        };
        let mut even = summary.clone();
        // One slow second is left, so that the scale is the same.
        let quiet = |s: &mut CallSecond| {
            if s.call == 17 && s.second != 84 {
                s.rtt_p50_ms = 0.2
            }
        };
        even.call_seconds.iter_mut().for_each(quiet);
        even.call_seconds.extend(fixture::SILENT_SECONDS.map(|second| CallSecond {
            call: 31,
            second,
            rtt_p50_ms: 0.2,
        }));
        even.call_seconds.sort_by_key(|s| (s.call, s.second));
        let (with, without) = (colours(&summary), colours(&even));
        assert!(count(&with, silent) > count(&without, silent) + 300);
        assert!(bright(&with) > bright(&without) + 300, "{} {}", bright(&with), bright(&without));
    }

    #[test]
    fn a_name_cannot_break_out_of_a_picture() {
        let (summary, _) = fixture::hostile();
        for plot in Plot::ALL {
            let svg = plot.svg(&summary, Look::PICTURE).unwrap();
            let times = 1 + usize::from(plot == Plot::Cpu);
            assert!(svg.matches("&lt;script&gt;").count() >= times && !svg.contains("<script"), "{svg}");
        }
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
