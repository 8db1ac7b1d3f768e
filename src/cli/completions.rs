//! `loadtest completions`: scripts with which a shell completes the command line.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{Cli, Exit, say};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest completions bash > ~/.local/share/bash-completion/completions/loadtest\n  \
    loadtest completions zsh > ~/.zfunc/_loadtest      # a folder that is in fpath\n  \
    loadtest completions fish > ~/.config/fish/completions/loadtest.fish")]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "loadtest", &mut script);
    say::out(String::from_utf8_lossy(&script).trim_end());
    Exit::Pass
}
