//! Sentences of a search, made in one place.

use super::answer::{Broke, Change, Ending, GoalAnswer};
use super::load::{Kind, Load};
use crate::values::{Unit, Value, counted, show};

/// A goal's answer: `187 to 196 calls: at 196 ‘rtt.p99 < 20ms’ broke first (24.1 ms), Asterisk had 1.71 of 2 cores`.
pub(super) fn sentence(
    lower: Option<Load>,
    upper: Option<Load>,
    ending: &Ending,
    broke: Option<&Broke>,
    undecided: Undecided<'_>,
) -> String {
    let of_gate = upper.zip(broke).map(|(upper, broke)| broken(upper, broke));
    let of_rest = so_far(undecided);
    let full = "nobody but the run used the machine: it is the capacity of this machine with driver, service and Asterisk on it";
    let of_machine = broke.filter(|broke| broke.full_of_own_load).map(|_| full.to_string());
    let clauses: Vec<_> = [of_gate, irregular(ending), of_rest, of_machine].into_iter().flatten().collect();
    match clauses.is_empty() {
        true => range(lower, upper),
        false => format!("{}: {}", range(lower, upper), clauses.join("; ")),
    }
}

/// Bounds in words: `187 to 196 calls`, `at least 400 calls`, `fewer than 10 calls`.
pub fn range(lower: Option<Load>, upper: Option<Load>) -> String {
    match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{} to {upper}", figure(lower)),
        (Some(lower), None) => format!("at least {lower}"),
        (None, Some(upper)) if upper.kind() == Kind::Calls => format!("fewer than {upper}"),
        (None, Some(upper)) => format!("less than {upper}"),
        (None, None) => "the capacity is not known".into(),
    }
}

/// A load's number, its thousands set apart.
fn figure(load: Load) -> String {
    match load.kind() {
        Kind::Calls => show(Value::Number(load.number()), Unit::Count),
        Kind::Rate => load.figure(),
    }
}

fn broken(upper: Load, Broke { gate, actual, asterisk_cores, machine_cores, .. }: &Broke) -> String {
    let cores = match asterisk_cores {
        Some(cores) if *machine_cores > 0 => format!(", Asterisk had {cores:.2} of {machine_cores} cores"),
        _ => String::new(),
    };
    format!("at {} `{gate}` broke first ({actual}){cores}", figure(upper))
}

/// Loads that were good, or bad, in too little time to decide them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Undecided<'a> {
    pub good: Option<Load>,
    pub bad: Option<&'a (Load, Broke)>,
}

fn so_far(Undecided { good, bad }: Undecided<'_>) -> Option<String> {
    let good = good.map(|load| format!("at {} all was well", figure(load)));
    let bad = bad.map(|(load, Broke { gate, actual, .. })| {
        format!("at {} `{gate}` was broken ({actual})", figure(*load))
    });
    let said: Vec<_> = good.into_iter().chain(bad).collect();
    (!said.is_empty()).then(|| format!("so far {}, for too short a time to decide it", said.join(", and ")))
}

/// The reason for which an answer is not regular, and the cure where there is one.
fn irregular(ending: &Ending) -> Option<String> {
    Some(match ending {
        Ending::Regular => return None,
        Ending::Wavering { from, to } => {
            let loads = match from == to {
                true => format!("at {}", figure(*from)),
                false => format!("from {} to {}", figure(*from), figure(*to)),
            };
            format!(
                "{loads} trials contradict each other: the machine, or the service, is not equally fast at all times"
            )
        }
        Ending::Floor { by } => {
            format!("it never failed, and {by} ends the search there; raise that to find more")
        }
        Ending::DriverLimit => {
            "limited by the driver, which manages no more against its own echo on this machine".into()
        }
        Ending::OutOfTime => "out of time before the bounds came close; raise search.time_limit".into(),
        Ending::VoidTooOften { load, reason } => {
            format!("not decided, for trials at {load} were void again and again, the last because {reason}")
        }
        Ending::Undecided { load } => {
            format!("trials at {load} ended too early to decide it; raise gates.abort_after")
        }
        Ending::MinimumFails => "the smallest load of the search fails already; lower search.min".into(),
        Ending::Broke { load, reason } => {
            format!("the trial at {load} broke: {reason}; --resume tries it again")
        }
        Ending::Interrupted => "interrupted before the bounds came close".into(),
    })
}

/// A remark on a service that keeps what calls should give back.
pub(super) fn leaks(leaking: u64, trials: u64) -> Option<String> {
    (leaking > 0).then(|| {
        let of = counted(trials, "trial");
        format!(
            "resources were left behind after {leaking} of {of}: later trials met less room than earlier ones, and a \
             fresh start may carry more"
        )
    })
}

/// A remark on loads that were carried, and at which a trial was bad nonetheless.
pub(super) fn unsteady(goal: Option<&str>, least: Load, most: Load) -> String {
    let of = goal.map_or(String::new(), |goal| format!("{goal}: "));
    let loads = match least == most {
        true => format!("at {least}"),
        false => format!("from {} to {most}", figure(least)),
    };
    format!(
        "{of}{loads} trials were not alike, good and bad ones: the machine is not equally fast at all times, or the \
         service is not; below {least} none was bad"
    )
}

