//! Calls that fail by what the far end says of where it is and what it takes: its Contact and its session description.

use super::{Finding, Seen};
use crate::record::{CallRecord, Ending};

/// Words in the reason of a call whose requests went where its Contact points, and were not heard.
const UNHEARD: [&str; 3] = ["nobody hears ACK and BYE", "nobody hears PRACK", "nobody hears BYE"];

/// True for such a call.
pub(super) fn is_unheard(call: &CallRecord) -> bool {
    UNHEARD.iter().any(|words| call.reason.contains(words))
}

/// Calls that ended badly because nobody hears at the Contact of their far end.
pub(super) fn contact(seen: &Seen<'_>) -> Vec<Finding> {
    let unheard: Vec<&CallRecord> = seen.calls.iter().filter(|call| is_unheard(call)).collect();
    let Some(first) = unheard.first() else { return Vec::new() };
    vec![Finding {
        seen: format!("{}: {}", seen.shown("column reason", "hang-up"), first.reason),
        cause: "the Contact or a Record-Route of its answer names an address that does not lead back to it from here: one \
                behind a NAT, a container's, or one that a proxy has left as it was"
            .into(),
        cure: "sip.ignore_contact = true sends ACK, PRACK and BYE where the INVITE went; or have the far end name the address that \
               it is reached under (Asterisk: external_signaling_address with local_net)"
            .into(),
        ..seen.over("contact_unheard", unheard.len(), "ended badly, for what the caller sent to their Contact reached nobody")
    }]
}

/// Words in the reason of a call whose far end offered media in mid-call that this caller refused.
const OFFER_REFUSED: &str = "its offer in mid-call was refused with";

/// True for such a call that did not end well.
pub(super) fn is_offer_refused(call: &CallRecord) -> bool {
    call.went_wrong() && call.reason.contains(OFFER_REFUSED)
}

/// Calls that ended badly behind an offer of their far end's that was refused.
pub(super) fn offer(seen: &Seen<'_>) -> Vec<Finding> {
    let refused: Vec<&CallRecord> =
        seen.calls.iter().filter(|call| is_offer_refused(call) && !is_unheard(call)).collect();
    let Some(first) = refused.first() else { return Vec::new() };
    let codec = &seen.environment.codec;
    vec![Finding {
        seen: format!("{}: {}", seen.shown("column reason", "hang-up"), first.reason),
        cause: format!(
            "the far end, or whoever it connects the caller to, wants other media in mid-call than the caller has: another \
             codec than {codec}, no audio (fax, T.38), or an address that media cannot be sent to"
        ),
        cure: format!(
            "have it keep the caller's leg as it is (Asterisk: direct_media=no, {codec} first in `allow` of both legs, \
             t38_udptl=no), or set media.codec to the one that it changes to"
        ),
        ..seen.over(
            "offer_refused",
            refused.len(),
            "ended after an offer of the far end's in mid-call was refused",
        )
    }]
}

/// Answers with a session description that no media can be sent to.
pub(super) fn bad_answer(seen: &Seen<'_>) -> Vec<Finding> {
    let bad = seen.ended(Ending::BadAnswer);
    let Some(first) = bad.first() else { return Vec::new() };
    let (cause, cure) = of_media(&first.reason)
        .map(|(cause, cure)| (cause, cure.into()))
        .unwrap_or_else(|| of_answer(&first.reason, &seen.environment.codec));
    vec![Finding {
        seen: format!("the SDP of the answer: {}", first.reason),
        cause: cause.into(),
        cure,
        ..seen.over("bad_answer", bad.len(), "were answered with an SDP that cannot be used")
    }]
}

