//! `loadtest ab`: runs two scenarios in turn, and says whether the second is slower than the first.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::compare::{Question, answer};
use super::deliver::{Delivery, DeliveryOptions};
use super::fleet::{Fleet, Player, Scratch, say_nothing_made};
use super::meeting::Meeting;
use super::progress::Display;
use super::run::{bring_up, play};
use super::{Exit, Failure, interrupt, say};
use crate::clock;
use crate::compare::digest::{RunDigest, usual};
use crate::compare::pairs::{Segment, needed};
use crate::driver::Stop;
use crate::metrics::{Definition, SHORTEST_TURN, catalogue};
use crate::rendezvous::{Purpose, Room, Task};
use crate::report::Format;
use crate::run::folder::Claim;
use crate::run::preflight::survey;
use crate::run::together::{Refusal, share_of};
use crate::run::{Finished, Folder, RunError, RunPlan, stored};
use crate::scenario::{MediaMode, Scenario};
use crate::shard::Shard;
use crate::values::Span;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest ab old-build.toml new-build.toml\n  \
    loadtest ab scenarios/smoke.toml --set-new service.delay=1ms --segment 10s --metric rtt.p50\n\n\
    The two run in turn, ABBA and so on, so that what drifts with time falls on both: 24 runs, some 12\n\
    minutes. Gates and the lengths of the hold phase in the scenarios do not count. Without NEW and\n\
    --set-new the scenario is compared with itself, which shows what this machine can tell apart. Ends\n\
    with 0 when NEW is not slower, 11 when it is, 12 when nothing can be said.")]
pub struct Args {
    /// The scenario to compare with.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The scenario to be judged [default: BASE].
    #[arg(value_name = "NEW")]
    new: Option<PathBuf>,
    /// Override a key of both scenarios; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Override a key of BASE alone; may be given more than once.
    #[arg(long = "set-base", value_name = "KEY=VALUE")]
    set_base: Vec<String>,
    /// Override a key of NEW alone; may be given more than once.
    #[arg(long = "set-new", value_name = "KEY=VALUE")]
    set_new: Vec<String>,
    /// Pairs of runs; below 6 nothing can be said.
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(6..=1000))]
    pairs: u32,
    /// Time for which the calls of each run are held.
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    segment: Span,
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    meeting: Meeting,
    /// Folder for the runs and the comparison; it must not hold a run yet
    /// [default: reports/ab-<name>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Say nothing but the answer and errors.
    #[arg(long, short)]
    quiet: bool,
}

/// One of the two scenarios.
struct Side {
    letter: char,
    folder: &'static str,
    plan: RunPlan,
    /// The scenario, and the settings of this side alone.
    words: String,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let new = args.new.as_ref().unwrap_or(&args.base);
    let sides =
        [side(&args, 'A', "base", &args.base, &args.set_base)?, side(&args, 'B', "new", new, &args.set_new)?];
    let [base, new] = sides.each_ref().map(|side| side.plan.scenario());
    same_load(base, new)?;
    enough(&args, base)?;
    let shard = args.meeting.wanted()?;
    for scenario in [base, new] {
        survey(&share_of(scenario, shard.unwrap_or(Shard::ONLY)))?.clear()?;
    }
    if let Some(shard) = shard {
        return several(&args, sides, shard).await;
    }
    let interrupt = interrupt::listen()?;
    compared(&args, sides, Runs { interrupt, fleet: None }).await.map(|(exit, _)| exit)
}

/// Makes the runs, and answers; the exit code, and the answer in words.
async fn compared(args: &Args, sides: [Side; 2], mut runs: Runs<'_>) -> Result<(Exit, String), Failure> {
    let claim = Claim::Comparison(&["base", "new"]);
    let name = format!("ab-{}", sides[0].plan.scenario().name);
    let folder = Folder::claim(args.out.as_deref(), &name, clock::now(), claim)?;
    let pairs = play_all(args, &sides, &folder, &mut runs).await;
    // Without a run in it, it would only keep the name from being used.
    folder.discard();
    let pairs = match pairs? {
        Ok(pairs) => pairs,
        Err((exit, why)) => return Ok((exit, why)),
    };
    let exit = answer(sides.map(|side| side.words), pairs, &args.question, Some(&folder))?;
    if !args.quiet {
        say::out(format_args!("runs and comparison: {}", folder.path().display()));
    }
    Ok((exit, said(exit).into()))
}