/// Two capacities beside each other.
pub(super) fn change(base: &GoalAnswer, new: &GoalAnswer, change: Change) -> String {
    let before = range(base.lower, base.upper);
    let before = before.strip_suffix(" calls").unwrap_or(&before);
    let both = format!("{}, {before} before", range(new.lower, new.upper));
    // Shares of the old capacity, from the smallest difference that the bounds allow to the largest.
    let ratio = |new: Option<Load>, base: Option<Load>| {
        new.zip(base).map(|(new, base)| (new.number() / base.number() - 1.0).abs() * 100.0)
    };
    let (least, most, what) = match change {
        Change::None => return format!("{both}: no difference is certain"),
        Change::Less => (ratio(new.upper, base.lower), ratio(new.lower, base.upper), "less"),
        Change::More => (ratio(new.lower, base.upper), ratio(new.upper, base.lower), "more"),
    };
    match (least, most) {
        (Some(least), Some(most)) => format!("{both}: {least:.0} to {most:.0} % {what}"),
        (Some(least), None) => format!("{both}: {least:.0} % {what} at the least"),
        (None, _) => format!("{both}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broke() -> Broke {
        Broke {
            gate: "rtt.p99 < 20ms".into(),
            actual: "24.100 ms".into(),
            asterisk_cores: Some(1.709),
            machine_cores: 2,
            full_of_own_load: false,
        }
    }

    #[test]
    fn answers_read_well() {
        let calls = |n| Load::calls(n);
        let broke = broke();
        assert_eq!(
            sentence(calls(187), calls(196), &Ending::Regular, Some(&broke), Undecided::default()),
            "187 to 196 calls: at 196 `rtt.p99 < 20ms` broke first (24.100 ms), Asterisk had 1.71 of 2 cores"
        );
        let full = Broke { full_of_own_load: true, asterisk_cores: None, ..broke.clone() };
        assert_eq!(
            sentence(Load::rate(12.1), Load::rate(12.5), &Ending::Regular, Some(&full), Undecided::default()),
            "12.1 to 12.5/s: at 12.5 `rtt.p99 < 20ms` broke first (24.100 ms); nobody but the run used the \
             machine: it is the capacity of this machine with driver, service and Asterisk on it"
        );
        assert_eq!(
            sentence(
                calls(1400),
                None,
                &Ending::Floor { by: "search.max".into() },
                None,
                Undecided::default()
            ),
            "at least 1,400 calls: it never failed, and search.max ends the search there; raise that to find more"
        );
        assert_eq!(
            sentence(calls(400), None, &Ending::DriverLimit, None, Undecided::default()),
            "at least 400 calls: limited by the driver, which manages no more against its own echo on this machine"
        );
        assert_eq!(
            sentence(None, calls(10), &Ending::MinimumFails, Some(&broke), Undecided::default()),
            "fewer than 10 calls: at 10 `rtt.p99 < 20ms` broke first (24.100 ms), Asterisk had 1.71 of 2 cores; the \
             smallest load of the search fails already; lower search.min"
        );
        let void = Ending::VoidTooOften {
            load: Load::calls(140).unwrap(),
            reason: "this machine was disturbed".into(),
        };
        assert_eq!(
            sentence(calls(100), None, &void, None, Undecided::default()),
            "at least 100 calls: not decided, for trials at 140 calls were void again and again, the last \
             because this machine was disturbed"
        );
        assert_eq!(
            sentence(None, None, &Ending::Interrupted, None, Undecided::default()),
            "the capacity is not known: interrupted before the bounds came close"
        );
        for ending in [Ending::OutOfTime, Ending::Undecided { load: Load::calls(140).unwrap() }] {
            assert!(
                sentence(calls(1), calls(9), &ending, None, Undecided::default())
                    .starts_with("1 to 9 calls: ")
            );
        }
    }

    #[test]
    fn what_came_too_early_names_what_it_leaves_open() {
        let calls = |n| Load::calls(n);
        let broke = broke();
        let bad = (Load::calls(320).unwrap(), broke.clone());
        let undecided = Undecided { good: calls(270), bad: Some(&bad) };
        assert_eq!(
            sentence(calls(268), None, &Ending::Interrupted, None, undecided),
            "at least 268 calls: interrupted before the bounds came close; so far at 270 all was well, and at 320 \
             `rtt.p99 < 20ms` was broken (24.100 ms), for too short a time to decide it"
        );
        let crash =
            Ending::Broke { load: Load::calls(320).unwrap(), reason: "Asterisk ended (signal: 11)".into() };
        assert_eq!(
            sentence(calls(226), None, &crash, None, Undecided::default()),
            "at least 226 calls: the trial at 320 calls broke: Asterisk ended (signal: 11); --resume tries it again"
        );
        assert_eq!(
            unsteady(Some("good"), Load::calls(226).unwrap(), Load::calls(246).unwrap()),
            "good: from 226 to 246 calls trials were not alike, good and bad ones: the machine is not equally fast at \
             all times, or the service is not; below 226 calls none was bad"
        );
        assert!(
            unsteady(None, Load::calls(9).unwrap(), Load::calls(9).unwrap()).starts_with("at 9 calls trials")
        );
        assert_eq!(leaks(0, 9), None);
        assert!(leaks(2, 9).is_some_and(|text| text.contains("2 of 9 trials")));
    }
}
