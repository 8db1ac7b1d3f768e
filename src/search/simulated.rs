//! Searches of services whose capacity is known, with seeded noise.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

use super::*;
use crate::gate::Gate;
use crate::values::{Percent, Span, Value};

const GATE: &str = "rtt.p99 < 20ms";

pub(super) fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap_or_else(|e| panic!("{toml}: {e}"))
}

pub(super) fn goals(names: &[&str]) -> Vec<Goal> {
    let gates = || vec![Gate::parse(GATE).unwrap()];
    names.iter().map(|name| Goal { name: name.to_string(), gates: gates() }).collect()
}

pub(super) fn conditions(driver_most: Option<u32>) -> Conditions {
    Conditions {
        traffic: Traffic { ptime: Duration::from_millis(20), call_duration: None, warmup: Duration::ZERO },
        costs: Costs { fixed: Duration::from_secs(10), ramp_of_one: Duration::from_millis(100) },
        driver_most: driver_most.and_then(Load::calls),
        cap: None,
    }
}

pub(super) fn calls(n: u32) -> Load {
    Load::calls(n).unwrap()
}

pub(super) fn bad() -> Outcome {
    Outcome::Bad { gate: GATE.into(), actual: "24.100 ms".into() }
}

pub(super) fn void() -> Outcome {
    Outcome::Void { reason: "this machine was disturbed".into() }
}

pub(super) fn trial(
    number: u64,
    load: Load,
    hold_s: f64,
    length: Length,
    outcomes: &[(&str, Outcome)],
) -> Trial {
    Trial {
        format: FORMAT,
        number,
        load,
        planned_s: hold_s,
        effective_s: hold_s,
        took_s: hold_s + 20.0,
        length,
        ended: Ended::Planned,
        outcomes: outcomes.iter().map(|(goal, outcome)| (goal.to_string(), outcome.clone())).collect(),
        full_of_own_load: false,
        leaks: Some(0),
        figures: Figures {
            asterisk_cores: Value::Number(load.number() / 100.0),
            machine_cores: 4,
            ..Figures::default()
        },
        folder: format!("trial-{number}"),
    }
}

/// A search to its end.
pub(super) struct Played {
    pub(super) search: Search,
    pub(super) trials: Vec<Trial>,
    pub(super) spent: Duration,
    pub(super) answer: Answer,
}

impl Played {
    pub(super) fn goal(&self) -> &GoalAnswer {
        &self.answer.goals[0]
    }

    pub(super) fn bounds(&self) -> (Option<u32>, Option<u32>) {
        let calls = |load: Option<Load>| load.map(|load| load.number() as u32);
        (calls(self.goal().lower), calls(self.goal().upper))
    }

    /// True if the capacity lies between the bounds.
    fn contains(&self, truth: u32) -> bool {
        let (lower, upper) = self.bounds();
        lower.unwrap_or(0) <= truth && upper.is_none_or(|upper| truth < upper)
    }
}

/// Time that a trial takes in all.
pub(super) fn time_of(trial: &Trial) -> Duration {
    let costs = conditions(None).costs;
    costs.fixed + costs.ramp_of_one.mul_f64(trial.load.number()) + Duration::from_secs_f64(trial.effective_s)
}

/// Plays a search against a service that makes a trial of a plan.
pub(super) fn play(mut search: Search, most: usize, mut serve: impl FnMut(Trial) -> Trial) -> Played {
    let goals: Vec<_> = search.clone().answer(Cut::Interrupted).goals.into_iter().map(|g| g.goal).collect();
    let (mut trials, mut spent): (Vec<Trial>, _) = (Vec::new(), Duration::ZERO);
    loop {
        let (load, hold, length) = match search.next(spent) {
            Step::Trial { load, hold, length, .. } => (load, hold, length),
            Step::Done(answer) => return Played { search, trials, spent, answer: *answer },
        };
        let number = trials.len() as u64 + 1;
        let outcomes: Vec<_> = goals.iter().map(|goal| (goal.as_str(), Outcome::Good)).collect();
        let done = serve(trial(number, load, hold.0.as_secs_f64(), length, &outcomes));
        spent += time_of(&done);
        search.add(&done);
        trials.push(done);
        assert!(
            trials.len() <= most,
            "{} trials: {:?}",
            trials.len(),
            search.standings().collect::<Vec<_>>()
        );
    }
}

