//! A wish for real-time priority: `"auto"`, `true` or `false`.

use std::fmt;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Real-time priority for threads whose lateness would be measured as the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Realtime {
    /// A raised priority instead, where the kernel permits it; elsewhere without a word.
    #[default]
    Auto,
    /// Wanted: a refusal is a warning.
    On,
    /// Never.
    Off,
}

impl<'de> Deserialize<'de> for Realtime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Realtime;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Realtime, E> {
                Ok(if on { Realtime::On } else { Realtime::Off })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Realtime, E> {
                let wrong = || E::invalid_value(Unexpected::Str(text), &self);
                (text == "auto").then_some(Realtime::Auto).ok_or_else(wrong)
            }
        }
        from.deserialize_any(Word)
    }
}

impl Serialize for Realtime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Realtime::Auto => to.serialize_str("auto"),
            Realtime::On => to.serialize_bool(true),
            Realtime::Off => to.serialize_bool(false),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Realtime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Realtime".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "title": "true, false or \"auto\"", "enum": [true, false, "auto"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        realtime: Realtime,
    }

    #[test]
    fn it_is_read_back_as_it_is_written() {
        for (text, realtime) in
            [("true", Realtime::On), ("false", Realtime::Off), ("\"auto\"", Realtime::Auto)]
        {
            let text = format!("realtime = {text}\n");
            let table: Table = toml::from_str(&text).unwrap();
            assert_eq!((&table, toml::to_string(&table).unwrap()), (&Table { realtime }, text));
        }
        for wrong in ["\"yes\"", "1", "\"\"", "[]"] {
            let error = toml::from_str::<Table>(&format!("realtime = {wrong}")).unwrap_err();
            assert!(error.message().contains("expected true, false or \"auto\""), "{error}");
        }
    }
}
