//! Charts of a run: PNG files, and SVG elements for the page.
//!
//! A new chart is a file with a [`Chart`], and a line in [`CHARTS`].

mod axis;
mod calls_and_loss;
mod canvas;
mod capacity;
mod cpu;
mod events;
pub(super) mod excerpts;
mod faults;
mod heat;
mod image;
mod legend;
mod notes;
mod panel;
mod quality_over_time;
mod raster;
mod rtt_by_call;
mod rtt_distribution;
mod rtt_over_time;
mod setup_times;
mod signal_over_time;
mod svg;
mod theme;
mod timeline;
mod turns_over_time;
mod where_time_goes;

use canvas::Canvas;
pub(super) use canvas::Rect;
pub(super) use capacity::CAPACITY_CHARTS;
pub(super) use notes::Notes;
use svg::Drawing;
pub(super) use theme::css;
use timeline::Stretch;

use super::capacity::CapacityReport;
use super::{File, ReportError, words};
use crate::gate::Doubt;
use crate::metrics::{Metric, Summary};

/// All charts, in the order of the page.
pub(super) static CHARTS: [Chart; 12] = [
    turns_over_time::CHART,
    quality_over_time::CHART,
    excerpts::CHART,
    signal_over_time::CHART,
    rtt_over_time::CHART,
    rtt_distribution::CHART,
    where_time_goes::CHART,
    calls_and_loss::CHART,
    calls_and_loss::CALLS,
    setup_times::CHART,
    rtt_by_call::CHART,
    cpu::CHART,
];

/// The subject of charts: a run, or a search.
pub(super) trait Plotted {
    /// A line below a picture's title.
    fn subtitle(&self) -> String;

    /// The figure of that name, for people.
    fn figure(&self, name: &str) -> String;
}

impl Plotted for Summary {
    fn subtitle(&self) -> String {
        format!("{}: {}", words::one_line(&self.environment.name), words::circumstances(&self.environment))
    }

    fn figure(&self, name: &str) -> String {
        self.metric(name).map_or("–".into(), Metric::to_string)
    }
}

/// A chart of a run, or of another subject.
pub(super) struct Chart<S: 'static = Summary> {
    /// The picture's place in the run's folder.
    pub path: &'static str,
    /// The page's section that it stands in, by its id; empty where its place is elsewhere.
    pub section: &'static str,
    pub title: &'static str,
    /// A sentence on how to read it.
    pub caption: &'static str,
    /// Figures that a screen reader says in its stead: words, and the figure's name.
    pub figures: &'static [(&'static str, &'static str)],
    /// True of subjects that it has something to show of.
    pub applies: fn(&S) -> bool,
    /// Draws legend and panels below the heading.
    draw: fn(&mut Canvas, &S),
}

impl<S: Plotted> Chart<S> {
    /// Its name: of the picture's file, and its id on the page.
    pub(super) fn name(&self) -> &'static str {
        self.path.trim_start_matches("plots/").trim_end_matches(".png")
    }

    /// Words for a screen reader.
    pub(super) fn label(&self, subject: &S) -> String {
        let figure = |(words, name): &(&str, &str)| format!("{words} {}", subject.figure(name));
        let figures: Vec<_> = self.figures.iter().map(figure).collect();
        format!("Chart. {}: {}", self.title, figures.join(", "))
    }

    fn sketch(&self, subject: &S, not_quiet: Vec<Stretch>, look: Look) -> (Drawing, Notes) {
        let mut canvas = Canvas::new(look, not_quiet);
        canvas.heading(self.title, &subject.subtitle());
        (self.draw)(&mut canvas, subject);
        canvas.finish()
    }

    fn picture(&self, drawing: &Drawing) -> Result<File, ReportError> {
        let path = self.path;
        let bytes = raster::png(drawing).map_err(|why| ReportError::new(path, why))?;
        Ok(File { path, bytes })
    }
}

impl Chart {
    /// The chart as an SVG element for a page, and values for the page's script. `label` is read by a screen
    /// reader.
    pub(super) fn inline(
        &self,
        summary: &Summary,
        doubt: &Doubt,
        look: Look,
        label: &str,
    ) -> (String, Notes) {
        let (drawing, notes) = self.drawn(summary, doubt, look);
        (drawing.inline(label), notes)
    }

    fn drawn(&self, summary: &Summary, doubt: &Doubt, look: Look) -> (Drawing, Notes) {
        self.sketch(summary, timeline::not_quiet(summary, doubt), look)
    }
}

impl Chart<CapacityReport> {
    /// As [`Chart::inline`] of a run.
    pub(super) fn inline(&self, report: &CapacityReport, look: Look, label: &str) -> (String, Notes) {
        let (drawing, notes) = self.sketch(report, Vec::new(), look);
        (drawing.inline(label), notes)
    }
}

/// True of a run whose callers talked: it has turns, and no packet of it comes back.
pub(super) fn is_conversation(summary: &Summary) -> bool {
    !summary.turns.is_empty()
}

/// True of a run whose callers played bursts.
pub(super) fn is_signal(summary: &Summary) -> bool {
    !summary.signals.is_empty()
}

/// True of a run whose callers read aloud: the quality of what came back is scored, and no packet is told apart.
pub(super) fn is_read_aloud(summary: &Summary) -> bool {
    !summary.quality.is_empty()
}

/// True of a run whose packets come back.
pub(super) fn is_echo(summary: &Summary) -> bool {
    !is_conversation(summary) && !is_signal(summary) && !is_read_aloud(summary)
}

/// True of a run of which no packet is awaited.
fn is_no_echo(summary: &Summary) -> bool {
    !is_echo(summary)
}

/// All charts as PNG files.
pub(super) fn files(summary: &Summary, doubt: &Doubt) -> Result<Vec<File>, ReportError> {
    let shown = CHARTS.iter().filter(|chart| (chart.applies)(summary));
    shown.map(|chart| chart.picture(&chart.drawn(summary, doubt, Look::Picture).0)).collect()
}

/// All charts of a search as PNG files.
pub(super) fn capacity_files(report: &CapacityReport) -> Result<Vec<File>, ReportError> {
    let picture =
        |chart: &Chart<CapacityReport>| chart.picture(&chart.sketch(report, Vec::new(), Look::Picture).0);
    CAPACITY_CHARTS.iter().filter(|chart| (chart.applies)(report)).map(picture).collect()
}

/// A shape that charts are drawn in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A file of its own, with fixed colours and the bundled font, twice the size at which its text reads well.
    #[default]
    Picture,
    /// On a wide page, in the page's colours and font.
    Wide,
    /// On a phone's page.
    Narrow,
}

impl Look {
    /// Width and height in pixels, or in units of the SVG, and the size of letters, by which all else goes.
    const fn size(self) -> (u32, u32, f64) {
        match self {
            Look::Picture => (2000, 1000, 26.0),
            Look::Wide => (2000, 840, 27.0),
            Look::Narrow => (1000, 940, 33.0),
        }
    }
}

#[cfg(test)]
mod tests;
