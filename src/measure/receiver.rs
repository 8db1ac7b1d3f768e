//! The receiver's bookkeeping: packets that came back on each call, their times and repetitions.

mod paused;
mod uncounted;

use std::time::Duration;

use super::hold::{Excused, Spans};
use super::jitter::Jitter;
use super::seconds::OpenSeconds;
use super::{Attribution, Class, Extras, Lateness, Losses, MediaSecond, Medians, Rules, StreamSent, Window};
use crate::record::{CallRecord, CallSecond, Scope, Series, Silence};
use crate::rtp::Format;
use crate::rtp::kind::Kind;
use crate::rtp::packet::{Incoming, read};
use crate::rtp::probe::Probe;
use crate::rtp::sequence::{Arrival, Sequence};
use crate::stamp::Stamp;
use crate::values::Ns;

/// A silence that is worth a row: longer than any playout buffer bridges.
pub const SILENCE: Duration = Duration::from_millis(500);
/// Memory does not grow with a path that comes and goes.
const MOST_SILENCES: usize = 32;

/// Counts of one receiver thread, over all its calls.
#[derive(Debug)]
pub struct ReceiveTally {
    seconds: OpenSeconds,
    negative_rtt: u64,
    corrupted: u64,
}

impl ReceiveTally {
    /// Nothing received yet.
    pub fn new(rules: Rules) -> Self {
        ReceiveTally { seconds: OpenSeconds::new(rules), negative_rtt: 0, corrupted: 0 }
    }

    /// Hands over the seconds to which at `now` nothing can come back any more.
    pub fn close_seconds(&mut self, now: Stamp, each: impl FnMut(Box<MediaSecond>)) {
        self.seconds.close(now, each);
    }

    /// RTP without a whole probe so far, on all calls.
    pub fn corrupted(&self) -> u64 {
        self.corrupted
    }

    /// Hands over all open seconds; returns the number of packets that came back before they were sent:
    /// the clock was set meanwhile.
    pub fn finish(mut self, each: impl FnMut(Box<MediaSecond>)) -> u64 {
        self.seconds.close_all(each);
        self.negative_rtt
    }
}

impl MediaSecond {
    /// Records the times of a measured packet besides its RTT; its reflection is one that can be true.
    fn times(&mut self, packet: &Arrived, rtt: u64, shared_clock: bool) {
        let Arrived { probe, received_at, read_at, .. } = packet;
        let mut record = |series, ns| self.latencies.record(series, Scope::Measured, ns);
        record(Series::RttIntended, received_at.since(probe.intended_at).as_nanos() as u64);
        record(Series::ReceiveLag, read_at.since(*received_at).as_nanos() as u64);
        let Some(reflection) = probe.reflection else { return };
        let service = reflection.out_at.since(reflection.in_at).as_nanos() as u64;
        record(Series::ServiceTime, service);
        record(Series::PathRtt, rtt.saturating_sub(service));
        if shared_clock {
            record(Series::Up, reflection.in_at.since(probe.sent_at).as_nanos() as u64);
            record(Series::Down, received_at.since(reflection.out_at).as_nanos() as u64);
        }
    }
}

/// An echo, for an observer of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedEcho {
    /// Packet number.
    pub seq: u32,
    /// T4 − T1.
    pub rtt_ns: i64,
    /// True if it lies in the measured window.
    pub measured: bool,
}

/// A probe that came back in time.
struct Arrived {
    probe: Probe,
    rtp_timestamp: u32,
    ssrc: u32,
    /// T4 − T1; negative when the clock was set meanwhile.
    rtt: i64,
    received_at: Stamp,
    read_at: Stamp,
    scope: Scope,
}

