//! The scenario: what a run does, read from TOML, checked as a whole before anything happens.
//!
//! Pure: text in, a valid [`Scenario`] or errors with line, reason and cure out.

mod check;
mod defaults;
mod error;
pub mod fault;
mod hash;
mod impair;
mod parse;
pub mod schedule;

mod wording;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::values::{HostPort, PortRange, Rate, Span};
pub use check::Needs;
pub use error::{Problem, ScenarioError};
pub use fault::Fault;
pub use impair::{Impair, ImpairPath};
pub use parse::{Override, Resolved};

use crate::gate::Limits;
use crate::rtp::Codec;

/// A whole scenario. Every key has a default but `name` and `[load]`'s are usually given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Names the run and its folder.
    pub name: String,
    /// The Asterisk under load.
    pub asterisk: Asterisk,
    /// What answers the calls behind it.
    pub service: Service,
    /// Who calls whom.
    pub sip: Sip,
    /// How many calls, how fast, how long.
    pub load: Load,
    /// What the calls carry.
    pub media: Media,
    /// How the driver's media threads are run.
    pub driver: Driver,
    /// What is done to the packets on their way, on purpose.
    pub impair: Impair,
    /// When a packet counts, and as what.
    pub measure: Measure,
    /// Figures of the instrument beyond which it is in doubt.
    pub limits: Limits,
    /// What the run must hold to pass.
    pub gates: Gates,
    /// What is broken on purpose in mid-run, in the order in which it happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<Fault>,
}

/// `[asterisk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asterisk {
    /// Whether the run starts an Asterisk of its own.
    pub mode: AsteriskMode,
    /// Asterisk's RTP ports, two even ones per call (its `rtp.conf`).
    pub rtp_ports: PortRange,
    /// External: where it takes SIP over UDP, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip: Option<HostPort>,
    /// External: its ARI, `http://host:port`. User and password come from ARI_USER and ARI_PASS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ari: Option<String>,
    /// Managed: the port of its ARI on the loopback, for a service that is not started by the run and
    /// has to know it. Absent: any free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ari_port: Option<u16>,
}

/// Who runs Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AsteriskMode {
    /// The run starts one with this project's configuration and stops it at the end.
    Managed,
    /// It is there already.
    External,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// What answers the calls.
    pub mode: ServiceMode,
    /// Command: the program and its arguments, without a shell, started in the caller's folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How long the application may take until Asterisk lists it.
    pub ready_within: Span,
    /// Port pool of a service that the run starts, one per call.
    pub ports: PortRange,
    /// Where the built-in service answers /health and /metrics; port 0 takes any free one.
    pub http: SocketAddr,
    /// Name of the ARI application.
    pub app: String,
    /// The echo server that the built-in service sends the calls' media through, `host:port`. Absent:
    /// it sends them back by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<HostPort>,
    /// How long the built-in service holds every packet before it goes back: slow on purpose, to try
    /// gates and comparisons on. Absent: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

/// What answers the calls behind Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceMode {
    /// This program's own ARI service, started as a child process.
    Builtin,
    /// Any other ARI application, started as a child process.
    Command,
    /// An ARI application that somebody else runs.
    External,
    /// Nothing: what takes the SIP call echoes by itself.
    None,
}

impl ServiceMode {
    /// Whether an ARI application answers the calls.
    pub fn is_application(self) -> bool {
        self != ServiceMode::None
    }

    /// Whether the run starts it, and gives it its ports.
    pub fn is_started(self) -> bool {
        matches!(self, ServiceMode::Builtin | ServiceMode::Command)
    }
}

/// `[sip]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    /// User part of the request URI: the extension to dial.
    pub to: String,
    /// User part of From. Credentials, if asked for, come from SIP_USER and SIP_PASS.
    pub from: String,
    /// Local address for SIP and RTP: the one that the target reaches this host under.
    pub local: IpAddr,
    /// How long an attempt may take to be answered.
    pub setup_timeout: Span,
}

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Calls held concurrently.
    pub calls: u32,
    /// Length of the hold phase, which is the measured window.
    pub duration: Span,
    /// Rate of new calls while ramping, and the most at any time.
    pub ramp: Rate,
    /// Length of one call; a call that ends before the run does is replaced. Absent: calls last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_duration: Option<Span>,
    /// Who hangs up a call that has lasted `call_duration`.
    pub hangup: Hangup,
    /// How long a line rests after a failed attempt or a lost call before it places the next.
    pub retry_after: Span,
    /// A call that was heard, and then not for this long, is given up and replaced; 0s is never.
    pub dead_after: Span,
}

/// Who hangs up at the planned end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hangup {
    /// The driver.
    Caller,
    /// The built-in service.
    Callee,
    /// The built-in service every other call, the driver the rest.
    Both,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// `PCMU` or `PCMA`.
    pub codec: Codec,
    /// Packet interval: 10 to 60 ms in steps of 10.
    pub ptime: Span,
    /// How streams lie over the packet interval.
    pub phase: Phasing,
    /// The driver's RTP ports, one even port per call.
    pub ports: PortRange,
}

/// `[driver]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    /// Whether the media threads ask for a real-time priority; without permission the run goes on
    /// without, and says so.
    pub realtime: bool,
    /// CPUs that the media threads keep to, by number; none is any.
    pub cpus: Vec<usize>,
}

/// How streams lie over the packet interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phasing {
    /// Spread evenly, as callers who know nothing of each other are.
    Staggered,
    /// All at once: the worst case.
    Aligned,
}

/// `[measure]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// Time after a call's answer, and after all calls are up, that does not count.
    pub warmup: Span,
    /// A packet this much slower than its call's fastest is late.
    pub late_after: Span,
    /// A packet not back after this time is lost.
    pub lost_after: Span,
    /// Whether a service that stamps has this machine's clock: only then is there an up and a down.
    /// Absent: yes for the built-in one and for a target on the loopback interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_clock: Option<bool>,
    /// Streams past Asterisk that show what the machine itself does; 0 is none. Absent: one for ten
    /// calls, ten at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_streams: Option<u32>,
}

/// `[gates]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Expressions `METRIC OP VALUE`, all of which must hold.
    pub require: Vec<String>,
    /// Whether a gate that is broken, and stays so, ends the run before its time.
    pub abort_on_fail: bool,
    /// How long it must have been broken without a break for that.
    pub abort_after: Span,
}
