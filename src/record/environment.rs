//! Circumstances of a run: `environment.json`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    Breakage, FaultRecord, LaneRecord, Leaks, Observed, Offered, RegisterRecord, ServiceRecord, ShardRecord,
    ShareRecord, StageRecord, Suppressed,
};
use crate::values::{Unit, Value, counted, show};

/// Version of the run folder's format; files of a newer one are refused.
pub const FORMAT_VERSION: u32 = 2;

/// End of a run by `gates.abort_on_fail`. Seconds are of the hold phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndedEarly {
    /// The gate as written.
    pub gate: String,
    /// Value of its metric then, for people.
    pub actual: String,
    /// Time from which on it was broken at every look.
    pub since_s: f64,
    /// Time at which the run was ended for it.
    pub at_s: f64,
}

impl fmt::Display for EndedEarly {
    /// `broken at 0:42 (12.31 %) and ever since 0:32, run ended early`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |s: f64| format!("{}:{:02}", s as u64 / 60, s as u64 % 60);
        let (at, since) = (clock(self.at_s), clock(self.since_s));
        write!(f, "broken at {at} of the hold ({}), as ever since {since}; run ended early", self.actual)
    }
}

/// The circumstances of a run, as far as they bear on its figures.
/// Keys that an older version did not write are at their defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Environment {
    /// Version of the run folder's format.
    pub format: u32,
    /// The scenario's name.
    pub name: String,
    /// `loadtest` version.
    pub version: String,
    /// Start of the run, UTC, RFC 3339.
    pub started_at: String,
    /// Start of the run since the Unix epoch, where second 0 begins. Absent in format 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_ns: Option<u64>,
    /// Seconds the run took, all phases.
    pub elapsed_s: f64,
    /// True if the user interrupted the run.
    pub interrupted: bool,
    /// The broken gate that ended the run, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<EndedEarly>,
    /// Breakage that ended the run, in words; empty where nothing broke.
    pub broken: String,
    /// The same for programs; absent in runs of older versions too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_by: Option<Breakage>,
    /// Seconds from the start to the measured window; `None` when no call came up.
    pub window_from_s: Option<f64>,
    /// Seconds from the start to the end of the measured window.
    pub window_to_s: Option<f64>,
    /// Calls that the scenario holds at once; of an open load, the most that may be up.
    pub calls: u32,
    /// Calls that were up when the measured window, of stages the first, began.
    pub calls_at_start: u32,
    /// Attempts that the schedule wanted and that could not be placed.
    pub suppressed_attempts: u64,
    /// The same by cause; absent where there is none, and in runs of older versions.
    #[serde(skip_serializing_if = "Suppressed::is_none")]
    pub suppressed: Suppressed,
    /// Traffic that an open load offered; absent for a closed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// The stages that began, where the scenario has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRecord>,
    /// Transport of SIP, `TCP` or `TLS`; absent over UDP, and in runs of older versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transport: String,
    /// Codec on the wire.
    pub codec: String,
    /// Suite of SRTP; absent where the media were plain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub srtp: String,
    /// Packet interval in milliseconds.
    pub ptime_ms: u64,
    /// Playout depth behind which a packet is late, in milliseconds.
    pub late_after_ms: f64,
    /// Time after which a packet is lost, in milliseconds.
    pub lost_after_ms: f64,
    /// Host name.
    pub host: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: u32,
    /// CPUs that the machine has; 0 in runs of older versions.
    pub machine_cpus: u32,
    /// Scheduling of the driver's media threads, in words; empty in runs of older versions.
    pub scheduling: String,
    /// The same of the service that the run has started; empty for another one, and in runs of older versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_scheduling: String,
    /// The same of the Asterisk that the run has started; empty for another one, and in runs of older versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub asterisk_scheduling: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// Asterisk's version, as it says.
    pub asterisk: String,
    /// Service or target that answered the calls, in words.
    pub service: String,
    /// SHA-256 over the scenario's keys that differ from their defaults.
    pub scenario_hash: String,
    /// The command line.
    pub command: Vec<String>,
    /// Nanoseconds by which the wall clock was set during the run.
    pub clock_step_ns: i64,
    /// Packets whose receive stamp lay before their send stamp: the clock was moved.
    pub negative_rtt: u64,
    /// Datagrams that came without the kernel's receive stamp; theirs is the time of reading.
    pub unstamped: u64,
    /// True if the kernel of the driver's machine has no receive stamps at all; absent where it has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_stamps: bool,
    /// Measured packets that were never sent: the machine was stopped for longer than `lost_after`.
    pub skipped: u64,
    /// Packets that the kernel of the driver's machine would not send.
    pub unsent: u64,
    /// Datagrams that the echo of the control stream dropped for lack of room.
    pub control_drops: u64,
    /// True if packets were delayed, lost or repeated on purpose.
    pub impaired: bool,
    /// Longest time that a SIP message lay unread in the driver's socket, in milliseconds.
    pub sip_read_lag_max_ms: f64,
    /// SIP datagrams that the driver's full socket buffer dropped.
    pub sip_drops: u64,
    /// Datagrams on the driver's SIP port that were not SIP.
    pub sip_garbage: u64,
    /// SIP messages that belonged to no call, or to none any more.
    pub sip_strays: u64,
    /// Media datagrams that the built-in service's full socket buffers dropped.
    pub service_drops: u64,
    /// Packets that found no room among those that the impairment held back.
    pub impair_overflows: u64,
    /// Faults made on purpose.
    pub faults: Vec<FaultRecord>,
    /// Leak check after the last call.
    pub leaks: Leaks,
    /// Planned faults that were not carried out, or not to their end.
    pub faults_undone: u64,
    /// Counts of the built-in service; `None` for another.
    pub service_record: Option<ServiceRecord>,
    /// Asterisk or the service, where it runs on this machine and its CPU cannot be told from that of other
    /// programs; empty where all are known.
    pub unseen: String,
    /// State of Asterisk and the service beside the calls, for the diagnosis; empty in runs of older versions.
    pub observed: Observed,
    /// Counts of the registrations; absent where the scenario wants none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterRecord>,
    /// Targets among which the calls were dealt, in their order: call k went to number k mod their count. Absent where
    /// there was one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Figures of each media lane of the driver; absent where it had one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneRecord>,
    /// The share that one of several drivers has made; absent in the run of one, and in that of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareRecord>,
    /// The drivers that have made this run together; absent where it was one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardRecord>,
    /// Remarks on the run: warnings of Asterisk's log, measurements that were not available.
    pub remarks: Vec<String>,
}

