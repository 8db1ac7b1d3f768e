//! Rows of what callers played and said, of those that count in a reading.
//!
//! Where the driver is in doubt, it may have kept a caller silent, or an answer waiting to be heard: the best reading has the
//! rows alone during which all was quiet.

use super::facts::{Facts, Reading};
use crate::record::{QualityRow, Series, SignalRow, TurnRow};
use crate::values::Ns;

/// Seconds that a burst takes, its length and a delay that is not known.
const BURST_SECONDS: f64 = 0.5;

impl<'a> Facts<'a> {
    /// Turns whose caller ended in the measured window.
    pub fn turns(&self) -> impl Iterator<Item = &'a TurnRow> + use<'a> {
        let window = self.environment.window();
        self.turn_rows.iter().filter(move |turn| turn.is_within(window.as_ref()))
    }

    /// Those of them that the doubt leaves.
    pub fn quiet_turns(&self) -> impl Iterator<Item = &'a TurnRow> + use<'a> {
        let reading = self.reading;
        let answered = |turn: &TurnRow| turn.response_ms.map_or(0.0, seconds);
        self.turns().filter(move |turn| {
            reading.is_quiet(turn.said_from_s.min(turn.said_to_s), turn.said_to_s + answered(turn))
        })
    }

    /// Bursts begun in the measured window.
    pub fn signals(&self) -> impl Iterator<Item = &'a SignalRow> + use<'a> {
        let window = self.environment.window();
        self.signal_rows.iter().filter(move |burst| burst.is_within(window.as_ref()))
    }

    /// Those of them that the doubt leaves.
    pub fn quiet_signals(&self) -> impl Iterator<Item = &'a SignalRow> + use<'a> {
        let reading = self.reading;
        let back = |burst: &SignalRow| burst.sent_s + BURST_SECONDS + burst.delay_ms.map_or(0.0, seconds);
        self.signals().filter(move |burst| reading.is_quiet(burst.sent_s, back(burst)))
    }

    /// Passages begun in the measured window. They last too long to lie in quiet seconds alone, so all are in each reading.
    pub fn passages(&self) -> impl Iterator<Item = &'a QualityRow> {
        let window = self.environment.window();
        self.quality_rows.iter().filter(move |passage| passage.is_within(window.as_ref()))
    }

    /// True for the best reading that a doubt leaves.
    pub fn is_best(&self) -> bool {
        matches!(self.reading, Reading::Best(_))
    }

    /// Packets that were due in the measured window, sent or skipped. Of callers who talk none is awaited: the
    /// calls that sent them say their number.
    pub fn slots(&self) -> u64 {
        match self.seconds_sum(|second| second.measured_sent) {
            0 => self.histogram(Series::SendCall).len() + self.environment.skipped,
            sent => sent + self.environment.skipped,
        }
    }
}

impl Reading<'_> {
    /// False in the best reading for a time, in seconds from the start of the run, that touches a second which was not quiet.
    fn is_quiet(self, from_s: f64, to_s: f64) -> bool {
        let Reading::Best(quiet) = self else { return true };
        let (from, to) = (from_s.max(0.0) as u32, to_s.max(0.0) as u32);
        quiet.range(from..=to.max(from)).count() as u64 == u64::from(to.max(from) - from) + 1
    }
}

fn seconds(time: Ns) -> f64 {
    time.as_ms() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::readings::InDoubt;
    use crate::metrics::{Readings, Summary, summarize};
    use crate::record::{Environment, Run, SignalRejection, TurnKind};
    use crate::values::Value;

    fn readings(summary: &Summary, quiet: &BTreeSet<u32>, name: &str) -> Readings {
        InDoubt::of(summary, quiet).readings(summary.metric(name).unwrap())
    }

    /// Troubles while the driver stood still are in the worst reading, and not in the best.
    #[test]
    fn the_best_reading_has_what_lies_in_quiet_seconds() {
        let environment =
            Environment { window_from_s: Some(0.0), window_to_s: Some(60.0), ..Environment::default() };
        let burst = |n: u32, rejected: Option<SignalRejection>| SignalRow {
            number: n,
            sent_s: f64::from(n) + 0.2,
            delay_ms: rejected.is_none().then_some(Ns(5_000_000)),
            rejected,
            ..SignalRow::default()
        };
        let lost = |n: u32| (n == 7).then_some(SignalRejection::Silence);
        let dead_air =
            TurnRow { kind: TurnKind::DeadAir, said_from_s: 6.5, said_to_s: 8.9, ..TurnRow::default() };
        let run = Run {
            environment,
            signals: (0..60).map(|n| burst(n, lost(n))).collect(),
            turns: vec![dead_air],
            ..Run::default()
        };
        let summary = summarize(run);
        let quiet: BTreeSet<u32> = (0..60).filter(|second| *second != 7).collect();
        let found = readings(&summary, &quiet, "signal_delay.rejected_ratio");
        assert_eq!((found.best, found.worst), (Some(Value::Number(0.0)), Some(Value::Number(1.0 / 60.0))));
        let found = readings(&summary, &quiet, "dead_air.count");
        assert_eq!(found.worst, Some(Value::Number(1.0)));
        assert_ne!(found.best, found.worst, "it is the driver's own");
        let all: BTreeSet<u32> = (0..60).collect();
        let certain = readings(&summary, &all, "signal_delay.rejected_ratio");
        assert_eq!(
            (certain.best, certain.worst),
            (Some(Value::Number(1.0 / 60.0)), Some(Value::Number(1.0 / 60.0)))
        );
        let unknown = readings(&summary, &BTreeSet::new(), "signal_delay.rejected_ratio");
        assert_eq!(unknown.best, Some(Value::Number(0.0)), "each of them may be the driver's own");
    }
}
