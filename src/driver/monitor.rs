//! Watches CPU and memory of the processes of a run, and of the machine, once a second.

use procfs::process::{Process, Stat};
use procfs::{CurrentSI, KernelStats};
use tokio::sync::watch;

use crate::record::SecondRecord;
use crate::stamp::Stamp;

/// Processes of a service that are looked at: one a core is usual, and once a second this must be cheap.
const MOST_PROCESSES: usize = 256;

/// The processes of a run besides the driver itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// Asterisk, where it runs on this machine and its process is known.
    pub asterisk: Option<u32>,
    /// The service under test, likewise; what it has started counts with it.
    pub service: Option<u32>,
}

/// CPU ticks and memory at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    ticks: u64,
    rss_mib: f64,
}

/// Ticks of all CPUs together. What they did is taken from what they did not: the kernel counts user and system time
/// by the tick, with which packets that are sent by the clock fall in step, and idle and stolen time by the clock.
#[derive(Debug, Clone, Copy, Default)]
struct Machine {
    idle: u64,
    steal: u64,
    cpus: u64,
}

/// Takes the difference from second to second.
pub(super) struct Monitor {
    watching: watch::Receiver<Watched>,
    watched: Watched,
    at: Stamp,
    driver: Option<Usage>,
    asterisk: Option<Usage>,
    service: Option<Usage>,
    machine: Option<Machine>,
}

impl Monitor {
    pub fn start(watching: watch::Receiver<Watched>, now: Stamp) -> Self {
        let watched = *watching.borrow();
        Monitor {
            watching,
            watched,
            at: now,
            driver: usage(std::process::id()),
            asterisk: watched.asterisk.and_then(usage),
            service: watched.service.and_then(tree_usage),
            machine: machine(),
        }
    }

    /// Writes what was used since the last call into the record.
    pub fn sample(&mut self, now: Stamp, into: &mut SecondRecord) {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let next = Monitor::start(self.watching.clone(), now);
        // Another process under the same name has no past here.
        self.asterisk = self.asterisk.filter(|_| next.watched.asterisk == self.watched.asterisk);
        self.service = self.service.filter(|_| next.watched.service == self.watched.service);
        let per_second = procfs::ticks_per_second() as f64 * seconds;
        let cores = |before: Option<Usage>, after: Option<Usage>| {
            Some(after?.ticks.saturating_sub(before?.ticks) as f64 / per_second)
        };
        into.cpu_driver = cores(self.driver, next.driver);
        into.cpu_asterisk = cores(self.asterisk, next.asterisk);
        into.cpu_service = cores(self.service, next.service);
        into.driver_rss_mib = next.driver.map(|u| u.rss_mib);
        into.asterisk_rss_mib = next.asterisk.map(|u| u.rss_mib);
        into.service_rss_mib = next.service.map(|u| u.rss_mib);
        if let (Some(before), Some(after)) = (self.machine, next.machine) {
            let all = (per_second * after.cpus as f64).max(1.0);
            let share = |before: u64, after: u64| (after.saturating_sub(before) as f64 / all).clamp(0.0, 1.0);
            let (idle, steal) = (share(before.idle, after.idle), share(before.steal, after.steal));
            into.cpu_machine = Some((1.0 - idle - steal).max(0.0));
            into.cpu_steal = Some(steal);
        }
        *self = next;
    }
}

fn usage(pid: u32) -> Option<Usage> {
    let stat = Process::new(pid.try_into().ok()?).ok()?.stat().ok()?;
    Some(Usage { ticks: stat.utime + stat.stime, rss_mib: rss_mib(&stat) })
}

fn rss_mib(stat: &Stat) -> f64 {
    (stat.rss * procfs::page_size()) as f64 / (1024.0 * 1024.0)
}

/// A process with its children and theirs. One that has ended counts by what its parent has waited for.
fn tree_usage(pid: u32) -> Option<Usage> {
    let mut sum = None;
    let mut open = vec![pid];
    for _ in 0..MOST_PROCESSES {
        let Some(pid) = open.pop() else { break };
        let Some(process) = pid.try_into().ok().and_then(|pid| Process::new(pid).ok()) else { continue };
        let Ok(stat) = process.stat() else { continue };
        let Usage { ticks, rss_mib: rss } = sum.unwrap_or_default();
        let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        sum = Some(Usage {
            ticks: ticks + stat.utime + stat.stime + waited_for,
            rss_mib: rss + rss_mib(&stat),
        });
        let tasks = process.tasks().into_iter().flatten().flatten();
        open.extend(tasks.filter_map(|task| task.children().ok()).flatten());
    }
    sum
}

fn machine() -> Option<Machine> {
    let stats = KernelStats::current().ok()?;
    let t = stats.total;
    let idle = t.idle + t.iowait.unwrap_or(0);
    Some(Machine { idle, steal: t.steal.unwrap_or(0), cpus: stats.cpu_time.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn this_process_and_this_machine_can_be_seen() {
        let start = Stamp::from_ns(1);
        let mut monitor =
            Monitor::start(watch::channel(Watched { asterisk: Some(u32::MAX), service: None }).1, start);
        let mut row = SecondRecord::default();
        monitor.sample(start + Duration::from_secs(1), &mut row);
        assert!(row.cpu_driver.is_some() && row.driver_rss_mib.is_some_and(|m| m > 0.5));
        assert!(row.cpu_machine.is_some_and(|c| (0.0..=1.0).contains(&c)));
        assert!(row.cpu_asterisk.is_none() && row.cpu_service.is_none());
    }

    #[test]
    fn the_machine_is_as_busy_as_the_work_that_is_done_on_it_at_the_least() {
        let watching = watch::channel(Watched::default()).1;
        let clock = crate::clock::now;
        let mut monitor = Monitor::start(watching, clock());
        let begin = clock();
        while clock().since(begin) < Duration::from_millis(500) {
            std::hint::black_box(0);
        }
        let mut row = SecondRecord::default();
        monitor.sample(clock(), &mut row);
        let cpus = KernelStats::current().unwrap().cpu_time.len() as f64;
        let (driver, machine) = (row.cpu_driver.unwrap(), row.cpu_machine.unwrap() + row.cpu_steal.unwrap());
        // A tick or two are on either side of a reading.
        assert!(machine * cpus > driver - 0.1, "{machine} of {cpus} CPUs, {driver} cores in this process");
    }

    #[test]
    fn a_service_counts_with_what_it_has_started() {
        let mut shell = std::process::Command::new("sh");
        // A child of some megabytes: the kernel's count of a small one may still read nought.
        let child = "a=$(head -c 8000000 /dev/zero | tr '\\0' x); echo; sleep 60; :";
        let shell = shell.args(["-c", &format!("({child}) & wait")]).stdout(std::process::Stdio::piped());
        let mut shell = std::os::unix::process::CommandExt::process_group(shell, 0).spawn().unwrap();
        // A line says that the other one has been started.
        std::io::Read::read(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let (one, all) = (usage(shell.id()).unwrap(), tree_usage(shell.id()).unwrap());
        let group = nix::unistd::Pid::from_raw(shell.id().cast_signed());
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
        assert!(all.rss_mib > one.rss_mib, "{all:?} is no more than {one:?}");
    }
}