/// Two readings of the offset between two clocks differ by some microseconds; a clock that is set moves by
/// more.
const CLOCK_STEP_NS: u64 = 1_000_000;

impl Environment {
    /// Codec and protection, in words.
    pub fn media(&self) -> String {
        match self.srtp.as_str() {
            "" => self.codec.clone(),
            suite => format!("{} over SRTP ({suite})", self.codec),
        }
    }

    /// CPUs of the machine: shares of it are of so many.
    pub fn all_cpus(&self) -> u32 {
        if self.machine_cpus > 0 { self.machine_cpus } else { self.cpus.max(1) }
    }

    /// True if the interval log of the run is one by seconds; that of format 1 has one interval for the
    /// whole measured window.
    pub fn has_seconds(&self) -> bool {
        self.format >= 2
    }

    /// False for registrations alone, which nothing is measured of but themselves.
    pub fn wants_calls(&self) -> bool {
        self.calls > 0 || self.register.is_none()
    }

    /// Notes the event that broke the run.
    pub fn break_by(&mut self, breakage: Breakage) {
        self.broken = breakage.to_string();
        self.broken_by = Some(breakage);
    }

    /// Breakage without the output of the process that ended, where that is shown elsewhere.
    pub fn broken_sentence(&self) -> String {
        self.broken_by.as_ref().map_or_else(|| self.broken.clone(), Breakage::sentence)
    }

    /// The measured window in seconds from the start; `None` when no call came up.
    pub fn window(&self) -> Option<Range<f64>> {
        Some(self.window_from_s?..self.window_to_s?)
    }

    /// Seconds measured: of stages those of their windows together; `None` when no call came up.
    pub fn measured_s(&self) -> Option<f64> {
        if self.stages.is_empty() {
            return self.window().map(|window| window.end - window.start);
        }
        self.stages.iter().filter_map(|stage| Some(stage.to_s? - stage.from_s?)).reduce(|a, b| a + b)
    }

    /// Amount by which the wall clock was set during the run, in words; its stamps are worthless then.
    pub fn clock_set(&self) -> Option<String> {
        let (step_ns, negative) = (self.clock_step_ns, self.negative_rtt);
        (step_ns.unsigned_abs() > CLOCK_STEP_NS || negative > 0).then(|| {
            // A step of less is not told from the noise of reading two clocks.
            let moved = match step_ns.unsigned_abs() > CLOCK_STEP_NS {
                true => format!("was set by {}", show(Value::Number(step_ns as f64 / 1e6), Unit::Ms)),
                false => "was moved".into(),
            };
            match negative {
                0 => format!("the clock {moved}"),
                1 => format!("the clock {moved}: 1 packet came back before it was sent"),
                n => format!("the clock {moved}: {} came back before they were sent", counted(n, "packet")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_moved_by_less_than_is_shown_is_said_without_the_amount() {
        let said = |clock_step_ns, negative_rtt| {
            Environment { clock_step_ns, negative_rtt, ..Environment::default() }.clock_set()
        };
        assert_eq!(said(300, 0), None);
        assert_eq!(said(-2_500_000, 0).unwrap(), "the clock was set by -2.500 ms");
        assert_eq!(said(300, 7).unwrap(), "the clock was moved: 7 packets came back before they were sent");
        let both = said(5_000_000, 1).unwrap();
        assert_eq!(both, "the clock was set by 5.000 ms: 1 packet came back before it was sent");
    }
}
