//! Calls that were answered, and not heard as they should have been.

use super::protected::unopened_of;
use super::signposts::{is_offer_refused, is_unheard};
use super::{Finding, Seen, of, quoted};
use crate::record::{CallRecord, Ending};
use crate::values::{Unit, Value, counted, cut as cut_short, show};

/// Most bytes of a remark that are quoted.
const MOST_REMARK: usize = 300;
/// Words of Asterisk's log for formats between which it cannot translate.
const NO_PATH: [&str; 2] = ["No path to translate", "Unable to find a codec translation path"];

/// Calls of which not one packet came back.
pub(super) fn silent(seen: &Seen<'_>) -> Vec<Finding> {
    let answered = seen.calls.iter().filter(|c| c.ending.was_answered() && c.total_sent > 0).count();
    // Packets that nobody could open, came too late or from elsewhere, or are another call's, have findings of their own.
    let is_told = |call: &CallRecord| call.late_echoes + call.refused + call.crossed + unopened_of(call) > 0;
    let is_unheard = |call: &&CallRecord| call.is_silent() && !is_told(call);
    let silent: Vec<&CallRecord> = seen.calls.iter().filter(is_unheard).collect();
    if silent.is_empty() {
        return changed(seen);
    }
    let sum = |of: fn(&CallRecord) -> u64| silent.iter().map(|call| of(call)).sum::<u64>();
    let (corrupted, other_payload) = (sum(|c| c.corrupted), sum(|c| c.other_payload));
    let shown = of(silent.len() as u64, answered as u64);
    let said = format!("{shown} answered and silent: no packet came back");
    let finding = Finding { what: said.clone(), ..seen.over("silent", silent.len(), "") };
    if seen.asterisk_said(&NO_PATH).is_some() || corrupted > 0 {
        let what = match corrupted {
            0 => said,
            n => format!("{shown} answered, and none of the {n} packets that came back was as it was sent"),
        };
        return vec![translated(seen, Finding { name: "media_changed", what, ..finding })];
    }
    if let Some(payload_type) = silent.iter().find_map(|call| call.other_payload_type) {
        let what = format!(
            "{shown} answered, and the {other_payload} packets that came back have payload type {payload_type}, which \
             was not agreed"
        );
        return vec![other_codec(seen, Finding { what, ..finding })];
    }
    vec![unbridged(seen, &finding).unwrap_or_else(|| unheard(seen, finding, &silent))]
}

/// A far end that sends another codec than it agreed to.
fn other_codec(seen: &Seen<'_>, finding: Finding) -> Finding {
    let codec = &seen.environment.codec;
    Finding {
        name: "other_codec",
        seen: seen.shown("columns other_payload and other_payload_type", "echo"),
        cause: format!("the far end agrees to {codec}, and sends another codec"),
        cure: format!(
            "leave {codec} as the only codec that it allows, or set media.codec to the one that it sends"
        ),
        ..finding
    }
}

/// Calls whose packets come from another address than their SDP names.
pub(super) fn elsewhere(seen: &Seen<'_>) -> Vec<Finding> {
    let from_elsewhere = |of: fn(&CallRecord) -> u64| -> Vec<&CallRecord> {
        seen.calls.iter().filter(|call| of(call) > 0).collect()
    };
    let (refused, taken) = (from_elsewhere(|call| call.refused), from_elsewhere(|call| call.elsewhere));
    let told = |calls: &[&CallRecord], column: &str, what: &str| {
        let first = calls.first()?;
        let (from, named) = first.heard_from.zip(first.media_address)?;
        let (calls, column) = (calls.len(), format!("columns heard_from, media_address and {column}"));
        Some(Finding {
            seen: seen.shown(&column, "echo"),
            cause:
                "NAT or a proxy in between, or a far end that sends from another socket than it listens on"
                    .into(),
            ..seen.over(
                "media_elsewhere",
                calls,
                &format!("{what}: RTP comes from {from}, the SDP says {named}"),
            )
        })
    };
    let refused =
        told(&refused, "refused", "were heard from elsewhere, and refused").map(|finding| Finding {
            cure: "media.source = \"any\" measures it; or have the far end send from the address in its SDP \
               (symmetric RTP, external_media_address)"
                .into(),
            ..finding
        });
    // It costs nothing: what has cost something goes first.
    let taken = told(&taken, "elsewhere", "were heard from elsewhere, and measured").map(|finding| Finding {
        cure: "none is needed to measure it; media.source = \"sdp\" refuses it, as a strict phone would"
            .into(),
        weight: 0.0,
        ..finding
    });
    refused.into_iter().chain(taken).collect()
}

