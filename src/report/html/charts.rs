//! The charts on the page: what stands below each, what a screen reader says of it, and the values that
//! the page's script shows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures;
use crate::metrics::Summary;
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

/// All charts of the page.
pub(super) struct Charts {
    pub rtt_over_time: Chart,
    pub rtt_distribution: Chart,
    pub where_time_goes: Chart,
    pub calls_and_loss: Chart,
    pub setup_times: Chart,
    pub rtt_by_call: Chart,
    pub cpu: Chart,
}

impl Charts {
    pub(super) fn of(summary: &Summary) -> Result<Charts, ReportError> {
        let chart = |plot| chart(plot, summary);
        Ok(Charts {
            rtt_over_time: chart(Plot::RttOverTime)?,
            rtt_distribution: chart(Plot::RttDistribution)?,
            where_time_goes: chart(Plot::WhereTimeGoes)?,
            calls_and_loss: chart(Plot::CallsAndLoss)?,
            setup_times: chart(Plot::SetupTimes)?,
            rtt_by_call: chart(Plot::RttByCall)?,
            cpu: chart(Plot::Cpu)?,
        })
    }

    /// Their values as JSON that can stand in a script element, whatever is in it.
    pub(super) fn values(&self) -> Result<String, ReportError> {
        let all = [
            &self.rtt_over_time,
            &self.rtt_distribution,
            &self.where_time_goes,
            &self.calls_and_loss,
            &self.setup_times,
            &self.rtt_by_call,
            &self.cpu,
        ];
        let by_id: BTreeMap<_, _> = all.into_iter().map(|chart| (chart.id, &chart.notes)).collect();
        Ok(serde_json::to_string(&by_id)?.replace('<', "\\u003c"))
    }
}

fn chart(plot: Plot, summary: &Summary) -> Result<Chart, ReportError> {
    let label = format!("Chart. {}: {}", plot.title(), said(plot, summary));
    let (wide, notes) = plot.inline(summary, Look::WIDE, &label)?;
    let (narrow, of_narrow) = plot.inline(summary, Look::NARROW, &label)?;
    let notes =
        Values { keys: notes.keys, panels: notes.panels, wide: notes.frames, narrow: of_narrow.frames };
    Ok(Chart { id: plot.name(), title: plot.title(), wide, narrow, caption: caption(plot), notes })
}

/// How to read it.
fn caption(plot: Plot) -> &'static str {
    match plot {
        Plot::RttOverTime => {
            "Each line is one percentile of the packets that came back of a second (lost ones are marked at the top): lines that rise together are a \
             queue, a top line that leaves the others is a stall of a few packets."
        }
        Plot::RttDistribution => {
            "Each nine to the right leaves a tenth of the packets above it; where the two round trips part, \
             the load generator sent late and the system under test is not to blame."
        }
        Plot::WhereTimeGoes => {
            "The part that reaches as far to the right as the round trip is where slow packets lost their \
             time; what the control stream reaches is the machine's doing. Percentiles of parts do not add up."
        }
        Plot::CallsAndLoss => {
            "Loss and lateness in one spike are an event worth finding in a log; spread evenly they are load."
        }
        Plot::SetupTimes => {
            "A dot is one call; dots that climb to the right mean that each call made the next one wait."
        }
        Plot::RttByCall => {
            "A bright row is a slow call, a bright column a slow second of all calls, a bright spot a slow \
             second of one call."
        }
        Plot::Cpu => {
            "A program that reaches the number of its busy threads in cores is the bottleneck; steal is time \
             the machine did not have."
        }
    }
}

/// Its figures in words.
fn said(plot: Plot, summary: &Summary) -> String {
    let named: &[(&str, &str)] = match plot {
        Plot::RttOverTime => &[("median", "rtt.p50"), ("99th percentile", "rtt.p99"), ("largest", "rtt.max")],
        Plot::RttDistribution => &[
            ("median", "rtt.p50"),
            ("99th percentile", "rtt.p99"),
            ("99.9th percentile", "rtt.p99.9"),
            ("lost", "loss.ratio"),
        ],
        Plot::WhereTimeGoes => &[
            ("99th percentiles: up", "up.p99"),
            ("in the service", "service_time.p99"),
            ("down", "down.p99"),
            ("control stream", "control.p99"),
        ],
        Plot::CallsAndLoss => &[
            ("attempts", "calls.attempts"),
            ("failed", "calls.failed_count"),
            ("packets lost", "loss.count"),
            ("late", "late.count"),
        ],
        Plot::SetupTimes => &[
            ("median session request delay", "srd.p50"),
            ("answer delay", "answer_delay.p50"),
            ("time to first echo", "first_echo.p50"),
        ],
        Plot::RttByCall => &[
            ("calls answered", "calls.answered_count"),
            ("median round trip", "rtt.p50"),
            ("calls never heard", "calls.silent_count"),
        ],
        Plot::Cpu => &[
            ("mean cores busy: driver", "cpu.driver_mean"),
            ("service", "cpu.service_mean"),
            ("Asterisk", "cpu.asterisk_mean"),
        ],
    };
    let figure = |(words, name): &(&str, &str)| format!("{words} {}", figures::figure(summary, name).shown);
    named.iter().map(figure).collect::<Vec<_>>().join(", ")
}
