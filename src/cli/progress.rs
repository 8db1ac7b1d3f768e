//! Progress: one bar for the whole run on a terminal, a line every few seconds elsewhere.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::live::LiveServer;
use super::{look, say};
use crate::driver::Progress;
use crate::record::{Phase, Quantile, Recent, RecentTurns};
use crate::run::Observer;
use crate::scenario::schedule::ramp_duration;
use crate::scenario::{Load, Planned, Scenario};
use crate::values::{Unit, Value, counted, show};

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Before the figures, on the second line.
const INDENT: &str = "  ";
/// Usual time of what comes after the hold phase: hanging up, and then leak check, tear-down and reports.
const DRAIN: Duration = Duration::from_secs(1);
const AFTERWARDS: Duration = Duration::from_secs(4);

/// The progress of a run on standard error.
pub struct Display {
    /// Expected lengths of the phases.
    plan: Plan,
    /// Share of the run that is over; it never falls.
    share: Cell<f64>,
    kind: Kind,
    /// Tells others the same.
    live: Option<LiveServer>,
    /// Words behind the counts.
    note: RefCell<String>,
}

enum Kind {
    /// `--quiet`.
    Nothing,
    /// A bar for the run, and a line of live figures.
    Bar(Box<ProgressBar>),
    /// Lines; the next is due then, or when the phase is no longer that one.
    Lines(Cell<(Duration, Option<Phase>)>),
    /// Remarks alone.
    Remarks,
}

impl Kind {
    fn fitting(quiet: bool, without_bars: impl FnOnce() -> Kind) -> Kind {
        if quiet {
            return Kind::Nothing;
        }
        if !look::has_bars() {
            return without_bars();
        }
        let bar = ProgressBar::new(1000);
        // Invariant: a constant template. The message brings the second line.
        let style = ProgressStyle::with_template("{prefix} [{bar:20}] {percent:>3} %  {msg}")
            .expect("valid template");
        bar.set_style(style.progress_chars("=> "));
        Kind::Bar(Box::new(bar))
    }
}

impl Display {
    /// Shows nothing.
    pub fn nothing() -> Self {
        Display {
            plan: Plan::default(),
            share: Cell::new(0.0),
            kind: Kind::Nothing,
            live: None,
            note: RefCell::default(),
        }
    }

    /// The display of a run of `scenario` that fits where standard error goes.
    pub fn new(quiet: bool, scenario: &Scenario) -> Self {
        let lines = || Kind::Lines(Cell::new((Duration::ZERO, None)));
        Display {
            plan: Plan::of(scenario),
            share: Cell::new(0.0),
            kind: Kind::fitting(quiet, lines),
            live: None,
            note: RefCell::default(),
        }
    }

    /// The display of one of many runs, under a line that names it. Where there are no bars that line is all.
    pub fn of_many(quiet: bool, scenario: &Scenario, title: &str) -> Self {
        let display = Display {
            plan: Plan::of(scenario),
            share: Cell::new(0.0),
            kind: Kind::fitting(quiet, || Kind::Remarks),
            live: None,
            note: RefCell::default(),
        };
        display.remark(title);
        display
    }

    /// Tells the server of `--live`, too.
    pub fn with_live(self, live: Option<LiveServer>) -> Self {
        Display { live, ..self }
    }

    /// The server of `--live`.
    pub fn live(&self) -> Option<&LiveServer> {
        self.live.as_ref()
    }

    /// Words that stand behind the counts from now on.
    pub fn note(&self, text: String) {
        self.note.replace(format!(" · {text}"));
    }

