//! The machine before the first call: resources needed and free, obstacles with their cure, warnings.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use super::{RunError, foreseen};
use crate::asterisk::descriptors;
use crate::child::is_executable;
use crate::net::capabilities::Capabilities;
use crate::scenario::{AsteriskMode, Needs, Pool, Scenario, ServiceMode};
use crate::values::PortRange;

/// A countable resource: ports or descriptors.
#[derive(Debug)]
pub struct Resource {
    /// Its name for people.
    pub name: &'static str,
    /// Number that the scenario needs.
    pub needed: u64,
    /// Number that is free.
    pub free: u64,
    /// Range or process that they belong to, in words.
    pub of: String,
}

/// The state of the machine, held against a scenario.
#[derive(Debug, Default)]
pub struct Survey {
    /// Ports and descriptors.
    pub resources: Vec<Resource>,
    /// Conditions that may disturb the run.
    pub warnings: Vec<String>,
    /// Conditions that prevent it, each with its cure.
    pub obstacles: Vec<String>,
}

impl Survey {
    /// Returns the warnings, if the run can begin.
    ///
    /// # Errors
    /// The first obstacle.
    pub fn clear(self) -> Result<Vec<String>, RunError> {
        match self.obstacles.into_iter().next() {
            Some(obstacle) => Err(RunError::Obstacle(obstacle)),
            None => Ok(self.warnings),
        }
    }
}

/// Examines the machine. Raises this process's limit of descriptors; otherwise changes nothing.
///
/// # Errors
/// When that limit cannot be raised.
pub fn survey(s: &Scenario) -> Result<Survey, RunError> {
    survey_share(s, s)
}

/// The same of one driver's share `s` of a run, whose gates are judged over the `whole`.
///
/// # Errors
/// As [`survey`].
pub fn survey_share(s: &Scenario, whole: &Scenario) -> Result<Survey, RunError> {
    let mut found = Survey::default();
    ports(s, &mut found);
    let limit = raise_descriptors()?;
    let needed = Needs::of(s).descriptors;
    let of = format!("of a process that carries {} calls", s.calls());
    found.resources.push(Resource { name: "descriptors", needed, free: limit, of });
    if limit < needed {
        found.obstacles.push(format!(
            "{} calls need {needed} file descriptors, {limit} are allowed: raise the hard limit \
             (`ulimit -Hn {needed}`, or LimitNOFILE in the service's unit), or hold fewer calls",
            s.calls()
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
    found.warnings.extend(Capabilities::here().missing());
    found.warnings.extend(foreseen::warnings(whole));
    found.warnings.extend(unreturned(s));
    Ok(found)
}

/// Raises this process's limit of descriptors as far as it may, and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_descriptors() -> Result<u64, RunError> {
    let refused = |error| RunError::Obstacle(format!("cannot raise the limit of file descriptors: {error}"));
    descriptors::raise().map_err(refused)
}

/// Counts the free ports of the three ranges.
fn ports(s: &Scenario, found: &mut Survey) {
    let held = held_ports(s.sip.local);
    for pool in Pool::all(s) {
        let Pool { key, name, range, slots_per_call, .. } = pool;
        let needed = u64::from(Needs::of(s).pool * slots_per_call);
        let taken = taken(&pool, &held);
        let free = u64::from(pool.slots).saturating_sub(taken.into());
        if free < needed {
            found.obstacles.push(format!(
                "{key} {range} has {free} {name} free, {taken} are held by other programs and {needed} are \
                 needed: stop those, or choose a larger range"
            ));
        }
        found.resources.push(Resource { name, needed, free, of: format!("in {key} {range}") });
    }
}

/// Slots of a pool that other programs hold.
fn taken(pool: &Pool, held: &[u16]) -> u32 {
    let Pool { range, ports_per_slot, .. } = *pool;
    let taken = held.iter().filter(|port| (range.from..=range.to).contains(port));
    // A pair is gone with either of its ports; a single port is one by itself.
    taken.map(|port| port / ports_per_slot).collect::<BTreeSet<_>>().len() as u32
}

/// The pools of ports of a scenario, each without the slots that other programs hold.
pub fn free_pools(s: &Scenario) -> Vec<Pool> {
    let held = held_ports(s.sip.local);
    let without = |pool: Pool| Pool { slots: pool.slots.saturating_sub(taken(&pool, &held)), ..pool };
    Pool::all(s).into_iter().map(without).collect()
}

/// UDP ports that are bound on `local` or on every address; none where /proc does not say.
fn held_ports(local: IpAddr) -> Vec<u16> {
    let tables = [procfs::net::udp(), procfs::net::udp6()];
    let entries = tables.into_iter().flatten().flatten().map(|entry| entry.local_address);
    entries.filter(|a| a.ip().is_unspecified() || a.ip() == local).map(|a| a.port()).collect()
}

/// Tries the TCP ports that the run's own processes will listen on.
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
        listens("asterisk.ari_port", SocketAddr::new(s.sip.loopback(), port), "8089");
    }
}

