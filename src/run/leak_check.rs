//! The leak check: channels, bridges, ports, descriptors and threads, counted before the first call of a
//! trial and after its last.

use std::collections::BTreeSet;
use std::time::Duration;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

use super::ari_look::Marks;
use super::neighbours::sockets;
use super::testbed::Testbed;
use crate::asterisk::Ari;
use crate::child;
use crate::clock::Timeline;
use crate::driver::Watched;
use crate::record::{LeakPart, Leaks};
use crate::values::PortRange;

/// Time for resources to be given back after the last call, and the pause between two counts.
const SETTLE: Duration = Duration::from_secs(5);
const COUNT_EVERY: Duration = Duration::from_millis(200);
/// Most counts before the first call.
const FIRST_COUNTS: u32 = 5;
/// Most names of leaked channels or bridges in the report.
const MOST_NAMES: usize = 5;

/// The check of one trial.
pub struct LeakCheck {
    /// ARI of each Asterisk.
    aris: Vec<Ari>,
    marks: Marks,
    /// The media ports of a service that the run has started.
    pool: Option<PortRange>,
    before: Option<ResourceCount>,
}

/// The resources in use at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
struct ResourceCount {
    channels: BTreeSet<String>,
    bridges: BTreeSet<String>,
    asterisk: Option<ProcessCount>,
    service: Option<ProcessCount>,
}

/// The resources of a process. Idle connections between the two are pooled on purpose and close by
/// themselves, so they do not count, nor do the threads that Asterisk gives each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessCount {
    descriptors: u64,
    threads: u64,
    /// UDP sockets on the pool's ports.
    ports: u64,
}

impl LeakCheck {
    /// Counts before the first call.
    pub async fn begin(testbed: &Testbed, marks: Marks) -> LeakCheck {
        let aris = testbed.aris().to_vec();
        let mut check = LeakCheck { aris, marks, pool: testbed.service_ports(), before: None };
        if !check.aris.is_empty() {
            check.before = check.steady(testbed.started()).await;
        }
        check
    }

    /// Counts until two counts agree: a connection that is just being closed is soon gone.
    async fn steady(&self, watched: Watched) -> Option<ResourceCount> {
        let mut last = self.count(watched).await.ok()?;
        for _ in 0..FIRST_COUNTS {
            pause().await;
            let next = self.count(watched).await.ok()?;
            if next == last {
                break;
            }
            last = next;
        }
        Some(last)
    }

    /// Counts after the last call, until nothing is left or the time for it is up.
    pub async fn conclude(&self, watched: Watched) -> Leaks {
        let before = match &self.before {
            _ if self.aris.is_empty() => {
                return unknown("there is no ARI to be asked for channels and bridges");
            }
            Some(before) => before,
            None => return unknown("Asterisk did not answer before the first call"),
        };
        let timeline = Timeline::start();
        let give_up = timeline.now() + SETTLE;
        loop {
            let leaks = match self.count(watched).await {
                Ok(after) => compare(before, &after),
                Err(why) => unknown(why),
            };
            if leaks.total(None) == Some(0) || timeline.now() >= give_up {
                return leaks;
            }
            pause().await;
        }
    }

    async fn count(&self, watched: Watched) -> Result<ResourceCount, String> {
        let (mut channels, mut bridges) = (BTreeSet::new(), BTreeSet::new());
        for ari in &self.aris {
            // Of several it is said where something is left.
            let place = if self.aris.len() > 1 { format!(" at {}", ari.shown()) } else { String::new() };
            let inventory = self.marks.inventory(ari).await.map_err(|error| format!("{error}{place}"))?;
            channels.extend(inventory.channels.into_iter().map(|channel| channel.id + &place));
            bridges.extend(inventory.bridges.into_iter().map(|bridge| bridge.id + &place));
        }
        Ok(ResourceCount {
            channels,
            bridges,
            asterisk: watched.asterisk.map(|pid| counted(pid, None, "Asterisk")).transpose()?,
            service: watched.service.map(|pid| counted(pid, self.pool, "the service")).transpose()?,
        })
    }
}

async fn pause() {
    tokio::time::sleep(COUNT_EVERY).await;
}

/// The result of a check that could not be made.
pub fn unknown(why: impl ToString) -> Leaks {
    Leaks { unknown: why.to_string(), parts: Vec::new() }
}

/// Counts a process and all of its group. Only a service has a `pool` of ports.
fn counted(leader: u32, pool: Option<PortRange>, who: &str) -> Result<ProcessCount, String> {
    let each = child::group(leader).filter_map(|process| of_process(&process, pool));
    each.reduce(|a, b| ProcessCount {
        descriptors: a.descriptors + b.descriptors,
        threads: a.threads + b.threads,
        ports: a.ports + b.ports,
    })
    .ok_or_else(|| format!("the processes of {who} could not be looked at"))
}

fn of_process(process: &Process, pool: Option<PortRange>) -> Option<ProcessCount> {
    let targets: Vec<FDTarget> = process.fd().ok()?.flatten().map(|fd| fd.target).collect();
    let sockets: BTreeSet<u64> = sockets(process).collect();
    let all = targets.iter().filter(|target| !is_journal(target)).count() as u64;
    let tcp = process.tcp().ok()?.into_iter().chain(process.tcp6().unwrap_or_default());
    let idle = tcp.filter(|t| t.state == TcpState::Established && sockets.contains(&t.inode)).count() as u64;
    let udp = process.udp().ok()?;
    let in_pool = |port: u16| pool.is_some_and(|pool| (pool.from..=pool.to).contains(&port));
    let ports = udp.iter().filter(|u| in_pool(u.local_address.port()) && sockets.contains(&u.inode)).count();
    let threads = u64::try_from(process.stat().ok()?.num_threads).ok()?;
    // Asterisk gives a thread to each connection; a service does not.
    let threads = if pool.is_none() { threads.saturating_sub(idle) } else { threads };
    Some(ProcessCount { descriptors: all.saturating_sub(idle), threads, ports: ports as u64 })
}

/// The journal of Asterisk's database, which is there while it writes, a second after its start too.
fn is_journal(target: &FDTarget) -> bool {
    matches!(target, FDTarget::Path(path) if path.to_string_lossy().ends_with("-journal"))
}

fn compare(before: &ResourceCount, after: &ResourceCount) -> Leaks {
    let mut parts = vec![
        named("channels", "channels in Asterisk", &before.channels, &after.channels),
        named("bridges", "bridges in Asterisk", &before.bridges, &after.bridges),
    ];
    let mut part = |kind, what, before, after| parts.push(LeakPart::counted(kind, what, before, after));
    if let Some((before, after)) = before.service.zip(after.service) {
        part("ports", "media ports of the service", before.ports, after.ports);
        part("descriptors", "descriptors of the service", before.descriptors, after.descriptors);
        part("threads", "threads of the service", before.threads, after.threads);
    }
    if let Some((before, after)) = before.asterisk.zip(after.asterisk) {
        part("descriptors", "descriptors of Asterisk", before.descriptors, after.descriptors);
        part("threads", "threads of Asterisk", before.threads, after.threads);
    }
    Leaks { unknown: String::new(), parts }
}

/// Names what is there now and was not before.
fn named(kind: &str, what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) -> LeakPart {
    let new: Vec<&String> = after.difference(before).collect();
    LeakPart {
        leaked: new.len() as u64,
        names: new.into_iter().take(MOST_NAMES).cloned().collect(),
        ..LeakPart::counted(kind, what, before.len() as u64, after.len() as u64)
    }
}
