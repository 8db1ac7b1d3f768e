//! `loadtest compare`: whether one build is slower than another, from pairs of stored runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Exit, Failure, say, stored};
use crate::analysis::compare::{Comparison, Finding, Margins, Pair, Segment, compare};
use crate::analysis::{Summary, Value, summarize};
use crate::samples::Environment;

/// Pairs of runs, at the most.
const MOST_PAIRS: usize = 1000;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
    for n in 01 02 03 04 05 06 07 08 09 10 11 12; do\n    \
      loadtest run old.toml --out ab/old/$n; loadtest run new.toml --out ab/new/$n\n  \
    done\n  \
    loadtest compare ab/old ab/new --metric rtt.p99\n\n\
    Each folder holds runs in folders of their own; the first of BASE is held against the first of NEW, and\n\
    so on, in the order of their names. Twelve pairs, of which ten must agree, tell most; alternate which of\n\
    the two goes first. Ends with 0 when NEW is not slower, 11 when it is, 12 when nothing can be said.")]
pub struct Args {
    /// Folder of the runs to compare with.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Folder of the runs to be judged.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// What is compared: a percentile of the round trip. Several share the chance of a false alarm.
    #[arg(long, value_name = "METRIC", value_delimiter = ',', default_value = "rtt.p99")]
    metric: Vec<String>,
    /// Smallest difference of a pair that counts, in per cent.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    margin: f64,
}

/// Percentiles that are compared, and the control stream's of the same rank.
const METRICS: [(&str, &str); 4] = [
    ("rtt.p50", "control.p50"),
    ("rtt.p90", "control.p90"),
    ("rtt.p95", "control.p95"),
    ("rtt.p99", "control.p99"),
];

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let metrics = args.metric.iter().map(|name| known(name)).collect::<Result<Vec<_>, _>>()?;
    if !(0.0..=1000.0).contains(&args.margin) {
        return Err(Failure::usage("--margin takes a percentage from 0 to 1000"));
    }
    let (base, new) = (runs(&args.base)?, runs(&args.new)?);
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
        pairs.push((summarize(stored::read(a)?), summarize(stored::read(b)?)));
    }
    if let Some(why) = pairs.iter().find_map(|(a, b)| unlike(&pairs[0].0.environment, [a, b])) {
        say::out(format_args!("nothing can be said: {why}"));
        return Ok(Exit::Inconclusive);
    }
    let margins = Margins { relative: args.margin / 100.0, metrics: metrics.len(), ..Margins::default() };
    let mut exits = Vec::new();
    for metric in metrics {
        exits.push(judge(&base, &new, &pairs, metric, &margins));
    }
    let any = |exit| exits.contains(&exit);
    Ok(match (any(Exit::Regressed), any(Exit::Inconclusive)) {
        (true, _) => Exit::Regressed,
        (false, true) => Exit::Inconclusive,
        (false, false) => Exit::Pass,
    })
}

fn known(name: &str) -> Result<(&'static str, &'static str), Failure> {
    METRICS.into_iter().find(|(metric, _)| *metric == name).ok_or_else(|| {
        let names = METRICS.map(|(metric, _)| metric).join(", ");
        Failure::usage(format!("`{name}` cannot be compared; there are {names}"))
    })
}

/// The runs in a folder, in the order of their names.
fn runs(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |e: std::io::Error| Failure::usage(format!("cannot read {}: {e}", folder.display()));
    let entries = fs::read_dir(folder).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let mut runs: Vec<_> = entries
        .into_iter()
        .map(|e| e.path())
        .filter(|path| path.join("environment.json").is_file())
        .collect();
    runs.sort();
    match runs.len() {
        0 => Err(Failure::usage(format!("{} holds no runs: each is a folder in there", folder.display()))),
        1..=MOST_PAIRS => Ok(runs),
        n => Err(Failure::usage(format!(
            "{} holds {n} runs, {MOST_PAIRS} at most can be compared",
            folder.display()
        ))),
    }
}

/// What keeps runs from being compared: another machine, another load.
fn unlike(first: &Environment, summaries: [&Summary; 2]) -> Option<String> {
    for environment in summaries.map(|s| &s.environment) {
        let same = [
            ("CPU", &first.cpu, &environment.cpu),
            ("kernel", &first.kernel, &environment.kernel),
            ("codec", &first.codec, &environment.codec),
        ];
        if let Some((what, a, b)) = same.into_iter().find(|(_, a, b)| a != b) {
            return Some(format!("the runs are not alike: {what} {a} and {b}"));
        }
        let load = |e: &Environment| (e.calls, e.ptime_ms, e.cpus);
        if load(first) != load(environment) {
            return Some("the runs are not alike: calls, packet time or CPUs differ".into());
        }
        if environment.interrupted || !environment.broken.is_empty() {
            return Some("a run was interrupted, or broke".into());
        }
    }
    None
}

fn segment(summary: &Summary, (metric, control): (&str, &str)) -> Option<Segment> {
    let ms = |name: &str| match summary.metric(name)?.value {
        Value::Number(ms) => Some(ms),
        Value::Lost => Some(f64::INFINITY),
        Value::NoData => None,
    };
    Some(Segment { ms: ms(metric)?, control_ms: ms(control) })
}

/// Compares by one metric, and says the sentence and the table behind it.
fn judge(
    base: &[PathBuf],
    new: &[PathBuf],
    summaries: &[(Summary, Summary)],
    metric: (&'static str, &'static str),
    margins: &Margins,
) -> Exit {
    let pairs: Option<Vec<Pair>> = summaries
        .iter()
        .map(|(a, b)| Some(Pair { a: segment(a, metric)?, b: segment(b, metric)? }))
        .collect();
    let Some(pairs) = pairs else {
        say::out(format_args!("{}: nothing can be said: a run has measured no packet", metric.0));
        return Exit::Inconclusive;
    };
    let comparison = compare(&pairs, margins);
    say::out(format_args!("{}: {comparison}", metric.0));
    table(base, new, &pairs, &comparison);
    match comparison.finding {
        Finding::Regressed => Exit::Regressed,
        Finding::Improved | Finding::Unchanged => Exit::Pass,
        Finding::Inconclusive(_) => Exit::Inconclusive,
    }
}

fn table(base: &[PathBuf], new: &[PathBuf], pairs: &[Pair], comparison: &Comparison) {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ms = |ms: f64| if ms.is_finite() { format!("{ms:.3}") } else { "lost".into() };
    say::out(format_args!("  {:<20} {:<20} {:>10} {:>10} {:>9}", "A", "B", "A ms", "B ms", "B to A"));
    for ((a, b), pair) in base.iter().zip(new).zip(pairs) {
        let ratio = pair.b.ms / pair.a.ms;
        let ratio = if ratio.is_finite() { format!("{:+.1} %", 100.0 * (ratio - 1.0)) } else { "–".into() };
        let (a, b) = (name(a), name(b));
        say::out(format_args!("  {a:<20} {b:<20} {:>10} {:>10} {ratio:>9}", ms(pair.a.ms), ms(pair.b.ms)));
    }
    let control = comparison.control_effect.map_or("none".into(), |e| format!("{:+.1} %", 100.0 * e));
    say::out(format_args!(
        "  differences below {:.3} ms do not count; the control stream moved by {control}",
        comparison.absolute_ms
    ));
}
