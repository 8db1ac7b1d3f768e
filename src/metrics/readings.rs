//! Best and worst reading of metrics in a run whose instrument is in doubt.
//!
//! A reading of a metric is the metric's own computation on the best or the worst [`Facts`] that the doubt
//! allows. A computation that finds no data there leaves the metric unbounded on that side.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::metric::Better;
use super::per_call::{PerCall, Slack};
use super::{Metric, RestsOn, Summary};
use crate::record::CallRecord;
use crate::values::{Unit, Value, show};

/// The best and the worst value that a metric may have had; `None` where nothing bounds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readings {
    /// The best value.
    pub best: Option<Value>,
    /// The worst value.
    pub worst: Option<Value>,
}

impl Readings {
    /// Nothing is known.
    pub const UNBOUNDED: Readings = Readings { best: None, worst: None };

    /// The value is certain.
    pub const fn exactly(value: Value) -> Readings {
        Readings { best: Some(value), worst: Some(value) }
    }

    /// With the value itself among the readings.
    pub(super) fn around(
        value: Value,
        best: Option<Value>,
        worst: Option<Value>,
        better: Better,
    ) -> Readings {
        let is_better = |a: Value, b: Value| match better {
            Better::Smaller => order(a) < order(b),
            Better::Larger => order(a) > order(b),
        };
        Readings {
            best: best.map(|best| if is_better(best, value) { best } else { value }),
            worst: worst.map(|worst| if is_better(value, worst) { worst } else { value }),
        }
    }

    /// The best and the worst value as numbers, infinite where nothing bounds it.
    pub fn ends(&self, better: Better) -> (f64, f64) {
        let number = |value: Option<Value>, unbounded| match value {
            Some(Value::NoData) | None => unbounded,
            Some(value) => order(value),
        };
        let worst = match better {
            Better::Smaller => f64::INFINITY,
            Better::Larger => f64::NEG_INFINITY,
        };
        (number(self.best, -worst), number(self.worst, worst))
    }

    /// The smallest and the largest value, infinite where nothing bounds it.
    pub fn range(&self, better: Better) -> (f64, f64) {
        let (best, worst) = self.ends(better);
        (best.min(worst), best.max(worst))
    }

    /// True if nothing bounds it on either side.
    pub fn are_unknown(&self) -> bool {
        self.best.is_none() && self.worst.is_none()
    }

    /// For people: `best 0.310 … worst 2.400 ms`, `best unknown … worst lost`.
    pub fn shown(&self, unit: Unit) -> String {
        let [best, worst] =
            [self.best, self.worst].map(|end| end.map_or("unknown".into(), |end| show(end, unit)));
        // The unit stands once.
        let best = match (best.rsplit_once(' '), worst.rsplit_once(' ')) {
            (Some((number, of_best)), Some((_, of_worst))) if of_best == of_worst => number.into(),
            _ => best,
        };
        format!("best {best} … worst {worst}")
    }
}

/// A lost packet is slower than any number.
fn order(value: Value) -> f64 {
    value.number().unwrap_or(f64::INFINITY)
}

/// Both readings of a run.
pub struct InDoubt<'a> {
    worst: Facts<'a>,
    best: Facts<'a>,
    slack: Slack,
}

impl<'a> InDoubt<'a> {
    /// Readings of a run with these quiet seconds. Where they are too few for a metric, it has no best reading.
    pub fn of(summary: &'a Summary, quiet: &'a BTreeSet<u32>) -> InDoubt<'a> {
        let worst = Facts::worst(summary);
        let slack = worst.slack();
        InDoubt { worst, best: Facts::best(summary, quiet), slack }
    }

    /// The readings of one metric.
    pub fn readings(&self, metric: &Metric) -> Readings {
        let definition = metric.definition;
        if definition.rests_on == RestsOn::Records {
            return Readings::exactly(metric.value);
        }
        let of = |facts| known(&definition.measure(facts));
        Readings::around(metric.value, of(&self.best), of(&self.worst), definition.better)
    }

    /// The readings of a metric of one call.
    pub fn call_readings(&self, metric: &PerCall, call: &CallRecord) -> Readings {
        metric.readings(call, &self.slack)
    }
}

/// A value that can be a reading: measured, and a percentile on enough samples. Losses are counted, not
/// estimated.
fn known(reading: &Metric) -> Option<Value> {
    let value = reading.value;
    (value != Value::NoData && (!reading.too_few || value == Value::Lost)).then_some(value)
}
