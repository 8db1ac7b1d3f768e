//! Remarks on a finished run, in words: what its calls and the driver's counts say about the set-up.

use std::net::SocketAddr;

use super::wire::unchecked;
use crate::driver::{Captured, Recorded, TalkTotals};
use crate::net::resolve::listed;
use crate::record::{Breakage, CallRecord, Ending, RegisterRecord, ServiceLinks, Suppression};
use crate::scenario::Scenario;
use crate::shard::Shard;
use crate::values::counted;

/// Packets of chan_websocket's queue that are worth a word: 100 ms. Asterisk's timer and a service that is now and then a
/// few milliseconds late explain two or three; of the 150 ms at which a conversation begins to suffer it is most.
const LONG_QUEUE: u64 = 5;
/// Milliseconds of a packet over WebSocket, which has no other packet time.
const PACKET_MS: u64 = 20;

/// Detects targets none of which ever answered any SIP: that is a broken set-up, no outcome of calls. As long as one
/// answers, the calls to the others fail.
pub fn silent_target(recorded: &Recorded, targets: &[SocketAddr]) -> Option<Breakage> {
    let silent = |call: &CallRecord| call.ending == Ending::Timeout && call.srd_ms.is_none();
    let all = !recorded.run.calls.is_empty() && recorded.run.calls.iter().all(silent);
    (all && !recorded.heard).then(|| Breakage::Silent { target: listed(targets) })
}

/// Remarks on how the calls were held, impaired and signalled.
pub fn remarks(scenario: &Scenario, recorded: &Recorded) -> Vec<String> {
    let mut remarks = Vec::new();
    let environment = &recorded.run.environment;
    let shard =
        environment.share.as_ref().and_then(|share| Shard::new(share.index, share.count)).unwrap_or_default();
    let calls = scenario.stages().first().map_or(0, |stage| scenario.load.calls_of(stage.target) as u32);
    let calls = shard.share(calls);
    if environment.window_from_s.is_none() && environment.wants_calls() {
        let any = recorded.run.calls.iter().any(|call| call.ending.was_answered());
        let why = if any { "the run ended before all calls were up" } else { "no call came up" };
        remarks.push(format!("{why}, so nothing was held or measured"));
    } else if environment.calls_at_start < calls && !scenario.is_open() {
        remarks.push(format!("the hold phase began with {} of {calls} calls up", environment.calls_at_start));
    }
    let suppressed = environment.suppressed;
    if suppressed.port > 0 {
        let (count, why) = (suppressed.port, &recorded.suppressed_because);
        remarks.push(format!("{} could not be placed: {why}", counted(count, "call")));
    }
    for (count, why) in [(suppressed.cap, Suppression::Cap), (suppressed.late, Suppression::Late)] {
        if count > 0 {
            remarks.push(format!("{} suppressed: {why}", counted(count, "attempt")));
        }
    }
    for (direction, counts) in ["out", "back"].into_iter().zip(&recorded.impaired) {
        if counts.seen() > 0 {
            remarks.push(format!(
                "impaired on purpose on the way {direction}: of {} packets {} lost, {} doubled, {} sent ahead, {} delayed",
                counts.seen(), counts.lost, counts.duplicated, counts.reordered, counts.delayed
            ));
        }
    }
    let on_hold: Vec<_> = recorded.run.calls.iter().filter(|call| call.holds > 0).collect();
    if !on_hold.is_empty() {
        let whole_s: f64 = on_hold.iter().filter_map(|call| call.on_hold_ms).map(|ns| ns.as_ms() / 1e3).sum();
        let calls = counted(on_hold.len() as u64, "call");
        remarks.push(format!(
            "the far end put {calls} on hold, {whole_s:.1} s in all: nothing was sent meanwhile, so that charts over time \
             have gaps where no other call was up"
        ));
    }
    remarks.extend(of_talk(&recorded.talk));
    remarks.extend(of_captures(scenario, &recorded.captured));
    remarks.extend(unplaced(scenario, &recorded.run.calls));
    remarks.extend(of_signalling(scenario, recorded));
    let on_sip = [
        (recorded.sip_passed_over, "header lines of SIP messages have no name, and were passed over"),
        (environment.sip_garbage, "datagrams on the SIP port were not SIP"),
        (recorded.sip_unsent, "SIP messages could not be sent: is the target reachable from sip.local?"),
    ];
    let counted = on_sip.into_iter().filter(|(count, _)| *count > 0);
    remarks.extend(counted.map(|(count, what)| format!("{count} {what}")));
    remarks
}

