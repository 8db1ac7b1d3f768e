//! A run's files, read back into the records that they were written from.

use csv::{Position, StringRecord};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{
    CallRecord, CallSecond, Environment, FORMAT_VERSION, Quantile, Run, SecondRecord, Silence, hlog,
};

/// Largest number in a file: so few that no sum of them can overflow.
const MOST: f64 = hlog::MOST_PACKETS as f64;
/// Columns that others have written: words may be numbers there.
const WORDS: [&str; 2] = ["call_id", "reason"];

/// The bytes of a run's raw files.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// `environment.json`
    pub environment: Vec<u8>,
    /// `calls.csv`
    pub calls: Vec<u8>,
    /// `seconds.csv`
    pub seconds: Vec<u8>,
    /// `call_seconds.csv`
    pub call_seconds: Vec<u8>,
    /// `silences.csv`
    pub silences: Vec<u8>,
    /// `rtt.hlog`
    pub hlog: Vec<u8>,
}

impl Stored {
    /// The run. Columns that an older version did not write are empty; unknown ones are passed over.
    ///
    /// # Errors
    /// The file that is damaged or of a newer version, and where in it.
    pub fn read(&self) -> Result<Run, String> {
        let damaged = |error: serde_json::Error| format!("environment.json is damaged: {error}");
        let json: Json = serde_json::from_slice(&self.environment).map_err(damaged)?;
        let format = u32::deserialize(&json["format"]).map_err(damaged)?;
        if format > FORMAT_VERSION {
            return Err(format!(
                "the run was written in format {format}; this version reads up to {FORMAT_VERSION}: use a newer \
                 loadtest"
            ));
        }
        if let Some(wrong) = beyond("", &json) {
            return Err(format!("environment.json is damaged: {wrong}"));
        }
        let environment: Environment = serde_json::from_slice(&self.environment).map_err(damaged)?;
        let mut calls: Vec<CallRecord> = table("calls.csv", &self.calls)?;
        if format == 1 {
            calls.iter_mut().for_each(fill_in_lost);
        }
        let seconds: Vec<SecondRecord> = table("seconds.csv", &self.seconds)?;
        let call_seconds: Vec<CallSecond> = table("call_seconds.csv", &self.call_seconds)?;
        let silences: Vec<Silence> = table("silences.csv", &self.silences)?;
        let intervals = hlog::read(&self.hlog).map_err(|error| error.to_string())?;
        for (file, is_empty) in [("calls.csv", calls.is_empty()), ("seconds.csv", seconds.is_empty())] {
            if is_empty && environment.window_from_s.is_some() {
                return Err(format!("{file} is damaged: it is empty, though a window was measured"));
            }
        }
        Ok(Run { environment, calls, seconds, call_seconds, silences, intervals })
    }
}

/// Format 1 left a percentile empty both where it fell among the lost and where nothing was sent.
fn fill_in_lost(call: &mut CallRecord) {
    for percentile in [&mut call.rtt_p50_ms, &mut call.rtt_p95_ms, &mut call.rtt_p99_ms] {
        if *percentile == Quantile::NoData && call.sent > 0 {
            *percentile = Quantile::Lost;
        }
    }
}

fn table<T: DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<Vec<T>, String> {
    let damaged = |error: csv::Error| format!("{file} is damaged: {error}");
    let mut reader = csv::Reader::from_reader(bytes);
    let heads = reader.headers().map_err(damaged)?.clone();
    let row = |row: Result<StringRecord, csv::Error>| {
        let row = row.map_err(damaged)?;
        let mut cells = heads.iter().zip(&row).filter(|(head, _)| !WORDS.contains(head));
        if let Some((head, cell)) = cells.find(|(_, cell)| cell.parse().is_ok_and(is_beyond)) {
            let line = row.position().map_or(0, Position::line);
            return Err(format!("{file} is damaged in line {line}: {head} is {cell}, beyond any run"));
        }
        row.deserialize(Some(&heads)).map_err(damaged)
    };
    reader.records().map(row).collect()
}

fn is_beyond(number: f64) -> bool {
    number.is_nan() || number.abs() > MOST
}

/// The first number in a document that no run can reach. Stamps and offsets in nanoseconds may be any.
fn beyond(key: &str, json: &Json) -> Option<String> {
    match json {
        Json::Number(n) if !key.ends_with("_ns") && n.as_f64().is_none_or(is_beyond) => {
            Some(format!("{key} is {n}, beyond any run"))
        }
        Json::Array(all) => all.iter().find_map(|json| beyond(key, json)),
        Json::Object(all) => all.iter().find_map(|(key, json)| beyond(key, json)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn damage_is_named_by_its_file() {
        let environment = br#"{"format": 1}"#.to_vec();
        let says = |stored: Stored| stored.read().unwrap_err();
        assert!(says(Stored::default()).contains("environment.json"));
        let newer = Stored { environment: br#"{"format": 999}"#.to_vec(), ..Default::default() };
        assert!(says(newer).contains("newer loadtest"));
        let calls = b"call,line\n1,x\n".to_vec();
        let stored = Stored { environment: environment.clone(), calls, ..Default::default() };
        assert!(says(stored).contains("calls.csv"));
        let stored =
            Stored { environment: environment.clone(), hlog: b"what\n".to_vec(), ..Default::default() };
        assert!(says(stored).contains("rtt.hlog"));
        // Nothing but the environment: a run without calls.
        let run = Stored { environment, ..Default::default() }.read().unwrap();
        assert!(run.calls.is_empty() && run.seconds.is_empty() && run.intervals.iter().next().is_none());
    }

    #[test]
    fn an_empty_percentile_of_format_1_is_lost_where_packets_were_sent() {
        let mut calls = csv::Writer::from_writer(Vec::new());
        for sent in [0, 100] {
            calls.serialize(CallRecord { sent, rtt_p95_ms: Quantile::At(1), ..Default::default() }).unwrap();
        }
        let calls = calls.into_inner().unwrap();
        let read = |format: u32| {
            let environment = format!(r#"{{"format": {format}}}"#).into_bytes();
            let run = Stored { environment, calls: calls.clone(), ..Default::default() }.read().unwrap();
            run.calls.into_iter().map(|c| (c.rtt_p95_ms, c.rtt_p99_ms)).collect::<Vec<_>>()
        };
        let (at, none) = (Quantile::At(1), Quantile::NoData);
        assert_eq!(read(1), [(at, none), (at, Quantile::Lost)]);
        assert_eq!(read(2), [(at, none), (at, none)]);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let stored = Stored {
                environment: br#"{"format": 1}"#.to_vec(),
                calls: bytes.clone(),
                seconds: bytes.clone(),
                call_seconds: bytes.clone(),
                silences: bytes.clone(),
                hlog: bytes,
            };
            let _ = stored.read();
        }
    }
}
