//! A run's files, read back into the records that they were written from.

use csv::{Position, StringRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value as Json;

use super::manifest::{self, Manifest};
use super::{CallRecord, Environment, FORMAT_VERSION, Latencies, Quantile, Run, Series, cell, hlog};

/// First format with a manifest.
const WITH_MANIFEST: u32 = 2;
/// Keys of the environment that format 1 always has.
const FORMAT_1: [&str; 31] = [
    "format",
    "name",
    "version",
    "started_at",
    "elapsed_s",
    "interrupted",
    "broken",
    "window_from_s",
    "window_to_s",
    "calls",
    "calls_at_start",
    "suppressed_attempts",
    "codec",
    "ptime_ms",
    "late_after_ms",
    "lost_after_ms",
    "host",
    "cpu",
    "cpus",
    "memory_mib",
    "kernel",
    "asterisk",
    "service",
    "scenario_hash",
    "command",
    "clock_step_ns",
    "negative_rtt",
    "sip_drops",
    "service_drops",
    "impair_overflows",
    "remarks",
];

/// Largest number in a file: so few that no sum of them can overflow.
const MOST: f64 = hlog::MOST_PACKETS as f64;
/// Columns that others have written: words may be numbers there.
const WORDS: [&str; 2] = ["call_id", "reason"];

/// Presence of a table in a run's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// In every run.
    Always,
    /// In every run of a format with a manifest; those before had none.
    Later,
    /// In runs with something to say there: not of echoes, nor of older versions.
    Some,
}

/// Largest size of a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A row for each of many: a table, or a log.
    Rows,
    /// One document.
    Document,
}

