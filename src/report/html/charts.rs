//! Charts on the page: both shapes of each, and values for the page's script.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gate::Doubt;
use crate::metrics::Summary;
use crate::report::capacity::CapacityReport;
use crate::report::charts::{CAPACITY_CHARTS, CHARTS, Chart, Look, Notes, Plotted, Rect};

/// A chart in both shapes, of which the page shows the one that fits.
pub(in crate::report) struct PageChart {
    pub name: &'static str,
    /// The page's section that it stands in, by its id.
    pub section: &'static str,
    pub title: &'static str,
    pub caption: &'static str,
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
pub(in crate::report) struct PageCharts(Vec<PageChart>);

impl PageCharts {
    pub(super) fn of(summary: &Summary, doubt: &Doubt) -> PageCharts {
        let drawn = |chart: &'static Chart| {
            PageChart::of(chart, summary, |look, label| chart.inline(summary, doubt, look, label))
        };
        let shown = CHARTS.iter().filter(|chart| !chart.section.is_empty() && (chart.applies)(summary));
        PageCharts(shown.map(drawn).collect())
    }

    /// Those of a search.
    pub(in crate::report) fn of_search(report: &CapacityReport) -> PageCharts {
        let drawn = |chart: &'static Chart<CapacityReport>| {
            PageChart::of(chart, report, |look, label| chart.inline(report, look, label))
        };
        PageCharts(CAPACITY_CHARTS.iter().filter(|chart| (chart.applies)(report)).map(drawn).collect())
    }

    /// The charts of a section.
    pub(in crate::report) fn of_section(&self, id: &str) -> impl Iterator<Item = &PageChart> {
        self.0.iter().filter(move |drawn| drawn.section == id)
    }

    /// True if a section has a chart.
    pub(in crate::report) fn has(&self, id: &str) -> bool {
        self.of_section(id).next().is_some()
    }

    /// All notes by the chart's id, as JSON that can stand in a script element, whatever is in it.
    pub(in crate::report) fn notes(&self) -> serde_json::Result<String> {
        let by_id: BTreeMap<_, _> = self.0.iter().map(|drawn| (drawn.name, &drawn.notes)).collect();
        serde_json::to_string(&by_id).map(|notes| notes.replace('<', "\\u003c"))
    }
}

impl PageChart {
    fn of<S: Plotted>(
        chart: &'static Chart<S>,
        subject: &S,
        inline: impl Fn(Look, &str) -> (String, Notes),
    ) -> PageChart {
        let label = chart.label(subject);
        let (wide, of_wide) = inline(Look::Wide, &label);
        let (narrow, of_narrow) = inline(Look::Narrow, &label);
        PageChart {
            name: chart.name(),
            section: chart.section,
            title: chart.title,
            caption: chart.caption,
            wide,
            narrow,
            notes: PageNotes { wide: of_wide, narrow: of_narrow.frames },
        }
    }
}