/// With every goal's outcome.
pub(super) fn with(trial: Trial, outcome: Outcome) -> Trial {
    let outcomes: BTreeMap<_, _> =
        trial.outcomes.keys().map(|goal| (goal.clone(), outcome.clone())).collect();
    let calls_lost = u64::from(outcome == bad());
    Trial { outcomes, figures: Figures { calls_lost, ..trial.figures }, ..trial }
}

/// A service that carries a load with a probability, and the machine disturbs a share of the trials.
pub(super) fn noisy(seed: u64, disturbed: f64, carries: impl Fn(u32) -> f64) -> impl FnMut(Trial) -> Trial {
    let mut random = StdRng::seed_from_u64(seed);
    move |trial| {
        let chance = carries(trial.load.number() as u32);
        let (carried, is_void) = (random.random::<f64>() < chance, random.random::<f64>() < disturbed);
        let outcome = match (is_void, carried) {
            (true, _) => void(),
            (_, true) => Outcome::Good,
            (_, false) => bad(),
        };
        with(trial, outcome)
    }
}

/// True if the search has come to its end by what it found.
fn is_answered(played: &Played) -> bool {
    matches!(played.goal().ending, Ending::Regular | Ending::Wavering { .. })
}

fn sharp(knee: u32) -> impl Fn(u32) -> f64 {
    move |calls| f64::from(u8::from(calls <= knee))
}

pub(super) fn default_search() -> Search {
    Search::new(&Settings::default(), goals(&["good"]), conditions(None))
}

#[test]
fn a_sharp_knee_is_found_to_the_width_and_told() {
    let played = play(default_search(), 30, noisy(1, 0.0, sharp(193)));
    assert_eq!(played.bounds(), (Some(190), Some(198)), "{:?}", played.answer);
    assert!(played.goal().is_regular());
    assert_eq!(
        played.goal().sentence,
        "190 to 198 calls: at 198 `rtt.p99 < 20ms` broke first (24.100 ms), Asterisk had 1.98 of 4 cores"
    );
    assert!(played.goal().per_core.is_some_and(|calls| (calls - 100.0).abs() < 1e-9));
    assert_eq!(played.answer.none_lost, Some(calls(190)));
    // Ten loads: 10, 20 … 320, and four in between.
    let loads: Vec<_> = played.search.standings().map(|(load, _)| load.number()).collect();
    assert_eq!(loads, [10.0, 20.0, 40.0, 80.0, 160.0, 190.0, 198.0, 207.0, 226.0, 320.0]);
}

#[test]
fn a_first_trial_is_short_where_it_gives_every_gate_its_samples() {
    let played = play(default_search(), 30, noisy(1, 0.0, sharp(193)));
    let of = |load: u32| -> Vec<_> {
        let at = played.trials.iter().filter(|trial| trial.load == calls(load));
        at.map(|trial| (trial.length, trial.planned_s)).collect()
    };
    assert_eq!(of(10), [(Length::Full, 30.0)], "7,500 packets are too few for a 99th percentile");
    assert_eq!(of(20), [(Length::Short, 15.0)], "good enough to go up by");
    assert_eq!(
        of(160),
        [(Length::Short, 15.0)],
        "and the last one on the way up, of which more is known in the end"
    );
    let decided = [[(Length::Short, 15.0)].as_slice(), &[(Length::Full, 30.0); 4]].concat();
    assert_eq!(of(190), decided);
    assert_eq!(of(320), [(Length::Short, 15.0)], "bad, and so far away that nobody needs to be certain");
    assert_eq!(of(198), decided[..4], "105 of 120 seconds are bad, which is enough");
    let last: Vec<_> = played.trials.iter().rev().take(4).map(|trial| trial.load.number()).collect();
    assert_eq!(last, [190.0, 198.0, 190.0, 198.0], "both bounds are seen at more than one time");
}

