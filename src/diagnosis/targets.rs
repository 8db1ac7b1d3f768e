//! One target of several that fares clearly worse than the others.

use super::{Finding, Seen};
use crate::metrics::{OF_RTT, TargetFigures};
use crate::values::{Unit, Value, counted, show};

/// Least number of attempts that failed or were dropped that say anything of a target.
const FEW: u64 = 3;
/// Share of its attempts by which a target has to fail or drop more often than all others together.
const CLEARLY_MORE: f64 = 0.1;
/// Factor and milliseconds by which a target's round trips have to be longer than those of the slowest other.
const CLEARLY_LONGER: (f64, f64) = (1.5, 5.0);

/// Finding of a target to which no SIP answer came, while others answered; it says what the rule of silence would.
pub(super) const SILENT: &str = "target_silent";

/// Targets that are silent, that fail or drop more, or that are slower: the first of these is told of.
pub(super) fn worse(seen: &Seen<'_>) -> Vec<Finding> {
    let silent = seen.targets.iter().filter_map(|target| silent(seen, target));
    let failing = seen.targets.iter().filter_map(|target| failing(seen, target));
    let slower = seen.targets.iter().filter_map(|target| slower(seen, target));
    silent.chain(failing).chain(slower).take(1).collect()
}

/// All targets but one.
fn others<'a>(seen: &Seen<'a>, target: &TargetFigures) -> impl Iterator<Item = &'a TargetFigures> {
    let number = target.number;
    seen.targets.iter().filter(move |other| other.number != number)
}

/// Share of the attempts of all others that failed or were dropped, and those attempts in words; `None` where they had none.
fn unfinished_elsewhere(seen: &Seen<'_>, target: &TargetFigures) -> Option<(f64, String)> {
    let sum = |of: fn(&TargetFigures) -> u64| others(seen, target).map(of).sum::<u64>();
    let (unfinished, attempts) = (sum(TargetFigures::unfinished), sum(|t| t.attempts));
    let said = format!("{unfinished} of {attempts} at the others");
    (attempts > 0).then(|| (unfinished as f64 / attempts as f64, said))
}

fn finding(seen: &Seen<'_>, name: &'static str, target: &TargetFigures, calls: u64, what: String) -> Finding {
    let of = seen.targets.len();
    Finding {
        what,
        seen: seen
            .shown(&format!("calls whose number leaves {} when divided by {of}", target.number), "answer"),
        ..seen.over(name, calls as usize, "")
    }
}

/// A target that said nothing at all in SIP, while others answered.
fn silent(seen: &Seen<'_>, target: &TargetFigures) -> Option<Finding> {
    let is_silent = target.attempts > 0 && target.mute == target.attempts;
    let is_alone = others(seen, target).any(|other| other.answered > 0);
    if !is_silent || !is_alone {
        return None;
    }
    let (address, count) = (&target.address, seen.targets.len());
    let calls = counted(target.attempts, "call");
    let what =
        format!("target {}, {address}, answered none of its {calls} in SIP; others did", target.number);
    Some(Finding {
        cause: "nothing takes SIP at that address, or its answers do not find back".into(),
        cure: format!(
            "see that it runs and listens there, and that no firewall is between (`loadtest check` tries each target with \
             OPTIONS); or take it out of asterisk.sip, which deals calls to {count}"
        ),
        // Nothing else is to be looked at first.
        weight: 1.0,
        ..finding(seen, SILENT, target, target.attempts, what)
    })
}

/// A target at which clearly more attempts fail, or are dropped once they are answered, than at the others.
fn failing(seen: &Seen<'_>, target: &TargetFigures) -> Option<Finding> {
    let (elsewhere, said) = unfinished_elsewhere(seen, target)?;
    let unfinished = target.unfinished();
    let share = unfinished as f64 / target.attempts.max(1) as f64;
    if unfinished < FEW || share < elsewhere + CLEARLY_MORE {
        return None;
    }
    let TargetFigures { number, address, dropped, attempts, .. } = target;
    let how = match *dropped {
        0 => "failed",
        dropped if dropped == unfinished => "were dropped",
        _ => "failed or were dropped",
    };
    let what = format!("target {number}, {address}: {unfinished} of {attempts} calls {how}, and {said}");
    Some(Finding {
        cause: "that Asterisk is set up otherwise than the others, has less room, or is in trouble".into(),
        cure: format!(
            "compare its endpoints, accounts, dialplan and limits with the others', and look in the log of {address}; a run \
             with it alone in asterisk.sip shows its own limit"
        ),
        ..finding(seen, "target_failing", target, unfinished, what)
    })
}

