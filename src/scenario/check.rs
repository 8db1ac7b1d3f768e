//! The rules that a scenario must keep as a whole: pools large enough, ranges apart, sane times.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::error::Problem;
use super::{AsteriskMode, Hangup, ImpairPath, Scenario, Service, ServiceMode, fault};
use crate::impair::Impairment;
use crate::rtp::sequence::WINDOW;
use crate::values::PortRange;

/// More than any one machine carries; a typo rather than a plan.
const MOST_CALLS: u32 = 20_000;
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Asterisk's two RTP instances per call, the caller's leg and the externalMedia leg. It must never
/// run out of them: on an externalMedia leg it crashes then (asterisk/asterisk#1757).
const ASTERISK_PAIRS_PER_CALL: u32 = 2;
/// Descriptors of Asterisk for one call (RTP, RTCP and alert pipes of two channels, its timer:
/// measured) and for itself, ARI's connections included.
const ASTERISK_DESCRIPTORS: (u64, u64) = (9, 100);
/// Descriptors of the driver and of the service for one call and for themselves.
const OWN_DESCRIPTORS: (u64, u64) = (2, 100);

/// Longer runs of lost packets are an outage: 20 s at the usual packet time.
const LONGEST_BURST: f64 = 1000.0;

/// More words, or bytes in one, than any command line for a service has.
const LONGEST_COMMAND: (usize, usize) = (64, 4096);

/// Resources that a scenario takes from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Ports of the driver and the service each: with churn a call's port rests while its
    /// replacement is already up.
    pub pool: u32,
    /// File descriptors that the hungriest of the processes needs.
    pub descriptors: u64,
}

impl Needs {
    /// Of `scenario`.
    pub fn of(scenario: &Scenario) -> Needs {
        let calls = u64::from(scenario.load.calls);
        let (per_call, base) = match scenario.asterisk.mode {
            AsteriskMode::Managed => ASTERISK_DESCRIPTORS,
            AsteriskMode::External => OWN_DESCRIPTORS,
        };
        // A call that a fault has cut off keeps its port while nobody answers its BYE.
        let churns = scenario.load.call_duration.is_some() || !scenario.fault.is_empty();
        let churn = if churns { 2 } else { 1 };
        Needs { pool: scenario.load.calls * churn, descriptors: calls * per_call + base }
    }
}

/// Everything wrong with the scenario; empty when it can be run.
pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Vec::new();
    // Pools are judged by the calls, so a wrong number of calls speaks for itself.
    if calls(scenario, &mut found) {
        pools(scenario, &mut found);
    }
    times(scenario, &mut found);
    abort(scenario, &mut found);
    hangup(scenario, &mut found);
    delay(&scenario.service, &mut found);
    impairments(scenario, &mut found);
    overlaps(scenario, &mut found);
    target(scenario, &mut found);
    application(scenario, &mut found);
    names(scenario, &mut found);
    fault::problems(scenario, &mut found);
    found
}

fn calls(s: &Scenario, found: &mut Vec<Problem>) -> bool {
    let sane = (1..=MOST_CALLS).contains(&s.load.calls);
    if !sane {
        let cure = format!("hold between 1 and {MOST_CALLS} calls");
        found.push(Problem::new("load.calls", format!("{} calls cannot be held", s.load.calls), cure));
    }
    sane
}

