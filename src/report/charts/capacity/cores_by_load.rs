//! `cores-by-load.png`: CPU of the programs against the load, and calls for each core of Asterisk.

use super::super::Chart;
use super::super::axis::Axis;
use super::super::canvas::Canvas;
use super::super::legend::{LegendKey, Mark};
use super::super::theme::Ink;
use super::panels::{self, TrialSeries};
use crate::report::capacity::{CapacityReport, OutcomeWord, TrialReport, words};
use crate::search::Kind;
use crate::values::counted;

const PROGRAMS: [TrialSeries; 3] = [
    TrialSeries::new("driver", Ink::Blue, 0.12, |t| t.figures.driver_cores.number()),
    TrialSeries::new("service", Ink::Green, 0.12, |t| t.figures.service_cores.number()),
    TrialSeries::new("Asterisk", Ink::Orange, 0.12, |t| t.figures.asterisk_cores.number()),
];

const EACH: [TrialSeries; 1] = [TrialSeries::new("for each core of Asterisk", Ink::Sky, 0.12, per_core)];

/// Less of a core than this says nothing of what fits one.
const LEAST_CORES: f64 = 0.01;

pub(super) const CHART: Chart<CapacityReport> = Chart {
    path: "plots/cores-by-load.png",
    section: "cores",
    title: "Processor time against the load",
    caption: "Lines that are straight cost the same for each call, whatever the load. The lower panel divides the load \
              by Asterisk's cores where a goal was met: a line that falls means that each further call costs more than the one before.",
    figures: &[
        ("capacity", "capacity"),
        ("cores busy at the lower bound: Asterisk", "asterisk_cores"),
        ("service", "service_cores"),
        ("driver", "driver_cores"),
    ],
    applies: |_| true,
    draw,
};

fn draw(canvas: &mut Canvas, report: &CapacityReport) {
    let machine = report.trials.iter().map(|trial| trial.figures.machine_cores).max().unwrap_or(0);
    let label = format!("the machine has {}", counted(machine.into(), "core"));
    let mut keys: Vec<_> = PROGRAMS.iter().rev().map(|series| series.key).collect();
    if machine > 0 {
        keys.push(LegendKey { label: &label, ink: Ink::Text, mark: Mark::DashedAcross });
    }
    keys.push(EACH[0].key);
    panels::legend(canvas, keys, report);
    let [cores, each] = canvas.rows([1.4, 1.0]);
    let most = panels::values(report, &PROGRAMS).fold(f64::from(machine), f64::max);
    let y = Axis::linear_to(most * 1.08, cores.labels(canvas), 0.0);
    let panel = panels::panel(canvas, cores, "programs, cores busy", y, report);
    if machine > 0 {
        panel.dashed_across(machine.into(), Ink::Text);
    }
    PROGRAMS.iter().for_each(|series| panels::draw(&panel, report, series));
    if panels::values(report, &PROGRAMS).next().is_none() {
        panel.message("not measured");
    }
    let most = panels::values(report, &EACH).fold(0.0, f64::max);
    let title = match report.kind {
        Kind::Calls => "calls for each core of Asterisk",
        Kind::Rate => "attempts a second for each core of Asterisk",
    };
    let panel = panels::panel(canvas, each, title, Axis::linear(most, each.labels(canvas), 0.0), report);
    panel.x_axis(panels::axis_name(report));
    panels::draw(&panel, report, &EACH[0]);
    if panels::values(report, &EACH).next().is_none() {
        panel.message(&format!("not known in {}", words::loads(report.kind)));
    }
}

/// Of a trial that was good for some goal: one that was not served costs Asterisk less.
fn per_core(trial: &TrialReport) -> Option<f64> {
    let is_good = trial.outcomes.iter().any(|outcome| outcome.outcome == OutcomeWord::Good);
    let cores = trial.figures.asterisk_cores.number().filter(|cores| *cores >= LEAST_CORES)?;
    is_good.then_some(trial.load / cores)
}
