//! Every metric's name, unit and definition, in the order of reports.

use super::metric::{Definition, RestsOn};
use crate::values::Unit;

const fn metric(name: &'static str, unit: Unit, help: &'static str) -> Definition {
    Definition { name, unit, help, rests_on: RestsOn::Packets }
}

/// A metric that a late driver cannot have bent.
const fn record(name: &'static str, unit: Unit, help: &'static str) -> Definition {
    Definition { name, unit, help, rests_on: RestsOn::Records }
}

/// The eight statistics of one latency, as `group.key`.
macro_rules! latency {
    ($group:literal, $what:literal) => {
        [
            metric(concat!($group, ".min"), Unit::Ms, concat!($what, ": smallest")),
            metric(concat!($group, ".mean"), Unit::Ms, concat!($what, ": mean of what came back")),
            metric(concat!($group, ".p50"), Unit::Ms, concat!($what, ": median")),
            metric(concat!($group, ".p90"), Unit::Ms, concat!($what, ": 90th percentile")),
            metric(concat!($group, ".p95"), Unit::Ms, concat!($what, ": 95th percentile")),
            metric(concat!($group, ".p99"), Unit::Ms, concat!($what, ": 99th percentile")),
            metric(concat!($group, ".p99.9"), Unit::Ms, concat!($what, ": 99.9th percentile")),
            metric(concat!($group, ".max"), Unit::Ms, concat!($what, ": largest")),
        ]
    };
}

/// The statistics of [`LATENCIES`], in their order: key and quantile (`None` for min, mean, max).
pub const STATISTICS: [(&str, Option<f64>); 8] = [
    ("min", None),
    ("mean", None),
    ("p50", Some(0.5)),
    ("p90", Some(0.9)),
    ("p95", Some(0.95)),
    ("p99", Some(0.99)),
    ("p99.9", Some(0.999)),
    ("max", None),
];

/// Latencies per packet, in the order of `samples::Series::ALL`.
pub const LATENCIES: [[Definition; 8]; 12] = [
    latency!("rtt", "round trip T4 - T1 (RFC 2681) of all packets sent; lost ones rank last"),
    latency!("rtt_intended", "round trip from the intended send time (no coordinated omission)"),
    latency!("service_time", "the service's own time with a packet, T3 - T2"),
    latency!("path_rtt", "round trip less service time (RFC 5357)"),
    latency!("up", "one way to the service, T2 - T1 (same host)"),
    latency!("down", "one way back, T4 - T3 (same host)"),
    latency!("ipdv", "difference of the round trips of consecutive packets, unsigned (RFC 3393)"),
    latency!("pdv", "round trip less its call's smallest (RFC 5481), to 3 digits of the round trip"),
    latency!("control", "control stream: round trip to a reflector beside the driver, past Asterisk"),
    latency!("send_lateness", "instrument: time sent - time intended"),
    latency!("send_call", "instrument: duration of the send call"),
    latency!("receive_lag", "instrument: time read - time the kernel received"),
];

/// Call set-up and tear-down, one value per call.
pub const SIGNALLING: [[Definition; 8]; 4] = [
    latency!("srd", "session request delay, INVITE to first 18x or 2xx (RFC 6076 4.3)"),
    latency!("answer_delay", "INVITE to 200"),
    latency!("first_echo", "200 received to first own probe back"),
    latency!("sdd", "session disconnect delay, BYE to its final answer (RFC 6076 4.4)"),
];

