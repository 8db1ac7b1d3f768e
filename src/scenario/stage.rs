//! `[[stage]]`: one load after another, each with a measured window of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::load::{Target, lines_for};
use super::ranges::{LONGEST, MOST_CALLS};
use super::{Load, Scenario};
use crate::values::{Ramp, Rate, Span};

/// More than anybody can tell apart in one report.
pub const MOST_STAGES: usize = 32;
/// Shortest hold that has a figure by seconds.
pub(super) const SHORTEST_HOLD: Span = super::defaults::secs(1);

/// One stage of a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Calls held in this stage (closed load).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = [20])))]
    pub calls: Option<u32>,
    /// Attempts a second in this stage (open load), for up to `load.calls` calls at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["12/s"])))]
    pub rate: Option<Rate>,
    /// Way from the stage before, up or down, as in `load.ramp`, which it is where it is absent. Not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["10s"])))]
    pub ramp: Option<Ramp>,
    /// Length of its hold phase, which is a measured window of its own.
    pub hold: Span,
}

/// A stage as it is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// The calls wanted.
    pub target: Target,
    /// The way there.
    pub ramp: Ramp,
    /// Length of the measured window.
    pub hold: Duration,
}

impl Scenario {
    /// The stages in turn; a load without any is one.
    pub fn stages(&self) -> Vec<Planned> {
        let load = &self.load;
        let planned = |stage: &Stage| Planned {
            target: match (stage.rate, stage.calls) {
                (Some(rate), _) => Target::Rate(rate.0),
                (None, calls) => Target::Calls(calls.unwrap_or(load.calls)),
            },
            ramp: stage.ramp.unwrap_or(load.ramp),
            hold: stage.hold.0,
        };
        match self.stage.as_slice() {
            [] => vec![Planned { target: load.target(), ramp: load.ramp, hold: load.duration.0 }],
            stages => stages.iter().take(MOST_STAGES).map(planned).collect(),
        }
    }

    /// True for attempts at a rate.
    pub fn is_open(&self) -> bool {
        self.load.rate.is_some() || self.stage.iter().any(|stage| stage.rate.is_some())
    }

    /// Most calls at once.
    pub fn calls(&self) -> u32 {
        let of_stages = self.stage.iter().filter_map(|stage| stage.calls).max();
        of_stages.unwrap_or(self.load.calls)
    }

    /// Length of all hold phases.
    pub fn hold(&self) -> Duration {
        self.stages().iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.hold))
    }
}

/// Rules of the stages.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let Some(first) = s.stage.first() else { return };
    let (load, defaults) = (&s.load, Load::default());
    let message = format!("{} stages are planned", s.stage.len());
    found.refuse_if(s.stage.len() > MOST_STAGES, "stage", message, format!("plan {MOST_STAGES} at the most"));
    let cure = "leave it out: each [[stage]] has its own";
    found.refuse_if(load.rate.is_some(), "load.rate", "the stages say the rate", cure);
    let is_open = first.rate.is_some();
    found.refuse_if(
        !is_open && load.calls != defaults.calls,
        "load.calls",
        "the stages say how many calls are held",
        cure,
    );
    let message = "the stages say how long calls are held";
    found.refuse_if(
        load.duration != defaults.duration,
        "load.duration",
        message,
        "leave it out: `hold` says it",
    );
    found.refuse_if(
        !s.fault.is_empty(),
        "fault",
        "a fault is planned against one hold phase, and there are stages",
        "leave out [[fault]] or [[stage]]",
    );
    for (n, stage) in s.stage.iter().take(MOST_STAGES).enumerate() {
        one(s, n, stage, is_open, found);
    }
}

fn one(s: &Scenario, n: usize, stage: &Stage, is_open: bool, found: &mut Problems) {
    let key = |name: &str| format!("stage.{n}.{name}");
    let number = n + 1;
    match (stage.calls, stage.rate) {
        (None, None) => {
            let message = format!("stage {number} has no load");
            found.refuse_if(true, &key("hold"), message, "add calls = 20, or rate = \"5/s\"");
        }
        (Some(_), Some(_)) => {
            let message = format!("stage {number} has two loads");
            found.refuse_if(true, &key("rate"), message, "leave out calls or rate; load.calls caps a rate");
        }
        (Some(calls), None) => {
            let cure = format!("hold between 1 and {MOST_CALLS} calls");
            let is_sane = (1..=MOST_CALLS).contains(&calls);
            found.refuse_if(!is_sane, &key("calls"), format!("{calls} calls cannot be held"), cure);
        }
        (None, Some(rate)) => offered(s, &key("rate"), rate, found),
    }
    let is_mixed = stage.rate.is_some() != is_open && (stage.calls.is_some() != stage.rate.is_some());
    found.refuse_if(
        is_mixed,
        &key(if is_open { "calls" } else { "rate" }),
        format!("stage {number} is of another kind than the first"),
        "give all stages calls, or all of them a rate",
    );
    found.refuse_if(
        !(SHORTEST_HOLD..=LONGEST).contains(&stage.hold),
        &key("hold"),
        format!("the hold phase must last between {SHORTEST_HOLD} and {LONGEST}"),
        "60s is usual",
    );
    let is_long = matches!(stage.ramp, Some(Ramp::Within(span)) if span > LONGEST);
    let message = "nobody waits so long for the calls to come up";
    found.refuse_if(is_long, &key("ramp"), message, format!("use at most {LONGEST}; 30s is usual"));
}