#[test]
fn a_strict_search_rejects_by_a_single_short_trial() {
    let strict = Search::new(&Settings::default().strict(), goals(&["good"]), conditions(None));
    let played = play(strict, 30, noisy(1, 0.0, sharp(193)));
    assert!(played.contains(193) && played.goal().is_regular(), "{:?}", played.answer);
    assert_eq!(played.trials.iter().filter(|trial| trial.load == calls(320)).count(), 1);
}

#[test]
fn every_sharp_knee_is_between_the_bounds() {
    for knee in (10..3000).step_by(7) {
        let played = play(default_search(), 60, noisy(1, 0.0, sharp(knee)));
        assert!(played.contains(knee) && played.goal().is_regular(), "{knee}: {:?}", played.answer);
    }
    let played = play(default_search(), 9, noisy(1, 0.0, sharp(9)));
    assert_eq!((played.bounds(), &played.goal().ending), ((None, Some(10)), &Ending::MinimumFails));
    let small = Search::new(&settings("min = 1"), goals(&["good"]), conditions(None));
    for knee in 1..12 {
        let played = play(small.clone(), 40, noisy(1, 0.0, sharp(knee)));
        assert_eq!(played.bounds(), (Some(knee), Some(knee + 1)));
    }
}

#[test]
fn a_soft_knee_is_found_where_half_of_the_trials_pass() {
    // From 0.9 at 178 calls to 0.1 at 222.
    let carries = |calls: u32| 1.0 / (1.0 + ((f64::from(calls) - 200.0) / 10.0).exp());
    let mut between = 0;
    for seed in 0..200 {
        let played = play(default_search(), 60, noisy(seed, 0.0, carries));
        assert!(is_answered(&played), "{seed}: {:?}", played.answer);
        let (Some(lower), Some(upper)) = played.bounds() else { panic!("{:?}", played.answer) };
        between += usize::from(carries(lower) > 0.1 && carries(upper) < 0.9);
    }
    assert!(between >= 180, "{between} of 200 near the half");
}

#[test]
fn noise_in_one_trial_of_twenty_and_disturbance_do_not_move_the_answer_far() {
    // One of twenty trials is bad below the knee, and one of fifty good above it.
    let carries = |calls: u32| if calls <= 193 { 0.95 } else { 0.02 };
    let (mut right, mut void, mut unlucky) = (0, 0, 0);
    for seed in 0..200 {
        let played = play(default_search(), 120, noisy(seed, 0.1, carries));
        match &played.goal().ending {
            Ending::Regular | Ending::Wavering { .. } => right += usize::from(played.contains(193)),
            Ending::VoidTooOften { .. } => {
                void += 1;
                assert!(played.goal().sentence.contains("void again and again"), "{:?}", played.answer);
            }
            // Its first two trials were bad.
            Ending::MinimumFails => unlucky += 1,
            other => panic!("{seed}: {other:?}"),
        }
    }
    let told = format!("{right} right, {void} void too often, {unlucky} unlucky at once, of 200");
    assert!(right >= 150 && void <= 20 && unlucky <= 6, "{told}");
}

