//! `cpu.png`: what the programs and the machine were busy with, per second.

use super::axis::Axis;
use super::faults;
use super::figure::{Drawn, Figure, Key, Mark, Rect};
use super::panel::Panel;
use super::theme::Ink;
use super::timeline;
use crate::metrics::Summary;
use crate::record::SecondRecord;

type Series = (&'static str, Ink, f64, fn(&SecondRecord) -> Option<f64>);

const PROGRAMS: [Series; 4] = [
    ("Asterisk", Ink::Orange, 0.12, |s| s.cpu_asterisk),
    ("service", Ink::Green, 0.12, |s| s.cpu_service),
    ("driver", Ink::Blue, 0.12, |s| s.cpu_driver),
    ("driver's busiest thread", Ink::Sky, 0.08, |s| s.cpu_busiest_thread),
];

const MACHINE: [Series; 2] = [
    ("machine", Ink::Purple, 0.12, |s| s.cpu_machine.map(percent)),
    ("steal", Ink::Vermillion, 0.12, |s| s.cpu_steal.map(percent)),
];

fn percent(share: f64) -> f64 {
    share * 100.0
}

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let keys = PROGRAMS.iter().chain(&MACHINE);
    let mut keys: Vec<Key<'_>> =
        keys.map(|(label, ink, ..)| Key { label, ink: *ink, mark: Mark::Line }).collect();
    keys.push(timeline::not_measured_key(figure));
    faults::legend(figure, &keys, summary)?;
    let [programs, machine] = figure.rows([1.4, 1.0]);
    let seconds = &summary.seconds;
    let upper = panel(figure, programs, seconds, "programs, cores busy", &PROGRAMS, f64::INFINITY)?;
    faults::mark(figure, &upper, summary)?;
    let lower = panel(figure, machine, seconds, "machine, % of all cores", &MACHINE, 100.0)?;
    faults::lines(&lower, summary)?;
    lower.x_axis(timeline::TIME)
}

fn panel<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    seconds: &[SecondRecord],
    title: &str,
    series: &[Series],
    limit: f64,
) -> Result<Panel<'f, 'a>, super::figure::DrawError> {
    let values = || series.iter().flat_map(|(.., of)| seconds.iter().filter_map(of));
    let most = values().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let y = Axis::linear(most.min(limit), place.labels(figure));
    let panel = Panel::new(figure, place, timeline::axis(figure, seconds), y);
    timeline::shade_phases(&panel, seconds)?;
    panel.frame(title)?;
    for (_, ink, width, of) in series.iter().rev() {
        panel.line(timeline::series(seconds, *of), *ink, *width)?;
    }
    if values().next().is_none() {
        panel.say("not recorded")?;
    }
    Ok(panel)
}
