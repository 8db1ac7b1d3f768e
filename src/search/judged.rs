//! A judged run → the record of a trial, and its outcome for each goal.

use super::load::{Kind, Load};
use super::settings::ms;
use super::stored::LONGEST_TEXT;
use super::trial::{Ended, FORMAT, Figures, Length, Outcome, Trial};
use crate::gate::{self, Extent, Gate, GateResult, MachineLoad, Verdict, machine_load};
use crate::metrics::{Definition, Summary, catalogue};
use crate::record::{Environment, Suppressed};
use crate::values::{Span, Value, counted, cut, show, visible};

/// Share of the wanted calls that must be up when the window begins, or the load was not the one that was wanted
/// (RFC 9971 section 4.9.1: a large difference between intended and offered load counts as loss). It is the usual
/// width of a goal.
const LEAST_HELD: f64 = 0.95;

/// Share of the attempts that may find the scenario's own cap reached.
const MOST_CAPPED: f64 = 0.01;

/// The plan of a trial that was carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Number of the trial in its search, from 1.
    pub number: u64,
    /// The load that was wanted.
    pub load: Load,
    /// The length of the hold.
    pub hold: Span,
    /// The length as it counts.
    pub length: Length,
    /// Folder of its run, within the folder of the search.
    pub folder: String,
}

impl Trial {
    /// The record of a trial from its run and the verdict over it by each goal's gates.
    pub fn judged<'a>(
        planned: Planned,
        summary: &Summary,
        verdicts: impl IntoIterator<Item = (&'a str, &'a Verdict)>,
    ) -> Trial {
        let Planned { number, load, hold, length, folder } = planned;
        let environment = &summary.environment;
        let ended = ended(environment);
        let planned_s = ms(hold) as f64 / 1000.0;
        let held_s = environment.window().map(|window| window.end - window.start);
        let verdicts: Vec<_> = verdicts.into_iter().collect();
        Trial {
            format: FORMAT,
            number,
            load,
            planned_s,
            // A hold that took its course lasted as planned, but for the milliseconds of its first and last packet.
            effective_s: if ended == Ended::Planned {
                planned_s
            } else {
                held_s.unwrap_or_default().max(0.0)
            },
            took_s: environment.elapsed_s,
            length: if ended == Ended::Planned { length } else { Length::Short },
            ended,
            outcomes: verdicts
                .iter()
                .map(|(goal, v)| (goal.to_string(), outcome(load, summary, v)))
                .collect(),
            full_of_own_load: verdicts.iter().any(|(_, v)| is_full(summary, v)),
            leaks: environment.leaks.total(None),
            figures: Figures::of(summary),
            folder,
        }
    }
}

fn ended(environment: &Environment) -> Ended {
    if !environment.broken.is_empty() {
        Ended::Broke
    } else if environment.interrupted {
        Ended::Interrupted
    } else if environment.ended_early.is_some() {
        Ended::ByGate
    } else {
        Ended::Planned
    }
}

/// Outcome of a trial for one goal.
///
/// A broken gate is bad; one that the doubt leaves open is bad on a machine that is full of the run's own load, for
/// then that is the answer, and void on one that was disturbed.
pub fn outcome(load: Load, summary: &Summary, verdict: &Verdict) -> Outcome {
    let doubt = &verdict.doubt;
    if doubt.extent == Extent::Everything {
        return void(doubt.reasons.last().map_or("nothing is known of it", String::as_str));
    }
    // Whatever the gates say, it was another load.
    if let Some(void) = kept_back(summary) {
        return void;
    }
    if let Some(broken) = first_broken(summary, verdict) {
        // Callers on a machine that others hold up stop within a word, and hear no answer in time.
        return match is_of_turns(broken) && is_disturbed(summary, verdict) {
            true => open(summary, verdict),
            false => bad(&broken.expression, &broken.actual),
        };
    }
    if let Some(fault) = not_offered(load, summary, verdict) {
        return fault;
    }
    // Judged by gates other than those that ended it, and none of them was broken or in doubt.
    let held_so_far = summary.environment.ended_early.is_some() && all_pass(verdict);
    match verdict.outcome {
        gate::Outcome::Pass => Outcome::Good,
        _ if held_so_far => Outcome::Good,
        _ => open(summary, verdict),
    }
}

