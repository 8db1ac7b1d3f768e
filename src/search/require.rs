//! Conditions on a capacity: `--require 'capacity.calls >= 150'`.
//!
//! ```text
//! <require>   ::= <capacity> <op> <number> | <goal> ":" <capacity> <op> <number>
//! <capacity>  ::= "capacity.calls" | "capacity.rate"
//! <op>        ::= "<" | "<=" | "==" | "!=" | ">=" | ">"
//! ```
//! Where a search has several goals, the condition says which. A capacity is known by its bounds: the condition
//! passes if it holds for all that they allow, fails if it holds for none, and is inconclusive otherwise.

use std::fmt;

use super::answer::Answer;
use super::load::Kind;
use crate::gate::{Op, Outcome, judge_range, parted};
use crate::values::cut;

/// Longest part of a text that an error repeats.
const SHOWN: usize = 64;

/// A condition on a capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Require {
    /// As written.
    pub text: String,
    /// The goal whose capacity it is.
    pub goal: String,
    op: Op,
    bound: f64,
}

/// The reason for which an expression is no condition on a capacity, and its cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {cure}")]
pub struct RequireError {
    /// The mistake.
    pub reason: String,
    /// An expression that would do.
    pub cure: String,
}

impl Require {
    /// Reads a condition on a search of that kind with these goals.
    ///
    /// # Errors
    /// No comparison, another name than the kind's capacity, no number, a goal that the search does not have, or none
    /// where it has several.
    pub fn parse(text: &str, kind: Kind, goals: &[&str]) -> Result<Require, RequireError> {
        let capacity = match kind {
            Kind::Calls => "capacity.calls",
            Kind::Rate => "capacity.rate",
        };
        let example = |goal: &str| format!("write it as in {goal}{capacity} >= 150");
        let wrong = |reason: String, cure: String| RequireError { reason, cure };
        let shown = cut(text, SHOWN);
        let (goal, expression) = match text.split_once(':') {
            Some((goal, rest)) => (Some(goal.trim()), rest),
            None => (None, text),
        };
        let parts = parted(expression);
        let (name, op, value) =
            parts.ok_or_else(|| wrong(format!("`{shown}` has no comparison"), example("")))?;
        if name != capacity {
            let reason = format!("`{}` is not what this search finds", cut(name, SHOWN));
            return Err(wrong(reason, example("")));
        }
        let bound = value.strip_suffix("/s").filter(|_| kind == Kind::Rate).unwrap_or(value).trim();
        let bound = bound.parse::<f64>().ok().filter(|bound| bound.is_finite() && *bound >= 0.0);
        let bound =
            bound.ok_or_else(|| wrong(format!("`{}` is no capacity", cut(value, SHOWN)), example("")))?;
        let known = || format!("its goals are {}", goals.join(", "));
        let goal = match (goal, goals) {
            (Some(goal), _) if goals.contains(&goal) => goal,
            (Some(goal), _) => {
                return Err(wrong(format!("the search has no goal `{}`", cut(goal, SHOWN)), known()));
            }
            (None, [goal]) => goal,
            (None, _) => {
                let first = goals.first().map_or(String::new(), |first| format!("{first}: "));
                return Err(wrong(format!("`{shown}` does not say of which goal"), example(&first)));
            }
        };
        Ok(Require { text: text.trim().into(), goal: goal.into(), op, bound })
    }

    /// Judges an answer by its bounds.
    pub fn judge(&self, answer: &Answer) -> Outcome {
        answer
            .goal(&self.goal)
            .map_or(Outcome::Inconclusive, |goal| judge_range(self.op, self.bound, goal.range()))
    }
}

