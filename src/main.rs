//! Parses the command line, runs the subcommand, exits with its code.

fn main() {}
