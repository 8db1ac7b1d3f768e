//! Parses the command line, runs the subcommand, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadtest::cli::main()
}