/// The list of a run's tables, which makes all that has to know each of them: a new one is a line here, a list of
/// [`Run`]'s, and one of `report/csv.rs`, which writes it.
macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident: $name:literal, $presence:ident, $size:ident;)*) => {
        /// The bytes of a run's raw files.
        #[derive(Debug, Clone, Default)]
        pub struct Stored {
            /// `environment.json`
            pub environment: Vec<u8>,
            $($(#[$doc])* pub $field: Vec<u8>,)*
            /// `rtt.hlog`
            pub hlog: Vec<u8>,
            /// `scenario.toml`
            pub scenario: Vec<u8>,
            /// `manifest.json`
            pub manifest: Vec<u8>,
        }

        const TABLES: &[(&str, Presence)] = &[$(($name, Presence::$presence)),*];

        /// Files that a run stores and that its figures can be made from again.
        pub const DATA: [&str; TABLES.len() + 3] = ["environment.json", $($name,)* "rtt.hlog", "scenario.toml"];

        impl Stored {
            /// The files as `bytes` gives each: by its name, its largest size, and whether it has to be there.
            ///
            /// # Errors
            /// The first of `bytes`.
            pub fn gather<E>(
                mut bytes: impl FnMut(&'static str, Size, bool) -> Result<Vec<u8>, E>,
            ) -> Result<Stored, E> {
                Ok(Stored {
                    environment: bytes("environment.json", Size::Document, true)?,
                    $($field: bytes($name, Size::$size, Presence::$presence == Presence::Always)?,)*
                    hlog: bytes("rtt.hlog", Size::Rows, true)?,
                    scenario: bytes("scenario.toml", Size::Document, false)?,
                    manifest: bytes(manifest::NAME, Size::Document, false)?,
                })
            }

            /// The files of [`DATA`], in its order.
            fn data(&self) -> [&Vec<u8>; DATA.len()] {
                [&self.environment, $(&self.$field,)* &self.hlog, &self.scenario]
            }

            /// The tables' rows, of a run stored in `format`.
            fn rows(&self, format: u32) -> Result<Run, String> {
                Ok(Run {
                    $($field: table(columns_of(format, Presence::$presence), $name, &self.$field)?,)*
                    ..Run::default()
                })
            }

            /// The tables as this version stores them; the other files are empty.
            #[cfg(test)]
            fn of_rows(run: &Run) -> Stored {
                Stored {
                    $($field: tests::written(Presence::$presence, &run.$field),)*
                    ..Stored::default()
                }
            }
        }
    };
}

tables! {
    /// `calls.csv`
    calls: "calls.csv", Always, Rows;
    /// `seconds.csv`
    seconds: "seconds.csv", Always, Rows;
    /// `call_seconds.csv`
    call_seconds: "call_seconds.csv", Later, Rows;
    /// `silences.csv`
    silences: "silences.csv", Later, Rows;
    /// `turns.csv`
    turns: "turns.csv", Some, Rows;
    /// `talk.csv`
    talk: "talk.csv", Some, Document;
    /// `signals.csv`
    signals: "signals.csv", Some, Rows;
    /// `quality.csv`
    quality: "quality.csv", Some, Rows;
}

/// True for a table that runs of echoes lack.
pub fn is_of_some(name: &str) -> bool {
    TABLES.contains(&(name, Presence::Some))
}

/// The format whose columns a table must have: what older versions and runs of another kind lack may be empty.
fn columns_of(format: u32, presence: Presence) -> u32 {
    if presence == Presence::Some { 1 } else { format }
}

impl Stored {
    /// The note on files of which no checksums were kept, so that nobody can say if they are as they were written.
    pub fn note(&self) -> Option<&'static str> {
        let why = "no manifest.json: an older version stored this run, and whether its files are whole is not known";
        self.manifest.is_empty().then_some(why)
    }

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
        complete(format, &json)?;
        if let Some(wrong) = beyond("", &json) {
            return Err(format!("environment.json is damaged: {wrong}"));
        }
        let environment: Environment = serde_json::from_slice(&self.environment).map_err(damaged)?;
        // Also where the format is said to be an older one: that line is a file's as any other.
        if format >= WITH_MANIFEST || !self.manifest.is_empty() {
            self.manifest()?.check(self.files())?;
        }
        let mut run = self.rows(format)?;
        match format {
            1 => run.calls.iter_mut().for_each(fill_in_lost),
            _ => run.calls.iter_mut().flat_map(CallRecord::words).for_each(cell::restore),
        }
        run.intervals = hlog::read(&self.hlog).map_err(|error| error.to_string())?;
        for (file, is_empty) in [("calls.csv", run.calls.is_empty()), ("seconds.csv", run.seconds.is_empty())]
        {
            if is_empty && environment.window_from_s.is_some() {
                return Err(format!("{file} is damaged: it is empty, though a window was measured"));
            }
        }
        run.environment = environment;
        consistent(&run)?;
        Ok(run)
    }

    fn manifest(&self) -> Result<Manifest, String> {
        serde_json::from_slice(&self.manifest).map_err(|error| {
            let is_there = !self.manifest.is_empty();
            let why = if is_there { format!("is damaged: {error}") } else { "is not there".into() };
            format!("{} {why}; copy the run's folder again, as a whole", manifest::NAME)
        })
    }

    /// The files that the manifest lists, by name.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> + '_ {
        let is_there = |(name, bytes): &(&str, &[u8])| !is_of_some(name) || !bytes.is_empty();
        DATA.into_iter().zip(self.data().map(Vec::as_slice)).filter(is_there)
    }
}

/// Refuses an environment without a key that its format always writes.
fn complete(format: u32, json: &Json) -> Result<(), String> {
    let always = match format {
        // Keys that may be missing are not among those of the default.
        2.. => serde_json::to_value(Environment::default()).unwrap_or_default(),
        _ => FORMAT_1.into_iter().map(|key| (key.to_string(), Json::Null)).collect(),
    };
    let missing =
        always.as_object().into_iter().flat_map(|keys| keys.keys()).find(|key| json.get(key).is_none());
    match missing {
        Some(key) => {
            Err(format!("environment.json is damaged: `{key}` is missing, which format {format} always has"))
        }
        None => Ok(()),
    }
}

