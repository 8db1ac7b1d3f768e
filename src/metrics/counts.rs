//! The table's rows of counts, ratios and single figures.

use std::sync::LazyLock;

use Course::*;
use Group::*;
use Unit::*;

use super::facts::{known, number, ratio};
use super::latencies;
use super::metric::{Better, Course, Definition, Figure, Group, LiveFigure, Of, RestsOn, Samples, Statistic};
use crate::analysis::mos::Concealment;
use crate::record::{CallRecord, Durations, Ending, Live, Series, ServiceRecord};
use crate::values::{Unit, Value};

/// A figure that a late driver may have bent.
const fn packets(group: Group, name: &'static str, unit: Unit, help: &'static str, of: Figure) -> Definition {
    let (rests_on, better) = (RestsOn::Packets, Better::Smaller);
    // Figures that a second or the stage's own calls tell. Most figures of packets are sums over whole calls.
    let by_stage = matches!(group, Calls | Control | Instrument | Resources);
    Definition { name, unit, help, group, rests_on, better, by_stage, of: Of::Figure(of, None) }
}

/// A figure that a late driver cannot have bent.
pub(super) const fn record(
    group: Group,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    of: Figure,
) -> Definition {
    Definition { rests_on: RestsOn::Records, ..packets(group, name, unit, help, of) }
}

/// A figure of what was heard: a late driver may have bent it.
pub(super) const fn heard(row: Definition) -> Definition {
    Definition { rests_on: RestsOn::Packets, ..row }
}

impl Definition {
    /// The same figure from what has been counted so far.
    const fn live(self, course: Course, so_far: LiveFigure) -> Definition {
        match self.of {
            Of::Figure(of, _) => Definition { of: Of::Figure(of, Some((course, so_far))), ..self },
            Of::Statistic(..) | Of::Rank(_) => self,
        }
    }

    /// One stage has it by itself, or has not, against its group's rule.
    pub(super) const fn by_stage(self, by_stage: bool) -> Definition {
        Definition { by_stage, ..self }
    }

    pub(super) const fn larger_is_better(self) -> Definition {
        Definition { better: Better::Larger, ..self }
    }
}

/// A count of packets so far.
fn so_far(live: &Live, count: u64) -> Value {
    if live.sent == 0 { Value::NoData } else { number(count) }
}

/// Calls of the service that ended in one way.
fn ended(service: &ServiceRecord, outcome: &str) -> u64 {
    service.outcomes.iter().filter(|o| o.outcome == outcome).map(|o| o.calls).sum()
}

