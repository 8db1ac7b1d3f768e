//! Rules of `[search]`.

use std::time::Duration;

use super::Scenario;
use super::error::{MOST_SHOWN, Problem, Problems};
use super::needs::Pool;
use super::ranges::MOST_CALLS;
use crate::gate::{Gate, GateError};
use crate::search::{Goal, Kind, LONGEST_NAME, Load, MOST_GOALS, Settings, Traffic, Unjudged, is_goal_name};
use crate::values::{Percent, Span};

/// Most gates of a goal: as many as a report shows.
const MOST_GATES: usize = 100;
/// Most attempts a second.
const MOST_RATE: f64 = 10_000.0;
/// Shortest trial.
const SHORTEST: Duration = Duration::from_secs(1);

impl Scenario {
    /// Traffic of a trial, as far as it says how many samples its gates get.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            ptime: self.media.ptime.0,
            call_duration: self.load.mean_call(),
            warmup: self.measure.warmup.0,
        }
    }

    /// The goals of a search: those of `[search.goals]`, or one of the scenario's own gates, which is called as they
    /// are.
    pub fn goals(&self) -> Vec<Goal> {
        let read = |texts: &[String]| texts.iter().filter_map(|text| Gate::parse(text).ok()).collect();
        if self.search.goals.is_empty() {
            return vec![Goal { name: "gates".into(), gates: read(&self.gates.require) }];
        }
        let goals = self.search.goals.iter();
        goals.map(|(name, texts)| Goal { name: name.clone(), gates: read(texts) }).collect()
    }
}

pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    loads(s, found);
    lengths(s, found);
    shares(&s.search, found);
    if goals(&s.search, found) {
        samples(s, found);
    }
}

/// Smallest and largest load, and the ports for it.
fn loads(s: &Scenario, found: &mut Problems) {
    let Settings { kind, min, max, .. } = s.search;
    let (what, most, cure) = match kind {
        Kind::Calls => {
            ("calls", f64::from(MOST_CALLS), format!("write a whole number from 1 to {MOST_CALLS}"))
        }
        Kind::Rate => (
            "attempts a second",
            MOST_RATE,
            format!("write a number from 0.01 to {MOST_RATE}, in hundredths"),
        ),
    };
    for (key, number) in [("search.min", min), ("search.max", max)] {
        let Some(number) = number else { continue };
        let is_load = Load::of(kind, number).is_some() && number <= most;
        found.refuse_if(!is_load, key, format!("{number} {what} are no load"), &*cure);
    }
    let (Some(smallest), Some(largest)) = (s.search.smallest(), s.search.largest()) else { return };
    found.refuse_if(
        largest < smallest,
        "search.max",
        format!("the search would end at {largest}, and begins at {smallest}"),
        match min {
            Some(_) => "raise search.max, or lower search.min".into(),
            None => format!("raise search.max, or set search.min below {largest}"),
        },
    );
    for pool in Pool::all(s) {
        let (carries, Pool { key, range, .. }) = (pool.carries(s), pool);
        found.refuse_if(
            kind == Kind::Calls && largest.number() > f64::from(carries) && largest.number() <= most,
            "search.max",
            format!("{key} = {range} carries {carries} calls, {largest} are to be tried"),
            format!("widen {key}, or lower search.max to {carries}"),
        );
    }
}

/// Lengths of trials.
fn lengths(s: &Scenario, found: &mut Problems) {
    let Settings { initial_trial, final_trial, duration_sum, strict, time_limit, .. } = s.search;
    let lost_after = s.measure.lost_after;
    let cure = |least: Span| format!("choose more than measure.lost_after = {least}");
    found.refuse_if(
        final_trial <= lost_after,
        "search.final_trial",
        format!("in {final_trial} no packet could be found lost while others are sent"),
        cure(lost_after),
    );
    found.refuse_if(
        !initial_trial.0.is_zero() && initial_trial <= lost_after,
        "search.initial_trial",
        format!("in {initial_trial} no packet could be found lost while others are sent"),
        format!("{}, or 0s for no trials of that kind", cure(lost_after)),
    );
    found.refuse_if(
        !initial_trial.0.is_zero() && initial_trial.0 < SHORTEST,
        "search.initial_trial",
        "a trial must last a second at least",
        "15s is usual; 0s makes none",
    );
    found.refuse_if(
        initial_trial > final_trial,
        "search.initial_trial",
        format!("the first trial would be longer than the final one of {final_trial}"),
        format!("choose {final_trial} at the most, or raise search.final_trial"),
    );
    found.refuse_if(
        !strict && duration_sum < final_trial,
        "search.duration_sum",
        format!("one final trial of {final_trial} is longer than all trials of a load together"),
        format!("choose {final_trial} at the least; twice that is usual"),
    );
    let Some((limit, smallest)) = time_limit.zip(s.search.smallest()) else { return };
    let ramp = match s.search.kind {
        Kind::Calls => super::Load::ramp_over(s.load.ramp, smallest.number()),
        Kind::Rate => Duration::ZERO,
    };
    let least = ramp + s.measure.warmup.0 + final_trial.0;
    found.refuse_if(
        limit.0 < least,
        "search.time_limit",
        format!("not one trial ends within {limit}: ramp to {smallest}, warm-up and hold"),
        format!("choose {} at the least; an hour is usual", Span(Duration::from_secs(least.as_secs() + 1))),
    );
}

