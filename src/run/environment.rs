//! Gathers the environment of a run as far as it is known beforehand: machine, scenario, versions.

use std::fs;

use procfs::{CpuInfo, Current, CurrentSI, KernelStats, Meminfo};

use crate::net::capabilities::Capabilities;
use crate::record::{Environment, FORMAT_VERSION, Offered};
use crate::scenario::{Planned, Resolved, Scenario, Target, Transport};
use crate::values::HostPort;

/// The part of the environment that the scenario and the machine give, before a call is placed. It is
/// enough to tell which stored runs are comparable.
pub fn beforehand(resolved: &Resolved) -> Environment {
    let scenario = &resolved.scenario;
    Environment {
        format: FORMAT_VERSION,
        name: scenario.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        calls: scenario.calls(),
        offered: offered(scenario),
        transport: match scenario.asterisk.transport {
            Transport::Udp => String::new(),
            other => other.name().into(),
        },
        codec: scenario.media.codec.to_string(),
        srtp: if scenario.media.srtp { scenario.media.srtp_suite.name().into() } else { String::new() },
        ptime_ms: scenario.media.ptime.0.as_millis() as u64,
        late_after_ms: scenario.measure.late_after.as_ms(),
        lost_after_ms: scenario.measure.lost_after.as_ms(),
        host: first_line("/proc/sys/kernel/hostname"),
        cpu: cpu_model(),
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        machine_cpus: KernelStats::current().map_or(0, |stat| stat.cpu_time.len() as u32),
        memory_mib: Meminfo::current().map_or(0, |m| m.mem_total >> 20),
        kernel: format!("Linux {}", first_line("/proc/sys/kernel/osrelease")),
        no_stamps: !Capabilities::here().stamps,
        scenario_hash: scenario.hash(),
        targets: targets(scenario),
        ..Environment::default()
    }
}

/// Targets among which calls are dealt, where there are several.
fn targets(scenario: &Scenario) -> Vec<String> {
    let several = scenario.asterisk.sip.iter().filter(|_| scenario.targets() > 1);
    several.map(HostPort::to_string).collect()
}

/// Traffic of an open load.
fn offered(scenario: &Scenario) -> Option<Offered> {
    let mean_call_s = scenario.load.mean_call()?.as_secs_f64();
    // Of stages: the mean over all hold phases.
    let of = |stage: &Planned| match stage.target {
        Target::Rate(rate) => rate * stage.hold.as_secs_f64(),
        Target::Calls(_) => 0.0,
    };
    let attempts: f64 = scenario.stages().iter().map(of).sum();
    let rate_per_s = attempts / scenario.hold().as_secs_f64();
    scenario.is_open().then_some(Offered { rate_per_s, mean_call_s })
}

/// UDP datagrams that have come to this machine and for which no socket was there; 0 where the kernel does not say.
pub fn unmatched() -> u64 {
    procfs::net::Snmp::current().map_or(0, |counts| counts.udp_no_ports)
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).ok().and_then(|t| t.lines().next().map(str::to_string)).unwrap_or_default()
}

fn cpu_model() -> String {
    let info = CpuInfo::current().ok();
    info.and_then(|i| i.model_name(0).map(str::to_string)).unwrap_or_else(|| std::env::consts::ARCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Override, Resolved};

    #[test]
    fn bounds_of_late_and_lost_keep_their_parts_of_a_millisecond() {
        let set = ["measure.late_after=500us", "measure.lost_after=1s 999ms 1us"].map(Override::set);
        let environment = beforehand(&Resolved::read("", "", &set).unwrap());
        assert_eq!((environment.late_after_ms, environment.lost_after_ms), (0.5, 1999.001));
    }
}
