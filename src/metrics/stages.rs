//! The figures of each stage: the run's records of that stage alone, summed up as a run's are.
//!
//! Packets are counted by the interval log and by seconds; the calls are those that the stage placed, from the start
//! of its ramp on.

use super::{Summary, summarize};
use crate::record::{Environment, Leaks, Run, Scope, StageRecord};

/// A stage of a run, with its figures.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its load and its times.
    pub record: StageRecord,
    /// Its figures.
    pub summary: Summary,
}

/// The stages of a run that were measured, in turn.
pub(super) fn of(run: &Run) -> Vec<Stage> {
    let measured = run.environment.stages.iter().filter_map(|record| {
        let (from_s, to_s) = record.from_s.zip(record.to_s)?;
        let run = part(run, record, from_s, to_s);
        Some(Stage { record: record.clone(), summary: summarize::of_stage(run) })
    });
    measured.collect()
}

/// The records of one stage. Its window begins with a second, so that no second has packets of two.
fn part(run: &Run, record: &StageRecord, from_s: f64, to_s: f64) -> Run {
    let is_in = |at: f64| (record.begin_s..to_s).contains(&at);
    let is_measured = |second: u32| (from_s..to_s).contains(&f64::from(second));
    let environment = Environment {
        window_from_s: Some(from_s),
        window_to_s: Some(to_s),
        calls: record.calls.unwrap_or(run.environment.calls),
        calls_at_start: record.calls_at_start,
        suppressed: record.suppressed,
        suppressed_attempts: record.suppressed.total(),
        offered: record.offered,
        stages: Vec::new(),
        faults: Vec::new(),
        leaks: Leaks::default(),
        service_record: None,
        ..run.environment.clone()
    };
    let mut part = Run { environment, ..Run::default() };
    part.calls = run.calls.iter().filter(|call| is_in(call.intended_s)).cloned().collect();
    for second in run.seconds.iter().filter(|second| is_in(second.second.into())) {
        let mut second = second.clone();
        if !is_measured(second.second) {
            (second.measured_sent, second.measured_missed_slots) = (0, 0);
        }
        part.seconds.push(second);
    }
    for (second, series, scope, latencies) in run.intervals.iter() {
        if scope == Scope::Measured && is_measured(second) {
            part.intervals.add(second, series, scope, &latencies);
        }
    }
    part
}
