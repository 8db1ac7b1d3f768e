//! Gates that a scenario keeps from being met, or from saying anything, and wishes that nothing will come of: known before
//! the first call.

use crate::gate::{Gate, Op, Subject};
use crate::metrics::{Definition, Group, SHORTEST_TURN};
use crate::scenario::{
    Arrivals, AsteriskMode, MediaMode, Planned, Scenario, ServiceMode, Target, erlang_b, idle_tls, lines_for,
};
use crate::values::{Unit, counted};

/// A warning of each such gate and wish.
pub(super) fn warnings(s: &Scenario) -> Vec<String> {
    let gates = s.gates.require.iter().filter_map(|text| Gate::parse(text).ok());
    let of_gates = gates.filter_map(|gate| warning(s, &gate));
    of_gates.chain(blocked(s)).chain(unplaced(s)).chain(no_timer(s)).chain(idle_tls(s)).collect()
}

/// A call whose capture is wanted, and that there will not be.
fn unplaced(s: &Scenario) -> Option<String> {
    let last = s.capture.calls.iter().max()?;
    // Calls that end make room for others.
    let is_known = s.load.call_duration.is_none() && !s.is_open() && s.fault.is_empty();
    (is_known && *last >= s.calls()).then(|| {
        format!(
            "capture.calls names call {last}: this scenario places {}, numbered from 0, and no other unless one fails",
            counted(s.calls().into(), "call")
        )
    })
}

/// A session timer that nobody agrees on.
fn no_timer(s: &Scenario) -> Option<String> {
    let is_vain = s.asterisk.mode == AsteriskMode::Managed && s.sip.session_expires.is_some();
    is_vain.then(|| {
        "sip.session_expires: the managed Asterisk keeps no session timers (timers = no), so none is agreed on; it is for \
         an Asterisk of yours"
            .into()
    })
}

/// More lines than anybody is advised to have.
const MOST_LINES: u32 = 20_000;

/// Attempts of a Poisson process that will find all calls of the cap up, where that is more than one in a hundred.
fn blocked(s: &Scenario) -> Option<String> {
    let (load, cap) = (&s.load, s.load.calls);
    if load.arrivals != Arrivals::Poisson {
        return None;
    }
    let offered = s.stages().into_iter().filter_map(|stage| match stage.target {
        Target::Rate(rate) => Some(load.erlang(rate)),
        Target::Calls(_) => None,
    });
    let most = offered.fold(0.0, f64::max);
    let share = erlang_b(most, cap);
    let cure =
        lines_for(most, MOST_LINES).map_or(String::new(), |lines| format!("; load.calls = {lines} would do"));
    (share > 0.01).then(|| {
        format!(
            "{:.0} % of the attempts will find load.calls = {cap} calls up and be suppressed: {most:.1} erlang on so \
             many lines (Erlang B){cure}",
            share * 100.0
        )
    })
}

fn warning(s: &Scenario, gate: &Gate) -> Option<String> {
    let of_bound = by_bound(gate).map(|why| format!("the gate `{}` {why}", gate.text));
    of_bound.or_else(|| unjudged(s, gate))
}

/// The reason for which a gate cannot be judged in a run of the scenario.
pub fn unjudged(s: &Scenario, gate: &Gate) -> Option<String> {
    let why = no_data(s, gate).map(|why| format!("cannot be judged: {why}")).or_else(|| too_few(s, gate))?;
    Some(format!("the gate `{}` {why}", gate.text))
}

/// Least and most that a metric can be; `None` where it is not bounded there.
fn domain(gate: &Gate) -> (Option<f64>, Option<f64>) {
    let family = gate.subject.name().split('.').next().unwrap_or_default();
    match gate.subject.unit() {
        // Clocks that differ turn a one-way time negative, and a rise may be a fall.
        _ if ["drift", "up", "down"].contains(&family) => (None, None),
        Unit::Ratio => (Some(0.0), Some(1.0)),
        Unit::Score => (Some(1.0), Some(4.5)),
        Unit::Ms | Unit::Count | Unit::Cores | Unit::Mib | Unit::Mean => (Some(0.0), None),
        Unit::MsPerMinute | Unit::MibPerMinute => (None, None),
    }
}

