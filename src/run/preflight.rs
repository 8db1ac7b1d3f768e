//! All that can be known before the first call: what a scenario needs, what is there, what is in the way.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;

use super::application::Ari;
use super::scheduling::{self, Granted};
use super::testbed::sip_credentials;
use crate::asterisk::descriptors;
use crate::child::is_executable;
use crate::cli::Failure;
use crate::gate::{Gate, Subject};
use crate::metrics::Group;
use crate::scenario::{AsteriskMode, Needs, Override, Problem, Resolved, Scenario, ServiceMode};
use crate::scheduling::Scheduling;
use crate::sip::digest::Credentials;
use crate::values::PortRange;

/// Largest scenario file that is read.
const MOST_BYTES: u64 = 1 << 20;

/// A valid scenario and what belongs to it.
pub struct Plan {
    /// The scenario.
    pub resolved: Resolved,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// Of SIP_USER and SIP_PASS.
    pub credentials: Option<Credentials>,
    /// How the media threads will be run.
    pub granted: Granted,
}

impl Plan {
    /// Reads a scenario with `--set` overrides.
    ///
    /// # Errors
    /// What is wrong with the scenario, its gates or the accounts in the environment; nothing that the
    /// machine is at fault for.
    pub fn read(path: &Path, set: &[String]) -> Result<Plan, Failure> {
        let resolved = read_scenario(path, set)?;
        let gates = parse_gates(&resolved)?;
        let credentials = sip_credentials()?;
        if needs_account(&resolved.scenario) {
            Ari::from_environment(String::new())?;
        }
        let granted = schedule(&resolved)?;
        Ok(Plan { resolved, gates, credentials, granted })
    }
}

/// Whether the account of ARI_USER and ARI_PASS is used: only what the run starts for itself gets a
/// random one.
fn needs_account(s: &Scenario) -> bool {
    let external = s.asterisk.mode == AsteriskMode::External;
    s.service.mode == ServiceMode::External || external && s.service.mode.is_application()
}

/// Reads a scenario with `--set` overrides.
pub fn read_scenario(path: &Path, set: &[String]) -> Result<Resolved, Failure> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the scenario {}: {e}; see scenarios/ for examples",
            path.display()
        ))
    };
    let mut text = String::new();
    // A path may be anything, a device without end too.
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
    if read as u64 > MOST_BYTES {
        return Err(unreadable(&"it is longer than 1 MiB"));
    }
    // Command line before environment before file: later overrides win.
    let mut overrides = Vec::new();
    if let Some(range) = std::env::var("PORT_RANGE").ok().filter(|v| !v.is_empty()) {
        overrides.push(Override::variable("PORT_RANGE", "service.ports", &range));
    }
    overrides.extend(set.iter().map(|setting| Override::set(setting)));
    Ok(Resolved::read(&text, &path.display().to_string(), &overrides)?)
}

/// The scenario's gates.
pub fn parse_gates(resolved: &Resolved) -> Result<Vec<Gate>, Failure> {
    let mut problems = Vec::new();
    let mut gates = Vec::new();
    for (n, text) in resolved.scenario.gates.require.iter().enumerate() {
        match Gate::parse(text) {
            Ok(gate) => gates.push(gate),
            Err(e) => problems.push(Problem::new(&format!("gates.require.{n}"), e.reason, e.cure)),
        }
    }
    if problems.is_empty() { Ok(gates) } else { Err(resolved.error(&problems).into()) }
}

/// What `[driver]` asks for, as far as the kernel permits.
fn schedule(resolved: &Resolved) -> Result<Granted, Failure> {
    let driver = &resolved.scenario.driver;
    let asked = Scheduling { realtime: driver.realtime, cpus: driver.cpus.clone() };
    scheduling::grant(asked, |refused| {
        let cure = "name CPUs that this process may use, or leave the key out";
        resolved.error(&[Problem::new("driver.cpus", refused.to_string(), cure)]).into()
    })
}

