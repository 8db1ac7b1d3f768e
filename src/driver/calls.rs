//! One call after another on each line: placed, answered, given media, stopped, hung up, put away.

use std::time::Duration;

use super::agent::Happening;
use super::attempt::Attempt;
use super::control::{Control, Line};
use super::lane::LaneEvent;
use crate::measure::{Class, StreamReport};
use crate::record::{CallRecord, CallSecond, Ending, Phase, Silence};
use crate::rtp::packet::StreamSender;
use crate::scenario::Hangup;
use crate::sip::call::{CallConfig, CallEvent};
use crate::sip::sdp::{Answer, Offer};
use crate::stamp::Stamp;

/// Length of a call that is answered only when the run is ending.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long the driver leaves a call up beyond its planned end where the far end is to hang up every
/// other call: long enough that its BYE has come.
const FAR_END_FIRST: Duration = Duration::from_millis(250);
/// How long it waits where the far end is to hang up all calls, before it says that it did not.
const FAR_END_LATE: Duration = Duration::from_secs(5);
/// A BYE may come this much before its planned end: both ends count from another moment.
const EARLY: Duration = Duration::from_millis(100);

/// How long a line waits for the answer to a BYE before it goes on to its next call: by then it has been
/// sent three times (after 0, 0.5 and 1.5 s, RFC 3261 17.1.2.2).
const PATIENCE: Duration = Duration::from_secs(2);

/// The reason in the record of a call that the far end has hung up as planned.
const BY_FAR_END: &str = "by the far end, as planned";

