//! `calls.csv`, `seconds.csv`, `call_seconds.csv`, `silences.csv` and `percentiles.csv`: the rows behind the figures.

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

use super::{File, ReportError};
use crate::metrics::{PercentileRow, Summary};
use crate::values::Value;

/// The tables.
pub(super) fn files(summary: &Summary) -> Result<Vec<File>, ReportError> {
    let percentiles: Vec<_> = summary.percentiles.iter().map(Row::from).collect();
    Ok(vec![
        table("calls.csv", &columns::<crate::record::CallRecord>(), &summary.calls)?,
        table("seconds.csv", &columns::<crate::record::SecondRecord>(), &summary.seconds)?,
        table("call_seconds.csv", &columns::<crate::record::CallSecond>(), &summary.call_seconds)?,
        table("silences.csv", &columns::<crate::record::Silence>(), &summary.silences)?,
        table("percentiles.csv", &Row::COLUMNS, &percentiles)?,
    ])
}

/// A table of records. The header is written from `columns`, so that it is there without rows too.
fn table<T: Serialize>(path: &'static str, columns: &[&str], rows: &[T]) -> Result<File, ReportError> {
    let fail = |source| ReportError::Csv { path, source };
    let mut writer = ::csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(columns).map_err(fail)?;
    for row in rows {
        writer.serialize(row).map_err(fail)?;
    }
    let bytes = writer.into_inner().map_err(|e| fail(e.into_error().into()))?;
    Ok(File { path, bytes })
}

/// A row of `percentiles.csv`.
#[derive(Serialize)]
struct Row {
    percentile: f64,
    one_in: f64,
    rtt_ms: Cell,
    rtt_intended_ms: Cell,
    control_ms: Cell,
    send_lateness_ms: Cell,
}

impl Row {
    /// `1/(1-p)`: one packet in so many is slower; `inf` in the last row.
    const COLUMNS: [&'static str; 6] =
        ["percentile", "1/(1-p)", "rtt_ms", "rtt_intended_ms", "control_ms", "send_lateness_ms"];
}

impl From<&PercentileRow> for Row {
    fn from(row: &PercentileRow) -> Row {
        Row {
            // 100 − 0.00075 is not quite a double: without this it would read 99.99925000000000.
            percentile: (row.percentile * 1e9).round() / 1e9,
            one_in: super::one_in(row.percentile),
            rtt_ms: Cell(row.rtt),
            rtt_intended_ms: Cell(row.rtt_intended),
            control_ms: Cell(row.control),
            send_lateness_ms: Cell(row.send_lateness),
        }
    }
}

/// A number, `lost`, or empty where nothing was measured.
struct Cell(Value);

impl Serialize for Cell {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(n) => to.serialize_f64(n),
            Value::Lost => to.serialize_str("lost"),
            Value::NoData => to.serialize_none(),
        }
    }
}

/// The names of a record's fields as its `Deserialize` declares them.
fn columns<T: DeserializeOwned>() -> Vec<&'static str> {
    struct FieldNames<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for FieldNames<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not a record"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend_from_slice(fields);
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names = Vec::new();
    // The names are all that is wanted: it always ends in the error above.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CallRecord, SecondRecord};
    use crate::report::fixture;

    fn text(summary: &Summary, path: &str) -> String {
        let file = files(summary).unwrap().into_iter().find(|f| f.path == path).unwrap();
        String::from_utf8(file.bytes).unwrap()
    }

    /// The header and every `step`th row, to keep the snapshot short.
    fn sample(text: &str, step: usize) -> String {
        text.lines().step_by(step).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn tables_look_like_this() {
        let (summary, _) = fixture::typical();
        insta::assert_snapshot!("calls.csv", sample(&text(&summary, "calls.csv"), 10));
        insta::assert_snapshot!("seconds.csv", sample(&text(&summary, "seconds.csv"), 50));
        insta::assert_snapshot!("percentiles.csv", text(&summary, "percentiles.csv"));
    }

    #[test]
    fn rows_read_back_as_the_records_they_were() {
        let (summary, _) = fixture::typical();
        let calls = text(&summary, "calls.csv");
        let read: Vec<CallRecord> =
            ::csv::Reader::from_reader(calls.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, summary.calls);
        let seconds = text(&summary, "seconds.csv");
        let read: Vec<SecondRecord> =
            ::csv::Reader::from_reader(seconds.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, summary.seconds);
    }

    #[test]
    fn a_table_without_rows_has_its_header() {
        let (summary, _) = fixture::no_seconds();
        let seconds = text(&summary, "seconds.csv");
        assert_eq!(seconds.lines().count(), 1);
        assert!(seconds.starts_with("second,phase,calls_up,"), "{seconds}");
    }
}
