//! Records by second while a run goes on: joins what the threads and the calls count.

use std::time::Duration;

use super::Recent;
use super::lane::{Impaired, LaneEvent};
use super::monitor::Monitor;
use crate::clock;
use crate::measure::{Rules, Second};
use crate::record::{Intervals, Latencies, Live, Phase, Scope, SecondRecord, Series};
use crate::stamp::Stamp;

/// Seconds of the figures during the run: enough packets for a 99th percentile to stand still.
const RECENT: usize = 5;

/// Rows of the seconds so far, and their latencies.
pub(super) struct Book {
    rules: Rules,
    rows: Vec<SecondRecord>,
    pub intervals: Intervals,
    monitor: Monitor,
    /// CPU that the thread of signalling, which is this one, had used at the last tick.
    signalling_cpu: Duration,
    pub negative_rtt: u64,
    /// Datagrams without the kernel's stamp.
    pub unstamped: u64,
    /// Measured packets never sent, and packets that the kernel would not send.
    pub skipped: u64,
    pub unsent: u64,
    /// Effects of the impairment: on the way out, on the way back.
    pub impaired: [Impaired; 2],
    /// Figures that gates are held against before the end.
    pub live: Live,
    pub recent: Recent,
}

impl Book {
    pub fn new(rules: Rules, monitor: Monitor) -> Self {
        Book {
            rules,
            rows: Vec::new(),
            intervals: Intervals::default(),
            monitor,
            signalling_cpu: clock::thread_cpu(),
            negative_rtt: 0,
            unstamped: 0,
            skipped: 0,
            unsent: 0,
            impaired: Default::default(),
            live: Live::default(),
            recent: Recent::default(),
        }
    }

    /// The row of the second in which `at` lies.
    pub fn at(&mut self, at: Stamp) -> &mut SecondRecord {
        self.row(self.rules.second(at))
    }

    fn row(&mut self, second: u32) -> &mut SecondRecord {
        let index = second as usize;
        while self.rows.len() <= index {
            let second = self.rows.len() as u32;
            self.rows.push(SecondRecord { second, ..Default::default() });
        }
        &mut self.rows[index]
    }

    /// Closes the seconds that ended at `due` and since then, up to `now`: calls up, CPU and memory.
    /// Returns when the next one ends. After a stall several close at once; CPU and memory are then
    /// entered, as an average, in the last of them.
    pub fn tick(&mut self, mut due: Stamp, now: Stamp, phase: Phase, calls_up: u32) -> Stamp {
        while due <= now {
            let ended = self.rules.second(due).saturating_sub(1);
            self.row(ended).calls_up = calls_up;
            self.row(ended + 1).phase = phase;
            due += Duration::from_secs(1);
        }
        let last = self.rules.second(now).saturating_sub(1) as usize;
        if let Some(row) = self.rows.get_mut(last) {
            self.monitor.sample(now, row);
            let used = clock::thread_cpu();
            let cpu_busiest_thread = Some(used.saturating_sub(self.signalling_cpu).as_secs_f64());
            *row += &SecondRecord { cpu_busiest_thread, ..Default::default() };
            self.signalling_cpu = used;
        }
        due
    }

    /// Enters an event of a media thread. Those about one call only are not for this book.
    pub fn enter(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Second(second) => self.add(&second),
            LaneEvent::Settled(second) => {
                self.add(&second);
                self.settle(&second);
            }
            LaneEvent::PacerDone { skipped, unsent, impaired } => {
                self.impaired[0] = impaired;
                self.skipped += skipped;
                self.unsent += unsent;
            }
            LaneEvent::ReceiverDone { negative_rtt, unstamped, impaired } => {
                self.impaired[1] = impaired;
                self.negative_rtt += negative_rtt;
                self.unstamped += unstamped;
            }
            LaneEvent::Stopped { .. }
            | LaneEvent::Dead { .. }
            | LaneEvent::Finished { .. }
            | LaneEvent::Died(_) => {}
        }
    }

    fn add(&mut self, second: &Second) {
        let number = second.record.second;
        *self.row(number) += &second.record;
        self.intervals.add_second(number, &second.latencies);
    }

    fn settle(&mut self, second: &Second) {
        let number = second.record.second;
        let sent = self.row(number).measured_sent;
        self.live.sent += sent;
        self.live.lost += sent.saturating_sub(second.measured_received);
        self.live.late += second.measured_late;
        if let Some(rtt) = second.latencies.get(Series::Rtt, Scope::Measured) {
            self.live.rtt.extend(rtt.counts());
        }
        if let Some(control) = second.latencies.get(Series::Control, Scope::Measured) {
            self.live.control.extend(control.counts());
        }
        self.recent = self.up_to(number);
    }

    /// The figures of the last seconds up to `last`.
    fn up_to(&self, last: u32) -> Recent {
        let (mut rtt, mut control) = (Latencies::default(), Latencies::default());
        let (mut sent, mut lost, mut late) = (0, 0, 0);
        for row in self.rows[..=last as usize].iter().rev().take(RECENT) {
            rtt.extend(self.intervals.second(row.second, Series::Rtt));
            control.extend(self.intervals.second(row.second, Series::Control));
            let out = row.sent.saturating_sub(row.clipped);
            sent += out;
            lost += out.saturating_sub(row.received);
            late += row.late;
        }
        let ratio = |n: u64| (sent > 0).then(|| n as f64 / sent as f64);
        Recent {
            rtt_p50: Some(rtt.quantile(0.5, lost)),
            rtt_p99: Some(rtt.quantile(0.99, lost)),
            control_p99: Some(control.quantile(0.99, 0)),
            loss: ratio(lost),
            late: ratio(late),
        }
    }

    /// The rows, complete, up to the end of the run.
    pub fn finish(mut self, ended_at: Stamp) -> Vec<SecondRecord> {
        self.rows.truncate(self.rules.second(ended_at) as usize + 1);
        for row in &mut self.rows {
            row.lost = row.sent.saturating_sub(row.received + row.clipped);
        }
        self.rows
    }
}
