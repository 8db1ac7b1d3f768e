//! The scenario of a run, read from TOML and checked as a whole before anything happens.
//!
//! Pure: text in, a valid [`Scenario`] or errors with line, reason and cure out.
//!
//! The types here are the source of every list of keys: their comments, types and defaults, together with the
//! rows of `ranges`, become `scenarios/scenario.schema.json`, and that becomes `docs/scenario.md` and
//! `loadtest run --list-keys`. So a field's comment is a user's sentence.

mod call_duration;
mod capture;
mod check;
mod defaults;
mod error;
pub mod fault;
mod hash;
mod identity;
mod impair;
pub mod keys;
mod load;
mod local;
mod needs;
mod parse;
mod ranges;
pub mod schedule;
#[cfg(test)]
mod schema;
mod search;
mod signal;
mod speech;
mod stage;
mod targets;
mod tls;
mod tried;
mod turn;
mod wording;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::talk::TalkSettings;
use crate::values::{
    BridgeKind, HostPort, HttpUrl, JitterBuffer, Lanes, MediaWay, OneOrMore, PortRange, Rate, Realtime, Span,
};
pub use call_duration::{CallDuration, LONGEST_IN_MEANS};
pub use capture::Capture;
pub use error::{MOST_SHOWN, Problem, ScenarioError};
pub use fault::Fault;
pub use impair::Impair;
pub use load::{Arrivals, Hangup, Load, Target, erlang_b, lines_for};
pub use needs::{Needs, Pool};
pub use parse::{Override, Resolved};
pub use search::too_few;
pub use signal::Signal;
pub use speech::Speech;
pub use stage::{MOST_STAGES, Planned, Stage};
pub use tls::{SipTls, idle as idle_tls};
pub use turn::{Conversation, MOST_TURNS, MediaMode, TurnSettings, TurnWait};

use crate::gate::Limits;
use crate::rtp::srtp::Suite;
use crate::rtp::{Codec, MediaSource};
use crate::search::Settings;
pub use crate::sip::Transport;

/// A scenario of `loadtest run`: which calls to place, against what, and what the run must hold to pass.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Name of the run and of its folder.
    #[serde(default = "defaults::name")]
    pub name: String,
    /// The Asterisk under load.
    pub asterisk: Asterisk,
    /// The service that answers the calls behind Asterisk.
    pub service: Service,
    /// Caller, callee and local address of the SIP calls.
    pub sip: Sip,
    /// Number, rate and length of the calls.
    pub load: Load,
    /// Loads in turn, each with a measured window of its own; absent, there is one, of `[load]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<Stage>,
    /// Codec, packet time and ports.
    pub media: Media,
    /// Callers that talk, where `media.mode` is `"conversation"`.
    pub conversation: Conversation,
    /// Script of the callers, in turn, and anew after the last; absent, each says `question` and hears the answer out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turn: Vec<TurnSettings>,
    /// Bursts, where `media.mode` is `"signal"`.
    pub signal: Signal,
    /// Callers that read aloud, where `media.mode` is `"speech"`.
    #[serde(skip_serializing_if = "Speech::is_default")]
    pub speech: Speech,
    /// Scheduling of the driver's media threads. It helps where other programs compete for the CPU, Asterisk on
    /// the same machine among them; the report says what is in force.
    pub driver: Driver,
    /// A network made worse on purpose, inside the driver and for the calls' media alone.
    pub impair: Impair,
    /// The measured window, and bounds of late and lost.
    pub measure: Measure,
    /// Captures of calls that went wrong, one file a call (`pcap/call-00017.pcapng`), with their SIP and their last
    /// packets. Wireshark opens them.
    pub capture: Capture,
    /// Limits of the instrument's own figures, beyond which the run's figures are in doubt.
    pub limits: Limits,
    /// Conditions of a pass.
    pub gates: Gates,
    /// Search for the highest load that passes (`loadtest search`).
    pub search: Settings,
    /// A fault in mid-run, on purpose; faults stand in the order of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<Fault>,
}

