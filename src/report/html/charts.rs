//! Charts on the page: both shapes of each, and values for the page's script.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gate::Doubt;
use crate::metrics::{Metric, Summary};
use crate::report::charts::{CHARTS, Chart, Look, Notes, Rect};

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
    #[serde(flatten)]
    wide: Notes,
    /// Places of the panels in the narrow shape.
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
    pub(super) fn notes(&self) -> serde_json::Result<String> {
        let by_id: BTreeMap<_, _> = self.0.iter().map(|drawn| (drawn.chart.name(), &drawn.notes)).collect();
        serde_json::to_string(&by_id).map(|notes| notes.replace('<', "\\u003c"))
    }
}

fn page_chart(chart: &'static Chart, summary: &Summary, doubt: &Doubt) -> PageChart {
    let figure = |(words, name): &(&str, &str)| {
        format!("{words} {}", summary.metric(name).map_or("–".into(), Metric::to_string))
    };
    let figures: Vec<_> = chart.figures.iter().map(figure).collect();
    let label = format!("Chart. {}: {}", chart.title, figures.join(", "));
    let (wide, of_wide) = chart.inline(summary, doubt, Look::Wide, &label);
    let (narrow, of_narrow) = chart.inline(summary, doubt, Look::Narrow, &label);
    let notes = PageNotes { wide: of_wide, narrow: of_narrow.frames };
    PageChart { chart, wide, narrow, notes }
}
