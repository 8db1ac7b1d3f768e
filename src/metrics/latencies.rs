//! The table's rows of latencies: eight statistics each.

use std::sync::LazyLock;

use Group::*;

use super::metric::{Better, Definition, Group, Of, RestsOn, Samples, Statistic};
use crate::record::{CallRecord, Series};
use crate::values::{Ns, Unit};

/// One statistic of samples. The tables of these rows are made once, and so are the texts in them.
pub(super) fn row(
    group: Group,
    name: String,
    help: &str,
    statistic: Statistic,
    samples: Samples,
) -> Definition {
    Definition {
        name: name.leak(),
        unit: Unit::Ms,
        help: match (statistic, samples) {
            (Statistic::Mean, Samples::Packets(_)) => format!("{help}: mean of what came back").leak(),
            _ => format!("{help}: {}", statistic.words()).leak(),
        },
        group,
        rests_on: match group {
            // The instrument's own times are what they are.
            Control | Instrument => RestsOn::Records,
            _ => RestsOn::Packets,
        },
        better: Better::Smaller,
        // A call's smallest round trip is known when it ends, and the service sums up a whole run.
        by_stage: match samples {
            Samples::Packets(series) => series != Series::Pdv,
            Samples::Calls(_) => true,
            Samples::Service(_) | Samples::Register(_) | Samples::Turns(_) | Samples::Signals(_) => false,
        },
        of: Of::Statistic(statistic, samples),
    }
}

/// The eight statistics of one latency, as `name.key`, in the order of [`Statistic::ALL`].
fn latency(group: Group, name: &str, help: &str, samples: Samples) -> [Definition; 8] {
    Statistic::ALL
        .map(|statistic| row(group, format!("{name}.{}", statistic.key()), help, statistic, samples))
}

fn packets(group: Group, series: Series, help: &str) -> [Definition; 8] {
    latency(group, series.name(), help, Samples::Packets(series))
}

fn calls(name: &str, help: &str, of: fn(&CallRecord) -> Option<Ns>) -> [Definition; 8] {
    latency(SetUp, name, help, Samples::Calls(of))
}

/// Latencies per packet, in the order of [`Series::ALL`].
#[rustfmt::skip]
pub static LATENCIES: LazyLock<Vec<[Definition; 8]>> = LazyLock::new(|| vec![
    packets(Packets, Series::Rtt, "round trip T4 - T1 (RFC 2681) of all packets sent; lost ones rank last"),
    packets(Packets, Series::RttIntended, "round trip from the intended send time (no coordinated omission)"),
    packets(Packets, Series::ServiceTime, "the service's own time with a packet, T3 - T2"),
    packets(Packets, Series::PathRtt, "round trip less service time (RFC 5357)"),
    packets(Packets, Series::Up, "one way to the service, T2 - T1 (same host)"),
    packets(Packets, Series::Down, "one way back, T4 - T3 (same host)"),
    packets(Packets, Series::Ipdv, "difference of the round trips of consecutive packets, unsigned (RFC 3393)"),
    packets(Packets, Series::Pdv, "round trip less its call's smallest (RFC 5481), to 3 digits of the round trip"),
    packets(Control, Series::Control, "control stream: round trip to a reflector beside the driver, past Asterisk"),
    packets(Instrument, Series::SendLateness, "instrument: time sent - time intended"),
    packets(Instrument, Series::SendCall, "instrument: duration of the send call"),
    packets(Instrument, Series::ReceiveLag, "instrument: time read - time the kernel received"),
]);

/// Call set-up and tear-down, one value per call.
#[rustfmt::skip]
pub static SIGNALLING: LazyLock<Vec<[Definition; 8]>> = LazyLock::new(|| vec![
    calls("srd", "session request delay, INVITE to first 18x or 2xx (RFC 6076 4.3)", |c| c.srd_ms),
    calls("answer_delay", "INVITE to 200", |c| c.answer_delay_ms),
    calls("first_echo", "200 received to first own probe back", |c| c.first_echo_ms),
    calls("sdd", "session disconnect delay, BYE to its final answer (RFC 6076 4.4)", |c| c.sdd_ms),
]);
