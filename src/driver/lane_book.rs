//! Figures of each lane while a run goes on, and the seconds that not every lane has settled yet.

use std::collections::BTreeMap;

use super::lane::LaneEvent;
use crate::measure::MediaSecond;
use crate::record::{LaneRecord, Latencies, Scope, Series};
use crate::values::Ns;

/// Figures of one lane.
#[derive(Debug, Default)]
struct LaneFigures {
    record: LaneRecord,
    send_lateness: Latencies,
    receive_lag: Latencies,
    pacer: Cpu,
    receiver: Cpu,
}

/// CPU of a thread by seconds.
#[derive(Debug, Default)]
struct Cpu {
    sum: f64,
    seconds: u32,
    max: f64,
}

impl Cpu {
    fn add(&mut self, cores: Option<f64>) {
        let Some(cores) = cores else { return };
        (self.sum, self.seconds, self.max) = (self.sum + cores, self.seconds + 1, self.max.max(cores));
    }

    /// Average and largest, once there is a second.
    fn finish(&self) -> (Option<f64>, Option<f64>) {
        let any = (self.seconds > 0).then_some(());
        (any.map(|()| self.sum / f64::from(self.seconds)), any.map(|()| self.max))
    }
}

/// Counts of a second on the lanes that have settled it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    lanes: usize,
    /// Packets of the measured window back.
    pub received: u64,
    /// Of these, late ones.
    pub late: u64,
}

/// The figures of all lanes.
#[derive(Debug)]
pub(super) struct LaneBook {
    lanes: Vec<LaneFigures>,
    open: BTreeMap<u32, Settled>,
}

impl LaneBook {
    pub fn new(lanes: usize) -> Self {
        let figures = |lane| LaneFigures {
            record: LaneRecord { lane: lane as u32, ..LaneRecord::default() },
            ..LaneFigures::default()
        };
        LaneBook { lanes: (0..lanes).map(figures).collect(), open: BTreeMap::new() }
    }

    /// Notes an event of a lane; `is_held` says of a second whether it lies in a hold phase.
    pub fn note(&mut self, lane: usize, event: &LaneEvent, is_held: impl Fn(u32) -> bool) {
        if self.lanes.len() < 2 {
            return;
        }
        let Some(LaneFigures { record, send_lateness, receive_lag, pacer, receiver }) =
            self.lanes.get_mut(lane)
        else {
            return;
        };
        let add = |to: &mut Latencies, second: &MediaSecond, series| {
            second.latencies.get(series, Scope::Measured).into_iter().for_each(|of| to.extend(of.counts()));
        };
        match event {
            LaneEvent::Second(second) => {
                record.sent += second.record.measured_sent;
                record.missed_slots += second.record.measured_missed_slots;
                add(send_lateness, second, Series::SendLateness);
                pacer.add(second.record.cpu_busiest_thread.filter(|_| is_held(second.record.second)));
            }
            LaneEvent::Read(second) => {
                record.socket_drops += second.record.socket_drops;
                receiver.add(second.record.cpu_busiest_thread.filter(|_| is_held(second.record.second)));
            }
            LaneEvent::Settled(second) => {
                record.received += second.measured_received;
                add(receive_lag, second, Series::ReceiveLag);
            }
            LaneEvent::PacerDone { skipped, unsent, .. } => {
                record.skipped += skipped;
                record.unsent += unsent;
            }
            _ => {}
        }
    }

    /// Notes that a lane has settled a second; what it has come to, once all lanes have.
    pub fn settle(&mut self, second: &MediaSecond) -> Option<Settled> {
        let number = second.record.second;
        let open = self.open.entry(number).or_default();
        open.lanes += 1;
        open.received += second.measured_received;
        open.late += second.measured_late;
        if open.lanes < self.lanes.len() {
            return None;
        }
        self.open.remove(&number)
    }

    /// The records, where there is more than one lane. `calls` are those that each was given.
    pub fn finish(self, calls: &[u32]) -> Vec<LaneRecord> {
        if self.lanes.len() < 2 {
            return Vec::new();
        }
        let ms = |latencies: &Latencies, q| latencies.quantile(q, 0).ns().map(Ns::as_ms);
        let records = self.lanes.into_iter().zip(calls).map(|(lane, calls)| {
            let LaneFigures { mut record, send_lateness, receive_lag, pacer, receiver } = lane;
            record.calls = *calls;
            record.send_lateness_p99_ms = ms(&send_lateness, 0.99);
            record.send_lateness_max_ms = ms(&send_lateness, 1.0);
            record.receive_lag_p99_ms = ms(&receive_lag, 0.99);
            (record.pacer_cpu, record.pacer_cpu_max) = pacer.finish();
            (record.receiver_cpu, record.receiver_cpu_max) = receiver.finish();
            record
        });
        records.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impair::ImpairCounts;

    fn second(number: u32, sent: u64, cpu: f64) -> Box<MediaSecond> {
        let mut second = MediaSecond::new(number);
        second.record.measured_sent = sent;
        second.record.socket_drops = sent / 10;
        second.record.cpu_busiest_thread = Some(cpu);
        (second.measured_received, second.measured_late) = (sent, 1);
        second.latencies.record_n(Series::SendLateness, Scope::Measured, sent * 1_000_000, 100);
        second
    }

    #[test]
    fn a_second_is_settled_when_every_lane_says_so_however_far_apart() {
        let mut book = LaneBook::new(2);
        assert!(book.settle(&second(0, 5, 0.0)).is_none() && book.settle(&second(1, 6, 0.0)).is_none());
        let settled = book.settle(&second(0, 7, 0.0)).expect("both");
        assert_eq!((settled.received, settled.late), (12, 2));
        assert_eq!(book.settle(&second(1, 1, 0.0)).map(|settled| settled.received), Some(7));
        assert!(book.open.is_empty());
        assert_eq!(LaneBook::new(1).settle(&second(3, 4, 0.0)).map(|settled| settled.received), Some(4));
    }

    #[test]
    fn each_lane_keeps_its_own_figures_and_one_alone_has_no_table() {
        let mut book = LaneBook::new(2);
        let is_held = |second: u32| second > 0;
        for (lane, number, sent, cpu) in [(0, 0, 10, 0.9), (0, 1, 20, 0.2), (0, 2, 30, 0.4), (1, 1, 40, 0.1)]
        {
            for event in [LaneEvent::Second, LaneEvent::Read, LaneEvent::Settled] {
                book.note(lane, &event(second(number, sent, cpu)), is_held);
            }
        }
        let impaired = ImpairCounts::default();
        book.note(1, &LaneEvent::PacerDone { skipped: 3, unsent: 2, impaired }, is_held);
        book.note(7, &LaneEvent::Died("pacer"), is_held);
        let [one, two] = book.finish(&[4, 5]).try_into().expect("two");
        assert_eq!((one.lane, one.calls, one.sent, one.received, one.socket_drops), (0, 4, 60, 60, 6));
        assert_eq!((two.lane, two.calls, two.sent, two.skipped, two.unsent), (1, 5, 40, 3, 2));
        let near = |a: Option<f64>, b: f64| a.is_some_and(|a| (a - b).abs() < b / 100.0);
        assert!(near(one.pacer_cpu, 0.3) && near(one.receiver_cpu_max, 0.4), "{one:?}");
        assert!(
            near(one.send_lateness_max_ms, 30.0) && near(two.send_lateness_p99_ms, 40.0),
            "{one:?} {two:?}"
        );
        assert!(LaneBook::new(1).finish(&[9]).is_empty());
    }
}