/// A comparison that every value fails, or that every value holds.
fn by_bound(gate: &Gate) -> Option<String> {
    let (least, most) = domain(gate);
    let (below, above) =
        (least.is_some_and(|least| gate.bound < least), most.is_some_and(|most| gate.bound > most));
    let (at_least, at_most) = (least == Some(gate.bound), most == Some(gate.bound));
    let is_part = gate.subject.unit() == Unit::Count && gate.bound.fract() != 0.0;
    let (never, always) = match gate.op {
        Op::Less => (below || at_least, above),
        Op::AtMost => (below, above || at_most),
        Op::More => (above || at_most, below),
        Op::AtLeast => (above, below || at_least),
        Op::Equal => (below || above || is_part, false),
        Op::Differs => (false, below || above || is_part),
    };
    let name = gate.subject.name();
    match (never, always) {
        (true, _) => Some(format!("cannot be met: no value of {name} is so; it fails every run")),
        (_, true) => Some(format!("says nothing: every value of {name} is so; choose another bound")),
        _ => None,
    }
}

/// Families of figures that probes alone give.
const OF_PROBES: [&str; 17] = [
    "rtt",
    "rtt_intended",
    "up",
    "down",
    "service_time",
    "path_rtt",
    "loss",
    "late",
    "duplicate",
    "reordered",
    "jitter",
    "drift",
    "mos",
    "first_echo",
    "ipdv",
    "pdv",
    "receive_lag",
];

/// The reason for which callers of the scenario's kind leave a family of metrics without data.
fn of_another_mode(s: &Scenario, family: &str) -> Option<&'static str> {
    let mode = s.media.mode;
    match family {
        "turn" | "bargein" | "greeting" | "dead_air" if mode != MediaMode::Conversation => {
            Some("callers hold no conversation (media.mode = \"conversation\" and [[turn]])")
        }
        "greeting" if !s.conversation.greeting => {
            Some("no greeting is waited for (conversation.greeting = false)")
        }
        "signal_delay" if mode != MediaMode::Signal => {
            Some("callers play no bursts (media.mode = \"signal\")")
        }
        "speech_quality" if mode != MediaMode::Speech => {
            Some("callers read nothing aloud (media.mode = \"speech\")")
        }
        _ if mode == MediaMode::Echo || !OF_PROBES.contains(&family) => None,
        _ => Some(match mode {
            MediaMode::Conversation => {
                "callers who talk send no probes; gate turn.response, control or calls"
            }
            MediaMode::Signal => "bursts are no probes; gate signal_delay, control or calls",
            MediaMode::Speech => "passages are no probes; gate speech_quality, control or calls",
            MediaMode::Echo => return None,
        }),
    }
}

/// The reason for which the scenario leaves the metric without data.
fn no_data(s: &Scenario, gate: &Gate) -> Option<&'static str> {
    let family = gate.subject.name().split('.').next().unwrap_or_default();
    if let Some(why) = of_another_mode(s, family) {
        return Some(why);
    }
    let (Subject::Run(metric) | Subject::Stage(_, metric)) = gate.subject else { return None };
    let is_builtin = s.service.mode == ServiceMode::Builtin;
    let stamped = ["up", "down", "service_time", "path_rtt"].contains(&metric.family());
    if !is_builtin && (stamped || metric.group == Group::Service) {
        return Some("only the built-in service measures that (service.mode = \"builtin\")");
    }
    if metric.group == Group::Faults && s.fault.is_empty() && metric.name != "fault.count" {
        return Some("no fault is planned ([[fault]])");
    }
    if metric.name == "calls.offered_erlang" && !s.is_open() {
        return Some("only an open load offers traffic (load.rate)");
    }
    if metric.name == "calls.held" && s.is_open() {
        return Some(
            "an open load wants no number of calls (load.rate); `calls.carried_erlang` says how many were up",
        );
    }
    if metric.family() == "register" && !s.sip.register {
        return Some("nobody registers (sip.register = false)");
    }
    if metric.family() == "srtp" && !s.media.srtp {
        return Some("the media are plain (media.srtp = false)");
    }
    if metric.family() == "mos" && !s.media.codec.is_g711() {
        return Some("the estimate of speech quality is one of G.711 (media.codec)");
    }
    if metric.family() == "control" && s.measure.control_streams == Some(0) {
        return Some("there is no control stream (measure.control_streams = 0)");
    }
    let has_ari = s.asterisk.mode == AsteriskMode::Managed || !s.asterisk.ari.is_empty();
    if metric.group == Group::Leaks && !has_ari {
        return Some("what calls leave behind is asked over ARI (asterisk.ari)");
    }
    None
}

