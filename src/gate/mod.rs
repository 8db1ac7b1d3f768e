//! Gates and the verdict: does the run pass, fail, or can nothing be said?

mod expression;
mod judge;
mod tripwire;
mod watch;

use std::fmt;

pub use expression::{Gate, GateError, Op, Subject};
pub use judge::{Trust, judge};
pub use tripwire::hold_against;
pub use watch::Watch;

/// How a gate or the whole run came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every gate holds and the instrument can be trusted.
    Pass,
    /// A gate is broken.
    Fail,
    /// Slower than the stored baseline.
    Regressed,
    /// No data, too few samples, or an instrument that cannot be trusted with what is judged.
    Inconclusive,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Pass, Outcome::Fail, Outcome::Regressed, Outcome::Inconclusive];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Regressed => "regressed",
            Outcome::Inconclusive => "inconclusive",
        })
    }
}

/// One gate, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateResult {
    /// The expression as written: `rtt.p99 < 20ms`.
    pub expression: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The actual value for people.
    pub actual: String,
    /// Why it came out so, where the value does not say it.
    pub reason: String,
}

/// The verdict over a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The overall outcome.
    pub outcome: Outcome,
    /// Each gate in the scenario's order.
    pub gates: Vec<GateResult>,
    /// Why the instrument, or the run as a whole, cannot be trusted; empty when it can.
    pub distrust: Vec<String>,
}