/// Cause and cure of an answer whose media are protected otherwise than offered, or of the other family.
fn of_media(reason: &str) -> Option<(&'static str, &'static str)> {
    let says = |words: &str| reason.contains(words);
    if says("no keys for SRTP") {
        Some((
            "the far end answers an offer of SRTP with plain media, or with keys by DTLS, which is not spoken here",
            "have it offer SRTP with keys in SDP (Asterisk: `media_encryption = sdes`, and res_srtp loaded), or set media.srtp \
             = false",
        ))
    } else if says("no usable keys for SRTP") {
        Some((
            "the far end protects its media by another suite, or under parameters that are not spoken here",
            "set media.srtp_suite to one that both have (the reason names the far end's), or have it speak \
             AES_CM_128_HMAC_SHA1_80",
        ))
    } else if says("it wants SRTP") {
        Some((
            "the far end takes media under SRTP alone, and the run offers plain ones",
            "set media.srtp = true; or `media_encryption = no` in its endpoint",
        ))
    } else if says("transport `") {
        Some((
            "the far end answers as for a browser (WebRTC, keys by DTLS) or another kind of media, and a phone calls",
            "take an endpoint for phones (Asterisk: `webrtc = no`, `use_avpf = no`, `media_encryption` no or sdes)",
        ))
    } else if says("is of another family than ours") {
        Some((
            "the far end names an IPv4 address for media to a caller with IPv6, or the other way round",
            "set sip.local to an address of the family of its media, or have it answer in that of the offer (Asterisk: \
             `rtp_ipv6 = yes`, or `media_address`)",
        ))
    } else {
        None
    }
}

/// Likeliest cause and cure of any other fault in an answer.
fn of_answer(reason: &str, codec: &str) -> (&'static str, String) {
    let says = |words: &str| reason.contains(words);
    if says("is a name") {
        (
            "the far end writes a host name where media want an address, and this host finds none for it",
            "have it write its IP address (`media_address`, `external_media_address`), or enter the name in this host's \
             /etc/hosts"
                .into(),
        )
    } else if says("is refused (port 0)") || says("no common codec") {
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
        const PRACK: &str =
            "its provisional answer comes again and again: nobody hears PRACK at 192.0.2.7:5999, where";
        for (ending, reason) in [
            (Ending::RemoteHangup, REASON.to_string()),
            (Ending::HangupFailed, format!("BYE was never answered; {REASON}")),
            (Ending::Rejected, format!("Server Time-out; {PRACK}")),
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
            ("bad SDP answer: no common codec: offered PCMU, answered `8`", "add PCMU"),
            ("bad SDP answer: its address is one of the driver's own", "direct_media=no"),
            (
                "bad SDP answer: it has no keys for SRTP (`a=crypto`), so its media would be plain",
                "media_encryption = sdes",
            ),
            (
                "bad SDP answer: no usable keys for SRTP: AES_CM_128_HMAC_SHA1_80 is spoken, it has `AEAD_AES_128_GCM`",
                "media.srtp_suite",
            ),
            (
                "bad SDP answer: transport `RTP/SAVP` instead of RTP/AVP: it wants SRTP; set media.srtp = true",
                "media.srtp = true",
            ),
            ("bad SDP answer: transport `UDP/TLS/RTP/SAVPF` instead of RTP/SAVP", "webrtc = no"),
            (
                "bad SDP answer: the connection address 192.0.2.7 is of another family than ours",
                "sip.local to an address of the family",
            ),
        ] {
            let mut run = healthy();
            end(&mut run, 10, Ending::BadAnswer, None, reason);
            let found = found(run);
            assert_eq!((found[0].name, found.len()), ("bad_answer", 1));
            assert!(found[0].cure.contains(cure), "{reason}: {}", found[0].cure);
            let is_of_nat = found[0].cure.contains("direct_media");
            assert_eq!(is_of_nat, reason.contains("driver's own"), "{reason}: {}", found[0].cure);
        }
    }

    #[test]
    fn an_offer_that_was_refused_is_the_finding_whatever_ended_the_call() {
        const REFUSED: &str =
            "its offer in mid-call was refused with 488: no common codec: offered PCMU, answered `8`";
        for (ending, before) in
            [(Ending::RemoteHangup, "Q.850;cause=88; "), (Ending::MediaLost, "nothing heard for 5s; ")]
        {
            let mut run = healthy();
            end(&mut run, 3, ending, Some(200), &format!("{before}{REFUSED}"));
            let found = found(run);
            let names: Vec<_> = found.iter().map(|finding| finding.name).collect();
            assert_eq!(names, ["offer_refused"], "{found:#?}");
            assert!(found[0].seen.contains(REFUSED) && found[0].cure.contains("direct_media=no"));
        }
    }
}
