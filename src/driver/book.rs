//! The run's books: a row per second from what the threads and the calls tell.

use std::collections::VecDeque;
use std::time::Duration;

use super::Recent;
use super::lane::{Impaired, LaneEvent};
use super::monitor::Monitor;
use crate::clock;
use crate::measure::{ReceivedSecond, Rules, SentSecond};
use crate::record::{Latencies, Live, Phase, SecondRecord, Series};
use crate::stamp::Stamp;
use crate::values::Ns;

/// Seconds that the figures during the run are over: enough packets for a 99th percentile to stand still.
const RECENT: usize = 5;

/// Rows of the seconds so far, and the histograms once the threads have ended.
pub(super) struct Book {
    rules: Rules,
    rows: Vec<SecondRecord>,
    monitor: Monitor,
    /// CPU that the thread of signalling, which is this one, had used at the last tick.
    signalling_cpu: Duration,
    pub histograms: Vec<(Series, Latencies)>,
    pub negative_rtt: u64,
    /// Datagrams without the kernel's stamp.
    pub unstamped: u64,
    /// Measured packets never sent, and packets that the kernel would not send.
    pub skipped: u64,
    pub unsent: u64,
    /// What the impairment did: on the way out, on the way back.
    pub impaired: [Impaired; 2],
    /// What gates are held against before the end.
    pub live: Live,
    pub recent: Recent,
    last: VecDeque<ReceivedSecond>,
}

impl Book {
    pub fn new(rules: Rules, monitor: Monitor) -> Self {
        Book {
            rules,
            rows: Vec::new(),
            monitor,
            signalling_cpu: clock::thread_cpu(),
            histograms: Vec::new(),
            negative_rtt: 0,
            unstamped: 0,
            skipped: 0,
            unsent: 0,
            impaired: Default::default(),
            live: Live::default(),
            recent: Recent::default(),
            last: VecDeque::new(),
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

    /// Closes the seconds that ended at `due` and since then, up to `now`: who was up, and what the
    /// machine was doing. Returns when the next one ends. After a stall several close at once; what
    /// the machine did meanwhile is then entered, as a mean, in the last of them.
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
            busiest(row, used.saturating_sub(self.signalling_cpu));
            self.signalling_cpu = used;
        }
        due
    }

    /// Enters what a media thread told. What is about one call only is not for this book.
    pub fn enter(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Sent { row, cpu } => self.sent(row, cpu),
            LaneEvent::Received(row) => self.received(row),
            LaneEvent::ReceiverSecond { second, drops, corrupted, cpu } => {
                let row = self.row(second);
                row.socket_drops += drops;
                row.corrupted += corrupted;
                busiest(row, cpu);
            }
            LaneEvent::PacerDone { sent, impaired } => {
                self.impaired[0] = impaired;
                self.skipped += sent.skipped;
                self.unsent += sent.unsent;
                self.histograms.push((Series::SendLateness, sent.lateness));
                self.histograms.push((Series::SendCall, sent.send_call));
            }
            LaneEvent::ReceiverDone { histograms, negative_rtt, unstamped, impaired } => {
                self.impaired[1] = impaired;
                self.negative_rtt += negative_rtt;
                self.unstamped += unstamped;
                let own = |s: &Series| matches!(s, Series::SendLateness | Series::SendCall);
                self.histograms.extend(Series::ALL.into_iter().zip(*histograms).filter(|(s, _)| !own(s)));
            }
            LaneEvent::Stopped { .. }
            | LaneEvent::Dead { .. }
            | LaneEvent::Finished { .. }
            | LaneEvent::Died(_) => {}
        }
    }

    fn sent(&mut self, sent: SentSecond, cpu: Duration) {
        let row = self.row(sent.second);
        row.sent += sent.sent;
        row.control_sent += sent.control_sent;
        row.missed_slots += sent.missed;
        row.measured_sent += sent.measured;
        row.measured_missed_slots += sent.measured_missed;
        row.send_lateness_max_ms = row.send_lateness_max_ms.max(sent.lateness_max);
        busiest(row, cpu);
    }

    fn received(&mut self, got: ReceivedSecond) {
        let row = self.row(got.second);
        row.received += got.received;
        row.clipped += got.clipped;
        row.late += got.late;
        row.duplicates += got.duplicates;
        row.reordered += got.reordered;
        row.rtt_p50_ms = got.rtt_p50;
        row.rtt_p95_ms = got.rtt_p95;
        row.rtt_p99_ms = got.rtt_p99;
        row.rtt_max_ms = got.rtt_max;
        row.control_received += got.control_received;
        row.control_p50_ms = got.control_p50;
        row.control_p99_ms = got.control_p99;
        row.control_max_ms = got.control_max;
        let measured_sent = row.measured_sent;
        self.live.sent += measured_sent;
        self.live.lost += measured_sent.saturating_sub(got.measured_received);
        self.live.late += got.measured_late;
        self.live.rtt.add(&got.measured_rtts);
        if self.last.len() == RECENT {
            self.last.pop_front();
        }
        self.last.push_back(got);
        self.recent = self.over_the_last();
    }

    fn over_the_last(&self) -> Recent {
        let (mut rtt, mut control) = (Latencies::default(), Latencies::default());
        let (mut sent, mut lost, mut late) = (0, 0, 0);
        for second in &self.last {
            rtt.add(&second.rtts);
            control.add(&second.control_rtts);
            let row = self.rows.get(second.second as usize);
            let out = row.map_or(0, |row| row.sent.saturating_sub(second.clipped));
            sent += out;
            lost += out.saturating_sub(second.received);
            late += second.late;
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

fn busiest(row: &mut SecondRecord, cpu: Duration) {
    let cores = Ns::from(cpu).as_ms() / 1000.0;
    row.cpu_busiest_thread = Some(row.cpu_busiest_thread.unwrap_or(0.0).max(cores));
}