/// Remarks on messages, connections and registrations.
fn of_signalling(scenario: &Scenario, recorded: &Recorded) -> Vec<String> {
    let mut remarks = Vec::new();
    let environment = &recorded.run.environment;
    let unreadable = &environment.observed.unreadable;
    if let Some(first) = unreadable.first() {
        let count = unreadable.iter().map(|line| line.count).sum();
        let messages = counted(count, "SIP message");
        remarks.push(format!("{messages} of the far end could not be read, first `{}`", first.text));
    }
    remarks.extend(unchecked(scenario));
    if let Some(why) = &recorded.sip_broken {
        let reopened = match recorded.sip_reopened {
            0 => String::new(),
            n => format!("; connections opened again: {n}"),
        };
        remarks.push(format!("{why}{reopened}"));
    }
    if let Some(contact) = &recorded.sip_other_transport {
        let transport = scenario.asterisk.transport;
        remarks.push(format!(
            "the far end's Contact `{contact}` names another transport than asterisk.transport ({transport}): it is not \
             followed, and what goes to it goes the way of the INVITE"
        ));
    }
    if let Some(register) = environment.register.as_ref().filter(|register| !register.failures.is_empty()) {
        let failed = counted(register.failed + register.refresh_failed, "registration");
        let why = register.failures.iter().map(|line| format!("{} ({})", line.text, line.count));
        remarks.push(format!("{failed} failed: {}", why.collect::<Vec<_>>().join(", ")));
    }
    remarks.extend(environment.register.as_ref().and_then(not_taken_back));
    for line in &environment.observed.odd {
        remarks.push(format!("{}: {}", counted(line.count, "call"), line.text));
    }
    remarks
}

/// A remark on registrations that the registrar still holds.
fn not_taken_back(register: &RegisterRecord) -> Option<String> {
    let RegisterRecord { leaving, left, .. } = register;
    let (held, of) = (leaving.saturating_sub(*left), counted(*leaving, "registration"));
    (held > 0).then(|| {
        format!("{held} of {of} could not be taken back: they stay at the registrar until they expire (sip.register_expires)")
    })
}

/// A remark on calls whose capture was wanted, and that were never placed.
fn unplaced(scenario: &Scenario, calls: &[CallRecord]) -> Option<String> {
    let is_placed = |number: &&u32| calls.iter().any(|call| call.call == **number);
    let missing: Vec<_> = scenario.capture.calls.iter().filter(|number| !is_placed(number)).collect();
    let first = missing.first()?;
    let more = match missing.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "capture.calls names call {first}{more}, which was not placed: {} of the run are numbered from 0",
        counted(calls.len() as u64, "call")
    ))
}

/// Remarks on the connections of the calls' media between the built-in service and Asterisk. One that broke has ended its
/// call, which is counted as dropped where the caller had not hung up.
pub fn of_links(links: &ServiceLinks) -> Vec<String> {
    let ServiceLinks { failed, stalled, strangers, queue_max, xoff, .. } = *links;
    let media = |count| counted(count, "media connection");
    let mut remarks = Vec::new();
    if stalled > 0 {
        remarks.push(format!(
            "Asterisk did not read {} of the service's for 2 s: it had stopped answering, or its machine was too busy (over \
             AudioSocket one call can stop all of Asterisk)",
            media(stalled)
        ));
    }
    if failed > 0 {
        remarks.push(format!(
            "{} of the service's to Asterisk could not be opened: see Asterisk's log, and its HTTP server's limit of sessions",
            media(failed)
        ));
    }
    if strangers > 0 {
        remarks.push(format!(
            "{} to the service's port of AudioSocket named none of its calls: somebody else connects there, and a flood of \
             them holds calls up",
            counted(strangers, "connection")
        ));
    }
    if queue_max >= LONG_QUEUE {
        remarks.push(format!(
            "up to {queue_max} packets ({} ms) of a call waited in Asterisk (chan_websocket's queue): its caller heard them \
             that much later. Asterisk plays one every {PACKET_MS} ms and never catches up before the service pauses: send no \
             faster than that, nor all at once after a stall; see the CPU of service and Asterisk",
            queue_max.saturating_mul(PACKET_MS)
        ));
    }
    if xoff > 0 {
        remarks.push(format!(
            "Asterisk asked {} to send no more (chan_websocket's MEDIA_XOFF: 900 packets, 18 s of audio, wait for one call): \
             the service sends faster than one packet every {PACKET_MS} ms",
            counted(xoff, "time")
        ));
    }
    remarks
}

/// Remarks on what conversations lack.
fn of_talk(talk: &TalkTotals) -> Vec<String> {
    let TalkTotals { lost, missed, unrecorded } = *talk;
    let mut remarks = Vec::new();
    if lost > 0 {
        let packets = counted(lost, "packet");
        remarks.push(format!(
            "{packets} of the service's audio never came (gaps in its RTP sequence numbers); turns at whose edges they were \
             missing are not judged (lost_at_edge)"
        ));
    }
    if missed > 0 {
        let times = counted(missed, "time");
        remarks.push(format!(
            "{times} an interruption or a backchannel found no chance: the service had not talked for so long \
             (interrupt_after)"
        ));
    }
    if unrecorded > 0 {
        let count = counted(unrecorded, "utterance");
        remarks.push(format!("{count} beyond the 10000 of a call were not judged"));
    }
    remarks
}

