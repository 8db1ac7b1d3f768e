//! Per-second rows of the media threads, each closed once nothing can be added to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Rules;
use crate::record::{Counted, Latencies, Quantile};
use crate::stamp::Stamp;
use crate::values::Ns;

/// What the pacer did in one second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SentSecond {
    /// Second of the run.
    pub second: u32,
    /// Packets sent whose intended time lies in it.
    pub sent: u64,
    /// Of these, sent later than the stream's next one was due; and packets given up altogether.
    pub missed: u64,
    /// Packets of the measured window among those sent.
    pub measured: u64,
    /// Packets of the measured window among those missed.
    pub measured_missed: u64,
    /// Largest send lateness.
    pub lateness_max: Option<Ns>,
    /// Packets sent on the control stream.
    pub control_sent: u64,
}

/// What came back of the packets intended in one second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReceivedSecond {
    /// Second of the run.
    pub second: u32,
    /// Distinct packets back within `lost_after`.
    pub received: u64,
    /// Packets before the first echo of their call.
    pub clipped: u64,
    /// Late against the call's smallest RTT so far.
    pub late: u64,
    /// Back again.
    pub duplicates: u64,
    /// Back out of order.
    pub reordered: u64,
    /// Median RTT of what came back.
    pub rtt_p50: Option<Ns>,
    /// 95th percentile.
    pub rtt_p95: Option<Ns>,
    /// 99th percentile.
    pub rtt_p99: Option<Ns>,
    /// Largest RTT.
    pub rtt_max: Option<Ns>,
    /// Distinct packets of the control stream back within `lost_after`.
    pub control_received: u64,
    /// Median RTT of the control stream.
    pub control_p50: Option<Ns>,
    /// 99th percentile, likewise.
    pub control_p99: Option<Ns>,
    /// Largest RTT of the control stream.
    pub control_max: Option<Ns>,
    /// Packets of the measured window among those received.
    pub measured_received: u64,
    /// Packets of the measured window among the late ones.
    pub measured_late: u64,
    /// RTTs of what came back.
    pub rtts: Counted,
    /// RTTs of the packets of the measured window.
    pub measured_rtts: Counted,
    /// RTTs of the control stream.
    pub control_rtts: Counted,
}

/// A second still open: its counts and its RTTs.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub row: ReceivedSecond,
    pub rtts: Latencies,
    pub measured: Latencies,
    pub control: Latencies,
}

/// The seconds to which packets may still come back.
#[derive(Debug)]
pub(super) struct OpenSeconds {
    rules: Rules,
    open: VecDeque<Open>,
    spare: Vec<Open>,
    /// Number of the first open second.
    first: u32,
}

impl OpenSeconds {
    pub fn new(rules: Rules) -> Self {
        OpenSeconds { rules, open: VecDeque::new(), spare: Vec::new(), first: 0 }
    }

    /// The row for packets intended at `at`; `None` if it is closed already, or if `at` lies so far
    /// ahead of every other packet that the stamp cannot be true.
    pub fn at(&mut self, at: Stamp) -> Option<&mut Open> {
        const MOST_OPEN: usize = 120;
        let index = self.rules.second(at).checked_sub(self.first)? as usize;
        if index >= MOST_OPEN {
            return None;
        }
        while self.open.len() <= index {
            let mut open = self.spare.pop().unwrap_or_default();
            open.rtts.reset();
            open.measured.reset();
            open.control.reset();
            open.row = ReceivedSecond { second: self.first + self.open.len() as u32, ..Default::default() };
            self.open.push_back(open);
        }
        self.open.get_mut(index)
    }

    /// Closes the seconds to which at `now` nothing can come back any more.
    pub fn close(&mut self, now: Stamp, mut each: impl FnMut(ReceivedSecond)) {
        let settled = now - self.rules.lost_after - Duration::from_secs(1);
        let settled = if settled < self.rules.epoch { return } else { self.rules.second(settled) };
        while self.first <= settled {
            match self.open.pop_front() {
                Some(open) => {
                    each(open.finished());
                    self.spare.push(open);
                    self.first += 1;
                }
                None => self.first = settled + 1,
            }
        }
    }

    /// Closes all seconds.
    pub fn close_all(&mut self, mut each: impl FnMut(ReceivedSecond)) {
        for open in self.open.drain(..) {
            each(open.finished());
            self.first += 1;
        }
    }
}

impl Open {
    fn finished(&self) -> ReceivedSecond {
        ReceivedSecond {
            rtt_p50: at(&self.rtts, 0.5),
            rtt_p95: at(&self.rtts, 0.95),
            rtt_p99: at(&self.rtts, 0.99),
            rtt_max: self.rtts.max().map(Ns),
            control_p50: at(&self.control, 0.5),
            control_p99: at(&self.control, 0.99),
            control_max: self.control.max().map(Ns),
            rtts: self.rtts.counted(),
            measured_rtts: self.measured.counted(),
            control_rtts: self.control.counted(),
            ..self.row.clone()
        }
    }
}

fn at(latencies: &Latencies, q: f64) -> Option<Ns> {
    match latencies.quantile(q, 0) {
        Quantile::At(ns) => Some(Ns(ns)),
        Quantile::Above | Quantile::Lost | Quantile::NoData => None,
    }
}
