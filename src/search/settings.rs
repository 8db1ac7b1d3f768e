//! `[search]`: what a search raises, how far, and how long it tries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::classify::Rules;
use super::load::{Kind, Load};
use crate::values::{Ns, Percent, Span};

/// Settings of `loadtest search`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The load that is raised from trial to trial.
    pub kind: Kind,
    /// Smallest load, and the first: calls, or attempts a second. Absent: 10 calls, or 1 attempt a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [20])))]
    pub min: Option<f64>,
    /// Largest load. Absent: what the driver manages, or the calls that the ports carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [400])))]
    pub max: Option<f64>,
    /// Distance of the load that is carried and the one that is not, as a share of the latter, at which the search
    /// ends. It is one call, or a hundredth of an attempt a second, at the least.
    pub width: Percent,
    /// Length of the first trial at a load, which can only reject it; `0s` makes none.
    pub initial_trial: Span,
    /// Length of the trials that can confirm a load.
    pub final_trial: Span,
    /// Time of trials at one load that decides whatever they say.
    pub duration_sum: Span,
    /// Share of the time at one load in which gates may be broken, and the load is carried nonetheless; in which they
    /// may hold, and it is not carried nonetheless. What lies between wavers, and the answer is that much wider: from
    /// 50% on nothing does.
    pub exceed: Percent,
    /// Time of the search up to which both bounds are tried again, in turn, where trials at one load have contradicted
    /// each other: a machine or a service that is not equally fast at all times may carry more, or less, ten minutes later.
    pub revisit: Span,
    /// True if a load is carried only when no trial of it was bad, as in RFC 2544: `exceed` is 0, and one final trial
    /// decides.
    pub strict: bool,
    /// Pause after a trial, in which what is under way arrives and the target comes to rest.
    pub rest: Span,
    /// Longest time of the whole search. Absent: as long as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Span>,
    /// Lists of gates, each by a name: the capacity is searched for each of them, from the same trials. Empty: the
    /// scenario's own gates.
    #[cfg_attr(test, schemars(extend("title" = "lists of gates by name", "examples" = [{ "good": ["rtt.p99 < 20ms"], "tolerable": ["rtt.p99 < 150ms"] }])))]
    pub goals: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// The settings of RFC 2544: one full trial decides, and none may be bad.
    pub fn strict(self) -> Settings {
        Settings { strict: true, ..self }
    }

    /// The smallest load; `None` where the number is none.
    pub fn smallest(&self) -> Option<Load> {
        self.min.map_or(Some(self.kind.usual_min()), |min| Load::of(self.kind, min))
    }

    /// The largest load; `None` where there is none, or the number is none.
    pub fn largest(&self) -> Option<Load> {
        self.max.and_then(|max| Load::of(self.kind, max))
    }

    /// Exceed ratios and duration sum in force.
    pub(super) fn rules(&self) -> Rules {
        if self.strict {
            Rules::strict(self.final_ms())
        } else {
            Rules::new(self.exceed, ms(self.duration_sum))
        }
    }

    /// Full trials after which a load is decided, if all of them take their time.
    pub(super) fn full_trials(&self) -> u64 {
        let sum = if self.strict { self.final_ms() } else { ms(self.duration_sum) };
        sum.div_ceil(self.final_ms()).max(1)
    }

    pub(super) fn final_ms(&self) -> u64 {
        ms(self.final_trial).max(1)
    }

    /// The length of a first trial; `None` where there is none of its own.
    pub(super) fn initial_ms(&self) -> Option<u64> {
        Some(ms(self.initial_trial)).filter(|initial| (1..self.final_ms()).contains(initial))
    }

    /// The width in millionths.
    pub(super) fn width_millionths(&self) -> u64 {
        (self.width.0 * 1e6).round() as u64
    }
}

pub(super) fn ms(span: Span) -> u64 {
    Ns::from(span.0).0 / 1_000_000
}
