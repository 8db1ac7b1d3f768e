//! `loadtest man`: the manual pages, made from the command line's own help.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::{Man, generate_to};

use super::{Cli, Exit, Failure, say};

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
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).context("loadtest.1")?;
        say::out(String::from_utf8_lossy(&page).trim_end());
        return Ok(Exit::Pass);
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| generate_to(Cli::command(), folder));
    written.with_context(|| format!("cannot write to {}; choose another --out", folder.display()))?;
    Ok(Exit::Pass)
}
