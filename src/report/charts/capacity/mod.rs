//! Charts of a search for capacity.
//!
//! A new chart is a file with a [`Chart`], and a line in [`CAPACITY_CHARTS`].

mod cores_by_load;
mod latency;
mod loss_by_load;
mod panels;
mod path;
mod response_by_load;
mod rtt_by_load;

use super::{Chart, Plotted};
use crate::report::capacity::{CapacityReport, FIGURES, when_carried, words};
use crate::report::words::one_line;
use crate::values::{Value, show};

/// All charts of a search, in the order of the page.
pub(in crate::report) static CAPACITY_CHARTS: [Chart<CapacityReport>; 5] =
    [response_by_load::CHART, rtt_by_load::CHART, loss_by_load::CHART, cores_by_load::CHART, path::CHART];

use response_by_load::has_turns;

impl Plotted for CapacityReport {
    fn subtitle(&self) -> String {
        format!("{}: {}", one_line(&self.name), words::circumstances(self))
    }

    /// `capacity`, `trials`, or a key figure at the first goal's lower bound.
    fn figure(&self, name: &str) -> String {
        let goal = self.goals.first();
        match name {
            "capacity" => goal.map_or("–".into(), |goal| goal.parted().0.into()),
            "trials" => self.trials.len().to_string(),
            name => {
                let figure = FIGURES.iter().find(|figure| figure.name == name);
                let at_lower = figure.zip(goal).and_then(|(figure, goal)| {
                    let value = when_carried(self, goal, |trial| (figure.of)(&trial.figures).number())?;
                    Some(show(Value::Number(value), figure.unit))
                });
                at_lower.unwrap_or("–".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use resvg::usvg::roxmltree::Document;

    use super::super::Look;
    use super::*;
    use crate::report::capacity::fixture;

    #[test]
    fn charts_are_drawn_of_any_search_and_their_notes_are_groups_of_the_drawing() {
        for report in fixture::all() {
            for (chart, look) in
                CAPACITY_CHARTS.iter().flat_map(|chart| [(chart, Look::Wide), (chart, Look::Narrow)])
            {
                let (svg, notes) = chart.inline(&report, look, &chart.label(&report));
                let tree = Document::parse(&svg).unwrap();
                let values = tree
                    .descendants()
                    .flat_map(|node| node.attributes())
                    .filter(|a| a.name() != "aria-label");
                for attribute in values {
                    let value = attribute.value();
                    assert!(!value.contains("NaN") && !value.contains("inf"), "{attribute:?}");
                }
                let groups = |name: &str| -> HashSet<usize> {
                    tree.descendants().filter_map(|node| node.attribute(name)?.parse().ok()).collect()
                };
                let name = chart.name();
                assert_eq!(groups("data-key"), (0..notes.keys.len()).collect(), "{name}");
                for series in notes.panels.iter().flat_map(|panel| &panel.series) {
                    assert!(groups("data-series").contains(&series.key), "{series:?} of {name}");
                }
                assert_eq!(notes.panels.len(), notes.frames.len(), "{name}");
            }
        }
    }

    #[test]
    fn pictures_show_the_bounds_and_a_screen_reader_says_them() {
        let report = fixture::typical();
        let capacity = report.goals[0].parted().0;
        for chart in &CAPACITY_CHARTS {
            assert!(chart.label(&report).contains(capacity), "{}", chart.name());
        }
        let (svg, _) = rtt_by_load::CHART.inline(&report, Look::Wide, "label");
        assert!(svg.contains(&format!("capacity: {capacity}")) && svg.contains("rtt.p99 &lt; 20ms"));
        assert_eq!(pictures(&report), ["rtt-by-load", "loss-by-load", "cores-by-load", "search-path"]);
    }

    fn pictures(report: &CapacityReport) -> Vec<String> {
        let files = super::super::capacity_files(report).unwrap();
        let name = |path: &str| path.trim_start_matches("plots/").trim_end_matches(".png").to_string();
        files.iter().map(|file| name(file.path)).collect()
    }

    #[test]
    fn a_search_of_conversations_shows_where_responses_rise_and_no_round_trips() {
        let report = fixture::conversation();
        assert_eq!(pictures(&report), ["response-by-load", "loss-by-load", "cores-by-load", "search-path"]);
        let (svg, notes) = response_by_load::CHART.inline(&report, Look::Wide, "label");
        assert!(svg.contains("turn.response.p95 &lt; 1500ms"));
        let longest =
            notes.panels[0].series.iter().flat_map(|series| &series.values).fold(0.0, |a: f64, b| a.max(*b));
        assert!(longest > 1500.0, "{longest}");
        let mut unmeasured = report.clone();
        unmeasured.trials.iter_mut().for_each(|trial| trial.figures = Default::default());
        assert_eq!(pictures(&unmeasured)[0], "response-by-load", "the gate judges it");
        unmeasured.goals[0].gates = vec!["signal_delay.p95 < 60ms".into()];
        assert_eq!(pictures(&unmeasured)[0], "loss-by-load", "nobody measures a round trip");
        unmeasured.goals[0].gates = vec!["rtt.p99 < 20ms".into()];
        assert_eq!(pictures(&unmeasured)[0], "rtt-by-load", "every trial broke");
    }
}