fn all_pass(verdict: &Verdict) -> bool {
    verdict.gates.iter().all(|gate| gate.outcome == gate::Outcome::Pass)
}

/// The gate that broke first: the one that ended the trial, else the first of the list.
fn first_broken<'a>(summary: &Summary, verdict: &'a Verdict) -> Option<&'a GateResult> {
    let is_broken =
        |gate: &&GateResult| matches!(gate.outcome, gate::Outcome::Fail | gate::Outcome::Regressed);
    let ender = summary.environment.ended_early.as_ref().map(|early| early.gate.as_str());
    let mut broken = verdict.gates.iter().filter(is_broken);
    // A turn's gate last: it says the least where the machine was disturbed.
    let first = broken.clone().min_by_key(|gate| is_of_turns(gate));
    broken.find(|gate| Some(gate.expression.as_str()) == ender).or(first)
}

/// Attempts that the scenario's own cap, or a want of ports, kept back: no load of the target's.
fn kept_back(summary: &Summary) -> Option<Outcome> {
    let Suppressed { cap, port, .. } = summary.environment.suppressed;
    let offered = summary.environment.suppressed_attempts + summary.calls.len() as u64;
    // Of a Poisson process one or two find all lines taken by chance.
    let cap = if cap as f64 > MOST_CAPPED * offered as f64 { cap } else { 0 };
    let causes = [
        (port, "the driver had no port for", "widen media.ports, or raise the limit of descriptors"),
        (cap, "as many calls as load.calls allows were up at", "raise load.calls"),
    ];
    let (attempts, what, cure) = causes.into_iter().find(|(attempts, _, _)| *attempts > 0)?;
    Some(void(&format!("{what} {}; {cure}", counted(attempts, "attempt"))))
}

/// The load was not the one that was wanted: the driver was late for it, or the target took fewer calls.
fn not_offered(load: Load, summary: &Summary, verdict: &Verdict) -> Option<Outcome> {
    let late = summary.environment.suppressed.late;
    let offered = summary.environment.suppressed_attempts + summary.calls.len() as u64;
    if late as f64 > (1.0 - LEAST_HELD) * offered as f64 {
        let said = counted(late, "attempt");
        return Some(match is_full(summary, verdict) {
            true => bad("calls.suppressed_late_count == 0", &late.to_string()),
            false => {
                void(&format!("the driver was too late for {said}; a machine of its own keeps it on time"))
            }
        });
    }
    let number = |name| summary.metric(name).and_then(|metric| metric.value.number());
    let attempts = number("calls.attempts").unwrap_or_default();
    if attempts > 0.0 && number("calls.answered_count") == Some(0.0) {
        return Some(bad("calls.answered > 0%", "no call was answered"));
    }
    let held = summary.metric("calls.held").filter(|_| load.kind() == Kind::Calls)?;
    let is_short = held.value.number().is_some_and(|share| share < LEAST_HELD);
    is_short.then(|| bad(&format!("calls.held >= {}%", LEAST_HELD * 100.0), &held.to_string()))
}

/// A trial of which no gate is broken, and some are open.
fn open(summary: &Summary, verdict: &Verdict) -> Outcome {
    // Broken ones are left to this only where the machine was disturbed.
    let is_open = |gate: &&GateResult| gate.outcome != gate::Outcome::Pass;
    // A longer trial, and no emptier machine, would have told what rests on too few samples.
    let is_bent = |gate: &&GateResult| gate.interval.is_some() && !rests_on_too_few(summary, gate);
    let bent = verdict.gates.iter().filter(is_open).find(is_bent);
    if let Some(gate) = bent.filter(|_| is_full(summary, verdict)) {
        return bad(&gate.expression, &at_worst(gate));
    }
    let gate = bent.or_else(|| verdict.gates.iter().find(is_open));
    let of_gate = gate.map(|gate| match gate.reason.as_str() {
        "" => format!("`{}` is open ({})", gate.expression, gate.actual),
        reason => format!("`{}` is open: {reason}", gate.expression),
    });
    // The last reason says who used the machine, where that is known.
    let of_doubt = verdict.doubt.reasons.last().cloned();
    let nothing = || format!("nothing was measured: {}", counted(summary.calls.len() as u64, "call"));
    let said: Vec<_> = of_gate.into_iter().chain(of_doubt).collect();
    void(&if said.is_empty() { nothing() } else { said.join("; ") })
}