/// Datagrams of a call of one kind, by the name of their column.
type Kind = (&'static str, fn(&CallRecord) -> u64);

/// Datagrams that came in the place of silent calls' packets, by kind.
fn beside(silent: &[&CallRecord]) -> String {
    let kinds: [Kind; 6] = [
        ("strangers", |call| call.strangers),
        ("rtcp", |call| call.rtcp),
        ("comfort_noise", |call| call.comfort_noise),
        ("telephone_events", |call| call.telephone_events),
        ("stun", |call| call.stun),
        ("empty_rtp", |call| call.empty_rtp),
    ];
    let counts = kinds.map(|(name, of)| (name, silent.iter().map(|call| of(call)).sum::<u64>()));
    counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!(", {name} {n}")).collect()
}

/// ARI's word on calls that hear nothing.
fn unbridged(seen: &Seen<'_>, silent: &Finding) -> Option<Finding> {
    const BOTH: &str = "POST /bridges/{id}/addChannel";
    let ari =
        seen.observed.ari.as_ref().filter(|ari| ari.callers > 0 && seen.observed.setup.has_application())?;
    let app = &seen.observed.setup.app;
    let (name, more, cause, cure) = if ari.outside >= ari.callers {
        (
            "not_in_application",
            format!("none of {} had entered `{app}`", counted(ari.callers, "caller")),
            "the dialplan answers these calls itself and gives them to no application of that name",
            format!(
                "have the extension of sip.to (`{}`) run Stasis({app}), or set service.app or sip.to to what the dialplan \
                 says",
                seen.observed.setup.to
            ),
        )
    } else if ari.media == 0 {
        (
            "no_media_channel",
            "no external channel was there".into(),
            "the service answers, and makes no external channel that would bring it the audio",
            "POST /channels/externalMedia for each caller, and bridge the two once it has entered the application"
                .into(),
        )
    } else if ari.unbridged > 0 {
        (
            "not_bridged",
            format!("{} of {} callers were in no bridge", ari.unbridged, ari.callers),
            "the service adds the caller to its bridge before the external channel has entered the application, and \
             Asterisk refuses (\"Channel not in Stasis application\")",
            format!(
                "bridge both only after the StasisStart of the external channel (POST /channels/externalMedia answers \
                 before it), and look at the status of {BOTH}"
            ),
        )
    } else if ari.lone_bridges > 0 || ari.media_unbridged > 0 {
        (
            "lone_in_bridge",
            format!(
                "{} with one channel in it",
                counted(ari.lone_bridges.max(ari.media_unbridged), "bridge")
            ),
            "the caller is in a bridge, but the external channel is not",
            format!("add both channels to the bridge, and look at the status of {BOTH}"),
        )
    } else {
        return None;
    };
    Some(Finding {
        name,
        what: format!("{}; {more}", silent.what),
        seen: format!("ARI, {:.0} s into the run{}", ari.at_s, seen.service_said()),
        cause: cause.into(),
        cure,
        ..silent.clone()
    })
}

/// Packets of a far end that is there, and says nothing.
fn beside_audio(call: &CallRecord) -> u64 {
    call.comfort_noise + call.telephone_events + call.rtcp + call.empty_rtp
}

/// Silence of which ARI says nothing.
fn unheard(seen: &Seen<'_>, finding: Finding, silent: &[&CallRecord]) -> Finding {
    let strangers: u64 = silent.iter().map(|call| call.strangers).sum();
    let beside_audio: u64 = silent.iter().map(|call| beside_audio(call)).sum();
    let follow = seen.in_files("; `loadtest check --call` follows one");
    // So many that they are no chance: at least a half of what these calls have sent.
    let sent: u64 = silent.iter().map(|call| call.total_sent).sum();
    let unmatched = Some(seen.observed.unmatched).filter(|n| *n * 2 >= sent).unwrap_or_default();
    let (cause, cure) = if strangers > 0 {
        (
            "datagrams come, but none with a packet of these calls: the far end sends something else, or they are \
             somebody else's",
            "see what they are and where they come from (`tcpdump -X udp`); an echo returns each payload as it came"
                .into(),
        )
    } else if seen.has_talk() && beside_audio > 0 {
        (
            "the far end is there, and sends comfort noise, telephone events, empty packets or RTCP, and no audio \
             (calls.csv counts each)",
            format!("see the service's log: it is connected, and says nothing{follow}"),
        )
    } else if seen.has_talk() {
        (
            "the service sends no media in these calls, or it does not get through",
            format!(
                "see its log, and whether its media and the caller are in one bridge (`bridge show all` while a call is \
                 up){follow}"
            ),
        )
    } else if seen.observed.ari.is_some() && seen.observed.setup.has_application() {
        (
            "the calls are bridged, but the service sends nothing back",
            "see its log; it has to send each payload back to the address that it came from, at the caller's pace"
                .into(),
        )
    } else if seen.observed.setup.has_application() {
        (
            "the service does not send the audio back, or the caller and its media are in no common bridge",
            format!("see its log, and `bridge show all` while a call is up{follow}"),
        )
    } else if beside_audio > 0 {
        (
            "the far end is there, and sends comfort noise or RTCP and no audio: it is muted, or leaves out what it takes \
             for silence (VAD)",
            "switch off mute and silence suppression there, and have sip.to lead to Echo() or a like service"
                .into(),
        )
    } else {
        (
            "the target does not send the audio back, or its media does not get through",
            "have sip.to lead to Echo() or a like service; see that no firewall keeps RTP from this machine"
                .into(),
        )
    };
    // A count of the whole machine, other programs' included: a hint, no finding.
    let foreign = match unmatched {
        n if n > 0 && strangers == 0 => format!(
            "; {n} datagrams came to ports of this machine that nobody has open, from these calls or from other programs"
        ),
        _ => String::new(),
    };
    let came = beside(silent);
    Finding {
        seen: format!("{}{came}{foreign}{}", seen.shown("total_received 0", "echo"), seen.service_said()),
        cause: cause.into(),
        cure,
        ..finding
    }
}

