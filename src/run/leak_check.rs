//! What the calls of a run have left behind: asked of Asterisk and of the kernel, before the first call
//! and after the last.

use std::collections::BTreeSet;
use std::time::Duration;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

use super::application::Ari;
use super::testbed::Stage;
use crate::child;
use crate::clock::{self, Timeline};
use crate::driver::Watched;
use crate::net::http::{HttpClient, Limits};
use crate::record::{LeakPart, Leaks};
use crate::scenario::Scenario;
use crate::values::PortRange;

/// How long what is on its way out is waited for, and how often it is looked at.
const SETTLE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks before the first call, at the most.
const LOOKS: u32 = 5;
/// A listing of some thousand channels, at about 700 bytes each.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body: 32 << 20 };
/// Names in the report of what was left.
const MOST_NAMES: usize = 5;

/// Two counts of the same things.
pub struct Audit {
    ari: Result<HttpClient, String>,
    /// The media ports of a service that the run has started.
    pool: Option<PortRange>,
    before: Option<Census>,
}

/// What there is at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Census {
    channels: BTreeSet<String>,
    bridges: BTreeSet<String>,
    asterisk: Option<Held>,
    service: Option<Held>,
}

/// What a process holds. Idle connections between the two are pooled on purpose and close by
/// themselves, so they do not count, nor do the threads that Asterisk gives each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    descriptors: u64,
    threads: u64,
    /// UDP sockets on the pool's ports.
    ports: u64,
}

impl Audit {
    /// Counts what is there before the first call.
    pub async fn begin(stage: &Stage, scenario: &Scenario) -> Audit {
        let pool = scenario.service.mode.is_started().then_some(scenario.service.ports);
        let ari = stage.ari(scenario).ok_or("there is no ARI to be asked what is left".to_string());
        let mut audit = Audit { ari: ari.and_then(|ari| client(&ari)), pool, before: None };
        audit.before = audit.steady(stage.watched()).await;
        audit
    }

    /// What is there once two looks see the same: a connection that is just being closed is soon gone.
    async fn steady(&self, watched: Watched) -> Option<Census> {
        let mut last = self.count(watched).await.ok()?;
        for _ in 0..LOOKS {
            pause().await;
            let next = self.count(watched).await.ok()?;
            if next == last {
                break;
            }
            last = next;
        }
        Some(last)
    }

    /// Counts again after the last call, until nothing is left or the time for it is up.
    pub async fn conclude(&self, watched: Watched) -> Leaks {
        let before = match (&self.ari, &self.before) {
            (Ok(_), Some(before)) => before,
            (Err(why), _) => return unknown(why),
            (Ok(_), None) => return unknown("Asterisk did not say what was there before the first call"),
        };
        let timeline = Timeline::start();
        let give_up = timeline.now() + SETTLE;
        loop {
            let leaks = match self.count(watched).await {
                Ok(after) => compare(before, &after),
                Err(why) => unknown(&why),
            };
            if leaks.total(None) == Some(0) || timeline.now() >= give_up {
                return leaks;
            }
            pause().await;
        }
    }

    async fn count(&self, watched: Watched) -> Result<Census, String> {
        let client = self.ari.as_ref().map_err(String::clone)?;
        Ok(Census {
            channels: ids(client, "/ari/channels").await?,
            bridges: ids(client, "/ari/bridges").await?,
            asterisk: watched.asterisk.map(|pid| counted(pid, None, "Asterisk")).transpose()?,
            service: watched.service.map(|pid| counted(pid, self.pool, "the service")).transpose()?,
        })
    }
}

async fn pause() {
    tokio::time::sleep_until(clock::tokio_deadline(clock::now() + LOOK_EVERY)).await;
}

/// One client for all looks, lest each leaves a connection behind that is being closed at the next.
fn client(ari: &Ari) -> Result<HttpClient, String> {
    HttpClient::new(&ari.url, Some((&ari.user, &ari.password))).map_err(|e| e.to_string())
}