/// Holds the files against each other: each packet that came back is a row's and the log's.
fn consistent(run: &Run) -> Result<(), String> {
    let environment = &run.environment;
    let logged = run.intervals.totals_among(|_| true).get(&Series::Rtt).map_or(0, Latencies::len);
    let received: u64 = run.calls.iter().map(|call| call.received).sum();
    // One that seemed to come back before it was sent has no latency.
    let timed = received.saturating_sub(environment.negative_rtt);
    let is_whole = !environment.interrupted && environment.broken.is_empty();
    let (sent, in_seconds) = (
        run.calls.iter().map(|call| call.sent).sum::<u64>(),
        run.seconds.iter().map(|second| second.measured_sent).sum::<u64>(),
    );
    let differ = |one: &str, has: u64, other: &str, had: u64| {
        Err(format!(
            "{one} has {has} measured packets and {other} {had}: one of them is cut; copy the run again"
        ))
    };
    match () {
        () if logged == 0 && timed > 0 || is_whole && !(timed..=received).contains(&logged) => {
            differ("rtt.hlog", logged, "calls.csv", received)
        }
        () if is_whole && sent != in_seconds => differ("calls.csv", sent, "seconds.csv", in_seconds),
        () => Ok(()),
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

fn table<T>(format: u32, file: &'static str, bytes: &[u8]) -> Result<Vec<T>, String>
where
    T: DeserializeOwned + Serialize + Default,
{
    let damaged = |error: csv::Error| format!("{file} is damaged: {error}");
    let mut reader = csv::Reader::from_reader(bytes);
    let heads = reader.headers().map_err(damaged)?.clone();
    // Of format 1 some have fewer columns, and a file that is not there is empty.
    let columns = if format == 1 { StringRecord::new() } else { columns::<T>().map_err(damaged)? };
    if let Some(missing) = columns.iter().find(|column| !heads.iter().any(|head| head == *column)) {
        return Err(format!(
            "{file} is damaged: it has no column `{missing}`, which format {format} always has"
        ));
    }
    let row = |row: Result<StringRecord, csv::Error>| {
        let row = row.map_err(damaged)?;
        let mut cells = heads.iter().zip(&row).filter(|(head, _)| !WORDS.contains(head));
        if let Some((head, cell)) =
            cells.find(|(head, cell)| cell.parse().is_ok_and(|n| is_impossible(head, n)))
        {
            let line = row.position().map_or(0, Position::line);
            return Err(format!("{file} is damaged in line {line}: {head} is {cell}, beyond any run"));
        }
        row.deserialize(Some(&heads)).map_err(damaged)
    };
    reader.records().map(row).collect()
}

/// The columns of a record.
fn columns<T: Serialize + Default>() -> Result<StringRecord, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(T::default())?;
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    csv::Reader::from_reader(bytes.as_slice()).headers().cloned()
}

/// True for a number that the column of that name cannot have.
fn is_impossible(column: &str, number: f64) -> bool {
    let range = match column {
        "mos_lqo" => 1.0..=5.0,
        "missing_ratio" | "peak" => 0.0..=1.0,
        _ => -MOST..=MOST,
    };
    !range.contains(&number)
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
impl Stored {
    /// A run's files as this version stores them.
    pub(crate) fn of(run: &Run) -> Stored {
        let stored = Stored {
            environment: serde_json::to_vec_pretty(&run.environment).unwrap(),
            hlog: hlog::write(&run.intervals, crate::stamp::Stamp::ZERO),
            scenario: b"name = \"x\"\n".to_vec(),
            ..Stored::of_rows(run)
        };
        stored.sealed()
    }

    /// The files with a manifest of what is in them: what a forger would do.
    pub(crate) fn sealed(self) -> Stored {
        let manifest = Manifest::of(self.files()).to_bytes();
        Stored { manifest, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        CallSecond, Intervals, QualityRow, Scope, SecondRecord, SignalRow, Silence, TalkRow, TurnRow,
    };
    use proptest::prelude::*;

    /// A table as this version stores it.
    pub(super) fn written<T: Serialize + Default>(presence: Presence, rows: &[T]) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        rows.iter().for_each(|row| writer.serialize(row).unwrap());
        let head = columns::<T>().unwrap().iter().collect::<Vec<_>>().join(",") + "\n";
        match rows.is_empty() {
            true if presence == Presence::Some => Vec::new(),
            true => head.into_bytes(),
            false => writer.into_inner().unwrap(),
        }
    }

    /// The environment of a run of format 1 without calls.
    fn format_1() -> Vec<u8> {
        let environment = Environment { format: 1, ..Environment::default() };
        serde_json::to_vec(&environment).unwrap()
    }

    /// A run of nine calls and five seconds, whose files agree.
    fn small() -> Run {
        let call =
            |n| CallRecord { call: n, line: n, sent: 100, received: 99, lost: 1, ..CallRecord::default() };
        let second = |second| SecondRecord { second, measured_sent: 180, ..SecondRecord::default() };
        let mut intervals = Intervals::default();
        for second in 0..3 {
            let mut latencies = Latencies::default();
            latencies.record_n(1_000_000, 297);
            intervals.add(second, Series::Rtt, Scope::Measured, &latencies);
        }
        Run {
            environment: Environment {
                format: FORMAT_VERSION,
                window_from_s: Some(0.0),
                window_to_s: Some(5.0),
                ..Environment::default()
            },
            calls: (0..9).map(call).collect(),
            seconds: (0..5).map(second).collect(),
            call_seconds: vec![CallSecond { call: 0, second: 1, rtt_p50_ms: 1.0 }; 2],
            silences: vec![Silence::default()],
            turns: Vec::new(),
            talk: Vec::new(),
            signals: Vec::new(),
            quality: Vec::new(),
            intervals,
        }
    }

    #[test]
    fn damage_is_named_by_its_file() {
        let environment = format_1();
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
    fn what_a_format_always_writes_may_not_be_missing() {
        for environment in ["{\"format\": 1}", "{\"format\": 2}", "{\"format\": 0}"] {
            let bare = Stored { environment: environment.into(), ..Default::default() };
            let why = bare.sealed().read().unwrap_err();
            assert!(why.contains("is missing, which format"), "{why}");
        }
        let whole = Stored::of(&small());
        whole.read().unwrap();
        let json: Json = serde_json::from_slice(&whole.environment).unwrap();
        let always = serde_json::to_value(Environment::default()).unwrap();
        for key in always.as_object().unwrap().keys() {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(key).unwrap();
            let environment = serde_json::to_vec(&without).unwrap();
            assert!(Stored { environment, ..whole.clone() }.sealed().read().is_err(), "{key}");
        }
        let text = String::from_utf8(whole.calls.clone()).unwrap();
        for column in columns::<CallRecord>().unwrap().iter() {
            let calls = text.replacen(&format!("{column},"), &format!("no_{column},"), 1).into_bytes();
            if calls != whole.calls {
                let why = Stored { calls, ..whole.clone() }.sealed().read().unwrap_err();
                assert!(why.contains("calls.csv"), "{column}: {why}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_the_stored_one_is_refused_and_so_are_files_that_do_not_agree() {
        let whole = Stored::of(&small());
        let cut = |bytes: &[u8]| {
            let end = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
            bytes[..=end].to_vec()
        };
        let damaged = [
            Stored { calls: cut(&whole.calls), ..whole.clone() },
            Stored { seconds: cut(&whole.seconds), ..whole.clone() },
            Stored { call_seconds: cut(&whole.call_seconds), ..whole.clone() },
            Stored { silences: Vec::new(), ..whole.clone() },
            Stored { hlog: cut(&whole.hlog), ..whole.clone() },
            Stored { scenario: b"name = \"y\"\n".to_vec(), ..whole.clone() },
            Stored { environment: [&b" "[..], &whole.environment].concat(), ..whole.clone() },
            Stored { manifest: Vec::new(), ..whole.clone() },
        ];
        for stored in &damaged {
            let why = stored.read().unwrap_err();
            assert!(why.contains("manifest.json") && why.contains("as a whole"), "{why}");
        }
        // Forged with their manifest, they still do not agree.
        let forged = |stored: Stored| stored.sealed().read().unwrap_err();
        assert!(
            forged(Stored { hlog: Vec::new(), ..whole.clone() }).contains("rtt.hlog has 0 measured packets")
        );
        assert!(forged(Stored { calls: cut(&whole.calls), ..whole.clone() }).contains("calls.csv"));
        assert!(forged(Stored { seconds: cut(&whole.seconds), ..whole.clone() }).contains("seconds.csv"));
        assert!(forged(Stored { silences: Vec::new(), ..whole.clone() }).contains("silences.csv"));
    }

    #[test]
    fn every_table_comes_back_and_one_that_is_only_in_some_runs_is_no_file_of_others() {
        let plain = Stored::of(&small());
        let names = |stored: &Stored| stored.files().map(|(name, _)| name).collect::<Vec<_>>();
        let always: Vec<_> = DATA.into_iter().filter(|name| !is_of_some(name)).collect();
        assert_eq!((names(&plain), DATA.len() - always.len()), (always, 4));
        let mut run = small();
        run.turns = vec![TurnRow { call: 3, ..TurnRow::default() }];
        run.talk = vec![TalkRow { call: 3, ..TalkRow::default() }];
        run.quality = vec![QualityRow { call: 3, ..QualityRow::default() }];
        run.signals = vec![SignalRow { call: 3, peak: Some(0.9), ..SignalRow::default() }];
        let read = Stored::of(&run).read().unwrap();
        assert_eq!((&read.calls, &read.seconds), (&run.calls, &run.seconds));
        assert_eq!((&read.call_seconds, &read.silences), (&run.call_seconds, &run.silences));
        assert_eq!((&read.turns, &read.talk, &read.signals), (&run.turns, &run.talk, &run.signals));
        assert_eq!(read.quality, run.quality);
        let stored = Stored::of(&run);
        assert_eq!(names(&stored).len(), DATA.len());
        let gathered = Stored::gather(|name, _, is_needed| {
            assert!(!(is_needed && is_of_some(name)), "{name}");
            let file = stored.files().find(|(known, _)| *known == name);
            let manifest = (name == manifest::NAME).then_some(&stored.manifest[..]);
            Ok::<_, ()>(file.map(|(_, bytes)| bytes).or(manifest).unwrap_or_default().to_vec())
        });
        assert_eq!(gathered.unwrap().read().unwrap().turns, run.turns);
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_comes_back_as_it_was() {
        let mut run = small();
        for (call, reason) in
            run.calls.iter_mut().zip(["=1+1", "'=1", "'it''s", "@x", "-", "\t=", "plain", ""])
        {
            call.reason = reason.into();
        }
        let read = Stored::of(&run).read().unwrap();
        assert_eq!(read.calls, run.calls);
    }

    #[test]
    fn an_empty_percentile_of_format_1_is_lost_where_packets_were_sent() {
        let mut calls = csv::Writer::from_writer(Vec::new());
        for sent in [0, 100] {
            calls.serialize(CallRecord { sent, rtt_p95_ms: Quantile::At(1), ..Default::default() }).unwrap();
        }
        let calls = calls.into_inner().unwrap();
        let read = |format: u32| {
            let mut run = Stored::of(&Run::default());
            let environment = Environment { format, interrupted: true, ..Environment::default() };
            (run.environment, run.calls) = (serde_json::to_vec(&environment).unwrap(), calls.clone());
            let run = run.sealed().read().unwrap();
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
                environment: format_1(),
                calls: bytes.clone(),
                seconds: bytes.clone(),
                call_seconds: bytes.clone(),
                silences: bytes.clone(),
                hlog: bytes,
                ..Default::default()
            };
            let _ = stored.read();
        }
    }
}
