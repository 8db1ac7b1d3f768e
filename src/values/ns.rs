//! Nanoseconds inside, milliseconds in files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in nanoseconds that files show in milliseconds, exact to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ns(pub u64);

impl Ns {
    /// The value in milliseconds.
    pub fn as_ms(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The duration of so many milliseconds, as it stands in a file.
    ///
    /// # Errors
    /// A value that is negative, no number, or longer than thirty years.
    pub fn from_ms(ms: f64) -> Result<Ns, String> {
        let is_duration = (0.0..=1e12).contains(&ms);
        is_duration
            .then(|| Ns((ms * 1e6).round() as u64))
            .ok_or_else(|| format!("{ms} is not a duration in milliseconds"))
    }
}

impl From<Duration> for Ns {
    fn from(d: Duration) -> Ns {
        Ns(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Serialize for Ns {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.as_ms())
    }
}

impl<'de> Deserialize<'de> for Ns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ns, D::Error> {
        Ns::from_ms(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_in_text_keep_every_nanosecond() {
        for ns in [0, 1, 999, 47_123, 123_456_789, 600_000_000_001] {
            let text = serde_json::to_string(&Ns(ns)).unwrap();
            assert_eq!(serde_json::from_str::<Ns>(&text).unwrap(), Ns(ns), "{text}");
        }
        assert!(serde_json::from_str::<Ns>("-1").is_err());
        assert!(serde_json::from_str::<Ns>("1e300").is_err());
    }
}
