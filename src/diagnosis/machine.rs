//! Processes that died, and a machine that was not up to it.

use super::{Evidence, Finding, Seen, quoted};
use crate::gate::{MachineLoad, Outcome};
use crate::record::{Breakage, CallRecord, Death, Ending, LogLine, Phase, TestedProcess};

/// Weight of what ends a run: it outranks all that follows from it.
const ENDS_ALL: f64 = 2.0;
/// Weight of a machine that was full or disturbed: below anything that most calls suffered from.
const MACHINE: f64 = 0.3;

/// Most stretches of seconds that are told.
const MOST_STRETCHES: usize = 4;

/// Asterisk or the service ended by itself.
pub(super) fn died(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(breakage @ Breakage::Ended { process, death, .. }) = &seen.environment.broken_by else {
        return Vec::new();
    };
    let cause = match death {
        Death::Killed => {
            "it was killed: by the kernel for want of memory (`dmesg | grep -i oom`), or by somebody"
        }
        Death::Crashed => "it crashed",
        Death::Exited => "it met an error that it could not go on from, or somebody stopped it",
    };
    let (name, log, last, cure) = match process {
        TestedProcess::Service => (
            "service_died",
            "service.log",
            seen.observed.service_log.last(),
            "see the end of its log; it has to outlive errors of single calls",
        ),
        TestedProcess::Asterisk => (
            "asterisk_died",
            "asterisk.log",
            seen.observed.asterisk_log.last(),
            "see the end of its log, and `coredumpctl`; a lower load.calls tells whether the load does it",
        ),
    };
    vec![Finding {
        name,
        what: breakage.sentence(),
        seen: format!("{}{}", seen.log(log), quoted("its log", last)),
        cause: cause.into(),
        cure: cure.into(),
        weight: ENDS_ALL,
    }]
}

/// Asterisk's process is there and does nothing any more: it answers no BYE, and the service hears nothing of it.
pub(super) fn stands_still(seen: &Seen<'_>) -> Vec<Finding> {
    let Some((calls, said)) = stall(seen) else { return Vec::new() };
    let name = "asterisk_stands_still";
    vec![Finding {
        seen: format!("the answer to BYE: {UNANSWERED}{}", quoted("the service's log", Some(said))),
        cause: "Asterisk stood still: a lock that it waits for, or a stopped process or machine; over AudioSocket one call can \
                stop all of it (asterisk#2089)"
            .into(),
        cure: format!(
            "see the end of {} and, while it lasts, `core show locks` and `gdb -p PID`; run the same with service.media = \
             \"rtp\"",
            seen.log("asterisk.log")
        ),
        weight: ENDS_ALL,
        ..seen.over(name, calls, "could not be hung up, for Asterisk had stopped answering")
    }]
}

/// Begin of the reason of a call whose BYE nobody answered.
const UNANSWERED: &str = "BYE was never answered";
/// Words of the built-in service about a connection on which nothing comes, though nobody has closed it.
const NOTHING_HEARD: &str = "the event connection is lost; connecting again: nothing heard";

/// All calls that were to be hung up, if none could be, and what the service said about it.
pub(super) fn stall<'a>(seen: &Seen<'a>) -> Option<(usize, &'a LogLine)> {
    let said = super::said(&seen.observed.service_log, &[NOTHING_HEARD])?;
    let is_left =
        |call: &&CallRecord| call.ending == Ending::HangupFailed && call.reason.starts_with(UNANSWERED);
    let left = seen.calls.iter().filter(is_left).count();
    let is_alone = seen.environment.faults.is_empty() && seen.ended(Ending::Completed).is_empty();
    (left > 0 && is_alone).then_some((left, said))
}

/// A machine that was full or disturbed, where the verdict suffers from it. The verdict's reasons say by whom and
/// how much; this adds when, and the cure.
pub(super) fn load(seen: &Seen<'_>) -> Vec<Finding> {
    // One call is not judged.
    if seen.verdict.outcome == Outcome::Pass || seen.evidence == Evidence::Steps {
        return Vec::new();
    }
    let (name, cause, cure) = match seen.verdict.doubt.load {
        Some(MachineLoad::Full) => (
            "machine_full",
            "the load is more than this machine carries with driver, service and Asterisk on it",
            "lower load.calls until the gates hold (`loadtest search` finds how many do); or give Asterisk and the service \
             a machine of their own, and permit the driver a raised priority where it has none (`sudo setcap \
             cap_sys_nice+ep` on the program)",
        ),
        Some(MachineLoad::Disturbed) => (
            "machine_disturbed",
            "a job that ran then (a build, a backup, an update), or another guest of the host",
            "stop it, or choose another time or machine; a raised priority, where the driver has none yet (`sudo setcap \
             cap_sys_nice+ep` on the program), keeps it closer to its time; a longer load.duration gives more quiet seconds",
        ),
        Some(MachineLoad::Busy | MachineLoad::Unknown) | None => return Vec::new(),
    };
    vec![Finding {
        name,
        what: format!("the machine was not quiet in {}", stretches(&not_quiet(seen))),
        seen: "seconds.csv, columns cpu_*; the chart of CPU".into(),
        cause: cause.into(),
        cure: cure.into(),
        weight: MACHINE,
    }]
}

/// Seconds of the hold phase that were not quiet, in their order.
fn not_quiet(seen: &Seen<'_>) -> Vec<u32> {
    let quiet = seen.verdict.doubt.quiet.as_ref();
    let is_quiet = |second: u32| quiet.is_some_and(|quiet| quiet.seconds.contains(&second));
    let held = seen.seconds.iter().filter(|row| row.phase == Phase::Hold);
    held.map(|row| row.second).filter(|second| !is_quiet(*second)).collect()
}

/// `seconds 3 to 7, 9 and 2 more stretches`.
fn stretches(seconds: &[u32]) -> String {
    let all: Vec<_> = seconds.chunk_by(|one, next| one.checked_add(1) == Some(*next)).collect();
    let told = all.iter().take(MOST_STRETCHES).map(|stretch| match stretch {
        [first, .., last] => format!("{first} to {last}"),
        alone => alone.iter().map(u32::to_string).collect(),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let word = if seconds.len() == 1 { "second" } else { "seconds" };
    match all.len().saturating_sub(MOST_STRETCHES) {
        0 => format!("{word} {told}"),
        more => format!("{word} {told} and {more} more times"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, healthy};
    use super::*;

    #[test]
    fn an_asterisk_that_answers_nothing_any_more_is_told_before_what_follows() {
        let mut run = healthy();
        for call in &mut run.calls {
            (call.ending, call.reason) = (Ending::HangupFailed, UNANSWERED.into());
        }
        let names =
            |run: crate::record::Run| found(run).iter().map(|finding| finding.name).collect::<Vec<_>>();
        assert_eq!(names(run.clone()), ["bye_failed"], "a Contact that leads nowhere looks like this");
        let text = format!("2026-11-27T13:36:30Z WARN loadtest::service::app: {NOTHING_HEARD} for 10s");
        run.environment.observed.service_log = vec![LogLine { text, count: 1 }];
        let first = found(run.clone()).remove(0);
        assert_eq!(first.what, "all 10 calls could not be hung up, for Asterisk had stopped answering");
        assert!(first.seen.contains("nothing heard for 10s"), "{}", first.seen);
        assert_eq!(names(run.clone()), ["asterisk_stands_still"]);
        // It answered some: it does not stand still.
        run.calls[3].ending = Ending::Completed;
        assert_eq!(names(run), ["bye_failed"]);
    }
}
