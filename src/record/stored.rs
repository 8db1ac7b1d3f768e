//! A run's files, read back into the records that they were written from.

use serde::de::DeserializeOwned;

use super::{
    CallRecord, CallSecond, Environment, FORMAT_VERSION, Quantile, Run, SecondRecord, Silence, hlog,
};

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
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |error: serde_json::Error| format!("environment.json is damaged: {error}");
        let Version { format } = serde_json::from_slice(&self.environment).map_err(damaged)?;
        if format > FORMAT_VERSION {
            return Err(format!(
                "the run was written in format {format}; this version reads up to {FORMAT_VERSION}: use a newer \
                 loadtest"
            ));
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
    let rows = csv::Reader::from_reader(bytes).into_deserialize().collect::<Result<_, csv::Error>>();
    rows.map_err(|error| format!("{file} is damaged: {error}"))
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