/// `[asterisk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Asterisk {
    /// Owner of the Asterisk.
    pub mode: AsteriskMode,
    /// Asterisk's RTP ports (its `rtp.conf`): two even ports a call, so four of the range.
    pub rtp_ports: PortRange,
    /// Address where an external Asterisk takes SIP, or a list of up to 64, among which the calls are dealt in turn: call k
    /// goes to number k mod their count, from 0. With several the service is none that the run starts, and the report has
    /// figures of each.
    #[serde(skip_serializing_if = "OneOrMore::is_empty")]
    pub sip: OneOrMore<HostPort>,
    /// Transport of SIP, of a managed Asterisk as well as of an external one. `"tcp"` and `"tls"` take one connection to
    /// each target for all of its calls, which is opened before the first one, and again when it ends.
    pub transport: Transport,
    /// ARI of an external Asterisk; user and password come from ARI_USER and ARI_PASS. With several addresses in `sip` a
    /// list of as many, in the same order; all have the same account.
    #[serde(skip_serializing_if = "OneOrMore::is_empty")]
    pub ari: OneOrMore<HttpUrl>,
    /// Port of a managed Asterisk's ARI on the loopback, for a service that the run has not started and that
    /// has to know it. Absent: any free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [8088])))]
    pub ari_port: Option<u16>,
    /// CPUs that the run's own Asterisk keeps to, by number; an empty list is any.
    #[cfg_attr(test, schemars(extend("examples" = [[0]])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<usize>,
    /// Technology of the bridges of a managed Asterisk: `"softmix"` is the mixer of conferences, through which no probe
    /// comes.
    pub bridge: BridgeKind,
    /// Jitter buffer of a managed Asterisk for what a caller of an application sends. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_buffer: Option<JitterBuffer>,
}

/// Owner of the Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AsteriskMode {
    /// The run starts one with this project's configuration and stops it at the end.
    Managed,
    /// It is there already.
    External,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Kind of the service.
    pub mode: ServiceMode,
    /// Program and arguments that start the service of mode `command`, one word an element, without a shell, in
    /// the folder that `loadtest` is started in.
    #[cfg_attr(test, schemars(extend("examples" = [["node", "app.js"]])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Longest wait until Asterisk lists the application.
    pub ready_within: Span,
    /// UDP ports of a service that the run starts, one a call. PORT_RANGE in the environment says the same.
    pub ports: PortRange,
    /// Way of the media between Asterisk and the service: the modules that the managed Asterisk loads, and the way
    /// that the built-in service takes; another service finds it as MEDIA_WAY in its environment. `"audiosocket"` and
    /// `"websocket"` carry G.711; `docs/media-ways.md` has what each costs.
    pub media: MediaWay,
    /// Codec of the built-in service's media channel, which Asterisk transcodes to and from the callers': with
    /// `media.mode = "signal"` or `"speech"` alone. Absent: `media.codec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// The built-in service as a bot that talks instead of echoing. Absent: it echoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talk: Option<TalkSettings>,
    /// Address of the built-in service's /health and /metrics; port 0 takes any free one.
    #[cfg_attr(test, schemars(extend("title" = "an address with its port",
        "pattern" = r"^([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}$")))]
    pub http: SocketAddr,
    /// Name of the ARI application.
    pub app: String,
    /// Echo server that the built-in service sends the calls' media through. Absent: it sends them back by
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<HostPort>,
    /// Delay of every packet in the built-in service: slow on purpose, to try gates and comparisons on.
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Delay of every packet in the built-in service for each call that is up, beside `delay`: a service whose capacity
    /// is known, to try searches on. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_per_call: Option<Span>,
    /// Lanes of the built-in service that send the calls' media back, each a thread. `"auto"`: one less than CPUs, at
    /// least one.
    #[cfg_attr(test, schemars(extend("examples" = [2])))]
    pub lanes: Lanes,
    /// Priority of the threads of the built-in service that send the calls' media back: as `driver.realtime`.
    pub realtime: Realtime,
    /// CPUs that a service which the run starts keeps to, by number; an empty list is any.
    #[cfg_attr(test, schemars(extend("examples" = [[1]])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<usize>,
}

