//! `search-path.png`: trial after trial against the load, and the bounds that close in.

use super::super::Chart;
use super::super::axis::Axis;
use super::super::canvas::{Canvas, Rect, SHADE};
use super::super::legend::{LegendKey, Mark};
use super::super::panel::Panel;
use super::super::theme::Ink;
use super::panels::{VOID, apart};
use crate::report::capacity::{CapacityReport, GoalReport, OutcomeReport, OutcomeWord, TrialReport, words};
use crate::report::words::one_line;
use crate::search::Kind;

const GOOD: LegendKey<'static> = LegendKey::new("good: every gate held", Ink::Blue, Mark::Dot);
const BAD: LegendKey<'static> = LegendKey::new("bad: a gate was broken", Ink::Vermillion, Mark::Cross);
const BETWEEN: LegendKey<'static> = LegendKey::new("between the bounds so far", Ink::Shade, Mark::Shade);

/// Goals with a panel of their own: more have no room.
const MOST_GOALS: usize = 4;
/// Room that each goal after the first makes.
const EMS_PER_GOAL: f64 = 12.0;

pub(super) const CHART: Chart<CapacityReport> = Chart {
    path: "plots/search-path.png",
    section: "path",
    title: "The search, trial by trial",
    caption: "Loads double until one is bad; then the middle of what is left is tried, and in the end both bounds in turn. \
              The shaded stretch is what the capacity could still be after each trial. Void trials prove nothing, and \
              are repeated.",
    figures: &[("capacity", "capacity"), ("trials", "trials")],
    applies: |_| true,
    draw,
};

fn draw(canvas: &mut Canvas, report: &CapacityReport) {
    let goals = &report.goals[..report.goals.len().min(MOST_GOALS)];
    let further = goals.len().saturating_sub(1);
    canvas.grow(EMS_PER_GOAL * further as f64);
    let mut keys = vec![GOOD, BAD];
    if report.trials.iter().flat_map(|trial| &trial.outcomes).any(|o| o.outcome == OutcomeWord::Void) {
        keys.push(VOID);
    }
    keys.push(BETWEEN);
    canvas.legend(&keys);
    let places = canvas.alike(goals.len().max(1));
    for (n, (goal, place)) in goals.iter().zip(&places).enumerate() {
        let panel = steps(canvas, *place, goal, report);
        if n == further {
            panel.x_axis("trial");
        }
    }
}

/// Draws the trials of a goal.
fn steps<'c>(canvas: &'c Canvas, place: Rect, goal: &GoalReport, report: &CapacityReport) -> Panel<'c> {
    let trials = report.trials.len();
    let x = Axis::counted(trials, if canvas.is_narrow() { 8 } else { 20 });
    let most = report.trials.iter().map(|trial| trial.load).fold(0.0, f64::max);
    let least_step = if report.kind == Kind::Calls { 1.0 } else { 0.0 };
    let y = Axis::linear(most * 1.05, place.labels(canvas), least_step);
    let top = y.to;
    let panel = Panel::new(canvas, place, x, y);
    let unit = words::loads(report.kind);
    let title =
        if report.goals.len() > 1 { format!("{}: {unit}", one_line(&goal.goal)) } else { unit.into() };
    panel.frame(&title);
    let outcomes: Vec<(f64, &TrialReport, &OutcomeReport)> = (1..)
        .map(f64::from)
        .zip(&report.trials)
        .filter_map(|(at, trial)| Some((at, trial, trial.outcome(&goal.goal)?)))
        .collect();
    panel.series(&BETWEEN, || between(&panel, &outcomes, top));
    let name = |at: f64, trial: &TrialReport, outcome: &OutcomeReport| {
        let load = words::load(report.kind, trial.load);
        (at, format!("trial {}: {load} for {} s, {}", trial.trial, words::seconds(trial), outcome.outcome))
    };
    panel.note_names(outcomes.iter().map(|(at, trial, outcome)| name(*at, trial, outcome)));
    for (key, word) in [(GOOD, OutcomeWord::Good), (BAD, OutcomeWord::Bad), (VOID, OutcomeWord::Void)] {
        let of_word = || outcomes.iter().filter(|(.., outcome)| outcome.outcome == word);
        panel.note_series(of_word().map(|(at, trial, _)| (*at, trial.load)), &key);
        panel.series(&key, || {
            let places = of_word().map(|(at, trial, _)| panel.pixel(*at, trial.load));
            apart(places).for_each(|at| mark(canvas, at, word));
        });
    }
    if outcomes.is_empty() {
        panel.message("there was no trial");
    }
    panel
}

/// Shades what the capacity may still be after each trial.
fn between(panel: &Panel<'_>, outcomes: &[(f64, &TrialReport, &OutcomeReport)], top: f64) {
    for (at, _, outcome) in outcomes {
        let (lower, upper) = (outcome.lower.unwrap_or(0.0), outcome.upper.unwrap_or(top));
        let (from, to) = (panel.pixel(*at, upper), panel.pixel(at + 1.0, lower));
        panel.canvas.block(from, to, BETWEEN.ink, SHADE);
    }
}

fn mark(canvas: &Canvas, at: (i32, i32), word: OutcomeWord) {
    match word {
        OutcomeWord::Good => canvas.dot(at, GOOD.ink),
        OutcomeWord::Bad => canvas.cross(at, BAD.ink),
        OutcomeWord::Void => canvas.ring(at, VOID.ink),
    }
}