/// Payloads that were changed on the way, in calls that were heard.
fn changed(seen: &Seen<'_>) -> Vec<Finding> {
    let all = seen.calls.iter().map(|call| call.corrupted).sum::<u64>();
    let calls = seen.calls.iter().filter(|call| call.corrupted > 0).count();
    if all == 0 {
        return Vec::new();
    }
    let what = format!("{all} packets of {} came back changed", seen.of_calls(calls));
    vec![translated(seen, Finding { what, ..seen.over("media_changed", calls, "") })]
}

/// The cure of a payload that is not what it was.
fn translated(seen: &Seen<'_>, finding: Finding) -> Finding {
    let codec = &seen.environment.codec;
    Finding {
        seen: format!(
            "{}{}",
            seen.shown("column corrupted", "echo"),
            quoted("Asterisk's log", seen.asterisk_said(&NO_PATH))
        ),
        cause: format!("the service echoes another codec than {codec}, so that Asterisk has to translate"),
        cure: format!(
            "create the external channel with the format of MEDIA_FORMAT ({codec}), not slin16, and send payloads back \
             unchanged; no jitter buffer, no announcement on the way"
        ),
        ..finding
    }
}

/// Packets that came back too late to count, or that this run had not sent.
pub(super) fn distrusted(seen: &Seen<'_>) -> Vec<Finding> {
    let count = |of: fn(&CallRecord) -> u64| {
        let calls = seen.calls.iter().filter(|call| of(call) > 0).count();
        (seen.calls.iter().map(of).sum::<u64>(), calls)
    };
    let mut found = Vec::new();
    let (late, calls) = count(|call| call.late_echoes);
    if late > 0 {
        let after = show(Value::Number(seen.environment.lost_after_ms), Unit::Ms);
        let what =
            format!("{late} packets of {} came back after {after}, and count as lost", seen.of_calls(calls));
        found.push(Finding {
            what,
            seen: seen.shown("column late_echoes", "echo"),
            cause: "a buffer on the way, or in the service, holds the audio for longer than the run waits".into(),
            cure: "look for a jitter buffer or a queue that never drains; a larger measure.lost_after measures how \
                   late they are"
                .into(),
            ..seen.over("late_echoes", calls, "")
        });
    }
    let (forged, calls) = count(|call| call.forged + call.unbelieved);
    if forged > 0 {
        let what = format!(
            "{forged} packets of {} were not as this run had signed them, or told what cannot be true",
            seen.of_calls(calls)
        );
        found.push(Finding {
            what,
            seen: seen.shown("columns forged and unbelieved", "echo"),
            cause: "the far end makes or changes packets: another codec's path, another run's echo, or somebody who \
                    means harm"
                .into(),
            cure: "have the service send each payload back as it came; see where they come from (`tcpdump udp`)".into(),
            ..seen.over("forged", calls, "")
        });
    }
    found
}

