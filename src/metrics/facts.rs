//! Sums and distributions of one run, from which the metrics are computed.

use std::collections::{BTreeMap, BTreeSet};

use super::distribution::{Distribution, quantile};
use super::metric::Samples;
use super::per_call::Slack;
use super::{Part, Summary};
use crate::analysis::drift::theil_sen;
use crate::analysis::explain::{Explained, Tail, explain};
use crate::analysis::fault::Recovery;
use crate::analysis::mos::{Concealment, burst_r, mos, mouth_to_ear_ms, r_factor};
use crate::record::{
    CallRecord, Durations, Environment, Latencies, Offered, Phase, QualityRow, RegisterRecord, SecondRecord,
    Series, ServiceRecord, SignalRow, TurnRow,
};
use crate::values::{Ns, Value};

/// Samples beyond the 99th percentile without which no tail is explained.
const TAIL_SAMPLES: f64 = 100.0;

/// Codecs that the E-model's figures are of; empty in runs of older versions, which knew no others.
const G711: [&str; 3] = ["", "PCMU", "PCMA"];

/// The records as they are, or as the instrument's doubt allows them to be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    Recorded,
    /// Packets count from the time the schedule intended; those that the driver skipped, that the kernel
    /// refused and that the driver's sockets dropped are lost and late.
    Worst,
    /// The driver's own losses came back; times are those of these quiet seconds alone.
    Best(&'a BTreeSet<u32>),
}

/// A run's records, and sums of them that several metrics need.
pub(super) struct Facts<'a> {
    pub environment: &'a Environment,
    pub calls: &'a [CallRecord],
    pub seconds: &'a [SecondRecord],
    pub faults: &'a [Recovery],
    pub(super) turn_rows: &'a [TurnRow],
    pub(super) signal_rows: &'a [SignalRow],
    pub(super) quality_rows: &'a [QualityRow],
    pub(super) reading: Reading<'a>,
    pub part: Part,
    histograms: BTreeMap<Series, Latencies>,
    empty: Latencies,
    pub sent: u64,
    pub lost: u64,
    /// Lost packets that rank behind the histograms.
    ranked_lost: u64,
}

impl<'a> Facts<'a> {
    /// The facts of a finished run as recorded.
    pub fn recorded(summary: &'a Summary) -> Self {
        Facts::read(summary, Reading::Recorded, |_| true)
    }

    /// The same in the worst reading.
    pub fn worst(summary: &'a Summary) -> Self {
        let mut facts = Facts::read(summary, Reading::Worst, |_| true);
        let skipped = facts.environment.skipped;
        facts.sent += skipped;
        facts.lost += skipped;
        facts.ranked_lost += skipped;
        if let Some(intended) = facts.histograms.get(&Series::RttIntended) {
            facts.histograms.insert(Series::Rtt, intended.clone());
        }
        facts
    }

    /// The same in the best reading.
    pub fn best(summary: &'a Summary, quiet: &'a BTreeSet<u32>) -> Self {
        let mut facts = Facts::read(summary, Reading::Best(quiet), |second| quiet.contains(&second));
        facts.lost = facts.lost.saturating_sub(facts.own_losses());
        let sent: u64 = facts.in_quiet(|second| second.measured_sent).unwrap_or_default();
        facts.ranked_lost = sent.saturating_sub(facts.histogram(Series::Rtt).len());
        // A call's smallest round trip is known at its end only, so the series is not one by seconds.
        facts.histograms.remove(&Series::Pdv);
        facts
    }

    fn read(summary: &'a Summary, reading: Reading<'a>, among: impl Fn(u32) -> bool) -> Self {
        let Summary { environment, calls, seconds, faults, turns, signals, quality, intervals, .. } = summary;
        let histograms = intervals.totals_among(among);
        let (sent, lost) = match summary.part {
            Part::Whole => (calls.iter().map(|c| c.sent).sum(), calls.iter().map(|c| c.lost).sum()),
            Part::Stage => {
                let sent = seconds.iter().map(|s| s.measured_sent).sum::<u64>();
                let back = intervals.totals_among(|_| true).get(&Series::Rtt).map_or(0, Latencies::len);
                (sent, sent.saturating_sub(back))
            }
        };
        Facts {
            environment,
            calls,
            seconds,
            faults,
            turn_rows: turns,
            signal_rows: signals,
            quality_rows: quality,
            reading,
            part: summary.part,
            histograms,
            empty: Latencies::default(),
            sent,
            lost,
            ranked_lost: lost,
        }
    }

