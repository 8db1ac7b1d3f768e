//! Records by second while a run goes on: joins what the threads and the calls count.

use std::time::Duration;

use super::TalkTotals;
use super::lane::LaneEvent;
use super::lane_book::LaneBook;
use super::monitor::Monitor;
use super::turns::TurnsSoFar;
use crate::clock;
use crate::impair::ImpairCounts;
use crate::load::Count;
use crate::measure::{MediaSecond, Rules};
use crate::record::{Environment, Latencies, Live, Phase, Recent, Run, Scope, SecondRecord, Series};
use crate::stamp::Stamp;

/// Seconds of the figures during the run: enough packets for a 99th percentile to stand still.
const RECENT: usize = 5;

/// The run so far.
pub(super) struct Book {
    rules: Rules,
    pub run: Run,
    monitor: Monitor,
    lanes: LaneBook,
    /// CPU that the thread of signalling, which is this one, had used at the last tick.
    signalling_cpu: Duration,
    /// Effects of the impairment: on the way out, on the way back.
    pub impaired: [ImpairCounts; 2],
    /// Sums over the calls that talked.
    pub talk: TalkTotals,
    /// Figures that gates are held against before the end.
    pub live: Live,
    pub recent: Recent,
    /// Turns so far, where callers talk.
    pub turns: TurnsSoFar,
}

impl Book {
    /// A book with the part of the environment that is known beforehand.
    pub fn new(rules: Rules, monitor: Monitor, environment: Environment, lanes: usize) -> Self {
        Book {
            rules,
            run: Run { environment, ..Run::default() },
            monitor,
            lanes: LaneBook::new(lanes),
            signalling_cpu: clock::thread_cpu(),
            impaired: Default::default(),
            talk: TalkTotals::default(),
            live: Live::default(),
            recent: Recent::default(),
            turns: TurnsSoFar::default(),
        }
    }

    /// Rules of the run.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The row of the second in which `at` lies.
    pub fn at(&mut self, at: Stamp) -> &mut SecondRecord {
        self.row(self.rules.second(at))
    }

    fn row(&mut self, second: u32) -> &mut SecondRecord {
        let index = second as usize;
        while self.run.seconds.len() <= index {
            let second = self.run.seconds.len() as u32;
            self.run.seconds.push(SecondRecord { second, ..Default::default() });
        }
        &mut self.run.seconds[index]
    }

    /// Counts what has become of an attempt.
    pub fn count(&mut self, what: Count, at: Stamp) {
        let live = &mut self.live;
        match what {
            Count::Attempted | Count::Ended => {}
            Count::Answered => live.answered += 1,
            Count::Failed => live.failed += 1,
            Count::Dropped => live.dropped += 1,
            Count::MediaLost => (live.dropped, live.media_lost) = (live.dropped + 1, live.media_lost + 1),
            Count::Suppressed(why) => live.suppressed.count(why),
        }
        let second = self.at(at);
        match what {
            Count::Attempted => second.attempts += 1,
            Count::Answered => second.answered += 1,
            Count::Failed => second.failed += 1,
            Count::Ended | Count::Dropped | Count::MediaLost => second.ended += 1,
            Count::Suppressed(_) => {}
        }
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
        if let Some(row) = self.run.seconds.get_mut(last) {
            self.monitor.sample(now, row);
            let used = clock::thread_cpu();
            let cpu_busiest_thread = Some(used.saturating_sub(self.signalling_cpu).as_secs_f64());
            *row += &SecondRecord { cpu_busiest_thread, ..Default::default() };
            self.signalling_cpu = used;
        }
        due
    }

    /// Adds what a media thread has counted of a second.
    pub fn add(&mut self, second: &MediaSecond) {
        let number = second.record.second;
        *self.row(number) += &second.record;
        self.run.intervals.add_second(number, &second.latencies);
    }

    /// Notes an event of a lane in its own figures.
    pub fn note(&mut self, lane: usize, event: &LaneEvent) {
        let seconds = &self.run.seconds;
        let phase = |second: u32| seconds.get(second as usize).map(|row| row.phase);
        self.lanes.note(lane, event, |second| phase(second) == Some(Phase::Hold));
    }

