//! What becomes of a run's figures: judged, said, and written as files.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::compare::{digest, runs};
use super::{Failure, say};
use crate::compare::baseline::Baseline;
use crate::gate::{Gate, Trust, Verdict, hold_against, judge};
use crate::metrics::Summary;
use crate::report::{Format, render, terminal};
use crate::run::folder::Folder;
use crate::scenario::{Limits, Resolved};

/// The reports that are written unless others are asked for.
pub const FORMATS: &str = "html,png,csv,json,markdown,junit,openmetrics";

/// Reads a format's word on the command line, and tells the shell's completion which there are.
pub fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).map(|word| {
        // Invariant: the parser lets nothing pass but these words.
        Format::ALL.into_iter().find(|f| f.name() == word).expect("a word of Format::ALL")
    })
}

/// A run's figures, judged, and how and where they are told.
pub struct Delivery<'a> {
    /// With the gates' scenario.
    pub resolved: &'a Resolved,
    /// The figures.
    pub summary: &'a Summary,
    /// What they are worth.
    pub verdict: &'a Verdict,
    /// Where the files go.
    pub folder: &'a Folder,
    /// Which files.
    pub formats: &'a [Format],
}

/// The verdict by a scenario's gates and limits, and by the stored runs that it is held against.
pub fn verdict(
    resolved: &Resolved,
    gates: &[Gate],
    summary: &Summary,
    baseline: Option<&Baseline>,
) -> Verdict {
    let mut verdict = judge(summary, gates, &trust(&resolved.scenario.limits));
    if let Some(baseline) = baseline {
        hold_against(&mut verdict, summary, gates, baseline);
    }
    verdict
}

/// Reads the runs of `--baseline`: those in the folder, or the folder itself.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn baseline(folder: Option<&Path>) -> Result<Option<Baseline>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    let is_run = folder.join("environment.json").is_file();
    let stored_runs = if is_run { vec![folder.to_path_buf()] } else { runs(folder)? };
    stored_runs.iter().map(|run| digest(run)).collect::<Result<_, _>>().map(Some)
}

/// Beyond which values the instrument is not trusted.
pub fn trust(limits: &Limits) -> Trust {
    Trust {
        send_lateness_p99_ms: limits.send_lateness_p99.0.as_secs_f64() * 1000.0,
        missed_slots: limits.missed_slots.0,
        socket_drops: limits.socket_drops,
        thread_cpu: limits.thread_cpu.0,
    }
}

impl Delivery<'_> {
    /// Says the figures.
    pub fn tell(&self) {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let colour = wanted && std::io::stdout().is_terminal();
        say::out(terminal::summary(self.summary, self.verdict, &self.place(), colour).trim_end());
    }

    /// Writes every file, the ones with figures first. One that cannot be written does not keep the
    /// others from being written.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn write(&self) -> Result<(), Failure> {
        let scenario = self.resolved.to_toml();
        let mut first_failure = None;
        let mut put = |result: Result<(), Failure>| {
            if let Err(failure) = result {
                first_failure.get_or_insert(failure);
            }
        };
        let mut formats = Format::ALL.to_vec();
        // Pictures and pages take longest, and are of least use to who runs out of room.
        formats.sort_by_key(|format| matches!(format, Format::Html | Format::Png));
        for format in formats {
            if !self.formats.contains(&format) {
                continue;
            }
            match render(format, self.summary, self.verdict, &scenario) {
                Ok(files) => files.iter().for_each(|file| put(self.folder.write(file.path, &file.bytes))),
                Err(e) => put(Err(anyhow::Error::from(e).into())),
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn place(&self) -> String {
        let html = self.formats.contains(&Format::Html);
        let path = self.folder.path();
        let path = if html { path.join("report.html") } else { path.to_path_buf() };
        path.display().to_string()
    }
}