/// The scenario in a line.
pub fn headline(s: &Scenario) -> String {
    let churn = s.load.call_duration.map_or(String::new(), |d| format!(" of {d} each"));
    format!(
        "{}: {} calls{churn} held for {}, {} every {}, ramp {}",
        s.name, s.load.calls, s.load.duration, s.media.codec, s.media.ptime, s.load.ramp
    )
}

/// So much of something is needed, and so much is there.
#[derive(Debug)]
pub struct Stock {
    /// Of what.
    pub what: &'static str,
    /// How many are needed.
    pub needed: u64,
    /// How many there are for the taking.
    pub free: u64,
    /// Which ones.
    pub of: String,
}

/// What the machine has for a scenario.
#[derive(Debug)]
pub struct Survey {
    /// What is needed in numbers.
    pub stocks: Vec<Stock>,
    /// What may go wrong.
    pub warnings: Vec<String>,
    /// What will, each with its cure.
    pub obstacles: Vec<String>,
}

impl Survey {
    /// The first obstacle, as the error of a run that is not to begin.
    ///
    /// # Errors
    /// That obstacle.
    pub fn clear(self) -> Result<Survey, Failure> {
        match self.obstacles.first() {
            Some(obstacle) => Err(Failure::broke(obstacle)),
            None => Ok(self),
        }
    }
}

/// Looks at the machine. Raises this process's limit of descriptors; otherwise leaves all as it is.
///
/// # Errors
/// When that limit cannot be raised.
pub fn survey(s: &Scenario) -> Result<Survey, Failure> {
    let mut found = Survey { stocks: Vec::new(), warnings: Vec::new(), obstacles: Vec::new() };
    ports(s, &mut found);
    let limit = descriptors::raise().context("cannot raise the limit of file descriptors")?;
    let needed = Needs::of(s).descriptors;
    let of = format!("of a process that carries {} calls", s.load.calls);
    found.stocks.push(Stock { what: "descriptors", needed, free: limit, of });
    if limit < needed {
        found.obstacles.push(format!(
            "{} calls need {needed} file descriptors, {limit} are allowed: raise the hard limit \
             (`ulimit -Hn {needed}`, or LimitNOFILE in the service's unit), or hold fewer calls",
            s.load.calls
        ));
    }
    listeners(s, &mut found.obstacles);
    if s.service.mode == ServiceMode::Command
        && let Some(program) = s.service.command.first().filter(|program| !is_there(program))
    {
        found.obstacles.push(format!(
            "service.command: there is no program `{program}` here; install it, or write its path as seen \
             from this folder"
        ));
    }
    found.warnings.extend(ephemeral_ports(s));
    found.warnings.extend(too_few_packets(s));
    Ok(found)
}

/// The three ranges, less what others hold of them.
fn ports(s: &Scenario, found: &mut Survey) {
    let (held, pool) = (held_ports(s.sip.local), u64::from(Needs::of(s).pool));
    let mut stock = |what, key: &str, range: PortRange, needed: u64, all: u32, step: u16| {
        let taken = held.iter().filter(|port| (range.from..=range.to).contains(port));
        // A pair is gone with either of its ports; a single port is one by itself.
        let mut slots: Vec<_> = taken.map(|port| port / step).collect();
        slots.sort_unstable();
        slots.dedup();
        let free = u64::from(all).saturating_sub(slots.len() as u64);
        if free < needed {
            found.obstacles.push(format!(
                "{key} {range} has {free} {what} free, {} are held by other programs and {needed} are needed: \
                 stop those, or choose a larger range",
                slots.len()
            ));
        }
        found.stocks.push(Stock { what, needed, free, of: format!("in {key} {range}") });
    };
    let media = s.media.ports;
    stock("driver's ports", "media.ports", media, pool, media.even_ports(), 2);
    if s.service.mode.is_started() {
        stock("service's ports", "service.ports", s.service.ports, pool, s.service.ports.len(), 1);
    }
    if s.asterisk.mode == AsteriskMode::Managed {
        let rtp = s.asterisk.rtp_ports;
        // The caller's leg and, behind an application, the one to the service.
        stock("Asterisk's port pairs", "asterisk.rtp_ports", rtp, pool * 2, rtp.rtp_pairs(), 2);
    }
}

