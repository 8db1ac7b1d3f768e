//! The driver: places the calls of a scenario, sends and receives their media, keeps the books.
//!
//! `load` decides what happens when; this is its I/O.

mod book;
mod bursts;
mod control;
mod lane;
mod lane_book;
mod lanes;
mod lookups;
mod media;
mod monitor;
mod pacer;
mod ping;
mod placing;
mod reach;
mod received;
mod received_calls;
mod receiver;
mod registering;
mod repertoire;
mod talking;
mod tape;
mod together;
mod trace;
mod turns;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use control::run;
pub use monitor::Watched;
pub use ping::{PingConfig, ping};
pub use placing::owns_call_id;
pub use together::Together;
pub(crate) use wire::Wire;
pub use wire::WireConfig;

pub use crate::capture::Captured;
pub use crate::load::{Named, Names, Stop};

use crate::accounts::Accounts;
use crate::conversation::{Script, Spoken};
use crate::impair::ImpairCounts;
use crate::measure::Listened;
use crate::quality::Passages;
use crate::record::{Environment, Live, Phase, Recent, Run};
use crate::scenario::Scenario;
use crate::scheduling::Scheduling;
use crate::shard::Shard;
use crate::sip::digest::Credentials;
use crate::stamp::Stamp;

/// Settings and connections of a run.
pub struct DriverConfig<'a> {
    /// The environment as far as it is known beforehand.
    pub environment: Environment,
    /// The load, the media and the measuring.
    pub scenario: &'a Scenario,
    /// Targets of the SIP messages, among which the calls are dealt; at least one.
    pub targets: Vec<SocketAddr>,
    /// Their transport.
    pub wire: WireConfig,
    /// Answers to a target's challenges, for callers without a password of their own.
    pub credentials: Option<Credentials>,
    /// Callers of the run; `None` is one, of the credentials.
    pub accounts: Option<Arc<Accounts>>,
    /// Script of the callers, where they talk.
    pub script: Option<Arc<Script>>,
    /// What callers read aloud, where they do.
    pub passages: Option<Arc<Passages>>,
    /// Random: names the run inside every probe, and seeds tags, branches and SSRCs.
    pub run_id: u32,
    /// Processes whose CPU and memory are watched; a fault may replace them.
    pub watched: watch::Receiver<Watched>,
    /// Start of the hold phase, once it is known.
    pub hold_from: watch::Sender<Option<Stamp>>,
    /// Priority and CPUs of the media threads, as found to be permitted.
    pub scheduling: Scheduling,
    /// Wish to end early.
    pub stop: watch::Receiver<Stop>,
    /// Its part in a run of several drivers.
    pub together: Option<Together>,
}

impl DriverConfig<'_> {
    /// Number and address of the target that call number `call` of the run goes to.
    pub(crate) fn target_of(&self, call: u32) -> (usize, SocketAddr) {
        // Invariant: there is one for each that the scenario deals calls to.
        let number = self.scenario.target_of(call) as usize % self.targets.len();
        (number, self.targets[number])
    }

    /// The driver's number among those of the run.
    pub(crate) fn shard(&self) -> Shard {
        self.together.as_ref().map_or(Shard::ONLY, |part| part.shard)
    }
}

/// Live figures of a run.
#[derive(Debug, Clone)]
pub struct Progress<'a> {
    /// The phase.
    pub phase: Phase,
    /// Number of the stage, from 1.
    pub stage: usize,
    /// Stages of which all lines of this driver are decided.
    pub settled: u32,
    /// Since the run began.
    pub elapsed: Duration,
    /// Since the phase began.
    pub in_phase: Duration,
    /// Share of the phase that is over, 0–1.
    pub done: f64,
    /// Calls up.
    pub calls_up: u32,
    /// INVITEs so far.
    pub attempts: u32,
    /// Attempts that failed so far.
    pub failed: u32,
    /// Calls that are to be up in the hold phase.
    pub calls: u32,
    /// Figures over the last settled seconds.
    pub recent: Recent,
    /// Figures of the measured window so far, for gates.
    pub live: &'a Live,
}

/// A run as the driver has recorded it.
#[derive(Debug)]
pub struct Recorded {
    /// Its records, and its environment with the driver's times and counts.
    pub run: Run,
    /// Its start.
    pub epoch: Stamp,
    /// Time at which the first call was about to be placed.
    pub started_at: Stamp,
    /// Reason of the last attempt that could not be placed.
    pub suppressed_because: String,
    /// Counts of the impairment: on the way out, on the way back.
    pub impaired: [ImpairCounts; 2],
    /// Captures of calls, and what has found no room in them. Its ladders are in the environment.
    pub captured: Captured,
    /// Sums over the calls that talked.
    pub talk: TalkTotals,
    /// Audio of excerpts, by their paths in the run's folder.
    pub audio: Vec<(String, Vec<u8>)>,
    /// A SIP message of a call has come back, or the far end has answered what cannot be read.
    pub heard: bool,
    /// Header lines of SIP messages that were passed over.
    pub sip_passed_over: u64,
    /// SIP messages that the kernel refused to send, or that found no connection.
    pub sip_unsent: u64,
    /// Connections for SIP that were opened in the place of one that had ended.
    pub sip_reopened: u64,
    /// The first connection for SIP that could not be opened or has ended, and why.
    pub sip_broken: Option<String>,
    /// The first Contact of a far end's that names another transport than the run's.
    pub sip_other_transport: Option<String>,
}

/// Sums over the calls that talked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TalkTotals {
    /// Packets of the service's that never came.
    pub lost: u64,
    /// Interruptions and backchannels for which the service left no chance.
    pub missed: u64,
    /// Utterances beyond those that are recorded of a call.
    pub unrecorded: u64,
}

impl TalkTotals {
    fn add(&mut self, spoken: &Spoken, listened: &Listened) {
        self.lost += listened.counts.lost;
        self.missed += u64::from(spoken.missed);
        self.unrecorded += u64::from(spoken.unrecorded);
    }
}

/// Reasons for which the driver cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// SIP's wire, the media threads or a stream.
    #[error("cannot {0}")]
    Start(String, #[source] io::Error),
    /// A media thread has ended in mid-run: a fault of this program.
    #[error("the {0} thread has ended; this is a fault of loadtest itself, please report it")]
    Died(&'static str),
    /// A run of several drivers did not begin.
    #[error("the run was called off before its first call")]
    CalledOff,
}