/// Kind of the service behind Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    /// Extension to dial: the user part of the request URI. Words in braces are filled in for each call: `{user}` is its
    /// caller, `{call}` its number, `{line}` that of its line, both from 0, and `{field0}` or the name of a column is what
    /// stands in `sip.accounts`.
    pub to: String,
    /// User part of From, by which Asterisk finds whose call it is; empty is SIP_USER, or the user of the account, and
    /// without either `loadtest`. Words are filled in as in `sip.to`. Credentials, if Asterisk asks for them, come from
    /// SIP_USER and SIP_PASS, or from `sip.accounts`.
    #[cfg_attr(test, schemars(extend("examples" = ["7001"])))]
    pub from: String,
    /// Local address for SIP and RTP: the one that the target reaches this machine under. `"auto"` is the one that this
    /// machine reaches an external Asterisk from.
    #[serde(serialize_with = "local::serialize", deserialize_with = "local::deserialize")]
    #[cfg_attr(test, schemars(extend("title" = "an IP address", "pattern" = r"^(auto|[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)$")))]
    pub local: IpAddr,
    /// Longest wait of an attempt for its answer.
    pub setup_timeout: Span,
    /// TLS of SIP.
    pub tls: SipTls,
    /// Session timer (RFC 4028) that calls ask for: the time within which a side has to refresh the session. Absent: none
    /// is asked for. One that the far end asks for is kept to either way, and a far end that does not keep to it is hung
    /// up (ending `session_expired`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expires: Option<Span>,
    /// Domain of the request URI, To and From. Absent: the host of `asterisk.sip` as it is written there; in From the
    /// local address where that is no name.
    #[cfg_attr(test, schemars(extend("examples" = ["pbx.example"])))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Name in From that a phone shows. Words are filled in as in `sip.to`.
    #[cfg_attr(test, schemars(extend("examples" = ["Load {call}"])))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Outbound proxy that all calls go through, as preloaded Route; `asterisk.sip` is then only a name in the request
    /// URI and is not looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<HostPort>,
    /// True if all requests of a call go where its INVITE went, wherever the far end's Contact and Record-Route point:
    /// for a far end behind NAT that says its inner address.
    pub ignore_contact: bool,
    /// True if a 300, 301 or 302 is followed to its Contact, once in a call.
    pub follow_redirects: bool,
    /// File of callers: CSV whose first row names its columns (`user`, `password`, `auth_user`, `from`, `to`, `domain`,
    /// `display`, and any others for templates), or one of SIPp's `-inf`. Call k is that of account k mod n. Absent: one
    /// caller, of SIP_USER and SIP_PASS.
    #[cfg_attr(test, schemars(extend("examples" = ["users.csv"])))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<String>,
    /// True if every account registers before the first call, keeps its registration fresh, and takes it back at the end.
    pub register: bool,
    /// Rate of registrations, and of their end.
    pub register_rate: Rate,
    /// Time for which a registration is asked for; the registrar may grant another.
    pub register_expires: Span,
    /// Headers of one's own in INVITE and REGISTER, by name; words in their values are filled in as in `sip.to`.
    #[cfg_attr(test, schemars(extend("title" = "texts by name", "examples" = [{ "X-Tenant": "acme", "X-Call": "{call}" }])))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Scenario {
    /// Hosts that SIP is sent to, with their key: the outbound proxy, or external Asterisks in the order of the key. None
    /// of a managed one.
    pub fn next_hops(&self) -> (Vec<&HostPort>, &'static str) {
        match &self.sip.proxy {
            Some(proxy) => (vec![proxy], "sip.proxy"),
            None => (self.asterisk.sip.iter().collect(), "asterisk.sip"),
        }
    }

    /// Number of Asterisks among which calls are dealt; 1 of a managed one, and behind a proxy.
    pub fn targets(&self) -> u32 {
        // Invariant: at most 64 are read.
        (self.asterisk.sip.len() as u32).max(1)
    }

    /// Number of the target that call number `call` of the run goes to.
    pub fn target_of(&self, call: u32) -> u32 {
        call % self.targets()
    }
}

