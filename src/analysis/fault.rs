//! Recovery: the effect of a planned fault on the calls, and the times until all was well again.
//!
//! A call is *heard* from the first of its packets that comes back to the last, less its silences of
//! half a second and longer. Everything is counted up to the next fault, or to the run's end.

use std::fmt;

use serde::Serialize;

use crate::record::{CallRecord, Ending, FaultRecord, Run};
use crate::values::{Unit, Value, counted, show};

/// The lead before a fault at which the calls are counted that are to be heard again after it: further than
/// two packets of a stream lie apart.
const BEFORE_S: f64 = 0.2;

/// One fault and what came of it. Durations are seconds from the fault itself, unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Recovery {
    /// The fault.
    #[serde(flatten)]
    pub fault: FaultRecord,
    /// Seconds from the start of the hold phase, as the scenario counts, to the fault; `None` where there
    /// was no hold phase.
    pub into_hold_s: Option<f64>,
    /// Until the process was ready again.
    pub outage_s: Option<f64>,
    /// Until the first call was answered by what came back.
    pub answered_s: Option<f64>,
    /// Until the first packet of any call was back; 0 where it never stopped for half a second.
    pub heard_s: Option<f64>,
    /// From the process's return until the first packet of any call was back.
    pub served_s: Option<f64>,
    /// Until as many calls were heard as before.
    pub restored_s: Option<f64>,
    /// True if any call was placed that could have been answered.
    pub was_tried: bool,
    /// Calls heard just before.
    pub calls_before: u64,
    /// Calls that it ended before their time.
    pub calls_lost: u64,
    /// Attempts without an answer until as many calls were heard as before.
    pub attempts_failed: u64,
    /// Packets lost in these seconds, in and out of the measured window.
    pub packets_lost: u64,
}

/// A stretch of time in which a call is heard, in seconds since the run's start.
type Heard = (f64, f64);

/// The recovery from every fault that was carried out, in their order.
pub fn recoveries(run: &Run) -> Vec<Recovery> {
    let faults = &run.environment.faults;
    let heard = if faults.is_empty() { Vec::new() } else { heard(run) };
    let until = |n: usize| faults.get(n + 1).map_or(run.environment.elapsed_s, |next| next.done_s);
    faults.iter().enumerate().map(|(n, fault)| recovery(run, fault, &heard, until(n))).collect()
}

fn recovery(run: &Run, fault: &FaultRecord, heard: &[Heard], until: f64) -> Recovery {
    let since = |at: f64| (at - fault.done_s).max(0.0);
    let in_time = |at: &f64| *at > fault.down_s && *at <= until;
    let smallest = |times: &mut dyn Iterator<Item = f64>| times.filter(in_time).reduce(f64::min);
    let answered = smallest(&mut run.calls.iter().filter_map(CallRecord::answered_s));
    let calls_before = count_at(heard, fault.done_s - BEFORE_S);
    let back = fault.back_s.unwrap_or(until);
    let went_on = heard.iter().any(|(from, to)| *from < fault.done_s && *to > back);
    let first_heard = match went_on {
        true => Some(fault.done_s),
        false => smallest(&mut heard.iter().map(|(from, _)| *from)),
    };
    let restored = fault.back_s.and_then(|back| reaches(heard, calls_before, back, until));
    let end = restored.unwrap_or(until);
    let tried = |c: &&CallRecord| c.intended_s >= fault.done_s && c.intended_s <= end;
    let seconds = fault.done_s as u32..=end as u32;
    Recovery {
        into_hold_s: run.environment.window_from_s.map(|from| fault.done_s - from),
        outage_s: fault.back_s.map(since),
        answered_s: answered.map(since),
        heard_s: first_heard.map(since),
        served_s: first_heard.zip(fault.back_s).map(|(at, back)| (at - back).max(0.0)),
        restored_s: restored.map(since),
        was_tried: run.calls.iter().any(|c| c.intended_s > fault.done_s && c.intended_s <= until),
        calls_before,
        calls_lost: run.calls.iter().filter(|c| is_lost(c, fault, back)).count() as u64,
        attempts_failed: run.calls.iter().filter(tried).filter(|c| !c.ending.was_answered()).count() as u64,
        packets_lost: run.seconds.iter().filter(|s| seconds.contains(&s.second)).map(|s| s.lost).sum(),
        fault: fault.clone(),
    }
}

