//! The command line: one file per subcommand, and the only place that prints.

mod ab;
mod asterisk;
mod check;
mod check_call;
mod compare;
mod completions;
mod deliver;
mod echo;
mod exit;
mod fleet;
mod interrupt;
mod live;
mod look;
mod man;
mod meeting;
mod merge;
mod ping;
mod progress;
mod report;
mod run;
mod say;
mod search;
mod service;
mod shards;
mod share;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::files::{dotenv, survive_size_limit};

/// Places real SIP/RTP calls against a real Asterisk and measures every packet that comes back.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, max_term_width = 100, subcommand_required = true)]
#[command(after_long_help = "Examples:\n  \
    loadtest run scenarios/smoke.toml         place five calls, measure, report, judge\n  \
    loadtest search scenarios/capacity.toml   how many calls does it carry?\n  \
    loadtest check scenarios/50x5m.toml       what is in the way of a run?\n  \
    loadtest report reports/example           render and judge a stored run again\n\n\
    Exit codes:\n  \
    0 pass · 1 the run broke · 2 bad command line or scenario · 10 a gate failed ·\n  \
    11 slower than the base · 12 inconclusive · 130 interrupted (the report is still written)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Place the calls of a scenario, measure, report, judge.
    Run(run::Args),
    /// Find out how many calls, or attempts a second, are carried.
    Search(search::Args),
    /// Say what a run would need and what is in its way, without placing a call.
    Check(check::Args),
    /// Run the ARI service under test by itself, with /health and /metrics.
    Service(service::Args),
    /// Measure round trips to an echo server, packet by packet.
    Ping(ping::Args),
    /// Run a private Asterisk with this project's configuration in the foreground.
    Asterisk(asterisk::Args),
    /// Render and judge a stored run again.
    Report(report::Args),
    /// Make one run out of the shares of several drivers, and judge it.
    Merge(merge::Args),
    /// Say whether one build is slower than another, from pairs of runs.
    Compare(compare::Args),
    /// Run two scenarios in turn and say whether the second is slower than the first.
    Ab(ab::Args),
    /// Send RTP back to whoever sends it, probes with time stamps added.
    Echo(echo::Args),
    /// Print what a shell needs to complete this command line.
    Completions(completions::Args),
    /// Print the manual page, or write all of them.
    Man(man::Args),
}

impl Command {
    /// True if settings of the environment, and so of `.env`, are of use to it.
    fn has_settings(&self) -> bool {
        matches!(
            self,
            Command::Run(_)
                | Command::Search(_)
                | Command::Check(_)
                | Command::Service(_)
                | Command::Asterisk(_)
                | Command::Ab(_)
        )
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    survive_size_limit();
    // clap reads the environment, so the settings are there before the command is known.
    let notes = dotenv::settings(Path::new(".env")).map(|settings| {
        let notes: Vec<_> = settings.notes().collect();
        // SAFETY: no thread has been started yet.
        unsafe { settings.export() };
        notes
    });
    let parsed = Cli::command().try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return complain(&error),
    };
    let (_, of_subcommand) = matches.subcommand().unwrap_or(("", &matches));
    let quiet = matches!(of_subcommand.try_get_one("quiet"), Ok(Some(true)));
    match notes {
        Err(why) if cli.command.has_settings() => return Failure::usage(why).print(),
        Ok(notes) if cli.command.has_settings() && !quiet => notes.iter().for_each(say::err),
        _ => {}
    }
    let result = match cli.command {
        Command::Run(args) => in_runtime(run::run(args)),
        Command::Search(args) => in_runtime(search::run(args)),
        Command::Check(args) => in_runtime(check::run(args)),
        Command::Service(args) => in_runtime(service::run(args, of_subcommand)),
        Command::Ping(args) => in_runtime(ping::run(args)),
        Command::Asterisk(args) => in_runtime(asterisk::run(args)),
        Command::Echo(args) => in_runtime(echo::run(args)),
        Command::Report(args) => report::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Ab(args) => in_runtime(ab::run(args)),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Man(args) => man::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.print(),
    }
}

/// Prints help, the version, or what is wrong with the command line, whose words may be anybody's.
fn complain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        say::err(text.trim_end())
    } else {
        say::out(text.trim_end())
    }
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Pass.into() }
}

/// Signalling needs one thread; the media threads are the driver's own.
fn in_runtime(task: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(task);
    // A name server that does not answer may hold a lookup's thread for minutes after nobody waits for it any more.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::clock;

    /// The help is 100 columns wide. A longer line is broken: at the end of a paragraph that may be, in it a stub is left.
    #[test]
    fn examples_fit_the_help() {
        let program = Cli::command();
        for command in program.get_subcommands() {
            let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            for pair in lines.windows(2).filter(|pair| !pair[1].is_empty()) {
                assert!(pair[0].chars().count() <= 100, "{}: {}", command.get_name(), pair[0]);
            }
        }
    }

    #[test]
    fn a_lookup_that_nobody_waits_for_does_not_hold_the_end() {
        let begun = clock::now();
        let (name_server, answer) = channel::<()>();
        let ended = in_runtime(async {
            tokio::task::spawn_blocking(move || answer.recv_timeout(Duration::from_secs(60)));
            Ok(Exit::Pass)
        });
        assert!(matches!(ended, Ok(Exit::Pass)));
        assert!(clock::now().since(begun) < Duration::from_secs(30));
        drop(name_server);
    }
}