impl Sip {
    /// Address of a managed Asterisk: the loopback's, of the kind that calls are placed from.
    pub fn loopback(&self) -> IpAddr {
        if self.local.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// The user that calls come from; `account` is the name in the credentials, if there are any. Asterisk and
    /// others find by From's user who is calling, and whose password to ask for.
    pub fn caller<'a>(&'a self, account: Option<&'a str>) -> &'a str {
        match self.from.as_str() {
            "" => account.unwrap_or("loadtest"),
            from => from,
        }
    }
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Contents of the calls' media. `"echo"`: probes that the far end sends back; `"conversation"`: speech, by the script
    /// of `[[turn]]`; `"signal"`: bursts, by which the delay of changed audio is measured; `"speech"`: speech that the far
    /// end sends back, by which its quality is scored.
    pub mode: MediaMode,
    /// Codec of the calls. Opus and L16 need a far end that echoes by itself, as `sip.to = "echo"` with
    /// `service.mode = "none"` does: Asterisk drops what an application's media channel returns in them. Opus may also be
    /// transcoded, to `service.codec`, where the audio is measured.
    pub codec: Codec,
    /// Packet interval, in steps of 10 ms; with Opus 20ms, with L16 40ms at the most, and 20ms through
    /// Asterisk, which makes packets of its own otherwise.
    pub ptime: Span,
    /// Spread of the streams over the packet interval.
    pub phase: Phasing,
    /// The driver's RTP ports, one even port a call.
    pub ports: PortRange,
    /// Sources whose packets count. `"any"`: the address that the far end's SDP names, or another one (a NAT, a proxy) from
    /// which the call's own packets come back, which the report names; `"sdp"`: the SDP's alone, and packets from
    /// elsewhere are refused and counted.
    pub source: MediaSource,
    /// True if the media must be protected by SRTP, with new keys for each call in SDP (SDES). A far end that has no keys is
    /// a bad answer: nothing is ever sent plain.
    pub srtp: bool,
    /// Suite of SRTP that is offered.
    pub srtp_suite: Suite,
}

/// `[driver]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    /// Lanes that send and receive the calls' media, each a pacer and a receiver with threads of their own. `"auto"`: one
    /// less than CPUs, at least one, and no more than one for each 250 calls.
    #[cfg_attr(test, schemars(extend("examples" = [2])))]
    pub lanes: Lanes,
    /// Priority of the media threads. `"auto"`: a raised one (nice -15) where the kernel permits it; `true`: real time
    /// (SCHED_FIFO), and a warning where it is refused; `false`: as everybody's.
    pub realtime: Realtime,
    /// CPUs that the media threads keep to, by number; an empty list is any.
    #[cfg_attr(test, schemars(extend("examples" = [[1]])))]
    pub cpus: Vec<usize>,
}

/// Spread of the streams over the packet interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phasing {
    /// Spread evenly, as callers who know nothing of each other are.
    Staggered,
    /// All at once: the worst case.
    Aligned,
}

/// `[measure]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// Time after all calls are up, and after any later call's answer, that is not measured.
    pub warmup: Span,
    /// A packet slower than its call's fastest by more than this is late.
    pub late_after: Span,
    /// A packet not back within this time is lost. The most is 512 times `media.ptime`; the range is for 20ms.
    pub lost_after: Span,
    /// True if the service's stamps are of this machine's clock: only then are there `up` and `down`. Absent: yes
    /// for the built-in service and for a target on the loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [true])))]
    pub shared_clock: Option<bool>,
    /// Streams past Asterisk that show what the machine itself adds; `0` is none. Absent: one for ten calls, ten
    /// at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [3])))]
    pub control_streams: Option<u32>,
}

/// `[gates]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Expressions `METRIC OP VALUE`, or `every call: METRIC OP VALUE`, all of which must hold.
    #[cfg_attr(test, schemars(extend("examples" = [["rtt.p99 < 20ms", "every call: loss.ratio < 1%"]])))]
    pub require: Vec<String>,
    /// True if a gate that is broken, and stays so, ends the run before its time.
    pub abort_on_fail: bool,
    /// Time for which a gate must be broken without a pause before it ends the run.
    pub abort_after: Span,
}