    /// Datagrams that the driver's own sockets and queues dropped, all phases.
    fn dropped(&self) -> u64 {
        self.seconds_sum(|s| s.socket_drops) + self.environment.impair_overflows
    }

    /// Packets among the lost that the driver or its kernel lost, at most.
    pub fn own_losses(&self) -> u64 {
        self.dropped() + self.environment.unsent
    }

    /// The driver's own losses and lateness, any of which may have been one call's.
    pub fn slack(&self) -> Slack {
        let lateness = self.histogram(Series::SendLateness).max().map(Ns);
        Slack { skipped: self.environment.skipped, own_losses: self.own_losses(), lateness }
    }

    /// Sum over the quiet seconds; `None` where there is none.
    fn in_quiet(&self, of: fn(&SecondRecord) -> u64) -> Option<u64> {
        let Reading::Best(quiet) = self.reading else { return None };
        let seconds = self.seconds.iter().filter(|s| quiet.contains(&s.second));
        seconds.map(of).reduce(|a, b| a + b)
    }

    /// A figure that only a record gives, where the doubt leaves it as it is at worst: a late driver can
    /// have made it larger, and nobody knows by how much.
    pub fn at_worst(&self, of: impl FnOnce() -> Value) -> Value {
        if matches!(self.reading, Reading::Best(_)) { Value::NoData } else { of() }
    }

    /// A figure of which the doubt leaves nothing.
    pub fn in_no_doubt(&self, of: impl FnOnce() -> Value) -> Value {
        if matches!(self.reading, Reading::Recorded) { of() } else { Value::NoData }
    }

    /// The part that the worst reading alone adds.
    fn if_worst(&self, more: u64) -> u64 {
        if matches!(self.reading, Reading::Worst) { more } else { 0 }
    }

    /// Losses of the driver itself that came back in the best reading, and in no other.
    fn own_losses_back(&self) -> u64 {
        if matches!(self.reading, Reading::Best(_)) { self.own_losses() } else { 0 }
    }

    /// A count of what was seen among the packets that came back: more may have been among those dropped.
    pub fn seen(&self, of: fn(&CallRecord) -> u64) -> u64 {
        self.sum(of) + self.if_worst(self.dropped())
    }

    /// Packets that came back.
    pub fn received(&self) -> u64 {
        let received = match self.part {
            Part::Whole => self.sum(|c| c.received),
            // In the best reading the losses of the driver's own are taken off already.
            Part::Stage => return self.sent.saturating_sub(self.lost),
        };
        (received + self.own_losses_back()).min(self.sent)
    }

    /// Packets late for a playout depth, and the packets sent that they are among.
    fn late(&self, depth_ms: f64, of: fn(&CallRecord) -> u64) -> Option<(u64, u64)> {
        match self.reading {
            Reading::Best(_) => self.late_in_quiet(depth_ms),
            _ => {
                let more = self.if_worst(self.own_losses() + self.environment.skipped);
                match self.part {
                    Part::Whole => Some((self.sum(of) + more, self.sent)),
                    Part::Stage => {
                        let held = |of: fn(&SecondRecord) -> u64| self.held().map(of).sum::<u64>();
                        Some((
                            held(|s| s.late) + more,
                            held(|s| s.sent) + self.if_worst(self.environment.skipped),
                        ))
                    }
                }
            }
        }
    }