/// An audit that could not be made.
pub fn unknown(why: &str) -> Leaks {
    Leaks { unknown: why.into(), parts: Vec::new() }
}

async fn ids(client: &HttpClient, path: &str) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let named: Vec<Named> = client.get(path, LIMITS).await.map_err(|e| e.to_string())?;
    Ok(named.into_iter().map(|n| n.id).collect())
}

/// What a process and all of its group hold; `pool` is a service's, and Asterisk has none.
fn counted(leader: u32, pool: Option<PortRange>, who: &str) -> Result<Held, String> {
    let none = || format!("the processes of {who} could not be looked at");
    let each = child::group(leader).filter_map(|process| held(&process, pool));
    each.reduce(|a, b| Held {
        descriptors: a.descriptors + b.descriptors,
        threads: a.threads + b.threads,
        ports: a.ports + b.ports,
    })
    .ok_or_else(none)
}

fn held(process: &Process, pool: Option<PortRange>) -> Option<Held> {
    let targets: Vec<FDTarget> = process.fd().ok()?.flatten().map(|fd| fd.target).collect();
    let sockets = targets.iter().filter_map(|target| match target {
        FDTarget::Socket(inode) => Some(*inode),
        _ => None,
    });
    let sockets: BTreeSet<u64> = sockets.collect();
    let all = targets.iter().filter(|target| !is_journal(target)).count() as u64;
    let tcp = process.tcp().ok()?.into_iter().chain(process.tcp6().unwrap_or_default());
    let idle = tcp.filter(|t| t.state == TcpState::Established && sockets.contains(&t.inode)).count() as u64;
    let udp = process.udp().ok()?;
    let in_pool = |port: u16| pool.is_some_and(|pool| (pool.from..=pool.to).contains(&port));
    let ports = udp.iter().filter(|u| in_pool(u.local_address.port()) && sockets.contains(&u.inode)).count();
    let threads = u64::try_from(process.stat().ok()?.num_threads).ok()?;
    // Asterisk gives a thread to each connection; a service does not.
    let threads = if pool.is_none() { threads.saturating_sub(idle) } else { threads };
    Some(Held { descriptors: all.saturating_sub(idle), threads, ports: ports as u64 })
}

/// The journal of Asterisk's database, which is there while it writes, a second after its start too.
fn is_journal(target: &FDTarget) -> bool {
    matches!(target, FDTarget::Path(path) if path.to_string_lossy().ends_with("-journal"))
}

fn compare(before: &Census, after: &Census) -> Leaks {
    let mut parts = vec![
        named("channels", "channels in Asterisk", &before.channels, &after.channels),
        named("bridges", "bridges in Asterisk", &before.bridges, &after.bridges),
    ];
    if let Some((before, after)) = before.service.zip(after.service) {
        let count = |kind, what, before, after| LeakPart::counted(kind, what, before, after, 0);
        parts.push(count("ports", "media ports of the service", before.ports, after.ports));
        let (had, has) = (before.descriptors, after.descriptors);
        parts.push(count("descriptors", "descriptors of the service", had, has));
        parts.push(count("threads", "threads of the service", before.threads, after.threads));
    }
    if let Some((before, after)) = before.asterisk.zip(after.asterisk) {
        let count = |kind, what, before, after| LeakPart::counted(kind, what, before, after, 0);
        let (had, has) = (before.descriptors, after.descriptors);
        parts.push(count("descriptors", "descriptors of Asterisk", had, has));
        parts.push(count("threads", "threads of Asterisk", before.threads, after.threads));
    }
    Leaks { unknown: String::new(), parts }
}

/// What is there now and was not before, by name.
fn named(kind: &str, what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) -> LeakPart {
    let new: Vec<&String> = after.difference(before).collect();
    LeakPart {
        leaked: new.len() as u64,
        names: new.into_iter().take(MOST_NAMES).cloned().collect(),
        ..LeakPart::counted(kind, what, before.len() as u64, after.len() as u64, 0)
    }
}
