//! Calls that fail by what the far end says of where it is and what it takes: its Contact and its session description.

use super::{Finding, Seen};
use crate::record::{CallRecord, Ending};

/// Words in the reason of a call whose far end repeats its 200: the ACK of it went where its Contact points.
const UNHEARD: &str = "nobody hears ACK and BYE";

/// True for such a call.
pub(super) fn is_unheard(call: &CallRecord) -> bool {
    call.reason.contains(UNHEARD)
}

/// Calls that ended badly because nobody hears at the Contact of their far end.
pub(super) fn contact(seen: &Seen<'_>) -> Vec<Finding> {
    let unheard: Vec<&CallRecord> = seen.calls.iter().filter(|call| is_unheard(call)).collect();
    let Some(first) = unheard.first() else { return Vec::new() };
    vec![Finding {
        seen: format!("{}: {}", seen.shown("column reason", "hang-up"), first.reason),
        cause: "the Contact or a Record-Route of its 200 names an address that does not lead back to it from here: one \
                behind a NAT, a container's, or one that a proxy has left as it was"
            .into(),
        cure: "sip.ignore_contact = true sends ACK and BYE where the INVITE went; or have the far end name the address that \
               it is reached under (Asterisk: external_signaling_address with local_net)"
            .into(),
        ..seen.over("contact_unheard", unheard.len(), "went on answering, for their ACK reached nobody")
    }]
}

/// Answers with a session description that no media can be sent to.
pub(super) fn bad_answer(seen: &Seen<'_>) -> Vec<Finding> {
    let bad = seen.ended(Ending::BadAnswer);
    let Some(first) = bad.first() else { return Vec::new() };
    let (cause, cure) = of_answer(&first.reason, &seen.environment.codec);
    vec![Finding {
        seen: format!("the SDP of the answer: {}", first.reason),
        cause: cause.into(),
        cure,
        ..seen.over("bad_answer", bad.len(), "were answered with an SDP that cannot be used")
    }]
}

/// Likeliest cause and cure of a fault in an answer.
fn of_answer(reason: &str, codec: &str) -> (&'static str, String) {
    let says = |words: &str| reason.contains(words);
    if says("is a name") {
        (
            "the far end writes a host name where media want an address, and this host finds none for it",
            "have it write its IP address (`media_address`, `external_media_address`), or enter the name in this host's \
             /etc/hosts"
                .into(),
        )
    } else if says("is refused (port 0)") {
        (
            "the far end takes the call and none of the audio that was offered: it allows other codecs",
            format!("add {codec} to what it allows (`allow` of its endpoint), or choose another media.codec"),
        )
    } else if says("no session description") || says("no audio stream") {
        (
            "the far end answers without audio: what the call leads to has none, or a proxy has taken the description away",
            "have sip.to lead to what takes audio; the call's SIP, on the page under \"Slowest calls\", shows the answer as \
             it came"
                .into(),
        )
    } else {
        (
            "the far end names an address or a codec that the driver cannot or must not send to: wrong NAT settings, another \
             codec, or media that leads back to the caller",
            "see the endpoint's `allow`, `media_address` and `external_media_address`, and set direct_media=no".into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{end, found, healthy};
    use super::*;

    #[test]
    fn a_contact_at_which_nobody_hears_is_the_finding_and_no_hang_up_of_the_service() {
        const REASON: &str = "its 200 comes again and again: nobody hears ACK and BYE at 192.0.2.7:5999, where its Contact points";
        for (ending, reason) in [
            (Ending::RemoteHangup, REASON.to_string()),
            (Ending::HangupFailed, format!("BYE was never answered; {REASON}")),
        ] {
            let mut run = healthy();
            end(&mut run, 4, ending, Some(200), &reason);
            let found = found(run);
            assert_eq!(
                found.iter().map(|finding| finding.name).collect::<Vec<_>>(),
                ["contact_unheard"],
                "{found:#?}"
            );
            assert!(found[0].seen.contains("192.0.2.7:5999") && found[0].cure.contains("sip.ignore_contact"));
            assert!(found[0].what.starts_with("4 of 10 calls"), "{}", found[0].what);
        }
        // The one has nothing to do with the other.
        let mut run = healthy();
        end(&mut run, 4, Ending::RemoteHangup, Some(200), REASON);
        run.calls[7].ending = Ending::RemoteHangup;
        let names: Vec<_> = found(run).iter().map(|finding| finding.name).collect();
        assert_eq!(names, ["contact_unheard", "hung_up_early"]);
    }

    #[test]
    fn each_fault_of_an_answer_has_its_own_cure() {
        for (reason, cure) in [
            (
                "bad SDP answer: its connection address `pbx` is a name without an address here (x)",
                "its IP address",
            ),
            ("bad SDP answer: the audio stream is refused (port 0)", "add PCMU"),
            ("bad SDP answer: no session description", "sip.to"),
            ("bad SDP answer: its address is one of the driver's own", "direct_media=no"),
        ] {
            let mut run = healthy();
            end(&mut run, 10, Ending::BadAnswer, None, reason);
            let found = found(run);
            assert_eq!((found[0].name, found.len()), ("bad_answer", 1));
            assert!(found[0].cure.contains(cure), "{reason}: {}", found[0].cure);
        }
    }
}
