//! The table's rows of conversations.

use std::sync::LazyLock;
use std::time::Duration;

use Group::Calls;
use Unit::{Count, Ratio};

use super::counts::{heard, record};
use super::facts::{Facts, number, ratio};
use super::latencies::row;
use super::metric::{Definition, Group, Samples, Statistic};
use crate::record::{TurnKind, TurnRow};
use crate::values::{Ns, Unit, Value};

/// Time that the shortest usual turn takes: a word of 1 s, an answer of 1 s, and 700 ms until the caller takes it for
/// ended. More turns are not to be expected of a call.
pub const SHORTEST_TURN: Duration = Duration::from_secs(3);

fn count(facts: &Facts<'_>, is: fn(&TurnRow) -> bool) -> u64 {
    facts.turns().filter(|turn| is(turn)).count() as u64
}

/// Those that may be held against the service.
fn against(facts: &Facts<'_>, is: fn(&TurnRow) -> bool) -> u64 {
    facts.quiet_turns().filter(|turn| is(turn)).count() as u64
}

/// Figures of conversations alone: no data where nobody talks.
fn of_turns(facts: &Facts<'_>, figure: impl FnOnce() -> Value) -> Value {
    if facts.turns().next().is_some() { figure() } else { Value::NoData }
}

fn is_answer(turn: &TurnRow) -> bool {
    turn.kind.is_answered()
}

fn is_judged(turn: &TurnRow) -> bool {
    is_answer(turn) && turn.is_judged()
}

#[rustfmt::skip]
pub(super) static TURN_COUNTS: [Definition; 8] = [
    heard(record(Calls, "turn.count", Count, "turns of the callers whose response is judged",
        |f| of_turns(f, || number(count(f, is_judged)))).by_stage(false)
        .larger_is_better()),
    heard(record(Calls, "turn.discarded_count", Count, "turns of the callers that cannot be judged (turns.csv says why)",
        |f| of_turns(f, || number(against(f, |t| is_answer(t) && !t.discarded.is_empty())))).by_stage(false)),
    heard(record(Calls, "turn.no_reply_ratio", Ratio, "turns without an answer in time, of those judged",
        |f| of_turns(f, || ratio(against(f, |t| is_judged(t) && t.no_reply), count(f, is_judged)))).by_stage(false)),
    heard(record(Calls, "turn.premature_ratio", Ratio, "turns answered in a pause of the caller's own sentence, of those said",
        |f| of_turns(f, || ratio(against(f, |t| is_answer(t) && t.premature), count(f, is_answer)))).by_stage(false)),
    heard(record(Calls, "bargein.count", Count, "interruptions whose stop is judged",
        |f| of_turns(f, || number(count(f, |t| t.stop_ms.is_some())))).by_stage(false)
        .larger_is_better()),
    heard(record(Calls, "bargein.false_stop_ratio", Ratio, "backchannels for which the service fell silent, of those judged",
        |f| of_turns(f, || {
            ratio(against(f, |t| t.false_stop == Some(true)), count(f, |t| t.false_stop.is_some()))
        })).by_stage(false)),
    heard(record(Calls, "dead_air.count", Count, "times that nobody spoke for longer than 2 s in the service's turn",
        |f| of_turns(f, || number(against(f, |t| t.kind == TurnKind::DeadAir)))).by_stage(false)),
    heard(record(Calls, "greeting.missing_count", Count, "calls without a greeting in time",
        |f| of_turns(f, || number(against(f, |t| t.kind == TurnKind::Greeting && t.no_reply)))).by_stage(false)),
];

/// Statistics of the times of turns.
pub static TURN_TIMES: LazyLock<[[Definition; 8]; 5]> = LazyLock::new(|| {
    let times = |name: &str, help: &str, of: fn(&TurnRow) -> Option<Ns>| {
        Statistic::ALL.map(|statistic| {
            row(Calls, format!("{name}.{}", statistic.key()), help, statistic, Samples::Turns(of))
        })
    };
    [
        times("turn.response", "end of the caller's speech to the first voiced sample of the answer", |t| {
            t.response_ms.filter(|_| is_answer(t))
        }),
        times("turn.content", "the same to the start of its first segment of 400 ms and longer", |t| {
            t.content_ms.filter(|_| is_answer(t))
        }),
        times("bargein.stop", "the caller's onset over the service's talk to its last voiced sample", |t| {
            t.stop_ms
        }),
        times("bargein.talk_over", "time in which both spoke, of turns over the service's talk", |t| {
            Some(t.talk_over_ms).filter(|_| matches!(t.kind, TurnKind::Interruption | TurnKind::Backchannel))
        }),
        times("greeting", "200 received to the first voiced sample of the service", |t| {
            t.response_ms.filter(|_| t.kind == TurnKind::Greeting)
        }),
    ]
});
