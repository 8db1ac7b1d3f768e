//! Delivery of a run's figures: print them, write the files, end with the verdict.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{Exit, Failure, say};
use crate::compare::baseline::Baseline;
use crate::report::{Format, render, terminal};
use crate::run::{Finished, Folder, RunError, stored, without_last_output};
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
    /// Say nothing but errors; the exit code is the verdict.
    #[arg(long, short)]
    pub quiet: bool,
}

impl DeliveryOptions {
    /// Reads the stored runs to hold the run against.
    ///
    /// # Errors
    /// When one of them cannot be read.
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
}

impl Delivery<'_> {
    /// Prints the figures unless that is unwanted, writes the files, and returns the exit code.
    ///
    /// # Errors
    /// The first file that could not be written; else what broke the run.
    pub fn deliver(&self) -> Result<Exit, Failure> {
        // The figures first: they are printed whatever becomes of the files.
        let quiet = self.options.quiet;
        if !quiet {
            self.print();
        }
        self.write()?;
        let environment = &self.finished.summary.environment;
        match environment.broken.as_str() {
            "" if environment.interrupted => Ok(Exit::Interrupted),
            "" => Ok(self.finished.verdict.outcome.into()),
            why if quiet => Err(Failure::broke(why)),
            why => Err(Failure::broke(without_last_output(why))),
        }
    }

    fn print(&self) {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let colour = wanted && std::io::stdout().is_terminal();
        say::out(
            terminal::summary(&self.finished.summary, &self.finished.verdict, &self.place(), colour)
                .trim_end(),
        );
    }

    /// Writes every file, figures before pictures. One that cannot be written does not keep the others
    /// from being written.
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
        let write = |name, bytes: &[u8]| self.folder.write(name, bytes).map_err(Failure::from);
        self.finished.raw.iter().for_each(|(name, bytes)| put(write(name, bytes)));
        let mut formats = Format::ALL.to_vec();
        // Pictures and pages take longest, and are of least use to who runs out of room.
        formats.sort_by_key(|format| matches!(format, Format::Html | Format::Png));
        for format in formats {
            if !self.options.report.contains(&format) {
                continue;
            }
            match render(format, &self.finished.summary, &self.finished.verdict, &scenario) {
                Ok(files) => files.iter().for_each(|file| put(write(file.path, &file.bytes))),
                Err(e) => put(Err(e.into())),
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn place(&self) -> String {
        let html = self.options.report.contains(&Format::Html);
        let path = self.folder.path();
        let path = if html { path.join("report.html") } else { path.to_path_buf() };
        path.display().to_string()
    }
}