/// Counts and ratios.
pub const COUNTS: [Definition; 91] = [
    record("calls.attempts", Unit::Count, "INVITEs of new calls, one per authenticated dialog"),
    record("calls.answered", Unit::Ratio, "attempts answered with 200"),
    record("calls.answered_count", Unit::Count, "attempts answered with 200"),
    record("calls.failed_count", Unit::Count, "attempts that were not answered"),
    record(
        "calls.dropped_count",
        Unit::Count,
        "answered calls that ended before their time: hung up by the far end, or media_lost",
    ),
    record("calls.media_lost_count", Unit::Count, "calls heard, then silent for dead_after and given up"),
    record("calls.silent_count", Unit::Count, "answered calls of which no packet ever came back"),
    record(
        "calls.suppressed_count",
        Unit::Count,
        "attempts that the schedule wanted and that could not be placed",
    ),
    record("calls.held", Unit::Ratio, "calls up when the measured window began, of those wanted"),
    record("calls.ser", Unit::Ratio, "session establishment ratio (RFC 6076 4.6)"),
    record("calls.seer", Unit::Ratio, "session establishment effectiveness ratio (RFC 6076 4.7)"),
    record("calls.isa", Unit::Ratio, "ineffective session attempts: 408, 500, 503, 504 (RFC 6076 4.8)"),
    record("calls.scr", Unit::Ratio, "session completion ratio (RFC 6076 4.9)"),
    metric("sip.retransmissions", Unit::Count, "SIP requests sent again"),
    record("sip.garbage_count", Unit::Count, "datagrams on the driver's SIP port that were not SIP"),
    record("sip.stray_count", Unit::Count, "SIP messages that belonged to no call, or to none any more"),
    metric("ari.answered_p50", Unit::Ms, "service: StasisStart to the answer's 204: median"),
    metric("ari.answered_p95", Unit::Ms, "service: StasisStart to the answer's 204: 95th percentile"),
    metric("ari.answered_p99", Unit::Ms, "service: StasisStart to the answer's 204: 99th percentile"),
    metric("ari.answered_max", Unit::Ms, "service: StasisStart to the answer's 204: largest"),
    metric("ari.bridged_p50", Unit::Ms, "service: StasisStart to both channels in the bridge: median"),
    metric(
        "ari.bridged_p95",
        Unit::Ms,
        "service: StasisStart to both channels in the bridge: 95th percentile",
    ),
    metric(
        "ari.bridged_p99",
        Unit::Ms,
        "service: StasisStart to both channels in the bridge: 99th percentile",
    ),
    metric("ari.bridged_max", Unit::Ms, "service: StasisStart to both channels in the bridge: largest"),
    metric("ari.first_packet_p50", Unit::Ms, "service: StasisStart to the first media packet: median"),
    metric(
        "ari.first_packet_p95",
        Unit::Ms,
        "service: StasisStart to the first media packet: 95th percentile",
    ),
    metric(
        "ari.first_packet_p99",
        Unit::Ms,
        "service: StasisStart to the first media packet: 99th percentile",
    ),
    metric("ari.first_packet_max", Unit::Ms, "service: StasisStart to the first media packet: largest"),
    metric("ari.event_lag_p50", Unit::Ms, "service: Asterisk's time of an event to its handling: median"),
    metric(
        "ari.event_lag_p95",
        Unit::Ms,
        "service: Asterisk's time of an event to its handling: 95th percentile",
    ),
    metric(
        "ari.event_lag_p99",
        Unit::Ms,
        "service: Asterisk's time of an event to its handling: 99th percentile",
    ),
    metric("ari.event_lag_max", Unit::Ms, "service: Asterisk's time of an event to its handling: largest"),
    record("ari.calls_count", Unit::Count, "service: callers that entered the application"),
    record(
        "ari.not_bridged_count",
        Unit::Count,
        "service: calls given up because they were not bridged in time",
    ),
    record("ari.no_port_count", Unit::Count, "service: calls turned away for want of a media port"),
    record(
        "ari.refused_count",
        Unit::Count,
        "service: calls that ended because Asterisk refused an operation",
    ),
    record("ari.retries_count", Unit::Count, "service: REST requests that repeated an earlier one"),
    record("ari.strays_count", Unit::Count, "service: channels and bridges of no call that it deleted"),
    record("ari.disconnects_count", Unit::Count, "service: times that it lost its connection to Asterisk"),
    metric("packets.sent", Unit::Count, "probes sent in the measured window"),
    metric("packets.received", Unit::Count, "of these, distinct probes back within lost_after"),
    metric("packets.clipped", Unit::Count, "probes sent before their call's first echo, all phases"),
    metric("loss.ratio", Unit::Ratio, "probes sent and not back within lost_after"),
    metric("loss.count", Unit::Count, "probes sent and not back within lost_after"),
    metric("loss.up_count", Unit::Count, "of the lost, those lost on the way to the service"),
    metric("loss.down_count", Unit::Count, "of the lost, those lost on the way back"),
    metric(
        "loss.unattributed_count",
        Unit::Count,
        "of the lost, those whose way nothing that came back can tell",
    ),
    metric("loss.burst_mean", Unit::Mean, "mean length of the runs in which packets were lost"),
    metric("late.ratio", Unit::Ratio, "probes back, but later than their call's minimum RTT + late_after"),
    metric("late.count", Unit::Count, "probes back, but later than their call's minimum RTT + late_after"),
    metric("late.ratio_20ms", Unit::Ratio, "late for a playout depth of 20 ms"),
    metric("late.ratio_40ms", Unit::Ratio, "late for a playout depth of 40 ms"),
    metric("late.ratio_60ms", Unit::Ratio, "late for a playout depth of 60 ms"),
    metric("late.ratio_100ms", Unit::Ratio, "late for a playout depth of 100 ms"),
    metric("late.ratio_200ms", Unit::Ratio, "late for a playout depth of 200 ms"),
    metric("duplicate.count", Unit::Count, "probes that came back again"),
    metric("reordered.count", Unit::Count, "probes back below the next expected number (RFC 4737)"),
    metric("corrupted.count", Unit::Count, "RTP whose payload was not a whole probe, all phases"),
    metric("strangers.count", Unit::Count, "datagrams that belong to no packet of their call, all phases"),
    metric("jitter.max", Unit::Ms, "largest interarrival jitter of any call at its end (RFC 3550 A.8)"),
    metric("drift.max", Unit::MsPerMinute, "steepest rise of any call's per-second median RTT (Theil-Sen)"),
    metric(
        "drift.last_minus_first_max",
        Unit::Ms,
        "largest median RTT of a call's last minute less its first's",
    ),
    metric(
        "mos.concealed",
        Unit::Score,
        "estimated MOS with packet-loss concealment (ITU-T G.107, G.113); half the RTT is taken for one way",
    ),
    metric(
        "mos.plain",
        Unit::Score,
        "estimated MOS without packet-loss concealment (ITU-T G.107, G.113); half the RTT is taken for one way",
    ),
    metric("control.tail_share", Unit::Ratio, "share of rtt.p99 - rtt.p50 that the control stream shows too"),
    metric(
        "control.sent_count",
        Unit::Count,
        "instrument: probes sent on the control stream in the hold phase",
    ),
    metric("control.lost_count", Unit::Count, "instrument: of these, lost"),
    metric(
        "slots.missed_ratio",
        Unit::Ratio,
        "instrument: packets sent later than their stream's next one was due",
    ),
    metric("sockets.drops", Unit::Count, "instrument: datagrams that full socket buffers dropped"),
    record("cpu.busiest_thread_max", Unit::Cores, "instrument: busiest second of any thread of the driver"),
    record("cpu.driver_mean", Unit::Cores, "CPU of the driver in the measured window"),
    record("cpu.service_mean", Unit::Cores, "CPU of the service under test in the measured window"),
    record("cpu.asterisk_mean", Unit::Cores, "CPU of Asterisk in the measured window"),
    record("cpu.machine_mean", Unit::Ratio, "CPU of the whole machine in the measured window"),
    record("cpu.steal_max", Unit::Ratio, "busiest second of CPU time given to other guests"),
    record("memory.driver_max", Unit::Mib, "largest resident memory of the driver"),
    record("fault.count", Unit::Count, "planned faults that were carried out"),
    metric("fault.outage_max", Unit::Ms, "longest from a fault until its process was ready again"),
    metric("fault.answered_max", Unit::Ms, "longest from a fault until a call was answered again"),
    metric("fault.heard_max", Unit::Ms, "longest from a fault until a packet of any call was back again"),
    metric(
        "fault.served_max",
        Unit::Ms,
        "longest from a process's return until a packet of any call was back again",
    ),
    metric("fault.restored_max", Unit::Ms, "longest from a fault until as many calls were heard as before"),
    record("fault.calls_lost", Unit::Count, "calls that faults ended before their time"),
    record(
        "fault.attempts_failed",
        Unit::Count,
        "attempts without an answer from a fault until as many calls were heard as before",
    ),
    metric("fault.packets_lost", Unit::Count, "packets lost in that time, all phases"),
    record(
        "leaks.total",
        Unit::Count,
        "what the calls left behind, all kinds added up, a channel with its descriptors; `leaks` for short",
    ),
    record("leaks.channels", Unit::Count, "channels in Asterisk after the last call, not there before"),
    record("leaks.bridges", Unit::Count, "bridges in Asterisk after the last call, not there before"),
    record("leaks.ports", Unit::Count, "media ports that the service still holds after the last call"),
    record("leaks.descriptors", Unit::Count, "descriptors of Asterisk and the service above those before"),
    record("leaks.threads", Unit::Count, "threads of Asterisk and the service above those before"),
];

/// Every metric there is, in the order of reports.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    COUNTS.iter().chain(SIGNALLING.iter().flatten()).chain(LATENCIES.iter().flatten())
}

/// How many samples a percentile of that name needs, so that 100 lie beyond it; `None` for what is no
/// percentile.
pub fn samples_needed(metric: &str) -> Option<f64> {
    let (_, key) = metric.split_once('.')?;
    let q = STATISTICS.iter().find(|(name, _)| *name == key).and_then(|(_, q)| *q)?;
    Some((100.0 / (1.0 - q)).round())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Series;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_follow_their_series() {
        let names: HashSet<_> = all().map(|d| d.name).collect();
        assert_eq!(names.len(), all().count());
        for (series, block) in Series::ALL.iter().zip(&LATENCIES) {
            for (definition, (key, _)) in block.iter().zip(STATISTICS) {
                assert_eq!(definition.name, format!("{}.{key}", series.name()));
            }
        }
    }
}
