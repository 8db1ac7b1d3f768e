//! A driver's part in a run, as the command line and the environment give it, and what a run of several refuses.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::rendezvous::{Hello, Purpose, RunSecret};
use crate::run::RunError;
use crate::scenario::{AsteriskMode, Resolved, Scenario, ServiceMode};
use crate::shard::Shard;
use crate::stamp::Stamp;

/// Variable with the key that all shards of a run know. Not an option: command lines are for all to read.
pub const KEY: &str = "LOADTEST_KEY";

/// A run's driver among others: its number and its name in the whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunShard {
    /// The shard.
    pub shard: Shard,
    /// Name of the run in every call.
    pub run_id: u32,
    /// Hash of what all shards must have in common.
    pub scenario: String,
}

/// An instant at which runs without a network between them start: RFC 3339, or seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt(pub Stamp);

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<StartAt, String> {
        let seconds = text.trim().strip_prefix('@').unwrap_or(text.trim()).parse::<f64>().ok();
        let since = match seconds.map(Duration::try_from_secs_f64) {
            Some(Ok(since)) => Some(since),
            Some(Err(_)) => None,
            None => humantime::parse_rfc3339_weak(text.trim())
                .ok()
                .and_then(|at: SystemTime| at.duration_since(UNIX_EPOCH).ok()),
        };
        let since = since.ok_or_else(|| {
            format!("`{text}` is no instant: write one in UTC as 2026-11-27T14:00:00Z, or the seconds of `date +%s`")
        })?;
        Ok(StartAt(Stamp::ZERO + since))
    }
}

