//! `[load]`: the calls wanted, their times and their lengths.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::Display;

use super::call_duration::CallDuration;
use crate::values::{Ramp, Rate, Span};

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Calls held concurrently. Each is one line, which dials again when its call ends. With `load.rate`: most calls
    /// at once, those being set up and hung up included. `0` with `sip.register`: registrations alone.
    pub calls: u32,
    /// Length of the hold phase, which is the measured window.
    pub duration: Span,
    /// Rate of new calls while ramping up, and the highest rate at any time; or the time in which all are placed.
    /// With `load.rate`: the time in which the rate rises from none.
    pub ramp: Ramp,
    /// Open load: attempts a second, each at its intended time whatever became of earlier ones. One that cannot be
    /// placed then is counted as suppressed, and not placed later. Absent: `load.calls` are held (closed load).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["12/s"])))]
    pub rate: Option<Rate>,
    /// Spacing of the attempts of an open load.
    pub arrivals: Arrivals,
    /// Seed of drawn arrivals and call durations: two runs with one seed have the same.
    pub seed: u32,
    /// Length of one call; a call that ends before the run does is replaced. `{ exponential = "30s" }` draws each by
    /// that mean, a list draws each from its elements. It must outlast `measure.warmup` by a second: the mean, or
    /// the longest of a list. Absent: calls last as long as the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_duration: Option<CallDuration>,
    /// Side that hangs up a call after `call_duration`.
    pub hangup: Hangup,
    /// Rest of a line after a failed attempt or a lost call, before it dials again.
    pub retry_after: Span,
    /// Silence after which a call that was heard before is given up (BYE, ending `media_lost`) and replaced at
    /// once; `0s` gives up none.
    pub dead_after: Span,
}

/// Spacing of the attempts of an open load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Arrivals {
    /// All the same distance apart.
    Even,
    /// A Poisson process: callers who know nothing of each other.
    Poisson,
}

/// Side that hangs up at the planned end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Hangup {
    /// The driver.
    Caller,
    /// The built-in service.
    Callee,
    /// The built-in service every other call, the driver the rest.
    Both,
}

/// Calls wanted in a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// So many calls held.
    Calls(u32),
    /// So many attempts a second.
    Rate(f64),
}

impl Load {
    /// The calls wanted.
    pub fn target(&self) -> Target {
        self.rate.map_or(Target::Calls(self.calls), |rate| Target::Rate(rate.0))
    }

    /// Length after which the far end hangs up by itself, if it does.
    pub fn far_end_hangs_up_after(&self) -> Option<Span> {
        self.call_duration.as_ref()?.constant().filter(|_| self.hangup != Hangup::Caller)
    }

    /// Mean length of a call; `None` where calls last as long as the run.
    pub fn mean_call(&self) -> Option<Duration> {
        self.call_duration.as_ref().map(CallDuration::mean)
    }

    /// Time after an open load's ramp until its calls are as many as its rate sustains: none of constant length
    /// outlives it, and 95 % of those with an exponential length have ended.
    pub fn settles_after(&self) -> Duration {
        self.call_duration.as_ref().map_or(Duration::ZERO, CallDuration::settles_after)
    }

    /// Offered traffic in erlang of so many attempts a second; 0 where calls do not end.
    pub fn erlang(&self, rate: f64) -> f64 {
        self.mean_call().map_or(0.0, |mean| rate * mean.as_secs_f64())
    }

    /// Calls that are up at a target.
    pub fn calls_of(&self, target: Target) -> f64 {
        match target {
            Target::Calls(calls) => f64::from(calls),
            Target::Rate(rate) => self.erlang(rate),
        }
    }

    /// Length of an open load's ramp over `calls` calls.
    pub fn ramp_over(ramp: Ramp, calls: f64) -> Duration {
        match ramp {
            Ramp::Within(span) => span.0,
            Ramp::At(rate) => Duration::try_from_secs_f64(calls / rate.0).unwrap_or(Duration::MAX),
        }
    }
}

/// Share of the lines that calls of one length, which come at even times, may fill: they take a while to be set up and to
/// be hung up.
const EVENLY_FILLED: f64 = 0.95;

impl Load {
    /// Traffic in erlang that so many lines carry, with rarely an attempt that finds all of them taken.
    pub fn erlang_on(&self, lines: u32) -> f64 {
        let is_even = self.arrivals == Arrivals::Even
            && self.call_duration.as_ref().is_some_and(|d| d.constant().is_some());
        if is_even {
            return f64::from(lines) * EVENLY_FILLED;
        }
        // Blocking grows with the traffic.
        let (mut carried, mut blocked) = (0.0, f64::from(lines));
        for _ in 0..40 {
            let middle = (carried + blocked) / 2.0;
            let bound = if erlang_b(middle, lines) <= RARELY { &mut carried } else { &mut blocked };
            *bound = middle;
        }
        carried
    }
}

/// Share of the attempts that find all lines taken: `erlang` offered to `lines` by a Poisson process (Erlang B, by its
/// usual recursion; ITU-T E.501).
pub fn erlang_b(erlang: f64, lines: u32) -> f64 {
    blocked_on(erlang).nth(lines as usize).unwrap_or_default()
}

/// Share that is blocked on no line, on one, on two, and so on.
fn blocked_on(erlang: f64) -> impl Iterator<Item = f64> {
    let next = move |(n, blocked): &(u32, f64)| {
        let (n, blocked) = (n.checked_add(1)?, erlang * blocked);
        Some((n, blocked / (f64::from(n) + blocked)))
    };
    std::iter::successors(Some((0, 1.0)), next).map(|(_, blocked)| blocked)
}

/// Share of attempts that may find all lines taken, where nobody wants any to.
const RARELY: f64 = 0.001;

/// Lines, of `most`, on which a Poisson process of so much traffic rarely finds all taken.
pub fn lines_for(erlang: f64, most: u32) -> Option<u32> {
    let lines = blocked_on(erlang).take(most as usize + 1).position(|blocked| blocked <= RARELY)?;
    u32::try_from(lines).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_b_is_that_of_the_tables() {
        // Table values: 10 erlang on 10, 15 and 20 lines; 100 on 117.
        for (erlang, lines, blocked) in
            [(10.0, 10, 0.2146), (10.0, 15, 0.0365), (10.0, 20, 0.00187), (100.0, 117, 0.0098)]
        {
            let found = erlang_b(erlang, lines);
            assert!((found - blocked).abs() < blocked * 0.01, "{erlang} on {lines}: {found}");
        }
        assert_eq!((erlang_b(3.0, 0), erlang_b(0.0, 3)), (1.0, 0.0));
        // Tables: 21 lines carry 10.1 erlang at 0.1 %.
        let poisson = Load { arrivals: Arrivals::Poisson, ..crate::scenario::Scenario::default().load };
        assert!((poisson.erlang_on(21) - 10.1).abs() < 0.2, "{}", poisson.erlang_on(21));
        assert!(erlang_b(poisson.erlang_on(300), 300) <= RARELY && poisson.erlang_on(0) < 1e-6);
        assert_eq!((lines_for(10.0, 100), lines_for(10.0, 20)), (Some(21), None));
    }
}
