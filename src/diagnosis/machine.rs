//! Processes that died, and a machine that was not up to it.

use super::{Finding, Seen, quoted};
use crate::gate::Outcome;

/// Weight of what ends a run: it outranks all that follows from it.
const ENDS_ALL: f64 = 2.0;
/// Weight of a machine that was full or disturbed: below anything that most calls suffered from.
const MACHINE: f64 = 0.3;

/// Asterisk or the service ended by itself.
pub(super) fn died(seen: &Seen<'_>) -> Vec<Finding> {
    let broken = seen.environment.broken.as_str();
    let what = broken.split(';').next().unwrap_or_default().to_string();
    let ended = |who: &str| what.contains(who) && what.contains(" ended");
    let by_signal = |names: &[&str]| names.iter().any(|name| broken.contains(name));
    let why = if by_signal(&["SIGKILL"]) {
        "it was killed: by the kernel for want of memory (`dmesg | grep -i oom`), or by somebody"
    } else if by_signal(&["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL"]) {
        "it crashed"
    } else {
        "it met an error that it could not go on from, or somebody stopped it"
    };
    let finding = |name, log: &str, lines, cure: &str| Finding {
        name,
        what: what.clone(),
        seen: format!("{log}{}", quoted("its log", lines)),
        cause: why.into(),
        cure: cure.into(),
        weight: ENDS_ALL,
    };
    if ended("service") {
        let last = seen.observed.service_log.last();
        let cure = "see the end of its log; it has to outlive errors of single calls";
        return vec![finding("service_died", "logs/service.log", last, cure)];
    }
    if ended("Asterisk") {
        let last = seen.observed.asterisk_log.last();
        let cure =
            "see the end of its log, and `coredumpctl`; a lower load.calls tells whether the load does it";
        return vec![finding("asterisk_died", "logs/asterisk.log", last, cure)];
    }
    Vec::new()
}

/// A machine that was full or disturbed, where the verdict suffers from it.
pub(super) fn load(seen: &Seen<'_>) -> Vec<Finding> {
    if seen.verdict.outcome == Outcome::Pass {
        return Vec::new();
    }
    let reason = |start: &str| seen.verdict.doubt.reasons.iter().find(|reason| reason.starts_with(start));
    let finding = |name, what: &String, cause: &str, cure: &str| Finding {
        name,
        what: what.clone(),
        seen: "seconds.csv, columns cpu_*; the chart of CPU".into(),
        cause: cause.into(),
        cure: cure.into(),
        weight: MACHINE,
    };
    if let Some(full) = reason("this machine was full") {
        return vec![finding(
            "machine_full",
            full,
            "driver, service and Asterisk need more of this machine than it has: this is about its capacity",
            "lower load.calls until the gates hold; or give Asterisk and the service a machine of their own, and set \
             driver.realtime = true",
        )];
    }
    if let Some(disturbed) = reason("this machine was disturbed") {
        return vec![finding(
            "machine_disturbed",
            disturbed,
            "other programs, or other guests of its host, took the CPU",
            "stop them, or choose another time or machine; driver.realtime = true keeps the driver on time; \
             a longer load.duration gives more quiet seconds",
        )];
    }
    Vec::new()
}