/// The value of a gate that is open, with the one by which it is broken: alone it would seem to hold.
fn at_worst(gate: &GateResult) -> String {
    let worst = gate.interval.and_then(|interval| Some(show(interval.readings.worst?, interval.unit)));
    worst.map_or_else(|| gate.actual.clone(), |worst| format!("{}, {worst} at the worst", gate.actual))
}

/// True if the machine was full of the run's own load, or busy with it and the driver late: against its own echo it
/// manages this load on time, so that only Asterisk and the service can have been in its way.
fn is_full(summary: &Summary, verdict: &Verdict) -> bool {
    match machine_load(summary, &verdict.doubt) {
        Some(MachineLoad::Full) => true,
        Some(MachineLoad::Busy) => verdict.doubt.is_any(),
        Some(MachineLoad::Disturbed | MachineLoad::Unknown) | None => false,
    }
}

fn is_of_turns(gate: &GateResult) -> bool {
    let definition = Gate::read(&gate.expression).ok().and_then(|gate| catalogue::find(gate.subject.name()));
    definition.is_some_and(Definition::is_of_turns)
}

fn is_disturbed(summary: &Summary, verdict: &Verdict) -> bool {
    verdict.doubt.is_any() && machine_load(summary, &verdict.doubt) == Some(MachineLoad::Disturbed)
}

fn rests_on_too_few(summary: &Summary, gate: &GateResult) -> bool {
    let metric = Gate::read(&gate.expression).ok().and_then(|gate| summary.metric(gate.subject.name()));
    metric.is_some_and(|metric| metric.too_few)
}

fn bad(gate: &str, actual: &str) -> Outcome {
    Outcome::Bad { gate: text(gate), actual: text(actual) }
}

fn void(reason: &str) -> Outcome {
    Outcome::Void { reason: text(reason) }
}

/// Text as it is taken back from a file: on one line, and bounded.
fn text(said: &str) -> String {
    // The length that `cut` adds has its room.
    cut(&visible(said), LONGEST_TEXT - 32)
}

