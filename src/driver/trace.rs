//! Trace for the diagnosis: what the far end said in a run's first call, step by step, and what of it in any call
//! could not be read.

use crate::record::{FirstCall, LogLine, MOST_LINE_CHARS, MOST_LINES, SipAnswer};
use crate::sip::call::{CallEvent, CallRemark};
use crate::sip::digest::Challenge;
use crate::sip::message::{Message, Method};
use crate::sip::sdp::Answer;
use crate::sip::{Transport, Unreadable};
use crate::stamp::Stamp;

/// Most answers that are kept; a ringing phone may repeat its 180 for minutes.
const MOST_ANSWERS: usize = 16;
/// Most characters of a foreign word.
const MOST_CHARS: usize = 128;

pub(super) struct Trace {
    call_id: String,
    epoch: Stamp,
    pub first_call: FirstCall,
    /// Distinct messages that could not be read.
    pub unreadable: Vec<LogLine>,
    /// Distinct remarks on what is odd about far ends, beside what cannot be read.
    pub odd: Vec<LogLine>,
    transport: Transport,
    /// The first Contact of any call's that names another transport.
    pub other_transport: Option<String>,
}

impl Trace {
    /// A trace of the call of this Call-ID, over this transport.
    pub fn new(call_id: String, epoch: Stamp, transport: Transport) -> Trace {
        let (first_call, unreadable, odd) = (FirstCall::default(), Vec::new(), Vec::new());
        Trace { call_id, epoch, first_call, unreadable, odd, transport, other_transport: None }
    }

    /// Takes a message that came at `at`. Of other calls than the first only a Contact over another transport is kept.
    pub fn hear(&mut self, at: Stamp, message: &Message) {
        if self.other_transport.is_none()
            && message.status().is_some_and(|status| (200..300).contains(&status))
        {
            let contact = message.contact().filter(|uri| self.transport.is_contradicted_by(uri));
            self.other_transport = contact.map(cut);
        }
        let Some(status) = message.status().filter(|_| message.call_id() == self.call_id) else { return };
        let first = &mut self.first_call;
        if let (401 | 407, Ok(challenge)) = (status, Challenge::of(message)) {
            first.realm = cut(challenge.realm());
        }
        let answer = SipAnswer {
            at_ms: at.since(self.epoch).as_secs_f64() * 1e3,
            method: cut(message.method().as_str()),
            status,
            reason: cut(message.reason_phrase()),
        };
        let is_repeated =
            first.answers.last().is_some_and(|last| (&last.method, last.status) == (&answer.method, status));
        if first.answers.len() < MOST_ANSWERS && !is_repeated {
            first.answers.push(answer);
        }
    }

    /// Takes a message of the target's that is of no call of this run: an answer to an INVITE may be the one that a call
    /// waits for, under a Call-ID that somebody on the way has changed.
    pub fn hear_foreign(&mut self, message: &Message) {
        let status = message.status().filter(|status| *status > 100 && *message.method() == Method::Invite);
        if let Some(status) = status {
            let phrase = cut(message.reason_phrase());
            note(
                &mut self.unreadable,
                &format!("SIP/2.0 {status} {phrase}: no call of this run has its Call-ID"),
            );
        }
    }

    /// Takes a message that cannot be read.
    pub fn read_badly(&mut self, unreadable: &Unreadable) {
        note(&mut self.unreadable, &unreadable.to_string());
    }

    /// Takes an event of a call.
    pub fn signal(&mut self, event: &CallEvent) {
        match event {
            // These come as messages, with those of no call.
            CallEvent::Remark(CallRemark::Unreadable { .. }) => {}
            CallEvent::Remark(CallRemark::Unmatched { why }) => note(&mut self.unreadable, why),
            CallEvent::Remark(remark) => note(&mut self.odd, &remark.to_string()),
            _ => {}
        }
    }

    /// Notes where the answer to call `number` wants its media sent.
    pub fn answered(&mut self, number: u32, answer: &Answer) {
        if number == 0 {
            self.first_call.media = answer.rtp_address.to_string();
            self.first_call.payload_type = Some(answer.payload_type);
        }
    }
}

/// Counts a line among the first distinct ones.
fn note(lines: &mut Vec<LogLine>, text: &str) {
    let text: String = text.chars().take(MOST_LINE_CHARS).collect();
    match lines.iter().position(|line| line.text == text) {
        Some(at) => lines[at].count += 1,
        None if lines.len() < MOST_LINES => lines.push(LogLine { text, count: 1 }),
        None => {}
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_CHARS).collect()
}
