//! A metric: its definition, with its computation, and its value in one run.

use std::fmt;

use super::Part;
use super::distribution::Distribution;
use super::facts::Facts;
use crate::record::{CallRecord, Durations, Live, RegisterRecord, Series, ServiceRecord, SignalRow, TurnRow};
use crate::values::{Ns, Unit, Value, show};

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// `group.key`, as in gates and in `summary.json`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One line on its meaning, with the source of the definition.
    pub help: &'static str,
    /// The part of a report that it belongs to.
    pub group: Group,
    /// Basis of its value.
    pub rests_on: RestsOn,
    /// Direction in which it improves.
    pub better: Better,
    /// True if one stage of a run has it by itself.
    pub by_stage: bool,
    pub(super) of: Of,
}

/// Computation of a metric of a finished run and, where it is known, of one under way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// A count, a ratio, or any other single figure.
    Figure(Figure, Option<(Course, LiveFigure)>),
    /// A statistic of samples.
    Statistic(Statistic, Samples),
    /// A percentile of scores, of which the larger ones are better.
    Rank(Rank),
}

/// A percentile of figures that no [`Distribution`] holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    /// Share of the samples at its value and below, 0–1.
    pub share: f64,
    /// Its value.
    pub of: Figure,
    /// Samples that it rests on.
    pub samples: fn(&Facts<'_>) -> u64,
}

impl Rank {
    /// Samples that it needs, so that 100 lie beyond it on the side on which fewer lie.
    fn samples_needed(self) -> u64 {
        (100.0 / self.share.min(1.0 - self.share)).round() as u64
    }
}

pub(super) type Figure = fn(&Facts<'_>) -> Value;
pub(super) type LiveFigure = fn(&Live) -> Value;

/// Samples of which a metric takes one statistic.
#[derive(Debug, Clone, Copy)]
pub(super) enum Samples {
    /// A latency of packets.
    Packets(Series),
    /// A delay per call.
    Calls(fn(&CallRecord) -> Option<Ns>),
    /// A time that the built-in service has summed up.
    Service(fn(&ServiceRecord) -> &Durations),
    /// A time of the registrations, summed up over the run.
    Register(fn(&RegisterRecord) -> &Durations),
    /// A time of each turn of the measured window.
    Turns(fn(&TurnRow) -> Option<Ns>),
    /// A time of each burst of the measured window.
    Signals(fn(&SignalRow) -> Option<Ns>),
}

/// Names are unique, so a name stands for its row.
impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Definition {
    /// Which statistic of a distribution it is; `None` for any other figure.
    pub fn statistic(&self) -> Option<Statistic> {
        match self.of {
            Of::Statistic(statistic, ..) => Some(statistic),
            Of::Figure(..) | Of::Rank(_) => None,
        }
    }

    /// The case in which its value is `lost` instead of a number; `None` where that cannot be.
    pub fn lost_where(&self) -> Option<&'static str> {
        match self.of {
            Of::Statistic(Statistic::Min | Statistic::Mean, _) => None,
            Of::Statistic(_, Samples::Packets(series)) if series.has_losses() => {
                Some("where the rank falls among the packets that never came back")
            }
            Of::Figure(..) if self.group == Group::Faults && self.unit == Unit::Ms => {
                Some("where that never came")
            }
            _ => None,
        }
    }

    /// The metric in a finished run.
    pub(super) fn measure(&'static self, facts: &Facts<'_>) -> Metric {
        if facts.part == Part::Stage && !self.by_stage {
            return Metric::figure(self, Value::NoData);
        }
        match self.of {
            Of::Figure(of, _) => Metric::figure(self, of(facts)),
            Of::Statistic(statistic, samples) => {
                Metric::statistic(self, statistic, &facts.distribution(samples))
            }
            Of::Rank(rank) => {
                let samples = (rank.samples)(facts);
                let too_few = (1..rank.samples_needed()).contains(&samples);
                Metric { definition: self, value: (rank.of)(facts), samples: Some(samples), too_few }
            }
        }
    }

    /// The metric so far, and how it may still change; `None` where it is known only at the end.
    pub fn so_far(&'static self, live: &Live) -> Option<(Metric, Course)> {
        match self.of {
            Of::Figure(_, so_far) => so_far.map(|(course, of)| (Metric::figure(self, of(live)), course)),
            Of::Statistic(statistic, Samples::Packets(Series::Rtt)) => {
                let rtt = Distribution::packets(&live.rtt, live.lost);
                Some((Metric::statistic(self, statistic, &rtt), statistic.course()?))
            }
            Of::Statistic(..) | Of::Rank(_) => None,
        }
    }

    /// The same statistic of the control stream so far; `None` for what is none of the calls' packets.
    pub fn control_so_far(&self, live: &Live) -> Option<Value> {
        let statistic = self.statistic().filter(|_| self.group == Group::Packets)?;
        Some(Distribution::packets(&live.control, live.control_lost).at(statistic))
    }

    /// Samples that a percentile needs, so that 100 lie beyond it; `None` for any other metric.
    pub fn samples_needed(&self) -> Option<u64> {
        match self.of {
            Of::Statistic(statistic, _) => statistic.samples_needed(),
            Of::Rank(rank) => Some(rank.samples_needed()),
            Of::Figure(..) => None,
        }
    }

    /// Its name, parted at the first dot.
    pub fn family_and_key(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }

    /// True if it is a figure of conversations.
    pub fn is_of_turns(&self) -> bool {
        matches!(self.family(), "turn" | "bargein" | "greeting" | "dead_air")
    }

    /// The part of its name before the first dot.
    pub fn family(&self) -> &'static str {
        self.family_and_key().0
    }
}