fn times(s: &Scenario, found: &mut Vec<Problem>) {
    let mut wrong = |key: &str, bad: bool, message: &str, cure: String| {
        if bad {
            found.push(Problem::new(key, message, cure));
        }
    };
    let second = Duration::from_secs(1);
    let duration = s.load.duration.0;
    wrong(
        "load.duration",
        !(second..=LONGEST).contains(&duration),
        "the hold phase must last between one second and seven days",
        "write it as in duration = \"5m\"".into(),
    );
    let warmup = s.measure.warmup.0;
    wrong("measure.warmup", warmup > LONGEST, "the warm-up is too long", "2s is usual".into());
    if let Some(call) = s.load.call_duration {
        let least = warmup + second;
        wrong(
            "load.call_duration",
            call.0 < least || call.0 > LONGEST,
            "a call must outlast the warm-up, or none of its packets would count",
            format!("use at least {}, or a shorter measure.warmup", humantime::format_duration(least)),
        );
    }
    let ptime = s.media.ptime.0;
    let ptime_ok = ptime.subsec_nanos().is_multiple_of(10_000_000) && (10..=60).contains(&ptime.as_millis());
    wrong(
        "media.ptime",
        !ptime_ok,
        "the packet time must be 10, 20, 30, 40, 50 or 60 ms",
        "20ms is usual".into(),
    );
    let (late, lost) = (s.measure.late_after.0, s.measure.lost_after.0);
    wrong(
        "measure.late_after",
        late.is_zero() || late >= lost,
        "a packet must be late before it is lost",
        format!("choose late_after above zero and below lost_after = {}", s.measure.lost_after),
    );
    if ptime_ok {
        let most = (ptime * WINDOW / 2).min(Duration::from_secs(60));
        wrong(
            "measure.lost_after",
            lost > most || lost < Duration::from_millis(100),
            "packets cannot be followed that long, or are given up too soon",
            format!("choose between 100ms and {}", humantime::format_duration(most)),
        );
    }
    let setup = s.sip.setup_timeout.0;
    wrong(
        "sip.setup_timeout",
        !(second..=Duration::from_secs(180)).contains(&setup),
        "the set-up time must lie between 1s and 3m",
        "10s is usual".into(),
    );
    let retry = s.load.retry_after.0;
    wrong(
        "load.retry_after",
        !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&retry),
        "a line must rest between 100ms and 1h after a failure",
        "1s is usual".into(),
    );
}

/// Rules of `gates.abort_after`.
fn abort(s: &Scenario, found: &mut Vec<Problem>) {
    if !(Duration::from_secs(1)..=LONGEST).contains(&s.gates.abort_after.0) {
        let message = "a gate must be broken for between one second and seven days before it ends the run";
        let cure = "10s is usual; abort_on_fail = false ends no run";
        found.push(Problem::new("gates.abort_after", message, cure));
    }
}

/// Rules of hanging up.
fn hangup(s: &Scenario, found: &mut Vec<Problem>) {
    if s.load.hangup != Hangup::Caller {
        let mut needs = |bad: bool, message: &str, cure: &str| {
            if bad {
                found.push(Problem::new("load.hangup", message, cure));
            }
        };
        needs(
            s.service.mode != ServiceMode::Builtin,
            "only the built-in service hangs up by itself",
            "set service.mode = \"builtin\", or hangup = \"caller\"",
        );
        needs(
            s.load.call_duration.is_none(),
            "nobody knows when the far end is to hang up",
            "set load.call_duration as well, as in call_duration = \"30s\"",
        );
    }
    let dead = s.load.dead_after.0;
    if !dead.is_zero() && !(Duration::from_secs(1)..=LONGEST).contains(&dead) {
        let message = "a call cannot be given up that soon, or that late";
        found.push(Problem::new("load.dead_after", message, "5s is usual; 0s gives up none"));
    }
}

/// Being slow on purpose.
fn delay(service: &Service, found: &mut Vec<Problem>) {
    let Some(delay) = service.delay else { return };
    let mut wrong = |bad: bool, message: &str, cure: &str| {
        if bad {
            found.push(Problem::new("service.delay", message, cure));
        }
    };
    wrong(
        service.mode != ServiceMode::Builtin,
        "only the built-in service is slow on purpose",
        "set service.mode = \"builtin\", or leave the key out",
    );
    wrong(
        service.echo.is_some(),
        "what is sent through an echo server is not held as well",
        "leave service.delay or service.echo out",
    );
    wrong(delay.0 > Duration::from_secs(1), "nobody waits longer than a second", "1ms to 1s");
}

fn pools(s: &Scenario, found: &mut Vec<Problem>) {
    let needs = Needs::of(s);
    let mut small = |key: &str, range: PortRange, has: u32, ports_each: u32, who: &str| {
        if has < needs.pool {
            let ports = needs.pool * ports_each;
            let to = u32::from(range.from) + ports - 1;
            let cure = if to <= 65_535 {
                format!("{}-{to} would do", range.from)
            } else {
                format!("it takes {ports} ports")
            };
            let message = format!("{who} {range} carries {has} calls, {} are needed", needs.pool);
            found.push(Problem::new(key, message, cure));
        }
    };
    small("media.ports", s.media.ports, s.media.ports.even_ports(), 2, "the driver's port range");
    if s.service.mode.is_started() {
        small("service.ports", s.service.ports, s.service.ports.len(), 1, "the service's port pool");
    }
    if s.asterisk.mode == AsteriskMode::Managed {
        let rtp = s.asterisk.rtp_ports;
        let carries = rtp.rtp_pairs() / ASTERISK_PAIRS_PER_CALL;
        small("asterisk.rtp_ports", rtp, carries, 4, "Asterisk's RTP range");
    }
}