/// The answer for those who have no table of it.
fn said(exit: Exit) -> &'static str {
    match exit {
        Exit::Pass => "B is not slower than A",
        Exit::Regressed => "B is slower than A",
        _ => "nothing can be said of B and A",
    }
}

/// Makes this driver's part of the runs: chooses them and answers, or plays what it is told.
async fn several(args: &Args, sides: [Side; 2], shard: Shard) -> Result<Exit, Failure> {
    sides.iter().try_for_each(|side| Refusal::look(side.plan.scenario(), shard))?;
    let Some(meet) = args.meeting.meet()? else { return Err(Failure::usage("--rendezvous is missing")) };
    let interrupt = interrupt::listen()?;
    let scratch = Scratch::new()?;
    let (who, scenarios) = ((Purpose::Ab, shard), sides.each_ref().map(|side| &side.plan.resolved));
    let joined = Fleet::join(&meet, who, &scenarios, interrupt.clone(), args.quiet).await?;
    let Some(mut fleet) = joined else {
        say::err("interrupted before the first call; nothing is kept");
        return Ok(Exit::Interrupted);
    };
    if fleet.coordinates() {
        let judged = match fleet.prepare(Room::default()).await {
            Some(_) => compared(args, sides, Runs { interrupt, fleet: Some(&mut fleet) }).await,
            None => Ok(say_nothing_made(fleet.cause())),
        };
        fleet.judge(&judged);
        return judged.map(|(exit, _)| exit);
    }
    fleet.prepared(Room::default());
    let plan = |task: &Task| {
        let Task::Side { is_new } = task else { return None };
        let side = &sides[usize::from(*is_new)];
        Some((side.plan.clone(), format!("{}  {}", side.letter, side.words)))
    };
    Player { fleet, scratch, testbed: None, plan: &plan }.attend().await
}

/// Means by which runs are made: this driver alone, or all of several.
struct Runs<'f> {
    interrupt: watch::Receiver<Stop>,
    fleet: Option<&'f mut Fleet>,
}

/// Makes the runs of all pairs; `Err` within, with the exit code and the reason, when they are ended.
async fn play_all(
    args: &Args,
    sides: &[Side; 2],
    folder: &Folder,
    runs: &mut Runs<'_>,
) -> Result<Result<Vec<(RunDigest, RunDigest)>, (Exit, String)>, Failure> {
    let metrics = metrics(args, sides[0].plan.scenario());
    let mut pairs = Vec::with_capacity(args.pairs as usize);
    for n in 1..=args.pairs {
        // ABBA: whatever drifts falls on both alike.
        let order = if n % 2 == 1 { [0, 1] } else { [1, 0] };
        let mut pair: [Option<RunDigest>; 2] = [None, None];
        for which in order {
            let side = &sides[which];
            let out = folder.path().join(side.folder).join(format!("{n:02}"));
            let title = format!("pair {n:>2} of {}  {}", args.pairs, side.letter);
            let Some(digest) = segment(side, &out, runs, (&title, args.quiet)).await? else {
                return Ok(Err(runs.ended(pairs.len(), args.pairs, folder.path())));
            };
            if !args.quiet {
                tell(n, args.pairs, side.letter, &metrics, &digest);
            }
            pair[which] = Some(digest);
        }
        if let [Some(a), Some(b)] = pair {
            pairs.push((a, b));
        }
        enough_left(args, metrics.len(), &pairs)?;
    }
    Ok(Ok(pairs))
}