/// Counts and times of what came back on one call. Counts are of the measured window unless they say total.
#[derive(Debug, Clone, Default)]
pub struct StreamReport {
    /// Distinct packets back in time, over the whole call.
    pub total_received: u64,
    /// Packets sent before the first one that came back.
    pub total_clipped: u64,
    /// Packets under way at the start of a hold that have not come back, over the whole call.
    pub total_excused: u64,
    /// Packets under way at the start of a hold that have not come back.
    pub excused: u64,
    /// Distinct packets back in time.
    pub received: u64,
    /// Packets that came back again.
    pub duplicates: u64,
    /// Packets that came back out of order.
    pub reordered: u64,
    /// RTP whose payload was damaged, over the whole call.
    pub damaged: u64,
    /// Audio without a probe, over the whole call: in the place of packets that did not come back, or beside those that
    /// did.
    pub audio: u64,
    /// Probes that this run has not signed, over the whole call.
    pub forged: u64,
    /// Reflections that cannot be true, over the whole call: their packets count, what they say does not.
    pub unbelieved: u64,
    /// Distinct packets that came back after `lost_after`, over the whole call.
    pub late_echoes: u64,
    /// Datagrams that belong to no packet of this call, over the whole call.
    pub strangers: u64,
    /// Of these, packets of other calls of this run, sent during this call; and the number of the first such call.
    pub crossed: (u64, Option<u32>),
    /// Datagrams of the far end's that are no audio, over the whole call.
    pub extras: Extras,
    /// RTP that SRTP protected, and what of it could be opened, over the whole call; `None` where the media are plain.
    pub srtp: Option<(u64, u64)>,
    /// Receipt of the first packet back in time.
    pub first_echo_at: Option<Stamp>,
    /// Receipt of the last packet back in time.
    pub last_echo_at: Option<Stamp>,
    /// Silences of half a second and longer; the first ones of many.
    pub silences: Vec<Silence>,
    /// Interarrival jitter at the end.
    pub jitter: Option<Ns>,
    /// The largest that it has been.
    pub jitter_max: Option<Ns>,
    /// RTTs and late counts.
    pub lateness: Lateness,
    /// Fates of the packets that did not come back.
    pub losses: Losses,
    /// True if the far end stamps, so that the way of a loss is known.
    pub stamps: bool,
    /// Median RTT by second of the run, over the whole call.
    pub medians: Vec<CallSecond>,
}

impl StreamReport {
    /// Enters what was `sent` and what came back.
    pub fn enter(&self, sent: &StreamSent, record: &mut CallRecord) {
        // It was sent, and nobody was there to return it.
        record.total_sent = sent.total.saturating_sub(self.total_excused);
        record.excused = self.total_excused;
        record.total_received = self.total_received;
        record.total_clipped = self.total_clipped;
        record.sent = sent.measured.saturating_sub(self.excused);
        record.received = self.received;
        record.lost = record.sent.saturating_sub(self.received);
        record.lost_up = self.stamps.then_some(self.losses.up);
        record.lost_down = self.stamps.then_some(self.losses.down);
        let told = self.losses.up + self.losses.down + self.losses.unknown;
        // Losses behind the last packet that came back are one run more.
        record.lost_runs = self.losses.runs + u64::from(record.lost > told);
        record.late = self.lateness.late();
        [record.late_20ms, record.late_40ms, record.late_60ms, record.late_100ms, record.late_200ms] =
            self.lateness.sweep();
        record.duplicates = self.duplicates;
        record.reordered = self.reordered;
        // A changed packet is one that did not come back as it was; more than that is audio of the far end's own.
        let missing = record.total_sent.saturating_sub(self.total_received + self.total_clipped);
        let changed = self.audio.min(missing);
        record.corrupted = self.damaged + changed;
        record.strangers = self.strangers;
        (record.crossed, record.crossed_call) = self.crossed;
        record.forged = self.forged;
        record.unbelieved = self.unbelieved;
        record.late_echoes = self.late_echoes;
        record.jitter_ms = self.jitter;
        record.jitter_max_ms = self.jitter_max;
        self.extras.enter(record);
        record.own_audio += self.audio - changed;
        (record.srtp_received, record.srtp_decrypted) = self.srtp.unzip();
        [record.rtt_p50_ms, record.rtt_p95_ms, record.rtt_p99_ms] =
            [0.5, 0.95, 0.99].map(|q| self.lateness.quantile(q, record.lost));
        record.rtt_min_ms = self.lateness.smallest_ns().map(Ns);
        record.rtt_max_ms = self.lateness.largest_ns().map(Ns);
    }
}