fn overlaps(s: &Scenario, found: &mut Vec<Problem>) {
    // Ranges matter to each other only where they are ports of the same host.
    let asterisk_here = match &s.asterisk.sip {
        _ if s.asterisk.mode == AsteriskMode::Managed => true,
        Some(sip) => sip.is_loopback() && s.service.mode.is_application(),
        None => false,
    };
    let mut ranges = vec![("media.ports", s.media.ports)];
    if s.service.mode.is_started() {
        ranges.push(("service.ports", s.service.ports));
    }
    if asterisk_here {
        ranges.push(("asterisk.rtp_ports", s.asterisk.rtp_ports));
    }
    for (n, (key, range)) in ranges.iter().enumerate() {
        for (other_key, other) in &ranges[n + 1..] {
            if range.overlaps(*other) {
                let message = format!("{range} overlaps {other_key} {other}");
                let cure = "keep the three ranges apart, as in 10000-20000 for Asterisk, 21000-31000 for the \
                            service and 40000-49998 for the driver";
                found.push(Problem::new(key, message, cure));
            }
        }
    }
}

fn target(s: &Scenario, found: &mut Vec<Problem>) {
    let external = s.asterisk.mode == AsteriskMode::External;
    if external && s.asterisk.sip.is_none() {
        let cure = "add sip = \"127.0.0.1:5060\" under [asterisk]";
        found.push(Problem::new("asterisk", "an external Asterisk needs the address of its SIP port", cure));
    }
    if external && s.service.mode.is_application() && s.asterisk.ari.is_none() {
        let cure = "add ari = \"http://127.0.0.1:8088\" under [asterisk], and set ARI_USER and ARI_PASS";
        found.push(Problem::new("asterisk", "an application needs the address of Asterisk's ARI", cure));
    }
    if external && s.asterisk.ari_port.is_some() {
        let cure = "remove ari_port: the address in ari says it";
        found.push(Problem::new("asterisk.ari_port", "an external Asterisk has chosen its port", cure));
    }
    if let Some(url) = s.asterisk.ari.as_deref().filter(|u| !u.starts_with("http://")) {
        let cure = "write it as in ari = \"http://127.0.0.1:8088\"";
        found.push(Problem::new("asterisk.ari", format!("`{url}` is not an http address"), cure));
    }
    if !external && (s.asterisk.sip.is_some() || s.asterisk.ari.is_some()) {
        let cure = "set mode = \"external\", or remove sip and ari: a managed Asterisk chooses its own ports";
        found.push(Problem::new("asterisk", "a managed Asterisk takes no addresses", cure));
    }
    let local = s.sip.local;
    let unusable = local.is_unspecified() || local.is_multicast() || matches!(local, IpAddr::V6(_));
    if unusable {
        let message = format!("calls cannot be placed from {local}");
        let cure = "use an IPv4 address of this host, for Asterisk's strictrtp an exact one";
        found.push(Problem::new("sip.local", message, cure));
    }
    // A name may mean anything; it is not looked up here.
    let address = s.asterisk.sip.as_ref().and_then(|sip| sip.to_string().parse::<SocketAddr>().ok());
    if let Some(sip) = address.filter(|sip| sip.is_ipv4() != local.is_ipv4()) {
        let message = format!("{sip} cannot be reached from {local}: one is IPv4, the other IPv6");
        found.push(Problem::new("asterisk.sip", message, "give an address of the same kind as sip.local"));
    } else if let Some(sip) = address.filter(|sip| local.is_loopback() && !sip.ip().is_loopback()) {
        found.push(far_from_loopback(sip));
    }
    if !external && !local.is_loopback() {
        let cure = "leave sip.local out, or use an external Asterisk";
        found.push(Problem::new("sip.local", "a managed Asterisk listens on the loopback only", cure));
    }
}

/// The loopback cannot reach another host.
fn far_from_loopback(target: SocketAddr) -> Problem {
    let message = format!("{target} cannot be reached from the loopback address");
    Problem::new("sip.local", message, "set sip.local to the address that the target reaches this host under")
}

