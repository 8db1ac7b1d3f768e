//! Messages between shards and coordinator.

use std::ops::AddAssign;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::task::{Purpose, Room, Task};
use crate::record::stored::DATA;
use crate::record::{
    EndedEarly, Latencies, Live, Phase, Quantile, Recent, RecentTurns, Suppressed, manifest,
};
use crate::values::Ns;

/// Files of a shard's folder that go to the coordinator. Whatever else a shard names is refused.
pub const FILES: [&str; DATA.len() + 1] = {
    let mut names = [manifest::NAME; DATA.len() + 1];
    let mut n = 0;
    while n < DATA.len() {
        names[n] = DATA[n];
        n += 1;
    }
    names
};
/// Bytes of a file in one message: with base64 well below the largest frame.
pub(super) const CHUNK: usize = 64 << 10;
/// Most characters of a reason.
const MOST_CHARS: usize = 400;
/// Most buckets of a histogram in a heartbeat: more than one of ours can have.
const MOST_BUCKETS: usize = 20_000;
/// Most packets of a bucket: no sum of all shards' can overflow.
const MOST_PACKETS: u64 = 1 << 36;

/// A text that others have written, without what acts on a terminal, and not longer than a sentence.
pub fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_CHARS).collect()
}

/// A shard's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its number, from 0.
    pub index: u32,
    /// Number of shards that it knows of.
    pub count: u32,
    /// Its version of this program.
    pub version: String,
    /// Hash of its scenario, without what may differ by shard, and with its gates.
    pub scenario: String,
    /// Its machine.
    pub host: String,
    /// Its command.
    #[serde(default)]
    pub purpose: Purpose,
}

/// A shard's messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum FromShard {
    Hello(Hello),
    /// Answers a `Ping`, with the shard's own time.
    Pong {
        number: u32,
        at_ns: u64,
    },
    /// Everything is there for the first of many runs.
    Prepared(Box<Room>),
    /// Everything is there for the first call.
    Ready,
    Beat(Box<Beat>),
    /// The user wants the run ended.
    Interrupted,
    /// No call is left. `started_ns` is its own time when it was about to place the first.
    Ended {
        started_ns: u64,
    },
    /// A part of a file, in order.
    File {
        name: String,
        bytes: Bytes,
    },
    /// All files are through.
    Delivered,
    /// It was ended with the others, before its first call.
    Parted,
    /// It cannot go on.
    Failed {
        why: String,
    },
}

/// The coordinator's messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum FromCoordinator {
    /// The shard takes part, in the run of that name.
    Welcome {
        run_id: u32,
    },
    Refused {
        why: String,
    },
    Ping {
        number: u32,
    },
    /// The next of many runs, and its name in every call and probe.
    Next {
        run_id: u32,
        task: Task,
    },
    /// Second 0 begins then, by the shard's clock.
    Start {
        at_ns: u64,
    },
    /// The ramp of a stage is over then, by the shard's clock.
    RampOver {
        stage: u32,
        at_ns: u64,
    },
    Totals(Box<Totals>),
    /// A gate over all ends the run; `End` follows.
    EndsEarly(Box<EndedEarly>),
    End {
        how: HowToEnd,
        why: String,
    },
    /// The run is judged: the exit code of all, and the reason in lines.
    Verdict {
        exit: u8,
        text: String,
    },
}

/// Urgency of the end that a coordinator wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowToEnd {
    /// A broken gate has made the run hopeless: calls are hung up in their order.
    Early,
    /// The run cannot be what was planned.
    Soon,
}

/// The gate that ends a run, without what acts on a terminal.
pub(super) fn tidy(early: EndedEarly) -> EndedEarly {
    EndedEarly { gate: cut(&early.gate), actual: cut(&early.actual), ..early }
}

/// Live figures of one shard.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Its phase.
    pub phase: Phase,
    /// Number of its stage, from 1.
    pub stage: u32,
    /// Stages of which all its lines are decided.
    pub settled: u32,
    /// Calls up.
    pub calls_up: u32,
    /// Calls that are to be up in the hold phase.
    pub calls: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// Figures over the last settled seconds.
    pub lately: Lately,
    /// Packets sent, of the measured window, of which nothing can come back any more, as all below.
    pub sent: u64,
    /// Packets lost.
    pub lost: u64,
    /// Packets late.
    pub late: u64,
    /// Packets of the control stream that did not come back.
    pub control_lost: u64,
    /// Attempts answered.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Calls that ended before their time.
    pub dropped: u64,
    /// Among them, those of which nothing was heard any more.
    pub media_lost: u64,
    /// Attempts that were not placed.
    pub suppressed: Suppressed,
    /// Round trips: smallest latency of each bucket, and its count.
    pub rtt: Vec<(u64, u64)>,
    /// The same of the control stream.
    pub control: Vec<(u64, u64)>,
}

