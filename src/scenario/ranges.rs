//! Least and most of every key that has them by itself, whatever the others are.

use super::Scenario;
use super::defaults::{ms, secs};
use super::error::Problems;
use crate::rtp::sequence::WINDOW;
use crate::values::Span;

/// Longest of anything that a run waits for: more is a typo rather than a plan.
pub(super) const LONGEST: Span = secs(7 * 24 * 3600);
/// More than any one machine carries; a typo rather than a plan.
pub(super) const MOST_CALLS: u32 = 20_000;
/// Longer runs of lost packets are an outage: 20 s at the usual packet time.
pub(super) const LONGEST_BURST: f64 = 1000.0;
/// Nobody waits longer for an answer.
pub(super) const LONGEST_DELAY: Span = secs(1);
/// With a hundred calls ten seconds: nobody is served any more.
pub(super) const LONGEST_DELAY_PER_CALL: Span = ms(100);
/// Longest trial of a search, which makes dozens of them.
const LONGEST_TRIAL: Span = secs(24 * 3600);
/// Shortest and longest session timer: RFC 4028 5 wants 90 s at least, and nobody holds a call for longer than a day.
pub(super) const SESSION_EXPIRES: (Span, Span) = (secs(90), secs(24 * 3600));
/// Soonest that a silent call is given up, other than never.
pub(super) const SOONEST_DEAD: Span = secs(1);

/// Least and most of `measure.lost_after` at a packet time: half of the packets that are followed may be out.
pub(super) fn lost_after(ptime: Span) -> (Span, Span) {
    (ms(100), Span(ptime.0 * WINDOW / 2))
}

/// Bounds of a span of time.
struct Bound {
    key: &'static str,
    of: fn(&Scenario) -> Span,
    least: Span,
    most: Span,
    /// The time in words.
    what: &'static str,
    cure: &'static str,
}

const BOUNDS: [Bound; 13] = [
    Bound {
        key: "load.duration",
        of: |s| s.load.duration,
        least: secs(1),
        most: LONGEST,
        what: "the hold phase",
        cure: "5m is usual",
    },
    Bound {
        key: "load.retry_after",
        of: |s| s.load.retry_after,
        least: ms(100),
        most: secs(3600),
        what: "a line's rest",
        cure: "1s is usual",
    },
    Bound {
        key: "measure.warmup",
        of: |s| s.measure.warmup,
        least: secs(0),
        most: LONGEST,
        what: "the warm-up",
        cure: "2s is usual",
    },
    Bound {
        key: "sip.setup_timeout",
        of: |s| s.sip.setup_timeout,
        least: secs(1),
        most: secs(180),
        what: "the set-up",
        cure: "10s is usual",
    },
    Bound {
        key: "sip.register_expires",
        of: |s| s.sip.register_expires,
        least: secs(10),
        most: secs(24 * 3600),
        what: "a registration",
        cure: "1h is usual",
    },
    Bound {
        key: "service.ready_within",
        of: |s| s.service.ready_within,
        least: secs(1),
        most: secs(600),
        what: "connecting",
        cure: "15s is usual",
    },
    Bound {
        key: "capture.seconds",
        of: |s| s.capture.seconds,
        least: secs(0),
        most: super::capture::LONGEST,
        what: "what a capture holds",
        cure: "10s is usual; 0s writes none",
    },
    Bound {
        key: "gates.abort_after",
        of: |s| s.gates.abort_after,
        least: secs(1),
        most: LONGEST,
        what: "a breach",
        cure: "10s is usual; abort_on_fail = false ends no run",
    },
    Bound {
        key: "search.initial_trial",
        of: |s| s.search.initial_trial,
        least: secs(0),
        most: LONGEST_TRIAL,
        what: "a first trial",
        cure: "15s is usual; 0s makes none",
    },
    Bound {
        key: "search.final_trial",
        of: |s| s.search.final_trial,
        least: secs(1),
        most: LONGEST_TRIAL,
        what: "a final trial",
        cure: "1m is usual",
    },
    Bound {
        key: "search.duration_sum",
        of: |s| s.search.duration_sum,
        least: secs(1),
        most: LONGEST,
        what: "the trials of a load",
        cure: "2m is usual",
    },
    Bound {
        key: "search.revisit",
        of: |s| s.search.revisit,
        least: secs(0),
        most: LONGEST,
        what: "the search of a machine that is not equally fast at all times",
        cure: "25m is usual; 0s tries nothing again",
    },
    Bound {
        key: "search.rest",
        of: |s| s.search.rest,
        least: secs(0),
        most: LONGEST_TRIAL,
        what: "the rest after a trial",
        cure: "7s is usual",
    },
];

/// Refuses what lasts too short or too long.
pub(super) fn problems(scenario: &Scenario, found: &mut Problems) {
    for Bound { key, of, least, most, what, cure } in &BOUNDS {
        let is_broken = !(*least..=*most).contains(&of(scenario));
        found.refuse_if(is_broken, key, format!("{what} must last between {least} and {most}"), *cure);
    }
}

/// Key, least and most of every range, as they are written in a scenario. Some are held by rules of `check` and
/// `fault` that say more than a range can.
#[cfg(test)]
pub(super) fn all() -> Vec<(&'static str, String, String)> {
    let at_usual = lost_after(Scenario::default().media.ptime);
    let span = |key, least: Span, most: Span| (key, least.to_string(), most.to_string());
    let mut found: Vec<_> = BOUNDS.iter().map(|b| span(b.key, b.least, b.most)).collect();
    found.extend([
        ("load.calls", "0".into(), MOST_CALLS.to_string()),
        ("stage.calls", "1".into(), MOST_CALLS.to_string()),
        span("stage.hold", super::stage::SHORTEST_HOLD, LONGEST),
        span("load.dead_after", SOONEST_DEAD, LONGEST),
        span("load.call_duration", secs(1), LONGEST),
        span("sip.session_expires", SESSION_EXPIRES.0, SESSION_EXPIRES.1),
        span("media.ptime", ms(10), ms(60)),
        span("measure.lost_after", at_usual.0, at_usual.1),
        span("service.delay", secs(0), LONGEST_DELAY),
        span("service.delay_per_call", secs(0), LONGEST_DELAY_PER_CALL),
        span("fault.for", super::fault::FOR.0, super::fault::FOR.1),
        ("impair.out.burst", "1".into(), LONGEST_BURST.to_string()),
        ("impair.back.burst", "1".into(), LONGEST_BURST.to_string()),
        ("capture.most_mib", "1".into(), super::capture::MOST_MIB.to_string()),
        ("capture.files", "0".into(), super::capture::MOST_FILES.to_string()),
        ("asterisk.ari_port", "1024".into(), u16::MAX.to_string()),
        ("search.width", "0.1%".into(), "50%".into()),
        ("search.exceed", "0%".into(), "99%".into()),
    ]);
    found
}
