//! `load.call_duration`: one length for all calls, or the distribution that each is drawn from.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::values::Span;

/// Draws of an exponential length are cut at so many means, which one in 22,000 exceeds: the mean stays what it is
/// to 0.005 %, and no call is without end.
pub const LONGEST_IN_MEANS: u32 = 10;
/// Means after which 95 % of calls with an exponential length have ended.
const SETTLES_IN_MEANS: u32 = 3;
/// Most lengths in a list.
pub(super) const MOST_LENGTHS: usize = 1000;

/// Length of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallDuration {
    /// All the same.
    Constant(Span),
    /// Each drawn from an exponential distribution of this mean.
    Exponential(Span),
    /// Each drawn from these with equal chances; there is at least one.
    List(Vec<Span>),
}

impl CallDuration {
    /// Mean length.
    pub fn mean(&self) -> Duration {
        match self {
            CallDuration::Constant(span) | CallDuration::Exponential(span) => span.0,
            CallDuration::List(list) => {
                let sum = list.iter().fold(Duration::ZERO, |sum, span| sum.saturating_add(span.0));
                sum / u32::try_from(list.len().max(1)).unwrap_or(u32::MAX)
            }
        }
    }

    /// Longest length that is drawn.
    pub fn longest(&self) -> Duration {
        match self {
            CallDuration::Constant(span) => span.0,
            CallDuration::Exponential(mean) => mean.0.saturating_mul(LONGEST_IN_MEANS),
            CallDuration::List(list) => list.iter().map(|span| span.0).max().unwrap_or_default(),
        }
    }

    /// The length by which it is judged whether calls outlast the warm-up.
    pub(super) fn typical(&self) -> Span {
        match self {
            CallDuration::Constant(span) | CallDuration::Exponential(span) => *span,
            CallDuration::List(_) => Span(self.longest()),
        }
    }

    /// Time after which as many calls end as begin at a constant rate, but for one in twenty of an exponential
    /// length.
    pub(super) fn settles_after(&self) -> Duration {
        match self {
            CallDuration::Exponential(mean) => mean.0.saturating_mul(SETTLES_IN_MEANS),
            other => other.longest(),
        }
    }

    /// The one length of all calls, if there is one.
    pub fn constant(&self) -> Option<Span> {
        match self {
            CallDuration::Constant(span) => Some(*span),
            _ => None,
        }
    }
}

impl From<Span> for CallDuration {
    fn from(span: Span) -> Self {
        CallDuration::Constant(span)
    }
}

impl fmt::Display for CallDuration {
    /// `30s`, `exponential, mean 30s`, `10s, 30s or 3m`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallDuration::Constant(span) => span.fmt(f),
            CallDuration::Exponential(mean) => write!(f, "{mean} on average (exponential)"),
            CallDuration::List(list) if list.len() > 5 => {
                write!(f, "{} on average (of {} lengths)", Span(self.mean()), list.len())
            }
            CallDuration::List(list) => {
                let words: Vec<_> = list.iter().map(Span::to_string).collect();
                f.write_str(&words.join(" or "))
            }
        }
    }
}

/// Key of the exponential distribution's mean.
const EXPONENTIAL: &str = "exponential";

impl Serialize for CallDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            CallDuration::Constant(span) => span.serialize(to),
            CallDuration::List(list) => list.serialize(to),
            CallDuration::Exponential(mean) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry(EXPONENTIAL, mean)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for CallDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lengths;
        impl<'de> Visitor<'de> for Lengths {
            type Value = CallDuration;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a duration of calls")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CallDuration, E> {
                text.parse().map(CallDuration::Constant).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CallDuration, A::Error> {
                let mut lengths = Vec::new();
                while let Some(length) = list.next_element()? {
                    if lengths.len() == MOST_LENGTHS {
                        return Err(A::Error::custom(format!("more than {MOST_LENGTHS} durations of calls")));
                    }
                    lengths.push(length);
                }
                if lengths.is_empty() {
                    return Err(A::Error::custom("a list of durations needs at least one, as in [\"30s\"]"));
                }
                Ok(CallDuration::List(lengths))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CallDuration, A::Error> {
                let mut mean = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != EXPONENTIAL {
                        return Err(A::Error::unknown_field(&key, &[EXPONENTIAL]));
                    }
                    mean = Some(map.next_value()?);
                }
                mean.map(CallDuration::Exponential).ok_or_else(|| A::Error::missing_field(EXPONENTIAL))
            }
        }
        from.deserialize_any(Lengths)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for CallDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CallDuration".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let span = Span::json_schema(generator);
        schemars::json_schema!({
            "title": "a duration, distribution or list",
            "anyOf": [
                span,
                { "type": "object", "required": [EXPONENTIAL], "additionalProperties": false,
                  "patternProperties": { (format!("^{EXPONENTIAL}$")): span } },
                { "type": "array", "items": span, "minItems": 1, "maxItems": MOST_LENGTHS },
            ],
            "examples": ["30s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Override, Resolved};
    use super::*;

    fn read(text: &str) -> Resolved {
        Resolved::read(text, "x.toml", &[]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_length_a_distribution_and_a_list_are_read_and_written_back() {
        let secs = |s| Span(Duration::from_secs(s));
        for (text, expected, mean, longest, settled) in [
            ("\"30s\"", CallDuration::Constant(secs(30)), 30, 30, 30),
            ("{ exponential = \"30s\" }", CallDuration::Exponential(secs(30)), 30, 300, 90),
            (
                "[\"10s\", \"50s\", \"3m\"]",
                CallDuration::List(vec![secs(10), secs(50), secs(180)]),
                80,
                180,
                180,
            ),
        ] {
            let resolved = read(&format!("[load]\ncall_duration = {text}\nretry_after = \"2s\"\n"));
            let duration = resolved.scenario.load.call_duration.clone().expect("there is one");
            assert_eq!(duration, expected);
            let found = [duration.mean(), duration.longest(), duration.settles_after()].map(|d| d.as_secs());
            assert_eq!(found, [mean, longest, settled]);
            let again = Resolved::read(&resolved.to_toml(), "y.toml", &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(again.scenario, resolved.scenario);
        }
        let set = [Override::set("load.call_duration={ exponential = \"5s\" }")];
        let set = Resolved::read("", "x.toml", &set).unwrap().scenario.load.call_duration;
        assert_eq!(set, Some(CallDuration::Exponential(secs(5))));
    }

    #[test]
    fn other_shapes_are_refused_with_their_line_and_a_cure() {
        for (value, words) in [
            ("30", &["a duration of calls belongs here", "\"30s\""][..]),
            ("[]", &["at least one", "[\"30s\"]"]),
            ("[5]", &["a duration belongs here", "\"5s\""]),
            ("\"soon\"", &["`soon` is not a duration"]),
            ("{ exponentail = \"30s\" }", &["exponentail", "exponential"]),
            ("{}", &["exponential", "missing"]),
            ("{ exponential = 3 }", &["a duration belongs here"]),
            ("{ exponential = \"1s\" }", &["outlast the warm-up", "at least 3s"]),
            ("[\"1s\", \"2s\"]", &["outlast the warm-up", "at least 3s"]),
        ] {
            let text = format!("[load]\ncalls = 2\ncall_duration = {value}\n");
            let error = Resolved::read(&text, "x.toml", &[]).expect_err(value).rendered;
            for word in words.iter().chain(&["x.toml:3"]) {
                assert!(error.contains(word), "`{word}` in:\n{error}");
            }
        }
    }
}
