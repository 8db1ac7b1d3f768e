//! `loadtest man`: the manual pages, made from the command line's own help.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::Resettable;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Exit, Failure, say};
use crate::run::folder::Folder;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest man | man -l -\n  \
    loadtest man --out ~/.local/share/man/man1 && man loadtest-run")]
pub struct Args {
    /// Write loadtest.1 and a page for each subcommand into this folder [default: print loadtest.1].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives the subcommands their whole names.
    program.build();
    let Some(folder) = &args.out else {
        let page = page(&program).context("loadtest.1")?;
        say::out(String::from_utf8_lossy(&page).trim_end());
        return Ok(Exit::Pass);
    };
    let folder = Folder::open(folder)?;
    for command in std::iter::once(&program).chain(program.get_subcommands()) {
        let name = Man::new(command.clone()).get_filename();
        folder.write(&name, &page(command).with_context(|| name.clone())?)?;
    }
    Ok(Exit::Pass)
}

/// A manual page, with the examples as they are written: the library would fill their lines.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Vec::new();
    Man::new(command.clone().after_long_help(Resettable::Reset)).render(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.trim_start_matches("Examples:\n").trim_start_matches("Example:\n").lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(&mut page)?;
    Ok(page)
}