#[rustfmt::skip]
pub(super) static CALLS: [Definition; 23] = [
    record(Calls, "calls.attempts", Count, "INVITEs of new calls, one per authenticated dialog",
        |f| number(f.attempts())),
    record(Calls, "calls.answered", Ratio, "attempts answered with 200",
        |f| ratio(f.answered(), f.attempts()))
        .larger_is_better()
        .live(Varies, |live| ratio(live.answered, live.answered + live.failed)),
    record(Calls, "calls.answered_count", Count, "attempts answered with 200", |f| number(f.answered()))
        .larger_is_better()
        .live(Grows, |live| number(live.answered)),
    record(Calls, "calls.failed_count", Count, "attempts that were not answered",
        |f| number(f.attempts() - f.answered()))
        .live(Grows, |live| number(live.failed)),
    record(Calls, "calls.dropped_count", Count,
        "answered calls that ended before their time: hung up by the far end, media_lost, or session_expired",
        |f| number(f.count(CallRecord::is_dropped)))
        .live(Grows, |live| number(live.dropped)),
    record(Calls, "calls.media_lost_count", Count, "calls heard, then silent for dead_after and given up",
        |f| number(f.count(|c| c.ending == Ending::MediaLost)))
        .live(Grows, |live| number(live.media_lost)),
    record(Calls, "calls.silent_count", Count, "answered calls of which no packet ever came back",
        |f| number(f.count(CallRecord::is_silent))),
    record(Calls, "calls.on_hold_count", Count, "answered calls that the far end put on hold, in which nothing is sent",
        |f| number(f.count(|c| c.holds > 0))),
    record(Calls, "calls.suppressed_count", Count,
        "attempts that the schedule wanted and that could not be placed",
        |f| number(f.environment.suppressed_attempts))
        .live(Grows, |live| number(live.suppressed.total())),
    record(Calls, "calls.suppressed_cap_count", Count,
        "of these, for as many calls as load.calls allows were there",
        |f| f.offered(|_| number(f.environment.suppressed.cap)))
        .live(Grows, |live| number(live.suppressed.cap)),
    record(Calls, "calls.suppressed_port_count", Count, "of these, for want of a port",
        |f| f.offered(|_| number(f.environment.suppressed.port)))
        .live(Grows, |live| number(live.suppressed.port)),
    record(Calls, "calls.suppressed_late_count", Count,
        "of these, for the driver was more than 100 ms behind their time",
        |f| f.offered(|_| number(f.environment.suppressed.late)))
        .live(Grows, |live| number(live.suppressed.late)),
    record(Calls, "calls.suppressed_ratio", Ratio, "suppressed attempts, of all that an open load wanted",
        |f| {
            let suppressed = f.environment.suppressed_attempts;
            f.offered(|_| ratio(suppressed, suppressed + f.attempts()))
        }),
    record(Calls, "calls.offered_erlang", Mean,
        "offered traffic of an open load: attempts a second times their mean length",
        |f| f.offered(|offered| known(Some(offered.erlang()))))
        .larger_is_better(),
    record(Calls, "calls.carried_erlang", Mean, "carried traffic: mean of the calls up in the measured window",
        |f| f.held_mean(|s| Some(s.calls_up.into())))
        .larger_is_better(),
    record(Calls, "calls.held", Ratio,
        "calls up when the measured window began, of those wanted by a closed load",
        |f| f.held_of_wanted())
        .larger_is_better(),
    record(Calls, "calls.ser", Ratio, "session establishment ratio (RFC 6076 4.6)",
        |f| ratio(f.answered(), f.not_redirected()))
        .larger_is_better(),
    record(Calls, "calls.seer", Ratio, "session establishment effectiveness ratio (RFC 6076 4.7)",
        |f| ratio(f.answered() + f.with_status(&[480, 486, 600, 603]), f.not_redirected()))
        .larger_is_better(),
    record(Calls, "calls.isa", Ratio, "ineffective session attempts: 408, 500, 503, 504 (RFC 6076 4.8)",
        |f| {
            let unanswered = f.count(|c| matches!(c.ending, Ending::Timeout | Ending::Unreadable | Ending::Unreachable));
            ratio(f.with_status(&[408, 500, 503, 504]) + unanswered, f.attempts())
        }),
    record(Calls, "calls.scr", Ratio, "session completion ratio (RFC 6076 4.9)",
        |f| ratio(f.count(|c| c.ending == Ending::Completed), f.attempts()))
        .larger_is_better(),
    record(Calls, "sip.retransmissions", Count, "SIP requests sent again",
        |f| number(f.sum(|c| c.retransmissions.into()))),
    record(Calls, "sip.garbage_count", Count, "datagrams on the driver's SIP port that were not SIP",
        |f| number(f.environment.sip_garbage)).by_stage(false),
    record(Calls, "sip.stray_count", Count, "SIP messages that belonged to no call, or to none any more",
        |f| number(f.environment.sip_strays)).by_stage(false),
];

/// The four statistics of a time that the service has summed up, as `ari.name_key`.
fn service_time(name: &str, help: &str, of: fn(&ServiceRecord) -> &Durations) -> [Definition; 4] {
    [Statistic::P50, Statistic::P95, Statistic::P99, Statistic::Max].map(|statistic| {
        let (name, help) = (format!("ari.{name}_{}", statistic.key()), format!("service: {help}"));
        latencies::row(Service, name, &help, statistic, Samples::Service(of))
    })
}