/// Packets over which it is judged whether many are missing, and so many of them.
const LATELY: u32 = 32;
const MANY: u32 = 8;

/// One call's receiving side.
#[derive(Debug)]
pub struct StreamReceiver {
    rules: Rules,
    call_id: u32,
    class: Class,
    format: Format,
    counts_from: Stamp,
    sequence: Sequence,
    jitter: Jitter,
    attribution: Attribution,
    spans: Spans,
    excused: Excused,
    /// The far end wants nothing sent.
    is_on_hold: bool,
    /// Audio without a probe that came before the first echo.
    early_audio: u64,
    /// End of the last hold.
    resumed_at: Stamp,
    medians: Medians,
    /// Number and RTT of the packet that came back last.
    previous: Option<(u32, u64)>,
    /// Number of the first packet that came back.
    first_echo_seq: u32,
    /// Receipt of the last packet back, however late.
    heard_at: Option<Stamp>,
    /// Receipt of the first datagram.
    listens_since: Option<Stamp>,
    report: StreamReport,
}

impl StreamReceiver {
    /// A stream in `format`, whose packets count from `counts_from` on, if they lie in the window.
    pub fn new(rules: Rules, call_id: u32, class: Class, format: Format, counts_from: Stamp) -> Self {
        let lateness = Lateness::new(Ns::from(rules.late_after).0);
        let report = StreamReport { lateness, ..Default::default() };
        StreamReceiver {
            rules,
            call_id,
            class,
            format,
            counts_from,
            sequence: Sequence::default(),
            jitter: Jitter::new(format.codec),
            attribution: Attribution::default(),
            spans: Spans::default(),
            excused: Excused::default(),
            is_on_hold: false,
            early_audio: 0,
            resumed_at: Stamp::ZERO,
            medians: Medians::new(call_id),
            previous: None,
            first_echo_seq: 0,
            heard_at: None,
            listens_since: None,
            report,
        }
    }

    /// Counts a datagram of a far end whose audio is heard by an ear, where it is no audio.
    pub fn note_beside(&mut self, datagram: &[u8]) {
        match Kind::of(datagram, &self.format) {
            Kind::Media => {}
            Kind::Extra(extra) => self.report.extras.count(extra),
            Kind::Other => self.report.extras.count_other(),
        }
    }