#[test]
fn a_leaking_service_is_told_by_a_remark_and_by_bounds_that_were_true_when_tried() {
    // A quarter of a call is lost for good with every ten that were carried.
    let mut carried = 0;
    let room = |carried: u32| 260_u32.saturating_sub(carried / 40);
    let mut rooms: BTreeMap<Load, (u32, u32)> = BTreeMap::new();
    let played = play(default_search(), 120, |mut trial| {
        let (calls, room) = (trial.load.number() as u32, room(carried));
        let seen = rooms.entry(trial.load).or_insert((room, room));
        *seen = (room.min(seen.0), room.max(seen.1));
        carried += calls;
        trial.leaks = Some(u64::from(calls / 40));
        with(trial, if calls <= room { Outcome::Good } else { bad() })
    });
    let (lower, upper) = (played.goal().lower.unwrap(), played.goal().upper.unwrap());
    assert!(lower.number() <= f64::from(rooms[&lower].1), "{:?}", played.answer);
    assert!(upper.number() > f64::from(rooms[&upper].0), "{:?}", played.answer);
    assert!(
        played.answer.leaking > 0 && played.answer.remarks[0].contains("left behind"),
        "{:?}",
        played.answer
    );
}

#[test]
fn a_pass_above_a_failure_is_a_fluke() {
    // Fails from 90 to 110, carries up to 200.
    let carries = |calls: u32| f64::from(u8::from(calls < 90 || (111..=200).contains(&calls)));
    let met = Search::new(&settings("min = 12"), goals(&["good"]), conditions(None));
    let played = play(met, 40, noisy(1, 0.0, carries));
    assert!(played.contains(89) && played.goal().is_regular(), "{:?}", played.answer);
    // Lower bounds above the failure, of a stored search, are of no account.
    let mut search = default_search();
    for (number, load, outcome) in
        [(1, 100, Outcome::Good), (2, 150, bad()), (3, 150, bad()), (4, 200, Outcome::Good)]
    {
        search.add(&trial(number, calls(load), 120.0, Length::Full, &[("good", outcome)]));
    }
    assert_eq!(search.bounds("good"), (Some(calls(100)), Some(calls(150))));
    assert!(matches!(search.next(Duration::ZERO), Step::Trial { load, .. } if load == calls(122)));
}

#[test]
fn a_service_better_than_the_driver_or_the_maximum_has_a_floor() {
    let limited = Search::new(&settings("max = 1000"), goals(&["good"]), conditions(Some(700)));
    let played = play(limited, 40, noisy(1, 0.0, sharp(5000)));
    assert_eq!((played.bounds(), &played.goal().ending), ((Some(700), None), &Ending::DriverLimit));
    let floor = Search::new(&settings("max = 400"), goals(&["good"]), conditions(Some(700)));
    let played = play(floor, 40, noisy(1, 0.0, sharp(5000)));
    assert_eq!(
        (played.bounds(), &played.goal().ending),
        ((Some(400), None), &Ending::Floor { by: "search.max".into() })
    );
    assert!(played.goal().sentence.starts_with("at least 400 calls: it never failed, and search.max ends"));
    let by_ports =
        Conditions { cap: Some(Most { load: calls(300), by: "media.ports".into() }), ..conditions(None) };
    for settings in [Settings::default(), settings("max = 400")] {
        let floor = Search::new(&settings, goals(&["good"]), by_ports.clone());
        let played = play(floor, 40, noisy(1, 0.0, sharp(5000)));
        let by = "media.ports".into();
        assert_eq!((played.bounds(), &played.goal().ending), ((Some(300), None), &Ending::Floor { by }));
    }
    let none = Search::new(&settings("min = 50"), goals(&["good"]), conditions(Some(20)));
    let played = play(none, 1, |trial| trial);
    assert_eq!(
        (played.trials.len(), played.bounds(), &played.goal().ending),
        (0, (None, None), &Ending::DriverLimit)
    );
}

#[test]
fn void_trials_are_repeated_twice_and_then_end_the_search() {
    let played = play(default_search(), 40, |trial| {
        let is_high = trial.load >= calls(80);
        with(trial, if is_high { void() } else { Outcome::Good })
    });
    let at_80 = played.trials.iter().filter(|trial| trial.load == calls(80)).count();
    assert_eq!(
        (at_80, played.bounds()),
        (3, (Some(40), None)),
        "what was good below it is confirmed before the end"
    );
    assert!(matches!(&played.goal().ending, Ending::VoidTooOften { load, .. } if *load == calls(80)));
}