/// The part of a report that a metric belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Counts and ratios of calls and SIP messages.
    Calls,
    /// Delays of call set-up and tear-down.
    SetUp,
    /// Times and counts of the built-in service.
    Service,
    /// Counts and ratios of packets, and what is derived from them.
    Traffic,
    /// Packets too late for a playout buffer.
    Late,
    /// Slow rise of the round trip.
    Drift,
    /// Times of the calls' packets.
    Packets,
    /// The control stream.
    Control,
    /// The load generator's own lateness and losses.
    Instrument,
    /// CPU and memory.
    Resources,
    /// Planned faults.
    Faults,
    /// Leak check.
    Leaks,
}

/// Basis of a metric's value, by which an instrument that falls behind may have bent it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestsOn {
    /// Packets sent in time and stamped in time: a driver that is late, or a socket that overflows, may
    /// have bent it. In doubt it is an interval from the best to the worst reading.
    Packets,
    /// Messages, leftovers and the instrument's own figures: who was answered, how calls ended, what stayed
    /// behind, how much CPU was used, how late the driver was. In doubt it keeps its value.
    Records,
}

/// Direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As of a delay, or of what was lost.
    Smaller,
    /// As of what came back, or of a score.
    Larger,
}

/// Change of a metric that is possible while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It can only grow.
    Grows,
    /// It may rise and fall.
    Varies,
}

/// A statistic of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The smallest.
    Min,
    /// The average.
    Mean,
    /// The median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// The largest.
    Max,
}

impl Statistic {
    /// All, in the order of reports.
    pub const ALL: [Statistic; 8] = [
        Statistic::Min,
        Statistic::Mean,
        Statistic::P50,
        Statistic::P90,
        Statistic::P95,
        Statistic::P99,
        Statistic::P999,
        Statistic::Max,
    ];

    /// Its key, its name in words, and for a percentile its share, 0–1.
    const fn row(self) -> (&'static str, &'static str, Option<f64>) {
        match self {
            Statistic::Min => ("min", "smallest", None),
            Statistic::Mean => ("mean", "mean", None),
            Statistic::P50 => ("p50", "median", Some(0.5)),
            Statistic::P90 => ("p90", "90th percentile", Some(0.9)),
            Statistic::P95 => ("p95", "95th percentile", Some(0.95)),
            Statistic::P99 => ("p99", "99th percentile", Some(0.99)),
            Statistic::P999 => ("p99.9", "99.9th percentile", Some(0.999)),
            Statistic::Max => ("max", "largest", None),
        }
    }

    /// The last part of a metric's name.
    pub const fn key(self) -> &'static str {
        self.row().0
    }

    /// Its name in words.
    pub(super) const fn words(self) -> &'static str {
        self.row().1
    }

    /// 0–1 for a percentile.
    pub const fn quantile(self) -> Option<f64> {
        self.row().2
    }

    /// Its change while samples are added; `None` for the smallest, which is left to the end: it may yet shrink.
    const fn course(self) -> Option<Course> {
        match self {
            Statistic::Min => None,
            Statistic::Max => Some(Course::Grows),
            _ => Some(Course::Varies),
        }
    }

    /// Samples that a percentile needs, so that 100 lie beyond it.
    pub fn samples_needed(self) -> Option<u64> {
        self.quantile().map(|q| (100.0 / (1.0 - q)).round() as u64)
    }

    /// True for a percentile that rests on too few of so many samples.
    pub fn is_too_few(self, samples: u64) -> bool {
        self.samples_needed().is_some_and(|needed| samples < needed)
    }
}

/// One metric of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its row in the table.
    pub definition: &'static Definition,
    /// Its value.
    pub value: Value,
    /// For a statistic or a percentile: the samples that it rests on.
    pub samples: Option<u64>,
    /// True for a percentile p that rests on fewer than 100 / (1 − p) samples.
    pub too_few: bool,
}

impl Metric {
    fn figure(definition: &'static Definition, value: Value) -> Metric {
        Metric { definition, value, samples: None, too_few: false }
    }

    fn statistic(definition: &'static Definition, statistic: Statistic, of: &Distribution<'_>) -> Metric {
        let samples = of.samples();
        let too_few = samples.is_some_and(|n| n > 0 && statistic.is_too_few(n));
        Metric { definition, value: of.at(statistic), samples, too_few }
    }

    /// The metric's name.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }
}

impl fmt::Display for Metric {
    /// For people: `0.213 ms`, `0.02 %`, `lost`, `no data`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self.value, self.definition.unit))
    }
}
