//! One attempted call while it lasts: its record as far as signalling fills it, and its state.

use std::time::Duration;

use super::agent::CallSignal;
use super::lines::Slot;
use crate::record::{CallRecord, Ending};
use crate::sip::call::{CallRemark, FailReason};
use crate::stamp::Stamp;
use crate::values::Ns;

/// Time after a refused offer in which a far end hangs up because of it.
const BECAUSE_REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// An attempt, from its INVITE until both signalling and media are over.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) record: CallRecord,
    /// Time at which the schedule wanted it placed.
    intended_at: Stamp,
    /// Planned length; `None` is to the end of the run.
    pub(super) length: Option<Duration>,
    pub(super) answered_at: Option<Stamp>,
    /// Media runs, or its last packets are still awaited.
    pub(super) has_media: bool,
    /// Its line waits for its end; else it has gone on to another call.
    pub(super) has_line: bool,
    /// Its line is wanted no more: it ends in its turn, before its planned end.
    pub(super) is_retired: bool,
    /// The stop of the media is under way.
    pub(super) is_stopping: bool,
    /// Nothing more is to be expected from the signalling.
    pub(super) sip_over: bool,
    /// First message of the far end's that could not be read, and its fault.
    pub(super) unreadable: Option<String>,
    /// Start of the hold that it is in.
    on_hold_since: Option<Stamp>,
    /// Contact at which nobody hears, in words.
    unheard: Option<String>,
    /// Address to which the far end has sent the caller, in words.
    redirected: Option<String>,
    /// Fault of the far end's answer to media that it had us offer in mid-call.
    pub(super) unanswered: Option<String>,
    /// Offer of the far end's in mid-call that was refused, in words; a later one that was taken makes it good.
    pub(super) refused_offer: Option<(String, Stamp)>,
}

impl Attempt {
    /// An attempt that is about to be placed.
    pub(super) fn new(record: CallRecord, slot: Slot) -> Self {
        Attempt {
            record,
            intended_at: slot.intended_at,
            length: slot.length,
            answered_at: None,
            has_media: false,
            has_line: true,
            is_retired: false,
            is_stopping: false,
            sip_over: false,
            unreadable: None,
            on_hold_since: None,
            unheard: None,
            redirected: None,
            unanswered: None,
            refused_offer: None,
        }
    }

    /// Notes what is odd about the far end: it may be the reason of what comes of the call.
    pub(super) fn remark(&mut self, remark: &CallRemark, at: Stamp) {
        match remark {
            CallRemark::Unreadable { why } | CallRemark::Unmatched { why } => {
                self.unreadable = Some(why.clone())
            }
            CallRemark::OfferUnanswered { why } => self.unanswered = Some(why.clone()),
            CallRemark::OfferRefused { .. } => self.refused_offer = Some((remark.to_string(), at)),
            CallRemark::OtherPtime { .. } => {}
            CallRemark::Unheard { .. } | CallRemark::NoWay { .. } => self.unheard = Some(remark.to_string()),
            CallRemark::Redirected { .. } => self.redirected = Some(remark.to_string()),
        }
    }

    /// Answered, on its line, and not over.
    pub(super) fn is_up(&self) -> bool {
        self.answered_at.is_some() && !self.sip_over && self.has_line
    }

