//! Calls that did not come up: what SIP said, and what it mostly means.

use std::collections::BTreeMap;

use super::signposts::is_unheard;
use super::{Finding, Seen, quoted};
use crate::record::{Breakage, CallRecord, Ending};

/// Finding of calls that got no SIP answer from the target.
pub(super) const SILENT: &str = "sip_silent";
/// Words of Asterisk's log for an application that nobody has registered.
const UNREGISTERED: [&str; 2] = ["not registered", "doesn't exist"];
/// Words for a machine or a limit that is exhausted.
const EXHAUSTED: [&str; 4] =
    ["couldn't allocate a port for RTP", "Too many open files", "task processor queue", "queue reached"];
/// Words in the reason of a redirection that the scenario does not follow.
const NOT_FOLLOWED: &str = "sip.follow_redirects = true";

/// Words in the reason of a call whose redirection was followed, behind which its new place stands.
const SENT_ON: &str = "the far end had sent the caller on, to ";

/// True for an INVITE to which not even 100 Trying came. Runs of older versions do not say, and an INVITE over UDP was sent
/// again and again.
fn is_mute(seen: &Seen<'_>, call: &CallRecord) -> bool {
    let has_heard = !seen.observed.first_call.answers.is_empty();
    let is_silent = matches!(seen.environment.broken_by, Some(Breakage::Silent { .. }));
    let resent = call.retransmissions;
    let is_resent = if has_heard { resent > 1 } else { resent > 0 };
    let is_unheard = seen.is_over_stream() || is_resent || is_silent;
    call.srd_ms.is_none() && call.trying_ms.is_none() && is_unheard
}

/// The place that a call's far end had sent it on to.
fn sent_on(call: &CallRecord) -> Option<&str> {
    let (_, to) = call.reason.split_once(SENT_ON)?;
    to.split("; ").next()
}

/// Calls whose answers could not be read, and where answers name no call, those that got none which could.
pub(super) fn unreadable(seen: &Seen<'_>) -> Vec<Finding> {
    let of_calls = seen.ended(Ending::Unreadable).len();
    let of_none = if of_calls == 0 { mute(seen) } else { 0 };
    let Some(line) = seen.observed.unreadable.first().filter(|_| of_calls + of_none > 0) else {
        return Vec::new();
    };
    let what = format!("were answered by {} with SIP that cannot be read", seen.target());
    vec![Finding {
        seen: format!("{}{}", seen.shown("ending unreadable", "answer"), quoted("SIP's answers", Some(line))),
        cause: "the far end, or a gateway or firewall on the way that rewrites SIP (ALG), sends what breaks RFC 3261 where a \
                caller cannot do without it"
            .into(),
        cure: format!("mend there what the reason names{}", captured(seen)),
        ..seen.over("sip_unreadable", of_calls + of_none, &what)
    }]
}

/// Advice on a capture of SIP; none where TLS hides it.
fn captured(seen: &Seen<'_>) -> String {
    let protocol = match seen.environment.transport.as_str() {
        "TLS" => return String::new(),
        "TCP" => "tcp",
        _ => "udp",
    };
    format!(
        "; a capture on the SIP port (`tcpdump -w sip.pcap {protocol} port …`) shows the message as it came, and a second one at \
         the far end who has changed it"
    )
}

/// Number of calls that got no answer at all.
fn mute(seen: &Seen<'_>) -> usize {
    seen.ended(Ending::Timeout).iter().filter(|call| is_mute(seen, call)).count()
}

/// INVITEs to which no answer came at all, of which those that a redirection had sent on are apart.
pub(super) fn unanswered(seen: &Seen<'_>) -> Vec<Finding> {
    // Answers that name no call may be those of any.
    if !seen.observed.unreadable.is_empty() && seen.ended(Ending::Unreadable).is_empty() {
        return Vec::new();
    }
    let mute: Vec<&CallRecord> =
        seen.ended(Ending::Timeout).into_iter().filter(|call| is_mute(seen, call)).collect();
    let (redirected, direct): (Vec<_>, Vec<_>) = mute.into_iter().partition(|call| sent_on(call).is_some());
    unanswered_here(seen, direct.len()).into_iter().chain(unanswered_there(seen, &redirected)).collect()
}

