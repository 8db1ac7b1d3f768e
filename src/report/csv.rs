//! `calls.csv`, `seconds.csv`, `call_seconds.csv`, `silences.csv` and `percentiles.csv`: the rows behind the figures;
//! `stages.csv`: a row a stage; `turns.csv`: a row a turn of a conversation;
//! `talk.csv`: who spoke when around the worst of them; `signals.csv`: a row a burst; `quality.csv`: a row a passage.

use serde::Serialize;

use super::{File, ReportError, stages};
use crate::metrics::Summary;

/// The tables.
pub(super) fn files(summary: &Summary) -> Result<Vec<File>, ReportError> {
    let mut files = vec![
        table("calls.csv", &summary.calls)?,
        table("seconds.csv", &summary.seconds)?,
        table("call_seconds.csv", &summary.call_seconds)?,
        table("silences.csv", &summary.silences)?,
        table("percentiles.csv", &summary.percentiles)?,
    ];
    if !summary.turns.is_empty() {
        files.push(table("turns.csv", &summary.turns)?);
    }
    if !summary.talk.is_empty() {
        files.push(table("talk.csv", &summary.talk)?);
    }
    if !summary.signals.is_empty() {
        files.push(table("signals.csv", &summary.signals)?);
    }
    if !summary.quality.is_empty() {
        files.push(table("quality.csv", &summary.quality)?);
    }
    if !summary.stages.is_empty() {
        let path = "stages.csv";
        let bytes = stages::csv(summary).map_err(|source| ReportError::new(path, source))?;
        files.push(File { path, bytes });
    }
    Ok(files)
}

/// A table of records. Its header is there without rows too.
fn table<T: Serialize + Default>(path: &'static str, rows: &[T]) -> Result<File, ReportError> {
    let fail = |source| ReportError::new(path, source);
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(fail)?;
    }
    if rows.is_empty() {
        writer.serialize(T::default()).map_err(fail)?;
    }
    let mut bytes = writer.into_inner().map_err(|e| fail(e.into_error().into()))?;
    if rows.is_empty() {
        let header = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.truncate(header);
    }
    Ok(File { path, bytes })
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
