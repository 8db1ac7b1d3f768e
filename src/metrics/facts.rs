//! Sums and distributions of one run, from which the metrics are computed.

use std::collections::BTreeMap;

use super::distribution::{Distribution, quantile};
use super::metric::Measured;
use crate::analysis::explain::{Explained, Tail, explain};
use crate::analysis::fault::Recovery;
use crate::analysis::mos::{Concealment, burst_r, mos, mouth_to_ear_ms, r_factor};
use crate::record::{
    CallRecord, Environment, Latencies, Milliseconds, Phase, Run, SecondRecord, Series, ServiceRecord,
};
use crate::values::{Ns, Value};

/// Samples beyond the 99th percentile without which no tail is explained.
const TAIL_SAMPLES: f64 = 100.0;

/// A run's records, and what several metrics need of them.
pub(super) struct Facts<'a> {
    pub environment: &'a Environment,
    pub calls: &'a [CallRecord],
    pub seconds: &'a [SecondRecord],
    pub faults: &'a [Recovery],
    histograms: BTreeMap<Series, Latencies>,
    empty: Latencies,
    pub sent: u64,
    pub lost: u64,
}

impl<'a> Facts<'a> {
    pub fn of(run: &'a Run, faults: &'a [Recovery]) -> Self {
        Facts {
            environment: &run.environment,
            calls: &run.calls,
            seconds: &run.seconds,
            faults,
            histograms: run.intervals.totals(),
            empty: Latencies::default(),
            sent: run.calls.iter().map(|c| c.sent).sum(),
            lost: run.calls.iter().map(|c| c.lost).sum(),
        }
    }