    /// Adds a lane's part of a second of which nothing can come back any more.
    pub fn settle(&mut self, second: &MediaSecond) {
        self.add(second);
        if let Some(rtt) = second.latencies.get(Series::Rtt, Scope::Measured) {
            self.live.rtt.extend(rtt.counts());
        }
        if let Some(control) = second.latencies.get(Series::Control, Scope::Measured) {
            self.live.control.extend(control.counts());
        }
        // What was lost is known once all lanes have told.
        let Some(settled) = self.lanes.settle(second) else { return };
        let number = second.record.second;
        let row = &self.run.seconds[number as usize];
        let sent = row.measured_sent.saturating_sub(row.measured_excused);
        self.live.control_lost += if row.phase == Phase::Hold { row.control_lost() } else { 0 };
        self.live.sent += sent;
        self.live.lost += sent.saturating_sub(settled.received);
        self.live.late += settled.late;
        let turns = self.turns.figures(clock::now());
        self.recent = Recent { turns, ..self.up_to(number) };
    }

    /// The figures of the last seconds up to `last`.
    fn up_to(&self, last: u32) -> Recent {
        let (mut rtt, mut control) = (Latencies::default(), Latencies::default());
        let (mut sent, mut lost, mut late, mut control_lost) = (0, 0, 0, 0);
        let mut send_lateness_max = None;
        for row in self.run.seconds[..=last as usize].iter().rev().take(RECENT) {
            rtt.extend(self.run.intervals.second(row.second, Series::Rtt));
            control.extend(self.run.intervals.second(row.second, Series::Control));
            let out = row.sent.saturating_sub(row.clipped + row.excused);
            sent += out;
            lost += out.saturating_sub(row.received);
            late += row.late;
            control_lost += row.control_lost();
            send_lateness_max = send_lateness_max.max(row.send_lateness_max_ms);
        }
        let ratio = |n: u64| (sent > 0).then(|| n as f64 / sent as f64);
        Recent {
            rtt_p50: Some(rtt.quantile(0.5, lost)),
            rtt_p99: Some(rtt.quantile(0.99, lost)),
            control_p99: Some(control.quantile(0.99, control_lost)),
            loss: ratio(lost),
            late: ratio(late),
            send_lateness_max,
            turns: None,
        }
    }

    /// The run, complete up to its end, its rows in order. `dealt` are the calls that each lane was given.
    pub fn finish(mut self, ended_at: Stamp, window: Option<(Stamp, Stamp)>, dealt: &[u32]) -> Run {
        let Run { environment, calls, seconds, call_seconds, silences, turns, signals, quality, .. } =
            &mut self.run;
        seconds.truncate(self.rules.second(ended_at) as usize + 1);
        seconds.iter_mut().for_each(SecondRecord::conclude);
        calls.sort_by_key(|r| r.call);
        call_seconds.sort_by_key(|s| (s.call, s.second));
        // Stable: a call's own are in their order.
        silences.sort_by_key(|s| s.call);
        turns.sort_by(|a, b| a.call.cmp(&b.call).then(a.said_from_s.total_cmp(&b.said_from_s)));
        signals.sort_by_key(|burst| (burst.call, burst.number));
        quality.sort_by_key(|passage| (passage.call, passage.number));
        let epoch = self.rules.epoch;
        let since_start = |at: Stamp| at.since(epoch).as_secs_f64();
        environment.lanes = self.lanes.finish(dealt);
        environment.epoch_ns = Some(epoch.as_ns());
        environment.elapsed_s = since_start(ended_at);
        environment.window_from_s = window.map(|(from, _)| since_start(from));
        environment.window_to_s = window.map(|(_, to)| since_start(to));
        environment.impaired = self.impaired.iter().any(|i| i.seen() > 0);
        environment.impair_overflows = self.impaired.iter().map(|i| i.overflows).sum();
        self.run
    }
}