/// Remarks on what the captures do not hold.
fn of_captures(scenario: &Scenario, captured: &Captured) -> Vec<String> {
    let capture = &scenario.capture;
    let (files, calls) = (captured.files.len(), counted(scenario.calls().into(), "call"));
    let mut remarks = Vec::new();
    if captured.left_out > 0 {
        let count = counted(captured.left_out, "call");
        remarks.push(format!(
            "{count} more went wrong than the {files} of which captures are kept (pcap/): raise capture.files, or name calls \
             in capture.calls"
        ));
    }
    if files > 0 && captured.media + scenario.media.ptime.0 <= capture.seconds.0 {
        let held = match captured.media.is_zero() {
            true => "their SIP alone".into(),
            false => format!("the last {} s of media, not {}", captured.media.as_secs_f64(), capture.seconds),
        };
        let mib = capture.most_mib;
        remarks.push(format!(
            "capture.most_mib = {mib} is too little for {calls} and capture.files = {} together: captures hold {held}",
            capture.files
        ));
    }
    if captured.unkept > 0 {
        let count = counted(captured.unkept, "SIP message");
        remarks.push(format!(
            "{count} found no room beside those of all calls that were up, and are in no ladder and no capture"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_capture_of_a_call_that_never_was_is_told_of() {
        let calls: Vec<_> = (0..2).map(|call| CallRecord { call, ..CallRecord::default() }).collect();
        let mut scenario = Scenario::default();
        assert_eq!(unplaced(&scenario, &calls), None);
        scenario.capture.calls = vec![1, 2, 9];
        let said = unplaced(&scenario, &calls).unwrap_or_default();
        assert!(said.contains("names call 2 and 1 more, which was not placed: 2 calls of the run"), "{said}");
    }

    #[test]
    fn what_happened_to_media_connections_is_told_with_its_cure() {
        let quiet = ServiceLinks { connected: 50, silence: 9, queue_max: 4, ..ServiceLinks::default() };
        assert_eq!(of_links(&quiet), [""; 0]);
        let said = |links: ServiceLinks| of_links(&links).join("|");
        let strange = said(ServiceLinks { strangers: 3584, ..quiet });
        assert!(strange.starts_with("3,584 connections to the service's port of AudioSocket"), "{strange}");
        let queue = said(ServiceLinks { queue_max: 18, ..quiet });
        assert!(
            queue.contains("up to 18 packets (360 ms)") && queue.contains("no faster than that"),
            "{queue}"
        );
        let full = said(ServiceLinks { xoff: 1, ..quiet });
        assert!(full.contains("asked 1 time to send no more (chan_websocket's MEDIA_XOFF"), "{full}");
        let stuck = said(ServiceLinks { broken: 3, stalled: 3, ..quiet });
        assert!(
            stuck.starts_with("Asterisk did not read 3 media connections") && !stuck.contains('|'),
            "{stuck}"
        );
        let ended = said(ServiceLinks { broken: 3, stalled: 1, failed: 2, ..quiet });
        for words in ["read 1 media connection of", "2 media connections of the service's to"] {
            assert!(ended.contains(words), "{words}: {ended}");
        }
        assert!(said(ServiceLinks { queue_max: u64::MAX, ..quiet }).contains("chan_websocket"));
    }

    #[test]
    fn registrations_that_stay_are_told_of() {
        let said = |leaving, left| not_taken_back(&RegisterRecord { leaving, left, ..Default::default() });
        assert_eq!((said(0, 0), said(9, 9)), (None, None));
        let told = said(9, 2).unwrap_or_default();
        assert!(told.starts_with("7 of 9 registrations could not be taken back: they stay"), "{told}");
    }

    #[test]
    fn captures_that_hold_less_than_they_were_to_say_so() {
        let scenario = Scenario::default();
        let said = |files: usize, media_ms: u64, unkept: u64| {
            let files = vec![("pcap/call-00000.pcapng".to_string(), Vec::new()); files];
            let media = Duration::from_millis(media_ms);
            of_captures(&scenario, &Captured { files, media, unkept, ..Captured::default() })
        };
        assert_eq!(said(1, 10_000, 0), [""; 0]);
        assert_eq!(said(0, 0, 0), [""; 0], "nothing was captured");
        let alone = "capture.most_mib = 64 is too little for 1 call and capture.files = 50 together: captures hold their SIP alone";
        assert_eq!(said(1, 0, 0), [alone]);
        let cut = "capture.most_mib = 64 is too little for 1 call and capture.files = 50 together: captures hold the last 1.3 s of media, not 10s";
        assert_eq!(said(1, 1300, 0), [cut]);
        let told = said(0, 10_000, 7).join("");
        assert!(told.starts_with("7 SIP messages found no room"), "{told}");
    }
}