/// Silence of the place that a redirection had named.
fn unanswered_there(seen: &Seen<'_>, redirected: &[&CallRecord]) -> Option<Finding> {
    let place = redirected.first().and_then(|call| sent_on(call))?;
    let more = match redirected.iter().any(|call| sent_on(call) != Some(place)) {
        true => " and other places",
        false => "",
    };
    let target = seen.target();
    let what = format!("were sent on to {place}{more} by {target}, and got no SIP answer there");
    Some(Finding {
        seen: seen.shown("ending timeout, and the redirection in column reason", "answer"),
        cause: format!(
            "nothing takes SIP at the place that the redirection of {target} names, or its answers do not find back"
        ),
        cure: format!(
            "see that a far end runs and listens there, and that no firewall is between; or mend the Contact of {target}'s \
             redirection; sip.follow_redirects = false leaves it unfollowed"
        ),
        ..seen.over("redirect_silent", redirected.len(), &what)
    })
}

/// Silence of the target.
fn unanswered_here(seen: &Seen<'_>, count: usize) -> Option<Finding> {
    if count == 0 {
        return None;
    }
    let target = seen.target();
    let all = count == seen.calls.len();
    let finding = seen.over(SILENT, count, &format!("got no SIP answer from {target}"));
    let (cause, cure) = if all && seen.is_over_stream() {
        (
            "the port takes connections, and what holds it answers no SIP: it hangs, or it is no port for SIP",
            "see that asterisk.sip names the port for SIP over asterisk.transport (`pjsip show transports`), and look in the \
             log of what listens there; `loadtest check` tries it with OPTIONS",
        )
    } else if all {
        (
            "nothing takes SIP at that address, or its answers do not find back",
            "see that it runs and listens there (`pjsip show transports`), that no firewall is between, and that \
             sip.local is the address under which it reaches this machine; `loadtest check` tries it with OPTIONS",
        )
    } else if seen.is_over_stream() {
        (
            "Asterisk takes no new requests while it is overloaded",
            "lower load.ramp or load.calls; look for \"queue reached\" in Asterisk's log",
        )
    } else {
        (
            "Asterisk takes no new requests while it is overloaded, or the network drops datagrams",
            "lower load.ramp or load.calls; look for \"queue reached\" in Asterisk's log and for drops on the way",
        )
    };
    let seen_in = format!(
        "{}{}",
        seen.shown("ending timeout without any answer", "SIP"),
        quoted("Asterisk's log", seen.asterisk_said(&EXHAUSTED))
    );
    Some(Finding { seen: seen_in, cause: cause.into(), cure: cure.into(), ..finding })
}

/// Words in the reason of a call whose challenge was left unanswered for what it asks: those of `AuthError`.
const UNMET: [&str; 5] = [
    "is not supported",
    "realms want credentials",
    "no digest challenge",
    "the challenge has ",
    "was challenged more than ",
];

/// Challenges that no password meets.
fn unmet(seen: &Seen<'_>, count: usize, seen_in: String) -> Finding {
    Finding {
        seen: seen_in,
        cause: "the far end asks for a kind of authentication that this caller does not speak, or for more realms than it \
                answers; whether user and password are right is not known"
            .into(),
        cure: "have it challenge by Digest with MD5 or SHA-256 there, with qop `auth` or none (Asterisk: \
               `supported_algorithms_uas` of the `auth` section), and for as few realms as a way of proxies has"
            .into(),
        ..seen.over("auth_unmet", count, "were challenged in a way that cannot be answered")
    }
}

