//! The search's command line, and what it sets in the scenario.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{place, stored};
use crate::cli::Failure;
use crate::cli::meeting::Meeting;
use crate::report::capacity::CapacityReport;
use crate::run::RunPlan;
use crate::search::{Answer, Goal, Require};
use crate::values::{Percent, Span};

/// Longest soak.
const LONGEST_SOAK: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest search scenarios/capacity.toml\n  \
    loadtest search scenarios/capacity.toml --max 400 --time-limit 20m\n  \
    loadtest search mine.toml --strict --require 'capacity.calls >= 150'\n  \
    loadtest search mine.toml --soak 10m --overload 150%\n  \
    loadtest search --resume reports/capacity-20261126T101500Z\n\n\
    Each trial is a run of the scenario at one load on the same Asterisk and service, and its folder stays. The \
    answer is a lower bound, which was carried, and an upper one, which was not, by the classification of RFC 9971; \
    docs/capacity.md says what that means. The options set keys of [search] in the scenario, whose defaults \
    docs/scenario.md lists.\n\n\
    Ends with 0 when there is an answer and every --require holds, 10 when one does not, 11 when less is carried than \
    before (--baseline), 12 when nothing certain can be said.")]
pub struct Args {
    /// The scenario (TOML).
    #[arg(value_name = "SCENARIO", required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// Search for calls held at once; the scenario's own wish otherwise, which is the same unless it says so.
    #[arg(long, conflicts_with = "rate")]
    calls: bool,
    /// Search for attempts a second.
    #[arg(long)]
    rate: bool,
    /// Smallest load, and the first.
    #[arg(long, value_name = "N")]
    min: Option<f64>,
    /// Largest load.
    #[arg(long, value_name = "N")]
    max: Option<f64>,
    /// Distance of the bounds at which the search ends, as in 5%.
    #[arg(long, value_name = "SHARE")]
    width: Option<Percent>,
    /// Length of a first trial at a load, which can only reject it; 0s makes none.
    #[arg(long, value_name = "DURATION")]
    initial_trial: Option<Span>,
    /// Length of the trials that can confirm a load.
    #[arg(long, value_name = "DURATION")]
    final_trial: Option<Span>,
    /// Time of trials at one load that decides whatever they say.
    #[arg(long, value_name = "DURATION")]
    duration_sum: Option<Span>,
    /// Time of the search up to which bounds are tried again where trials contradict each other; 0s tries none again.
    #[arg(long, value_name = "DURATION")]
    revisit: Option<Span>,
    /// Longest time of the whole search.
    #[arg(long, value_name = "DURATION")]
    time_limit: Option<Span>,
    /// One final trial decides, and no gate may break in it (RFC 2544).
    #[arg(long)]
    strict: bool,
    /// After the search, hold the lower bound for so long: what drifts, and what is left behind?
    #[arg(long, value_name = "DURATION", value_parser = soak)]
    pub soak: Option<Span>,
    /// After the search, offer so much of the upper bound, as in 150%: what do admitted calls get, how are the others
    /// refused, and how soon is it well again?
    #[arg(long, value_name = "SHARE", value_parser = overload)]
    pub overload: Option<f64>,
    /// Condition on the answer, as in 'capacity.calls >= 150' or 'good: capacity.rate >= 12'; may be given more than
    /// once.
    #[arg(long, value_name = "CONDITION")]
    require: Vec<String>,
    /// Hold the answer against that of a stored search.
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Go on with a search that was interrupted or ran out of time: its folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scenario", "set", "out", "calls", "rate", "min", "max",
          "width", "initial_trial", "final_trial", "duration_sum", "revisit", "strict"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub meeting: Meeting,
    /// Override a scenario key; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for the trials and the answer; it must not hold a run yet
    /// [default: reports/<name>-capacity-<UTC time>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say nothing but errors; the exit code is the answer to --require.
    #[arg(long, short)]
    pub quiet: bool,
}

fn soak(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    let fits = (Duration::from_secs(1)..=LONGEST_SOAK).contains(&span.0);
    if fits { Ok(span) } else { Err("1s to 7days".into()) }
}

fn overload(text: &str) -> Result<f64, String> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 100.0 && percent <= 1000.0 => Ok(percent / 100.0),
        _ => Err("more than 100%, up to 1000%; 150% is usual".into()),
    }
}

impl Args {
    /// The settings of the command line as overrides of the scenario; `--set` comes last.
    pub fn overrides(&self) -> Vec<String> {
        let settings = self.options().into_iter().map(|(_, setting)| setting);
        settings.chain(self.set.iter().cloned()).collect()
    }

    /// Options that stand for keys of `[search]`: each as it is written, and as the setting that it is.
    fn options(&self) -> Vec<(String, String)> {
        let option = |name: &str, value: Option<String>, quote: &str| {
            let key = name.replace('-', "_");
            value.map(|value| (format!("--{name} {value}"), format!("search.{key}={quote}{value}{quote}")))
        };
        let number = |name: &str, value: Option<f64>| option(name, value.map(|value| value.to_string()), "");
        let span = |name: &str, value: Option<Span>| option(name, value.map(|value| value.to_string()), "\"");
        let kind = match (self.calls, self.rate) {
            (true, _) => Some("calls"),
            (_, true) => Some("rate"),
            _ => None,
        };
        let options = [
            kind.map(|kind| (format!("--{kind}"), format!("search.kind=\"{kind}\""))),
            number("min", self.min),
            number("max", self.max),
            option("width", self.width.map(|width| width.to_string()), "\""),
            span("initial-trial", self.initial_trial),
            span("final-trial", self.final_trial),
            span("duration-sum", self.duration_sum),
            span("revisit", self.revisit),
            span("time-limit", self.time_limit),
            self.strict.then(|| ("--strict".into(), "search.strict=true".into())),
        ];
        options.into_iter().flatten().collect()
    }

    /// An error of the scenario that points at the option which was written, not at the setting which that stands for.
    pub fn reworded(&self, failure: Failure) -> Failure {
        const AT: &str = " --> --set ";
        let options = self.options();
        let line = |line: &str| {
            let of = |given: &str| options.iter().find(|(_, setting)| setting.as_str() == given);
            let option = line.strip_prefix(AT).and_then(of);
            option.map_or(line.to_string(), |(option, _)| format!(" --> {option}"))
        };
        failure.reworded(|text| text.lines().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Settings that may be given anew when a search goes on: its time limit.
    pub fn anew(&self) -> Vec<String> {
        self.time_limit.map(|limit| format!("search.time_limit=\"{limit}\"")).into_iter().collect()
    }

    /// The stored search that this one is held against: its answer, and its report if it has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn baseline(&self) -> Result<Option<(Answer, Option<CapacityReport>)>, Failure> {
        let read = |path: &Path| Ok((place::answer(path)?, stored::stored(path).ok()));
        self.baseline.as_deref().map(read).transpose()
    }

    /// The conditions on the answer.
    ///
    /// # Errors
    /// One of them is none.
    pub fn requirements(&self, plan: &RunPlan, goals: &[Goal]) -> Result<Vec<Require>, Failure> {
        let names: Vec<_> = goals.iter().map(|goal| goal.name.as_str()).collect();
        let read = |text: &String| Require::parse(text, plan.scenario().search.kind, &names);
        let read: Result<_, _> = self.require.iter().map(read).collect();
        read.map_err(|error| Failure::usage(format!("--require: {error}")))
    }
}