    /// Takes a datagram that the kernel received at `received_at` and this program read at `read_at`.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        received_at: Stamp,
        read_at: Stamp,
        window: &Window,
        tally: &mut ReceiveTally,
    ) -> Option<ReceivedEcho> {
        self.listens_since.get_or_insert(received_at);
        match self.incoming(datagram) {
            Incoming::Probe { probe, rtp_timestamp, ssrc } => {
                let scope = window.scope(probe.intended_at, self.counts_from);
                let rtt = received_at.ns_since(probe.sent_at);
                // The driver's own stamps, signed: only they say anything of its clock.
                tally.negative_rtt += u64::from(rtt < 0);
                let mut arrival = Arrived { probe, rtp_timestamp, ssrc, rtt, received_at, read_at, scope };
                if rtt > self.rules.lost_after.as_nanos() as i64 {
                    self.too_late(&arrival, tally);
                    return None;
                }
                self.doubt_reflection(&mut arrival);
                match self.class {
                    Class::Call | Class::Talk => self.in_time(&arrival, window, tally),
                    Class::Control => self.control(&arrival, tally),
                }
                let measured = scope == Scope::Measured;
                return Some(ReceivedEcho { seq: probe.seq, rtt_ns: rtt, measured });
            }
            Incoming::Audio if self.is_music(received_at) => self.report.extras.count_own_audio(1),
            // Until it is known whether anything comes back as it was.
            Incoming::Audio if self.report.first_echo_at.is_none() => self.early_audio += 1,
            Incoming::Audio => {
                self.report.audio += 1;
                tally.corrupted += 1;
            }
            Incoming::Corrupted => {
                self.report.damaged += 1;
                tally.corrupted += 1;
            }
            Incoming::Forged => self.report.forged += 1,
            Incoming::Extra(extra) => self.report.extras.count(extra),
            Incoming::Crossed { call, sent_at } => self.crossed(call, sent_at),
            Incoming::Stranger => self.stranger(),
            Incoming::Other => self.report.extras.count_other(),
        }
        None
    }

    /// True for a datagram with a probe of this call, signed.
    pub fn is_own(&self, datagram: &[u8]) -> bool {
        matches!(self.incoming(datagram), Incoming::Probe { .. })
    }

    /// Counts a datagram of somebody else's.
    pub fn stranger(&mut self) {
        self.report.strangers += 1;
    }

    fn incoming(&self, datagram: &[u8]) -> Incoming {
        read(datagram, &self.format, &self.rules.key, self.call_id)
    }

    /// Drops a reflection that cannot be true.
    fn doubt_reflection(&mut self, packet: &mut Arrived) {
        let Rules { ptime, shared_clock, .. } = self.rules;
        let Arrived { probe, received_at, .. } = packet;
        let said = probe.reflection;
        probe.reflection = said.filter(|r| r.is_possible(probe, *received_at, ptime, shared_clock));
        self.report.unbelieved += u64::from(said.is_some() && probe.reflection.is_none());
    }

    fn in_time(&mut self, packet: &Arrived, window: &Window, tally: &mut ReceiveTally) {
        let Arrived { probe, received_at, scope, .. } = packet;
        let measured = *scope == Scope::Measured;
        let arrival = self.sequence.arrive(probe.seq);
        if matches!(arrival, Arrival::Duplicate | Arrival::Stale) {
            self.duplicate(packet, tally);
            return;
        }
        self.spans.note(probe.seq, probe.intended_at, self.rules.ptime);
        self.not_excused(probe.seq, window, tally);
        let second = tally.seconds.nearest(probe.intended_at);
        second.record.reordered += u64::from(arrival == Arrival::Reordered);
        second.record.received += 1;
        second.measured_received += u64::from(measured);
        self.heard(*received_at);
        if self.report.first_echo_at.is_none() {
            self.first_echo(probe, *received_at, tally);
        } else if probe.seq < self.first_echo_seq {
            self.not_clipped(probe, tally);
        }
        self.report.total_received += 1;
        self.report.received += u64::from(measured);
        self.report.reordered += u64::from(measured && arrival == Arrival::Reordered);
        // The stream is isochronous but for its pauses, so the place of each packet before this one is known.
        let Rules { ptime, .. } = self.rules;
        let scope_of = |seq| match self.spans.at(seq, ptime) {
            Some(at) if !self.excused.has(seq) => window.scope(at, self.counts_from),
            _ => Scope::Outside,
        };
        self.attribution.arrive(probe.seq, probe.reflection.as_ref(), scope_of);
        if arrival == Arrival::InOrder {
            self.jitter.arrive(*received_at, packet.rtp_timestamp, packet.ssrc);
        }
        // A negative RTT has no place in a histogram; it is counted, and the verdict knows of it.
        let Ok(rtt) = u64::try_from(packet.rtt) else { return };
        let late = self.report.lateness.record(rtt, measured);
        self.medians.record(self.rules.second(probe.intended_at), rtt);
        let second = tally.seconds.nearest(probe.intended_at);
        second.record.late += u64::from(late);
        second.latencies.record(Series::Rtt, *scope, rtt);
        let before = self.previous.replace((probe.seq, rtt));
        if measured {
            second.measured_late += u64::from(late);
            if let Some((_, before)) = before.filter(|(seq, _)| seq.checked_add(1) == Some(probe.seq)) {
                second.latencies.record(Series::Ipdv, Scope::Measured, rtt.abs_diff(before));
            }
            second.times(packet, rtt, self.rules.shared_clock);
        }
    }

    /// Notes that a packet is back, and how long none was.
    fn heard(&mut self, at: Stamp) {
        self.heard_at = self.heard_at.max(Some(at));
        // Nobody is to be heard on hold.
        let last = self.report.last_echo_at.replace(at).map_or(at, |last| last.max(self.resumed_at));
        if at.since(last) >= SILENCE && self.report.silences.len() < MOST_SILENCES {
            let since_start = |at: Stamp| at.since(self.rules.epoch).as_secs_f64();
            let (from_s, to_s) = (since_start(last), since_start(at));
            self.report.silences.push(Silence { call: self.call_id, from_s, to_s });
        }
    }

    /// Receipt of the last packet back, however late; `None` before the first.
    pub fn heard_at(&self) -> Option<Stamp> {
        self.heard_at
    }

    /// True if the call was heard, and at `now` has not been for `dead_after`, in all of which this program was
    /// awake: it has been since `awake_since`. No call is dead on hold.
    pub fn is_dead(&self, now: Stamp, dead_after: Duration, awake_since: Stamp) -> bool {
        let silent_for = |last: Stamp| now.since(last.max(awake_since).max(self.resumed_at));
        let can_die = self.class == Class::Call && !self.is_on_hold;
        can_die && self.heard_at.is_some_and(|at| silent_for(at) >= dead_after)
    }

    /// True if of the last packets up to the newest one back a good part is missing: its far end may speak from two
    /// places in turn.
    pub fn misses_many(&self) -> bool {
        let next = self.sequence.next_expected();
        let is_known = self.class == Class::Call && !self.is_on_hold && next >= self.first_echo_seq + LATELY;
        let lately = self.sequence.last_64(next.saturating_sub(1)) & ((1 << LATELY) - 1);
        is_known && lately.count_ones() <= LATELY - MANY
    }

    /// Everything sent before the first packet that comes back was cut from the call's beginning.
    fn first_echo(&mut self, probe: &Probe, received_at: Stamp, tally: &mut ReceiveTally) {
        self.report.first_echo_at = Some(received_at);
        self.report.extras.count_own_audio(std::mem::take(&mut self.early_audio));
        self.report.total_clipped = u64::from(probe.seq - self.excused.before(probe.seq));
        self.first_echo_seq = probe.seq;
        let is_clipped = |seq: &u32| !self.excused.has(*seq);
        // The times of the packets before are known. A stamp so old that its second is closed ends the search: those
        // packets were counted as lost.
        for seq in (0..probe.seq).rev().filter(is_clipped) {
            let Some(at) = self.spans.at(seq, self.rules.ptime) else { break };
            match tally.seconds.at(at) {
                Some(second) if at >= self.rules.epoch => second.record.clipped += 1,
                _ => break,
            }
        }
    }

    /// A packet from before the first echo has come back after all: it was overtaken, not cut off.
    fn not_clipped(&mut self, probe: &Probe, tally: &mut ReceiveTally) {
        self.report.total_clipped = self.report.total_clipped.saturating_sub(1);
        if let Some(second) = tally.seconds.at(probe.intended_at) {
            second.record.clipped = second.record.clipped.saturating_sub(1);
        }
    }

    /// True if of `sent` packets none is still out that could come back.
    pub fn is_settled(&self, sent: u64) -> bool {
        let StreamReport { total_received, total_clipped, total_excused, .. } = self.report;
        total_received + total_clipped + total_excused >= sent
    }

    /// The stream's number in the run.
    pub fn call_id(&self) -> u32 {
        self.call_id
    }

    /// The counts, at the stream's end. A call's delay variation goes into the tally now, since its
    /// smallest RTT is known only now.
    pub fn finish(mut self, tally: &mut ReceiveTally) -> StreamReport {
        // Nothing has come back as it was sent: it was changed.
        self.report.audio += self.early_audio;
        tally.corrupted += self.early_audio;
        self.report.lateness.settle();
        if self.class == Class::Call {
            let last = tally.seconds.nearest(self.report.last_echo_at.unwrap_or(self.rules.epoch));
            self.report.lateness.spread(|above, count| {
                last.latencies.record_n(Series::Pdv, Scope::Measured, above, count);
            });
        }
        let (losses, stamps) = self.attribution.finish();
        StreamReport {
            jitter: self.jitter.value(),
            jitter_max: self.jitter.largest(),
            losses,
            stamps,
            medians: self.medians.finish(),
            ..self.report
        }
    }
}

#[cfg(test)]
mod tests;