/// Challenges that could not be met.
pub(super) fn authentication(seen: &Seen<'_>) -> Vec<Finding> {
    let failed = seen.ended(Ending::AuthFailed);
    let Some(first) = failed.first() else { return Vec::new() };
    let setup = &seen.observed.setup;
    let seen_in = format!("SIP's answers: {}", first.reason);
    if UNMET.iter().any(|words| first.reason.contains(words)) {
        return vec![unmet(seen, failed.len(), seen_in)];
    }
    // Runs of older versions do not say as whom they called.
    let is_known = !setup.target.is_empty();
    if is_known && setup.user.is_empty() {
        let in_file = match setup.accounts.as_str() {
            "" => String::new(),
            file => format!("give each caller in {file} (sip.accounts) its `password`, or "),
        };
        return vec![Finding {
            seen: seen_in,
            cause: "the far end asks for a user and a password".into(),
            cure: format!(
                "{in_file}set SIP_USER and SIP_PASS, in the environment or in .env, to the account of its endpoint"
            ),
            ..seen.over("auth_missing", failed.len(), "were challenged, and no credentials are set")
        }];
    }
    let account = if is_known { format!(" as `{}`", setup.user) } else { String::new() };
    // Each caller of a file has a name of its own.
    let account = if setup.accounts.is_empty() { account } else { String::new() };
    let given: String = match setup.accounts.as_str() {
        "" => "SIP_USER and SIP_PASS".into(),
        file => format!("users and passwords in {file} (sip.accounts)"),
    };
    let what = format!("were refused after authenticating{account}");
    let finding = seen.over("auth_refused", failed.len(), &what);
    let (cause, cure) = if is_known && setup.user != setup.from {
        (
            format!(
                "the far end does not know the user of From, `{}` (PJSIP identifies an endpoint by it and then \
                 challenges in vain), or the password is wrong",
                setup.from
            ),
            format!(
                "set sip.from to the name of the endpoint, mostly `{}`; if it stays, compare {given} with its `auth` \
                 section",
                setup.user
            ),
        )
    } else {
        (
            "the password is wrong, or the account is another's than that of the endpoint".into(),
            format!(
                "compare {given} with username and password of the endpoint's `auth` section, and sip.from with the \
                 endpoint's name"
            ),
        )
    };
    vec![Finding { seen: seen_in, cause, cure, ..finding }]
}

/// Final answers of 300 to 699, a finding for each status.
pub(super) fn rejected(seen: &Seen<'_>) -> Vec<Finding> {
    let mut by_status: BTreeMap<u16, Vec<&CallRecord>> = BTreeMap::new();
    for call in seen.ended(Ending::Rejected).into_iter().filter(|call| !is_unheard(call)) {
        by_status.entry(call.status.unwrap_or_default()).or_default().push(call);
    }
    by_status.into_iter().map(|(status, calls)| of_status(seen, status, &calls)).collect()
}

fn of_status(seen: &Seen<'_>, status: u16, calls: &[&CallRecord]) -> Finding {
    let phrase = calls.first().map(|call| call.reason.as_str()).unwrap_or_default();
    let (name, cause, cure) = meaning(seen, status, phrase);
    let said = format!("were rejected with {status} {phrase}");
    let line = seen
        .asterisk_said(&UNREGISTERED)
        .or_else(|| seen.asterisk_said(&EXHAUSTED))
        .or(seen.observed.asterisk_log.first());
    let seen_in = format!("SIP's final answers{}", quoted("Asterisk's log", line));
    Finding { seen: seen_in, cause, cure, ..seen.over(name, calls.len(), said.trim_end()) }
}

