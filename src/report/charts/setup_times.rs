//! `setup-times.png`: set-up times of each call, and their percentiles over all calls.

use std::collections::HashSet;

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Canvas, Rect, Style};
use super::legend::{LegendKey, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::{Metric, Summary};
use crate::record::CallRecord;
use crate::values::Ns;

/// A delay of call set-up.
struct SetupDelay {
    group: &'static str,
    short: &'static str,
    key: LegendKey<'static>,
    of: fn(&CallRecord) -> Option<Ns>,
}

static DELAYS: [SetupDelay; 3] = [
    SetupDelay {
        group: "srd",
        short: "SRD",
        key: LegendKey::new("session request delay: INVITE to first 18x or 200", Ink::Blue, Mark::Dot),
        of: |c| c.srd_ms,
    },
    SetupDelay {
        group: "answer_delay",
        short: "answer",
        // A ring: without a ringing response before the answer, it lies on the session request delay.
        key: LegendKey::new("answer delay: INVITE to 200", Ink::Orange, Mark::Ring),
        of: |c| c.answer_delay_ms,
    },
    SetupDelay {
        group: "first_echo",
        short: "first echo",
        key: LegendKey::new("200 to first echo", Ink::Green, Mark::Dot),
        of: |c| c.first_echo_ms,
    },
];

const NOT_ANSWERED: LegendKey<'static> = LegendKey::new("not answered", Ink::Vermillion, Mark::Cross);

/// Those of a run: where callers talk, nothing comes back.
fn delays(summary: &Summary) -> impl Iterator<Item = &'static SetupDelay> + Clone {
    let is_echo = super::is_echo(summary);
    DELAYS.iter().filter(move |delay| is_echo || delay.group != "first_echo")
}

/// Percentiles over all calls, in the order of their size.
const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];

impl SetupDelay {
    fn metric<'s>(&self, summary: &'s Summary, statistic: &str) -> Option<&'s Metric> {
        summary.metric(&format!("{}.{statistic}", self.group))
    }

    fn value(&self, summary: &Summary, statistic: &str) -> Option<f64> {
        self.metric(summary, statistic)?.value.number()
    }
}

pub(super) const CHART: Chart = Chart {
    path: "plots/setup-times.png",
    section: "set-up",
    title: "Set-up times, call by call",
    caption: "A dot is one call; dots that climb to the right mean that each call made the next one wait. The first \
              echo includes up to one packet interval of waiting for the call's turn to send: turns are spread over \
              the interval, so that these dots climb within it, and begin anew, on an idle machine too.",
    figures: &[
        ("median session request delay", "srd.p50"),
        ("answer delay", "answer_delay.p50"),
        ("time to first echo", "first_echo.p50"),
    ],
    applies: |_| true,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let mut keys: Vec<LegendKey<'_>> = delays(summary).map(|d| d.key).collect();
    if summary.calls.iter().any(|c| !c.ending.was_answered()) {
        keys.push(NOT_ANSWERED);
    }
    let is_timed = is_timed(summary);
    if is_timed {
        timeline::legend(canvas, keys, summary);
    } else {
        canvas.legend(&keys);
    }

    let [place] = canvas.rows([1.0]);
    let split = place.right - (place.right - place.left) * 3 / 10;
    let calls = Rect { right: split, ..place };
    let spread = Rect { left: split + canvas.px(1.5), ..place };
    let each = delays(summary).flat_map(|d| summary.calls.iter().filter_map(d.of)).map(Ns::as_ms);
    let ends = delays(summary).flat_map(|d| ["min", "max"].map(|key| d.value(summary, key)));
    let y = Axis::log_ms(each.chain(ends.flatten()), place.log_labels(canvas));
    let panel = Panel::new(canvas, calls, x_axis(canvas, is_timed, summary), y.clone());
    if is_timed {
        timeline::shade_phases(&panel, &summary.seconds);
    }
    panel.frame("each call, ms (logarithmic)");
    panel.x_axis(match (is_timed, canvas.is_narrow()) {
        (true, true) => "start, min:s",
        (true, false) => "start of the call, min:s",
        (false, true) => "call",
        (false, false) => "call, in the order of their starts",
    });
    if is_timed {
        faults::mark(&panel, summary);
    }
    let at = |call: &CallRecord| if is_timed { call.intended_s } else { f64::from(call.call) + 0.5 };
    per_call(&panel, at, summary);
    percentiles(canvas, spread, &y, summary);
}

