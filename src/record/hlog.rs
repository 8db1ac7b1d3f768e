//! `rtt.hlog`: the run's histograms as an HdrHistogram interval log, one tagged line per series.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::{Latencies, Series};
use crate::stamp::Stamp;

/// Largest histogram taken from a file, decoded; ours have some 18,000 counts.
const MOST_BYTES: usize = 4 << 20;

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// A line is not one of an interval log, or its histogram is damaged.
    #[error("rtt.hlog is damaged: {0}")]
    Damaged(String),
    /// The writer failed.
    #[error("rtt.hlog cannot be written: {0}")]
    Write(String),
}

/// Writes the histograms of a window of `duration` that began at `from`. Values are nanoseconds;
/// the log's maximum column is in milliseconds. What lay above 60 s goes into a comment.
///
/// # Errors
/// [`HlogError::Write`].
pub fn write(
    histograms: &BTreeMap<Series, Latencies>,
    from: Stamp,
    duration: Duration,
) -> Result<Vec<u8>, HlogError> {
    let failed = |e: &dyn std::fmt::Debug| HlogError::Write(format!("{e:?}"));
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let start = UNIX_EPOCH + Duration::from_nanos(from.as_ns());
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("loadtest: latencies in ns, a tag per series")
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|e| failed(&e))?;
    for (series, latencies) in histograms.iter().filter(|(_, l)| !l.is_empty()) {
        if latencies.above() > 0 {
            let comment = format!("{}: {} above 60 s", series.name(), latencies.above());
            log.write_comment(&comment).map_err(|e| failed(&e))?;
        }
        log.write_histogram(latencies.histogram(), Duration::ZERO, duration, Tag::new(series.name()))
            .map_err(|e| failed(&e))?;
    }
    Ok(bytes)
}

/// Reads what [`write()`] wrote. Series that it does not know are passed over.
///
/// # Errors
/// [`HlogError::Damaged`].
pub fn read(bytes: &[u8]) -> Result<BTreeMap<Series, Latencies>, HlogError> {
    use base64::Engine as _;
    let damaged = |e: &dyn std::fmt::Debug| HlogError::Damaged(format!("{e:?}"));
    let mut histograms = BTreeMap::new();
    for entry in IntervalLogIterator::new(bytes) {
        let LogEntry::Interval(line) = entry.map_err(|e| damaged(&e))? else { continue };
        let tag = line.tag().map(|t| t.as_str().to_string()).unwrap_or_default();
        let Some(series) = Series::ALL.into_iter().find(|s| s.name() == tag) else { continue };
        let encoded = line.encoded_histogram();
        if encoded.len() > MOST_BYTES {
            return Err(HlogError::Damaged(format!("the histogram of {tag} is too large")));
        }
        let raw = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|e| damaged(&e))?;
        let histogram = Deserializer::new().deserialize(&mut raw.as_slice()).map_err(|e| damaged(&e))?;
        let latencies = Latencies::from_histogram(histogram, above(bytes, &tag)).map_err(|e| damaged(&e))?;
        histograms.insert(series, latencies);
    }
    Ok(histograms)
}

/// The count in the comment `#rtt: 3 above 60 s`, if there is one.
fn above(log: &[u8], tag: &str) -> u64 {
    let text = String::from_utf8_lossy(log);
    let start = format!("#{tag}: ");
    let count =
        text.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix(" above 60 s")?.parse().ok());
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_come_back_count_for_count() {
        let mut rtt = Latencies::default();
        (0..5000u64).for_each(|n| rtt.record(150_000 + n * n));
        rtt.record(61_000_000_000);
        let mut lag = Latencies::default();
        lag.record(10);
        let written = BTreeMap::from([
            (Series::Rtt, rtt),
            (Series::ReceiveLag, lag),
            (Series::Up, Latencies::default()),
        ]);
        let bytes =
            write(&written, Stamp::from_ns(1_763_800_000_000_000_000), Duration::from_secs(300)).unwrap();
        let read = read(&bytes).unwrap();
        assert_eq!(read.len(), 2, "an empty series has no line");
        for (series, latencies) in &read {
            assert_eq!(latencies.above(), written[series].above());
            for q in [0.0, 0.5, 0.99, 0.9999, 1.0] {
                assert_eq!(latencies.quantile(q, 7), written[series].quantile(q, 7), "{series:?} {q}");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(read(b"#[StartTime: 1.0]\nTag=rtt,0.0,1.0,2.0,AAAA\n").is_err());
        assert!(read(b"nonsense\n").is_err());
        assert!(read(b"").unwrap().is_empty());
    }
}
