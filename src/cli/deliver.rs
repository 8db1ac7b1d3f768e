//! Delivery of a run's figures: print them, write the files, end with the verdict.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::progress::Display;
use super::{Exit, Failure, look, say};
use crate::compare::baseline::Baseline;
use crate::record::manifest::{self, Manifest};
use crate::record::stored::DATA;
use crate::report::{Format, render, terminal};
use crate::run::{Finished, Folder, RunError, stored};
use crate::scenario::Resolved;

/// The reports that are written unless others are asked for.
const FORMATS: &str = "html,png,csv,json,markdown,junit,openmetrics";

/// Reads a format's word on the command line, and tells the shell's completion which there are.
fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.iter().map(|format| format.name())).map(|word| {
        // Invariant: the parser lets nothing pass but these words.
        word.parse().expect("a word of Format::ALL")
    })
}

/// Options of the subcommands that deliver a run's figures.
#[derive(Debug, clap::Args)]
pub struct DeliveryOptions {
    /// Reports to write.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = format_parser(),
          default_value = FORMATS)]
    pub report: Vec<Format>,
    /// Hold the run against stored ones of the same scenario, machine and version: a run's folder, or a
    /// folder of them.
    #[arg(long, value_name = "DIR")]
    pub baseline: Option<PathBuf>,
    /// Print every latency and every count too, before the verdict; the page has them all.
    #[arg(long)]
    pub tables: bool,
    /// Say nothing but errors; the exit code is the verdict.
    #[arg(long, short)]
    pub quiet: bool,
}

impl DeliveryOptions {
    /// Files alone, and nothing printed.
    pub fn files(formats: &[Format]) -> DeliveryOptions {
        DeliveryOptions { report: formats.to_vec(), baseline: None, tables: false, quiet: true }
    }

    /// Reads the stored runs to hold the run against.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn baseline(&self) -> Result<Option<Baseline>, RunError> {
        self.baseline.as_deref().map(stored::baseline).transpose()
    }
}

/// A judged run, new or stored, and where it goes.
pub struct Delivery<'a> {
    /// The scenario with its gates.
    pub resolved: &'a Resolved,
    /// The figures, their verdict, and the raw files of a new run.
    pub finished: &'a Finished,
    /// The folder for the files.
    pub folder: &'a Folder,
    /// The reports wanted.
    pub options: &'a DeliveryOptions,
    /// The folder that a stored run was read from; `None` for a new one.
    pub source: Option<&'a Path>,
    /// Hears of what takes long.
    pub display: &'a Display,
}

impl Delivery<'_> {
    /// Prints the figures unless that is unwanted, writes the files, and returns the exit code.
    ///
    /// # Errors
    /// The first file that could not be written; else what broke the run.
    pub fn deliver(&self) -> Result<Exit, Failure> {
        // The figures are printed whatever becomes of the files, and name no file that is not there.
        let (quiet, written) = (self.options.quiet, self.write());
        self.display.finish();
        if !quiet {
            self.print(written.is_ok());
        }
        written?;
        let environment = &self.finished.summary.environment;
        match environment.broken.as_str() {
            "" if environment.interrupted => Ok(Exit::Interrupted),
            "" => Ok(self.finished.verdict.outcome.into()),
            why if quiet => Err(Failure::broke(why)),
            _ => Err(Failure::broke(environment.broken_sentence())),
        }
    }

    fn print(&self, has_files: bool) {
        let Finished { summary, verdict, .. } = self.finished;
        let place = if has_files { self.place() } else { String::new() };
        let shape =
            terminal::Look { place: &place, colour: look::has_colours(), tables: self.options.tables };
        say::coloured(terminal::summary(summary, verdict, shape).trim_end());
    }

    /// Writes every file, figures before pictures. One that cannot be written does not keep the others
    /// from being written. Those that a stored run was read from stay as they are.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn write(&self) -> Result<(), Failure> {
        let Finished { summary, verdict, raw, captures } = self.finished;
        let scenario = self.resolved.to_toml();
        let is_source = self.source.is_some_and(|run| self.folder.is_at(run));
        let mut manifest = Manifest::of([("scenario.toml", scenario.as_bytes())]);
        let mut written: Vec<Result<(), Failure>> = Vec::new();
        let mut write = |name: &str, bytes: &[u8], is_private: bool| {
            let is_data = DATA.contains(&name);
            if is_data {
                manifest.add(name, bytes);
            }
            if !(is_data && is_source) {
                let done = match is_private {
                    true => self.folder.write_private(name, bytes),
                    false => self.folder.write(name, bytes),
                };
                written.push(done.map_err(Failure::from));
            }
        };
        let mut formats = Format::ALL.to_vec();
        formats.retain(|format| self.options.report.contains(format));
        // Data first. Pictures and pages take longest, and are of least use to who runs out of room.
        formats.sort_by_key(|format| match format {
            Format::Csv => 0,
            Format::Html | Format::Png => 2,
            _ => 1,
        });
        let mut failed = Vec::new();
        raw.iter().for_each(|(name, bytes)| write(name, bytes, false));
        for format in formats {
            match format {
                Format::Html => self.display.stage("drawing the charts of report.html"),
                Format::Png => self.display.stage("drawing the charts of plots/"),
                _ => {}
            }
            match render(format, summary, verdict, &scenario) {
                Ok(files) => files.iter().for_each(|file| write(file.path, &file.bytes, false)),
                Err(e) => failed.push(Err(e.into())),
            }
        }
        // Captures and audio are large, and go last: where the disk is full, all else stands already.
        captures.iter().for_each(|(name, bytes)| write(name, bytes, true));
        if self.source.is_none() {
            written.push(self.folder.write(manifest::NAME, &manifest.to_bytes()).map_err(Failure::from));
        }
        written.into_iter().chain(failed).collect()
    }

    fn place(&self) -> String {
        let html = self.options.report.contains(&Format::Html);
        let path = self.folder.path();
        let path = if html { path.join("report.html") } else { path.to_path_buf() };
        // Absolute, so that a click or a paste opens it from anywhere.
        std::path::absolute(&path).unwrap_or(path).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::folder::OUTPUTS;

    #[test]
    fn whatever_a_run_writes_keeps_a_folder_from_being_claimed() {
        let (summary, verdict) = crate::report::fixture::typical();
        let formats = Format::ALL.iter().filter(|format| **format != Format::Png);
        let files = formats.flat_map(|format| render(*format, &summary, &verdict, "").unwrap());
        let names = files.map(|file| file.path).chain(DATA).chain([manifest::NAME, "plots", "pcap", "audio"]);
        for name in names {
            assert!(OUTPUTS.contains(&name), "{name}");
        }
    }
}
