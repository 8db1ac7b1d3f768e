//! `loadtest compare`: compares two builds by pairs of stored runs.

use std::path::PathBuf;

use super::{Exit, Failure, say, search};
use crate::compare::builds::{Comparison, Conclusion};
use crate::compare::digest::{METRICS, RunDigest, usual};
use crate::compare::pairs::Margins;
use crate::report::{comparison as report, side_by_side};
use crate::run::{Folder, stored};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
    for n in 01 02 03 04 05 06 07 08 09 10 11 12; do\n    \
      loadtest run old.toml --out ab/old/$n; loadtest run new.toml --out ab/new/$n\n  \
    done\n  \
    loadtest compare ab/old ab/new --metric rtt.p99\n\n\
    Each folder holds runs in folders of their own; the first of BASE is held against the first of NEW,\n\
    and so on, in the order of their names. Two single runs are shown side by side, without a verdict\n\
    (12). Of two searches the capacities are compared: less (11), more (0), or no certain difference\n\
    (12). Twelve pairs, of which ten must agree, tell most; alternate which of the two goes first, as\n\
    `loadtest ab` does. Ends with 0 when NEW is not slower, 11 when it is, 12 when nothing can be said.")]
pub struct Args {
    /// Folder of the runs to compare with, or a run's.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Folder of the runs to be judged, or a run's.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    question: Question,
    /// Write comparison.md and comparison.json into this folder as well.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Metrics and margin of a comparison.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// Time to compare: a percentile of the round trip, or a time of turns. Several share the chance of a false alarm
    /// [default: rtt.p99; of conversations turn.response.mean].
    #[arg(long, value_name = "METRIC", value_delimiter = ',', value_parser = known)]
    metric: Vec<&'static str>,
    /// Smallest difference of a pair that counts, in per cent.
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = margin)]
    margin: f64,
}

impl Question {
    /// The metrics to compare, of echoes or of conversations.
    pub fn metrics(&self, is_conversation: bool) -> Vec<&'static str> {
        if self.metric.is_empty() { vec![usual(is_conversation)] } else { self.metric.clone() }
    }
}

fn known(name: &str) -> Result<&'static str, String> {
    let found = METRICS.into_iter().find(|metric| *metric == name);
    found.ok_or_else(|| format!("`{name}` cannot be compared; there are {}", METRICS.join(", ")))
}

fn margin(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').trim().parse().map_err(|_| "10 is usual")?;
    if (0.0..=1000.0).contains(&percent) { Ok(percent) } else { Err("0 to 1000".into()) }
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    match [&args.base, &args.new].map(|folder| search::is_search(folder)) {
        [true, true] if args.out.is_some() => {
            return Err(Failure::usage(
                "--out: two searches are compared in a sentence for each goal, and give no files; leave it out",
            ));
        }
        [true, true] => return search::compared(&args.base, &args.new),
        [false, false] => {}
        [true, false] | [false, true] => {
            return Err(Failure::usage(
                "one of the two is the folder of a search, the other is not: name two searches to compare what they \
                 found",
            ));
        }
    }
    match [&args.base, &args.new].map(|folder| stored::is_run(folder)) {
        [true, true] => return side_by_side(args),
        [false, false] => {}
        [true, false] | [false, true] => {
            return Err(Failure::usage(
                "one of the two is the folder of a run, the other is not: name two runs to see them side by side, or two \
                 folders of runs to compare builds",
            ));
        }
    }
    let (base, new) = (stored::runs(&args.base)?, stored::runs(&args.new)?);
    if base.len() != new.len() {
        return Err(Failure::usage(format!(
            "{} holds {} runs and {} {}: pairs need as many of the one as of the other",
            args.base.display(),
            base.len(),
            args.new.display(),
            new.len()
        )));
    }
    let mut pairs = Vec::with_capacity(base.len());
    for (a, b) in base.iter().zip(&new) {
        pairs.push((stored::digest(a)?, stored::digest(b)?));
    }
    let out = args.out.as_deref().map(Folder::open).transpose()?;
    let sides = [&args.base, &args.new].map(|folder| folder.display().to_string());
    answer(sides, pairs, &args.question, out.as_ref())
}

/// Shows two runs beside each other. That is no answer, and no program may take it for one.
fn side_by_side(args: &Args) -> Result<Exit, Failure> {
    if args.out.is_some() {
        return Err(Failure::usage(
            "--out: two single runs are not compared, and give no files; name two folders of runs",
        ));
    }
    let names = [&args.base, &args.new].map(|folder| folder.display().to_string());
    let [base, new] = [&args.base, &args.new].map(|folder| stored::summary(folder));
    let (base, new) = (base?, new?);
    say::out(side_by_side::text([(&names[0], &base), (&names[1], &new)]).trim_end());
    Ok(Exit::Inconclusive)
}

/// Compares, prints the answer, and writes it to `out`.
///
/// # Errors
/// When it cannot be written.
pub fn answer(
    sides: [String; 2],
    pairs: Vec<(RunDigest, RunDigest)>,
    question: &Question,
    out: Option<&Folder>,
) -> Result<Exit, Failure> {
    let metrics = &question.metrics(pairs.iter().any(|(a, b)| a.is_conversation() || b.is_conversation()));
    let margins = Margins { relative: question.margin / 100.0, metrics: metrics.len(), ..Margins::default() };
    let comparison = Comparison::of(sides, pairs, metrics, &margins);
    say::out(report::text(&comparison).trim_end());
    if let Some(out) = out {
        for file in report::files(&comparison)? {
            out.write(file.path, &file.bytes)?;
        }
    }
    Ok(match comparison.answer() {
        Conclusion::Regressed => Exit::Regressed,
        Conclusion::Improved | Conclusion::Unchanged => Exit::Pass,
        Conclusion::Inconclusive => Exit::Inconclusive,
    })
}
