//! Gates and the verdict: does the run pass, fail, or can nothing be said?

mod doubt;
mod every_call;
mod expression;
mod judge;
mod limits;
mod quiet;
#[cfg(test)]
pub(crate) mod sample;
mod tripwire;
mod watch;

use std::fmt;

pub use doubt::{Doubt, Extent, MachineLoad, doubt, machine_load};
pub use expression::{Gate, GateError, Mistake, Op, Subject, parted};
pub use judge::{judge, judge_range};
pub use limits::Limits;
pub use quiet::Quiet;
pub use tripwire::hold_against;
pub use watch::{Watch, so_far};

use crate::metrics::{Better, Readings};
use crate::values::{Unit, Value};

/// Outcome of a gate or of the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// Every gate holds, in doubt by every reading.
    Pass,
    /// A gate is broken, in doubt by every reading.
    Fail,
    /// Slower than the stored baseline.
    Regressed,
    /// No data, too few samples, a run that broke, or a doubt that could change the outcome.
    Inconclusive,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Pass, Outcome::Fail, Outcome::Regressed, Outcome::Inconclusive];
}

/// The values that a metric may have had, from the best to the worst, where that is not one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The two ends.
    pub readings: Readings,
    /// The metric's unit.
    pub unit: Unit,
    /// Direction in which the metric improves.
    pub better: Better,
}

impl Interval {
    fn of(readings: Readings, unit: Unit, better: Better) -> Option<Interval> {
        let is_one = readings.best.is_some() && readings.best == readings.worst;
        (!is_one).then_some(Interval { readings, unit, better })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.readings.shown(self.unit))
    }
}

/// A gate's numbers. Of a gate over every call, those of the call that is furthest from holding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The metric's value.
    pub value: Value,
    /// Unit of value and bound.
    pub unit: Unit,
    /// The comparison and its bound; `None` for a baseline that has none.
    pub bound: Option<(Op, f64)>,
}

/// One gate, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct GateResult {
    /// The expression as written: `rtt.p99 < 20ms`.
    pub expression: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// The actual value for people.
    pub actual: String,
    /// The same as a number, with the bound that it was held against.
    pub figure: Figure,
    /// The readings that it was judged by, in doubt.
    pub interval: Option<Interval>,
    /// The reason for its outcome, where the value and its interval do not say it.
    pub reason: String,
}

/// The verdict over a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The overall outcome.
    pub outcome: Outcome,
    /// Each gate in the scenario's order.
    pub gates: Vec<GateResult>,
    /// Doubt about the instrument, or about the run as a whole.
    pub doubt: Doubt,
}
