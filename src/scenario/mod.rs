//! The scenario of a run, read from TOML and checked as a whole before anything happens.
//!
//! Pure: text in, a valid [`Scenario`] or errors with line, reason and cure out.

mod check;
mod defaults;
mod error;
pub mod fault;
mod hash;
mod impair;
mod needs;
mod parse;
pub mod schedule;
mod wording;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::values::{HostPort, PortRange, Rate, Span};
pub use error::{Problem, ScenarioError};
pub use fault::Fault;
pub use impair::Impair;
pub use needs::{Needs, Pool};
pub use parse::{Override, Resolved};

use crate::gate::Limits;
use crate::rtp::Codec;

/// A whole scenario. Every key has a default but `name` and `[load]`'s are usually given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Names the run and its folder.
    #[serde(default = "defaults::name")]
    pub name: String,
    /// The Asterisk under load.
    pub asterisk: Asterisk,
    /// The service behind it.
    pub service: Service,
    /// Caller, callee and local address.
    pub sip: Sip,
    /// Number, rate and length of the calls.
    pub load: Load,
    /// Codec, packet time and ports.
    pub media: Media,
    /// Scheduling of the driver's media threads: by default that of an ordinary program, for a real-time thread
    /// takes its CPU from Asterisk, too.
    pub driver: Driver,
    /// Delay, loss and disorder of packets, on purpose.
    pub impair: Impair,
    /// Measured window, and bounds of late and lost.
    pub measure: Measure,
    /// Figures of the instrument beyond which it is in doubt.
    pub limits: Limits,
    /// Conditions of a pass.
    pub gates: Gates,
    /// Faults in mid-run, on purpose, in the order of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<Fault>,
}

/// `[asterisk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asterisk {
    /// Owner of the Asterisk.
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

/// Owner of the Asterisk.
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
    /// Kind of the service.
    pub mode: ServiceMode,
    /// Command: the program and its arguments, without a shell, started in the caller's folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Longest wait until Asterisk lists the application.
    pub ready_within: Span,
    /// Port pool of a service that the run starts, one per call.
    pub ports: PortRange,
    /// Address of the built-in service's /health and /metrics; port 0 takes any free one.
    pub http: SocketAddr,
    /// Name of the ARI application.
    pub app: String,
    /// The echo server that the built-in service sends the calls' media through, `host:port`. Absent:
    /// it sends them back by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<HostPort>,
    /// Delay of every packet in the built-in service: slow on purpose, to try gates and comparisons on.
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

/// Kind of the service behind Asterisk.
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
    /// True if an ARI application answers the calls.
    pub fn is_application(self) -> bool {
        self != ServiceMode::None
    }

    /// True if the run starts it, and gives it its ports.
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
    /// User part of From; empty is SIP_USER, and without that `loadtest`. Credentials, if asked for, come from
    /// SIP_USER and SIP_PASS.
    pub from: String,
    /// Local address for SIP and RTP: the one that the target reaches this host under.
    pub local: IpAddr,
    /// Longest wait of an attempt for its answer.
    pub setup_timeout: Span,
}

impl Sip {
    /// The user that calls come from; `account` is the name in the credentials, if there are any. Asterisk and
    /// others find by From's user who is calling, and whose password to ask for.
    pub fn caller<'a>(&'a self, account: Option<&'a str>) -> &'a str {
        match self.from.as_str() {
            "" => account.unwrap_or("loadtest"),
            from => from,
        }
    }
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
    /// Side that hangs up a call after `call_duration`.
    pub hangup: Hangup,
    /// Pause of a line after a failed attempt or a lost call.
    pub retry_after: Span,
    /// A call that was heard, and then not for this long, is given up and replaced; 0s is never.
    pub dead_after: Span,
}

/// Side that hangs up at the planned end of a call.
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
    /// Spread of the streams over the packet interval.
    pub phase: Phasing,
    /// The driver's RTP ports, one even port per call.
    pub ports: PortRange,
}

/// `[driver]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    /// Real-time priority for the media threads; without permission the run goes on without, and says so.
    pub realtime: bool,
    /// CPUs that the media threads keep to, by number; none is any.
    pub cpus: Vec<usize>,
}

/// Spread of the streams over the packet interval.
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
    /// A service that stamps has this machine's clock: only then is there an up and a down.
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
    /// A gate that is broken, and stays so, ends the run before its time.
    pub abort_on_fail: bool,
    /// Time for which it must have been broken without a pause.
    pub abort_after: Span,
}