fn shares(Settings { width, exceed, .. }: &Settings, found: &mut Problems) {
    found.refuse_if(
        !(0.001..=0.5).contains(&width.0),
        "search.width",
        format!("bounds that are {width} apart cannot be reached, or say nothing"),
        "choose between 0.1% and 50%; 5% is usual",
    );
    found.refuse_if(
        *exceed > Percent(0.99),
        "search.exceed",
        format!("with {exceed} of bad time every load would be carried"),
        "choose 99% at the most; 50% is usual",
    );
}

/// Names and gates of the goals; true if nothing is wrong with them.
fn goals(Settings { goals, .. }: &Settings, found: &mut Problems) -> bool {
    let before = found.0.len();
    found.refuse_if(
        goals.len() > MOST_GOALS,
        "search.goals",
        format!("{} goals are more than one search serves", goals.len()),
        format!("name {MOST_GOALS} at the most"),
    );
    for (name, texts) in goals.iter().take(MOST_GOALS) {
        let key = format!("search.goals.{name}");
        found.refuse_if(
            !is_goal_name(name),
            "search.goals",
            format!("`{}` cannot be a goal's name", name.escape_debug()),
            format!("use 1 to {LONGEST_NAME} letters, digits, - and _"),
        );
        found.refuse_if(
            texts.is_empty() || texts.len() > MOST_GATES,
            &key,
            format!("a goal needs gates, and {} are not to be judged by", texts.len()),
            format!("name 1 to {MOST_GATES}, as in [\"rtt.p99 < 20ms\"]"),
        );
        // A search for the cure of each of very many would take its time.
        let wrong = texts.iter().enumerate().filter_map(|(n, text)| Some((n, Gate::read(text).err()?)));
        for (n, mistake) in wrong.take(MOST_SHOWN + 1) {
            let GateError { reason, cure } = mistake.told();
            found.0.push(Problem::new(&format!("{key}.{n}"), reason, cure));
        }
    }
    found.0.len() == before
}

/// Gates of named goals that a full trial at the smallest load gives too few samples. For the scenario's own gates a
/// search asks the same before its first trial: a run may hold more calls for longer.
fn samples(s: &Scenario, found: &mut Problems) {
    let Some(smallest) = s.search.smallest().filter(|_| !s.search.goals.is_empty()) else { return };
    for Goal { name, gates } in s.goals() {
        let hold = s.search.final_trial;
        let Some(unjudged) = s.traffic().unjudged(&gates, smallest, hold.0) else { continue };
        let place = gates.iter().position(|gate| gate.text == unjudged.gate).unwrap_or_default();
        let (message, cure) = too_few(&unjudged, smallest, hold);
        found.0.push(Problem::new(&format!("search.goals.{name}.{place}"), message, cure));
    }
}