/// Up when the fault came, not heard again once the process was back, and not ended as planned.
fn is_lost(call: &CallRecord, fault: &FaultRecord, back: f64) -> bool {
    let Some(from) = call.answered_s() else { return false };
    let to = from + call.held_ms.map_or(0.0, |held| held.as_ms() / 1000.0);
    let bad = matches!(
        call.ending,
        Ending::MediaLost | Ending::RemoteHangup | Ending::SessionExpired | Ending::HangupFailed
    );
    bad && from < fault.done_s && to >= fault.done_s && call.last_echo_s.is_none_or(|at| at < back)
}

/// Stretches of time in which calls were heard.
fn heard(run: &Run) -> Vec<Heard> {
    let mut stretches = Vec::new();
    let mut silences = run.silences.iter().peekable();
    for call in &run.calls {
        while silences.next_if(|s| s.call < call.call).is_some() {}
        let first = call.answered_s().zip(call.first_echo_ms).map(|(at, echo)| at + echo.as_ms() / 1000.0);
        let (Some(mut from), Some(last)) = (first, call.last_echo_s) else { continue };
        while let Some(silence) = silences.next_if(|s| s.call == call.call) {
            stretches.push((from, silence.from_s));
            from = silence.to_s;
        }
        stretches.push((from, last));
    }
    stretches
}

fn count_at(heard: &[Heard], at: f64) -> u64 {
    heard.iter().filter(|(from, to)| *from <= at && *to > at).count() as u64
}

/// The first time from `from` to `until` at which as many calls are heard as `wanted`.
fn reaches(heard: &[Heard], wanted: u64, from: f64, until: f64) -> Option<f64> {
    let mut count = count_at(heard, from) as i64;
    if count >= wanted as i64 {
        return Some(from);
    }
    let later = |at: &f64| *at > from && *at <= until;
    let starts = heard.iter().map(|(start, _)| (*start, 1));
    let ends = heard.iter().map(|(_, end)| (*end, -1));
    let mut changes: Vec<(f64, i64)> = starts.chain(ends).filter(|(at, _)| later(at)).collect();
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    changes.into_iter().find_map(|(at, change)| {
        count += change;
        (count >= wanted as i64).then_some(at)
    })
}

impl Recovery {
    /// Target and action, in words.
    pub fn what(&self) -> String {
        let done = match self.fault.action.as_str() {
            "kill" => "killed",
            "stop" => "held still",
            _ => "restarted",
        };
        format!("{} {done}", self.whose())
    }

    fn whose(&self) -> &str {
        match self.fault.target.as_str() {
            "asterisk" => "Asterisk",
            "service" => "service",
            other => other,
        }
    }
}

impl fmt::Display for Recovery {
    /// `Asterisk killed 10.0 s into the hold (14.2 s into the run), ready again after 3.5 s: 5 of 5 calls lost, …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, at) = (self.what(), self.fault.done_s);
        match self.into_hold_s {
            Some(s) => write!(f, "{what} {s:.1} s into the hold ({at:.1} s into the run), ")?,
            None => write!(f, "{what} {at:.1} s into the run, ")?,
        }
        match self.outage_s {
            Some(s) => write!(f, "ready again after {s:.1} s")?,
            None => write!(f, "never ready again")?,
        }
        write!(f, ": {} of ", show(Value::Number(self.calls_lost as f64), Unit::Count))?;
        write!(f, "{} and ", counted(self.calls_before, "call"))?;
        write!(f, "{} lost, ", counted(self.packets_lost, "packet"))?;
        write!(f, "{} failed", counted(self.attempts_failed, "attempt"))?;
        match (self.answered_s, self.was_tried) {
            (Some(s), _) => write!(f, ", first call answered after {s:.1} s")?,
            (None, true) => write!(f, ", no call answered any more")?,
            (None, false) => write!(f, ", no call placed since")?,
        }
        match (self.heard_s, self.served_s) {
            (Some(0.0), _) => write!(f, ", media never interrupted for long")?,
            (Some(s), Some(served)) => {
                write!(f, ", media back after {s:.1} s ({served:.1} s after its return)")?;
            }
            (Some(s), None) => write!(f, ", media back after {s:.1} s")?,
            (None, _) => write!(f, ", no media any more")?,
        }
        match self.restored_s {
            Some(s) => write!(f, ", as many calls heard as before after {s:.1} s."),
            None => write!(f, ", and never as many calls heard as before."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Environment, SecondRecord, Silence};
    use crate::values::Ns;

    fn call(n: u32, ending: Ending, placed_s: f64, echo_s: (f64, f64), held_s: f64) -> CallRecord {
        let ns = |s: f64| Ns((s * 1e9) as u64);
        CallRecord {
            ending,
            intended_s: placed_s,
            answer_delay_ms: Some(ns(0.1)),
            first_echo_ms: Some(ns(echo_s.0 - placed_s - 0.1)),
            last_echo_s: Some(echo_s.1),
            held_ms: Some(ns(held_s)),
            call: n,
            line: n,
            ..CallRecord::default()
        }
    }

    fn failed(n: u32, placed_s: f64) -> CallRecord {
        CallRecord {
            call: n,
            line: n,
            ending: Ending::Timeout,
            intended_s: placed_s,
            ..CallRecord::default()
        }
    }

    fn fault(done_s: f64, down_s: f64, back_s: Option<f64>) -> FaultRecord {
        let (target, action) = ("asterisk".to_string(), "kill".to_string());
        FaultRecord { target, action, planned_s: done_s, done_s, down_s, back_s, trouble: String::new() }
    }

    fn run(faults: Vec<FaultRecord>, calls: Vec<CallRecord>, silences: Vec<Silence>) -> Run {
        Run {
            environment: Environment {
                faults,
                elapsed_s: 40.0,
                window_from_s: Some(3.5),
                ..Environment::default()
            },
            calls,
            seconds: (0..40).map(|second| SecondRecord { second, lost: 3, ..Default::default() }).collect(),
            silences,
            ..Run::default()
        }
    }

    fn near(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-6)
    }

