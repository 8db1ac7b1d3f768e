//! Stories of the slowest calls, in words.

use super::calls::{self, CallRow};
use super::ladder::{self, CallLadder};
use super::story::{Moment, Stories, Story, Unusual};
use crate::metrics::Summary;
use crate::record::{CallRecord, Silence};
use crate::report::words;
use crate::values::{Ns, Unit, Value, counted, show};

/// Most silences of one call that have a sentence each.
const MOST_SILENCES: usize = 5;

/// A call and its events.
pub(super) struct CallStory {
    pub row: CallRow,
    pub events: Vec<StoryEvent>,
    pub ladder: Option<CallLadder>,
}

/// An event of a call.
pub(super) struct StoryEvent {
    /// Since the run's start, as `2:05`.
    pub when: String,
    pub what: String,
    at_s: f64,
}

impl StoryEvent {
    fn new(at_s: f64, what: String) -> StoryEvent {
        StoryEvent { when: words::clock(at_s, 1.0), what, at_s }
    }
}

/// The stories of the calls to look at first.
pub(super) fn worst(summary: &Summary, count: usize) -> Vec<CallStory> {
    let stories = Stories::new(summary);
    let story = |call: &CallRecord| CallStory {
        row: CallRow::from(call),
        events: events(&stories.of(call)),
        ladder: ladder::of_call(summary, call.call),
    };
    calls::worst(&summary.calls, count).into_iter().map(story).collect()
}

fn events(story: &Story<'_>) -> Vec<StoryEvent> {
    let call = story.call;
    let mut events = vec![StoryEvent::new(call.intended_s, set_up(call))];
    if let Some(worst) = &story.worst {
        events.push(StoryEvent::new(f64::from(worst.second), worst_second(worst, story)));
    }
    if let Some(slowest) = &story.slowest {
        let what = format!("Its slowest packet, {}.{}", milliseconds(slowest.rtt_ms), around(slowest));
        events.push(StoryEvent::new(f64::from(slowest.second), what));
    }
    if let Some((worst, scored)) = story.passage {
        let passages = counted(scored, "passage");
        let what = format!(
            "The worst of {passages} that it read aloud: MOS-LQO {:.2}, {:.1} % of it never came.",
            worst.mos_lqo.unwrap_or_default(),
            worst.missing_ratio.unwrap_or_default() * 100.0
        );
        events.push(StoryEvent::new(worst.sent_s, what));
    }
    events.extend(silences(story));
    for recovery in &story.faults {
        let what = format!("{}, on purpose.", recovery.what());
        events.push(StoryEvent::new(recovery.fault.done_s, words::one_line(&what)));
    }
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    if let Some(ended) = story.ended_s {
        events.push(StoryEvent::new(ended, end(call)));
    }
    events
}

/// The longest silences, and how many more there were.
fn silences(story: &Story<'_>) -> Vec<StoryEvent> {
    let length = |s: &Silence| s.to_s - s.from_s;
    // A file of others may hold any number.
    let mut all: Vec<Silence> =
        story.silences.iter().copied().filter(|s| length(s).is_finite() && length(s) > 0.0).collect();
    all.sort_by(|a, b| length(b).total_cmp(&length(a)));
    let rest = all.split_off(all.len().min(MOST_SILENCES));
    let event = |s: &Silence| StoryEvent::new(s.from_s, format!("Nothing was heard for {:.1} s.", length(s)));
    let mut events: Vec<StoryEvent> = all.iter().map(event).collect();
    if let Some(last_s) = rest.iter().map(|s| s.to_s).reduce(f64::max) {
        let seconds: f64 = rest.iter().map(length).sum();
        let what = format!("Until here {} shorter silences, {seconds:.1} s in all.", rest.len());
        events.push(StoryEvent::new(last_s, what));
    }
    events
}

/// Its set-up.
fn set_up(call: &CallRecord) -> String {
    let mut said = format!("INVITE on line {}", call.line);
    let after = |said: &mut String, what: &str, value: Option<Ns>| {
        if let Some(value) = value {
            said.push_str(&format!(", {what} {} ms", words::ms(value)));
        }
    };
    after(&mut said, "first response (SRD) after", call.srd_ms);
    after(&mut said, "answered after", call.answer_delay_ms);
    after(&mut said, "first echo after another", call.first_echo_ms);
    if call.retransmissions > 0 {
        said.push_str(&format!(", {} sent again", counted(call.retransmissions.into(), "request")));
    }
    if !call.ending.was_answered() {
        said.push_str(&format!(". Not answered: {}", calls::ending(call)));
    } else if call.first_echo_ms.is_none() && call.total_received == 0 {
        said.push_str(". Nothing came back");
    }
    said + "."
}

fn worst_second(worst: &Moment<'_>, story: &Story<'_>) -> String {
    let usual =
        story.call.rtt_p50_ms.ns().map(|ns| format!(" ({} over the whole call)", milliseconds(ns.as_ms())));
    let median = milliseconds(worst.rtt_ms);
    let usual = usual.unwrap_or_default();
    match story.stands_out() {
        true => format!("Its slowest second: median {median}{usual}.{}", around(worst)),
        false => format!("No second stands out: the slowest had a median of {median}{usual}."),
    }
}