/// A gate that cannot be judged, and the cure.
pub fn too_few(
    Unjudged { gate, has, needs, would_do }: &Unjudged,
    load: Load,
    hold: Span,
) -> (String, String) {
    let message = format!("`{gate}` needs {needs} samples, a trial of {hold} at {load} has {has}");
    let cure = match would_do {
        Some(length) => {
            format!("set search.final_trial = \"{length}\", raise search.min, or gate a lower percentile")
        }
        None => "raise search.min, or gate a lower percentile: no length of a trial gives more".into(),
    };
    (message, cure)
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};

    fn refused(text: &str) -> String {
        Resolved::read(text, "x.toml", &[]).expect_err(text).rendered
    }

    #[test]
    fn mistakes_of_a_search_are_told_at_their_line_with_a_cure() {
        for (text, line, said) in [
            ("[search]\nmin = 50\nmax = 40", "x.toml:3", "raise search.max, or lower search.min"),
            ("[search]\nmax = 4", "x.toml:2", "set search.min below 4 calls"),
            ("[search]\nmin = 2.5", "x.toml:2", "write a whole number from 1 to 20000"),
            ("[search]\nkind = 'rate'\nmin = 0.001", "x.toml:3", "in hundredths"),
            ("[search]\nmax = 3000", "x.toml:2", "widen asterisk.rtp_ports, or lower search.max to 2500"),
            ("[search]\nwidth = '0%'", "x.toml:2", "choose between 0.1% and 50%"),
            ("[search]\nexceed = '100%'", "x.toml:2", "choose 99% at the most"),
            (
                "[search]\nfinal_trial = '2s'\ninitial_trial = '0s'",
                "x.toml:2",
                "choose more than measure.lost_after = 2s",
            ),
            ("[search]\ninitial_trial = '1s'", "x.toml:2", "or 0s for no trials of that kind"),
            ("[search]\ninitial_trial = '90s'", "x.toml:2", "choose 30s at the most"),
            ("[search]\nduration_sum = '20s'", "x.toml:2", "choose 30s at the least"),
            ("[search]\ntime_limit = '30s'", "x.toml:2", "choose 34s at the least"),
            ("[search.goals]\ngood = []", "x.toml:2", "name 1 to 100"),
            ("[search.goals]\n'a b' = ['loss.ratio < 1%']", "x.toml", "use 1 to 64 letters"),
            (
                "[search.goals]\ngood = [\n  'loss.ratio < 1%',\n  'rtt.p98 < 20ms',\n]",
                "x.toml:4",
                "did you mean `rtt.p9",
            ),
            (
                "[search.goals]\ngood = ['rtt.p99.9 < 20ms']",
                "x.toml:2",
                "set search.final_trial = \"3m 20s\"",
            ),
            ("[search.goals]\ngood = [3]", "x.toml:2", "METRIC OP VALUE"),
            ("search.goals = { good = [true] }", "x.toml:1", "METRIC OP VALUE"),
            ("[search.goals]\ngood = ['srd.p95 < 1s']", "x.toml:2", "no length of a trial gives more"),
        ] {
            let error = refused(text);
            assert!(error.contains(line) && error.contains(said), "{text}:\n{error}");
        }
    }

    #[test]
    fn many_wrong_gates_and_goals_are_told_in_little_text() {
        let gates = "'x < 1',".repeat(20_000);
        let error = refused(&format!("[search.goals]\ngood = [{gates}]"));
        assert!(error.len() < 4000, "{}", error.len());
        let goals: String = (0..1000).map(|n| format!("g{n} = ['loss.ratio < 1%']\n")).collect();
        assert!(refused(&format!("[search.goals]\n{goals}")).contains("name 8 at the most"));
    }

    #[test]
    fn a_search_is_read_with_its_goals_and_has_one_of_the_gates_by_default() {
        let text = "gates.require = ['loss.ratio < 1%']\n[search]\nkind = 'rate'\nmin = 0.5\nmax = 40\ntime_limit = '1h'\n\
                    strict = true\n[search.goals]\ngood = ['rtt.p50 < 20ms']\ntolerable = ['rtt.p50 < 150ms']\n";
        let scenario = Resolved::read(text, "x.toml", &[]).unwrap().scenario;
        assert_eq!(scenario.search.smallest().map(|load| load.to_string()).as_deref(), Some("0.5/s"));
        let names: Vec<_> = scenario.goals().into_iter().map(|goal| (goal.name, goal.gates.len())).collect();
        assert_eq!(names, [("good".to_string(), 1), ("tolerable".to_string(), 1)]);
        let plain = Resolved::read("gates.require = ['loss.ratio < 1%']", "x.toml", &[]).unwrap().scenario;
        let names: Vec<_> = plain.goals().into_iter().map(|goal| (goal.name, goal.gates.len())).collect();
        assert_eq!(names, [("gates".to_string(), 1)]);
        let set = [Override::set("search.goals.good=[\"rtt.p98 < 1ms\"]")];
        let error = Resolved::read("", "x.toml", &set).unwrap_err().rendered;
        assert!(error.contains("--set search.goals.good") && error.contains("did you mean"), "{error}");
    }
}
