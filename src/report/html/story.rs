//! The story of one call: its record, its slowest seconds, and faults and stalls during it.

use crate::analysis::fault::Recovery;
use crate::metrics::Summary;
use crate::record::{CallRecord, QualityRow, SecondRecord, Silence};
use crate::values::Ns;

/// A call's life as far as the records know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Story<'a> {
    /// Its record.
    pub call: &'a CallRecord,
    /// Its end in seconds since the run's start; `None` for a call that was not answered.
    pub ended_s: Option<f64>,
    /// The second with its highest median, if anything came back.
    pub worst: Option<Moment<'a>>,
    /// The second of its slowest packet, if no other second and no other call had one as slow.
    pub slowest: Option<Moment<'a>>,
    /// Stretches in which nothing came back.
    pub silences: Vec<Silence>,
    /// Faults while it lasted.
    pub faults: Vec<&'a Recovery>,
    /// The passage of the lowest score, if it read aloud, and the number of those that have one.
    pub passage: Option<(&'a QualityRow, u64)>,
}

/// A second of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment<'a> {
    /// Whole seconds since the run's start.
    pub second: u32,
    /// The call's median RTT, or that of its slowest packet, in ms.
    pub rtt_ms: f64,
    /// All calls together.
    pub all: Option<&'a SecondRecord>,
    /// The control stream's 99th percentile, if it was far above the usual.
    pub control: Option<Unusual>,
    /// The driver's largest send lateness, if it was far above the usual.
    pub lateness: Option<Unusual>,
    /// The control stream came back in this second, and neither its slowest packet nor the driver's latest
    /// took half as long as `rtt_ms`.
    pub is_calm: bool,
}

impl Story<'_> {
    /// True if its slowest second was much slower than the call as a whole.
    pub fn stands_out(&self) -> bool {
        let whole = self.call.rtt_p50_ms.ns().map(Ns::as_ms);
        self.worst.as_ref().zip(whole).is_none_or(|(worst, whole)| worst.rtt_ms > STANDS_OUT * whole)
    }
}

/// A value and the median of its kind over the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unusual {
    /// The value.
    pub value: Ns,
    /// The median of its kind.
    pub usual: Ns,
}

/// Far above the usual: more than three times as much.
const UNUSUAL: u64 = 3;
/// A second is worth explaining when its median is more than twice the call's own.
const STANDS_OUT: f64 = 2.0;

/// Stories of a run's calls. The usual values that seconds are compared with are worked out once.
#[derive(Debug, Clone)]
pub struct Stories<'a> {
    summary: &'a Summary,
    control: Option<Ns>,
    lateness: Option<Ns>,
}

impl<'a> Stories<'a> {
    /// Of a run.
    pub fn new(summary: &'a Summary) -> Stories<'a> {
        let usual = |of: fn(&SecondRecord) -> Option<Ns>| median(summary.seconds.iter().filter_map(of));
        Stories { summary, control: usual(|s| s.control_p99_ms), lateness: usual(|s| s.send_lateness_max_ms) }
    }

    /// The story of a call.
    pub fn of(&self, call: &'a CallRecord) -> Story<'a> {
        let ended_s = ended(call);
        let medians = self.summary.call_seconds.iter().filter(|s| s.call == call.call);
        let worst =
            medians.max_by(|a, b| a.rtt_p50_ms.total_cmp(&b.rtt_p50_ms).then(b.second.cmp(&a.second)));
        let lasted = call.intended_s..=ended_s.unwrap_or(call.intended_s);
        Story {
            call,
            ended_s,
            worst: worst.map(|s| self.moment(s.second, f64::from(s.rtt_p50_ms))),
            slowest: self.slowest(call),
            silences: self.summary.silences.iter().filter(|s| s.call == call.call).copied().collect(),
            faults: self.summary.faults.iter().filter(|f| lasted.contains(&f.fault.done_s)).collect(),
            passage: self.passage(call),
        }
    }

    fn passage(&self, call: &CallRecord) -> Option<(&'a QualityRow, u64)> {
        let scored = |row: &&QualityRow| row.call == call.call && row.mos_lqo.is_some();
        let rows = self.summary.quality.iter().filter(scored);
        let count = rows.clone().count() as u64;
        let score = |row: &QualityRow| row.mos_lqo.unwrap_or_default();
        Some((rows.min_by(|a, b| score(a).total_cmp(&score(b)))?, count))
    }

    fn slowest(&self, call: &CallRecord) -> Option<Moment<'a>> {
        let largest = call.rtt_max_ms?;
        let mut seconds = self.summary.seconds.iter().filter(|s| s.rtt_max_ms == Some(largest));
        let mut calls = self.summary.calls.iter().filter(|c| c.rtt_max_ms == Some(largest));
        match (seconds.next(), seconds.next(), calls.next(), calls.next()) {
            (Some(second), None, Some(_), None) => Some(self.moment(second.second, largest.as_ms())),
            _ => None,
        }
    }

    fn moment(&self, second: u32, rtt_ms: f64) -> Moment<'a> {
        let seconds = &self.summary.seconds;
        let all = seconds.binary_search_by_key(&second, |s| s.second).ok().and_then(|n| seconds.get(n));
        let unusual = |of: fn(&SecondRecord) -> Option<Ns>, usual: Option<Ns>| {
            let (value, usual) = (all.and_then(of)?, usual?);
            (value.0 > usual.0.saturating_mul(UNUSUAL)).then_some(Unusual { value, usual })
        };
        Moment {
            second,
            rtt_ms,
            all,
            control: unusual(|s| s.control_p99_ms, self.control),
            lateness: unusual(|s| s.send_lateness_max_ms, self.lateness),
            is_calm: all.is_some_and(|s| {
                let is_small = |ns: Option<Ns>| ns.is_none_or(|ns| ns.as_ms() < rtt_ms / 2.0);
                s.control_p99_ms.is_some() && is_small(s.control_max_ms) && is_small(s.send_lateness_max_ms)
            }),
        }
    }
}

