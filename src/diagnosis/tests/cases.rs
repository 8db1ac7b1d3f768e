//! Cases: a run with one trouble, and the finding that has to come first.

use super::unanswered::UNANSWERED;
use super::*;

/// A case: change of the healthy run, name of its first finding, words of what and where, words of its cure.
pub(super) type Case = (fn(&mut Run), &'static str, &'static str, &'static str);

pub(super) const REFUSED: &str = "the credentials were refused";

pub(super) const CASES: &[Case] = &[
    (|r| mute(r, 10), "sip_silent", "all 10 calls got no SIP answer from 192.0.2.7:5060", "sip.local"),
    (|r| mute(r, 3), "sip_silent", "3 of 10 calls", "load.ramp"),
    (
        |r| {
            end(r, 10, Ending::Unreadable, None, "the far end answers, but cannot be read: x");
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: the body ends after 5 of 7 bytes");
        },
        "sip_unreadable",
        "all 10 calls were answered by 192.0.2.7:5060 with SIP that cannot be read calls.csv, ending unreadable; SIP's \
         answers: \"SIP/2.0 200 OK: the body ends after 5 of 7 bytes\" (12 times)",
        "tcpdump",
    ),
    (
        |r| {
            mute(r, 10);
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: no Call-ID header");
        },
        "sip_unreadable",
        "no Call-ID header",
        "mend there",
    ),
    (
        |r| {
            mute(r, 4);
            end(r, 1, Ending::Unreadable, None, "the far end answers, but cannot be read: x");
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: bad CSeq `x`");
        },
        "sip_silent",
        "3 of 10 calls",
        "load.ramp",
    ),
    (
        |r| end(r, 10, Ending::AuthFailed, None, "credentials are wanted, and none are configured"),
        "auth_missing",
        "were challenged",
        "SIP_USER and SIP_PASS",
    ),
    (
        |r| {
            end(r, 10, Ending::AuthFailed, None, REFUSED);
            (r.environment.observed.setup.user, r.environment.observed.setup.from) =
                ("7001".into(), "7001".into());
        },
        "auth_refused",
        "after authenticating as `7001`",
        "password",
    ),
    (
        |r| {
            end(r, 10, Ending::AuthFailed, None, REFUSED);
            r.environment.observed.setup.user = "7001".into();
        },
        "auth_refused",
        REFUSED,
        "set sip.from to the name of the endpoint, mostly `7001`",
    ),
    (|r| end(r, 2, Ending::Rejected, Some(403), "Forbidden"), "forbidden", "403 Forbidden", "ACL"),
    (|r| end(r, 10, Ending::Rejected, Some(404), "Not Found"), "no_extension", "404 Not Found", "`4711`"),
    (|r| end(r, 10, Ending::Rejected, Some(404), "Not Found"), "no_extension", "404 Not Found", "sip.domain"),
    (|r| end(r, 10, Ending::Rejected, Some(480), "Gone"), "unavailable", "480", "sip.to"),
    (|r| end(r, 10, Ending::Rejected, Some(486), "Busy Here"), "busy", "486 Busy Here", "load.calls"),
    (
        |r| end(r, 10, Ending::Rejected, Some(488), "Not Acceptable"),
        "codec_refused",
        "488",
        "media.srtp = true",
    ),
    (
        |r| {
            end(r, 10, Ending::Rejected, Some(488), "Not Acceptable Here");
            r.environment.srtp = "AES_CM_128_HMAC_SHA1_80".into();
        },
        "codec_refused",
        "all 10 calls were rejected with 488",
        "`media_encryption = sdes`, and res_srtp loaded",
    ),
    (
        |r| {
            end(r, 1, Ending::Rejected, Some(503), "Service Unavailable");
            r.environment.observed.asterisk_log = logged("couldn't allocate a port for RTP instance '0x7f'");
        },
        "overloaded",
        "couldn't allocate a port",
        "rtp.conf",
    ),
    (
        |r| {
            end(r, 10, Ending::Rejected, Some(500), "Server error");
            r.environment.observed.asterisk_log = logged("Stasis app 'echo' not registered");
        },
        "app_unregistered",
        "Stasis app 'echo' not registered\" (12 times)",
        "WebSocket",
    ),
    (|r| end(r, 10, Ending::Rejected, Some(500), "Server error"), "server_error", "500", "ari show apps"),
    (|r| end(r, 10, Ending::Rejected, Some(603), "Decline"), "declined", "603", "ari show apps"),
    (|r| end(r, 10, Ending::Rejected, Some(302), "Moved"), "redirected", "302", "asterisk.sip"),
    (
        |r| {
            let why = "Moved; it sends callers to sip:b@h; sip.follow_redirects = true goes there";
            end(r, 10, Ending::Rejected, Some(302), why);
        },
        "redirected",
        "it sends callers to sip:b@h",
        "set sip.follow_redirects = true",
    ),
    (
        |r| {
            let why = "Moved; it sends callers on, to sip:c@h; one redirection is followed";
            end(r, 10, Ending::Rejected, Some(302), why);
        },
        "redirected",
        "one redirection is followed",
        "where it sends them in the end",
    ),
    (
        |r| {
            end(r, 10, Ending::Rejected, Some(403), "Forbidden");
            register(r, [10, 0, 10, 0], "403 Forbidden");
        },
        "registration_refused",
        "10 of 10 registrations failed the registrar's answers: 403 Forbidden (10)",
        "sip.accounts",
    ),
    (|r| register(r, [10, 8, 2, 0], "404 Not Found"), "registration_unknown", "2 of 10", "sip.domain"),
    (
        |r| register(r, [10, 7, 3, 0], "no answer in time"),
        "registration_unanswered",
        "no answer in time (3)",
        "sip.register_rate",
    ),
    (|r| register(r, [1, 0, 1, 0], "no answer in time"), "registration_unanswered", "1 of 1", "sip.local"),
    (
        |r| register(r, [10, 10, 0, 4], "503 Service Unavailable"),
        "registration_failed",
        "4 registrations could not be kept fresh",
        "sip.register_rate",
    ),
    (
        |r| {
            register(
                r,
                [1, 0, 1, 0],
                "the registrar answers, but cannot be read: SIP/2.0 200 OK: no Via header",
            )
        },
        "registration_unreadable",
        "no Via header",
        "mend there",
    ),
    (|r| end(r, 10, Ending::Rejected, Some(699), "?"), "rejected", "699", "log"),
    (|r| end(r, 10, Ending::Timeout, None, "no answer in time"), "never_answered", "within 32s", "/answer"),
    (
        |r| {
            end(
                r,
                3,
                Ending::Unreachable,
                None,
                "the TCP connection to 192.0.2.7:5060 has ended: the far end closed it",
            )
        },
        "sip_unreachable",
        "3 of 10 calls were lost with their connection to 192.0.2.7:5060 calls.csv, ending unreachable: the TCP connection",
        "loadtest check",
    ),
    (
        |r| {
            let why = "the TCP connection to 192.0.2.7:5060 has ended: it sent a message without Content-Length, `HTTP/1.1 400`";
            end(r, 10, Ending::Unreachable, None, why);
        },
        "sip_unreachable",
        "ending unreachable: the TCP connection",
        "the port for SIP over asterisk.transport",
    ),
    (
        |r| {
            end(
                r,
                1,
                Ending::Unreachable,
                None,
                "the TCP connection to 192.0.2.7:5060 has ended: the far end closed it",
            )
        },
        "sip_unreachable",
        "1 of 10 calls was lost with its connection to 192.0.2.7:5060",
        "loadtest check",
    ),
    (
        |r| end(r, 10, Ending::BadAnswer, None, "bad SDP answer: its address is one of the driver's own"),
        "bad_answer",
        "one of the driver's own",
        "media_address",
    ),
    (
        |r| {
            silence(r, 2);
            r.environment.observed.ari = ari(2, 0);
            r.environment.observed.service_log = logged("addChannel: 400 Channel not in Stasis application");
        },
        "not_bridged",
        "2 of 10 calls answered and silent: no packet came back; 2 of 10 callers were in no bridge",
        "StasisStart of the external channel",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(10, 0).map(|ari| AriState { media: 0, ..ari });
        },
        "no_media_channel",
        "no external channel was there",
        "externalMedia",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(0, 10);
        },
        "lone_in_bridge",
        "10 bridges with one channel in it",
        "addChannel",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(0, 0);
        },
        "silent",
        "all 10 calls answered and silent: no packet came back",
        "send each payload back",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.setup.service = "none".into();
        },
        "silent",
        "no packet came back",
        "Echo()",
    ),
    (
        |r| {
            silence(r, 1);
            (r.calls[0].strangers, r.calls[0].comfort_noise) = (480, 7);
        },
        "silent",
        "strangers 480, comfort_noise 7",
        "tcpdump",
    ),
    (
        |r| {
            silence(r, 3);
            r.environment.observed.setup.service = "none".into();
            r.calls.iter_mut().for_each(|call| call.comfort_noise = 9);
        },
        "silent",
        "3 of 10 calls answered and silent: no packet came back calls.csv, total_received 0, comfort_noise 27",
        "silence suppression",
    ),
    (
        |r| {
            silence(r, 3);
            r.calls
                .iter_mut()
                .for_each(|call| (call.srtp_received, call.srtp_decrypted) = (Some(500), Some(500)));
            r.calls.iter_mut().take(3).for_each(|call| call.srtp_decrypted = Some(0));
        },
        "srtp_unopened",
        "3 of 10 calls answered and silent: 1,500 packets came",
        "media_encryption = sdes",
    ),
    (
        |r| (r.calls[4].srtp_received, r.calls[4].srtp_decrypted) = (Some(500), Some(493)),
        "srtp_unopened",
        "7 of 500 packets under SRTP in 1 of 10 calls could not be opened",
        "srtp.undecrypted_count == 0",
    ),
    (
        |r| {
            silence(r, 2);
            r.calls.iter_mut().take(2).for_each(|call| hear_elsewhere(call, 0, 450));
        },
        "media_elsewhere",
        "2 of 10 calls were heard from elsewhere, and refused: RTP comes from 10.0.0.7:34379, the SDP says 10.0.0.7:10014",
        "media.source = \"any\" measures it",
    ),
    (
        |r| r.calls.iter_mut().for_each(|call| hear_elsewhere(call, 500, 0)),
        "media_elsewhere",
        "all 10 calls were heard from elsewhere, and measured: RTP comes from 10.0.0.7:34379",
        "media.source = \"sdp\" refuses it",
    ),
    (
        |r| {
            silence(r, 10);
            r.calls
                .iter_mut()
                .for_each(|call| (call.other_payload, call.other_payload_type) = (500, Some(8)));
        },
        "other_codec",
        "the 5000 packets that came back have payload type 8",
        "leave PCMU as the only codec",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.unmatched = 4_990;
        },
        "silent",
        "4990 datagrams came to ports of this machine that nobody has open",
        "bridge show all",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(10, 0).map(|ari| AriState { outside: 10, media: 0, ..ari });
        },
        "not_in_application",
        "none of 10 callers had entered `echo`",
        "run Stasis(echo)",
    ),
    (
        |r| {
            silence(r, 10);
            r.calls.iter_mut().for_each(|call| call.corrupted = 500);
            r.environment.observed.asterisk_log = logged("No path to translate from PJSIP/x to UnicastRTP/y");
        },
        "media_changed",
        "none of the 5000 packets that came back was as it was sent",
        "MEDIA_FORMAT (PCMU), not slin16",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.asterisk_log = logged("No path to translate from PJSIP/x to UnicastRTP/y");
        },
        "media_changed",
        "No path to translate",
        "MEDIA_FORMAT",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.lost_after_ms = 2000.0;
            r.calls.iter_mut().for_each(|call| call.late_echoes = 400);
        },
        "late_echoes",
        "4000 packets of all 10 calls came back after 2000.000 ms",
        "measure.lost_after",
    ),
    (|r| r.calls[4].forged = 7, "forged", "7 packets of 1 of 10 calls", "as it came"),
    (|r| r.calls[4].corrupted = 7, "media_changed", "7 packets of 1 of 10 calls", "payloads back unchanged"),
    (
        |r| end(r, 4, Ending::MediaLost, Some(200), "nothing heard for 5s"),
        "media_lost",
        "4 of 10 calls fell silent and were given up: nothing heard for 5s",
        "Slowest calls",
    ),
    (
        |r| end(r, 4, Ending::RemoteHangup, Some(200), "Q.850;cause=16"),
        "hung_up_early",
        "Q.850;cause=16",
        "load.call_duration",
    ),
    (
        |r| end(r, 3, Ending::SessionExpired, Some(200), "the session ran out: nobody"),
        "session_expired",
        "3 of 10 calls were hung up as their session had not been refreshed",
        "`timers`",
    ),
    (
        |r| {
            end(
                r,
                3,
                Ending::SessionExpired,
                Some(200),
                "the session ran out: the far end answered no refresh",
            );
            let lost = "the TCP connection to 192.0.2.7:5060 has ended: the far end closed it";
            r.environment.remarks = vec!["the service: 1 warning in its log".into(), lost.into()];
        },
        "session_expired",
        "the TCP connection to 192.0.2.7:5060 has ended: the far end closed it",
        "closes connections by itself",
    ),
    (|r| end(r, 1, Ending::HungUpEarly, None, ""), "hung_up_unanswered", "1 of 10 calls", "log"),
    (
        |r| end(r, 10, Ending::HangupFailed, Some(200), "BYE was answered with 481"),
        "bye_failed",
        "481",
        "Record-Route",
    ),
    (
        |r| {
            r.environment.break_by(ended(TestedProcess::Service, Death::Killed, "signal: 9 (SIGKILL)"));
            r.environment.observed.service_log = logged("Traceback (most recent call last)");
            end(r, 9, Ending::MediaLost, Some(200), "nothing heard for 5s");
        },
        "service_died",
        "Traceback",
        "single calls",
    ),
    (
        |r| r.environment.break_by(ended(TestedProcess::Asterisk, Death::Crashed, "signal: 11 (SIGSEGV)")),
        "asterisk_died",
        "SIGSEGV",
        "coredumpctl",
    ),
];

#[test]
fn each_trouble_has_its_finding_first() {
    for (change, name, seen, cure) in CASES.iter().chain(UNANSWERED) {
        let mut run = healthy();
        change(&mut run);
        let found = found(run);
        let Some(first) = found.first() else { panic!("{name}: nothing found") };
        assert_eq!(first.name, *name, "{found:#?}");
        let told = format!("{} {}", first.what, first.seen);
        assert!(told.contains(seen), "{name}: {told}");
        assert!(first.cure.contains(cure), "{name}: {}", first.cure);
        assert!(!first.cause.is_empty() && found.len() <= MOST);
    }
}
