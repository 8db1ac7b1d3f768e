//! Charts of a search for capacity.
//!
//! A new chart is a file with a [`Chart`], and a line in [`CAPACITY_CHARTS`].

mod cores_by_load;
mod loss_by_load;
mod panels;
mod path;
mod rtt_by_load;

use super::{Chart, Plotted};
use crate::report::capacity::{CapacityReport, FIGURES, medians, words};
use crate::report::words::one_line;
use crate::values::{Value, show};

/// All charts of a search, in the order of the page.
pub(in crate::report) static CAPACITY_CHARTS: [Chart<CapacityReport>; 4] =
    [rtt_by_load::CHART, loss_by_load::CHART, cores_by_load::CHART, path::CHART];

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
                let lower = goal.and_then(|goal| goal.lower);
                let figure = FIGURES.iter().find(|figure| figure.name == name);
                let at_lower = figure.zip(lower).and_then(|(figure, lower)| {
                    let all = medians(self, |trial| (figure.of)(&trial.figures).number());
                    let (_, value) = all.into_iter().find(|(load, _)| *load == lower)?;
                    Some(show(Value::Number(value?), figure.unit))
                });
                at_lower.unwrap_or("–".into())
            }
        }
    }
}