impl Figures {
    fn of(summary: &Summary) -> Figures {
        let value = |name| summary.metric(name).map_or(Value::NoData, |metric| metric.value);
        let count = |name| value(name).number().map_or(0, |n| n as u64);
        let suppressed = summary.environment.suppressed_attempts;
        Figures {
            rtt_p50_ms: value("rtt.p50"),
            rtt_p95_ms: value("rtt.p95"),
            rtt_p99_ms: value("rtt.p99"),
            turn_response_p50_ms: value("turn.response.p50"),
            turn_response_p95_ms: value("turn.response.p95"),
            turn_response_mean_ms: value("turn.response.mean"),
            loss_ratio: value("loss.ratio"),
            srd_p50_ms: value("srd.p50"),
            srd_p95_ms: value("srd.p95"),
            srd_p99_ms: value("srd.p99"),
            send_lateness_p99_ms: value("send_lateness.p99"),
            asterisk_cores: value("cpu.asterisk_mean"),
            service_cores: value("cpu.service_mean"),
            driver_cores: value("cpu.driver_mean"),
            machine_cores: summary.environment.all_cpus(),
            offered: count("calls.attempts").saturating_add(suppressed),
            carried: count("calls.answered_count"),
            suppressed,
            calls_lost: ["calls.failed_count", "calls.dropped_count", "calls.silent_count"]
                .map(count)
                .iter()
                .sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::sample::{DISTURBED, QUIET, Second, run, seconds};
    use crate::gate::{Limits, judge};
    use crate::metrics::summarize;
    use crate::record::{EndedEarly, Ending, Run, TurnRow};
    use crate::values::Ns;

    const GATES: [&str; 2] = ["rtt.p99 < 20ms", "loss.ratio < 1%"];

    fn calls(n: u32) -> Load {
        Load::calls(n).unwrap()
    }

    fn judged(run: Run, gates: &[&str]) -> Trial {
        let summary = summarize(run);
        let gates: Vec<_> = gates.iter().map(|gate| Gate::parse(gate).unwrap()).collect();
        let verdict = judge(&summary, &gates, &Limits::default());
        let planned = Planned {
            number: 7,
            load: calls(1),
            hold: "60s".parse().unwrap(),
            length: Length::Full,
            folder: "trial-7".into(),
        };
        Trial::judged(planned, &summary, [("good", &verdict)])
    }

    fn outcome_of(run: Run) -> Outcome {
        judged(run, &GATES).outcomes.remove("good").unwrap()
    }

    fn slow(second: Second) -> Second {
        Second { rtt_ms: 30.0, ..second }
    }

    #[test]
    fn pass_is_good_and_fail_is_bad_by_its_first_gate() {
        let trial = judged(run(&[QUIET; 60]), &GATES);
        assert_eq!(trial.outcomes["good"], Outcome::Good);
        assert_eq!((trial.length, trial.ended, trial.effective_s), (Length::Full, Ended::Planned, 60.0));
        assert!(!trial.full_of_own_load);
        assert_eq!(trial.figures.machine_cores, 2);
        assert!(trial.figures.asterisk_cores.number().is_some_and(|cores| (cores - 0.3).abs() < 1e-9));
        let broken = outcome_of(run(&[slow(QUIET); 60]));
        assert!(
            matches!(&broken, Outcome::Bad { gate, actual } if gate == GATES[0] && actual == "30.015 ms"),
            "{broken:?}"
        );
    }

    #[test]
    fn what_the_machine_has_bent_is_void_if_others_did_and_bad_if_it_was_full_of_the_run() {
        let disturbed = outcome_of(run(&[slow(DISTURBED); 60]));
        assert!(
            matches!(&disturbed, Outcome::Void { reason } if reason.contains("this machine was disturbed")),
            "{disturbed:?}"
        );
        let full = Second { own: 0.95, others: 0.02, lateness_ms: 5.0, ..slow(QUIET) };
        let trial = judged(run(&[full; 60]), &GATES);
        assert!(
            matches!(&trial.outcomes["good"], Outcome::Bad { gate, .. } if gate == GATES[0]),
            "{trial:?}"
        );
        assert!(trial.full_of_own_load);
        // Busy with the run alone, and the driver late: who else was in its way?
        let busy = Second { own: 0.6, lateness_ms: 5.0, ..slow(QUIET) };
        let trial = judged(run(&[busy; 60]), &GATES);
        assert!(
            matches!(&trial.outcomes["good"], Outcome::Bad { actual, .. } if actual.ends_with(" at the worst")),
            "{trial:?}"
        );
        assert!(trial.full_of_own_load);
        let on_time = judged(run(&[Second { own: 0.6, ..QUIET }; 60]), &GATES);
        assert!(on_time.outcomes["good"] == Outcome::Good && !on_time.full_of_own_load, "{on_time:?}");
        // Neither: a driver that was late on an idle machine.
        let late = outcome_of(run(&[Second { lateness_ms: 5.0, ..slow(QUIET) }; 60]));
        assert!(matches!(late, Outcome::Void { .. }), "{late:?}");
        // A gate that holds on a noisy machine holds.
        assert_eq!(outcome_of(run(&seconds(20, QUIET, 40, DISTURBED))), Outcome::Good);
    }

    #[test]
    fn a_late_answer_is_bad_unless_others_held_the_callers_up() {
        let late = |second: Second, gates: &[&str]| {
            let mut run = run(&[second; 60]);
            let response_ms = Ns::from_ms(1700.0).ok();
            run.turns = vec![TurnRow { response_ms, said_to_s: 5.0, ..TurnRow::default() }; 10];
            judged(run, gates).outcomes.remove("good").unwrap()
        };
        let gate = "turn.response.max < 1500ms";
        assert!(matches!(late(QUIET, &[gate]), Outcome::Bad { gate: by, .. } if by == gate));
        let void = late(DISTURBED, &[gate]);
        assert!(
            matches!(&void, Outcome::Void { reason } if reason.contains(gate) && reason.contains("disturbed")),
            "{void:?}"
        );
        let own = Second { own: 0.95, others: 0.02, lateness_ms: 5.0, ..QUIET };
        assert!(matches!(late(own, &[gate]), Outcome::Bad { .. }), "it is the run's own load");
        // A gate that the machine cannot have bent decides, wherever it stands in the list.
        let both = late(DISTURBED, &[gate, "calls.answered_count == 0"]);
        assert!(matches!(&both, Outcome::Bad { gate, .. } if gate.starts_with("calls.")), "{both:?}");
    }

    #[test]
    fn a_machine_that_is_full_spoils_its_own_control_stream_too() {
        let full = Second { own: 0.95, control_ms: 25.0, ..slow(QUIET) };
        let trial = judged(run(&[full; 60]), &GATES);
        assert!(matches!(trial.outcomes["good"], Outcome::Bad { .. }), "{trial:?}");
        let idle = outcome_of(run(&[Second { control_ms: 25.0, ..slow(QUIET) }; 60]));
        assert!(
            matches!(&idle, Outcome::Void { reason } if reason.contains("this machine alone breaks the bound")),
            "{idle:?}"
        );
    }

    #[test]
    fn a_run_that_broke_is_void_with_its_reason() {
        let mut broken = run(&[slow(QUIET); 10]);
        broken.environment.broken = "Asterisk ended\u{1b}[2J".into();
        let trial = judged(broken, &GATES);
        assert_eq!(
            trial.outcomes["good"],
            Outcome::Void { reason: "the run broke: Asterisk ended␛[2J".into() }
        );
        assert_eq!((trial.ended, trial.length, trial.effective_s), (Ended::Broke, Length::Short, 10.0));
        let mut interrupted = run(&[QUIET; 10]);
        interrupted.environment.interrupted = true;
        assert_eq!(judged(interrupted, &GATES).ended, Ended::Interrupted);
    }

    #[test]
    fn a_load_that_was_not_offered_is_void_and_one_that_was_not_taken_is_bad() {
        let changed = |change: fn(&mut Run)| {
            let mut run = run(&[QUIET; 60]);
            change(&mut run);
            outcome_of(run)
        };
        let starved =
            changed(|run| (run.environment.suppressed_attempts, run.environment.suppressed.port) = (3, 3));
        assert!(
            matches!(&starved, Outcome::Void { reason } if reason.contains("no port for 3 attempts")),
            "{starved:?}"
        );
        let refused = changed(|run| {
            (run.environment.calls, run.environment.calls_at_start) = (100, 94);
        });
        assert!(
            matches!(&refused, Outcome::Bad { gate, actual } if gate == "calls.held >= 95%" && actual == "94.00 %"),
            "{refused:?}"
        );
        assert_eq!(
            changed(|run| (run.environment.calls, run.environment.calls_at_start) = (100, 96)),
            Outcome::Good
        );
        let silent = {
            let mut run = run(&[]);
            run.calls.iter_mut().for_each(|call| call.ending = Ending::Rejected);
            outcome_of(run)
        };
        assert!(
            matches!(&silent, Outcome::Bad { actual, .. } if actual == "no call was answered"),
            "{silent:?}"
        );
    }

    #[test]
    fn a_trial_that_a_gate_ended_is_short_and_bad_with_its_seconds_and_good_for_a_goal_that_held() {
        let ended = || {
            let mut run = run(&[slow(QUIET); 20]);
            run.environment.ended_early = Some(EndedEarly {
                gate: GATES[0].into(),
                actual: "30.015 ms".into(),
                since_s: 9.0,
                at_s: 19.9,
            });
            run
        };
        let trial = judged(ended(), &GATES);
        assert!(matches!(&trial.outcomes["good"], Outcome::Bad { gate, .. } if gate == GATES[0]));
        assert_eq!((trial.ended, trial.length, trial.effective_s), (Ended::ByGate, Length::Short, 20.0));
        assert_eq!(judged(ended(), &["rtt.p99 < 1s"]).outcomes["good"], Outcome::Good);
    }

    #[test]
    fn too_few_samples_are_no_fault_of_a_full_machine() {
        let full = Second { sent: 20, own: 0.95, lateness_ms: 5.0, ..QUIET };
        let trial = judged(run(&[full; 60]), &["rtt.p99.9 < 20ms"]);
        assert!(
            matches!(&trial.outcomes["good"], Outcome::Void { reason } if reason.contains("samples")),
            "{trial:?}"
        );
    }
}