#[rustfmt::skip]
pub(super) static SERVICE_TIMES: LazyLock<[[Definition; 4]; 4]> = LazyLock::new(|| [
    service_time("answered", "StasisStart to the answer's 204", |s| &s.stages.answered),
    service_time("bridged", "StasisStart to both channels in the bridge", |s| &s.stages.bridged),
    service_time("first_packet", "StasisStart to the first media packet", |s| &s.stages.first_packet),
    service_time("event_lag", "Asterisk's time of an event to its handling", |s| &s.events.lag),
]);

#[rustfmt::skip]
pub(super) static SERVICE_COUNTS: [Definition; 7] = [
    record(Service, "ari.calls_count", Count, "service: callers that entered the application",
        |f| f.service_count(|s| s.calls.total)),
    record(Service, "ari.not_bridged_count", Count,
        "service: calls given up because they were not bridged in time",
        |f| f.service_count(|s| ended(s, "not_bridged"))),
    record(Service, "ari.no_port_count", Count, "service: calls turned away for want of a media port",
        |f| f.service_count(|s| ended(s, "no_port"))),
    record(Service, "ari.refused_count", Count,
        "service: calls that ended because Asterisk refused an operation",
        |f| f.service_count(|s| ended(s, "refused"))),
    record(Service, "ari.retries_count", Count, "service: REST requests that repeated an earlier one",
        |f| f.service_count(|s| s.retries)),
    record(Service, "ari.strays_count", Count, "service: channels and bridges of no call that it deleted",
        |f| f.service_count(|s| s.calls.strays)),
    record(Service, "ari.disconnects_count", Count, "service: times that it lost its connection to Asterisk",
        |f| f.service_count(|s| s.events.disconnects)),
];

