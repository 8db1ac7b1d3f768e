//! `cpu.png`: processor time of the programs and of the machine, per second.

use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::legend::LineSeries;
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;
use crate::record::SecondRecord;

const PROGRAMS: [LineSeries<SecondRecord>; 4] = [
    LineSeries::new("Asterisk", Ink::Orange, 0.12, |s| s.cpu_asterisk),
    LineSeries::new("service", Ink::Green, 0.12, |s| s.cpu_service),
    LineSeries::new("driver", Ink::Blue, 0.12, |s| s.cpu_driver),
    LineSeries::new("driver's busiest thread", Ink::Sky, 0.08, |s| s.cpu_busiest_thread),
];

const MACHINE: [LineSeries<SecondRecord>; 2] = [
    LineSeries::new("machine", Ink::Purple, 0.12, |s| s.cpu_machine.map(percent)),
    LineSeries::new("steal", Ink::Vermillion, 0.12, |s| s.cpu_steal.map(percent)),
];

fn percent(share: f64) -> f64 {
    share * 100.0
}

pub(super) const CHART: Chart = Chart {
    path: "plots/cpu.png",
    section: "resources",
    title: "Processor time, second by second",
    caption: "A program that reaches the number of its busy threads in cores is the bottleneck; steal is \
              time the machine did not have.",
    figures: &[
        ("mean cores busy: driver", "cpu.driver_mean"),
        ("service", "cpu.service_mean"),
        ("Asterisk", "cpu.asterisk_mean"),
    ],
    applies: |_| true,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let keys = PROGRAMS.iter().chain(&MACHINE).map(|series| series.key).collect();
    timeline::legend(canvas, keys, summary);
    let [programs, machine] = canvas.rows([1.4, 1.0]);
    let seconds = &summary.seconds;
    let upper = panel(canvas, programs, seconds, "programs, cores busy", &PROGRAMS, f64::INFINITY);
    faults::mark(&upper, summary);
    let lower = panel(canvas, machine, seconds, "machine, % of all cores", &MACHINE, 100.0);
    faults::lines(&lower, summary);
    lower.x_axis(timeline::TIME);
}

fn panel<'c>(
    canvas: &'c Canvas,
    place: Rect,
    seconds: &[SecondRecord],
    title: &str,
    all: &[LineSeries<SecondRecord>],
    limit: f64,
) -> Panel<'c> {
    let values = || all.iter().flat_map(|series| seconds.iter().filter_map(series.value));
    let most = values().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let y = Axis::linear(most.min(limit), place.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, place, title, y, seconds);
    for series in all.iter().rev() {
        panel.line(timeline::series(seconds, series.value), series);
    }
    if values().next().is_none() {
        panel.message("not recorded");
    }
    panel
}
