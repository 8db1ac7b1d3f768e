//! Remarks on a finished run, in words: what its calls and the driver's counts say about the set-up.

use std::net::SocketAddr;

use crate::driver::Recorded;
use crate::record::{CallRecord, Ending};
use crate::scenario::Scenario;

/// Detects a target that never answered any SIP: that is a broken set-up, no outcome of calls.
pub fn silent_target(recorded: &Recorded, target: SocketAddr) -> Option<String> {
    let silent = |call: &CallRecord| call.ending == Ending::Timeout && call.srd_ms.is_none();
    let all = !recorded.run.calls.is_empty() && recorded.run.calls.iter().all(silent);
    (all && !recorded.heard)
        .then(|| format!("nothing answers SIP at {target}: is it running, and is the address right?"))
}

/// Remarks on how the calls were held, impaired and signalled.
pub fn remarks(scenario: &Scenario, recorded: &Recorded) -> Vec<String> {
    let mut remarks = Vec::new();
    let calls = scenario.load.calls;
    let environment = &recorded.run.environment;
    if environment.window_from_s.is_none() {
        let any = recorded.run.calls.iter().any(|call| call.ending.was_answered());
        let why = if any { "the run ended before all calls were up" } else { "no call came up" };
        remarks.push(format!("{why}, so nothing was held or measured"));
    } else if environment.calls_at_start < calls {
        remarks.push(format!("the hold phase began with {} of {calls} calls up", environment.calls_at_start));
    }
    if environment.suppressed_attempts > 0 {
        let (count, why) = (environment.suppressed_attempts, &recorded.suppressed_because);
        remarks.push(format!("{count} calls could not be placed: {why}"));
    }
    if recorded.heard {
        remarks.extend(symptoms(scenario, &recorded.run.calls));
    }
    for (direction, counts) in ["out", "back"].into_iter().zip(&recorded.impaired) {
        if counts.seen() > 0 {
            remarks.push(format!(
                "impaired on purpose on the way {direction}: of {} packets {} lost, {} doubled, {} sent ahead, {} delayed",
                counts.seen(), counts.lost, counts.duplicated, counts.reordered, counts.delayed
            ));
        }
    }
    let on_sip = [
        (environment.sip_garbage, "datagrams on the SIP port were not SIP"),
        (recorded.sip_unsent, "SIP messages could not be sent: is the target reachable from sip.local?"),
    ];
    let counted = on_sip.into_iter().filter(|(count, _)| *count > 0);
    remarks.extend(counted.map(|(count, what)| format!("{count} {what}")));
    remarks
}

/// Symptoms of a service that does not answer or does not echo, as the calls show them.
fn symptoms(scenario: &Scenario, calls: &[CallRecord]) -> Vec<String> {
    let who = if scenario.service.mode.is_application() { "application" } else { "target" };
    let answered: Vec<_> = calls.iter().filter(|c| c.ending.was_answered() && c.total_sent > 0).collect();
    let (late, silent): (Vec<&CallRecord>, Vec<&CallRecord>) =
        answered.iter().copied().filter(|c| c.is_silent()).partition(|c| c.late_echoes > 0);
    let corrupted: u64 = silent.iter().map(|c| c.corrupted).sum();
    let mut symptoms = Vec::new();
    if !late.is_empty() {
        symptoms.push(format!(
            "{} of {} calls answered were echoed only after measure.lost_after ({}): all of their packets are lost",
            late.len(),
            answered.len(),
            scenario.measure.lost_after
        ));
    }
    let all = |of: fn(&CallRecord) -> u64| answered.iter().map(|c| of(c)).sum::<u64>();
    let disbelieved = [
        (
            all(|c| c.forged),
            "probes came back that this run had not signed: made or changed on the way, and not measured",
        ),
        (
            all(|c| c.unbelieved),
            "packets came back with stamps or counts of the far end that cannot be true, which were left out",
        ),
    ];
    symptoms.extend(disbelieved.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if !silent.is_empty() {
        let heard = match corrupted {
            0 => format!("no packet came back: does the {who} echo the media?"),
            n => format!(
                "{n} packets came back, none as it was sent: does the {who} echo the payload unchanged, in {}?",
                scenario.media.codec
            ),
        };
        symptoms.push(format!("{} of {} calls answered, {heard}", silent.len(), answered.len()));
    }
    let waited = calls.iter().filter(|c| c.ending == Ending::Timeout).count();
    if waited > 0 && scenario.service.mode.is_application() && !calls.iter().any(|c| c.ending.was_answered())
    {
        let within = scenario.sip.setup_timeout;
        symptoms.push(format!("no call was answered within {within}: does the application answer them?"));
    }
    symptoms
}
