//! One attempted call while it lasts: its record as far as it is known, its port, its media.

use std::sync::Arc;

use super::agent::Happening;
use crate::measure::{StreamReport, StreamSent};
use crate::net::udp::StampedSocket;
use crate::samples::{CallRecord, Ending, Ns, Quantile};
use crate::sip::call::{FailReason, Times};
use crate::stamp::Stamp;

/// An attempt, from its INVITE until both signalling and media are over.
pub(super) struct Attempt {
    pub record: CallRecord,
    pub line: u32,
    /// When the schedule wanted it placed.
    intended_at: Stamp,
    pub socket: Arc<StampedSocket>,
    pub answered_at: Option<Stamp>,
    /// Media runs, or its last packets are still awaited.
    pub has_media: bool,
    /// The stop of the media is under way.
    pub is_stopping: bool,
    /// Nothing more is to be expected from the signalling.
    pub sip_over: bool,
    sent: StreamSent,
}

impl Attempt {
    pub fn new(record: CallRecord, socket: Arc<StampedSocket>, intended_at: Stamp) -> Self {
        Attempt {
            line: record.line,
            record,
            intended_at,
            socket,
            answered_at: None,
            has_media: false,
            is_stopping: false,
            sip_over: false,
            sent: StreamSent::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.answered_at.is_some() && !self.sip_over
    }

    pub fn is_over(&self) -> bool {
        self.sip_over && !self.has_media
    }

    /// Ends the signalling side.
    pub fn ended(&mut self, ending: Ending, reason: String, at: Stamp) {
        self.sip_over = true;
        // What was decided before the BYE stands: an interrupted call is not a completed one.
        if self.record.ending == Ending::Cancelled || ending != Ending::Completed {
            self.record.ending = ending;
        }
        if !reason.is_empty() {
            self.record.reason = reason;
        }
        self.record.held_ms = self.answered_at.map(|since| at.since(since).into());
    }

    /// Notes how our BYE was answered.
    pub fn hung_up(&mut self, code: Option<u16>, at: Stamp) {
        match code {
            Some(200..300) => self.ended(Ending::Completed, String::new(), at),
            Some(code) => self.ended(Ending::HangupFailed, format!("BYE was answered with {code}"), at),
            None => self.ended(Ending::HangupFailed, "BYE was never answered".into(), at),
        }
        if self.record.ending == Ending::HangupFailed {
            // RFC 6076 section 4.4: a disconnect that fails has no delay.
            self.record.sdd_ms = None;
        }
    }

    /// The record of a call that nobody waits for any more.
    pub fn abandoned(mut self) -> CallRecord {
        if self.answered_at.is_some() && self.record.ending == Ending::Cancelled {
            self.record.ending = Ending::Interrupted;
        }
        self.record
    }

    /// Notes why the call did not come up.
    pub fn failed(&mut self, reason: &FailReason, at: Stamp) {
        let ending = match reason {
            FailReason::Rejected { code, .. } => {
                self.record.status = Some(*code);
                Ending::Rejected
            }
            FailReason::AuthFailed(_) => Ending::AuthFailed,
            FailReason::BadAnswer(_) => Ending::BadAnswer,
            FailReason::HungUpEarly => Ending::HungUpEarly,
            FailReason::Timeout => Ending::Timeout,
        };
        let words = match reason {
            FailReason::Rejected { reason, cause: None, .. } => reason.clone(),
            FailReason::Rejected { reason, cause: Some(cause), .. } => format!("{reason} ({cause})"),
            other => other.to_string(),
        };
        self.ended(ending, words, at);
    }

    /// Takes over what the signalling has measured.
    pub fn times(&mut self, happening: &Happening) {
        let times: &Times = &happening.times;
        let record = &mut self.record;
        record.srd_ms = times.session_request_delay().map(Ns::from);
        record.answer_delay_ms = times.answer_delay().map(Ns::from);
        record.sdd_ms = times.session_disconnect_delay().map(Ns::from);
        record.retransmissions = happening.retransmissions;
        record.invite_late_ms =
            times.invite_sent_at.map(|at| at.since(self.intended_at).into()).unwrap_or_default();
    }

    /// Notes what was sent.
    pub fn stopped(&mut self, sent: StreamSent) {
        self.sent = sent;
    }

    /// Takes over what came back.
    pub fn finished(&mut self, report: &StreamReport) {
        self.has_media = false;
        let record = &mut self.record;
        record.total_sent = self.sent.total;
        record.total_received = report.total_received;
        record.total_clipped = report.total_clipped;
        record.sent = self.sent.measured;
        record.received = report.received;
        record.lost = record.sent.saturating_sub(report.received);
        record.lost_up = report.losses.map(|l| l.up);
        record.lost_down = report.losses.map(|l| l.down);
        record.late = report.lateness.late();
        [record.late_20ms, record.late_40ms, record.late_60ms, record.late_100ms, record.late_200ms] =
            report.lateness.sweep();
        record.duplicates = report.duplicates;
        record.reordered = report.reordered;
        record.corrupted = report.corrupted;
        // To those that came before the answer.
        record.strangers += report.strangers;
        record.jitter_ms = report.jitter;
        record.first_echo_ms =
            report.first_echo_at.zip(self.answered_at).map(|(echo, at)| echo.since(at).into());
        let lost = record.lost;
        let at = |q| match report.lateness.quantile(q, lost) {
            Quantile::At(ns) => Some(Ns(ns)),
            Quantile::Above | Quantile::Lost | Quantile::NoData => None,
        };
        (record.rtt_p50_ms, record.rtt_p95_ms, record.rtt_p99_ms) = (at(0.5), at(0.95), at(0.99));
        record.rtt_min_ms = report.lateness.smallest_ns().map(Ns);
        record.rtt_max_ms = report.lateness.largest_ns().map(Ns);
    }
}