impl fmt::Display for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Ending, GoalAnswer, SoFar};
    use super::super::bounds::Bounds;
    use super::super::load::Load;
    use super::*;
    use proptest::prelude::*;

    use Outcome::{Fail, Inconclusive, Pass};

    fn answer(lower: Option<u32>, upper: Option<u32>) -> Answer {
        let load = |calls: Option<u32>| calls.and_then(Load::calls);
        let bounds = Bounds { lower: load(lower), upper: load(upper), wavers: None };
        let goal = GoalAnswer::of("good", bounds, Ending::Regular, None, None, SoFar::default());
        Answer::of(Kind::Calls, vec![goal], None, 1, 0)
    }

    fn judged(text: &str, lower: Option<u32>, upper: Option<u32>) -> Outcome {
        Require::parse(text, Kind::Calls, &["good"]).unwrap().judge(&answer(lower, upper))
    }

    #[test]
    fn bounds_decide_where_all_or_nothing_between_them_holds() {
        let at_least_150 = |lower, upper| judged("capacity.calls >= 150", lower, upper);
        assert_eq!(at_least_150(Some(187), Some(196)), Pass);
        assert_eq!(at_least_150(Some(150), None), Pass, "a floor is enough");
        assert_eq!(at_least_150(Some(140), Some(150)), Fail, "at most 149");
        assert_eq!(at_least_150(Some(140), Some(151)), Inconclusive);
        assert_eq!(at_least_150(None, Some(10)), Fail);
        assert_eq!(at_least_150(Some(100), None), Inconclusive);
        assert_eq!(at_least_150(None, None), Inconclusive);
        assert_eq!(judged("good: capacity.calls < 151", Some(140), Some(151)), Pass);
        assert_eq!(judged("capacity.calls == 150", Some(150), Some(151)), Pass, "nothing else is left");
        assert_eq!(judged("capacity.calls >= 1", None, Some(1)), Fail, "none at all");
    }

    #[test]
    fn mistakes_are_named_with_a_cure() {
        let fails =
            |text: &str, kind, goals: &[&str]| Require::parse(text, kind, goals).unwrap_err().to_string();
        let of_one = |text: &str| fails(text, Kind::Calls, &["good"]);
        assert_eq!(
            of_one("capacity.calls"),
            "`capacity.calls` has no comparison; write it as in capacity.calls >= 150"
        );
        assert!(of_one("rtt.p99 < 20ms").contains("`rtt.p99` is not what this search finds"));
        assert!(of_one("capacity.rate > 5").contains("capacity.calls >= 150"));
        for none in
            ["capacity.calls > many", "capacity.calls > -1", "capacity.calls > inf", "capacity.calls > 5/s"]
        {
            assert!(of_one(none).contains("is no capacity"), "{none}");
        }
        assert!(of_one("best: capacity.calls > 5").contains("no goal `best`; its goals are good"));
        let of_two = fails("capacity.rate > 5", Kind::Rate, &["good", "tolerable"]);
        assert!(of_two.contains("which goal; write it as in good: capacity.rate >= 150"), "{of_two}");
        assert!(of_one(&"x".repeat(100_000)).len() < 300);
        let rate = Require::parse("tolerable: capacity.rate >= 12.5/s", Kind::Rate, &["good", "tolerable"]);
        assert!(rate.is_ok_and(|rate| rate.goal == "tolerable" && rate.bound == 12.5));
    }

    proptest! {
        /// Against every capacity that the bounds allow.
        #[test]
        fn a_condition_is_decided_as_its_capacities_are(
            lower in 0u32..12, apart in 1u32..6, bound in 0u32..20, op in 0usize..6,
        ) {
            let sign = ["<", "<=", "==", ">=", ">", "!="][op];
            let require = Require::parse(&format!("capacity.calls {sign} {bound}"), Kind::Calls, &["good"]).unwrap();
            let all: Vec<_> = (lower..lower + apart).collect();
            let holding = all.iter().filter(|c| require.op.holds(f64::from(**c), f64::from(bound))).count();
            let expected = match holding {
                0 => Fail,
                n if n == all.len() => Pass,
                _ => Inconclusive,
            };
            let found = require.judge(&answer(Some(lower), Some(lower + apart)));
            prop_assert_eq!(found, expected, "{} in {:?}", require, all);
        }
    }
}