/// A target whose round trips are clearly longer than those of the slowest other: by the highest percentile that rests
/// on enough packets everywhere.
fn slower(seen: &Seen<'_>, target: &TargetFigures) -> Option<Finding> {
    let is_told = |n: &usize| seen.targets.iter().all(|t| t.sent == 0 || !t.rtt[*n].too_few);
    let n = (0..OF_RTT.len()).rev().find(is_told)?;
    let slowness = |of: &TargetFigures| match of.rtt[n].value {
        Value::Number(ms) => Some(ms),
        Value::Lost => Some(f64::INFINITY),
        Value::NoData => None,
    };
    let own = slowness(target)?;
    let other = others(seen, target).filter_map(slowness).reduce(f64::max)?;
    let (factor, more) = CLEARLY_LONGER;
    // Where others lose as much, none is the worse one.
    if !(own > other * factor && own > other + more) {
        return None;
    }
    let (TargetFigures { number, address, .. }, key) = (target, OF_RTT[n].key());
    let [own, other] = [own, other].map(|ms| match ms.is_finite() {
        true => show(Value::Number(ms), Unit::Ms),
        false => "among the lost".into(),
    });
    let what =
        format!("target {number}, {address}: round trip {key} {own}, and at most {other} at the others");
    Some(Finding {
        cause: "that Asterisk, its service, its machine or the way to it is slower than the others'".into(),
        cure: format!(
            "compare CPU and load of the machine of {address} with the others', and the way there (`loadtest ping`); a run \
             with it alone in asterisk.sip shows it by itself"
        ),
        ..finding(seen, "target_slower", target, target.answered, what)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{end, found, healthy};
    use crate::record::{Ending, Latencies, Run};

    /// Forty healthy calls at two targets, with so many packets of this round trip each.
    fn run(ms: [u64; 2]) -> Run {
        let mut run = healthy();
        let one = run.calls[0].clone();
        run.calls = (0..40).map(|call| crate::record::CallRecord { call, ..one.clone() }).collect();
        run.environment.targets = vec!["192.0.2.7:5060".into(), "192.0.2.8:5060".into()];
        for (target, ms) in (0..).zip(ms) {
            let mut back = Latencies::default();
            back.record_n(ms * 1_000_000, 20 * 400);
            run.intervals.add_target(target, &back);
        }
        run
    }

    fn first(run: Run) -> (&'static str, String) {
        let finding = found(run).into_iter().next();
        finding.map(|f| (f.name, format!("{} {} {}", f.what, f.cause, f.cure))).unwrap_or_default()
    }

    /// Ends the calls to the second target so.
    fn at_second(mut run: Run, count: usize, ending: Ending, status: Option<u16>) -> Run {
        let (mut second, first): (Vec<_>, Vec<_>) = run.calls.drain(..).partition(|call| call.call % 2 == 1);
        std::mem::swap(&mut run.calls, &mut second);
        end(&mut run, count, ending, status, "no");
        run.calls.extend(first);
        run.calls.sort_by_key(|call| call.call);
        run
    }

    #[test]
    fn equal_targets_and_one_alone_are_no_finding() {
        let names = |run| found(run).into_iter().map(|f| f.name).collect::<Vec<_>>();
        assert!(names(run([10, 11])).iter().all(|name| !name.starts_with("target_")));
        let mut alone = at_second(run([10, 90]), 20, Ending::Rejected, Some(503));
        alone.environment.targets.clear();
        assert!(names(alone).iter().all(|name| !name.starts_with("target_")));
    }

    #[test]
    fn the_one_that_fails_is_named_before_what_its_calls_say() {
        let (name, said) = first(at_second(run([10, 10]), 20, Ending::Rejected, Some(503)));
        assert_eq!(name, "target_failing");
        assert!(
            said.contains("target 1, 192.0.2.8:5060: 20 of 20 calls failed, and 0 of 20 at the others"),
            "{said}"
        );
        let (name, said) = first(at_second(run([10, 10]), 15, Ending::MediaLost, Some(200)));
        assert_eq!(name, "target_failing");
        assert!(said.contains("15 of 20 calls were dropped, and 0 of 20 at the others"), "{said}");
        let few = first(at_second(run([10, 10]), 2, Ending::Rejected, Some(503)));
        assert_ne!(few.0, "target_failing", "two calls say nothing of it");
        // Where all fail alike none is the worse one.
        let mut all = run([10, 10]);
        end(&mut all, 40, Ending::Rejected, Some(503), "no");
        assert_ne!(first(all).0, "target_failing");
    }

    #[test]
    fn a_silent_one_is_told_once_and_first() {
        let mut run = at_second(run([10, 10]), 20, Ending::Timeout, None);
        run.calls.iter_mut().filter(|c| c.ending == Ending::Timeout).for_each(|c| {
            (c.srd_ms, c.answer_delay_ms, c.retransmissions) = (None, None, 6);
        });
        let names: Vec<_> = found(run.clone()).iter().map(|f| f.name).collect();
        assert_eq!((names[0], names.contains(&"sip_silent")), ("target_silent", false), "{names:?}");
        assert!(first(run.clone()).1.contains("192.0.2.8:5060, answered none of its 20 calls"));
        // Nobody answers: that is no fault of one of them.
        run.calls.iter_mut().for_each(|c| {
            (c.ending, c.srd_ms, c.answer_delay_ms, c.retransmissions) = (Ending::Timeout, None, None, 6);
        });
        let (name, said) = first(run);
        assert!(name == "sip_silent" && said.contains("from the targets"), "{name} {said}");
    }

    #[test]
    fn the_slower_one_is_named_by_the_percentile_that_there_are_packets_for() {
        let (name, said) = first(run([10, 30]));
        assert_eq!(name, "target_slower");
        assert!(
            said.contains("target 1, 192.0.2.8:5060: round trip p95 30.") && said.contains("at most 10."),
            "{said}"
        );
        assert_eq!(first(run([30, 10])).1.split(':').next(), Some("target 0, 192.0.2.7"));
    }
}