    /// The same in the quiet seconds. Only the scenario's own depth is counted by second; at any other those
    /// packets are certain that would be late for the call whose fastest packet was the slowest.
    fn late_in_quiet(&self, depth_ms: f64) -> Option<(u64, u64)> {
        if depth_ms == self.environment.late_after_ms {
            return Some((self.in_quiet(|s| s.late)?, self.in_quiet(|s| s.sent)?));
        }
        let sent = self.in_quiet(|s| s.measured_sent)?;
        let slowest_ms = self.calls.iter().filter_map(|c| c.rtt_min_ms).max()?.as_ms() + depth_ms;
        let is_late = |(ns, _): &(u64, u64)| Ns(*ns).as_ms() > slowest_ms;
        Some((self.histogram(Series::Rtt).counts().filter(is_late).map(|(_, count)| count).sum(), sent))
    }

    /// The share of packets late for a playout depth.
    pub fn late_ratio(&self, depth_ms: f64, of: fn(&CallRecord) -> u64) -> Value {
        self.late(depth_ms, of).map_or(Value::NoData, |(late, sent)| ratio(late, sent))
    }

    /// Packets late for the scenario's playout depth.
    fn late_for_scenario(&self) -> Option<(u64, u64)> {
        self.late(self.environment.late_after_ms, |c| c.late).filter(|(_, sent)| *sent > 0)
    }

    /// Their number; without a packet sent, zero would say more than is known.
    pub fn late_count(&self) -> Value {
        self.late_for_scenario().map_or(Value::NoData, |(late, _)| number(late))
    }

