//! One attempted call while it lasts: its record as far as it is known, its port, its media.

use std::sync::Arc;
use std::time::Duration;

use super::agent::Happening;
use crate::measure::{StreamReport, StreamSent};
use crate::net::udp::StampedSocket;
use crate::record::{CallRecord, Ending};
use crate::sip::call::{FailReason, Times};
use crate::stamp::Stamp;
use crate::values::Ns;

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
    /// Its line waits for its end; else it has gone on to another call.
    pub has_line: bool,
    /// Given up because nothing was heard any more.
    pub is_given_up: bool,
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
            has_line: true,
            is_given_up: false,
            is_stopping: false,
            sip_over: false,
            sent: StreamSent::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.answered_at.is_some() && !self.sip_over && self.has_line
    }

    pub fn is_over(&self) -> bool {
        self.sip_over && !self.has_media
    }

    /// How long the call has been up at `now`.
    pub fn held(&self, now: Stamp) -> Duration {
        self.answered_at.map(|since| now.since(since)).unwrap_or_default()
    }

    /// Gives up a call of which nothing is heard any more.
    pub fn give_up(&mut self, reason: String, at: Stamp) {
        self.is_given_up = true;
        self.record.ending = Ending::MediaLost;
        self.record.reason = reason;
        self.record.held_ms = self.answered_at.map(|since| at.since(since).into());
    }

    /// Ends the signalling side.
    pub fn ended(&mut self, ending: Ending, reason: String, at: Stamp) {
        self.sip_over = true;
        if self.is_given_up {
            // It was over when it was given up, whatever comes of its BYE.
            return;
        }
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
        if !matches!(code, Some(200..300)) {
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
        let before = self.record.strangers;
        report.enter(&self.sent, &mut self.record);
        // Those that came before the answer, too.
        self.record.strangers += before;
        self.record.first_echo_ms =
            report.first_echo_at.zip(self.answered_at).map(|(echo, at)| echo.since(at).into());
    }
}