#[rustfmt::skip]
pub(super) static TRAFFIC: [Definition; 46] = [
    record(Traffic, "packets.sent", Count, "probes sent in the measured window", |f| number(f.sent))
        .by_stage(true),
    packets(Traffic, "packets.received", Count, "of these, distinct probes back within lost_after",
        |f| number(f.received()))
        .larger_is_better()
        .by_stage(true),
    packets(Traffic, "packets.clipped", Count, "probes sent before their call's first echo, all phases",
        |f| f.at_worst(|| number(f.sum(|c| c.total_clipped)))),
    packets(Traffic, "loss.ratio", Ratio, "probes sent and not back within lost_after", |f| ratio(f.lost, f.sent))
        .live(Varies, |live| ratio(live.lost, live.sent))
        .by_stage(true),
    packets(Traffic, "loss.count", Count, "probes sent and not back within lost_after",
        |f| f.when_sent(f.lost))
        .live(Grows, |live| so_far(live, live.lost))
        .by_stage(true),
    packets(Traffic, "loss.up_count", Count, "of the lost, those lost on the way to the service",
        |f| f.attributed(|c| c.lost_up)),
    packets(Traffic, "loss.down_count", Count, "of the lost, those lost on the way back",
        |f| f.attributed(|c| c.lost_down)),
    packets(Traffic, "loss.unattributed_count", Count,
        "of the lost, those whose way nothing that came back can tell",
        |f| f.attributed(|c| Some(c.lost.saturating_sub(c.lost_up? + c.lost_down?)))),
    packets(Traffic, "loss.burst_mean", Mean, "mean length of the runs in which packets were lost",
        |f| f.in_no_doubt(|| known(f.mean_burst()))),
    packets(Late, "late.ratio", Ratio, "probes back, but later than their call's minimum RTT + late_after",
        |f| f.late_ratio(f.environment.late_after_ms, |c| c.late))
        .live(Varies, |live| ratio(live.late, live.sent))
        .by_stage(true),
    packets(Late, "late.count", Count, "probes back, but later than their call's minimum RTT + late_after",
        |f| f.late_count())
        .live(Grows, |live| so_far(live, live.late))
        .by_stage(true),
    packets(Late, "late.ratio_20ms", Ratio, "late for a playout depth of 20 ms",
        |f| f.late_ratio(20.0, |c| c.late_20ms)),
    packets(Late, "late.ratio_40ms", Ratio, "late for a playout depth of 40 ms",
        |f| f.late_ratio(40.0, |c| c.late_40ms)),
    packets(Late, "late.ratio_60ms", Ratio, "late for a playout depth of 60 ms",
        |f| f.late_ratio(60.0, |c| c.late_60ms)),
    packets(Late, "late.ratio_100ms", Ratio, "late for a playout depth of 100 ms",
        |f| f.late_ratio(100.0, |c| c.late_100ms)),
    packets(Late, "late.ratio_200ms", Ratio, "late for a playout depth of 200 ms",
        |f| f.late_ratio(200.0, |c| c.late_200ms)),
    packets(Traffic, "duplicate.count", Count, "probes that came back again",
        |f| f.when_sent(f.seen(|c| c.duplicates))),
    packets(Traffic, "reordered.count", Count, "probes back below the next expected number (RFC 4737)",
        |f| f.when_sent(f.seen(|c| c.reordered))),
    packets(Traffic, "corrupted.count", Count, "RTP whose payload was not a whole probe, all phases",
        |f| number(f.seen(|c| c.corrupted))),
    packets(Traffic, "forged.count", Count,
        "probes that the run has not signed, made or changed on the way, all phases",
        |f| number(f.seen(|c| c.forged))),
    packets(Traffic, "unbelieved.count", Count,
        "packets whose stamps or counts of the far end cannot be true, all phases",
        |f| number(f.seen(|c| c.unbelieved))),
    packets(Traffic, "late_echoes.count", Count,
        "distinct probes that came back after lost_after, and are lost, all phases",
        |f| number(f.seen(|c| c.late_echoes))),
    packets(Traffic, "strangers.count", Count, "datagrams that belong to no packet of their call, all phases",
        |f| number(f.seen(|c| c.strangers))),
    packets(Traffic, "crossed.count", Count,
        "of these, packets that other calls of the run have sent: crossed audio, all phases",
        |f| number(f.seen(|c| c.crossed))),
    packets(Traffic, "elsewhere.count", Count,
        "datagrams of far ends from another address than their SDP names, measured, all phases",
        |f| number(f.seen(|c| c.elsewhere))),
    packets(Traffic, "elsewhere.refused_count", Count,
        "packets of calls from there, refused by media.source = \"sdp\", all phases",
        |f| number(f.seen(|c| c.refused))),
    packets(Traffic, "rtcp.count", Count, "RTCP on the port of RTP, all phases", |f| number(f.seen(|c| c.rtcp))),
    packets(Traffic, "comfort_noise.count", Count, "comfort noise from far ends (RFC 3389), all phases",
        |f| number(f.seen(|c| c.comfort_noise))),
    packets(Traffic, "telephone_events.count", Count, "telephone events from far ends (RFC 4733), all phases",
        |f| number(f.seen(|c| c.telephone_events))),
    packets(Traffic, "stun.count", Count, "STUN on the port of RTP, all phases", |f| number(f.seen(|c| c.stun))),
    packets(Traffic, "empty_rtp.count", Count, "RTP without payload, all phases",
        |f| number(f.seen(|c| c.empty_rtp))),
    packets(Traffic, "own_audio.count", Count,
        "audio of far ends' own: before their first echo (ringback), on hold (music), beside a whole echo (silence), all phases",
        |f| number(f.seen(|c| c.own_audio))),
    packets(Traffic, "other_datagrams.count", Count,
        "datagrams of far ends that are no RTP and nothing known (keep-alives, DTLS, ZRTP), all phases",
        |f| number(f.seen(|c| c.other_datagrams))),
    packets(Traffic, "other_payload.count", Count, "RTP of a payload type that was not agreed, all phases",
        |f| number(f.seen(|c| c.other_payload))),
    packets(Traffic, "excused.count", Count,
        "probes under way when their call was put on hold, neither sent nor lost, all phases",
        |f| f.at_worst(|| number(f.sum(|c| c.excused)))),
    packets(Traffic, "srtp.received_count", Count, "RTP of far ends that was to be protected by SRTP, all phases",
        |f| f.protected(|(received, _)| received))
        .larger_is_better(),
    packets(Traffic, "srtp.decrypted_count", Count, "of these, packets that the far end's keys opened, all phases",
        |f| f.protected(|(_, decrypted)| decrypted))
        .larger_is_better(),
    packets(Traffic, "srtp.undecrypted_count", Count,
        "of these, packets that they did not open: plain ones, damaged ones, those of other keys, all phases",
        |f| f.protected(|(received, decrypted)| received.saturating_sub(decrypted))),
    packets(Traffic, "jitter.max", Ms, "largest interarrival jitter of any call at its end (RFC 3550 A.8)",
        |f| f.largest(|c| Some(c.jitter_ms?.as_ms()))),
    packets(Drift, "drift.max", MsPerMinute, "steepest rise of any call's per-second median RTT (Theil-Sen)",
        |f| f.largest(|c| c.drift_ms_per_min)),
    packets(Drift, "drift.last_minus_first_max", Ms,
        "largest median RTT of a call's last minute less its first's",
        |f| f.largest(|c| c.last_minus_first_ms)),
    packets(Traffic, "mos.concealed", Score,
        "estimated MOS with packet-loss concealment (ITU-T G.107, G.113); half the RTT is taken for one way",
        |f| f.mos(Concealment::Yes))
        .larger_is_better(),
    packets(Traffic, "mos.plain", Score,
        "estimated MOS without packet-loss concealment (ITU-T G.107, G.113); half the RTT is taken for one way",
        |f| f.mos(Concealment::No))
        .larger_is_better(),
    packets(Control, "control.tail_share", Ratio,
        "share of rtt.p99 - rtt.p50 that the control stream shows too",
        |f| f.in_no_doubt(|| known(f.explained().map(|explained| explained.share)))),
    record(Control, "control.sent_count", Count,
        "instrument: probes of the control stream in the measured window",
        |f| f.control_count(f.histogram(Series::Control).len() + f.lost_of(Series::Control))),
    record(Control, "control.lost_count", Count, "instrument: of these, lost",
        |f| f.control_count(f.lost_of(Series::Control))),
];

