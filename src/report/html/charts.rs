//! Charts on the page: both shapes of each, and values for the page's script.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures;
use crate::gate::Doubt;
use crate::metrics::Summary;
use crate::report::ReportError;
use crate::report::charts::{CHARTS, Chart, KeyNote, Look, PanelNote, Rect};

/// A chart in both shapes, of which the page shows the one that fits.
pub(super) struct PageChart {
    pub chart: &'static Chart,
    pub wide: String,
    pub narrow: String,
    notes: PageNotes,
}

/// Notes on a chart for the script.
#[derive(Serialize)]
struct PageNotes {
    keys: Vec<KeyNote>,
    panels: Vec<PanelNote>,
    /// Places of the panels in the wide shape, and in the narrow one.
    wide: Vec<Rect>,
    narrow: Vec<Rect>,
}

/// All charts of the page.
pub(super) struct PageCharts(Vec<PageChart>);

impl PageCharts {
    pub(super) fn of(summary: &Summary, doubt: &Doubt) -> PageCharts {
        PageCharts(CHARTS.iter().map(|chart| page_chart(chart, summary, doubt)).collect())
    }

    /// The charts of a section.
    pub(super) fn of_section(&self, id: &str) -> impl Iterator<Item = &PageChart> {
        self.0.iter().filter(move |drawn| drawn.chart.section == id)
    }

    /// All notes by the chart's id, as JSON that can stand in a script element, whatever is in it.
    pub(super) fn notes(&self) -> Result<String, ReportError> {
        let by_id: BTreeMap<_, _> = self.0.iter().map(|drawn| (drawn.chart.name(), &drawn.notes)).collect();
        Ok(serde_json::to_string(&by_id)?.replace('<', "\\u003c"))
    }
}

fn page_chart(chart: &'static Chart, summary: &Summary, doubt: &Doubt) -> PageChart {
    let figure = |(words, name): &(&str, &str)| format!("{words} {}", figures::figure(summary, name).shown);
    let figures: Vec<_> = chart.figures.iter().map(figure).collect();
    let label = format!("Chart. {}: {}", chart.title, figures.join(", "));
    let (wide, notes) = chart.inline(summary, doubt, Look::Wide, &label);
    let (narrow, of_narrow) = chart.inline(summary, doubt, Look::Narrow, &label);
    let notes =
        PageNotes { keys: notes.keys, panels: notes.panels, wide: notes.frames, narrow: of_narrow.frames };
    PageChart { chart, wide, narrow, notes }
}