    #[test]
    fn a_killed_process_and_its_return_are_told_apart() {
        let calls = vec![
            call(0, Ending::MediaLost, 1.0, (1.2, 10.0), 14.0),
            call(1, Ending::MediaLost, 1.0, (1.2, 10.01), 14.0),
            call(2, Ending::Completed, 1.0, (1.2, 9.0), 7.9),
            failed(3, 11.0),
            call(4, Ending::Completed, 15.0, (15.3, 30.0), 20.0),
            call(5, Ending::Completed, 16.0, (16.5, 30.0), 20.0),
            failed(6, 20.0),
        ];
        let all = recoveries(&run(vec![fault(10.0, 10.0, Some(13.0))], calls, vec![]));
        let [r] = &all[..] else { panic!("{all:?}") };
        assert_eq!((r.calls_before, r.calls_lost, r.attempts_failed), (2, 2, 1));
        assert!(near(r.outage_s, 3.0) && near(r.answered_s, 5.1) && near(r.heard_s, 5.3), "{r:?}");
        assert!(near(r.served_s, 2.3) && near(r.restored_s, 6.5), "{r:?}");
        assert_eq!(r.packets_lost, 3 * 7, "seconds 10 to 16");
        insta::assert_snapshot!(r.to_string(), @"Asterisk killed 6.5 s into the hold (10.0 s into the run), ready again after 3.0 s: 2 of 2 calls and 21 packets lost, 1 attempt failed, first call answered after 5.1 s, media back after 5.3 s (2.3 s after its return), as many calls heard as before after 6.5 s.");
    }

    #[test]
    fn a_call_that_sits_out_a_fault_is_not_lost() {
        let calls = vec![call(0, Ending::Completed, 1.0, (1.2, 30.0), 30.0)];
        let silence = Silence { call: 0, from_s: 10.0, to_s: 12.2 };
        let r = &recoveries(&run(vec![fault(10.0, 10.0, Some(12.0))], calls.clone(), vec![silence]))[0];
        assert_eq!((r.calls_before, r.calls_lost, r.was_tried), (1, 0, false));
        assert!(near(r.heard_s, 2.2) && near(r.served_s, 0.2) && near(r.restored_s, 2.2), "{r:?}");
        // One too short to be a silence.
        let r = &recoveries(&run(vec![fault(10.0, 10.0, Some(10.3))], calls, vec![]))[0];
        assert!(near(r.heard_s, 0.0) && near(r.restored_s, 0.3), "{r:?}");
    }

    #[test]
    fn what_never_comes_back_is_said_and_the_next_fault_ends_the_wait() {
        let calls = vec![
            call(0, Ending::MediaLost, 1.0, (1.2, 10.0), 14.0),
            failed(1, 12.0),
            call(2, Ending::Completed, 25.0, (25.2, 30.0), 5.0),
        ];
        let faults = vec![fault(10.0, 10.0, Some(11.0)), fault(20.0, 20.0, None)];
        let all = recoveries(&run(faults, calls, vec![]));
        assert_eq!((all[0].heard_s, all[0].restored_s, all[0].was_tried), (None, None, true));
        assert!(all[0].to_string().contains("no call answered any more"));
        assert_eq!((all[1].outage_s, all[1].restored_s), (None, None));
        assert!(near(all[1].heard_s, 5.2), "{:?}", all[1]);
    }
}