impl StartAt {
    /// Name of the run, the same for all shards that start it together.
    pub fn run_id(self, scenario: &str, count: u32) -> u32 {
        let text = format!("{scenario} {count} {}", self.0.as_ns());
        let digest = Sha256::digest(text.as_bytes());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

/// A scenario that several drivers cannot make.
pub struct Refusal;

impl Refusal {
    /// Looks for what several drivers cannot do.
    ///
    /// # Errors
    /// The first such key, with what would do.
    pub fn look(scenario: &Scenario, shard: Shard) -> Result<(), RunError> {
        if shard.is_only() {
            return Ok(());
        }
        let refused = |why: &str| Err(RunError::Unusable(format!("a run of {} shards: {why}", shard.count)));
        match scenario {
            s if s.asterisk.mode == AsteriskMode::Managed => refused(
                "asterisk.mode is \"managed\", and each shard would start one of its own: start Asterisk first (`loadtest \
                 asterisk` is one), and name it with asterisk.mode = \"external\" and asterisk.sip",
            ),
            s if !s.fault.is_empty() => {
                refused("[[fault]] is for the driver that has started what it breaks: leave it out")
            }
            s if matches!(s.service.mode, ServiceMode::Builtin | ServiceMode::Command) => refused(
                "each shard would start a service, all under one application's name: start it once (`loadtest service`), and \
                 set service.mode = \"external\", or \"none\"",
            ),
            s if s.calls() < shard.count && s.calls() > 0 => refused(&format!(
                "there are {} calls, and some shards would have none: use fewer shards",
                s.calls()
            )),
            s if shard.ports(s.media.ports).is_none() => refused(&format!(
                "media.ports {} has no port for each of them: use a larger range",
                s.media.ports
            )),
            _ => Ok(()),
        }
    }
}

/// The scenario as one shard's machine sees it: its own share of the calls, and its own ports. For questions of how much
/// room there is; the schedule is that of the whole.
pub fn share_of(scenario: &Scenario, shard: Shard) -> Scenario {
    let mut share = scenario.clone();
    share.load.calls = shard.share(scenario.load.calls).max(1);
    share.stage.iter_mut().for_each(|stage| stage.calls = stage.calls.map(|calls| shard.share(calls).max(1)));
    share.media.ports = shard.ports(scenario.media.ports).unwrap_or(scenario.media.ports);
    share
}

/// A shard's word of itself, for one run.
pub fn hello(resolved: &Resolved, shard: Shard, host: &str) -> Hello {
    hello_of(Purpose::Run, &[resolved], shard, host)
}

/// A shard's word of itself. Scenarios must be the same but for what belongs to a machine.
pub fn hello_of(purpose: Purpose, scenarios: &[&Resolved], shard: Shard, host: &str) -> Hello {
    let mut digest = Sha256::new();
    for resolved in scenarios {
        let mut common = resolved.scenario.clone();
        common.sip.local = Scenario::default().sip.local;
        common.driver = Default::default();
        let judged = format!("{:?} {:?}", common.gates, common.limits);
        digest.update(format!("{} {judged}", common.hash()));
        // Goals go by their numbers.
        if purpose == Purpose::Search {
            digest.update(format!(" {:?}", common.search));
        }
    }
    Hello {
        index: shard.index,
        count: shard.count,
        version: env!("CARGO_PKG_VERSION").into(),
        scenario: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        host: host.into(),
        purpose,
    }
}

/// The key of the run, out of the environment.
///
/// # Errors
/// There is none, or one that can be guessed.
pub fn secret(variable: Option<String>) -> Result<RunSecret, RunError> {
    let missing = || {
        RunError::Unusable(format!(
            "a rendezvous needs a key that its shards alone know: set {KEY} to the same for all, as made by `openssl rand -hex 16`"
        ))
    };
    RunSecret::new(&variable.ok_or_else(missing)?)
        .map_err(|error| RunError::Unusable(format!("{KEY}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Override;

    fn scenario(set: &[&str]) -> Resolved {
        let set: Vec<_> = set.iter().map(|set| Override::set(set)).collect();
        Resolved::read("", "x.toml", &set).unwrap_or_else(|error| panic!("{error}"))
    }

    const FAR: [&str; 5] = [
        "asterisk.mode=external",
        "asterisk.sip=192.0.2.1:5060",
        "sip.local=192.0.2.9",
        "service.mode=none",
        "load.calls=10",
    ];

    #[test]
    fn what_several_drivers_cannot_do_is_refused_with_what_would_do() {
        let three = Shard::new(1, 3).unwrap();
        let refused =
            |set: &[&str]| Refusal::look(&scenario(set).scenario, three).map_err(|error| error.to_string());
        assert_eq!(refused(&FAR), Ok(()));
        for (set, word) in [
            (&[][..], "loadtest asterisk"),
            (
                &[
                    "asterisk.mode=external",
                    "asterisk.sip=127.0.0.1:5060",
                    "asterisk.ari=http://127.0.0.1:8088",
                ],
                "loadtest service",
            ),
            (
                &[
                    "asterisk.mode=external",
                    "asterisk.sip=127.0.0.1:5060",
                    "service.mode=none",
                    "load.calls=2",
                ],
                "fewer shards",
            ),
        ] {
            let why = refused(set).unwrap_err();
            assert!(why.contains("3 shards") && why.contains(word), "{why}");
        }
        assert!(Refusal::look(&scenario(&[]).scenario, Shard::ONLY).is_ok());
    }

    #[test]
    fn scenarios_may_differ_in_what_belongs_to_a_machine_and_in_nothing_else() {
        let hello = |more: &[&str]| {
            let set: Vec<_> = FAR.iter().chain(more).copied().collect();
            super::hello(&scenario(&set), Shard::ONLY, "h").scenario
        };
        let plain = hello(&[]);
        assert_eq!(hello(&["sip.local=192.0.2.7", "driver.cpus=[1]"]), plain);
        for other in [
            "load.calls=11",
            "gates.require=[\"rtt.p99 < 1ms\"]",
            "limits.socket_drops=7",
            "media.codec=PCMA",
        ] {
            assert_ne!(hello(&[other]), plain, "{other}");
        }
    }

    #[test]
    fn instants_are_read_as_people_and_date_write_them() {
        let at = |text: &str| text.parse::<StartAt>().map(|at| at.0.as_ns());
        assert_eq!(at("2026-11-22T14:10:08Z"), Ok(1_795_356_608_000_000_000));
        assert_eq!(at("1795356608.5"), Ok(1_795_356_608_500_000_000));
        assert_eq!(at("@1795356608"), Ok(1_795_356_608_000_000_000));
        for wrong in ["", "now", "-5", "NaN", "1e300", "2026-13-01T00:00:00Z"] {
            assert!(at(wrong).unwrap_err().contains("date +%s"), "{wrong}");
        }
        let start = StartAt(Stamp::from_ns(7));
        assert_eq!(start.run_id("a", 3), start.run_id("a", 3));
        assert_ne!(start.run_id("a", 3), start.run_id("a", 2));
    }
}