/// Calls that ended before their time.
pub(super) fn cut(seen: &Seen<'_>) -> Vec<Finding> {
    // What a Contact or a refused offer explains is told there.
    let is_told = |call: &&CallRecord| is_unheard(call) || is_offer_refused(call);
    let ended = |ending| -> Vec<&CallRecord> {
        seen.ended(ending).into_iter().filter(|call| !is_told(call)).collect()
    };
    let lost = ended(Ending::MediaLost);
    let hung_up = ended(Ending::RemoteHangup);
    let expired = seen.ended(Ending::SessionExpired);
    let early = seen.ended(Ending::HungUpEarly);
    let refused = ended(Ending::HangupFailed);
    let answerer = seen.answerer();
    let because = |calls: &[&CallRecord]| match calls.first().map(|call| call.reason.as_str()) {
        None | Some("") => String::new(),
        Some(reason) => format!(": {reason}"),
    };
    // A fault on purpose is no finding.
    let is_planned = !seen.environment.faults.is_empty();
    let mut found = Vec::new();
    if !lost.is_empty() && !is_planned {
        found.push(Finding {
            seen: format!("{}{}", seen.shown("ending media_lost", "hang-up"), seen.service_said()),
            cause: format!("{answerer} stopped sending the audio back in mid-call"),
            cure: format!(
                "see its log for that time{}",
                seen.in_files("; the page's \"Slowest calls\" names the second")
            ),
            ..seen.over("media_lost", lost.len(), &format!("fell silent and were given up{}", because(&lost)))
        });
    }
    if !hung_up.is_empty() && !is_planned {
        found.push(Finding {
            seen: format!("BYE from the far end{}{}", because(&hung_up), seen.service_said()),
            cause: match is_session_timer(&hung_up) {
                true => "a session timer (RFC 4028) has run out at the far end, or at a proxy before it: it has heard no refresh, \
                         or takes those that it heard for none"
                    .into(),
                false => format!(
                    "{answerer} or the dialplan ends calls by itself: an error in the service, a timeout, or the end of a sound"
                ),
            },
            cure: match is_session_timer(&hung_up) {
                true => "see the call's ladder for its refreshes (UPDATE or re-INVITE) and their answers; raise Session-Expires \
                         there, or have it refresh by itself"
                    .into(),
                false => "see its log for why; if calls are to be short, say so with load.call_duration and load.hangup".into(),
            },
            ..seen.over("hung_up_early", hung_up.len(), "were hung up by the far end before their time")
        });
    }
    if !expired.is_empty() && !is_planned {
        found.push(ran_out(seen, &expired, &because(&expired)));
    }
    if !early.is_empty() {
        found.push(Finding {
            seen: "BYE before the answer".into(),
            cause: format!("{answerer} ends the call while it is being set up"),
            cure: "see its log for why".into(),
            ..seen.over("hung_up_unanswered", early.len(), "were hung up before they were answered")
        });
    }
    if !refused.is_empty() && !is_planned && super::machine::stall(seen).is_none() {
        found.push(Finding {
            seen: format!("the answer to BYE{}", because(&refused)),
            cause: "the far end had forgotten the call, or the BYE went to an address that is not there"
                .into(),
            cure: "see the Contact and Record-Route of its answers: they have to lead back to it".into(),
            ..seen.over("bye_failed", refused.len(), "could not be hung up")
        });
    }
    found
}

/// Calls whose session timer ran out. Where the connection for SIP ended meanwhile, that is the cause.
fn ran_out(seen: &Seen<'_>, expired: &[&CallRecord], because: &str) -> Finding {
    // One that answered its refreshes, and agreed to none, had a connection.
    let lost = lost_connection(seen).filter(|_| !because.contains("agreed to no refresh"));
    let (more, cause, cure) = match lost {
        Some(remark) => (
            format!("; {}", cut_short(remark, MOST_REMARK)),
            "the connection for SIP ended, and with it what was to refresh the sessions",
            "look in the log of what takes SIP there for that moment: it was started anew, or closes connections by itself",
        ),
        None => (
            String::new(),
            "the far end, or a proxy before it, has timers and does not keep to them",
            "see who is to refresh: Session-Expires and `refresher` in the answer to INVITE; in Asterisk `timers` of the \
             endpoint",
        ),
    };
    Finding {
        seen: format!("a session timer (RFC 4028) that was agreed on{because}{more}"),
        cause: cause.into(),
        cure: cure.into(),
        ..seen.over("session_expired", expired.len(), "were hung up as their session had not been refreshed")
    }
}

/// True if the far end says that it has hung up for a session timer (RFC 4028 section 10: `Reason: SIP;cause=408`).
fn is_session_timer(calls: &[&CallRecord]) -> bool {
    let says = |call: &&CallRecord| {
        let reason = call.reason.to_ascii_lowercase();
        reason.contains("session timeout")
            || reason.contains("session expired")
            || reason.contains("session timer")
    };
    calls.first().is_some_and(says)
}

/// The remark on a connection for SIP that has ended in mid-run.
fn lost_connection<'a>(seen: &Seen<'a>) -> Option<&'a String> {
    let is_lost = |text: &&String| text.contains(" connection to ") && text.contains(" has ended: ");
    seen.environment.remarks.iter().find(is_lost)
}
