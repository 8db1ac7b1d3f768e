//! A figure with its unit, as people read it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// 0–1 in files, per cent for people.
    Ratio,
    /// A count.
    Count,
    /// Cores busy; 1 is one core.
    Cores,
    /// Mebibytes.
    Mib,
    /// Milliseconds per minute.
    MsPerMinute,
    /// Mebibytes per minute.
    MibPerMinute,
    /// A score from 1 to 4.5.
    Score,
    /// A mean of counts.
    Mean,
}

/// A metric's value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Value {
    /// A number in the metric's unit.
    Number(f64),
    /// A percentile that falls among the packets that never came back.
    Lost,
    /// Nothing was measured.
    #[default]
    NoData,
}

impl Value {
    /// True if nothing was measured.
    pub fn is_no_data(&self) -> bool {
        *self == Value::NoData
    }

    /// The number, if there is one.
    pub fn number(self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(n),
            Value::Lost | Value::NoData => None,
        }
    }
}

/// A number, `lost`, or nothing.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(n) => to.serialize_f64(*n),
            Value::Lost => to.serialize_str("lost"),
            Value::NoData => to.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Word(String),
        }
        match Option::deserialize(from)? {
            None => Ok(Value::NoData),
            Some(Written::Number(n)) if n.is_finite() => Ok(Value::Number(n)),
            Some(Written::Word(word)) if word == "lost" => Ok(Value::Lost),
            Some(_) => Err(serde::de::Error::custom("a value is a number, \"lost\" or null")),
        }
    }
}

/// A value for people: three decimals of a millisecond, small ratios to a millionth.
pub fn show(value: Value, unit: Unit) -> String {
    match (value, unit) {
        (Value::NoData, _) => "no data".into(),
        (Value::Lost, _) => "lost".into(),
        (Value::Number(n), Unit::Ms) => format!("{n:.3} ms"),
        (Value::Number(0.0), Unit::Ratio) => "0 %".into(),
        (Value::Number(1.0), Unit::Ratio) => "100 %".into(),
        (Value::Number(n), Unit::Ratio) if n >= 0.01 => format!("{:.2} %", n * 100.0),
        (Value::Number(n), Unit::Ratio) => format!("{:.4} %", n * 100.0),
        (Value::Number(n), Unit::Count) => grouped(n),
        (Value::Number(n), Unit::Cores) => format!("{n:.2} cores"),
        (Value::Number(n), Unit::Mib) => format!("{n:.1} MiB"),
        (Value::Number(n), Unit::MibPerMinute) => format!("{n:.2} MiB/min"),
        (Value::Number(n), Unit::MsPerMinute) => format!("{n:.4} ms/min"),
        (Value::Number(n), Unit::Score | Unit::Mean) => format!("{n:.2}"),
    }
}

/// A count and what it counts: `1 call`, `1,200 calls`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n as f64), if n == 1 { "" } else { "s" })
}

/// A count with its thousands set apart: `750,000`.
fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        let text = |n, unit| show(Value::Number(n), unit);
        assert_eq!(
            [0.0, 999.0, 1000.0, 750_000.0, 1_234_567.0].map(|n| text(n, Unit::Count)),
            ["0", "999", "1,000", "750,000", "1,234,567"]
        );
        let ratios = [0.0, 0.000_041, 0.309, 1.0].map(|n| text(n, Unit::Ratio));
        assert_eq!(ratios, ["0 %", "0.0041 %", "30.90 %", "100 %"]);
        assert_eq!(text(0.2134, Unit::Ms), "0.213 ms");
        assert_eq!(show(Value::Lost, Unit::Ms), "lost");
    }

    #[test]
    fn a_value_reads_back_from_a_file_as_it_was() {
        for value in [Value::Number(20.125), Value::Number(0.0), Value::Lost, Value::NoData] {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{text}");
        }
        for text in ["\"found\"", "[]", "true", "{}"] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
    }
}