#[test]
fn no_trial_is_begun_that_cannot_end_in_time() {
    let limited = |limit: &str| {
        let search =
            Search::new(&settings(&format!("time_limit = '{limit}'")), goals(&["good"]), conditions(None));
        play(search, 40, noisy(1, 0.0, sharp(193)))
    };
    for (limit, minutes) in [("40s", 1), ("10m", 10), ("15m", 15), ("20m", 20), ("40m", 40)] {
        let played = limited(limit);
        assert!(played.spent <= Duration::from_secs(60 * minutes), "{limit}: {:?}", played.spent);
        let is_out = played.goal().ending == Ending::OutOfTime;
        assert!(is_out != played.goal().is_regular() && played.contains(193), "{limit}: {:?}", played.answer);
    }
    assert!(limited("40s").trials.is_empty() && limited("40m").goal().is_regular());
}

#[test]
fn several_goals_are_served_by_the_same_trials() {
    let knees = [("good", 150), ("tolerable", 230)];
    let search = Search::new(&Settings::default(), goals(&["good", "tolerable"]), conditions(None));
    let both = play(search, 60, |trial| {
        let outcome = |knee| if trial.load.number() <= f64::from(knee) { Outcome::Good } else { bad() };
        let outcomes = knees.iter().map(|(goal, knee)| (goal.to_string(), outcome(*knee))).collect();
        Trial { outcomes, ..trial }
    });
    for (answer, (_, knee)) in both.answer.goals.iter().zip(knees) {
        let (lower, upper) = (answer.lower.unwrap().number(), answer.upper.unwrap().number());
        assert!(answer.is_regular() && lower <= f64::from(knee) && f64::from(knee) < upper, "{answer:?}");
    }
    let alone: usize = knees
        .iter()
        .map(|(_, knee)| play(default_search(), 60, noisy(1, 0.0, sharp(*knee))).trials.len())
        .sum();
    assert!(both.trials.len() < alone, "{} trials, alone {alone}", both.trials.len());
    assert!(both.answer.geometric_mean.is_some_and(|mean| (150.0..230.0).contains(&mean)));
}

#[test]
fn a_search_of_attempts_a_second_ends_within_its_width() {
    let rate = settings("kind = 'rate'\nmin = 0.5");
    for knee in [0.6, 3.0, 12.3, 77.7, 410.0] {
        let search = Search::new(&rate, goals(&["good"]), conditions(None));
        let played = play(search, 60, |trial| {
            let is_carried = trial.load.number() <= knee;
            with(trial, if is_carried { Outcome::Good } else { bad() })
        });
        let (lower, upper) = (played.goal().lower.unwrap().number(), played.goal().upper.unwrap().number());
        assert!(lower <= knee && knee < upper && played.goal().is_regular(), "{knee}: {:?}", played.answer);
        assert!(played.goal().sentence.contains("/s: at "), "{:?}", played.answer);
    }
}

#[test]
fn trials_that_a_gate_ends_after_seconds_decide_a_load_in_the_end() {
    let played = play(default_search(), 80, |trial| match trial.load <= calls(193) {
        true => trial,
        false => {
            with(Trial { effective_s: 11.0, length: Length::Short, ended: Ended::ByGate, ..trial }, bad())
        }
    });
    assert!(played.contains(193) && played.goal().is_regular(), "{:?}", played.answer);
    let nothing = play(default_search(), 40, |trial| {
        with(Trial { effective_s: 0.0, length: Length::Short, ended: Ended::ByGate, ..trial }, bad())
    });
    assert!(matches!(nothing.goal().ending, Ending::Undecided { .. }), "{:?}", nothing.answer);
}