/// The rules of a service that is not this program's own.
fn application(s: &Scenario, found: &mut Vec<Problem>) {
    let mut wrong = |key: &str, bad: bool, message: &str, cure: String| {
        if bad {
            found.push(Problem::new(key, message, cure));
        }
    };
    let (service, (words, bytes)) = (&s.service, LONGEST_COMMAND);
    let is_command = service.mode == ServiceMode::Command;
    wrong(
        "service",
        is_command && service.command.first().is_none_or(String::is_empty),
        "mode = \"command\" needs the command that starts the service",
        "add its words, as in command = [\"node\", \"app.js\"]".into(),
    );
    wrong(
        "service.command",
        !is_command && !service.command.is_empty(),
        "there is a command, but nobody starts it",
        "set mode = \"command\", or remove it".into(),
    );
    wrong(
        "service.command",
        service.command.len() > words || service.command.iter().any(|w| w.len() > bytes || w.contains('\0')),
        "the command is too long, or holds a zero byte",
        format!("use up to {words} words of up to {bytes} bytes, or put it into a script"),
    );
    let within = service.ready_within.0;
    wrong(
        "service.ready_within",
        !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&within),
        "an application may take between 1s and 10m to connect",
        "15s is usual".into(),
    );
    // It was not started by the run, so nobody can tell it a port and a password.
    let managed = s.asterisk.mode == AsteriskMode::Managed;
    wrong(
        "service.mode",
        managed && service.mode == ServiceMode::External && s.asterisk.ari_port.is_none(),
        "an external service cannot know the port of a managed Asterisk's ARI",
        "set asterisk.ari_port = 8088, and ARI_USER and ARI_PASS in the environment to what the service \
         connects with; or let the run start it (mode = \"command\")"
            .into(),
    );
    wrong(
        "asterisk.ari_port",
        s.asterisk.ari_port.is_some_and(|port| port < 1024),
        "the port is privileged",
        "8088 is usual".into(),
    );
}

fn names(s: &Scenario, found: &mut Vec<Problem>) {
    let word = |text: &str, more: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        (1..=64).contains(&text.len()) && text.chars().all(fits)
    };
    for (key, text, more) in [
        ("name", &s.name, "-_."),
        ("sip.to", &s.sip.to, "-_.+*"),
        ("sip.from", &s.sip.from, "-_.+*"),
        ("service.app", &s.service.app, "-_."),
    ] {
        if !word(text, more) || text.starts_with('.') {
            let cure = format!("use 1 to 64 letters, digits and {more}");
            found.push(Problem::new(key, format!("`{}` cannot be used as {key}", text.escape_debug()), cure));
        }
    }
}

fn impairments(s: &Scenario, found: &mut Vec<Problem>) {
    let mut whole = Duration::ZERO;
    for (name, path) in [("impair.out", &s.impair.out), ("impair.back", &s.impair.back)] {
        if let Some(path) = path {
            impaired_path(s, name, path, found);
            whole = whole.saturating_add(Impairment::from(path).longest());
        }
    }
    // The measurement would count as lost what the impairment has only delayed.
    if whole >= s.measure.lost_after.0 {
        let message = format!(
            "packets may be held for {} on their way, and count as lost after {}",
            humantime::format_duration(whole),
            s.measure.lost_after
        );
        found.push(Problem::new("impair", message, "delay them less, or raise measure.lost_after"));
    }
}

