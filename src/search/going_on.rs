//! Tests of searches that were stored or cut short, and go on.

use std::time::Duration;

use super::simulated::{
    bad, calls, conditions, default_search, goals, noisy, play, settings, time_of, trial, void,
};
use super::*;
use crate::gate::Outcome as Judged;

#[test]
fn a_stored_search_goes_on_where_it_was_and_answers_the_same() {
    let played = play(default_search(), 60, noisy(3, 0.1, |calls| if calls <= 193 { 0.9 } else { 0.05 }));
    let text: String = played.trials.iter().map(write).collect();
    let stored = read(&text).unwrap();
    assert_eq!(stored, played.trials);
    let mut search = default_search();
    let mut spent = Duration::ZERO;
    for (n, trial) in stored.iter().enumerate() {
        let Step::Trial { load, length, .. } = search.next(spent) else { panic!("{n}") };
        assert_eq!((load, length), (trial.load, trial.length), "trial {n}");
        search.add(trial);
        spent += time_of(trial);
    }
    assert_eq!(search.next(spent), Step::Done(Box::new(played.answer.clone())));
    assert_eq!(search.answer(Cut::Interrupted), played.answer, "it was at its end");
    // Cut off in the middle of a line.
    assert_eq!(read(&text[..text.len() - 9]).unwrap().len(), stored.len() - 1);
}

#[test]
fn stored_trials_outside_of_the_search_are_left_out() {
    let mut search = Search::new(&settings("min = 20\nmax = 100"), goals(&["good"]), conditions(None));
    for (number, load) in [(1, 5), (2, 101), (3, 20)] {
        search.add(&trial(number, calls(load), 120.0, Length::Full, &[("good", Outcome::Good)]));
    }
    search.add(&trial(4, Load::rate(50.0).unwrap(), 60.0, Length::Full, &[("good", Outcome::Good)]));
    search.add(&trial(5, calls(40), 60.0, Length::Full, &[("better", Outcome::Good)]));
    assert_eq!(search.bounds("good"), (Some(calls(20)), None));
    assert_eq!(search.bounds("better"), (None, None), "no goal of this search");
}

#[test]
fn an_interrupted_search_says_what_is_known_so_far() {
    let mut search = default_search();
    assert_eq!(
        search.answer(Cut::Interrupted).goals[0].sentence,
        "the capacity is not known: interrupted before the bounds came close"
    );
    search.add(&trial(1, calls(10), 60.0, Length::Full, &[("good", Outcome::Good)]));
    assert_eq!(
        search.answer(Cut::Interrupted).goals[0].sentence,
        "the capacity is not known: interrupted before the bounds came close; so far at 10 all was well, for too short a \
         time to decide it"
    );
    search.add(&trial(2, calls(10), 60.0, Length::Full, &[("good", Outcome::Good)]));
    assert_eq!(
        search.answer(Cut::Interrupted).goals[0].sentence,
        "at least 10 calls: interrupted before the bounds came close"
    );
    let require = Require::parse("capacity.calls >= 5", Kind::Calls, &["good"]).unwrap();
    assert_eq!(require.judge(&search.answer(Cut::Interrupted)), Judged::Pass);
}

#[test]
fn a_slower_driver_bounds_new_trials_and_forgets_no_old_ones() {
    let resumed = |driver| {
        let mut search = Search::new(&Settings::default(), goals(&["good"]), conditions(Some(driver)));
        for (number, load, outcome) in [(1, 160, Outcome::Good), (2, 400, bad()), (3, 400, bad())] {
            search.add(&trial(number, calls(load), 120.0, Length::Full, &[("good", outcome)]));
        }
        search
    };
    assert_eq!(resumed(200).bounds("good"), (Some(calls(160)), Some(calls(400))));
    let load = |search: &Search| match search.next(Duration::ZERO) {
        Step::Trial { load, .. } => Some(load),
        Step::Done(_) => None,
    };
    assert_eq!(load(&resumed(500)), Some(calls(252)));
    assert_eq!(load(&resumed(200)), Some(calls(200)), "no more than it manages");
    assert_eq!(load(&resumed(160)), None);
    assert_eq!(resumed(160).answer(Cut::OutOfTime).goals[0].ending, Ending::DriverLimit);
}

#[test]
fn trials_that_broke_or_were_interrupted_do_not_use_up_the_patience_with_a_load() {
    let mut search = default_search();
    for (number, ended) in (1..).zip([Ended::Broke, Ended::Interrupted, Ended::Broke, Ended::Interrupted]) {
        let trial = trial(number, calls(10), 1.0, Length::Short, &[("good", void())]);
        search.add(&Trial { ended, ..trial });
    }
    assert!(matches!(search.next(Duration::ZERO), Step::Trial { load, .. } if load == calls(10)));
}