    /// Given up because nothing was heard any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.record.ending == Ending::MediaLost
    }

    pub(super) fn is_over(&self) -> bool {
        self.sip_over && !self.has_media
    }

    /// Notes that the call was answered: media starts.
    pub(super) fn answered(&mut self, at: Stamp) {
        self.answered_at = Some(at);
        self.record.status = Some(200);
        self.has_media = true;
    }

    /// Time from the answer to `now`.
    pub(super) fn held(&self, now: Stamp) -> Duration {
        self.answered_at.map(|since| now.since(since)).unwrap_or_default()
    }

    /// Notes that from `at` on the far end wants the call on hold, or not.
    pub(super) fn hold(&mut self, is_on_hold: bool, at: Stamp) {
        match (self.on_hold_since, is_on_hold) {
            (None, true) => {
                self.on_hold_since = Some(at);
                self.record.holds += 1;
            }
            (Some(since), false) => {
                self.on_hold_since = None;
                let before = self.record.on_hold_ms.unwrap_or_default();
                self.record.on_hold_ms = Some(Ns(before.0.saturating_add(Ns::from(at.since(since)).0)));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Gives up a call of which nothing is heard any more.
    pub(super) fn give_up(&mut self, reason: String, at: Stamp) {
        self.record.ending = Ending::MediaLost;
        let reason = self.with_refused_offer(reason, None);
        self.record.reason = match &self.unanswered {
            Some(why) => {
                format!("{reason}; its ACK did not answer the media that it had asked for in mid-call: {why}")
            }
            None => reason,
        };
        self.record.held_ms = self.answered_at.map(|since| at.since(since).into());
    }

    /// Ends the signalling side.
    pub(super) fn ended(&mut self, ending: Ending, reason: String, at: Stamp) {
        self.sip_over = true;
        self.hold(false, at);
        if self.is_given_up() {
            // It ended when it was given up, whatever comes of its BYE.
            return;
        }
        // A decision before the BYE stands: an interrupted call is not a completed one.
        if self.record.ending == Ending::Cancelled || ending != Ending::Completed {
            self.record.ending = ending;
        }
        if !reason.is_empty() {
            self.record.reason = reason;
        }
        self.record.held_ms = self.answered_at.map(|since| at.since(since).into());
    }

    /// Notes the answer to our BYE.
    pub(super) fn hung_up(&mut self, code: Option<u16>, at: Stamp) {
        match code {
            Some(200..300) => self.ended(Ending::Completed, String::new(), at),
            Some(code) => self.ended(Ending::HangupFailed, format!("BYE was answered with {code}"), at),
            None => {
                let reason = self.with_unheard(self.with_unreadable("BYE was never answered"));
                self.ended(Ending::HangupFailed, reason, at);
            }
        }
        if !matches!(code, Some(200..300)) {
            // RFC 6076 section 4.4: a disconnect that fails has no delay.
            self.record.sdd_ms = None;
        }
    }

    /// The record of a call that nobody waits for any more.
    pub(super) fn abandoned(mut self) -> CallRecord {
        if self.answered_at.is_some() && self.record.ending == Ending::Cancelled {
            self.record.ending = Ending::Interrupted;
        }
        self.record
    }

    /// Notes the reason for which the call did not come up.
    pub(super) fn failed(&mut self, reason: &FailReason, at: Stamp) {
        let ending = match reason {
            FailReason::Rejected { code, .. } => {
                self.record.status = Some(*code);
                Ending::Rejected
            }
            FailReason::AuthFailed(_) => Ending::AuthFailed,
            FailReason::BadAnswer(_) => Ending::BadAnswer,
            FailReason::HungUpEarly => Ending::HungUpEarly,
            FailReason::Timeout => Ending::Timeout,
            FailReason::Unreadable(_) => Ending::Unreadable,
            FailReason::Unreachable(_) => Ending::Unreachable,
        };
        let mut reason = match ending {
            Ending::HungUpEarly => self.with_unreadable(&reason.to_string()),
            _ => reason.to_string(),
        };
        if let Some(redirected) = &self.redirected {
            reason = format!("{reason}; {redirected}");
        }
        self.ended(ending, self.with_unheard(reason), at);
    }

    /// A reason of which the cause may be a Contact at which nobody hears.
    pub(super) fn with_unheard(&self, reason: String) -> String {
        match &self.unheard {
            Some(unheard) if reason.is_empty() => unheard.clone(),
            Some(unheard) => format!("{reason}; {unheard}"),
            None => reason,
        }
    }

    /// A reason of which the cause may be an offer in mid-call that was refused. The far end's own `reason` at `ended_at`,
    /// long after the refusal, is another.
    pub(super) fn with_refused_offer(&self, reason: String, ended_at: Option<Stamp>) -> String {
        let is_near = |refused_at: Stamp| ended_at.is_none_or(|at| at <= refused_at + BECAUSE_REFUSED_WITHIN);
        match &self.refused_offer {
            Some((refused, _)) if reason.is_empty() => refused.clone(),
            Some((refused, refused_at)) if is_near(*refused_at) => format!("{reason}; {refused}"),
            Some(_) | None => reason,
        }
    }

    /// A reason of which the cause may be a message that could not be read.
    fn with_unreadable(&self, reason: &str) -> String {
        match &self.unreadable {
            Some(why) => format!("{reason}; the far end answers, but cannot be read: {why}"),
            None => reason.into(),
        }
    }

    /// Enters the measurements of the signalling.
    pub(super) fn times(&mut self, signal: &CallSignal) {
        let times = &signal.times;
        let record = &mut self.record;
        record.trying_ms = times.trying_delay().map(Ns::from);
        record.srd_ms = times.session_request_delay().map(Ns::from);
        record.answer_delay_ms = times.answer_delay().map(Ns::from);
        record.sdd_ms = times.session_disconnect_delay().map(Ns::from);
        record.retransmissions = signal.retransmissions;
        record.invite_late_ms =
            times.invite_sent_at.map(|at| at.since(self.intended_at).into()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;

    #[test]
    fn holds_are_counted_and_their_time_is_summed_up_to_the_calls_end() {
        let at = |s| Stamp::ZERO + Duration::from_secs(s);
        let mut attempt =
            Attempt::new(CallRecord::default(), Slot { line: 0, intended_at: Stamp::ZERO, length: None });
        attempt.answered(at(1));
        // One more wish for what is so already changes nothing.
        for (s, is_on_hold) in [(1, false), (2, true), (3, true), (5, false), (6, false), (8, true)] {
            attempt.hold(is_on_hold, at(s));
        }
        assert_eq!((attempt.record.holds, attempt.record.on_hold_ms.map(|ns| ns.as_ms())), (2, Some(3000.0)));
        attempt.ended(Ending::Completed, String::new(), at(10));
        assert_eq!((attempt.record.holds, attempt.record.on_hold_ms.map(|ns| ns.as_ms())), (2, Some(5000.0)));
    }

    #[test]
    fn a_far_end_that_hangs_up_long_after_a_refused_offer_has_another_reason() {
        let slot = Slot { line: 0, intended_at: Stamp::ZERO, length: None };
        let mut refused = Attempt::new(CallRecord::default(), slot);
        refused.remark(&CallRemark::OfferRefused { code: 488, why: "no audio stream".into() }, Stamp::ZERO);
        let after = |seconds| {
            let at = Some(Stamp::ZERO + Duration::from_secs(seconds));
            refused.with_refused_offer("Network out of order".into(), at)
        };
        assert!(after(1).ends_with("488: no audio stream"));
        assert_eq!(after(4), "Network out of order");
    }

    #[test]
    fn what_could_not_be_read_is_in_the_reason_of_what_came_of_it() {
        let slot = Slot { line: 0, intended_at: Stamp::ZERO, length: None };
        let attempt = |unreadable: Option<&str>| {
            let mut attempt = Attempt::new(CallRecord::default(), slot);
            attempt.unreadable = unreadable.map(String::from);
            attempt
        };
        for unreadable in [None, Some("SIP/2.0 200 OK: no Via header")] {
            let told = match unreadable {
                Some(why) => format!("; the far end answers, but cannot be read: {why}"),
                None => String::new(),
            };
            let mut hung_up = attempt(unreadable);
            hung_up.hung_up(None, Stamp::ZERO);
            assert_eq!(hung_up.record.reason, format!("BYE was never answered{told}"));
            let mut early = attempt(unreadable);
            early.failed(&FailReason::HungUpEarly, Stamp::ZERO);
            assert_eq!(
                (early.record.ending, early.record.reason),
                (Ending::HungUpEarly, format!("hung up before it was answered{told}"),)
            );
        }
        let mut never = attempt(Some("x"));
        never.failed(&FailReason::Unreadable("SIP/2.0 200 OK: no Via header".into()), Stamp::ZERO);
        let mut unheard = attempt(None);
        unheard.remark(
            &CallRemark::Unheard {
                method: Method::Ack,
                contact: "sip:far@192.0.2.7:5999".into(),
                sent_to: "192.0.2.7:5999".parse().unwrap(),
            },
            Stamp::ZERO,
        );
        unheard.hung_up(None, Stamp::ZERO);
        let reason = &unheard.record.reason;
        assert!(
            reason.starts_with("BYE was never answered; ") && reason.contains("sip.ignore_contact"),
            "{reason}"
        );
        let mut early = attempt(None);
        early.remark(
            &CallRemark::Unheard {
                method: Method::Prack,
                contact: "sip:far@192.0.2.7:5999".into(),
                sent_to: "192.0.2.7:5999".parse().unwrap(),
            },
            Stamp::ZERO,
        );
        let timeout = FailReason::Rejected { code: 504, reason: "Server Time-out".into(), cause: None };
        early.failed(&timeout, Stamp::ZERO);
        let reason = &early.record.reason;
        assert!(reason.starts_with("Server Time-out; its provisional answer comes again"), "{reason}");
        let mut redirected = attempt(None);
        redirected.remark(&CallRemark::Redirected { to: "sip:b@h".into() }, Stamp::ZERO);
        redirected.failed(&FailReason::Timeout, Stamp::ZERO);
        assert!(redirected.record.reason.ends_with("to sip:b@h"), "{}", redirected.record.reason);
        let mut refused = attempt(None);
        refused.remark(&CallRemark::OfferRefused { code: 488, why: "no audio stream".into() }, Stamp::ZERO);
        refused.give_up("nothing heard for 5s".into(), Stamp::ZERO);
        assert_eq!(
            refused.record.reason,
            "nothing heard for 5s; its offer in mid-call was refused with 488: no audio stream"
        );
        assert_eq!(never.record.ending, Ending::Unreadable);
        assert_eq!(
            never.record.reason,
            "the far end answers, but cannot be read: SIP/2.0 200 OK: no Via header"
        );
    }
}