fn impaired_path(s: &Scenario, name: &str, path: &ImpairPath, found: &mut Vec<Problem>) {
    let mut wrong = |key: &str, bad: bool, message: &str, cure: String| {
        if bad {
            found.push(Problem::new(&format!("{name}.{key}"), message, cure));
        }
    };
    wrong(
        "jitter",
        path.jitter > path.delay,
        "a delay cannot vary by more than itself",
        format!("choose jitter up to delay = {}", path.delay),
    );
    let sane_burst = (1.0..=LONGEST_BURST).contains(&path.burst);
    wrong(
        "burst",
        !sane_burst,
        "packets are not lost that many in a row",
        format!("choose between 1 (loss at random) and {LONGEST_BURST}"),
    );
    let bursts = sane_burst && path.burst > 1.0;
    wrong(
        "burst",
        bursts && path.loss.0 == 0.0,
        "there are no losses to come in bursts",
        "set loss as well, as in loss = \"2%\", or leave burst out".into(),
    );
    let at_random = 1.0 / (1.0 - path.loss.0);
    wrong(
        "burst",
        bursts && path.burst < at_random,
        "so much loss comes in longer runs even at random",
        match path.loss.0 < 1.0 {
            true => format!("choose {} or more, or leave burst out", (at_random * 100.0).ceil() / 100.0),
            false => "leave burst out: all is lost".into(),
        },
    );
    // A packet sent at once overtakes only what was sent an interval before and is still held.
    let held_most = Impairment::from(path).longest();
    wrong(
        "reorder",
        path.reorder.0 > 0.0 && held_most <= s.media.ptime.0,
        "no packet is held long enough to be overtaken by the next",
        format!("set a delay above media.ptime = {}", s.media.ptime),
    );
    wrong(
        "reorder",
        path.reorder.0 >= 1.0,
        "a packet sent at once overtakes none if all are",
        "a few per cent are usual".into(),
    );
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};

    fn check(set: &[&str]) -> Result<(), String> {
        let set: Vec<_> = set.iter().map(|s| Override::set(s)).collect();
        Resolved::read("name = \"t\"\n", "t.toml", &set).map(|_| ()).map_err(|e| e.rendered)
    }

    fn refused(set: &[&str], words: &[&str]) {
        let text = check(set).expect_err(&format!("{set:?} is refused"));
        for word in words {
            assert!(text.contains(word), "`{word}` in:\n{text}");
        }
    }

    #[test]
    fn fifty_calls_for_five_minutes_are_fine() {
        assert_eq!(check(&["load.calls=50", "load.duration=5m"]), Ok(()));
    }

    #[test]
    fn small_pools_are_refused_with_the_range_that_would_do() {
        let fifty = "load.calls=50";
        refused(&[fifty, "media.ports=40000-40050"], &["media.ports", "26 calls, 50", "40000-40099"]);
        refused(&[fifty, "service.ports=21000-21019"], &["service.ports", "20 calls", "21000-21049"]);
        refused(
            &[fifty, "asterisk.rtp_ports=10000-10100"],
            &["asterisk.rtp_ports", "25 calls", "10000-10199"],
        );
        refused(&["load.calls=30", "load.call_duration=5s", "service.ports=21000-21049"], &["60 are needed"]);
    }

    #[test]
    fn overlapping_ranges_are_refused() {
        refused(&["service.ports=15000-25000"], &["service.ports", "overlaps", "asterisk.rtp_ports"]);
        refused(&["media.ports=30000-40000"], &["media.ports", "overlaps", "service.ports"]);
    }

    #[test]
    fn times_out_of_reason_are_refused() {
        refused(&["load.duration=0s"], &["load.duration: ", "--set load.duration=0s", "one second"]);
        refused(&["load.call_duration=1s"], &["outlast the warm-up", "3s"]);
        refused(&["media.ptime=25ms"], &["10, 20, 30"]);
        refused(&["media.ptime=20500us"], &["10, 20, 30"]);
        refused(&["measure.late_after=3s"], &["late before it is lost"]);
        refused(&["measure.lost_after=1h", "measure.late_after=1s"], &["10s 240ms"]);
        refused(&["load.calls=4000000000"], &["20000"]);
    }

    #[test]
    fn a_far_end_that_hangs_up_must_know_when() {
        refused(&["service.delay=2s"], &["service.delay", "1s"]);
        refused(&["service.delay=1ms", "service.mode=none"], &["service.delay", "builtin"]);
        refused(&["service.delay=1ms", "service.echo=127.0.0.1:4000"], &["service.echo"]);
        let both = "load.hangup=both";
        assert_eq!(check(&[both, "load.call_duration=3s"]), Ok(()));
        refused(&[both], &["load.hangup", "call_duration"]);
        refused(&[both, "load.call_duration=3s", "service.mode=none"], &["load.hangup", "builtin"]);
        refused(&["load.hangup=dog"], &["dog", "callee"]);
        refused(&["load.dead_after=10ms"], &["load.dead_after", "0s gives up none"]);
        assert_eq!(check(&["load.dead_after=0s"]), Ok(()));
    }

    #[test]
    fn impairments_must_make_sense_together() {
        assert_eq!(
            check(&["impair.out.delay=30ms", "impair.out.jitter=30ms", "impair.back.loss=100%"]),
            Ok(())
        );
        refused(&["impair.out.delay=5ms", "impair.out.jitter=6ms"], &["impair.out.jitter", "delay = 5ms"]);
        refused(&["impair.back.burst=3"], &["impair.back.burst", "loss = \"2%\""]);
        for burst in ["0.5", "0", "-3", "1001", "inf", "nan"] {
            let set = format!("impair.out.burst={burst}");
            refused(&[&set, "impair.out.loss=2%"], &["impair.out.burst", "between 1"]);
        }
        refused(&["impair.out.loss=60%", "impair.out.burst=2"], &["impair.out.burst", "choose 2.5 or more"]);
        refused(&["impair.out.loss=100%", "impair.out.burst=2"], &["all is lost"]);
        assert_eq!(check(&["impair.out.loss=60%", "impair.out.burst=2.5"]), Ok(()));
        refused(&["impair.out.reorder=1%"], &["impair.out.reorder", "media.ptime = 20ms"]);
        refused(&["impair.out.reorder=1%", "impair.out.delay=20ms"], &["impair.out.reorder"]);
        refused(&["impair.out.reorder=100%", "impair.out.delay=30ms"], &["if all are"]);
        assert_eq!(check(&["impair.out.reorder=1%", "impair.out.delay=30ms"]), Ok(()));
    }

    #[test]
    fn what_is_delayed_on_purpose_must_not_count_as_lost() {
        let ways = ["impair.out.delay=1s", "impair.back.delay=900ms"];
        assert_eq!(check(&ways), Ok(()));
        refused(&[&ways[..], &["impair.back.jitter=100ms"]].concat(), &["impair: ", "2s", "lost_after"]);
        refused(&["impair.out.delay=1000000000years"], &["impair: ", "lost_after"]);
    }

    #[test]
    fn unknown_and_mistyped_keys_of_an_impairment_are_refused() {
        refused(&["impair.out.dealy=5ms"], &["dealy", "delay"]);
        refused(&["impair.out.loss=0.02"], &["0.02", "\"0.02%\", or \"2%\""]);
        refused(&["impair.forth.loss=2%"], &["forth", "back"]);
        refused(&["impair.seed=-1"], &["-1"]);
    }

    #[test]
    fn a_service_of_the_users_own_must_be_reachable() {
        let command = ["service.mode=command", "service.command=[\"node\", \"app.js\"]"];
        assert_eq!(check(&command), Ok(()));
        refused(&command[..1], &["service: ", "command = ["]);
        refused(&["service.mode=command", "service.command=[\"\"]"], &["command = ["]);
        refused(&command[1..], &["service.command", "mode = \"command\""]);
        refused(&[&command[..], &["service.ready_within=0s"]].concat(), &["ready_within", "1s and 10m"]);
        refused(&[&command[..], &["service.ports=40000-40100"]].concat(), &["overlaps"]);
        let long = format!("service.command=[\"{}\"]", "x".repeat(5000));
        refused(&[command[0], &long], &["too long"]);
        refused(&["service.mode=external"], &["asterisk.ari_port = 8088", "ARI_PASS"]);
        assert_eq!(check(&["service.mode=external", "asterisk.ari_port=8088"]), Ok(()));
        refused(&["asterisk.ari_port=80"], &["privileged"]);
        let far = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=external"];
        refused(&far, &["ARI"]);
        let ari = ["asterisk.ari=http://127.0.0.1:8088", "asterisk.ari_port=8088"];
        refused(&[&far[..], &ari].concat(), &["asterisk.ari_port", "remove"]);
        assert_eq!(check(&[&far[..], &ari[..1]].concat()), Ok(()));
    }

    #[test]
    fn targets_must_be_complete_and_usable() {
        refused(&["asterisk.mode=external"], &["SIP port", "ARI"]);
        refused(&["asterisk.sip=127.0.0.1:5060"], &["external"]);
        let six = ["asterisk.mode=external", "asterisk.sip=[::1]:5060", "service.mode=none"];
        refused(&six, &["asterisk.sip: [::1]:5060 cannot be reached from 127.0.0.1", "IPv6"]);
        let ari = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "asterisk.ari=http://[::1]:8088"];
        assert_eq!(check(&ari), Ok(()));
        refused(&["sip.local=0.0.0.0"], &["0.0.0.0"]);
        let far = ["asterisk.mode=external", "asterisk.sip=192.0.2.1:5060", "service.mode=none"];
        refused(&far, &["sip.local", "192.0.2.1:5060 cannot be reached"]);
        refused(&["sip.to=\"a b\\r\\n\""], &["sip.to"]);
        refused(&["name=../x"], &["name"]);
        refused(&["gates.abort_after=0s"], &["gates.abort_after", "10s"]);
        assert_eq!(
            check(&["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=none"]),
            Ok(())
        );
    }
}