    /// Shows what goes on after the calls: it may take seconds.
    pub fn stage(&self, text: &str) {
        match &self.kind {
            Kind::Nothing | Kind::Remarks => {}
            Kind::Bar(bar) => {
                bar.set_prefix("reports");
                bar.set_message(text.to_string());
                bar.tick();
            }
            Kind::Lines(_) => say::err(format_args!("         {text}")),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Display {
    fn progress(&self, progress: &Progress<'_>) {
        let share = self.plan.share(progress).max(self.share.get());
        self.share.set(share);
        if let Some(live) = &self.live {
            live.show(progress);
        }
        let at = progress.elapsed.as_secs();
        let words = self.plan.words(progress);
        let calls = calls(progress) + &self.note.borrow();
        match &self.kind {
            Kind::Nothing | Kind::Remarks => {}
            Kind::Bar(bar) => {
                bar.set_prefix(words);
                bar.set_position((share * 1000.0) as u64);
                bar.set_message(format!("{calls}\n{INDENT}{}", figures(&progress.recent)));
            }
            Kind::Lines(due) => {
                let (next, phase) = due.get();
                if progress.elapsed >= next || phase != Some(progress.phase) {
                    due.set((progress.elapsed + LINE_EVERY, Some(progress.phase)));
                    let (figures, share) = (figures(&progress.recent), share * 100.0);
                    say::err(format_args!("{at:>5} s  {words:<18} {share:>3.0} %  {calls} · {figures}"));
                }
            }
        }
    }

    fn remark(&self, text: &str) {
        match &self.kind {
            Kind::Nothing => {}
            Kind::Bar(bar) => bar.suspend(|| say::err(text)),
            Kind::Lines(_) | Kind::Remarks => say::err(text),
        }
    }

    fn stage(&self, text: &str) {
        Display::stage(self, text);
    }
}

/// Expected lengths of the phases, stage by stage.
#[derive(Debug, Default)]
struct Plan(Vec<Lengths>);

#[derive(Debug, Default, Clone, Copy)]
struct Lengths {
    ramp: Duration,
    warmup: Duration,
    hold: Duration,
}

impl Lengths {
    fn whole(&self) -> Duration {
        self.ramp + self.warmup + self.hold
    }
}

impl Plan {
    fn of(scenario: &Scenario) -> Plan {
        let (load, warmup) = (&scenario.load, scenario.measure.warmup.0);
        let mut before = 0.0;
        let lengths = |stage: &Planned| {
            let calls = load.calls_of(stage.target);
            let ramped = (calls - before).abs().ceil();
            before = calls;
            match scenario.is_open() {
                true => {
                    let (ramp, warmup) =
                        (Load::ramp_over(stage.ramp, ramped), warmup.max(load.settles_after()));
                    Lengths { ramp, warmup, hold: stage.hold }
                }
                false => Lengths { ramp: ramp_duration(stage.ramp, ramped as u32), warmup, hold: stage.hold },
            }
        };
        Plan(scenario.stages().iter().map(lengths).collect())
    }

    /// The length of a phase of a stage, and that of all before it.
    fn phase(&self, stage: usize, phase: Phase) -> (Duration, Duration) {
        let stage = stage.saturating_sub(1);
        let before: Duration = self.0.iter().take(stage).map(Lengths::whole).sum();
        let Lengths { ramp, warmup, hold } = self.0.get(stage).copied().unwrap_or_default();
        match phase {
            Phase::Ramp => (ramp, before),
            Phase::Warmup => (warmup, before + ramp),
            Phase::Hold => (hold, before + ramp + warmup),
            Phase::Drain => (DRAIN, self.stages()),
        }
    }

    /// Length of all stages.
    fn stages(&self) -> Duration {
        self.0.iter().map(Lengths::whole).sum()
    }

    /// Share of the whole run that is over, 0–1.
    fn share(&self, progress: &Progress<'_>) -> f64 {
        let (length, before) = self.phase(progress.stage, progress.phase);
        let whole = self.stages() + DRAIN + AFTERWARDS;
        let over = before.as_secs_f64() + length.as_secs_f64() * progress.done.clamp(0.0, 1.0);
        over / whole.as_secs_f64()
    }

    /// The phase in words, with how far it is where that is known.
    fn words(&self, progress: &Progress<'_>) -> String {
        let stage = match self.0.len() {
            ..=1 => String::new(),
            of => format!("stage {} of {of}: ", progress.stage),
        };
        match progress.phase {
            Phase::Ramp => format!("{stage}ramp"),
            Phase::Drain => "hanging up".into(),
            phase => format!("{stage}{phase} {}", of(progress.in_phase, self.phase(progress.stage, phase).0)),
        }
    }
}

/// A time out of a length: `12 of 30 s`, `1:12 of 5:00`.
fn of(time: Duration, length: Duration) -> String {
    let (time, length) = (time.min(length).as_secs(), length.as_secs());
    let clock = |seconds: u64| format!("{}:{:02}", seconds / 60, seconds % 60);
    match length {
        ..120 => format!("{time} of {length} s"),
        _ => format!("{} of {}", clock(time), clock(length)),
    }
}

/// Calls up, and the attempts so far.
fn calls(progress: &Progress) -> String {
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    format!("{} of {} up, {} placed{failed}", progress.calls_up, progress.calls, progress.attempts)
}

/// Live figures over the last settled seconds; where callers talk, of their turns.
fn figures(recent: &Recent) -> String {
    if let Some(turns) = &recent.turns {
        return self::turns(turns);
    }
    let Recent { rtt_p50: Some(p50), rtt_p99: Some(p99), control_p99, .. } = *recent else {
        return "nothing measured yet".into();
    };
    let control = control_p99.map_or(String::new(), |p99| format!(" · control {}", ms(p99)));
    if (p50, p99) == (Quantile::NoData, Quantile::NoData) {
        return format!("nothing measured yet{control}");
    }
    let ratio = |share: Option<f64>| show(share.map_or(Value::NoData, Value::Number), Unit::Ratio);
    format!(
        "rtt p50 {}, p99 {}{control} · loss {} · late {}",
        ms(p50),
        ms(p99),
        ratio(recent.loss),
        ratio(recent.late)
    )
}

/// The answers of the last 30 s, and turns so far.
fn turns(turns: &RecentTurns) -> String {
    let RecentTurns { count, missing, response_p50, response_p95 } = *turns;
    let missing = if missing > 0 { format!(", {missing} without an answer") } else { String::new() };
    let count = counted(count, "turn");
    format!("response p50 {}, p95 {} · {count}{missing}", ms(response_p50), ms(response_p95))
}

/// A time to the digits that a glance takes in, or in words.
fn ms(quantile: Quantile) -> String {
    match quantile {
        Quantile::At(ns) if ns >= 100_000_000 => format!("{:.0} ms", ns as f64 / 1e6),
        Quantile::At(ns) => format!("{:.2} ms", ns as f64 / 1e6),
        Quantile::Above | Quantile::Lost => "is lost".into(),
        Quantile::NoData => "–".into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Live;

    /// A run in its hold phase.
    pub(in crate::cli) fn progress(recent: Recent, live: &Live) -> Progress<'_> {
        Progress {
            phase: Phase::Hold,
            elapsed: Duration::from_secs(42),
            in_phase: Duration::from_secs(30),
            done: 0.5,
            calls_up: 49,
            attempts: 52,
            failed: 2,
            calls: 50,
            stage: 1,
            settled: 0,
            recent,
            live,
        }
    }

    #[test]
    fn the_lines_fit_a_narrow_terminal() {
        let at = |ms: u64| Some(Quantile::At(ms * 1_000_000));
        let (rtt_p50, rtt_p99, control_p99) = (at(1234), Some(Quantile::Lost), at(5));
        let recent = Recent {
            rtt_p50,
            rtt_p99,
            control_p99,
            loss: Some(0.1234),
            late: Some(0.000_03),
            send_lateness_max: None,
            turns: None,
        };
        let live = Live::default();
        let progress = progress(recent, &live);
        assert_eq!(calls(&progress), "49 of 50 up, 52 placed, 2 failed");
        let said = figures(&progress.recent);
        assert_eq!(said, "rtt p50 1234 ms, p99 is lost · control 5.00 ms · loss 12.34 % · late 0.0030 %");
        assert!(said.chars().count() + INDENT.len() < 80, "{}", said.chars().count());
        assert_eq!(figures(&Recent::default()), "nothing measured yet");
        let turns = RecentTurns {
            count: 12_345,
            missing: 678,
            response_p50: Quantile::At(1_234_000_000),
            response_p95: Quantile::At(12_345_000_000),
        };
        let said = figures(&Recent { turns: Some(turns), ..recent });
        assert_eq!(said, "response p50 1234 ms, p95 12345 ms · 12,345 turns, 678 without an answer");
        assert!(said.chars().count() + INDENT.len() < 80, "{}", said.chars().count());
        let one = RecentTurns { count: 1, missing: 0, response_p95: Quantile::NoData, ..turns };
        assert_eq!(self::turns(&one), "response p50 1234 ms, p95 – · 1 turn");
    }

    #[test]
    fn callers_who_have_not_been_answered_yet_have_no_empty_round_trips() {
        let none = Some(Quantile::NoData);
        let recent = Recent { rtt_p50: none, rtt_p99: none, ..Recent::default() };
        assert_eq!(figures(&recent), "nothing measured yet");
    }

    #[test]
    fn one_share_for_the_whole_run_never_falls_and_leaves_room_for_the_reports() {
        let [ramp, warmup, hold] = [5, 2, 30].map(Duration::from_secs);
        let plan = Plan(vec![Lengths { ramp, warmup, hold }]);
        let live = Live::default();
        let (mut last, mut words) = (0.0, Vec::new());
        for (phase, in_phase) in [(Phase::Ramp, 5), (Phase::Warmup, 2), (Phase::Hold, 30), (Phase::Drain, 3)]
        {
            for step in 0..=in_phase {
                let progress = Progress {
                    phase,
                    in_phase: Duration::from_secs(step),
                    done: step as f64 / in_phase as f64,
                    ..progress(Recent::default(), &live)
                };
                let share = plan.share(&progress);
                assert!(share >= last && share < 0.95, "{phase} {step}: {share} after {last}");
                last = share;
                words.push(plan.words(&progress));
            }
        }
        for word in ["ramp", "warm-up 1 of 2 s", "hold 12 of 30 s", "hanging up"] {
            assert!(words.iter().any(|said| said == word), "{word} in {words:?}");
        }
        let hold = Duration::from_secs(300);
        let long = Plan(vec![Lengths { ramp, warmup, hold }; 2]);
        let at = Progress { in_phase: Duration::from_secs(72), ..progress(Recent::default(), &live) };
        assert_eq!(long.words(&at), "stage 1 of 2: hold 1:12 of 5:00");
    }
}
