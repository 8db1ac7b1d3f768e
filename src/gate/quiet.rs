//! Quiet seconds of a run: those in which neither the driver was late nor the machine disturbed.
//!
//! They are chosen by the instrument's own figures, never by the calls' round trips: a service that is slow in
//! quiet seconds is slow.

use std::collections::BTreeSet;

use super::Limits;
use crate::metrics::Summary;
use crate::record::{Environment, Latencies, Phase, SecondRecord, Series};
use crate::values::Ns;

/// Largest share of the machine that the hypervisor may give to other guests.
const MOST_STEAL: f64 = 0.05;
/// Largest share of the machine that programs beside the run may use.
const MOST_OTHERS: f64 = 0.15;
/// The control stream's 99th percentile may be this long, or so many times its median over the run.
const LEAST_CONTROL_MS: f64 = 1.0;
const MOST_CONTROL: f64 = 4.0;
/// Share of the hold phase below which quiet seconds speak for nothing but themselves.
const ENOUGH: f64 = 0.2;

/// The quiet seconds of the hold phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Seconds since the run's start.
    pub seconds: BTreeSet<u32>,
    /// Seconds of the hold phase.
    pub of: usize,
}

impl Quiet {
    /// True if they are a fifth of the hold phase.
    pub fn are_enough(&self) -> bool {
        !self.seconds.is_empty() && self.seconds.len() as f64 >= self.of as f64 * ENOUGH
    }
}

/// Users of the machine in one second, in shares of it, 0–1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// The run's own processes.
    pub own: f64,
    pub others: f64,
    pub steal: f64,
}

impl Shares {
    /// `None` where the machine's use in that second is not known. A process that is not known runs
    /// elsewhere.
    pub fn of(second: &SecondRecord, environment: &Environment) -> Option<Shares> {
        let own = [second.cpu_driver, second.cpu_service, second.cpu_asterisk];
        let own = own.into_iter().flatten().sum::<f64>() / f64::from(environment.all_cpus());
        let (machine, steal) = (second.cpu_machine?, second.cpu_steal?);
        Some(Shares { own, others: (machine - own).max(0.0), steal })
    }

    /// True if somebody but the run used the machine.
    pub fn are_disturbed(&self) -> bool {
        self.is_stolen() || self.others >= MOST_OTHERS
    }

    /// True if the hypervisor gave the machine to others.
    pub fn is_stolen(&self) -> bool {
        self.steal >= MOST_STEAL
    }
}

/// The quiet seconds by the interval log; `None` where that is not one by seconds (format 1), or nothing was
/// heard of a control stream. A figure that is missing shows no quiet.
pub(super) fn quiet_seconds(summary: &Summary, limits: &Limits) -> Option<Quiet> {
    let held = || summary.seconds.iter().filter(|second| second.phase == Phase::Hold);
    let of = held().count();
    let control_ms = summary.metric("control.p50").and_then(|m| m.value.number());
    let control_ms = control_ms.filter(|_| summary.environment.has_seconds())?;
    let most_control_ms = LEAST_CONTROL_MS.max(MOST_CONTROL * control_ms);
    let mut latencies = Latencies::default();
    let mut p99_ms = |second: &SecondRecord, series, lost| {
        latencies.reset();
        latencies.extend(summary.intervals.second(second.second, series));
        latencies.quantile(0.99, lost).ns().map_or(f64::INFINITY, Ns::as_ms)
    };
    let mut is_quiet = |second: &SecondRecord| {
        p99_ms(second, Series::SendLateness, 0) <= limits.send_lateness_p99.as_ms()
            && p99_ms(second, Series::Control, second.control_lost()) < most_control_ms
            && second.missed_slots == 0
            && second.socket_drops <= limits.socket_drops
            && second.cpu_busiest_thread.is_some_and(|cores| cores <= limits.thread_cpu.0)
            && Shares::of(second, &summary.environment).is_some_and(|shares| !shares.are_disturbed())
    };
    let seconds = held().filter(|second| is_quiet(second)).map(|second| second.second).collect();
    Some(Quiet { seconds, of })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{QUIET, Second, limits, seconds, summary};
    use super::*;

    fn quiet(seconds: &[Second]) -> Quiet {
        quiet_seconds(&summary(seconds), &limits()).unwrap()
    }

    #[test]
    fn each_sign_of_trouble_alone_ends_the_quiet() {
        for (what, odd) in [
            ("late", Second { lateness_ms: 2.1, ..QUIET }),
            ("a missed slot", Second { missed: 1, ..QUIET }),
            ("a dropped datagram", Second { drops: 1, ..QUIET }),
            ("a busy thread", Second { busiest_thread: 0.95, ..QUIET }),
            ("steal", Second { steal: 0.05, ..QUIET }),
            ("other programs", Second { others: 0.16, ..QUIET }),
            ("a slow control stream", Second { control_ms: 1.1, ..QUIET }),
        ] {
            let found = quiet(&seconds(9, QUIET, 1, odd));
            assert_eq!((found.seconds, found.of), ((0..9).collect(), 10), "{what}");
        }
    }

    #[test]
    fn shares_are_of_the_machine_and_not_of_the_cpus_that_the_run_may_use() {
        // Held to two CPUs of eight, of which it uses both.
        let mut run = summary(&[QUIET; 10]);
        (run.environment.cpus, run.environment.machine_cpus) = (2, 8);
        let mut of = |driver, machine| {
            let used = |s: &mut SecondRecord| (s.cpu_driver, s.cpu_machine) = (Some(driver), Some(machine));
            run.seconds.iter_mut().for_each(used);
            run.seconds.iter_mut().for_each(|s| s.cpu_asterisk = None);
            quiet_seconds(&run, &limits()).unwrap().seconds.len()
        };
        assert_eq!((of(2.0, 0.25), of(2.0, 0.39), of(2.0, 0.41), of(0.0, 0.25)), (10, 10, 0, 0));
    }

    #[test]
    fn slow_calls_and_a_busy_run_of_its_own_are_quiet() {
        let own = Second { rtt_ms: 900.0, own: 0.9, others: 0.1, lost: 500, ..QUIET };
        assert_eq!(quiet(&seconds(9, QUIET, 1, own)).seconds.len(), 10);
        // A control stream that is slow all the time is this machine's own pace.
        assert_eq!(quiet(&[Second { control_ms: 3.0, ..QUIET }; 10]).seconds.len(), 10);
    }

    #[test]
    fn what_is_not_known_is_not_quiet() {
        let of = |change: fn(&mut Summary)| {
            let mut summary = summary(&[QUIET; 5]);
            change(&mut summary);
            quiet_seconds(&summary, &limits()).map(|quiet| quiet.seconds.len())
        };
        assert_eq!(of(|_| {}), Some(5));
        assert_eq!(of(|s| s.seconds[2].cpu_machine = None), Some(4));
        assert_eq!(of(|s| s.seconds[2].cpu_steal = None), Some(4));
        assert_eq!(of(|s| s.seconds[2].control_received -= 2), Some(4), "its 99th percentile is lost");
        assert_eq!(of(|s| s.environment.format = 1), None, "one histogram for the whole window");
        // An Asterisk on another machine uses nothing of this one.
        assert_eq!(of(|s| s.seconds.iter_mut().for_each(|s| s.cpu_service = None)), Some(5));
    }

    #[test]
    fn a_fifth_is_enough() {
        let of = |n, of| Quiet { seconds: (0..n).collect(), of }.are_enough();
        assert!(of(2, 10) && of(3, 12) && !of(1, 10) && !of(2, 11) && !of(0, 0));
    }
}