impl Runs<'_> {
    /// Says why there is no further run; the exit code of that, and the reason for the others.
    fn ended(&self, pairs: usize, of: u32, folder: &Path) -> (Exit, String) {
        let told = interrupted(pairs, of, folder);
        let Some(cause) = self.fleet.as_ref().and_then(|fleet| fleet.cause()) else {
            say::err(&told);
            return (Exit::Interrupted, told);
        };
        let why = format!("{}: {told}", cause.why());
        say::err(&why);
        (cause.exit(), cause.why().into())
    }
}

fn interrupted(pairs: usize, of: u32, folder: &Path) -> String {
    // The first run's folder is gone if it was ended before its first call.
    match folder.join("base/01").exists() {
        true => format!("interrupted after {pairs} of {of} pairs; their runs stay in {}", folder.display()),
        false => "interrupted before the first call; nothing is kept".into(),
    }
}

fn side(
    args: &Args,
    letter: char,
    folder: &'static str,
    path: &Path,
    own: &[String],
) -> Result<Side, RunError> {
    // Neither gates nor what a gate may end belong into a segment: the comparison judges.
    let segment = [format!("load.duration={}", args.segment).replace(' ', ""), "gates.require=[]".into()];
    let set = [&args.set, segment.as_slice(), own].concat();
    let mut plan = RunPlan::read(path, &set)?;
    let settings = set.iter().flat_map(|setting| ["--set".into(), setting.clone()]);
    plan.command =
        ["loadtest".into(), "run".into(), path.display().to_string()].into_iter().chain(settings).collect();
    let with = if own.is_empty() { String::new() } else { format!(" with {}", own.join(", ")) };
    Ok(Side { letter, folder, plan, words: format!("{}{with}", path.display()) })
}

/// Percentiles of different loads say nothing about the builds.
fn same_load(base: &Scenario, new: &Scenario) -> Result<(), Failure> {
    let media = |s: &Scenario| (s.media.ptime, s.media.codec, s.media.srtp, s.media.phase);
    if base.load == new.load && media(base) == media(new) && base.measure == new.measure {
        return Ok(());
    }
    Err(Failure::usage(
        "the two scenarios differ in [load], [media] or [measure]: only runs under the same load can be \
         compared; give both the same with --set",
    ))
}

/// Refuses a comparison that must end inconclusive.
fn enough(args: &Args, scenario: &Scenario) -> Result<(), Failure> {
    if matches!(scenario.media.mode, MediaMode::Signal | MediaMode::Speech) {
        return Err(Failure::usage(
            "nothing that is compared here is measured with media.mode = \"signal\" or \"speech\": compare two scenarios \
             of echoes, or of conversations",
        ));
    }
    let metrics = &metrics(args, scenario);
    if needed(args.pairs as usize, metrics.len()).is_none() {
        return Err(Failure::usage(format!(
            "{} pairs are too few for {} metrics at once: give more --pairs, or fewer metrics",
            args.pairs,
            metrics.len()
        )));
    }
    let talks = scenario.media.mode == MediaMode::Conversation;
    for metric in metrics {
        let definition = catalogue::find(metric);
        let wanted = definition.and_then(Definition::samples_needed).unwrap_or(0) as f64;
        let is_of_turns = definition.is_some_and(Definition::is_of_turns);
        if is_of_turns != talks {
            return Err(Failure::usage(format!(
                "{metric} is measured in {} alone: compare {}, or another scenario",
                if is_of_turns { "conversations" } else { "echoes" },
                usual(talks)
            )));
        }
        let (interval, what) = match is_of_turns {
            true => (SHORTEST_TURN, "turns"),
            false => (scenario.media.ptime.0, "packets"),
        };
        let each = args.segment.0.as_secs_f64() / interval.as_secs_f64() * f64::from(scenario.calls());
        if each < wanted {
            let seconds = (args.segment.0.as_secs_f64() * wanted / each).ceil();
            return Err(Failure::usage(format!(
                "{metric} rests on {wanted:.0} {what} at least, and a run of {} has {each:.0}: \
                 --segment {seconds:.0}s would do, or more calls, or a lower percentile",
                args.segment
            )));
        }
    }
    Ok(())
}