/// True if the attempts are spread over the run. If all are made at its start, they would lie on top of
/// each other on the axis that charts over time share.
fn is_timed(summary: &Summary) -> bool {
    let last = summary.calls.iter().map(|c| c.intended_s).filter(|s| s.is_finite()).fold(0.0, f64::max);
    summary.seconds.last().is_some_and(|s| last > 0.25 * (f64::from(s.second) + 1.0))
}

/// The run's time, or the numbers of the calls.
fn x_axis(canvas: &Canvas, is_timed: bool, summary: &Summary) -> Axis {
    if is_timed {
        return timeline::axis(canvas, &summary.seconds);
    }
    let attempts = summary.calls.iter().map(|c| c.call.saturating_add(1)).max().unwrap_or(0);
    Axis::numbered(attempts, if canvas.is_narrow() { 5 } else { 11 })
}

/// Draws the delays of each call, at its place on the x axis.
fn per_call(panel: &Panel<'_>, at: impl Fn(&CallRecord) -> f64, summary: &Summary) {
    let canvas = panel.canvas;
    for delay in delays(summary) {
        // One dot a place is enough, however many calls.
        let (mut taken, mut shown) = (HashSet::new(), Vec::new());
        for call in &summary.calls {
            let Some(ms) = (delay.of)(call).map(Ns::as_ms) else { continue };
            let pixel = panel.pixel(at(call), ms);
            if taken.insert((pixel.0 / 4, pixel.1 / 4)) {
                shown.push((call, ms, pixel));
            }
        }
        panel.note_series(shown.iter().map(|(call, ms, _)| (at(call), *ms)), &delay.key);
        panel.note_names(shown.iter().map(|(call, ..)| (at(call), format!("call {}", call.call))));
        panel.series(&delay.key, || {
            shown.iter().for_each(|(.., pixel)| match delay.key.mark {
                Mark::Ring => canvas.ring(*pixel, delay.key.ink),
                _ => canvas.dot(*pixel, delay.key.ink),
            });
        });
    }
    let y = panel.place.top + canvas.px(0.5);
    let failed = summary.calls.iter().filter(|c| !c.ending.was_answered()).map(|c| panel.across(at(c)));
    let mut taken = HashSet::new();
    panel.series(&NOT_ANSWERED, || {
        failed.filter(|x| taken.insert(x / 4)).for_each(|x| canvas.cross((x, y), NOT_ANSWERED.ink));
    });
    if summary.calls.iter().all(|c| c.srd_ms.is_none()) {
        panel.message("no call was answered");
    }
}

/// Draws per delay a line from the smallest to the largest with marks at the percentiles.
fn percentiles(canvas: &Canvas, place: Rect, y: &Axis, summary: &Summary) {
    let is_too_few = |d: &SetupDelay, key| d.metric(summary, key).is_some_and(|m| m.too_few);
    let too_few = delays(summary).any(|d| PERCENTILES.iter().any(|key| is_too_few(d, key)));
    let name = |d: &SetupDelay| match canvas.is_narrow() {
        true => d.short.trim_start_matches("first "),
        false => d.short,
    };
    let names: Vec<&str> = delays(summary).map(name).collect();
    let panel = Panel::new(canvas, place, Axis::names(&names), y.clone());
    panel.bare_frame("all calls");
    panel.x_axis(if too_few && !canvas.is_narrow() { "* rests on too few calls" } else { "" });
    for (n, delay) in delays(summary).enumerate() {
        let (Some(min), Some(max)) = (delay.value(summary, "min"), delay.value(summary, "max")) else {
            continue;
        };
        let ink = delay.key.ink;
        let (x, bottom) = panel.pixel(n as f64, min);
        let (_, top) = panel.pixel(n as f64, max);
        canvas.path(&[(x, bottom), (x, top)], ink, canvas.px(0.1));
        let mut free_below = i32::MAX;
        for key in PERCENTILES {
            let Some(ms) = delay.value(summary, key) else { continue };
            let (_, at) = panel.pixel(n as f64, ms);
            let half = canvas.px(if key == "p50" { 0.55 } else { 0.35 });
            canvas.path(&[(x - half, at), (x + half, at)], ink, canvas.px(0.14));
            if at < free_below && !canvas.is_narrow() {
                let style = Style::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Center);
                let star = if is_too_few(delay, key) { "*" } else { "" };
                let beside = (x + canvas.px(0.75), at);
                canvas.text(&format!("{key} {ms:.1}{star}"), beside, Style { size: 0.8, ..style });
                free_below = at - canvas.px(0.9);
            }
        }
    }
}
