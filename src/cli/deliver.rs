//! Delivery of a run's figures: print them, write the files, end with the verdict.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::progress::Display;
use super::{Exit, Failure, look, say};
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
    /// Print every latency and every count too, before the verdict; the page has them all.
    #[arg(long)]
    pub tables: bool,
    /// Say nothing but errors; the exit code is the verdict.
    #[arg(long, short)]
    pub quiet: bool,
}

impl DeliveryOptions {
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
    /// Hears of what takes long.
    pub display: &'a Display,
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
        let written = self.write();
        self.display.finish();
        written?;
        let environment = &self.finished.summary.environment;
        match environment.broken.as_str() {
            "" if environment.interrupted => Ok(Exit::Interrupted),
            "" => Ok(self.finished.verdict.outcome.into()),
            why if quiet => Err(Failure::broke(why)),
            why => Err(Failure::broke(without_last_output(why))),
        }
    }

    fn print(&self) {
        let Finished { summary, verdict, .. } = self.finished;
        let place = self.place();
        let shape =
            terminal::Look { place: &place, colour: look::has_colours(), tables: self.options.tables };
        say::coloured(terminal::summary(summary, verdict, shape).trim_end());
    }

    /// Writes every file, figures before pictures. One that cannot be written does not keep the others
    /// from being written.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn write(&self) -> Result<(), Failure> {
        let scenario = self.resolved.to_toml();
        let write = |name, bytes: &[u8]| self.folder.write(name, bytes).map_err(Failure::from);
        let mut written: Vec<_> = self.finished.raw.iter().map(|(name, bytes)| write(name, bytes)).collect();
        let mut formats = Format::ALL.to_vec();
        formats.retain(|format| self.options.report.contains(format));
        // Pictures and pages take longest, and are of least use to who runs out of room.
        formats.sort_by_key(|format| matches!(format, Format::Html | Format::Png));
        for format in formats {
            match format {
                Format::Html => self.display.stage("drawing the charts of report.html"),
                Format::Png => self.display.stage("drawing the charts of plots/"),
                _ => {}
            }
            match render(format, &self.finished.summary, &self.finished.verdict, &scenario) {
                Ok(files) => written.extend(files.iter().map(|file| write(file.path, &file.bytes))),
                Err(e) => written.push(Err(e.into())),
            }
        }
        written.into_iter().collect()
    }

    fn place(&self) -> String {
        let html = self.options.report.contains(&Format::Html);
        let path = self.folder.path();
        let path = if html { path.join("report.html") } else { path.to_path_buf() };
        // Absolute, so that a click or a paste opens it from anywhere.
        std::path::absolute(&path).unwrap_or(path).display().to_string()
    }
}
