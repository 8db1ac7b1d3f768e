//! Progress: bars on a terminal, a line every few seconds on a pipe.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::driver::Progress;
use crate::samples::Phase;

/// Time between two lines on a pipe.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how a run goes on.
pub enum Display {
    /// `--quiet`.
    Nothing,
    /// A bar per phase, and a line of live figures.
    Bar(Box<ProgressBar>),
    /// Lines.
    Lines {
        /// When the next line is due.
        next: Duration,
        /// The phase of the last line.
        phase: Option<Phase>,
    },
}

impl Display {
    /// The display that fits where standard error goes.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Display::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(1000);
            // Invariant: a constant template.
            let style = ProgressStyle::with_template(
                "{prefix:>8} [{bar:16}] {percent:>3} % {elapsed:>3}  {wide_msg}",
            )
            .expect("valid template");
            bar.set_style(style.progress_chars("=> "));
            Display::Bar(Box::new(bar))
        } else {
            Display::Lines { next: Duration::ZERO, phase: None }
        }
    }

    /// Shows one line that stays.
    pub fn say(&self, text: &str) {
        match self {
            Display::Nothing => {}
            Display::Bar(bar) => bar.suspend(|| say::err(text)),
            Display::Lines { .. } => say::err(text),
        }
    }

    /// Shows the present state.
    pub fn show(&mut self, progress: &Progress) {
        match self {
            Display::Nothing => {}
            Display::Bar(bar) => {
                bar.set_prefix(progress.phase.to_string());
                bar.set_position((progress.done * 1000.0) as u64);
                bar.set_message(figures(progress));
            }
            Display::Lines { next, phase } => {
                if progress.elapsed >= *next || *phase != Some(progress.phase) {
                    *next = progress.elapsed + LINE_EVERY;
                    *phase = Some(progress.phase);
                    let (name, done) = (progress.phase.to_string(), progress.done * 100.0);
                    let at = progress.elapsed.as_secs();
                    say::err(format_args!("{at:>5} s  {name:>8} {done:>3.0} %  {}", figures(progress)));
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn figures(progress: &Progress) -> String {
    let ms = |ns: Option<crate::samples::Ns>| ns.map_or("-".into(), |ns| format!("{:.2}", ns.as_ms()));
    let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
    format!(
        "{} up, {} placed{failed} · last second p50 {} p99 {} ms · lost {}",
        progress.calls_up,
        progress.attempts,
        ms(progress.latest.rtt_p50),
        ms(progress.latest.rtt_p99),
        progress.lost,
    )
}
