//! The table's rows of delays through paths that change the audio.

use std::sync::LazyLock;

use Group::Calls;
use Unit::{Count, Ratio};

use super::counts::{heard, record};
use super::facts::{Facts, number, ratio};
use super::latencies::row;
use super::metric::{Definition, Group, Samples, Statistic};
use crate::record::{SignalRejection, SignalRow};
use crate::values::{Unit, Value};

fn count(facts: &Facts<'_>, is: fn(&SignalRow) -> bool) -> u64 {
    facts.signals().filter(|burst| is(burst)).count() as u64
}

/// Those that may be held against the path.
fn against(facts: &Facts<'_>, is: fn(&SignalRow) -> bool) -> u64 {
    let is_own = |burst: &SignalRow| facts.is_best() && burst.is_unjudged();
    facts.quiet_signals().filter(|burst| is(burst) && !is_own(burst)).count() as u64
}

/// Figures of bursts alone: no data where none is played.
fn of_bursts(facts: &Facts<'_>, figure: impl FnOnce() -> Value) -> Value {
    if facts.signals().next().is_some() { figure() } else { Value::NoData }
}

fn is_found(burst: &SignalRow) -> bool {
    burst.delay_ms.is_some()
}

fn is_rejected(burst: &SignalRow) -> bool {
    burst.rejected.is_some_and(|why| why != SignalRejection::CutOff)
}

#[rustfmt::skip]
pub(super) static SIGNAL_COUNTS: [Definition; 4] = [
    heard(record(Calls, "signal_delay.count", Count, "bursts that were found in the audio that came back",
        |f| of_bursts(f, || number(count(f, is_found)))).by_stage(false)
        .larger_is_better()),
    heard(record(Calls, "signal_delay.rejected_count", Count, "bursts that were not found again (signals.csv says why)",
        |f| of_bursts(f, || number(against(f, is_rejected)))).by_stage(false)),
    heard(record(Calls, "signal_delay.rejected_ratio", Ratio, "bursts that were not found again, of those sent",
        |f| of_bursts(f, || ratio(against(f, is_rejected), count(f, |b| is_found(b) || is_rejected(b))))).by_stage(false)),
    heard(record(Calls, "signal_delay.inverted_count", Count, "bursts that came back with their sign reversed",
        |f| of_bursts(f, || number(against(f, |b| b.inverted)))).by_stage(false)),
];

/// Statistics of the delay.
pub(super) static SIGNAL_TIMES: LazyLock<[Definition; 8]> = LazyLock::new(|| {
    let help = "delay of the audio, by correlation with bursts, where the payload does not survive";
    Statistic::ALL.map(|statistic| {
        let samples = Samples::Signals(|burst| burst.delay_ms);
        row(Calls, format!("signal_delay.{}", statistic.key()), help, statistic, samples)
    })
});