/// A percentile that rests on fewer samples than it needs.
fn too_few(s: &Scenario, gate: &Gate) -> Option<String> {
    let (needed, got, of) = match gate.subject {
        Subject::Stage(number, metric) => {
            let (got, of) = samples(&of_stage(s, number)?, metric)?;
            (metric.samples_needed()?, got, of)
        }
        Subject::Run(metric) => {
            let (got, of) = samples(s, metric)?;
            (metric.samples_needed()?, got, of)
        }
        Subject::EveryCall(metric) => {
            (metric.statistic?.samples_needed()?, packets_of_a_call(s), "packets of each call")
        }
    };
    ((needed as f64) > got).then(|| {
        format!(
            "cannot be judged: it needs {needed} {of}, and {got:.0} are to be expected; make the run longer, or name \
             a lower percentile"
        )
    })
}

/// A scenario of one stage alone.
fn of_stage(s: &Scenario, number: usize) -> Option<Scenario> {
    let stage = *s.stage.get(number.checked_sub(1)?)?;
    Some(Scenario { stage: vec![stage], ..s.clone() })
}

/// Samples of a metric that are to be expected, and their name; `None` where nobody can tell.
fn samples(s: &Scenario, metric: &Definition) -> Option<(f64, &'static str)> {
    let packets = s.hold().as_secs_f64() / s.media.ptime.0.as_secs_f64();
    let calls = calls_up(s);
    if metric.is_of_turns() {
        return Some((s.hold().as_secs_f64() / SHORTEST_TURN.as_secs_f64() * calls, "turns"));
    }
    match metric.group {
        Group::Packets | Group::Instrument => Some((packets * calls, "packets")),
        Group::Control => {
            let streams = s.measure.control_streams.map_or((calls / 10.0).ceil().min(10.0), f64::from);
            Some((packets * streams, "packets of the control stream"))
        }
        Group::SetUp => Some((calls_placed(s), "calls")),
        _ => None,
    }
}

/// Packets of one call within the measured window.
fn packets_of_a_call(s: &Scenario) -> f64 {
    let hold = s.hold();
    let measured = s.load.mean_call().map_or(hold, |call| call.saturating_sub(s.measure.warmup.0).min(hold));
    (measured.as_secs_f64() / s.media.ptime.0.as_secs_f64()).floor()
}

/// Calls that are to be up at once, on average over the hold phases.
fn calls_up(s: &Scenario) -> f64 {
    let most = f64::from(s.calls());
    let held = |stage: &Planned| s.load.calls_of(stage.target).min(most) * stage.hold.as_secs_f64();
    s.stages().iter().map(held).sum::<f64>() / s.hold().as_secs_f64()
}

