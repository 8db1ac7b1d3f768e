//! The trials of a stored search, which may have been written by anybody.

use std::time::Duration;

use loadtest::search::{
    Conditions, Costs, Cut, Goal, Load, Require, Search, Settings, Step, Traffic, read, write,
};

/// Trials that are taken read back the same when they are written by us, and a search that goes on from them says a
/// next step within its settings, whatever they claim.
pub fn trials(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let trials = match read(&text) {
        Ok(trials) => trials,
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= 2048 && !said.contains('\u{1b}'), "{said:?}");
            return;
        }
    };
    let written: String = trials.iter().map(write).collect();
    assert_eq!(read(&written).expect("ours are ones"), trials);
    let names: Vec<_> = trials.iter().flat_map(|trial| trial.outcomes.keys()).take(3).collect();
    let goals = names.iter().map(|name| Goal { name: name.to_string(), gates: Vec::new() }).collect();
    let kind = trials.first().map_or(Settings::default().kind, |first| first.load.kind());
    let settings = Settings { kind, min: Some(1.0), max: Some(5000.0), ..Settings::default() };
    let conditions = Conditions {
        traffic: Traffic { ptime: Duration::from_millis(20), call_duration: None, warmup: Duration::ZERO },
        costs: Costs { fixed: Duration::from_secs(10), ramp_of_one: Duration::from_millis(100) },
        driver_most: None,
        cap: None,
    };
    let mut search = Search::new(&settings, goals, conditions);
    trials.iter().for_each(|trial| search.add(trial));
    if let Step::Trial { load, .. } = search.next(Duration::ZERO) {
        assert!((1.0..=5000.0).contains(&load.number()), "{load}");
        assert_eq!(load.kind(), kind);
    }
    assert!(search.longest(Duration::ZERO) < Duration::from_secs(365 * 24 * 3600));
    answer(&search, &names);
}

/// Bounds in their order, in words of bounded length.
fn answer(search: &Search, names: &[&String]) {
    let answer = search.answer(Cut::Interrupted);
    let text = serde_json::to_string(&answer).expect("it can be written");
    assert_eq!(serde_json::from_str::<loadtest::search::Answer>(&text).expect("ours is one"), answer);
    for goal in &answer.goals {
        assert!(goal.lower.zip(goal.upper).is_none_or(|(lower, upper)| lower < upper), "{goal:?}");
        assert!(goal.sentence.len() <= 4096 && !goal.sentence.contains('\u{1b}'), "{goal:?}");
        let number = |load: Option<Load>| load.map_or(0.0, Load::number);
        let (name, kind) = (&goal.goal, answer.kind);
        let capacity = if kind == loadtest::search::Kind::Calls { "capacity.calls" } else { "capacity.rate" };
        let condition = format!("{name}: {capacity} >= {}", number(goal.lower));
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        let require = Require::parse(&condition, kind, &names).expect("a condition");
        assert_eq!(require.judge(&answer), loadtest::gate::Outcome::Pass, "{condition} of {goal:?}");
    }
}
