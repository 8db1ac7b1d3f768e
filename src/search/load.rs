//! A load on an exact grid: calls held at once, or attempts a second.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::counted;

/// Attempts a second are searched in hundredths.
const UNITS_PER_ATTEMPT: f64 = 100.0;
/// Largest load, in units of its kind: 20,000 calls and 10,000 attempts a second are below it.
const MOST_UNITS: u32 = 1_000_000;

/// The load that a search raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Calls held at once.
    Calls,
    /// Attempts a second.
    Rate,
}

/// A load: a whole number of calls, or of hundredths of an attempt a second.
///
/// Loads of one search are of one kind. In files it is a table of one key: `{"calls":196}`, `{"rate":12.5}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Load {
    kind: Kind,
    units: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Written {
    Calls(u32),
    Rate(f64),
}

impl Kind {
    /// Units of the grid in one call, or in one attempt a second.
    fn units(self) -> f64 {
        match self {
            Kind::Calls => 1.0,
            Kind::Rate => UNITS_PER_ATTEMPT,
        }
    }

    /// First load of a search that names none. A single call would take eight trials to come to a hundred, and no
    /// percentile rests on its packets.
    pub fn usual_min(self) -> Load {
        match self {
            Kind::Calls => Load { kind: self, units: 10 },
            Kind::Rate => Load { kind: self, units: 100 },
        }
    }

    /// The load of so many units, at least one and at most the largest there is.
    pub(super) fn load(self, units: u32) -> Load {
        Load { kind: self, units: units.clamp(1, MOST_UNITS) }
    }
}

impl Load {
    /// So many calls held at once; none is no load.
    pub fn calls(calls: u32) -> Option<Load> {
        Load::of(Kind::Calls, f64::from(calls))
    }

    /// So many attempts a second, on the grid of hundredths.
    pub fn rate(per_second: f64) -> Option<Load> {
        Load::of(Kind::Rate, per_second)
    }

    /// The load of that kind and number; `None` for what is not on the grid: parts of a call, nothing at all, more
    /// than any machine offers.
    pub fn of(kind: Kind, number: f64) -> Option<Load> {
        let units = number * kind.units();
        let whole = units.round();
        // A decimal fraction times a hundred is off by its last binary digits.
        let is_on_grid = (units - whole).abs() <= 1e-6 && (1.0..=f64::from(MOST_UNITS)).contains(&whole);
        is_on_grid.then_some(Load { kind, units: whole as u32 })
    }

    /// Calls, or attempts a second.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// The number of calls, or of attempts a second.
    pub fn number(self) -> f64 {
        f64::from(self.units) / self.kind.units()
    }

    pub(super) fn units(self) -> u32 {
        self.units
    }

    /// The number alone: `196`, `12.5`.
    pub(super) fn figure(self) -> String {
        self.number().to_string()
    }

    /// So many times the load, rounded to the grid, and more than it by a step at the least.
    pub fn raised(self, times: f64) -> Load {
        let units = (f64::from(self.units) * times).round() as u32;
        self.kind.load(units.max(self.units.saturating_add(1)))
    }

    /// Twice the load, and no more than `most`.
    pub(super) fn doubled(self, most: Load) -> Load {
        self.kind.load(self.units.saturating_mul(2)).min(most)
    }

    /// The load in the geometric middle of two that are not neighbours on the grid; between those that are far
    /// apart a round one.
    pub(super) fn between(self, upper: Load) -> Load {
        let (low, high) = (self.units, upper.units);
        let middle = (u64::from(low) * u64::from(high)).isqrt() as u32;
        let step = match (self.kind, high.saturating_sub(low)) {
            (Kind::Rate, 400..) => 10,
            _ => 1,
        };
        let round = (middle + step / 2) / step * step;
        self.kind.load(round.clamp(low.saturating_add(1), high.saturating_sub(1).max(low)))
    }

    /// True if `upper` is above by no more than `width` of it, in millionths, or by a single step of the grid.
    pub(super) fn is_close_to(self, upper: Load, width: u64) -> bool {
        let apart = u64::from(upper.units.saturating_sub(self.units));
        apart <= 1 || apart * 1_000_000 <= width * u64::from(upper.units)
    }
}

impl fmt::Display for Load {
    /// `196 calls`, `12.5/s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Calls => f.write_str(&counted(self.units.into(), "call")),
            Kind::Rate => write!(f, "{}/s", self.figure()),
        }
    }
}

impl From<Load> for Written {
    fn from(load: Load) -> Written {
        match load.kind {
            Kind::Calls => Written::Calls(load.units),
            Kind::Rate => Written::Rate(load.number()),
        }
    }
}

impl TryFrom<Written> for Load {
    type Error = String;
    fn try_from(written: Written) -> Result<Load, String> {
        let (kind, number) = match written {
            Written::Calls(calls) => (Kind::Calls, f64::from(calls)),
            Written::Rate(rate) => (Kind::Rate, rate),
        };
        Load::of(kind, number).ok_or_else(|| format!("{number} is no load"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loads_read_well_and_are_exact_in_files() {
        let shown = |load: Option<Load>| load.map(|load| load.to_string());
        assert_eq!(shown(Load::calls(1)).as_deref(), Some("1 call"));
        assert_eq!(shown(Load::calls(1196)).as_deref(), Some("1,196 calls"));
        assert_eq!(shown(Load::rate(12.5)).as_deref(), Some("12.5/s"));
        assert_eq!(shown(Load::rate(0.07)).as_deref(), Some("0.07/s"));
        for none in
            [Load::calls(0), Load::rate(0.0), Load::rate(-1.0), Load::rate(0.005), Load::rate(f64::NAN)]
        {
            assert_eq!(none, None);
        }
        assert_eq!((Load::of(Kind::Calls, 2.5), Load::rate(1e9)), (None, None));
        for (load, text) in [(Load::calls(196), r#"{"calls":196}"#), (Load::rate(12.57), r#"{"rate":12.57}"#)]
        {
            assert_eq!(serde_json::to_string(&load.unwrap()).unwrap(), text);
            assert_eq!(serde_json::from_str::<Load>(text).ok(), load);
        }
        for text in [r#"{"calls":0}"#, r#"{"calls":-1}"#, r#"{"calls":1,"rate":1}"#, r#"{"rate":1e300}"#, "7"]
        {
            assert!(serde_json::from_str::<Load>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_load_of_the_grid_survives_a_file(units in 1u32..=MOST_UNITS, is_rate: bool) {
            let load = (if is_rate { Kind::Rate } else { Kind::Calls }).load(units);
            let text = serde_json::to_string(&load).unwrap();
            prop_assert_eq!(serde_json::from_str::<Load>(&text).unwrap(), load);
            prop_assert_eq!(Load::of(load.kind(), load.number()), Some(load));
        }

        #[test]
        fn the_middle_lies_between(low in 1u32..500_000, apart in 2u32..500_000, is_rate: bool) {
            let kind = if is_rate { Kind::Rate } else { Kind::Calls };
            let (low, high) = (kind.load(low), kind.load(low + apart));
            let middle = low.between(high);
            prop_assert!(low < middle && middle < high, "{low} {middle} {high}");
        }
    }
}
