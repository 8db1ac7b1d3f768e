//! Cases of calls without any SIP answer, over datagrams and over connections, and of challenges that no password meets.

use super::cases::Case;
use super::*;

pub(super) const UNANSWERED: &[Case] = &[
    (
        |r| {
            mute(r, 10);
            r.environment.transport = "TLS".into();
            r.calls.iter_mut().for_each(|call| call.retransmissions = 0);
        },
        "sip_silent",
        "all 10 calls got no SIP answer from 192.0.2.7:5060",
        "the port for SIP over asterisk.transport",
    ),
    (
        |r| {
            mute(r, 3);
            r.environment.transport = "TCP".into();
            r.calls.iter_mut().for_each(|call| call.retransmissions = 0);
        },
        "sip_silent",
        "3 of 10 calls got no SIP answer",
        "load.ramp or load.calls; look for \"queue reached\" in Asterisk's log",
    ),
    (
        |r| {
            mute(r, 10);
            r.calls.iter_mut().for_each(|call| call.trying_ms = Some(Ns(1_000_000)));
        },
        "never_answered",
        "within 32s",
        "/answer",
    ),
    (
        |r| {
            mute(r, 10);
            let reason = "no answer in time; the far end had sent the caller on, to sip:b@192.0.2.9";
            end(r, 4, Ending::Timeout, None, reason);
        },
        "sip_silent",
        "6 of 10 calls got no SIP answer from 192.0.2.7:5060",
        "load.ramp",
    ),
    (
        |r| {
            let reason = "no answer in time; the far end had sent the caller on, to sip:b@192.0.2.9";
            mute(r, 4);
            end(r, 4, Ending::Timeout, None, reason);
        },
        "redirect_silent",
        "4 of 10 calls were sent on to sip:b@192.0.2.9 by 192.0.2.7:5060, and got no SIP answer there",
        "mend the Contact of 192.0.2.7:5060's redirection",
    ),
    (
        |r| {
            end(r, 10, Ending::AuthFailed, None, "authentication failed: algorithm `SHA-1` is not supported");
            r.environment.observed.setup.user = "7001".into();
        },
        "auth_unmet",
        "all 10 calls were challenged in a way that cannot be answered SIP's answers: authentication failed: algorithm",
        "MD5 or SHA-256 there",
    ),
];