impl Beat {
    /// Figures of a shard as its driver counts them.
    pub fn of(live: &Live) -> Beat {
        Beat {
            sent: live.sent,
            lost: live.lost,
            late: live.late,
            control_lost: live.control_lost,
            answered: live.answered,
            failed: live.failed,
            dropped: live.dropped,
            media_lost: live.media_lost,
            suppressed: live.suppressed,
            rtt: live.rtt.counts().collect(),
            control: live.control.counts().collect(),
            ..Beat::default()
        }
    }

    /// The figures that gates are held against; what no driver counts is cut down to what one may.
    pub fn live(&self) -> Live {
        let bounded = |n: u64| n.min(MOST_PACKETS);
        let latencies = |counts: &[(u64, u64)]| {
            let mut latencies = Latencies::default();
            latencies.extend(counts.iter().take(MOST_BUCKETS).map(|(ns, count)| (*ns, bounded(*count))));
            latencies
        };
        let Suppressed { cap, port, late } = self.suppressed;
        Live {
            sent: bounded(self.sent),
            lost: bounded(self.lost),
            late: bounded(self.late),
            rtt: latencies(&self.rtt),
            control: latencies(&self.control),
            control_lost: bounded(self.control_lost),
            answered: bounded(self.answered),
            failed: bounded(self.failed),
            dropped: bounded(self.dropped),
            media_lost: bounded(self.media_lost),
            suppressed: Suppressed { cap: bounded(cap), port: bounded(port), late: bounded(late) },
        }
    }
}

/// Latency of a percentile that falls among the lost, or beyond the longest that is told apart.
const LOST_NS: u64 = u64::MAX;

/// [`Recent`] on the wire. Latencies are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lately {
    rtt_p50: Option<u64>,
    rtt_p99: Option<u64>,
    control_p99: Option<u64>,
    loss: Option<f64>,
    late: Option<f64>,
    send_lateness_max: Option<u64>,
    /// Turns, those without an answer, and percentiles 50 and 95 of the responses.
    turns: Option<(u64, u64, Option<u64>, Option<u64>)>,
}

impl From<&Recent> for Lately {
    fn from(recent: &Recent) -> Lately {
        let at = |quantile| match quantile {
            Quantile::At(ns) => Some(ns),
            Quantile::Above | Quantile::Lost => Some(LOST_NS),
            Quantile::NoData => None,
        };
        let turns = recent
            .turns
            .map(|turns| (turns.count, turns.missing, at(turns.response_p50), at(turns.response_p95)));
        Lately {
            rtt_p50: recent.rtt_p50.and_then(at),
            rtt_p99: recent.rtt_p99.and_then(at),
            control_p99: recent.control_p99.and_then(at),
            loss: recent.loss,
            late: recent.late,
            send_lateness_max: recent.send_lateness_max.map(|ns| ns.0),
            turns,
        }
    }
}

impl Lately {
    /// The figures.
    pub fn recent(&self) -> Recent {
        let at = |ns| match ns {
            LOST_NS => Quantile::Lost,
            ns => Quantile::At(ns),
        };
        let any = |ns: Option<u64>| ns.map_or(Quantile::NoData, at);
        let turns = self.turns.map(|(count, missing, p50, p95)| RecentTurns {
            count,
            missing,
            response_p50: any(p50),
            response_p95: any(p95),
        });
        Recent {
            rtt_p50: self.rtt_p50.map(at),
            rtt_p99: self.rtt_p99.map(at),
            control_p99: self.control_p99.map(at),
            loss: self.loss,
            late: self.late,
            send_lateness_max: self.send_lateness_max.map(Ns),
            turns,
        }
    }
}

/// Counts of all shards together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Shards that are heard.
    pub shards: u32,
    /// Calls up.
    pub calls_up: u64,
    /// Attempts so far.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Packets sent in the measured window.
    pub sent: u64,
    /// Of these, packets lost.
    pub lost: u64,
}

impl AddAssign<&Beat> for Totals {
    fn add_assign(&mut self, beat: &Beat) {
        self.shards = self.shards.saturating_add(1);
        self.calls_up = self.calls_up.saturating_add(beat.calls_up.into());
        self.attempts = self.attempts.saturating_add(beat.attempts.into());
        self.failed = self.failed.saturating_add(beat.failed);
        self.sent = self.sent.saturating_add(beat.sent);
        self.lost = self.lost.saturating_add(beat.lost);
    }
}

/// Bytes, in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a heartbeat holds, no sum overflows.
        #[test]
        fn no_figures_are_too_large(n in any::<u64>(), ns in any::<u64>(), beats in 1usize..20) {
            let beat = Beat {
                sent: n, lost: n, late: n, control_lost: n, answered: n, failed: n, dropped: n, media_lost: n,
                rtt: vec![(ns, n); 50], control: vec![(ns, n); 50], calls_up: n as u32, ..Beat::default()
            };
            let (mut live, mut totals) = (Live::default(), Totals::default());
            for _ in 0..beats {
                live += &beat.live();
                totals += &beat;
            }
            prop_assert_eq!(totals.shards as usize, beats);
        }
    }
}
