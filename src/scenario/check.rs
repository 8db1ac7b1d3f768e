//! The rules that a scenario must keep as a whole: pools large enough, ranges apart, sane times.

use std::time::Duration;

use super::error::Problems;
use super::ranges::{
    LONGEST, LONGEST_BURST, LONGEST_DELAY, LONGEST_DELAY_PER_CALL, MOST_CALLS, SESSION_EXPIRES, SOONEST_DEAD,
};
use super::{
    Asterisk, AsteriskMode, Hangup, Load, Needs, Pool, Scenario, ServiceMode, capture, fault, identity,
    ranges, search, signal, speech, stage, targets, tls, turn,
};
use crate::impair::Impairment;
use crate::rtp::Format;
use crate::values::{HostPort, MediaWay, Ramp, Span};

/// Longest packet time.
const LONGEST_PTIME: Duration = Duration::from_millis(60);
/// More words, or bytes in one, than any command line for a service has.
const LONGEST_COMMAND: (usize, usize) = (64, 4096);

/// Everything wrong with the scenario; empty when it can be run.
pub(super) fn problems(scenario: &Scenario) -> Problems {
    let mut found = Problems::default();
    let calls = scenario.load.calls;
    let of_stages = scenario.stage.iter().filter_map(|stage| stage.calls);
    let is_storm = scenario.sip.register && scenario.load.rate.is_none() && scenario.stage.is_empty();
    let is_sane = (u32::from(!is_storm)..=MOST_CALLS).contains(&calls);
    let cure =
        format!("hold between 1 and {MOST_CALLS} calls; 0 is for registrations alone (sip.register = true)");
    found.refuse_if(!is_sane, "load.calls", format!("{calls} calls cannot be held"), cure);
    // Pools are judged by the calls, so a wrong number of calls speaks for itself.
    if is_sane && of_stages.max().is_none_or(|most| most <= MOST_CALLS) {
        pools(scenario, &mut found);
    }
    ranges::problems(scenario, &mut found);
    times(scenario, &mut found);
    if is_sane {
        open_load(scenario, &mut found);
    }
    hangup(scenario, &mut found);
    codec(scenario, &mut found);
    delay(scenario, &mut found);
    session_timer(scenario, &mut found);
    impairments(scenario, &mut found);
    overlaps(scenario, &mut found);
    target(scenario, &mut found);
    targets::problems(scenario, &mut found);
    tls::problems(scenario, &mut found);
    application(scenario, &mut found);
    names(scenario, &mut found);
    identity::problems(scenario, &mut found);
    stage::problems(scenario, &mut found);
    turn::problems(scenario, &mut found);
    signal::problems(scenario, &mut found);
    speech::problems(scenario, &mut found);
    fault::problems(scenario, &mut found);
    capture::problems(&scenario.capture, &mut found);
    search::problems(scenario, &mut found);
    found
}

fn times(s: &Scenario, found: &mut Problems) {
    if let Some(call) = s.load.call_duration.as_ref() {
        let least = Span(s.measure.warmup.0.saturating_add(Duration::from_secs(1)));
        found.refuse_if(
            call.typical() < least || call.longest() > LONGEST.0,
            "load.call_duration",
            "a call must outlast the warm-up, or none of its packets would count",
            format!("use at least {least}, or a shorter measure.warmup"),
        );
    }
    let ptime = s.media.ptime.0;
    let ptime_ok = ptime.subsec_nanos().is_multiple_of(10_000_000) && (10..=60).contains(&ptime.as_millis());
    let message = "the packet time must be 10, 20, 30, 40, 50 or 60 ms";
    found.refuse_if(!ptime_ok, "media.ptime", message, "20ms is usual");
    let (late, lost) = (s.measure.late_after, s.measure.lost_after);
    found.refuse_if(
        late.0.is_zero() || late >= lost,
        "measure.late_after",
        "a packet must be late before it is lost",
        format!("choose late_after above zero and below lost_after = {lost}"),
    );
    if ptime_ok {
        let (least, most) = ranges::lost_after(s.media.ptime);
        found.refuse_if(
            !(least..=most).contains(&lost),
            "measure.lost_after",
            "packets cannot be followed that long, or are given up too soon",
            format!("choose between {least} and {most}, or a larger media.ptime"),
        );
    }
}

/// Longest payload: with RTP's header, the tag of SRTP and the headers of UDP and IPv6 it fits into an Ethernet frame.
const LONGEST_PAYLOAD: usize = 1400;

