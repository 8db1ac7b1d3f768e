//! The page's charts: drawn in two shapes, with the values that its script shows.

use serde::Serialize;

use super::figures;
use crate::analysis::Summary;
use crate::report::ReportError;
use crate::report::plots::{Frame, KeyNote, Look, PanelNote, Plot};

/// A chart in both shapes, of which the page shows the one that fits.
pub(super) struct Chart {
    pub id: &'static str,
    pub title: &'static str,
    pub wide: String,
    pub narrow: String,
    pub caption: &'static str,
    notes: Values,
}

/// What the script knows of a chart.
#[derive(Serialize)]
struct Values {
    keys: Vec<KeyNote>,
    panels: Vec<PanelNote>,
    /// Where the panels lie in the wide shape, and in the narrow one.
    wide: Vec<Frame>,
    narrow: Vec<Frame>,
}

/// The values of the charts as JSON that can stand in a script element, whatever is in it.
pub(super) fn values(charts: &[&Chart]) -> Result<String, ReportError> {
    let by_id: std::collections::BTreeMap<_, _> = charts.iter().map(|chart| (chart.id, &chart.notes)).collect();
    Ok(serde_json::to_string(&by_id)?.replace('<', "\\u003c"))
}

pub(super) fn chart(plot: Plot, summary: &Summary) -> Result<Chart, ReportError> {
    let (id, caption, said) = told(plot, summary);
    let label = format!("Chart. {}: {said}", plot.title());
    let (wide, notes) = plot.inline(summary, Look::WIDE, &label)?;
    let (narrow, of_narrow) = plot.inline(summary, Look::NARROW, &label)?;
    let notes = Values { keys: notes.keys, panels: notes.panels, wide: notes.frames, narrow: of_narrow.frames };
    Ok(Chart { id, title: plot.title(), wide, narrow, caption, notes })
}

/// A chart's name, caption, and what a screen reader says of it.
fn told(plot: Plot, summary: &Summary) -> (&'static str, &'static str, String) {
    let figure = |name| figures::figure(summary, name).shown;
    match plot {
        Plot::RttOverTime => (
            "rtt-over-time",
            "Each line is one percentile of the packets sent in a second: lines that rise together are a \
             queue, a top line that leaves the others is a stall of a few packets.",
            format!(
                "median {}, 99th percentile {}, largest {}",
                figure("rtt.p50"),
                figure("rtt.p99"),
                figure("rtt.max")
            ),
        ),
        Plot::RttDistribution => (
            "rtt-distribution",
            "Each nine to the right leaves a tenth of the packets above it; where the two round trips part, \
             the load generator sent late and the system under test is not to blame.",
            format!(
                "median {}, 99th percentile {}, 99.9th percentile {}, lost {}",
                figure("rtt.p50"),
                figure("rtt.p99"),
                figure("rtt.p99.9"),
                figure("loss.ratio")
            ),
        ),
        Plot::CallsAndLoss => (
            "calls-and-loss",
            "Loss and lateness in one spike are an event worth finding in a log; spread evenly they are load.",
            format!(
                "attempts {}, failed {}, packets lost {}, late {}",
                figure("calls.attempts"),
                figure("calls.failed_count"),
                figure("loss.count"),
                figure("late.count")
            ),
        ),
        Plot::SetupTimes => (
            "setup-times",
            "A dot is one call; dots that climb to the right mean that each call made the next one wait.",
            format!(
                "median session request delay {}, answer delay {}, time to first echo {}",
                figure("srd.p50"),
                figure("answer_delay.p50"),
                figure("first_echo.p50")
            ),
        ),
        Plot::Cpu => (
            "cpu",
            "A program that reaches the number of its busy threads in cores is the bottleneck; steal is time \
             the machine did not have.",
            format!(
                "mean cores busy: driver {}, service {}, Asterisk {}",
                figure("cpu.driver_mean"),
                figure("cpu.service_mean"),
                figure("cpu.asterisk_mean")
            ),
        ),
    }
}