fn ended(call: &CallRecord) -> Option<f64> {
    let after_ms = call.invite_late_ms.as_ms() + call.answer_delay_ms?.as_ms() + call.held_ms?.as_ms();
    Some(call.intended_s + after_ms / 1000.0)
}

fn median(values: impl Iterator<Item = Ns>) -> Option<Ns> {
    let mut sorted: Vec<Ns> = values.collect();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CallSecond;
    use crate::report::fixture;

    fn ms(ms: f64) -> Option<Ns> {
        Some(Ns((ms * 1e6) as u64))
    }

    #[test]
    fn the_worst_second_is_found_with_what_went_on_in_it() {
        let (mut run, _) = fixture::typical();
        run.call_seconds = (10..300)
            .map(|second| CallSecond { call: 5, second, rtt_p50_ms: if second == 77 { 9.5 } else { 0.2 } })
            .collect();
        for s in &mut run.seconds {
            s.control_p99_ms = ms(if s.second == 77 { 4.0 } else { 0.1 });
        }
        let stories = Stories::new(&run);
        let worst = stories.of(&run.calls[5]).worst.unwrap();
        assert_eq!((worst.second, worst.rtt_ms, worst.is_calm), (77, 9.5, true));
        assert_eq!(worst.all.unwrap().second, 77);
        assert_eq!(worst.control.map(|c| (Some(c.value), Some(c.usual))), Some((ms(4.0), ms(0.1))));
        assert_eq!(worst.lateness, None);
        assert_eq!(stories.of(&run.calls[6]).worst, None);
        // A single packet of the control stream took as long: nobody may say that the machine was calm.
        run.seconds[77].control_max_ms = ms(5.0);
        assert!(!Stories::new(&run).of(&run.calls[5]).worst.unwrap().is_calm);
    }

    #[test]
    fn a_packet_belongs_to_a_second_only_where_that_is_certain() {
        let (mut run, _) = fixture::typical();
        run.calls[4].rtt_max_ms = ms(333.0);
        run.seconds[50].rtt_max_ms = ms(333.0);
        let second = |run: &Summary| Stories::new(run).of(&run.calls[4]).slowest.map(|moment| moment.second);
        assert_eq!(second(&run), Some(50));
        run.calls[9].rtt_max_ms = ms(333.0);
        assert_eq!(second(&run), None);
    }

    #[test]
    fn faults_count_while_the_call_lasted() {
        let (mut run, _) = fixture::faulted();
        let done = run.faults[0].fault.done_s;
        run.calls[2].held_ms = ms((done - 20.0) * 1000.0);
        let stories = Stories::new(&run);
        assert!(stories.of(&run.calls[1]).faults.contains(&&run.faults[0]));
        assert!(stories.of(&run.calls[2]).faults.is_empty());
        let refused = run.calls.iter().find(|c| !c.ending.was_answered()).unwrap();
        assert_eq!(stories.of(refused).ended_s, None);
    }
}
