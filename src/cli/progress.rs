//! Progress: bars on a terminal, a line every few seconds on a pipe.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::driver::{Progress, Recent};
use crate::record::{Phase, Quantile};
use crate::run::Observer;
use crate::values::{Unit, Value, show};

/// Time between two lines on a pipe.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Before the figures, on the second line.
const INDENT: &str = "    ";

/// The progress of a run on standard error.
pub enum Display {
    /// `--quiet`.
    Nothing,
    /// A bar per phase, and a line of live figures.
    Bar(Box<ProgressBar>),
    /// Lines; the next is due then, or when the phase is no longer that one.
    Lines(Cell<(Duration, Option<Phase>)>),
}

impl Display {
    /// The display that fits where standard error goes.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Display::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(1000);
            // Invariant: a constant template. The message brings the second line.
            let style = ProgressStyle::with_template("{prefix:>8} [{bar:20}] {percent:>3} %  {msg}")
                .expect("valid template");
            bar.set_style(style.progress_chars("=> "));
            Display::Bar(Box::new(bar))
        } else {
            Display::Lines(Cell::new((Duration::ZERO, None)))
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Display {
    fn progress(&self, progress: &Progress<'_>) {
        let at = progress.elapsed.as_secs();
        match self {
            Display::Nothing => {}
            Display::Bar(bar) => {
                bar.set_prefix(progress.phase.to_string());
                bar.set_position((progress.done * 1000.0) as u64);
                let (clock, calls) = (format!("{}:{:02}", at / 60, at % 60), calls(progress));
                bar.set_message(format!("{clock}  {calls}\n{INDENT}{}", figures(&progress.recent)));
            }
            Display::Lines(due) => {
                let (next, phase) = due.get();
                if progress.elapsed >= next || phase != Some(progress.phase) {
                    due.set((progress.elapsed + LINE_EVERY, Some(progress.phase)));
                    let (name, done) = (progress.phase.to_string(), progress.done * 100.0);
                    let (calls, figures) = (calls(progress), figures(&progress.recent));
                    say::err(format_args!("{at:>5} s  {name:>8} {done:>3.0} %  {calls} · {figures}"));
                }
            }
        }
    }

    fn remark(&self, text: &str) {
        match self {
            Display::Nothing => {}
            Display::Bar(bar) => bar.suspend(|| say::err(text)),
            Display::Lines(_) => say::err(text),
        }
    }
}

/// Calls up, and the attempts so far.
fn calls(progress: &Progress) -> String {
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    format!("{} of {} up, {} placed{failed}", progress.calls_up, progress.calls, progress.attempts)
}

/// Live figures over the last settled seconds.
fn figures(recent: &Recent) -> String {
    let Recent { rtt_p50: Some(p50), rtt_p99: Some(p99), control_p99, .. } = *recent else {
        return "nothing measured yet".into();
    };
    let ratio = |share: Option<f64>| show(share.map_or(Value::NoData, Value::Number), Unit::Ratio);
    let control = control_p99.map_or(String::new(), |p99| format!(" · control p99 {}", ms(p99)));
    format!(
        "rtt p50 {}, p99 {} ms{control} · loss {} · late {}",
        ms(p50),
        ms(p99),
        ratio(recent.loss),
        ratio(recent.late)
    )
}

/// Milliseconds to the digits that a glance takes in.
fn ms(quantile: Quantile) -> String {
    match quantile {
        Quantile::At(ns) if ns >= 100_000_000 => format!("{:.0}", ns as f64 / 1e6),
        Quantile::At(ns) => format!("{:.2}", ns as f64 / 1e6),
        Quantile::Above | Quantile::Lost => "lost".into(),
        Quantile::NoData => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Live;

    fn progress<'a>(recent: Recent, live: &'a Live) -> Progress<'a> {
        Progress {
            phase: Phase::Hold,
            elapsed: Duration::from_secs(42),
            in_phase: Duration::from_secs(30),
            done: 0.5,
            calls_up: 49,
            attempts: 52,
            failed: 2,
            calls: 50,
            recent,
            live,
        }
    }

    #[test]
    fn the_lines_fit_a_narrow_terminal() {
        let at = |ms: u64| Some(Quantile::At(ms * 1_000_000));
        let (rtt_p50, rtt_p99, control_p99) = (at(1234), Some(Quantile::Lost), at(5));
        let recent = Recent { rtt_p50, rtt_p99, control_p99, loss: Some(0.1234), late: Some(0.000_03) };
        let live = Live::default();
        let progress = progress(recent, &live);
        assert_eq!(calls(&progress), "49 of 50 up, 52 placed, 2 failed");
        let said = figures(&progress.recent);
        assert_eq!(said, "rtt p50 1234, p99 lost ms · control p99 5.00 · loss 12.34 % · late 0.0030 %");
        assert!(said.chars().count() + INDENT.len() < 80, "{}", said.chars().count());
        assert_eq!(figures(&Recent::default()), "nothing measured yet");
    }
}
