//! `[[fault]]`: processes killed, restarted or held still in mid-run, on purpose.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::Display;

use super::defaults::{ms, secs};
use super::error::Problems;
use super::{AsteriskMode, Scenario};
use crate::values::Span;

/// More than anybody can tell apart in one report.
const MOST_FAULTS: usize = 20;
/// Bounds of the time that a process is away or held still. Longer ones are a run of their own.
pub(super) const FOR: (Span, Span) = (ms(100), secs(600));

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Time from the start of the hold phase.
    pub at: Span,
    /// Process that the fault befalls; the run must have started it.
    pub target: Target,
    /// Signal to the process, and its start after that.
    pub action: Action,
    /// Time for which it is held still or, once it has ended, not started again.
    #[serde(rename = "for", default = "one_second")]
    pub lasts: Span,
}

/// A supervisor's usual pause before it starts a program again (systemd's RestartSec is shorter, a
/// container's back-off longer).
fn one_second() -> Span {
    secs(1)
}

/// Process of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The managed Asterisk.
    Asterisk,
    /// The service that the run has started.
    #[strum(to_string = "the service")]
    Service,
}

/// Kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// SIGKILL, and started again.
    Kill,
    /// SIGTERM, and started again once it has ended.
    Restart,
    /// SIGSTOP, and SIGCONT: it hangs.
    Stop,
}

/// Rules of the faults.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let message = format!("{} faults are planned", s.fault.len());
    found.refuse_if(s.fault.len() > MOST_FAULTS, "fault", message, format!("plan {MOST_FAULTS} at the most"));
    let mut free_from = Duration::ZERO;
    for (n, fault) in s.fault.iter().take(MOST_FAULTS).enumerate() {
        let mut wrong = |key: &str, is_broken, message: String, cure: &str| {
            found.refuse_if(is_broken, &format!("fault.{n}.{key}"), message, cure);
        };
        let unmanaged = match fault.target {
            Target::Asterisk => s.asterisk.mode != AsteriskMode::Managed,
            Target::Service => !s.service.mode.is_started(),
        };
        let message = format!("the run has not started {} and cannot start it again", fault.target);
        let cure = match fault.target {
            Target::Asterisk => "set asterisk.mode = \"managed\", or leave the fault out",
            Target::Service => "set service.mode = \"builtin\" or \"command\", or leave the fault out",
        };
        wrong("target", unmanaged, message, cure);
        wrong(
            "for",
            !(FOR.0..=FOR.1).contains(&fault.lasts),
            format!("a fault cannot last {}", fault.lasts),
            "choose between 100ms and 10m",
        );
        let end = fault.at.0.saturating_add(fault.lasts.0);
        wrong(
            "at",
            end >= s.load.duration.0,
            format!("the fault is over {} into the hold phase, which lasts {}", Span(end), s.load.duration),
            "`at` counts from the start of the hold phase; make it earlier, or load.duration longer",
        );
        wrong(
            "at",
            fault.at.0 < free_from,
            format!(
                "the fault begins before the one above it is over, {} into the hold phase",
                Span(free_from)
            ),
            "write the faults in the order in which they happen, one after another",
        );
        free_from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};

    const LOAD: &str = "name = \"t\"\n[load]\nduration = \"30s\"\n";

    fn read(faults: &str, set: &[&str]) -> Result<Resolved, String> {
        let set: Vec<_> = set.iter().map(|s| Override::set(s)).collect();
        Resolved::read(&format!("{LOAD}{faults}"), "t.toml", &set).map_err(|e| e.rendered)
    }

    fn fault(at: &str, rest: &str) -> String {
        format!("[[fault]]\nat = \"{at}\"\n{rest}\n")
    }

    const KILL: &str = "target = \"asterisk\"\naction = \"kill\"";

    #[test]
    fn faults_are_read_and_written_back() {
        let text = fault("5s", KILL) + &fault("10s", "target = \"service\"\naction = \"stop\"\nfor = \"3s\"");
        let resolved = read(&text, &[]).unwrap();
        assert_eq!(resolved.scenario.fault.len(), 2);
        assert_eq!(resolved.scenario.fault[0].lasts.0.as_secs(), 1, "the default");
        let again = Resolved::read(&resolved.to_toml(), "t.toml", &[]).unwrap();
        assert_eq!(again.scenario, resolved.scenario);
    }

    #[test]
    fn bad_faults_are_refused_with_line_reason_and_cure() {
        let refused = |text: &str, set: &[&str], words: &[&str]| {
            let said = read(text, set).expect_err(text);
            for word in words {
                assert!(said.contains(word), "`{word}` in:\n{said}");
            }
        };
        let one = fault("5s", KILL);
        let late = one.clone() + &fault("29s", KILL);
        refused(
            &late,
            &[],
            &["t.toml:9", "fault.1.at", "30s into the hold phase, which lasts 30s", "earlier"],
        );
        refused(&(one.clone() + &fault("5s 500ms", KILL)), &[], &["fault.1.at", "6s into", "in the order"]);
        let external = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:5060", "service.mode=none"];
        refused(&one, &external, &["--set asterisk.mode=external", "fault.0.target", "Asterisk", "managed"]);
        let service = fault("5s", "target = \"service\"\naction = \"restart\"");
        refused(&service, &["service.mode=none"], &["fault.0.target", "the service", "builtin"]);
        refused(&fault("5s", &format!("{KILL}\nfor = \"0s\"")), &[], &["t.toml:8", "fault.0.for", "100ms"]);
        refused(&fault("5s", "target = \"asterisk\""), &[], &["add `action`"]);
        refused(&fault("5s", "target = \"asterisk\"\naction = \"reboot\""), &[], &["reboot", "restart"]);
        refused(&fault("5s", &format!("{KILL}\nwhen = 3")), &[], &["when", "`at`"]);
        refused(&one.repeat(21), &[], &["21 faults", "20 at the most"]);
        refused(&fault("9999999999999999years", KILL), &[], &["t.toml"]);
    }
}