/// UDP ports that are bound on `local` or on every address. Where the kernel does not tell, none.
fn held_ports(local: IpAddr) -> Vec<u16> {
    let tables = [procfs::net::udp(), procfs::net::udp6()];
    let entries = tables.into_iter().flatten().flatten().map(|entry| entry.local_address);
    entries.filter(|a| a.ip().is_unspecified() || a.ip() == local).map(|a| a.port()).collect()
}

/// TCP ports that the run's own processes will listen on.
fn listeners(s: &Scenario, obstacles: &mut Vec<String>) {
    let mut listens = |key: &str, address: SocketAddr, other: &str| match TcpListener::bind(address) {
        Err(e) if e.kind() == ErrorKind::AddrInUse => obstacles.push(format!(
            "{key}: {address} is taken: stop what holds it (`ss -tlpn 'sport = :{}'` names it), or use \
             another, as in --set {key}={other}",
            address.port()
        )),
        Err(e) => obstacles.push(format!(
            "{key}: {address} cannot be listened on: {e}; use another, as in --set {key}={other}"
        )),
        // Port 0 is any free one.
        Ok(_) => {}
    };
    if s.service.mode == ServiceMode::Builtin {
        listens("service.http", s.service.http, "127.0.0.1:0");
    }
    if let (AsteriskMode::Managed, Some(port)) = (s.asterisk.mode, s.asterisk.ari_port) {
        listens("asterisk.ari_port", SocketAddr::from(([127, 0, 0, 1], port)), "8089");
    }
}

/// Whether `program` can be started: a path, or a name that is looked for in PATH.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| is_executable(&dir.join(program)))
}

/// Gates over packets that are inconclusive whatever happens: the scenario sends too few.
fn too_few_packets(s: &Scenario) -> Vec<String> {
    let sent = s.load.duration.0.as_secs_f64() / s.media.ptime.0.as_secs_f64() * f64::from(s.load.calls);
    let warning = |text: &String| {
        let Subject::Run(definition) = Gate::parse(text).ok()?.subject else { return None };
        let needed = definition.samples_needed().filter(|needed| *needed as f64 > sent)?;
        (definition.group == Group::Packets)
            .then(|| format!("`{text}` cannot be judged: it needs {needed} packets, and {sent:.0} are sent"))
    };
    s.gates.require.iter().filter_map(warning).collect()
}

/// Asterisk takes its RTP ports blindly, where the pools of the driver and the service pass over what
/// others hold, as long as there are ports to spare; so a range from which the kernel also hands out
/// ports deserves a word.
fn ephemeral_ports(s: &Scenario) -> Vec<String> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let (Some(from), Some(to)) = (bounds.next(), bounds.next()) else { return Vec::new() };
    let (kernel, needed) = (PortRange { from, to }, Needs::of(s).pool);
    let spare = |ports: u32| ports >= needed.saturating_mul(2);
    let ranges = [
        ("asterisk.rtp_ports", s.asterisk.rtp_ports, s.asterisk.mode == AsteriskMode::Managed),
        ("service.ports", s.service.ports, s.service.mode.is_started() && !spare(s.service.ports.len())),
        ("media.ports", s.media.ports, !spare(s.media.ports.even_ports())),
    ];
    let overlapping = ranges.into_iter().filter(|(_, range, matters)| *matters && range.overlaps(kernel));
    let warning = |(key, range, _): (&str, PortRange, bool)| {
        format!(
            "{key} {range} overlaps the kernel's ephemeral ports {kernel}: another program may hold some of \
             them (sysctl net.ipv4.ip_local_port_range)"
        )
    };
    overlapping.map(warning).collect()
}