impl Control<'_> {
    /// Places the next call of a line that is due.
    pub(super) fn place(&mut self, line: u32, now: Stamp) {
        let Line::Waiting(intended) = self.lines[line as usize] else { return };
        let bound = self.ports.bind();
        let (port, socket) = match bound {
            Ok(Some(bound)) => bound,
            other => {
                self.suppressed += 1;
                self.book.live.suppressed += 1;
                self.suppressed_because = match other {
                    Err(e) => format!("no RTP socket: {e}"),
                    _ => format!("no free port in {}", self.scenario().media.ports),
                };
                self.decide(line);
                self.rest(line, now);
                return;
            }
        };
        let number = self.placed;
        self.placed += 1;
        let call = self.call_config(number, port);
        let mut record = CallRecord::blank(number, line);
        record.call_id.clone_from(&call.call_id);
        record.rtp_port = port;
        record.intended_s = intended.since(self.epoch).as_secs_f64();
        self.attempts.insert(number, Attempt::new(record, socket, intended));
        self.lines[line as usize] = Line::Busy(number);
        self.book.at(now).attempts += 1;
        self.agent.place(number, call, self.now());
    }

    fn call_config(&self, number: u32, port: u16) -> CallConfig {
        let (scenario, target, local) = (self.scenario(), self.config.target, self.agent.local());
        let seed = u64::from(self.config.run_id) << 32 | u64::from(number);
        CallConfig {
            target: format!("sip:{}@{target}", scenario.sip.to),
            remote: target,
            local,
            caller: scenario.sip.from.clone(),
            call_id: format!("{seed:016x}@{}", local.ip()),
            from_tag: format!("{seed:016x}"),
            seed,
            credentials: self.config.credentials.clone(),
            offer: Offer {
                ip: local.ip(),
                rtp_port: port,
                codec: scenario.media.codec,
                ptime_ms: scenario.media.ptime.0.as_millis() as u32,
                session_id: seed,
            },
            setup_timeout: scenario.sip.setup_timeout.0,
        }
    }

    /// The line is done with its call and will place another one, unless the run is ending.
    fn rest(&mut self, line: u32, now: Stamp) {
        let next = match self.phase {
            Phase::Drain => Line::Retired,
            Phase::Ramp | Phase::Warmup | Phase::Hold => Line::Waiting(self.spacing.take(now)),
        };
        self.lines[line as usize] = next;
    }

    fn decide(&mut self, line: u32) {
        self.decided[line as usize] = true;
    }

    pub(super) fn handle_signalling(&mut self) {
        for happening in self.agent.take_happenings() {
            self.happened(&happening);
        }
    }

    fn happened(&mut self, happening: &Happening) {
        let number = happening.call;
        let planned_end = self.far_ends_end();
        let Some(attempt) = self.attempts.get_mut(&number) else { return };
        attempt.times(happening);
        let (line, was_given_up) = (attempt.line, attempt.is_given_up);
        match &happening.event {
            CallEvent::Provisional { .. } => return,
            CallEvent::MediaChanged { answer, .. } => {
                // A peer that cannot be reached there is heard as loss.
                let _ = attempt.socket.connect(answer.rtp_address());
                return;
            }
            CallEvent::Answered { at, answer } => {
                let (at, answer) = (*at, answer.clone());
                self.answered(number, at, &answer);
            }
            CallEvent::Failed { reason, at } => {
                attempt.failed(reason, *at);
                self.failed += 1;
                self.book.live.failed += 1;
                self.book.at(*at).failed += 1;
            }
            CallEvent::RemoteHangup { at, cause } => {
                let (planned, reason) = match planned_end {
                    Some(planned) if attempt.held(*at) + EARLY >= planned => (true, BY_FAR_END.into()),
                    _ => (attempt.is_stopping, cause.clone().unwrap_or_default()),
                };
                let ending = if planned { Ending::Completed } else { Ending::RemoteHangup };
                attempt.ended(ending, reason, *at);
                self.book.live.dropped += u64::from(!was_given_up && ending == Ending::RemoteHangup);
                self.book.at(*at).ended += u32::from(!was_given_up);
            }
            CallEvent::HungUp { at, code, .. } => {
                attempt.hung_up(*code, *at);
                // One that was given up has been counted then.
                self.book.at(*at).ended += u32::from(!was_given_up);
            }
            CallEvent::Cancelled { at } => attempt.ended(Ending::Cancelled, String::new(), *at),
        }
        self.decide(line);
        self.after_signalling(number);
    }

    /// A call whose signalling is over stops its media; one that is over altogether is put away.
    fn after_signalling(&mut self, number: u32) {
        let Some(attempt) = self.attempts.get(&number) else { return };
        if attempt.sip_over && attempt.has_media {
            self.stop_media(number);
        } else if attempt.is_over() {
            self.put_away(number);
        }
    }

    /// The 200 is there: start the media.
    fn answered(&mut self, number: u32, at: Stamp, answer: &Answer) {
        let media = &self.scenario().media;
        let warmup = self.scenario().measure.warmup.0;
        let ssrc = self.config.run_id.rotate_left(16) ^ number.wrapping_mul(0x9E37_79B9);
        let (run_id, payload_type) = (self.config.run_id, answer.payload_type);
        let sender = StreamSender::new(run_id, number, ssrc, media.codec, payload_type, media.ptime.0);
        let length = self.call_length();
        let Some(attempt) = self.attempts.get_mut(&number) else { return };
        attempt.answered_at = Some(at);
        attempt.record.status = Some(200);
        // A peer that cannot be reached is heard as silence, and counted so.
        attempt.record.strangers = attempt.socket.connect_afresh(answer.rtp_address()).unwrap_or(0);
        attempt.has_media = true;
        self.lane.start_stream(sender, Class::Call, attempt.socket.clone(), at + warmup);
        self.book.at(at).answered += 1;
        self.book.live.answered += 1;
        if let Some(length) = length {
            self.hangups.insert((at + length, number));
        }
    }

    /// How long a call that is answered now is to last; `None` is to the end of the run.
    fn call_length(&self) -> Option<Duration> {
        match self.phase {
            // Too late to count, but long enough to be heard.
            Phase::Drain => Some(LAST_CALL),
            Phase::Ramp | Phase::Warmup | Phase::Hold => {
                let load = &self.scenario().load;
                let grace = match load.hangup {
                    Hangup::Caller => Duration::ZERO,
                    Hangup::Both => FAR_END_FIRST,
                    Hangup::Callee => FAR_END_LATE,
                };
                load.call_duration.map(|d| d.0 + grace)
            }
        }
    }

    /// After how long the far end is to hang up by itself, if it is.
    fn far_ends_end(&self) -> Option<Duration> {
        let load = &self.scenario().load;
        load.call_duration.map(|d| d.0).filter(|_| load.hangup != Hangup::Caller)
    }

    /// A call has lasted as long as planned.
    pub(super) fn hang_up_due(&mut self, number: u32) {
        let overdue = self.scenario().load.hangup == Hangup::Callee && self.phase != Phase::Drain;
        if let Some(attempt) = self.attempts.get_mut(&number).filter(|a| overdue && a.is_up()) {
            attempt.record.ending = Ending::HangupFailed;
            attempt.record.reason = "the far end did not hang up at the planned end".into();
        }
        self.stop_media(number);
    }

    /// A call that was heard has fallen silent: nobody stays on such a line. BYE goes out at once, and
    /// the line to its next call; the packets are waited for as ever.
    fn give_up(&mut self, number: u32, at: Stamp) {
        let dead_after = self.scenario().load.dead_after;
        let Some(attempt) = self.attempts.get_mut(&number).filter(|a| a.is_up() && !a.is_stopping) else {
            return;
        };
        attempt.give_up(format!("nothing heard for {dead_after}"), at);
        self.book.live.dropped += 1;
        self.book.live.media_lost += 1;
        self.book.at(at).ended += 1;
        self.stop_media(number);
        self.agent.hang_up(number, at);
        // The silence was pause enough.
        self.go_on(number, at);
    }

    /// The line goes on to its next call, although the present one is not over altogether.
    pub(super) fn go_on(&mut self, number: u32, now: Stamp) {
        let Some(attempt) = self.attempts.get_mut(&number).filter(|a| a.has_line) else { return };
        attempt.has_line = false;
        let line = attempt.line;
        self.rest(line, now);
    }

    /// First step of a hangup: stop sending. BYE follows once everything is back, or lost.
    pub(super) fn stop_media(&mut self, number: u32) {
        if let Some(attempt) = self.attempts.get_mut(&number).filter(|a| a.has_media && !a.is_stopping) {
            attempt.is_stopping = true;
            self.lane.stop_call(number, self.timeline.now());
        }
    }

    pub(super) fn handle_media(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Stopped { call_id, sent, at } => {
                if let Some(attempt) = self.attempts.get_mut(&call_id) {
                    attempt.stopped(sent);
                    self.lane.finish_call(call_id, sent.total, at);
                }
            }
            LaneEvent::Dead { call_id, at } => self.give_up(call_id, at),
            LaneEvent::Finished { call_id, report } => {
                self.finished(call_id, &report);
                match self.attempts.get(&call_id) {
                    Some(attempt) if attempt.sip_over => self.put_away(call_id),
                    Some(_) => {
                        let now = self.now();
                        self.agent.hang_up(call_id, now);
                        self.patience.insert((now + PATIENCE, call_id));
                    }
                    None => {}
                }
            }
            other => self.book.enter(other),
        }
    }

    /// Takes over what came back on a call.
    pub(super) fn finished(&mut self, number: u32, report: &StreamReport) {
        let epoch = self.epoch;
        let since = |at: Stamp| at.since(epoch).as_secs_f64();
        if let Some(attempt) = self.attempts.get_mut(&number) {
            attempt.finished(report);
            attempt.record.last_echo_s = report.last_echo_at.map(since);
            let row = |(second, rtt_p50_ms): &(u32, f32)| CallSecond {
                call: number,
                second: *second,
                rtt_p50_ms: *rtt_p50_ms,
            };
            self.call_seconds.extend(report.medians.iter().map(row));
            let row = |(from, to): &(Stamp, Stamp)| Silence {
                call: number,
                from_s: since(*from),
                to_s: since(*to),
            };
            self.silences.extend(report.silences.iter().map(row));
        }
    }

    /// Closes a call's record and frees its port and its line.
    fn put_away(&mut self, number: u32) {
        let Some(attempt) = self.attempts.remove(&number) else { return };
        let now = self.now();
        self.ports.give_back(attempt.record.rtp_port);
        let as_planned = attempt.record.ending == Ending::Completed;
        let pause = if as_planned { Duration::ZERO } else { self.scenario().load.retry_after.0 };
        if attempt.has_line {
            self.rest(attempt.line, now + pause);
        }
        self.records.push(attempt.record);
    }
}
