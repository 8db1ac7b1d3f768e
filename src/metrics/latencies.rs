//! The table's rows of latencies: eight statistics each.

use super::metric::{Better, Course, Definition, Group, RestsOn, Statistic};
use super::{distribution::Distribution, facts::Facts};
use crate::record::{Live, Series};
use crate::values::{Unit, Value};

/// One statistic of a distribution, given as a closure over the run's facts.
macro_rules! statistic {
    ($group:ident, $name:expr, $help:expr, $statistic:ident, |$facts:ident| $of:expr) => {
        Definition {
            name: $name,
            unit: Unit::Ms,
            help: $help,
            group: Group::$group,
            rests_on: match Group::$group {
                // The instrument's own times are what they are.
                Group::Control | Group::Instrument => RestsOn::Records,
                _ => RestsOn::Packets,
            },
            better: Better::Smaller,
            statistic: Some(Statistic::$statistic),
            of: |$facts: &Facts<'_>| $of.at(Statistic::$statistic),
            live: None,
        }
    };
}
pub(super) use statistic;

/// The eight statistics of one latency, as `name.key`, in the order of [`Statistic::ALL`].
macro_rules! latency {
    ($group:ident, $name:literal, $help:literal, |$f:ident| $of:expr) => {
        [
            statistic!($group, concat!($name, ".min"), concat!($help, ": smallest"), Min, |$f| $of),
            statistic!(
                $group,
                concat!($name, ".mean"),
                concat!($help, ": mean of what came back"),
                Mean,
                |$f| $of
            ),
            statistic!($group, concat!($name, ".p50"), concat!($help, ": median"), P50, |$f| $of),
            statistic!($group, concat!($name, ".p90"), concat!($help, ": 90th percentile"), P90, |$f| $of),
            statistic!($group, concat!($name, ".p95"), concat!($help, ": 95th percentile"), P95, |$f| $of),
            statistic!($group, concat!($name, ".p99"), concat!($help, ": 99th percentile"), P99, |$f| $of),
            statistic!($group, concat!($name, ".p99.9"), concat!($help, ": 99.9th percentile"), P999, |$f| {
                $of
            }),
            statistic!($group, concat!($name, ".max"), concat!($help, ": largest"), Max, |$f| $of),
        ]
    };
}

/// The round trip of the packets so far; the smallest may yet shrink and is left to the end.
const fn live_rtt(mut rows: [Definition; 8]) -> [Definition; 8] {
    macro_rules! live {
        ($($at:literal $statistic:ident $course:ident),*) => {
            $(rows[$at].live = Some((Course::$course, |live| {
                let rtt = Distribution::Packets { back: &live.rtt, lost: live.lost, later: None };
                rtt.at(Statistic::$statistic)
            }));)*
        };
    }
    live!(1 Mean Varies, 2 P50 Varies, 3 P90 Varies, 4 P95 Varies, 5 P99 Varies, 6 P999 Varies, 7 Max Grows);
    rows
}

/// A statistic of the control stream so far.
pub(super) fn control_so_far(live: &Live, statistic: Statistic) -> Value {
    Distribution::Packets { back: &live.control, lost: live.control_lost, later: None }.at(statistic).value
}

/// Latencies per packet, in the order of [`Series::ALL`].
#[rustfmt::skip]
pub static LATENCIES: [[Definition; 8]; 12] = [
    live_rtt(latency!(Packets, "rtt", "round trip T4 - T1 (RFC 2681) of all packets sent; lost ones rank last",
        |f| f.series(Series::Rtt))),
    latency!(Packets, "rtt_intended", "round trip from the intended send time (no coordinated omission)",
        |f| f.series(Series::RttIntended)),
    latency!(Packets, "service_time", "the service's own time with a packet, T3 - T2",
        |f| f.series(Series::ServiceTime)),
    latency!(Packets, "path_rtt", "round trip less service time (RFC 5357)",
        |f| f.series(Series::PathRtt)),
    latency!(Packets, "up", "one way to the service, T2 - T1 (same host)",
        |f| f.series(Series::Up)),
    latency!(Packets, "down", "one way back, T4 - T3 (same host)",
        |f| f.series(Series::Down)),
    latency!(Packets, "ipdv", "difference of the round trips of consecutive packets, unsigned (RFC 3393)",
        |f| f.series(Series::Ipdv)),
    latency!(Packets, "pdv", "round trip less its call's smallest (RFC 5481), to 3 digits of the round trip",
        |f| f.series(Series::Pdv)),
    latency!(Control, "control", "control stream: round trip to a reflector beside the driver, past Asterisk",
        |f| f.series(Series::Control)),
    latency!(Instrument, "send_lateness", "instrument: time sent - time intended",
        |f| f.series(Series::SendLateness)),
    latency!(Instrument, "send_call", "instrument: duration of the send call",
        |f| f.series(Series::SendCall)),
    latency!(Instrument, "receive_lag", "instrument: time read - time the kernel received",
        |f| f.series(Series::ReceiveLag)),
];

/// Call set-up and tear-down, one value per call.
#[rustfmt::skip]
pub static SIGNALLING: [[Definition; 8]; 4] = [
    latency!(SetUp, "srd", "session request delay, INVITE to first 18x or 2xx (RFC 6076 4.3)",
        |f| f.delays(|c| c.srd_ms)),
    latency!(SetUp, "answer_delay", "INVITE to 200", |f| f.delays(|c| c.answer_delay_ms)),
    latency!(SetUp, "first_echo", "200 received to first own probe back", |f| f.delays(|c| c.first_echo_ms)),
    latency!(SetUp, "sdd", "session disconnect delay, BYE to its final answer (RFC 6076 4.4)",
        |f| f.delays(|c| c.sdd_ms)),
];