/// Outcomes by chance, whatever the load.
fn any_outcome(random: &mut StdRng, weights: [u32; 3]) -> Outcome {
    let at = random.random_range(0..weights.iter().sum::<u32>());
    match (at < weights[0], at < weights[0] + weights[1]) {
        (true, _) => Outcome::Good,
        (_, true) => bad(),
        _ => void(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens, for whichever goals, and however early trials end.
    #[test]
    fn every_sequence_of_outcomes_ends(
        seed: u64, number in 1usize..4, weights in [1u32..20, 0u32..20, 0u32..4], early in 0.0..0.9f64,
        exceed in 0.0..0.99f64, width in 0.001..0.5f64, sum in 1u64..8, min in 1u32..50, is_rate: bool,
    ) {
        let settings = Settings {
            kind: if is_rate { Kind::Rate } else { Kind::Calls },
            min: Some(f64::from(min)),
            max: Some(20_000.0),
            exceed: Percent(exceed),
            width: Percent(width),
            duration_sum: Span(Duration::from_secs(60 * sum)),
            ..Settings::default()
        };
        let names = &["a", "b", "c"][..number];
        let mut random = StdRng::seed_from_u64(seed);
        let search = Search::new(&settings, goals(names), conditions(None));
        play(search, 1500, |mut trial| {
            if random.random::<f64>() < early {
                let part = random.random_range(0.0..1.0);
                (trial.effective_s, trial.length, trial.ended) = (trial.effective_s * part, Length::Short, Ended::ByGate);
            }
            trial.outcomes.values_mut().for_each(|outcome| *outcome = any_outcome(&mut random, weights));
            trial
        });
    }

    /// The estimate holds at every step of a search without void trials, whose loads stay good or bad.
    #[test]
    fn a_search_takes_no_longer_than_it_said(seed: u64, good in 1u32..20, width in 0.005..0.5f64, max in 10u32..5000) {
        let settings = Settings { max: Some(f64::from(max)), width: Percent(width), ..Settings::default() };
        let search = Search::new(&settings, goals(&["good"]), conditions(None));
        let (mut said, mut replayed) = (Vec::new(), search.clone());
        let played = play(search, 200, |trial| {
            let mut random = StdRng::seed_from_u64(seed ^ u64::from(trial.load.units()));
            with(trial, any_outcome(&mut random, [good, 5, 0]))
        });
        let mut spent = Duration::ZERO;
        let costs = conditions(None).costs;
        for trial in &played.trials {
            said.push((spent, replayed.longest(spent)));
            replayed.add(trial);
            spent += costs.fixed + costs.ramp_of_one.mul_f64(trial.load.number()) + Duration::from_secs_f64(trial.effective_s);
        }
        for (at, longest) in said {
            prop_assert!(played.spent - at <= longest, "{:?} of {longest:?}", played.spent - at);
        }
        prop_assert_eq!(played.search.longest(spent), Duration::ZERO);
    }

    /// A service with a knee, whatever the settings: the truth is between the bounds.
    #[test]
    fn the_truth_is_between_the_bounds(knee in 1u32..30_000, width in 0.001..0.5f64, exceed in 0.0..0.99f64, min in 1u32..100) {
        let settings = Settings {
            min: Some(f64::from(min)), max: Some(20_000.0), width: Percent(width), exceed: Percent(exceed), ..Settings::default()
        };
        let played = play(Search::new(&settings, goals(&["good"]), conditions(None)), 300, noisy(1, 0.0, sharp(knee)));
        prop_assert!(played.contains(knee), "{:?}", played.answer);
        let goal = played.goal();
        match goal.ending {
            Ending::Regular => prop_assert!(goal.lower.unwrap().is_close_to(goal.upper.unwrap(), settings.width_millionths())),
            Ending::MinimumFails => prop_assert!(knee < min),
            Ending::Floor { .. } => prop_assert!(knee >= 20_000),
            ref other => prop_assert!(false, "{other:?}"),
        }
    }
}