    /// The samples of a statistic.
    pub fn distribution(&self, samples: Samples) -> Distribution<'_> {
        match samples {
            Samples::Packets(series) => self.series(series),
            Samples::Calls(of) => self.delays(of),
            Samples::Service(of) => self.service_times(of),
            Samples::Turns(of) => sorted(self.quiet_turns().filter_map(of).map(|time| time.0)),
            Samples::Signals(of) => sorted(self.quiet_signals().filter_map(of).map(|time| time.0)),
            Samples::Register(of) => Distribution::Service(
                self.environment.register.as_ref().map(|record| of(record).milliseconds()),
            ),
        }
    }

    /// The times of one series over the measured window.
    fn series(&self, series: Series) -> Distribution<'_> {
        let back = self.histogram(series);
        let lost = self.lost_of(series);
        let is_from_intention = matches!(series, Series::Rtt | Series::RttIntended);
        let later = matches!(self.reading, Reading::Worst).then(|| self.histogram(Series::SendLateness));
        Distribution::Packets { back, lost, later: later.filter(|_| !is_from_intention) }
    }

    /// Lost packets, which rank as slower than any that came back: not in the instrument's own times, and not
    /// where the far end does not stamp at all.
    pub fn lost_of(&self, series: Series) -> u64 {
        match series {
            _ if !series.has_losses() => 0,
            Series::Control => self.held().map(SecondRecord::control_lost).sum(),
            Series::Rtt | Series::RttIntended => self.ranked_lost,
            _ if self.histogram(series).is_empty() => 0,
            _ => self.ranked_lost,
        }
    }

    pub fn histogram(&self, series: Series) -> &Latencies {
        self.histograms.get(&series).unwrap_or(&self.empty)
    }

    /// A delay of each call that has it: at worst from when the schedule wanted its INVITE, at best not
    /// known.
    fn delays(&self, of: fn(&CallRecord) -> Option<Ns>) -> Distribution<'_> {
        let delay = |call: &CallRecord| {
            let delay = of(call)?.0;
            match self.reading {
                Reading::Recorded => Some(delay),
                Reading::Worst => Some(delay.saturating_add(call.invite_late_ms.0)),
                Reading::Best(_) => None,
            }
        };
        sorted(self.calls.iter().filter_map(delay))
    }

    /// A time that the built-in service has summed up, at best not known.
    fn service_times(&self, of: fn(&ServiceRecord) -> &Durations) -> Distribution<'_> {
        let is_known = !matches!(self.reading, Reading::Best(_));
        let record = self.environment.service_record.as_ref().filter(|_| is_known);
        Distribution::Service(record.map(|record| of(record).milliseconds()))
    }

    /// A count of the built-in service; no data from another.
    pub fn service_count(&self, of: fn(&ServiceRecord) -> u64) -> Value {
        self.environment.service_record.as_ref().map_or(Value::NoData, |record| number(of(record)))
    }

    /// A figure of the registrations; no data where there are none.
    pub fn registered(&self, of: fn(&RegisterRecord) -> Value) -> Value {
        self.environment.register.as_ref().map_or(Value::NoData, of)
    }

    /// A figure of an open load; no data of a closed one.
    pub fn offered(&self, of: impl FnOnce(&Offered) -> Value) -> Value {
        self.environment.offered.as_ref().map_or(Value::NoData, of)
    }

    /// Share of the calls wanted that was up at the start; an open load wants no number of calls.
    pub fn held_of_wanted(&self) -> Value {
        match self.environment.offered {
            Some(_) => Value::NoData,
            None => ratio(self.environment.calls_at_start.into(), self.environment.calls.into()),
        }
    }

    /// Count of the calls that are so.
    pub fn count(&self, is: impl Fn(&CallRecord) -> bool) -> u64 {
        self.calls.iter().filter(|call| is(call)).count() as u64
    }

    /// Count of the attempts that got one of these final answers.
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

    /// A figure of the packets received and decrypted of the calls whose media are protected; no data without any.
    pub fn protected(&self, of: fn((u64, u64)) -> u64) -> Value {
        let counts = self.calls.iter().filter_map(|c| c.srtp_received.zip(c.srtp_decrypted));
        counts.map(of).reduce(|a, b| a + b).map_or(Value::NoData, number)
    }

    /// A part of the lost over the calls whose far end stamps; no data where none does.
    pub fn attributed(&self, of: fn(&CallRecord) -> Option<u64>) -> Value {
        let lost = self.calls.iter().filter_map(of).reduce(|a, b| a + b);
        let skipped = self.if_worst(self.environment.skipped);
        lost.map_or(Value::NoData, |lost| number((lost + skipped).saturating_sub(self.own_losses_back())))
    }

    /// A count of packets; without a packet sent, zero would say more than is known, unless none was to be sent.
    pub fn when_sent(&self, count: u64) -> Value {
        if self.sent == 0 && !self.are_all_on_hold() { Value::NoData } else { number(count) }
    }

    /// True if far ends have put every call that they answered on hold: nothing was to be sent then.
    fn are_all_on_hold(&self) -> bool {
        let mut answered = self.calls.iter().filter(|call| call.ending.was_answered()).peekable();
        answered.peek().is_some() && answered.all(|call| call.holds > 0)
    }

    /// The largest of a figure of the calls, of which nothing is known in doubt.
    pub fn largest(&self, of: fn(&CallRecord) -> Option<f64>) -> Value {
        self.in_no_doubt(|| known(self.calls.iter().filter_map(of).reduce(f64::max)))
    }

    /// Mean length of the runs of lost packets.
    pub fn mean_burst(&self) -> Option<f64> {
        let runs = self.sum(|c| c.lost_runs);
        (runs > 0).then(|| self.lost as f64 / runs as f64)
    }

    /// The E-model's estimate for the average packet, over all calls alike. Its figures are those of G.711.
    pub fn mos(&self, concealment: Concealment) -> Value {
        if !G711.contains(&self.environment.codec.as_str()) {
            return Value::NoData;
        }
        let median = quantile(self.histogram(Series::Rtt), 0.5, self.ranked_lost).number();
        let (Some(rtt_ms), Some((late, among)), sent @ 1..) = (median, self.late_for_scenario(), self.sent)
        else {
            return Value::NoData;
        };
        let environment = self.environment;
        let ta = mouth_to_ear_ms(rtt_ms, environment.ptime_ms as f64, environment.late_after_ms);
        let (lost, late) = (self.lost as f64 / sent as f64, late as f64 / among as f64);
        let burst = self.mean_burst().map_or(1.0, |mean| burst_r(lost, mean));
        known(Some(mos(r_factor(ta, 100.0 * (lost + late), burst, concealment))))
    }

    /// The part of the calls' tail that the machine explains; `None` on too few samples, and where the
    /// calls' packets were held back on purpose: the control stream's were not.
    pub fn explained(&self) -> Option<Explained> {
        let tail = |series: Series| {
            let (back, lost) = (self.histogram(series), self.lost_of(series));
            let enough = (back.len() + lost) as f64 * (1.0 - 0.99) >= TAIL_SAMPLES;
            let tail = Tail::between(quantile(back, 0.5, lost), quantile(back, 0.99, lost));
            tail.filter(|_| enough && !self.environment.impaired)
        };
        explain(tail(Series::Rtt)?, tail(Series::Control)?)
    }

    /// A count of control packets; no data without a control stream.
    pub fn control_count(&self, count: u64) -> Value {
        let is_there = self.held().any(|s| s.control_sent > 0);
        if is_there { number(count) } else { Value::NoData }
    }

    /// The seconds of the hold phase.
    fn held(&self) -> impl Iterator<Item = &SecondRecord> {
        self.seconds.iter().filter(|s| s.phase == Phase::Hold)
    }

    /// Average over the seconds of the hold phase.
    pub fn held_mean(&self, of: impl Fn(&SecondRecord) -> Option<f64>) -> Value {
        let values: Vec<f64> = self.held().filter_map(of).collect();
        known((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
    }

    /// Largest in the seconds of the hold phase.
    pub fn held_max(&self, of: fn(&SecondRecord) -> Option<f64>) -> Value {
        known(self.held().filter_map(of).reduce(f64::max))
    }

    /// Growth over the hold phase, per minute: the median of the slopes between any two seconds (Theil-Sen).
    pub fn held_growth(&self, of: fn(&SecondRecord) -> Option<f64>) -> Value {
        let points: Vec<_> =
            self.held().filter_map(|second| Some((f64::from(second.second), of(second)?))).collect();
        known(theil_sen(&points))
    }

    /// Sum over all seconds.
    pub fn seconds_sum(&self, of: fn(&SecondRecord) -> u64) -> u64 {
        self.seconds.iter().map(of).sum()
    }

    /// A sum over the planned faults; no data without any.
    pub fn fault_sum(&self, of: fn(&Recovery) -> u64) -> Value {
        match self.faults {
            [] => Value::NoData,
            faults => number(faults.iter().map(of).sum()),
        }
    }

    /// The longest of a duration, in milliseconds; `Lost` where one never ended (`None`). A fault for
    /// which it means nothing (`Some(None)`) is passed over. In doubt it is not known at best, nor at worst
    /// where a planned fault did not take its course.
    pub fn slowest(&self, of: fn(&Recovery) -> Option<Option<f64>>) -> Value {
        let is_known = match self.reading {
            Reading::Recorded => true,
            Reading::Worst => self.environment.faults_undone == 0,
            Reading::Best(_) => false,
        };
        if !is_known {
            return Value::NoData;
        }
        let durations: Option<Vec<_>> = self.faults.iter().map(of).collect();
        let Some(durations) = durations else { return Value::Lost };
        known(durations.into_iter().flatten().reduce(f64::max).map(|s| s * 1000.0))
    }

    /// Leftovers of one kind, or of all.
    pub fn leaked(&self, kind: Option<&str>) -> Value {
        self.environment.leaks.total(kind).map_or(Value::NoData, number)
    }
}

pub(super) fn number(n: u64) -> Value {
    Value::Number(n as f64)
}

pub(super) fn ratio(part: u64, whole: u64) -> Value {
    known((whole > 0).then(|| part as f64 / whole as f64))
}

/// A number, or no data.
pub(super) fn known(n: Option<f64>) -> Value {
    n.map_or(Value::NoData, Value::Number)
}

/// Distribution of single times in nanoseconds.
pub(super) fn sorted(times: impl Iterator<Item = u64>) -> Distribution<'static> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    Distribution::Calls(times)
}