/// True if `program` can be started: a path, or a name found in PATH.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| is_executable(&dir.join(program)))
}

/// Warns of ranges from which the kernel also hands out ports. Asterisk takes its RTP ports blindly; the
/// pools of the driver and the service pass over ports that others hold, as long as there are some to
/// spare.
fn ephemeral_ports(s: &Scenario) -> Vec<String> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let (Some(from), Some(to)) = (bounds.next(), bounds.next()) else { return Vec::new() };
    let (kernel, needed) = (PortRange { from, to }, Needs::of(s).pool);
    let spare = |pool: &Pool| pool.key != "asterisk.rtp_ports" && pool.slots >= needed.saturating_mul(2);
    let overlapping = Pool::all(s).into_iter().filter(|pool| pool.range.overlaps(kernel) && !spare(pool));
    let warning = |Pool { key, range, .. }: Pool| {
        format!(
            "{key} {range} overlaps the kernel's ephemeral ports {kernel}: another program may hold some of \
             them (sysctl net.ipv4.ip_local_port_range)"
        )
    };
    overlapping.map(warning).collect()
}

/// Warns of a codec that no application returns over RTP; an application may have other ways to its media.
fn unreturned(s: &Scenario) -> Option<String> {
    let codec = s.media.codec;
    let is_the_users = matches!(s.service.mode, ServiceMode::Command | ServiceMode::External);
    (is_the_users && !codec.is_via_external_media()).then(|| {
        format!(
            "media.codec: Asterisk drops what an application returns in {codec} over ARI's externalMedia, and calls are \
             silent then: set media.codec = \"G722\", or, for a far end that echoes by itself, sip.to = \"echo\" and \
             service.mode = \"none\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Override, Resolved};

    #[test]
    fn a_codec_that_no_application_returns_is_warned_of() {
        let warned = |set: &[&str]| {
            let set: Vec<_> = set.iter().map(|set| Override::set(set)).collect();
            let scenario = Resolved::read("", "x.toml", &set).unwrap_or_else(|e| panic!("{e}")).scenario;
            unreturned(&scenario).unwrap_or_default()
        };
        let command = ["service.mode=command", "service.command=[\"x\"]"];
        for mode in [&command[..], &["service.mode=external", "asterisk.ari_port=8088"]] {
            for codec in ["opus", "L16"] {
                let set = format!("media.codec={codec}");
                let said = warned(&[mode, &[set.as_str()]].concat());
                assert!(said.contains(&format!("in {codec} over ARI's externalMedia")), "{said}");
            }
            assert_eq!(warned(&[mode, &["media.codec=G722"]].concat()), "");
        }
        assert_eq!(warned(&["service.mode=none", "sip.to=echo", "media.codec=opus"]), "");
    }
}