/// Rules of ways besides RTP between Asterisk and the service.
fn media_way(s: &Scenario, found: &mut Problems) {
    let (way, codec, ptime) = (s.service.media, s.media.codec, s.media.ptime);
    if way == MediaWay::Rtp {
        return;
    }
    found.refuse_if(
        s.service.mode == ServiceMode::None,
        "service.media",
        "without a service nobody takes media that way",
        "set another service.mode, or leave the key out",
    );
    found.refuse_if(
        s.service.mode == ServiceMode::External && s.asterisk.mode == AsteriskMode::External,
        "service.media",
        "neither the Asterisk nor the service is started by the run, so that nobody would be told",
        "leave the key out: service and Asterisk have their way already",
    );
    found.refuse_if(
        !codec.is_g711(),
        "service.media",
        format!("no probe in {codec} survives {way}"),
        "set media.codec = \"PCMU\" or \"PCMA\", or service.media = \"rtp\"",
    );
    found.refuse_if(
        s.service.echo.is_some(),
        "service.media",
        "an echo server is asked over RTP alone",
        "leave service.echo out, or set service.media = \"rtp\"",
    );
    let only = Span(WEBSOCKET_PTIME);
    found.refuse_if(
        way == MediaWay::WebSocket && ptime != only,
        "media.ptime",
        "Asterisk's chan_websocket plays in steps of 20 ms and drops halves of them without a word",
        format!("set ptime = \"{only}\", or service.media = \"rtp\" or \"audiosocket\""),
    );
}

/// Packet time of chan_websocket's own clock.
const WEBSOCKET_PTIME: Duration = Duration::from_millis(20);

/// Rules of what the packets carry.
fn codec(s: &Scenario, found: &mut Problems) {
    let (codec, ptime) = (s.media.codec, s.media.ptime);
    found.refuse_if(
        s.service.mode == ServiceMode::Builtin && s.service.codec.is_none() && !codec.is_via_external_media(),
        "media.codec",
        format!("Asterisk drops what the service returns in {codec}: externalMedia over RTP takes none of it back"),
        match s.media.mode {
            super::MediaMode::Signal | super::MediaMode::Speech => "set service.codec = \"PCMU\": Asterisk transcodes then",
            super::MediaMode::Conversation => "set media.codec = \"PCMU\"",
            super::MediaMode::Echo => {
                "set sip.to = \"echo\" and service.mode = \"none\", for a far end that echoes by itself, or media.codec = \
                 \"G722\"; media.mode = \"signal\" measures the audio through transcoding, with service.codec = \"PCMU\""
            }
        },
    );
    media_way(s, found);
    let bytes = Format::of(codec, ptime.0).payload_len();
    match codec.only_ptime().map(Span) {
        Some(only) => found.refuse_if(
            ptime != only,
            "media.ptime",
            format!("a packet of {codec} is well-formed at {only} alone"),
            format!("set ptime = \"{only}\""),
        ),
        None => found.refuse_if(
            ptime.0 <= LONGEST_PTIME && bytes > LONGEST_PAYLOAD,
            "media.ptime",
            format!("a packet of {codec} would have {bytes} bytes, more than an Ethernet frame carries"),
            "use a shorter packet time; 20ms is usual",
        ),
    }
}

/// Rules of attempts at a rate.
fn open_load(s: &Scenario, found: &mut Problems) {
    let load = &s.load;
    let ramp = match load.ramp {
        Ramp::Within(span) => span.0,
        // Of an open load the rate is reached at once.
        Ramp::At(_) if load.rate.is_some() => Duration::ZERO,
        at => Load::ramp_over(at, load.calls.into()),
    };
    found.refuse_if(
        ramp > LONGEST.0,
        "load.ramp",
        "nobody waits so long for the calls to come up",
        format!("use at most {LONGEST}; 30s is usual"),
    );
    if let Some(rate) = load.rate {
        stage::offered(s, "load.rate", rate, found);
    }
}

/// Rules of hanging up.
fn hangup(s: &Scenario, found: &mut Problems) {
    let by_far_end = s.load.hangup != Hangup::Caller;
    found.refuse_if(
        by_far_end && s.service.mode != ServiceMode::Builtin,
        "load.hangup",
        "only the built-in service hangs up by itself",
        "set service.mode = \"builtin\", or hangup = \"caller\"",
    );
    found.refuse_if(
        by_far_end && s.load.far_end_hangs_up_after().is_none(),
        "load.hangup",
        "nobody knows when the far end is to hang up",
        "set load.call_duration to one length for all, as in call_duration = \"30s\"",
    );
    let dead = s.load.dead_after;
    found.refuse_if(
        !dead.0.is_zero() && !(SOONEST_DEAD..=LONGEST).contains(&dead),
        "load.dead_after",
        "a call cannot be given up that soon, or that late",
        "5s is usual; 0s gives up none",
    );
}

fn session_timer(s: &Scenario, found: &mut Problems) {
    let (least, most) = SESSION_EXPIRES;
    let is_broken = s
        .sip
        .session_expires
        .is_some_and(|interval| !(least..=most).contains(&interval) || interval.0.subsec_nanos() > 0);
    found.refuse_if(
        is_broken,
        "sip.session_expires",
        format!("a session timer has whole seconds, between {least} and {most}"),
        "30m is usual",
    );
}