#[rustfmt::skip]
pub(super) static MACHINE: [Definition; 15] = [
    record(Instrument, "slots.missed_ratio", Ratio,
        "instrument: packets sent later than their stream's next one was due",
        |f| ratio(f.seconds_sum(|s| s.measured_missed_slots), f.slots())),
    record(Instrument, "sockets.drops", Count, "instrument: datagrams that full socket buffers dropped",
        |f| number(f.seconds_sum(|s| s.socket_drops))),
    record(Resources, "cpu.busiest_thread_max", Cores, "instrument: busiest second of any thread of the driver",
        |f| f.held_max(|s| s.cpu_busiest_thread)),
    record(Resources, "cpu.driver_mean", Cores, "CPU of the driver in the measured window",
        |f| f.held_mean(|s| s.cpu_driver)),
    record(Resources, "cpu.service_mean", Cores, "CPU of the service under test in the measured window",
        |f| f.held_mean(|s| s.cpu_service)),
    record(Resources, "cpu.asterisk_mean", Cores, "CPU of Asterisk in the measured window",
        |f| f.held_mean(|s| s.cpu_asterisk)),
    record(Resources, "cpu.others_mean", Cores, "CPU of programs that are not the run's, in the measured window",
        |f| f.held_mean(|s| {
            let own = [s.cpu_driver, s.cpu_service, s.cpu_asterisk].into_iter().flatten().sum::<f64>();
            Some((s.cpu_machine? * f64::from(f.environment.all_cpus()) - own).max(0.0))
        })),
    record(Resources, "cpu.machine_mean", Ratio, "CPU of the whole machine in the measured window",
        |f| f.held_mean(|s| s.cpu_machine)),
    record(Resources, "cpu.steal_max", Ratio, "busiest second of CPU time given to other guests",
        |f| f.held_max(|s| s.cpu_steal)),
    record(Resources, "memory.driver_max", Mib, "largest resident memory of the driver",
        |f| known(f.seconds.iter().filter_map(|s| s.driver_rss_mib).reduce(f64::max))),
    record(Resources, "memory.service_max", Mib, "largest resident memory of the service under test",
        |f| known(f.seconds.iter().filter_map(|s| s.service_rss_mib).reduce(f64::max))),
    record(Resources, "memory.asterisk_max", Mib, "largest resident memory of Asterisk",
        |f| known(f.seconds.iter().filter_map(|s| s.asterisk_rss_mib).reduce(f64::max))),
    record(Resources, "memory.driver_growth", MibPerMinute,
        "growth of the driver's resident memory in the measured window (Theil-Sen)",
        |f| f.held_growth(|s| s.driver_rss_mib)),
    record(Resources, "memory.service_growth", MibPerMinute,
        "growth of the service's resident memory in the measured window (Theil-Sen)",
        |f| f.held_growth(|s| s.service_rss_mib)),
    record(Resources, "memory.asterisk_growth", MibPerMinute,
        "growth of Asterisk's resident memory in the measured window (Theil-Sen)",
        |f| f.held_growth(|s| s.asterisk_rss_mib)),
];

