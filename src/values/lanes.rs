//! A number of lanes: `"auto"`, or how many.

use std::fmt;
use std::str::FromStr;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most lanes: more threads than any machine sends packets with.
pub const MOST_LANES: u32 = 64;
/// Streams that are worth a lane of their own. A lane's threads wake up a thousand times a second for a single stream as
/// well, and 250 streams keep them busy for some tenth of a core each.
const STREAMS_OF_LANE: u32 = 250;

/// Lanes that share the media of a program, each with threads of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lanes {
    /// As many as the machine and the load give work to.
    #[default]
    Auto,
    /// So many, from 1 to [`MOST_LANES`].
    Fixed(u32),
}

impl Lanes {
    /// The lanes for `streams` streams on `cpus` CPUs. One CPU is left to everything else; no lane is without a stream.
    pub fn count(self, cpus: u32, streams: u32) -> u32 {
        match self {
            Lanes::Auto => cpus.saturating_sub(1).min(streams.div_ceil(STREAMS_OF_LANE)).clamp(1, MOST_LANES),
            Lanes::Fixed(count) => count.min(streams).clamp(1, MOST_LANES),
        }
    }

    fn fixed(count: i64) -> Option<Lanes> {
        let count = u32::try_from(count).ok()?;
        (1..=MOST_LANES).contains(&count).then_some(Lanes::Fixed(count))
    }
}

/// Accepted values, in words.
const WORDS: &str = "a whole number from 1 to 64 or \"auto\"";

impl FromStr for Lanes {
    type Err = String;

    fn from_str(text: &str) -> Result<Lanes, String> {
        let count = || text.parse().ok().and_then(Lanes::fixed);
        if text == "auto" { Ok(Lanes::Auto) } else { count().ok_or_else(|| format!("expected {WORDS}")) }
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lanes::Auto => f.write_str("auto"),
            Lanes::Fixed(count) => write!(f, "{count}"),
        }
    }
}

impl<'de> Deserialize<'de> for Lanes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Lanes;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(WORDS)
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Lanes, E> {
                Lanes::fixed(count).ok_or_else(|| E::invalid_value(Unexpected::Signed(count), &self))
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Lanes, E> {
                self.visit_i64(i64::try_from(count).unwrap_or(i64::MAX))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lanes, E> {
                let wrong = || E::invalid_value(Unexpected::Str(text), &self);
                (text == "auto").then_some(Lanes::Auto).ok_or_else(wrong)
            }
        }
        from.deserialize_any(Word)
    }
}

impl Serialize for Lanes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Lanes::Auto => to.serialize_str("auto"),
            Lanes::Fixed(count) => to.serialize_u32(*count),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Lanes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lanes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "title": "whole number or \"auto\"",
            "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": MOST_LANES }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        lanes: Lanes,
    }

    #[test]
    fn it_is_read_back_as_it_is_written() {
        for (text, lanes) in
            [("\"auto\"", Lanes::Auto), ("1", Lanes::Fixed(1)), ("64", Lanes::Fixed(MOST_LANES))]
        {
            let words = text.trim_matches('"');
            assert_eq!((words.parse(), lanes.to_string()), (Ok(lanes), words.to_string()));
            let text = format!("lanes = {text}\n");
            let table: Table = toml::from_str(&text).unwrap();
            assert_eq!((&table, toml::to_string(&table).unwrap()), (&Table { lanes }, text));
        }
        for wrong in ["\"many\"", "0", "65", "-1", "1.5", "true"] {
            let error = toml::from_str::<Table>(&format!("lanes = {wrong}")).unwrap_err();
            assert!(error.message().contains("a whole number from 1 to 64"), "{error}");
            assert!(wrong.trim_matches('"').parse::<Lanes>().is_err());
        }
    }

    #[test]
    fn by_itself_there_are_as_many_as_cpus_but_one_and_none_without_work() {
        let auto = |cpus, streams| Lanes::Auto.count(cpus, streams);
        assert_eq!([auto(0, 5), auto(1, 5000), auto(2, 5000), auto(8, 5000)], [1, 1, 1, 7]);
        assert_eq!(
            [auto(8, 0), auto(8, 250), auto(8, 251), auto(8, 1000), auto(200, u32::MAX)],
            [1, 1, 2, 4, 64]
        );
        assert_eq!(
            [Lanes::Fixed(2).count(1, 50), Lanes::Fixed(9).count(1, 3), Lanes::Fixed(9).count(1, 0)],
            [2, 3, 1]
        );
    }
}