/// Rules of attempts at a rate: they end, and there is room for what they sustain.
pub(super) fn offered(s: &Scenario, key: &str, rate: Rate, found: &mut Problems) {
    let load = &s.load;
    let Some(mean) = load.mean_call() else {
        let message = format!("calls placed at {rate} that never end would pile up");
        found.refuse_if(true, key, message, "set load.call_duration as well, as in call_duration = \"30s\"");
        return;
    };
    let (erlang, calls) = (load.erlang(rate.0), load.calls);
    let sustained = f64::from(calls) / mean.as_secs_f64().max(1e-9);
    found.refuse_if(
        erlang > f64::from(calls),
        key,
        format!(
            "{rate} of calls that last {} on average are {erlang:.1} erlang, and load.calls = {calls} caps them",
            Span(mean)
        ),
        match lines_for(erlang, MOST_CALLS) {
            Some(least) => format!("set load.calls = {least} or more, or a rate of up to {sustained:.3}/s"),
            None => format!("use a rate of up to {sustained:.3}/s, or shorter calls"),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};
    use super::*;

    fn read(stages: &str, set: &[&str]) -> Result<Scenario, String> {
        let set: Vec<_> = set.iter().map(|s| Override::set(s)).collect();
        Resolved::read(&format!("name = \"t\"\n{stages}"), "t.toml", &set)
            .map(|resolved| resolved.scenario)
            .map_err(|e| e.rendered)
    }

    #[test]
    fn stages_are_played_in_turn_and_are_written_back() {
        let text =
            "[[stage]]\ncalls = 10\nhold = \"20s\"\n[[stage]]\ncalls = 30\nramp = \"5s\"\nhold = \"40s\"\n";
        let scenario = read(text, &["load.ramp=20/s"]).unwrap();
        let second = Duration::from_secs(1);
        let stage = |calls, ramp: &str, hold| Planned {
            target: Target::Calls(calls),
            ramp: ramp.parse().unwrap(),
            hold: hold * second,
        };
        assert_eq!(scenario.stages(), [stage(10, "20/s", 20), stage(30, "5s", 40)]);
        assert_eq!((scenario.calls(), scenario.hold(), scenario.is_open()), (30, 60 * second, false));
        let again = toml::from_str::<Scenario>(&toml::to_string_pretty(&scenario).unwrap()).unwrap();
        assert_eq!(again, scenario);
        let plain = read("", &["load.calls=7"]).unwrap();
        assert_eq!((plain.stages(), plain.calls()), (vec![stage(7, "10/s", 10)], 7));
        assert_ne!(scenario.hash(), read("", &["load.ramp=20/s"]).unwrap().hash());
    }

    #[test]
    fn wrong_stages_are_refused_with_line_reason_and_what_would_do() {
        let (calls, hold) = ("[[stage]]\ncalls = 5\nhold = \"9s\"\n", "[[stage]]\nhold = \"9s\"\n");
        let rate = "[[stage]]\nrate = \"12/s\"\nhold = \"9s\"\n";
        let call = "load.call_duration=30s";
        for (stages, set, words) in [
            (hold, &[][..], &["t.toml:3", "stage.0.hold", "stage 1 has no load", "rate = \"5/s\""][..]),
            ("[[stage]]\ncalls = 5\n", &[], &["t.toml:2", "`hold` is missing"]),
            ("[[stage]]\ncalls = 0\nhold = \"9s\"\n", &[], &["t.toml:3", "0 calls", "between 1 and"]),
            ("[[stage]]\ncalls = 2\nrate = \"1/s\"\nhold = \"9s\"\n", &[call], &["t.toml:4", "two loads"]),
            ("[[stage]]\ncalls = 2\nhold = \"9ms\"\n", &[], &["t.toml:4", "between 1s"]),
            ("[[stage]]\ncalls = 2\nhold = \"9s\"\nramp = \"9days\"\n", &[], &["t.toml:5", "30s is usual"]),
            (rate, &[], &["t.toml:3", "pile up", "load.call_duration"]),
            (
                rate,
                &[call, "load.calls=50"],
                &["stage.0.rate", "360.0 erlang", "load.calls = 408", "1.667/s"],
            ),
            (calls, &["load.calls=9"], &["--set load.calls=9", "the stages say how many"]),
            (calls, &["load.duration=9s"], &["--set load.duration=9s", "`hold` says it"]),
            (calls, &["load.rate=9/s", call], &["--set load.rate=9/s", "the stages say the rate"]),
            ("[[stage]]\ncals = 5\nhold = \"9s\"\n", &[], &["t.toml:3", "did you mean `calls`?"]),
            ("[[stage]]\nduration = \"9s\"\nhold = \"9s\"\n", &[], &["t.toml:3", "unknown key"]),
            ("[stage]\ncalls = 5\n", &[], &["[[stage]]"]),
        ] {
            let error = read(stages, set).expect_err(stages);
            for word in words {
                assert!(error.contains(word), "`{word}` in:\n{error}");
            }
        }
        let mixed = format!("{calls}{rate}");
        let error = read(&mixed, &[call, "load.calls=500"]).unwrap_err();
        assert!(error.contains("t.toml:6") && error.contains("another kind than the first"), "{error}");
        let fault = format!("{calls}[[fault]]\nat = \"1s\"\ntarget = \"service\"\naction = \"kill\"\n");
        assert!(read(&fault, &[]).unwrap_err().contains("leave out [[fault]] or [[stage]]"));
        assert!(read(&calls.repeat(33), &[]).unwrap_err().contains("plan 32 at the most"));
        // The ports have to do for the largest.
        let large = "[[stage]]\ncalls = 5\nhold = \"9s\"\n[[stage]]\ncalls = 50\nhold = \"9s\"\n";
        let error = read(large, &["media.ports=40000-40050"]).unwrap_err();
        assert!(error.contains("26 calls, 50 are needed") && error.contains("40000-40099"), "{error}");
    }
}