/// Calls that are to be placed, at the most.
fn calls_placed(s: &Scenario) -> f64 {
    let whole = s.measure.warmup.0.as_secs_f64() + s.hold().as_secs_f64();
    match s.load.mean_call() {
        Some(call) if s.is_open() => calls_up(s) / call.as_secs_f64() * whole,
        Some(call) => calls_up(s) * ((whole / call.as_secs_f64()).ceil() + 1.0),
        None => f64::from(s.calls()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Override, Resolved};

    fn warned(gate: &str, set: &[&str]) -> String {
        let quoted = format!("gates.require=[{gate:?}]");
        let base = ["load.calls=50", "load.duration=5m", &quoted];
        let set: Vec<_> = base.iter().chain(set).map(|set| Override::set(set)).collect();
        let scenario = Resolved::read("", "x.toml", &set).unwrap_or_else(|e| panic!("{e}")).scenario;
        let warnings = warnings(&scenario);
        assert!(warnings.len() <= 1, "{warnings:?}");
        warnings.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn a_table_of_tls_without_tls_is_told() {
        let said = warned("loss.count == 0", &["sip.tls.ca=ca.pem"]);
        assert!(
            said.starts_with("sip.tls: SIP goes over UDP") && said.contains("asterisk.transport"),
            "{said}"
        );
        assert_eq!(warned("loss.count == 0", &["sip.tls.ca=ca.pem", "sip.tls.ca="]), "");
    }

    #[test]
    fn gates_that_no_run_can_meet_are_named() {
        for gate in [
            "rtt.p99 < 0ms",
            "loss.ratio > 100%",
            "loss.ratio >= 101%",
            "loss.count < 0",
            "leaks == 0.5",
            "leaks == -1",
            "mos.concealed > 4.5",
            "mos.concealed < 1",
            "calls.answered == 101%",
            "memory.driver_max < 0",
            "every call: loss.ratio < 0%",
            "every call: srd <= -1ms",
        ] {
            let said = warned(gate, &[]);
            assert!(said.contains("cannot be met") && said.contains(gate), "{gate}: {said}");
        }
    }

    #[test]
    fn gates_that_every_run_meets_are_named() {
        for gate in [
            "loss.ratio <= 100%",
            "loss.ratio < 101%",
            "rtt.p99 >= 0ms",
            "rtt.p99 > -1ms",
            "calls.failed_count >= 0",
            "calls.answered != 101%",
            "mos.plain >= 1",
            "every call: loss.ratio <= 100%",
        ] {
            let said = warned(gate, &[]);
            assert!(said.contains("says nothing") && said.contains(gate), "{gate}: {said}");
        }
    }

    #[test]
    fn gates_without_data_or_samples_are_named() {
        let external = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=none"];
        let command = ["service.mode=command", "service.command=[\"x\"]"];
        for (gate, set, words) in [
            ("rtt.p99.9 < 20ms", &["load.duration=10s"][..], "100000 packets, and 25000"),
            ("srd.p95 < 2s", &[], "2000 calls, and 50"),
            ("every call: rtt.p95 < 40ms", &["load.duration=30s"], "2000 packets of each call, and 1500"),
            ("every call: rtt.p95 < 40ms", &["load.call_duration=20s"], "and 900"),
            ("up.p50 < 20ms", &command, "built-in"),
            ("ari.retries_count == 0", &command, "built-in"),
            ("fault.served_max < 5s", &[], "[[fault]]"),
            ("control.p50 < 1ms", &["measure.control_streams=0"], "control_streams"),
            ("register.ok_ratio == 100%", &[], "sip.register"),
            ("srtp.undecrypted_count == 0", &[], "media.srtp"),
            ("leaks == 0", &external, "ARI"),
            ("turn.response.max < 1s", &[], "media.mode"),
            ("signal_delay.max < 1s", &["media.mode=speech"], "bursts"),
            ("speech_quality.min > 2", &[], "media.mode"),
            ("loss.count == 0", &["media.mode=signal"], "signal_delay"),
            ("every call: loss.count == 0", &["media.mode=speech"], "speech_quality"),
        ] {
            let said = warned(gate, set);
            assert!(said.contains("cannot be judged") && said.contains(words), "{gate}: {said}");
        }
    }

    #[test]
    fn wishes_that_nothing_will_come_of_are_named() {
        let gate = "loss.count == 0";
        assert!(warned(gate, &["capture.calls=[3, 99]"]).contains("call 99: this scenario places 50 calls"));
        assert_eq!(warned(gate, &["capture.calls=[49]"]), "");
        assert_eq!(warned(gate, &["capture.calls=[99]", "load.call_duration=5s"]), "");
        assert!(warned(gate, &["sip.session_expires=90s"]).contains("timers = no"));
        let external = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=none"];
        assert_eq!(warned(gate, &[&external[..], &["sip.session_expires=90s"]].concat()), "");
    }

    #[test]
    fn sensible_gates_are_left_alone() {
        for gate in [
            "rtt.p99 < 20ms",
            "loss.ratio < 0.1%",
            "loss.ratio == 0",
            "loss.count == 0",
            "calls.answered == 100%",
            "calls.answered >= 100%",
            "mos.concealed >= 4.2",
            "leaks == 0",
            "fault.count == 0",
            "drift.max < 0.5",
            "drift.last_minus_first_max < -1ms",
            "up.p99 < 20ms",
            "srd.max < 2s",
            "every call: rtt.p95 < 40ms",
            "every call: loss.ratio < 1%",
            "control.p99 < 1ms",
        ] {
            assert_eq!(warned(gate, &[]), "", "{gate}");
        }
        assert_eq!(warned("rtt.p95 < 20ms", &["load.calls=5", "load.duration=10s"]), "");
        assert_eq!(warned("srd.p95 < 2s", &["load.call_duration=5s"]), "");
    }
}