/// Rules of being slow on purpose.
fn delay(s: &Scenario, found: &mut Problems) {
    let keys = [
        ("service.delay", s.service.delay, LONGEST_DELAY, "1ms to 1s"),
        ("service.delay_per_call", s.service.delay_per_call, LONGEST_DELAY_PER_CALL, "10us to 100ms"),
    ];
    for (key, delay, longest, usual) in keys {
        if let Some(delay) = delay {
            slow_on_purpose(s, key, found);
            found.refuse_if(delay > longest, key, format!("nobody waits longer than {longest}"), usual);
        }
    }
}

fn slow_on_purpose(s: &Scenario, key: &'static str, found: &mut Problems) {
    found.refuse_if(
        s.service.mode != ServiceMode::Builtin,
        key,
        "only the built-in service is slow on purpose",
        "set service.mode = \"builtin\", or leave the key out",
    );
    found.refuse_if(
        s.service.echo.is_some(),
        key,
        "what is sent through an echo server is not held as well",
        format!("leave {key} or service.echo out"),
    );
}

fn pools(s: &Scenario, found: &mut Problems) {
    let needed = Needs::of(s).pool;
    for Pool { key, range, slots, ports_per_slot, slots_per_call, .. } in Pool::all(s) {
        let carries = slots / slots_per_call;
        let ports = needed * slots_per_call * u32::from(ports_per_slot);
        let cure = match u32::from(range.from) + ports - 1 {
            to @ ..=65_535 => format!("{}-{to} would do", range.from),
            _ => format!("it takes {ports} ports"),
        };
        let message = format!("{range} carries {carries} calls, {needed} are needed");
        found.refuse_if(carries < needed, key, message, cure);
    }
}

fn overlaps(s: &Scenario, found: &mut Problems) {
    let mut ranges: Vec<_> = Pool::all(s).into_iter().map(|pool| (pool.key, pool.range)).collect();
    // Ranges matter to each other only where they are ports of the same host.
    let is_external = s.asterisk.mode == AsteriskMode::External && s.service.mode.is_application();
    if is_external && s.asterisk.sip.iter().any(HostPort::is_loopback) {
        ranges.push(("asterisk.rtp_ports", s.asterisk.rtp_ports));
    }
    for (n, (key, range)) in ranges.iter().enumerate() {
        for (other_key, other) in &ranges[n + 1..] {
            found.refuse_if(
                range.overlaps(*other),
                key,
                format!("{range} overlaps {other_key} {other}"),
                "keep the three ranges apart, as in 10000-20000 for Asterisk, 21000-31000 for the service and \
                 40000-49998 for the driver",
            );
        }
    }
}

fn target(s: &Scenario, found: &mut Problems) {
    let Asterisk { sip, ari, ari_port, .. } = &s.asterisk;
    let external = s.asterisk.mode == AsteriskMode::External;
    found.refuse_if(
        external && sip.is_empty(),
        "asterisk",
        "an external Asterisk needs the address of its SIP port",
        "add sip = \"127.0.0.1:5060\" under [asterisk]",
    );
    found.refuse_if(
        external && s.service.mode.is_application() && ari.is_empty(),
        "asterisk",
        "an application needs the address of Asterisk's ARI",
        "add ari = \"http://127.0.0.1:8088\" under [asterisk], and set ARI_USER and ARI_PASS",
    );
    found.refuse_if(
        external && ari_port.is_some(),
        "asterisk.ari_port",
        "an external Asterisk has chosen its port",
        "remove ari_port: the address in ari says it",
    );
    for url in ari {
        let url = &url.0;
        let message = format!("`{url}` is not an http address");
        let cure = "write it as in ari = \"http://127.0.0.1:8088\"; TLS is not supported";
        // What stands before an `@` may be a password: it is printed nowhere.
        let has_user = url.contains('@');
        found.refuse_if(
            has_user,
            "asterisk.ari",
            "a user or a password stands in the address (`@`)",
            "leave it out: ARI_USER and ARI_PASS say it, in the environment or in .env",
        );
        found.refuse_if(!has_user && !url.starts_with("http://"), "asterisk.ari", message, cure);
    }
    found.refuse_if(
        !external && (!sip.is_empty() || !ari.is_empty()),
        "asterisk",
        "a managed Asterisk takes no addresses",
        "set mode = \"external\", or remove sip and ari: a managed Asterisk chooses its own ports",
    );
    let local = s.sip.local;
    found.refuse_if(
        local.is_multicast() || local.is_unspecified() && !external,
        "sip.local",
        format!("calls cannot be placed from {local}"),
        "use an address of this host, for Asterisk's strictrtp an exact one",
    );
    found.refuse_if(
        !external && !local.is_loopback(),
        "sip.local",
        "a managed Asterisk listens on the loopback only",
        "leave sip.local out, or use an external Asterisk",
    );
}