/// Lost and late packets, and a stall of the machine, in the same second.
fn around(moment: &Moment<'_>) -> String {
    let mut said = String::new();
    let all = moment.all.map(|s| {
        let parts = [(s.lost, "packet lost", "packets lost"), (s.late, "late", "late")];
        let parts = parts.into_iter().filter(|(n, ..)| *n > 0);
        parts
            .map(|(n, one, many)| format!("{} {}", count(n), if n == 1 { one } else { many }))
            .collect::<Vec<_>>()
    });
    if let Some(parts) = all.filter(|parts| !parts.is_empty()) {
        said.push_str(&format!(" All calls together: {}.", parts.join(", ")));
    }
    let unusual = |u: Unusual| format!("{} ms, usually {}", words::ms(u.value), words::ms(u.usual));
    match (moment.control, moment.lateness) {
        (Some(control), Some(late)) => said.push_str(&format!(
            " The machine stalled: the control stream was slow (p99 {}) and the driver sent late (at most {}).",
            unusual(control),
            unusual(late)
        )),
        (Some(control), None) => said.push_str(&format!(
            " The control stream, which bypasses Asterisk, was slow too (p99 {}).",
            unusual(control)
        )),
        (None, Some(late)) => {
            said.push_str(&format!(" The driver sent late (at most {}).", unusual(late)));
        }
        (None, None) if moment.is_calm => {
            said.push_str(" The control stream was as usual: the machine did not stall for it.");
        }
        (None, None) => {}
    }
    said
}

/// Its end.
fn end(call: &CallRecord) -> String {
    let held = call.held_ms.map(|ns| format!(" after {}", words::span(ns.as_ms() / 1000.0)));
    let mut said = format!("Ended{}: {}.", held.unwrap_or_default(), calls::ending(call));
    if call.holds > 0 {
        let whole = words::span(call.on_hold_ms.unwrap_or_default().as_ms() / 1000.0);
        said.push_str(&format!(" The far end put it on hold {}, {whole} in all", times(call.holds)));
        said.push_str(match call.excused {
            0 => ".",
            _ => "; packets that were under way then do not count.",
        });
    }
    if call.sent > 0 {
        let ways: Vec<_> = [(call.lost_up, "on the way up"), (call.lost_down, "on the way down")]
            .into_iter()
            .filter_map(|(n, way)| n.filter(|n| *n > 0).map(|n| format!("{n} {way}")))
            .collect();
        let ways = if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) };
        let sent = counted(call.sent, "packet");
        said.push_str(&format!(
            " Of {sent} measured, {} lost{ways}, {} late.",
            count(call.lost),
            count(call.late)
        ));
    }
    said
}

fn times(n: u32) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
}

fn count(n: u64) -> String {
    show(Value::Number(n as f64), Unit::Count)
}

fn milliseconds(ms: f64) -> String {
    format!("{} ms", words::ms(Ns((ms * 1e6).round() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CallSecond, Silence};
    use crate::report::fixture;

    fn story(call: usize, of: &Summary) -> String {
        events(&Stories::new(of).of(&of.calls[call]))
            .iter()
            .map(|e| format!("{} {}\n", e.when, e.what))
            .collect()
    }

    #[test]
    fn a_story_goes_from_the_calls_beginning_to_its_end() {
        let (mut summary, _) = fixture::faulted();
        summary.call_seconds = vec![
            CallSecond { call: 3, second: 20, rtt_p50_ms: 0.21 },
            CallSecond { call: 3, second: 60, rtt_p50_ms: 7.5 },
        ];
        summary.silences = vec![Silence { call: 3, from_s: 100.3, to_s: 106.5 }];
        let said = story(3, &summary);
        let order = [
            "0:00 INVITE on line 3",
            "1:00 Its slowest second: median 7.500 ms",
            "1:40 Asterisk killed",
            "1:40 Nothing was heard for 6.2 s",
            "1:45 Ended after 1 min 45 s: media lost: nothing heard for 5 s.",
        ];
        let places: Vec<_> = order.iter().map(|part| said.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{said}");
    }

    #[test]
    fn holds_are_told_of() {
        let (mut summary, _) = fixture::faulted();
        let call = &mut summary.calls[3];
        (call.holds, call.on_hold_ms, call.excused) = (2, Some(Ns(7_400_000_000)), 1);
        let said = story(3, &summary);
        let told =
            " The far end put it on hold 2 times, 7 s in all; packets that were under way then do not count.";
        assert!(said.contains(told), "{said}");
    }

    #[test]
    fn a_refused_call_names_the_answer() {
        let (summary, _) = fixture::typical();
        let said = story(23, &summary);
        assert!(said.contains("Not answered: rejected: 503 Service Unavailable."), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
