//! The drivers of a run side by side: one table for the page, the text and Markdown.

use crate::metrics::Summary;
use crate::record::{ShardRecord, start_spread_ms};
use crate::values::{Unit, Value, show};

/// Heads of the columns.
pub(super) const HEADS: [&str; 8] =
    ["shard", "machine", "attempts", "packets", "clock, ms", "start, ms", "late p99, ms", "state"];

/// A row for each driver; empty of a run that one has made.
pub(super) fn rows(summary: &Summary) -> Vec<[String; 8]> {
    summary.environment.shards.iter().map(row).collect()
}

fn row(shard: &ShardRecord) -> [String; 8] {
    let ms = |ms: Option<f64>| ms.map_or("–".into(), |ms| format!("{ms:.3}"));
    let offset = match (shard.clock_offset_ms, shard.clock_error_ms) {
        (Some(offset), Some(error)) => format!("{offset:+.3} ± {error:.3}"),
        _ => "–".into(),
    };
    let machine = match shard.host.as_str() {
        "" => "–".into(),
        host => format!("{host}, {} CPUs", shard.cpus),
    };
    [
        shard.index.to_string(),
        machine,
        shard.attempts.to_string(),
        shard.sent.to_string(),
        offset,
        ms(shard.started_late_ms),
        ms(shard.send_lateness_p99_ms),
        state(shard),
    ]
}

/// Judgement on a driver, in words.
fn state(shard: &ShardRecord) -> String {
    match (shard.missing.as_str(), shard.doubts.as_slice()) {
        ("", []) => "well".into(),
        ("", _) => "in doubt".into(),
        (missing, _) => missing.into(),
    }
}

/// Spread of the drivers' starts, in words.
pub(super) fn spread(summary: &Summary) -> Option<String> {
    let spread = start_spread_ms(&summary.environment.shards)?;
    let count = summary.environment.shards.len();
    Some(format!("{count} shards started within {}", show(Value::Number(spread), Unit::Ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;
    use crate::report::fixture::judged;

    #[test]
    fn each_shard_has_its_row_and_one_that_is_missing_says_why() {
        let mut run = fixture::typical();
        let shard = |index, missing: &str| ShardRecord {
            index,
            host: format!("h{index}"),
            cpus: 4,
            clock_offset_ms: Some(-3.25),
            clock_error_ms: Some(0.1),
            started_late_ms: Some(f64::from(index)),
            missing: missing.into(),
            ..ShardRecord::default()
        };
        run.environment.shards = vec![shard(0, ""), shard(1, "was lost: <its> connection ended")];
        let (summary, verdict) = judged(run, &[]);
        let rows = rows(&summary);
        assert_eq!((rows[0][4].as_str(), rows[0][7].as_str()), ("-3.250 ± 0.100", "well"));
        assert_eq!(spread(&summary).unwrap(), "2 shards started within 1.000 ms");
        assert_eq!(verdict.outcome, crate::gate::Outcome::Inconclusive);
        for format in [super::super::Format::Html, super::super::Format::Markdown] {
            let files = super::super::render(format, &summary, &verdict, "").unwrap();
            let text = String::from_utf8(files[0].bytes.clone()).unwrap();
            assert!(
                text.contains("h1, 4 CPUs") && text.contains("started within") && !text.contains("<its>"),
                "{text}"
            );
        }
        let text = super::super::terminal::summary(&summary, &verdict, Default::default());
        assert!(text.contains("shard 1 (h1): was lost") && text.contains("started within"), "{text}");
    }
}
