//! Doubt about a run's instrument: which limits it broke, and what else keeps its figures from being certain.

use std::collections::BTreeSet;

use super::Limits;
use super::quiet::{Quiet, Shares, quiet_seconds};
use crate::metrics::{Metric, Summary};
use crate::record::{Environment, Phase};
use crate::values::{Unit, Value, show};

/// Share of the machine from which a run's own load fills it.
const FULL: f64 = 0.8;

/// Figures that a doubt touches, from the fewest to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Extent {
    /// None.
    #[default]
    Nothing,
    /// Limits are broken: figures of packets are intervals.
    Limits,
    /// Times are not the kernel's: nothing is known of packets.
    Packets,
    /// The run broke, was interrupted, or its clock was set: nothing is known at all.
    Everything,
}

/// Doubt about a run's instrument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doubt {
    /// Why, each in a sentence; empty without doubt.
    pub reasons: Vec<String>,
    /// The figures that it touches.
    pub extent: Extent,
    /// The seconds that the best readings are over; `None` where no second is known to be quiet or not.
    pub quiet: Option<Quiet>,
}

impl Doubt {
    /// True if there is any.
    pub fn is_any(&self) -> bool {
        self.extent != Extent::Nothing
    }

    /// Reasons, and the quiet seconds where readings rest on them.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        let of_quiet = self.quiet.as_ref().filter(|_| self.extent == Extent::Limits).map(|quiet| {
            let few = if quiet.are_enough() { "" } else { ": too few for a best reading of times" };
            format!("{} of {} seconds were quiet{few}", quiet.seconds.len(), quiet.of)
        });
        self.reasons.iter().cloned().chain(of_quiet)
    }

    /// The quiet seconds where they are enough for a best reading; none otherwise.
    pub(super) fn enough_quiet(&self) -> &BTreeSet<u32> {
        const NONE: &BTreeSet<u32> = &BTreeSet::new();
        self.quiet.as_ref().filter(|quiet| quiet.are_enough()).map_or(NONE, |quiet| &quiet.seconds)
    }
}

/// Doubt about the instrument of a run, by its limits.
pub fn doubt(summary: &Summary, limits: &Limits) -> Doubt {
    let environment = &summary.environment;
    let quiet = quiet_seconds(summary, limits);
    let mut doubt = Doubt { quiet, ..Doubt::default() };
    doubt.add(Extent::Limits, broken_limits(summary, limits));
    doubt.add(Extent::Limits, load(summary, &doubt).into_iter().collect());
    doubt.add(Extent::Packets, unstamped(environment));
    doubt.add(Extent::Everything, environment.clock_set().into_iter().collect());
    doubt.add(Extent::Everything, course(environment, limits));
    doubt
}

impl Doubt {
    fn add(&mut self, extent: Extent, reasons: Vec<String>) {
        if !reasons.is_empty() {
            self.extent = self.extent.max(extent);
            self.reasons.extend(reasons);
        }
    }
}

/// Signs of a machine that is too slow or too busy: the driver is late, and buffers overflow.
fn broken_limits(summary: &Summary, limits: &Limits) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut check = |name: &str, limit: f64, what: &str| {
        // A percentile of too few samples says nothing, here as in a gate.
        let Some(metric) = summary.metric(name).filter(|m| !m.too_few) else { return };
        if metric.value.number().is_some_and(|n| n > limit) {
            let limit = show(Value::Number(limit), metric.definition.unit);
            reasons.push(format!("{what}: {name} is {metric}, at most {limit} is allowed"));
        }
    };
    check("send_lateness.p99", limits.send_lateness_p99.as_ms(), "the driver could not send on time");
    check("slots.missed_ratio", limits.missed_slots.0, "the driver fell a whole packet behind");
    check("sockets.drops", limits.socket_drops as f64, "the driver's socket buffers overflowed");
    check("cpu.busiest_thread_max", limits.thread_cpu.0, "a thread of the driver was too busy");
    let environment = &summary.environment;
    // A service that is held still on purpose cannot read what comes meanwhile.
    let held_still = environment.faults.iter().any(|f| f.target == "service" && f.action == "stop");
    let service_drops = if held_still { 0 } else { environment.service_drops };
    let dropped = [
        (environment.impair_overflows, "the impairment's own queue"),
        (service_drops, "the service's sockets"),
        (environment.control_drops, "the control stream's echo"),
    ];
    reasons.extend(dropped.into_iter().filter_map(|(count, whose)| overflow(count, whose, limits)));
    if environment.skipped > 0 {
        reasons.push(format!(
            "this machine was stopped for so long that {} packets were never sent: at worst they are lost",
            environment.skipped
        ));
    }
    if environment.unsent > 0 {
        reasons.push(format!(
            "the kernel of this machine refused to send {} packets: they count as lost, at best they are not",
            environment.unsent
        ));
    }
    reasons
}