    /// The times of one series over the measured window.
    pub fn series(&self, series: Series) -> Distribution<'_> {
        let back = self.histogram(series);
        // Lost packets rank last in what a caller feels: not in the instrument's own times, and not where
        // the far end does not stamp at all.
        let lost = match series {
            Series::SendLateness | Series::SendCall | Series::ReceiveLag | Series::Control | Series::Ipdv => {
                0
            }
            Series::Rtt | Series::RttIntended => self.lost,
            _ if back.is_empty() => 0,
            _ => self.lost,
        };
        Distribution::Packets { back, lost }
    }

    pub fn histogram(&self, series: Series) -> &Latencies {
        self.histograms.get(&series).unwrap_or(&self.empty)
    }

    /// A delay of each call that has it.
    pub fn delays(&self, of: fn(&CallRecord) -> Option<Ns>) -> Distribution<'_> {
        let mut delays: Vec<u64> = self.calls.iter().filter_map(of).map(|ns| ns.0).collect();
        delays.sort_unstable();
        Distribution::Calls(delays)
    }

    /// A time that the built-in service has summed up.
    pub fn service_times(&self, of: fn(&ServiceRecord) -> Milliseconds) -> Distribution<'_> {
        Distribution::Service(self.environment.service_record.as_ref().map(of))
    }

    /// A count of the built-in service; no data from another.
    pub fn service_count(&self, of: fn(&ServiceRecord) -> u64) -> Measured {
        self.environment.service_record.as_ref().map_or(Value::NoData.into(), |record| number(of(record)))
    }

    /// How many calls are so.
    pub fn count(&self, is: impl Fn(&CallRecord) -> bool) -> u64 {
        self.calls.iter().filter(|call| is(call)).count() as u64
    }

    /// How many attempts got one of these final answers.
    pub fn with_status(&self, codes: &[u16]) -> u64 {
        self.count(|call| call.status.is_some_and(|status| codes.contains(&status)))
    }

    /// Attempts that the session establishment ratios are over: all that were not redirected.
    pub fn not_redirected(&self) -> u64 {
        self.count(|call| !call.status.is_some_and(|status| (300..400).contains(&status)))
    }

    pub fn answered(&self) -> u64 {
        self.count(|call| call.ending.was_answered())
    }

    pub fn attempts(&self) -> u64 {
        self.calls.len() as u64
    }

    /// Sum over all calls.
    pub fn sum(&self, of: impl Fn(&CallRecord) -> u64) -> u64 {
        self.calls.iter().map(of).sum()
    }

    /// A sum over the calls whose far end stamps; no data where none does.
    pub fn attributed(&self, of: fn(&CallRecord) -> Option<u64>) -> Measured {
        self.calls.iter().filter_map(of).reduce(|a, b| a + b).map_or(Value::NoData.into(), number)
    }

    /// A count of packets; without a packet sent, zero would say more than is known.
    pub fn when_sent(&self, count: u64) -> Measured {
        if self.sent == 0 { Value::NoData.into() } else { number(count) }
    }

    /// A share of the packets sent.
    pub fn of_sent(&self, part: u64) -> Measured {
        ratio(part, self.sent)
    }

    /// The largest of a figure of the calls.
    pub fn largest(&self, of: fn(&CallRecord) -> Option<f64>) -> Measured {
        known(self.calls.iter().filter_map(of).reduce(f64::max))
    }

    /// Mean length of the runs of lost packets.
    pub fn mean_burst(&self) -> Option<f64> {
        let runs = self.sum(|c| c.lost_runs);
        (runs > 0).then(|| self.lost as f64 / runs as f64)
    }

    /// The E-model's estimate for the average packet, over all calls alike.
    pub fn mos(&self, concealment: Concealment) -> Measured {
        let median = quantile(self.histogram(Series::Rtt), 0.5, self.lost).number();
        let (Some(rtt_ms), sent @ 1..) = (median, self.sent) else { return Value::NoData.into() };
        let environment = self.environment;
        let ta = mouth_to_ear_ms(rtt_ms, environment.ptime_ms as f64, environment.late_after_ms);
        let ppl = 100.0 * (self.lost + self.sum(|c| c.late)) as f64 / sent as f64;
        let burst = self.mean_burst().map_or(1.0, |mean| burst_r(self.lost as f64 / sent as f64, mean));
        known(Some(mos(r_factor(ta, ppl, burst, concealment))))
    }

    /// The part of the calls' tail that the machine explains; `None` on too few samples, and where the
    /// calls' packets were held back on purpose: the control stream's were not.
    pub fn explained(&self) -> Option<Explained> {
        let tail = |series: Series, lost: u64| {
            let back = self.histogram(series);
            let enough = (back.len() + lost) as f64 * (1.0 - 0.99) >= TAIL_SAMPLES;
            let tail = Tail::between(quantile(back, 0.5, lost), quantile(back, 0.99, lost));
            tail.filter(|_| enough && !self.environment.impaired)
        };
        let (sent, received) = self.control();
        explain(tail(Series::Rtt, self.lost)?, tail(Series::Control, sent.saturating_sub(received))?)
    }

    /// Control packets sent in the seconds of the hold phase, and those of them that came back.
    pub fn control(&self) -> (u64, u64) {
        self.held().fold((0, 0), |(sent, received), s| (sent + s.control_sent, received + s.control_received))
    }

    /// A count of control packets; no data without a control stream.
    pub fn control_count(&self, of: fn(sent: u64, received: u64) -> u64) -> Measured {
        match self.control() {
            (0, _) => Value::NoData.into(),
            (sent, received) => number(of(sent, received)),
        }
    }

    /// The seconds of the hold phase.
    fn held(&self) -> impl Iterator<Item = &SecondRecord> {
        self.seconds.iter().filter(|s| s.phase == Phase::Hold)
    }

    /// Average over the seconds of the hold phase.
    pub fn held_mean(&self, of: fn(&SecondRecord) -> Option<f64>) -> Measured {
        let values: Vec<f64> = self.held().filter_map(of).collect();
        known((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
    }

    /// Largest in the seconds of the hold phase.
    pub fn held_max(&self, of: fn(&SecondRecord) -> Option<f64>) -> Measured {
        known(self.held().filter_map(of).reduce(f64::max))
    }

    /// Sum over all seconds.
    pub fn seconds_sum(&self, of: fn(&SecondRecord) -> u64) -> u64 {
        self.seconds.iter().map(of).sum()
    }

    /// A sum over the planned faults; no data without any.
    pub fn fault_sum(&self, of: fn(&Recovery) -> u64) -> Measured {
        match self.faults {
            [] => Value::NoData.into(),
            faults => number(faults.iter().map(of).sum()),
        }
    }

    /// The longest of a duration, in milliseconds; `Lost` where one never ended (`None`). A fault for
    /// which it means nothing (`Some(None)`) is passed over.
    pub fn slowest(&self, of: fn(&Recovery) -> Option<Option<f64>>) -> Measured {
        let durations: Option<Vec<_>> = self.faults.iter().map(of).collect();
        let Some(durations) = durations else { return Value::Lost.into() };
        known(durations.into_iter().flatten().reduce(f64::max).map(|s| s * 1000.0))
    }

    /// Leftovers of one kind, or of all.
    pub fn leaked(&self, kind: Option<&str>) -> Measured {
        self.environment.leaks.total(kind).map_or(Value::NoData.into(), number)
    }
}

pub(super) fn number(n: u64) -> Measured {
    Value::Number(n as f64).into()
}

pub(super) fn ratio(part: u64, whole: u64) -> Measured {
    known((whole > 0).then(|| part as f64 / whole as f64))
}

/// A number, or no data.
pub(super) fn known(n: Option<f64>) -> Measured {
    n.map_or(Value::NoData, Value::Number).into()
}