/// Name, likeliest cause and cure of a status, whose reason is told behind it.
fn meaning(seen: &Seen<'_>, status: u16, reason: &str) -> (&'static str, String, String) {
    let setup = &seen.observed.setup;
    let (to, app) = (&setup.to, &setup.app);
    let owned = |name, cause: &str, cure: &str| (name, cause.to_string(), cure.to_string());
    if seen.asterisk_said(&UNREGISTERED).is_some() && status >= 480 {
        return (
            "app_unregistered",
            format!("no service had the ARI application `{app}` registered when the calls came"),
            "see that the service runs, connects its WebSocket to this Asterisk and keeps it, and that service.app \
             is the application's name in the dialplan"
                .into(),
        );
    }
    match status {
        300..=399 => redirection(reason),
        401 | 403 | 407 => (
            "forbidden",
            format!("the far end knows the caller but does not let it call `{to}`, or does not know it (From, address)"),
            "see its log for why; compare sip.from with the endpoint's name, and its context and ACL with the call"
                .into(),
        ),
        404 | 484 | 604 => (
            "no_extension",
            format!("the endpoint's context has no extension `{to}`, or the far end serves no domain of that name"),
            format!(
                "set sip.to to one that it has, or add `{to}` to the dialplan (`dialplan show`); set sip.domain to the domain \
                 that it serves, where that is another than the host of asterisk.sip"
            ),
        ),
        408 | 480 => owned(
            "unavailable",
            "whoever the dialplan calls is not registered, or did not pick up in time",
            "have sip.to lead to the application under test itself, and see that it answers",
        ),
        415 | 488 | 606 => not_acceptable(seen),
        486 | 600 => owned(
            "busy",
            "a limit on the endpoint's calls is reached, or the dialplan or the service says busy",
            "raise the limit (`device_state_busy_at`, GROUP_COUNT in the dialplan), or lower load.calls",
        ),
        503 => owned(
            "overloaded",
            "Asterisk or what stands before it has no room: RTP ports, descriptors, or task processors that are behind",
            "see Asterisk's log; widen rtp.conf's range, raise LimitNOFILE, lower load.ramp or load.calls",
        ),
        500..=599 => (
            "server_error",
            format!("the dialplan failed, as it does where nobody has registered the application `{app}`"),
            "see Asterisk's log for the call; see that the service is connected (`ari show apps`)".into(),
        ),
        603 => (
            "declined",
            format!("{} hung up without answering, or nobody has registered the application that the dialplan names", seen.answerer()),
            format!(
                "see Asterisk's log for \"Stasis app … doesn't exist\" (`ari show apps` lists those that are there{}), and \
                 answer before anything else",
                if seen.observed.setup.has_application() { format!("; the service is `{app}`") } else { String::new() }
            ),
        ),
        _ => owned(
            "rejected",
            "the far end does not take the call as it is",
            "see the far end's log for the call; RFC 3261 section 21 says what the status stands for",
        ),
    }
}

/// Name, cause and cure of a redirection. Behind its phrase the reason says why it was not followed.
fn redirection(reason: &str) -> (&'static str, String, String) {
    let (cause, cure) = if reason.contains(NOT_FOLLOWED) || !reason.contains("; ") {
        (
            "the far end sends callers elsewhere, and that was not followed",
            "set sip.follow_redirects = true, or asterisk.sip and sip.to to where it sends them",
        )
    } else {
        (
            "the far end sends callers to where they cannot go from here, or on from there: the reason says which",
            "set asterisk.sip and sip.to to where it sends them in the end, or mend the Contact of its redirection",
        )
    };
    ("redirected", cause.into(), cure.into())
}

/// Name, cause and cure of media that the far end does not take as they were offered.
fn not_acceptable(seen: &Seen<'_>) -> (&'static str, String, String) {
    let codec = &seen.environment.codec;
    let (or, srtp) = if seen.environment.srtp.is_empty() {
        (
            "takes no media that SRTP does not protect",
            "where its `media_encryption` is sdes, set media.srtp = true",
        )
    } else {
        (
            "does not speak SRTP with keys in SDP (SDES)",
            "have it speak SRTP (Asterisk: `media_encryption = sdes`, and res_srtp loaded), or set media.srtp = false",
        )
    };
    (
        "codec_refused",
        format!("the endpoint does not allow {codec}, or {or}"),
        format!("add it to the endpoint's `allow`, or choose another media.codec than {codec}; {srtp}"),
    )
}

/// Calls that the far end took, and never answered.
pub(super) fn rang(seen: &Seen<'_>) -> Vec<Finding> {
    let is_told = |call: &CallRecord| is_mute(seen, call) || is_unheard(call);
    let count = seen.ended(Ending::Timeout).into_iter().filter(|call| !is_told(call)).count();
    if count == 0 {
        return Vec::new();
    }
    let within = match seen.observed.setup.setup_timeout.as_str() {
        "" => String::new(),
        within => format!(" within {within}"),
    };
    let cause = if seen.observed.setup.has_application() {
        "the calls reach the application, and it does not answer them"
    } else {
        "what the dialplan calls does not pick up"
    };
    vec![Finding {
        seen: format!(
            "{}{}",
            seen.shown("ending timeout after 100 Trying or 180 Ringing", "answer"),
            seen.service_said()
        ),
        cause: cause.into(),
        cure: "on StasisStart the service has to POST /channels/{id}/answer; see its log, and raise \
               sip.setup_timeout if it needs longer"
            .into(),
        ..seen.over("never_answered", count, &format!("were taken by the far end and not answered{within}"))
    }]
}