#[rustfmt::skip]
pub(super) static FAULTS: [Definition; 9] = [
    record(Faults, "fault.count", Count, "planned faults that were carried out",
        |f| number(f.faults.len() as u64)),
    packets(Faults, "fault.outage_max", Ms, "longest from a fault until its process was ready again",
        |f| f.slowest(|r| r.outage_s.map(Some))),
    packets(Faults, "fault.answered_max", Ms, "longest from a fault until a call was answered again",
        // Where nobody called, nobody can have waited for an answer.
        |f| f.slowest(|r| r.answered_s.map(Some).or((!r.was_tried).then_some(None)))),
    packets(Faults, "fault.heard_max", Ms, "longest from a fault until a packet of any call was back again",
        |f| f.slowest(|r| r.heard_s.map(Some))),
    packets(Faults, "fault.served_max", Ms,
        "longest from a process's return until a packet of any call was back again",
        |f| f.slowest(|r| r.served_s.map(Some))),
    packets(Faults, "fault.restored_max", Ms, "longest from a fault until as many calls were heard as before",
        |f| f.slowest(|r| r.restored_s.map(Some))),
    record(Faults, "fault.calls_lost", Count, "calls that faults ended before their time",
        |f| f.fault_sum(|r| r.calls_lost)),
    record(Faults, "fault.attempts_failed", Count,
        "attempts without an answer from a fault until as many calls were heard as before",
        |f| f.fault_sum(|r| r.attempts_failed)),
    packets(Faults, "fault.packets_lost", Count, "packets lost in that time, all phases",
        |f| f.at_worst(|| f.fault_sum(|r| r.packets_lost))),
];

#[rustfmt::skip]
pub(super) static LEAKS: [Definition; 6] = [
    record(Leaks, "leaks.total", Count,
        "what the calls left behind, all kinds added up, a channel with its descriptors; `leaks` for short",
        |f| f.leaked(None)),
    record(Leaks, "leaks.channels", Count, "channels in Asterisk after the last call, not there before",
        |f| f.leaked(Some("channels"))),
    record(Leaks, "leaks.bridges", Count, "bridges in Asterisk after the last call, not there before",
        |f| f.leaked(Some("bridges"))),
    record(Leaks, "leaks.ports", Count, "media ports that the service still holds after the last call",
        |f| f.leaked(Some("ports"))),
    record(Leaks, "leaks.descriptors", Count, "descriptors of Asterisk and the service above those before",
        |f| f.leaked(Some("descriptors"))),
    record(Leaks, "leaks.threads", Count, "threads of Asterisk and the service above those before",
        |f| f.leaked(Some("threads"))),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::OutcomeCount;

    #[test]
    fn outcomes_of_the_service_are_added_up_by_their_name() {
        let outcome = |name: &str, status, calls| OutcomeCount {
            outcome: name.into(),
            status,
            calls,
            ..Default::default()
        };
        let outcomes =
            vec![outcome("refused", Some(404), 2), outcome("refused", None, 1), outcome("no_port", None, 5)];
        let service = ServiceRecord { outcomes, ..Default::default() };
        assert_eq!((ended(&service, "refused"), ended(&service, "not_bridged")), (3, 0));
    }
}