fn metrics(args: &Args, scenario: &Scenario) -> Vec<&'static str> {
    args.question.metrics(scenario.media.mode == MediaMode::Conversation)
}

/// Fails once so many pairs broke that the others cannot decide. One that B broke alone is evidence.
fn enough_left(args: &Args, metrics: usize, pairs: &[(RunDigest, RunDigest)]) -> Result<(), Failure> {
    let is_lost = |run: &RunDigest| run.worthless.is_some();
    let broken =
        pairs.iter().filter(|(a, b)| is_lost(a) || is_lost(b) && b.environment.broken.is_empty()).count();
    match needed(args.pairs as usize - broken, metrics) {
        Some(_) => Ok(()),
        None => Err(Failure::broke(format!(
            "{broken} of {} pairs broke, and the others are too few to tell; nothing is compared",
            args.pairs
        ))),
    }
}

/// Makes one run and stores it; `None` when it is ended. A run that breaks is stored as well, and its pair left out.
async fn segment(
    side: &Side,
    out: &Path,
    runs: &mut Runs<'_>,
    (title, quiet): (&str, bool),
) -> Result<Option<RunDigest>, Failure> {
    let plan = &side.plan;
    let folder = plan.folder(Some(out))?;
    let alone = Display::nothing();
    let (finished, display) = match &mut runs.fleet {
        None => (play(plan, &folder, runs.interrupt.clone(), &alone).await?, &alone),
        Some(fleet) => {
            let display = Display::of_many(quiet, plan.scenario(), title);
            let task = Task::Side { is_new: side.letter == 'B' };
            let finished = anew(fleet, task, plan, (&folder, &display)).await;
            display.finish();
            if !matches!(finished, Ok(Some(_))) {
                folder.discard();
            }
            (finished?, &alone)
        }
    };
    let Some(finished) = finished else { return Ok(None) };
    let options = DeliveryOptions {
        report: vec![Format::Csv, Format::Json],
        baseline: None,
        tables: false,
        quiet: true,
    };
    let delivery = Delivery {
        resolved: &plan.resolved,
        finished: &finished,
        folder: &folder,
        options: &options,
        source: None,
        display,
    };
    delivery.write()?;
    let has_ended = runs.fleet.as_ref().is_some_and(|fleet| fleet.cause().is_some());
    let interrupted = finished.summary.environment.interrupted || has_ended;
    Ok(if interrupted { None } else { Some(stored::digest(out)?) })
}

/// Makes a run of all drivers, for which this one looks at the target anew.
async fn anew(
    fleet: &mut Fleet,
    task: Task,
    plan: &RunPlan,
    to: (&Folder, &Display),
) -> Result<Option<Finished>, Failure> {
    let Some(mut testbed) = bring_up(plan, to.0, &mut fleet.ending()).await? else {
        fleet.part(task).await;
        return Ok(None);
    };
    let finished = fleet.play(task, plan, &mut testbed, to).await;
    let broken = testbed.down().await;
    finished?.map(|finished| Ok(finished.broken_since(plan, broken)?)).transpose()
}

fn tell(n: u32, of: u32, letter: char, metrics: &[&str], run: &RunDigest) {
    let ms = |segment: Option<Segment>| match segment {
        Some(Segment { ms, .. }) if ms.is_finite() => format!("{ms:.3} ms"),
        Some(_) => "lost".into(),
        None => "nothing measured".into(),
    };
    let figure = |metric: &&str| format!("{metric} {}", ms(run.segment(metric)));
    let said = match &run.worthless {
        Some(why) => format!("left out: {why}"),
        None => metrics.iter().map(figure).collect::<Vec<_>>().join("  "),
    };
    say::err(format_args!("pair {n:>2} of {of}  {letter}  {said}"));
}