fn overflow(count: u64, whose: &str, limits: &Limits) -> Option<String> {
    let most = limits.socket_drops;
    (count > most).then(|| format!("{whose} dropped {count} datagrams, at most {most} are allowed"))
}

fn unstamped(environment: &Environment) -> Vec<String> {
    let reason = || {
        format!(
            "{} packets came without the kernel's receive stamp: their delays include this program's own",
            environment.unstamped
        )
    };
    (environment.unstamped > 0).then(reason).into_iter().collect()
}

/// Signs that the run did not take its course, calls and all.
fn course(environment: &Environment, limits: &Limits) -> Vec<String> {
    let mut reasons = Vec::new();
    if !environment.broken.is_empty() {
        reasons.push(format!("the run broke: {}", environment.broken));
    } else if environment.interrupted {
        reasons.push("the run was interrupted".into());
    }
    reasons.extend(overflow(environment.sip_drops, "the driver's SIP socket", limits));
    // A run that was ended early need not have come to all of its faults.
    if environment.faults_undone > 0 && environment.ended_early.is_none() {
        reasons.push(format!(
            "{} of the planned faults did not take place, or were not over when the run ended",
            environment.faults_undone
        ));
    }
    reasons
}

/// Users of the machine in the seconds that were not quiet, where they explain a late driver.
fn load(summary: &Summary, doubt: &Doubt) -> Option<String> {
    if !doubt.is_any() {
        return None;
    }
    let not_quiet = summary.seconds.iter().filter(|s| s.phase == Phase::Hold);
    let is_quiet = |second: u32| doubt.quiet.as_ref().is_some_and(|quiet| quiet.seconds.contains(&second));
    let not_quiet: Vec<_> = not_quiet.filter(|s| !is_quiet(s.second)).collect();
    let shares: Vec<_> = not_quiet.iter().filter_map(|s| Shares::of(s, summary.environment.cpus)).collect();
    let mean = |of: fn(&Shares) -> f64| shares.iter().map(of).sum::<f64>() / shares.len().max(1) as f64;
    let mean = Shares { own: mean(|s| s.own), others: mean(|s| s.others), steal: mean(|s| s.steal) };
    let percent = |share| show(Value::Number(share), Unit::Ratio);
    let metric = |name: &str| summary.metric(name).map(Metric::to_string).unwrap_or_default();
    let own = format!(
        "the driver used {}, the service {}, Asterisk {}",
        metric("cpu.driver_mean"),
        metric("cpu.service_mean"),
        metric("cpu.asterisk_mean")
    );
    if mean.are_disturbed() {
        let (others, steal) = (percent(mean.others), percent(mean.steal));
        Some(format!(
            "this machine was disturbed: in the seconds that were not quiet, other programs used {others} of it \
             and its host took {steal}; {own}"
        ))
    } else if mean.own >= FULL {
        Some(format!("this machine was full of this run's own load, {} of it: {own}", percent(mean.own)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{DISTURBED, QUIET, Second, limits, seconds, summary};
    use super::*;

    fn said(seconds: &[Second]) -> Vec<String> {
        doubt(&summary(seconds), &limits()).sentences().collect()
    }

    #[test]
    fn disturbed_and_full_are_told_apart() {
        assert!(said(&[QUIET; 12]).is_empty());
        let disturbed = said(&seconds(20, QUIET, 10, DISTURBED));
        assert!(
            disturbed[1].starts_with(
                "this machine was disturbed: in the seconds that were not quiet, other programs used 60.00 % of it \
                 and its host took 0 %; the driver used 0.30 cores"
            ),
            "{disturbed:?}"
        );
        assert_eq!(disturbed[2], "20 of 30 seconds were quiet");
        let full = said(&[Second { own: 0.95, others: 0.02, lateness_ms: 5.0, ..QUIET }; 12]);
        assert!(
            full[1].starts_with("this machine was full of this run's own load, 95.00 % of it:"),
            "{full:?}"
        );
        assert_eq!(full[2], "0 of 12 seconds were quiet: too few for a best reading of times");
        let neither = said(&[Second { lateness_ms: 5.0, ..QUIET }; 12]);
        assert_eq!(neither.len(), 2, "{neither:?}");
    }

    #[test]
    fn a_busy_machine_is_no_reason_by_itself() {
        assert!(said(&[Second { others: 0.6, ..QUIET }; 12]).is_empty());
        let mut interrupted = summary(&[Second { others: 0.6, ..QUIET }; 12]);
        interrupted.environment.interrupted = true;
        assert_eq!(doubt(&interrupted, &limits()).reasons, ["the run was interrupted"]);
    }
}
