//! Records of a run: one per call, one per second, the interval log, the environment.
//!
//! These are the run folder's raw files; everything after the run works from them alone.

mod breakage;
mod call;
mod cell;
mod environment;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod histogram;
pub mod hlog;
mod intervals;
mod ladder;
mod lane;
mod leak;
mod live;
pub mod manifest;
pub mod merge;
mod observed;
mod offered;
mod quality;
mod register;
mod second;
mod service;
mod shard;
mod signal;
pub mod stored;
mod talk;
mod turn;

pub use breakage::{Breakage, Death, TestedProcess};
pub use call::{CallRecord, Ending, PLAYOUT_DEPTHS_MS};
pub(crate) use cell::guarded;
pub use environment::{EndedEarly, Environment, FORMAT_VERSION};
pub use fault::{FaultRecord, Silence};
pub use histogram::{DIGITS, HIGHEST_NS, LOWEST_NS, Latencies, Quantile, rank};
pub use intervals::{Intervals, OpenIntervals, Scope};
pub use ladder::{Ladder, LadderMessage, MOST_LADDERS};
pub use lane::LaneRecord;
pub use leak::{LeakPart, Leaks};
pub use live::{Live, Recent, RecentTurns};
pub use observed::{AriState, FirstCall, LogLine, MOST_LINE_CHARS, MOST_LINES, Observed, Setup, SipAnswer};
pub use offered::{Offered, StageRecord, Suppressed, Suppression};
pub use quality::{NoScore, QualityRow};
pub use register::RegisterRecord;
pub use second::{CallSecond, Phase, SecondRecord};
pub use service::{
    Durations, Milliseconds, OutcomeCount, RestOperation, ServiceCalls, ServiceEcho, ServiceEvents,
    ServiceLinks, ServiceMedia, ServicePorts, ServiceRecord, ServiceStages, ServiceTalk,
};
pub use shard::{ShardRecord, ShareRecord, start_spread_ms};
pub use signal::{SignalRejection, SignalRow};
pub use talk::{MOST_EXCERPTS, MOST_NAMED, MOST_WORST, TalkRow, TalkSide, Why};
pub use turn::{TurnKind, TurnRow};

use strum::{EnumString, IntoStaticStr, VariantArray};

/// A latency that is counted; its name is its tag in the interval log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Series {
    /// T4 − T1 (RFC 2681).
    Rtt,
    /// T4 − the time the schedule intended: free of coordinated omission.
    RttIntended,
    /// T3 − T2, the service's own time with a packet.
    ServiceTime,
    /// RTT less the service time (RFC 5357).
    PathRtt,
    /// T2 − T1.
    Up,
    /// T4 − T3.
    Down,
    /// Difference of the round trips of consecutive packets, without its sign (RFC 3393).
    Ipdv,
    /// RTT less its call's smallest (RFC 5481), to 3 digits of the RTT. It is known only when the call has
    /// ended, and lies in the second of the last packet that came back.
    Pdv,
    /// Round trip of the control stream: the same probes to a reflector beside the driver.
    Control,
    /// Time sent − time intended.
    SendLateness,
    /// Duration of the send call.
    SendCall,
    /// Time read − time the kernel received.
    ReceiveLag,
}

impl Series {
    /// All series, in the order of reports.
    pub const ALL: &[Series] = <Series as VariantArray>::VARIANTS;

    /// The tag in the interval log and the first half of metric names.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True where lost packets rank as slower than any: not in the instrument's own times, nor in differences of packets
    /// that came back.
    pub fn has_losses(self) -> bool {
        !matches!(self, Series::SendLateness | Series::SendCall | Series::ReceiveLag | Series::Ipdv)
    }
}

/// Everything that a run recorded.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The circumstances of the run.
    pub environment: Environment,
    /// One record per attempted call, in the order of the attempts.
    pub calls: Vec<CallRecord>,
    /// One record per second of the run.
    pub seconds: Vec<SecondRecord>,
    /// Median RTT by call and second, in the order of calls.
    pub call_seconds: Vec<CallSecond>,
    /// Long silences of calls, in the order of calls.
    pub silences: Vec<Silence>,
    /// Turns of conversations, in the order of calls.
    pub turns: Vec<TurnRow>,
    /// Excerpts of conversations: who spoke when around the worst turns.
    pub talk: Vec<TalkRow>,
    /// Bursts of calls whose path is measured by its audio, in the order of calls.
    pub signals: Vec<SignalRow>,
    /// Passages that callers read aloud, in the order of calls.
    pub quality: Vec<QualityRow>,
    /// Latencies by second and series.
    pub intervals: Intervals,
}