/// Rules of a service that is not this program's own.
fn application(s: &Scenario, found: &mut Problems) {
    let (service, (words, bytes)) = (&s.service, LONGEST_COMMAND);
    let is_command = service.mode == ServiceMode::Command;
    found.refuse_if(
        is_command && service.command.first().is_none_or(String::is_empty),
        "service",
        "mode = \"command\" needs the command that starts the service",
        "add its words, as in command = [\"node\", \"app.js\"]",
    );
    found.refuse_if(
        !is_command && !service.command.is_empty(),
        "service.command",
        "there is a command, but nobody starts it",
        "set mode = \"command\", or remove it",
    );
    found.refuse_if(
        service.command.len() > words || service.command.iter().any(|w| w.len() > bytes || w.contains('\0')),
        "service.command",
        "the command is too long, or holds a zero byte",
        format!("use up to {words} words of up to {bytes} bytes, or put it into a script"),
    );
    // It was not started by the run, so nobody can tell it a port and a password.
    let managed = s.asterisk.mode == AsteriskMode::Managed;
    found.refuse_if(
        managed && service.mode == ServiceMode::External && s.asterisk.ari_port.is_none(),
        "service.mode",
        "an external service cannot know the port of a managed Asterisk's ARI",
        "set asterisk.ari_port = 8088, and ARI_USER and ARI_PASS in the environment to what the service \
         connects with; or let the run start it (mode = \"command\")",
    );
    let is_privileged = s.asterisk.ari_port.is_some_and(|port| port < 1024);
    found.refuse_if(is_privileged, "asterisk.ari_port", "the port is privileged", "8088 is usual");
}

fn names(s: &Scenario, found: &mut Problems) {
    for (key, text, more) in [("name", &s.name, "-_."), ("service.app", &s.service.app, "-_.")] {
        let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        let is_word = (1..=64).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.');
        let message = format!("`{}` cannot be used as {key}", text.escape_debug());
        found.refuse_if(!is_word, key, message, format!("use 1 to 64 letters, digits and {more}"));
    }
}

fn impairments(s: &Scenario, found: &mut Problems) {
    let mut whole = Duration::ZERO;
    for (name, path) in [("impair.out", &s.impair.out), ("impair.back", &s.impair.back)] {
        if let Some(path) = path {
            impaired_path(s, name, path, found);
            whole = whole.saturating_add(path.longest());
        }
    }
    // The measurement would count as lost what the impairment has only delayed.
    let (whole, lost_after) = (Span(whole), s.measure.lost_after);
    found.refuse_if(
        whole >= lost_after,
        "impair",
        format!("packets may be held for {whole} on their way, and count as lost after {lost_after}"),
        "delay them less, or raise measure.lost_after",
    );
}

fn impaired_path(s: &Scenario, name: &str, path: &Impairment, found: &mut Problems) {
    let [jitter, burst, reorder] = ["jitter", "burst", "reorder"].map(|key| format!("{name}.{key}"));
    found.refuse_if(
        path.jitter > path.delay,
        &jitter,
        "a delay cannot vary by more than itself",
        format!("choose jitter up to delay = {}", path.delay),
    );
    let sane_burst = (1.0..=LONGEST_BURST).contains(&path.burst);
    found.refuse_if(
        !sane_burst,
        &burst,
        "packets are not lost that many in a row",
        format!("choose between 1 (loss at random) and {LONGEST_BURST}"),
    );
    let bursts = sane_burst && path.burst > 1.0;
    found.refuse_if(
        bursts && path.loss.0 == 0.0,
        &burst,
        "there are no losses to come in bursts",
        "set loss as well, as in loss = \"2%\", or leave burst out",
    );
    let at_random = 1.0 / (1.0 - path.loss.0);
    found.refuse_if(
        bursts && path.burst < at_random,
        &burst,
        "so much loss comes in longer runs even at random",
        match path.loss.0 < 1.0 {
            true => format!("choose {} or more, or leave burst out", (at_random * 100.0).ceil() / 100.0),
            false => "leave burst out: all is lost".into(),
        },
    );
    // A packet sent at once overtakes only what was sent an interval before and is still held.
    found.refuse_if(
        path.reorder.0 > 0.0 && path.longest() <= s.media.ptime.0,
        &reorder,
        "no packet is held long enough to be overtaken by the next",
        format!("set a delay above media.ptime = {}", s.media.ptime),
    );
    let message = "a packet sent at once overtakes none if all are";
    found.refuse_if(path.reorder.0 >= 1.0, &reorder, message, "a few per cent are usual");
}

#[cfg(test)]
mod tests;
